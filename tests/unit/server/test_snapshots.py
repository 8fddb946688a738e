"""Copies of the database made while the server works: names, one at a time, repeats, what is removed."""

import asyncio
import hashlib
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from biometrik.engine import Engine
from biometrik.errors import (
    BiometrikError,
    InvalidInputError,
    SnapshotRunningError,
    SnapshotsDisabledError,
    StoreUnavailableError,
    TransactionConflictError,
)
from biometrik.gallery.ownership import Ownership
from biometrik.gallery.records import Holdings
from biometrik.types import RequestContext
from biometrik_server.config import Snapshots
from biometrik_server.snapshots import Copier

T = TypeVar("T")

WAIT_S = 30
NOBODY = RequestContext()


class Copied:
    """Stands for an engine: it writes a file, when it may, and remembers who asked."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.begun = threading.Event()
        self.asked: list[tuple[str, RequestContext]] = []
        self.fails: BaseException | None = None

    def snapshot(self, path: Path, *, context: RequestContext) -> Holdings:
        self.asked.append((path.name, context))
        self.begun.set()
        assert self.go_on.wait(WAIT_S)
        if self.fails is not None:
            raise self.fails
        path.write_bytes(path.name.encode())
        return Holdings(7, 3, 4, 5, 1, path.stat().st_size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "copies").mkdir()
    return tmp_path / "copies"


def _copier(engine: Copied, folder: Path | None, keep: int = 0) -> Copier:
    settings = None if folder is None else Snapshots(folder=folder, keep=keep)
    return Copier(cast(Engine, engine), settings)


def _run(copier: Copier, work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(asyncio.wait_for(work, WAIT_S))
    finally:
        copier.close()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.db"))


async def _begun(engine: Copied) -> None:
    assert await asyncio.to_thread(engine.begun.wait, WAIT_S)


def test_a_copy_says_what_it_is(folder: Path) -> None:
    engine = Copied()
    copier = _copier(engine, folder)
    copy = _run(copier, copier.copy("desk", "before-upgrade", RequestContext(operator_ref="op 7")))
    ((name, who),) = engine.asked
    assert copy.name == name == f"{copy.created_at:%Y%m%dT%H%M%S.%fZ}-before-upgrade.db"
    assert who.operator_ref == "op 7"
    assert copy.sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert (copy.held.encounters, copy.held.octets) == (4, len(name))


@pytest.mark.parametrize(
    "label", ["../x", "a/b", "a.db", "-a", "_a", " ", "a b", "a\n", "a\0", "ä", "x" * 33, "١", "a\n.db"]
)
def test_a_label_cannot_leave_its_folder_or_its_name(folder: Path, label: str) -> None:
    engine = Copied()
    copier = _copier(engine, folder)
    with pytest.raises(InvalidInputError, match="label: expected at most 32 ASCII letters"):
        _run(copier, copier.copy("desk", label, NOBODY))
    assert not engine.asked


def test_without_a_folder_every_copy_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disabled = _copier(Copied(), None)
    with pytest.raises(SnapshotsDisabledError):
        _run(disabled, disabled.copy("desk", "", NOBODY))
    assert not caplog.records
    gone = _copier(Copied(), tmp_path / "not-mounted")
    assert "the folder is not there" in caplog.text
    with pytest.raises(StoreUnavailableError, match="expected the configured folder"):
        _run(gone, gone.copy("desk", "", NOBODY))
    assert list(tmp_path.iterdir()) == []


def test_one_copy_is_made_at_a_time(folder: Path) -> None:
    engine = Copied()
    copier = _copier(engine, folder)

    async def work() -> None:
        engine.go_on.clear()
        first = asyncio.create_task(copier.copy("desk", "", NOBODY))
        await _begun(engine)
        with pytest.raises(SnapshotRunningError):
            await copier.copy("desk", "", NOBODY)
        engine.go_on.set()
        await first
        await copier.copy("desk", "", NOBODY)

    _run(copier, work())
    assert len(_names(folder)) == 2


def test_another_server_s_copy_in_the_same_folder_is_waited_for_by_the_caller(folder: Path) -> None:
    other = Ownership(folder / "snapshots")
    copier = _copier(Copied(), folder)
    with pytest.raises(SnapshotRunningError, match="another server"):
        _run(copier, copier.copy("desk", "", NOBODY))
    other.release()
    again = _copier(Copied(), folder)
    assert _run(again, again.copy("desk", "", NOBODY)).name in _names(folder)


def test_a_copy_goes_on_without_its_client_and_the_repeat_is_told_of_it(folder: Path) -> None:
    engine = Copied()
    copier = _copier(engine, folder)
    who = RequestContext("t-1")

    async def work() -> None:
        engine.go_on.clear()
        first = asyncio.create_task(copier.copy("desk", "a", who))
        await _begun(engine)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        repeat = asyncio.create_task(copier.copy("desk", "a", who))
        with pytest.raises(TransactionConflictError):
            await copier.copy("desk", "b", who)
        with pytest.raises(SnapshotRunningError):  # another client's id is another id
            await copier.copy("gate", "a", who)
        engine.go_on.set()
        assert (await repeat).name == (await copier.copy("desk", "a", who)).name

    _run(copier, work())
    assert len(engine.asked) == len(_names(folder)) == 1


@pytest.mark.parametrize("error", [StoreUnavailableError("full"), RuntimeError("a fault"), OSError(5, "I/O error")])
def test_what_failed_is_logged_told_and_tried_again_by_a_repeat(
    folder: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Copied()
    copier = _copier(engine, folder)
    who = RequestContext("t-1")

    async def work() -> None:
        engine.fails = error
        with pytest.raises((BiometrikError, RuntimeError)):
            await copier.copy("desk", "", who)
        engine.fails = None
        await copier.copy("desk", "", who)

    _run(copier, work())
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["snapshot failed"]
    assert len(_names(folder)) == 1


def test_the_oldest_copies_of_its_own_names_are_removed_and_nothing_else(folder: Path) -> None:
    olds = [f"2020010{day}T000000.000000Z{label}.db" for day, label in ((1, "-a"), (2, ""), (3, "-b_c"))]
    future = "99990101T000000.000000Z.db"  # made when the clock was wrong
    others = ["office.db", "20200101T000000Z.db", "20200101T000000.000000Z.db.bak", "x20200101T000000.000000Z.db"]
    for name in (*olds, future, *others):
        (folder / name).write_bytes(b"x")
    engine = Copied()
    copier = _copier(engine, folder, keep=2)
    copy = _run(copier, copier.copy("desk", "", NOBODY))
    assert {path.name for path in folder.iterdir()} == {copy.name, future, *others, "snapshots.lock"}


def test_a_copy_that_fails_removes_none(folder: Path) -> None:
    (folder / "20200101T000000.000000Z.db").write_bytes(b"x")
    engine = Copied()
    engine.fails = StoreUnavailableError("full")
    copier = _copier(engine, folder, keep=1)
    with pytest.raises(StoreUnavailableError):
        _run(copier, copier.copy("desk", "", NOBODY))
    assert _names(folder) == ["20200101T000000.000000Z.db"]


def test_drafts_of_a_server_that_was_killed_are_removed(folder: Path) -> None:
    drafts = ["20200101T000000.000000Z-a.db.new", "20200101T000000.000000Z-a.db.new-journal"]
    others = ["office.db.new", "notes.new"]
    for name in (*drafts, *others):
        (folder / name).write_bytes(b"x")
    copier = _copier(Copied(), folder)
    copy = _run(copier, copier.copy("desk", "", NOBODY))
    assert {path.name for path in folder.iterdir()} == {copy.name, *others, "snapshots.lock"}
