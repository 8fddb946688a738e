"""The contract and what follows from it: generated code is what proto/ gives, and releases stay understood."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    names = {f"GIT_{who}_{what}": f"{who}@example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        **names,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "BIOMETRIK_VENV": sys.prefix,
        "BUF_CACHE_DIR": str(folder / ".buf"),
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the contract and its scripts, in which nothing needs to be set up."""
    (tmp_path / "scripts").mkdir()
    for name in ("_env", "gen-proto", "breaking"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    (tmp_path / "scripts" / "setup").write_text("#!/bin/sh\n", "utf-8")
    (tmp_path / "scripts" / "setup").chmod(0o755)
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    return tmp_path


def _git(copy: Path, *arguments: str) -> None:
    done = _run(copy, "git", *arguments)
    assert done.returncode == 0, done.stderr


def _released(copy: Path, *paths: str) -> None:
    _git(copy, "init", "--quiet")
    _git(copy, "add", *paths)
    _git(copy, "commit", "--quiet", "--message", "a release")
    _git(copy, "tag", "v1.0.0")


def _change(copy: Path, name: str, before: str, after: str) -> None:
    path = copy / "proto" / "biometrik" / "v1" / name
    text = path.read_text("utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), "utf-8")


def test_generated_code_is_what_the_contract_gives(copy: Path) -> None:
    done = _run(copy, "scripts/gen-proto", "made")
    assert done.returncode == 0, done.stderr
    made = {path.name: path.read_bytes() for path in (copy / "made" / "biometrik" / "v1").iterdir()}
    kept = {path.name: path.read_bytes() for path in (ROOT / "src" / "biometrik" / "v1").glob("*_pb2*")}
    assert len(kept) == 2 * len(list((ROOT / "proto" / "biometrik" / "v1").glob("*.proto"))) + 16
    assert sorted(made) == sorted(kept)
    assert [name for name in kept if made[name] != kept[name]] == []


def test_before_the_first_release_there_is_nothing_to_break(copy: Path) -> None:
    _git(copy, "init", "--quiet")
    done = _run(copy, "scripts/breaking")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "no release yet" in done.stdout


def test_a_release_without_a_contract_is_said_and_passed_over(copy: Path) -> None:
    _released(copy, "buf.yaml")
    done = _run(copy, "scripts/breaking")
    assert (done.returncode, done.stdout) == (0, "breaking: v1.0.0 has no proto/, nothing to compare with\n")


def test_what_an_older_client_understands_passes(copy: Path) -> None:
    _released(copy, ".")
    unchanged = _run(copy, "scripts/breaking")
    assert (unchanged.returncode, unchanged.stdout) == (0, "")
    _change(
        copy, "context.proto", "  string locale = 6;", "  string locale = 6;\n  // A new one.\n  string case_ref = 7;"
    )
    assert _run(copy, "scripts/breaking").returncode == 0


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("context.proto", "string locale = 6;", "string locale = 7;"),
        ("context.proto", "string locale = 6;", "bytes locale = 6;"),
        ("context.proto", "  string locale = 6;\n", ""),
        ("sample.proto", "REASON_NO_FACE = 1;", "REASON_FACELESS = 1;"),
        ("subject_service.proto", "rpc GetSubject(", "rpc ReadSubject("),
    ],
)
def test_what_an_older_client_would_not_understand_fails_and_is_named(
    copy: Path, name: str, before: str, after: str
) -> None:
    _released(copy, ".")
    _change(copy, name, before, after)
    done = _run(copy, "scripts/breaking")
    assert done.returncode != 0
    assert f"proto/biometrik/v1/{name}" in done.stdout + done.stderr
