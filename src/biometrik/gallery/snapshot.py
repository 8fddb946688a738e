"""What is searched, in a file beside the database, so that a start need not make it again of every template.

The file is blocks, one for each page of numbers (:data:`biometrik.gallery.roster.PAGE`), a table of contents, and a
trailer that says where that is. A block has a checksum and holds who its encounters are and their vectors. It is taken
from the file as it is; what happened since follows from the store's log of events. Prints are not in it.
"""

import json
import logging
import os
import struct
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import BiometrikError, StoreUnavailableError
from biometrik.gallery.members import Kind
from biometrik.gallery.protection import Protection
from biometrik.gallery.records import Event
from biometrik.gallery.roster import PAGE, Page

_log: Final = logging.getLogger(__name__)

#: Changes with the format; what another version wrote is made anew.
_MAGIC: Final = b"BMTKSNP1"
_TRAILER: Final = struct.Struct("<8sQQI")  # magic; offset, length and checksum of the contents
_BLOCK: Final = struct.Struct("<II")  # length and checksum of what follows
_COUNTS: Final = struct.Struct("<QIIIII")  # first number; encounters; vectors, and D; bytes of texts, and of kinds


class UnusableError(Exception):
    """Why a snapshot is not what this process may start from; never leaves the gallery."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a snapshot is of.

    Parameters
    ----------
    contract : str
        Names the models whose features these are,
    fingers : bool
        those of fingers, too.
    dimension : int
        D, of the vectors.
    event : int
        Sequence number of the last event that is in all of it; later ones may be.
    digest : str
        Of that event, which another database, or another history of this one, does not have.
    last_number : int
        Highest number of the encounters looked at.
    galleries : tuple of str
        All, sorted.
    foreign : mapping of str to int
        Templates of other models, by subject.
    """

    contract: str
    fingers: bool
    dimension: int
    event: int
    digest: str
    last_number: int
    galleries: tuple[str, ...]
    foreign: Mapping[str, int] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The searchable encounters of one page of numbers.

    Parameters
    ----------
    page : Page
        Whose they are; its kinds count from 0 in ``kinds``.
    kinds : sequence of Kind
        Their galleries, and what they show.
    faces : (F,) int64
        Numbers of those that show a face, rising.
    vectors : (F, D) float32
        Theirs.
    """

    page: Page
    kinds: Sequence[Kind]
    faces: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def without(self, numbers: NDArray[np.int64]) -> "Block":
        """Return the block without some encounters."""
        if not len(numbers):
            return self
        kept = ~np.isin(self.faces, numbers)
        return Block(self.page.without(numbers), self.kinds, self.faces[kept], self.vectors[kept])

    def to_bytes(self) -> bytes:
        """Return the block as it is kept."""
        kinds = json.dumps(self.kinds).encode()
        first = self._first()
        return b"".join(
            (
                _COUNTS.pack(first, len(self.page.numbers), *self.vectors.shape, len(self.page.texts), len(kinds)),
                (self.page.numbers - first).astype("<u2").tobytes(),
                (self.faces - first).astype("<u2").tobytes(),
                self.page.kinds.astype("<u4").tobytes(),
                self.page.at.astype("<u4").tobytes(),
                self.page.texts,
                kinds,
                self.vectors.astype("<f4").tobytes(),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the block; raises ValueError, LookupError or TypeError for what :meth:`to_bytes` never made."""
        at = _COUNTS.size
        if len(data) < at:
            raise ValueError("block: too short")
        first, members, faces, dimension, texts, kinds = _COUNTS.unpack_from(data)
        sizes = (2 * members, 2 * faces, 4 * members, 4 * members, texts, kinds, 4 * faces * dimension)
        if not 0 <= faces <= members <= PAGE or first % PAGE or len(data) != at + sum(sizes):
            raise ValueError("block: its counts do not fit")
        parts = []
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        numbers, own = (np.frombuffer(part, "<u2").astype(np.int64) + first for part in parts[:2])
        page = Page(numbers, np.frombuffer(parts[2], "<u4"), np.frombuffer(parts[3], "<u4"), parts[4])
        for rising in (numbers, own):
            if len(rising) and (np.diff(rising) < 1).any() | (rising[-1] >= first + PAGE):
                raise ValueError("block: numbers out of order")
        held = [((*map(str, galleries),), int(shown)) for galleries, shown in json.loads(parts[5])]
        return cls(page, held, own, np.frombuffer(parts[6], "<f4").reshape(faces, dimension))

    def _first(self) -> int:
        return int(self.page.numbers[0]) // PAGE * PAGE if len(self.page.numbers) else 0


@dataclass(frozen=True, slots=True)
class _Entry:
    # Where a block is, and how many bytes it may have.
    page: int
    at: int
    room: int


def event_digest(event: Event) -> str:
    """Return what tells an event from all others: times are of microseconds, encounters' ids random."""
    fields = (event.sequence, event.at.isoformat(), event.kind.value, event.subject_id, event.encounter_id)
    return sha256(repr(fields).encode()).hexdigest()


class Snapshot:
    """The snapshot of one database; thread-safe.

    Parameters
    ----------
    path : Path
        The file; need not exist.
    protection : Protection
        Seals each block.
    contract : callable
        Names the models in force: those of faces, and if its argument is true those of fingers too.

    Raises
    ------
    StoreUnavailableError
        What a process that was killed left of a new one cannot be removed.
    """

    def __init__(self, path: Path, protection: Protection, contract: Callable[[bool], str]) -> None:
        self.path = path
        self.contract = contract
        self._new = path.with_name(path.name + ".new")
        self._protection = protection
        self._writing = threading.Lock()  # one at a time
        self._lock = threading.Lock()  # over both files and the following
        self._entries: dict[int, _Entry] = {}
        self._drafted: dict[int, _Entry] = {}
        self._owed: set[int] = set()  # erased, and not known to be out of the files
        self._event = 0
        self._remove(self._new)

    @property
    def event(self) -> int:
        """The event of the file's origin, 0 where no file is in use."""
        return self._event

    def origin(self) -> Origin:
        """Return what the file is a snapshot of; blocks are not read yet.

        Raises
        ------
        UnusableError
            There is none, or it is damaged.
        """
        with self._lock:
            try:
                with self.path.open("rb") as file:
                    origin, entries = self._contents(file.fileno())
            except FileNotFoundError:
                raise UnusableError("there is none") from None
            except (BiometrikError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise UnusableError(f"it is damaged ({error})") from error
            self._entries = {entry.page: entry for entry in entries}
            self._event = origin.event
            return origin

    def blocks(self) -> Iterator[Block]:
        """Read all blocks of the file whose origin was read, rising; raises UnusableError where one is damaged."""
        try:
            with self.path.open("rb") as file:
                for entry in self._entries.values():
                    yield self._read(file.fileno(), entry)
        except (BiometrikError, OSError, ValueError, LookupError, TypeError) as error:
            raise UnusableError(f"it is damaged ({error})") from error

    def write(self, origin: Origin, pages: int, block_of: Callable[[int], Block]) -> None:
        """Write a new file, durably, and put it in the place of the old one.

        Parameters
        ----------
        origin : Origin
            What it is of.
        pages : int
            How many pages there are.
        block_of : callable
            Returns a page's block of now. It is asked page by page; meanwhile changes go on.

        Raises
        ------
        StoreUnavailableError
            The disk refused; the old file stays.
        """
        with self._writing, self._translated():
            file = os.open(self._new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                end = 0
                for page in range(pages):
                    with self._lock:  # an erasure finds the block written, or its encounter not in it
                        block = block_of(page)
                        if len(block.page.numbers):
                            end = self._append(file, end, page, block)
                with self._lock:
                    end = self._close(file, end, origin)
                    os.fsync(file)
                    self._new.rename(self.path)
                    _sync_folder(self.path.parent)
                    self._entries, self._drafted = self._drafted, {}
                    self._event = origin.event
            except BaseException:
                with self._lock:
                    self._drafted = {}
                    self._remove(self._new)
                raise
            finally:
                os.close(file)

    def erase(self, numbers: Collection[int]) -> None:
        """Overwrite what the file has of encounters, also of those for which this failed before.

        Raises
        ------
        StoreUnavailableError
            That could not be done, nor the file be removed. The next erasure tries again.
        """
        with self._lock:
            self._owed.update(numbers)
            for path, entries in ((self.path, self._entries), (self._new, self._drafted)):
                try:
                    self._overwrite(path, entries)
                except (BiometrikError, OSError, ValueError, LookupError, TypeError) as error:
                    self._discard(f"an erasure could not be made in it ({error})")
            self._owed.clear()

    def discard(self, why: str) -> None:
        """Remove the file, if there is one, and say why in the log; raises StoreUnavailableError where it stays."""
        with self._lock:
            self._discard(why)

    # --- within: called with the lock held ----------------------------------------------------------------------

    def _discard(self, why: str) -> None:
        if self.path.exists():
            _log.warning("snapshot %s: %s; removed, the next start without it reads the database", self.path, why)
        self._entries, self._event = {}, 0
        self._remove(self.path)

    def _remove(self, path: Path) -> None:
        with self._translated():
            path.unlink(missing_ok=True)

    def _overwrite(self, path: Path, entries: Mapping[int, _Entry]) -> None:
        pages = sorted({number // PAGE for number in self._owed} & entries.keys())
        if not pages:
            return
        owed = np.array(sorted(self._owed), dtype=np.int64)
        with path.open("rb+", buffering=0) as file:
            for page in pages:
                entry = entries[page]
                block = self._read(file.fileno(), entry)
                if np.isin(block.page.numbers, owed).any():
                    sealed = self._protection.seal(block.without(owed).to_bytes(), _place(page))
                    _put(file.fileno(), entry, sealed)
            os.fsync(file.fileno())

    def _append(self, file: int, end: int, page: int, block: Block) -> int:
        sealed = self._protection.seal(block.to_bytes(), _place(page))
        self._drafted[page] = entry = _Entry(page, end, len(sealed))
        _put(file, entry, sealed)
        return end + _BLOCK.size + len(sealed)

    def _read(self, file: int, entry: _Entry) -> Block:
        data = os.pread(file, _BLOCK.size + entry.room, entry.at)
        length, crc = _BLOCK.unpack_from(data)
        sealed = data[_BLOCK.size : _BLOCK.size + length]
        if len(sealed) != length or zlib.crc32(sealed) != crc:
            raise ValueError(f"block of page {entry.page}: not what was written")
        block = Block.from_bytes(self._protection.unseal(sealed, _place(entry.page)))
        if len(block.page.numbers) and int(block.page.numbers[0]) // PAGE != entry.page:
            raise ValueError("block: of another page")
        return block

    def _close(self, file: int, end: int, origin: Origin) -> int:
        told = {"origin": asdict(origin), "blocks": [(e.page, e.at, e.room) for e in self._drafted.values()]}
        sealed = self._protection.seal(json.dumps(told).encode(), _CONTENTS)
        _write(file, sealed + _TRAILER.pack(_MAGIC, end, len(sealed), zlib.crc32(sealed)), end)
        return end + len(sealed) + _TRAILER.size

    def _contents(self, file: int) -> tuple[Origin, list[_Entry]]:
        size = os.fstat(file).st_size
        if size < _TRAILER.size:
            raise ValueError("too short")
        magic, at, length, crc = _TRAILER.unpack(os.pread(file, _TRAILER.size, size - _TRAILER.size))
        if magic != _MAGIC or at + length + _TRAILER.size != size:
            raise ValueError("no snapshot of this version, or cut off")
        sealed = os.pread(file, length, at)
        if len(sealed) != length or zlib.crc32(sealed) != crc:
            raise ValueError("contents: not what was written")
        told: dict[str, Any] = json.loads(self._protection.unseal(sealed, _CONTENTS))
        entries = [_Entry(*map(int, entry)) for entry in told["blocks"]]
        if any(min(e.page, e.at, e.room) < 0 or e.at + _BLOCK.size + e.room > at for e in entries):
            raise ValueError("contents: blocks beyond the file")
        origin = Origin(**told["origin"])
        if not (isinstance(origin.event, int) and origin.event > 0 and isinstance(origin.last_number, int)):
            raise ValueError("contents: no event, or no last number")
        foreign = {str(who): int(templates) for who, templates in origin.foreign.items()}
        return replace(origin, galleries=tuple(map(str, origin.galleries)), foreign=foreign), entries

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailableError(
                f"snapshot {self.path}: {error.strerror}; free space and give this user write access to the folder"
            ) from error


_CONTENTS: Final = b"snapshot/contents"


def _place(page: int) -> bytes:
    return f"snapshot/{page}".encode()


def _put(file: int, entry: _Entry, sealed: bytes) -> None:
    if len(sealed) > entry.room:
        raise ValueError("block: grew")
    _write(file, _BLOCK.pack(len(sealed), zlib.crc32(sealed)) + sealed.ljust(entry.room, b"\0"), entry.at)


def _write(file: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, at)
        rest, at = rest[written:], at + written


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
