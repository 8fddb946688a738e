"""The comparison's kernels: equal to plain Python, no second specialisation, no allocation."""

from typing import Any

import numpy as np
import pytest
from numba import njit

from biometrik.fingerprint import kernels
from biometrik.fingerprint.descriptors import DIRECTIONS
from biometrik.fingerprint.matchers import cylinders
from biometrik.fingerprint.matchers.cylinders import CylinderMatcher
from biometrik.fingers import Minutiae

_ONE = np.zeros(1, dtype=np.int64)


def drawn(rng: np.random.Generator, count: int) -> Minutiae:
    places = rng.uniform(100, 260, (2, count)).astype(np.float32)
    kind = np.ones(count, dtype=np.uint8)
    direction = rng.uniform(0, 6.28, count).astype(np.float32)
    return Minutiae(places[0], places[1], direction, kind, kind * np.uint8(80), 400, 400)


def jittered(rng: np.random.Generator, print_: Minutiae) -> Minutiae:
    x, y = (values + rng.normal(0, 1, len(print_)).astype(np.float32) for values in (print_.x, print_.y))
    return Minutiae(x, y, print_.direction, print_.kind, print_.quality, 400, 400)


def _in_plain_python(patch: pytest.MonkeyPatch) -> None:
    # All kernels as the functions that they were before compilation, and plain twins of the intrinsics.
    for name, value in list(vars(kernels).items()):
        if hasattr(value, "py_func"):
            patch.setattr(kernels, name, value.py_func)

    def multiply(matrix: Any, vector: Any, out: Any) -> None:
        out[: kernels.MAX_PAIRS] = matrix @ vector[: kernels.MAX_PAIRS]

    patch.setattr(kernels, "_popcount", lambda word: int(word).bit_count())
    patch.setattr(kernels, "_multiply", multiply)


@pytest.mark.parametrize("count", [2, 9, 17])
def test_kernels_equal_plain_python(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    matcher = CylinderMatcher()
    first = drawn(rng, count)
    probe = matcher.prepare(first)
    references = matcher.pack([matcher.prepare(p) for p in (first, jittered(rng, first), drawn(rng, 12))])
    compiled = matcher.compare_many(probe, references), matcher.screen(probe, references)
    pairs = matcher.align(probe, references.part(1, 2)).pairs
    _in_plain_python(monkeypatch)
    # math.sqrt and the like are of double precision there.
    np.testing.assert_allclose(matcher.compare_many(probe, references), compiled[0], atol=2e-4)
    np.testing.assert_allclose(matcher.screen(probe, references), compiled[1], rtol=1e-4)
    np.testing.assert_array_equal(matcher.align(probe, references.part(1, 2)).pairs, pairs)


def test_population_count_and_product(rng: np.random.Generator) -> None:
    compile_: Any = njit
    count = compile_(lambda word: kernels._popcount(word))
    for word in (0, 1, 2**63, 2**64 - 1, 0x0F0F_1234_5678_9ABC):
        assert count(np.uint64(word)) == word.bit_count()

    multiply = compile_(lambda matrix, vector, out: kernels._multiply(matrix, vector, out))
    size = kernels.MAX_PAIRS
    half = rng.uniform(0, 1, (size, size)).astype(np.float32)
    vector, out = rng.uniform(0, 1, size).astype(np.float32), np.zeros(size, dtype=np.float32)
    multiply(half + half.T, vector, out)
    np.testing.assert_allclose(out, (half + half.T) @ vector, rtol=1e-5)


def test_agreement_is_symmetric_and_full_for_a_rigid_motion(rng: np.random.Generator) -> None:
    matcher = CylinderMatcher()
    print_ = drawn(rng, 20)
    cos, sin = np.cos(0.5), np.sin(0.5)
    x, y = print_.x - 180, print_.y - 180
    moved = Minutiae(
        (cos * x - sin * y + 180).astype(np.float32),
        (sin * x + cos * y + 180).astype(np.float32),
        (print_.direction + np.float32(0.5)) % np.float32(2 * np.pi),
        print_.kind,
        print_.quality,
        400,
        400,
    )
    packed = matcher.pack([matcher.prepare(print_), matcher.prepare(moved)]).packed
    scratch = kernels.scratch()
    pairs = kernels._candidates(packed, 0, packed, 1, scratch)
    kernels._agree(pairs, scratch)
    tight = scratch.tight[:pairs, :pairs]
    assert pairs == kernels.MAX_PAIRS
    np.testing.assert_array_equal(scratch.pairs[0, :pairs], scratch.pairs[1, :pairs])
    np.testing.assert_array_equal(tight, tight.T)
    np.testing.assert_allclose(tight, 1 - np.eye(pairs), atol=1e-3)
    assert (scratch.loose[:pairs, :pairs] >= tight - 1e-6).all()


def test_one_compiled_specialisation(rng: np.random.Generator) -> None:
    matcher = CylinderMatcher()
    whole = matcher.pack([matcher.prepare(drawn(rng, n)) for n in (0, 8, 30)])
    part = whole.part(1, 3)
    one = whole.part(2, 3)
    for references in (whole, part, one, matcher.pack([one])):
        matcher.compare_many(one, references)
        matcher.screen(one, references)
        matcher.align(one, references.part(0, 1))
    compiled: tuple[Any, ...] = (kernels.compare_many, kernels.screen_many)
    assert [len(kernel.signatures) for kernel in compiled] == [1, 1]


def test_packed_data_is_read_only_and_padded(rng: np.random.Generator) -> None:
    packed = CylinderMatcher().prepare(drawn(rng, 13)).packed
    assert not any(array.flags.writeable for array in packed)
    assert packed.offsets.tolist() == [0, 16]
    assert (packed.x[13:] == kernels.NOWHERE_PX).all()
    assert not packed.norm[13:].any()
    assert not packed.words.reshape(DIRECTIONS, 16)[:, 13:].any()


def test_unknown_quality_weighs_like_good(rng: np.random.Generator) -> None:
    known = drawn(rng, 5)
    unknown = Minutiae(known.x, known.y, known.direction, known.kind, known.quality * np.uint8(0), 400, 400)
    weight = CylinderMatcher().prepare(unknown).packed.weight[:5]
    np.testing.assert_array_equal(weight, np.float32(cylinders._UNKNOWN_QUALITY))
    np.testing.assert_allclose(CylinderMatcher().prepare(known).packed.weight[:5], 0.8)


def test_a_twisted_print_still_lies_on_the_other(rng: np.random.Generator) -> None:
    rows = np.array([(x, y) for x in range(100, 300, 32) for y in range(80, 400, 32)], dtype=np.float64)
    rows += rng.uniform(-9, 9, rows.shape)
    direction = rng.uniform(0, 2 * np.pi, len(rows))
    twist = np.radians(30) * (rows[:, 1] - 240) / 320  # from end to end
    cos, sin = np.cos(twist), np.sin(twist)
    x, y = rows[:, 0] - 200, rows[:, 1] - 240
    twisted = np.c_[cos * x - sin * y, sin * x + cos * y] + [220, 250]
    kind = np.ones(len(rows), dtype=np.uint8)

    def print_of(places: Any, directions: Any) -> Minutiae:
        px, py = places.astype(np.float32).T.copy()
        return Minutiae(px, py, (directions % (2 * np.pi)).astype(np.float32), kind, kind * np.uint8(90), 500, 500)

    matcher = CylinderMatcher()
    found = matcher.align(
        matcher.prepare(print_of(rows, direction)), matcher.prepare(print_of(twisted, direction + twist))
    )
    assert (found.pairs[:, 0] == found.pairs[:, 1]).sum() > 0.85 * len(rows)
    assert (found.pairs[:, 0] != found.pairs[:, 1]).sum() <= 2
