"""A file of schema version 1 is brought to the present one: whole, in one transaction, with its answers."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from biometrik.errors import StoreDamagedError, TransactionConflictError
from biometrik.gallery import tables
from biometrik.gallery.database import Database
from biometrik.gallery.database_file import Schema
from biometrik.gallery.records import EventKind, NewEncounter, certificate
from biometrik.gallery.schema import SCHEMA
from biometrik.gallery.stores.sqlite import SqliteStore
from biometrik.types import FACE, EncounterStatus, GalleryInfo, GalleryKind, Modality, Template, sha256_hex

#: As version 1 wrote it into a new file.
_SCRIPT_1 = """\
CREATE TABLE galleries (
    gallery INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, created_at TEXT NOT NULL,
    crc INTEGER NOT NULL);
CREATE TABLE subjects (subject_id TEXT PRIMARY KEY NOT NULL, created_at TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE encounters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, encounter_id TEXT NOT NULL UNIQUE,
    subject_id TEXT NOT NULL REFERENCES subjects, status TEXT NOT NULL, created_at TEXT NOT NULL,
    templates INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX encounters_of_subject ON encounters (subject_id);
CREATE TABLE encounter_galleries (
    encounter INTEGER NOT NULL REFERENCES encounters, gallery INTEGER NOT NULL REFERENCES galleries,
    crc INTEGER NOT NULL, PRIMARY KEY (encounter, gallery));
CREATE INDEX encounters_of_gallery ON encounter_galleries (gallery);
CREATE TABLE templates (
    encounter INTEGER NOT NULL REFERENCES encounters, ordinal INTEGER NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (encounter, ordinal));
CREATE TABLE transactions (
    transaction_id TEXT PRIMARY KEY NOT NULL, digest TEXT NOT NULL, answer TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL, subject_id TEXT NOT NULL,
    encounter_id TEXT NOT NULL, details TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events: append-only'); END;
CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events: append-only'); END;
CREATE TRIGGER events_have_no_gaps BEFORE INSERT ON events
    WHEN NEW.sequence <> (SELECT coalesce(max(sequence), 0) + 1 FROM events)
    BEGIN SELECT RAISE(ABORT, 'events: append-only'); END;
"""

AT = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
TEMPLATE = Template(Modality.FACE, "test@1", b"1234")
#: Under each transaction: what version 1 remembered of it.
ENROLLED = {"event": 4, "number": 1, "encounter_id": "e-1", "created_at": tables.text(AT), "templates": 1}
ERASED = {"erased_at": tables.text(AT), "encounters": 2, "templates": 3, "event": 5}


def _fill_1(connection: sqlite3.Connection) -> None:
    """Write the rows of: two galleries, a third deleted; A-1 enrolled and set inactive; A-2 erased."""
    at = tables.text(AT)
    for number, name, kind in ((1, "default", "POPULATION"), (2, "watch", "WATCHLIST"), (3, "gone", "POPULATION")):
        tables.insert(connection, "galleries", (number, name, kind, at))
    connection.execute("DELETE FROM galleries WHERE gallery = 3")
    tables.insert(connection, "subjects", ("A-1", at))
    tables.insert(connection, "encounters", (1, "e-1", "A-1", "INACTIVE", at, 1))
    connection.execute("INSERT INTO templates VALUES (1, 0, ?)", (TEMPLATE.to_bytes(),))
    tables.insert(connection, "encounter_galleries", (1, 2))
    digest = certificate("A-2", AT, 2, 3, 5).digest
    for kind_of, details, subject_id, encounter_id in (
        (EventKind.GALLERY_CREATED, {"gallery": "default", "kind": "POPULATION"}, "", ""),
        (EventKind.GALLERY_CREATED, {"gallery": "watch", "kind": "WATCHLIST"}, "", ""),
        (EventKind.GALLERY_DELETED, {"gallery": "gone"}, "", ""),
        (EventKind.ENROLLED, {"galleries": '["default", "watch"]', "templates": "1"}, "A-1", "e-1"),
        (EventKind.ERASED, {"encounters": "2", "templates": "3", "digest": digest}, "A-2", ""),
        (EventKind.STATUS_CHANGED, {"status": "INACTIVE"}, "A-1", "e-1"),
    ):
        tables.record(connection, AT, kind_of, details, subject_id, encounter_id)
    enroll = sha256_hex(b"ENROLL", b"A-1", b"d", b"default", b"watch")
    for row in (("t-1", enroll, json.dumps(ENROLLED)), ("t-2", sha256_hex(b"ERASE", b"A-2"), json.dumps(ERASED))):
        tables.insert(connection, "transactions", row)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file as version 1 left it."""
    path = tmp_path / "office.db"
    Database(path, Schema(1, _SCRIPT_1, _fill_1)).close()
    return path


def _shell(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path, isolation_level=None)
    found = connection.execute(statement).fetchall()
    connection.close()
    return found


def test_everything_is_there_and_the_terms_of_galleries_are_unsaid(path: Path) -> None:
    store = SqliteStore.open(path)
    assert store.galleries() == [
        GalleryInfo("default", GalleryKind.POPULATION, AT, 0, 0),
        GalleryInfo("watch", GalleryKind.WATCHLIST, AT, 1, 1, "", 0),
    ]
    (stored,) = store.scan()
    assert (stored.number, stored.templates) == (1, (TEMPLATE,))
    encounter = stored.encounter
    assert (encounter.encounter_id, encounter.subject_id, encounter.status) == ("e-1", "A-1", EncounterStatus.INACTIVE)
    assert (encounter.galleries, encounter.created_at) == (("watch",), AT)
    assert (encounter.traits, encounter.missing) == ((FACE,), ())
    assert [event.sequence for event in store.events()] == [1, 2, 3, 4, 5, 6]
    store.close()


def test_the_first_answers_are_given_again(path: Path) -> None:
    store = SqliteStore.open(path)
    new = NewEncounter("A-1", (TEMPLATE,), ("default", "watch"), "t-1", "d")
    again = store.enroll(new)
    assert (again.event, again.number, again.encounter.encounter_id) == (4, 1, "e-1")
    assert (again.encounter.status, again.encounter.created_at) == (EncounterStatus.ACTIVE, AT)
    assert (again.encounter.galleries, again.encounter.templates) == (("default", "watch"), 1)
    assert store.erase("A-2", transaction_id="t-2") == certificate("A-2", AT, 2, 3, 5)
    with pytest.raises(TransactionConflictError):
        store.enroll(replace(new, request_digest="e"))
    assert store.last_event() == 6
    store.close()


def test_what_follows_is_written_as_into_a_new_file(path: Path) -> None:
    store = SqliteStore.open(path)
    created = store.create_gallery("desk", GalleryKind.WATCHLIST, legal_basis="Act 1", retention_days=9)
    store.set_galleries("e-1", ["desk", "default"], transaction_id="t-3")
    store.close()
    assert _shell(path, "PRAGMA user_version") == [(5,)]
    assert _shell(path, "SELECT gallery FROM galleries WHERE name = 'desk'") == [(4,)]  # 3 was given to "gone"
    store = SqliteStore.open(path)  # as its present version, with all checks
    assert store.gallery("desk") == replace(created.gallery, subjects=1, encounters=1)
    store.close()


def test_copies_that_older_versions_left_of_the_erased_are_gone(path: Path) -> None:
    # What SQLite leaves in unused space of a page, put there by hand: between the pointers and the cells of the leaf.
    stale = b"what is left of somebody"
    data = bytearray(path.read_bytes())
    start = data.index(TEMPLATE.to_bytes()) // 4096 * 4096
    data[start + 100 : start + 100 + len(stale)] = stale
    path.write_bytes(data)
    store = SqliteStore.open(path)
    assert all(stale not in file.read_bytes() for file in path.parent.iterdir())
    (stored,) = store.scan()
    assert stored.templates == (TEMPLATE,)
    store.close()


def test_damaged_templates_stay_damaged_and_those_of_others_come_along(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        tables.insert(connection, "encounters", (2, "e-2", "A-1", "ACTIVE", tables.text(AT), 1))
        connection.execute("INSERT INTO templates VALUES (2, 0, 'text')")
    store = SqliteStore.open(path)
    assert store.stored("e-1").templates == (TEMPLATE,)
    with pytest.raises(StoreDamagedError, match="e-2"):
        store.stored("e-2")
    store.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        SCHEMA.migrations[0](connection)
        raise KeyboardInterrupt

    before = _shell(path, "SELECT name, sql FROM sqlite_master"), _shell(path, "SELECT * FROM transactions")
    with pytest.raises(KeyboardInterrupt):
        Database(path, replace(SCHEMA, migrations=(fail, *SCHEMA.migrations[1:])))
    assert _shell(path, "PRAGMA user_version") == [(1,)]
    assert (_shell(path, "SELECT name, sql FROM sqlite_master"), _shell(path, "SELECT * FROM transactions")) == before
    Database(path, Schema(1, _SCRIPT_1, _fill_1)).close()  # version 1 still opens it
    SqliteStore.open(path).close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE galleries SET kind = 'POPULATION' WHERE name = 'watch'",
        "UPDATE transactions SET answer = '{}'",
        "DROP TRIGGER events_are_not_deleted",
        "ALTER TABLE galleries ADD COLUMN more TEXT",
        "DELETE FROM galleries WHERE name = 'watch'",
    ],
)
def test_a_damaged_file_is_named_and_stays_at_version_1(path: Path, damage: str) -> None:
    _shell(path, damage)
    with pytest.raises(StoreDamagedError, match=r"office\.db.*restore a backup"):
        SqliteStore.open(path)
    assert _shell(path, "PRAGMA user_version") == [(1,)]


def test_an_answer_that_its_event_does_not_bear_out_is_damage(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DELETE FROM transactions")
    tables.insert(connection, "transactions", ("t-1", "digest", json.dumps({**ENROLLED, "event": 99})))
    connection.close()
    with pytest.raises(StoreDamagedError, match="not what schema version 1 wrote; restore a backup"):
        SqliteStore.open(path)
