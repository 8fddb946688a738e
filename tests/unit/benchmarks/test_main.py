from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks.history import Bar, NotRunError, Result, append, latest
from benchmarks.options import Options


class Demo:
    """A benchmark with the result it is given."""

    TITLE = "Demonstration"

    def __init__(self, result: Result | NotRunError) -> None:
        self._result = result
        self.options: Options | None = None

    def run(self, options: Options) -> Result:
        self.options = options
        if isinstance(self._result, NotRunError):
            raise self._result
        return self._result

    def render(self, run: Mapping[str, Any], plots: Path) -> str:
        return f"{len(run['bars'])} bars"


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    history = tmp_path / "benchmarks" / "history"
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "HISTORY", history)
    monkeypatch.setattr(command, "append", lambda run: append(run, history))
    return history


def offer(monkeypatch: pytest.MonkeyPatch, **demos: Demo) -> None:
    monkeypatch.setattr(command, "names", lambda: list(demos))
    monkeypatch.setattr(command, "load", demos.__getitem__)


def bar(value: float) -> Result:
    return Result({}, {}, (Bar("promise", 1.0, value),))


@pytest.mark.parametrize(("value", "status", "verdict"), [(0.5, 0, "pass"), (1.5, 1, "FAIL")])
def test_a_missed_bar_is_the_exit_status(
    history: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: float,
    status: int,
    verdict: str,
) -> None:
    offer(monkeypatch, speed_demo=Demo(bar(value)))
    assert command.main([]) == status
    assert f"{verdict}  promise: {value}" in capsys.readouterr().out
    run = latest("speed_demo", history)
    assert run is not None
    assert run["bars"][0]["value"] == value
    assert "1 bars" in (history.parent / "README.md").read_text(encoding="utf-8")


def test_what_cannot_run_is_said_and_leaves_no_figure(
    history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, speed_demo=Demo(NotRunError("no data")), speed_other=Demo(bar(0.5)))
    assert command.main([]) == 1
    assert "not run: no data" in capsys.readouterr().out
    assert latest("speed_demo", history) is None
    assert latest("speed_other", history) is not None


def test_one_can_be_chosen_and_told_where_the_data_is(
    history: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, other = Demo(bar(0.5)), Demo(bar(0.5))
    offer(monkeypatch, speed_demo=one, speed_other=other)
    assert command.main(["--only", "speed_demo", "--data", str(tmp_path), "--rounds", "3"]) == 0
    assert one.options is not None
    assert (one.options.data, one.options.rounds) == (tmp_path, 3)
    assert other.options is None


@pytest.mark.parametrize(("value", "status"), [(0.5, 0), (1.5, 1)])
def test_a_trial_says_what_it_found_and_records_nothing(
    history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float, status: int
) -> None:
    demo = Demo(bar(value))
    offer(monkeypatch, load_demo=demo)
    assert command.main(["--trial", "--minutes", "0.5"]) == status
    said = capsys.readouterr().out
    assert f"promise: {value}" in said
    assert "1 bars" in said
    assert demo.options is not None
    assert demo.options.minutes == 0.5
    assert not history.exists()
    assert not (history.parent / "README.md").exists()


@pytest.mark.parametrize("flag", ["--list", "--render"])
def test_nothing_is_measured_unasked(history: Path, monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    demo = Demo(bar(0.5))
    offer(monkeypatch, speed_demo=demo)
    assert command.main([flag]) == 0
    assert demo.options is None
    assert not history.exists()


@pytest.mark.parametrize("name", command.names())
def test_each_benchmark_has_what_the_frame_needs(name: str) -> None:
    module = command.load(name)
    assert module.TITLE
    assert callable(module.run)
    assert callable(module.render)


@pytest.mark.parametrize("name", [name for name in command.names() if name.startswith("accuracy_")])
def test_without_the_data_an_accuracy_benchmark_says_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotRunError, match="--data"):
        command.load(name).run(Options(data=tmp_path / "nowhere", cache=tmp_path))


@pytest.mark.parametrize("name", command.names())
def test_what_is_recorded_in_the_repository_can_be_rendered(name: str, tmp_path: Path) -> None:
    run = latest(name)
    if run is not None:
        assert command.load(name).render(run, tmp_path).strip()
