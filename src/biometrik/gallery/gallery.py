"""The store and the index in step: enrol, search, erase, from any number of threads."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import (
    BiometrikError,
    EncounterNotFoundError,
    IncompatibleTemplateError,
    InvalidInputError,
)
from biometrik.gallery.index import Index
from biometrik.gallery.records import NO_DETAILS, Event, NewEncounter, Stored
from biometrik.gallery.searching import Hit as Hit
from biometrik.gallery.searching import Searchable, SearchResult
from biometrik.gallery.store import Store
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    MissingSample,
    Modality,
    Subject,
    Template,
)


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

    The store is the truth. The index holds one vector an encounter that is active, in a gallery, and has face
    templates of the model contract in force; an encounter in no gallery is only compared 1:1. A write does everything
    that can fail first, then commits, then changes the index; it returns when both are done. A search sees each write
    whole or not at all, and waits for no disk.

    Every write may carry a transaction id, under which a repeat of the same request returns the first answer, as it
    was, and changes nothing; with another request it raises TransactionConflictError. Its details are the caller's
    references for the event log.

    Parameters
    ----------
    store : Store
        Closed by :meth:`close`.
    index : Index
        Empty; filled from the store here.
    model_contract_id : str
        The contract whose face templates are searched.
    vector_of : callable
        Turns one encounter's face templates, all of this contract, into its (D,) float32 vector. It is not
        normalised here.

    Raises
    ------
    StoreDamagedError
        A stored encounter is damaged; the message names it.
    StoreUnavailableError
        The store cannot be read.
    TemplateFormatError, InvalidInputError
        A stored template cannot be turned into a vector of this index.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        *,
        model_contract_id: str,
        vector_of: Callable[[Sequence[Template]], NDArray[np.float32]],
    ) -> None:
        self._store = store
        self._searchable = Searchable(index)
        self._contract = model_contract_id
        self._vector_of = vector_of
        self._writer = threading.Lock()  # held for a whole write, with its commit
        self._foreign: dict[str, int] = {}  # subject → its face templates of other contracts
        self._behind = False  # a write failed, and whether the store took it is not known
        self._rebuild()

    def close(self) -> None:
        """Wait for writes in flight, then close the store. Closing twice is fine."""
        with self._writer:
            self._store.close()

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
            1..256; face templates only of the model contract in force.
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
            A face template is of another model contract.
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
        if self._foreign_among(new.templates):
            raise IncompatibleTemplateError("templates: expected face templates of the model contract in force")
        vector = self._vector(new.templates)
        with self._write():
            change = self._store.enroll(new)
            self._searchable.take_in(change, vector)
        return change.encounter

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
        with self._write():
            certificate = self._store.erase(subject_id, transaction_id=transaction_id, details=details)
            if certificate.event > self._searchable.version:  # else a repeat; the id may be in use again
                self._foreign.pop(subject_id, None)
            self._searchable.forget_subject(subject_id, certificate.event)
        return certificate

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
            vector = self._stored_vector(encounter_id) if status is EncounterStatus.ACTIVE else None
            change = self._store.set_status(encounter_id, status, transaction_id=transaction_id, details=details)
            self._searchable.take_in(change, vector)
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
            vector = self._stored_vector(encounter_id) if galleries else None
            change = self._store.set_galleries(encounter_id, galleries, transaction_id=transaction_id, details=details)
            self._searchable.take_in(change, vector)
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
            )
            self._searchable.add_gallery(name, created.event)
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
            deleted = self._store.delete_gallery(name, transaction_id=transaction_id, details=details)
            self._searchable.remove_gallery(name, deleted.event)

    # --- reads -----------------------------------------------------------------------------------------------

    def search(
        self,
        vector: NDArray[np.float32],
        count: int,
        *,
        galleries: Sequence[str] | None = None,
        excluding: str = "",
        fuse=None,
    ) -> SearchResult:
        """Return the subjects most similar to a probe, each once.

        Parameters
        ----------
        vector : (D,) float32
            The probe. Similarities are inner products with it as it is.
        count : int
            Most subjects, 1..1000.
        galleries : sequence of str, optional
            Only encounters in at least one of these; None for all galleries.
        excluding : str
            A subject left out, whether or not it exists; "" for none.

        Returns
        -------
        SearchResult
            ``count`` hits, or as many as there are subjects to compare with.

        Raises
        ------
        InvalidInputError
            An argument is out of its bounds.
        GalleryNotFoundError
            A gallery is unknown.
        """
        if self._behind:
            with self._write():  # brings the index up to the store first
                pass
        import numpy as np

        v = vector.vector if hasattr(vector, "vector") else vector
        return self._searchable.search(
            np.zeros(self._searchable.dimension, np.float32) if v is None else v, count, galleries, excluding
        )

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

    @property
    def foreign_templates(self) -> int:
        """How many stored face templates are of other model contracts: kept, but never searched."""
        return sum(tuple(self._foreign.values()))

    # --- keeping the index in step -----------------------------------------------------------------------------

    @contextmanager
    def _write(self) -> Iterator[None]:
        with self._writer:
            if self._behind:
                self._catch_up()
            try:
                yield
            except BaseException:
                # Whatever it was, an interrupt between commit and index too: what the store holds decides.
                self._behind = True
                with suppress(BiometrikError):
                    self._catch_up()
                raise

    def _catch_up(self) -> None:
        # Only without another write under way.
        if self._store.last_event() != self._searchable.version:
            self._rebuild()
        self._behind = False

    def _rebuild(self) -> None:
        self._foreign.clear()
        self._searchable.reload(self._store.last_event(), self._store.gallery_names(), self._pages())

    def _pages(self) -> Iterator[list[tuple[int, Encounter, NDArray[np.float32]]]]:
        last = 0
        while page := self._store.scan(after=last):
            last = page[-1].number
            rows = []
            for stored in page:
                subject_id = stored.encounter.subject_id
                if foreign := self._foreign_among(stored.templates):
                    self._foreign[subject_id] = self._foreign.get(subject_id, 0) + foreign
                vector = self._vector(stored.templates)
                if vector is not None:
                    rows.append((stored.number, stored.encounter, vector))
            yield rows

    def _stored_vector(self, encounter_id: str) -> NDArray[np.float32] | None:
        # None also where there is no such encounter: the store says so, or knows the answer to a repeat.
        try:
            stored = self._store.stored(encounter_id)
        except EncounterNotFoundError:
            return None
        return self._vector(stored.templates)

    def _vector(self, templates: Sequence[Template]) -> NDArray[np.float32] | None:
        # None where there is no face of this contract; otherwise what the index will not refuse.
        own = [t for t in templates if t.modality is Modality.FACE and t.model_contract_id == self._contract]
        if not own:
            return None
        vector = np.asarray(self._vector_of(own), dtype=np.float32)
        if vector.shape != (self._searchable.dimension,) or not np.isfinite(vector).all():
            raise InvalidInputError(
                f"vector: expected ({self._searchable.dimension},) finite values of the templates, got {vector.shape}"
            )
        return vector

    def _foreign_among(self, templates: Sequence[Template]) -> int:
        return sum(t.modality is Modality.FACE and t.model_contract_id != self._contract for t in templates)


def _reference(stored: Stored) -> Reference:
    return Reference(stored.encounter.encounter_id, stored.encounter.galleries, stored.templates)
