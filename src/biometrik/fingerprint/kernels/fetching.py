"""Asking for a template before its turn comes: of chosen references the next one lies anywhere in memory."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.descriptors import DIRECTIONS
from biometrik.fingerprint.kernels.compiling import kernel
from biometrik.fingerprint.kernels.lanes import fetch
from biometrik.fingerprint.kernels.layout import Packed

#: Words of a cache line.
_LINE: Final = 8


@kernel
def fetch_after(references: Packed, chosen: NDArray[np.int64], i: int) -> None:
    """Fetch what screening reads of the template after ``chosen[i]``: else most of its time is waiting for memory."""
    if i + 1 < len(chosen):
        after = chosen[i + 1]
        for b in range(DIRECTIONS * references.offsets[after], DIRECTIONS * references.offsets[after + 1], _LINE):
            fetch(references.words, b)
        for b in range(references.offsets[after], references.offsets[after + 1], 2 * _LINE):
            fetch(references.cos, b)
            fetch(references.sin, b)
            fetch(references.norm, b)
