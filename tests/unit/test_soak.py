"""The frame of soaks: it goes on where it ended, keeps what failed, and stops in time."""

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.soak import __main__ as frame


@dataclass(frozen=True)
class _Failure:
    index: int
    target: str = "nothing"
    what: str = "broke"


def _odd_ones_fail(count: int, seed: int, start: int) -> Sequence[_Failure]:
    return [_Failure(index) for index in range(start, start + count) if index % 2]


@pytest.fixture(autouse=True)
def _soaks(monkeypatch: pytest.MonkeyPatch) -> None:
    soaks = {
        "odd": frame.Soak("odd ones fail", "numbers", 10, 4, lambda: nullcontext(_odd_ones_fail)),
        "calm": frame.Soak("none fails", "numbers", 10, 4, lambda: nullcontext(lambda *_: [])),
    }
    monkeypatch.setattr(frame, "SOAKS", soaks)


def _records(folder: Path) -> list[dict[str, dict[str, object]]]:
    return [json.loads(line) for line in (folder / "soak.jsonl").read_text().splitlines()]


def test_a_run_is_recorded_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(["calm", "--seed", "3"], tmp_path) == 0
    assert frame.main(["calm", "--seed", "3", "--resume", "--count", "5"], tmp_path) == 0
    assert frame.main(["calm", "--seed", "4", "--resume"], tmp_path) == 0
    records = _records(tmp_path)
    assert [(r["parameters"]["start"], r["figures"]["done"]) for r in records] == [(0, 10), (10, 5), (0, 10)]
    assert frame.resumed_at("calm", 3, tmp_path) == 15
    assert "5 numbers from 10" in capsys.readouterr().out


def test_what_failed_is_said_kept_and_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(["odd", "--count", "100"], tmp_path) == 1
    (only,) = _records(tmp_path)
    kept = only["figures"]["failures"]
    assert isinstance(kept, list)
    assert [row["index"] for row in kept] == list(range(1, 40, 2))
    assert only["bars"][0]["value"] == 50  # type: ignore[index]
    assert "--start 1 --count 1" in capsys.readouterr().out


def test_time_that_is_over_ends_it() -> None:
    told: list[tuple[int, int]] = []
    state = frame.soak(
        frame.SOAKS["calm"], 0, 7, 1000, time.monotonic() - 1, lambda done, failed: told.append((done, failed))
    )
    assert (state.start, state.done, told) == (7, 0, [])


def test_an_interruption_keeps_what_was_done() -> None:
    def interrupted(count: int, seed: int, start: int) -> Sequence[_Failure]:
        if start >= 8:
            raise KeyboardInterrupt
        return []

    chosen = frame.Soak("", "", 10, 4, lambda: nullcontext(interrupted))
    assert frame.soak(chosen, 0, 0, 100, float("inf"), lambda *_: None).done == 8


def test_what_there_is_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert frame.main([], tmp_path) == 0
    assert "none fails" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        frame.main(["nothing-of-this-name"], tmp_path)
    with pytest.raises(SystemExit):
        frame.main(["calm", "--count", "0"], tmp_path)
