"""The fast extractor's own matters; what every extractor keeps to is in the contract tests."""

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint.extractors import ridge
from biometrik.fingerprint.ridges import find_ridges


def _waves(height: int = 256, width: int = 256) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    turn = 2 * np.pi * (0.3 * x + 0.95 * y) / 9.0
    for at_x, at_y in ((70, 80), (170, 90), (120, 170)):
        turn = turn + np.arctan2(y - at_y, x - at_x)
    pixels: NDArray[np.uint8] = (128 + 90 * np.cos(turn)).astype(np.uint8)
    return pixels


def test_clear_minutiae_are_sure_and_noise_makes_them_less(rng: np.random.Generator) -> None:
    clean = ridge._rows(find_ridges(_waves()))
    noisy = np.clip(_waves() + rng.normal(0, 140, (256, 256)), 0, 255).astype(np.uint8)
    assert clean["quality"][:3].min() >= 95
    assert ridge._rows(find_ridges(noisy))["quality"].min() < 90


def test_ridges_and_their_cells() -> None:
    pixels = np.full((256, 256), 250, dtype=np.uint8)
    pixels[64:192, 64:192] = _waves()[64:192, 64:192]
    found = find_ridges(pixels)
    assert found.inside[10:22, 10:22].all()
    assert not found.inside[:6].any()
    assert not found.clear[:24].any()
    assert found.purity.max() <= 1
    np.testing.assert_allclose(np.median(found.period[found.inside]), 9.0, atol=0.5)


def test_no_minutiae_at_the_edge_of_the_print() -> None:
    # Straight ridges that are cut at the print's edge do not end there.
    y = np.mgrid[:256, :256][0]
    pixels = np.full((256, 256), 250, dtype=np.uint8)
    pixels[48:208, 48:208] = (128 + 90 * np.cos(2 * np.pi * y / 9)).astype(np.uint8)[48:208, 48:208]
    assert (ridge._rows(find_ridges(pixels))["quality"] >= 60).sum() == 0


def test_sides_are_whole_cells() -> None:
    with pytest.raises(InvalidInputError, match="multiples of 8"):
        find_ridges(np.zeros((100, 100), dtype=np.uint8))
