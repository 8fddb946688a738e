"""From ridges to lines to minutiae, and the false ones that go."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint import skeleton as module
from biometrik.fingerprint.skeleton import crossing_numbers, ridge_minutiae, thin

Binary = NDArray[np.uint8]
masks = hnp.arrays(np.uint8, st.tuples(st.integers(3, 24), st.integers(3, 24)), elements=st.integers(0, 1))


def _inner(mask: Binary) -> Binary:
    framed = np.zeros_like(mask)
    framed[1:-1, 1:-1] = mask[1:-1, 1:-1]
    return framed


def _pieces(mask: Binary, connectivity: int) -> int:
    return int(cv2.connectedComponents(mask, connectivity=connectivity)[0])


@settings(deadline=None)
@given(masks)
def test_thinning_keeps_every_piece_and_every_hole(mask: Binary) -> None:
    before, after = _inner(mask), thin(mask)
    assert ((after == 1) <= (before == 1)).all()
    assert _pieces(before, 8) == _pieces(after, 8)
    assert _pieces(1 - before, 4) == _pieces(1 - after, 4)


@settings(deadline=None)
@given(masks)
def test_lines_are_one_pixel_wide(mask: Binary) -> None:
    lines = thin(mask)
    blocks = lines[1:, 1:] + lines[1:, :-1] + lines[:-1, 1:] + lines[:-1, :-1]
    # A full square survives only where all its pixels hold lines that leave it.
    for y, x in np.argwhere(blocks == 4):
        around = lines[max(y - 1, 0) : y + 3, max(x - 1, 0) : x + 3]
        assert around.sum() > 5


def test_an_edge_is_thinned_to_its_middle() -> None:
    bar = np.zeros((21, 60), dtype=np.uint8)
    bar[8:13, 5:55] = 1
    lines = thin(bar)
    assert set(np.argwhere(lines)[:, 0]) == {10}
    assert lines.sum() >= 44


@settings(deadline=None)
@given(masks)
def test_crossings_turn_with_the_ridges(mask: Binary) -> None:
    np.testing.assert_array_equal(crossing_numbers(np.rot90(mask)), np.rot90(crossing_numbers(mask)))


@settings(deadline=None, max_examples=40)
@given(masks)
def test_kernels_are_their_python(mask: Binary) -> None:
    counts = np.zeros_like(mask)
    table = module._TABLE
    module._crossing_numbers.py_func(mask, table, counts)
    np.testing.assert_array_equal(crossing_numbers(mask), counts)
    framed = _inner(mask)
    module._thin.py_func(framed.ravel(), framed.shape[1], np.flatnonzero(framed), table)
    np.testing.assert_array_equal(thin(mask), framed)


@pytest.mark.parametrize(("arms", "expected"), [(1, 1), (2, 2), (3, 3), (4, 4)])
def test_as_many_crossings_as_arms(arms: int, expected: int) -> None:
    lines = np.zeros((9, 9), dtype=np.uint8)
    lines[4, 4] = 1
    for dy, dx in ((0, 1), (-1, 0), (0, -1), (1, 0))[:arms]:
        lines[4 + dy * 2, 4 + dx * 2] = lines[4 + dy, 4 + dx] = 1
    assert crossing_numbers(lines)[4, 4] == expected


# --- minutiae: ridges along x, 10 px apart ------------------------------------------------------------------------


def _lines(*extra: tuple[int, slice]) -> Binary:
    lines = np.zeros((96, 160), dtype=np.uint8)
    lines[3:90:10, 2:-2] = 1
    for row, columns in extra:
        lines[row, columns] = 0 if lines[row, columns].all() else 1
    return lines


def _found(lines: Binary, angle: float = 0.0) -> NDArray[Any]:
    cells = lines.shape[0] // 8, lines.shape[1] // 8
    inside = np.zeros(cells, dtype=bool)
    inside[1:-1, 1:-1] = True
    field, period = np.full(cells, angle, dtype=np.float32), np.full(cells, 10, dtype=np.float32)
    return ridge_minutiae(lines, field, inside, period)


def test_plain_ridges_have_none() -> None:
    assert len(_found(_lines())) == 0


@pytest.mark.parametrize(("gone", "x", "direction"), [(slice(80, 158), 79, np.pi), (slice(2, 80), 80, 0.0)])
def test_an_ending_points_along_its_ridge(gone: slice, x: int, direction: float) -> None:
    (found,) = _found(_lines((43, gone)))
    assert (found["x"], found["y"], found["kind"]) == (x, 43, 1)
    assert np.cos(found["direction"] - direction) > 0.99


@pytest.mark.parametrize("side", [1, -1])
def test_a_fork_points_between_its_arms(side: int) -> None:
    lines = _lines()
    lines[44:96, :] = 0
    lines[:40, :] = 0
    for k in range(1, 50):  # an arm that leaves the ridge slowly
        lines[43 + min(k, 10), 80 + side * k] = 1
        if k > 1:
            lines[43 + min(k, 10), 80 + side * k - side] = 1 if k > 10 else lines[43 + min(k, 10), 80 + side * k - side]
    found = _found(thin(lines))
    forks = found[found["kind"] == 2]
    assert len(forks) == 1
    assert abs(forks["x"][0] - 80) <= 3
    assert np.cos(forks["direction"][0] - (0 if side > 0 else np.pi)) > 0.99


def test_a_break_a_bridge_and_an_island_are_no_minutiae() -> None:
    assert len(_found(_lines((43, slice(76, 84))))) == 0
    bridge = _lines()
    bridge[44:53, 80] = 1
    assert len(_found(bridge)) == 0
    assert len(_found(_lines((48, slice(76, 88))))) == 0


def test_a_long_gap_is_two_endings() -> None:
    found = _found(_lines((43, slice(60, 100))))
    assert sorted(found["x"]) == [59, 100]


def test_a_spur_is_none() -> None:
    spur = _lines()
    spur[44:48, 80] = 1
    assert len(_found(spur)) == 0


def test_two_that_begin_side_by_side_are_both_kept() -> None:
    found = _found(_lines((43, slice(2, 80)), (53, slice(2, 82))))
    assert sorted(found["x"]) == [80, 82]


def test_a_quarter_turn_turns_the_minutiae() -> None:
    lines = _lines((43, slice(80, 158)), (63, slice(2, 50)))
    here, there = _found(lines), _found(np.ascontiguousarray(np.rot90(lines)), np.pi / 2)
    assert sorted(zip(here["y"], 159 - here["x"], strict=True)) == sorted(zip(there["x"], there["y"], strict=True))
    order, turned = np.argsort(here["y"]), np.argsort(there["x"])
    turn = np.exp(1j * (there["direction"][turned] - here["direction"][order] + np.pi / 2))
    np.testing.assert_allclose(turn, 1, atol=1e-3)


def test_following_ridges_is_its_python() -> None:
    lines = thin(_inner((np.random.default_rng(5).random((48, 48)) < 0.4).astype(np.uint8)))
    counts = crossing_numbers(lines)
    angle = np.random.default_rng(6).uniform(0, np.pi, (6, 6)).astype(np.float32)
    inside = np.ones((6, 6), dtype=bool)
    compiled, plain = np.zeros((64, 5), dtype=np.float32), np.zeros((64, 5), dtype=np.float32)
    found = module._leave(lines, counts, angle, inside, compiled)
    assert found == module._leave.py_func(lines, counts, angle, inside, plain) > 3
    np.testing.assert_allclose(compiled[:found], plain[:found], atol=1e-4)


@pytest.mark.parametrize("call", [thin, crossing_numbers])
def test_only_zeros_and_ones(call: Any) -> None:
    with pytest.raises(InvalidInputError, match="only 0 and 1"):
        call(np.full((4, 4), 2, dtype=np.uint8))
    with pytest.raises(InvalidInputError, match="2-D uint8"):
        call(np.zeros((4, 4), dtype=bool))


def test_shapes_must_fit() -> None:
    cells = np.zeros((3, 3), dtype=np.float32)
    with pytest.raises(InvalidInputError, match="expected \\(2, 2\\) cells"):
        ridge_minutiae(np.zeros((16, 16), dtype=np.uint8), cells, cells > 0, cells)
