"""What is looked at of a print: resolution, polarity, margins, and images that are no single print."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint.preparation import CELL_PX, MULTIPLE_PX, PreparedPrint, prepare, resampled
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.reasons import Reason

Image = NDArray[np.uint8]


def _print(height: int, width: int, *boxes: tuple[int, int, int, int], ground: int = 245, period: float = 9) -> Image:
    # Vertical ridges inside boxes (top, left, height, width) on light ground.
    pixels = np.full((height, width), ground, dtype=np.uint8)
    ridges = (120 + 80 * np.cos(2 * np.pi / period * np.arange(width))).astype(np.uint8)
    for top, left, rows, columns in boxes:
        pixels[top : top + rows, left : left + columns] = ridges[left : left + columns]
    return pixels


def _prepare(pixels: Image, ppi: float = 500.0) -> PreparedPrint:
    prepared = prepare(FingerprintImage(pixels, ppi))
    assert isinstance(prepared, PreparedPrint)
    return prepared


@settings(deadline=None, max_examples=60)
@given(
    st.integers(100, 700), st.integers(100, 590), st.integers(0, 300), st.integers(0, 300), st.integers(64, 400),
    st.integers(64, 400),
)  # fmt: skip
def test_the_cut_holds_all_ridges_and_is_part_of_the_print(
    height: int, width: int, top: int, left: int, rows: int, columns: int
) -> None:
    top, left = min(top, height - 80), min(left, width - 80)
    pixels = _print(height, width, (top, left, rows, columns))
    cut = _prepare(pixels)
    assert (cut.width_px, cut.height_px) == (width, height)
    assert cut.pixels.shape[0] % MULTIPLE_PX == cut.pixels.shape[1] % MULTIPLE_PX == 0
    bottom, right = min(height, top + rows), min(width, left + columns)
    # A cell of which the ridges fill a sliver is not one of theirs, but lies in the margin.
    assert cut.left <= left
    assert cut.top <= top
    assert cut.left + cut.pixels.shape[1] >= right
    assert cut.top + cut.pixels.shape[0] >= bottom
    # The same pixels, and white beyond them.
    for y, x in ((top, left), (bottom - 1, right - 1), ((top + bottom) // 2, (left + right) // 2)):
        assert cut.pixels[y - cut.top, x - cut.left] == pixels[y, x]
    if cut.left < 0:
        assert (cut.pixels[:, : -cut.left] == 255).all()
    # No more than the whole sheet, and not more than three cells on each side of the ridges' own.
    assert cut.pixels.shape[0] <= height + -height % MULTIPLE_PX
    assert cut.pixels.shape[1] <= right - left + 6 * CELL_PX + MULTIPLE_PX


def test_cutting_keeps_the_phase_of_the_sheet() -> None:
    # The sheet is the print in the middle of whole multiples; a cut begins on one of them.
    whole = _prepare(_print(374, 388, (0, 0, 374, 388)))
    assert (whole.left, whole.top, whole.pixels.shape) == (-14, -5, (384, 416))
    part = _prepare(_print(374, 388, (150, 160, 100, 90)))
    assert (part.left - whole.left) % MULTIPLE_PX == (part.top - whole.top) % MULTIPLE_PX == 0
    assert part.pixels.size < whole.pixels.size / 4


def test_the_foreground_lies_on_the_cut() -> None:
    cut = _prepare(_print(400, 400, (100, 120, 130, 110)))
    assert cut.foreground.shape == tuple(side // CELL_PX for side in cut.pixels.shape)
    rows, columns = np.nonzero(cut.foreground)
    assert abs(cut.top + CELL_PX * rows.min() - 100) <= CELL_PX
    assert abs(cut.top + CELL_PX * (rows.max() + 1) - 230) <= CELL_PX
    assert abs(cut.left + CELL_PX * columns.min() - 120) <= CELL_PX
    assert abs(cut.left + CELL_PX * (columns.max() + 1) - 230) <= CELL_PX


def test_the_values_are_read_only() -> None:
    pixels = _print(320, 320, (50, 50, 200, 200))
    cut = _prepare(pixels)
    assert not cut.pixels.flags.writeable
    assert not cut.foreground.flags.writeable
    assert pixels.flags.writeable


@pytest.mark.parametrize("ground", [255, 200, 150])
def test_light_ridges_on_dark_ground_are_turned(ground: int) -> None:
    pixels = _print(360, 360, (60, 60, 220, 200), ground=ground)
    dark, light = _prepare(pixels), _prepare(np.bitwise_not(pixels))
    assert (dark.inverted, light.inverted) == (False, True)
    np.testing.assert_array_equal(dark.pixels, light.pixels)
    np.testing.assert_array_equal(dark.foreground, light.foreground)


def test_a_print_without_ground_is_taken_as_it_is() -> None:
    pixels = _print(320, 320, (0, 0, 320, 320))
    assert not _prepare(pixels).inverted
    assert not _prepare(np.bitwise_not(pixels)).inverted


@pytest.mark.parametrize("ppi", [250.0, 333.0, 569.0, 1000.0])
def test_every_resolution_becomes_500(ppi: float) -> None:
    scale = ppi / 500
    pixels = _print(round(360 * scale), round(400 * scale), (0, 0, 2000, 2000), period=9 * scale)
    cut = _prepare(pixels, ppi)
    assert (cut.height_px, cut.width_px) == pytest.approx((360, 400), abs=1)
    row = cut.pixels[180 - cut.top, 32:-48].astype(float)
    spectrum = np.abs(np.fft.rfft((row - row.mean()) * np.hanning(len(row))))
    assert len(row) / int(spectrum.argmax()) == pytest.approx(9, rel=0.03)
    assert np.ptp(row) > 100  # the ridges' contrast survives


@pytest.mark.parametrize("ppi", [495.1, 500.0, 504.9])
def test_a_native_print_is_not_touched(ppi: float) -> None:
    pixels = _print(300, 300, (0, 0, 300, 300))
    assert resampled(pixels, ppi) is pixels


def test_down_is_by_area_not_by_skipping() -> None:
    checkers = (np.indices((200, 200)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert (resampled(checkers, 1000.0) == 100).all()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_even_image_has_no_print(value: int) -> None:
    assert prepare(FingerprintImage(np.full((300, 300), value, dtype=np.uint8), 500.0)) is Reason.NO_FINGERPRINT


def test_specks_and_sensor_noise_are_no_print(rng: np.random.Generator) -> None:
    noise = (230 + 2 * rng.normal(size=(300, 300))).astype(np.uint8)
    assert prepare(FingerprintImage(noise, 500.0)) is Reason.NO_FINGERPRINT
    noise[40:60, 50:70] = 0
    assert prepare(FingerprintImage(noise, 500.0)) is Reason.NO_FINGERPRINT


def test_several_fingers_are_refused() -> None:
    two = _print(400, 700, (50, 40, 300, 200), (60, 400, 280, 190))
    assert prepare(FingerprintImage(two, 500.0)) is Reason.SLAP_IMAGE
    assert prepare(FingerprintImage(np.repeat(np.repeat(two, 2, 0), 2, 1), 1000.0)) is Reason.SLAP_IMAGE
    four = _print(750, 1500, *((100, 50 + 360 * i, 400, 240) for i in range(4)))
    assert prepare(FingerprintImage(four, 500.0)) is Reason.SLAP_IMAGE
    # One above the other: two joints of one finger.
    joints = _print(900, 640, (50, 200, 300, 220), (500, 210, 280, 200))
    assert isinstance(prepare(FingerprintImage(joints, 500.0)), PreparedPrint)
    # A fragment beside the print is not a finger.
    scrap = _print(400, 700, (50, 40, 300, 220), (60, 500, 70, 90))
    assert isinstance(prepare(FingerprintImage(scrap, 500.0)), PreparedPrint)


def test_a_palm_is_no_finger() -> None:
    wide = _print(600, 1200, (20, 20, 560, 1160))
    assert prepare(FingerprintImage(wide, 500.0)) is Reason.SLAP_IMAGE
    high = _print(1700, 600, (20, 20, 1660, 560))
    assert prepare(FingerprintImage(high, 500.0)) is Reason.SLAP_IMAGE


def test_a_position_of_several_fingers_is_believed() -> None:
    one = FingerprintImage(_print(400, 400, (50, 50, 300, 300)), 500.0, FingerPosition.RIGHT_INDEX)
    assert isinstance(prepare(one), PreparedPrint)
    assert prepare(replace(one, position=FingerPosition.PLAIN_RIGHT_FOUR)) is Reason.SLAP_IMAGE


def test_a_poster_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at most 4096 px a side at 500 ppi, got 4200 x 64"):
        prepare(FingerprintImage(np.zeros((64, 4200), dtype=np.uint8), 500.0))
