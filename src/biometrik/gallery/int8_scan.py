"""Rows in 8-bit codes, scanned with bounds: which of them can be among the best of a query, and which cannot.

A row x is kept as codes c and a scale s, x ≈ s·c with c whole numbers within ±127, and a query q likewise. Then

    q·x = qₛ·s·(q_c·c) ± s·(‖q − qₛ·q_c‖·‖c‖ + ‖q‖·‖x − s·c‖ / s)

by the triangle and Cauchy-Schwarz inequalities: the first part is what the codes say, the second bounds what they do
not. The scan keeps the ``count`` largest lower bounds of each query. The least of them is the floor: a row whose upper
bound is below it cannot be among the best ``count``, all others are candidates, which the caller compares exactly.

Codes are laid out for ``vpdpbusd``, which multiplies unsigned with signed bytes and adds four neighbours: by groups
of 32 rows, in each group four dimensions of all rows after one another, 128 added. ``‖c‖`` and ``‖x − s·c‖ / s`` are
bounded by the largest of a group. :mod:`biometrik.gallery.int8_codes` has what the kernels work on. They are private
and trust their input; all are in this file because numba's cache does not notice changes of callees in other files.
"""

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from biometrik.gallery.compiling import kernel
from biometrik.gallery.int8_codes import CHUNK, GROUP, LEAST_SCALE, QUERIES, ROUNDING, Batch, Best, Found, Segment

_f, _i, _u = np.float32, np.int32, np.uint32

#: Part of every bound, in units of a row's scale: at least 2⁻¹⁰⁷ in all, more than the 2⁻¹⁴⁹ between the float32 next
#: to zero, also for queries scaled up by 2³², so that similarities that round to the same are never told apart here.
_LEAST_BOUND: Final = _f(2.0**-40)


def _has_vnni() -> bool:
    # What numba compiles for, which a user may have lowered.
    if numba.config.CPU_NAME or numba.config.CPU_FEATURES:  # type: ignore[attr-defined]
        return False
    return bool(binding.get_host_cpu_features().get("avx512vnni", False))


#: Whether this processor has the 512-bit int8 dot product.
VNNI: Final = _has_vnni()

# --- what the processor does ----------------------------------------------------------------------------------------

_LANES: Final = 16
_HALVES: Final = range(0, GROUP, _LANES)


def _broadcast(builder: Any, scalar: Any) -> Any:
    lanes = ir.VectorType(scalar.type, _LANES)
    first = builder.insert_element(ir.Constant(lanes, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES))


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, element: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), element.as_pointer())


def _multiplying(queries: int) -> Callable[..., Any]:
    # sums[t, r] = Σ codes of row r · codes of query t, for a group at `at` and queries from `first`. Returns, as bits,
    # the queries of which a row reaches the floor: mostly none, and then no sum is written.
    def multiply(
        _context: Any,
        codes: Any,
        _at: Any,
        asked: Any,
        _first: Any,
        _width: Any,
        sums: Any,
        scales: Any,
        _row: Any,
        pers: Any,
        rests: Any,
        floors: Any,
        _query: Any,
    ) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word, long = ir.IntType(32), ir.IntType(64)
            if not VNNI:  # compiled with the scan, never called
                return ir.Constant(word, 0)
            register, bytes_ = ir.VectorType(word, _LANES), ir.VectorType(ir.IntType(8), 4 * _LANES)
            # LLVM 22 takes the factors as bytes, older ones took them as words.
            factor = bytes_ if binding.llvm_version_info[0] >= 22 else register
            name = "llvm.x86.avx512.vpdpbusd.512"
            dot = builder.module.globals.get(name) or ir.Function(
                builder.module, ir.FunctionType(register, [register, factor, factor]), name
            )
            codes, at, asked, first, width, sums, *bounds = arguments
            kinds = signature.args
            before = builder.block
            loop, after = builder.append_basic_block("dot"), builder.append_basic_block("summed")
            builder.branch(loop)
            builder.position_at_end(loop)
            place = builder.phi(long)
            place.add_incoming(ir.Constant(long, 0), before)
            totals = [[builder.phi(register) for _ in _HALVES] for _ in range(queries)]
            rows = []
            for half in _HALVES:
                index = builder.add(at, builder.add(builder.mul(place, ir.Constant(long, GROUP)), _long(4 * half)))
                row = builder.load(_pointer(context, builder, kinds[0], codes, index, register), align=64)
                rows.append(builder.bitcast(row, factor))
            for t, pair in enumerate(totals):
                index = builder.add(builder.add(first, builder.mul(width, _long(t))), place)
                four = builder.load(_pointer(context, builder, kinds[2], asked, index, word), align=4)
                query = builder.bitcast(_broadcast(builder, four), factor)
                for total, row in zip(pair, rows, strict=True):
                    total.add_incoming(ir.Constant(register, [0] * _LANES), before)
                    total.add_incoming(builder.call(dot, [total, row, query]), builder.block)
            following = builder.add(place, _long(4))
            place.add_incoming(following, builder.block)
            builder.cbranch(builder.icmp_signed("<", following, width), loop, after)
            builder.position_at_end(after)
            summed = [[total.incomings[1][0] for total in pair] for pair in totals]
            reached = _reached(context, builder, kinds[6:], bounds, summed)
            with builder.if_then(builder.icmp_unsigned("!=", reached, ir.Constant(word, 0)), likely=False):
                for t, pair in enumerate(summed):
                    for half, total in zip(_HALVES, pair, strict=True):
                        target = _pointer(context, builder, kinds[5], sums, _long(t * GROUP + half), register)
                        builder.store(total, target, align=4)
            return reached

        place = types.int64
        return types.uint32(codes, place, asked, place, place, sums, scales, place, pers, rests, floors, place), build

    return multiply


def _reached(context: Any, builder: Any, kinds: Any, bounds: Any, summed: Any) -> Any:
    # Bit t: scale · (per · sum + rest) of some row is not below the floor of query t; also where it is not a number.
    word, real = ir.IntType(32), ir.VectorType(ir.FloatType(), _LANES)
    scales, row, pers, rests, floors, query = bounds
    sizes = [
        builder.load(_pointer(context, builder, kinds[0], scales, builder.add(row, _long(half)), real), align=4)
        for half in _HALVES
    ]
    reached = ir.Constant(word, 0)
    name = f"llvm.fma.v{_LANES}f32"
    fused = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(real, [real] * 3), name)
    for t, pair in enumerate(summed):
        index = builder.add(query, _long(t))
        per, rest, floor = (
            _broadcast(builder, builder.load(_pointer(context, builder, kind, array, index, ir.FloatType()), align=4))
            for kind, array in zip(kinds[2:5], (pers, rests, floors), strict=True)
        )
        some = ir.Constant(ir.IntType(_LANES), 0)
        for total, size in zip(pair, sizes, strict=True):
            upper = builder.fmul(builder.call(fused, [builder.sitofp(total, real), per, rest]), size)
            above = builder.fcmp_unordered(">=", upper, floor)
            some = builder.or_(some, builder.bitcast(above, ir.IntType(_LANES)))
        bit = builder.zext(builder.icmp_unsigned("!=", some, ir.Constant(ir.IntType(_LANES), 0)), word)
        reached = builder.or_(reached, builder.shl(bit, ir.Constant(word, t)))
    return reached


def _long(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


def _compare(
    _context: Any, sums: Any, _t: Any, _offset: Any, _per: Any, _bound: Any, _floor: Any, scales: Any, _row: Any
) -> Any:
    # Bit r: scale · (per · (sum + offset) + bound) of row r is not below the floor; also where it is not a number.
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, t, offset, per, bound, floor, scales, row = arguments
        whole, real = ir.VectorType(ir.IntType(32), _LANES), ir.VectorType(ir.FloatType(), _LANES)
        offset, per, bound, floor = (_broadcast(builder, value) for value in (offset, per, bound, floor))
        mask = ir.Constant(ir.IntType(32), 0)
        for half in _HALVES:
            index = builder.add(builder.mul(t, _long(GROUP)), _long(half))
            total = builder.load(_pointer(context, builder, signature.args[0], sums, index, whole), align=4)
            product = builder.fmul(builder.sitofp(builder.add(total, offset), real), per)
            index = builder.add(row, _long(half))
            scale = builder.load(_pointer(context, builder, signature.args[6], scales, index, real), align=4)
            upper = builder.fmul(builder.fadd(product, bound), scale)
            above = builder.bitcast(builder.fcmp_unordered(">=", upper, floor), ir.IntType(_LANES))
            bits = builder.shl(builder.zext(above, ir.IntType(32)), ir.Constant(ir.IntType(32), half))
            mask = builder.or_(mask, bits)
        return mask

    kinds = (types.int64, types.int32, types.float32, types.float32, types.float32)
    return types.uint32(sums, *kinds, scales, types.int64), build


_multiply_one: Any = intrinsic(_multiplying(1))
_multiply_eight: Any = intrinsic(_multiplying(QUERIES))
_above: Any = intrinsic(_compare)


@kernel
def _multiply_plainly(
    codes: NDArray[np.uint8],
    at: int,
    asked: NDArray[np.int8],
    first: int,
    width: int,
    queries: int,
    sums: NDArray[np.int32],
) -> None:
    # The same for processors without the instruction, which leaves it to the caller to look at each query.
    for t in range(queries):
        totals = sums[t * GROUP : (t + 1) * GROUP]
        for r in range(GROUP):
            totals[r] = 0
        for j in range(0, width, 4):
            query = asked[first + t * width + j : first + t * width + j + 4]
            block = codes[at + j * GROUP : at + (j + 4) * GROUP]
            q0, q1, q2, q3 = _i(query[0]), _i(query[1]), _i(query[2]), _i(query[3])
            for r in range(GROUP):
                totals[r] += (
                    q0 * _i(block[4 * r])
                    + q1 * _i(block[4 * r + 1])
                    + q2 * _i(block[4 * r + 2])
                    + q3 * _i(block[4 * r + 3])
                )


# --- kernels --------------------------------------------------------------------------------------------------------


@kernel
def write(
    codes: NDArray[np.uint8],
    scales: NDArray[np.float32],
    norms: NDArray[np.float32],
    errors: NDArray[np.float32],
    bounds: NDArray[np.float32],
    slots: NDArray[np.int64],
    origin: int,
    vectors: NDArray[np.float32],
) -> None:
    """Put (N, D) vectors in (N,) slots into codes; slots outside the segment, from slot ``origin`` on, are passed over.

    The segment comes in its parts, which takes microseconds less. A scan that was not told to choose the rows may run:
    bounds of other rows of the group hold at any moment.
    """
    dimension = vectors.shape[1]
    width = (dimension + 3) // 4 * 4
    for n in range(len(vectors)):
        row, vector = slots[n] - origin, vectors[n]
        if not 0 <= row < len(scales):
            continue
        group, r = row // GROUP, row % GROUP
        largest = _f(0.0)
        for d in range(dimension):
            largest = max(largest, abs(vector[d]))
        scale = _f(max(np.float64(largest) / 127.0, LEAST_SCALE))
        start = group * GROUP * width + 4 * r
        norm = error = 0.0
        for d in range(width):
            code = 0.0
            if d < dimension:
                exact = np.float64(vector[d]) / np.float64(scale)
                code = min(max(np.rint(exact), -127.0), 127.0)
                norm += code * code
                error += (exact - code) ** 2
            codes[start + d // 4 * 4 * GROUP + d % 4] = np.uint8(_i(code) + 128)
        scales[row] = scale
        norms[row] = _f(np.sqrt(norm) * (1.0 + ROUNDING))
        errors[row] = _f(np.sqrt(error) * (1.0 + ROUNDING))
        _bound(norms, errors, bounds, group)


@kernel
def erase(
    codes: NDArray[np.uint8],
    scales: NDArray[np.float32],
    norms: NDArray[np.float32],
    errors: NDArray[np.float32],
    bounds: NDArray[np.float32],
    slots: NDArray[np.int64],
    origin: int,
) -> None:
    """Leave nothing of what is in (N,) slots of a segment; see :func:`write`."""
    width = len(codes) // len(scales)
    for slot in slots:
        row = slot - origin
        if not 0 <= row < len(scales):
            continue
        group, r = row // GROUP, row % GROUP
        start = group * GROUP * width + 4 * r
        for d in range(width):
            codes[start + d // 4 * 4 * GROUP + d % 4] = 0
        scales[row] = norms[row] = errors[row] = _f(0.0)
        _bound(norms, errors, bounds, group)


@kernel
def flip(bits: NDArray[np.uint32], rows: NDArray[np.int64], origin: int) -> None:
    """Choose those of (N,) rows that were not, and the other way round; rows outside the bits are passed over."""
    for row in rows:
        group, r = (row - origin) // GROUP, (row - origin) % GROUP
        if 0 <= group < len(bits):
            bits[group] ^= _u(1) << _u(r)


@kernel
def _bound(norms: NDArray[np.float32], errors: NDArray[np.float32], bounds: NDArray[np.float32], group: int) -> None:
    norm = error = _f(0.0)
    for row in range(group * GROUP, (group + 1) * GROUP):
        norm = max(norm, norms[row])
        error = max(error, errors[row])
    bounds[group, 0], bounds[group, 1] = norm, error


@kernel
def choose(bits: NDArray[np.uint32], live: NDArray[np.uint32], slots: NDArray[np.int64], origin: int) -> int:
    """Set the bits of (N,) slots that are live, from slot ``origin`` on; returns how many were not set before."""
    new = 0
    for slot in slots:
        group, r = (slot - origin) // GROUP, (slot - origin) % GROUP
        if 0 <= group < len(bits):
            bit = _u(1) << _u(r)
            new += live[group] & bit != 0 and bits[group] & bit == 0
            bits[group] |= live[group] & bit
    return new


@kernel
def choose_marked(
    bits: NDArray[np.uint32], live: NDArray[np.uint32], ids: NDArray[np.int64], marks: NDArray[np.bool_]
) -> int:
    """Set the bits of slots that are live and whose ids, (R,) by slot, are marked; returns how many."""
    count = 0
    for group in range(len(bits)):
        of = live[group]
        for r in range(GROUP):
            bit = _u(1) << _u(r)
            if of & bit:
                number = ids[group * GROUP + r]
                if 0 <= number < len(marks) and marks[number]:
                    bits[group] |= bit
                    count += 1
    return count


@kernel
def scan(
    vnni: bool,
    source: Segment,
    chosen: NDArray[np.uint32],
    choice: NDArray[np.int64],
    first: int,
    stop: int,
    origin: int,
    asked: Batch,
    to: Found,
) -> int:
    """Compare queries with the rows of groups ``first`` to ``stop`` that each chooses; returns where it ended.

    That is ``stop``, or an earlier group where there are more candidates than room: the caller takes them out, raises
    the floor and goes on from there. ``chosen`` (F, G) has bits by row, ``choice`` (Q,) says which of the F a query
    has; ``origin`` is the number of the first row.
    """
    width = len(source.codes) // len(source.scales)
    queries = len(asked.scales)
    step = 1 if queries == 1 else QUERIES
    for start in range(first, stop, CHUNK):
        if _full(to):
            return start
        _aim(source, start, min(start + CHUNK, stop), asked, to)
        for q in range(0, queries, step):
            together = min(step, queries - q)
            for group in range(start, min(start + CHUNK, stop)):
                some = _u(0)
                for f in range(len(chosen)):
                    some |= chosen[f, group]
                if some == 0:
                    continue
                at, row = group * GROUP * width, group * GROUP
                if not vnni:
                    _multiply_plainly(source.codes, at, asked.codes, q * width, width, together, to.sums)
                    reached = _u((1 << together) - 1)
                elif step == 1:
                    reached = _multiply_one(
                        source.codes,
                        at,
                        asked.codes,
                        q * width,
                        width,
                        to.sums,
                        source.scales,
                        row,
                        asked.scales,
                        to.rests,
                        to.floor,
                        q,
                    )
                else:
                    reached = _multiply_eight(
                        source.codes,
                        at,
                        asked.codes,
                        q * width,
                        width,
                        to.sums,
                        source.scales,
                        row,
                        asked.scales,
                        to.rests,
                        to.floor,
                        q,
                    )
                if reached == 0:
                    continue
                for t in range(together):
                    if (reached >> _u(t)) & _u(1) == 0:
                        continue
                    p = q + t
                    norm, error = source.bounds[group, 0], source.bounds[group, 1]
                    offset, per = asked.offsets[p], asked.scales[p]
                    bound = asked.errors[p] * norm + asked.norms[p] * error + _LEAST_BOUND
                    mask = _above(to.sums, t, offset, per, bound, to.floor[p], source.scales, group * GROUP)
                    mask &= chosen[choice[p], group]
                    if mask == 0:
                        continue
                    for r in range(GROUP):
                        if (mask >> _u(r)) & _u(1):
                            row = group * GROUP + r
                            product = _f(to.sums[t * GROUP + r] + offset) * per
                            scale = source.scales[row]
                            _consider(to, p, origin + row, (product - bound) * scale, (product + bound) * scale)
    return stop


@kernel
def _aim(source: Segment, first: int, stop: int, asked: Batch, to: Found) -> None:
    # What is added to qₛ times a sum before it is held against the floor, for all of some groups: as the bound of a row
    # is, but with the largest norm and error of them all, and with room for the roundings of sums as float32.
    norm = error = _f(0.0)
    for group in range(first, stop):
        norm = max(norm, source.bounds[group, 0])
        error = max(error, source.bounds[group, 1])
    width = len(source.codes) // len(source.scales)
    room = ROUNDING * 256.0 * np.sqrt(width)
    for p in range(len(asked.scales)):
        bound = np.float64(asked.errors[p]) * norm + np.float64(asked.norms[p]) * (np.float64(error) + room)
        to.rests[p] = _f(np.float64(asked.scales[p]) * asked.offsets[p] + bound * (1.0 + ROUNDING) + 2.0 * _LEAST_BOUND)


@kernel
def _consider(to: Found, p: int, row: int, lower: np.float32, upper: np.float32) -> None:
    if upper < to.floor[p]:  # which rose within the group
        return
    place = to.counts[p]
    to.rows[p, place] = row
    to.upper[p, place] = upper
    to.counts[p] = place + 1
    heap = to.lower[p]
    if not lower > heap[0]:
        return
    size, i = len(heap), 0
    while True:
        child = 2 * i + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if child >= size or heap[child] >= lower:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = lower
    to.floor[p] = max(to.floor[p], heap[0])


@kernel
def _full(to: Found) -> bool:
    # Whether a query's candidates leave no room for a chunk, also without those that have fallen below the floor.
    room = to.rows.shape[1] - CHUNK * GROUP
    for p in range(len(to.counts)):
        if to.counts[p] > room:
            _sift(to, p)
            if 2 * to.counts[p] > room:
                return True
    return False


@kernel
def _sift(to: Found, p: int) -> None:
    # Drops a query's candidates that have fallen below the floor.
    kept = 0
    for i in range(to.counts[p]):
        if not to.upper[p, i] < to.floor[p]:
            to.rows[p, kept], to.upper[p, kept] = to.rows[p, i], to.upper[p, i]
            kept += 1
    to.counts[p] = kept


@kernel
def take(found: Found, slots: NDArray[np.int64], of: NDArray[np.int64]) -> int:
    """Take candidates out, as many as (N,) slots have room for, but those that have fallen below the floor.

    Returns how many; ``of`` (N,) says of which query each is.
    """
    taken = 0
    for p in range(len(found.counts)):
        while found.counts[p] > 0 and taken < len(slots):
            last = found.counts[p] - 1
            if not found.upper[p, last] < found.floor[p]:
                slots[taken], of[taken] = found.rows[p, last], p
                taken += 1
            found.counts[p] = last
    return taken


@kernel
def rank(
    vectors: NDArray[np.float32],
    ids: NDArray[np.int64],
    of: NDArray[np.int64],
    queries: NDArray[np.float64],
    best: Best,
) -> None:
    """Compare (N, D) vectors with one of the (Q, D) queries each, and keep the best of each query.

    Products of float32 are exact in float64; those of a pair are always added in the same order.
    """
    dimension = vectors.shape[1]
    whole = dimension // 4 * 4
    for n in range(len(vectors)):
        q = of[n]
        s0 = s1 = s2 = s3 = 0.0
        for d in range(0, whole, 4):
            s0 += np.float64(vectors[n, d]) * queries[q, d]
            s1 += np.float64(vectors[n, d + 1]) * queries[q, d + 1]
            s2 += np.float64(vectors[n, d + 2]) * queries[q, d + 2]
            s3 += np.float64(vectors[n, d + 3]) * queries[q, d + 3]
        for d in range(whole, dimension):
            s0 += np.float64(vectors[n, d]) * queries[q, d]
        _keep(best, q, ids[n], _f((s0 + s1) + (s2 + s3)))


@kernel
def merge(best: Best, other: Best) -> None:
    """Keep also what another has, of the same queries."""
    for q in range(len(other.counts)):
        for i in range(other.counts[q]):
            _keep(best, q, other.ids[q, i], other.similarities[q, i])


@kernel
def put_out(best: Best, first: int, ids: NDArray[np.int64], similarities: NDArray[np.float32]) -> None:
    """Move the best of queries from ``first`` on into (Q, W) rows, best first, of equals the lower id first."""
    for n in range(len(ids)):
        q = first + n
        for size in range(best.counts[q], 0, -1):
            ids[n, size - 1], similarities[n, size - 1] = best.ids[q, 0], best.similarities[q, 0]
            _sink(best, q, size - 1, best.ids[q, size - 1], best.similarities[q, size - 1])
        best.counts[q] = 0


@kernel
def _keep(best: Best, q: int, number: int, similarity: np.float32) -> None:
    # In the query's heap, in which the worst comes first: the least similar, of equals that with the highest id.
    ids, similarities, size = best.ids[q], best.similarities[q], best.counts[q]
    if size < best.wanted[q]:
        i = size
        best.counts[q] = size + 1
        while i > 0:
            above = (i - 1) // 2
            if not _worse(similarity, number, similarities[above], ids[above]):
                break
            ids[i], similarities[i] = ids[above], similarities[above]
            i = above
    else:
        if _worse(similarities[0], ids[0], similarity, number):
            _sink(best, q, size, number, similarity)
        return
    ids[i], similarities[i] = number, similarity


@kernel
def _sink(best: Best, q: int, size: int, number: int, similarity: np.float32) -> None:
    # In the place of the worst of the first `size` of the heap.
    ids, similarities, i = best.ids[q], best.similarities[q], 0
    while True:
        child = 2 * i + 1
        if child + 1 < size and _worse(similarities[child + 1], ids[child + 1], similarities[child], ids[child]):
            child += 1
        if child >= size or not _worse(similarities[child], ids[child], similarity, number):
            break
        ids[i], similarities[i] = ids[child], similarities[child]
        i = child
    ids[i], similarities[i] = number, similarity


@kernel
def _worse(similarity: np.float32, number: int, other_similarity: np.float32, other: int) -> bool:
    return bool(similarity < other_similarity or (similarity == other_similarity and number > other))
