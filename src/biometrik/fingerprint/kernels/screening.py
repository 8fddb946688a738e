"""A quick guess which templates are worth comparing.

Each of the probe's best minutiae votes for the rotation to the most similar minutia of a reference, by the square of
their similarity. Mates have strong votes that agree; and because people put fingers on devices upright, votes for a
print that is not turned count once more.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.descriptors import DIRECTIONS
from biometrik.fingerprint.kernels.compiling import entrance
from biometrik.fingerprint.kernels.fetching import fetch_after
from biometrik.fingerprint.kernels.lanes import (
    LANES,
    count_bits,
    greatest,
    larger,
    load,
    places,
    real,
    spread,
    whole,
)
from biometrik.fingerprint.kernels.layout import ZERO, Packed

_f, _i = np.float32, np.int32
#: Minutiae of the probe that screening looks at, the best.
SCREENED: Final = 24
#: Similarities are compared as whole numbers with the minutia's place in the lower 8 bits.
STEPS: Final = _f(1 << 20)
UPPER: Final = _i(~255)


@entrance
def screen_many(
    probe: Packed, references: Packed, chosen: NDArray[np.int64], most: int, promise: NDArray[np.float32]
) -> None:
    """Fill how promising chosen templates of a pack are as mates of the first of another, by its best minutiae."""
    a0, a1 = probe.offsets[0], probe.offsets[1]
    step = a1 - a0
    wa = probe.words[DIRECTIONS * a0 : DIRECTIONS * a1]
    used = min(probe.minutiae[0], most)
    for i in range(len(chosen)):
        t = chosen[i]
        b0, b1 = references.offsets[t], references.offsets[t + 1]
        nb = b1 - b0
        fetch_after(references, chosen, i)
        wb = references.words[DIRECTIONS * b0 : DIRECTIONS * b1]
        w0, w1, w2, w3 = wb[:nb], wb[nb : 2 * nb], wb[2 * nb : 3 * nb], wb[3 * nb : 4 * nb]
        cb, sb, norm_b = references.cos[b0:b1], references.sin[b0:b1], references.norm[b0:b1]
        votes = along = across = ZERO
        for a in range(used if nb > 0 else 0):
            p0, p1, p2, p3 = wa[a], wa[step + a], wa[2 * step + a], wa[3 * step + a]
            scale = probe.norm[a0 + a] * STEPS
            codes = spread(_i(0))
            for b in range(0, nb, LANES):
                common = (
                    count_bits(load(w0, b) & p0)
                    + count_bits(load(w1, b) & p1)
                    + count_bits(load(w2, b) & p2)
                    + count_bits(load(w3, b) & p3)
                )
                codes = larger(codes, (whole(real(common) * scale * load(norm_b, b)) & UPPER) | places(b))
            best = greatest(codes)
            b = best & 255
            ca, sa = probe.cos[a0 + a], probe.sin[a0 + a]
            w = _f(best) * (_f(1.0) / STEPS)
            w *= w
            votes += w
            along += w * (ca * cb[b] + sa * sb[b])
            across += w * (ca * sb[b] - sa * cb[b])
        promise[i] = votes + math.sqrt(along * along + across * across) + max(along, ZERO)
