"""The page of the benchmark of copies; nothing is copied here."""

from pathlib import Path

from benchmarks import speed_snapshot as benchmark


def test_the_page_shows_waits_with_and_without_a_copy_and_how_long_it_took(tmp_path: Path) -> None:
    waits = {"write": [1.0, 9.5, 21.0], "search": [4.0, 8.0, 17.0], "sync": [0.5, 2.0, 6.0]}
    found = {
        "ms": {"nothing else": waits, "copy": waits},
        "long_writes": {"nothing else": [0, 0], "copy": [3, 2]},
        "copying_s": 5.04,
        "reading_s": 90.0,
        "log_bytes": 26_000_000,
        "first_write_ms": 3.3,
        "longest_write_ms": [[-1, 3.0], [0, 21.0]],
    }
    load = {"enrolment": 100, "update": 10, "search": 10}
    told = {"faces": 1_000_000, "load": load, "before_s": 10.0, "after_s": 5.0}
    text = benchmark.render({"parameters": told, "figures": {"idle cores": found}}, tmp_path)
    assert "| idle cores | copy | 1.00 / 9.5 / 21 | 4.00 / 8.0 / 17 | 0.50 / 2.0 / 6 | 3, 2 |" in text
    assert "| idle cores | 5.0 | 90 | 26 | 3.3 |" in text
    assert (tmp_path / "snapshot_writes.png").exists()


def test_what_began_within_a_span_is_of_it() -> None:
    turn = benchmark._Turn(
        {kind: [(0.5, 0.001), (1.5, 0.002), (2.5, 0.07)] for kind in ("write", "search", "sync")}, 1.0, 2.0, 3.0, 4096
    )
    found = benchmark._figures(turn)
    assert found["ms"]["nothing else"]["write"] == [1.0, 1.0, 1.0]
    assert found["ms"]["copy"]["write"][2] == 70.0
    assert found["long_writes"] == {"nothing else": (0, 0), "copy": (1, 1)}
    assert (found["copying_s"], found["reading_s"], found["first_write_ms"]) == (1.0, 1.0, 70.0)
