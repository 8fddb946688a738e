"""One print laid on the other: a rigid motion around every minutia, by the pairs near it (moving least squares)."""

import math
from typing import Final

import numpy as np

from biometrik.fingerprint.kernels.compiling import kernel
from biometrik.fingerprint.kernels.lanes import (
    LANES,
    least,
    load,
    nothing_at,
    places,
    root,
    smaller,
    spread,
    store,
    whole,
)
from biometrik.fingerprint.kernels.layout import (
    AX,
    AY,
    BX,
    BY,
    COS,
    CROSS,
    DOT,
    EXACT,
    MCOS,
    MSIN,
    MX,
    MY,
    ONE,
    SIN,
    TWO,
    WEIGHT,
    ZERO,
    Packed,
    Scratch,
    note,
)

_f, _i = np.float32, np.int32
REACH_PX2: Final = _f(60.0**2)
ARM_PX2: Final = _f(40.0**2)
NOISE_PX2: Final = _f(5.0**2)
BEND_PX2: Final = _f(15.0**2)
FEW: Final = _f((5.0 / 15.0) ** 2)
GLOBAL: Final = _f(0.03)
TURN2: Final = _f(0.2**2)
CUT: Final = _f(9.0)
#: Differences are compared as whole numbers with the minutia's index below.
STEPS: Final = _f(4096.0)
FAR: Final = _f(1000.0)
NONE: Final = _i(0x7FFFFFFF)


@kernel
def fit(pairs: int, s: Scratch) -> None:
    """Fill ``s.fit`` with one rigid motion for all pairs, by their weights."""
    total = middle_ax = middle_ay = middle_bx = middle_by = ZERO
    for i in range(pairs):
        w = s.pair[WEIGHT, i]
        total += w
        middle_ax += w * s.pair[AX, i]
        middle_ay += w * s.pair[AY, i]
        middle_bx += w * s.pair[BX, i]
        middle_by += w * s.pair[BY, i]
    middle_ax /= total
    middle_ay /= total
    middle_bx /= total
    middle_by /= total
    c = d = ZERO
    for i in range(pairs):
        w = s.pair[WEIGHT, i]
        ax, ay = s.pair[AX, i] - middle_ax, s.pair[AY, i] - middle_ay
        bx, by = s.pair[BX, i] - middle_bx, s.pair[BY, i] - middle_by
        s.pair[DOT, i] = ax * bx + ay * by + ARM_PX2 * s.pair[COS, i]
        s.pair[CROSS, i] = ax * by - ay * bx + ARM_PX2 * s.pair[SIN, i]
        c += w * s.pair[DOT, i]
        d += w * s.pair[CROSS, i]
    norm = math.sqrt(c * c + d * d) + _f(1e-12)
    s.fit[0], s.fit[1] = c / norm, d / norm
    s.fit[2], s.fit[3], s.fit[4], s.fit[5] = middle_ax, middle_ay, middle_bx, middle_by


@kernel
def move(A: Packed, ta: int, pairs: int, s: Scratch) -> None:
    """Fill ``s.moved``: where each minutia of A would lie in B by the pairs near it, and how sure that is.

    A pair does not move its own minutia.
    """
    a0, a1 = A.offsets[ta], A.offsets[ta + 1]
    cos, sin = s.fit[0], s.fit[1]
    middle_ax, middle_ay, middle_bx, middle_by = s.fit[2], s.fit[3], s.fit[4], s.fit[5]
    x_of, y_of, cos_of, sin_of = A.x[a0:a1], A.y[a0:a1], A.cos[a0:a1], A.sin[a0:a1]
    for a in range(0, a1 - a0, LANES):
        x, y, here = load(x_of, a), load(y_of, a), places(a)
        # The motion of the whole counts a little, wherever one is; its middle is the origin.
        weights = spread(GLOBAL)
        dots, crosses = spread(GLOBAL * ARM_PX2 * cos), spread(GLOBAL * ARM_PX2 * sin)
        sum_ax = sum_ay = sum_bx = sum_by = spread(ZERO)
        for i in range(pairs):
            px, py = s.pair[AX, i], s.pair[AY, i]
            dx, dy = x - px, y - py
            t = (dx * dx + dy * dy) * (ONE / REACH_PX2) + ONE
            w = nothing_at(spread(s.pair[WEIGHT, i]) / (t * t), here, s.pairs[0, i])
            weights = weights + w
            sum_ax = sum_ax + w * (px - middle_ax)
            sum_ay = sum_ay + w * (py - middle_ay)
            sum_bx = sum_bx + w * (s.pair[BX, i] - middle_bx)
            sum_by = sum_by + w * (s.pair[BY, i] - middle_by)
            dots = dots + w * s.pair[DOT, i]
            crosses = crosses + w * s.pair[CROSS, i]
        per = ONE / weights
        c = dots - (sum_ax * sum_bx + sum_ay * sum_by) * per
        d = crosses - (sum_ax * sum_by - sum_ay * sum_bx) * per
        unit = ONE / root(c * c + d * d + _f(1e-12))
        c, d = c * unit, d * unit
        ux, uy = x - middle_ax - sum_ax * per, y - middle_ay - sum_ay * per
        store(s.moved[MX], a, c * ux - d * uy + sum_bx * per + middle_bx)
        store(s.moved[MY], a, d * ux + c * uy + sum_by * per + middle_by)
        store(s.moved[MCOS], a, c * load(cos_of, a) - d * load(sin_of, a))
        store(s.moved[MSIN], a, d * load(cos_of, a) + c * load(sin_of, a))
        store(s.moved[EXACT], a, ONE / (smaller(per * FEW, ONE) * BEND_PX2 + NOISE_PX2))


@kernel
def match(A: Packed, ta: int, B: Packed, tb: int, s: Scratch) -> int:
    """Pair each moved minutia with the nearest of B where that is mutual and near enough; return how many pairs.

    Fills ``s.pairs`` and ``s.pair``.
    """
    a0, count, b0, b1 = A.offsets[ta], A.minutiae[ta], B.offsets[tb], B.offsets[tb + 1]
    nb = b1 - b0
    x, y, cos, sin = B.x[b0:b1], B.y[b0:b1], B.cos[b0:b1], B.sin[b0:b1]
    of_a, of_b = s.nearest[0], s.nearest[1]
    of_b[:nb] = NONE
    for a in range(count):
        mx, my, mc, ms, exact = s.moved[MX, a], s.moved[MY, a], s.moved[MCOS, a], s.moved[MSIN, a], s.moved[EXACT, a]
        nearest = spread(NONE)
        for b in range(0, nb, LANES):
            dx, dy = mx - load(x, b), my - load(y, b)
            turned = TWO - (load(cos, b) * mc + load(sin, b) * ms) * TWO
            q = smaller((dx * dx + dy * dy) * exact + turned * (ONE / TURN2), FAR)
            code = whole(q * STEPS) << _i(8)
            nearest = smaller(nearest, code | places(b))
            store(of_b, b, smaller(load(of_b, b), code | _i(a)))
        of_a[a] = least(nearest)
    pairs = 0
    for a in range(count):
        b = of_a[a] & 255
        q = _f(of_a[a] >> 8) / STEPS
        if of_b[b] & 255 == a and q < CUT:
            note(A, a0 + a, B, b0 + b, pairs, s)
            s.pairs[0, pairs], s.pairs[1, pairs] = a, b
            s.pair[WEIGHT, pairs] = (ONE - q / CUT) * NOISE_PX2 * s.moved[EXACT, a]
            pairs += 1
    return pairs
