"""The contract: its generated code is what the generators make of it today, and its style is buf's."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
PROTOS: Final = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "proto").glob("biometrik/v1/*.proto"))


@pytest.fixture(scope="module")
def tools() -> dict[str, str]:
    """Return an environment that finds the generators beside the interpreter."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}


def run(tools: dict[str, str], *command: str) -> str:
    """Run a program in the repository; returns what it said, fails if it failed."""
    done = subprocess.run(command, cwd=ROOT, env=tools, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_committed_code_is_what_is_generated_now(tools: dict[str, str], tmp_path: Path) -> None:
    # The commands of scripts/gen-proto.
    protoc = (sys.executable, "-m", "grpc_tools.protoc", "--proto_path=proto")
    services = [name for name in PROTOS if name.endswith("_service.proto")]
    run(tools, *protoc, f"--python_out={tmp_path}", f"--mypy_out=quiet:{tmp_path}", *PROTOS)
    run(tools, *protoc, f"--grpc_python_out={tmp_path}", f"--mypy_grpc_out=quiet:{tmp_path}", *services)
    made = {path.name: path.read_text("utf-8") for path in (tmp_path / "biometrik" / "v1").iterdir()}
    there = {
        path.name: path.read_text("utf-8")
        for path in (ROOT / "src" / "biometrik" / "v1").iterdir()
        if "_pb2" in path.name and path.suffix in (".py", ".pyi")
    }
    assert set(made) == set(there)
    assert [name for name in made if made[name] != there[name]] == [], "run scripts/gen-proto"


def test_the_contract_is_in_buf_s_style(tools: dict[str, str]) -> None:
    assert run(tools, "buf", "lint") == ""


def test_the_contract_breaks_nothing_that_is_committed(tools: dict[str, str], tmp_path: Path) -> None:
    # A contract without one field is told from this one: the check that scripts/check makes against the last tag works.
    former = tmp_path / "former"
    for name in PROTOS:
        text = (ROOT / name).read_text("utf-8")
        (former / name).parent.mkdir(parents=True, exist_ok=True)
        (former / name).write_text(text.replace("uint32 rank = 1;", "uint32 rank = 1;\n  uint32 gone = 99;"), "utf-8")
    (former / "buf.yaml").write_text((ROOT / "buf.yaml").read_text("utf-8"), "utf-8")
    found = subprocess.run(
        ["buf", "breaking", "--against", str(former)],
        cwd=ROOT,
        env=tools,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode != 0
    assert "gone" in found.stdout
    assert run(tools, "buf", "breaking", "--against", str(ROOT / "proto")) == ""
