"""The command with fingers: prints beside photographs, missing fingers, pictures of a match."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from biometrik.cli import app
from biometrik.fingers import FingerprintImage
from biometrik.imaging import encode_png
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression


def run(*words: object, db: Path | None = None) -> tuple[int, str, str]:
    environment = {"COLUMNS": "200", **({"BIOMETRIK_DB": str(db)} if db else {})}
    result = CliRunner().invoke(app, [str(word) for word in words], env=environment)
    return result.exit_code, result.stdout, result.stderr


def answer(*words: object, db: Path | None = None) -> tuple[int, Any]:
    code, out, _ = run(*words, "--json", db=db)
    return code, json.loads(out)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DB", "SERVER", "TOKEN", "LOCALE"):
        monkeypatch.delenv(f"BIOMETRIK_{name}", raising=False)


@pytest.fixture(scope="module")
def prints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of synthetic prints, ``<finger>-<impression>.png``, that do not state their resolution."""
    folder = tmp_path_factory.mktemp("prints")
    for finger in range(3):
        for number in range(2):
            image: FingerprintImage = draw_impression(draw_finger(3, finger), number).image
            (folder / f"{finger}-{number}.png").write_bytes(encode_png(image.pixels))
    return folder


@pytest.fixture
def db(tmp_path: Path, prints: Path) -> Path:
    """Return a database in which A-1 is enrolled with two fingers, and one is missing."""
    path = tmp_path / "office.db"
    words = ("--finger", f"right_index={prints}/0-0.png", "--finger", f"left_index={prints}/1-0.png", "--ppi", "500")
    code, body = answer("enroll", "A-1", *words, "--missing", "left_ring=amputated:permanent", db=path)
    assert (code, body["outcome"], body["templates"]) == (0, "ENROLLED", 2)
    return path


def test_a_finger_verifies_and_finds(db: Path, prints: Path) -> None:
    probe = ("--finger", f"right_index={prints}/0-1.png", "--ppi", "500")
    code, body = answer("verify", "A-1", *probe, db=db)
    assert (code, body["outcome"]) == (0, "MATCH")
    assert [component["trait"] for component in body["components"]] == ["right_index"]
    assert body["samples"][0]["trait"] == "right_index"
    code, body = answer("identify", *probe, "--max-fpir", "0.02", db=db)
    assert (code, body["candidates"][0]["subject_id"]) == (0, "A-1")
    code, out, _ = run("verify", "A-1", *probe, "--finger", f"left_index={prints}/1-1.png", db=db)
    assert code == 0
    assert "left index" in out
    assert "synthetic" in out


def test_a_stranger_s_finger_does_not_match(db: Path, prints: Path) -> None:
    code, body = answer("verify", "A-1", "--finger", f"right_index={prints}/2-0.png", "--ppi", "500", db=db)
    assert code in (1, 3)
    assert body["outcome"] != "MATCH"


def test_a_print_needs_its_resolution(db: Path, prints: Path) -> None:
    code, _, err = run("verify", "A-1", "--finger", f"right_index={prints}/0-1.png", db=db)
    assert code == 4
    assert "with --ppi" in err


@pytest.mark.parametrize(
    "words",
    [
        ("enroll", "B-2", "--finger", "print.png"),
        ("enroll", "B-2", "--finger", "sixth=print.png"),
        ("enroll", "B-2", "--missing", "left_ring=lost"),
        ("enroll", "B-2", "--missing", "finger=worn"),
        ("compare", "a.png", "b.png", "--draw", "match.png"),
        ("compare", "a.png", "b.png", "--fingers", "--draw", "match.png", "--server", "127.0.0.1:1"),
    ],
)
def test_what_is_not_understood_is_wrong_usage(db: Path, prints: Path, words: tuple[str, ...]) -> None:
    given = ("--finger", f"right_index={prints}/0-0.png", "--ppi", "500") if "--missing" in words else ()
    assert run(*words, *given, db=None if "compare" in words else db)[0] == 2


def test_samples_are_needed(db: Path) -> None:
    code, _, err = run("verify", "A-1", db=db)
    assert code == 4
    assert "--finger right_index=print.png" in err


def test_two_prints_are_compared_and_their_match_is_drawn(tmp_path: Path, prints: Path) -> None:
    picture = tmp_path / "match.png"
    words = ("compare", prints / "0-0.png", prints / "0-1.png", "--fingers", "--ppi", "500")
    code, body = answer(*words, "--draw", picture)
    assert (code, body["outcome"]) == (0, "MATCH")
    assert picture.read_bytes()[1:4] == b"PNG"
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600
    code, _, err = run(*words, "--draw", tmp_path / "nowhere" / "match.png")
    assert code == 4
    assert "make it" in err


def test_prints_are_graded(prints: Path) -> None:
    code, body = answer("quality", "--finger", f"finger={prints}/0-0.png", "--ppi", "500")
    assert code in (0, 3)
    (sample,) = body["samples"]
    assert sample["trait"] == "finger"
    assert sample["quality"]["algorithm"].startswith("biometrik-finger-quality")
