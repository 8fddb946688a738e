"""The fused rate keeps what it promises: by its law where traits are independent, by simulation elsewhere."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik import fusion
from biometrik.errors import InvalidInputError
from biometrik.fusion import fused_rate, fused_rates
from biometrik.types import FACE, Trait

TRAITS = (FACE, *(Trait.finger(position) for position in range(1, 11)))
a_rate = st.floats(1e-9, 1.0)


def test_of_one_trait_is_its_own_and_of_none_is_one() -> None:
    assert fused_rate({FACE: 0.3}) == 0.3
    assert fused_rate({}) == 1.0
    assert fused_rates(np.full((2, 3), np.nan), TRAITS[:3]).tolist() == [1.0, 1.0]
    assert fused_rates(np.empty((0, 2)), TRAITS[:2]).shape == (0,)


@given(st.dictionaries(st.sampled_from(TRAITS), a_rate, min_size=1), st.data())
def test_never_falls_when_a_rate_rises(rates: dict[Trait, float], data: st.DataObject) -> None:
    trait = data.draw(st.sampled_from(sorted(rates, key=lambda t: (t.modality.value, t.position))))
    higher = rates | {trait: data.draw(st.floats(rates[trait], 1.0))}
    assert 0.0 < fused_rate(rates) <= fused_rate(higher) * (1 + 1e-12) <= 1.0 + 1e-12


@given(st.lists(st.lists(a_rate | st.just(np.nan), min_size=4, max_size=4), max_size=8))
def test_many_at_once_are_each_of_what_is_there(rows: list[list[float]]) -> None:
    found = fused_rates(np.array(rows).reshape(-1, 4), TRAITS[:4])
    each = [fused_rate({t: v for t, v in zip(TRAITS[:4], row, strict=True) if v == v}) for row in rows]
    assert found == pytest.approx(each, rel=1e-12)


@pytest.mark.parametrize(
    ("rates", "traits"),
    [
        (np.zeros((1, 2)), TRAITS[:2]),
        (np.full((1, 2), 1.1), TRAITS[:2]),
        (np.ones((1, 2)), TRAITS[:3]),
        (np.ones(2), TRAITS[:2]),
        (np.ones((1, 2)), (FACE, FACE)),
    ],
)
def test_what_is_no_rate_is_refused(rates: NDArray[np.float64], traits: tuple[Trait, ...]) -> None:
    with pytest.raises(InvalidInputError, match="rates: expected"):
        fused_rates(rates, traits)


# Strangers' surprises, −ln of each trait's rate, by models of how traits may depend: marginally all are Exp(1).


def independent(rng: np.random.Generator, trials: int, traits: int) -> NDArray[np.float64]:
    return rng.exponential(size=(trials, traits))


def gaussian_copula(rng: np.random.Generator, trials: int, traits: int) -> NDArray[np.float64]:
    # Similarities share a normal part: people are alike in general. Gives surprises a correlation of 0.15.
    shared = 0.178
    z = np.sqrt(shared) * rng.standard_normal((trials, 1)) + np.sqrt(1 - shared) * rng.standard_normal((trials, traits))
    grid = np.linspace(-6, 6, 2001)
    found: NDArray[np.float64] = np.interp(z, grid, [-math.log(0.5 * math.erfc(x / math.sqrt(2))) for x in grid])
    return found


def moran(rng: np.random.Generator, trials: int, traits: int) -> NDArray[np.float64]:
    # Squared lengths of complex normals (Moran, Biometrika 54, 1967): correlation 0.15 with a heavier common tail.
    shared = math.sqrt(0.15)
    z = np.sqrt(shared) * rng.standard_normal((trials, 1, 2))
    z = z + np.sqrt(1 - shared) * rng.standard_normal((trials, traits, 2))
    found: NDArray[np.float64] = (z**2).sum(axis=2) / 2
    return found


MODELS = (independent, gaussian_copula, moran)
#: How similarities reach the rule: exactly; capped where the evidence ends; in steps, as tables of few scores would.
READINGS = {
    "exact": lambda rates: rates,
    "capped": lambda rates: np.maximum(rates, 3e-3),
    "discrete": lambda rates: 10.0 ** (np.ceil(np.log10(rates) * 2) / 2),
}


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("traits", [2, 3, 6, 11])
@pytest.mark.parametrize("model", MODELS)
def test_keeps_its_rate_for_strangers(
    model: Callable[[np.random.Generator, int, int], NDArray[np.float64]],
    traits: int,
    reading: str,
    rng: np.random.Generator,
) -> None:
    trials = 1_000_000 // traits
    rates = READINGS[reading](np.exp(-model(rng, trials, traits)))
    _assert_kept(fused_rates(np.minimum(rates, 1.0), TRAITS[:traits]))


@pytest.mark.parametrize("model", MODELS)
def test_whatever_is_missing_moves_nothing(
    model: Callable[[np.random.Generator, int, int], NDArray[np.float64]], rng: np.random.Generator
) -> None:
    rates = np.exp(-model(rng, 200_000, 5))
    missing = rng.random(rates.shape) < rng.random((len(rates), 1))
    fused = fused_rates(np.where(missing, np.nan, rates), TRAITS[:5])
    for count in range(6):
        _assert_kept(fused[(~missing).sum(axis=1) == count])


def _assert_kept(fused: NDArray[np.float64]) -> None:
    # Not above the target by more than four standard errors.
    for target in (0.1, 1e-2, 1e-3):
        expected = target * len(fused)
        assert np.count_nonzero(fused <= target) <= expected + 4 * math.sqrt(expected) + 1


def test_without_an_allowance_dependence_would_break_the_promise(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion, "DEPENDENCE", 0.0)
    fused = fused_rates(np.exp(-moran(rng, 200_000, 6)), TRAITS[:6])
    assert np.mean(fused <= 1e-3) > 5e-3
    exact = fused_rates(np.exp(-independent(rng, 200_000, 6)), TRAITS[:6])
    assert np.mean(exact <= 1e-2) == pytest.approx(1e-2, abs=4 * math.sqrt(1e-2 / 200_000))


def test_two_that_agree_say_more_than_either() -> None:
    pair = {Trait.finger(2): 1e-3, Trait.finger(7): 1e-3}
    assert fused_rate(pair) < 1e-4
    assert fused_rate(pair | {FACE: 1e-3}) < fused_rate(pair)
    assert fused_rate(pair | {FACE: 1.0}) > fused_rate(pair)  # a trait that disagrees counts against
