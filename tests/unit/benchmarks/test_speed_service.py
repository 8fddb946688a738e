"""The arithmetic and the words of the service's speed, on made-up rounds."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import speed_service
from benchmarks.history import Bar

PARAMETERS = {"rounds": 3, "lone_calls": 2, "clients": 16, "crowd_s": 1.0, "enrolled": 1016, "threads": 2}


def figures(*, service_ms: float = 11.0, served: float = 95.0) -> dict[str, Any]:
    # Each round is slower than the one before for everybody: ratios of a round must not see it.
    weather = (1.0, 1.5, 2.0)
    return {
        "lone_ms": {
            "in process": [[10.0 * w, 10.0 * w, 500.0] for w in weather],
            "gRPC": [[service_ms * w] * 3 for w in weather],
            "gRPC, server without batcher": [[10.0 * w] * 3 for w in weather],
        },
        "crowd": {
            "in process": {"rate": [100 / w for w in weather], "engine_ms": [20.0] * 3, "clients_ms": []},
            "gRPC": {"rate": [served / w for w in weather], "engine_ms": [22.0] * 3, "clients_ms": [0.7] * 3},
        },
        "samples_a_run": 8.04,
        "ready_s": [1.0, 2.0, 6.0],
    }


def bars(found: dict[str, Any]) -> list[Bar]:
    return list(speed_service.bars(found))


def test_overhead_is_what_comes_on_top_of_three_percent() -> None:
    overhead = bars(figures())[0]
    # 1.5 × (11 − 10.3), the round in the middle; the one slow call of 500 ms is not its median.
    assert overhead.value == pytest.approx(1.05)
    assert overhead.passed
    assert not bars(figures(service_ms=12.0))[0].passed


def test_batcher_and_throughput_are_ratios_of_the_same_round() -> None:
    _, batcher, kept, _ = bars(figures())
    assert (batcher.value, batcher.low, batcher.high) == pytest.approx((1.1, 1.1, 1.1))
    assert (kept.value, kept.low, kept.high) == pytest.approx((0.95, 0.95, 0.95))
    assert kept.passed
    assert not bars(figures(served=89.0))[2].passed


def test_the_slowest_start_counts() -> None:
    assert bars(figures())[3].value == 6.0
    assert not bars(figures())[3].passed


def test_tables_say_who_burns_what(tmp_path: Path) -> None:
    text = speed_service.render({"parameters": PARAMETERS, "figures": figures()}, tmp_path)
    assert "| in process | 15.00 (12.50 – 17.50) |" in text
    assert "| gRPC | 63.3 (55.4 – 79.2) | 22.0 | 0.7 |" in text
    assert "| in process | 66.7 (58.3 – 83.3) | 20.0 |  |" in text
    assert "1,016 subjects" in text
    assert "8.0 samples at once" in text
    assert "Ready 2.00 s (1.00 – 6.00)" in text
