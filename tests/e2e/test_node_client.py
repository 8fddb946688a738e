"""The worked client in Node against a real server: what it says, its errors, its retries, TLS and tokens."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from biometrik.demo import photographs
from biometrik.types import FaceImage
from biometrik_server.access import new_token
from tests.e2e.conftest import Serve
from tests.soak.server_process import ServerProcess

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = ROOT / "examples" / "node"
_TIMEOUT_S: Final = 60.0


def ask(*arguments: str | Path, token: str = "") -> tuple[int, list[str]]:
    """Run the example; returns exit status and lines of standard output."""
    node = shutil.which("node")
    if node is None or not (EXAMPLE / "node_modules").is_dir():
        pytest.fail("the example in Node: expected node >= 18 with npm, and what scripts/setup installs for it")
    done = subprocess.run(
        [node, EXAMPLE / "verify.js", *arguments],
        env={**os.environ, "BIOMETRIK_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the photographs that dependencies ship, as JPEG."""
    folder = tmp_path_factory.mktemp("photos")
    portrait = FaceImage.from_file(photographs.find(photographs.PORTRAIT))
    for name, image in {
        "portrait": portrait,
        "counter": photographs.photographed_again(portrait, 1),
        "stranger": FaceImage.from_file(photographs.find(photographs.ASTRONAUT)),
        "cat": FaceImage.from_file(photographs.find(photographs.CAT)),
    }.items():
        (folder / f"{name}.jpg").write_bytes(photographs.jpeg(image.pixels))
    return folder


@pytest.fixture(scope="module")
def address(server: ServerProcess, photos: Path) -> str:
    """Return where a server listens that knows A-1."""
    status, lines = ask("enroll", "A-1", photos / "portrait.jpg", "--address", server.address)
    assert (status, lines[0]) == (0, "ENROLLED")
    assert re.fullmatch(r"A-1: encounter [0-9a-f]{32}", lines[1])
    return server.address


@pytest.mark.parametrize(
    ("command", "photo", "status", "outcome"),
    [
        (("verify", "A-1"), "counter", 0, "MATCH"),
        (("verify", "A-1"), "stranger", 1, "NO_MATCH"),
        (("verify", "A-1"), "cat", 3, "INCONCLUSIVE"),
        (("identify",), "counter", 0, "MATCH"),
        (("identify",), "stranger", 1, "NO_MATCH"),
        (("enroll", "A-2"), "cat", 3, "FAILURE_TO_ENROLL"),
    ],
)
def test_outcomes_are_said_and_told_by_the_exit_status(
    address: str, photos: Path, command: tuple[str, ...], photo: str, status: int, outcome: str
) -> None:
    returned, lines = ask(*command, photos / f"{photo}.jpg", "--address", address)
    assert (returned, lines[0]) == (status, outcome)


def test_scores_thresholds_candidates_and_advice_are_in_words(address: str, photos: Path) -> None:
    _, matched = ask("verify", "A-1", photos / "counter.jpg", "--address", address)
    assert re.search(r"score \d+\.\d; 30\.0 is needed, which 1 in 1,000 strangers would reach", matched[1])
    _, found = ask("identify", photos / "counter.jpg", "--address", address)
    assert found[1] == "searched 1 subjects"
    assert re.fullmatch(r"  1\. A-1: score \d+\.\d, reaches the threshold", found[2])
    _, unclear = ask("verify", "A-1", photos / "cat.jpg", "--address", address, "--locale", "id")
    assert "nothing was compared" in unclear[1]
    assert any("Wajah tidak ditemukan" in line for line in unclear[2:])


def test_errors_come_with_their_reason_and_words_for_the_operator(address: str, photos: Path) -> None:
    counter = photos / "counter.jpg"
    status, lines = ask("verify", "NOBODY", counter, "--address", address, "--locale", "id")
    words = "Tidak ada orang terdaftar dengan nomor ini: periksa nomor atau daftarkan orangnya."
    assert (status, lines) == (4, ["ERROR SUBJECT_NOT_FOUND", f"  {words}"])
    status, lines = ask("verify", "A-1", counter, "--address", address, "--fmr", "1e-9")
    assert (status, lines[0]) == (4, "ERROR THRESHOLD_UNSUPPORTED")
    status, lines = ask("verify", "A-1", photos / "none.jpg", "--address", address)
    assert (status, lines[0]) == (4, "ERROR NOT_SENT")


def test_a_deadline_ends_the_wait_for_a_server_that_is_silent(photos: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        status, lines = ask("identify", photos / "counter.jpg", "--address", where, "--timeout", "1")
    assert (status, lines[0]) == (4, "ERROR DEADLINE_EXCEEDED")
    assert time.monotonic() - started < 20


def test_an_enrolment_whose_answer_was_lost_is_repeated_and_stored_once(server: ServerProcess, photos: Path) -> None:
    with LosesFirstAnswer(server) as line:
        status, lines = ask("enroll", "B-1", photos / "portrait.jpg", "--address", line.address)
    assert (status, lines[0]) == (0, "ENROLLED")
    assert line.connections == 2
    with server.client() as client:
        (encounter,) = client.subject("B-1").encounters
    assert lines[1] == f"B-1: encounter {encounter.encounter_id}"


def test_tls_with_the_certificates_of_the_operations_paper_and_a_token(
    serve: Serve, photos: Path, tmp_path: Path
) -> None:
    paper = (ROOT / "docs" / "operations" / "README.md").read_text("utf-8")
    commands = [line for line in paper.splitlines() if line.startswith("openssl ")]
    assert len(commands) == 5
    subprocess.run(
        ["bash", "-euc", "\n".join(commands)], cwd=tmp_path, check=True, capture_output=True, timeout=_TIMEOUT_S
    )
    token, digest = new_token()
    clients = (
        f'[[clients]]\nname = "counter-3"\nscopes = ["enroll"]\ntoken_sha256 = "{digest}"\n'
        '[[clients]]\nname = "back-office"\nscopes = ["identify"]\ncertificate_name = "back-office"\n'
    )
    names = {"certificate": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
    tls = "[tls]\n" + "".join(f"{setting} = {json.dumps(str(tmp_path / name))}\n" for setting, name in names.items())
    server = serve(tls + clients, listen="localhost:0")
    proof: list[str | Path] = ["--address", server.address, "--ca", tmp_path / "ca.pem"]
    proof += ["--cert", tmp_path / "back-office.pem", "--key", tmp_path / "back-office.key"]

    assert ask("enroll", "A-1", photos / "portrait.jpg", *proof, token=token)[0] == 0
    assert ask("identify", photos / "counter.jpg", *proof)[0] == 0  # by the name in the certificate
    status, lines = ask("identify", photos / "counter.jpg", *proof, token=token)
    assert (status, lines[0]) == (4, "ERROR PERMISSION_DENIED")
    status, lines = ask("identify", photos / "counter.jpg", *proof, token="wrong")
    assert (status, lines[0]) == (4, "ERROR UNAUTHENTICATED")

    certificates = [tmp_path / name for name in ("ca.pem", "back-office.pem", "back-office.key")]
    assert _healthy(server.address, *certificates)
    assert not _healthy(server.address, certificates[0])  # the server asks for a certificate
    assert server.stop() == 0
    assert not _healthy(server.address, *certificates)


def test_every_package_is_pinned_without_a_lock_file() -> None:
    package = json.loads((EXAMPLE / "package.json").read_text("utf-8"))
    pinned = {**package["dependencies"], **package["overrides"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pinned.values())
    assert sorted(_installed(EXAMPLE / "node_modules")) == sorted(pinned.items())


def _healthy(*arguments: str | Path) -> bool:
    script = ROOT / "docs" / "operations" / "healthcheck.py"
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def _installed(folder: Path) -> Iterator[tuple[str, str]]:
    # Also a second version of a package, which npm would put below the one that asks for it.
    for manifest in folder.glob("**/package.json"):
        place = manifest.parent.as_posix().rpartition("node_modules/")[2]
        if place.count("/") == place.startswith("@"):
            found = json.loads(manifest.read_text("utf-8"))
            yield found["name"], found["version"]


class LosesFirstAnswer:
    """A line to a server that carries a first request there, and breaks before its answer is back."""

    #: More than a connection's first frames without a photograph.
    _REQUEST_BYTES = 1500

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._sent = 0
        self._enrolments = self._answered()
        self.connections = 0

    @property
    def address(self) -> str:
        """Where a client finds it."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "LosesFirstAnswer":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            host, _, port = self._server.address.rpartition(":")
            upstream = socket.create_connection((host, int(port)))
            self._sockets += [client, upstream]
            first = self.connections == 1
            threading.Thread(target=self._requests, args=(client, upstream), daemon=True).start()
            threading.Thread(target=self._answers, args=(upstream, client, first), daemon=True).start()

    def _requests(self, client: socket.socket, upstream: socket.socket) -> None:
        try:
            while data := client.recv(1 << 16):
                self._sent += len(data)
                upstream.sendall(data)
        except OSError:
            pass

    def _answers(self, upstream: socket.socket, client: socket.socket, loses: bool) -> None:
        try:
            while data := upstream.recv(1 << 16):
                if loses and self._sent > self._REQUEST_BYTES:
                    self._wait_until_stored()
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
        except OSError:
            pass

    def _wait_until_stored(self) -> None:
        until = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < until:
            if self._answered() > self._enrolments:
                return
            time.sleep(0.02)

    def _answered(self) -> int:
        return self._server.log().count('"rpc": "EnrollmentService/Enroll"')
