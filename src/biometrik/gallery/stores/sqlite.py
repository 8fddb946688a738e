"""The store in one SQLite file: rows with checksums, and the log of events in the same transactions."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from biometrik.errors import EncounterNotFoundError, StoreDamagedError
from biometrik.gallery import answers, backup, enrolling, tables
from biometrik.gallery.database import Database
from biometrik.gallery.protection import Protection
from biometrik.gallery.records import (
    Answer,
    Change,
    Declined,
    Draft,
    Event,
    EventKind,
    GalleryChange,
    Holdings,
    NewEncounter,
    Quarantined,
    Sealed,
    Transaction,
    certificate,
    listed,
)
from biometrik.gallery.schema import SCHEMA
from biometrik.gallery.store import Store, Then, ThenAll
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    Subject,
)

A = TypeVar("A", bound=Answer)
#: Most damaged encounters that are set aside, as a part of all, and at least so many: a disk that fails takes some,
#: while the wrong key, or pages lost throughout the file, take most.
_MOST_DAMAGED: Final = 0.01
_FEW: Final = 10


class SqliteStore(Store):
    """One SQLite file, in WAL mode, owned by one process; see :class:`biometrik.gallery.database.Database`."""

    def __init__(self, database: Database, protection: Protection | None = None) -> None:
        super().__init__(protection)
        self._database = database

    @classmethod
    def open(cls, path: str | PathLike[str], *, protection: Protection | None = None, check: bool = True) -> Self:
        """Open the file, creating it with mode 0600 if it is not there; its folder must exist.

        A file of an older schema is brought to the present one, in one transaction; an older biometrik refuses it then.
        """
        return cls(Database(Path(path), SCHEMA, check=check), protection)

    def close(self) -> None:
        """Close the file and give up its ownership."""
        self._database.close()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Hold writes back."""
        with self._database.quiet():
            yield

    def check(self) -> None:
        """See :meth:`Store.check`."""
        self._database.check()

    def last_event(self) -> int:
        """Return the sequence number of the newest event."""
        with self._database.reading() as connection:
            return tables.last_event(connection)

    def set_damaged_aside(self) -> list[Quarantined]:
        """Read every encounter, and put the damaged ones into quarantine."""
        with self._database.reading() as connection:
            (total,) = connection.execute("SELECT count(*) FROM encounters").fetchone()
            found = backup.damaged(connection, self._protection)
        if len(found) > max(_FEW, _MOST_DAMAGED * total):
            raise StoreDamagedError(
                f"database {self._database.path}: {len(found):,} of {total:,} encounters cannot be read, too many"
                " to set aside; see that the right key opens it, or restore a backup"
            )

        def write(connection: sqlite3.Connection) -> None:
            for number, damaged in found:
                tables.set_aside(connection, number, damaged)

        self._database.write(write)
        return [damaged for _, damaged in found]

    def quarantined(self) -> list[Quarantined]:
        """Return the encounters in quarantine."""
        with self._database.reading() as connection:
            return tables.quarantined(connection)

    def snapshot(self, path: Path) -> Holdings:
        """Copy the file while it is in use."""
        return backup.snapshot(self._database, path, self._protection)

    def _enroll(self, draft: Draft, then: ThenAll) -> Change | Declined:
        return self._database.write_with_others(draft, enrolling.enroll, then)

    def _decline(self, new: NewEncounter, at: datetime, then: Then[Change | Declined]) -> Change | Declined:
        def write(connection: sqlite3.Connection) -> Change | Declined:
            event = tables.record(connection, at, EventKind.DUPLICATE_SUSPECTED, new.details, new.subject_id)
            return Declined(event, new.note)

        return self._once(new.transaction, answers.enrolment, write, then)

    def _erase(
        self, subject_id: str, transaction: Transaction, at: datetime, then: Then[ErasureCertificate]
    ) -> ErasureCertificate:
        def write(connection: sqlite3.Connection) -> ErasureCertificate:
            tables.subject_row(connection, subject_id)
            mine = "encounter IN (SELECT number FROM encounters WHERE subject_id = ?)"
            templates = tables.erase_templates(connection, subject_id)
            gone = {
                table: connection.execute(f"DELETE FROM {table} WHERE {condition}", (subject_id,)).rowcount
                for table, condition in (
                    ("encounter_galleries", mine),
                    ("quarantine", mine),
                    ("encounters", "subject_id = ?"),
                    ("subjects", "subject_id = ?"),
                )
            }
            event = tables.last_event(connection) + 1
            erased = certificate(subject_id, at, gone["encounters"], templates, event)
            own = {
                "encounters": str(erased.encounters),
                "templates": str(erased.templates),
                "digest": erased.digest,
            }
            tables.record(connection, at, EventKind.ERASED, {**transaction.details, **own}, subject_id)
            return erased

        erased = self._once(transaction, answers.erasure, write, then)
        self._database.scrub()  # for a repeat, too: the first attempt may have failed here
        return erased

    def _set_status(
        self,
        encounter_id: str,
        status: EncounterStatus,
        transaction: Transaction,
        at: datetime,
        then: Then[Change],
    ) -> Change:
        def write(connection: sqlite3.Connection) -> Change:
            number, encounter = _encounter(connection, encounter_id)
            if encounter.status is status:
                return Change(0, number, encounter)
            changed = replace(encounter, status=status)
            tables.write_status(connection, number, changed)
            kind, details = EventKind.STATUS_CHANGED, {**transaction.details, "status": status.value}
            event = tables.record(connection, at, kind, details, encounter.subject_id, encounter_id)
            return Change(event, number, changed)

        return self._once(transaction, answers.change, write, then)

    def _set_galleries(
        self,
        encounter_id: str,
        galleries: tuple[str, ...],
        transaction: Transaction,
        at: datetime,
        then: Then[Change],
    ) -> Change:
        def write(connection: sqlite3.Connection) -> Change:
            number, encounter = _encounter(connection, encounter_id)
            connection.execute("DELETE FROM encounter_galleries WHERE encounter = ?", (number,))
            tables.join(connection, number, galleries)
            if encounter.galleries == galleries:
                return Change(0, number, encounter)
            kind, details = EventKind.GALLERIES_CHANGED, {**transaction.details, "galleries": listed(galleries)}
            event = tables.record(connection, at, kind, details, encounter.subject_id, encounter_id)
            return Change(event, number, replace(encounter, galleries=galleries))

        return self._once(transaction, answers.change, write, then)

    def _create_gallery(
        self, gallery: GalleryInfo, transaction: Transaction, then: Then[GalleryChange]
    ) -> GalleryChange:
        def write(connection: sqlite3.Connection) -> GalleryChange:
            return GalleryChange(tables.insert_gallery(connection, gallery, transaction.details), gallery)

        return self._once(transaction, answers.gallery_change, write, then)

    def _delete_gallery(
        self, name: str, transaction: Transaction, at: datetime, then: Then[GalleryChange]
    ) -> GalleryChange:
        def write(connection: sqlite3.Connection) -> GalleryChange:
            number, last = tables.gallery(connection, name)
            connection.execute("DELETE FROM encounter_galleries WHERE gallery = ?", (number,))
            connection.execute("DELETE FROM galleries WHERE gallery = ?", (number,))
            details = {**transaction.details, "gallery": name}
            return GalleryChange(tables.record(connection, at, EventKind.GALLERY_DELETED, details), last)

        return self._once(transaction, answers.gallery_change, write, then)

    def _record_export(
        self, gallery: str, details: Mapping[str, str], at: datetime, then: Callable[[int], object]
    ) -> int:
        def write(connection: sqlite3.Connection) -> int:
            if gallery:
                tables.gallery_number(connection, gallery)
            return tables.record(connection, at, EventKind.EXPORTED, details)

        return self._database.write(write, then)

    def _enrolled(self, transaction: Transaction) -> Change | Declined | None:
        with self._database.reading() as connection:
            first = tables.remembered(connection, [transaction]).get(transaction.id)
            return None if first is None else answers.enrolment(first)

    def _subject(self, subject_id: str) -> Subject:
        with self._database.reading() as connection:
            tables.subject_row(connection, subject_id)
            return tables.subjects(connection, "subject_id = ?", (subject_id,))[0]

    def _subjects(self, gallery: str | None, after: str, limit: int) -> list[Subject]:
        with self._database.reading() as connection:
            condition, parameters = "subject_id > ?", list[object]((after,))
            if gallery is not None:
                condition += (
                    " AND EXISTS (SELECT 1 FROM encounters JOIN encounter_galleries ON encounter = number"
                    " WHERE encounters.subject_id = subjects.subject_id AND gallery = ?)"
                )
                parameters.append(tables.gallery_number(connection, gallery))
            return tables.subjects(connection, f"{condition} ORDER BY subject_id LIMIT ?", (*parameters, limit))

    def _numbers_of(self, subject_id: str) -> tuple[int, ...]:
        with self._database.reading() as connection:
            return tuple(sorted(tables.encounters(connection, "subject_id = ?", (subject_id,))))

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
            return tables.gallery(connection, name)[1]

    def _gallery_names(self) -> tuple[str, ...]:
        with self._database.reading() as connection:
            return tuple(sorted(tables.gallery_names(connection).values()))

    def _events(self, after: int, limit: int) -> list[Event]:
        with self._database.reading() as connection:
            return tables.events(connection, after, limit)

    def _once(
        self,
        transaction: Transaction,
        read: Callable[[Mapping[str, Any]], A],
        write: Callable[[sqlite3.Connection], A],
        then: Then[A],
    ) -> A:
        # The first answer of a transaction, from this write or, by way of `read`, from an earlier one.
        def once(connection: sqlite3.Connection) -> A:
            first = tables.remembered(connection, [transaction]).get(transaction.id)
            if first is not None:
                return read(first)
            answer = write(connection)
            tables.remember(connection, [(transaction, answers.as_json(answer))])
            return answer

        return self._database.write(once, then)


def _encounter(connection: sqlite3.Connection, encounter_id: str) -> tuple[int, Encounter]:
    found = tables.encounters(connection, "encounter_id = ?", (encounter_id,))
    if not found:
        for damaged in tables.quarantined(connection, "encounter_id = ?", (encounter_id,)):
            raise StoreDamagedError(
                f"encounter {encounter_id}: in quarantine since {damaged.since:%Y-%m-%d}, because it is damaged;"
                " restore a backup, or erase its subject and enrol again"
            )
        raise EncounterNotFoundError("encounter: no encounter has this id")
    return next(iter(found.items()))


STORE = SqliteStore
