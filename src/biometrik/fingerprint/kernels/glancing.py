"""A quicker guess than screening, for galleries of many: it reads a quarter of what a template holds.

What is read are the sketches of its best minutiae (:func:`biometrik.fingerprint.descriptors.sketches`): half of the
code's bits, and the direction in eighths of a turn, which is all that votes for rotations need.

Each of the probe's best minutiae votes as in screening, by a higher power of the similarity: with half of the bits,
chance similarities are nearer to true ones. Eight minutiae of the probe are in one register and each minutia of the
reference comes by once for sixteen: there is nothing to be gathered across lanes before the reference's end.
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
#: Minutiae of the probe that a glance holds at a time: two registers.
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
def glance_many(
    probe: Packed, references: Packed, chosen: NDArray[np.int64], most: int, promise: NDArray[np.float32]
) -> None:
    """Fill how promising chosen templates of a pack are as mates of the first of another, by sketches.

    ``most`` is of the probe's best minutiae, a multiple of :data:`GLANCED` up to ``SKETCHED``.
    """
    a0 = probe.offsets[0]
    used = min(probe.minutiae[0], most)
    for i in range(len(chosen)):
        t = chosen[i]
        b0 = references.offsets[t]
        first = references.sketch[_WORDS * t : _WORDS * t + SKETCHED]
        second = references.sketch[_WORDS * t + SKETCHED : _WORDS * t + _WORDS]
        norms = references.norm[b0 : references.offsets[t + 1]]
        seen = min(references.minutiae[t], SKETCHED)
        votes = along = across = spread(ZERO)
        for a in range(0, used, GLANCED):
            p0, q0 = load(probe.sketch, a) & _BITS, load(probe.sketch, SKETCHED + a)
            p1, q1 = load(probe.sketch, a + LANES) & _BITS, load(probe.sketch, SKETCHED + a + LANES)
            best0 = best1 = spread(_i(0))
            for b in range(seen):
                norm, turn = norms[b] * _STEPS, _i(first[b] >> _DIRECTION)
                common0 = count_bits(p0 & first[b]) + count_bits(q0 & second[b])
                common1 = count_bits(p1 & first[b]) + count_bits(q1 & second[b])
                best0 = larger(best0, (whole(real(common0) * norm) & _UPPER) | turn)
                best1 = larger(best1, (whole(real(common1) * norm) & _UPPER) | turn)
            w0 = _vote(best0, load(probe.norm, a0 + a) * (TWO / _STEPS))
            w1 = spread(ZERO)
            if a + LANES < used:
                w1 = _vote(best1, load(probe.norm, a0 + a + LANES) * (TWO / _STEPS))
            by0 = best0 - whole(real(load(probe.sketch, a) >> _DIRECTION))
            by1 = best1 - whole(real(load(probe.sketch, a + LANES) >> _DIRECTION))
            votes = votes + (w0 + w1)
            along = along + w0 * _cosine(by0) + w1 * _cosine(by1)
            across = across + w0 * _cosine(by0 + _SIX) + w1 * _cosine(by1 + _SIX)
        by_all, x, y = total(votes), total(along), total(across)
        promise[i] = by_all + math.sqrt(x * x + y * y) + max(x, ZERO)


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
