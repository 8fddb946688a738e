"""The definition of the SQLite store's tables, and how a file of an older version is brought to it."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from biometrik.gallery import answers, tables
from biometrik.gallery.database_file import Schema, statements
from biometrik.gallery.records import DEFAULT_GALLERY, Answer, Change, EventKind, certificate
from biometrik.types import Encounter, EncounterStatus, GalleryInfo, GalleryKind

# Every table but `templates` (whose blobs carry their own) ends in a checksum over the other columns: SQLite's
# checks find damage to its structure, not to a value. Numbers are never given twice (AUTOINCREMENT), because index
# and log outlive a row.
_GALLERIES: Final = """\
CREATE TABLE galleries (
    gallery INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, created_at TEXT NOT NULL,
    legal_basis TEXT NOT NULL, retention_days INTEGER NOT NULL, crc INTEGER NOT NULL);
"""
_ENCOUNTERS: Final = """\
CREATE TABLE encounters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, encounter_id TEXT NOT NULL UNIQUE,
    subject_id TEXT NOT NULL REFERENCES subjects, status TEXT NOT NULL, created_at TEXT NOT NULL,
    templates INTEGER NOT NULL, traits TEXT NOT NULL, missing TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX encounters_of_subject ON encounters (subject_id);
"""
_QUARANTINE: Final = """\
CREATE TABLE quarantine (
    encounter INTEGER PRIMARY KEY NOT NULL REFERENCES encounters, encounter_id TEXT NOT NULL, subject_id TEXT NOT NULL,
    since TEXT NOT NULL, what TEXT NOT NULL, crc INTEGER NOT NULL);
"""
# SQLite's secure_delete does not reach the copies that it leaves where it moves a row to another page. So rows with
# templates are only appended and overwritten by as many bytes, for which no row is moved (ADR 20): the slot of an
# erased template is zeros and free for another. A table with rowids: blobs in one without are 3–4 times slower.
_TEMPLATES: Final = """\
CREATE TABLE templates (slot INTEGER PRIMARY KEY NOT NULL, sealed BLOB NOT NULL);
CREATE TABLE encounter_templates (
    encounter INTEGER NOT NULL REFERENCES encounters, ordinal INTEGER NOT NULL, slot INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (encounter, ordinal)) WITHOUT ROWID;
CREATE TABLE free_slots (slot INTEGER PRIMARY KEY NOT NULL, room_bytes INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX free_slots_by_room ON free_slots (room_bytes);
CREATE TRIGGER templates_are_not_deleted BEFORE DELETE ON templates
    BEGIN SELECT RAISE(ABORT, 'templates: rows stay'); END;
CREATE TRIGGER templates_keep_their_size BEFORE UPDATE ON templates
    WHEN NEW.slot <> OLD.slot OR length(CAST(NEW.sealed AS BLOB)) <> length(CAST(OLD.sealed AS BLOB))
    BEGIN SELECT RAISE(ABORT, 'templates: rows keep their size'); END;
"""
_OTHERS: Final = """\
CREATE TABLE subjects (subject_id TEXT PRIMARY KEY NOT NULL, created_at TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE encounter_galleries (
    encounter INTEGER NOT NULL REFERENCES encounters, gallery INTEGER NOT NULL REFERENCES galleries,
    crc INTEGER NOT NULL, PRIMARY KEY (encounter, gallery));
CREATE INDEX encounters_of_gallery ON encounter_galleries (gallery);
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


def _create_default_gallery(connection: sqlite3.Connection) -> None:
    tables.insert_gallery(connection, GalleryInfo(DEFAULT_GALLERY, GalleryKind.POPULATION, datetime.now(UTC), 0, 0))


def _from_version_1(connection: sqlite3.Connection) -> None:
    # Galleries get their legal basis and retention, both unsaid. Answers of transactions get all their fields: version
    # 1 left out what a request of its two kinds says itself, and the event has it.
    galleries = tables.rows(connection, "galleries")
    given = tables.next_number(connection, "galleries") - 1
    connection.execute("DROP TABLE galleries")  # altered, its definition would differ from that of a new file
    connection.execute(_GALLERIES)
    for row in galleries:
        tables.insert(connection, "galleries", (*row, "", 0))
    connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'galleries'", (given,))
    for transaction_id, digest, answer in tables.rows(connection, "transactions"):
        whole = answers.as_json(_answer_of_version_1(connection, json.loads(answer)))
        connection.execute("DELETE FROM transactions WHERE transaction_id = ?", (transaction_id,))
        tables.insert(connection, "transactions", (transaction_id, digest, whole))


def _answer_of_version_1(connection: sqlite3.Connection, fields: Mapping[str, Any]) -> Answer:
    (event,) = tables.events(connection, fields["event"] - 1, 1)
    if event.kind is EventKind.ERASED:
        erased_at = tables.time(fields["erased_at"])
        return certificate(event.subject_id, erased_at, fields["encounters"], fields["templates"], event.sequence)
    encounter = Encounter(
        fields["encounter_id"],
        event.subject_id,
        EncounterStatus.ACTIVE,
        tuple(json.loads(event.details["galleries"])),
        tables.time(fields["created_at"]),
        fields["templates"],
    )
    return Change(event.sequence, fields["number"], encounter)


def _from_version_2(connection: sqlite3.Connection) -> None:
    # Encounters say what their templates are of, and what could not be had. Until version 2 all were of faces.
    encounters = tables.rows(connection, "encounters")
    given = tables.next_number(connection, "encounters") - 1
    connection.execute("DROP INDEX encounters_of_subject")
    connection.execute("DROP TABLE encounters")  # altered, its definition would differ from that of a new file
    for statement in _ENCOUNTERS.split(";")[:-1]:
        connection.execute(statement)
    for row in encounters:
        tables.insert(connection, "encounters", (*row, '["face"]', "[]"))
    connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'encounters'", (given,))


def _from_version_3(connection: sqlite3.Connection) -> None:
    # Damaged encounters can be set aside.
    connection.execute(_QUARANTINE)


def _from_version_4(connection: sqlite3.Connection) -> None:
    # Templates get slots. Dropping the old table zeroes its pages, with all copies of what was erased before.
    connection.execute("ALTER TABLE templates RENAME TO templates_of_version_4")
    for statement in statements(_TEMPLATES):
        connection.execute(statement)
    for number, ordinal, sealed in connection.execute(
        "SELECT encounter, ordinal, sealed FROM templates_of_version_4 ORDER BY encounter, ordinal"
    ):
        data = sealed if isinstance(sealed, bytes) else b""  # else it is damage
        tables.keep_templates(connection, [(number, ordinal, data)])
    connection.execute("DROP TABLE templates_of_version_4")


SCHEMA: Final = Schema(
    5,
    _GALLERIES + _ENCOUNTERS + _TEMPLATES + _OTHERS + _QUARANTINE,
    _create_default_gallery,
    (_from_version_1, _from_version_2, _from_version_3, _from_version_4),
)
