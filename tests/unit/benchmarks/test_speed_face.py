"""The arithmetic and the words of the speed benchmark, on made-up passes; nothing is timed here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import speed_face
from benchmarks.history import Bar, NotRunError
from benchmarks.options import Options
from benchmarks.race import Timings

SECONDS = {
    "biometrik": 0.4,
    "bare ONNX Runtime": 0.38,
    "OpenCV 5": 0.48,
    "OpenCV 4.14": 0.7,
    "biometrik, OpenVINO bf16": 0.24,
}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    def race(contestants: dict[str, float], workload: str, rounds: int) -> dict[str, Timings]:
        # Each round is slower than the one before, for everybody alike: ratios must not see it.
        weather = np.linspace(1, 2, rounds)
        return {name: Timings((s * weather).tolist(), (s * weather).tolist(), 20) for name, s in contestants.items()}

    monkeypatch.setattr(speed_face, "race", race)
    return {name: speed_face._raced(SECONDS, name, 20, 5) for name in speed_face._BARS}  # type: ignore[arg-type]


def bars(figures: dict[str, Any]) -> dict[str, Bar]:
    return {bar.name: bar for bar in speed_face._bars(figures)}


def test_bars_are_ratios_of_the_same_round(figures: dict[str, Any]) -> None:
    found = bars(figures)
    opencv_5 = found["photographs, 250 px: times faster than OpenCV 5"]
    assert (opencv_5.value, opencv_5.low, opencv_5.high) == pytest.approx((1.2, 1.2, 1.2))
    assert opencv_5.passed
    assert not found["photographs, 250 px: times faster than OpenCV 4.14"].passed
    assert found["photographs, 250 px: time over bare ONNX Runtime"].value == pytest.approx(0.4 / 0.38)
    assert found["photographs, 250 px: bf16, times faster than OpenCV 5"].value == pytest.approx(2.0)
    assert not found["frames, 1080p: times faster than OpenCV 5"].passed


def test_who_did_not_run_has_no_bar(figures: dict[str, Any]) -> None:
    for found in figures.values():
        del found["systems"]["OpenCV 4.14"], found["systems"]["biometrik, OpenVINO bf16"]
    assert not any("4.14" in name or "bf16" in name for name in bars(figures))


def test_overhead_is_held_where_the_networks_get_the_image_as_it_is(figures: dict[str, Any]) -> None:
    names = [name for name in bars(figures) if "bare" in name]
    assert names == [f"{name}: time over bare ONNX Runtime" for name in ("photographs, 250 px", "frames, 640 × 360")]


def test_times_are_those_of_one_image(figures: dict[str, Any]) -> None:
    median, low, high = figures["frames, 1080p"]["systems"]["biometrik"]["cpu_ms"]
    assert (low, median, high) == pytest.approx((25.0, 30.0, 35.0))


def test_a_table_and_a_plot_for_each_workload(figures: dict[str, Any], tmp_path: Path) -> None:
    text = speed_face.render({"parameters": {"rounds": 5}, "figures": figures}, tmp_path)
    assert "| biometrik | 30.0 (25.0 – 35.0) | 30.0 | 1.00 (1.00 – 1.00) | 20 |" in text
    assert "busy" not in text
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"face_speed_{k}.png" for k in range(3)]


def test_a_busy_machine_is_named(figures: dict[str, Any], tmp_path: Path) -> None:
    figures["frames, 1080p"]["busy"] = True
    text = speed_face.render({"parameters": {"rounds": 5}, "figures": figures}, tmp_path)
    assert text.count("The machine was busy") == 1


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: dict[str, str] = {}
    found = speed_face._workloads(Options(data=tmp_path), missing)
    assert list(found) == ["frames, 1080p", "frames, 640 × 360"]
    assert {frame.shape for frame in found["frames, 640 × 360"]} == {(360, 640, 3)}
    assert {frame.shape for frame in found["frames, 1080p"]} == {(1080, 1920, 3)}
    assert "--data" in missing["photographs, 250 px"]
    monkeypatch.setattr(speed_face, "shipped_photograph", lambda: None)
    with pytest.raises(NotRunError, match=r"lfw-dev is not here.*scikit-image"):
        speed_face._workloads(Options(data=tmp_path), {})
