"""How well pairs of minutiae support each other: relaxation, and the pairs that one bent print could show together."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.kernels.compiling import kernel
from biometrik.fingerprint.kernels.lanes import LANES, load, spread, store
from biometrik.fingerprint.kernels.layout import (
    AX,
    AY,
    BX,
    BY,
    CERTAINTY,
    COS,
    GAMMA,
    HALF,
    LAMBDA,
    MAX_PAIRS,
    NEXT,
    ONE,
    SIN,
    SUPPORT,
    WEIGHT,
    ZERO,
    Scratch,
)

_f = np.float32
_FOUR: Final = _f(4.0)

# Agreement of two pairs: tolerances are standard deviations, a + b · distance for the radial and lateral difference of
# their distance vectors, pixels, and for the difference of their rotations, radians.
_RADIAL_PX2: Final = _f(4.0**2)
_RADIAL_SHARE2: Final = _f(0.06**2)
_LATERAL_PX2: Final = _f(5.0**2)
_LATERAL_SHARE2: Final = _f(0.12**2)
_ROTATION2: Final = _f(0.3**2)
#: The same, loose: what skin can do between distant parts of a print.
_LOOSE_SHARE: Final = _f(2.0**2)
_LOOSE_ROTATION: Final = _f(1.5**2)
#: Beyond three standard deviations nothing agrees.
_PER_CUT: Final = _f(1.0 / 9.0)

RELAXATIONS: Final = 5
ANCHORINGS: Final = 4
ANCHOR: Final = _f(0.3)


@kernel
def multiply(matrix: NDArray[np.float32], vector: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Fill ``out`` with a symmetric (MAX_PAIRS, MAX_PAIRS) matrix times a vector, column by column."""
    first, second = spread(ZERO), spread(ZERO)
    for i in range(MAX_PAIRS):
        first = first + load(matrix[i], 0) * vector[i]
        second = second + load(matrix[i], LANES) * vector[i]
    store(out, 0, first)
    store(out, LANES, second)


@kernel
def agreement(
    dax: np.float32, day: np.float32, dbx: np.float32, dby: np.float32, c: np.float32, d: np.float32
) -> tuple[np.float32, np.float32]:
    """Return how well two pairs agree, tightly and loosely, 0..1.

    Parameters
    ----------
    dax, day, dbx, dby : float32
        From one pair to the other, in either print, pixels.
    c, d : float32
        Sum of the cosines and of the sines of the pairs' rotations.
    """
    norm2 = c * c + d * d  # 2 + 2·cos of the difference of the two rotations
    unit = ONE / math.sqrt(norm2 + _f(1e-12))
    # The mean rotation takes one distance vector to the other but for (ex, ey).
    ex = (c * dax - d * day) * unit - dbx
    ey = (d * dax + c * day) * unit - dby
    da, db = math.sqrt(dax * dax + day * day), math.sqrt(dbx * dbx + dby * dby)
    radial = (da - db) * (da - db)
    lateral = ex * ex + ey * ey - radial
    lateral = lateral if lateral > ZERO else ZERO
    turned = _FOUR - norm2
    far = da * db
    tight = (
        radial / (_RADIAL_PX2 + _RADIAL_SHARE2 * far)
        + lateral / (_LATERAL_PX2 + _LATERAL_SHARE2 * far)
        + turned / _ROTATION2
    )
    loose = (
        radial / (_RADIAL_PX2 + _LOOSE_SHARE * _RADIAL_SHARE2 * far)
        + lateral / (_LATERAL_PX2 + _LOOSE_SHARE * _LATERAL_SHARE2 * far)
        + turned / (_LOOSE_ROTATION * _ROTATION2)
    )
    tight, loose = ONE - tight * _PER_CUT, ONE - loose * _PER_CUT
    return tight * tight if tight > ZERO else ZERO, loose * loose if loose > ZERO else ZERO


@kernel
def agree(pairs: int, s: Scratch) -> None:
    """Fill ``s.tight`` and ``s.loose``, symmetric, 0..1, 0 on the diagonal and for pairs that there are not."""
    ax, ay, bx, by = s.pair[AX], s.pair[AY], s.pair[BX], s.pair[BY]
    cos, sin = s.pair[COS], s.pair[SIN]
    for i in range(pairs):
        tight, loose = s.tight[i], s.loose[i]
        axi, ayi, bxi, byi, cosi, sini = ax[i], ay[i], bx[i], by[i], cos[i], sin[i]
        for j in range(MAX_PAIRS):
            tight[j], loose[j] = agreement(
                axi - ax[j], ayi - ay[j], bxi - bx[j], byi - by[j], cosi + cos[j], sini + sin[j]
            )
        tight[i] = loose[i] = ZERO
    s.tight[pairs:] = ZERO
    s.loose[pairs:] = ZERO


@kernel
def wanted_pairs(fewer: int) -> int:
    """Return how many pairs' values are averaged, 4 to 12, where the smaller print has so many minutiae."""
    return 4 + int(_f(8.0) / (ONE + math.exp(_f(-0.4) * (_f(fewer) - _f(20.0)))) + HALF)


@kernel
def relax(pairs: int, fewer: int, s: Scratch) -> np.float32:
    """Return the mean of the best pairs' similarities after relaxation, their support by the others, 0..1."""
    gamma, value, following, rest = s.pair[GAMMA], s.pair[LAMBDA], s.pair[NEXT], s.pair[CERTAINTY]
    for i in range(MAX_PAIRS):
        value[i] = gamma[i]
    share = HALF / _f(fewer - 1)
    for _ in range(RELAXATIONS):
        multiply(s.tight, value, following)
        for i in range(MAX_PAIRS):
            value[i] = HALF * value[i] + share * following[i]
    for i in range(MAX_PAIRS):
        rest[i] = value[i] / gamma[i] if i < pairs else -ONE
    # The values of the pairs that kept most, in this order. A pair's place is how many kept more: no branch.
    for i in range(pairs):
        place = 0
        for j in range(MAX_PAIRS):
            place += (rest[j] > rest[i]) | ((rest[j] == rest[i]) & (j < i))
        following[place] = value[i]
    wanted = wanted_pairs(fewer)
    total = ZERO
    for i in range(min(wanted, pairs)):
        total += following[i]
    return total / _f(wanted)


@kernel
def anchors(pairs: int, s: Scratch) -> int:
    """Keep those pairs, in place, that the others support and that together one bent print could show; how many."""
    support, value, following = s.pair[SUPPORT], s.pair[CERTAINTY], s.pair[NEXT]
    multiply(s.tight, s.pair[GAMMA], support)
    for i in range(pairs):
        value[i] = support[i]
    for _ in range(ANCHORINGS):
        multiply(s.loose, value, following)
        most = ZERO
        for i in range(pairs):
            following[i] *= support[i]
            most = max(most, following[i])
        if most <= ZERO:
            return 0
        for i in range(pairs):
            value[i] = math.sqrt(following[i] / most)
    kept = 0
    for i in range(pairs):
        if value[i] > ANCHOR:
            s.pairs[0, kept], s.pairs[1, kept] = s.pairs[0, i], s.pairs[1, i]
            for row in range(GAMMA):
                s.pair[row, kept] = s.pair[row, i]
            s.pair[WEIGHT, kept] = value[i]
            kept += 1
    return kept
