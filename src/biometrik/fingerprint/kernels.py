"""The arithmetic of comparing two sets of cylinder codes; :mod:`biometrik.fingerprint.matchers.cylinders` explains it.

One comparison runs through five stages, each a function that fills the caller's scratch and allocates nothing: pairs of
minutiae with like codes (:func:`_candidates`), how well any two pairs agree (:func:`_agree`), the support of each pair
by the others (:func:`_support`), registration of one print on the other (:func:`_register`), and what it is all worth
(:func:`_evidence`). Private kernels: they trust their input. All are in this file because numba's cache does not notice
changes of callees in other files.

Sums run along contiguous arrays of independent accumulators, so the compiler needs no licence to reorder floating-point
additions in order to vectorise: no ``fastmath``. Constants are float32, else everything would become float64.
"""

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from biometrik.fingerprint.descriptors import DIRECTIONS, SIDES
from biometrik.fingers import MAX_MINUTIAE

_f, _i = np.float32, np.int32
_ZERO, _HALF, _ONE, _TWO, _FOUR = _f(0.0), _f(0.5), _f(1.0), _f(2.0), _f(4.0)

#: Most pairs of minutiae that take part in the relaxation.
MAX_PAIRS: Final = 16

# The prior of a print's rotation against another, nats above a uniform one: von Mises, standard deviation 25°, for
# people who put their fingers on devices upright, and as many turned anyhow, a cautious share. Where one is below the
# other's part it is cut, which needs no table.
_UPRIGHT: Final = _f(1.25)
_CONCENTRATION: Final = _f(1.0 / 0.44**2)
_ANYHOW: Final = _f(-2.0)

#: A template's minutiae are padded to a multiple of this, so that vector loops have no remainder; the padding's place.
LANES: Final = 8
NOWHERE_PX: Final = -10_000.0
#: Length of rows: 17 cache lines, so that rows begin at one and do not alias in the lower 12 bits of addresses.
_ROOM: Final = 272

# Candidates. A pair's key is its similarity plus the prior of its rotation in units of similarity: a unit is worth 13
# nats, the slope of the log odds of true pairs.
_SIMILARITY_PER_NAT: Final = _f(1.0 / 13.0)
_LEAST_KEY: Final = _f(0.1)
_LEVELS: Final = 128
_LEVELS_PER_KEY: Final = _f(_LEVELS / 0.9)

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

_RELAXATIONS: Final = 5
_ANCHORINGS: Final = 4
_ANCHOR: Final = _f(0.3)

# Registration.
_REACH_PX2: Final = _f(60.0**2)
_ARM_PX2: Final = _f(40.0**2)
_NOISE_PX2: Final = _f(5.0**2)
_BEND_PX2: Final = _f(15.0**2)
_FEW: Final = _f((5.0 / 15.0) ** 2)
_GLOBAL: Final = _f(0.03)
_TURN2: Final = _f(0.2**2)
_CUT: Final = _f(9.0)
_REGISTRATIONS: Final = 2
#: Less than this share of the smaller print's minutiae matched is not worth another registration.
_AGAIN: Final = _f(0.3)
#: Differences are compared as whole numbers with the minutia's index below.
_STEPS: Final = _f(4096.0)
_FAR: Final = _f(1000.0)

#: Minutiae of the probe that screening looks at, and that a glance does, the best.
SCREENED: Final = 24
GLANCED: Final = 6

# Evidence.
_WORTH: Final = _f(0.0082)
_LOGIT: Final = _f(3.9)
_LOGIT_PX: Final = _f(0.45)
_LOGIT_RAD: Final = _f(10.5)
_CHANCE: Final = _f(0.2)
_SUPPORT_WEIGHT: Final = _f(4.0)
_SUPPORT_FLOOR: Final = _f(0.01)
_MARGIN_PX: Final = _f(10.0)
_ORIGIN: Final = _f(20.0)
_SCALE: Final = _f(8.0)


F = TypeVar("F", bound=Callable[..., Any])


def _kernel(function: F) -> F:
    # Compiled on first use. Without numba's run-time, so that it cannot allocate, and does not count references to
    # arrays: every slice would cost an atomic increment and decrement, a twentieth of the time.
    compile_: Any = njit
    return cast(F, compile_(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))


def _count_bits(_context: Any, _word: Any) -> Any:
    # Bits set in a word: LLVM's ctpop, `popcnt` or its vector form where the loop allows.
    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), build


def _multiply_symmetric(_context: Any, matrix: Any, vector: Any, out: Any) -> Any:
    # out = matrix · vector for a symmetric (MAX_PAIRS, MAX_PAIRS) float32 matrix, column by column in registers: a loop
    # over `out` would wait for its own stores, because the compiler cannot know that the arrays do not overlap.
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.VectorType(ir.FloatType(), LANES)
        pointers = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        matrix, vector, out = pointers

        def block(array: Any, index: int) -> Any:
            place = builder.gep(array, [ir.Constant(ir.IntType(64), index)])
            return builder.bitcast(place, lanes.as_pointer())

        blocks = range(0, MAX_PAIRS, LANES)
        sums = [ir.Constant(lanes, [0.0] * LANES) for _ in blocks]
        for i in range(MAX_PAIRS):
            scalar = builder.load(builder.gep(vector, [ir.Constant(ir.IntType(64), i)]))
            weight = builder.insert_element(ir.Constant(lanes, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
            weight = builder.shuffle_vector(
                weight, weight, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            )
            for k, j in enumerate(blocks):
                column = builder.load(block(matrix, MAX_PAIRS * i + j), align=4)
                sums[k] = builder.fadd(sums[k], builder.fmul(column, weight))
        for k, j in enumerate(blocks):
            builder.store(sums[k], block(out, j), align=4)
        return context.get_dummy_value()

    return types.void(matrix, vector, out), build


_popcount: Any = intrinsic(_count_bits)
_multiply: Any = intrinsic(_multiply_symmetric)


class Packed(NamedTuple):
    """Templates' derived data, contiguous; template t has places ``offsets[t]`` to ``offsets[t + 1]`` for minutiae.

    Parameters
    ----------
    offsets : (T + 1,) int64
        Rising by multiples of :data:`LANES`.
    minutiae : (T,) int32
        How many there are; the places after them are padding: codes without bits, far away.
    words : (DIRECTIONS · N,) uint64
        Cylinder codes, word by word within a template: so consecutive minutiae fill a vector register.
    x, y, cos, sin : (N,) float32
        Place in pixels; direction as a unit vector.
    weight : (N,) float32
        How surely the minutia is one, 0..1.
    norm : (N,) float32
        What a code's count of common bits is multiplied with.
    reach : (SIDES · T,) float32
        See :class:`biometrik.fingerprint.descriptors.Descriptors`.
    key : (T,) uint64
        Digest of a template: decides which of two takes which part, so that the order of arguments does not matter.
    """

    offsets: NDArray[np.int64]
    minutiae: NDArray[np.int32]
    words: NDArray[np.uint64]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    cos: NDArray[np.float32]
    sin: NDArray[np.float32]
    weight: NDArray[np.float32]
    norm: NDArray[np.float32]
    reach: NDArray[np.float32]
    key: NDArray[np.uint64]


class Scratch(NamedTuple):
    """Room for one comparison at a time; one a thread.

    Parameters
    ----------
    row, code, similarity, level
        Of the candidates: one minutia's similarities, all candidates, and how many have each key.
    pairs : (2, MAX_MINUTIAE) int32
        The pairs in play, rows of minutiae of the first and the second print.
    pair : (12, MAX_MINUTIAE) float32
        What is known of each pair; rows are named by the ``_P_…`` constants.
    tight, loose : (MAX_PAIRS, MAX_PAIRS) float32
        Agreement of any two pairs.
    field : (14, MAX_MINUTIAE) float32
        What is known of each minutia of the first print; rows are the ``_F_…`` constants.
    best : (2, MAX_MINUTIAE) int32
        The nearest minutia of the other print, and how near.
    used : (2, MAX_MINUTIAE) uint8
        Which minutiae are paired.
    """

    row: NDArray[np.float32]
    code: NDArray[np.int32]
    order: NDArray[np.int32]
    level: NDArray[np.int32]
    pairs: NDArray[np.int32]
    pair: NDArray[np.float32]
    tight: NDArray[np.float32]
    loose: NDArray[np.float32]
    field: NDArray[np.float32]
    near: NDArray[np.int32]
    best: NDArray[np.int32]
    used: NDArray[np.uint8]
    fit: NDArray[np.float32]


def scratch() -> Scratch:
    """Return room for comparisons of templates of any size."""
    most = MAX_MINUTIAE
    return Scratch(
        row=np.zeros((1, _ROOM), dtype=np.float32),
        code=np.zeros(_ROOM, dtype=np.int32),
        order=np.zeros(_ROOM, dtype=np.int32),
        level=np.zeros(_LEVELS + 1, dtype=np.int32),
        pairs=np.zeros((2, most), dtype=np.int32),
        pair=np.zeros((12, _ROOM), dtype=np.float32),
        tight=np.zeros((MAX_PAIRS, MAX_PAIRS), dtype=np.float32),
        loose=np.zeros((MAX_PAIRS, MAX_PAIRS), dtype=np.float32),
        field=np.zeros((14, _ROOM), dtype=np.float32),
        near=np.zeros(_ROOM, dtype=np.int32),
        best=np.zeros((2, _ROOM), dtype=np.int32),
        used=np.zeros((2, _ROOM), dtype=np.uint8),
        fit=np.zeros(8, dtype=np.float32),
    )


# Rows of Scratch.pair.
_AX, _AY, _BX, _BY, _COS, _SIN, _GAMMA, _LAMBDA, _NEXT, _SUP, _V, _W = range(12)
CERTAINTY: Final = _V
# Rows of Scratch.field.
_G, _SW, _SAX, _SAY, _SBX, _SBY, _M1, _M2, _MX, _MY, _MC, _MS, _IV, _SUPP = range(14)


@_kernel
def _candidates(A: Packed, ta: int, B: Packed, tb: int, s: Scratch) -> int:
    # Fills s.pairs and the first rows of s.pair with up to MAX_PAIRS pairs without a minutia in common, best first, and
    # zeros after them.
    a0, a1, b0, b1 = A.offsets[ta], A.offsets[ta + 1], B.offsets[tb], B.offsets[tb + 1]
    step, nb = a1 - a0, b1 - b0
    wa, wb = A.words[DIRECTIONS * a0 : DIRECTIONS * a1], B.words[DIRECTIONS * b0 : DIRECTIONS * b1]
    w0, w1, w2, w3 = wb[:nb], wb[nb : 2 * nb], wb[2 * nb : 3 * nb], wb[3 * nb : 4 * nb]
    cb, sb, norm_b = B.cos[b0:b1], B.sin[b0:b1], B.norm[b0:b1]
    row = s.row[0, :nb]
    count = 0
    for a in range(A.minutiae[ta]):
        p0, p1, p2, p3 = wa[a], wa[step + a], wa[2 * step + a], wa[3 * step + a]
        scale, cai, sai = A.norm[a0 + a], A.cos[a0 + a], A.sin[a0 + a]
        for b in range(nb):
            common = _popcount(p0 & w0[b]) + _popcount(p1 & w1[b]) + _popcount(p2 & w2[b]) + _popcount(p3 & w3[b])
            row[b] = _f(_i(common)) * scale * norm_b[b]
        best = _i(-1)
        for b in range(nb):
            turned = cai * cb[b] + sai * sb[b] - _ONE
            key = row[b] + _SIMILARITY_PER_NAT * max(_CONCENTRATION * turned, _ANYHOW)
            level = min((key - _LEAST_KEY) * _LEVELS_PER_KEY, _f(_LEVELS - 1))
            # Rounded down as a positive number, and negative again.
            code = ((_i(level + _f(_LEVELS)) - _i(_LEVELS)) << _i(16)) | _i(b)
            best = max(best, _i(code))
        if best >= 0:
            s.code[count] = best | (a << 8)
            count += 1
    # A counting sort, best level first.
    s.level[:] = 0
    for i in range(count):
        s.level[s.code[i] >> 16] += 1
    place = 0
    for level in range(_LEVELS - 1, -1, -1):
        here = s.level[level]
        s.level[level] = place
        place += here
    for i in range(count):
        level = s.code[i] >> 16
        s.order[s.level[level]] = s.code[i]
        s.level[level] += 1
    s.used[0, :step] = 0
    s.used[1, :nb] = 0
    s.pair[:, :MAX_PAIRS] = _ZERO
    pairs = 0
    for i in range(count):
        a, b = (s.order[i] >> 8) & 255, s.order[i] & 255
        if s.used[0, a] or s.used[1, b]:
            continue
        s.used[0, a] = s.used[1, b] = 1
        common = np.uint64(0)
        for d in range(DIRECTIONS):
            common += _popcount(wa[d * step + a] & wb[d * nb + b])
        s.pair[_GAMMA, pairs] = _f(_i(common)) * A.norm[a0 + a] * norm_b[b]
        _note(A, a0 + a, B, b0 + b, pairs, s)
        s.pairs[0, pairs], s.pairs[1, pairs] = a, b
        pairs += 1
        if pairs == MAX_PAIRS:
            break
    return pairs


@_kernel
def _note(A: Packed, a: int, B: Packed, b: int, pair: int, s: Scratch) -> None:
    # The geometry of a pair, into s.pair.
    s.pair[_AX, pair], s.pair[_AY, pair], s.pair[_BX, pair], s.pair[_BY, pair] = A.x[a], A.y[a], B.x[b], B.y[b]
    s.pair[_COS, pair] = A.cos[a] * B.cos[b] + A.sin[a] * B.sin[b]
    s.pair[_SIN, pair] = A.cos[a] * B.sin[b] - A.sin[a] * B.cos[b]


@_kernel
def _agree(pairs: int, s: Scratch) -> None:
    # Fills s.tight and s.loose, symmetric, 0..1, 0 on the diagonal. Columns after the last pair's are never used.
    ax, ay, bx, by = s.pair[_AX], s.pair[_AY], s.pair[_BX], s.pair[_BY]
    cos, sin = s.pair[_COS], s.pair[_SIN]
    for i in range(pairs):
        tight, loose = s.tight[i], s.loose[i]
        axi, ayi, bxi, byi, cosi, sini = ax[i], ay[i], bx[i], by[i], cos[i], sin[i]
        for j in range(MAX_PAIRS):
            dax, day, dbx, dby = axi - ax[j], ayi - ay[j], bxi - bx[j], byi - by[j]
            c, d = cosi + cos[j], sini + sin[j]
            norm2 = c * c + d * d  # 2 + 2·cos of the difference of the two rotations
            unit = _ONE / math.sqrt(norm2 + _f(1e-12))
            # The mean rotation takes one distance vector to the other but for (ex, ey).
            ex = (c * dax - d * day) * unit - dbx
            ey = (d * dax + c * day) * unit - dby
            da, db = math.sqrt(dax * dax + day * day), math.sqrt(dbx * dbx + dby * dby)
            radial = (da - db) * (da - db)
            lateral = max(ex * ex + ey * ey - radial, _ZERO)
            turned = _FOUR - norm2
            far = da * db
            q = (
                radial / (_RADIAL_PX2 + _RADIAL_SHARE2 * far)
                + lateral / (_LATERAL_PX2 + _LATERAL_SHARE2 * far)
                + turned / _ROTATION2
            )
            v = max(_ONE - q * _PER_CUT, _ZERO)
            tight[j] = v * v
            q = (
                radial / (_RADIAL_PX2 + _LOOSE_SHARE * _RADIAL_SHARE2 * far)
                + lateral / (_LATERAL_PX2 + _LOOSE_SHARE * _LATERAL_SHARE2 * far)
                + turned / (_LOOSE_ROTATION * _ROTATION2)
            )
            v = max(_ONE - q * _PER_CUT, _ZERO)
            loose[j] = v * v
        tight[i] = loose[i] = _ZERO
    s.tight[pairs:] = _ZERO
    s.loose[pairs:] = _ZERO


@_kernel
def _support(pairs: int, fewer: int, s: Scratch) -> np.float32:
    # Relaxation: returns the mean of the best pairs' similarities after support by the others, 0..1.
    gamma, value, following, rest = s.pair[_GAMMA], s.pair[_LAMBDA], s.pair[_NEXT], s.pair[_V]
    for i in range(MAX_PAIRS):
        value[i] = gamma[i]
    share = _HALF / _f(fewer - 1)
    for _ in range(_RELAXATIONS):
        _multiply(s.tight, value, following)
        for i in range(MAX_PAIRS):
            value[i] = _HALF * value[i] + share * following[i]
    for i in range(pairs):
        rest[i] = value[i] / gamma[i]
    wanted = 4 + int(_f(8.0) / (_ONE + math.exp(_f(-0.4) * (_f(fewer) - _f(20.0)))) + _HALF)
    total = _ZERO
    for _ in range(min(wanted, pairs)):
        most = 0
        for i in range(1, pairs):
            if rest[i] > rest[most]:
                most = i
        total += value[most]
        rest[most] = -_ONE
    return total / _f(wanted)


@_kernel
def _anchors(pairs: int, s: Scratch) -> int:
    # Keeps those pairs, in place, that the others support and that together one bent print could show.
    support, value, following = s.pair[_SUP], s.pair[_V], s.pair[_NEXT]
    _multiply(s.tight, s.pair[_GAMMA], support)
    for i in range(pairs):
        value[i] = support[i]
    for _ in range(_ANCHORINGS):
        _multiply(s.loose, value, following)
        most = _ZERO
        for i in range(pairs):
            following[i] *= support[i]
            most = max(most, following[i])
        if most <= _ZERO:
            return 0
        for i in range(pairs):
            value[i] = math.sqrt(following[i] / most)
    kept = 0
    for i in range(pairs):
        if value[i] > _ANCHOR:
            s.pairs[0, kept], s.pairs[1, kept] = s.pairs[0, i], s.pairs[1, i]
            for row in range(_GAMMA):
                s.pair[row, kept] = s.pair[row, i]
            s.pair[_W, kept] = value[i]
            kept += 1
    return kept


@_kernel
def _fit(pairs: int, s: Scratch) -> None:
    # One rigid motion for all pairs: s.fit = cos, sin, the pairs' weighted middle in either print, total weight.
    total = middle_ax = middle_ay = middle_bx = middle_by = _ZERO
    for i in range(pairs):
        w = s.pair[_W, i]
        total += w
        middle_ax += w * s.pair[_AX, i]
        middle_ay += w * s.pair[_AY, i]
        middle_bx += w * s.pair[_BX, i]
        middle_by += w * s.pair[_BY, i]
    middle_ax /= total
    middle_ay /= total
    middle_bx /= total
    middle_by /= total
    c = d = _ZERO
    for i in range(pairs):
        w = s.pair[_W, i]
        ax, ay = s.pair[_AX, i] - middle_ax, s.pair[_AY, i] - middle_ay
        bx, by = s.pair[_BX, i] - middle_bx, s.pair[_BY, i] - middle_by
        c += w * (ax * bx + ay * by + _ARM_PX2 * s.pair[_COS, i])
        d += w * (ax * by - ay * bx + _ARM_PX2 * s.pair[_SIN, i])
    norm = math.sqrt(c * c + d * d) + _f(1e-12)
    s.fit[0], s.fit[1] = c / norm, d / norm
    s.fit[2], s.fit[3], s.fit[4], s.fit[5] = middle_ax, middle_ay, middle_bx, middle_by


@_kernel
def _move(A: Packed, ta: int, pairs: int, s: Scratch) -> None:
    # Moving least squares: where each minutia of A would lie in B by the pairs near it, its direction there, and how
    # sure that is. A pair does not move its own minutia.
    a0, a1 = A.offsets[ta], A.offsets[ta + 1]
    na = a1 - a0
    cos, sin = s.fit[0], s.fit[1]
    middle_ax, middle_ay, middle_bx, middle_by = s.fit[2], s.fit[3], s.fit[4], s.fit[5]
    x, y, ca, sa = A.x[a0:a1], A.y[a0:a1], A.cos[a0:a1], A.sin[a0:a1]
    g, sw = s.field[_G, :na], s.field[_SW, :na]
    sax, say, sbx, sby = s.field[_SAX, :na], s.field[_SAY, :na], s.field[_SBX, :na], s.field[_SBY, :na]
    m1, m2 = s.field[_M1, :na], s.field[_M2, :na]
    mx, my, mc, ms, iv = s.field[_MX, :na], s.field[_MY, :na], s.field[_MC, :na], s.field[_MS, :na], s.field[_IV, :na]
    for a in range(na):
        # The motion of the whole counts a little, wherever one is; its middle is the origin.
        sw[a] = _GLOBAL
        sax[a] = say[a] = sbx[a] = sby[a] = _ZERO
        m1[a] = _GLOBAL * _ARM_PX2 * cos
        m2[a] = _GLOBAL * _ARM_PX2 * sin
    for i in range(pairs):
        px, py = s.pair[_AX, i], s.pair[_AY, i]
        w = s.pair[_W, i]
        for a in range(na):
            dx, dy = x[a] - px, y[a] - py
            t = _ONE + (dx * dx + dy * dy) * (_ONE / _REACH_PX2)
            g[a] = w / (t * t)
        g[s.pairs[0, i]] = _ZERO
        ax, ay, bx, by = px - middle_ax, py - middle_ay, s.pair[_BX, i] - middle_bx, s.pair[_BY, i] - middle_by
        dot = ax * bx + ay * by + _ARM_PX2 * s.pair[_COS, i]
        cross = ax * by - ay * bx + _ARM_PX2 * s.pair[_SIN, i]
        for a in range(na):
            w = g[a]
            sw[a] += w
            sax[a] += w * ax
            say[a] += w * ay
            sbx[a] += w * bx
            sby[a] += w * by
            m1[a] += w * dot
            m2[a] += w * cross
    for a in range(na):
        per = _ONE / sw[a]
        c = m1[a] - (sax[a] * sbx[a] + say[a] * sby[a]) * per
        d = m2[a] - (sax[a] * sby[a] - say[a] * sbx[a]) * per
        unit = _ONE / math.sqrt(c * c + d * d + _f(1e-12))
        c *= unit
        d *= unit
        ux, uy = x[a] - middle_ax - sax[a] * per, y[a] - middle_ay - say[a] * per
        mx[a] = c * ux - d * uy + sbx[a] * per + middle_bx
        my[a] = d * ux + c * uy + sby[a] * per + middle_by
        mc[a] = c * ca[a] - d * sa[a]
        ms[a] = d * ca[a] + c * sa[a]
        iv[a] = _ONE / (_NOISE_PX2 + _BEND_PX2 * min(_ONE, _FEW * per))


@_kernel
def _match(A: Packed, ta: int, B: Packed, tb: int, s: Scratch) -> int:
    # Pairs each moved minutia with the nearest of B where that is mutual and near enough; fills s.pairs and s.pair.
    a0, count, b0, b1 = A.offsets[ta], A.minutiae[ta], B.offsets[tb], B.offsets[tb + 1]
    nb = b1 - b0
    x, y, cos, sin = B.x[b0:b1], B.y[b0:b1], B.cos[b0:b1], B.sin[b0:b1]
    of_a, of_b = s.best[0], s.best[1, :nb]
    for b in range(nb):
        of_b[b] = np.int32(0x7FFFFFFF)
    for a in range(count):
        mx, my, mc, ms, iv = s.field[_MX, a], s.field[_MY, a], s.field[_MC, a], s.field[_MS, a], s.field[_IV, a]
        least = _i(0x7FFFFFFF)
        for b in range(nb):
            dx, dy = mx - x[b], my - y[b]
            turned = _TWO - _TWO * (mc * cos[b] + ms * sin[b])
            q = min((dx * dx + dy * dy) * iv + turned * (_ONE / _TURN2), _FAR)
            code = _i(q * _STEPS) << _i(8)
            least = min(least, _i(code | _i(b)))
            of_b[b] = min(of_b[b], _i(code | _i(a)))
        of_a[a] = least
    pairs = 0
    for a in range(count):
        b = of_a[a] & 255
        q = _f(of_a[a] >> 8) / _STEPS
        if of_b[b] & 255 == a and q < _CUT:
            _note(A, a0 + a, B, b0 + b, pairs, s)
            s.pairs[0, pairs], s.pairs[1, pairs] = a, b
            s.pair[_W, pairs] = (_ONE - q / _CUT) * _NOISE_PX2 * s.field[_IV, a]
            pairs += 1
    return pairs


@_kernel
def _evidence(
    A: Packed, ta: int, B: Packed, tb: int, pairs: int, normals: NDArray[np.float32], s: Scratch
) -> np.float32:
    # How surprising so many matches in the part that both prints show would be by chance, nats.
    a0, b0, na, nb = A.offsets[ta], B.offsets[tb], A.minutiae[ta], B.minutiae[tb]
    s.used[0, :na] = 0
    s.used[1, :nb] = 0
    matched = _ZERO
    for i in range(pairs):
        a, b = s.pairs[0, i], s.pairs[1, i]
        dx, dy = s.field[_MX, a] - s.pair[_BX, i], s.field[_MY, a] - s.pair[_BY, i]
        turned = abs(s.field[_MC, a] * B.sin[b0 + b] - s.field[_MS, a] * B.cos[b0 + b])
        logit = _LOGIT - _LOGIT_PX * math.sqrt(dx * dx + dy * dy) - _LOGIT_RAD * turned
        sure = _ONE / (_ONE + math.exp(-logit))
        s.pair[CERTAINTY, i] = sure
        matched += sure
        s.used[0, a] = s.used[1, b] = 1
    alone = _alone(s.field[_MX], s.field[_MY], A.weight[a0 : a0 + na], s.used[0], B.reach, tb, normals, s.near)
    c, d = s.fit[0], s.fit[1]
    x, y = s.field[_SAX], s.field[_SAY]
    for b in range(nb):
        ux, uy = B.x[b0 + b] - s.fit[4], B.y[b0 + b] - s.fit[5]
        x[b] = c * ux + d * uy + s.fit[2]
        y[b] = c * uy - d * ux + s.fit[3]
    alone += _alone(x, y, B.weight[b0 : b0 + nb], s.used[1], A.reach, ta, normals, s.near)
    seen = matched + _HALF * alone
    share = min(max(matched / seen, _f(1e-6)), _f(1.0 - 1e-6))
    nats = seen * (share * math.log(share / _CHANCE) + (_ONE - share) * math.log((_ONE - share) / (_ONE - _CHANCE)))
    return nats if share > _CHANCE else -nats


@_kernel
def _alone(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    weight: NDArray[np.float32],
    used: NDArray[np.uint8],
    reach: NDArray[np.float32],
    t: int,
    normals: NDArray[np.float32],
    outside: NDArray[np.int32],
) -> np.float32:
    # The weight of a print's unmatched minutiae that lie within reach of the other print, template t.
    count = len(weight)
    for i in range(count):
        outside[i] = used[i]
    for k in range(SIDES):
        nx, ny, far = normals[0, k], normals[1, k], reach[SIDES * t + k] + _MARGIN_PX
        for i in range(count):
            outside[i] |= x[i] * nx + y[i] * ny > far
    total = _ZERO
    for i in range(count):
        if outside[i] == 0:
            total += weight[i]
    return total


@_kernel
def _compare(
    A: Packed, ta: int, B: Packed, tb: int, normals: NDArray[np.float32], s: Scratch
) -> tuple[np.float32, int]:
    # Similarity 0..1 of template ta of A and tb of B, and how many pairs are left in s.pairs.
    fewer = min(A.minutiae[ta], B.minutiae[tb])
    pairs = _candidates(A, ta, B, tb, s) if fewer > 1 else 0
    if pairs < 2:
        return _ZERO, 0
    _agree(pairs, s)
    support = _support(pairs, fewer, s)
    nats = _SUPPORT_WEIGHT * math.log(support + _SUPPORT_FLOOR)
    pairs = _anchors(pairs, s) if support > _WORTH else 0
    for again in range(_REGISTRATIONS):
        if pairs < 2 or (again and _f(pairs) < _AGAIN * _f(fewer)):
            break
        _fit(pairs, s)
        _move(A, ta, pairs, s)
        pairs = _match(A, ta, B, tb, s)
    if pairs > 1:
        nats += _evidence(A, ta, B, tb, pairs, normals, s)
        nats += _UPRIGHT + max(_CONCENTRATION * (s.fit[0] - _ONE), _ANYHOW)
    else:
        pairs = 0
    return _ONE - math.exp(-max(nats + _ORIGIN, _ZERO) / _SCALE), pairs


@_kernel
def takes_second_part(A: Packed, B: Packed, tb: int) -> bool:
    """Return whether the first template of A is the second of the two in a comparison with template tb of B.

    Either may be first, but it has to be the same one whoever asks: then a similarity is symmetric to the last bit.
    """
    if A.minutiae[0] != B.minutiae[tb]:
        return bool(A.minutiae[0] > B.minutiae[tb])
    return bool(A.key[0] > B.key[tb])


@_kernel
def compare_many(
    probe: Packed,
    references: Packed,
    chosen: NDArray[np.int64],
    normals: NDArray[np.float32],
    s: Scratch,
    similarity: NDArray[np.float32],
) -> int:
    """Fill the similarities of the first template of a pack to chosen ones of another.

    Returns how many pairs of minutiae the last comparison left in the scratch.
    """
    pairs = 0
    for i in range(len(chosen)):
        t = chosen[i]
        if takes_second_part(probe, references, t):
            similarity[i], pairs = _compare(references, t, probe, 0, normals, s)
        else:
            similarity[i], pairs = _compare(probe, 0, references, t, normals, s)
    return pairs


@_kernel
def screen_many(
    probe: Packed,
    references: Packed,
    chosen: NDArray[np.int64],
    most: int,
    s: Scratch,
    promise: NDArray[np.float32],
) -> None:
    """Fill how promising chosen templates of a pack are as mates of the first of another, by its best minutiae."""
    a0, a1 = probe.offsets[0], probe.offsets[1]
    step = a1 - a0
    wa = probe.words[DIRECTIONS * a0 : DIRECTIONS * a1]
    used = min(probe.minutiae[0], most)
    votes = s.fit
    for i in range(len(chosen)):
        t = chosen[i]
        b0, b1 = references.offsets[t], references.offsets[t + 1]
        nb = b1 - b0
        wb = references.words[DIRECTIONS * b0 : DIRECTIONS * b1]
        w0, w1, w2, w3 = wb[:nb], wb[nb : 2 * nb], wb[2 * nb : 3 * nb], wb[3 * nb : 4 * nb]
        cb, sb, norm_b = references.cos[b0:b1], references.sin[b0:b1], references.norm[b0:b1]
        coded = s.near[:nb]
        votes[:] = _ZERO
        for a in range(used if nb > 0 else 0):
            p0, p1, p2, p3 = wa[a], wa[step + a], wa[2 * step + a], wa[3 * step + a]
            scale = probe.norm[a0 + a] * _f(1 << 20)
            for b in range(nb):
                common = _popcount(p0 & w0[b]) + _popcount(p1 & w1[b]) + _popcount(p2 & w2[b]) + _popcount(p3 & w3[b])
                coded[b] = (_i(_f(_i(common)) * scale * norm_b[b]) & _i(~255)) | _i(b)
            best = _i(0)
            for b in range(nb):
                best = max(best, coded[b])
            b = int(best) & 255
            ca, sa = probe.cos[a0 + a], probe.sin[a0 + a]
            cos, sin = ca * cb[b] + sa * sb[b], ca * sb[b] - sa * cb[b]
            w = _f(best) * _f(2.0**-20)
            w *= w
            votes[0] += w
            votes[1] += w * cos
            votes[2] += w * sin
        promise[i] = votes[0] + math.sqrt(votes[1] * votes[1] + votes[2] * votes[2])
