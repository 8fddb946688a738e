import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from biometrik.errors import InvalidInputError
from biometrik.synthetic import growth
from biometrik.synthetic.growth import grow


def _parallel(angle: float, period: float, iterations: int = 40) -> np.ndarray:
    shape = (96, 96)
    start = np.random.default_rng(4).standard_normal(shape, dtype=np.float32)
    return grow(np.full(shape, angle), np.full(shape, period), np.ones(shape, bool), start, iterations)


@pytest.mark.parametrize(("angle", "period"), [(0.0, 4.5), (0.7, 4.0), (2.2, 5.5), (math.pi / 2, 4.5)])
def test_ridges_grow_along_the_orientation_with_the_period(angle: float, period: float) -> None:
    spectrum = np.abs(np.fft.fft2(_parallel(angle, period), (512, 512)))
    row, column = np.unravel_index(int(spectrum[:256].argmax()), (256, 512))
    wave_y, wave_x = np.fft.fftfreq(512)[[row, column]]
    assert 1 / math.hypot(wave_x, wave_y) == pytest.approx(period, rel=0.08)
    # Ridges run across their wave vector.
    assert abs(math.cos(math.atan2(wave_y, wave_x) - angle)) < math.sin(math.radians(5))


def test_ridges_and_valleys_are_as_wide_and_do_not_overshoot() -> None:
    grown = _parallel(0.5, 4.5)
    assert np.abs(grown).max() <= 1.0
    assert np.mean(grown > 0) == pytest.approx(0.5, abs=0.03)


def test_growth_spreads_from_a_seed_and_stays_inside() -> None:
    shape = (64, 64)
    inside = np.zeros(shape, bool)
    inside[8:56, 8:56] = True
    start = np.zeros(shape, np.float32)
    start[30:33, 30:33] = 1.0
    near, far = (grow(np.zeros(shape), np.full(shape, 4.5), inside, start, n) for n in (1, 25))
    assert np.abs(near[20:, :12]).max() < 1e-3 < np.abs(far[30, 10])
    assert (far[~inside] == 0).all()


def test_half_a_turn_of_the_input_turns_the_pattern() -> None:
    rng = np.random.default_rng(2)
    angle = np.full((40, 50), 0.4) + np.linspace(0, 1, 50)[None, :]
    period = np.full((40, 50), 4.5) + np.linspace(0, 0.5, 40)[:, None]
    start = rng.standard_normal((40, 50), dtype=np.float32)
    inside = np.ones((40, 50), bool)
    grown = grow(angle, period, inside, start, 3)
    turned = grow(angle[::-1, ::-1], period[::-1, ::-1], inside, start[::-1, ::-1], 3)
    np.testing.assert_allclose(turned[::-1, ::-1], grown, atol=1e-4)


@given(
    arrays.arrays(np.float32, (21, 20), elements=st.floats(-1, 1, width=32)),
    arrays.arrays(np.int32, (5, 4), elements=st.integers(-1, growth.ORIENTATIONS * len(growth.PERIODS_PX) - 1)),
)
@settings(max_examples=10, deadline=None)
def test_the_kernel_does_what_its_python_does(pattern: np.ndarray, filters: np.ndarray) -> None:
    compiled, plain = np.zeros_like(pattern), np.zeros_like(pattern)
    growth._filter(pattern, filters, growth._bank(), compiled)
    growth._filter.py_func(pattern, filters, growth._bank(), plain)
    np.testing.assert_allclose(compiled, plain, atol=1e-5)


def test_one_compiled_version() -> None:
    shape = (20, 24)
    for start in (np.zeros(shape, np.float32), np.zeros(shape[::-1], np.float32).T, np.zeros(shape)):
        grow(np.zeros(shape), np.full(shape, 4.5), np.ones(shape, bool), start, 1)  # type: ignore[arg-type]
    assert len(growth._filter.signatures) == 1


def test_what_does_not_fit_is_refused() -> None:
    shape = (20, 24)
    angle, inside, start = np.zeros(shape), np.ones(shape, bool), np.zeros(shape, np.float32)
    with pytest.raises(InvalidInputError, match="one shape"):
        grow(angle, np.zeros((3, 3)), inside, start, 1)
    with pytest.raises(InvalidInputError, match="iterations"):
        grow(angle, angle, inside, start, 0)
