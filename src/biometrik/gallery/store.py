"""What is kept of enrolled people, and the log of every change: the plug-in interface of stores."""

import abc
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Final, Self, TypeAlias, TypeVar, final

from biometrik.errors import InvalidInputError, StoreDamagedError, TemplateFormatError
from biometrik.features import Features
from biometrik.gallery.protection import NoProtection, Protection
from biometrik.gallery.records import (
    DEFAULT_GALLERY,
    MAX_PAGE,
    NO_DETAILS,
    Answer,
    Change,
    Declined,
    Draft,
    GalleryChange,
    Holdings,
    NewEncounter,
    Quarantined,
    Sealed,
    Stored,
    Transaction,
    check_id,
    check_limit,
    check_terms,
    checked_galleries,
    chosen_galleries,
    request_digest,
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
)

A = TypeVar("A", bound=Answer)
#: What follows a write: given its answer, when that is durable.
Then: TypeAlias = Callable[[A], object]
#: What follows encounters that were stored together: given each with its answer, in the order of their events.
ThenAll: TypeAlias = Callable[[Sequence[tuple[Draft, Change | Declined]]], object]

_NO_FEATURES: Final = Features()


#: Ids of encounters, UUIDs of version 4, that nobody has yet. Many are drawn at a time: each drawing lets the
#: interpreter go, and a thread that has to get it back among many waits.
_ids: Final[list[str]] = []
_IDS_DRAWN: Final = 256


def _nothing(_: object) -> None: ...


def _new_id() -> str:
    while True:
        try:
            return _ids.pop()
        except IndexError:
            drawn = os.urandom(16 * _IDS_DRAWN)
            _ids.extend(uuid.UUID(bytes=drawn[at : at + 16], version=4).hex for at in range(0, len(drawn), 16))


os.register_at_fork(after_in_child=_ids.clear)  # they are the parent's


class Store(abc.ABC):
    """Subjects, encounters, templates, galleries, transactions, and one append-only log of every change.

    Thread-safe: each method is atomic, writes come one after another, reads see whole writes only. A write that
    returns is durable, and its event is in the log. A store belongs to the process that opened it.

    Every write takes a transaction id, under which a repeat of the same request returns the first answer, as it was,
    and changes nothing; and details, the caller's references for the event. Both are bounded as
    :class:`~biometrik.gallery.records.Transaction` says. A write that fails is not remembered. And every write takes
    what follows it, ``then``: it is given the answer once that is durable and before the method returns, for all writes
    in the order of their events and one at a time, possibly in another thread that is writing. Where it raises, the
    method does; the write stays.

    Raises
    ------
    TransactionConflictError
        Any write: its transaction id was used with another request.
    InvalidInputError
        Any method: an argument is out of its bounds.
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
    def open(cls, path: str | PathLike[str], *, protection: Protection | None = None, check: bool = True) -> Self:
        """Open the store at a path, creating it if it is not there.

        Parameters
        ----------
        path : path-like
            Where it is.
        protection : Protection, optional
            Seals templates.
        check : bool
            Check all of it first; otherwise whoever opens it calls :meth:`check`.

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
    def enroll(self, new: NewEncounter, *, then: Then[Change] = _nothing) -> Change:
        """Store an encounter, creating its subject if that is new.

        Raises
        ------
        GalleryNotFoundError
            A gallery is unknown.
        """

        def follow(made: Sequence[tuple[Draft, Change | Declined]]) -> None:
            for _, change in made:
                assert isinstance(change, Change)  # who may be declined is admitted
                then(change)

        change = self.admit(new, then=follow)
        assert isinstance(change, Change)
        return change

    @final
    def admit(
        self, new: NewEncounter, *, features: Features = _NO_FEATURES, then: ThenAll = _nothing
    ) -> Change | Declined:
        """Store an encounter as :meth:`enroll` does; declined only where this is a repeat, and it was so at first.

        Encounters of several threads are written together, but one that is refused is refused alone. Of those with the
        same ``then``, it is given several at once. ``features`` are for it, and are not stored.
        """
        encounter_id = _new_id()
        sealed = tuple(
            self._protection.seal(template.to_bytes(), _place(encounter_id, ordinal))
            for ordinal, template in enumerate(new.templates)
        )
        encounter = new.encounter(encounter_id, datetime.now(UTC))
        return self._enroll(Draft(new, new.transaction, encounter, sealed, features), then)

    @final
    def decline(self, new: NewEncounter, *, then: Then[Change | Declined] = _nothing) -> Change | Declined:
        """Record that an encounter was not stored: DUPLICATE_SUSPECTED; stored only where a repeat was so at first."""
        return self._decline(new, datetime.now(UTC), then)

    @final
    def erase(
        self,
        subject_id: str,
        *,
        transaction_id: str = "",
        details: Mapping[str, str] = NO_DETAILS,
        then: Then[ErasureCertificate] = _nothing,
    ) -> ErasureCertificate:
        """Remove a subject and everything stored of it; raises SubjectNotFoundError."""
        check_id("subject_id", subject_id)
        transaction = Transaction(transaction_id, request_digest("ERASE", subject_id), details)
        return self._erase(subject_id, transaction, datetime.now(UTC), then)

    @final
    def set_status(
        self,
        encounter_id: str,
        status: EncounterStatus,
        *,
        transaction_id: str = "",
        details: Mapping[str, str] = NO_DETAILS,
        then: Then[Change] = _nothing,
    ) -> Change:
        """Make an encounter take part in comparisons or not; raises EncounterNotFoundError."""
        check_id("encounter_id", encounter_id)
        digest = request_digest("SET_STATUS", encounter_id, status.value)
        transaction = Transaction(transaction_id, digest, details)
        return self._set_status(encounter_id, status, transaction, datetime.now(UTC), then)

    @final
    def set_galleries(
        self,
        encounter_id: str,
        galleries: Sequence[str],
        *,
        transaction_id: str = "",
        details: Mapping[str, str] = NO_DETAILS,
        then: Then[Change] = _nothing,
    ) -> Change:
        """Let an encounter leave and join galleries, so that it is in these; none is allowed.

        Raises
        ------
        EncounterNotFoundError, GalleryNotFoundError
            One of them is unknown.
        """
        check_id("encounter_id", encounter_id)
        names = checked_galleries(galleries)
        transaction = Transaction(transaction_id, request_digest("SET_GALLERIES", encounter_id, *names), details)
        return self._set_galleries(encounter_id, names, transaction, datetime.now(UTC), then)

    @final
    def create_gallery(
        self,
        name: str,
        kind: GalleryKind,
        *,
        legal_basis: str = "",
        retention_days: int = 0,
        transaction_id: str = "",
        details: Mapping[str, str] = NO_DETAILS,
        then: Then[GalleryChange] = _nothing,
    ) -> GalleryChange:
        """Create a gallery.

        Parameters
        ----------
        name : str
            1..128 printable characters.
        kind : GalleryKind
            What it is for.
        legal_basis : str
            The law that allows it, at most 1024 printable characters; required for a watchlist.
        retention_days : int
            For how many days encounters may be kept, 0..36525; 0 where nothing is said. Recorded and reported:
            nothing is erased by it.
        transaction_id, details, then
            As for every write.

        Raises
        ------
        LegalBasisMissingError
            It is a watchlist, and no law is named.
        GalleryExistsError
            There is one of this name.
        """
        check_id("gallery", name)
        check_terms(kind, legal_basis, retention_days)
        digest = request_digest("CREATE_GALLERY", name, kind.value, legal_basis, str(retention_days))
        gallery = GalleryInfo(name, kind, datetime.now(UTC), 0, 0, legal_basis, retention_days)
        return self._create_gallery(gallery, Transaction(transaction_id, digest, details), then)

    @final
    def delete_gallery(
        self,
        name: str,
        *,
        transaction_id: str = "",
        details: Mapping[str, str] = NO_DETAILS,
        then: Then[GalleryChange] = _nothing,
    ) -> GalleryChange:
        """Delete a gallery; its encounters leave it and stay.

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
        transaction = Transaction(transaction_id, request_digest("DELETE_GALLERY", name), details)
        return self._delete_gallery(name, transaction, datetime.now(UTC), then)

    @abc.abstractmethod
    def quiet(self) -> AbstractContextManager[None]:
        """Give a time without writes: it begins when those under way are done, with all that follows them."""

    @final
    def record_export(
        self, gallery: str, *, details: Mapping[str, str] = NO_DETAILS, then: Callable[[int], object] = _nothing
    ) -> int:
        """Record that templates are about to leave, of a gallery or ("") of everybody; returns the event's number.

        Raises
        ------
        GalleryNotFoundError
            No gallery has this name.
        """
        if gallery:
            check_id("gallery", gallery)
        given = Transaction("", "", details).details
        whole = {**given, "gallery": gallery} if gallery else given
        return self._record_export(gallery, whole, datetime.now(UTC), then)

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
        found = self._sealed_of(subject_id)
        return self._active([s for s in found if wanted is None or not wanted.isdisjoint(s.encounter.galleries)])

    @final
    def references_of_encounter(self, encounter_id: str) -> list[Stored]:
        """Return an encounter with its templates, nothing where it is inactive; raises EncounterNotFoundError."""
        check_id("encounter_id", encounter_id)
        return self._active([self._sealed(encounter_id)])

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

    @final
    def enrolled(self, new: NewEncounter) -> Change | Declined | None:
        """Return what this very enrolment was answered before, None where it is new or has no transaction id."""
        return self._enrolled(new.transaction)

    @final
    def numbers_of(self, subject_id: str) -> tuple[int, ...]:
        """Return the numbers of a subject's encounters, rising; none where it has none."""
        check_id("subject_id", subject_id)
        return self._numbers_of(subject_id)

    @property
    def protection(self) -> Protection:
        """What seals templates, and whatever else is made of them and kept."""
        return self._protection

    @abc.abstractmethod
    def check(self) -> None:
        """Check the whole store where opening it did not; returns early where the store is closed meanwhile.

        Raises
        ------
        StoreDamagedError
            It is damaged. From then on every method raises this.
        """

    @abc.abstractmethod
    def last_event(self) -> int:
        """Return the sequence number of the newest event."""

    # --- damage and backup -------------------------------------------------------------------------------------

    @abc.abstractmethod
    def set_damaged_aside(self) -> list[Quarantined]:
        """Read every encounter, put those that are damaged into quarantine, and return them.

        One in quarantine is named by :meth:`quarantined` and in the log, and by nothing else; it cannot be changed,
        and is removed when its subject is erased. What is damaged beyond encounters cannot be set aside.

        Raises
        ------
        StoreDamagedError
            So much is damaged that it is not a matter of single encounters.
        """

    @abc.abstractmethod
    def quarantined(self) -> list[Quarantined]:
        """Return the encounters in quarantine."""

    @abc.abstractmethod
    def snapshot(self, path: Path) -> Holdings:
        """Copy the store as it is at this moment, while reads and writes go on; an erasure waits for the end.

        The copy has its name only once it is on disk and was read from the first row to the last.

        Raises
        ------
        InvalidInputError
            There is a file of this name, or this store cannot be copied.
        StoreDamagedError
            It holds damaged rows; no copy is left.
        StoreUnavailableError
            It cannot be written; no copy is left.
        """

    # --- what a store writes -----------------------------------------------------------------------------------
    # Each of these first looks up its transaction: a repeat gets the first answer, before anything else is checked.
    # Otherwise the answer is kept in the same commit as the change.

    @abc.abstractmethod
    def _enroll(self, draft: Draft, then: ThenAll) -> Change | Declined:
        """Store one encounter."""

    @abc.abstractmethod
    def _decline(self, new: NewEncounter, at: datetime, then: Then[Change | Declined]) -> Change | Declined:
        """Record that it was not stored."""

    @abc.abstractmethod
    def _erase(
        self, subject_id: str, transaction: Transaction, at: datetime, then: Then[ErasureCertificate]
    ) -> ErasureCertificate:
        """Remove all rows of a subject, so that no file of the store holds a template's bytes any more."""

    @abc.abstractmethod
    def _set_status(
        self,
        encounter_id: str,
        status: EncounterStatus,
        transaction: Transaction,
        at: datetime,
        then: Then[Change],
    ) -> Change:
        """Change the status, or return event 0 where it is so already."""

    @abc.abstractmethod
    def _set_galleries(
        self,
        encounter_id: str,
        galleries: tuple[str, ...],
        transaction: Transaction,
        at: datetime,
        then: Then[Change],
    ) -> Change:
        """Change the memberships, or return event 0 where they are so already. ``galleries`` is sorted."""

    @abc.abstractmethod
    def _create_gallery(
        self, gallery: GalleryInfo, transaction: Transaction, then: Then[GalleryChange]
    ) -> GalleryChange: ...

    @abc.abstractmethod
    def _delete_gallery(
        self, name: str, transaction: Transaction, at: datetime, then: Then[GalleryChange]
    ) -> GalleryChange: ...

    @abc.abstractmethod
    def _record_export(
        self, gallery: str, details: Mapping[str, str], at: datetime, then: Callable[[int], object]
    ) -> int:
        """Append the event of an export. ``details`` are whole."""

    # --- what a store reads ------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _enrolled(self, transaction: Transaction) -> Change | Declined | None: ...

    @abc.abstractmethod
    def _subject(self, subject_id: str) -> Subject: ...

    @abc.abstractmethod
    def _subjects(self, gallery: str | None, after: str, limit: int) -> list[Subject]: ...

    @abc.abstractmethod
    def _numbers_of(self, subject_id: str) -> tuple[int, ...]: ...

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

    def _active(self, found: Sequence[Sealed]) -> list[Stored]:
        return [self._opened(sealed) for sealed in found if sealed.encounter.status is EncounterStatus.ACTIVE]

    def _opened(self, sealed: Sealed) -> Stored:
        return opened(sealed, self._protection)


def opened(sealed: Sealed, protection: Protection) -> Stored:
    """Return an encounter with its templates, read and verified; raises StoreDamagedError."""
    encounter = sealed.encounter
    damage = f"encounter {encounter.encounter_id}: damaged in the store; restore a backup, or erase and enrol again"
    if len(sealed.templates) != encounter.templates:
        found = len(sealed.templates)
        raise StoreDamagedError(f"{damage} (expected {encounter.templates} templates, got {found})")
    try:
        templates = tuple(
            Template.from_bytes(protection.unseal(data, _place(encounter.encounter_id, ordinal)))
            for ordinal, data in enumerate(sealed.templates)
        )
    except TemplateFormatError as error:
        raise StoreDamagedError(f"{damage} ({error})") from error
    return Stored(sealed.number, encounter, templates)


def _place(encounter_id: str, ordinal: int) -> bytes:
    return f"{encounter_id}/{ordinal}".encode()


STORES: Final[Registry[Store]] = Registry("biometrik.gallery.stores", "STORE", "biometrik.stores")
