"""The arithmetic and the words of the benchmark, on made-up passes; nothing is timed here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import speed_finger_extraction as benchmark
from benchmarks.history import NotRunError
from benchmarks.options import Options
from benchmarks.race import Timings

SECONDS = {"biometrik, leader": 1.6, "LEADER as published, ONNX Runtime": 6.4}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    def race(contestants: dict[str, float], workload: str, rounds: int) -> dict[str, Timings]:
        weather = np.linspace(1, 2, rounds)
        return {name: Timings((s * weather).tolist(), (s * weather).tolist(), 400) for name, s in contestants.items()}

    monkeypatch.setattr(benchmark, "race", race)
    return {
        "workloads": {name: benchmark._raced(SECONDS, name, 10, 5) for name in benchmark._WORKLOADS},  # type: ignore[arg-type]
        "memory_mib": {"biometrik, leader": 170.0},
        "agreement": {"all four": benchmark._shares([1000, 980, 990, 960])},
    }


def test_bars_are_kept_or_missed(figures: dict[str, Any]) -> None:
    time, memory, found, confirmed = benchmark._bars(figures)
    assert (time.value, time.low, time.high) == pytest.approx((240, 200, 280))
    assert (time.passed, memory.passed, found.passed, confirmed.passed) == (True, True, True, False)
    assert (found.value, confirmed.value) == pytest.approx((98.0, 96.97), abs=0.01)


def test_ratios_are_of_the_same_round(figures: dict[str, Any]) -> None:
    found = figures["workloads"]["FVC2002 DB1"]["systems"]["LEADER as published, ONNX Runtime"]
    assert found["cpu_ratio"] == pytest.approx([4, 4, 4])


def test_two_minutiae_agree_within_the_tolerance() -> None:
    rows = np.array([[10, 10, 0.02], [10, 13, 0.0], [50, 50, 1.0]], dtype=np.float32)
    others = np.array([[10, 12, 6.26], [50, 50, 1.1]], dtype=np.float32)
    assert benchmark.agreeing(rows, others) == 2
    assert benchmark.agreeing(others, rows) == 1
    assert benchmark.agreeing(rows, others[:0]) == benchmark.agreeing(rows[:0], others) == 0


def test_the_page_shows_all_of_it(figures: dict[str, Any], tmp_path: Path) -> None:
    figures["workloads"]["FVC2004 DB1"]["busy"] = True
    text = benchmark.render({"parameters": {"rounds": 5}, "figures": figures}, tmp_path)
    assert "| biometrik, leader | 240 (200 – 280) | 1.00 | 400 |" in text
    assert "| all four | 1000 | 990 | 98.00% | 96.97% |" in text
    assert text.count("The machine was busy") == 1
    assert "biometrik, leader 170 MiB" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["finger_extraction_0.png", "finger_extraction_1.png"]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotRunError, match="--data"):
        benchmark.run(Options(data=tmp_path))
