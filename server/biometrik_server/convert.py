"""Requests of the contract as what the engine takes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from biometrik.errors import InvalidInputError, UnsupportedFormatError, UnsupportedModalityError
from biometrik.imaging import ImageLimits, format_of
from biometrik.samples import Sample, decoded
from biometrik.types import DEFAULT_MAX_FMR, DEFAULT_MAX_FPIR
from biometrik.v1 import decision_pb2, sample_pb2
from biometrik.wire import origin_from_wire, template_from_wire
from biometrik_server.calls import CURRENT
from biometrik_server.config import Policy, ServerConfig
from biometrik_server.uploads import Uploads

T = TypeVar("T")

#: Formats that a face sample may be in, with the decoder's name of each.
FACE_FORMATS: Final = {
    sample_pb2.SAMPLE_FORMAT_PNG: "PNG",
    sample_pb2.SAMPLE_FORMAT_JPEG: "JPEG",
    sample_pb2.SAMPLE_FORMAT_JP2: "JPEG2000",
    sample_pb2.SAMPLE_FORMAT_BMP: "BMP",
    sample_pb2.SAMPLE_FORMAT_TIFF: "TIFF",
    sample_pb2.SAMPLE_FORMAT_WEBP: "WEBP",
}
MAX_PAGE: Final = 1000
_DEFAULT_PAGE: Final = 100


class Converter:
    """Reads requests; whatever they hold, the result is a value or a typed error.

    Parameters
    ----------
    config : ServerConfig
        Limits and policies.
    uploads : Uploads
        Where samples that came in pieces wait.
    """

    def __init__(self, config: ServerConfig, uploads: Uploads) -> None:
        parameters = config.engine.parameters()
        self._limits: ImageLimits = parameters.limits
        self._max_samples = parameters.max_samples
        self._policies = config.policies
        self._uploads = uploads

    def samples(self, messages: Sequence[sample_pb2.Sample]) -> list[Sample]:
        """Return decoded samples; unreadable ones are outcomes of their own."""
        self._check_count(len(messages))
        return [self._sample(message) for message in messages]

    def presented(self, messages: Sequence[sample_pb2.Presentation]) -> list[Sample]:
        """Return decoded samples and ready templates, in the order of the request."""
        self._check_count(len(messages))
        for message in messages:
            if message.WhichOneof("kind") is None:
                raise InvalidInputError("samples: expected a sample or a template in each, got neither")
        return [
            template_from_wire(m.template) if m.WhichOneof("kind") == "template" else self._sample(m.sample)
            for m in messages
        ]

    def max_fmr(self, threshold: decision_pb2.Threshold) -> float:
        """Return the target FMR that a request asks for."""
        match threshold.WhichOneof("target"):
            case "fmr":
                return threshold.fmr
            case "policy":
                return self._policy(threshold.policy).fmr
            case "fpir":
                raise InvalidInputError("threshold: expected an FMR or a policy, got an FPIR, which is for searches")
        return DEFAULT_MAX_FMR

    def max_fpir(self, threshold: decision_pb2.Threshold) -> float:
        """Return the target FPIR that a request asks for."""
        match threshold.WhichOneof("target"):
            case "fpir":
                return threshold.fpir
            case "policy":
                return self._policy(threshold.policy).fpir
            case "fmr":
                raise InvalidInputError("threshold: expected an FPIR or a policy, got an FMR, which is for comparisons")
        return DEFAULT_MAX_FPIR

    def _check_count(self, count: int) -> None:
        # Before anything is decoded.
        if not 1 <= count <= self._max_samples:
            raise InvalidInputError(f"samples: expected 1..{self._max_samples}, got {count}")

    def _policy(self, name: str) -> Policy:
        if name not in self._policies:
            raise InvalidInputError(f"policy: expected one of {', '.join(sorted(self._policies))}, got another")
        return self._policies[name]

    def _sample(self, message: sample_pb2.Sample) -> Sample:
        if message.modality != sample_pb2.MODALITY_FACE:
            raise UnsupportedModalityError("modality: expected MODALITY_FACE; fingers are not served by this release")
        for name in ("position", "impression", "ppi", "width_px", "height_px"):
            if getattr(message, name):
                raise InvalidInputError(f"{name}: expected nothing for a face")
        if message.format and message.format not in FACE_FORMATS:
            raise UnsupportedFormatError("format: expected PNG, JPEG, JP2, BMP, TIFF or WEBP for a face")
        origin = origin_from_wire(message)
        match message.WhichOneof("content"):
            case "data":
                data = message.data
            case "upload_id":
                data = self._uploads.take(message.upload_id, CURRENT.get().client.name)
            case _:
                raise InvalidInputError("sample: expected data or upload_id, got neither")
        if message.format and (found := format_of(data)) not in ("", FACE_FORMATS[message.format]):
            raise UnsupportedFormatError(f"format: expected {FACE_FORMATS[message.format]} as stated, got {found}")
        return decoded(data, limits=self._limits, origin=origin)


def refuse_missing(missing: Iterable[sample_pb2.MissingSample]) -> None:
    """Raise UnsupportedModalityError where fingers are said to be missing: they are not served yet."""
    if any(True for _ in missing):
        raise UnsupportedModalityError("missing: expected none; fingers are not served by this release")


def page_size(asked: int) -> int:
    """Return how many rows a page holds; raises InvalidInputError above 1,000."""
    if asked > MAX_PAGE:
        raise InvalidInputError(f"page_size: expected 0..{MAX_PAGE}, got {asked}")
    return asked or _DEFAULT_PAGE


def paged(rows: Sequence[T], key: Callable[[T], str], token: str, size: int) -> tuple[Sequence[T], str]:
    """Return a page of rows, and the token of the next page.

    Parameters
    ----------
    rows : sequence
        All of them, in order.
    key : callable
        Names a row; the token of a page is the name of the last row before it.
    token : str
        "" for the first page.
    size : int
        Rows of a page.

    Raises
    ------
    InvalidInputError
        No row has the token's name: it is gone, or the token is none.
    """
    start = 0
    if token:
        start = next((i + 1 for i, row in enumerate(rows) if key(row) == token), -1)
        if start < 0:
            raise InvalidInputError("page_token: expected one that this list gave, got another; begin again without")
    page = rows[start : start + size]
    return page, key(page[-1]) if start + size < len(rows) else ""
