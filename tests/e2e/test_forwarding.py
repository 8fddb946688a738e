"""Enrolments kept while the service is away arrive once, by the command, in spite of a kill on either side."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from biometrik.errors import SubjectNotFoundError
from biometrik.types import FaceImage
from biometrik_station.forwarding import Forwarder, enroll, request_of
from biometrik_station.spool import Spool
from tests.e2e.conftest import Serve
from tests.soak.server_process import StartError, StationProcess


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    key = tmp_path / "spool.key"
    key.touch(0o600)
    key.write_text("5f" * 32)
    settings = f'discover = false\n[spool]\nfolder = "{tmp_path / "spool"}"\nkey = "{key}"\n'
    (tmp_path / "station.toml").write_text(settings)
    return Spool(tmp_path / "spool", key)


def forwarded(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Run the command and return its exit code and its answer."""
    command = [sys.executable, "-m", "biometrik.cli", "station", "forward", "--config", str(folder / "station.toml")]
    done = subprocess.run([*command, "--json", *options], capture_output=True, text=True, timeout=90)
    return done.returncode, json.loads(done.stdout)


def test_nothing_is_lost_and_nothing_is_there_twice(
    serve: Serve, spool: Spool, tmp_path: Path, portrait: FaceImage
) -> None:
    first = serve()
    address = first.address
    with Forwarder(address) as line:
        assert enroll(spool, line.send, request_of("A-0", [portrait])) is not None
        first.kill()
        requests = [request_of(f"A-{i}", [portrait]) for i in (1, 2)]
        assert [enroll(spool, line.send, request) for request in requests] == [None, None]
    code, shown = forwarded(tmp_path)
    assert (code, len(shown["waiting"]), shown["forwarded"]) == (0, 2, [])
    code, refused = forwarded(tmp_path, "--server", address, "--timeout", "2")
    assert (code, refused["error"]["reason"]) == (4, "SERVICE_UNAVAILABLE")

    second = serve(listen=address)
    with Forwarder(address) as line:
        line.send(requests[0])  # the answer of which was lost when the counter's program was killed
    damaged = spool.keep(request_of("A-3", [portrait]))
    (tmp_path / "spool" / damaged).write_bytes(b"something else")
    spool.keep(request_of("A-4", [portrait], galleries=["nowhere"]))
    code, sent = forwarded(tmp_path, "--server", address)
    assert code == 3
    assert [row["why"] for row in sent["forwarded"]] == ["", "", f"{damaged}: damaged", "refused: GALLERY_NOT_FOUND"]
    assert sent["waiting"] == []
    assert len(sent["aside"]) == 2
    with second.client() as counter:
        assert [len(counter.subject(f"A-{i}").encounters) for i in range(3)] == [1, 1, 1]
        for nobody in ("A-3", "A-4"):
            with pytest.raises(SubjectNotFoundError):
                counter.subject(nobody)


def test_a_station_does_not_start_with_a_spool_without_a_key(tmp_path: Path) -> None:
    settings = f'discover = false\n[spool]\nfolder = "{tmp_path / "spool"}"\nkey = "{tmp_path / "nothing"}"\n'
    with pytest.raises(StartError, match="openssl rand"):
        StationProcess(tmp_path, settings)
