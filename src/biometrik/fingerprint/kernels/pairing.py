"""Which minutiae of one print may be which of the other: the likeness of their codes, population count by count."""

from typing import Final

import numpy as np

from biometrik.fingerprint.descriptors import DIRECTIONS
from biometrik.fingerprint.kernels.compiling import kernel
from biometrik.fingerprint.kernels.lanes import (
    LANES,
    count_bits,
    greatest,
    is_above,
    larger,
    load,
    places,
    real,
    smaller,
    spread,
    store,
    whole,
)
from biometrik.fingerprint.kernels.layout import GAMMA, MAX_PAIRS, ONE, ZERO, Packed, Scratch, note

_f, _i = np.float32, np.int32

# The prior of a print's rotation against another, nats above a uniform one: von Mises, standard deviation 25°, for
# people who put their fingers on devices upright, and as many turned anyhow, a cautious share. Where one is below the
# other's part it is cut, which needs no table.
UPRIGHT: Final = _f(1.25)
CONCENTRATION: Final = _f(1.0 / 0.44**2)
ANYHOW: Final = _f(-2.0)

# A pair's key is its similarity plus the prior of its rotation in units of similarity: a unit is worth 13 nats, the
# slope of the log odds of true pairs.
SIMILARITY_PER_NAT: Final = _f(1.0 / 13.0)
LEAST_KEY: Final = _f(0.1)
LEVELS: Final = 128
LEVELS_PER_KEY: Final = _f(LEVELS / 0.9)
HIGHEST: Final = _f(LEVELS - 1)
# Rounding towards 0 rounds down where numbers are positive; there are no levels below -LEVELS.
_ABOVE_ZERO: Final = _f(LEVELS)


@kernel
def candidates(A: Packed, ta: int, B: Packed, tb: int, s: Scratch) -> int:
    """Fill ``s.pairs`` and the first rows of ``s.pair`` with likely pairs without a minutia in common, best first.

    Returns how many, at most MAX_PAIRS; zeros follow them.
    """
    a0, a1, b0, b1 = A.offsets[ta], A.offsets[ta + 1], B.offsets[tb], B.offsets[tb + 1]
    step, nb = a1 - a0, b1 - b0
    wa, wb = A.words[DIRECTIONS * a0 : DIRECTIONS * a1], B.words[DIRECTIONS * b0 : DIRECTIONS * b1]
    w0, w1, w2, w3 = wb[:nb], wb[nb : 2 * nb], wb[2 * nb : 3 * nb], wb[3 * nb : 4 * nb]
    cb, sb, norm_b = B.cos[b0:b1], B.sin[b0:b1], B.norm[b0:b1]
    count = 0
    for a in range(A.minutiae[ta]):
        p0, p1, p2, p3 = wa[a], wa[step + a], wa[2 * step + a], wa[3 * step + a]
        scale, cai, sai = A.norm[a0 + a], A.cos[a0 + a], A.sin[a0 + a]
        codes = spread(_i(-1))
        for b in range(0, nb, LANES):
            common = (
                count_bits(load(w0, b) & p0)
                + count_bits(load(w1, b) & p1)
                + count_bits(load(w2, b) & p2)
                + count_bits(load(w3, b) & p3)
            )
            turned = load(cb, b) * cai + load(sb, b) * sai - ONE
            key = real(common) * scale * load(norm_b, b) + larger(turned * CONCENTRATION, ANYHOW) * SIMILARITY_PER_NAT
            level = smaller((key - LEAST_KEY) * LEVELS_PER_KEY, HIGHEST)
            codes = larger(codes, ((whole(level + _ABOVE_ZERO) - _i(LEVELS)) << _i(16)) | places(b))
        best = greatest(codes)
        if best >= 0:
            s.code[count] = best | ((255 - a) << 8)
            count += 1
    _sort(count, s)
    s.used[0, :step] = 0
    s.used[1, :nb] = 0
    s.pair[:, :MAX_PAIRS] = ZERO
    pairs = 0
    for i in range(count):
        a, b = 255 - ((s.order[i] >> 8) & 255), s.order[i] & 255
        if s.used[0, a] or s.used[1, b]:
            continue
        s.used[0, a] = s.used[1, b] = 1
        common_bits = _i(0)
        for d in range(DIRECTIONS):
            common_bits += _i(count_bits(wa[d * step + a] & wb[d * nb + b]))
        s.pair[GAMMA, pairs] = _f(common_bits) * A.norm[a0 + a] * norm_b[b]
        note(A, a0 + a, B, b0 + b, pairs, s)
        s.pairs[0, pairs], s.pairs[1, pairs] = a, b
        pairs += 1
        if pairs == MAX_PAIRS:
            break
    return pairs


@kernel
def _sort(count: int, s: Scratch) -> None:
    # Fills s.order, greatest code first. A code's place is how many are greater, which needs no branch; none is equal.
    for i in range(0, count, LANES):
        codes, greater = load(s.code, i), spread(_i(0))
        for j in range(count):
            greater = greater + is_above(s.code[j], codes)
        store(s.place, i, greater)
    for i in range(count):
        s.order[s.place[i]] = s.code[i]
