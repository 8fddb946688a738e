"""The store in one SQLite file: rows with checksums, and the log of events in the same transactions."""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Self

from biometrik.errors import EncounterNotFoundError
from biometrik.gallery import tables
from biometrik.gallery.database import Database
from biometrik.gallery.protection import Protection
from biometrik.gallery.records import Change, Event, EventKind, NewEncounter, Sealed, certificate, listed
from biometrik.gallery.store import Store
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    Subject,
)


class SqliteStore(Store):
    """One SQLite file, in WAL mode, owned by one process; see :class:`biometrik.gallery.database.Database`."""

    def __init__(self, database: Database, protection: Protection | None = None) -> None:
        super().__init__(protection)
        self._database = database

    @classmethod
    def open(cls, path: str | PathLike[str], *, protection: Protection | None = None) -> Self:
        """Open the file, creating it with mode 0600 if it is not there; its folder must exist."""
        return cls(Database(Path(path), tables.SCHEMA), protection)

    def close(self) -> None:
        """Close the file and give up its ownership."""
        self._database.close()

    def last_event(self) -> int:
        """Return the sequence number of the newest event."""
        with self._database.reading() as connection:
            return tables.last_event(connection)

    def _enroll(self, new: NewEncounter, encounter_id: str, sealed: tuple[bytes, ...], at: datetime) -> Change:
        with self._database.writing() as connection:
            answer = tables.remembered(connection, new.transaction_id, new.digest)
            if answer is not None:
                return _first_change(new, answer)
            if not tables.rows(connection, "subjects", "subject_id = ?", (new.subject_id,)):
                tables.insert(connection, "subjects", (new.subject_id, tables.text(at)))
            number = tables.next_number(connection, "encounters")
            encounter = Encounter(encounter_id, new.subject_id, EncounterStatus.ACTIVE, new.galleries, at, len(sealed))
            tables.write_encounter(connection, number, encounter)
            tables.join(connection, number, new.galleries)
            connection.executemany(
                "INSERT INTO templates VALUES (?, ?, ?)",
                [(number, ordinal, data) for ordinal, data in enumerate(sealed)],
            )
            event = tables.record(connection, at, EventKind.ENROLLED, new.event_details, new.subject_id, encounter_id)
            answer = {
                "event": event,
                "number": number,
                "encounter_id": encounter_id,
                "created_at": tables.text(at),
                "templates": len(sealed),
            }
            tables.remember(connection, new.transaction_id, new.digest, answer)
            return _first_change(new, answer)

    def _erase(self, subject_id: str, transaction_id: str, digest: str, at: datetime) -> ErasureCertificate:
        with self._database.writing() as connection:
            answer = tables.remembered(connection, transaction_id, digest)
            if answer is None:
                tables.subject_row(connection, subject_id)
                mine = "encounter IN (SELECT number FROM encounters WHERE subject_id = ?)"
                gone = {
                    table: connection.execute(f"DELETE FROM {table} WHERE {condition}", (subject_id,)).rowcount
                    for table, condition in (
                        ("templates", mine),
                        ("encounter_galleries", mine),
                        ("encounters", "subject_id = ?"),
                        ("subjects", "subject_id = ?"),
                    )
                }
                answer = {
                    "erased_at": tables.text(at),
                    "encounters": gone["encounters"],
                    "templates": gone["templates"],
                    "event": tables.last_event(connection) + 1,
                }
                details = {
                    "encounters": str(gone["encounters"]),
                    "templates": str(gone["templates"]),
                    "digest": _first_certificate(subject_id, answer).digest,
                }
                tables.record(connection, at, EventKind.ERASED, details, subject_id)
                tables.remember(connection, transaction_id, digest, answer)
        self._database.scrub()  # for a repeat, too: the first attempt may have failed here
        return _first_certificate(subject_id, answer)

    def _set_status(self, encounter_id: str, status: EncounterStatus, at: datetime) -> Change:
        with self._database.writing() as connection:
            number, encounter = _encounter(connection, encounter_id)
            if encounter.status is status:
                return Change(0, number, encounter)
            changed = replace(encounter, status=status)
            tables.write_encounter(connection, number, changed)
            kind, details = EventKind.STATUS_CHANGED, {"status": status.value}
            event = tables.record(connection, at, kind, details, encounter.subject_id, encounter_id)
            return Change(event, number, changed)

    def _set_galleries(self, encounter_id: str, galleries: tuple[str, ...], at: datetime) -> Change:
        with self._database.writing() as connection:
            number, encounter = _encounter(connection, encounter_id)
            connection.execute("DELETE FROM encounter_galleries WHERE encounter = ?", (number,))
            tables.join(connection, number, galleries)
            if encounter.galleries == galleries:
                return Change(0, number, encounter)
            details = {"galleries": listed(galleries)}
            kind = EventKind.GALLERIES_CHANGED
            event = tables.record(connection, at, kind, details, encounter.subject_id, encounter_id)
            return Change(event, number, replace(encounter, galleries=galleries))

    def _create_gallery(self, name: str, kind: GalleryKind, at: datetime) -> int:
        with self._database.writing() as connection:
            return tables.insert_gallery(connection, name, kind, at)

    def _delete_gallery(self, name: str, at: datetime) -> int:
        with self._database.writing() as connection:
            gallery = tables.gallery_row(connection, name)[0]
            connection.execute("DELETE FROM encounter_galleries WHERE gallery = ?", (gallery,))
            connection.execute("DELETE FROM galleries WHERE gallery = ?", (gallery,))
            return tables.record(connection, at, EventKind.GALLERY_DELETED, {"gallery": name})

    def _subject(self, subject_id: str) -> Subject:
        with self._database.reading() as connection:
            tables.subject_row(connection, subject_id)
            return tables.subjects(connection, "subject_id = ?", (subject_id,))[0]

    def _subjects(self, gallery: str | None, after: str, limit: int) -> list[Subject]:
        with self._database.reading() as connection:
            condition, parameters = "subject_id > ?", [after]
            if gallery is not None:
                condition += (
                    " AND EXISTS (SELECT 1 FROM encounters JOIN encounter_galleries ON encounter = number"
                    " WHERE encounters.subject_id = subjects.subject_id AND gallery = ?)"
                )
                parameters.append(tables.gallery_row(connection, gallery)[0])
            return tables.subjects(connection, f"{condition} ORDER BY subject_id LIMIT ?", (*parameters, limit))

    def _sealed(self, encounter_id: str) -> Sealed:
        with self._database.reading() as connection:
            number, _ = _encounter(connection, encounter_id)
            return tables.sealed(connection, "number = ?", (number,))[0]

    def _sealed_of(self, subject_id: str) -> list[Sealed]:
        with self._database.reading() as connection:
            tables.subject_row(connection, subject_id)
            return tables.sealed(connection, "subject_id = ?", (subject_id,))

    def _scan(self, after: int, limit: int) -> list[Sealed]:
        with self._database.reading() as connection:
            return tables.sealed(connection, "number > ? ORDER BY number LIMIT ?", (after, limit))

    def _gallery(self, name: str) -> GalleryInfo:
        with self._database.reading() as connection:
            gallery, _, kind, created_at = tables.gallery_row(connection, name)
            subjects, encounters = connection.execute(
                "SELECT count(DISTINCT subject_id), count(*) FROM encounter_galleries"
                " JOIN encounters ON number = encounter WHERE gallery = ?",
                (gallery,),
            ).fetchone()
            return GalleryInfo(name, GalleryKind(kind), tables.time(created_at), subjects, encounters)

    def _gallery_names(self) -> tuple[str, ...]:
        with self._database.reading() as connection:
            return tuple(sorted(tables.gallery_names(connection).values()))

    def _events(self, after: int, limit: int) -> list[Event]:
        with self._database.reading() as connection:
            return tables.events(connection, after, limit)


def _encounter(connection: sqlite3.Connection, encounter_id: str) -> tuple[int, Encounter]:
    found = tables.encounters(connection, "encounter_id = ?", (encounter_id,))
    if not found:
        raise EncounterNotFoundError("encounter: no encounter has this id")
    return next(iter(found.items()))


def _first_change(new: NewEncounter, answer: Mapping[str, Any]) -> Change:
    # Subject and galleries are the request's: the digest holds both, so a repeat has the same.
    encounter = Encounter(
        answer["encounter_id"],
        new.subject_id,
        EncounterStatus.ACTIVE,
        new.galleries,
        tables.time(answer["created_at"]),
        answer["templates"],
    )
    return Change(answer["event"], answer["number"], encounter)


def _first_certificate(subject_id: str, answer: Mapping[str, Any]) -> ErasureCertificate:
    at = tables.time(answer["erased_at"])
    return certificate(subject_id, at, answer["encounters"], answer["templates"], answer["event"])


STORE = SqliteStore
