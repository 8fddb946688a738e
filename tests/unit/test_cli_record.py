"""The command's records: what is in one, the same in another format, and files that are whole or not there."""

import json
import stat
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from biometrik import records
from biometrik.cli import app
from biometrik.cli import record as commands
from biometrik.errors import UnsupportedFormatError
from biometrik.formats.record_report import RecordType
from tests.soak import formats as soak

SAMPLE = next(target.sample for target in soak.targets() if target.name == "ISO/IEC 19794-2:2011")


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["record", *map(str, words)], env={"BIOMETRIK_SERVER": "", "COLUMNS": "200"})
    return done.exit_code, done.stdout, done.stderr


def answer(*words: object) -> dict[str, Any]:
    code, out, err = run(*words, "--json")
    assert code == 0, err
    body: dict[str, Any] = json.loads(out)
    return body


@pytest.fixture
def fmr(tmp_path: Path) -> Path:
    path = tmp_path / "a.fmr"
    path.write_bytes(SAMPLE)
    return path


def test_inspect_says_what_the_library_says(fmr: Path) -> None:
    body = answer("inspect", fmr)
    assert (body["command"], body["type"], body["octets"]) == ("record inspect", "iso19794-2:2011", len(SAMPLE))
    assert body["views"][0]["position"] == "RIGHT_INDEX"
    assert body["views"][0]["captured_at"].startswith("2024-05-06T07:08")
    code, out, _ = run("inspect", fmr)
    assert code == 0
    assert "right index" in out


def test_convert_writes_what_the_library_makes_and_says_what_was_lost(fmr: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.fmr"
    body = answer("convert", fmr, out, "--to", "ansi378:2004", "--view", 1)
    made = records.convert(SAMPLE, RecordType.ANSI_378_2004, view=1)
    assert out.read_bytes() == made.data
    assert body["losses"] == list(made.losses)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    code, screen, _ = run("convert", fmr, tmp_path / "c.xml", "--to", "cbeff:xml")
    assert (code, "nothing was lost" in screen) == (0, True)


def test_a_file_that_is_there_is_replaced_only_when_that_is_asked(fmr: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.fmr"
    out.write_bytes(b"mine")
    code, _, err = run("convert", fmr, out, "--to", "iso19794-2:2005")
    assert (code, out.read_bytes()) == (4, b"mine")
    assert "--force" in err
    answer("convert", fmr, out, "--to", "iso19794-2:2005", "--force")
    assert records.inspect(out.read_bytes()).type is RecordType.ISO_19794_2_2005


def test_what_fails_leaves_nothing_behind(fmr: Path, tmp_path: Path) -> None:
    for out, target in ((tmp_path / "b.png", "png"), (tmp_path / "no" / "b.fmr", "iso19794-2:2005")):
        code, _, err = run("convert", fmr, out, "--to", target)
        assert code == 4
        assert "internal" not in err
    folder = tmp_path / "folder"
    folder.mkdir()
    assert run("convert", fmr, folder, "--to", "iso19794-2:2005", "--force")[0] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fmr", "folder"]


def test_what_has_no_header_is_named(fmr: Path, tmp_path: Path) -> None:
    card = tmp_path / "card"
    answer("convert", fmr, card, "--to", "iso19794-2:card-compact", "--view", 1)
    assert run("inspect", card)[0] == 4
    body = answer("inspect", card, "--from", "iso19794-2:card-compact", "--finger", 7)
    assert body["views"][0]["position"] == "LEFT_INDEX"


def test_the_formats_offered_are_those_that_are_written(fmr: Path) -> None:
    offered = set(get_args(commands.Written))
    refused = {target.value for target in RecordType} - offered
    assert refused == {"jpeg", "jp2", "bmp", "tiff"}
    assert set(get_args(commands.Headless)) < offered
    for value in refused:
        with pytest.raises(UnsupportedFormatError):
            records.convert(SAMPLE, RecordType(value))


def test_two_records_are_compared_without_a_decision(fmr: Path, tmp_path: Path) -> None:
    ansi = tmp_path / "b.fmr"
    answer("convert", fmr, ansi, "--to", "ansi378:2004")
    code, out, _ = run("compare", fmr, ansi, "--json")
    body = json.loads(out)
    assert (code, body["outcome"]) == (3, "INCONCLUSIVE")
    assert body["similarity"] == records.compare(SAMPLE, ansi.read_bytes()).similarity > 0.9
    code, screen, _ = run("compare", fmr, ansi)
    assert (code, "never measured" in screen) == (3, True)
