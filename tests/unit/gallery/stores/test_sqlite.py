"""What the SQLite store promises beyond the contract: bytes that are gone, damage that is named, full disks."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from biometrik.errors import StoreDamagedError, StoreUnavailableError, SubjectNotFoundError
from biometrik.gallery.records import NewEncounter
from biometrik.gallery.stores.sqlite import SqliteStore
from biometrik.types import EncounterStatus, GalleryKind, Modality, Template

DIMENSION = 128


def _template(seed: int) -> Template:
    vector = np.random.default_rng(seed).standard_normal(DIMENSION).astype("<f4")
    return Template(Modality.FACE, "test@1", vector.tobytes())


def _new(subject_id: str, *seeds: int) -> NewEncounter:
    return NewEncounter(subject_id, tuple(_template(seed) for seed in seeds))


def _raw(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def _traces(folder: Path, seed: int) -> int:
    # How many 16-byte pieces of a template lie in any file beside the database.
    payload, raw = _template(seed).payload, _raw(folder)
    return sum(payload[start : start + 16] in raw for start in range(0, len(payload), 16))


def test_no_file_holds_a_byte_of_what_was_erased_while_the_store_is_open(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "office.db")
    for seed in range(60):
        store.enroll(_new(f"A-{seed}", 2 * seed, 2 * seed + 1))
    assert all(_traces(tmp_path, seed) for seed in range(120))
    order = np.random.default_rng(1).permutation(60)
    for subject in order[:45]:
        store.erase(f"A-{subject}")
        assert _traces(tmp_path, 2 * int(subject)) == 0
    for subject in order[:45]:  # nor did later erasures, which move rows about, bring any back
        assert _traces(tmp_path, 2 * int(subject)) == _traces(tmp_path, 2 * int(subject) + 1) == 0
    kept = {stored.encounter.subject_id for stored in store.scan()}
    assert kept == {f"A-{subject}" for subject in order[45:]}
    store.close()


def test_an_erasure_waits_for_a_reader_and_leaves_no_bytes_behind(tmp_path: Path) -> None:
    path = tmp_path / "office.db"
    store = SqliteStore.open(path)
    store.enroll(_new("A-1", 1))
    with store._database.reading() as reader:
        assert reader.execute("SELECT count(*) FROM templates").fetchone() == (1,)
        store.enroll(_new("A-2", 2))
        assert reader.execute("SELECT count(*) FROM templates").fetchone() == (1,)
    store.erase("A-1")
    assert _traces(tmp_path, 1) == 0
    store.close()


def test_an_erasure_that_another_program_hinders_says_so_and_the_next_one_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("biometrik.gallery.database._PATIENCE_S", 0.05)
    path = tmp_path / "office.db"
    store = SqliteStore.open(path)
    store.enroll(_new("A-1", 1))
    shell = sqlite3.connect(path, isolation_level=None)
    shell.execute("BEGIN")
    shell.execute("SELECT count(*) FROM templates").fetchone()
    with pytest.raises(StoreUnavailableError, match="may hold bytes of what was erased"):
        store.erase("A-1", transaction_id="t")
    with pytest.raises(SubjectNotFoundError):
        store.subject("A-1")
    assert _traces(tmp_path, 1)
    shell.close()
    assert store.erase("A-1", transaction_id="t").templates == 1
    assert _traces(tmp_path, 1) == 0
    store.close()


def test_opening_removes_what_a_crash_left_of_the_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, crashed = tmp_path / "alive", tmp_path / "crashed"
    alive.mkdir()
    store = SqliteStore.open(alive / "office.db")
    store.enroll(_new("A-1", 1))
    monkeypatch.setattr(store._database, "scrub", lambda: None)  # the crash comes after the commit
    store.erase("A-1")
    shutil.copytree(alive, crashed)
    store.close()
    assert _traces(crashed, 1)
    reopened = SqliteStore.open(crashed / "office.db")
    assert _traces(crashed, 1) == 0
    assert reopened.subjects() == []
    reopened.close()


def test_a_reopened_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "office.db"
    store = SqliteStore.open(path)
    store.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="Act 1")
    first = store.enroll(_new("A-1", 1))
    store.set_galleries(first.encounter.encounter_id, ["watch"])
    store.set_status(first.encounter.encounter_id, EncounterStatus.INACTIVE)
    everything = (store.subjects(), store.scan(), store.events(), store.galleries())
    store.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["office.db", "office.db.lock"]
    store = SqliteStore.open(path)
    assert (store.subjects(), store.scan(), store.events(), store.galleries()) == everything
    store.close()


def test_new_files_are_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore.open(tmp_path / "office.db")
        store.enroll(_new("A-1", 1))
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    store.close()
    assert modes == dict.fromkeys(("office.db", "office.db-wal", "office.db-shm", "office.db.lock"), 0o600)


def test_events_cannot_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "office.db"
    store = SqliteStore.open(path)
    store.enroll(_new("A-1", 1))
    store.close()
    with sqlite3.connect(path, isolation_level=None) as shell:
        for statement in (
            "DELETE FROM events WHERE sequence = 2",
            "UPDATE events SET subject_id = 'A-2'",
            "INSERT INTO events VALUES (9, '', '', '', '', '', 0)",
            "INSERT OR REPLACE INTO events VALUES (1, '', '', '', '', '', 0)",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                shell.execute(statement)
    shell.close()


# --- full disks --------------------------------------------------------------------------------------------------


def test_a_full_disk_stores_nothing_and_the_store_goes_on(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "office.db")
    first = store.enroll(_new("A-1", 1))
    writer = store._database._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count={pages + 2}").fetchall()
    stored = 0

    def fill() -> None:
        nonlocal stored
        while stored < 100:
            store.enroll(_new("A-2", *range(10 * stored, 10 * stored + 10)))
            stored += 1

    with pytest.raises(StoreUnavailableError, match="free space"):
        fill()
    assert [s.number for s in store.scan()] == list(range(1, 2 + stored))
    assert len(store.events()) == store.last_event() == 2 + stored
    with pytest.raises(StoreUnavailableError):
        store.enroll(_new("A-3", *range(200)))
    with pytest.raises(SubjectNotFoundError):
        store.subject("A-3")
    writer.execute("PRAGMA max_page_count=1000000").fetchall()
    assert store.enroll(_new("A-3", *range(200))).event == 3 + stored
    assert store.stored(first.encounter.encounter_id).templates == (_template(1),)
    store.close()


class _Failing:
    """A connection on which one statement fails once, as a broken disk makes it."""

    def __init__(self, connection: sqlite3.Connection, statement: str, error: sqlite3.Error) -> None:
        self._connection, self._statement, self._error = connection, statement, error
        self.failures = 0

    def execute(self, statement: str, *arguments: object) -> sqlite3.Cursor:
        self._fail_at(statement)
        return self._connection.execute(statement, *arguments)  # type: ignore[arg-type]

    def executemany(self, statement: str, *arguments: object) -> sqlite3.Cursor:
        self._fail_at(statement)
        return self._connection.executemany(statement, *arguments)  # type: ignore[arg-type]

    def _fail_at(self, statement: str) -> None:
        if statement.startswith(self._statement) and self.failures == 0:
            self.failures += 1
            raise self._error

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def _sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("broken")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO encounters", "INSERT INTO events", "COMMIT"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailableError),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailableError),
        (sqlite3.SQLITE_READONLY, StoreUnavailableError),
        (sqlite3.SQLITE_CORRUPT, StoreDamagedError),
    ],
)
def test_a_failing_disk_stores_nothing_and_the_store_goes_on(
    tmp_path: Path, statement: str, code: int, expected: type[Exception]
) -> None:
    store = SqliteStore.open(tmp_path / "office.db")
    failing = _Failing(store._database._writer, statement, _sqlite_error(code))
    store._database._writer = failing  # type: ignore[assignment]
    with pytest.raises(expected, match=r"office\.db"):
        store.enroll(_new("A-1", 1))
    assert failing.failures == 1
    assert store.subjects() == []
    assert store.last_event() == 1
    store.enroll(_new("A-1", 1))
    assert len(store.scan()) == 1
    store.close()


@pytest.mark.parametrize(
    "write",
    [
        lambda store, _: store.enroll(NewEncounter("A-2", (_template(2),), transaction_id="t")),
        lambda store, _: store.erase("A-1", transaction_id="t"),
        lambda store, e: store.set_status(e, EncounterStatus.INACTIVE, transaction_id="t"),
        lambda store, e: store.set_galleries(e, [], transaction_id="t"),
        lambda store, _: store.create_gallery("gate", GalleryKind.POPULATION, transaction_id="t"),
        lambda store, _: store.delete_gallery("desk", transaction_id="t"),
    ],
    ids=["enroll", "erase", "set_status", "set_galleries", "create_gallery", "delete_gallery"],
)
@pytest.mark.parametrize("statement", ["INSERT INTO transactions", "COMMIT"])
def test_a_change_and_its_answer_are_kept_together_or_not_at_all(
    tmp_path: Path, write: Callable[[SqliteStore, str], object], statement: str
) -> None:
    store = SqliteStore.open(tmp_path / "office.db")
    store.create_gallery("desk", GalleryKind.POPULATION)
    encounter_id = store.enroll(_new("A-1", 1)).encounter.encounter_id
    before = (store.galleries(), store.subjects(), store.scan(), store.events())
    writer = store._database._writer
    store._database._writer = _Failing(writer, statement, _sqlite_error(sqlite3.SQLITE_FULL))  # type: ignore[assignment]
    with pytest.raises(StoreUnavailableError, match="free space"):
        write(store, encounter_id)
    assert (store.galleries(), store.subjects(), store.scan(), store.events()) == before
    first = write(store, encounter_id)
    store.close()
    store = SqliteStore.open(tmp_path / "office.db")
    assert write(store, encounter_id) == first
    assert len(store.events()) == len(before[3]) + 1
    store.close()


def test_a_failing_rollback_is_made_up_for(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "office.db")
    writer = store._database._writer
    rollback = _Failing(writer, "ROLLBACK", _sqlite_error(sqlite3.SQLITE_IOERR))
    both = _Failing(rollback, "COMMIT", _sqlite_error(sqlite3.SQLITE_FULL))  # type: ignore[arg-type]
    store._database._writer = both  # type: ignore[assignment]
    with pytest.raises(StoreUnavailableError):
        store.enroll(_new("A-1", 1))
    assert (rollback.failures, writer.in_transaction) == (1, True)
    store.enroll(_new("A-2", 2))
    assert [subject.subject_id for subject in store.subjects()] == ["A-2"]
    store.close()


# --- damage ------------------------------------------------------------------------------------------------------


def _answers(store: SqliteStore) -> list[object]:
    # All that can be asked, by scans and by look-ups.
    answers: list[object] = [store.galleries(), store.subjects(limit=1000), store.scan(), store.events(limit=1000)]
    for number in range(12):
        answers.append(store.subject(f"A-{number}"))
        answers.append(store.references(f"A-{number}"))
        answers.append(store.subjects(gallery="watch", after=f"A-{number}", limit=2))
    for stored in store.scan():
        answers.append(store.stored(stored.encounter.encounter_id))
    answers.append(store.enroll(NewEncounter("A-0", (_template(0),), transaction_id="t-0")))
    answers.append(store.erase("gone", transaction_id="t-1"))
    return answers


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[object]]:
    """Return a database's bytes and the answers that it gives."""
    path = tmp_path_factory.mktemp("intact") / "office.db"
    store = SqliteStore.open(path)
    store.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="Act 1")
    store.enroll(NewEncounter("A-0", (_template(0),), transaction_id="t-0"))
    for number in range(1, 12):
        store.enroll(NewEncounter(f"A-{number}", (_template(number),), ("default", "watch"), "", "", {"n": "1"}))
    store.set_status(store.enroll(_new("A-3", 30, 31)).encounter.encounter_id, EncounterStatus.INACTIVE)
    store.enroll(_new("gone", 99))
    store.erase("gone", transaction_id="t-1")
    answers = _answers(store)
    store.close()
    return path.read_bytes(), answers


def _named_or_right(path: Path, data: bytes, answers: list[object]) -> bool:
    """Whether damage was reported, with the file's name; otherwise every answer must be what it was."""
    path.write_bytes(data)
    try:
        store = SqliteStore.open(path)
    except (StoreDamagedError, StoreUnavailableError) as error:
        return path.name in str(error)
    try:
        assert _answers(store) == answers
        store.enroll(_new("A-new", 7))
        assert store.subject("A-new").encounters[0].templates == 1
    except StoreDamagedError:
        return True
    finally:
        store.close()
    return False


def _flip_a_bit(data: bytearray, rng: np.random.Generator) -> None:
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))


def _overwrite(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data) - 64))
    data[start : start + 64] = rng.bytes(64)


def _flip_in_the_header(data: bytearray, rng: np.random.Generator) -> None:
    data[int(rng.integers(100))] ^= 1 << int(rng.integers(8))


def _zero_a_page(data: bytearray, rng: np.random.Generator) -> None:
    start = 4096 * int(rng.integers(len(data) // 4096))
    data[start : start + 4096] = bytes(4096)


@pytest.mark.parametrize(
    ("spoil", "rounds"), [(_flip_a_bit, 150), (_overwrite, 60), (_flip_in_the_header, 60), (_zero_a_page, 20)]
)
def test_damage_is_named_or_changes_no_answer(
    tmp_path: Path,
    intact: tuple[bytes, list[object]],
    rng: np.random.Generator,
    spoil: Callable[[bytearray, np.random.Generator], None],
    rounds: int,
) -> None:
    data, answers = intact
    reported = 0
    for attempt in range(rounds):
        spoiled = bytearray(data)
        spoil(spoiled, rng)
        reported += _named_or_right(tmp_path / f"{attempt}.db", bytes(spoiled), answers)
    assert reported >= rounds // 10  # the rest hit unused space


def test_every_changed_value_is_noticed(tmp_path: Path, intact: tuple[bytes, list[object]]) -> None:
    data, answers = intact
    changes = (
        b"A-5",
        b"ACTIVE",
        b"watch",
        b"WATCHLIST",
        b"ENROLLED",
        b"test@1",
        _template(5).payload[200:220],
        b'{"n": "1"',
        b'"erased_at"',
        b"append-only",
    )
    for attempt, value in enumerate(changes):
        places = [i for i in range(len(data)) if data.startswith(value, i)]
        assert places
        for place in places[:3]:
            spoiled = bytearray(data)
            spoiled[place + len(value) - 1] ^= 1
            assert _named_or_right(tmp_path / f"{attempt}-{place}.db", bytes(spoiled), answers), value


def test_a_truncated_file_is_named(tmp_path: Path, intact: tuple[bytes, list[object]]) -> None:
    data, answers = intact
    for length in (0, 1, 50, 100, 512, 4095, 4096, 5000, 8192, len(data) // 2, len(data) - 4096):
        assert _named_or_right(tmp_path / f"{length}.db", data[:length], answers), length
    _named_or_right(tmp_path / "almost.db", data[:-1], answers)  # the last byte may be unused


def test_a_damaged_template_names_its_encounter(tmp_path: Path) -> None:
    path = tmp_path / "office.db"
    store = SqliteStore.open(path)
    store.enroll(_new("A-1", 1))
    damaged = store.enroll(_new("A-2", 2)).encounter.encounter_id
    store.close()
    data = path.read_bytes()
    place = data.index(_template(2).payload)
    path.write_bytes(data[:place] + b"!" + data[place + 1 :])
    store = SqliteStore.open(path)
    assert len(store.references("A-1")) == 1
    for read in (lambda: store.references("A-2"), store.scan, lambda: store.stored(damaged)):
        with pytest.raises(StoreDamagedError, match=damaged):
            read()
    store.erase("A-2")
    assert len(store.scan()) == 1
    store.close()


def test_a_lost_template_names_its_encounter(tmp_path: Path) -> None:
    path = tmp_path / "office.db"
    store = SqliteStore.open(path)
    encounter_id = store.enroll(_new("A-1", 1, 2)).encounter.encounter_id
    store.close()
    with sqlite3.connect(path, isolation_level=None) as shell:
        shell.execute("DELETE FROM encounter_templates WHERE ordinal = 1")
    shell.close()
    store = SqliteStore.open(path)
    with pytest.raises(StoreDamagedError, match=f"{encounter_id}.*expected 2 templates, got 1"):
        store.references("A-1")
    store.close()
