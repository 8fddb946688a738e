"""What is kept of enrolled people, and the log of every change: the plug-in interface of stores."""

import abc
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from os import PathLike
from typing import Final, Self, final

from biometrik.errors import InvalidInputError, StoreDamagedError, TemplateFormatError
from biometrik.gallery.protection import NoProtection, Protection
from biometrik.gallery.records import (
    DEFAULT_GALLERY,
    MAX_PAGE,
    Change,
    NewEncounter,
    Sealed,
    Stored,
    check_id,
    check_limit,
    checked_galleries,
    chosen_galleries,
)
from biometrik.gallery.records import Event as Event
from biometrik.registry import Registry
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    Subject,
    Template,
    sha256_hex,
)


class Store(abc.ABC):
    """Subjects, encounters, templates, galleries, transactions, and one append-only log of every change.

    Thread-safe: each method is atomic, writes come one after another, reads see whole writes only. A write that
    returns is durable, and its event is in the log. A store belongs to the process that opened it.

    Raises
    ------
    StoreUnavailableError
        Any method: the disk is full, read-only or gone; a write was rolled back and the store is usable afterwards.
    StoreDamagedError
        Any method: the bytes read are not those that were written.
    EngineClosedError
        Any method, after :meth:`close`.
    EngineStateError
        Any method, in a forked child of the process that opened the store.
    """

    def __init__(self, protection: Protection | None = None) -> None:
        self._protection = NoProtection() if protection is None else protection

    @classmethod
    @abc.abstractmethod
    def open(cls, path: str | PathLike[str], *, protection: Protection | None = None) -> Self:
        """Open the store at a path, creating it if it is not there.

        Raises
        ------
        DatabaseLockedError
            Another process, or another store of this one, owns it.
        StoreDamagedError, StoreUnavailableError
            It cannot be read or created.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Wait for calls in flight and give the store back. Closing twice is fine."""

    # --- writes ----------------------------------------------------------------------------------------------

    @final
    def enroll(self, new: NewEncounter) -> Change:
        """Store an encounter, creating its subject if that is new.

        Raises
        ------
        GalleryNotFoundError
            A gallery is unknown.
        TransactionConflictError
            The transaction id was used with another request.
        """
        encounter_id = uuid.uuid4().hex
        sealed = tuple(
            self._protection.seal(template.to_bytes(), _place(encounter_id, ordinal))
            for ordinal, template in enumerate(new.templates)
        )
        return self._enroll(new, encounter_id, sealed, datetime.now(UTC))

    @final
    def erase(self, subject_id: str, *, transaction_id: str = "") -> ErasureCertificate:
        """Remove a subject and everything stored of it; a repeated transaction returns the first certificate.

        Raises
        ------
        SubjectNotFoundError
            Nobody is enrolled under this id.
        TransactionConflictError
            The transaction id was used with another request.
        """
        check_id("subject_id", subject_id)
        if transaction_id:
            check_id("transaction_id", transaction_id)
        digest = sha256_hex(b"ERASE", subject_id.encode())
        return self._erase(subject_id, transaction_id, digest, datetime.now(UTC))

    @final
    def set_status(self, encounter_id: str, status: EncounterStatus) -> Change:
        """Make an encounter take part in comparisons or not; raises EncounterNotFoundError."""
        check_id("encounter_id", encounter_id)
        return self._set_status(encounter_id, status, datetime.now(UTC))

    @final
    def set_galleries(self, encounter_id: str, galleries: Sequence[str]) -> Change:
        """Let an encounter leave and join galleries, so that it is in these; none is allowed.

        Raises
        ------
        EncounterNotFoundError, GalleryNotFoundError
            One of them is unknown.
        """
        check_id("encounter_id", encounter_id)
        return self._set_galleries(encounter_id, checked_galleries(galleries), datetime.now(UTC))

    @final
    def create_gallery(self, name: str, kind: GalleryKind) -> int:
        """Create a gallery; returns the event's sequence number, raises GalleryExistsError."""
        check_id("gallery", name)
        return self._create_gallery(name, kind, datetime.now(UTC))

    @final
    def delete_gallery(self, name: str) -> int:
        """Delete a gallery; its encounters leave it and stay. Returns the event's sequence number.

        Raises
        ------
        GalleryNotFoundError
            No gallery has this name.
        InvalidInputError
            It is the default gallery.
        """
        check_id("gallery", name)
        if name == DEFAULT_GALLERY:
            raise InvalidInputError(f"gallery: {DEFAULT_GALLERY!r} is the default gallery and stays")
        return self._delete_gallery(name, datetime.now(UTC))

    # --- reads -----------------------------------------------------------------------------------------------

    @final
    def subject(self, subject_id: str) -> Subject:
        """Return a subject with its encounters; raises SubjectNotFoundError."""
        check_id("subject_id", subject_id)
        return self._subject(subject_id)

    @final
    def subjects(self, *, gallery: str | None = None, after: str = "", limit: int = 100) -> list[Subject]:
        """Return a page of subjects in the order of their ids.

        Parameters
        ----------
        gallery : str, optional
            Only subjects with an encounter in this gallery.
        after : str
            The last id of the page before; "" for the first page.
        limit : int
            Most subjects, 1..1000.

        Raises
        ------
        GalleryNotFoundError
            No gallery has this name.
        """
        check_limit(limit)
        if after:
            check_id("after", after)
        if gallery is not None:
            check_id("gallery", gallery)
        return self._subjects(gallery, after, limit)

    @final
    def encounter(self, encounter_id: str) -> Encounter:
        """Return an encounter; raises EncounterNotFoundError."""
        check_id("encounter_id", encounter_id)
        return self._sealed(encounter_id).encounter

    @final
    def stored(self, encounter_id: str) -> Stored:
        """Return an encounter with its templates; raises EncounterNotFoundError."""
        check_id("encounter_id", encounter_id)
        return self._opened(self._sealed(encounter_id))

    @final
    def references(self, subject_id: str, galleries: Sequence[str] | None = None) -> list[Stored]:
        """Return a subject's active encounters with their templates, oldest first.

        Parameters
        ----------
        subject_id : str
            Whose.
        galleries : sequence of str, optional
            Only encounters in at least one of these.

        Raises
        ------
        SubjectNotFoundError, GalleryNotFoundError
            One of them is unknown.
        """
        check_id("subject_id", subject_id)
        wanted = None if galleries is None else set(chosen_galleries(galleries, self._gallery_names()))
        return [
            self._opened(sealed)
            for sealed in self._sealed_of(subject_id)
            if sealed.encounter.status is EncounterStatus.ACTIVE
            and (wanted is None or not wanted.isdisjoint(sealed.encounter.galleries))
        ]

    @final
    def scan(self, *, after: int = 0, limit: int = MAX_PAGE) -> list[Stored]:
        """Return a page of all encounters with their templates, in the order of their numbers.

        Parameters
        ----------
        after : int
            The last number of the page before; 0 for the first page.
        limit : int
            Most encounters, 1..1000.
        """
        check_limit(limit)
        return [self._opened(sealed) for sealed in self._scan(after, limit)]

    @final
    def gallery(self, name: str) -> GalleryInfo:
        """Return a gallery; raises GalleryNotFoundError."""
        check_id("gallery", name)
        return self._gallery(name)

    @final
    def galleries(self) -> list[GalleryInfo]:
        """Return all galleries in the order of their names."""
        return [self._gallery(name) for name in self._gallery_names()]

    @final
    def gallery_names(self) -> tuple[str, ...]:
        """Return the names of all galleries, sorted, without counting their members."""
        return self._gallery_names()

    @final
    def events(self, *, after: int = 0, limit: int = 100) -> list[Event]:
        """Return a page of the log, oldest first.

        Parameters
        ----------
        after : int
            Sequence number of the last event of the page before; 0 for the first page.
        limit : int
            Most events, 1..1000.
        """
        check_limit(limit)
        if after < 0:
            raise InvalidInputError(f"after: expected 0 or more, got {after}")
        return self._events(after, limit)

    @abc.abstractmethod
    def last_event(self) -> int:
        """Return the sequence number of the newest event."""

    # --- what a store writes -----------------------------------------------------------------------------------

    @abc.abstractmethod
    def _enroll(self, new: NewEncounter, encounter_id: str, sealed: tuple[bytes, ...], at: datetime) -> Change:
        """Store one encounter, or return the answer remembered under its transaction id."""

    @abc.abstractmethod
    def _erase(self, subject_id: str, transaction_id: str, digest: str, at: datetime) -> ErasureCertificate:
        """Remove all rows of a subject, so that no file of the store holds a template's bytes any more."""

    @abc.abstractmethod
    def _set_status(self, encounter_id: str, status: EncounterStatus, at: datetime) -> Change:
        """Change the status, or return event 0 where it is so already."""

    @abc.abstractmethod
    def _set_galleries(self, encounter_id: str, galleries: tuple[str, ...], at: datetime) -> Change:
        """Change the memberships, or return event 0 where they are so already. ``galleries`` is sorted."""

    @abc.abstractmethod
    def _create_gallery(self, name: str, kind: GalleryKind, at: datetime) -> int: ...

    @abc.abstractmethod
    def _delete_gallery(self, name: str, at: datetime) -> int: ...

    @abc.abstractmethod
    def _subject(self, subject_id: str) -> Subject: ...

    @abc.abstractmethod
    def _subjects(self, gallery: str | None, after: str, limit: int) -> list[Subject]: ...

    @abc.abstractmethod
    def _sealed(self, encounter_id: str) -> Sealed: ...

    @abc.abstractmethod
    def _sealed_of(self, subject_id: str) -> list[Sealed]: ...

    @abc.abstractmethod
    def _scan(self, after: int, limit: int) -> list[Sealed]: ...

    @abc.abstractmethod
    def _gallery(self, name: str) -> GalleryInfo: ...

    @abc.abstractmethod
    def _gallery_names(self) -> tuple[str, ...]: ...

    @abc.abstractmethod
    def _events(self, after: int, limit: int) -> list[Event]: ...

    def _opened(self, sealed: Sealed) -> Stored:
        encounter = sealed.encounter
        damage = f"encounter {encounter.encounter_id}: damaged in the store; restore a backup, or erase and enrol again"
        if len(sealed.templates) != encounter.templates:
            found = len(sealed.templates)
            raise StoreDamagedError(f"{damage} (expected {encounter.templates} templates, got {found})")
        try:
            templates = tuple(
                Template.from_bytes(self._protection.unseal(data, _place(encounter.encounter_id, ordinal)))
                for ordinal, data in enumerate(sealed.templates)
            )
        except TemplateFormatError as error:
            raise StoreDamagedError(f"{damage} ({error})") from error
        return Stored(sealed.number, encounter, templates)


def _place(encounter_id: str, ordinal: int) -> bytes:
    return f"{encounter_id}/{ordinal}".encode()


STORES: Final[Registry[Store]] = Registry("biometrik.gallery.stores", "STORE", "biometrik.stores")
