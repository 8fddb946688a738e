import numpy as np
import pytest

from benchmarks import contestant, race, speed_face
from benchmarks.race import Contestant, ContestantError, quartiles, ratios


class Scripted:
    """Stands in for a child process; the first passes are slow, as cold caches make them."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name, self._log, self._passes = name, log, 0

    def run(self, workload: str) -> dict[str, float]:
        self._log.append(self._name)
        self._passes += 1
        cold = self._passes <= 2
        return {"cpu_s": 9.0 if cold else 1.0, "wall_s": 9.0 if cold else 2.0, "embedded": 3}


def test_everybody_runs_once_a_round_and_another_begins() -> None:
    log: list[str] = []
    field = {name: Scripted(name, log) for name in "abc"}
    timings = race.race(field, "photographs", 4)  # type: ignore[arg-type]
    rounds = [log[k : k + 3] for k in range(0, len(log), 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in rounds)
    assert {turn[0] for turn in rounds} == {"a", "b", "c"}
    assert timings["b"].cpu_s == [1.0] * 4
    assert timings["b"].wall_s == [2.0] * 4
    assert timings["b"].embedded == 3


def test_ratios_are_taken_round_by_round() -> None:
    # Both are slow in the second round: their ratio is not.
    assert ratios([1.0, 10.0, 1.0], [2.0, 20.0, 2.0]) == (2.0, 2.0, 2.0)


def test_quartiles_begin_with_the_median(rng: np.random.Generator) -> None:
    values = rng.permutation(101)
    assert quartiles(values.tolist()) == (50.0, 25.0, 75.0)


def test_what_a_contestant_said_before_it_fell_is_reported() -> None:
    config = {"core": 0, "system": "unheard_of", "workloads": {}}
    with pytest.raises(ContestantError, match="unheard_of"):
        Contestant(config)


def test_everything_that_is_raced_exists() -> None:
    assert {told["system"] for told in speed_face._SYSTEMS.values()} <= set(contestant.SYSTEMS)
