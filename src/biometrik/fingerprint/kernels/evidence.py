"""What matches are worth: how surprising so many would be by chance in the part that both prints show."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.descriptors import SIDES
from biometrik.fingerprint.kernels.compiling import kernel
from biometrik.fingerprint.kernels.lanes import LANES, larger, load, spread, store
from biometrik.fingerprint.kernels.layout import (
    BX,
    BY,
    CERTAINTY,
    EXCESS,
    HALF,
    MCOS,
    MSIN,
    MX,
    MY,
    ONE,
    ZERO,
    Packed,
    Scratch,
)

_f = np.float32
_LOGIT: Final = _f(3.9)
_LOGIT_PX: Final = _f(0.45)
_LOGIT_RAD: Final = _f(10.5)
_CHANCE: Final = _f(0.2)
MARGIN_PX: Final = _f(10.0)
_ALMOST_NONE: Final = _f(1e-6)
_ALMOST_ALL: Final = _f(1.0 - 1e-6)
LEAST: Final = _f(-1e30)


@kernel
def evidence(
    A: Packed, ta: int, B: Packed, tb: int, pairs: int, normals: NDArray[np.float32], s: Scratch
) -> np.float32:
    """Return how surprising so many matches in the part that both prints show would be by chance, nats."""
    a0, b0, na, nb = A.offsets[ta], B.offsets[tb], A.minutiae[ta], B.minutiae[tb]
    matched = ZERO
    for i in range(pairs):
        a, b = s.pairs[0, i], s.pairs[1, i]
        dx, dy = s.moved[MX, a] - s.pair[BX, i], s.moved[MY, a] - s.pair[BY, i]
        sure = certainty(dx, dy, s.moved[MCOS, a] * B.sin[b0 + b] - s.moved[MSIN, a] * B.cos[b0 + b])
        s.pair[CERTAINTY, i] = sure
        matched += sure
    alone = _alone(A.weight[a0 : a0 + na], s.pairs[0, :pairs], B.reach, tb, normals, s)
    # The other way all minutiae go by the motion of the whole.
    c, d = s.fit[0], s.fit[1]
    x, y = B.x[b0 : B.offsets[tb + 1]], B.y[b0 : B.offsets[tb + 1]]
    for b in range(0, len(x), LANES):
        ux, uy = load(x, b) - s.fit[4], load(y, b) - s.fit[5]
        store(s.moved[MX], b, ux * c + uy * d + s.fit[2])
        store(s.moved[MY], b, uy * c - ux * d + s.fit[3])
    alone += _alone(B.weight[b0 : b0 + nb], s.pairs[1, :pairs], A.reach, ta, normals, s)
    return surprise(matched, alone)


@kernel
def certainty(dx: np.float32, dy: np.float32, turned: np.float32) -> np.float32:
    """Return how sure a match is that is inexact by so many pixels and by the sine of an angle, 0..1."""
    logit = _LOGIT - _LOGIT_PX * math.sqrt(dx * dx + dy * dy) - _LOGIT_RAD * abs(turned)
    return ONE / (ONE + math.exp(-logit))


@kernel
def surprise(matched: np.float32, alone: np.float32) -> np.float32:
    """Return what so much matched and so much left alone in both prints is worth, nats."""
    seen = matched + HALF * alone
    share = matched / seen
    share = _ALMOST_NONE if share < _ALMOST_NONE else _ALMOST_ALL if share > _ALMOST_ALL else share
    nats = seen * (share * math.log(share / _CHANCE) + (ONE - share) * math.log((ONE - share) / (ONE - _CHANCE)))
    return nats if share > _CHANCE else -nats


@kernel
def _alone(
    weight: NDArray[np.float32],
    matched: NDArray[np.int32],
    reach: NDArray[np.float32],
    t: int,
    normals: NDArray[np.float32],
    s: Scratch,
) -> np.float32:
    # The weight of a print's moved but unmatched minutiae that lie within reach of the other print, template t.
    count = len(weight)
    for i in range(0, count, LANES):
        x, y, excess = load(s.moved[MX], i), load(s.moved[MY], i), spread(LEAST)
        for k in range(SIDES):
            far = reach[SIDES * t + k] + MARGIN_PX
            excess = larger(excess, x * normals[0, k] + y * normals[1, k] - far)
        store(s.moved[EXCESS], i, excess)
    for i in matched:
        s.moved[EXCESS, i] = ONE
    total = ZERO
    for i in range(count):
        total += weight[i] if s.moved[EXCESS, i] <= ZERO else ZERO
    return total
