"""Quality falls with what spoils a print, and says how to mend it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint.preparation import PreparedPrint, prepare
from biometrik.fingerprint.quality import LEAST, assess
from biometrik.fingers import FingerPosition, FingerprintImage, Impression, Minutiae
from biometrik.reasons import Reason
from biometrik.types import Quality

Image = NDArray[np.uint8]


def _print(
    amplitude: float = 90, radius: float = 150, centre: tuple[float, float] = (190, 170), duty: float = 0.0
) -> Image:
    y, x = np.mgrid[:384, :352]
    wave = np.cos(2 * np.pi * np.hypot(x - 120, y - 500) / 9)
    ridges = 140 - amplitude * np.tanh(3 * (wave + duty))
    inside = np.hypot(x - centre[1], y - centre[0]) < radius
    return np.clip(np.where(inside, ridges, 150 + amplitude), 0, 255).astype(np.uint8)


def _minutiae(prepared: PreparedPrint, count: int = 40) -> Minutiae:
    x = np.linspace(100, 200, count).astype(np.float32)
    quality = np.full(count, 100, dtype=np.uint8)
    return Minutiae(x, x, np.zeros_like(x), quality // 100, quality, prepared.width_px, prepared.height_px)


def _assess(
    pixels: Image,
    position: FingerPosition = FingerPosition.UNKNOWN,
    impression: Impression = Impression.LIVE_PLAIN,
    count: int = 40,
    search: bool = False,
) -> Quality:
    prepared = prepare(FingerprintImage(pixels, 500.0))
    assert isinstance(prepared, PreparedPrint)
    return assess(prepared, _minutiae(prepared, count), position, impression, search=search)


def test_a_good_print_is_good() -> None:
    quality = _assess(_print())
    assert quality.overall > 70
    assert quality.acceptable
    assert quality.reasons == ()
    assert all(0 <= c.value <= 100 for c in quality.components)


@pytest.mark.parametrize(
    ("name", "spoilt"),
    [
        ("contrast", [{"amplitude": a} for a in (90.0, 25.0, 9.0)]),
        ("foreground_area", [{"radius": r} for r in (150.0, 90.0, 60.0)]),
    ],
)
def test_quality_falls_with_what_spoils_it(name: str, spoilt: list[dict[str, float]]) -> None:
    found = [_assess(_print(**how)) for how in spoilt]  # type: ignore[arg-type]
    for values in ([q.component(name).value for q in found], [q.overall for q in found]):
        assert values[0] > values[1] > values[2]


def test_noise_spoils_clarity_regularity_and_certainty(rng: np.random.Generator) -> None:
    noisy = np.clip(_print() + rng.normal(0, 110, (384, 352)), 0, 255).astype(np.uint8)
    clean, spoilt = _assess(_print()), _assess(noisy)
    for name in ("local_clarity", "frequency_domain_analysis", "orientation_certainty_level", "unified_quality"):
        assert clean.component(name).measured > 1.05 * spoilt.component(name).measured


def test_fewer_minutiae_are_worth_less() -> None:
    assert _assess(_print(), count=40).overall > _assess(_print(), count=10).overall


def test_dry_and_wet_prints_show_in_the_ridges_share() -> None:
    shares = [_assess(_print(duty=duty)).component("ridge_valley_uniformity").measured for duty in (-0.5, 0.0, 0.5)]
    assert shares[0] < 0.45 < shares[1] < 0.55 < shares[2]


@pytest.mark.parametrize(
    ("centre", "reason"),
    [
        ((190, 20), Reason.MOVE_FINGER_RIGHT),
        ((190, 335), Reason.MOVE_FINGER_LEFT),
        ((20, 170), Reason.MOVE_FINGER_DOWN),
        ((365, 170), Reason.MOVE_FINGER_UP),
        ((190, 170), Reason.WHOLE_FINGERTIP),
    ],
)
def test_too_little_of_a_finger_says_where_to_move(centre: tuple[float, float], reason: Reason) -> None:
    quality = _assess(_print(radius=50, centre=centre))
    assert quality.reasons == (reason,)
    assert not quality.acceptable


def test_faint_dry_prints_are_pressed_harder_and_wet_ones_softer() -> None:
    assert _assess(_print(amplitude=20, duty=-0.9)).reasons == (Reason.PRESS_HARDER,)
    assert _assess(_print(amplitude=20, duty=0.9)).reasons == (Reason.PRESS_SOFTER,)


@pytest.mark.parametrize(
    ("position", "column"), [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 0), (10, 4), (11, 0), (0, 1)]
)
def test_least_values_are_the_fingers_own(position: int, column: int) -> None:
    for profile, impression, search in (
        ("plain", Impression.LIVE_PLAIN, False),
        ("search", Impression.LIVE_PLAIN, True),
        ("rolled", Impression.LIVE_ROLLED, False),
    ):
        quality = _assess(_print(), FingerPosition(position), impression, search=search)
        assert quality.component("unified_quality").threshold == LEAST[profile][column]
        assert quality.algorithm.endswith(profile)


def test_least_values_are_bsi_s() -> None:
    assert dict(LEAST) == {"plain": (30, 30, 20, 10, 10), "search": (20, 20, 20, 10, 10), "rolled": (20, 15, 15, 10, 5)}


def test_without_ridges_there_is_no_quality() -> None:
    cells = np.zeros((10, 10), dtype=np.bool_)
    blank = PreparedPrint(np.full((160, 160), 250, dtype=np.uint8), 0, 0, 160, 160, cells, False)
    quality = assess(blank, _minutiae(blank, 0))
    assert quality.overall == 0
    assert quality.reasons == (Reason.NO_FINGERPRINT,)


def test_several_fingers_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="expected one finger, got PLAIN_RIGHT_FOUR"):
        _assess(_print(), FingerPosition.PLAIN_RIGHT_FOUR)
