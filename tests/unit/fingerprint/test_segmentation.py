"""Shading and pressure taken out, and where ridges are."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint.arrays import kernel_input
from biometrik.fingerprint.orientation import structure_tensor
from biometrik.fingerprint.segmentation import GRID_PX, flattened, foreground, without_specks

Image = NDArray[np.uint8]


def _waves(height: int = 320, width: int = 320, amplitude: float = 60, mean: float = 128) -> Image:
    x = np.arange(width)
    return np.tile((mean + amplitude * np.cos(2 * np.pi * x / 9)).astype(np.uint8), (height, 1))


def test_light_and_pressure_are_taken_out() -> None:
    strong, weak = flattened(_waves(amplitude=90)), flattened(_waves(amplitude=30, mean=190))
    np.testing.assert_allclose(strong, weak, atol=0.1)
    assert strong.dtype == np.float32


def test_dark_ridges_become_positive() -> None:
    pixels = _waves()
    flat = flattened(pixels)
    assert (flat[pixels < 80] > 0.5).all()
    assert (flat[pixels > 176] < -0.5).all()


def test_what_bare_ground_shows_is_not_amplified(rng: np.random.Generator) -> None:
    ground = np.clip(rng.normal(240, 2, (128, 128)), 0, 255).astype(np.uint8)
    assert flattened(ground).std() < 0.4


def test_only_gray_images_are_taken() -> None:
    with pytest.raises(InvalidInputError, match="expected \\(H, W\\) uint8"):
        flattened(np.zeros((8, 8, 3), dtype=np.uint8))


def test_ridges_are_foreground_and_blank_noise_is_not(rng: np.random.Generator) -> None:
    pixels = np.clip(rng.normal(235, 3, (320, 320)), 0, 255).astype(np.uint8)
    pixels[64:256, 64:256] = _waves()[64:256, 64:256]
    cells = foreground(structure_tensor(pixels))
    side = 320 // GRID_PX
    truth = np.zeros((side, side), dtype=bool)
    truth[8:32, 8:32] = True
    assert cells[truth].all()
    # The neighbourhood reaches out four cells.
    assert not cells[:4].any()
    assert not cells[:, -4:].any()


def test_nothing_on_a_blank_sheet() -> None:
    assert not foreground(structure_tensor(np.full((160, 160), 255, dtype=np.uint8))).any()


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_nothing_small_is_left(mask: NDArray[np.bool_]) -> None:
    cleaned = without_specks(mask)
    assert cleaned.shape == mask.shape
    # No hole is left that is smaller than the least size, and no piece unless it is all there is.
    for part in (cleaned, ~cleaned):
        _, _, stats, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8), connectivity=4)
        assert part.all() or (stats[1:, cv2.CC_STAT_AREA] >= 80).all()


def test_threads_specks_and_holes_go() -> None:
    mask = np.zeros((60, 60), dtype=bool)
    mask[10:40, 10:40] = True
    expected = mask.copy()
    mask[20, 40:60] = True  # a thread
    mask[50:54, 50:54] = True  # a speck
    mask[22:27, 22:27] = False  # a hole
    np.testing.assert_array_equal(without_specks(mask), expected)


def test_every_layout_reaches_the_kernel_alike(rng: np.random.Generator) -> None:
    array = rng.random((6, 8)).astype(np.float32)
    frozen = array.copy()
    frozen.flags.writeable = False
    for given_ in (array, frozen, np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2]):
        view = kernel_input("array", given_, np.float32)
        np.testing.assert_array_equal(view, array)
        assert view.flags.c_contiguous
        assert not view.flags.writeable
    assert array.flags.writeable
    for wrong in (array[None], array.astype(np.float64), array[:0], [1.0]):
        with pytest.raises(InvalidInputError, match="array: expected a non-empty 2-D float32 array"):
            kernel_input("array", wrong, np.float32)  # type: ignore[arg-type]
