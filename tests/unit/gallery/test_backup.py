"""Copies of a database in use, their way back, and encounters that are set aside because they are damaged."""

import errno
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from biometrik.errors import (
    DatabaseLockedError,
    EngineClosedError,
    InvalidInputError,
    StoreDamagedError,
    StoreUnavailableError,
    SubjectNotFoundError,
)
from biometrik.gallery import backup, database_file
from biometrik.gallery.records import EventKind, NewEncounter
from biometrik.gallery.stores import sqlite as stores_sqlite
from biometrik.gallery.stores.sqlite import SqliteStore
from biometrik.types import EncounterStatus, Modality, Template


def _template(seed: int) -> Template:
    vector = np.random.default_rng(seed).standard_normal(16).astype("<f4")
    return Template(Modality.FACE, "test@1", vector.tobytes())


def _new(subject_id: str, *seeds: int) -> NewEncounter:
    return NewEncounter(subject_id, tuple(_template(seed) for seed in seeds))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with six subjects of one encounter and one template each, closed."""
    store = SqliteStore.open(tmp_path / "office.db")
    for seed in range(6):
        store.enroll(_new(f"A-{seed}", seed))
    store.close()
    return tmp_path / "office.db"


def _everything(path: Path) -> tuple[object, ...]:
    with closing(SqliteStore.open(path)) as store:
        return store.subjects(), store.scan(), store.events(), store.galleries()


def _shell(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        for statement in statements:
            shell.execute(statement)


# --- copies ------------------------------------------------------------------------------------------------------


def test_a_copy_holds_what_was_there_and_is_restored_as_it_was(path: Path, tmp_path: Path) -> None:
    before = _everything(path)
    copy = tmp_path / "copy.db"
    with closing(SqliteStore.open(path)) as store:
        held = store.snapshot(copy)
        store.enroll(_new("later", 99))
    assert (held.event, held.subjects, held.encounters, held.templates, held.quarantined) == (7, 6, 6, 6, 0)
    assert held.octets == copy.stat().st_size
    assert copy.stat().st_mode & 0o777 == 0o600
    assert backup.check(copy) == held
    there = copy.read_bytes()
    assert backup.restore(copy, tmp_path / "again.db") == held
    assert _everything(tmp_path / "again.db") == before
    assert copy.read_bytes() == there
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"office.db", "office.db.lock", "copy.db", "again.db", "again.db.lock"}


def test_a_copy_is_one_state_while_writes_go_on(path: Path, tmp_path: Path) -> None:
    store = SqliteStore.open(path)
    done = threading.Event()

    def write(worker: int) -> int:
        number = 0
        while not done.is_set():
            store.enroll(_new(f"{worker}-{number}", number))
            if number % 3 == 2:
                store.erase(f"{worker}-{number}")
            number += 1
        return number

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, worker) for worker in range(3)]
        try:
            held = [store.snapshot(tmp_path / f"copy-{number}.db") for number in range(5)]
        finally:
            done.set()
        assert all(writer.result(timeout=30) for writer in writers)
    store.close()
    assert [h.event for h in held] == sorted(h.event for h in held)
    for number, own in enumerate(held):
        with closing(SqliteStore.open(tmp_path / f"copy-{number}.db")) as copied:
            events = copied.events(limit=1000)
            kinds = [event.kind for event in events]
            assert own.event == events[-1].sequence
            assert own.subjects == kinds.count(EventKind.ENROLLED) - kinds.count(EventKind.ERASED)


def test_a_copy_is_synced_in_portions_and_sees_nothing_of_what_is_written_between(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fdatasync = os.fdatasync

    with closing(SqliteStore.open(path)) as store:

        def between(descriptor: int) -> None:
            fdatasync(descriptor)
            synced.append(os.fstat(descriptor).st_size)
            if len(synced) <= 3:
                store.enroll(_new(f"later-{len(synced)}", *range(100, 110)))

        monkeypatch.setattr("biometrik.gallery.database._COPIED_PAGES", 3)
        monkeypatch.setattr(os, "fdatasync", between)
        pages = path.stat().st_size // 4096
        held = store.snapshot(tmp_path / "copy.db")
        monkeypatch.undo()
        assert len(synced) == -(-pages // 3)
        assert len(store.subjects(limit=1000)) == 9
    assert (held.event, held.subjects, held.octets) == (7, 6, 4096 * pages)


def test_a_copy_that_cannot_be_synced_is_not_there(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with closing(SqliteStore.open(path)) as store:
        monkeypatch.setattr(os, "fdatasync", fails)
        with pytest.raises(StoreUnavailableError, match="No space left on device"):
            store.snapshot(tmp_path / "copy.db")
        monkeypatch.undo()
        assert store.snapshot(tmp_path / "copy.db").subjects == 6


def test_the_log_that_grew_beside_a_copy_is_moved_by_the_thread_that_copies(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "office.db-wal"
    commits: list[int] = []
    fdatasync = os.fdatasync

    with closing(SqliteStore.open(path)) as store:
        (limit,) = store._database._writer.execute("PRAGMA wal_autocheckpoint").fetchone()

        def between(descriptor: int) -> None:
            fdatasync(descriptor)
            commits.append(store._database._writer.execute("PRAGMA wal_autocheckpoint").fetchone()[0])
            if len(commits) == 1:
                for seed in range(100, 300):
                    store.enroll(_new(f"later-{seed}", seed))

        monkeypatch.setattr(os, "fdatasync", between)
        assert store.snapshot(tmp_path / "copy.db").subjects == 6
        monkeypatch.undo()
        assert set(commits) == {0}  # no commit moves anything meanwhile
        grown = log.stat().st_size
        assert grown > 4096 * limit
        with closing(sqlite3.connect(path)) as shell:
            _, logged, moved = shell.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        assert moved == logged > limit
        store.enroll(_new("last", 300))
        assert log.stat().st_size == grown  # written from its beginning again
        assert store._database._writer.execute("PRAGMA wal_autocheckpoint").fetchone() == (limit,)
        assert len(store.subjects(limit=1000)) == 207


def test_after_a_copy_that_failed_commits_keep_the_log_short_again(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with closing(SqliteStore.open(path)) as store:
        monkeypatch.setattr(os, "fdatasync", fails)
        with pytest.raises(StoreUnavailableError, match="Input/output error"):
            store.snapshot(tmp_path / "copy.db")
        monkeypatch.undo()
        monkeypatch.setattr(store._database, "_move_log", fails)
        with pytest.raises(StoreUnavailableError, match="Input/output error"):
            store.snapshot(tmp_path / "copy.db")
        assert store._database._writer.execute("PRAGMA wal_autocheckpoint").fetchone()[0] > 0
        assert store.erase("A-1").encounters == 1


def test_closing_waits_for_a_copy(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore.open(path)
    copying, go_on = threading.Event(), threading.Event()
    sync_file = database_file.sync_file

    def slow(file: Path) -> None:
        copying.set()
        assert go_on.wait(30)
        sync_file(file)

    monkeypatch.setattr("biometrik.gallery.database.sync_file", slow)
    with ThreadPoolExecutor(2) as pool:
        copy = pool.submit(store.snapshot, tmp_path / "copy.db")
        assert copying.wait(30)
        closed = pool.submit(store.close)
        with pytest.raises(TimeoutError):
            closed.result(timeout=0.1)
        go_on.set()
        closed.result(timeout=30)
        assert copy.result(timeout=30).subjects == 6
    with pytest.raises(EngineClosedError):
        store.snapshot(tmp_path / "another.db")


def test_an_erasure_waits_for_a_copy_and_a_write_does_not(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore.open(path)
    copying, go_on = threading.Event(), threading.Event()
    sync_file = database_file.sync_file

    def slow(file: Path) -> None:
        copying.set()
        assert go_on.wait(30)
        sync_file(file)

    monkeypatch.setattr("biometrik.gallery.database.sync_file", slow)
    with ThreadPoolExecutor(2) as pool:
        copy = pool.submit(store.snapshot, tmp_path / "copy.db")
        assert copying.wait(30)
        store.enroll(_new("later", 99))
        erasure = pool.submit(store.erase, "A-1")
        with pytest.raises(TimeoutError):
            erasure.result(timeout=0.1)
        go_on.set()
        assert erasure.result(timeout=30).encounters == 1
        assert copy.result(timeout=30).subjects == 6
    store.close()


def test_nothing_is_overwritten(path: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_bytes(b"something")
    with closing(SqliteStore.open(path)) as store, pytest.raises(InvalidInputError, match="name that is not taken"):
        store.snapshot(taken)
    with pytest.raises(InvalidInputError, match="name that is not taken"):
        backup.restore(path, taken)
    (tmp_path / "gone.db-wal").write_bytes(b"a log without its file")
    with pytest.raises(InvalidInputError, match=r"gone\.db-wal"):
        backup.restore(path, tmp_path / "gone.db")
    assert taken.read_bytes() == b"something"


def test_a_copy_that_cannot_be_written_leaves_nothing(path: Path, tmp_path: Path) -> None:
    with closing(SqliteStore.open(path)) as store:
        with pytest.raises(StoreUnavailableError, match=r"nowhere.copy\.db"):
            store.snapshot(tmp_path / "nowhere" / "copy.db")
        (tmp_path / "copy.db.new").write_bytes(b"of an attempt that was killed")
        store.snapshot(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db.new").exists()


@pytest.mark.parametrize("part", ["header", "template", "row"])
def test_damage_in_a_copy_is_named_and_not_restored(path: Path, tmp_path: Path, part: str) -> None:
    copy = tmp_path / "copy.db"
    with closing(SqliteStore.open(path)) as store:
        store.snapshot(copy)
    whole = copy.read_bytes()
    data = bytearray(whole)
    place = {"header": 20, "template": data.index(_template(3).payload) + 7, "row": data.index(b"ACTIVE") + 1}[part]
    data[place] ^= 16
    copy.write_bytes(data)
    with pytest.raises((StoreDamagedError, StoreUnavailableError)):
        backup.check(copy)
    with pytest.raises((StoreDamagedError, StoreUnavailableError)):
        backup.restore(copy, tmp_path / "again.db")
    assert not list(tmp_path.glob("again.db*"))
    assert copy.read_bytes() == bytes(data)


def test_a_database_in_use_or_with_a_log_is_not_checked(path: Path, tmp_path: Path) -> None:
    with closing(SqliteStore.open(path)) as store:
        with pytest.raises(DatabaseLockedError):
            backup.check(path)
        store.enroll(_new("later", 99))
        for suffix in ("", "-wal"):
            (tmp_path / f"killed.db{suffix}").write_bytes((tmp_path / f"office.db{suffix}").read_bytes())
    with pytest.raises(StoreUnavailableError, match="holds writes that it lacks"):
        backup.check(tmp_path / "killed.db")
    for nothing in (tmp_path / "nothing.db", tmp_path):
        with pytest.raises(StoreUnavailableError, match="expected a file with a database"):
            backup.check(nothing)
    assert backup.check(path).subjects == 7


# --- quarantine --------------------------------------------------------------------------------------------------


def _damage(path: Path, *seeds: int) -> None:
    data = bytearray(path.read_bytes())
    for seed in seeds:
        data[data.index(_template(seed).payload) + 5] ^= 1
    path.write_bytes(data)


def test_damaged_encounters_are_set_aside_named_and_not_served(path: Path) -> None:
    _damage(path, 2)
    _shell(path, "UPDATE encounters SET status = 'INACTIVE' WHERE subject_id = 'A-4'")
    store = SqliteStore.open(path)
    with pytest.raises(StoreDamagedError):
        store.scan()
    found = store.set_damaged_aside()
    assert [one.subject_id for one in found] == ["A-2", "A-4"]
    assert store.quarantined() == found
    assert store.set_damaged_aside() == []  # those that are there already are not read again
    assert [stored.encounter.subject_id for stored in store.scan()] == ["A-0", "A-1", "A-3", "A-5"]
    assert store.subject("A-2").encounters == ()
    assert store.references("A-2") == []
    assert store.gallery("default").encounters == 4
    assert {e.encounter_id for e in store.events(after=7)} == {one.encounter_id for one in found}
    assert {e.kind for e in store.events(after=7)} == {EventKind.QUARANTINED}
    for call in (
        lambda: store.encounter(found[0].encounter_id),
        lambda: store.set_status(found[0].encounter_id, EncounterStatus.INACTIVE),
        lambda: store.set_galleries(found[0].encounter_id, []),
    ):
        with pytest.raises(StoreDamagedError, match="in quarantine since"):
            call()
    store.enroll(_new("A-2", 20))
    assert len(store.references("A-2")) == 1
    store.close()
    store = SqliteStore.open(path)
    assert store.quarantined() == found
    held = store.snapshot(path.with_name("copy.db"))
    assert (held.encounters, held.quarantined) == (5, 2)
    store.erase("A-2")
    assert [one.subject_id for one in store.quarantined()] == ["A-4"]
    with pytest.raises(SubjectNotFoundError):
        store.subject("A-2")
    raw = b"".join(file.read_bytes() for file in path.parent.glob("office.db*"))
    assert _template(2).payload[8:] not in raw
    store.close()


def test_so_much_damage_is_no_matter_of_single_encounters(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores_sqlite, "_FEW", 1)
    _damage(path, 2, 4)
    with closing(SqliteStore.open(path)) as store:
        with pytest.raises(StoreDamagedError, match="2 of 6 encounters cannot be read, too many"):
            store.set_damaged_aside()
        assert store.quarantined() == []


def test_damage_beyond_encounters_is_not_set_aside(path: Path) -> None:
    _shell(path, "UPDATE galleries SET kind = 'WATCHLIST'")
    with closing(SqliteStore.open(path)) as store:
        with pytest.raises(StoreDamagedError, match="galleries"):
            store.set_damaged_aside()
        assert store.quarantined() == []


def test_a_copy_of_damaged_rows_is_not_made(path: Path, tmp_path: Path) -> None:
    _damage(path, 2)
    with closing(SqliteStore.open(path)) as store, pytest.raises(StoreDamagedError, match="encounter"):
        store.snapshot(tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy.db*"))
