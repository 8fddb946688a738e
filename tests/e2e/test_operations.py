"""What the operations paper tells an operator to do, done: backup while running, restore, the fields of the log."""

import re
import sqlite3
from pathlib import Path

import pytest

from biometrik.client import Client
from biometrik.errors import SubjectNotFoundError
from biometrik.types import EnrollmentOutcome
from tests.e2e.conftest import Serve
from tests.soak.server_process import ServerProcess, random_template

PAPER = (Path(__file__).resolve().parents[2] / "docs" / "operations" / "README.md").read_text("utf-8")


def test_a_backup_taken_while_it_runs_can_be_restored(serve: Serve, tmp_path: Path) -> None:
    (statement,) = re.findall(r'"(VACUUM INTO) \'[^"]+\'"', PAPER)
    server = serve()
    with server.client() as client:
        _enroll(client, server, "BEFORE")
        with sqlite3.connect(tmp_path / "office.db") as reader:  # another process than the server's
            reader.execute(f"{statement} ?", (str(tmp_path / "copy.db"),))
        reader.close()
        _enroll(client, server, "AFTER")
    assert server.stop() == 0

    restored = serve(database=str(tmp_path / "copy.db"))
    with restored.client() as client:
        assert client.subject("BEFORE").encounters
        with pytest.raises(SubjectNotFoundError):
            client.subject("AFTER")
        _enroll(client, restored, "LATER")


def test_every_field_of_the_log_is_in_the_paper(serve: Serve) -> None:
    server = serve()
    with server.client() as client:
        _enroll(client, server, "A-1")
    assert server.stop() == 0
    fields = {field for event in server.events() for field in event}
    assert {"ms", "listening", "grace_s"} <= fields
    assert sorted(field for field in fields if f"`{field}`" not in PAPER) == []


def _enroll(client: Client, server: ServerProcess, subject_id: str) -> None:
    template = random_template(subject_id, server.model_contract_id)
    assert client.enroll(subject_id, [template]).outcome is EnrollmentOutcome.ENROLLED
