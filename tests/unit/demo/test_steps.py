"""A step of the demo notices what did not come out as it must; so does the whole."""

import datetime
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from biometrik import demo
from biometrik.calibration import CalibrationTable
from biometrik.cli import app
from biometrik.config import EngineConfig
from biometrik.demo import page
from biometrik.demo.steps import Picture, Story, take
from biometrik.errors import InvalidInputError, SubjectNotFoundError
from biometrik.scale import CalibrationPoint
from biometrik.types import Enrollment, EnrollmentOutcome, FaceImage, Interval, SampleReport

REPORT = SampleReport(0, False, (), None, 0, None)
ENROLLED = Enrollment(EnrollmentOutcome.ENROLLED, "A-1", "e-1", 1, (REPORT,))
PICTURE = Picture(FaceImage(np.zeros((40, 40, 3), dtype=np.uint8)), "a picture")
TABLE = CalibrationTable(
    id="table <1>",
    model_contract_id="models@1",
    dataset="a set",
    subjects=10,
    images=20,
    failures_to_enroll=0,
    mated=10,
    non_mated=100,
    date=datetime.date(2026, 1, 31),
    method="counted",
    points=(
        CalibrationPoint(0.0, 0.0, Interval(1.0, 0.9, 1.0)),
        CalibrationPoint(30.0, 0.5, Interval(1e-3, 8e-4, 1.2e-3)),
    ),
)


def _story(**changes: Any) -> Story:
    step = take("erase", "Erase <A-1>", "why", "ENROLLED", lambda: ENROLLED, probes=[PICTURE], **changes)
    return Story((step,), TABLE, "models@1", 1.0)


def test_a_step_that_comes_out_as_expected_passes() -> None:
    step = take("k", "t", "p", "ENROLLED", lambda: ENROLLED, probes=[PICTURE], finding=lambda: "done")
    assert step.passed
    assert (step.outcome, step.finding, step.probes[0].report) == ("ENROLLED", "done", REPORT)


@pytest.mark.parametrize("expected", ["MATCH", "NEEDS_RECAPTURE"])
def test_another_outcome_fails(expected: str) -> None:
    assert not take("k", "t", "p", expected, lambda: ENROLLED, probes=[PICTURE]).passed


def test_a_condition_that_does_not_hold_fails() -> None:
    assert not take("k", "t", "p", "ENROLLED", lambda: ENROLLED, holds=lambda _: False, probes=[PICTURE]).passed


def test_a_typed_error_is_an_answer_and_a_bug_is_not() -> None:
    def unknown() -> Enrollment:
        raise SubjectNotFoundError("subject: nobody")

    step = take("k", "t", "p", "SUBJECT_NOT_FOUND", unknown)
    assert step.passed
    assert step.finding == "subject: nobody"
    assert not take("k", "t", "p", "ENROLLED", unknown).passed

    def bug() -> Enrollment:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take("k", "t", "p", "ENROLLED", bug)


def test_the_page_of_a_failed_story_says_so_and_escapes_what_it_shows() -> None:
    text = page.render(_story(holds=lambda _: False), [], datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC))
    assert "0 of 1 steps came out as they must; not so: erase." in text
    assert "Not as it must be: expected ENROLLED." in text
    assert "Erase &lt;A-1&gt;" in text
    assert "table &lt;1&gt;" in text
    assert "<A-1>" not in text


def test_the_page_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert page.write("old", tmp_path / "deep" / "folder").read_text() == "old"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        page.write("new", tmp_path / "deep" / "folder")
    assert [path.read_text() for path in (tmp_path / "deep" / "folder").iterdir()] == ["old"]


def test_a_folder_that_cannot_be_written_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(demo, "tell", lambda *_: _story())
    with pytest.raises(InvalidInputError, match="--output"):
        demo.run(tmp_path / "file", EngineConfig())


def test_the_command_fails_with_the_step_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "tell", lambda *_: _story(holds=lambda _: False))
    result = CliRunner().invoke(app, ["demo", "--output", str(tmp_path)], env={"COLUMNS": "200"})
    assert result.exit_code == 4
    assert "erase: expected ENROLLED, got ENROLLED" in result.stdout
    assert str(tmp_path / "index.html") in result.stdout


def test_a_failed_story_shows_the_end_of_the_service_s_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = replace(_story(holds=lambda _: False), service="127.0.0.1:1, process 1", log='{"event": "<died>"}')
    monkeypatch.setattr(demo, "tell", lambda *_: story)
    result = CliRunner().invoke(app, ["demo", "--output", str(tmp_path)], env={"COLUMNS": "200"})
    assert '{"event": "<died>"}' in result.stdout
    assert "&lt;died&gt;" in (tmp_path / "index.html").read_text("utf-8")
    assert "127.0.0.1:1, process 1" in (tmp_path / "index.html").read_text("utf-8")
