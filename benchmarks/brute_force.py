"""What an exact search has to find: every pair compared."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: More than 128 float32 products of unit vectors err by.
_ROUNDING: Final = 1e-5
_PROBES: Final = 1000
_ROWS: Final = 31_250


def near(
    vectors: NDArray[np.float32], probes: NDArray[np.float32], least: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield for each (Q, D) probe all (N, D) vectors that are about as alike as ``least`` (Q,), or more.

    Every product is taken in float32; all that come within its rounding of ``least`` once more in float64.

    Yields
    ------
    rows : (K,) int64
    similarities : (K,) float32
        Exact but for the last rounding.
    """
    for start in range(0, len(probes), _PROBES):
        part, floors = probes[start : start + _PROBES], least[start : start + _PROBES, None] - np.float32(_ROUNDING)
        found: list[list[int]] = [[] for _ in part]
        for first in range(0, len(vectors), _ROWS):
            for q, row in np.argwhere(part @ vectors[first : first + _ROWS].T >= floors).tolist():
                found[q].append(first + row)
        for q, query in enumerate(part.astype(np.float64)):
            rows = np.array(found[q], dtype=np.int64)
            yield rows, np.einsum("nd,d->n", vectors[rows].astype(np.float64), query).astype(np.float32)
