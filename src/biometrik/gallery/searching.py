"""What can be searched: the indexes and whose features they hold, changed together."""

import itertools
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.features import Compared, Features, Pack
from biometrik.gallery.index import Index, View
from biometrik.gallery.members import (
    EVERYTHING,
    Kinds,
    Member,
    Members,
    Selection,
    count_met,
    faces_and_prints,
    shown_by,
)
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.records import MAX_PAGE, Change, check_id, chosen_galleries
from biometrik.gallery.snapshot import Block, Origin, UnusableError
from biometrik.types import FACE, Encounter, EncounterStatus, SearchCoverage, Trait

#: Scores (K,) of encounters, larger is more alike, from their similarities (K,), NaN where a trait is missing, and the
#: pairs (K,) that each is the best of. With one trait the score never falls where the similarity grows.
Fuse = Callable[[Mapping[Trait, NDArray[np.float32]], Mapping[Trait, NDArray[np.int64]]], NDArray[np.float64]]


#: Encounters that are forgotten at a time after their gallery was deleted, and the pause after it. They take about a
#: millisecond of Python: a search beside them, which takes turns with Python's lock some forty times, waits no longer.
_FORGOTTEN: Final = 64
_PAUSE_S: Final = 0.001
#: What a probe with a face and nothing else shows, and how many such are searched for at a time: what is done under a
#: lock for all of them takes about a millisecond.
_FACE_ALONE: Final = shown_by(Features(np.empty(0, dtype=np.float32)))
_TOGETHER: Final = 64
#: Faces that are asked for at first where all that are alike are wanted: most have none but their own.
_NEIGHBOURS: Final = 8
#: Encounters whose members are taken in at a time: searches take turns with them.
_PUT: Final = 64
#: Faces that may be on their way to the index at once: many times the threads that a service writes with.
_BEING_WRITTEN: Final = 1024


@dataclass(frozen=True, slots=True)
class Hit:
    """A subject that a search found, by its encounter that fits best.

    Parameters
    ----------
    subject_id, encounter_id : str
        Who, and by which encounter.
    galleries : tuple of str
        Galleries that hold the encounter.
    compared : mapping of Trait to Compared
        The traits that the probe and the encounter have in common. A face's similarity is the inner product of the
        probe with the encounter's vector.
    encounters_compared : int
        How many of the subject's encounters could be compared with the probe.
    """

    subject_id: str
    encounter_id: str
    galleries: tuple[str, ...]
    compared: Mapping[Trait, Compared]
    encounters_compared: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best subjects, best first, and what they are the best of."""

    hits: tuple[Hit, ...]
    coverage: SearchCoverage


@dataclass(frozen=True, slots=True)
class Alike:
    """An older encounter whose face is like that of one asked about.

    Parameters
    ----------
    row : int
        Of the one asked about.
    subject_id, encounter_id : str
        Who, and by which encounter.
    similarity : float
        Of the faces.
    """

    row: int
    subject_id: str
    encounter_id: str
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    # K encounters compared by every trait that they share with the probe, in the order of their numbers.
    numbers: NDArray[np.int64]
    similar: Mapping[Trait, NDArray[np.float32]]
    pairs: Mapping[Trait, NDArray[np.int64]]
    near: NDArray[np.int64]  # those among them that were found as the most alike faces of all others
    exhaustive: bool  # whether no finger was only screened
    complete: bool  # whether these are all that can be compared


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    # What one search sees: all as it was when the search began, kinds too. Members that change later are kept in `past`
    # first, by the writer, with all others of their subject.
    version: int
    names: tuple[str, ...]
    faces: View | None
    prints: PrintIndex
    now: Members
    kinds: Kinds
    past: dict[int, Member] = field(default_factory=dict)
    changed: dict[str, list[Member]] = field(default_factory=dict)

    def keep(self, subject_id: str) -> None:
        if subject_id not in self.changed:
            own = {number: self.now.member(number, self.kinds) for number in self.now.of_subject(subject_id)}
            self.past.update(own)
            self.changed[subject_id] = list(own.values())

    def member(self, number: int) -> Member:
        return self.past[number] if number in self.past else self.now.member(number, self.kinds)

    def compared(self, subject_id: str, galleries: tuple[str, ...] | None, shown: int) -> int:
        if subject_id not in self.changed:
            return self.now.compared(subject_id, galleries, shown, self.kinds)
        return count_met([(member.galleries, member.shown) for member in self.changed[subject_id]], galleries, shown)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    # What probes that show the same are searched for.
    shown: int
    count: int
    names: tuple[str, ...] | None
    excluding: str
    selection: Selection
    left_out: int  # encounters of the excluded subject
    marked: NDArray[np.bool_] | None  # by number, where there are prints to be compared

    @property
    def encounters(self) -> int:
        """How many can be compared."""
        return self.selection.encounters - self.left_out

    @property
    def most(self) -> int:
        """How many subjects there are to be found, of as many as are wanted."""
        return min(self.count, self.selection.subjects - (self.left_out > 0))

    @property
    def further(self) -> int:
        """How many encounters more than subjects are asked for at first.

        A person who is there comes with all encounters, others mostly with one. Among a million faces, two or four of
        each subject, these were enough for the ten best subjects in 998 of 1,000 mated searches or more.
        """
        own = self.selection
        further = own.encounters - own.subjects
        return 1 + math.ceil(2 * further / own.subjects) if further else 0


class Searchable:
    """The encounters that a 1:N search finds: active, in a gallery, and with features; thread-safe.

    A search sees each change whole or not at all: it goes on with what it saw when it began, and changes do not wait
    for it, unless the index makes them. Changes carry the sequence number of their event and come in its order; one
    that was taken in already is passed over.

    Parameters
    ----------
    index : Index
        Empty; for faces.
    prints : PrintIndex
        Empty.
    """

    def __init__(self, index: Index, prints: PrintIndex) -> None:
        self._index = index
        self._prints = prints
        self._lock = threading.Lock()  # over a whole change, and the beginning of a search
        self._names: tuple[str, ...] = ()  # of all galleries, sorted
        self._version = 0
        # Over the following. Taken last: whoever has it waits for nothing, so searches may take it at any time.
        self._membership = threading.Lock()
        self._members = Members()
        self._sights: list[_Sight] = []  # of searches under way

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
        pages: Iterable[Sequence[tuple[int, Encounter, Features]]],
    ) -> None:
        """Forget everything and take in what the store holds; searches wait.

        Parameters
        ----------
        version : int
            Sequence number of the store's last event.
        names : tuple of str
            All galleries, sorted.
        pages : iterable of sequences of (number, Encounter, Features)
            All encounters.
        """
        with self._lock:
            self._forget(self._members.of_everybody())
            self._prints.clear()  # also of what an interrupted change left
            for page in pages:
                self._add([row for row in page if _searchable(row[1]) and row[2]])
            self._names = names
            self._version = version

    def restore(self, origin: Origin, blocks: Iterable[Block]) -> None:
        """Take in what a snapshot holds, where nothing is searchable yet; raises UnusableError if it does not fit."""
        with self._lock:
            for block in blocks:
                try:
                    self._index.add(block.faces, block.vectors)
                except InvalidInputError as error:
                    raise UnusableError(f"it is damaged ({error})") from error
                try:
                    with self._membership:
                        self._members.take_in(block.page, block.kinds)
                except LookupError as error:
                    self._index.remove(block.faces)  # `reload` forgets members
                    raise UnusableError(f"it is damaged ({error})") from error
            self._names = origin.galleries
            self._version = origin.event

    def extend(self, version: int, pages: Iterable[Sequence[tuple[int, Encounter, Features]]]) -> None:
        """Take in encounters that are not searchable yet, and be of this version."""
        with self._lock:
            for page in pages:
                self._add([row for row in page if _searchable(row[1]) and row[2]])
            self._version = version

    def add_prints(self, prints: Sequence[tuple[int, Mapping[int, Pack]]]) -> None:
        """Make the prints of encounters findable that are members without them."""
        with self._lock:
            self._prints.add([row for row in prints if row[0] in self._members])

    def block(self, page: int) -> Block:
        """Return a page's encounters as a snapshot keeps them."""
        with self._lock:
            own, kinds = self._members.page(page)
            shown = np.array([kind[1] for kind in kinds], dtype=np.int64)[own.kinds]
            faces = own.numbers[faces_and_prints(shown)[0]]
            return Block(own, kinds, faces, self._index.vectors(faces))

    @property
    def seen(self) -> tuple[int, tuple[str, ...], bool]:
        """Sequence number of the last event taken in, all galleries then, and whether a member shows a print."""
        with self._lock:
            return self._version, self._names, bool(len(self._prints))

    def __len__(self) -> int:
        """Return how many encounters can be found."""
        return len(self._members)

    def make_room(self) -> None:
        """See to it that what is being written can be taken in; raises StoreUnavailableError where a disk is full."""
        self._index.make_room(_BEING_WRITTEN)

    def take_in(self, change: Change, features: Features) -> None:
        """Take in what was written of one encounter; without features where it has none or need not be found."""
        with self._lock:
            if change.event <= self._version:
                return
            if features and _searchable(change.encounter):
                if change.number in self._members:
                    self._put([(change.number, _member(change.encounter, features))])
                else:
                    self._add([(change.number, change.encounter, features)])
            elif change.number in self._members:
                self._forget((change.number,))
            self._version = change.event

    def take_in_new(self, changes: Sequence[tuple[Change, Features]]) -> None:
        """Take in encounters that were stored one after another, as :meth:`take_in` does each, and all or none."""
        with self._lock:
            self._add(
                [(own.number, own.encounter, found) for own, found in changes if found and _searchable(own.encounter)]
            )
            self._version = changes[-1][0].event

    def forget_subject(self, subject_id: str, event: int) -> frozenset[int]:
        """Take in that a subject was erased; returns the numbers of what could be found of it."""
        with self._lock:
            if event <= self._version:
                return frozenset()
            numbers = self._members.of_subject(subject_id)
            self._forget(numbers)
            self._version = event
            return numbers

    def note(self, event: int) -> None:
        """Take in an event that changes nothing that can be found."""
        with self._lock:
            self._version = max(self._version, event)

    def add_gallery(self, name: str, event: int) -> None:
        """Take in that a gallery was created."""
        with self._lock:
            if event <= self._version:
                return
            self._names = tuple(sorted((*self._names, name)))
            self._version = event

    def remove_gallery(self, name: str, event: int) -> None:
        """Take in that a gallery was deleted; who is in no other can be found no more, and :meth:`tidy` forgets it."""
        with self._lock:
            if event <= self._version:
                return
            with self._membership:
                self._members.leave(name)
            self._names = tuple(other for other in self._names if other != name)
            self._version = event

    def tidy(self) -> None:
        """Forget who is in no gallery any more, in portions: changes and searches take turns with them."""
        with self._lock:
            left = self._members.nowhere()
        for start in range(0, len(left), _FORGOTTEN):
            with self._lock:
                part = left[start : start + _FORGOTTEN].tolist()
                # Some came back since, or are gone.
                self._forget([n for n in part if n in self._members and not self._members[n].galleries])
            time.sleep(_PAUSE_S)  # else the lock could be had again before who waits for it wakes up

    def search(
        self,
        probes: Sequence[Features],
        count: int,
        galleries: Sequence[str] | None,
        excluding: str,
        fuse: Fuse,
    ) -> list[SearchResult]:
        """Return the best subjects for each probe; see :meth:`biometrik.gallery.gallery.Gallery.search`."""
        if not 1 <= count <= MAX_PAGE:
            raise InvalidInputError(f"count: expected 1..{MAX_PAGE}, got {count}")
        for probe in probes:
            if probe.vector is not None and probe.vector.ndim != 1:
                raise InvalidInputError(f"vector: expected ({self.dimension},), got {probe.vector.shape}")
        if excluding:
            check_id("excluding", excluding)
        shown = [shown_by(probe) for probe in probes]
        with ExitStack() as stack:
            with self._lock:
                names = None if galleries is None else chosen_galleries(galleries, self._names)
                asked = {
                    own: self._asked(own, count, names, excluding, prints=bool(probe.prints))
                    for own, probe in zip(shown, probes, strict=True)
                }
                sight = self._sight(stack, faces=any(probe.vector is not None for probe in probes))
            found = [
                None if own == _FACE_ALONE else self._searched(sight, probe, asked[own], fuse)
                for own, probe in zip(shown, probes, strict=True)
            ]
            faces = [probe.vector for probe in probes if probe.vector is not None and not probe.prints]
            results = iter(
                [
                    result
                    for start in range(0, len(faces), _TOGETHER)
                    for result in self._searched_faces(
                        sight, np.stack(faces[start : start + _TOGETHER]), asked[_FACE_ALONE], fuse
                    )
                ]
            )
            return [next(results) if result is None else result for result in found]

    def count(self, galleries: Sequence[str] | None) -> int:
        """Return how many encounters can be found in these galleries, None for all."""
        with self._lock:
            names = None if galleries is None else chosen_galleries(galleries, self._names)
            return self._members.select(names, EVERYTHING).encounters

    def alike(
        self,
        numbers: NDArray[np.int64],
        vectors: NDArray[np.float32],
        least: float,
        galleries: Sequence[str] | None,
        most: int,
    ) -> list[Alike]:
        """Return all faces of older encounters that are as like as asked, for many at once.

        Parameters
        ----------
        numbers : (K,) int64
            Of the encounters asked about; older ones have lower numbers, so that each pair is found once.
        vectors : (K, D) float32
            Theirs.
        least : float
            Similarity that counts.
        galleries : sequence of str or None
            Only encounters in at least one of these.
        most : int
            Of one that is like more than so many, encounters of its own subject and younger ones among them, only the
            most alike are looked at.
        """
        found: list[Alike] = []
        with ExitStack() as stack:
            with self._lock:
                names = None if galleries is None else chosen_galleries(galleries, self._names)
                allowed = self._members.select(names, EVERYTHING).numbers
                sight = self._sight(stack, faces=True)
            assert sight.faces is not None
            left, count = np.arange(len(numbers)), min(_NEIGHBOURS, most)
            while len(left):
                ids, likeness = sight.faces.search(vectors[left], count, allowed=allowed)
                full = (likeness[:, -1] >= least) & (count < most)  # there may be more
                counts = (likeness >= least) & (ids < numbers[left, None]) & ~full[:, None]
                for at, column in zip(*np.nonzero(counts), strict=True):
                    with self._membership:
                        member = sight.member(int(ids[at, column]))
                    row = int(left[at])
                    found.append(Alike(row, member.subject_id, member.encounter_id, float(likeness[at, column])))
                left, count = left[full], min(4 * count, most)
        return found

    def _sight(self, stack: ExitStack, *, faces: bool) -> _Sight:
        # Until the stack is closed; called with the lock held.
        view = stack.enter_context(self._index.view()) if faces else None
        sight = _Sight(self._version, self._names, view, self._prints.view(), self._members, self._members.kinds)
        with self._membership:
            self._sights.append(sight)
        stack.callback(self._over, sight)
        return sight

    def _over(self, sight: _Sight) -> None:
        with self._membership:
            self._sights.remove(sight)

    def _asked(self, shown: int, count: int, names: tuple[str, ...] | None, excluding: str, *, prints: bool) -> _Asked:
        # Called with the lock held.
        selection = self._members.select(names, shown or EVERYTHING)
        left_out = self._members.compared(excluding, names, shown or EVERYTHING) if excluding else 0
        marked = self._members.marked(selection, excluding) if prints else None
        return _Asked(shown, count, names, excluding, selection, left_out, marked)

    def _searched(self, sight: _Sight, probe: Features, asked: _Asked, fuse: Fuse) -> SearchResult:
        # Asks for more encounters until they belong to enough subjects, or there are no more.
        encounters = asked.count + asked.left_out
        while True:
            found = _found(sight, probe, asked.selection.numbers, asked.marked, encounters)
            hits = self._grouped(sight, found, asked, fuse)
            if found.complete:
                break
            # Faces are enough where so many subjects have them: whoever was not asked for is behind all of these.
            behind = (
                len(found.near) < encounters or self._subjects_of(sight, found.near, asked.excluding) >= asked.count
            )
            if behind and len(hits) == asked.most:
                break
            encounters *= 4
        compared = asked.encounters if found.exhaustive else min(asked.encounters, len(found.numbers))
        exact = found.exhaustive and (probe.vector is None or self._index.exact)
        recall = min(
            1.0 if found.exhaustive else self._prints.recall(probe.prints),
            1.0 if probe.vector is None else self._index.recall_claimed,
        )
        return SearchResult(hits, _coverage(sight, asked, compared, exact, recall))

    def _searched_faces(
        self, sight: _Sight, vectors: NDArray[np.float32], asked: _Asked, fuse: Fuse
    ) -> list[SearchResult]:
        # Probes that have a face and nothing else, together: the order of encounters is that of their faces.
        assert sight.faces is not None
        coverage = _coverage(sight, asked, asked.encounters, self._index.exact, self._index.recall_claimed)
        results = [SearchResult((), coverage)] * len(vectors)
        left, encounters = np.arange(len(vectors)), asked.count + asked.left_out + asked.further
        while len(left):
            numbers, likeness = sight.faces.search(vectors[left], encounters, allowed=asked.selection.numbers)
            hits = self._hits(sight, numbers, likeness, asked, fuse)
            enough = [len(own) == asked.most for own in hits] | (numbers[:, -1] < 0)
            for row in np.flatnonzero(enough).tolist():
                results[left[row]] = SearchResult(hits[row], coverage)
            left, encounters = left[~enough], 4 * encounters
        return results

    def _hits(
        self,
        sight: _Sight,
        numbers: NDArray[np.int64],
        likeness: NDArray[np.float32],
        asked: _Asked,
        fuse: Fuse,
    ) -> list[tuple[Hit, ...]]:
        # Of (Q, N) encounters, best first. Members that changed since the search began are looked at one by one.
        rows = numbers.tolist()
        with self._membership:
            excluded = asked.excluding in sight.changed
            changed = [excluded or not sight.past.keys().isdisjoint(row) for row in rows]
            there = np.where(np.array(changed)[:, None], -1, numbers) if any(changed) else numbers
            places, counts = self._members.best_of_subjects(there, asked.count, asked.selection, asked.excluding)
            found = [
                tuple(
                    Hit(*self._members.names(row[place], sight.kinds), {FACE: Compared(alike[place])}, count)
                    for place, count in zip(own, held, strict=True)
                    if place >= 0
                )
                for row, alike, own, held in zip(rows, likeness.tolist(), places.tolist(), counts.tolist(), strict=True)
            ]
        for n in itertools.compress(range(len(rows)), changed):
            own = numbers[n] >= 0
            found[n] = self._grouped(sight, _faces_found(numbers[n][own], likeness[n][own]), asked, fuse)
        return found

    def _subjects_of(self, sight: _Sight, numbers: NDArray[np.int64], excluding: str) -> int:
        with self._membership:
            return len({sight.member(number).subject_id for number in numbers.tolist()} - {excluding})

    def _grouped(self, sight: _Sight, found: _Found, asked: _Asked, fuse: Fuse) -> tuple[Hit, ...]:
        if not len(found.numbers):
            return ()
        # Scores stop growing where the evidence ends: similarities still tell the better of two.
        together = np.nansum(np.stack(list(found.similar.values())), axis=0, dtype=np.float64)
        order = np.lexsort((found.numbers, -together, -fuse(found.similar, found.pairs)))
        hits: dict[str, Hit] = {}
        for row in order.tolist():
            with self._membership:
                member = sight.member(int(found.numbers[row]))
            subject_id = member.subject_id
            if subject_id not in hits and subject_id != asked.excluding:
                compared = {
                    trait: Compared(float(values[row]), int(found.pairs[trait][row]))
                    for trait, values in found.similar.items()
                    if not np.isnan(values[row])
                }
                with self._membership:
                    encounters = sight.compared(subject_id, asked.names, asked.shown)
                hits[subject_id] = Hit(subject_id, member.encounter_id, member.galleries, compared, encounters)
                if len(hits) == asked.count:
                    break
        return tuple(hits.values())

    def _put(self, members: Sequence[tuple[int, Member]]) -> None:
        with self._membership:
            for sight in self._sights:
                for _, member in members:
                    sight.keep(member.subject_id)
            self._members.add_all(members)

    def _add(self, encounters: Sequence[tuple[int, Encounter, Features]]) -> None:
        # The order of the indexes matters to `reload` after an interruption: only prints can be cleared.
        self._prints.add([(number, features.prints) for number, _, features in encounters])
        faces = [(number, features.vector) for number, _, features in encounters if features.vector is not None]
        if faces:
            numbers = np.array([number for number, _ in faces], dtype=np.int64)
            self._index.add(numbers, np.stack([vector for _, vector in faces]))
        for start in range(0, len(encounters), _PUT):
            part = encounters[start : start + _PUT]
            self._put([(number, _member(encounter, features)) for number, encounter, features in part])

    def _forget(self, numbers: Collection[int]) -> None:
        gone = np.fromiter(numbers, np.int64, len(numbers))
        faces = np.array([self._members[number].has_face for number in numbers], dtype=np.bool_)
        self._index.remove(gone[faces])
        self._prints.remove(gone)
        for number in numbers:
            with self._membership:
                for sight in self._sights:
                    sight.keep(self._members[number].subject_id)
                self._members.remove(number)


def _found(
    sight: _Sight, probe: Features, allowed: NDArray[np.int64] | None, marked: NDArray[np.bool_] | None, asked: int
) -> _Found:
    # The candidates by prints, the faces most alike among all others, and each compared by every trait.
    numbers = near = np.empty(0, dtype=np.int64)
    exhaustive = complete = True
    if marked is not None:
        numbers, exhaustive = sight.prints.candidates(probe.prints, marked, asked)
        complete = exhaustive
        others = marked.copy()
        others[numbers] = False
        allowed = np.flatnonzero(others)
    similar: dict[Trait, NDArray[np.float32]] = {}
    pairs: dict[Trait, NDArray[np.int64]] = {}
    if sight.faces is not None and probe.vector is not None:
        near, likeness = _faces(sight.faces, probe.vector, asked, allowed)
        complete = complete and len(near) < asked
        own, alike = _faces(sight.faces, probe.vector, len(numbers), numbers)
        numbers = np.sort(np.concatenate([numbers, near]))
        faces = np.full(len(numbers), np.nan, dtype=np.float32)
        faces[np.searchsorted(numbers, np.concatenate([near, own]))] = np.concatenate([likeness, alike])
        similar[FACE], pairs[FACE] = faces, np.ones(len(numbers), dtype=np.int64)
    if probe.prints:
        prints = sight.prints.compare(probe.prints, numbers)
        similar |= prints.similar
        pairs |= prints.pairs
    return _Found(numbers, similar, pairs, near, exhaustive, complete)


def _faces_found(numbers: NDArray[np.int64], likeness: NDArray[np.float32]) -> _Found:
    # Of faces alone, which are all that is compared.
    order = np.argsort(numbers)
    similar, pairs = {FACE: likeness[order]}, {FACE: np.ones(len(numbers), dtype=np.int64)}
    return _Found(numbers[order], similar, pairs, numbers[order], exhaustive=True, complete=False)


def _coverage(sight: _Sight, asked: _Asked, compared: int, exact: bool, recall: float) -> SearchCoverage:
    return SearchCoverage(
        gallery_version=sight.version,
        galleries=sight.names if asked.names is None else asked.names,
        subjects=asked.selection.subjects - (asked.left_out > 0),
        compared=compared,
        exact=exact,
        recall_claimed=recall,
    )


def _faces(
    view: View, vector: NDArray[np.float32], count: int, allowed: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    # The numbers of the faces most alike, and their similarities.
    if count == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    ids, likeness = view.search(vector[None], count, allowed=allowed)
    there = ids[0] >= 0
    return ids[0][there], likeness[0][there]


def _searchable(encounter: Encounter) -> bool:
    return encounter.status is EncounterStatus.ACTIVE and bool(encounter.galleries)


def _member(encounter: Encounter, features: Features) -> Member:
    return Member(encounter.subject_id, encounter.encounter_id, encounter.galleries, shown_by(features))
