import dataclasses

import numpy as np
import pytest

from biometrik.errors import InvalidInputError
from biometrik.fingers import MinutiaKind
from biometrik.synthetic import impressions
from biometrik.synthetic.fingerprints import MasterFinger, draw_finger
from biometrik.synthetic.impressions import CLEAN, HARD, ImpressionParameters, SyntheticPrint, draw_impression
from biometrik.synthetic.placement import PlacementParameters

#: Placed, turned and bent at will, but with nothing that hides ridges.
_BENT = ImpressionParameters(
    placement=PlacementParameters(rotation_deg=25.0, torsion_deg=8.0, traction_px=8.0),
    moisture=0.0,
    noise=0.0,
    scratches=0.0,
)


@pytest.fixture(scope="module")
def finger() -> MasterFinger:
    return draw_finger(11, 3)


def _true_share(print_: SyntheticPrint) -> float:
    # Share of minutiae ahead of which there is a ridge (ending) or a valley (bifurcation), and the other behind it.
    m, pixels = print_.minutiae, print_.image.pixels
    sign = np.where(m.kind == MinutiaKind.ENDING, 1, -1)
    hits = []
    for step, expected in ((8, 1), (-8, -1)):
        column = np.clip(np.rint(m.x + step * np.cos(m.direction)).astype(int), 0, pixels.shape[1] - 1)
        row = np.clip(np.rint(m.y + step * np.sin(m.direction)).astype(int), 0, pixels.shape[0] - 1)
        touched = print_.contact[row, column]
        hits.append((sign * expected * (145 - pixels[row, column].astype(int)) > 0)[touched])
    return float(np.concatenate(hits).mean())


def test_the_same_arguments_give_the_same_print(finger: MasterFinger) -> None:
    first, again = (draw_impression(finger, 2) for _ in range(2))
    np.testing.assert_array_equal(first.image.pixels, again.image.pixels)
    np.testing.assert_array_equal(first.minutiae.x, again.minutiae.x)


def test_impressions_differ(finger: MasterFinger) -> None:
    assert (draw_impression(finger, 0).image.pixels != draw_impression(finger, 1).image.pixels).any()
    assert (draw_impression(draw_finger(11, 4), 0).image.pixels != draw_impression(finger, 0).image.pixels).any()


@pytest.mark.parametrize("impression", range(4))
def test_true_minutiae_are_carried_along(finger: MasterFinger, impression: int) -> None:
    print_ = draw_impression(finger, impression, _BENT)
    assert len(print_.minutiae) > 15
    assert _true_share(print_) > 0.85


def test_the_measure_of_that_sees_minutiae_that_are_off(finger: MasterFinger) -> None:
    print_ = draw_impression(finger, 0, _BENT)
    shifted = dataclasses.replace(print_.minutiae, x=np.clip(print_.minutiae.x + 15, 0, 380))
    assert _true_share(dataclasses.replace(print_, minutiae=shifted)) < 0.7


def test_the_finger_touches_where_its_minutiae_are_and_the_rest_is_light(finger: MasterFinger) -> None:
    print_ = draw_impression(finger, 1)
    m, contact = print_.minutiae, print_.contact
    assert contact[np.rint(m.y).astype(int), np.rint(m.x).astype(int)].all()
    assert print_.image.ppi == 500.0
    assert np.percentile(print_.image.pixels[~contact], 5) > 200 > np.median(print_.image.pixels[contact])


def test_a_wet_finger_prints_darker_than_a_dry_one(finger: MasterFinger) -> None:
    depth = np.ones(finger.ridges.shape, dtype=np.float32)
    dry, usual, wet = (
        impressions._ink(np.random.default_rng(1), 1.0, moisture, finger.ridges, finger.pores, depth)[
            finger.inside
        ].mean()
        for moisture in (-1.5, 0.0, 1.5)
    )
    assert dry < usual - 0.05 < usual + 0.05 < wet


def test_clean_impressions_of_one_finger_lie_alike(finger: MasterFinger) -> None:
    first, second = (draw_impression(finger, k, CLEAN) for k in range(2))
    both = first.contact & second.contact
    # The edge alone is drawn anew.
    assert np.mean(np.abs(first.image.pixels[both].astype(int) - second.image.pixels[both])) < 4


def test_hard_impressions_differ_more_in_what_they_show(finger: MasterFinger) -> None:
    clean, usual, hard = (
        np.std([draw_impression(finger, k, parameters).contact.mean() for k in range(16)])
        for parameters in (CLEAN, ImpressionParameters(), HARD)
    )
    assert clean < 0.5 * usual < 0.5 * hard


def test_size_and_contact_are_read_only_and_as_asked_for(finger: MasterFinger) -> None:
    asked = ImpressionParameters(placement=PlacementParameters(width_px=300, height_px=320))
    print_ = draw_impression(finger, 0, asked)
    assert print_.image.pixels.shape == print_.contact.shape == (320, 300)
    assert (print_.minutiae.width_px, print_.minutiae.height_px) == (300, 320)
    assert not print_.contact.flags.writeable


@pytest.mark.parametrize("changed", [{"moisture": 3.0}, {"noise": -1.0}, {"scratches": float("nan")}])
def test_parameters_out_of_range_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(changed))):
        ImpressionParameters(**changed)  # type: ignore[arg-type]


def test_negative_numbers_are_refused(finger: MasterFinger) -> None:
    with pytest.raises(InvalidInputError, match="seed and indices"):
        draw_impression(finger, -1)
