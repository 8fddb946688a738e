"""The demo's photographs: found, cut out, photographed again."""

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.demo.photographs import (
    SOURCES,
    Source,
    cut_out,
    find,
    jpeg,
    photographed_again,
    underexposed,
)
from biometrik.errors import InvalidInputError
from biometrik.types import Box, FaceImage


@pytest.fixture
def image(rng: np.random.Generator) -> FaceImage:
    coarse = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    return FaceImage(np.kron(coarse, np.ones((20, 20, 1), dtype=np.uint8)))


def _mean(pixels: NDArray[np.uint8]) -> float:
    return float(pixels.mean())


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_every_photograph_is_where_its_package_is(source: Source) -> None:
    assert FaceImage.from_file(find(source)).width_px >= 112
    assert source.rights


@pytest.mark.parametrize("source", [Source("no_such_package", "a.png", ""), Source("skimage", "data/none.png", "")])
def test_a_missing_photograph_names_the_remedy(source: Source) -> None:
    with pytest.raises(InvalidInputError, match="scripts/setup"):
        find(source)


def test_a_cut_is_around_the_box_and_inside_the_photograph(image: FaceImage) -> None:
    inner = cut_out(image, Box(80, 100, 40, 30), margin=0.5)
    assert inner.pixels.shape == (80, 80, 3)
    np.testing.assert_array_equal(inner.pixels, image.pixels[75:155, 60:140])
    corner = cut_out(image, Box(0, 0, 40, 40), margin=1.0)
    assert corner.pixels.shape == (80, 80, 3)


def test_a_copy_is_another_picture_of_the_same_and_the_same_for_the_same_seed(image: FaceImage) -> None:
    copy, same, other = (photographed_again(image, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(copy.pixels, same.pixels)
    assert other.pixels.shape != copy.pixels.shape or (other.pixels != copy.pixels).any()
    assert 0.68 < copy.width_px / image.width_px < 0.92
    assert abs(_mean(copy.pixels) - _mean(image.pixels)) < 50


def test_less_light_is_darker_with_each_stop(image: FaceImage) -> None:
    means = [_mean(underexposed(image, stops, seed=1).pixels) for stops in (0, 2, 4, 8)]
    assert means == sorted(means, reverse=True)
    assert abs(means[0] - _mean(image.pixels)) < 3
    assert means[-1] < 20


def test_jpeg_keeps_red_red() -> None:
    red = np.zeros((32, 32, 3), dtype=np.uint8)
    red[:, :, 0] = 250
    back = FaceImage.from_bytes(jpeg(red)).pixels
    assert back[16, 16, 0] > 200
    assert back[16, 16, 2] < 50
