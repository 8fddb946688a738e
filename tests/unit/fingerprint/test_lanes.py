"""Every function and operator of the lanes against its NumPy twin."""

import operator
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from biometrik.fingerprint.kernels import lanes
from tests.unit.fingerprint.lanes_in_numpy import TWINS

_compile: Any = njit
_REAL, _WHOLE, _WORD = np.float32, np.int32, np.uint64


def _values(rng: np.random.Generator, dtype: Any) -> Any:
    if dtype is _REAL:
        return rng.normal(0, 1000, lanes.LANES).astype(dtype)
    if dtype is _WORD:
        return rng.integers(0, 2**64, lanes.LANES, dtype=dtype)
    return rng.integers(-1000, 1000, lanes.LANES).astype(dtype)


def _through(function: Any, a: Any, b: Any, result: Any) -> Any:
    # What the function makes of two arrays as lanes, compiled.
    load, store, inner = lanes.load, lanes.store, _compile(function)

    def run(a: Any, b: Any, out: Any) -> None:
        store(out, 0, inner(load(a, 0), load(b, 0)))

    out = np.zeros(lanes.LANES, dtype=result)
    _compile(run)(a, b, out)
    return out


@pytest.mark.parametrize(
    ("operation", "dtype"),
    [(operation, dtype) for operation in (operator.add, operator.sub, operator.mul) for dtype in (_REAL, _WHOLE, _WORD)]
    + [(operator.truediv, _REAL)]
    + [(operation, dtype) for operation in (operator.and_, operator.or_) for dtype in (_WHOLE, _WORD)],
)
def test_operators(rng: np.random.Generator, operation: Any, dtype: Any) -> None:
    a, b = _values(rng, dtype), _values(rng, dtype)
    np.testing.assert_array_equal(_through(lambda x, y: operation(x, y), a, b, dtype), operation(a, b))
    one = a[3]
    np.testing.assert_array_equal(_through(lambda x, _: operation(x, one), b, b, dtype), operation(b, one))
    np.testing.assert_array_equal(_through(lambda x, _: operation(one, x), b, b, dtype), operation(one, b))


def test_shift(rng: np.random.Generator) -> None:
    a, five = _values(rng, _WHOLE), np.int32(5)
    np.testing.assert_array_equal(_through(lambda x, _: x << five, a, a, _WHOLE), a << five)
    np.testing.assert_array_equal(_through(lambda x, _: x >> five, a, a, _WHOLE), a >> five)
    words, many = _values(rng, _WORD), np.uint64(61)
    np.testing.assert_array_equal(_through(lambda x, _: x >> many, words, words, _WORD), words >> many)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("larger", _REAL), ("larger", _WHOLE), ("smaller", _REAL), ("smaller", _WHOLE), ("is_above", _WHOLE)],
)
def test_choices(rng: np.random.Generator, name: str, dtype: Any) -> None:
    function, a, b = getattr(lanes, name), _values(rng, dtype), _values(rng, dtype)
    b[2] = a[2]
    np.testing.assert_array_equal(_through(lambda x, y: function(x, y), a, b, dtype), TWINS[name](a, b))
    one = a[3]
    np.testing.assert_array_equal(_through(lambda x, _: function(one, x), b, b, dtype), TWINS[name](one, b))


@pytest.mark.parametrize(
    ("name", "dtype", "result"),
    [("whole", _REAL, _WHOLE), ("real", _WHOLE, _REAL), ("count_bits", _WORD, _WORD), ("root", _REAL, _REAL)],
)
def test_conversions(rng: np.random.Generator, name: str, dtype: Any, result: Any) -> None:
    function, a = getattr(lanes, name), np.abs(_values(rng, dtype)) if name == "root" else _values(rng, dtype)
    np.testing.assert_array_equal(_through(lambda x, _: function(x), a, a, result), TWINS[name](a))


def test_counts_of_words_as_reals(rng: np.random.Generator) -> None:
    count_bits, real, a = lanes.count_bits, lanes.real, _values(rng, _WORD)
    found = _through(lambda x, _: real(count_bits(x)), a, a, _REAL)
    np.testing.assert_array_equal(found, np.bitwise_count(a).astype(np.float32))
    one = _compile(lambda word: count_bits(word))
    assert [one(np.uint64(word)) for word in (0, 1, 2**63, 2**64 - 1)] == [0, 1, 1, 64]


@pytest.mark.parametrize("name", ["greatest", "least"])
def test_reductions(rng: np.random.Generator, name: str) -> None:
    load, function = lanes.load, getattr(lanes, name)
    reduced = _compile(lambda array, i: function(load(array, i)))
    values = rng.integers(-(2**31), 2**31, 3 * lanes.LANES).astype(np.int32)
    for i in range(2 * lanes.LANES):
        assert reduced(values, i) == TWINS[name](values[i : i + lanes.LANES])


def test_a_total_is_added_from_the_first_on(rng: np.random.Generator) -> None:
    load, total = lanes.load, lanes.total
    added = _compile(lambda array: total(load(array, 0)))
    for _ in range(20):
        values = _values(rng, _REAL)
        assert added(values) == TWINS["total"](values)


def test_places_and_nothing_at(rng: np.random.Generator) -> None:
    places, spread, nothing_at, a = lanes.places, lanes.spread, lanes.nothing_at, _values(rng, _REAL)
    start, at, seven = 16, np.int32(19), np.int32(7)
    np.testing.assert_array_equal(_through(lambda _x, _y: places(start), a, a, _WHOLE), np.arange(16, 24))
    np.testing.assert_array_equal(_through(lambda _x, _y: spread(seven), a, a, _WHOLE), np.full(8, 7))
    found = _through(lambda x, _: nothing_at(x, places(start), at), a, a, _REAL)
    np.testing.assert_array_equal(found, TWINS["nothing_at"](a, np.arange(16, 24), 19))
    assert found[3] == 0


def test_lanes_of_different_numbers_do_not_mix(rng: np.random.Generator) -> None:
    with pytest.raises(TypingError):
        _through(lambda x, y: x + y, _values(rng, _REAL), _values(rng, _WHOLE), _REAL)
