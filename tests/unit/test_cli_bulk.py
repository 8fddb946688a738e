"""Import and export by the command: every record's outcome, runs that go on, what is hostile, and a round trip."""

import base64
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from biometrik.cli import app
from biometrik.cli.import_plans import Plan, planned
from biometrik.cli.import_reading import Reader, ahead, read_within
from biometrik.cli.import_report import Report
from biometrik.config import EngineConfig, RuntimeParameters
from biometrik.demo.photographs import ASTRONAUT, CAT, GROUP, find, jpeg
from biometrik.engine import Engine
from biometrik.errors import InvalidInputError, StoreUnavailableError
from biometrik.fingers import FingerPosition
from biometrik.formats.record_report import RecordType, Stated
from biometrik.gallery.records import EventKind
from biometrik.imaging import encode_png
from biometrik.records import convert
from biometrik.samples import decoded, decoded_print
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.types import EncounterStatus, FaceImage, GalleryKind, RequestContext
from tests.soak.server_process import random_template

CONFIG = EngineConfig(runtime=RuntimeParameters(threads=1, warm_up=False))


def run(*words: object, folder: Path) -> tuple[int, Any]:
    """Run a command there, with its database; return its exit code and its JSON."""
    result = CliRunner().invoke(
        app, [str(word) for word in (*words, "--json")], env={"BIOMETRIK_DB": str(folder / "a.db")}
    )
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DB", "SERVER", "TOKEN", "LOCALE"):
        monkeypatch.delenv(f"BIOMETRIK_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def images() -> dict[str, bytes]:
    """Return a photograph, one of nobody, and two fingers' prints without resolution, encoded."""
    prints = [draw_impression(draw_finger(3, finger), 0).image for finger in range(2)]
    return {
        "ada": jpeg(FaceImage.from_file(find(ASTRONAUT)).pixels),
        "cat": jpeg(FaceImage.from_file(find(CAT)).pixels),
        "right": encode_png(prints[0].pixels),
        "left": encode_png(prints[1].pixels),
    }


@pytest.fixture
def people(tmp_path: Path, images: dict[str, bytes]) -> Path:
    """Return a folder: one person with face and finger, one without resolution, nobody, no image, two links outside."""
    root = tmp_path / "people"
    files = {
        "A-1/front.jpg": images["ada"],
        "A-2/right_index.png": images["right"],
        "A-3/front.jpg": images["cat"],
        "A-4/front.jpg": b"no image",
        "A-7/front.jpg": images["ada"],
        "A-7/left_index.png": images["left"],
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (tmp_path / "secret.jpg").write_bytes(images["ada"])
    (root / "A-5").mkdir()
    (root / "A-5" / "front.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "A-6").symlink_to(tmp_path)
    return root


def _report(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("*.report.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def _templates(folder: Path, count: int, name: str = "people.jsonl", **fields: object) -> Path:
    """Write records of ready templates, which need no model run."""
    with Engine.open(":memory:", CONFIG) as engine:
        contract = engine.model_contract_id
    source = folder / name
    rows = []
    for number in range(count):
        octets = random_template(f"s{number}", contract).to_bytes()
        rows.append({"subject": f"S-{number}", "template": base64.b64encode(octets).decode(), **fields})
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "ascii")
    return source


def _subjects(folder: Path) -> dict[str, int]:
    with Engine.open(folder / "a.db", CONFIG) as engine:
        return {subject.subject_id: len(subject.encounters) for subject in engine.subjects(limit=1000)}


# --- runs --------------------------------------------------------------------------------------------------------


def test_each_record_has_its_outcome_and_a_second_run_goes_on(tmp_path: Path, people: Path) -> None:
    code, first = run("import", people, "--operator", "M. Bauer", folder=tmp_path)
    assert (code, first["outcomes"]) == (3, {"ENROLLED": 1, "FAILURE_TO_ENROLL": 2, "FAILED": 4})
    said = {row["record"]: row for row in _report(tmp_path)}
    assert said["A-1"]["templates"] == 1
    assert [said[name]["reason"] for name in ("A-2", "A-5", "A-6", "A-7")] == [
        "RESOLUTION_MISSING",
        "INVALID_INPUT",
        "INVALID_INPUT",
        "RESOLUTION_MISSING",
    ]
    assert said["A-4"]["samples"] == [{"sample": 0, "trait": "face", "reasons": ["IMAGE_UNREADABLE"]}]
    code, second = run("import", people, "--ppi", 500, folder=tmp_path)
    assert (code, second["outcomes"]) == (3, {"SKIPPED": 1, "ENROLLED": 2, "FAILURE_TO_ENROLL": 2, "FAILED": 2})
    assert _subjects(tmp_path) == {"A-1": 1, "A-2": 1, "A-7": 1}
    with Engine.open(tmp_path / "a.db", CONFIG) as engine:
        assert [event.details.get("operator_ref") for event in engine.events()][1:] == ["M. Bauer", None, None]


def test_without_its_report_nobody_is_enrolled_twice(tmp_path: Path) -> None:
    source = _templates(tmp_path, 40)
    assert run("import", source, folder=tmp_path)[1]["outcomes"] == {"ENROLLED": 40}
    first = {row["record"]: row["encounter_id"] for row in _report(tmp_path)}
    assert run("import", source, "--again", folder=tmp_path)[1]["outcomes"] == {"ENROLLED": 40}
    (tmp_path / "people.jsonl.report.jsonl").unlink()
    moved = source.rename(tmp_path / "moved.jsonl")
    assert run("import", moved, folder=tmp_path)[1]["outcomes"] == {"ENROLLED": 40}
    assert {row["record"]: row["encounter_id"] for row in _report(tmp_path)} == first
    assert set(_subjects(tmp_path).values()) == {1}


def test_a_report_about_another_database_skips_nobody(tmp_path: Path) -> None:
    source = _templates(tmp_path, 3)
    assert run("import", source, folder=tmp_path)[0] == 0
    code, answer = run("import", source, "--db", tmp_path / "b.db", folder=tmp_path)
    assert (code, answer["outcomes"]) == (0, {"ENROLLED": 3})
    assert run("import", source, folder=tmp_path)[1]["outcomes"] == {"SKIPPED": 3}


def test_with_other_galleries_it_is_a_conflict_and_not_a_second_encounter(tmp_path: Path) -> None:
    source = _templates(tmp_path, 2)
    assert run("import", source, folder=tmp_path)[0] == 0
    assert run("galleries", "create", "staff", folder=tmp_path)[0] == 0
    code, _ = run("import", source, "--gallery", "staff", "--again", folder=tmp_path)
    assert code == 3
    assert {row["reason"] for row in _report(tmp_path)[2:]} == {"TRANSACTION_CONFLICT"}
    assert set(_subjects(tmp_path).values()) == {1}


def test_a_dry_run_reads_everything_and_enrols_nothing(tmp_path: Path, people: Path) -> None:
    code, answer = run("import", people, "--dry-run", "--ppi", 500, folder=tmp_path)
    assert (code, answer["outcomes"]) == (3, {"READABLE": 4, "UNREADABLE": 1, "FAILED": 2})
    assert not (tmp_path / "a.db").exists()
    code, answer = run("import", people, "--ppi", 500, folder=tmp_path)
    assert answer["outcomes"]["ENROLLED"] == 3  # what could be read is not taken for done


def test_a_table_names_files_below_its_folder(tmp_path: Path, images: dict[str, bytes]) -> None:
    folder = tmp_path / "disk"
    (folder / "img").mkdir(parents=True)
    (folder / "img" / "a.jpg").write_bytes(images["ada"])
    (folder / "img" / "b.png").write_bytes(images["right"])
    (tmp_path / "outside.jpg").write_bytes(images["ada"])
    rows = [
        "subject,trait,file,ppi,missing,consent",
        "A-1,face,img/a.jpg,,left_ring=amputated:permanent,form 9",
        "A-1,right_index,img/b.png,500,left_ring=amputated:permanent,form 9",
        "A-2,face,../outside.jpg,,,",
        f"A-3,face,{tmp_path}/outside.jpg,,,",
        "A-4,face,img/gone.jpg,,,",
        "A-5,face,img,,,",
        "A-6,face,/dev/zero,,,",
        "A-7,face,img/a.jpg,,left_toe=lost,",
        "A-8,face,img/a\0.jpg,,,",
    ]
    (folder / "people.csv").write_text("\n".join(rows), "utf-8")
    code, answer = run("import", folder / "people.csv", folder=tmp_path)
    assert (code, answer["outcomes"]) == (3, {"ENROLLED": 1, "FAILED": 7})
    assert {row["reason"] for row in _report(tmp_path) if row["outcome"] == "FAILED"} == {"INVALID_INPUT"}
    with Engine.open(tmp_path / "a.db", CONFIG) as engine:
        (encounter,) = engine.subject("A-1").encounters
        assert (encounter.templates, encounter.missing[0].permanent) == (2, True)
        assert engine.events(after=1)[0].details["consent_ref"] == "form 9"


def test_interchange_records_are_read_by_what_they_are(tmp_path: Path, images: dict[str, bytes]) -> None:
    fir = convert(images["right"], RecordType.ISO_19794_4_2011, Stated(ppi=500.0)).data
    bir = convert(fir, RecordType.CBEFF_XML).data
    root = tmp_path / "people"
    minutiae = bytes([100, 50, 0x50])
    fmr = convert(minutiae, RecordType.ISO_19794_2_2011, Stated(RecordType.ISO_19794_2_CARD_COMPACT)).data
    for name, data in {"A-1/right_index.fir": fir, "A-2/right_index.xml": bir, "A-3/right_index.fmr": fmr}.items():
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(data)
    code, answer = run("import", root, folder=tmp_path)
    assert (code, answer["outcomes"]) == (3, {"ENROLLED": 2, "FAILURE_TO_ENROLL": 1})
    with Engine.open(tmp_path / "a.db", CONFIG) as engine:
        assert [engine.subject(name).encounters[0].traits[0].name for name in ("A-1", "A-2")] == ["right_index"] * 2


def test_a_full_disk_ends_the_run_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _templates(tmp_path, 200)

    def full(*_: object, **__: object) -> None:
        raise StoreUnavailableError("store: the disk is full")

    monkeypatch.setattr(Engine, "enroll", full)
    code, answer = run("import", source, folder=tmp_path)
    assert (code, answer["error"]["reason"]) == (4, "STORE_UNAVAILABLE")
    assert len(_report(tmp_path)) == 1
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run("import", source, folder=tmp_path)[1]["outcomes"] == {"ENROLLED": 200}


# --- the report --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 1, 30, 150])
def test_a_torn_last_line_is_cut_off_and_asked_again(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "r.jsonl"
    with Report(path, "here") as report:
        report.add("line 1", "A-1", "t-1", "ENROLLED")
        report.add("line 2", "A-2", "t-2", "ENROLLED")
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[: first + min(kept, len(whole) - first - 1)])
    with Report(path, "here") as report:
        assert (report.has("t-1"), report.has("t-2")) == (True, False)
        report.add("line 2", "A-2", "t-2", "ENROLLED")
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"precious", b"precious\n", b'{"format": 1}\n', b"[1]\n", b"[" * 100_000 + b"\n"])
def test_what_is_no_report_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="expected a line of an import's report"):
        Report(path, "here")
    assert path.read_bytes() == content


def test_a_full_disk_leaves_whole_lines_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "r.jsonl", os.write

    def nearly_full(file: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data[:20])

    with Report(path, "here") as report:
        report.add("line 1", "A-1", "t-1", "ENROLLED")
        whole = path.read_bytes()
        monkeypatch.setattr(os, "write", nearly_full)
        with pytest.raises(InvalidInputError, match="No space left"):
            report.add("line 2", "A-2", "t-2", "ENROLLED")
        assert (path.read_bytes(), report.counts) == (whole, {"ENROLLED": 1})
        monkeypatch.undo()
    with pytest.raises(InvalidInputError, match="report: expected"):  # closed: another file may have its number
        report.add("line 3", "A-3", "t-3", "ENROLLED")


def test_one_run_at_a_time_writes_a_report_and_links_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with Report(path, "here"), pytest.raises(InvalidInputError, match="another import"):
        Report(path, "here")
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(InvalidInputError, match="that can be written"):
        Report(tmp_path / "link", "here")


def test_what_comes_from_outside_is_cut_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with Report(path, "here") as report:
        report.add("x" * 10_000, "\udcff" * 10_000, "t" * 10_000, "FAILED")
    with Report(path, "here"):
        pass
    assert len(path.read_bytes()) < 5_000


# --- reading -----------------------------------------------------------------------------------------------------


def test_pipes_devices_and_rings_of_links_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "ring", "folder", ".", "..", "", "x" * 5000):
        with pytest.raises(InvalidInputError, match="file: expected"):
            read_within(tmp_path, name)


def test_a_link_to_a_file_within_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_within(tmp_path, "b") == b"1"
    assert read_within(tmp_path, str(tmp_path / "a")) == b"1"


def test_reading_ahead_keeps_the_order_and_stops_when_given_up() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    found = ahead(lambda number: number * 2, items())
    assert [next(found) for _ in range(10)] == list(range(0, 20, 2))
    found.close()  # type: ignore[attr-defined]
    assert len(read) < 20


def test_the_same_record_has_the_same_transaction_wherever_it_lies(tmp_path: Path, images: dict[str, bytes]) -> None:
    found: set[str] = set()
    for root in (tmp_path / "one", tmp_path / "two"):
        (root / "A-1").mkdir(parents=True)
        (root / "A-1" / f"{root.name}.jpg").write_bytes(images["ada"])
        (plan,) = planned(root)[1]
        assert isinstance(plan, Plan)
        found.add(Reader(root, ppi=float(len(found) + 500)).record("1", plan).context.transaction_id)
    assert len(found) == 1


# --- export ------------------------------------------------------------------------------------------------------


def _office(folder: Path, images: dict[str, bytes]) -> None:
    ada = decoded(images["ada"])
    group = FaceImage.from_file(find(GROUP))
    right = decoded_print(images["right"], ppi=500, position=FingerPosition.RIGHT_INDEX)
    with Engine.open(folder / "a.db", CONFIG) as engine:
        engine.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="a law", retention_days=30)
        engine.enroll("A-1", [ada, right], galleries=["default", "watch"])
        engine.enroll("A-2", [group])
        engine.enroll("A-2", [group], galleries=[])
        for number in range(30):
            engine.enroll(f"S-{number}", [random_template(f"s{number}", engine.model_contract_id)])
        away = engine.enroll("A-3", [ada])
        engine.set_encounter_status(away.encounter_id, EncounterStatus.INACTIVE)


def test_what_is_exported_and_imported_gives_the_same_answers(tmp_path: Path, images: dict[str, bytes]) -> None:
    _office(tmp_path, images)
    out = tmp_path / "out.jsonl"
    code, answer = run("export", out, "--iso", "--operator", "M. Bauer", folder=tmp_path)
    assert (code, answer["encounters"], answer["templates"]) == (0, 33, 34)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    rows = [json.loads(line) for line in out.read_text("ascii").splitlines()]
    assert "iso19794_2" in rows[1]["samples"][1]
    words = ("import", out, "--create-galleries", "--db", tmp_path / "b.db")
    assert run(*words, folder=tmp_path)[1]["outcomes"] == {"ENROLLED": 33}
    assert run(*words, "--again", folder=tmp_path)[1]["outcomes"] == {"ENROLLED": 33}
    probes = [FaceImage.from_bytes(images["ada"]), FaceImage.from_file(find(GROUP))]
    with Engine.open(tmp_path / "a.db", CONFIG) as first, Engine.open(tmp_path / "b.db", CONFIG) as second:
        assert first.events(after=35)[-1].kind is EventKind.EXPORTED
        assert first.events(after=35)[-1].details == {"operator_ref": "M. Bauer"}
        for galleries in (None, ["watch"]):
            for probe in probes:
                ours, theirs = (engine.identify([probe], galleries=galleries) for engine in (first, second))
                assert ours.outcome is theirs.outcome
                assert ours.coverage.subjects == theirs.coverage.subjects
                assert [(row.subject_id, row.score, row.galleries) for row in ours.candidates] == [
                    (row.subject_id, row.score, row.galleries) for row in theirs.candidates
                ]
        assert second.gallery("watch").legal_basis == "a law"
        assert [len(engine.subject("A-2").encounters) for engine in (first, second)] == [2, 2]


def test_an_export_of_one_gallery_tells_of_no_other(tmp_path: Path, images: dict[str, bytes]) -> None:
    _office(tmp_path, images)
    out = tmp_path / "out.jsonl"
    assert run("export", out, "--gallery", "watch", folder=tmp_path)[1]["encounters"] == 1
    terms, encounter = (json.loads(line) for line in out.read_text("ascii").splitlines())
    assert terms["gallery"] == {"name": "watch", "kind": "WATCHLIST", "legal_basis": "a law", "retention_days": 30}
    assert (encounter["subject"], encounter["galleries"]) == ("A-1", ["watch"])
    code, answer = run("import", out, "--db", tmp_path / "b.db", folder=tmp_path)
    assert (code, answer["outcomes"]) == (3, {"FAILED": 1})  # nobody asked for the gallery
    assert _report(tmp_path)[0]["reason"] == "GALLERY_NOT_FOUND"


def test_an_export_replaces_no_file_and_leaves_no_part(tmp_path: Path) -> None:
    source = _templates(tmp_path, 1)
    assert run("import", source, folder=tmp_path)[0] == 0
    out = tmp_path / "out.jsonl"
    out.write_text("precious")
    assert run("export", out, folder=tmp_path)[0] == 4
    assert run("export", tmp_path / "other.jsonl", "--gallery", "gone", folder=tmp_path)[0] == 4
    assert out.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.glob("*.jsonl*")) == [
        "out.jsonl",
        "people.jsonl",
        "people.jsonl.report.jsonl",
    ]
    with Engine.open(tmp_path / "a.db", CONFIG) as engine:
        assert not [event for event in engine.events() if event.kind is EventKind.EXPORTED]


def test_a_service_and_an_empty_name_are_refused(tmp_path: Path) -> None:
    assert run("export", "out.jsonl", "--server", "127.0.0.1:1", folder=tmp_path)[0] == 2
    assert run("export", "out.jsonl", "--gallery", "", folder=tmp_path)[0] == 2
    with Engine.open(":memory:", CONFIG) as engine, pytest.raises(InvalidInputError, match="gallery"):
        next(engine.export_encounters(gallery="", context=RequestContext()))
