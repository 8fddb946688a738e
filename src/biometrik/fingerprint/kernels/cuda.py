"""The comparison on a GPU: one block of threads a reference, the stages of :mod:`.comparison` in shared memory.

What a thread computes of a minutia or a pair is what the processor's kernels compute, with their constants and, where
they are plain functions of numbers, their code. Sums run in the same order. A GPU fuses multiplications and additions,
so similarities differ by rounding, and by more where rounding moves a candidate by a level.

Whatever decides a branch around a barrier is the same for all threads of a block, so all of them reach every barrier.
"""

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numba.cuda
import numpy as np
from numba import float32, int32

from biometrik.fingerprint.descriptors import DIRECTIONS, SIDES
from biometrik.fingerprint.kernels import comparison, evidence, pairing, registration, screening, support
from biometrik.fingerprint.kernels.layout import (
    AX,
    AY,
    BX,
    BY,
    CERTAINTY,
    COS,
    CROSS,
    DOT,
    EXACT,
    EXCESS,
    GAMMA,
    HALF,
    LAMBDA,
    MAX_PAIRS,
    MCOS,
    MSIN,
    MX,
    MY,
    NEXT,
    ONE,
    SIN,
    SUPPORT,
    TWO,
    WEIGHT,
    ZERO,
)

_f, _i = np.float32, np.int32
# numba has no types.
cuda: Any = numba.cuda

#: Threads of a block: a warp, because prints have 20 to 60 minutiae.
THREADS: Final = 32
#: Length of rows: a print has at most 255 minutiae.
_ROOM: Final = 256

# As the processor's kernels have them; levels are int32 here.
_LEVELS = _i(pairing.LEVELS)
_CONCENTRATION, _ANYHOW, _PER_NAT = pairing.CONCENTRATION, pairing.ANYHOW, pairing.SIMILARITY_PER_NAT
_LEAST_KEY, _PER_KEY, _HIGHEST = pairing.LEAST_KEY, pairing.LEVELS_PER_KEY, pairing.HIGHEST
_RELAXATIONS, _ANCHORINGS, _ANCHOR = support.RELAXATIONS, support.ANCHORINGS, support.ANCHOR
_ARM_PX2, _PER_REACH_PX2, _GLOBAL = registration.ARM_PX2, ONE / registration.REACH_PX2, registration.GLOBAL
_NOISE_PX2, _BEND_PX2, _FEW = registration.NOISE_PX2, registration.BEND_PX2, registration.FEW
_PER_TURN2, _FAR, _STEPS = ONE / registration.TURN2, registration.FAR, registration.STEPS
_NONE, _CUT = registration.NONE, registration.CUT
_MARGIN_PX, _LEAST = evidence.MARGIN_PX, evidence.LEAST
_WORTH, _AGAIN, _REGISTRATIONS = comparison.WORTH, comparison.AGAIN, comparison.REGISTRATIONS
_SCREEN_STEPS, _UPPER = screening.STEPS, screening.UPPER


def _device(function: Any) -> Any:
    return cuda.jit(device=True)(getattr(function, "py_func", function))


def _launched(function: Callable[..., None]) -> Any:
    return cuda.jit(function)


@_device
def _larger(a: Any, b: Any) -> Any:
    # numba 0.68 cannot compile its own `max` and `min` for GPUs.
    return a if a > b else b


@_device
def _smaller(a: Any, b: Any) -> Any:
    return a if a < b else b


# Plain functions of numbers, as the processor has them.
_agreement = _device(support.agreement)
_wanted_pairs = _device(support.wanted_pairs)
_certainty = _device(evidence.certainty)
_surprise = _device(evidence.surprise)
_support_nats = _device(comparison.support_nats)
_rotation_nats = _device(comparison.rotation_nats)
_similarity_of = _device(comparison.similarity_of)


class Shared(NamedTuple):
    """A block's memory; as :class:`.layout.Scratch`, but for ``count``: how many pairs one thread found, for all."""

    code: Any
    order: Any
    pairs: Any
    pair: Any
    tight: Any
    loose: Any
    moved: Any
    nearest: Any
    fit: Any
    count: Any


@_device
def _note(A: Any, ta: int, a: int, B: Any, tb: int, b: int, pair: int, s: Any) -> None:
    # The geometry of a pair of minutiae, into s.pairs and s.pair.
    s.pairs[0, pair], s.pairs[1, pair] = a, b
    i, j = A.offsets[ta] + a, B.offsets[tb] + b
    s.pair[AX, pair], s.pair[AY, pair], s.pair[BX, pair], s.pair[BY, pair] = A.x[i], A.y[i], B.x[j], B.y[j]
    s.pair[COS, pair] = A.cos[i] * B.cos[j] + A.sin[i] * B.sin[j]
    s.pair[SIN, pair] = A.cos[i] * B.sin[j] - A.sin[i] * B.cos[j]


@_device
def _common_bits(A: Any, ta: int, a: int, B: Any, tb: int, b: int) -> Any:
    # As a real number.
    a0, b0 = A.offsets[ta], B.offsets[tb]
    na, nb = A.offsets[ta + 1] - a0, B.offsets[tb + 1] - b0
    common = _i(0)
    for d in range(DIRECTIONS):
        common += _i(cuda.popc(A.words[DIRECTIONS * a0 + d * na + a] & B.words[DIRECTIONS * b0 + d * nb + b]))
    return _f(common)


@_device
def _candidates(A: Any, ta: int, B: Any, tb: int, s: Any) -> Any:
    # See pairing.candidates.
    a0, b0, na, nb = A.offsets[ta], B.offsets[tb], A.minutiae[ta], B.minutiae[tb]
    for a in range(cuda.threadIdx.x, na, THREADS):
        best = _i(-1)
        for b in range(nb):
            turned = B.cos[b0 + b] * A.cos[a0 + a] + B.sin[b0 + b] * A.sin[a0 + a] - ONE
            key = (
                _common_bits(A, ta, a, B, tb, b) * A.norm[a0 + a] * B.norm[b0 + b]
                + _larger(turned * _CONCENTRATION, _ANYHOW) * _PER_NAT
            )
            level = _smaller((key - _LEAST_KEY) * _PER_KEY, _HIGHEST)
            code = ((_i(level + _f(_LEVELS)) - _LEVELS) << 16) | ((255 - a) << 8) | b
            best = _larger(best, _i(code))
        s.code[a] = best
        s.order[a] = -1
    cuda.syncthreads()
    for a in range(cuda.threadIdx.x, na, THREADS):
        if s.code[a] >= 0:
            place = 0
            for other in range(na):
                if s.code[other] > s.code[a]:
                    place += 1
            s.order[place] = s.code[a]
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        pairs = 0
        for i in range(na):
            if s.order[i] < 0 or pairs == MAX_PAIRS:
                break
            a, b = 255 - ((s.order[i] >> 8) & 255), s.order[i] & 255
            used = False
            for j in range(pairs):
                used = used or s.pairs[1, j] == b
            if not used:
                s.pairs[0, pairs], s.pairs[1, pairs] = a, b
                pairs += 1
        s.count[0] = pairs
    cuda.syncthreads()
    for i in range(cuda.threadIdx.x, MAX_PAIRS, THREADS):
        for row in range(GAMMA + 1):
            s.pair[row, i] = ZERO
        if i < s.count[0]:
            a, b = s.pairs[0, i], s.pairs[1, i]
            s.pair[GAMMA, i] = _common_bits(A, ta, a, B, tb, b) * A.norm[a0 + a] * B.norm[b0 + b]
            _note(A, ta, a, B, tb, b, i, s)
    cuda.syncthreads()
    return s.count[0]


@_device
def _agree(pairs: int, s: Any) -> None:
    # See support.agree.
    for k in range(cuda.threadIdx.x, MAX_PAIRS * MAX_PAIRS, THREADS):
        i, j = k // MAX_PAIRS, k % MAX_PAIRS
        tight = loose = ZERO
        if i < pairs and i != j:
            tight, loose = _agreement(
                s.pair[AX, i] - s.pair[AX, j],
                s.pair[AY, i] - s.pair[AY, j],
                s.pair[BX, i] - s.pair[BX, j],
                s.pair[BY, i] - s.pair[BY, j],
                s.pair[COS, i] + s.pair[COS, j],
                s.pair[SIN, i] + s.pair[SIN, j],
            )
        s.tight[i, j], s.loose[i, j] = tight, loose
    cuda.syncthreads()


@_device
def _multiply(matrix: Any, vector: int, out: int, s: Any) -> None:
    # Rows of s.pair; see support.multiply.
    for i in range(cuda.threadIdx.x, MAX_PAIRS, THREADS):
        total = ZERO
        for j in range(MAX_PAIRS):
            total += matrix[j, i] * s.pair[vector, j]
        s.pair[out, i] = total
    cuda.syncthreads()


@_device
def _relax(pairs: int, fewer: int, s: Any) -> Any:
    # See support.relax.
    share = HALF / _f(fewer - 1)
    for i in range(cuda.threadIdx.x, MAX_PAIRS, THREADS):
        s.pair[LAMBDA, i] = s.pair[GAMMA, i]
    cuda.syncthreads()
    for _ in range(_RELAXATIONS):
        _multiply(s.tight, LAMBDA, NEXT, s)
        for i in range(cuda.threadIdx.x, MAX_PAIRS, THREADS):
            s.pair[LAMBDA, i] = HALF * s.pair[LAMBDA, i] + share * s.pair[NEXT, i]
        cuda.syncthreads()
    for i in range(cuda.threadIdx.x, pairs, THREADS):
        s.pair[CERTAINTY, i] = s.pair[LAMBDA, i] / s.pair[GAMMA, i]
    cuda.syncthreads()
    for i in range(cuda.threadIdx.x, pairs, THREADS):
        place = 0
        for j in range(pairs):
            more, as_much = s.pair[CERTAINTY, j] > s.pair[CERTAINTY, i], s.pair[CERTAINTY, j] == s.pair[CERTAINTY, i]
            if more or (as_much and j < i):
                place += 1
        s.pair[NEXT, place] = s.pair[LAMBDA, i]
    cuda.syncthreads()
    wanted, total = _wanted_pairs(fewer), ZERO
    for i in range(_smaller(wanted, pairs)):
        total += s.pair[NEXT, i]
    cuda.syncthreads()
    return total / _f(wanted)


@_device
def _anchors(pairs: int, s: Any) -> Any:
    # See support.anchors.
    _multiply(s.tight, GAMMA, SUPPORT, s)
    for i in range(cuda.threadIdx.x, MAX_PAIRS, THREADS):
        s.pair[CERTAINTY, i] = s.pair[SUPPORT, i]
    cuda.syncthreads()
    for _ in range(_ANCHORINGS):
        _multiply(s.loose, CERTAINTY, NEXT, s)
        most = ZERO
        for i in range(pairs):
            most = _larger(most, s.pair[NEXT, i] * s.pair[SUPPORT, i])
        if most <= ZERO:
            return _i(0)
        for i in range(cuda.threadIdx.x, pairs, THREADS):
            s.pair[CERTAINTY, i] = math.sqrt(s.pair[NEXT, i] * s.pair[SUPPORT, i] / most)
        cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        kept = 0
        for i in range(pairs):
            if s.pair[CERTAINTY, i] > _ANCHOR:
                s.pairs[0, kept], s.pairs[1, kept] = s.pairs[0, i], s.pairs[1, i]
                for row in range(GAMMA):
                    s.pair[row, kept] = s.pair[row, i]
                s.pair[WEIGHT, kept] = s.pair[CERTAINTY, i]
                kept += 1
        s.count[0] = kept
    cuda.syncthreads()
    return s.count[0]


@_device
def _fit(pairs: int, s: Any) -> None:
    # See registration.fit. One thread: sums of few.
    if cuda.threadIdx.x == 0:
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
            ax, ay = s.pair[AX, i] - middle_ax, s.pair[AY, i] - middle_ay
            bx, by = s.pair[BX, i] - middle_bx, s.pair[BY, i] - middle_by
            s.pair[DOT, i] = ax * bx + ay * by + _ARM_PX2 * s.pair[COS, i]
            s.pair[CROSS, i] = ax * by - ay * bx + _ARM_PX2 * s.pair[SIN, i]
            c += s.pair[WEIGHT, i] * s.pair[DOT, i]
            d += s.pair[WEIGHT, i] * s.pair[CROSS, i]
        norm = _f(math.sqrt(c * c + d * d)) + _f(1e-12)
        s.fit[0], s.fit[1] = c / norm, d / norm
        s.fit[2], s.fit[3], s.fit[4], s.fit[5] = middle_ax, middle_ay, middle_bx, middle_by
    cuda.syncthreads()


@_device
def _move(A: Any, ta: int, pairs: int, s: Any) -> None:
    # See registration.move.
    a0 = A.offsets[ta]
    for a in range(cuda.threadIdx.x, A.minutiae[ta], THREADS):
        x, y = A.x[a0 + a], A.y[a0 + a]
        weights, dots, crosses = _GLOBAL, _GLOBAL * _ARM_PX2 * s.fit[0], _GLOBAL * _ARM_PX2 * s.fit[1]
        sum_ax = sum_ay = sum_bx = sum_by = ZERO
        for i in range(pairs):
            if s.pairs[0, i] == a:
                continue
            dx, dy = x - s.pair[AX, i], y - s.pair[AY, i]
            t = (dx * dx + dy * dy) * _PER_REACH_PX2 + ONE
            w = s.pair[WEIGHT, i] / (t * t)
            weights += w
            sum_ax += w * (s.pair[AX, i] - s.fit[2])
            sum_ay += w * (s.pair[AY, i] - s.fit[3])
            sum_bx += w * (s.pair[BX, i] - s.fit[4])
            sum_by += w * (s.pair[BY, i] - s.fit[5])
            dots += w * s.pair[DOT, i]
            crosses += w * s.pair[CROSS, i]
        per = ONE / weights
        c = dots - (sum_ax * sum_bx + sum_ay * sum_by) * per
        d = crosses - (sum_ax * sum_by - sum_ay * sum_bx) * per
        unit = ONE / _f(math.sqrt(c * c + d * d + _f(1e-12)))
        c, d = c * unit, d * unit
        ux, uy = x - s.fit[2] - sum_ax * per, y - s.fit[3] - sum_ay * per
        s.moved[MX, a] = c * ux - d * uy + sum_bx * per + s.fit[4]
        s.moved[MY, a] = d * ux + c * uy + sum_by * per + s.fit[5]
        s.moved[MCOS, a] = c * A.cos[a0 + a] - d * A.sin[a0 + a]
        s.moved[MSIN, a] = d * A.cos[a0 + a] + c * A.sin[a0 + a]
        s.moved[EXACT, a] = ONE / (_smaller(per * _FEW, ONE) * _BEND_PX2 + _NOISE_PX2)
    cuda.syncthreads()


@_device
def _match(A: Any, ta: int, B: Any, tb: int, s: Any) -> Any:
    # See registration.match.
    b0, na, nb = B.offsets[tb], A.minutiae[ta], B.minutiae[tb]
    for b in range(cuda.threadIdx.x, nb, THREADS):
        s.nearest[1, b] = _NONE
    cuda.syncthreads()
    for a in range(cuda.threadIdx.x, na, THREADS):
        nearest = _NONE
        for b in range(nb):
            dx, dy = s.moved[MX, a] - B.x[b0 + b], s.moved[MY, a] - B.y[b0 + b]
            turned = TWO - (B.cos[b0 + b] * s.moved[MCOS, a] + B.sin[b0 + b] * s.moved[MSIN, a]) * TWO
            q = _smaller((dx * dx + dy * dy) * s.moved[EXACT, a] + turned * _PER_TURN2, _FAR)
            code = _i(q * _STEPS) << 8
            nearest = _smaller(nearest, _i(code | b))
            cuda.atomic.min(s.nearest, (1, b), _i(code | a))
        s.nearest[0, a] = nearest
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        pairs = 0
        for a in range(na):
            b = s.nearest[0, a] & 255
            q = _f(s.nearest[0, a] >> 8) / _STEPS
            if s.nearest[1, b] & 255 == a and q < _CUT:
                _note(A, ta, a, B, tb, b, pairs, s)
                s.pair[WEIGHT, pairs] = (ONE - q / _CUT) * _NOISE_PX2 * s.moved[EXACT, a]
                pairs += 1
        s.count[0] = pairs
    cuda.syncthreads()
    return s.count[0]


@_device
def _alone(P: Any, tp: int, side: int, pairs: int, Q: Any, tq: int, normals: Any, s: Any) -> Any:
    # The weight of the moved but unmatched minutiae of template tp within reach of tq; see evidence._alone.
    p0, count = P.offsets[tp], P.minutiae[tp]
    for i in range(cuda.threadIdx.x, count, THREADS):
        excess = _LEAST
        for k in range(SIDES):
            far = Q.reach[SIDES * tq + k] + _MARGIN_PX
            excess = _larger(excess, s.moved[MX, i] * normals[0, k] + s.moved[MY, i] * normals[1, k] - far)
        s.moved[EXCESS, i] = excess
    cuda.syncthreads()
    for i in range(cuda.threadIdx.x, pairs, THREADS):
        s.moved[EXCESS, s.pairs[side, i]] = ONE
    cuda.syncthreads()
    total = ZERO
    for i in range(count):
        if s.moved[EXCESS, i] <= ZERO:
            total += P.weight[p0 + i]
    cuda.syncthreads()
    return total


@_device
def _evidence(A: Any, ta: int, B: Any, tb: int, pairs: int, normals: Any, s: Any) -> Any:
    # See evidence.evidence.
    b0 = B.offsets[tb]
    for i in range(cuda.threadIdx.x, pairs, THREADS):
        a, b = s.pairs[0, i], s.pairs[1, i]
        dx, dy = s.moved[MX, a] - s.pair[BX, i], s.moved[MY, a] - s.pair[BY, i]
        turned = s.moved[MCOS, a] * B.sin[b0 + b] - s.moved[MSIN, a] * B.cos[b0 + b]
        s.pair[CERTAINTY, i] = _certainty(dx, dy, turned)
    cuda.syncthreads()
    matched = ZERO
    for i in range(pairs):
        matched += s.pair[CERTAINTY, i]
    alone = _alone(A, ta, 0, pairs, B, tb, normals, s)
    for b in range(cuda.threadIdx.x, B.minutiae[tb], THREADS):
        ux, uy = B.x[b0 + b] - s.fit[4], B.y[b0 + b] - s.fit[5]
        s.moved[MX, b] = ux * s.fit[0] + uy * s.fit[1] + s.fit[2]
        s.moved[MY, b] = uy * s.fit[0] - ux * s.fit[1] + s.fit[3]
    cuda.syncthreads()
    alone += _alone(B, tb, 1, pairs, A, ta, normals, s)
    return _surprise(matched, alone)


@_device
def _compare(A: Any, ta: int, B: Any, tb: int, normals: Any, s: Any) -> Any:
    # See comparison.compare.
    fewer = _smaller(A.minutiae[ta], B.minutiae[tb])
    if fewer < 2:
        return ZERO
    pairs = _candidates(A, ta, B, tb, s)
    if pairs < 2:
        return ZERO
    _agree(pairs, s)
    support_ = _relax(pairs, fewer, s)
    pairs = _anchors(pairs, s) if support_ > _WORTH else _i(0)
    for again in range(_REGISTRATIONS):
        if pairs < 2 or (again > 0 and _f(pairs) < _AGAIN * _f(fewer)):
            break
        _fit(pairs, s)
        _move(A, ta, pairs, s)
        pairs = _match(A, ta, B, tb, s)
    nats = _support_nats(support_)
    if pairs > 1:
        nats += _evidence(A, ta, B, tb, pairs, normals, s)
        nats += _rotation_nats(s.fit[0])
    return _similarity_of(nats)


@_launched
def compare_many(probe: Any, references: Any, chosen: Any, normals: Any, similarity: Any) -> None:
    """Fill similarities as :func:`.comparison.compare_many`: a block of THREADS threads for each of ``chosen``."""
    s = Shared(
        cuda.shared.array(_ROOM, int32),
        cuda.shared.array(_ROOM, int32),
        cuda.shared.array((2, _ROOM), int32),
        cuda.shared.array((14, _ROOM), float32),
        cuda.shared.array((MAX_PAIRS, MAX_PAIRS), float32),
        cuda.shared.array((MAX_PAIRS, MAX_PAIRS), float32),
        cuda.shared.array((6, _ROOM), float32),
        cuda.shared.array((2, _ROOM), int32),
        cuda.shared.array(8, float32),
        cuda.shared.array(1, int32),
    )
    t = chosen[cuda.blockIdx.x]
    # See comparison.takes_second_part.
    second = probe.minutiae[0] > references.minutiae[t] or (
        probe.minutiae[0] == references.minutiae[t] and probe.key[0] > references.key[t]
    )
    found = _compare(references, t, probe, 0, normals, s) if second else _compare(probe, 0, references, t, normals, s)
    if cuda.threadIdx.x == 0:
        similarity[cuda.blockIdx.x] = found


@_launched
def screen_many(probe: Any, references: Any, chosen: Any, most: Any, promise: Any) -> None:
    """Fill promises as :func:`.screening.screen_many`: a block of THREADS threads for each of ``chosen``.

    ``most`` is at most THREADS.
    """
    votes = cuda.shared.array((3, THREADS), float32)
    t, a = chosen[cuda.blockIdx.x], cuda.threadIdx.x
    b0, nb = references.offsets[t], references.minutiae[t]
    used = _smaller(probe.minutiae[0], _i(most)) if nb > 0 else _i(0)
    if a < used:
        p = probe.offsets[0] + a
        scale, best = probe.norm[p] * _SCREEN_STEPS, _i(0)
        for b in range(nb):
            code = _i(_common_bits(probe, 0, a, references, t, b) * scale * references.norm[b0 + b])
            best = _larger(best, _i((code & _UPPER) | b))
        r = b0 + (best & 255)
        w = _f(best) * (ONE / _SCREEN_STEPS)
        votes[0, a] = w * w
        votes[1, a] = w * w * (probe.cos[p] * references.cos[r] + probe.sin[p] * references.sin[r])
        votes[2, a] = w * w * (probe.cos[p] * references.sin[r] - probe.sin[p] * references.cos[r])
    cuda.syncthreads()
    if a == 0:
        total = along = across = ZERO
        for i in range(used):
            total += votes[0, i]
            along += votes[1, i]
            across += votes[2, i]
        promise[cuda.blockIdx.x] = total + _f(math.sqrt(along * along + across * across)) + _larger(along, ZERO)
