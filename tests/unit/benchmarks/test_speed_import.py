"""The page of the benchmark of imports; nothing is timed here."""

from pathlib import Path

from benchmarks import speed_import as benchmark


def test_the_page_shows_rates_and_how_many_times_as_fast(tmp_path: Path) -> None:
    found = {"records": 48, "one by one": [30.0, 29.0, 31.0], "import": [45.0, 44.0, 46.0], "ratio": [1.5, 1.4, 1.6]}
    text = benchmark.render({"parameters": {"rounds": 5}, "figures": {"photographs": found}}, tmp_path)
    assert "| photographs | 48 | 30 (29 – 31) | 45 (44 – 46) | 1.50 (1.40 – 1.60) |" in text
    assert "5 rounds" in text
