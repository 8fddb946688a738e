"""The command: every subcommand on a real database and real photographs; JSON, exit codes, messages."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from typer.testing import CliRunner

from biometrik import models
from biometrik.cli import app
from biometrik.cli import samples as cli_samples
from biometrik.cli.options import Output, Place, Recognition, Service, address_of
from biometrik.config import FacePolicy
from biometrik.demo.photographs import ASTRONAUT, CAT, GROUP, PORTRAIT, find, jpeg, photographed_again, underexposed
from biometrik.errors import DatabaseLockedError, InvalidInputError
from biometrik.face.quality import PROFILES
from biometrik.inference import provider_names
from biometrik.manifest import Pack, manifest
from biometrik.types import FaceImage
from biometrik_server import __main__ as server_main
from biometrik_server import logs
from biometrik_server.access import Access, Scope
from biometrik_server.config import ServerConfig
from biometrik_station.config import DeviceEntry, SpoolSettings, StationConfig

COMMANDS = (
    ("enroll",),
    ("verify",),
    ("identify",),
    ("compare",),
    ("quality",),
    ("dedupe",),
    ("subjects", "list"),
    ("subjects", "show"),
    ("subjects", "erase"),
    ("galleries", "list"),
    ("galleries", "create"),
    ("galleries", "delete"),
    ("import",),
    ("export",),
    ("models", "list"),
    ("models", "pull"),
    ("record", "inspect"),
    ("record", "convert"),
    ("record", "compare"),
    ("serve",),
    ("station", "serve"),
    ("station", "enroll"),
    ("station", "forward"),
    ("token",),
    ("devices", "list"),
    ("devices", "info"),
    ("devices", "capture"),
    ("devices", "conform"),
    ("doctor",),
    ("demo",),
)
DECISION = {
    "format",
    "command",
    "outcome",
    "reasons",
    "score",
    "threshold",
    "capped",
    "max_fmr",
    "achieved_fmr",
    "raw_score",
    "comparisons",
    "subject_id",
    "encounter_id",
    "calibration_id",
    "model_contract_id",
    "components",
    "samples",
}


@dataclass(frozen=True)
class Answer:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        (line,) = self.out.splitlines()
        value: dict[str, Any] = json.loads(line)
        assert value["format"] == 1
        return value


def run(*words: object, db: Path | None = None, typed: str | None = None) -> Answer:
    environment = {"COLUMNS": "200", **({"BIOMETRIK_DB": str(db)} if db else {})}
    result = CliRunner().invoke(app, [str(word) for word in words], input=typed, env=environment)
    return Answer(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DB", "SERVER", "TOKEN", "LOCALE"):
        monkeypatch.delenv(f"BIOMETRIK_{name}", raising=False)


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of photographs: two people, a re-photographed copy of one, a dark one, none, a broken one."""
    folder = tmp_path_factory.mktemp("album")
    astronaut = FaceImage.from_file(find(ASTRONAUT))
    (folder / "ada.jpg").write_bytes(jpeg(astronaut.pixels))
    (folder / "ada-again.jpg").write_bytes(jpeg(photographed_again(astronaut, seed=1).pixels))
    (folder / "dark.jpg").write_bytes(jpeg(underexposed(astronaut, stops=8.5, seed=1).pixels))
    (folder / "bob.jpg").write_bytes(jpeg(FaceImage.from_file(find(PORTRAIT)).pixels))
    (folder / "cat.jpg").write_bytes(jpeg(FaceImage.from_file(find(CAT)).pixels))
    (folder / "broken.jpg").write_bytes((folder / "ada.jpg").read_bytes()[:4000])
    return folder


@pytest.fixture
def db(tmp_path: Path, album: Path) -> Path:
    """Return a database in which A-1 is enrolled."""
    path = tmp_path / "office.db"
    assert run("enroll", "A-1", album / "ada.jpg", db=path).code == 0
    return path


# --- enroll ---------------------------------------------------------------------------------------------------


def test_enroll_answers_with_the_encounter(tmp_path: Path, album: Path) -> None:
    answer = run("enroll", "A-1", album / "ada.jpg", album / "ada-again.jpg", "--json", db=tmp_path / "a.db")
    assert answer.code == 0
    assert set(answer.json) == {
        "format",
        "command",
        "outcome",
        "subject_id",
        "encounter_id",
        "templates",
        "search",
        "samples",
    }
    assert answer.json["command"] == "enroll"
    assert answer.json["outcome"] == "ENROLLED"
    assert answer.json["templates"] == 2
    assert [Path(sample["file"]).name for sample in answer.json["samples"]] == ["ada.jpg", "ada-again.jpg"]


def test_enroll_refuses_a_dark_photograph_with_advice_and_takes_it_with_a_reason(db: Path, album: Path) -> None:
    answer = run("enroll", "A-2", album / "dark.jpg", "--json", "--locale", "id", db=db)
    assert answer.code == 3
    assert answer.json["outcome"] == "NEEDS_RECAPTURE"
    assert {"code": "TOO_DARK", "text": "Wajah terlalu gelap: tambah cahaya dari depan."} in answer.json["samples"][0][
        "reasons"
    ]
    words = ["enroll", "A-2", album / "dark.jpg", "--override", "injured, cannot come again", "--operator", "op-7"]
    assert run(*words, db=db).code == 0


def test_enroll_without_a_face_is_a_failure_to_enroll(db: Path, album: Path) -> None:
    answer = run("enroll", "A-2", album / "cat.jpg", db=db)
    assert answer.code == 3
    assert "FAILURE TO ENROLL" in answer.out
    assert "No face found" in answer.out


def test_enroll_obeys_the_policy_for_several_faces(db: Path) -> None:
    answer = run("enroll", "A-2", find(GROUP), "--policy", "error", "--json", db=db)
    assert answer.code == 3
    assert answer.json["samples"][0]["reasons"][0]["code"] == "SEVERAL_FACES"


def test_enroll_repeated_with_its_transaction_gives_the_first_answer(db: Path, album: Path) -> None:
    words = ("enroll", "A-2", album / "bob.jpg", "--transaction", "t-1", "--json")
    assert run(*words, db=db).json["encounter_id"] == run(*words, db=db).json["encounter_id"]
    other = run("enroll", "A-2", album / "ada.jpg", "--transaction", "t-1", "--json", db=db)
    assert other.code == 4
    assert other.json["error"]["reason"] == "TRANSACTION_CONFLICT"


def test_a_file_that_is_not_there_is_named(tmp_path: Path, album: Path) -> None:
    answer = run("enroll", "A-1", album / "ada.jpg", album / "nothing.jpg", db=tmp_path / "a.db")
    assert answer.code == 4
    assert answer.out == ""
    assert str(album / "nothing.jpg") in answer.err
    assert "INVALID_INPUT" in answer.err
    assert not (tmp_path / "a.db").exists()


def test_a_file_that_is_not_an_image_does_not_lose_the_good_ones_beside_it(tmp_path: Path, album: Path) -> None:
    words = ("enroll", "A-1", album / "broken.jpg", album / "ada.jpg")
    answer = run(*words, "--json", db=tmp_path / "a.db")
    assert answer.code == 0
    assert answer.json["templates"] == 1
    broken, good = answer.json["samples"]
    assert [reason["code"] for reason in broken["reasons"]] == ["IMAGE_UNREADABLE"]
    assert (broken["usable"], good["usable"]) == (False, True)
    screen = run(*words, db=tmp_path / "a.db")
    assert f"{album / 'broken.jpg'}: expected a whole JPEG" in screen.err
    assert "not an image" in screen.out
    alone = run("verify", "A-1", album / "broken.jpg", "--json", db=tmp_path / "a.db")
    assert (alone.code, alone.json["outcome"], alone.json["subject_id"]) == (3, "INCONCLUSIVE", "A-1")
    assert run("quality", album / "ada.jpg", album / "broken.jpg").code == 3


def test_compare_has_one_file_a_side_and_says_what_is_wrong_with_it(album: Path) -> None:
    answer = run("compare", album / "ada.jpg", album / "broken.jpg", "--json")
    assert (answer.code, answer.json["error"]["reason"]) == (4, "IMAGE_DAMAGED")
    assert str(album / "broken.jpg") in answer.json["error"]["message"]


def test_more_photographs_than_one_person_can_have_are_refused_unread(tmp_path: Path) -> None:
    answer = run("enroll", "A-1", *["nothing.jpg"] * 65, "--json", db=tmp_path / "a.db")
    assert answer.code == 4
    assert "at most 64" in answer.json["error"]["message"]


# --- verify, identify, compare, quality -----------------------------------------------------------------------


def test_verify_a_genuine_person_matches(db: Path, album: Path) -> None:
    answer = run("verify", "A-1", album / "ada-again.jpg", "--max-fmr", "1e-4", "--json", db=db)
    assert answer.code == 0
    assert set(answer.json) == DECISION | {"claims"}
    assert (answer.json["subject_id"], answer.json["claims"]) == ("A-1", ["A-1"])
    assert answer.json["outcome"] == "MATCH"
    assert answer.json["score"] >= answer.json["threshold"] == 40.0
    assert set(answer.json["achieved_fmr"]) == {"value", "low", "high", "confidence"}
    (sample,) = answer.json["samples"]
    assert set(sample) == {"file", "trait", "usable", "reasons", "faces_found", "face", "quality"}
    assert set(sample["face"]) == {"box", "landmarks", "confidence"}
    assert np.shape(sample["face"]["landmarks"]) == (5, 2)
    assert set(sample["quality"]) == {"overall", "acceptable", "algorithm", "components"}
    for component in sample["quality"]["components"]:
        assert set(component) == {"name", "value", "measured", "unit", "threshold", "acceptable", "reason"}


def test_verify_one_of_a_few_names_who_it_is(db: Path, album: Path) -> None:
    assert run("enroll", "A-2", album / "bob.jpg", db=db).code == 0
    words = ("verify", "A-2", album / "ada-again.jpg", "--or", "A-1")
    answer = run(*words, "--json", db=db)
    assert answer.code == 0
    assert (answer.json["claims"], answer.json["subject_id"]) == (["A-2", "A-1"], "A-1")
    assert answer.json["comparisons"] == 2
    screen = run(*words, db=db).out
    assert "Is this A-2 or A-1?" in screen
    assert "Most alike: A-1." in screen
    nobody = run("verify", "A-2", album / "cat.jpg", "--or", "A-1", "--json", db=db)
    assert (nobody.code, nobody.json["subject_id"]) == (3, "")
    assert run("verify", "A-2", album / "cat.jpg", "--or", "A-2", "--json", db=db).json["error"]["reason"] == (
        "INVALID_INPUT"
    )


def test_verify_against_one_encounter_of_the_subject_only(db: Path, album: Path) -> None:
    other = run("enroll", "A-1", album / "bob.jpg", "--json", db=db).json["encounter_id"]
    assert run("verify", "A-1", album / "ada-again.jpg", db=db).code == 0
    answer = run("verify", "A-1", album / "ada-again.jpg", "--encounter", other, "--json", db=db)
    assert (answer.code, answer.json["encounter_id"], answer.json["comparisons"]) == (1, other, 1)
    assert run("enroll", "A-2", album / "bob.jpg", db=db).code == 0
    wrong = run("verify", "A-2", album / "ada.jpg", "--encounter", other, "--json", db=db)
    assert (wrong.code, wrong.json["error"]["reason"]) == (4, "INVALID_INPUT")
    both = run("verify", "A-1", album / "ada.jpg", "--encounter", other, "--or", "A-2", db=db)
    assert both.code == 2


def test_verify_says_on_the_screen_what_the_score_means(db: Path, album: Path) -> None:
    answer = run("verify", "A-1", album / "ada-again.jpg", db=db)
    assert "MATCH" in answer.out
    assert re.search(r"score \d+\.\d ≥ 30\.0", answer.out)
    assert re.search(r"a stranger reaches this in fewer than 1 of [\d,]+ comparisons", answer.out)
    assert "FMR asked 1 in 1,000" in answer.out
    assert "comparisons of strangers" in answer.out
    assert "quality" in answer.out


def test_verify_another_person_does_not_match(db: Path, album: Path) -> None:
    answer = run("verify", "A-1", album / "bob.jpg", "--json", db=db)
    assert answer.code == 1
    assert answer.json["outcome"] == "NO_MATCH"
    assert answer.json["score"] < answer.json["threshold"]


def test_verify_without_a_face_is_inconclusive_and_null_says_so(db: Path, album: Path) -> None:
    answer = run("verify", "A-1", album / "cat.jpg", "--json", db=db)
    assert answer.code == 3
    assert [reason["code"] for reason in answer.json["reasons"]] == ["NO_USABLE_PROBE", "NO_FACE"]
    assert answer.json["score"] is None
    assert answer.json["raw_score"] is None
    assert answer.json["samples"][0]["face"] is None
    assert answer.json["samples"][0]["quality"] is None


def test_verify_beyond_the_evidence_names_the_tightest(db: Path, album: Path) -> None:
    answer = run("verify", "A-1", album / "ada.jpg", "--max-fmr", "1e-9", "--json", db=db)
    assert answer.code == 4
    assert answer.json["error"]["reason"] == "THRESHOLD_UNSUPPORTED"
    assert 1e-9 < answer.json["error"]["tightest"] < 1e-3


def test_verify_an_unknown_subject_is_an_error_without_a_traceback(db: Path, album: Path) -> None:
    answer = run("verify", "A-9", album / "ada.jpg", db=db)
    assert answer.code == 4
    assert answer.out == ""
    assert answer.err.startswith("SUBJECT_NOT_FOUND")
    assert "Traceback" not in answer.err


def test_debug_lets_the_error_through(db: Path, album: Path) -> None:
    words = ["verify", "A-9", str(album / "ada.jpg"), "--debug"]
    result = CliRunner().invoke(app, words, env={"BIOMETRIK_DB": str(db)})
    assert type(result.exception).__name__ == "SubjectNotFoundError"


def test_a_database_that_is_not_there_is_not_made_by_asking(tmp_path: Path, album: Path) -> None:
    answer = run("verify", "A-1", album / "ada.jpg", "--db", tmp_path / "typo.db", "--json")
    assert answer.code == 4
    assert answer.json["error"]["reason"] == "STORE_UNAVAILABLE"
    assert list(tmp_path.iterdir()) == []


def test_identify_finds_the_known_person(db: Path, album: Path) -> None:
    assert run("enroll", "A-2", album / "bob.jpg", db=db).code == 0
    answer = run("identify", album / "ada-again.jpg", "--json", db=db)
    assert answer.code == 0
    assert set(answer.json) == {
        "format",
        "command",
        "outcome",
        "reasons",
        "candidates",
        "threshold",
        "max_fpir",
        "achieved_fpir",
        "coverage",
        "calibration_id",
        "model_contract_id",
        "samples",
    }
    best, other = answer.json["candidates"]
    assert set(best) == {
        "rank",
        "subject_id",
        "encounter_id",
        "galleries",
        "score",
        "capped",
        "raw_score",
        "is_match",
        "components",
    }
    assert (best["subject_id"], best["is_match"], other["is_match"]) == ("A-1", True, False)
    assert answer.json["coverage"]["subjects"] == 2
    screen = run("identify", album / "ada-again.jpg", db=db)
    assert "searched 2 people" in screen.out
    assert "A-1" in screen.out


def test_identify_a_stranger_is_unknown(db: Path, album: Path) -> None:
    answer = run("identify", album / "bob.jpg", "--max-fpir", "0.02", "--json", db=db)
    assert answer.code == 1
    assert answer.json["max_fpir"] == 0.02
    assert not any(candidate["is_match"] for candidate in answer.json["candidates"])


def test_identify_without_a_decision_leaves_it_to_an_officer(db: Path, album: Path) -> None:
    answer = run("identify", album / "ada-again.jpg", "--no-decision", "--json", db=db)
    assert answer.code == 3
    assert [reason["code"] for reason in answer.json["reasons"]] == ["NO_THRESHOLD"]
    assert answer.json["threshold"] is answer.json["max_fpir"] is answer.json["achieved_fpir"] is None
    assert answer.json["candidates"][0]["subject_id"] == "A-1"
    assert "1 in" in run("identify", album / "ada-again.jpg", "--no-decision", db=db).out


def test_identify_looks_only_into_the_galleries_named_and_leaves_out_who_is_excluded(db: Path, album: Path) -> None:
    assert run("galleries", "create", "staff", db=db).code == 0
    assert run("enroll", "A-2", album / "bob.jpg", "--gallery", "staff", db=db).code == 0
    found = run("identify", album / "ada-again.jpg", "--gallery", "staff", "--json", db=db)
    assert [candidate["subject_id"] for candidate in found.json["candidates"]] == ["A-2"]
    rest = run("identify", album / "ada-again.jpg", "--excluding", "A-1", "--json", db=db)
    assert [candidate["subject_id"] for candidate in rest.json["candidates"]] == ["A-2"]
    assert run("identify", album / "ada.jpg", "--gallery", "nowhere", "--json", db=db).json["error"]["reason"] == (
        "GALLERY_NOT_FOUND"
    )


def test_compare_needs_no_database(album: Path) -> None:
    same = run("compare", album / "ada-again.jpg", album / "ada.jpg", "--json")
    assert same.code == 0
    assert set(same.json) == DECISION
    assert len(same.json["samples"]) == 2
    assert run("compare", album / "bob.jpg", album / "ada.jpg").code == 1
    assert run("compare", album / "cat.jpg", album / "ada.jpg").code == 3


def test_quality_grades_each_photograph_by_the_profile_asked(album: Path) -> None:
    good = run("quality", album / "ada.jpg", "--json")
    assert good.code == 0
    assert good.json["acceptable"] is True
    mixed = run("quality", album / "ada.jpg", album / "cat.jpg", "--json")
    assert mixed.code == 3
    assert mixed.json["acceptable"] is False
    assert [sample["usable"] for sample in mixed.json["samples"]] == [True, False]
    portrait = run("quality", album / "ada.jpg", "--profile", "portrait")
    assert portrait.code == 3
    assert "inter eye distance" in portrait.out
    assert "come closer" in portrait.out


def test_quality_takes_more_photographs_than_the_engine_takes_at_once(album: Path) -> None:
    answer = run("quality", *[album / "bob.jpg"] * 70, "--json")
    assert len(answer.json["samples"]) == 70


# --- subjects and galleries -----------------------------------------------------------------------------------


def test_subjects_are_listed_a_page_at_a_time(db: Path, album: Path) -> None:
    assert run("enroll", "A-2", album / "bob.jpg", db=db).code == 0
    first = run("subjects", "--limit", "1", "--json", db=db)
    assert [subject["subject_id"] for subject in first.json["subjects"]] == ["A-1"]
    assert first.json["next_after"] == "A-1"
    last = run("subjects", "list", "--limit", "1", "--after", "A-1", "--json", db=db)
    assert [subject["subject_id"] for subject in last.json["subjects"]] == ["A-2"]
    assert last.json["next_after"] is None
    screen = run("subjects", "--limit", "1", db=db)
    assert "A-1" in screen.out
    assert "--after" in screen.out
    assert run("subjects", "--limit", "0", db=db).code == 2


def test_a_subject_is_shown_with_its_encounters(db: Path) -> None:
    shown = run("subjects", "show", "A-1", "--json", db=db).json
    assert set(shown) == {"format", "command", "subject_id", "created_at", "encounters"}
    (encounter,) = shown["encounters"]
    assert set(encounter) == {
        *("encounter_id", "status", "galleries", "created_at"),
        *("templates", "traits", "missing"),
    }
    assert encounter["encounter_id"] in run("subjects", "show", "A-1", db=db).out
    assert run("subjects", "show", "A-9", db=db).code == 4


def test_erase_asks_first_and_certifies(db: Path, album: Path) -> None:
    refused = run("subjects", "erase", "A-1", db=db, typed="n\n")
    assert refused.code == 130
    assert run("subjects", "erase", "A-1", "--json", db=db).code == 2
    assert run("verify", "A-1", album / "ada.jpg", db=db).code == 0
    erased = run("subjects", "erase", "A-1", db=db, typed="y\n")
    assert erased.code == 0
    assert "digest" in erased.out
    assert run("verify", "A-1", album / "ada.jpg", db=db).code == 4


def test_erase_with_yes_answers_with_the_certificate(db: Path) -> None:
    certificate = run("subjects", "erase", "A-1", "--yes", "--json", db=db).json["certificate"]
    assert set(certificate) == {"subject_id", "erased_at", "encounters", "templates", "event", "digest"}
    assert (certificate["subject_id"], certificate["encounters"], certificate["templates"]) == ("A-1", 1, 1)


def test_galleries_are_created_listed_and_deleted(db: Path) -> None:
    terms = ("--kind", "watchlist", "--legal-basis", "Act 1", "--retention-days", "30")
    created = run("galleries", "create", "watch", *terms, "--json", db=db).json
    assert (created["name"], created["kind"], created["subjects"]) == ("watch", "WATCHLIST", 0)
    assert (created["legal_basis"], created["retention_days"]) == ("Act 1", 30)
    assert run("galleries", "create", "watch", "--json", db=db).json["error"]["reason"] == "GALLERY_EXISTS"
    listed = run("galleries", "--json", db=db).json["galleries"]
    assert {gallery["name"] for gallery in listed} == {"default", "watch"}
    assert set(listed[0]) == {
        "name",
        "kind",
        "created_at",
        "subjects",
        "encounters",
        "legal_basis",
        "retention_days",
    }
    screen = run("galleries", "list", db=db).out
    assert all(shown in screen for shown in ("watch", "Act 1", "30 days"))
    assert run("galleries", "delete", "watch", "--json", db=db).json["deleted"] == "watch"
    assert run("galleries", "delete", "watch", db=db).code == 4


def test_a_watchlist_needs_a_legal_basis(db: Path) -> None:
    refused = run("galleries", "create", "watch", "--kind", "watchlist", "--json", db=db)
    assert (refused.code, refused.json["error"]["reason"]) == (4, "LEGAL_BASIS_MISSING")
    assert run("galleries", "create", "staff", "--retention-days", "-1", db=db).code == 2
    assert [gallery["name"] for gallery in run("galleries", "--json", db=db).json["galleries"]] == ["default"]


# --- models ---------------------------------------------------------------------------------------------------


def test_models_shows_licence_presence_and_verification() -> None:
    rows = {row["id"]: row for row in run("models", "--json").json["models"]}
    assert set(rows["sface-2021dec"]) == {
        "id",
        "role",
        "file",
        "licence",
        "licence_note",
        "source",
        "sha256",
        "packs",
        "state",
        "detail",
    }
    assert (rows["sface-2021dec"]["licence"], rows["sface-2021dec"]["state"]) == ("Apache-2.0", "VERIFIED")
    screen = run("models", "list").out
    assert "Apache-2.0" in screen
    assert "verified" in screen
    assert all(row["licence"] for row in rows.values())


def test_models_pull_shows_what_came_and_under_which_licence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = next(pack for pack in manifest().packs if pack.name == "buffalo_s")
    asked: list[tuple[str, Path]] = []

    def pull(name: str, folder: Path) -> Pack:
        asked.append((name, folder))
        return known

    monkeypatch.setattr(models, "pull", pull)
    answer = run("models", "pull", "buffalo_s", "--to", tmp_path, "--json")
    assert asked == [("buffalo_s", tmp_path)]
    assert answer.json["pack"] == "buffalo_s"
    assert all(entry["licence"] for entry in answer.json["weights"])
    assert "non-commercial" in run("models", "pull", "buffalo_s", "--to", tmp_path).out


# --- serve, token ---------------------------------------------------------------------------------------------


def _example(*words: str, everything: bool) -> str:
    text = run(*(words or ("serve",)), "--example-config").out
    return re.sub(r"(?m)^#(?=\[|[a-z0-9_]+ = )", "", text) if everything else text


def test_the_example_configuration_loads_as_it_stands_and_says_what_holds_without_it(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(_example(everything=False), "utf-8")
    assert ServerConfig.load(file) == ServerConfig.load(None, {"database": "office.db"})


def test_the_example_configuration_names_every_setting_with_its_default(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(_example(everything=True), "utf-8")
    full, plain = ServerConfig.load(file), ServerConfig.load(None, {"database": "office.db"})
    assert set(full.model_fields_set) == set(ServerConfig.model_fields)
    assert set(full.engine.model_fields_set) == set(type(full.engine).model_fields)
    assert set(full.limits.model_fields_set) == set(type(full.limits).model_fields)
    assert full.tls is not None
    assert set(full.tls.model_fields_set) == set(type(full.tls).model_fields)
    assert full.limits == plain.limits
    own = {"cache", "pack", "calibrations"}
    assert full.engine.model_dump(exclude=own) == plain.engine.model_dump(exclude=own)
    assert (full.log_level, full.grace_s) == (plain.log_level, plain.grace_s)


def test_the_example_of_a_station_loads_as_it_stands_and_names_every_setting_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    plain = StationConfig.load(None)
    file.write_text(_example("station", everything=False), "utf-8")
    assert StationConfig.load(file) == plain
    file.write_text(_example("station", "serve", everything=True), "utf-8")
    full = StationConfig.load(file)
    assert set(full.model_fields_set) == set(StationConfig.model_fields)
    assert set().union(*(entry.model_fields_set for entry in full.devices)) == set(DeviceEntry.model_fields)
    assert full.spool is not None
    assert set(full.spool.model_fields_set) == set(SpoolSettings.model_fields)
    assert (full.limits, full.engine) == (plain.limits, plain.engine)
    own = {"listen", "metrics", "devices", "spool", "tls", "clients"}
    assert full.model_dump(exclude=own) == plain.model_dump(exclude=own)
    assert (full.spool.max_entries, full.spool.max_bytes) == (10_000, 4 << 30)


def test_serve_without_a_database_or_with_a_wrong_setting_says_so(tmp_path: Path) -> None:
    assert run("serve").code == 2
    answer = run("serve", "--database", tmp_path / "a.db", "--listen", "192.0.2.1:50051", "--json")
    assert (answer.code, answer.json["error"]["reason"]) == (4, "INVALID_INPUT")
    assert "is not loopback and needs [tls]" in answer.json["error"]["message"]
    assert not (tmp_path / "a.db").exists()


def test_serve_hands_its_options_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[ServerConfig] = []

    async def serve(config: ServerConfig) -> None:
        served.append(config)
        if len(served) > 1:
            raise DatabaseLockedError("database: taken")

    monkeypatch.setattr(server_main, "serve", serve)
    monkeypatch.setattr(logs, "configure", lambda _: None)
    (tmp_path / "s.toml").write_text('database = "a.db"\nlisten = "127.0.0.1:1"\nlog_level = "ERROR"\n')
    words = ("serve", "--config", tmp_path / "s.toml", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:9")
    assert run(*words).code == 0
    assert (served[0].database, served[0].listen, served[0].metrics) == ("a.db", "127.0.0.1:0", "127.0.0.1:9")
    assert served[0].log_level == "ERROR"
    refused = run(*words, "--db", "b.db", "--json")
    assert (refused.code, refused.json["error"]["reason"]) == (4, "DATABASE_LOCKED")
    assert served[1].database == "b.db"


def test_serve_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("biometrik_server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grpc_health.v1", None)
    answer = run("serve", "--database", "a.db", "--json")
    assert (answer.code, answer.json["error"]["reason"]) == (4, "PLUGIN_NOT_FOUND")
    assert "biometrik[cpu,server]" in answer.json["error"]["message"]


def test_a_token_comes_with_an_entry_that_knows_it(tmp_path: Path) -> None:
    words = ("token", 'counter "3"', "--scope", "identify", "--scope", "verify", "--scope", "verify")
    made = run(*words, "--json").json
    (tmp_path / "s.toml").write_text('database = "a.db"\n' + made["entry"], "utf-8")
    access = Access(ServerConfig.load(tmp_path / "s.toml").known_clients)
    client = access.identify(f"Bearer {made['token']}", ())
    assert client.name == 'counter "3"'
    assert client.scopes == frozenset({Scope.VERIFY, Scope.IDENTIFY})
    assert made["token"] not in made["entry"]
    screen = run(*words).out
    assert "[[clients]]" in screen
    assert made["token"] not in screen


@pytest.mark.parametrize(
    ("words", "code"), [(("x",), 2), (("x", "--scope", "everything"), 2), (("x" * 65, "--scope", "verify"), 4)]
)
def test_a_token_for_nothing_or_for_what_there_is_not_is_refused(words: Sequence[str], code: int) -> None:
    assert run("token", *words).code == code


def test_the_help_of_token_names_every_scope() -> None:
    text = run("token", "--help").out
    assert all(scope.value in text for scope in Scope)


# --- which place answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "environment", "address", "database"),
    [
        ({}, {}, "", None),
        ({}, {"BIOMETRIK_DB": "e.db"}, "", "e.db"),
        ({}, {"BIOMETRIK_DB": "e.db", "BIOMETRIK_SERVER": "h:1"}, "h:1", "e.db"),
        ({"db": Path("c.db")}, {"BIOMETRIK_SERVER": "h:1"}, "", "c.db"),
        ({"server": "h:2"}, {"BIOMETRIK_SERVER": "h:1", "BIOMETRIK_DB": "e.db"}, "h:2", "e.db"),
    ],
)
def test_the_command_line_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch,
    words: dict[str, Any],
    environment: dict[str, str],
    address: str,
    database: str | None,
) -> None:
    for name in ("BIOMETRIK_DB", "BIOMETRIK_SERVER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    place = Place(**words)
    assert address_of(place) == address
    assert place.named_database == (None if database is None else Path(database))


def test_a_service_and_a_database_are_one_too_many(album: Path) -> None:
    assert run("verify", "A-1", album / "ada.jpg", "--db", "a.db", "--server", "127.0.0.1:1").code == 2


@pytest.mark.parametrize("words", [("--flip",), ("--provider", "openvino"), ("--calibration", "own.json")])
def test_a_service_does_not_take_options_for_an_engine_here(album: Path, words: Sequence[str]) -> None:
    answer = run("quality", album / "ada.jpg", *words, "--server", "127.0.0.1:1", "--json")
    assert (answer.code, answer.json["error"]["reason"]) == (2, "USAGE")
    assert words[0] in answer.json["error"]["message"]
    assert run("doctor", *words, "--server", "127.0.0.1:1").code == 2
    assert run("models", "--pack", "folder", "--server", "127.0.0.1:1").code == 2


def test_the_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOMETRIK_TOKEN", "of-the-environment")
    assert Service().connection("localhost:1", Output(locale="id")).token == "of-the-environment"
    monkeypatch.setenv("BIOMETRIK_TOKEN", "not\na-token")
    with pytest.raises(InvalidInputError, match="BIOMETRIK_TOKEN: expected one token"):
        Service().connection("localhost:1", Output())
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    service = Service(token_file=file, timeout=2.5, ca=tmp_path / "ca.pem")
    connection = service.connection("h:1", Output(locale="id"))
    assert (connection.token, connection.locale, connection.timeout_s) == ("of-the-file", "id", 2.5)
    assert connection.root_certificate == tmp_path / "ca.pem"
    for wrong in ("", "two words", "line\nline"):
        file.write_text(wrong)
        with pytest.raises(InvalidInputError, match="one token"):
            service.connection("h:1", Output())
    file.unlink()
    with pytest.raises(InvalidInputError, match="--token-file"):
        service.connection("h:1", Output())


# --- the frame ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_teaches_with_an_example_and_the_exit_codes(words: Sequence[str]) -> None:
    answer = run(*words, "--help")
    assert answer.code == 0
    assert f"Example: biometrik {words[0]}" in answer.out
    assert re.search(r"Exit codes: \d ", answer.out)
    assert "--json" in answer.out


def test_the_help_lists_every_command_and_all_exit_codes() -> None:
    text = run("--help").out
    for words in COMMANDS:
        assert words[0] in text
    for code in ("0 match", "1 no match", "2 usage", "3 inconclusive", "4 error", "130 interrupted"):
        assert code in text


@pytest.mark.parametrize(
    "words", [("verify",), ("nonsense",), ("verify", "A-1", "p.jpg", "--locale", "fr"), ("quality", "--nothing")]
)
def test_wrong_usage_is_code_2_in_words_and_in_json(words: Sequence[str]) -> None:
    answer = run(*words)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err
    asked = run(*words, "--json")
    assert asked.code == 2
    assert asked.json["error"]["reason"] == "USAGE"


def test_an_interrupt_is_code_130(monkeypatch: pytest.MonkeyPatch, album: Path) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[FaceImage]:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_samples, "read", interrupted)
    answer = run("verify", "A-1", album / "bob.jpg", "--json")
    assert answer.code == 130
    assert answer.json["error"]["reason"] == "INTERRUPTED"


def test_an_interrupt_stays_one_where_putting_back_fails(monkeypatch: pytest.MonkeyPatch, album: Path) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[FaceImage]:
        try:
            raise KeyboardInterrupt
        finally:
            raise InvalidInputError("session: expected to be open")

    monkeypatch.setattr(cli_samples, "read", interrupted)
    answer = run("verify", "A-1", album / "bob.jpg", "--json")
    assert answer.code == 130
    assert answer.json["error"]["reason"] == "INTERRUPTED"
    assert "expected to be open" in answer.err


def test_a_bug_is_reported_as_one(monkeypatch: pytest.MonkeyPatch, album: Path) -> None:
    def broken(*_: object, **__: object) -> Iterator[FaceImage]:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(cli_samples, "read", broken)
    answer = run("verify", "A-1", album / "bob.jpg", "--json")
    assert answer.code == 4
    assert answer.json["error"]["reason"] == "INTERNAL"
    assert "ZeroDivisionError" in answer.json["error"]["message"]
    assert "--debug" in answer.json["error"]["message"]


def test_a_provider_that_cannot_run_is_an_error_not_a_fallback(album: Path) -> None:
    answer = run("quality", album / "ada.jpg", "--precision", "bf16", "--json")
    assert answer.code == 4
    assert answer.json["error"]["reason"] == "INVALID_INPUT"


def test_the_choices_offered_are_those_that_the_library_has() -> None:
    hints = get_type_hints(Recognition)
    assert set(get_args(hints["provider"])) == set(provider_names())
    assert set(get_args(hints["profile"])) == set(PROFILES)
    assert set(get_args(hints["policy"])) == {policy.value for policy in FacePolicy}


def test_options_reach_the_configuration(tmp_path: Path) -> None:
    config = Recognition(
        profile="portrait",
        policy="error",
        flip=True,
        provider="openvino",
        precision="bf16",
        threads=3,
        pack=tmp_path,
        calibration=[tmp_path / "own.json"],
        cache=tmp_path / "cache",
    ).config()
    assert (config.face.detector, config.face.embedder, config.face.flip) == ("scrfd", "arcface", True)
    assert (config.face.policy, config.face.quality_profile) == (FacePolicy.ERROR, "portrait")
    assert (config.runtime.provider, config.runtime.precision, config.runtime.threads) == ("openvino", "bf16", 3)
    assert (config.models.pack, config.models.cache) == (tmp_path, tmp_path / "cache")
    assert config.models.calibrations == (tmp_path / "own.json",)


def test_many_photographs_show_progress_on_standard_error_only(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [album / "bob.jpg"] * 6
    samples, files = cli_samples.read(paths, cli_samples.Prints(), quiet=False)
    assert (len(samples), files) == (6, paths)
    assert capsys.readouterr().out == ""


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['biometrik', '--help']\n"
        "from biometrik.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'numpy', 'cv2', 'onnxruntime', 'openvino', 'faiss', 'PIL', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
