"""The commands that copy, check and restore a database."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from biometrik.cli import app
from biometrik.gallery.records import EventKind, NewEncounter
from biometrik.gallery.store import STORES
from biometrik.types import Modality, Template

Result = dict[str, object]


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """Return a database with one subject."""
    store = STORES.load("sqlite").open(tmp_path / "office.db")
    payload = np.random.default_rng(1).standard_normal(128).astype("<f4").tobytes()
    store.enroll(NewEncounter("A-1", (Template(Modality.FACE, "test@1", payload),)))
    store.close()
    return tmp_path / "office.db"


def _run(*words: object) -> tuple[int, Result]:
    result = CliRunner().invoke(app, ["backup", *map(str, words), "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_a_copy_is_checked_and_restored(office: Path, tmp_path: Path) -> None:
    copy, again = tmp_path / "copy.db", tmp_path / "again.db"
    with_counts = {"event": 3, "subjects": 1, "encounters": 1, "templates": 1, "quarantined": 0}
    for words in (("snapshot", copy, "--db", office), ("check", copy), ("restore", copy, "--db", again)):
        code, said = _run(*words)
        assert code == 0, said
        assert with_counts.items() < said.items()
    code, said = _run("restore", copy, "--db", again)
    assert (code, said["error"]["reason"]) == (4, "INVALID_INPUT")  # type: ignore[index]


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for words in (
        ("snapshot", tmp_path / "copy.db", "--db", tmp_path / "none.db"),
        ("check", tmp_path / "none.db"),
        ("quarantine", "--db", tmp_path / "none.db"),
        ("restore", tmp_path / "none.db", "--db", tmp_path / "again.db"),
    ):
        code, said = _run(*words)
        assert (code, said["error"]["reason"]) == (4, "STORE_UNAVAILABLE")  # type: ignore[index]
    assert list(tmp_path.iterdir()) == []


def test_what_is_damaged_is_named(office: Path) -> None:
    assert _run("quarantine", "--db", office) == (0, {"format": 1, "command": "backup quarantine", "quarantined": []})
    data = bytearray(office.read_bytes())
    data[data.index(np.random.default_rng(1).standard_normal(128).astype("<f4").tobytes()) + 9] ^= 1
    office.write_bytes(data)
    code, said = _run("check", office)
    assert (code, said["error"]["reason"]) == (4, "STORE_DAMAGED")  # type: ignore[index]
    code, said = _run("quarantine", "--db", office)
    assert code == 0
    assert [row["subject_id"] for row in said["quarantined"]] == ["A-1"]  # type: ignore[attr-defined]
    assert _run("check", office)[1]["quarantined"] == 1


def test_a_service_names_its_copies_and_a_database_here_is_copied_under_the_name_that_is_given(
    office: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    nobody = ("--server", "127.0.0.1:1")
    for words in (
        ("snapshot", copy, *nobody),
        ("snapshot", *nobody, "--db", office),
        ("snapshot", "--db", office),
        ("snapshot", copy, "--db", office, "--label", "x"),
        ("snapshot", copy, "--db", office, "--transaction", "x"),
    ):
        assert CliRunner().invoke(app, ["backup", *map(str, words)]).exit_code == 2, words
    assert not copy.exists()
    # What a command names goes before the environment.
    environment = {"BIOMETRIK_SERVER": nobody[1], "BIOMETRIK_DB": str(office)}
    assert CliRunner().invoke(app, ["backup", "snapshot", str(copy)], env=environment).exit_code == 0
    assert _run("check", copy)[0] == 0
    asked = CliRunner().invoke(app, ["backup", "snapshot", "--json"], env=environment)
    assert json.loads(asked.stdout)["error"]["reason"] == "SERVICE_UNAVAILABLE"


def test_the_log_says_who_took_a_copy_before_it_is_made(office: Path, tmp_path: Path) -> None:
    assert _run("snapshot", tmp_path / "copy.db", "--db", office, "--operator", "op 7")[0] == 0
    for database in (office, tmp_path / "copy.db"):
        store = STORES.load("sqlite").open(database)
        last = store.events(limit=100)[-1]
        store.close()
        assert (last.kind, last.details) == (EventKind.EXPORTED, {"operator_ref": "op 7", "copy": "copy.db"})
