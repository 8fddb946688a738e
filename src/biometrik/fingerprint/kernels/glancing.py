"""A quicker guess than screening, for galleries of many: it reads a quarter of what a template holds.

What is read are the sketches of its best minutiae (:func:`biometrik.fingerprint.descriptors.sketches`): half of the
code's bits, and the direction in eighths of a turn, which is all that votes for rotations need.

Each of the probe's best minutiae votes as in screening, by a higher power of the similarity: with half of the bits,
chance similarities are nearer to true ones. Eight minutiae of the probe are in one register and each minutia of the
reference comes by once: there is nothing to be gathered across lanes before the reference's end.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.descriptors import SKETCH_BITS, SKETCH_WORDS, SKETCHED
from biometrik.fingerprint.kernels.compiling import entrance, kernel
from biometrik.fingerprint.kernels.lanes import LANES, count_bits, larger, load, real, spread, total, whole
from biometrik.fingerprint.kernels.layout import TWO, ZERO, Packed

_f, _i, _u = np.float32, np.int32, np.uint64
#: Minutiae of the probe that a glance looks at, the best: two registers.
GLANCED: Final = 2 * LANES
#: Similarities are compared as whole numbers with the minutia's direction in the lower 3 bits.
_STEPS: Final = _f(1 << 20)
_EIGHTHS: Final = _i(7)
_UPPER: Final = _i(~7)
_BITS: Final = _u((1 << SKETCH_BITS) - 1)
_DIRECTION: Final = _u(SKETCH_BITS)
_WORDS: Final = SKETCH_WORDS * SKETCHED
# The cosine of k eighths of a turn is that of z = |4 - (k mod 8)| - 2 by the cubic through its five values.
_FOUR: Final = _f(4.0)
_SIX: Final = _i(6)
_CUBE: Final = _f((math.sqrt(2.0) - 1.0) / 6.0)
_SLOPE: Final = _f(math.sqrt(0.5) + (math.sqrt(2.0) - 1.0) / 6.0)


@entrance
def glance_many(probe: Packed, references: Packed, chosen: NDArray[np.int64], promise: NDArray[np.float32]) -> None:
    """Fill how promising chosen templates of a pack are as mates of the first of another, by sketches."""
    a0 = probe.offsets[0]
    p0, q0 = load(probe.sketch, 0) & _BITS, load(probe.sketch, SKETCHED)
    p1, q1 = load(probe.sketch, LANES) & _BITS, load(probe.sketch, SKETCHED + LANES)
    turn0 = whole(real(load(probe.sketch, 0) >> _DIRECTION))
    turn1 = whole(real(load(probe.sketch, LANES) >> _DIRECTION))
    scale0 = scale1 = spread(ZERO)
    if probe.minutiae[0] > 0:
        scale0 = load(probe.norm, a0) * (TWO / _STEPS)
    if probe.minutiae[0] > LANES:
        scale1 = load(probe.norm, a0 + LANES) * (TWO / _STEPS)
    for i in range(len(chosen)):
        t = chosen[i]
        b0 = references.offsets[t]
        first = references.sketch[_WORDS * t : _WORDS * t + SKETCHED]
        second = references.sketch[_WORDS * t + SKETCHED : _WORDS * t + _WORDS]
        best0 = best1 = spread(_i(0))
        for b in range(min(references.minutiae[t], SKETCHED)):
            norm, turn = references.norm[b0 + b] * _STEPS, _i(first[b] >> _DIRECTION)
            common0 = count_bits(p0 & first[b]) + count_bits(q0 & second[b])
            common1 = count_bits(p1 & first[b]) + count_bits(q1 & second[b])
            best0 = larger(best0, (whole(real(common0) * norm) & _UPPER) | turn)
            best1 = larger(best1, (whole(real(common1) * norm) & _UPPER) | turn)
        w0, w1 = _vote(best0, scale0), _vote(best1, scale1)
        by0, by1 = best0 - turn0, best1 - turn1
        along = total(w0 * _cosine(by0) + w1 * _cosine(by1))
        across = total(w0 * _cosine(by0 + _SIX) + w1 * _cosine(by1 + _SIX))
        promise[i] = total(w0 + w1) + math.sqrt(along * along + across * across) + max(along, ZERO)


@kernel
def _vote(best: Any, scale: Any) -> Any:
    similarity = real(best) * scale
    square = similarity * similarity
    return square * square


@kernel
def _cosine(eighths: Any) -> Any:
    k = real(eighths & _EIGHTHS)
    z = larger(k - _FOUR, _FOUR - k) - TWO
    return z * (_SLOPE - z * z * _CUBE)
