"""The arithmetic and the words of the benchmark, on made-up figures."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy_finger_quality as benchmark
from benchmarks import plots
from benchmarks.history import NotRunError
from benchmarks.options import Options


def test_rank_correlation_sees_order_only() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert benchmark.rank_correlation(x, x**3) == 1
    assert benchmark.rank_correlation(x, -x) == -1
    assert benchmark.rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(
        0.866, abs=1e-3
    )


def test_equal_error_rate() -> None:
    mated, non_mated = np.array([0.1, 0.7, 0.8, 0.9]), np.array([0.0, 0.1, 0.2, 0.75])
    assert benchmark.equal_error_rate(mated, non_mated) == 0.25
    assert benchmark.equal_error_rate(mated + 2, non_mated) == 0


def test_discarding_by_what_tells_errors_leaves_none() -> None:
    mated = np.linspace(0, 1, 100)
    poorer = [{"good": value, "bad": 1 - value} for value in mated]
    curves = benchmark._curves([(mated, np.full(50, 0.095), poorer)])  # ten below
    assert curves["good"][0] == curves["bad"][0] == pytest.approx(0.1)
    assert curves["good"][3] == 0
    assert curves["bad"][3] > 0.1


def test_without_data_it_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(NotRunError, match="--data"):
        benchmark.run(Options(data=tmp_path))


def test_the_page_shows_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, ...]] = []
    monkeypatch.setattr(plots, "discards", lambda _c, _d, names, _p: drawn.append(names))
    figures = {
        "prints": 728,
        "eer": {"fvc2002/DB1_B": 0.0028},
        "correlations": {"all": 0.78},
        "curves": {"unified_quality": [0.05] * 6, "NFIQ 2": [0.06] * 6},
        "advice": {"PRESS_HARDER": 7},
        "milliseconds": 17.0,
    }
    text = benchmark.render(
        {"figures": figures, "parameters": {"extractor": "ridge", "matcher": "cylinders", "fmr": 1e-3}}, tmp_path
    )
    assert "PRESS_HARDER 7" in text
    assert "| all | 0.78 |" in text
    assert "fvc2002/DB1_B 0.28 %" in text
    assert text.index("| unified_quality") < text.index("| NFIQ 2")
    assert drawn
