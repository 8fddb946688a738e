"""Cylinder codes: equal to plain Python, and turning with the print."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from biometrik.fingerprint import descriptors
from biometrik.fingerprint.descriptors import DIRECTIONS, NORMALS, describe, sketches
from biometrik.fingers import Minutiae


def minutiae(rows: NDArray[np.float64]) -> Minutiae:
    """Return minutiae of rows x, y, direction."""
    x, y, direction = (column.astype(np.float32) for column in rows.T)
    kind = np.ones(len(rows), dtype=np.uint8)
    return Minutiae(x, y, direction % np.float32(2 * np.pi), kind, kind, 500, 500)


_ROWS = arrays.arrays(np.float64, st.tuples(st.integers(0, 8), st.just(3)), elements=st.floats(0, 6, width=16))


@given(_ROWS)
@settings(max_examples=20, deadline=None)
def test_the_kernel_equals_plain_python(rows: NDArray[np.float64]) -> None:
    x, y = 20 * rows[:, 0], 20 * rows[:, 1]
    direction = rows[:, 2].copy()
    compiled, plain = np.zeros((2, len(rows), DIRECTIONS), dtype=np.uint64)
    offsets = np.array([0, len(rows) // 2, len(rows)], dtype=np.int64)
    descriptors._cylinder_codes(x, y, direction, offsets, compiled)
    descriptors._cylinder_codes.py_func(x, y, direction, offsets, plain)
    # exp and erf may differ in the last bit, and a sum may lie just there.
    assert np.bitwise_count(compiled ^ plain).sum() <= 1


def test_codes_turn_with_the_print(rng: np.random.Generator) -> None:
    rows = np.c_[rng.uniform(150, 350, (30, 2)), rng.uniform(0, 2 * np.pi, 30)]
    codes = describe(minutiae(rows)).codes
    for angle in (0.3, 1.7, 4.0):
        cos, sin = np.cos(angle), np.sin(angle)
        places = (rows[:, :2] - 250) @ np.array([[cos, sin], [-sin, cos]]) + 250
        turned = describe(minutiae(np.c_[places, rows[:, 2] + angle])).codes
        assert np.bitwise_count(codes ^ turned).sum() <= 0.002 * np.bitwise_count(codes).sum()


def test_codes_do_not_depend_on_the_place_or_the_order(rng: np.random.Generator) -> None:
    rows = np.c_[np.round(rng.uniform(100, 300, (25, 2))), rng.uniform(0, 6, 25)]
    codes = describe(minutiae(rows)).codes
    order = rng.permutation(25)
    np.testing.assert_array_equal(describe(minutiae(rows[order] + [64, 32, 0])).codes, codes[order])


def test_one_neighbour_sets_the_cells_around_it_in_two_directions() -> None:
    codes = describe(minutiae(np.array([[200.0, 200, 0], [230, 200, 0]]))).codes
    bits = np.bitwise_count(codes[0])
    # Straight ahead and of the same direction: between the first and the last of the four directions.
    assert bits.tolist() == [bits[0], 0, 0, bits[0]]
    assert 1 <= bits[0] <= 3
    far = describe(minutiae(np.array([[100.0, 200, 0], [220, 200, 0]]))).codes
    assert not far.any()


def test_reach_encloses_the_minutiae(rng: np.random.Generator) -> None:
    rows = rng.uniform(0, 6, (20, 3)) * [80, 80, 1]
    reach = describe(minutiae(rows)).reach_px
    ends = rows[:, :2] @ NORMALS
    assert (ends <= reach + 1e-3).all()
    np.testing.assert_allclose(ends.max(axis=0), reach, atol=1e-3)
    assert not describe(minutiae(rows[:0])).reach_px.any()


def test_influences_are_the_gaussians_they_stand_for() -> None:
    # As the paper writes them: in place around each cell, in direction integrated over each of four quarters.
    step, fade = descriptors._PITCH_PX / 2, descriptors._COLUMN_FADE
    out = np.zeros(2 * len(fade) - 1)
    for away in (-98.0, -3.5, 0.0, 41.0, 98.0):
        descriptors._influence(away, step, fade, out)
        exact = np.exp(-((descriptors._COLUMN_PX - away) ** 2) / (2 * descriptors._PLACE_PX**2))
        np.testing.assert_allclose(out, exact, rtol=1e-12, atol=1e-300)
    weights = np.zeros(DIRECTIONS)
    for turn in (-6.2, -np.pi, -0.1, 0.0, 1.0, np.pi / 2, 3.0, 6.1):
        descriptors._share(turn, weights)
        for d in range(DIRECTIONS):
            off = (turn - (d + 0.5) * np.pi / 2 + np.pi) % (2 * np.pi) - np.pi
            ends = [math.erf((off + side * np.pi / 4) / (descriptors._DIRECTION * math.sqrt(2))) for side in (1, -1)]
            assert weights[d] == pytest.approx(0.5 * (ends[0] - ends[1]), abs=1e-12)


def test_many_prints_at_once_are_each_by_itself(rng: np.random.Generator) -> None:
    prints = [minutiae(rng.uniform(0, 6, (count, 3)) * [60, 60, 1]) for count in (0, 1, 17, 0, 30)]
    offsets = np.cumsum([0, *map(len, prints)])
    x, y, direction = (np.concatenate([getattr(p, name) for p in prints]) for name in ("x", "y", "direction"))
    many = descriptors.describe_many(x, y, direction, offsets)
    single = [describe(print_) for print_ in prints]
    np.testing.assert_array_equal(many.codes, np.concatenate([one.codes for one in single]))
    np.testing.assert_array_equal(many.reach_px, np.concatenate([one.reach_px for one in single]))


def test_one_compiled_specialisation() -> None:
    describe(minutiae(np.zeros((3, 3))))
    assert len(descriptors._cylinder_codes.signatures) == 1


def test_a_sketch_keeps_two_opposite_directions_of_each_cell() -> None:
    full = np.uint64((1 << 61) - 1)
    codes = np.zeros((5, 4), dtype=np.uint64)
    codes[np.arange(4), np.arange(4)] = full
    codes[4] = full
    directions = np.array([0.1, 0.8, 3.2, 6.28, 0], dtype=np.float32)
    words = sketches(codes, directions)
    assert (words[:, 0] >> np.uint64(61)).tolist() == [0, 1, 4, 7, 0]
    words[:, 0] &= full
    # Directions 0 and 2 in one half of the cells, 1 and 3 in the other.
    assert words[0, 0] | words[1, 0] == words[2, 1] | words[3, 1] == full
    assert words[0, 0] & words[1, 0] == words[2, 1] & words[3, 1] == 0
    assert words[0, 0] == words[2, 1]
    assert words[4].tolist() == [full, full]
    assert not words[:2, 1].any()
    assert not words[2:4, 0].any()
    assert [int(word).bit_count() for word in words[:2, 0]] == [33, 28]
