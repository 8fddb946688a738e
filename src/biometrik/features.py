"""What can be compared of one person at one visit, and what a comparison of two such says, before any calibration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


class Pack(Protocol):
    """Prints as a finger matcher prepared them, contiguous in memory; immutable.

    :class:`biometrik.fingerprint.matching.Prepared` is one.
    """

    def __len__(self) -> int: ...

    @property
    def sizes(self) -> NDArray[np.int32]:
        """How many minutiae each template has, (T,)."""

    def part(self, start: int, stop: int) -> Self:
        """Return templates ``start`` to ``stop`` − 1; shares memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A probe's or a reference's comparable side.

    Parameters
    ----------
    vector : (D,) float32 or None
        Mean of the face embeddings; None without a face.
    prints : mapping of int to pack
        By finger position, 0 (not known which) to 10: one template or more.
    """

    vector: NDArray[np.float32] | None = None
    prints: Mapping[int, Pack] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.vector is not None or bool(self.prints)


@dataclass(frozen=True, slots=True)
class Compared:
    """The comparison of one trait.

    Parameters
    ----------
    similarity : float
        The comparator's own; the best of ``comparisons``.
    comparisons : int
        How many pairs it is the best of, 1 or more.
    """

    similarity: float
    comparisons: int = 1
