"""What the README shows can be done: commands and options exist, requests fit the contract, the Python lines run."""

import base64
import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from typer.testing import CliRunner

import biometrik
from biometrik.cli import app
from biometrik.client import Client, Connection
from biometrik.demo.photographs import jpeg
from biometrik.engine import Engine
from biometrik.fingers import FingerprintImage
from biometrik.imaging import encode_png
from biometrik.types import FaceImage
from biometrik.v1 import sample_pb2, verification_service_pb2
from biometrik_server.app import SERVICE_NAMES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = {kind: re.findall(rf"(?ms)^```{kind}\n(.*?)^```$", README) for kind in ("sh", "python")}
SHELL = "\n".join(BLOCKS["sh"])
#: Each in a line of a shell block, or between back quotes.
COMMANDS = sorted(
    set(re.findall(r"(?m)^(biometrik [^#\n>]+)", SHELL)) | set(re.findall(r"`(biometrik [a-z][^`…]*)", README))
)


def _help(words: list[str]) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_option_exists(line: str) -> None:
    _, *words = shlex.split(line)
    groups = ("subjects", "galleries", "models", "devices", "station")
    if words[0] == "station" and (len(words) == 1 or words[1].startswith("-")):
        words.insert(1, "serve")  # what a station does when nothing else is said
    command = words[: 2 if words[0] in groups and len(words) > 1 else 1]
    if words[0] == "station":  # without a further word, it is station serve
        command = ["station", next((word for word in words[1:2] if not word.startswith("-")), "serve")]
    text = _help(command)
    for option in (word for word in words if word.startswith("--")):
        assert option in text, option


def test_the_table_names_every_command() -> None:
    listed = {line.split()[1] for line in COMMANDS}
    assert {match.split()[0] for match in re.findall(r"(?m)^│ ([a-z]+) ", _help([]))} == listed


def test_the_request_fits_the_contract() -> None:
    (heredoc,) = re.findall(r"(?ms)<<EOF\n(.*?)^EOF$", SHELL)
    photograph = base64.b64encode(b"\xff\xd8 photograph").decode()
    text, substituted = re.subn(r"\$\(base64 -w 0 counter\.jpg\)", photograph, heredoc)
    assert substituted == 1
    request = json_format.Parse(text, verification_service_pb2.VerifyRequest())
    assert request.context.locale == "id"
    assert request.WhichOneof("reference") == "subject_id"
    assert request.samples[0].sample.modality == sample_pb2.MODALITY_FACE
    assert request.samples[0].sample.data == b"\xff\xd8 photograph"
    assert request.threshold.fmr == 1e-3


def test_the_calls_exist() -> None:
    named = re.findall(r"[a-z0-9.]+\.v1\.[A-Za-z]+/[A-Za-z]+", SHELL)
    assert named == ["grpc.health.v1.Health/Check", "biometrik.v1.VerificationService/Verify"]
    service, method = named[1].split("/")
    assert service in SERVICE_NAMES
    descriptor = verification_service_pb2.DESCRIPTOR.services_by_name["VerificationService"]
    assert method in descriptor.methods_by_name


def test_the_python_lines_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "counter.jpg"):
        (tmp_path / name).write_bytes(jpeg(np.full((64, 64, 3), 128, dtype=np.uint8)))
    (tmp_path / "index.png").write_bytes(encode_png(np.full((64, 64), 128, dtype=np.uint8)))
    asked: list[tuple[str, dict[str, Any]]] = []

    def recorded(kind: type, method: str) -> None:
        signature = inspect.signature(getattr(kind, method))

        def call(*args: Any, **kwargs: Any) -> Any:
            asked.append((f"{kind.__name__}.{method}", signature.bind(*args, **kwargs).arguments))
            return biometrik.__dict__  # has neither outcome nor score: the lines that print are left out below

        monkeypatch.setattr(kind, method, call)

    recorded(Engine, "enroll")
    recorded(Engine, "verify")
    recorded(Client, "verify")
    for block in BLOCKS["python"]:
        exec(re.sub(r"(?m)^print\(.*$", "", block), {})
    assert [name for name, _ in asked] == [
        "Engine.enroll",
        "Engine.verify",
        "Engine.enroll",
        "Engine.verify",
        "Client.verify",
    ]
    for name, arguments in asked:
        assert arguments["subject_id"] == "A-0192"
        assert all(isinstance(sample, FaceImage | FingerprintImage) for sample in arguments["samples"]), name
        assert name == "Engine.enroll" or arguments["max_fmr"] == 1e-3


def test_the_connection_s_words_are_its_own(tmp_path: Path) -> None:
    (shown,) = re.findall(r"`Connection\(\"[^\"]+\", ([^`]*)\)`", README)
    words = re.findall(r"(\w+)=", shown)
    assert words == ["token", "root_certificate"]
    assert set(words) <= set(inspect.signature(Connection).parameters)


def test_what_it_links_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
