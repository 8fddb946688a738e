"""The store and the index in step: enrol, search, erase, from any number of threads."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import (
    BiometrikError,
    EncounterNotFoundError,
    IncompatibleTemplateError,
    StoreDamagedError,
    SubjectNotFoundError,
    TransactionConflictError,
)
from biometrik.features import Features
from biometrik.gallery.filling import Filling
from biometrik.gallery.index import Index
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.records import (
    NO_DETAILS,
    Change,
    Declined,
    Draft,
    Event,
    Holdings,
    NewEncounter,
    Quarantined,
    Stored,
)
from biometrik.gallery.searching import Alike, Fuse, Searchable, SearchResult
from biometrik.gallery.searching import Hit as Hit
from biometrik.gallery.snapshot import Snapshot
from biometrik.gallery.store import Store
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    MissingSample,
    Subject,
    Template,
)

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reference:
    """An active encounter that a probe is compared with.

    Parameters
    ----------
    encounter_id : str
        Which.
    galleries : tuple of str
        Galleries that hold it.
    templates : tuple of Template
        All of it, of any modality and model contract; their checksums were verified.
    """

    encounter_id: str
    galleries: tuple[str, ...]
    templates: tuple[Template, ...] = field(repr=False)


class Gallery:
    """Enrolled people, stored durably and searchable; thread-safe.

    The store is the truth. The indexes hold the features (a vector of the face, prepared prints) of each encounter that
    is active, in a gallery, and has templates of the models in force; an encounter in no gallery is only compared 1:1.
    A write does everything that can fail first, then commits, then changes the indexes; it returns when all is done.
    Writes of several threads share a sync. A search sees each write whole or not at all, and waits for no disk.

    Every write may carry a transaction id, under which a repeat of the same request returns the first answer, as it
    was, and changes nothing; with another request it raises TransactionConflictError. Its details are the caller's
    references for the event log.

    Parameters
    ----------
    store : Store
        Closed by :meth:`close`.
    index : Index
        Empty; filled from the store here, with faces.
    prints : PrintIndex
        Empty; filled from the store here.
    owns : callable
        Whether a template is of the models in force.
    features_of : callable
        Turns each of several encounters' templates, all of the models in force, into its features. Vectors are not
        normalised here. Whoever starts with many encounters asks for a thousand at once.
    quarantine : bool
        Set damaged encounters aside and go on without them, instead of refusing to start.
    snapshot : Snapshot, optional
        Where the indexes are kept when the gallery is closed, and from which they are filled at start.

    Raises
    ------
    StoreDamagedError
        A stored encounter is damaged; the message names it. Where such are set aside: more is damaged than that.
    StoreUnavailableError
        The store cannot be read.
    TemplateFormatError, InvalidInputError
        A stored template cannot be turned into features of these indexes.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        prints: PrintIndex,
        *,
        owns: Callable[[Template], bool],
        features_of: Callable[[Sequence[Sequence[Template]]], Sequence[Features]],
        quarantine: bool = False,
        snapshot: Snapshot | None = None,
    ) -> None:
        self._store = store
        self._searchable = Searchable(index, prints)
        self._snapshot = snapshot
        self._filling = Filling(store, self._searchable, snapshot, owns=owns, features_of=features_of)
        self._behind = False  # the indexes lack what the store holds, or may lack it
        self._closed = False
        try:
            unchecked = self._filling.start()
        except StoreDamagedError:
            if not quarantine:
                raise
            store.set_damaged_aside()
            unchecked = self._filling.start()
        if unchecked:
            threading.Thread(target=self._check, name="biometrik-check", daemon=True).start()

    def close(self) -> None:
        """Wait for writes in flight, keep a snapshot where it is worth it, close the store. Twice is fine."""
        if not self._closed:
            self._closed = True
            with suppress(BiometrikError), self._store.quiet():
                if not self._behind:
                    self._filling.keep_at_end()
        self._store.close()

    def keep_snapshot(self) -> None:
        """Keep the indexes in the snapshot, so that a start after a crash is as fast; searches and writes go on.

        Raises
        ------
        StoreUnavailableError
            The disk refused, or the gallery keeps no snapshot.
        """
        self._catch_up()
        self._filling.keep()

    # --- writes ----------------------------------------------------------------------------------------------

    def enroll(
        self,
        subject_id: str,
        templates: Sequence[Template],
        *,
        missing: Sequence[MissingSample] = (),
        galleries: Sequence[str],
        transaction_id: str = "",
        request_digest: str = "",
        details: Mapping[str, str] = NO_DETAILS,
    ) -> Encounter:
        """Add an encounter to a subject, creating the subject if it is new; durable and findable on return.

        Parameters
        ----------
        subject_id : str
            The caller's opaque id, 1..128 printable characters.
        templates : sequence of Template
            1..256, of the models in force.
        missing : sequence of MissingSample
            What could not be had.
        galleries : sequence of str
            Galleries that it joins; empty for comparisons 1:1 only.
        transaction_id, request_digest : str
            A repeat of both returns the first encounter.
        details : mapping of str to str
            As for every write.

        Raises
        ------
        InvalidInputError
            An argument is out of its bounds.
        IncompatibleTemplateError
            A template is of other models.
        GalleryNotFoundError
            A gallery is unknown.
        TransactionConflictError
            The transaction id was used with another request.
        StoreUnavailableError
            The store cannot be written; nothing was stored.
        """
        new = NewEncounter(
            subject_id, tuple(templates), tuple(galleries), transaction_id, request_digest, details, tuple(missing)
        )
        change = self.admit(new)
        assert isinstance(change, Change)  # nothing is declined here
        return change.encounter

    def admit(self, new: NewEncounter) -> Change | Declined:
        """Add an encounter as :meth:`enroll` does; of a repeat, return what was done at first."""
        if self._filling.foreign_among(new.templates):
            raise IncompatibleTemplateError("templates: expected templates of the models in force")
        (features,) = self._filling.features([new.templates])
        with self._write():
            self._searchable.make_room()
            return self._store.admit(new, features=features, then=self._settle)

    def decline(self, new: NewEncounter) -> Change | Declined:
        """Record that an encounter is not added, because its subject seems to be another; as :meth:`admit`."""
        with self._write():
            return self._store.decline(
                new, then=lambda made: self._in_order(made.event, lambda: self._searchable.note(made.event))
            )

    def admitted(self, new: NewEncounter) -> Change | Declined | None:
        """Return what this very enrolment was answered before; None where it is new or has no transaction id."""
        return self._store.enrolled(new)

    def erase(
        self, subject_id: str, *, transaction_id: str = "", details: Mapping[str, str] = NO_DETAILS
    ) -> ErasureCertificate:
        """Remove a subject and all that was stored of it, from the store's files and from the index.

        Parameters
        ----------
        subject_id : str
            Who.
        transaction_id, details
            As for every write.

        Raises
        ------
        SubjectNotFoundError
            Nobody is enrolled under this id.
        TransactionConflictError
            The transaction id was used with another request.
        StoreUnavailableError
            The store cannot be written, or its files still hold bytes of what was erased; the message says which.
        """
        fresh = []  # unless it is a repeat; the id may be in use again then

        def forget(erased: ErasureCertificate) -> None:
            fresh.append(erased.event > self._searchable.version)
            self._forget(erased)

        with self._write():
            numbers = self._store.numbers_of(subject_id)
            try:
                erased = self._store.erase(subject_id, transaction_id=transaction_id, details=details, then=forget)
                if self._snapshot is not None and any(fresh):
                    self._snapshot.erase(numbers)
            except (SubjectNotFoundError, TransactionConflictError):
                raise
            except BaseException:  # whether the store took it is not known
                if self._snapshot is not None:
                    self._snapshot.discard("an erasure failed")
                raise
            return erased

    def set_encounter_status(
        self,
        encounter_id: str,
        status: EncounterStatus,
        *,
        transaction_id: str = "",
        details: Mapping[str, str] = NO_DETAILS,
    ) -> Encounter:
        """Make an encounter take part in comparisons or not.

        Raises
        ------
        EncounterNotFoundError
            There is no such encounter.
        TransactionConflictError
            The transaction id was used with another request.
        """
        with self._write():
            features = self._stored_features(encounter_id) if status is EncounterStatus.ACTIVE else Features()
            if features:
                self._searchable.make_room()
            change = self._store.set_status(
                encounter_id,
                status,
                transaction_id=transaction_id,
                details=details,
                then=lambda made: self._take_in(made, features),
            )
        return change.encounter

    def set_encounter_galleries(
        self,
        encounter_id: str,
        galleries: Sequence[str],
        *,
        transaction_id: str = "",
        details: Mapping[str, str] = NO_DETAILS,
    ) -> Encounter:
        """Let an encounter be in these galleries and no others.

        Raises
        ------
        EncounterNotFoundError, GalleryNotFoundError
            One of them is unknown.
        TransactionConflictError
            The transaction id was used with another request.
        """
        with self._write():
            features = self._stored_features(encounter_id) if galleries else Features()
            if features:
                self._searchable.make_room()
            change = self._store.set_galleries(
                encounter_id,
                galleries,
                transaction_id=transaction_id,
                details=details,
                then=lambda made: self._take_in(made, features),
            )
        return change.encounter

    def create_gallery(
        self,
        name: str,
        kind: GalleryKind = GalleryKind.POPULATION,
        *,
        legal_basis: str = "",
        retention_days: int = 0,
        transaction_id: str = "",
        details: Mapping[str, str] = NO_DETAILS,
    ) -> GalleryInfo:
        """Create a gallery; see :meth:`biometrik.gallery.store.Store.create_gallery`.

        Raises
        ------
        InvalidInputError
            An argument is out of its bounds.
        LegalBasisMissingError
            It is a watchlist, and no law is named.
        GalleryExistsError
            There is one of this name.
        TransactionConflictError
            The transaction id was used with another request.
        """
        with self._write():
            created = self._store.create_gallery(
                name,
                kind,
                legal_basis=legal_basis,
                retention_days=retention_days,
                transaction_id=transaction_id,
                details=details,
                then=lambda made: self._in_order(made.event, lambda: self._searchable.add_gallery(name, made.event)),
            )
        return created.gallery

    def delete_gallery(self, name: str, *, transaction_id: str = "", details: Mapping[str, str] = NO_DETAILS) -> None:
        """Delete a gallery; its encounters leave it and stay.

        Raises
        ------
        GalleryNotFoundError
            No gallery has this name.
        InvalidInputError
            It is the default gallery.
        TransactionConflictError
            The transaction id was used with another request.
        """
        with self._write():
            self._store.delete_gallery(
                name,
                transaction_id=transaction_id,
                details=details,
                then=lambda made: self._in_order(made.event, lambda: self._searchable.remove_gallery(name, made.event)),
            )
        self._searchable.tidy()

    def export(self, gallery: str = "", *, details: Mapping[str, str] = NO_DETAILS) -> Iterator[Stored]:
        """Yield active encounters with their templates, oldest first; the log says first that they leave.

        Parameters
        ----------
        gallery : str
            Only encounters in this gallery; "" for all, also those in no gallery.
        details : mapping of str to str
            As for every write.

        Raises
        ------
        GalleryNotFoundError
            No gallery has this name.
        StoreDamagedError
            An encounter's templates are damaged; the message names it.
        """
        self._record_export(gallery, details)
        last = 0
        while page := self._store.scan(after=last):
            last = page[-1].number
            for stored in page:
                encounter = stored.encounter
                if encounter.status is EncounterStatus.ACTIVE and (not gallery or gallery in encounter.galleries):
                    yield stored

    # --- reads -----------------------------------------------------------------------------------------------

    def search(
        self,
        probe: Features,
        count: int,
        *,
        fuse: Fuse,
        galleries: Sequence[str] | None = None,
        excluding: str = "",
    ) -> SearchResult:
        """Return the subjects most similar to a probe, each once; see :meth:`search_many`."""
        (result,) = self.search_many([probe], count, fuse=fuse, galleries=galleries, excluding=excluding)
        return result

    def search_many(
        self,
        probes: Sequence[Features],
        count: int,
        *,
        fuse: Fuse,
        galleries: Sequence[str] | None = None,
        excluding: str = "",
    ) -> list[SearchResult]:
        """Return the subjects most similar to each probe, each once, among who is there at one moment.

        Parameters
        ----------
        probes : sequence of Features
            Similarities of faces are inner products with its vector as it is; prints are the matcher's. Without
            features nobody is found, and the coverage says over whom the search would have gone. Probes with a face
            alone are searched for together.
        count : int
            Most subjects, 1..1000.
        fuse : callable
            Scores of encounters; see :data:`biometrik.gallery.searching.Fuse`.
        galleries : sequence of str, optional
            Only encounters in at least one of these; None for all galleries.
        excluding : str
            A subject left out, whether or not it exists; "" for none.

        Returns
        -------
        list of SearchResult
            ``count`` hits each, or as many as there are subjects to compare with.

        Raises
        ------
        InvalidInputError
            An argument is out of its bounds.
        GalleryNotFoundError
            A gallery is unknown.
        """
        self._catch_up()
        return self._searchable.search(probes, count, galleries, excluding, fuse)

    def count(self, galleries: Sequence[str] | None) -> int:
        """Return how many encounters a search of these galleries can find; raises GalleryNotFoundError."""
        return self._searchable.count(galleries)

    def page(self, after: int, limit: int) -> list[tuple[int, Encounter, Features]]:
        """Return a page of all encounters with what can be compared of them, oldest first.

        Parameters
        ----------
        after : int
            The last number of the page before; 0 for the first page.
        limit : int
            Most encounters, 1..1000.

        Raises
        ------
        StoreDamagedError
            An encounter's templates are damaged; the message names it.
        """
        page = self._store.scan(after=after, limit=limit)
        features = self._filling.features([stored.templates for stored in page])
        return [(stored.number, stored.encounter, own) for stored, own in zip(page, features, strict=True)]

    def alike(
        self,
        numbers: NDArray[np.int64],
        vectors: NDArray[np.float32],
        least: float,
        *,
        galleries: Sequence[str] | None,
        most: int,
    ) -> list[Alike]:
        """Return all faces of older encounters that are as like as asked; see :meth:`Searchable.alike`."""
        return self._searchable.alike(numbers, vectors, least, galleries, most)

    def references(self, subject_id: str, *, galleries: Sequence[str] | None = None) -> list[Reference]:
        """Return a subject's active encounters with their templates, oldest first.

        Parameters
        ----------
        subject_id : str
            Whose.
        galleries : sequence of str, optional
            Only encounters in at least one of these; None for all, also those in no gallery.

        Raises
        ------
        SubjectNotFoundError, GalleryNotFoundError
            One of them is unknown.
        StoreDamagedError
            An encounter's templates are damaged; the message names it.
        """
        return [_reference(stored) for stored in self._store.references(subject_id, galleries)]

    def references_of_encounter(self, encounter_id: str) -> list[Reference]:
        """Return one encounter with its templates, nothing where it is inactive.

        Raises
        ------
        EncounterNotFoundError
            There is no such encounter.
        StoreDamagedError
            Its templates are damaged.
        """
        return [_reference(stored) for stored in self._store.references_of_encounter(encounter_id)]

    def subject(self, subject_id: str) -> Subject:
        """Return a subject with its encounters; raises SubjectNotFoundError."""
        return self._store.subject(subject_id)

    def subjects(self, *, gallery: str | None = None, after: str = "", limit: int = 100) -> list[Subject]:
        """Return a page of subjects by id; see :meth:`biometrik.gallery.store.Store.subjects`."""
        return self._store.subjects(gallery=gallery, after=after, limit=limit)

    def encounter(self, encounter_id: str) -> Encounter:
        """Return an encounter; raises EncounterNotFoundError."""
        return self._store.encounter(encounter_id)

    def gallery(self, name: str) -> GalleryInfo:
        """Return a gallery; raises GalleryNotFoundError."""
        return self._store.gallery(name)

    def galleries(self) -> list[GalleryInfo]:
        """Return all galleries in the order of their names."""
        return self._store.galleries()

    def events(self, *, after: int = 0, limit: int = 100) -> list[Event]:
        """Return a page of the log; see :meth:`biometrik.gallery.store.Store.events`."""
        return self._store.events(after=after, limit=limit)

    def quarantined(self) -> list[Quarantined]:
        """Return the encounters that were set aside because they are damaged."""
        return self._store.quarantined()

    def snapshot(self, path: Path, *, details: Mapping[str, str] = NO_DETAILS) -> Holdings:
        """Copy the store while it is in use; see :meth:`biometrik.gallery.store.Store.snapshot`.

        The log says first, as of an export of everybody, that the data leave and under which name (``copy``).
        """
        self._record_export("", {**details, "copy": path.name})
        return self._store.snapshot(path)

    def _record_export(self, gallery: str, details: Mapping[str, str]) -> None:
        with self._write():
            self._store.record_export(
                gallery,
                details=details,
                then=lambda event: self._in_order(event, lambda: self._searchable.note(event)),
            )

    @property
    def foreign_templates(self) -> int:
        """How many stored templates are of other models: kept, but never searched."""
        return sum(tuple(self._filling.foreign.values()))

    # --- keeping the index in step -----------------------------------------------------------------------------

    @contextmanager
    def _write(self) -> Iterator[None]:
        self._catch_up()
        try:
            yield
        except BaseException as error:
            if not isinstance(error, BiometrikError):
                self._behind = True  # an interruption: what the store holds decides
            with suppress(BiometrikError):
                self._catch_up()
            raise
        self._catch_up()

    def _take_in(self, change: Change, features: Features) -> None:
        self._in_order(change.event, lambda: self._searchable.take_in(change, features))

    def _settle(self, made: Sequence[tuple[Draft, Change | Declined]]) -> None:
        # As `_in_order`, for encounters that were stored together. What the index fails to take in is no matter of one
        # of them: each is on disk, and its thread brings the index up to the store before it returns.
        new: list[tuple[Change, Features]] = []
        following = self._searchable.version + 1
        for draft, answer in made:
            if isinstance(answer, Change) and answer.event == following + len(new):
                new.append((answer, draft.features))
            elif answer.event >= following + len(new):
                self._behind = True
        if not new:
            return
        try:
            self._searchable.take_in_new(new)
        except BaseException as error:
            self._behind = True
            if not isinstance(error, Exception):
                raise
            _log.warning("the index took in no more (%s); it is filled from the store", type(error).__name__)
        else:
            self._filling.enrolled(new[-1][0].number)

    def _forget(self, erased: ErasureCertificate) -> None:
        def forget() -> None:
            self._filling.foreign.pop(erased.subject_id, None)
            self._searchable.forget_subject(erased.subject_id, erased.event)

        self._in_order(erased.event, forget)

    def _in_order(self, event: int, take_in: Callable[[], None]) -> None:
        # The store calls it once a write is on disk, one at a time. After an event that was missed nothing more is
        # taken in, because the version would hide the gap. An event of the past is a repeat's.
        missing = event - self._searchable.version
        if missing == 1:
            try:
                take_in()
            except BaseException:
                self._behind = True
                raise
        elif missing > 1:
            self._behind = True

    def _catch_up(self) -> None:
        if self._behind:
            with self._store.quiet():
                if self._store.last_event() != self._searchable.version:
                    self._filling.rebuild()
                self._behind = False

    def _check(self) -> None:
        # What a start from a snapshot leaves for later.
        try:
            self._store.check()
        except BiometrikError as error:
            _log.error("%s", error)
            self._behind = True  # a search asks the store first, which now refuses

    def _stored_features(self, encounter_id: str) -> Features:
        # None also where there is no such encounter: the store says so, or knows the answer to a repeat.
        try:
            stored = self._store.stored(encounter_id)
        except EncounterNotFoundError:
            return Features()
        return self._filling.features([stored.templates])[0]


def _reference(stored: Stored) -> Reference:
    return Reference(stored.encounter.encounter_id, stored.encounter.galleries, stored.templates)
