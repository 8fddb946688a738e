"""The indexes filled at start: from a snapshot and the log since, or from every template in the store."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from biometrik.errors import EncounterNotFoundError, InvalidInputError, StoreUnavailableError
from biometrik.features import Features
from biometrik.gallery.members import faces_and_prints
from biometrik.gallery.records import Change, Event, EventKind, Stored
from biometrik.gallery.roster import PAGE
from biometrik.gallery.searching import Searchable
from biometrik.gallery.snapshot import Block, Origin, Snapshot, UnusableError, event_digest
from biometrik.gallery.store import Store
from biometrik.types import Encounter, Template

_log: Final = logging.getLogger(__name__)

#: Fewer encounters are read from the store in less than half a second (36 s a million, ADR 2).
WORTH_A_SNAPSHOT: Final = 10_000


class Filling:
    """Fills what can be searched, and keeps a snapshot of it; not thread-safe, but for :meth:`keep`.

    Parameters
    ----------
    store : Store
        The truth.
    searchable : Searchable
        Filled.
    snapshot : Snapshot or None
        None keeps none.
    owns : callable
        Whether a template is of the models in force.
    features_of : callable
        As :class:`biometrik.gallery.gallery.Gallery` has it.
    """

    def __init__(
        self,
        store: Store,
        searchable: Searchable,
        snapshot: Snapshot | None,
        *,
        owns: Callable[[Template], bool],
        features_of: Callable[[Sequence[Sequence[Template]]], Sequence[Features]],
    ) -> None:
        self._store = store
        self._searchable = searchable
        self._snapshot = snapshot
        self._owns = owns
        self._features_of = features_of
        self.foreign: dict[str, int] = {}  # subject → its templates of other models
        self._last_number = 0

    def start(self) -> bool:
        """Fill the empty indexes, from the snapshot if it can be used; returns whether it was."""
        if self._snapshot is not None:
            try:
                self._restore(self._snapshot)
            except UnusableError as error:
                self._snapshot.discard(str(error))
            else:
                return True
        self._store.check()
        self.rebuild()
        return False

    def rebuild(self) -> None:
        """Forget everything, and fill the indexes from the store."""
        self.foreign.clear()
        self._last_number = 0
        self._searchable.reload(self._store.last_event(), self._store.gallery_names(), self._pages(0))

    def keep(self) -> None:
        """Write a snapshot of now; changes and searches go on meanwhile.

        Raises
        ------
        StoreUnavailableError
            The disk refused, or the gallery keeps no snapshot.
        """
        if self._snapshot is None:
            raise StoreUnavailableError("snapshot: this gallery keeps none; open it from a file, with snapshots on")
        # The version first: what happens from here on is in the log that the next start reads. An encounter has a
        # number up to the last only if it was taken in before.
        version, names, prints = self._searchable.seen
        (event,) = self._store.events(after=version - 1, limit=1)
        last, foreign = self._last_number, dict(self.foreign)
        fingers = bool(foreign) or prints
        origin = Origin(
            self._snapshot.contract(fingers),
            fingers,
            self._searchable.dimension,
            event.sequence,
            event_digest(event),
            last,
            names,
            foreign,
        )

        def block_of(page: int) -> Block:
            block = self._searchable.block(page)
            return block.without(block.page.numbers[block.page.numbers > last])

        self._snapshot.write(origin, last // PAGE + 1, block_of)

    def keep_at_end(self) -> None:
        """Write a snapshot if that saves the next start more than a moment; what prevents it is said in the log."""
        snapshot = self._snapshot
        if snapshot is None or len(self._searchable) < WORTH_A_SNAPSHOT or snapshot.event == self._searchable.version:
            return
        try:
            self.keep()
        except StoreUnavailableError as error:
            _log.warning("%s; the next start takes longer", error)

    def enrolled(self, number: int) -> None:
        """Note the number of an encounter that was stored and, if it is to be found, taken in."""
        self._last_number = max(self._last_number, number)

    def features(self, encounters: Sequence[Sequence[Template]]) -> Sequence[Features]:
        """Return what the indexes will not refuse; raises InvalidInputError where it would be that."""
        found = self._features_of([[t for t in templates if self._owns(t)] for templates in encounters])
        dimension = self._searchable.dimension
        for vector in (features.vector for features in found if features.vector is not None):
            if vector.shape != (dimension,) or vector.dtype != np.float32 or not np.isfinite(vector).all():
                raise InvalidInputError(
                    f"vector: expected ({dimension},) finite float32 values of the templates, got {vector.shape}"
                )
        return found

    def foreign_among(self, templates: Sequence[Template]) -> int:
        """Return how many templates are of other models."""
        return sum(not self._owns(template) for template in templates)

    # --- from a snapshot -------------------------------------------------------------------------------------------

    def _restore(self, snapshot: Snapshot) -> None:
        origin = snapshot.origin()
        if (origin.contract, origin.dimension) != (snapshot.contract(origin.fingers), self._searchable.dimension):
            raise UnusableError("it is of other models")
        known = self._store.events(after=origin.event - 1, limit=1)
        if not known or event_digest(known[0]) != origin.digest:
            raise UnusableError("it is of another database, or of what came after this copy of it")
        with_prints: list[Block] = []
        self._searchable.restore(origin, _noting(snapshot.blocks(), with_prints))
        for block in with_prints:
            self._add_prints(block)
        self.foreign.update(origin.foreign)
        self._last_number = origin.last_number
        self._replay(snapshot, origin)

    def _add_prints(self, block: Block) -> None:
        # Templates never change; an encounter that is gone since is forgotten with its event.
        first = int(block.page.numbers[0]) // PAGE * PAGE
        for page in self._scanned(first - 1, first + PAGE):
            features = self.features([stored.templates for stored in page])
            self._searchable.add_prints(
                [(stored.number, own.prints) for stored, own in zip(page, features, strict=True)]
            )

    def _replay(self, snapshot: Snapshot, origin: Origin) -> None:
        # Encounters as they are now, each when its events come, those that are new at the end.
        version = self._store.last_event()
        after = origin.event
        while after < version:
            for event in self._store.events(after=after, limit=1000):
                self._replay_event(snapshot, origin, event)
                after = event.sequence
        self._searchable.extend(version, self._pages(origin.last_number))

    def _replay_event(self, snapshot: Snapshot, origin: Origin, event: Event) -> None:
        if event.kind is EventKind.ERASED:
            snapshot.erase(self._searchable.forget_subject(event.subject_id, event.sequence))
            self.foreign.pop(event.subject_id, None)
        elif event.kind in (EventKind.STATUS_CHANGED, EventKind.GALLERIES_CHANGED):
            try:
                stored = self._store.stored(event.encounter_id)
            except EncounterNotFoundError:
                return  # erased since: that event comes, too
            if stored.number <= origin.last_number:
                (features,) = self.features([stored.templates])
                self._searchable.take_in(Change(event.sequence, stored.number, stored.encounter), features)
        elif event.kind is EventKind.GALLERY_CREATED:
            self._searchable.add_gallery(event.details["gallery"], event.sequence)
        elif event.kind is EventKind.GALLERY_DELETED:
            self._searchable.remove_gallery(event.details["gallery"], event.sequence)
            self._searchable.tidy()
        elif event.kind in (EventKind.EXPORTED, EventKind.DUPLICATE_SUSPECTED):
            self._searchable.note(event.sequence)  # nobody changes
        elif event.kind is not EventKind.ENROLLED:
            raise UnusableError(f"the log has an event since that it cannot follow, {event.kind.value}")

    # --- from the store --------------------------------------------------------------------------------------------

    def _pages(self, after: int) -> Iterator[list[tuple[int, Encounter, Features]]]:
        for page in self._scanned(after):
            for stored in page:
                if foreign := self.foreign_among(stored.templates):
                    subject_id = stored.encounter.subject_id
                    self.foreign[subject_id] = self.foreign.get(subject_id, 0) + foreign
            self.enrolled(page[-1].number)
            features = self.features([stored.templates for stored in page])
            yield [(stored.number, stored.encounter, own) for stored, own in zip(page, features, strict=True)]

    def _scanned(self, after: int, below: int | None = None) -> Iterator[list[Stored]]:
        while page := self._store.scan(after=max(after, 0)):
            after = page[-1].number
            if below is not None and after >= below:
                page = [stored for stored in page if stored.number < below]
                if page:
                    yield page
                return
            yield page


def _noting(blocks: Iterator[Block], with_prints: list[Block]) -> Iterator[Block]:
    # The blocks as they are; those whose encounters show prints are noted, without their vectors.
    for block in blocks:
        shown = np.array([kind[1] for kind in block.kinds], dtype=np.int64)
        if faces_and_prints(shown)[1].any():
            with_prints.append(Block(block.page, block.kinds, block.faces[:0], block.vectors[:0].copy()))
        yield block
