import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from biometrik.errors import InvalidInputError
from biometrik.fingers import MinutiaKind
from biometrik.synthetic import skeleton
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.skeleton import RidgeMinutiae, ridge_minutiae, thin

_blobs = arrays.arrays(np.bool_, st.tuples(st.integers(3, 16), st.integers(3, 16)))


def _drawn(*lines: tuple[tuple[int, int], tuple[int, int]], thickness: int = 3) -> np.ndarray:
    canvas = np.zeros((80, 100), dtype=np.uint8)
    for start, end in lines:
        cv2.line(canvas, start, end, (1,), thickness)
    return canvas > 0


def _found(ridges: np.ndarray, along: float = 0.0) -> RidgeMinutiae:
    # What the canvas cuts is no minutia.
    inside = np.zeros(ridges.shape, dtype=bool)
    inside[8:-8, 8:-8] = True
    return ridge_minutiae(ridges, lambda x, _: np.full(x.shape, along), inside)


@given(_blobs)
@settings(max_examples=100, deadline=None)
def test_thinning_keeps_the_pieces_and_is_done_once(ridges: np.ndarray) -> None:
    ridges[[0, -1]] = False
    ridges[:, [0, -1]] = False
    lines = thin(ridges)
    assert not lines[~ridges].any()
    before, after = (cv2.connectedComponents(m.astype(np.uint8), connectivity=8)[0] for m in (ridges, lines))
    assert after == before
    np.testing.assert_array_equal(thin(lines > 0), lines)


@given(_blobs)
@settings(max_examples=15, deadline=None)
def test_the_kernels_do_what_their_python_does(ridges: np.ndarray) -> None:
    compiled, plain = np.zeros(ridges.shape, np.uint8), np.zeros(ridges.shape, np.uint8)
    compiled[1:-1, 1:-1] = plain[1:-1, 1:-1] = ridges[1:-1, 1:-1]
    doomed = np.empty((ridges.size, 2), np.int32)
    skeleton._thin(compiled, doomed)
    skeleton._thin.py_func(plain, doomed)
    np.testing.assert_array_equal(compiled, plain)
    np.testing.assert_allclose(skeleton._follow(compiled, 5), skeleton._follow.py_func(compiled, 5))


def test_an_ending_points_along_its_ridge() -> None:
    found = _found(_drawn(((40, 40), (99, 40))))
    assert found.kind.tolist() == [MinutiaKind.ENDING]
    assert (found.x[0], found.y[0]) == (pytest.approx(40, abs=2), 40)
    assert found.direction[0] == pytest.approx(0.0, abs=1e-9)


def test_a_bifurcation_points_along_its_valley() -> None:
    found = _found(_drawn(((0, 40), (40, 40)), ((40, 40), (99, 25)), ((40, 40), (99, 55))))
    assert found.kind.tolist() == [MinutiaKind.BIFURCATION]
    assert math.hypot(found.x[0] - 40, found.y[0] - 40) < 7
    assert found.direction[0] == pytest.approx(0.0, abs=1e-9)


def test_which_way_is_seen_on_the_ridge_and_how_exactly_on_the_orientation() -> None:
    ridge = _drawn(((0, 40), (60, 40)))
    assert _found(ridge, along=0.2).direction[0] == pytest.approx(math.pi + 0.2)
    # What is at odds with the ridge, as in the middle of a core, is not believed.
    assert _found(ridge, along=1.2).direction[0] == pytest.approx(math.pi, abs=0.1)


@pytest.mark.parametrize(
    ("ridges", "what"),
    [
        (_drawn(((0, 40), (99, 40)), ((50, 40), (50, 46)), thickness=1), "a spur"),
        (_drawn(((50, 40), (56, 40)), thickness=1), "an island"),
        (_drawn(((0, 40), (46, 40)), ((52, 40), (99, 40)), thickness=1), "a gap"),
        (_drawn(((0, 36), (99, 36)), ((0, 42), (99, 42)), ((50, 36), (50, 42)), thickness=1), "a bridge"),
        (_drawn(((50, 40), (50, 0)), ((50, 40), (0, 69)), ((50, 40), (99, 69))), "a delta"),
    ],
)
def test_artefacts_are_no_minutiae(ridges: np.ndarray, what: str) -> None:
    assert _found(ridges).kind.tolist() == [], what


def test_where_the_pattern_is_cut_ridges_do_not_end() -> None:
    ridge = _drawn(((40, 40), (99, 40)))
    inside = np.zeros(ridge.shape, dtype=bool)
    inside[:, 60:90] = True
    assert len(ridge_minutiae(ridge, lambda x, _: np.zeros(x.shape), inside).x) == 0


def test_a_quarter_turn_turns_the_minutiae() -> None:
    finger = draw_finger(5, 2)
    ridges, inside = finger.ridges > 0, cv2.erode(finger.inside.astype(np.uint8), np.ones((21, 21))) > 0
    height = len(ridges)
    at = finger.orientation.at
    upright = ridge_minutiae(ridges, lambda x, y: at(x - 192, y - 215), inside)
    turned = ridge_minutiae(
        np.rot90(ridges, -1).copy(),
        lambda x, y: np.mod(at(y - 192, height - 1 - x - 215) + math.pi / 2, math.pi),
        np.rot90(inside, -1).copy(),
    )
    # Clockwise: (x, y) comes to lie at (height − 1 − y, x). Thinning has a favourite side: a pixel or two.
    x, y = height - 1 - upright.y, upright.x
    near = np.hypot(x[:, None] - turned.x, y[:, None] - turned.y) < 3
    same = np.cos(upright.direction[:, None] + math.pi / 2 - turned.direction) > 0.9
    assert (near & same).any(axis=1).mean() > 0.93
    assert len(turned.x) == pytest.approx(len(upright.x), abs=5)


def test_one_compiled_version() -> None:
    for ridges in (_drawn(((0, 40), (60, 40))), _drawn(((0, 40), (60, 40))).T):
        _found(ridges)
    assert [len(k.signatures) for k in (skeleton._thin, skeleton._follow, skeleton._walk)] == [1, 1, 1]


def test_what_does_not_fit_is_refused() -> None:
    ridges = np.zeros((9, 9), dtype=bool)
    with pytest.raises(InvalidInputError, match="ridges"):
        thin(ridges.astype(np.uint8))
    with pytest.raises(InvalidInputError, match="inside"):
        ridge_minutiae(ridges, lambda x, _: x, ridges[:5])
