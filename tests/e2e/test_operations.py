"""What the operations paper tells an operator to do, done: backup while running, restore, damage, the log's fields."""

import hashlib
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import grpc
import pytest
from grpc_health.v1 import health_pb2
from typer.testing import CliRunner

from biometrik.cli import app
from biometrik.client import Client
from biometrik.engine import Engine
from biometrik.errors import PermissionDeniedError, SnapshotsDisabledError, SubjectNotFoundError
from biometrik.gallery.records import EventKind
from biometrik.types import EnrollmentOutcome, Outcome
from biometrik_server.access import new_token
from biometrik_server.condition import INTACT
from tests.e2e.conftest import METRICS, Serve
from tests.soak.server_process import ServerProcess, StartError, random_template

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations"
PAPER = (OPERATIONS / "README.md").read_text("utf-8")
HEALTHCHECK = str(OPERATIONS / "healthcheck.py")
WAIT_S = 60.0
MOST_COPIES = 50


class Counters:
    """Four clients that enrol and search without a pause until they are told to stop; what was answered, and when."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._done = threading.Event()
        self.enrolled: list[tuple[str, float, float]] = []
        self.searched: list[tuple[str, float, float]] = []
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(WAIT_S)

    def within(self, began: float, ended: float) -> bool:
        """Say whether a client was enrolled, and another search answered, wholly within a time."""
        return all(
            any(began < first and last < ended for _, first, last in rows) for rows in (self.enrolled, self.searched)
        )

    def _work(self, number: int) -> None:
        try:
            with self._server.client() as client:
                for count in itertools.count():
                    if self._done.is_set():
                        return
                    subject_id = f"P-{number}-{count}"
                    template = random_template(subject_id, self._server.model_contract_id)
                    began = time.monotonic()
                    _enroll(client, self._server, subject_id)
                    enrolled = time.monotonic()
                    self.enrolled.append((subject_id, began, enrolled))
                    found = client.identify([template], max_fpir=None).candidates[0].subject_id
                    assert found == subject_id
                    self.searched.append((subject_id, enrolled, time.monotonic()))
        except BaseException as error:
            self.failures.append(error)


def test_a_copy_made_while_it_works_holds_everybody_acknowledged_before(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    server = serve(f"[snapshots]\nfolder = {json.dumps(str(folder))}\nkeep = 2\n")
    with server.client() as client, Counters(server) as counters:
        _until(lambda: len(counters.searched) > 20 or counters.failures)
        for _ in range(MOST_COPIES):
            before = {subject_id for subject_id, _, _ in list(counters.enrolled)}
            began = time.monotonic()
            result = CliRunner().invoke(
                app, ["backup", "snapshot", "--label", "nightly", "--operator", "op 7", *_server(server), "--json"]
            )
            ended = time.monotonic()
            assert result.exit_code == 0, result.output
            if counters.within(began, ended):  # of a small database a copy may be too quick
                break
        else:
            pytest.fail("nobody was enrolled and found while a copy was made")
        _enroll(client, server, "AFTER")
    assert counters.failures == []
    assert server.stop() == 0

    said = json.loads(result.stdout)
    copy = folder / said["file"]
    assert copy.name.endswith("Z-nightly.db")
    assert (said["octets"], said["sha256"]) == (
        copy.stat().st_size,
        hashlib.sha256(copy.read_bytes()).hexdigest(),
    )
    assert len(list(folder.glob("*.db"))) <= 2
    assert [event["name"] for event in server.events() if event["event"] == "snapshot"][-1] == copy.name

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = elsewhere / "gallery.db"
    result = CliRunner().invoke(app, ["backup", "restore", str(copy), "--db", str(again)])
    assert result.exit_code == 0, result.output
    restored = serve(database=str(again))
    with restored.client() as client:
        missing = []
        for subject_id in before:
            template = random_template(subject_id, restored.model_contract_id)
            found = client.identify([template], max_fpir=None).candidates
            if client.verify(subject_id, [template]).outcome is not Outcome.MATCH or found[0].subject_id != subject_id:
                missing.append(subject_id)
        assert missing == []
        assert len(before) > 20
        with pytest.raises(SubjectNotFoundError):
            client.subject("AFTER")
        _enroll(client, restored, "LATER")
    assert restored.stop() == 0
    with Engine.open(again) as engine:
        leaving = [event.details for event in engine.events(limit=1000) if event.kind is EventKind.EXPORTED]
    assert {"copy": copy.name, "operator_ref": "op 7"} in leaving


def test_a_server_without_a_folder_refuses_and_one_without_the_scope_is_refused(serve: Serve) -> None:
    token, digest = new_token()
    entry = f'[[clients]]\nname = "c"\nscopes = ["gallery.write", "enroll"]\ntoken_sha256 = "{digest}"\n'
    with serve().client() as client, pytest.raises(SnapshotsDisabledError, match="configuration") as caught:
        client.snapshot()
    assert caught.value.__notes__ == ["The system is not set up for this request: call the administrator."]
    other = serve(entry, database=":memory:")
    with other.client(token=token) as client, pytest.raises(PermissionDeniedError, match="scope admin"):
        client.snapshot()


def test_a_damaged_encounter_leaves_the_server_degraded_and_not_dead(serve: Serve, tmp_path: Path) -> None:
    first = serve()
    with first.client() as client:
        for subject_id in ("WHOLE", "BROKEN"):
            _enroll(client, first, subject_id)
        assert client.capabilities().quarantined_encounters == 0
    assert _healthy(first, INTACT)
    assert first.stop() == 0
    payload = random_template("BROKEN", first.model_contract_id).payload
    database = tmp_path / "office.db"
    damaged = bytearray(database.read_bytes())
    damaged[damaged.index(payload) + 100] ^= 4
    database.write_bytes(damaged)

    with pytest.raises(StartError, match="damaged in the store"):
        serve()
    server = serve(METRICS + '[engine]\non_damage = "quarantine"\n')
    with server.client() as client:
        assert (_healthy(server, ""), _healthy(server, INTACT)) == (True, False)
        assert server.metrics()["biometrik_quarantined_encounters"] == 1
        assert client.capabilities().quarantined_encounters == 1
        checked = subprocess.run(
            [sys.executable, HEALTHCHECK, server.address], capture_output=True, text=True, check=False
        )
        assert (checked.returncode, "degraded" in checked.stderr) == (0, True)
        whole = random_template("WHOLE", server.model_contract_id)
        assert client.verify("WHOLE", [whole]).outcome is Outcome.MATCH
        broken = random_template("BROKEN", server.model_contract_id)
        assert [row.subject_id for row in client.identify([broken], max_fpir=None).candidates] == ["WHOLE"]
        seen = CliRunner().invoke(app, ["doctor", *_server(server)], env={"COLUMNS": "200"})
        assert "1 encounter(s) in quarantine" in seen.output
        client.erase("BROKEN")
        assert (_healthy(server, ""), _healthy(server, INTACT)) == (True, True)
        assert server.metrics()["biometrik_quarantined_encounters"] == 0
        assert client.capabilities().quarantined_encounters == 0
    assert server.stop() == 0
    told = [event for event in server.events() if "degraded" in event["event"]]
    assert [(event["level"], event["quarantined"]) for event in told] == [("WARNING", 1)]
    assert "BROKEN" not in server.log()


def test_every_field_of_the_log_is_in_the_paper(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    server = serve(f"[snapshots]\nfolder = {json.dumps(str(tmp_path / 'copies'))}\nkeep = 1\n")
    with server.client() as client:
        _enroll(client, server, "A-1")
        client.snapshot()
        client.snapshot()
    assert server.stop() == 0
    fields = {field for event in server.events() for field in event}
    assert {"ms", "listening", "grace_s"} <= fields
    assert sorted(field for field in fields if f"`{field}`" not in PAPER) == []


def _enroll(client: Client, server: ServerProcess, subject_id: str) -> None:
    template = random_template(subject_id, server.model_contract_id)
    assert client.enroll(subject_id, [template]).outcome is EnrollmentOutcome.ENROLLED


def _server(server: ServerProcess) -> list[str]:
    return ["--server", server.address]


def _healthy(server: ServerProcess, name: str) -> bool:
    with grpc.insecure_channel(server.address) as channel:
        check: grpc.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse] = (
            channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                health_pb2.HealthCheckRequest.SerializeToString,
                health_pb2.HealthCheckResponse.FromString,
            )
        )
        answer = check(health_pb2.HealthCheckRequest(service=name), timeout=WAIT_S)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _until(true: Callable[[], object]) -> None:
    until = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)
