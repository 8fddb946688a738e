"""Vectors by slot, read one by one: what an index compares exactly after its scan."""

import os
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import StoreDamagedError, StoreUnavailableError

#: Rows are kept in blocks of this many, so that room is added without copying.
BLOCK: Final = 1 << 18
#: Slots for which a file takes room at a time: 2 MiB of vectors of 128, so that few enrolments wait for it.
_ROOM: Final = 1 << 12


class VectorRows(Protocol):
    """Room for vectors; one thread writes, any number read what is not being written.

    Attributes
    ----------
    dimension : int
        D, of each.
    """

    dimension: int

    def write(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Keep (N, D) vectors from slot ``first`` on, at most one behind all that were written."""

    def read(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the (N, D) vectors of (N,) rising slots, one or more."""

    def erase(self, slot: int) -> None:
        """Leave nothing of a vector."""

    def make_room(self, slots: int) -> None:
        """See to it that slots below ``slots`` can be written, however full the disk becomes."""


class MemoryRows:
    """Vectors in memory.

    Parameters
    ----------
    dimension : int
        D, of each.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._blocks: list[NDArray[np.float32]] = []

    def write(self, first: int, vectors: NDArray[np.float32]) -> None:
        """See :class:`VectorRows`."""
        while len(vectors):
            number, row = divmod(first, BLOCK)
            if number == len(self._blocks):
                self._blocks.append(np.zeros((BLOCK, self.dimension), dtype=np.float32))
            if row + len(vectors) <= BLOCK:
                self._blocks[number][row : row + len(vectors)] = vectors
                return
            self._blocks[number][row:] = vectors[: BLOCK - row]
            first, vectors = first + BLOCK - row, vectors[BLOCK - row :]

    def read(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """See :class:`VectorRows`."""
        numbers, rows = np.divmod(slots, BLOCK)
        blocks = tuple(self._blocks)  # a writer may add one
        edges = np.searchsorted(numbers, np.arange(len(blocks) + 1))
        return np.concatenate(
            [block[rows[i:j]] for block, (i, j) in zip(blocks, pairwise(edges.tolist()), strict=True) if i < j]
        )

    def erase(self, slot: int) -> None:
        """See :class:`VectorRows`."""
        number, row = divmod(slot, BLOCK)
        self._blocks[number][row].fill(0.0)

    def make_room(self, slots: int) -> None:
        """Nothing: memory that is missing is no answer that one can prepare for."""


class DiskRows:
    """Vectors in a file of this process, which has no name: it is gone when the process ends, however that happens.

    Rows are read one by one, each with its checksum, so that a row can be sealed by itself.

    Parameters
    ----------
    dimension : int
        D, of each.
    folder : Path
        Where the file is; with room for 4 · D + 4 bytes a row.

    Raises
    ------
    StoreUnavailableError
        Also of every method: the file cannot be made, written or read.
    StoreDamagedError
        :meth:`read`: a row is not what was written.
    """

    def __init__(self, dimension: int, folder: Path) -> None:
        self.dimension = dimension
        self._row = np.dtype([("vector", "<f4", (dimension,)), ("crc", "<u4")])
        self._folder = folder
        self._room = 0  # slots for which the disk has given room
        with self._translated(), tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)
        # Rows that a search reads are far apart: what the system would read ahead is not asked for.
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def write(self, first: int, vectors: NDArray[np.float32]) -> None:
        """See :class:`VectorRows`."""
        for start in range(0, len(vectors), BLOCK):
            part = vectors[start : start + BLOCK]
            rows = np.empty(len(part), dtype=self._row)
            rows["vector"] = part
            rows["crc"] = _checksums(rows["vector"])
            self._write(first + start, rows.tobytes())

    def read(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """See :class:`VectorRows`."""
        size = self._row.itemsize
        edges = np.flatnonzero(np.diff(slots, prepend=slots[0] - 2, append=slots[-1] + 2) != 1)
        starts = (slots[edges[:-1]] * size).tolist()
        lengths = (np.diff(edges) * size).tolist()
        with self._translated():
            data = b"".join(map(os.pread, [self._file] * len(starts), lengths, starts))
        rows = np.frombuffer(data, dtype=self._row, count=len(data) // size)
        if len(rows) != len(slots) or not np.array_equal(rows["crc"], _checksums(rows["vector"])):
            raise StoreDamagedError(
                f"vectors in {self._folder}: a row is not what was written; check the disk and start again,"
                " which reads the database anew"
            )
        return np.ascontiguousarray(rows["vector"])

    def erase(self, slot: int) -> None:
        """See :class:`VectorRows`."""
        self._write(slot, bytes(self._row.itemsize))

    def make_room(self, slots: int) -> None:
        """See :class:`VectorRows`."""
        if slots > self._room:
            room = -(-slots // _ROOM) * _ROOM
            size = self._row.itemsize
            with self._translated():
                os.posix_fallocate(self._file, self._room * size, (room - self._room) * size)
            self._room = room

    def _write(self, first: int, data: bytes) -> None:
        rest, at = memoryview(data), first * self._row.itemsize
        with self._translated():
            while rest:
                written = os.pwrite(self._file, rest, at)
                rest, at = rest[written:], at + written

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailableError(
                f"vectors in {self._folder}: {error.strerror}; free space there, or keep vectors in memory"
            ) from error


def _checksums(vectors: NDArray[np.float32]) -> list[int]:
    size = vectors.dtype.itemsize * vectors.shape[1]
    data = np.ascontiguousarray(vectors).data.cast("B")
    return [zlib.crc32(data[at : at + size]) for at in range(0, len(data), size)]
