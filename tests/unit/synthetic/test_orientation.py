import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.errors import InvalidInputError
from biometrik.synthetic import orientation
from biometrik.synthetic.orientation import CLASS_SHARES, FingerClass, OrientationModel, draw_orientation


def _turns(model: OrientationModel, x: float, y: float, radius: float = 1.5) -> float:
    # How often the orientation turns along a small circle, clockwise as the circle is.
    around = np.linspace(0.0, 2 * math.pi, 721)
    angles = model.at(x + radius * np.cos(around), y + radius * np.sin(around))
    steps = np.mod(np.diff(angles) + math.pi / 2, math.pi) - math.pi / 2
    return float(steps.sum() / (2 * math.pi))


@pytest.mark.parametrize("pattern", list(FingerClass))
def test_cores_turn_by_a_half_and_deltas_against_it(pattern: FingerClass) -> None:
    model = draw_orientation(np.random.default_rng(3), pattern)
    assert [round(_turns(model, *core), 6) for core in model.cores] == [0.5] * len(model.cores)
    assert [round(_turns(model, *delta), 6) for delta in model.deltas] == [-0.5] * len(model.deltas)
    assert _turns(model, 60.0, -120.0) == pytest.approx(0.0, abs=1e-6)


def test_each_class_has_its_singular_points() -> None:
    counts = {p: len(draw_orientation(np.random.default_rng(1), p).cores) for p in FingerClass}
    assert counts == {
        FingerClass.ARCH: 0,
        FingerClass.TENTED_ARCH: 1,
        FingerClass.LEFT_LOOP: 1,
        FingerClass.RIGHT_LOOP: 1,
        FingerClass.WHORL: 2,
        FingerClass.DOUBLE_LOOP: 2,
    }


def test_the_delta_of_a_left_loop_is_on_the_right() -> None:
    for seed in range(20):
        assert draw_orientation(np.random.default_rng(seed), FingerClass.LEFT_LOOP).deltas[0, 0] > 0
        assert draw_orientation(np.random.default_rng(seed), FingerClass.RIGHT_LOOP).deltas[0, 0] < 0


def test_ridges_bow_over_the_fingertip() -> None:
    for pattern in FingerClass:
        model = draw_orientation(np.random.default_rng(5), pattern)
        left, right = model.at(np.array([-130.0, 130.0]), np.array([-120.0, -120.0]))
        assert left > math.pi / 2 > right, pattern  # y points down: rising to the middle, falling from it


def test_classes_are_drawn_as_often_as_they_occur(rng: np.random.Generator) -> None:
    drawn = [draw_orientation(rng).pattern for _ in range(3000)]
    assert sum(CLASS_SHARES.values()) == pytest.approx(1.0)
    for pattern, share in CLASS_SHARES.items():
        assert drawn.count(pattern) / 3000 == pytest.approx(share, abs=0.03)


@given(st.integers(0, 2**32), st.sampled_from(FingerClass), st.floats(-300, 300), st.floats(-300, 300))
@settings(max_examples=60, deadline=None)
def test_orientations_are_in_range_at_any_point(seed: int, pattern: FingerClass, x: float, y: float) -> None:
    angle = draw_orientation(np.random.default_rng(seed), pattern).at(np.array([x]), np.array([y]))
    assert angle.shape == (1,)
    assert 0.0 <= angle[0] < math.pi


def test_the_kernel_does_what_its_python_does(rng: np.random.Generator) -> None:
    model = draw_orientation(rng, FingerClass.WHORL)
    x, up = rng.uniform(-200, 200, (2, 50))
    compiled, plain = np.zeros(50), np.zeros(50)
    orientation._add(x, up, model.cores, model.deltas, model.bend, model.waves, compiled)
    orientation._add.py_func(x, up, model.cores, model.deltas, model.bend, model.waves, plain)
    np.testing.assert_allclose(compiled, plain, atol=1e-12)


def test_shapes_broadcast() -> None:
    model = draw_orientation(np.random.default_rng(1))
    x, y = np.arange(4.0)[None, :], np.arange(3.0)[:, None]
    assert model.at(x, y).shape == (3, 4)
    assert model.at(x, y)[2, 1] == model.at(np.array(1.0), np.array(2.0))


def test_one_compiled_version() -> None:
    for pattern in FingerClass:
        draw_orientation(np.random.default_rng(1), pattern).at(np.zeros((2, 3)), np.zeros((2, 3)))
    assert len(orientation._add.signatures) == 1


def test_what_does_not_fit_is_refused() -> None:
    points, waves = np.zeros((1, 2)), np.zeros((0, 4))
    with pytest.raises(InvalidInputError, match="cores, deltas"):
        OrientationModel(FingerClass.WHORL, points, np.zeros((2, 2)), 1.0, 0.0, waves)
    with pytest.raises(InvalidInputError, match="waves"):
        OrientationModel(FingerClass.WHORL, points, points, 1.0, 0.0, np.zeros((1, 3)))
