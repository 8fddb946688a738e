"""What a minutia's neighbourhood looks like, as bits: cylinder codes that turn with the finger.

Around each minutia lies a disc of 61 cells, hexagonally packed, in a frame that turns with the minutia's direction. A
cell's bit for one of four relative directions is set where the neighbours near the cell, weighed by how near they are
in place and direction, add up to enough. Everything is computed from minutiae in floating point and becomes bits only
at the end, so a print that is turned keeps its codes.

References
----------
R. Cappelli, M. Ferrara, D. Maltoni, "Minutia Cylinder-Code: a new representation and matching technique for fingerprint
recognition", IEEE TPAMI 32(12), 2010: the cylinder (section 3), its bits (section 3.3) and the constants below (table
2). Ours differs in the cells' packing, their number, and in having no mask.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from biometrik.fingers import Minutiae

#: Directions that a cylinder tells apart; each has one 64-bit word, whose bits are the cells.
DIRECTIONS: Final = 4
#: Half-planes that enclose a print's minutiae; see :attr:`Descriptors.reach_px`.
SIDES: Final = 16

#: Radius of a cylinder, pixels at 500 ppi (table 2: R).
_RADIUS_PX: Final = 70.0
#: Standard deviation of a neighbour's influence in place, pixels (σ_S), and in direction, radians (σ_D).
_PLACE_PX: Final = 28.0 / 3.0
_DIRECTION: Final = 2.0 * np.pi / 9.0
#: A bit is set above this sum of influences, each 0..1. The paper's μ_Ψ = 0.01, over the peak of its G_S.
_ENOUGH: Final = 0.01 * _PLACE_PX * math.sqrt(2.0 * math.pi)

# The cells' lattice: rows of half-columns, 4 cells from the middle to the rim in each of six directions.
_RINGS: Final = 4
_PITCH_PX: Final = _RADIUS_PX / (_RINGS + 0.5)
_COLUMN_PX: Final = np.arange(-2 * _RINGS, 2 * _RINGS + 1) * (_PITCH_PX / 2)
_ROW_PX: Final = np.arange(-_RINGS, _RINGS + 1) * (_PITCH_PX * np.sqrt(3.0) / 2)
_CELLS: Final = np.array(
    [
        (2 * i + j + 2 * _RINGS, j + _RINGS)
        for j in range(-_RINGS, _RINGS + 1)
        for i in range(-_RINGS, _RINGS + 1)
        if abs(i + j) <= _RINGS
    ],
    dtype=np.int64,
)
_ANGLES: Final = np.arange(SIDES) * (2.0 * np.pi / SIDES)
#: (2, SIDES) float32: unit normals of the half-planes.
NORMALS: Final = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Descriptors:
    """What can be derived from a print's N minutiae.

    Parameters
    ----------
    codes : (N, DIRECTIONS) uint64
        Cylinder codes; bits 61 to 63 are 0.
    reach_px : (SIDES,) float32
        How far the minutiae reach along each of :data:`NORMALS`: a polygon around the print's known part, in place of
        a mask of its foreground. All 0 where there are none.
    """

    codes: NDArray[np.uint64]
    reach_px: NDArray[np.float32]


def describe(minutiae: Minutiae) -> Descriptors:
    """Return the cylinder codes and the reach of a print's minutiae.

    Parameters
    ----------
    minutiae : Minutiae
        In pixels at 500 ppi; any number of them.

    Examples
    --------
    >>> x, y = np.float32([100, 130, 160]), np.float32([100, 90, 140])
    >>> kind = np.ones(3, dtype=np.uint8)
    >>> print_ = Minutiae(x, y, np.float32([0, 1, 2]), kind, kind, 300, 300)
    >>> describe(print_).codes.shape, describe(print_).reach_px[0]
    ((3, 4), np.float32(160.0))
    """
    x, y = (values.astype(np.float64) for values in (minutiae.x, minutiae.y))
    codes = np.zeros((len(minutiae), DIRECTIONS), dtype=np.uint64)
    _cylinder_codes(x, y, minutiae.direction.astype(np.float64), codes)
    reach = np.zeros(SIDES, dtype=np.float32)
    if len(minutiae):
        reach = (np.stack([minutiae.x, minutiae.y], axis=1) @ NORMALS).max(axis=0)
    return Descriptors(codes, reach)


@njit(cache=True, nogil=True)
def _cylinder_codes(
    x: NDArray[np.float64], y: NDArray[np.float64], direction: NDArray[np.float64], codes: NDArray[np.uint64]
) -> None:
    # Trusts its input; fills `codes`, which holds zeros. The influence in place is a product of a column's and a
    # row's, so that 26 exponentials serve 61 cells.
    spread = 1.0 / (2.0 * _PLACE_PX * _PLACE_PX)
    step = 2.0 * math.pi / DIRECTIONS
    near = (_RADIUS_PX + 3.0 * _PLACE_PX) ** 2
    columns = np.empty(len(_COLUMN_PX))
    rows = np.empty(len(_ROW_PX))
    place = np.empty(len(_CELLS))
    weights = np.empty(DIRECTIONS)
    sums = np.empty((DIRECTIONS, len(_CELLS)))
    for i in range(len(x)):
        cos, sin = math.cos(direction[i]), math.sin(direction[i])
        sums[:] = 0.0
        for j in range(len(x)):
            dx, dy = x[j] - x[i], y[j] - y[i]
            if j == i or dx * dx + dy * dy > near:
                continue
            along, across = dx * cos + dy * sin, dy * cos - dx * sin
            for c in range(len(columns)):
                columns[c] = math.exp(-spread * (_COLUMN_PX[c] - along) ** 2)
            for r in range(len(rows)):
                rows[r] = math.exp(-spread * (_ROW_PX[r] - across) ** 2)
            for d in range(DIRECTIONS):
                off = direction[j] - direction[i] - (d + 0.5) * step
                off -= 2.0 * math.pi * math.floor(off / (2.0 * math.pi) + 0.5)
                weights[d] = 0.5 * (
                    math.erf((off + step / 2) / (_DIRECTION * math.sqrt(2.0)))
                    - math.erf((off - step / 2) / (_DIRECTION * math.sqrt(2.0)))
                )
            for k in range(len(_CELLS)):
                place[k] = columns[_CELLS[k, 0]] * rows[_CELLS[k, 1]]
            for d in range(DIRECTIONS):
                for k in range(len(_CELLS)):
                    sums[d, k] += weights[d] * place[k]
        for d in range(DIRECTIONS):
            word = np.uint64(0)
            for k in range(len(_CELLS)):
                if sums[d, k] > _ENOUGH:
                    word |= np.uint64(1) << np.uint64(k)
            codes[i, d] = word
