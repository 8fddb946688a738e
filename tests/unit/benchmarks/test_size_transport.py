"""The words of the benchmark of bytes; nothing is recognised here."""

from pathlib import Path

from benchmarks import size_transport as benchmark
from benchmarks.__main__ import names


def test_the_page_shows_bytes_similarities_and_what_is_lost(tmp_path: Path) -> None:
    figures = {
        "bytes": {"Verify, a face": [1000.0, 38166.4, 39000.0]},
        "similarity": {"finger, compact with its original": [0.99, 0.9996, 1.0]},
        "prints_no_longer_acceptable": 1,
    }
    text = benchmark.render({"parameters": {"faces": 8, "prints": 80}, "figures": figures}, tmp_path)
    assert "| Verify, a face | 1,000 | 38,166 | 39,000 |" in text
    assert "| finger, compact with its original | 0.990 | 1.000 | 1.000 |" in text
    assert "Of 80\nprints, 1 of acceptable quality" in text
    assert "size_transport" in names()
