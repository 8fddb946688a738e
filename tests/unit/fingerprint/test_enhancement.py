"""The wave filters: what fits passes unchanged, what does not is gone."""

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint import enhancement
from biometrik.fingerprint.enhancement import enhanced

MIDDLE = (slice(32, 128), slice(32, 128))


def _wave(angle: float, period: float, side: int = 160) -> NDArray[np.float32]:
    y, x = np.mgrid[:side, :side].astype(np.float64)
    wave = np.cos(2 * np.pi / period * (y * np.cos(angle) - x * np.sin(angle)))
    return np.asarray(wave, dtype=np.float32)


def _cells(value: float, side: int = 160) -> NDArray[np.float32]:
    return np.full((side // 8, side // 8), value, dtype=np.float32)


EVERYWHERE = np.ones((20, 20), dtype=bool)


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi / 2, 3.1])
@pytest.mark.parametrize("period", [6.0, 9.0, 13.0])
def test_a_fitting_wave_keeps_its_amplitude_and_phase(angle: float, period: float) -> None:
    wave = _wave(angle, period)
    clear = enhanced(wave, _cells(angle), _cells(period), EVERYWHERE)
    np.testing.assert_allclose(clear[MIDDLE], wave[MIDDLE], atol=0.12)


def test_waves_across_and_constant_light_are_gone() -> None:
    across = enhanced(_wave(0.7 + np.pi / 2, 9.0), _cells(0.7), _cells(9.0), EVERYWHERE)
    assert np.abs(across[MIDDLE]).max() < 0.1
    light = enhanced(np.full((160, 160), 5.0, dtype=np.float32), _cells(0.7), _cells(9.0), EVERYWHERE)
    assert np.abs(light).max() < 1e-4


def test_noise_falls_more_than_ridges(rng: np.random.Generator) -> None:
    noise = rng.normal(size=(160, 160)).astype(np.float32)
    assert enhanced(noise, _cells(0.7), _cells(9.0), EVERYWHERE).std() < 0.4


def test_outside_is_nought() -> None:
    inside = EVERYWHERE.copy()
    inside[:, 10:] = False
    clear = enhanced(_wave(0.7, 9.0), _cells(0.7), _cells(9.0), inside)
    assert not clear[:, 80:].any()
    assert clear[MIDDLE][:, :48].any()


def test_a_quarter_turn_turns_the_result() -> None:
    wave = _wave(0.7, 9.0) + 0.5 * _wave(1.9, 7.0)
    here = enhanced(wave, _cells(0.7), _cells(9.0), EVERYWHERE)
    there = enhanced(np.rot90(wave).copy(), _cells((0.7 - np.pi / 2) % np.pi), _cells(9.0), EVERYWHERE)
    np.testing.assert_allclose(there, np.rot90(here), atol=1e-4)


def test_the_kernel_is_its_python(rng: np.random.Generator) -> None:
    bank = rng.normal(size=(2, 5, 5)).astype(np.float32)
    radius = np.array([2, 1])
    choice = np.array([[0, -1, 1]])
    padded = rng.normal(size=(12, 28)).astype(np.float32)
    compiled, plain = np.zeros((8, 24), dtype=np.float32), np.zeros((8, 24), dtype=np.float32)
    enhancement._filter(padded, bank, radius, choice, compiled)
    enhancement._filter.py_func(padded, bank, radius, choice, plain)
    np.testing.assert_allclose(compiled, plain, atol=1e-4)
    # And both are the definition.
    assert plain[3, 5] == pytest.approx((bank[0] * padded[3:8, 5:10]).sum(), abs=1e-4)
    assert plain[3, 20] == pytest.approx((bank[1, 1:4, 1:4] * padded[4:7, 21:24]).sum(), abs=1e-4)
    assert not plain[:, 8:16].any()


def test_every_layout_gives_the_same() -> None:
    wave = _wave(0.7, 9.0)
    frozen = wave.copy()
    frozen.flags.writeable = False
    expected = enhanced(wave, _cells(0.7), _cells(9.0), EVERYWHERE)
    for flat in (frozen, np.asfortranarray(wave)):
        np.testing.assert_array_equal(enhanced(flat, _cells(0.7), _cells(9.0), EVERYWHERE), expected)


def test_shapes_must_fit() -> None:
    with pytest.raises(InvalidInputError, match="expected \\(20, 20\\) cells"):
        enhanced(_wave(0.7, 9.0), _cells(0.7, 80), _cells(9.0), EVERYWHERE)
    with pytest.raises(InvalidInputError, match="flat: expected"):
        enhanced(_wave(0.7, 9.0).astype(np.float64), _cells(0.7), _cells(9.0), EVERYWHERE)
