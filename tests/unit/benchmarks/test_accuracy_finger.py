"""The arithmetic and the words of the benchmark, on drawn templates."""

from pathlib import Path

import pytest

from benchmarks import accuracy_finger as benchmark
from benchmarks.history import NotRunError
from benchmarks.options import Options
from biometrik.fingers import Minutiae
from biometrik.synthetic.templates import draw_identity, draw_template


def _drawn(seed: int, identities: int, impressions: int) -> tuple[list[str], list[Minutiae]]:
    drawn = [(str(i), draw_identity(seed, i)) for i in range(identities)]
    return (
        [finger for finger, _ in drawn for _ in range(impressions)],
        [draw_template(identity, k) for _, identity in drawn for k in range(impressions)],
    )


@pytest.fixture(scope="module")
def figures() -> dict[str, object]:
    prints = {name: _drawn(k, 3, 2) for k, name in enumerate(benchmark.DATABASES)}
    databases = {name: benchmark._figures(*of) for name, of in prints.items()}
    return {"databases": databases, "staged": benchmark._staged(prints, _drawn(9, 5, 1)[1])}


def test_easy_prints_are_told_apart(figures: dict[str, object]) -> None:
    bars = benchmark._bars({"leader": figures, "ridge": figures})
    assert [bar.value for bar in bars] == [0.0, 0.0, 100.0, 100.0, 0.0]
    assert all(bar.passed for bar in bars)
    assert figures["staged"] == {
        "probes": 24, "references": 28, "compared": 29, "same_first": 24, "rank_1": 24, "rank_1_full": 24,
    }  # fmt: skip


def test_strangers_named_alike_are_errors(figures: dict[str, object]) -> None:
    fingers, minutiae = _drawn(0, 3, 2)
    found = benchmark._figures([fingers[i] for i in (0, 2, 4, 1, 3, 5)], minutiae)
    assert found["eer"][0] > 0.3
    assert found["rank_1"] == 0


def test_without_the_longer_list_staged_search_is_left_out(figures: dict[str, object], tmp_path: Path) -> None:
    less = {"databases": figures["databases"]}
    bars = benchmark._bars({"leader": less, "ridge": less})
    assert not any("staged" in bar.name for bar in bars)
    run = {"parameters": {"matcher": "cylinders"}, "figures": {"leader": figures, "ridge": less}}
    text = benchmark.render(run, tmp_path)
    assert text.count("| 6 / 6 |") == 8
    assert text.count("first candidate is that of full search for 24 of 24") == 1


def test_needs_the_data(tmp_path: Path) -> None:
    with pytest.raises(NotRunError, match="DB1_B is not here; name the folder that holds it with --data"):
        benchmark.run(Options(data=tmp_path, cache=tmp_path))
