"""Eight numbers in one register, by name: what the innermost loops are written with.

Left to itself, the compiler takes steps of 32 or 64 numbers through rows of 40 and does the rest one by one, and checks
before every row whether the arrays overlap; both cost more than the arithmetic. Here a kernel says what a step is.
Operators work lane by lane, with a scalar of the same type for all lanes, and keep the order in which they are written:
no result depends on the machine. Without AVX-512 or AVX a step becomes two or four instructions.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

#: How many.
LANES: Final = 8

_INT32: Final = ir.IntType(32)
# numba has no types.
_declare: Any = cgutils.get_or_insert_function
_infer: Any = infer_global
_lower: Any = lower_builtin


class Lanes(types.Type):
    """The type, in compiled code: lanes of one type of number."""

    def __init__(self, scalar: Any) -> None:
        self.scalar = scalar
        super().__init__(name=f"Lanes({scalar})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        initialise: Any = super().__init__
        initialise(manager, kind, ir.VectorType(manager.lookup(kind.scalar).get_value_type(), LANES))


_REAL, _WHOLE, _WORD = Lanes(types.float32), Lanes(types.int32), Lanes(types.uint64)


def _same(builder: Any, scalar: Any) -> Any:
    vector = ir.VectorType(scalar.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _INT32(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))


def _both(builder: Any, kinds: Any, values: Any) -> list[Any]:
    return [
        value if isinstance(kind, Lanes) else _same(builder, value) for kind, value in zip(kinds, values, strict=True)
    ]


def _llvm(builder: Any, name: str, value: Any, result: Any) -> Any:
    # A call of one of LLVM's own functions: ``llvm.ctpop.v8i64``.
    kind = value.type
    of = kind.element if isinstance(kind, ir.VectorType) else kind
    suffix = f"v{LANES}" * isinstance(kind, ir.VectorType) + ("f32" if isinstance(of, ir.FloatType) else str(of))
    function = _declare(builder.module, ir.FunctionType(result, [kind]), f"llvm.{name}.{suffix}")
    return builder.call(function, [value])


def _define(operation: Any, emit: Callable[[Any, Any], Any]) -> None:
    # An operator of lanes and lanes or a scalar; `emit` chooses the instruction.
    class Template(AbstractTemplate):
        key = operation

        def generic(self, args: Any, _kws: Any) -> Any:
            lanes = next((kind for kind in args if isinstance(kind, Lanes)), None)
            if lanes is None or not all(kind in (lanes, lanes.scalar) for kind in args):
                return None
            return lanes(*args)

    def build(_context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return emit(builder, sig.return_type)(*_both(builder, sig.args, arguments))

    _infer(operation)(Template)
    for kinds in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        _lower(operation, *kinds)(build)


_define(operator.add, lambda builder, kind: builder.fadd if kind is _REAL else builder.add)
_define(operator.sub, lambda builder, kind: builder.fsub if kind is _REAL else builder.sub)
_define(operator.mul, lambda builder, kind: builder.fmul if kind is _REAL else builder.mul)
_define(operator.truediv, lambda builder, _kind: builder.fdiv)
_define(operator.and_, lambda builder, _kind: builder.and_)
_define(operator.or_, lambda builder, _kind: builder.or_)
_define(operator.lshift, lambda builder, _kind: builder.shl)
_define(operator.rshift, lambda builder, kind: builder.lshr if kind is _WORD else builder.ashr)


def _choose(builder: Any, sign: str, kind: Any, a: Any, b: Any) -> Any:
    compare = builder.fcmp_ordered if kind is _REAL else builder.icmp_signed
    return builder.select(compare(sign, a, b), a, b)


def _choice(sign: str) -> Any:
    def of(_context: Any, a: Any, b: Any) -> Any:
        kind = a if isinstance(a, Lanes) else b

        def build(_target: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            return _choose(builder, sign, kind, *_both(builder, sig.args, arguments))

        return kind(a, b), build

    return of


def _place(context: Any, builder: Any, array: Any, value: Any, index: Any) -> Any:
    data = context.make_array(array)(context, builder, value).data
    vector = ir.VectorType(data.type.pointee, LANES)
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer()), array.dtype.bitwidth // 8


def _load(_context: Any, array: Any, _index: Any) -> Any:
    def build(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        place, align = _place(context, builder, sig.args[0], *arguments)
        return builder.load(place, align=align)

    return Lanes(array.dtype)(array, types.int64), build


def _store(_context: Any, array: Any, _index: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        place, align = _place(context, builder, sig.args[0], *arguments[:2])
        builder.store(arguments[2], place, align=align)
        return context.get_dummy_value()

    return types.void(array, types.int64, value), build


def _fetch(_context: Any, array: Any, _index: Any) -> Any:
    def build(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, _INT32, _INT32, _INT32])
        # To be read, into all caches, data.
        builder.call(_declare(builder.module, kind, "llvm.prefetch.p0"), [place, _INT32(0), _INT32(3), _INT32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), build


def _all(_context: Any, value: Any) -> Any:
    return Lanes(value)(value), lambda _target, builder, _signature, arguments: _same(builder, *arguments)


def _from(_context: Any, _start: Any) -> Any:
    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        counted = ir.Constant(ir.VectorType(_INT32, LANES), list(range(LANES)))
        return builder.add(_same(builder, builder.trunc(arguments[0], _INT32)), counted)

    return _WHOLE(types.int64), build


def _count(_context: Any, words: Any) -> Any:
    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _llvm(builder, "ctpop", arguments[0], arguments[0].type)

    return words(words), build


def _to_real(_context: Any, values: Any) -> Any:
    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        narrow = builder.trunc(arguments[0], ir.VectorType(_INT32, LANES)) if values is not _WHOLE else arguments[0]
        return builder.sitofp(narrow, ir.VectorType(ir.FloatType(), LANES))

    return _REAL(values), build


def _to_whole(_context: Any, values: Any) -> Any:
    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fptosi(arguments[0], ir.VectorType(_INT32, LANES))

    return _WHOLE(values), build


def _root(_context: Any, values: Any) -> Any:
    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _llvm(builder, "sqrt", arguments[0], arguments[0].type)

    return values(values), build


def _reduction(name: str) -> Any:
    def of(_context: Any, values: Any) -> Any:
        def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return _llvm(builder, f"vector.reduce.{name}", arguments[0], _INT32)

        return types.int32(values), build

    return of


def _sum(_context: Any, values: Any) -> Any:
    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        added = builder.extract_element(arguments[0], _INT32(0))
        for lane in range(1, LANES):
            added = builder.fadd(added, builder.extract_element(arguments[0], _INT32(lane)))
        return added

    return types.float32(values), build


def _is_above(_context: Any, a: Any, b: Any) -> Any:
    kind = a if isinstance(a, Lanes) else b

    def build(_target: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        truth = builder.icmp_signed(">", *_both(builder, sig.args, arguments))
        return builder.zext(truth, ir.VectorType(_INT32, LANES))

    return kind(a, b), build


def _nothing_at(_context: Any, values: Any, places: Any, _place: Any) -> Any:
    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        lanes, at, one = arguments
        return builder.select(
            builder.icmp_signed("==", at, _same(builder, one)), ir.Constant(lanes.type, [0.0] * LANES), lanes
        )

    return values(values, places, types.int32), build


#: ``load(array, i)``: lanes from ``array[i]`` on; ``store(array, i, lanes)`` puts them back.
load: Any = intrinsic(_load)
store: Any = intrinsic(_store)
#: ``fetch(array, i)``: bring what is at ``array[i]`` near, to be read soon; beyond the array nothing happens.
fetch: Any = intrinsic(_fetch)
#: ``spread(x)``: the scalar in all lanes. ``places(i)``: i, i + 1, …, int32.
spread: Any = intrinsic(_all)
places: Any = intrinsic(_from)
#: ``count_bits(words)``: LLVM's ctpop: ``vpopcntq``, or a table in a register.
count_bits: Any = intrinsic(_count)
#: ``real(x)``: float32 of int32, or of small counts; ``whole(x)``: int32 of float32, towards 0.
real: Any = intrinsic(_to_real)
whole: Any = intrinsic(_to_whole)
#: ``root(x)``: square root, exactly rounded.
root: Any = intrinsic(_root)
#: ``larger(a, b)``, ``smaller(a, b)``: lane by lane. ``greatest(x)``, ``least(x)``: of all lanes, an int32.
larger: Any = intrinsic(_choice(">"))
smaller: Any = intrinsic(_choice("<"))
greatest: Any = intrinsic(_reduction("smax"))
least: Any = intrinsic(_reduction("smin"))
#: ``total(x)``: the sum of all lanes, a float32, from the first on.
total: Any = intrinsic(_sum)
#: ``is_above(a, b)``: 1 or 0, of int32.
is_above: Any = intrinsic(_is_above)
#: ``nothing_at(x, places, i)``: x, but 0 in the lane whose place is i.
nothing_at: Any = intrinsic(_nothing_at)
