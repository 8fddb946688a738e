"""A store in dictionaries: for tests and demonstrations, and the model that other stores are compared with."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Self, TypeVar

from biometrik.errors import (
    EncounterNotFoundError,
    EngineClosedError,
    GalleryExistsError,
    InvalidInputError,
    SubjectNotFoundError,
    TransactionConflictError,
)
from biometrik.gallery.protection import Protection
from biometrik.gallery.records import (
    DEFAULT_GALLERY,
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
    check_existing,
    gallery_details,
    listed,
)
from biometrik.gallery.store import Store, Then, ThenAll
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    Subject,
)

A = TypeVar("A", bound=Answer)


@dataclass(slots=True)
class _Subject:
    created_at: datetime
    numbers: list[int] = field(default_factory=list)


class MemoryStore(Store):
    """Holds everything in dictionaries and loses it when closed; the path is not used."""

    def __init__(self, protection: Protection | None = None) -> None:
        super().__init__(protection)
        self._lock = threading.RLock()
        self._closed = False
        self._people: dict[str, _Subject] = {}
        self._encounters: dict[int, Sealed] = {}
        self._number_of: dict[str, int] = {}
        self._last_number = 0
        self._galleries: dict[str, GalleryInfo] = {}  # their counts are taken when they are asked for
        self._answers: dict[str, tuple[str, Any]] = {}
        self._log: list[Event] = []

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],  # noqa: ARG003
        *,
        protection: Protection | None = None,
        check: bool = True,  # noqa: ARG003
    ) -> Self:
        """Return an empty store, whatever the path."""
        store = cls(protection)
        store.create_gallery(DEFAULT_GALLERY, GalleryKind.POPULATION)
        return store

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._people.clear()
            self._encounters.clear()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Hold writes back."""
        with self._open():
            yield

    def check(self) -> None:
        """Memory is taken for whole."""

    def last_event(self) -> int:
        """Return the sequence number of the newest event."""
        with self._open():
            return len(self._log)

    def set_damaged_aside(self) -> list[Quarantined]:
        """Return nothing: nothing is read from a disk."""
        return []

    def quarantined(self) -> list[Quarantined]:
        """Return nothing."""
        return []

    def snapshot(self, path: Path) -> Holdings:
        """Refuse: there is no file to be copied."""
        raise InvalidInputError(f"snapshot {path}: expected a store that is in a file, got one in memory")

    def _enroll(self, draft: Draft, then: ThenAll) -> Change | Declined:
        new, encounter = draft.new, draft.encounter

        def write() -> Change | Declined:
            check_existing(new.galleries, tuple(self._galleries))
            self._last_number += 1
            number = self._last_number
            self._people.setdefault(new.subject_id, _Subject(encounter.created_at)).numbers.append(number)
            self._encounters[number] = Sealed(number, encounter, draft.templates)
            self._number_of[encounter.encounter_id] = number
            own = {"galleries": listed(new.galleries), "templates": str(encounter.templates)}
            event = self._record(encounter.created_at, EventKind.ENROLLED, new.details, own, encounter)
            return Change(event, number, encounter, new.note)

        return self._once(draft.transaction, write, lambda made: then([(draft, made)]))

    def _decline(self, new: NewEncounter, at: datetime, then: Then[Change | Declined]) -> Change | Declined:
        def write() -> Change | Declined:
            sequence, details = len(self._log) + 1, dict(new.details)
            self._log.append(Event(sequence, at, EventKind.DUPLICATE_SUSPECTED, new.subject_id, "", details))
            return Declined(sequence, new.note)

        return self._once(new.transaction, write, then)

    def _enrolled(self, transaction: Transaction) -> Change | Declined | None:
        with self._open():
            answer: Change | Declined | None = self._remembered(transaction)
            return answer

    def _erase(
        self, subject_id: str, transaction: Transaction, at: datetime, then: Then[ErasureCertificate]
    ) -> ErasureCertificate:
        def write() -> ErasureCertificate:
            gone = [self._encounters[number] for number in self._person(subject_id).numbers]
            templates = sum(len(sealed.templates) for sealed in gone)
            erased = certificate(subject_id, at, len(gone), templates, len(self._log) + 1)
            for sealed in gone:
                del self._encounters[sealed.number], self._number_of[sealed.encounter.encounter_id]
            del self._people[subject_id]
            own = {"encounters": str(len(gone)), "templates": str(templates), "digest": erased.digest}
            details = {**transaction.details, **own}
            self._log.append(Event(erased.event, at, EventKind.ERASED, subject_id, "", details))
            return erased

        return self._once(transaction, write, then)

    def _set_status(
        self,
        encounter_id: str,
        status: EncounterStatus,
        transaction: Transaction,
        at: datetime,
        then: Then[Change],
    ) -> Change:
        def write() -> Change:
            old = self._sealed(encounter_id)
            if old.encounter.status is status:
                return Change(0, old.number, old.encounter)
            encounter = replace(old.encounter, status=status)
            self._encounters[old.number] = replace(old, encounter=encounter)
            own = {"status": status.value}
            event = self._record(at, EventKind.STATUS_CHANGED, transaction.details, own, encounter)
            return Change(event, old.number, encounter)

        return self._once(transaction, write, then)

    def _set_galleries(
        self,
        encounter_id: str,
        galleries: tuple[str, ...],
        transaction: Transaction,
        at: datetime,
        then: Then[Change],
    ) -> Change:
        def write() -> Change:
            old = self._sealed(encounter_id)
            check_existing(galleries, tuple(self._galleries))
            if old.encounter.galleries == galleries:
                return Change(0, old.number, old.encounter)
            encounter = replace(old.encounter, galleries=galleries)
            self._encounters[old.number] = replace(old, encounter=encounter)
            own = {"galleries": listed(galleries)}
            event = self._record(at, EventKind.GALLERIES_CHANGED, transaction.details, own, encounter)
            return Change(event, old.number, encounter)

        return self._once(transaction, write, then)

    def _create_gallery(
        self, gallery: GalleryInfo, transaction: Transaction, then: Then[GalleryChange]
    ) -> GalleryChange:
        def write() -> GalleryChange:
            if gallery.name in self._galleries:
                raise GalleryExistsError(f"gallery: {gallery.name!r} exists already")
            self._galleries[gallery.name] = gallery
            own = gallery_details(gallery)
            event = self._record(gallery.created_at, EventKind.GALLERY_CREATED, transaction.details, own)
            return GalleryChange(event, gallery)

        return self._once(transaction, write, then)

    def _delete_gallery(
        self, name: str, transaction: Transaction, at: datetime, then: Then[GalleryChange]
    ) -> GalleryChange:
        def write() -> GalleryChange:
            last = self._gallery(name)
            del self._galleries[name]
            for number, sealed in self._encounters.items():
                left = tuple(other for other in sealed.encounter.galleries if other != name)
                encounter = replace(sealed.encounter, galleries=left)
                self._encounters[number] = replace(sealed, encounter=encounter)
            event = self._record(at, EventKind.GALLERY_DELETED, transaction.details, {"gallery": name})
            return GalleryChange(event, last)

        return self._once(transaction, write, then)

    def _record_export(
        self, gallery: str, details: Mapping[str, str], at: datetime, then: Callable[[int], object]
    ) -> int:
        with self._open():
            if gallery:
                check_existing((gallery,), tuple(self._galleries))
            event = self._record(at, EventKind.EXPORTED, details, {})
            then(event)
            return event

    def _subject(self, subject_id: str) -> Subject:
        with self._open():
            person = self._person(subject_id)
            encounters = tuple(self._encounters[number].encounter for number in person.numbers)
            return Subject(subject_id, person.created_at, encounters)

    def _subjects(self, gallery: str | None, after: str, limit: int) -> list[Subject]:
        with self._open():
            if gallery is not None:
                check_existing((gallery,), tuple(self._galleries))
            everybody = [self._subject(subject_id) for subject_id in sorted(self._people) if subject_id > after]
            found = [s for s in everybody if gallery is None or any(gallery in e.galleries for e in s.encounters)]
            return found[:limit]

    def _numbers_of(self, subject_id: str) -> tuple[int, ...]:
        with self._open():
            return tuple(self._people[subject_id].numbers) if subject_id in self._people else ()

    def _sealed(self, encounter_id: str) -> Sealed:
        with self._open():
            if encounter_id not in self._number_of:
                raise EncounterNotFoundError("encounter: no encounter has this id")
            return self._encounters[self._number_of[encounter_id]]

    def _sealed_of(self, subject_id: str) -> list[Sealed]:
        with self._open():
            return [self._encounters[number] for number in self._person(subject_id).numbers]

    def _scan(self, after: int, limit: int) -> list[Sealed]:
        with self._open():
            return [sealed for number, sealed in sorted(self._encounters.items()) if number > after][:limit]

    def _gallery(self, name: str) -> GalleryInfo:
        with self._open():
            check_existing((name,), tuple(self._galleries))
            members = [s.encounter for s in self._encounters.values() if name in s.encounter.galleries]
            subjects = len({encounter.subject_id for encounter in members})
            return replace(self._galleries[name], subjects=subjects, encounters=len(members))

    def _gallery_names(self) -> tuple[str, ...]:
        with self._open():
            return tuple(sorted(self._galleries))

    def _events(self, after: int, limit: int) -> list[Event]:
        with self._open():
            return self._log[after : after + limit]

    def _open(self) -> threading.RLock:
        # To be entered; an RLock, because the methods call one another.
        if self._closed:
            raise EngineClosedError("store: closed")
        return self._lock

    def _person(self, subject_id: str) -> _Subject:
        if subject_id not in self._people:
            raise SubjectNotFoundError("subject: nobody is enrolled under this id")
        return self._people[subject_id]

    def _record(
        self,
        at: datetime,
        kind: EventKind,
        details: Mapping[str, str],
        own: Mapping[str, str],
        encounter: Encounter | None = None,
    ) -> int:
        subject_id, encounter_id = (encounter.subject_id, encounter.encounter_id) if encounter else ("", "")
        self._log.append(Event(len(self._log) + 1, at, kind, subject_id, encounter_id, {**details, **own}))
        return len(self._log)

    def _once(self, transaction: Transaction, write: Callable[[], A], then: Then[A]) -> A:
        with self._open():
            answer = self._remembered(transaction)
            first: A = write() if answer is None else answer
            if transaction.id:
                self._answers[transaction.id] = transaction.digest, first
            then(first)
            return first

    def _remembered(self, transaction: Transaction) -> Any:
        digest, answer = self._answers.get(transaction.id) or (transaction.digest, None)
        if digest != transaction.digest:
            raise TransactionConflictError("transaction_id: used before with another request; choose a new one")
        return answer


STORE = MemoryStore
