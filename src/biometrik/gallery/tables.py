"""The tables of the SQLite store: rows with checksums, and the values made of them. What they are: schema.py."""

import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from biometrik.errors import (
    GalleryExistsError,
    StoreDamagedError,
    SubjectNotFoundError,
    TransactionConflictError,
)
from biometrik.gallery.records import (
    NO_DETAILS,
    Event,
    EventKind,
    Quarantined,
    Sealed,
    Transaction,
    check_existing,
    gallery_details,
)
from biometrik.types import (
    Encounter,
    EncounterStatus,
    GalleryInfo,
    GalleryKind,
    MissingReason,
    MissingSample,
    Subject,
    Trait,
)

# --- rows and their checksums ------------------------------------------------------------------------------------

#: Most rows that one statement inserts.
_TOGETHER: Final = 16


def insert(connection: sqlite3.Connection, table: str, row: tuple[object, ...]) -> None:
    """Insert a row and its checksum."""
    insert_all(connection, table, [row])


def insert_all(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, each with its checksum."""
    _write_rows(connection, table, [(*row, _crc(table, row)) for row in rows])


def _write_rows(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    # A statement for up to _TOGETHER rows, and not executemany, which lets the interpreter go at each row: among
    # threads that want it, that is a switch a row. Powers of two, so that few statements are prepared.
    start, count = 0, _TOGETHER
    while start < len(rows):
        while count > len(rows) - start:
            count //= 2
        part = rows[start : start + count]
        places = f"({', '.join('?' * len(part[0]))})"
        values = ", ".join([places] * count)
        connection.execute(f"INSERT INTO {table} VALUES {values}", [value for row in part for value in row])
        start += count


def rows(
    connection: sqlite3.Connection, table: str, condition: str = "TRUE", parameters: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """Return rows without their checksums, which are verified; raises StoreDamagedError."""
    found = []
    for *row, crc in connection.execute(f"SELECT * FROM {table} WHERE {condition}", parameters):
        if crc != _crc(table, row):
            raise _damaged(table)
        found.append(tuple(row))
    return found


def among(connection: sqlite3.Connection, table: str, column: str, texts: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return as :func:`rows` those that have one of these texts in a column."""
    if not texts:
        return []
    return rows(connection, table, f"{column} IN (SELECT value FROM json_each(?))", (json.dumps(texts),))


def next_number(connection: sqlite3.Connection, table: str) -> int:
    """Return the number that AUTOINCREMENT would give; it is needed for the checksum."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 1 if row is None else int(row[0]) + 1


def text(at: datetime) -> str:
    """Return a time as it is stored, RFC 3339 in UTC."""
    return at.isoformat(timespec="microseconds")


time = datetime.fromisoformat


def _crc(table: str, row: Sequence[object]) -> int:
    # !a is the same in every Python for the strings and integers that belong here, and takes whatever damage
    # puts in their place.
    return zlib.crc32(f"{table}{tuple(row)!a}".encode())


def _damaged(table: str) -> StoreDamagedError:
    return StoreDamagedError(f"{table}: a row is not what was written; restore a backup")


# --- galleries, subjects, encounters -----------------------------------------------------------------------------


def insert_gallery(
    connection: sqlite3.Connection, gallery: GalleryInfo, details: Mapping[str, str] = NO_DETAILS
) -> int:
    """Create a gallery and record it; returns the event."""
    name, kind, at = gallery.name, gallery.kind.value, gallery.created_at
    if rows(connection, "galleries", "name = ?", (name,)):
        raise GalleryExistsError(f"gallery: {name!r} exists already")
    number = next_number(connection, "galleries")
    insert(connection, "galleries", (number, name, kind, text(at), gallery.legal_basis, gallery.retention_days))
    return record(connection, at, EventKind.GALLERY_CREATED, {**details, **gallery_details(gallery)})


def gallery_number(connection: sqlite3.Connection, name: str) -> int:
    """Return a gallery's number; raises GalleryNotFoundError."""
    return int(_gallery_row(connection, name)[0])


def gallery(connection: sqlite3.Connection, name: str) -> tuple[int, GalleryInfo]:
    """Return a gallery's number, and what it is with its counts; raises GalleryNotFoundError."""
    number, _, kind, created_at, legal_basis, retention_days = _gallery_row(connection, name)
    subjects, encounters = connection.execute(
        "SELECT count(DISTINCT subject_id), count(*) FROM encounter_galleries"
        f" JOIN encounters ON number = encounter WHERE gallery = ? AND {_SERVED}",
        (number,),
    ).fetchone()
    kind = GalleryKind(kind)
    return number, GalleryInfo(name, kind, time(created_at), subjects, encounters, legal_basis, retention_days)


def _gallery_row(connection: sqlite3.Connection, name: str) -> tuple[Any, ...]:
    found = rows(connection, "galleries", "name = ?", (name,))
    check_existing((name,), [row[1] for row in found])
    return found[0]


def gallery_names(connection: sqlite3.Connection) -> dict[int, str]:
    """Return the galleries' names by number."""
    return {row[0]: row[1] for row in rows(connection, "galleries")}


def join(connection: sqlite3.Connection, number: int, galleries: Sequence[str]) -> None:
    """Let an encounter join galleries; raises GalleryNotFoundError."""
    join_all(connection, [(number, galleries)])


def join_all(connection: sqlite3.Connection, joining: Sequence[tuple[int, Sequence[str]]]) -> None:
    """Let each of several encounters join galleries; raises GalleryNotFoundError."""
    number_of = {name: gallery for gallery, name in gallery_names(connection).items()}
    for _, names in joining:
        check_existing(names, tuple(number_of))
    rows = [(number, number_of[name]) for number, names in joining for name in names]
    insert_all(connection, "encounter_galleries", rows)


def subject_row(connection: sqlite3.Connection, subject_id: str) -> tuple[Any, ...]:
    """Return subject_id, created_at; raises SubjectNotFoundError."""
    found = rows(connection, "subjects", "subject_id = ?", (subject_id,))
    if not found:
        raise SubjectNotFoundError("subject: nobody is enrolled under this id")
    return found[0]


def subjects(connection: sqlite3.Connection, condition: str, parameters: Sequence[object]) -> list[Subject]:
    """Return the subjects that fit a condition (which may order and limit them), with their encounters."""
    people = rows(connection, "subjects", condition, parameters)
    encounters_of: dict[str, list[Encounter]] = {}
    within = f"subject_id IN (SELECT subject_id FROM subjects WHERE {condition})"
    for encounter in encounters(connection, within, parameters).values():
        encounters_of.setdefault(encounter.subject_id, []).append(encounter)
    return [
        Subject(subject_id, time(created_at), tuple(encounters_of.get(subject_id, ())))
        for subject_id, created_at in people
    ]


def encounters(connection: sqlite3.Connection, condition: str, parameters: Sequence[object]) -> dict[int, Encounter]:
    """Return the encounters that fit a condition and are not in quarantine by number, oldest first."""
    names = gallery_names(connection)
    condition = f"{_SERVED} AND {condition}"
    galleries_of: dict[int, list[str]] = {}
    within = f"encounter IN (SELECT number FROM encounters WHERE {condition})"
    for number, gallery in rows(connection, "encounter_galleries", within, parameters):
        if gallery not in names:
            raise _damaged("encounter_galleries")
        galleries_of.setdefault(number, []).append(names[gallery])
    return {
        number: Encounter(
            encounter_id,
            subject_id,
            EncounterStatus(status),
            tuple(sorted(galleries_of.get(number, ()))),
            time(created_at),
            templates,
            tuple(Trait.named(name) for name in json.loads(traits)),
            tuple(MissingSample(p, MissingReason(why), permanent) for p, why, permanent in json.loads(missing)),
        )
        for number, encounter_id, subject_id, status, created_at, templates, traits, missing in sorted(
            rows(connection, "encounters", condition, parameters)
        )
    }


def write_status(connection: sqlite3.Connection, number: int, encounter: Encounter) -> None:
    """Change an encounter's status in its own row."""
    row = encounter_row(number, encounter)
    connection.execute(
        "UPDATE encounters SET status = ?, crc = ? WHERE number = ?",
        (encounter.status.value, _crc("encounters", row), number),
    )


def encounter_row(number: int, encounter: Encounter) -> tuple[object, ...]:
    """Return an encounter's own row; galleries and templates are other tables' matter."""
    return (
        number,
        encounter.encounter_id,
        encounter.subject_id,
        encounter.status.value,
        text(encounter.created_at),
        encounter.templates,
        _names(encounter.traits),
        json.dumps([(row.position, row.reason.value, row.permanent) for row in encounter.missing])
        if encounter.missing
        else "[]",
    )


@lru_cache(maxsize=64)  # most encounters show what others do
def _names(traits: tuple[Trait, ...]) -> str:
    return json.dumps([trait.name for trait in traits])


# --- templates: rows that never move, see schema.py --------------------------------------------------------------

#: Most room that a template may leave unused in a slot that it takes over, as a part of its size: what is lost to
#: prints, whose sizes differ; templates of faces all have one size.
_MOST_UNUSED: Final = 1 / 8


def keep_templates(connection: sqlite3.Connection, templates: Sequence[tuple[int, int, bytes]]) -> None:
    """Keep templates, each with its encounter and ordinal, in the smallest free slot that fits well, else a new one."""
    if connection.execute("SELECT EXISTS (SELECT 1 FROM free_slots)").fetchone() == (1,):
        slots: Sequence[int] = [_slot_for(connection, data) for _, _, data in templates]
    else:
        first = _new_slot(connection)
        slots = range(first, first + len(templates))
        new = [(slot, data) for slot, (_, _, data) in zip(slots, templates, strict=True)]
        _write_rows(connection, "templates", new)
    held = [(*where, slot, len(data)) for slot, (*where, data) in zip(slots, templates, strict=True)]
    insert_all(connection, "encounter_templates", held)


def _slot_for(connection: sqlite3.Connection, sealed: bytes) -> int:
    size = len(sealed)
    for slot, room in rows(
        connection,
        "free_slots",
        "room_bytes BETWEEN ? AND ? ORDER BY room_bytes LIMIT 1",
        (size, int(size * (1 + _MOST_UNUSED))),
    ):
        connection.execute("DELETE FROM free_slots WHERE slot = ?", (slot,))
        connection.execute("UPDATE templates SET sealed = ? WHERE slot = ?", (sealed.ljust(room, b"\0"), slot))
        return int(slot)
    slot = _new_slot(connection)
    connection.execute("INSERT INTO templates VALUES (?, ?)", (slot, sealed))
    return slot


def _new_slot(connection: sqlite3.Connection) -> int:
    # At the end of the table, so that no row moves.
    return int(connection.execute("SELECT coalesce(max(slot), 0) + 1 FROM templates").fetchone()[0])


def erase_templates(connection: sqlite3.Connection, subject_id: str) -> int:
    """Overwrite the templates of a subject with zeros, and free their slots; returns how many there were."""
    mine = "encounter IN (SELECT number FROM encounters WHERE subject_id = ?)"
    (expected,) = connection.execute(
        "SELECT total(templates) FROM encounters WHERE subject_id = ?", (subject_id,)
    ).fetchone()
    held = connection.execute(f"SELECT * FROM encounter_templates WHERE {mine}", (subject_id,)).fetchall()
    connection.execute(f"DELETE FROM encounter_templates WHERE {mine}", (subject_id,))
    slots = [row[2] for *row, crc in held if crc == _crc("encounter_templates", row)]
    if len(slots) != expected:  # a damaged row may name somebody else's slot: then whatever slots nobody has
        slots = [slot for (slot,) in connection.execute(_SLOTS_OF_NOBODY)]
    for slot in slots:
        connection.execute(
            "UPDATE templates SET sealed = zeroblob(length(CAST(sealed AS BLOB))) WHERE slot = ?", (slot,)
        )
        for (room,) in connection.execute("SELECT length(sealed) FROM templates WHERE slot = ?", (slot,)).fetchall():
            insert(connection, "free_slots", (slot, room))
    return len(held)


_SLOTS_OF_NOBODY: Final = (
    "SELECT slot FROM templates"
    " WHERE slot NOT IN (SELECT slot FROM encounter_templates) AND slot NOT IN (SELECT slot FROM free_slots)"
)


def sealed(connection: sqlite3.Connection, condition: str, parameters: Sequence[object]) -> list[Sealed]:
    """Return the encounters that fit a condition with their templates, oldest first."""
    templates_of: dict[int, list[bytes]] = {}
    for *row, crc, data in connection.execute(
        "SELECT encounter, ordinal, slot, size_bytes, crc, sealed FROM encounter_templates LEFT JOIN templates"
        " USING (slot) WHERE encounter IN"
        f" (SELECT number FROM encounters WHERE {_SERVED} AND {condition}) ORDER BY encounter, ordinal",
        parameters,
    ):
        if crc != _crc("encounter_templates", row):
            raise _damaged("encounter_templates")
        number, _, _, size = row
        # Anything but bytes is damage.
        templates_of.setdefault(number, []).append(data[:size] if isinstance(data, bytes) else b"")
    return [
        Sealed(number, encounter, tuple(templates_of.get(number, ())))
        for number, encounter in encounters(connection, condition, parameters).items()
    ]


# --- quarantine --------------------------------------------------------------------------------------------------

_SERVED = "number NOT IN (SELECT encounter FROM quarantine)"


def quarantined(
    connection: sqlite3.Connection, condition: str = "TRUE", parameters: Sequence[object] = ()
) -> list[Quarantined]:
    """Return encounters that were set aside, oldest first."""
    found = sorted(rows(connection, "quarantine", condition, parameters))
    return [Quarantined(encounter_id, subject_id, time(at), what) for _, encounter_id, subject_id, at, what in found]


def set_aside(connection: sqlite3.Connection, number: int, damaged: Quarantined) -> None:
    """Put an encounter into quarantine and record it; its rows stay, and are read no more."""
    ids = damaged.encounter_id, damaged.subject_id
    insert(connection, "quarantine", (number, *ids, text(damaged.since), damaged.what))
    details = {"what": damaged.what}
    record(connection, damaged.since, EventKind.QUARANTINED, details, damaged.subject_id, damaged.encounter_id)


# --- events and transactions -------------------------------------------------------------------------------------


def last_event(connection: sqlite3.Connection) -> int:
    """Return the sequence number of the newest event, 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()[0])


def record(
    connection: sqlite3.Connection,
    at: datetime,
    kind: EventKind,
    details: Mapping[str, str],
    subject_id: str = "",
    encounter_id: str = "",
) -> int:
    """Append an event; returns its sequence number."""
    return record_all(connection, kind, [(at, details, subject_id, encounter_id)])


def record_all(
    connection: sqlite3.Connection, kind: EventKind, events: Sequence[tuple[datetime, Mapping[str, str], str, str]]
) -> int:
    """Append events, each with its time, details, subject and encounter; returns the first one's sequence number."""
    first = last_event(connection) + 1
    rows = [
        (sequence, text(at), kind.value, subject_id, encounter_id, json.dumps(dict(details)))
        for sequence, (at, details, subject_id, encounter_id) in enumerate(events, start=first)
    ]
    insert_all(connection, "events", rows)
    return first


def events(connection: sqlite3.Connection, after: int, limit: int) -> list[Event]:
    """Return a page of the log, oldest first."""
    page = rows(connection, "events", "sequence > ? ORDER BY sequence LIMIT ?", (after, limit))
    return [
        Event(sequence, time(at), EventKind(kind), subject_id, encounter_id, json.loads(details))
        for sequence, at, kind, subject_id, encounter_id, details in page
    ]


def remembered(connection: sqlite3.Connection, transactions: Sequence[Transaction]) -> dict[str, dict[str, Any]]:
    """Return the answers that transactions were given by their ids, without those that are new or have no id.

    Raises
    ------
    TransactionConflictError
        One of them was another request.
    """
    asked = {transaction.id: transaction.digest for transaction in transactions if transaction.id}
    found = among(connection, "transactions", "transaction_id", list(asked))
    if any(asked[transaction_id] != first for transaction_id, first, _ in found):
        raise TransactionConflictError("transaction_id: used before with another request; choose a new one")
    return {transaction_id: dict(json.loads(answer)) for transaction_id, _, answer in found}


def remember(connection: sqlite3.Connection, answered: Sequence[tuple[Transaction, str]]) -> None:
    """Keep the answers of transactions, JSON; of those that have an id."""
    rows = [(transaction.id, transaction.digest, answer) for transaction, answer in answered if transaction.id]
    insert_all(connection, "transactions", rows)
