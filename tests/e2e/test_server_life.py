"""A server's life: it starts or says why not, finishes what it began, and writes nobody's data into its log."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from biometrik.client import Client
from biometrik.errors import BiometrikError, ServiceUnavailableError
from biometrik.reasons import Reason
from biometrik.types import EnrollmentOutcome, FaceImage, Outcome, RequestContext
from tests.e2e.conftest import METRICS, Serve
from tests.soak.server_process import ServerProcess, StartError, random_template


def test_it_enrols_and_verifies_and_ends_cleanly(serve: Serve, portrait: FaceImage) -> None:
    server = serve()
    with server.client() as client:
        assert client.enroll("A-1", [portrait]).outcome is EnrollmentOutcome.ENROLLED
        assert client.verify("A-1", [portrait]).outcome is Outcome.MATCH
    assert server.stop() == 0
    assert server.events()[-1]["event"] == "stopped"


def test_what_was_enrolled_is_there_after_a_restart(serve: Serve) -> None:
    first = serve()
    template = random_template("B", first.model_contract_id)
    with first.client() as client:
        encounter = client.enroll("B-1", [template]).encounter_id
    assert first.stop() == 0
    with serve().client() as client:
        assert client.verify("B-1", [template]).encounter_id == encounter


def test_a_call_that_began_before_sigterm_gets_its_answer(serve: Serve, slow_samples: list[FaceImage]) -> None:
    server = serve(METRICS)
    with server.client() as client:
        call = _Asking(client, slow_samples)
        _wait_for_work(server)
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        assert call.answer() == [Reason.NO_FACE] * len(slow_samples)
    stopping, *calls, stopped = server.events()[-3:]
    assert (stopping["event"], stopping["in_flight"], stopped["event"]) == ("stopping", 1, "stopped")
    assert [event["code"] for event in calls] == ["OK"]


def test_new_calls_are_refused_while_it_stops(serve: Serve, slow_samples: list[FaceImage]) -> None:
    server = serve(METRICS)
    with server.client() as client, server.client() as late:
        call = _Asking(client, slow_samples)
        _wait_for_work(server)
        server.send(signal.SIGTERM)
        _wait_for_event(server, "stopping")
        with pytest.raises(ServiceUnavailableError):
            late.capabilities()
        assert call.answer() == [Reason.NO_FACE] * len(slow_samples)


def test_a_second_sigterm_ends_it_at_once(serve: Serve, slow_samples: list[FaceImage]) -> None:
    server = serve(METRICS)
    with server.client() as client:
        calls = [_Asking(client, slow_samples) for _ in range(4)]  # seconds of work
        _wait_for_work(server)
        server.send(signal.SIGTERM)
        _wait_for_event(server, "stopping")
        server.send(signal.SIGTERM)
        assert server.wait(timeout_s=2) == 130
        assert all(isinstance(call.answer(), ServiceUnavailableError) for call in calls)


def test_calls_that_take_longer_than_the_grace_are_ended(serve: Serve, slow_samples: list[FaceImage]) -> None:
    server = serve(METRICS + "grace_s = 0.0\n")
    with server.client() as client:
        calls = [_Asking(client, slow_samples) for _ in range(4)]
        _wait_for_work(server)
        assert server.stop() == 0
        assert any(isinstance(call.answer(), BiometrikError) for call in calls)


@pytest.mark.parametrize("rpc", ["/grpc.health.v1.Health/Watch", "/biometrik.v1.IdentificationService/IdentifyMany"])
def test_who_only_waits_does_not_hold_the_stop(serve: Serve, rpc: str) -> None:
    server, done = serve(), threading.Event()

    def requests() -> Iterator[bytes]:
        if rpc.endswith("Watch"):
            yield b""  # the health of the whole server
        done.wait(60)

    with grpc.insecure_channel(server.address) as channel, server.client() as client:
        try:
            open_stream: Any = channel.stream_stream(rpc)
            stream = open_stream(requests())
            if rpc.endswith("Watch"):
                assert next(stream) == b"\x08\x01"  # SERVING
            assert client.galleries()  # and so the stream has been opened as well
            server.send(signal.SIGTERM)
            assert server.wait(timeout_s=15) == 0  # half of the grace that work is given
        finally:
            done.set()


@pytest.mark.parametrize("kind", ["port", "metrics"])
def test_an_address_in_use_is_said(kind: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        where = {"listen": address} if kind == "port" else {}
        said = _refusal(tmp_path, f"metrics = {json.dumps(address)}\n" if kind == "metrics" else "", **where)
    assert said.status == 1
    assert address in said.said
    assert "Traceback" not in said.said


def test_two_servers_do_not_share_a_database(serve: Serve, tmp_path: Path) -> None:
    first = serve()
    said = _refusal(tmp_path)
    assert said.status == 1
    assert str(first.pid) in said.said
    with first.client() as client:
        assert client.galleries()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("prot = 1\n", "prot"),
        ("[limits]\nmax_concurrent_requests = 0\n", "limits.max_concurrent_requests"),
        ("[engine]\nthreads = -1\n", "threads"),
        ("grace_s = nan\n", "grace_s"),
        ("[[clients]]\nname = 'x'\nscopes = ['everything']\ntoken_sha256 = ''\n", "clients.0.scopes"),
        ("= nothing", "expected a TOML file"),
    ],
)
def test_settings_that_are_wrong_are_named_before_anything_starts(settings: str, words: str, tmp_path: Path) -> None:
    said = _refusal(tmp_path, settings)
    assert said.status == 2
    assert words in said.said
    assert "Traceback" not in said.said
    assert not (tmp_path / "office.db").exists()


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "biometrik_server", "--config", str(tmp_path / "none.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "none.toml" in done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("[engine]\nprovider = 'cuda'\ndevice_id = 63\n", "cuda"),
        ("[engine]\nprovider = 'abacus'\n", "abacus"),
        ("[tls]\ncertificate = 'none.pem'\nkey = 'none.pem'\n", "none.pem"),
        ("[engine]\ndetector = 'nobody'\n", "nobody"),
        ("[engine]\npack = '/nowhere'\nembedder = 'arcface'\n", "nowhere"),
    ],
)
def test_what_is_not_on_this_machine_is_a_clear_error(settings: str, words: str, tmp_path: Path) -> None:
    said = _refusal(tmp_path, settings)
    assert said.status == 1
    assert words in said.said
    assert "Traceback" not in said.said


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_text("-----BEGIN NONSENSE-----\n")
    settings = f"[tls]\ncertificate = '{tmp_path / 'server.pem'}'\nkey = '{tmp_path / 'server.key'}'\n"
    said = _refusal(tmp_path, settings)
    assert said.status == 1
    assert said.said.startswith("biometrik serve: tls: ")
    assert "server.pem" in said.said
    assert "Traceback" not in said.said


def test_the_log_is_json_and_names_nobody(serve: Serve, portrait: FaceImage) -> None:
    server = serve('log_level = "DEBUG"\n')
    template = random_template("Q", server.model_contract_id)
    context = RequestContext(
        transaction_id="transaction-Q7", operator_ref="operator-Q7", station_ref="station-Q7", consent_ref="consent-Q7"
    )
    with server.client() as client:
        client.enroll("subject-Q7", [portrait, template], galleries=["default"], context=context)
        encounter = client.subject("subject-Q7").encounters[0].encounter_id
        client.verify("subject-Q7", [portrait])
        client.verify_encounter(encounter, [template])
        client.identify([template], excluding="subject-Q8")
        for wrong in (
            lambda: client.verify("nobody-Q7", [template]),
            lambda: client.create_gallery("gallery-Q7\0"),
            lambda: client.enroll("subject-Q9", [template], context=context),
            lambda: client.encounter("encounter-Q7"),
        ):
            with pytest.raises(BiometrikError):
                wrong()
        client.erase("subject-Q7", context=RequestContext(transaction_id="erasure-Q7"))
    assert server.stop() == 0
    log = server.log()
    events = server.events()
    assert sum(event["event"] == "call" for event in events) >= 10
    assert {event["code"] for event in events if event["event"] == "call"} >= {"OK", "NOT_FOUND", "INVALID_ARGUMENT"}
    assert "Q7" not in log
    assert encounter not in log
    for stored in (template.payload[:12], portrait.pixels.tobytes()[:12]):
        assert stored not in log.encode()
        assert stored.hex() not in log


class _Asking:
    """A call about samples, in a thread of its own."""

    def __init__(self, client: Client, samples: list[FaceImage]) -> None:
        self._answer: list[Reason] | BiometrikError | None = None
        self._client, self._samples = client, samples
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self._answer = [report.reasons[0] for report in self._client.quality(self._samples)]
        except BiometrikError as error:
            self._answer = error

    def answer(self) -> list[Reason] | BiometrikError | None:
        self._thread.join(60)
        return self._answer


def _wait_for_work(server: ServerProcess) -> None:
    until = time.monotonic() + 30
    while not server.metrics()["biometrik_requests_in_flight"]:
        assert time.monotonic() < until, "no call began"
        time.sleep(0.01)


def _wait_for_event(server: ServerProcess, event: str) -> None:
    until = time.monotonic() + 30
    while not any(row["event"] == event for row in server.events()):
        assert time.monotonic() < until, f"{event} was not logged"
        time.sleep(0.01)


def _refusal(folder: Path, settings: str = "", **where: str) -> StartError:
    with pytest.raises(StartError) as caught, ServerProcess(folder, settings, **where):
        pass
    return caught.value
