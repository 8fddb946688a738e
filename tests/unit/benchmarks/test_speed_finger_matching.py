"""The benchmark without real prints, and its words with them."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import speed_finger_matching as benchmark
from benchmarks.options import Options


def test_without_real_prints_the_drawn_ones_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_REFERENCES", 20)
    monkeypatch.setattr(benchmark, "_GALLERY", 40)
    found = benchmark.run(Options(data=tmp_path, cache=tmp_path, rounds=1))
    assert set(found.figures) == {"full comparison", "screening", "staged search", "preparation"}
    assert all(row["us"] > 0 for row in found.figures.values())
    assert list(found.not_measured) == ["full comparison, real prints"]
    assert [bar.unit for bar in found.bars] == ["µs", "", "s"]
    text = benchmark.render({"figures": found.figures, "parameters": found.parameters}, tmp_path)
    assert "bozorth3" not in text


def test_the_peer_is_named_with_its_minutiae(tmp_path: Path) -> None:
    row: dict[str, Any] = {"us": 4.0, "low": 3.9, "high": 4.1}
    parameters = {"matcher": "cylinders", "minutiae": 40, "rounds": 1, "gallery": 20_000, "peer_minutiae": 46.7}
    text = benchmark.render({"figures": {benchmark._REAL: row}, "parameters": parameters}, tmp_path)
    assert "| full comparison, real prints | 4.00 (3.90 – 4.10) | 250,000 |" in text
    assert "what mindtct finds in such prints, 47 minutiae" in text
