"""Which way ridges run and how far apart: on waves of known angle and period."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint import orientation
from biometrik.fingerprint.orientation import RidgeFlow, ridge_flow, ridge_period, structure_tensor


def _wave(angle: float, period: float = 9.0, side: int = 160) -> NDArray[np.float32]:
    # Ridges along `angle`.
    y, x = np.mgrid[:side, :side].astype(np.float64)
    wave = np.cos(2 * np.pi / period * (y * np.cos(angle) - x * np.sin(angle)))
    return np.asarray(wave, dtype=np.float32)


def _apart(a: NDArray[Any], b: float) -> NDArray[Any]:
    return np.asarray(np.abs((a - b + np.pi / 2) % np.pi - np.pi / 2))


@settings(deadline=None, max_examples=30)
@given(st.floats(0, np.pi - 1e-3), st.floats(6, 13))
def test_flow_and_period_of_a_wave(angle: float, period: float) -> None:
    wave = _wave(angle, period)
    flow = ridge_flow(structure_tensor(wave), 14.0)
    middle = (slice(5, 15), slice(5, 15))
    assert _apart(flow.angle[middle], angle).max() < np.radians(2)
    assert flow.coherence[middle].min() > 0.95
    found, regularity = ridge_period(wave, flow, np.ones(flow.angle.shape, dtype=bool))
    np.testing.assert_allclose(found[middle], period, rtol=0.04)
    assert regularity[6:14:2, 6:14:2].min() > 0.8


def test_a_quarter_turn_turns_the_flow() -> None:
    wave = _wave(0.4) + 0.3 * _wave(1.0)
    here, there = (ridge_flow(structure_tensor(w), 10.0) for w in (wave, np.rot90(wave).copy()))
    # Counter-clockwise on the screen is minus in axes whose y points down.
    turned = np.rot90(here.angle) - np.pi / 2
    assert np.abs((there.angle - turned + np.pi / 2) % np.pi - np.pi / 2).max() < 1e-3
    np.testing.assert_allclose(there.coherence, np.rot90(here.coherence), atol=1e-4)


def test_noise_has_no_orientation_and_no_period(rng: np.random.Generator) -> None:
    noise = rng.normal(size=(160, 160)).astype(np.float32)
    flow = ridge_flow(structure_tensor(noise), 14.0)
    assert flow.coherence.mean() < 0.2
    _, regularity = ridge_period(noise, flow, np.ones(flow.angle.shape, dtype=bool))
    assert regularity[::2, ::2].mean() < 0.5


def test_where_nothing_is_measured_the_period_is_typical() -> None:
    wave = _wave(0.4)
    flow = ridge_flow(structure_tensor(wave), 14.0)
    period, regularity = ridge_period(wave, flow, np.zeros(flow.angle.shape, dtype=bool))
    assert (period == orientation.TYPICAL_PERIOD_PX).all()
    assert not regularity.any()


def test_the_kernel_is_its_python() -> None:
    # On waves: which of noise's peaks is highest hangs on the last digit.
    flat = _wave(0.6, 8.0, 48) + 0.2 * _wave(2.0, 12.0, 48)
    angle = np.linspace(0.3, 0.9, 36).reshape(6, 6).astype(np.float32)
    inside = np.ones((6, 6), dtype=bool)
    inside[2, 2] = False
    compiled, plain = ([np.zeros((6, 6), dtype=np.float32) for _ in range(2)] for _ in range(2))
    orientation._periods(flat, angle, inside, *compiled)
    orientation._periods.py_func(flat, angle, inside, *plain)
    for a, b in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert (plain[0] > 0).sum() == 8


def test_one_compiled_form_serves_every_layout() -> None:
    wave = _wave(0.4)
    flow = ridge_flow(structure_tensor(wave), 14.0)
    inside = np.ones(flow.angle.shape, dtype=bool)
    expected = ridge_period(wave, flow, inside)[0]
    compiled = len(orientation._periods.signatures)
    frozen = wave.copy()
    frozen.flags.writeable = False
    for flat in (frozen, np.asfortranarray(wave)):
        angle = np.asfortranarray(flow.angle)
        np.testing.assert_array_equal(ridge_period(flat, RidgeFlow(angle, flow.coherence), inside)[0], expected)
    assert len(orientation._periods.signatures) == compiled


def test_sides_are_whole_cells() -> None:
    with pytest.raises(InvalidInputError, match="multiples of 8"):
        structure_tensor(np.zeros((30, 32), dtype=np.uint8))
