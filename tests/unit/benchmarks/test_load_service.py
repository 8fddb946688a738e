"""The arithmetic and the words of the service under load, on made-up calls."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import load_service
from benchmarks.history import NotRunError
from benchmarks.service_clients import MIX, OK, REFUSED, Calls
from benchmarks.service_process import Usage

PARAMETERS = {
    "minutes": 10.0,
    "shortened": False,
    "segment_s": 20.0,
    "clients": 16,
    "admission_limit": 32,
    "enrolled": 1016,
    "mix": dict(MIX),
}


def calls(ms: list[float], outcome: list[str] | None = None, kind: list[str] | None = None) -> Calls:
    due_s = np.linspace(0, 60, len(ms)).tolist()
    return Calls(kind or ["verify"] * len(ms), due_s, ms, outcome or [OK] * len(ms), [], 60.0, 6.0)


def seen(resident_mib: list[float], threads: list[int] | None = None) -> list[Usage]:
    threads = threads or [10] * len(resident_mib)
    return [Usage(float(k), 0.0, mib, n, 30) for k, (mib, n) in enumerate(zip(resident_mib, threads, strict=True))]


def figures(steady: Calls, watched: list[Usage], beyond: Calls, **further: Any) -> dict[str, Any]:
    return {
        "capacity": 60.0,
        "clients_share": 0.1,
        "steady": {**load_service._steady(steady, watched), "share": 0.79},
        "overload": load_service._overload([calls([100.0] * 10)], [beyond]),
        "full_house_mib": {"before": 300.0, "after": 303.0, "percent": 1.0},
        "prints": load_service._answers(calls([90.0] * 9, kind=["verify print"] * 9)),
        "acknowledged": 2000,
        "lost": 0,
        "gone": {"calls": 20, "computed": 0},
        **further,
    }


@pytest.fixture
def good() -> dict[str, Any]:
    kinds = [kind for kind in MIX for _ in range(20)]
    beyond = calls([110.0] * 10 + [5.0] * 30, [OK] * 10 + [REFUSED] * 30)
    return figures(calls([50.0] * 100, kind=kinds), seen([200.0] * 20), beyond)


def failed(found: dict[str, Any]) -> list[str]:
    return [bar.name for bar in load_service.bars(found) if not bar.passed]


def test_a_good_day_keeps_every_promise(good: dict[str, Any]) -> None:
    assert failed(good) == []
    kept = {bar.name: bar for bar in load_service.bars(good)}
    accepted = kept["overload: p99 of accepted calls over that at the admission limit"]
    assert (accepted.value, accepted.low, accepted.high) == pytest.approx((1.1, 1.1, 1.1))
    assert kept["overload: p99 of refusals"].value == 5.0


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"lost": 1}, "acknowledged enrolments that are lost"),
        ({"gone": {"calls": 20, "computed": 1}}, "computed of 20 calls whose client had gone"),
        ({"overload": load_service._overload([calls([100.0])], [calls([130.0])])}, "overload: p99 of accepted calls"),
        ({"overload": load_service._overload([calls([9.0])], [calls([9.0, 0], [OK, "INTERNAL"])])}, "neither answered"),
        ({"overload": load_service._overload([calls([9.0])], [calls([9.0, 101], [OK, REFUSED])])}, "p99 of refusals"),
        ({"steady": load_service._steady(calls([9.0] * 9 + [90.0]), seen([1.0]))}, "p99 over p50"),
        ({"steady": load_service._steady(calls([9.0] * 9, [OK] * 8 + ["X"]), seen([1.0]))}, "without the answer"),
        ({"full_house_mib": {"before": 300.0, "after": 330.0, "percent": 10.0}}, "resident memory"),
        ({"prints": load_service._answers(calls([9.0] * 2, [OK, "X"]))}, "synthetic prints"),
        ({"steady": load_service._steady(calls([9.0]), seen([1.0] * 10, [9] * 9 + [10]))}, "growth of threads"),
    ],
)
def test_each_promise_can_be_broken(good: dict[str, Any], change: dict[str, Any], name: str) -> None:
    (broken,) = failed({**good, **change})
    assert name in broken


def test_growth_begins_when_all_is_warm() -> None:
    found = load_service._growth(seen([10.0, 50.0, *[100.0] * 6, 101.0, 101.0], [1, 2, *[5] * 8]))
    assert found["resident_mib"] == [100.0, 101.0]
    assert found["resident_percent"] == pytest.approx(1.0)
    assert found["threads"] == 0


def test_spans_of_time_hold_the_calls_that_were_due_in_them() -> None:
    found = load_service._bins(calls([10.0] * 600 + [30.0] * 600))
    assert len(found["s"]) == 60
    assert (found["p50_ms"][0], found["p50_ms"][-1]) == (10.0, 30.0)
    assert (found["s"][0], found["s"][-1]) == (0.5, 59.5)


def test_refused_calls_do_not_shorten_the_answered_ones(good: dict[str, Any]) -> None:
    assert good["overload"]["accepted_p99_ms"] == [110.0]
    assert (good["overload"]["refused"], good["overload"]["calls"]) == (30, 40)


def test_a_table_of_the_mix_and_a_plot(good: dict[str, Any], tmp_path: Path) -> None:
    text = load_service.render({"parameters": PARAMETERS, "figures": good}, tmp_path)
    assert "| all | 100 | 50.0 | 50.0 | 1.00 |" in text
    assert "| list | 20 |" in text
    assert "| verify print | 9 | 90.0 |" in text
    assert "30 of 40 calls were refused" in text
    assert "hortened" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["service_load.png"]


def test_calls_that_failed_are_named_by_their_reason(good: dict[str, Any], tmp_path: Path) -> None:
    good["steady"] |= load_service._steady(calls([9.0] * 3, [OK, OK, "INTERNAL"]), seen([1.0]))
    text = load_service.render({"parameters": PARAMETERS, "figures": good}, tmp_path)
    assert "Without the answer expected: {'INTERNAL': 1}." in text


def test_a_load_without_any_answer_is_no_measurement() -> None:
    with pytest.raises(NotRunError, match="INTERNAL"):
        load_service._steady(calls([9.0], ["INTERNAL"]), seen([1.0]))


def test_a_shortened_run_says_so(good: dict[str, Any], tmp_path: Path) -> None:
    told = {**PARAMETERS, "minutes": 1.0, "shortened": True}
    assert "**Shortened" in load_service.render({"parameters": told, "figures": good}, tmp_path)
