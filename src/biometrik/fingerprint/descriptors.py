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
#: Minutiae of which a template keeps sketches, the best: most templates have more, and a glance finds mates with these
#: as often as with all. Words of a sketch, and bits of the codes in each.
SKETCHED: Final = 32
SKETCH_WORDS: Final = 2
SKETCH_BITS: Final = 61

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
#: The cells in every other row, as bits of a word, and all others.
_EVEN: Final = np.uint64(sum(1 << k for k, (_, row) in enumerate(_CELLS.tolist()) if row % 2 == 0))
_ODD: Final = np.uint64((1 << len(_CELLS)) - 1) & ~_EVEN
#: A Gaussian's values a whole number of columns, or rows, from its middle.
_COLUMN_FADE: Final = np.exp(-(_COLUMN_PX[2 * _RINGS :] ** 2) / (2.0 * _PLACE_PX * _PLACE_PX))
_ROW_FADE: Final = np.exp(-(_ROW_PX[_RINGS:] ** 2) / (2.0 * _PLACE_PX * _PLACE_PX))
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
    return describe_many(minutiae.x, minutiae.y, minutiae.direction, np.array([0, len(minutiae)], dtype=np.int64))


def describe_many(
    x: NDArray[np.float32], y: NDArray[np.float32], direction: NDArray[np.float32], offsets: NDArray[np.int64]
) -> Descriptors:
    """Return the codes and reaches of T prints at once, equal to each print's own.

    Parameters
    ----------
    x, y, direction : (N,) float32
        The minutiae of all prints, one print after the other.
    offsets : (T + 1,) int64
        Print t has those from ``offsets[t]`` to ``offsets[t + 1]`` − 1.

    Returns
    -------
    Descriptors
        ``codes`` is (N, DIRECTIONS), ``reach_px`` (T · SIDES,).
    """
    codes = np.zeros((len(x), DIRECTIONS), dtype=np.uint64)
    _cylinder_codes(x.astype(np.float64), y.astype(np.float64), direction.astype(np.float64), offsets, codes)
    reach = np.zeros((len(offsets) - 1, SIDES), dtype=np.float32)
    filled = np.diff(offsets) > 0
    if filled.any():
        # Rounded once, as a fused multiply-add does: similarities of version 1 were calibrated with such.
        along = (y[:, None] * NORMALS[1].astype(np.float64) + x[:, None] * NORMALS[0]).astype(np.float32)
        reach[filled] = np.maximum.reduceat(along, offsets[:-1][filled], axis=0)
    return Descriptors(codes, reach.ravel())


def sketches(codes: NDArray[np.uint64], direction: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return half of each code's bits, and the direction, as two words.

    A cell keeps its bits of two opposite directions, in every other row of cells the one pair of them and else the
    other. A neighbour sets bits of two adjacent directions in several cells: half of them tell nearly as much.

    Parameters
    ----------
    codes : (N, DIRECTIONS) uint64
        Cylinder codes.
    direction : (N,) float32
        Of the minutiae, radians, 0..2π.

    Returns
    -------
    (N, SKETCH_WORDS) uint64
        In bits 61 to 63 of the first word is the direction's eighth of a turn; those of the second are 0.

    Examples
    --------
    >>> hex(sketches(np.zeros((1, 4), dtype=np.uint64), np.float32([np.pi]))[0, 0])
    '0x8000000000000000'
    """
    kept = (codes[:, 0::2] & _EVEN) | (codes[:, 1::2] & _ODD)
    eighth = (direction * np.float32(8 / (2 * np.pi))).astype(np.uint64) & np.uint64(7)
    kept[:, 0] |= eighth << np.uint64(SKETCH_BITS)
    return kept


@njit(cache=True, nogil=True)
def _influence(away: float, step: float, fade: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    # A Gaussian around `away` at steps to both sides of 0.
    spread = 1.0 / (2.0 * _PLACE_PX * _PLACE_PX)
    middle = len(fade) - 1
    rising = falling = math.exp(-spread * away * away)
    up = math.exp(2.0 * spread * away * step)
    down = 1.0 / up
    out[middle] = rising
    for k in range(1, len(fade)):
        rising *= up
        falling *= down
        out[middle + k] = rising * fade[k]
        out[middle - k] = falling * fade[k]


@njit(cache=True, nogil=True)
def _share(turn: float, weights: NDArray[np.float64]) -> None:
    # How much of a Gaussian around `turn` lies in each of the relative directions. Neighbouring ones share a bound.
    step = 2.0 * math.pi / DIRECTIONS
    off = turn - 0.5 * step
    off -= 2.0 * math.pi * math.floor(off / (2.0 * math.pi) + 0.5)
    first = math.floor((off + math.pi) / step)
    off -= first * step
    before = math.erf((off - 0.5 * step) / (_DIRECTION * math.sqrt(2.0)))
    for m in range(DIRECTIONS):
        after = math.erf((off + (m + 0.5) * step) / (_DIRECTION * math.sqrt(2.0)))
        weights[(first - m) % DIRECTIONS] = 0.5 * (after - before)
        before = after


@njit(cache=True, nogil=True)
def _cylinder_codes(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    direction: NDArray[np.float64],
    offsets: NDArray[np.int64],
    codes: NDArray[np.uint64],
) -> None:
    # Trusts its input; fills `codes`, which holds zeros. The influence in place is a product of a column's and a row's;
    # along equal steps of h a Gaussian is exp(-a²) · q^k · exp(-(k·h)²), so that two exponentials serve each axis.
    near = (_RADIUS_PX + 3.0 * _PLACE_PX) ** 2
    columns = np.empty(len(_COLUMN_PX))
    rows = np.empty(len(_ROW_PX))
    place = np.empty(len(_CELLS))
    weights = np.empty(DIRECTIONS)
    sums = np.empty((DIRECTIONS, len(_CELLS)))
    for t in range(len(offsets) - 1):
        for i in range(offsets[t], offsets[t + 1]):
            cos, sin = math.cos(direction[i]), math.sin(direction[i])
            sums[:] = 0.0
            for j in range(offsets[t], offsets[t + 1]):
                dx, dy = x[j] - x[i], y[j] - y[i]
                if j == i or dx * dx + dy * dy > near:
                    continue
                _influence(dx * cos + dy * sin, _COLUMN_PX[2 * _RINGS + 1], _COLUMN_FADE, columns)
                _influence(dy * cos - dx * sin, _ROW_PX[_RINGS + 1], _ROW_FADE, rows)
                _share(direction[j] - direction[i], weights)
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
