"""The command against a service that the command started: the same answers as in process, and what only a service says.

The service is started once, with two clients: one that may do everything, one that may only verify.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from biometrik.calibration import load_calibrations
from biometrik.cli import app
from biometrik.cli.root import ERROR, INCONCLUSIVE, NO_MATCH, OK
from biometrik.client import AsyncClient, Client, Connection
from biometrik.client.served import calibration_of
from biometrik.demo.photographs import ASTRONAUT, PORTRAIT, find, jpeg, photographed_again
from biometrik.errors import CalibrationNotFoundError
from biometrik.types import FaceImage
from tests.e2e.identities import Identity
from tests.soak import formats

START_S, STOP_S = 60.0, 30.0
EVERYTHING = ("enroll", "verify", "identify", "gallery.read", "gallery.write", "privacy", "admin")


@dataclass(frozen=True)
class Running:
    """A service, and the files that its clients need."""

    address: str
    process: subprocess.Popen[bytes]
    folder: Path

    def __call__(self, *words: object, token: str = "desk", as_json: bool = True) -> tuple[int, Any]:
        """Run a command that asks the service; return its exit code and its JSON, or what it printed."""
        options = ("--server", self.address, "--token-file", str(self.folder / token))
        return command(*words, *options, as_json=as_json)


def command(*words: object, as_json: bool = True, env: dict[str, str] | None = None) -> tuple[int, Any]:
    more = ("--json",) if as_json else ()
    plain = dict.fromkeys(("BIOMETRIK_DB", "BIOMETRIK_SERVER", "BIOMETRIK_TOKEN", "BIOMETRIK_LOCALE"))
    environment = {"COLUMNS": "200", **plain, **(env or {})}
    result = CliRunner().invoke(app, [str(word) for word in (*words, *more)], env=environment)
    return result.exit_code, json.loads(result.stdout) if as_json else result.stdout + result.stderr


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("office")
    settings = f'database = "{folder / "office.db"}"\nlisten = "127.0.0.1:0"\n[engine]\nthreads = 1\n'
    for name, scopes in (("desk", EVERYTHING), ("gate", ("verify",))):
        _, made = command("token", name, *(word for scope in scopes for word in ("--scope", scope)))
        (folder / name).write_text(made["token"] + "\n", "ascii")
        settings += made["entry"]
    (folder / "server.toml").write_text(settings, "utf-8")
    with _serving("--config", str(folder / "server.toml"), log=folder / "log") as (address, process):
        yield Running(address, process, folder)


@contextmanager
def _serving(*options: str, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    serve = [sys.executable, "-m", "biometrik.cli", "serve", *options]
    with log.open("wb") as lines:
        process = subprocess.Popen(serve, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=lines)
    try:
        yield _listening(log, process), process
    finally:
        process.kill()
        process.wait(STOP_S)


def _listening(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        for line in log.read_text("utf-8").splitlines(keepends=True):
            if line.endswith("\n") and (row := json.loads(line))["event"] == "ready":
                return str(row["listening"])
        time.sleep(0.02)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of photographs: two people, a re-photographed copy of one, a broken file."""
    folder = tmp_path_factory.mktemp("album")
    ada = FaceImage.from_file(find(ASTRONAUT))
    (folder / "ada.jpg").write_bytes(jpeg(ada.pixels))
    (folder / "ada-again.jpg").write_bytes(jpeg(photographed_again(ada, seed=1).pixels))
    (folder / "bob.jpg").write_bytes(jpeg(FaceImage.from_file(find(PORTRAIT)).pixels))
    (folder / "broken.jpg").write_bytes((folder / "ada.jpg").read_bytes()[:4000])
    return folder


@pytest.fixture(scope="module")
def enrolled(office: Running, album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enrol A-1 with the service and in a database of this process, which is returned."""
    database = tmp_path_factory.mktemp("own") / "own.db"
    words = ("enroll", "A-1", album / "ada.jpg", album / "broken.jpg", "--transaction", "t-1")
    code, there = office(*words)
    own_code, here = command(*words, "--db", database)
    assert code == own_code == OK
    assert there.keys() == here.keys()
    assert [sample["usable"] for sample in there["samples"]] == [True, False]
    assert there["samples"] == here["samples"]
    assert office(*words)[1]["encounter_id"] == there["encounter_id"]
    return database


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("verify", "A-1", "ada-again.jpg"), OK),
        (("verify", "A-1", "bob.jpg", "broken.jpg"), NO_MATCH),
        (("verify", "A-1", "broken.jpg"), INCONCLUSIVE),
        (("identify", "ada-again.jpg", "--max-candidates", "3"), OK),
        (("identify", "bob.jpg", "--no-decision"), INCONCLUSIVE),
        (("compare", "ada-again.jpg", "ada.jpg"), OK),
        (("quality", "ada.jpg", "bob.jpg", "broken.jpg"), INCONCLUSIVE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_service_s_answer_is_the_engine_s(
    office: Running, enrolled: Path, album: Path, words: tuple[str, ...], expected: int
) -> None:
    words = tuple(str(album / word) if word.endswith(".jpg") else word for word in words)
    own = () if words[0] in ("compare", "quality") else ("--db", str(enrolled))
    (code, there), (own_code, here) = office(*words), command(*words, *own)
    assert code == own_code == expected
    # Scores and measurements come from other batches of the networks: equal but for rounding.
    assert _rounded(there) == _rounded(here)


def _rounded(value: Any) -> Any:
    match value:
        case dict():
            return {name: _rounded(v) for name, v in value.items() if name not in ("encounter_id", "gallery_version")}
        case list():
            return [_rounded(v) for v in value]
        case float():
            return pytest.approx(value, rel=1e-3, abs=1e-3)
    return value


def test_a_record_is_inspected_and_converted_by_the_service(office: Running, tmp_path: Path) -> None:
    for target in formats.targets()[:4]:
        (record := tmp_path / "record").write_bytes(target.sample)
        for words in (("inspect", record), ("convert", record, tmp_path / "new", "--to", "iso19794-2:2011", "--force")):
            assert office("record", *words) == command("record", *words)


def test_one_of_a_few_and_one_encounter(office: Running, enrolled: Path, album: Path) -> None:
    assert office("enroll", "A-2", album / "bob.jpg", "--gallery", "default")[0] == OK
    code, answer = office("verify", "A-2", album / "ada-again.jpg", "--or", "A-1", token="gate")
    assert (code, answer["subject_id"], answer["comparisons"]) == (OK, "A-1", 2)
    _, shown = office("subjects", "show", "A-2")
    (encounter,) = shown["encounters"]
    code, answer = office("verify", "A-2", album / "ada.jpg", "--encounter", encounter["encounter_id"])
    assert (code, answer["encounter_id"]) == (NO_MATCH, encounter["encounter_id"])
    assert office("subjects", "erase", "A-2", "--yes")[1]["certificate"]["subject_id"] == "A-2"


def test_an_import_into_the_service_is_the_same_and_goes_on(office: Running, album: Path, tmp_path: Path) -> None:
    people = tmp_path / "people"
    for number, name in enumerate(("ada.jpg", "bob.jpg", "broken.jpg")):
        (people / f"I-{number}").mkdir(parents=True)
        (people / f"I-{number}" / "front.jpg").write_bytes((album / name).read_bytes())
    words, outcomes = ("import", people, "--report"), {"ENROLLED": 2, "FAILURE_TO_ENROLL": 1}
    code, there = office(*words, tmp_path / "there.jsonl")
    own_code, here = command(*words, tmp_path / "here.jsonl", "--db", tmp_path / "own.db")
    assert (code, there["outcomes"], there["into"]) == (INCONCLUSIVE, outcomes, office.address)
    assert (own_code, here["outcomes"]) == (INCONCLUSIVE, outcomes)
    assert office(*words, tmp_path / "there.jsonl")[1]["outcomes"] == {"SKIPPED": 2, "FAILURE_TO_ENROLL": 1}
    code, answer = office(*words, tmp_path / "gate.jsonl", token="gate")
    assert (code, answer["error"]["reason"]) == (ERROR, "PERMISSION_DENIED")
    for number in range(2):
        assert len(office("subjects", "show", f"I-{number}")[1]["encounters"]) == 1
        assert office("subjects", "erase", f"I-{number}", "--yes")[0] == OK


def test_the_register_is_the_service_s(office: Running, enrolled: Path) -> None:
    assert [row["subject_id"] for row in office("subjects", "--limit", "1")[1]["subjects"]] == ["A-1"]
    _, made = office("galleries", "create", "watch", "--kind", "watchlist", "--legal-basis", "Act 1")
    assert (made["name"], made["legal_basis"]) == ("watch", "Act 1")
    assert {row["name"] for row in office("galleries")[1]["galleries"]} == {"default", "watch"}
    assert office("galleries", "delete", "watch")[0] == OK
    assert [row["name"] for row in office("galleries")[1]["galleries"]] == ["default"]


def test_the_environment_names_service_and_token(office: Running, enrolled: Path) -> None:
    env = {"BIOMETRIK_SERVER": office.address, "BIOMETRIK_TOKEN": (office.folder / "desk").read_text("ascii")}
    assert [row["subject_id"] for row in command("subjects", env=env)[1]["subjects"]] == ["A-1"]


def test_an_error_of_the_service_says_what_to_do_in_the_operator_s_language(
    office: Running, enrolled: Path, album: Path
) -> None:
    code, answer = office("verify", "A-9", album / "ada.jpg", "--locale", "id")
    assert (code, answer["error"]["reason"]) == (ERROR, "SUBJECT_NOT_FOUND")
    assert "daftarkan orangnya" in answer["error"]["remedy"]
    _, screen = office("verify", "A-9", album / "ada.jpg", as_json=False)
    assert "→ Nobody is enrolled under this number: check it, or enrol the person." in screen
    code, answer = office("verify", "A-1", album / "ada.jpg", "--max-fmr", "1e-9")
    assert 1e-9 < answer["error"]["tightest"] < 1e-3


def test_a_client_may_do_what_its_scopes_say(office: Running, enrolled: Path, album: Path) -> None:
    assert office("verify", "A-1", album / "ada.jpg", token="gate")[0] == OK
    for words in (("subjects", "erase", "A-1", "--yes"), ("models",), ("subjects",)):
        code, answer = office(*words, token="gate")
        assert (code, answer["error"]["reason"]) == (ERROR, "PERMISSION_DENIED")


def test_models_lists_the_service_s_weights(office: Running) -> None:
    rows = {row["id"]: row for row in office("models")[1]["models"]}
    assert set(rows["sface-2021dec"]) == {"id", "role", "licence", "sha256"}
    assert rows["sface-2021dec"]["licence"] == "Apache-2.0"
    assert "Apache-2.0" in office("models", as_json=False)[1]


def test_both_clients_say_what_the_service_rests_on(office: Running) -> None:
    connection = Connection(office.address, token=(office.folder / "desk").read_text("ascii").strip())

    async def awaited() -> tuple[object, object]:
        async with AsyncClient(connection) as client:
            return await client.calibration(), await client.models()

    with Client(connection) as client:
        asked = client.calibration, client.models()
        contract = client.capabilities().model_contract_id
        table = load_calibrations(())[contract].real
        without = replace(client.capabilities(), calibrations=())
    assert asyncio.run(awaited()) == asked
    for name in ("id", "dataset", "subjects", "mated", "non_mated", "date", "tightest_fmr", "tightest_raw_score"):
        assert getattr(asked[0], name) == getattr(table, name)
    with pytest.raises(CalibrationNotFoundError, match="scripts/calibrate"):
        calibration_of(without)


def test_the_doctor_says_what_the_service_runs(office: Running) -> None:
    code, answer = office("doctor")
    found = {check["name"]: check for check in answer["checks"]}
    assert (code, answer["ok"]) == (OK, True)
    assert set(found) == {"python", "service", "database", "models", "calibration"}
    assert office.address in found["service"]["finding"]
    assert "yunet+sface" in found["models"]["finding"]
    assert "strict (FMR 1 in 10,000" in found["models"]["finding"]
    assert "comparisons of strangers" in found["calibration"]["finding"]


def test_the_doctor_tells_a_stranger_from_a_dead_line(office: Running) -> None:
    code, answer = command("doctor", "--server", office.address)
    check = answer["checks"][-1]
    assert (code, check["status"]) == (ERROR, "fail")
    assert check["finding"].startswith("UNAUTHENTICATED")
    assert "--token-file" in check["remedy"]
    code, answer = command("doctor", "--server", "127.0.0.1:1", "--timeout", "0.3")
    check = answer["checks"][-1]
    assert (code, check["status"]) == (ERROR, "fail")
    assert "biometrik serve" in check["remedy"]


def test_a_service_that_is_not_there_is_an_error_of_its_own(album: Path) -> None:
    code, answer = command("verify", "A-1", album / "ada.jpg", "--server", "127.0.0.1:1", "--timeout", "5")
    assert (code, answer["error"]["reason"]) == (ERROR, "SERVICE_UNAVAILABLE")


def test_a_second_service_on_the_same_database_does_not_start(office: Running) -> None:
    serve = [sys.executable, "-m", "biometrik.cli", "serve", "--config", str(office.folder / "server.toml")]
    done = subprocess.run(serve, capture_output=True, text=True, timeout=START_S, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == ERROR
    assert done.stdout == ""
    assert "DATABASE_LOCKED" in done.stderr
    assert f"process {office.process.pid}" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_told_to_stop_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    options = ("--database", ":memory:", "--listen", f"unix:{tmp_path / 's'}")
    with _serving(*options, log=tmp_path / "log") as (address, process):
        assert command("galleries", "--server", address)[1]["galleries"][0]["name"] == "default"
        process.send_signal(number)
        assert process.wait(STOP_S) == OK
    text = (tmp_path / "log").read_text("utf-8")
    assert "no authentication" in text
    assert "plaintext" in text


def test_mutual_tls_by_the_command_s_options(tmp_path: Path) -> None:
    authority = Identity.authority("ca", tmp_path)
    server, counter = authority.issue("server"), authority.issue("counter-3")
    (tmp_path / "server.toml").write_text(
        'database = ":memory:"\nlisten = "127.0.0.1:0"\n'
        f'[tls]\ncertificate = "{server.pem}"\nkey = "{server.key_pem}"\nclient_ca = "{authority.pem}"\n'
        '[[clients]]\nname = "counter-3"\nscopes = ["gallery.read"]\ncertificate_name = "counter-3"\n',
        "utf-8",
    )
    with _serving("--config", str(tmp_path / "server.toml"), log=tmp_path / "log") as (address, _):
        ours = ("--ca", authority.pem, "--cert", counter.pem, "--key", counter.key_pem)
        code, answer = command("galleries", "--server", address, *ours)
        assert (code, answer["galleries"][0]["name"]) == (OK, "default")
        code, answer = command("doctor", "--server", address, "--ca", authority.pem, "--timeout", "2")
        assert code == ERROR
        assert "--ca" in answer["checks"][-1]["remedy"]
