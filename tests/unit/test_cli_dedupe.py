"""The commands that look for duplicates: enroll --dedupe, and dedupe with its state and its reports."""

import csv
import io
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from biometrik.cli import survey as surveys
from biometrik.cli.survey import Survey
from biometrik.config import EngineConfig, RuntimeParameters
from biometrik.duplicates import DuplicatePage, DuplicatePair
from biometrik.engine import Engine
from biometrik.errors import InvalidInputError
from biometrik.synthetic.faces import draw_embeddings
from biometrik.types import FACE, Component, Modality, Template
from tests.unit.test_cli import album as album
from tests.unit.test_cli import db as db
from tests.unit.test_cli import run

CONFIG = EngineConfig(runtime=RuntimeParameters(threads=1, warm_up=False))


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DB", "SERVER", "TOKEN", "LOCALE"):
        monkeypatch.delenv(f"BIOMETRIK_{name}", raising=False)


# --- enroll ----------------------------------------------------------------------------------------------------


def test_enroll_refuses_a_suspected_duplicate_and_names_it(db: Path, album: Path) -> None:
    words = ("enroll", "A-2", album / "ada-again.jpg", "--dedupe", "refuse")
    answer = run(*words, "--json", db=db)
    assert (answer.code, answer.json["outcome"]) == (3, "DUPLICATE_SUSPECTED")
    assert [c["subject_id"] for c in answer.json["search"]["candidates"]] == ["A-1"]
    assert "samples" not in answer.json["search"]
    shown = run(*words, db=db)
    assert shown.code == 3
    assert "DUPLICATE SUSPECTED" in shown.out
    assert "A-1" in shown.out
    assert "nothing was stored" in shown.out
    assert run("subjects", "show", "A-2", db=db).code == 4


def test_enroll_takes_whom_the_operator_has_seen_with_a_reason(db: Path, album: Path) -> None:
    words = ("enroll", "A-2", album / "ada-again.jpg", "--json", "--dedupe", "refuse", "--dedupe-except", "A-1")
    assert run(*words, db=db).json["error"]["reason"] == "INVALID_INPUT"
    answer = run(*words, "--dedupe-reason", "twins", db=db)
    assert (answer.code, answer.json["search"]["candidates"]) == (0, [])


def test_enroll_warns_and_without_a_word_looks_for_nobody(db: Path, album: Path) -> None:
    warned = run("enroll", "A-2", album / "ada-again.jpg", "--dedupe", "warn", "--json", db=db)
    assert (warned.code, warned.json["outcome"]) == (0, "ENROLLED")
    assert [c["subject_id"] for c in warned.json["search"]["candidates"]] == ["A-1"]
    assert run("enroll", "A-3", album / "ada-again.jpg", "--json", db=db).json["search"] is None
    assert run("enroll", "A-4", album / "bob.jpg", "--dedupe-gallery", "default", db=db).code == 2


# --- dedupe ----------------------------------------------------------------------------------------------------


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """Return a database of thirty people; three of them are there under a second id, one with a hostile name."""
    path = tmp_path / "crowd.db"
    visits = draw_embeddings(5, range(30), samples=range(2))
    with Engine.open(path, CONFIG) as engine:
        _enroll(engine, [(f"P-{i}", visits[i, 0]) for i in range(30)])
        _enroll(engine, [("<script>alert(1)</script>", visits[4, 0]), ("../../P-5", visits[5, 0]), ("R", visits[6, 0])])
    return path


def _enroll(engine: Engine, people: list[tuple[str, Any]]) -> None:
    for subject_id, vector in people:
        template = Template(Modality.FACE, engine.model_contract_id, vector.astype("<f4").tobytes())
        engine.enroll(subject_id, [template])


def test_dedupe_names_the_pairs(crowd: Path) -> None:
    answer = run("dedupe", "--json", db=crowd)
    assert (answer.code, answer.err) == (1, "")
    body = answer.json
    assert sorted(sorted(cluster["subjects"]) for cluster in body["clusters"]) == [
        ["../../P-5", "P-5"],
        ["<script>alert(1)</script>", "P-4"],
        ["P-6", "R"],
    ]
    assert body["encounters"] == {"faces": 33, "prints": 0, "passed_over": 0}
    assert (body["compared"], body["exact"], body["found"]) == (33 * 32 // 2, True, 3)
    assert body["expected_by_chance"] == pytest.approx(33 * 16 * 1e-5)
    pair = body["clusters"][0]["pairs"][0]
    assert pair["score"] >= body["threshold"] == pytest.approx(50.0)
    assert pair["components"][0]["calibration_id"] in body["calibrations"]
    shown = run("dedupe", db=crowd)
    assert "SUSPECTED DUPLICATES" in shown.out
    assert "3 pairs in 3 clusters" in shown.out


def test_dedupe_of_different_people_suspects_nobody(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    with Engine.open(path, CONFIG) as engine:
        _enroll(engine, [(str(i), vector[0]) for i, vector in enumerate(draw_embeddings(5, range(9)))])
    answer = run("dedupe", db=path)
    assert answer.code == 0
    assert "NOBODY SUSPECTED" in answer.out


def test_reports_are_whole_private_and_safe(crowd: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"report.{kind}" for kind in ("html", "json", "csv")]
    words = ["dedupe", *(word for file in files for word in ("--report", file))]
    assert run(*words, db=crowd).code == 1
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    page = files[0].read_text("utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "it holds no pictures" in page
    assert "http" not in page.replace("http-equiv", "")
    assert json.loads(files[1].read_bytes())["clusters"] == run("dedupe", "--json", db=crowd).json["clusters"]
    lines = list(csv.DictReader(io.StringIO(files[2].read_text("utf-8"))))
    assert {(line["cluster"], line["capped"]) for line in lines} == {("1", "True"), ("2", "True"), ("3", "True")}
    again = run(*words, db=crowd)
    assert again.code == 4
    assert "--force" in again.err
    assert run(*words, "--force", db=crowd).code == 1
    assert run("dedupe", "--report", tmp_path / "report.xls", db=crowd).code == 2


def test_the_page_shows_photographs_of_a_folder(crowd: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    _, data = cv2.imencode(".png", np.full((300, 200, 3), 90, dtype=np.uint8))
    (folder / "P-6.png").write_bytes(data.tobytes())
    (folder / "R.jpg").write_bytes(b"no photograph")
    (tmp_path / "P-5.png").write_bytes(data.tobytes())  # what ../../P-5 might reach
    file = tmp_path / "page.html"
    assert run("dedupe", "--report", file, "--photos", folder, db=crowd).code == 1
    page = file.read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 1
    assert page.count("cannot be read") == 1
    assert run("dedupe", "--photos", tmp_path / "nowhere", db=crowd).code == 2


def test_dedupe_goes_on_where_its_state_says(crowd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("dedupe", "--json", db=crowd).json
    monkeypatch.setattr("biometrik.deduplication.PAGE", 5)
    state, pages = tmp_path / "a.state", [0]
    find = Engine.duplicates

    def interrupted(self: Engine, **asked: Any) -> DuplicatePage:
        pages[0] += 1
        if pages[0] == 4:
            raise KeyboardInterrupt
        return find(self, **asked)

    monkeypatch.setattr(Engine, "duplicates", interrupted)
    assert run("dedupe", "--state", state, "--json", db=crowd).code == 130
    assert json.loads(state.read_bytes())["faces"] == 15
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    answer = run("dedupe", "--state", state, "--json", db=crowd)
    assert pages[0] == 4 + 4
    halves = abs(answer.json.pop("compared") - whole.pop("compared"))
    assert halves <= 7
    assert answer.json["clusters"] == whole["clusters"]
    with Engine.open(crowd, CONFIG) as engine:
        late = draw_embeddings(5, range(7, 8), samples=range(1))
        _enroll(engine, [("late", late[0, 0])])
        engine.erase("R")
    more = run("dedupe", "--state", state, "--json", db=crowd).json
    names = [set(cluster["subjects"]) for cluster in more["clusters"]]
    assert {"late", "P-7"} in names
    assert {"R", "P-6"} not in names  # erased since
    assert pages[0] == 9


def test_a_state_of_another_search_is_refused(crowd: Path, tmp_path: Path) -> None:
    state = tmp_path / "a.state"
    assert run("dedupe", "--state", state, db=crowd).code == 1
    other = run("dedupe", "--state", state, "--max-fmr", "1e-3", db=crowd)
    assert other.code == 4
    assert "max_fmr" in other.err


@pytest.mark.parametrize(
    "change",
    [
        lambda state: b"",
        lambda state: b"[" * 100_000,
        lambda state: json.dumps({**state, "format": 2}).encode(),
        lambda state: json.dumps({**state, "after": "1"}).encode(),
        lambda state: json.dumps({**state, "after": -1}).encode(),
        lambda state: json.dumps({**state, "exact": 1}).encode(),
        lambda state: json.dumps({**state, "asked": []}).encode(),
        lambda state: json.dumps({**state, "pairs": [{}]}).encode(),
        lambda state: json.dumps({**state, "pairs": 3}).encode(),
        lambda state: json.dumps([state]).encode(),
    ],
)
def test_a_file_that_is_no_state_is_refused(tmp_path: Path, change: Callable[[Any], bytes]) -> None:
    path = tmp_path / "a.state"
    Survey({"x": 1}, 5).save(path)
    state = json.loads(path.read_bytes())
    assert Survey.load(path, {"x": 1}, 5).asked == {"x": 1}
    path.write_bytes(change(state))
    with pytest.raises(InvalidInputError, match="expected the state"):
        Survey.load(path, {"x": 1}, 5)


def test_a_state_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "_MAX_STATE_BYTES", 10)
    path = tmp_path / "a.state"
    Survey({"x": 1}, 5).save(path)
    with pytest.raises(InvalidInputError, match="expected the state"):
        Survey.load(path, {"x": 1}, 5)


def _page(*pairs: DuplicatePair) -> DuplicatePage:
    return DuplicatePage(1, False, pairs, 1, 0, 0, 1, True)


def _pair(one: str, other: str, similarity: float) -> DuplicatePair:
    return DuplicatePair((one, other), (one, other), 50.0, (Component(FACE, 50.0, similarity, 1, "c", "m"),))


def test_the_likeliest_pairs_are_kept_and_each_once(tmp_path: Path) -> None:
    survey = Survey({}, 2)
    for i in range(20):
        survey.take(_page(_pair("a", str(i), i / 20)))
    survey.take(_page(_pair("19", "a", 0.1)))  # the other side of one with prints
    assert [pair.encounter_ids for pair in survey.pairs] == [("a", "19"), ("a", "18")]
    assert survey.found == 21
    survey.save(tmp_path / "s")
    loaded = Survey.load(tmp_path / "s", {}, 2)
    assert (loaded.pairs, loaded.found) == (survey.pairs, 21)


def test_a_service_is_not_asked(crowd: Path) -> None:
    answer = run("dedupe", "--server", "127.0.0.1:1", db=crowd)
    assert answer.code == 2
    assert "IdentifyStored" in answer.err
