import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from biometrik.errors import InvalidInputError
from biometrik.fingers import Minutiae
from biometrik.synthetic import templates
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.orientation import FingerClass
from biometrik.synthetic.placement import STILL, PlacementParameters
from biometrik.synthetic.templates import TemplateParameters, draw_identity, draw_template

_EXACT = TemplateParameters(placement=STILL, jitter_px=0.0, jitter_deg=0.0, missed=0.0, spurious=0.0)
_places = arrays.arrays(np.float64, 12, elements=st.floats(0, 60))


def _distances(m: Minutiae) -> np.ndarray:
    found: np.ndarray = np.hypot(m.x[:, None] - m.x, m.y[:, None] - m.y)
    np.fill_diagonal(found, np.inf)
    return found


def test_the_same_arguments_give_the_same_template() -> None:
    first, again = (draw_template(draw_identity(4, 7), 2) for _ in range(2))
    for name in ("x", "y", "direction", "kind", "quality"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    other = draw_template(draw_identity(4, 7), 3)
    assert len(other) != len(first) or (other.x != first.x).any()


def test_without_errors_a_template_is_what_the_finger_shows() -> None:
    identity = draw_identity(4, 7)
    template = draw_template(identity, 0, _EXACT)
    distance = np.hypot(template.x[:, None] - 0.5 * 388 - identity.x, template.y[:, None] - 0.49 * 448 - identity.y)
    nearest = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 1e-3
    np.testing.assert_allclose(np.cos(template.direction - identity.direction[nearest]), 1.0, atol=1e-5)
    np.testing.assert_array_equal(len(np.unique(nearest)), len(template))
    assert 0.3 * len(identity.x) < len(template) < 0.8 * len(identity.x)


def test_a_placement_moves_and_turns_all_minutiae_as_one() -> None:
    identity = draw_identity(4, 7)
    turned = TemplateParameters(
        placement=PlacementParameters(torsion_deg=0.0, traction_px=0.0, pressure=0.0, partial=0.0, rotation_deg=40.0),
        jitter_px=0.0,
        jitter_deg=0.0,
        missed=0.0,
        spurious=0.0,
    )
    template = draw_template(identity, 1, turned)
    still = draw_template(identity, 1, _EXACT)
    # Distances to the nearest neighbour stay, and so does what a direction has to the line to that neighbour.
    for m in (template, still):
        assert len(m) > 20
    ours, theirs = (np.sort(_distances(m).min(axis=1)) for m in (template, still))
    assert np.median(np.abs(ours[: len(theirs)] - theirs[: len(ours)])) < 1.0


def test_missed_and_spurious_minutiae_are_as_many_as_asked_for() -> None:
    identities = [draw_identity(6, i) for i in range(25)]
    plain = sum(len(draw_template(i, k, _EXACT)) for i in identities for k in range(4))
    for missed, spurious in ((0.3, 0.0), (0.0, 0.3)):
        changed = TemplateParameters(placement=STILL, jitter_px=0.0, jitter_deg=0.0, missed=missed, spurious=spurious)
        count = sum(len(draw_template(i, k, changed)) for i in identities for k in range(4))
        # A few false ones lie on top of true ones, and are dropped.
        assert count / plain == pytest.approx(1 - missed + 0.9 * spurious, abs=0.06)


def test_density_and_distances_are_those_of_real_prints() -> None:
    drawn = [draw_template(draw_identity(1, i), 0) for i in range(150)]
    hulls = [cv2.contourArea(cv2.convexHull(np.stack([m.x, m.y], axis=1))) for m in drawn if len(m) > 3]
    density = np.median([1e4 * len(m) / hull for m, hull in zip((m for m in drawn if len(m) > 3), hulls, strict=True)])
    nearest = np.concatenate([_distances(m).min(axis=1) for m in drawn if len(m) > 1])
    assert 7.0 < density < 9.3
    assert 20 < np.median(nearest) < 24.5
    assert nearest.min() >= 7.0 - 1e-3
    assert 0.25 < np.mean(np.concatenate([m.kind for m in drawn]) == 2) < 0.6


def test_neighbours_point_alike_a_little_more_often_than_not() -> None:
    alike = opposed = total = 0
    for i in range(100):
        m = draw_template(draw_identity(1, i), 0)
        turn = np.cos(m.direction - m.direction[_distances(m).argmin(axis=1)])
        alike += int((turn > math.cos(math.radians(30))).sum())
        opposed += int((turn < -math.cos(math.radians(30))).sum())
        total += len(m)
    assert 0.42 < alike / total < 0.6
    assert 0.32 < opposed / total < 0.48


def test_more_minutiae_point_the_way_ridges_spread() -> None:
    # Under an arch's hump ridges come together towards both sides, and end there: so do those of grown fingers.
    grown = [draw_finger(2, i, pattern=FingerClass.ARCH).minutiae for i in range(3)]
    drawn = [draw_identity(2, i, pattern=FingerClass.ARCH) for i in range(20)]
    outwards = np.mean([np.mean((np.cos(m.direction) * np.sign(m.x - 192))[m.y > 275]) for m in grown])
    drawn_outwards = np.mean([np.mean((np.cos(d.direction) * np.sign(d.x))[d.y > 60]) for d in drawn])
    assert outwards < -0.25
    assert drawn_outwards < -0.25


@given(_places, _places)
@settings(max_examples=40, deadline=None)
def test_the_kernels_do_what_their_python_does(x: np.ndarray, y: np.ndarray) -> None:
    chance = np.linspace(0, 1, 12)
    compiled, plain = np.zeros(12, np.intp), np.zeros(12, np.intp)
    count = templates._settle(x, y, chance, 8, 7.0, 16.0, compiled)
    assert count == templates._settle.py_func(x, y, chance, 8, 7.0, 16.0, plain)
    np.testing.assert_array_equal(compiled[:count], plain[:count])
    one, two = np.arange(12)[::-1].copy(), np.arange(12)[::-1].copy()
    kept = templates._keep_apart(x, y, one)
    assert kept == templates._keep_apart.py_func(x, y, two)
    np.testing.assert_array_equal(one[:kept], two[:kept])
    apart = np.hypot(x[one[:kept], None] - x[one[:kept]], y[one[:kept], None] - y[one[:kept]])
    assert apart[~np.eye(kept, dtype=bool)].min(initial=np.inf) >= 7.0


def test_one_compiled_version() -> None:
    draw_template(draw_identity(1, 1), 0)
    assert [len(k.signatures) for k in (templates._settle, templates._keep_apart)] == [1, 1]


@pytest.mark.parametrize(
    "changed", [{"density": 1.0}, {"jitter_px": -1.0}, {"jitter_deg": 90.0}, {"missed": 1.0}, {"spurious": 2.0}]
)
def test_parameters_out_of_range_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(changed))):
        TemplateParameters(**changed)  # type: ignore[arg-type]


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="seed and indices"):
        draw_template(draw_identity(1, 1), -1)
