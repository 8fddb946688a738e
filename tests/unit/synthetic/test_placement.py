import math

import numpy as np
import pytest

from biometrik.errors import InvalidInputError
from biometrik.synthetic.placement import STILL, Placement, PlacementParameters, draw_placement


def test_glass_and_image_are_inverse(rng: np.random.Generator) -> None:
    placement = draw_placement(rng, PlacementParameters())
    x, y = rng.uniform(0, 400, (2, 20))
    back = placement.to_image(*placement.to_glass(x, y))
    np.testing.assert_allclose(back, (x, y), atol=1e-9)


def test_a_turned_finger_is_turned_clockwise() -> None:
    still = draw_placement(np.random.default_rng(1), STILL)
    turned = Placement(math.pi / 2, still.centre_px, still.skin, still.pressure, still.away_px)
    x, y = turned.to_image(np.array([0.0]), np.array([-100.0]))  # the fingertip
    np.testing.assert_allclose((x[0] - still.centre_px[0], y[0] - still.centre_px[1]), (100.0, 0.0), atol=1e-9)


def test_spreads_are_as_asked_for() -> None:
    rng = np.random.default_rng(8)
    drawn = [draw_placement(rng, PlacementParameters(rotation_deg=10.0, partial=0.3)) for _ in range(1500)]
    assert math.degrees(float(np.std([p.rotation_rad for p in drawn]))) == pytest.approx(10.0, rel=0.07)
    assert np.mean([p.away_px != (0.0, 0.0) for p in drawn]) == pytest.approx(0.3, abs=0.04)


def test_a_partial_placement_touches_with_a_part_of_what_a_whole_one_does() -> None:
    rng = np.random.default_rng(8)
    part = draw_placement(rng, PlacementParameters(partial=1.0))
    whole = Placement(part.rotation_rad, part.centre_px, part.skin, part.pressure, (0.0, 0.0))
    x, y = np.meshgrid(np.linspace(-200, 200, 60), np.linspace(-250, 250, 60))
    in_part, in_whole = part.depth(x, y) > 0, whole.depth(x, y) > 0
    assert not (in_part & ~in_whole).any()
    assert 0.1 < in_part.sum() / in_whole.sum() < 0.9


def test_depth_is_one_in_the_middle_and_nothing_at_the_edge() -> None:
    still = draw_placement(np.random.default_rng(1), STILL)
    depth = still.depth(np.array([0.0, 132.0, 0.0, 0.0, 300.0]), np.array([0.0, 0.0, -165.0, 190.0, 0.0]))
    np.testing.assert_allclose(depth[:4], [1, 0, 0, 0], atol=1e-12)
    assert depth[4] < 0


@pytest.mark.parametrize(
    "changed",
    [{"width_px": 64}, {"height_px": 2000}, {"rotation_deg": -1.0}, {"traction_px": 20.0}, {"partial": float("nan")}],
)
def test_parameters_out_of_range_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(changed))):
        PlacementParameters(**changed)  # type: ignore[arg-type]
