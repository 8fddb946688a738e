"""The benchmarks of deduplication in small: they see what is missed, and their figures can be drawn."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy_dedupe, speed_dedupe
from benchmarks.options import Options
from biometrik.config import EngineConfig, RuntimeParameters
from biometrik.engine import Engine
from biometrik.evaluation.protocols import Enrolled
from biometrik.synthetic.faces import draw_embeddings

CONFIG = EngineConfig(runtime=RuntimeParameters(threads=1, warm_up=False))


@pytest.fixture(scope="module")
def enrolled() -> Enrolled:
    """Return forty people, of whom every second is there twice."""
    both = draw_embeddings(3, range(40), samples=range(2))
    vectors = np.concatenate([both[:, 0], both[::2, 1]])
    return Enrolled(vectors, np.concatenate([np.arange(40), np.arange(0, 40, 2)]), 0)


def test_true_and_false_pairs_are_told_apart(enrolled: Enrolled) -> None:
    rows = accuracy_dedupe.within_gallery(CONFIG, enrolled)
    assert [row["fmr"] for row in rows] == [1e-3, 1e-4, 1e-5]
    assert {row["true"] for row in rows} == {row["people"] for row in rows} == {20}
    assert rows[0]["found"] >= rows[-1]["found"] > 15
    assert all(row["false"] <= 3 for row in rows)
    assert rows[0]["expected"] == pytest.approx(1e-3 * (60 * 59 / 2 - 20))


def test_who_comes_again_is_named_and_who_is_new_is_not(enrolled: Enrolled) -> None:
    row = accuracy_dedupe.at_enrolment(CONFIG, enrolled, 0.01)
    assert (row["new"], row["again"], row["unsupported"]) == (40, 20, 0)
    assert row["found"] > 15
    assert row["suspected"] <= 2


def test_the_tables_are_rendered(enrolled: Enrolled, tmp_path: Path) -> None:
    figures = {
        "gallery": accuracy_dedupe.within_gallery(CONFIG, enrolled),
        "enrolment": [accuracy_dedupe.at_enrolment(CONFIG, enrolled, 0.01)],
    }
    told = {"photographs": 60, "people": 40, "dataset": "made up"}
    assert "| 0.001 |" in accuracy_dedupe.render({"figures": figures, "parameters": told}, tmp_path)


def test_the_speed_run_compares_what_both_find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(speed_dedupe, "_PEOPLE", 1900)
    monkeypatch.setattr(speed_dedupe, "_TWICE", 100)
    result = speed_dedupe.run(Options())
    assert [bar.value for bar in result.bars[:2]] == [0, 0]
    assert result.figures["true"] > 75
    shown = speed_dedupe.render({"figures": result.figures, "parameters": result.parameters}, tmp_path)
    assert "2,000 SYNTHETIC faces" in shown


def test_a_pair_that_the_search_misses_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_dedupe, "_PEOPLE", 1900)
    monkeypatch.setattr(speed_dedupe, "_TWICE", 100)
    find = Engine.duplicates

    def blind(self: Engine, **asked: float) -> object:
        page = find(self, **asked)  # type: ignore[arg-type]
        return type(page)(page.last, page.more, page.pairs[1:], 0, 0, 0, 0, True)

    monkeypatch.setattr(Engine, "duplicates", blind)
    result = speed_dedupe.run(Options())
    assert result.figures["missed"] >= 1
