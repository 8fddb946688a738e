"""A plan's files and templates, read within the folder of the import, as the record that is enrolled."""

import base64
import binascii
import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from typer import BadParameter

from biometrik.bulk import ImportRecord
from biometrik.cli import samples
from biometrik.cli.import_plans import Piece, Plan
from biometrik.errors import (
    ImageError,
    InvalidInputError,
    RecordFormatError,
    ResolutionMissingError,
    TemplateFormatError,
)
from biometrik.finger_imaging import read_print_header
from biometrik.fingers import FingerPosition
from biometrik.formats.record_report import Stated
from biometrik.imaging import DEFAULT_LIMITS
from biometrik.records import images_from_record
from biometrik.samples import Sample, UnreadableSample, decoded, decoded_print
from biometrik.types import FACE, MissingSample, RequestContext, Template

T = TypeVar("T")
R = TypeVar("R")

#: Files are read and decoded beside the models, on so many threads: one keeps ahead of them, two where one is slow.
READERS: Final = 2
#: Records that are read ahead of those that are asked for.
_AHEAD: Final = 2 * READERS
#: Longest template that is looked at, base64: 1 MiB of payload, and its header.
_MAX_TEMPLATE_CHARACTERS: Final = (1 << 20) * 4 // 3 + 1024


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads plans; safe to use from several threads.

    Parameters
    ----------
    root : Path
        The import's folder; what lies outside is not read.
    ppi : float or None
        Resolution of prints where neither the record nor the file states it.
    galleries : tuple of str or None
        Of records that name none.
    override, consent, operator : str
        Of records that say none.
    """

    root: Path
    ppi: float | None = None
    galleries: tuple[str, ...] | None = None
    override: str = ""
    consent: str = ""
    operator: str = ""

    def record(self, tag: str, plan: Plan) -> ImportRecord:
        """Return a plan's record.

        Without one of its own, the transaction id is a digest of the subject and its samples' octets: the same record
        has it again in every run, wherever it lies. Run again with other galleries, resolution or override, what was
        enrolled is a conflict and not enrolled twice.

        Raises
        ------
        BiometrikError
            A file is not there, lies outside, or is too long; a template is damaged; words that mean nothing. An
            image that cannot be decoded is none of these: it is an outcome of its sample.
        """
        galleries = self.galleries if plan.galleries is None else plan.galleries
        override = plan.override or self.override
        digest = hashlib.sha256(b"biometrik import 1")
        _add(digest, plan.subject)
        presented: list[Sample] = []
        for piece in plan.pieces:
            data, found = self._read(piece)
            _add(digest, piece.trait.name, hashlib.sha256(data).hexdigest())
            presented += found
        context = RequestContext(
            transaction_id=plan.transaction or f"import:{digest.hexdigest()}",
            operator_ref=self.operator,
            consent_ref=plan.consent or self.consent,
        )
        return ImportRecord(
            tag,
            plan.subject,
            tuple(presented),
            context,
            missing=_missing(plan.missing),
            galleries=galleries,
            override=override,
        )

    def _read(self, piece: Piece) -> tuple[bytes, list[Sample]]:
        if piece.template:
            data = _from_base64(piece.template)
            return data, [_template(piece, data)]
        data = read_within(self.root, piece.file)
        if piece.trait == FACE:
            return data, [decoded(data)]
        try:
            return data, self._prints(piece, data)
        except ResolutionMissingError as error:
            raise ResolutionMissingError(f"{piece.file!a}: {error}, in the record or with --ppi") from None

    def _prints(self, piece: Piece, data: bytes) -> list[Sample]:
        position, ppi = FingerPosition(piece.trait.position), piece.ppi or self.ppi
        try:
            read_print_header(data)
        except ImageError:  # no image by itself: an interchange record, which may hold several
            try:
                return list(images_from_record(data, Stated(position=position)))
            except (ImageError, RecordFormatError, TemplateFormatError) as error:
                return [UnreadableSample(str(error), data, piece.trait)]
        return [decoded_print(data, ppi=ppi, position=position)]


def read_within(root: Path, name: str) -> bytes:
    """Return a file's bytes; one more than an image may have of a file that is longer, so that decoding refuses it.

    Raises
    ------
    InvalidInputError
        It is not a regular file below ``root`` (links are followed before that is judged), or cannot be read.
    """
    try:
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root.resolve(strict=True)):
            raise InvalidInputError(f"file: expected one below {root}, got {name!a:.200}; copy it there")
        # What became a link or a pipe since is not followed, and does not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InvalidInputError(f"file: expected an image, got a folder or device at {name!a:.200}")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(DEFAULT_LIMITS.max_bytes + 1)
        finally:
            os.close(descriptor)
    except InvalidInputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # also names with NUL, and links in a ring
        reason = getattr(error, "strerror", None) or "a name that is none"
        raise InvalidInputError(f"file: expected one that can be read, got {reason} at {name!a:.200}") from None


def ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield what a function makes of items, in their order, a few of them ahead on threads."""
    with ThreadPoolExecutor(READERS, "reader") as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _add(digest: "hashlib._Hash", *words: str) -> None:
    # Each with its length, so that no two lists of words read the same.
    for word in words:
        octets = word.encode("utf-8", "surrogatepass")
        digest.update(len(octets).to_bytes(8, "big") + octets)


def _from_base64(text: str) -> bytes:
    if len(text) > _MAX_TEMPLATE_CHARACTERS:
        raise TemplateFormatError(f"template: expected at most {_MAX_TEMPLATE_CHARACTERS} characters, got {len(text)}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise TemplateFormatError("template: expected base64, got other text") from None


def _template(piece: Piece, data: bytes) -> Template:
    template = Template.from_bytes(data)
    if template.trait != piece.trait:
        raise TemplateFormatError(f"template: expected {template.trait.name} as its bytes say, got {piece.trait.name}")
    return template


def _missing(rows: Iterable[str]) -> list[MissingSample]:
    try:
        return samples.missing(list(rows))
    except BadParameter as error:
        raise InvalidInputError(f"missing: {error.message}") from None
