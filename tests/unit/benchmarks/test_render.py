from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.history import Bar, Result, append, record
from benchmarks.options import Options
from benchmarks.render import render


class Demo:
    """A benchmark that draws nothing and shows its figure."""

    TITLE = "Demonstration"

    def run(self, options: Options) -> Result:
        raise AssertionError("rendering must not measure")

    def render(self, run: Mapping[str, Any], plots: Path) -> str:
        assert plots.is_dir()
        return f"figure {run['figures']['ms']}"


def recorded(milliseconds: float) -> dict[str, Any]:
    bars = (Bar("fast enough", 2.0, milliseconds, "ms", low=0.5, high=9.0), Bar("better", 1.0, 2.0, "×", at_most=False))
    return record("speed_demo", Result({}, {"ms": milliseconds}, bars, {"bf16": "no such processor"}))


def test_only_the_last_run_is_shown(tmp_path: Path) -> None:
    for milliseconds in (7.25, 1.75):
        append(recorded(milliseconds), tmp_path / "history")
    text = render({"speed_demo": Demo()}, tmp_path / "history", tmp_path).read_text(encoding="utf-8")
    assert "## Demonstration" in text
    assert "figure 1.75" in text
    assert "7.25" not in text
    assert "\nCommand: `scripts/bench --only speed_demo`.\n" in text


@pytest.mark.parametrize(("milliseconds", "verdict"), [(1.75, "pass"), (7.25, "**FAIL**")])
def test_each_bar_has_its_verdict(tmp_path: Path, milliseconds: float, verdict: str) -> None:
    append(recorded(milliseconds), tmp_path / "history")
    lines = render({"speed_demo": Demo()}, tmp_path / "history", tmp_path).read_text(encoding="utf-8").splitlines()
    assert f"| fast enough | ≤ 2 ms | {milliseconds} ms (0.5 – 9) | {verdict} |" in lines
    assert "| better | ≥ 1 × | 2 × | pass |" in lines


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    append(recorded(1.0), tmp_path / "history")
    text = render({"speed_demo": Demo()}, tmp_path / "history", tmp_path).read_text(encoding="utf-8")
    assert "- bf16: no such processor" in text


def test_a_benchmark_without_history_has_no_figures(tmp_path: Path) -> None:
    text = render({"speed_demo": Demo()}, tmp_path / "history", tmp_path).read_text(encoding="utf-8")
    assert "Not run yet: `scripts/bench --only speed_demo`." in text
    assert "figure" not in text
