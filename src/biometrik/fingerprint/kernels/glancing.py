"""A quicker guess than screening, for galleries of many: it reads a quarter of what a template holds.

What is read are the sketches of its best minutiae (:func:`biometrik.fingerprint.descriptors.sketches`): half of the
code's bits, and the direction in eighths of a turn, which is all that votes for rotations need.

Each of the probe's best minutiae votes as in screening, by a higher power of the similarity: with half of the bits,
chance similarities are nearer to true ones. Eight minutiae of the probe are in one register and every minutia of the
reference comes by once for each eight: there is nothing to be gathered across lanes before the reference's end.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.descriptors import SKETCH_BITS, SKETCH_WORDS, SKETCHED
from biometrik.fingerprint.kernels.compiling import entrance, kernel
from biometrik.fingerprint.kernels.lanes import LANES, count_bits, larger, load, real, spread, total, whole
from biometrik.fingerprint.kernels.layout import TWO, ZERO, Packed

_f, _i, _u = np.float32, np.int32, np.uint64
#: Minutiae of the probe that a glance looks at, the best; by eights.
GLANCED: Final = 16
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
    used = min(probe.minutiae[0], GLANCED)
    for i in range(len(chosen)):
        t = chosen[i]
        nb, b0 = min(references.minutiae[t], SKETCHED), references.offsets[t]
        first_b = references.sketch[_WORDS * t : _WORDS * t + SKETCHED]
        second_b = references.sketch[_WORDS * t + SKETCHED : _WORDS * t + _WORDS]
        votes = along = across = spread(ZERO)
        for a in range(0, used, LANES):
            p, q = load(probe.sketch, a) & _BITS, load(probe.sketch, SKETCHED + a)
            best = spread(_i(0))
            for b in range(nb):
                common = count_bits(p & first_b[b]) + count_bits(q & second_b[b])
                level = whole(real(common) * (references.norm[b0 + b] * _STEPS)) & _UPPER
                best = larger(best, level | _i(first_b[b] >> _DIRECTION))
            w = real(best) * load(probe.norm, a0 + a) * (TWO / _STEPS)
            w = w * w
            w = w * w
            turn = (best & _EIGHTHS) - whole(real(load(probe.sketch, a) >> _DIRECTION))
            votes = votes + w
            along = along + w * _cosine(turn)
            across = across + w * _cosine(turn + _SIX)
        upright, aside = total(along), total(across)
        promise[i] = total(votes) + math.sqrt(upright * upright + aside * aside) + max(upright, ZERO)


@kernel
def _cosine(eighths: NDArray[np.int32]) -> NDArray[np.float32]:
    k = real(eighths & _EIGHTHS)
    z = larger(k - _FOUR, _FOUR - k) - TWO
    return z * (_SLOPE - z * z * _CUBE)
