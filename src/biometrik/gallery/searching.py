"""What can be searched: the index and whose vectors it holds, changed together."""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.features import Compared
from biometrik.gallery.index import Index
from biometrik.gallery.members import Member, Members
from biometrik.gallery.records import MAX_PAGE, Change, check_id, chosen_galleries
from biometrik.types import FACE, Encounter, EncounterStatus, SearchCoverage, Trait


@dataclass(frozen=True, slots=True)
class Hit:
    """A subject that a search found, by its encounter that fits best.

    Parameters
    ----------
    subject_id, encounter_id : str
        Who, and by which encounter.
    galleries : tuple of str
        Galleries that hold the encounter.
    similarity : float
        Inner product of the probe with the encounter's vector.
    encounters_compared : int
        How many of the subject's encounters the probe was compared with.
    """

    subject_id: str
    encounter_id: str
    galleries: tuple[str, ...]
    similarity: float
    encounters_compared: int
    compared: Mapping[Trait, Compared]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best subjects, best first, and what they are the best of."""

    hits: tuple[Hit, ...]
    coverage: SearchCoverage


class Searchable:
    """The encounters that a 1:N search finds: active, in a gallery, and with a vector; thread-safe.

    A search sees each change whole or not at all. Changes carry the sequence number of their event and come in its
    order; one that was taken in already is passed over.

    Parameters
    ----------
    index : Index
        Empty.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._lock = threading.Lock()  # over all of the following
        self._members = Members()
        self._names: tuple[str, ...] = ()  # of all galleries, sorted
        self._version = 0

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return self._index.dimension

    @property
    def version(self) -> int:
        """Sequence number of the last event taken in."""
        return self._version

    def reload(
        self,
        version: int,
        names: tuple[str, ...],
        pages: Iterable[Sequence[tuple[int, Encounter, NDArray[np.float32]]]],
    ) -> None:
        """Forget everything and take in what the store holds; searches wait.

        Parameters
        ----------
        version : int
            Sequence number of the store's last event.
        names : tuple of str
            All galleries, sorted.
        pages : iterable of sequences of (number, Encounter, (D,) float32)
            Encounters that have a vector.
        """
        with self._lock:
            self._forget(self._members.of_everybody())
            for page in pages:
                found = [row for row in page if _searchable(row[1])]
                if found:
                    numbers = np.array([number for number, _, _ in found], dtype=np.int64)
                    self._index.add(numbers, np.stack([vector for _, _, vector in found]))
                for number, encounter, _ in found:
                    self._members.add(number, _member(encounter))
            self._names = names
            self._version = version

    def take_in(self, change: Change, vector: NDArray[np.float32] | None) -> None:
        """Take in what was written of one encounter; None where it has no vector or need not be found."""
        with self._lock:
            if change.event <= self._version:
                return
            if vector is not None and _searchable(change.encounter):
                if change.number not in self._members:
                    self._index.add(np.array([change.number], dtype=np.int64), vector[None])
                self._members.add(change.number, _member(change.encounter))
            elif change.number in self._members:
                self._forget((change.number,))
            self._version = change.event

    def forget_subject(self, subject_id: str, event: int) -> None:
        """Take in that a subject was erased."""
        with self._lock:
            if event > self._version:
                self._forget(self._members.of_subject(subject_id))
                self._version = event

    def add_gallery(self, name: str, event: int) -> None:
        """Take in that a gallery was created."""
        with self._lock:
            if event <= self._version:
                return
            self._names = tuple(sorted((*self._names, name)))
            self._version = event

    def remove_gallery(self, name: str, event: int) -> None:
        """Take in that a gallery was deleted; who is in no other can be found no more."""
        with self._lock:
            if event <= self._version:
                return
            for number in self._members.of_gallery(name):
                member = self._members[number]
                left = tuple(other for other in member.galleries if other != name)
                if left:
                    self._members.add(number, Member(member.subject_id, member.encounter_id, left))
                else:
                    self._forget((number,))
            self._names = tuple(other for other in self._names if other != name)
            self._version = event

    def search(
        self, vector: NDArray[np.float32], count: int, galleries: Sequence[str] | None, excluding: str
    ) -> SearchResult:
        """Return the best subjects; see :meth:`biometrik.gallery.gallery.Gallery.search`."""
        if not 1 <= count <= MAX_PAGE:
            raise InvalidInputError(f"count: expected 1..{MAX_PAGE}, got {count}")
        if vector.ndim != 1:
            raise InvalidInputError(f"vector: expected ({self.dimension},), got {vector.shape}")
        if excluding:
            check_id("excluding", excluding)
        with self._lock:
            names = None if galleries is None else chosen_galleries(galleries, self._names)
            selection = self._members.select(names)
            left_out = self._members.compared(excluding, names) if excluding else 0
            coverage = SearchCoverage(
                gallery_version=self._version,
                galleries=self._names if names is None else names,
                subjects=selection.subjects - (left_out > 0),
                compared=selection.encounters - left_out,
                exact=self._index.exact,
                recall_claimed=self._index.recall_claimed,
            )
            # Asks for more encounters until they belong to enough subjects, or there are no more.
            asked = count + left_out
            while True:
                found = self._index.search(vector[None], asked, allowed=selection.numbers)
                hits = self._grouped(found[0][0], found[1][0], count, names, excluding)
                if len(hits) == count or asked >= selection.encounters:
                    return SearchResult(hits, coverage)
                asked = min(selection.encounters, 4 * asked)

    def _grouped(
        self,
        numbers: NDArray[np.int64],
        similarities: NDArray[np.float32],
        count: int,
        galleries: tuple[str, ...] | None,
        excluding: str,
    ) -> tuple[Hit, ...]:
        hits: dict[str, Hit] = {}
        for number, similarity in zip(numbers.tolist(), similarities.tolist(), strict=True):
            if number < 0 or len(hits) == count:
                break
            member = self._members[number]
            subject_id = member.subject_id
            if subject_id not in hits and subject_id != excluding:
                compared = self._members.compared(subject_id, galleries)
                hits[subject_id] = Hit(
                    subject_id,
                    member.encounter_id,
                    member.galleries,
                    similarity,
                    compared,
                    {FACE: Compared(similarity)},
                )
        return tuple(hits.values())

    def _forget(self, numbers: Collection[int]) -> None:
        self._index.remove(np.fromiter(numbers, np.int64, len(numbers)))
        for number in numbers:
            self._members.remove(number)


def _searchable(encounter: Encounter) -> bool:
    return encounter.status is EncounterStatus.ACTIVE and bool(encounter.galleries)


def _member(encounter: Encounter) -> Member:
    return Member(encounter.subject_id, encounter.encounter_id, encounter.galleries)
