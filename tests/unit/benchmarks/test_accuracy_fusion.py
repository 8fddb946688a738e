import numpy as np
import pytest

from benchmarks import accuracy_fusion
from benchmarks.accuracy_fusion import fisher, simulated, weighted
from biometrik import fusion
from biometrik.fusion import fused_rates


@pytest.mark.parametrize("name", accuracy_fusion._MODELS)
def test_each_trait_of_every_model_keeps_its_own_rate(name: str, rng: np.random.Generator) -> None:
    surprise = accuracy_fusion._MODELS[name](rng, 200_000, 2)
    for rate in (0.5, 0.1, 1e-2):
        assert np.mean(np.exp(-surprise) <= rate, axis=0) == pytest.approx(rate, rel=0.1)


@pytest.mark.parametrize(
    ("name", "correlation"),
    [
        ("independent", 0.0),
        ("normal copula, ρ 0.07", 0.07),
        ("normal copula, ρ 0.15", 0.15),
        ("Moran's, ρ 0.07", 0.07),
        ("Moran's, ρ 0.15", 0.15),
        ("2 % look-alikes in every trait, ρ 0.07", 0.07),
    ],
)
def test_models_are_as_dependent_as_they_say(name: str, correlation: float, rng: np.random.Generator) -> None:
    surprise = accuracy_fusion._MODELS[name](rng, 400_000, 2)
    assert np.corrcoef(*surprise.T).min() == pytest.approx(correlation, abs=0.012)


def test_without_an_allowance_the_rule_is_fishers(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion, "DEPENDENCE", 0.0)
    rates = rng.random((1000, 4))
    assert fused_rates(rates, accuracy_fusion._FINGERS[:4]) == pytest.approx(fisher(rates))


def test_the_weighted_law_is_exact_and_fishers_at_equal_weights(rng: np.random.Generator) -> None:
    rates = rng.random((400_000, 3))
    found = weighted(rates, (1.0, 0.7, 0.4))
    for target in (0.1, 1e-2, 1e-3):
        assert np.mean(found <= target) == pytest.approx(target, rel=0.2)
    assert weighted(rates[:100], (1.0, 1.001, 1.002)) == pytest.approx(fisher(rates[:100]), abs=5e-3)


def test_simulation_counts_what_passes(rng: np.random.Generator) -> None:
    found = simulated(rng, trials=50_000)
    assert set(found) == set(accuracy_fusion._MODELS)
    independent = found["independent"][0]
    assert independent["traits"] == 2
    assert independent["fisher"][0] == pytest.approx(1.0, abs=0.2)
    assert independent["rule"][0] < independent["fisher"][0] < found["Moran's, ρ 0.15"][2]["fisher"][0]
