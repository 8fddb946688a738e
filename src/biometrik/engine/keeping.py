"""Subjects, encounters, galleries and events; copies of the database, and what is erased from it."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from biometrik.engine.context import details_of
from biometrik.engine.state import EngineState
from biometrik.gallery.records import Holdings, Quarantined
from biometrik.gallery.store import Event
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    RequestContext,
    Subject,
)


class Keeping(EngineState):
    """What the database holds: subjects, encounters, galleries, events, copies, and what is erased."""

    def erase(self, subject_id: str, *, context: RequestContext | None = None) -> ErasureCertificate:
        """Remove a subject and all that was stored of it from the database's bytes and from the index.

        Parameters
        ----------
        subject_id : str
            Who.
        context : RequestContext, optional
            As for :meth:`enroll`.

        Raises
        ------
        SubjectNotFoundError
            Nobody is enrolled under this id.
        TransactionConflictError
            The transaction id was used with another request.
        StoreUnavailableError
            The database cannot be written, and nothing was erased; or its files still hold bytes of what was erased.
            The message says which.
        """
        context = context or RequestContext()
        with self._call():
            return self._gallery.erase(subject_id, transaction_id=context.transaction_id, details=details_of(context))

    def subject(self, subject_id: str) -> Subject:
        """Return a subject with its encounters; raises SubjectNotFoundError."""
        with self._call():
            return self._gallery.subject(subject_id)

    def subjects(self, *, gallery: str | None = None, after: str = "", limit: int = 100) -> list[Subject]:
        """Return a page of subjects in the order of their ids, those after ``after``; ``limit`` 1..1000."""
        with self._call():
            return self._gallery.subjects(gallery=gallery, after=after, limit=limit)

    def encounter(self, encounter_id: str) -> Encounter:
        """Return an encounter; raises EncounterNotFoundError."""
        with self._call():
            return self._gallery.encounter(encounter_id)

    def set_encounter_status(
        self, encounter_id: str, status: EncounterStatus, *, context: RequestContext | None = None
    ) -> Encounter:
        """Let an encounter take part in comparisons, or not.

        Parameters
        ----------
        encounter_id : str
            Which.
        status : EncounterStatus
            What it is to be.
        context : RequestContext, optional
            As for :meth:`enroll`.

        Raises
        ------
        EncounterNotFoundError
            There is no such encounter.
        TransactionConflictError
            The transaction id was used with another request.
        """
        context = context or RequestContext()
        with self._call():
            return self._gallery.set_encounter_status(
                encounter_id, status, transaction_id=context.transaction_id, details=details_of(context)
            )

    def set_encounter_galleries(
        self, encounter_id: str, galleries: Sequence[str], *, context: RequestContext | None = None
    ) -> Encounter:
        """Move an encounter to other galleries.

        Parameters
        ----------
        encounter_id : str
            Which.
        galleries : sequence of str
            All that it is to be in; empty for comparisons 1:1 only.
        context : RequestContext, optional
            As for :meth:`enroll`.

        Raises
        ------
        EncounterNotFoundError, GalleryNotFoundError
            One of them is unknown.
        TransactionConflictError
            The transaction id was used with another request.
        """
        context = context or RequestContext()
        with self._call():
            return self._gallery.set_encounter_galleries(
                encounter_id, galleries, transaction_id=context.transaction_id, details=details_of(context)
            )

    def count_encounters(self, *, galleries: Sequence[str] | None = None) -> int:
        """Return how many encounters a search of these galleries can find, None for all.

        Raises
        ------
        GalleryNotFoundError
            A gallery is unknown.
        """
        with self._call():
            return self._gallery.count(galleries)

    @property
    def foreign_templates(self) -> int:
        """Stored face templates of other model contracts: they are kept, but cannot be compared or found."""
        with self._call():
            return self._gallery.foreign_templates

    def create_gallery(
        self,
        name: str,
        kind: GalleryKind = GalleryKind.POPULATION,
        *,
        legal_basis: str = "",
        retention_days: int = 0,
        context: RequestContext | None = None,
    ) -> GalleryInfo:
        """Create a gallery: a set of encounters that can be searched by itself.

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
        context : RequestContext, optional
            As for :meth:`enroll`.

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
        context = context or RequestContext()
        with self._call():
            return self._gallery.create_gallery(
                name,
                kind,
                legal_basis=legal_basis,
                retention_days=retention_days,
                transaction_id=context.transaction_id,
                details=details_of(context),
            )

    def gallery(self, name: str) -> GalleryInfo:
        """Return a gallery; raises GalleryNotFoundError."""
        with self._call():
            return self._gallery.gallery(name)

    def galleries(self) -> list[GalleryInfo]:
        """Return all galleries."""
        with self._call():
            return self._gallery.galleries()

    def delete_gallery(self, name: str, *, context: RequestContext | None = None) -> None:
        """Delete a gallery; its encounters leave it and stay.

        Parameters
        ----------
        name : str
            Which; not the default gallery.
        context : RequestContext, optional
            As for :meth:`enroll`.

        Raises
        ------
        GalleryNotFoundError
            No gallery has this name.
        InvalidInputError
            It is the default gallery.
        TransactionConflictError
            The transaction id was used with another request.
        """
        context = context or RequestContext()
        with self._call():
            self._gallery.delete_gallery(name, transaction_id=context.transaction_id, details=details_of(context))

    def events(self, *, after: int = 0, limit: int = 100) -> list[Event]:
        """Return a page of the event log, in order, those with a sequence number above ``after``."""
        with self._call():
            return self._gallery.events(after=after, limit=limit)

    def quarantined(self) -> list[Quarantined]:
        """Return the encounters that were set aside because their bytes are damaged: nobody is compared with them.

        Restoring a backup brings them back; erasing their subject removes them.
        """
        with self._call():
            return self._gallery.quarantined()

    def snapshot(self, path: str | PathLike[str], *, context: RequestContext | None = None) -> Holdings:
        """Copy the database as it is at this moment, while everything goes on; an erasure waits for the end.

        The copy holds biometric data, and what is erased later stays in it: the event log says first that they leave,
        and to whom. :func:`biometrik.gallery.backup.restore`, or ``biometrik backup restore``, is the way back.

        Parameters
        ----------
        path : path-like
            The copy; must not be there. It has this name only once it is on disk and was read to its last row.
        context : RequestContext, optional
            The caller's references, for the event.

        Returns
        -------
        Holdings
            What the copy holds.

        Raises
        ------
        InvalidInputError
            There is a file of this name, or the database is in memory.
        StoreDamagedError
            A row is damaged; no copy is left.
        StoreUnavailableError
            The copy cannot be written; none is left.
        """
        with self._call():
            return self._gallery.snapshot(Path(path), details=details_of(context or RequestContext()))

    def keep_snapshot(self) -> None:
        """Keep the indexes beside the database now, as :meth:`close` does; the next start is as fast after a crash.

        Raises
        ------
        StoreUnavailableError
            The disk refused, or the database keeps no snapshot.
        """
        with self._call():
            self._gallery.keep_snapshot()
