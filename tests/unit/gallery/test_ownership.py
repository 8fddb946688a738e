"""One owner for a database: between processes, within one, after SIGKILL, across forks."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from biometrik.errors import DatabaseLockedError, EngineStateError, StoreUnavailableError
from biometrik.gallery.ownership import Ownership
from biometrik.gallery.stores.sqlite import SqliteStore

_HOLD = """
import sys
from pathlib import Path
from biometrik.gallery.ownership import Ownership
held = Ownership(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def _holder(database: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_another_process_is_told_who_holds_it_and_since_when(tmp_path: Path) -> None:
    database = tmp_path / "office.db"
    with _holder(database) as process:
        with pytest.raises(DatabaseLockedError) as caught:
            SqliteStore.open(database)
        assert f"process {process.pid} on {socket.gethostname()} since 20" in str(caught.value)
        assert re.search(r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00;", str(caught.value))
        assert str(database) in str(caught.value)
        assert not database.exists()


def test_the_lock_dies_with_a_killed_process(tmp_path: Path) -> None:
    database = tmp_path / "office.db"
    with _holder(database) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        SqliteStore.open(database).close()


def test_a_second_opener_in_the_same_process_is_refused(tmp_path: Path) -> None:
    database = tmp_path / "office.db"
    store = SqliteStore.open(database)
    with pytest.raises(DatabaseLockedError, match=f"process {os.getpid()} on "):
        SqliteStore.open(database)
    assert store.last_event() == 1
    store.close()
    SqliteStore.open(database).close()


def test_two_names_of_one_file_share_the_lock(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "office.db")
    (tmp_path / "alias.db").symlink_to(tmp_path / "office.db")
    with pytest.raises(DatabaseLockedError):
        SqliteStore.open(tmp_path / "alias.db")
    store.close()


def test_an_unsigned_lock_names_another_process(tmp_path: Path) -> None:
    database = tmp_path / "office.db"
    with _holder(database):
        os.truncate(tmp_path / "office.db.lock", 0)
        with pytest.raises(DatabaseLockedError, match="open in another process;"):
            Ownership(database)


def test_releasing_twice_is_fine_and_releases_nobody_else(tmp_path: Path) -> None:
    database = tmp_path / "office.db"
    first = Ownership(database)
    first.release()
    second = Ownership(database)
    first.release()
    with pytest.raises(DatabaseLockedError):
        Ownership(database)
    second.release()


def test_a_failed_opening_gives_the_lock_back(tmp_path: Path) -> None:
    database = tmp_path / "office.db"
    database.write_bytes(b"x" * 5000)
    for _ in range(2):
        with pytest.raises(Exception, match="not a database"):
            SqliteStore.open(database)
    Ownership(database).release()


def test_a_lock_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "office.db.lock").mkdir()
    with pytest.raises(StoreUnavailableError, match=r"lock office\.db\.lock cannot be written"):
        Ownership(tmp_path / "office.db")


def test_a_forked_child_refuses_the_store_and_does_not_keep_the_lock(tmp_path: Path) -> None:
    database = tmp_path / "office.db"
    store = SqliteStore.open(database)
    answers, answer = os.pipe()
    stay, leave = os.pipe()
    child = os.fork()
    if child == 0:
        said = b""
        for call in (store.last_event, store.subjects, store.close, lambda: store.erase("A-1")):
            try:
                call()
            except EngineStateError:
                said += b"refused "
            except BaseException as error:
                said += repr(error).encode()
        os.write(answer, said)
        os.close(leave)
        os.read(stay, 1)  # lives on until the parent lets go
        os._exit(0)
    try:
        os.close(answer)
        assert os.read(answers, 500) == b"refused refused refused refused "
        with pytest.raises(DatabaseLockedError):  # the parent's lock is untouched
            SqliteStore.open(database)
        store.create_gallery("watch", next(iter(store.galleries())).kind)
        store.close()
        SqliteStore.open(database).close()  # while the child lives
    finally:
        os.close(leave)
        os.close(stay)
        os.waitpid(child, 0)
        os.close(answers)


_FORK = """
import os, sys
from pathlib import Path
from biometrik.gallery.ownership import Ownership
held = Ownership(Path(sys.argv[1]))
child = os.fork()
if child == 0:
    print(os.getpid(), flush=True)  # by the child: it has given its copy back when os.fork returns here
    sys.stdin.read()  # lives until the test lets go
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_child_does_not_keep_a_killed_parents_lock(tmp_path: Path) -> None:
    database = tmp_path / "office.db"
    with subprocess.Popen(
        [sys.executable, "-c", _FORK, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        with pytest.raises(DatabaseLockedError, match=f"process {parent.pid} on"):
            Ownership(database)
        parent.kill()
        parent.wait()
        # The child lets go as soon as it runs after the fork, which a loaded machine may delay; it lives on meanwhile.
        for _ in range(500):
            try:
                Ownership(database).release()
                break
            except DatabaseLockedError:
                time.sleep(0.02)
        else:
            pytest.fail("the child kept its parent's lock")
        os.kill(child, 0)  # alive


def test_a_child_program_does_not_inherit_the_lock(tmp_path: Path) -> None:
    database = tmp_path / "office.db"
    held = Ownership(database)
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False
    )
    held.release()
    try:
        Ownership(database).release()
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
