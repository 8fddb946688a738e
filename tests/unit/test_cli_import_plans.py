"""What an import is made of: folders, tables and JSON lines become plans, and what is broken a fault in its place."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biometrik.cli import import_plans
from biometrik.cli.import_plans import Fault, Piece, Plan, Planned, Terms, planned, trait_of_file
from biometrik.errors import InvalidInputError
from biometrik.types import FACE, Trait

INDEX = Trait.named("right_index")


def _plans(source: Path) -> list[Planned]:
    units, plans = planned(source)
    found = list(plans)
    assert sum(plan.units for plan in found) <= units
    return found


def _lines(folder: Path, *rows: object, name: str = "people.jsonl") -> Path:
    source = folder / name
    source.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return source


def _words(found: list[Planned]) -> list[str]:
    return [str(plan.error) if isinstance(plan, Fault) else plan.name for plan in found]


def test_a_folder_of_subjects_has_an_encounter_a_folder(tmp_path: Path) -> None:
    for name in ("A-1/front.jpg", "A-1/right_index.png", "A-1/.DS_Store", "A-2/v1/a.jpg", "A-2/v2/b.jpg", ".git/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "A-3").mkdir()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "A-4").symlink_to(tmp_path / "A-1")
    (tmp_path / "A-5" / "v1" / "deep").mkdir(parents=True)
    first, visit, other, empty, link, deep, note = _plans(tmp_path)
    assert first == Plan("A-1", 1, "A-1", (Piece(FACE, "A-1/front.jpg"), Piece(INDEX, "A-1/right_index.png")))
    assert (visit, other) == (
        Plan("A-2/v1", 1, "A-2", (Piece(FACE, "A-2/v1/a.jpg"),)),
        Plan("A-2/v2", 0, "A-2", (Piece(FACE, "A-2/v2/b.jpg"),)),
    )
    assert _words([empty, link, deep, note]) == [
        "record: expected images, got none",
        "record: expected a folder with a subject's id for its name, got a file or link",
        "record: expected no folder in an encounter's, got one",
        "record: expected a folder with a subject's id for its name, got a file or link",
    ]


@pytest.mark.parametrize(
    ("name", "trait"),
    [
        ("right_index.png", "right_index"),
        ("RIGHT-INDEX_02.BMP", "right_index"),
        ("left thumb 1.png", "left_thumb"),
        ("finger_3.wsq", "finger"),
        ("scan.fir", "finger"),
        ("right_index_of_bob.png", "face"),
        ("1.jpg", "face"),
    ],
)
def test_a_file_says_by_its_name_what_it_shows(name: str, trait: str) -> None:
    assert trait_of_file(name).name == trait


def test_json_lines_have_samples_or_the_fields_of_one(tmp_path: Path) -> None:
    whole = {
        "format": 1,
        "subject": "A-1",
        "samples": [{"file": "a.jpg"}, {"trait": "right_index", "file": "b.png", "ppi": 500}],
        "galleries": ["default", "staff"],
        "missing": ["left_ring=amputated:permanent"],
        "consent": "form 9",
        "transaction": "t-1",
    }
    flat = {"subject": "A-2", "trait": "right_index", "file": "c.png", "ppi": 1000.0}
    gallery = {"gallery": {"name": "watch", "kind": "WATCHLIST", "legal_basis": "a law", "retention_days": 30}}
    terms, first, second = _plans(_lines(tmp_path, gallery, whole, "", flat))
    assert terms == Terms("line 1", 1, "watch", "WATCHLIST", "a law", 30)
    assert first == Plan(
        "line 2",
        1,
        "A-1",
        (Piece(FACE, "a.jpg"), Piece(INDEX, "b.png", ppi=500.0)),
        ("default", "staff"),
        ("left_ring=amputated:permanent",),
        consent="form 9",
        transaction="t-1",
    )
    assert second == Plan("line 4", 1, "A-2", (Piece(INDEX, "c.png", ppi=1000.0),))


@pytest.mark.parametrize(
    "row",
    [
        "not json",
        "[1]",
        "[" * 100_000,
        '{"subject": "A"}',
        '{"subject": "A", "samples": []}',
        '{"subject": "A", "samples": [{}]}',
        '{"subject": "A", "samples": [1]}',
        '{"subject": "A", "samples": [{"file": "a", "template": "b"}]}',
        '{"subject": "A", "samples": [{"file": "a"}], "file": "b"}',
        '{"subject": 7, "file": "a"}',
        '{"subject": "A", "file": ["a"]}',
        '{"subject": "A", "file": "a", "ppi": "500"}',
        '{"subject": "A", "file": "a", "ppi": true}',
        '{"subject": "A", "file": "a", "ppi": 1' + "0" * 400 + "}",
        '{"subject": "A", "file": "a", "trait": "nose"}',
        '{"subject": "A", "file": "a", "galleries": "default"}',
        '{"subject": "A", "file": "a", "galleries": [1]}',
        '{"gallery": "watch"}',
        '{"gallery": {"name": "watch", "retention_days": "1"}}',
    ],
)
def test_a_broken_line_fails_alone(tmp_path: Path, row: str) -> None:
    good = {"subject": "A-1", "file": "a.jpg"}
    first, broken, last = _plans(_lines(tmp_path, good, row, good))
    assert isinstance(broken, Fault)
    assert broken.name == "line 2"
    assert str(broken.error).startswith("record: ")
    assert _words([first, last]) == ["line 1", "line 3"]


def test_a_line_that_is_too_long_or_no_text_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_plans, "MAX_LINE_BYTES", 100)
    good = json.dumps({"subject": "A-1", "file": "a.jpg"})
    source = _lines(tmp_path, good, "x" * 1000, good)
    source.write_bytes(source.read_bytes() + b"\xff\xfe\n" + good.encode())
    assert _words(_plans(source)) == [
        "line 1",
        "record: expected at most 100 bytes",
        "line 3",
        "record: expected UTF-8 text",
        "line 5",
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rows_of_a_table_that_agree_are_one_encounter(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ["subject", "trait", "file", "ppi", "galleries"],
        ["A-1", "face", "a.jpg", "", "default|staff"],
        ["A-1", "right_index", "b.png", "500", "default|staff"],
        ["A-1", "face", "c.jpg", "", ""],
        ["A-2", "face", "d.jpg", "", ""],
        ["A-1", "", "right_index.png", "", ""],
    ]
    source = _lines(tmp_path, *(delimiter.join(row) for row in rows), name="people.csv")
    assert _plans(source) == [
        Plan("line 2", 2, "A-1", (Piece(FACE, "a.jpg"), Piece(INDEX, "b.png", ppi=500.0)), ("default", "staff")),
        Plan("line 4", 1, "A-1", (Piece(FACE, "c.jpg"),)),
        Plan("line 5", 1, "A-2", (Piece(FACE, "d.jpg"),)),
        Plan("line 6", 1, "A-1", (Piece(INDEX, "right_index.png"),)),
    ]


def test_a_broken_row_takes_its_own_encounter_with_it_and_no_other(tmp_path: Path) -> None:
    rows = [
        "\ufeffsubject,trait,file",
        "A-1,face,a.jpg",
        "A-1,nose,b.jpg",
        "A-1,face,c.jpg",
        "A-2,face,d.jpg",
        'A-3,"face,e.jpg',
        "A-4,face",
        "A-5,face,f.jpg",
    ]
    first, second, torn, short, last = _plans(_lines(tmp_path, *rows, name="people.csv"))
    assert isinstance(first, Fault)
    assert (first.subject, first.units) == ("A-1", 3)
    assert isinstance(torn, Fault)
    assert isinstance(short, Fault)
    assert (torn.name, short.name) == ("line 6", "line 7")
    assert [plan.name for plan in (second, last)] == ["line 5", "line 8"]


def test_an_encounter_of_too_many_rows_is_one_fault(tmp_path: Path) -> None:
    rows = ["subject,file", *["A-1,a.jpg"] * 300, "A-2,a.jpg"]
    many, other = _plans(_lines(tmp_path, *rows, name="people.csv"))
    assert isinstance(many, Fault)
    assert (many.units, other.name) == (300, "line 302")


@pytest.mark.parametrize("header", ["", "file,trait", "subject,subject", "subject,name", '"subject'])
def test_a_table_needs_columns_that_are_known(tmp_path: Path, header: str) -> None:
    with pytest.raises(InvalidInputError):
        _plans(_lines(tmp_path, header, name="people.csv"))


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    for name in ("gone", "gone.csv", "gone.jsonl", "people.txt"):
        with pytest.raises(InvalidInputError, match="expected a folder"):
            planned(tmp_path / name)


def test_names_that_are_no_text_are_faults_or_plans(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"A-\xff")).mkdir()
    (tmp_path / os.fsdecode(b"A-\xff") / os.fsdecode(b"\xfe.jpg")).touch()
    (plan,) = _plans(tmp_path)
    assert isinstance(plan, Plan)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(octets=st.binary(max_size=300), table=st.booleans())
def test_whatever_a_file_holds_the_result_is_plans_and_faults(tmp_path: Path, octets: bytes, table: bool) -> None:
    source = tmp_path / ("people.csv" if table else "people.jsonl")
    source.write_bytes((b"subject,file,ppi\n" if table else b"") + octets)
    assert all(isinstance(plan, Plan | Terms | Fault) for plan in _plans(source))
