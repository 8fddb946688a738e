"""Vectors by slot, read one by one: what an index compares exactly after its scan."""

from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

#: Rows are kept in blocks of this many, so that room is added without copying.
BLOCK: Final = 1 << 16


class VectorRows(Protocol):
    """Room for vectors; one thread writes, any number read what is not being written."""

    def write(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Keep (N, D) vectors from slot ``first`` on, at most one behind all that were written."""

    def read(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the (N, D) vectors of (N,) rising slots, one or more."""

    def erase(self, slot: int) -> None:
        """Leave nothing of a vector."""


class MemoryRows:
    """Vectors in memory.

    Parameters
    ----------
    dimension : int
        D, of each.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._blocks: list[NDArray[np.float32]] = []

    def write(self, first: int, vectors: NDArray[np.float32]) -> None:
        """See :class:`VectorRows`."""
        done = 0
        while done < len(vectors):
            number, row = divmod(first + done, BLOCK)
            if number == len(self._blocks):
                self._blocks.append(np.zeros((BLOCK, self._dimension), dtype=np.float32))
            part = vectors[done : done + BLOCK - row]
            self._blocks[number][row : row + len(part)] = part
            done += len(part)

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
        self._blocks[number][row] = 0.0
