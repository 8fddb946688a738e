"""Who can be searched: what each encounter shows, its subject and galleries. In memory, beside the indexes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.features import Features
from biometrik.gallery.roster import Page, Roster

#: What is shown, as bits: bit p for a print of finger position p (0 where it is not known), and one for a face.
_SOME_FINGER: Final = 1
_LABELLED: Final = 0b111_1111_1110
_FACE: Final = 1 << 11
EVERYTHING: Final = _FACE | _LABELLED | _SOME_FINGER


def shown_by(features: Features) -> int:
    """Return what features show, as bits."""
    shown = 0 if features.vector is None else _FACE
    for position in features.prints:
        shown |= 1 << position
    return shown


def faces_and_prints(shown: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which encounters show a face, and which a print."""
    return (shown & _FACE) != 0, (shown & ~_FACE) != 0


def meet(shown: NDArray[np.int64], other: int) -> NDArray[np.bool_]:
    """Return whether what encounters show can be compared with what another does.

    Faces meet faces, labelled fingers the same finger; where no label meets a label, any prints meet if one side does
    not know which finger its print is of (as :class:`biometrik.gallery.prints.PrintIndex` compares them).

    Examples
    --------
    >>> right, left, some = 1 << 2, 1 << 7, 1 << 0
    >>> meet(np.array([right, left, some]), right).tolist(), meet(np.array([right, 0]), some).tolist()
    ([True, False, True], [True, False])
    """
    alike: NDArray[np.bool_] = (shown & other & (_FACE | _LABELLED)) != 0
    prints = _LABELLED | _SOME_FINGER
    loose: NDArray[np.bool_] = ((shown & prints) != 0) & bool(other & prints) & (((shown | other) & _SOME_FINGER) != 0)
    return np.logical_or(alike, loose)


@dataclass(frozen=True, slots=True)
class Member:
    """What a search says of an encounter that it finds.

    Parameters
    ----------
    subject_id, encounter_id : str
        Whose, and which.
    galleries : tuple of str
        Galleries that hold it.
    shown : int
        What of the person it shows, see :func:`shown_by`.
    """

    subject_id: str
    encounter_id: str
    galleries: tuple[str, ...]
    shown: int

    @property
    def has_face(self) -> bool:
        """Whether it shows a face."""
        return bool(self.shown & _FACE)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The members that a search may compare with.

    Parameters
    ----------
    numbers : (N,) int64 or None
        Of all members in the galleries; None where that is everybody, so that an index need not filter.
    encounters, subjects : int
        How many of these can be compared with the probe, and how many subjects they belong to.
    met : (K,) bool
        By the number of a kind, whether members of it are among those.
    """

    numbers: NDArray[np.int64] | None
    encounters: int
    subjects: int
    met: NDArray[np.bool_]


#: What members have in common by which searches choose: galleries and what they show. There are few.
Kind = tuple[tuple[str, ...], int]
#: Kinds by number, None where the number is free. Never written to: a change makes others, so a search keeps its own.
Kinds = tuple[Kind | None, ...]


def count_met(kinds: Sequence[Kind], galleries: tuple[str, ...] | None, shown: int) -> int:
    """Return how many members of these kinds a search of some galleries, all for None, compares with what is shown."""
    within = [own for held, own in kinds if held and (galleries is None or not set(galleries).isdisjoint(held))]
    return int(meet(np.array(within, dtype=np.int64), shown).sum())


class Members:
    """The members of the indexes; not thread-safe, its owner holds a lock.

    Each is of a kind. So a gallery is left by all its members at once, however many they are: their kinds change. Who
    is in no gallery then is not selected any more, and waits for its removal.

    Examples
    --------
    >>> members, face = Members(), 1 << 11
    >>> members.add(1, Member("A-0192", "e1", ("default",), face))
    >>> members.add(2, Member("A-0192", "e2", ("default", "watch"), face))
    >>> members.select(("watch",), face).numbers
    array([2])
    >>> members.select(("default",), face).subjects
    1
    """

    def __init__(self) -> None:
        self._roster = Roster()
        self._kinds: Kinds = (None,)  # by the roster's kind; two may be equal after a gallery was left
        self._held = [0]  # how many members are of each
        self._kind_of: dict[Kind, int] = {}
        self._selections: dict[tuple[tuple[str, ...] | None, int], Selection] = {}

    def __len__(self) -> int:
        return len(self._roster) - int(np.array(self._held)[self._homeless()].sum())

    @property
    def kinds(self) -> Kinds:
        """All kinds as they are now."""
        return self._kinds

    def __contains__(self, number: int) -> bool:
        return number in self._roster

    def __getitem__(self, number: int) -> Member:
        return self.member(number, self._kinds)

    def member(self, number: int, kinds: Kinds) -> Member:
        """Return a member, of its kind among these; raises KeyError where it is none."""
        kind = kinds[self._roster.kind(number)]
        if kind is None:
            raise KeyError(number)
        return Member(*self._roster.texts(number), *kind)

    def names(self, number: int, kinds: Kinds) -> tuple[str, str, tuple[str, ...]]:
        """Return subject, encounter and galleries of a member, of its kind among these; KeyError where it is none."""
        kind = kinds[self._roster.kind(number)]
        if kind is None:
            raise KeyError(number)
        return *self._roster.texts(number), kind[0]

    def add(self, number: int, member: Member) -> None:
        """Take in a member, or what changed of its galleries."""
        self.add_all([(number, member)])

    def add_all(self, members: Sequence[tuple[int, Member]]) -> None:
        """Take in several members, one or more, each as :meth:`add` does."""
        for number, _ in members:
            if number in self._roster:
                self.remove(number)
        self._selections.clear()
        kinds = [self._number_of((member.galleries, member.shown)) for _, member in members]
        self._roster.add_all(
            [(n, own.subject_id, own.encounter_id, kind) for (n, own), kind in zip(members, kinds, strict=True)]
        )
        for kind in kinds:
            self._held[kind] += 1

    def remove(self, number: int) -> None:
        """Forget a member; raises KeyError where it is none."""
        if number not in self._roster:
            raise KeyError(number)
        self._selections.clear()
        kind = int(self._roster.kinds[number])
        self._roster.remove(number)
        self._held[kind] -= 1
        if not self._held[kind]:
            self._rename(kind, None)

    def leave(self, gallery: str) -> None:
        """Let all its members leave a gallery; those in no other have to be removed, see :meth:`nowhere`."""
        self._selections.clear()
        for number, kind in enumerate(self._kinds):
            if kind is not None and gallery in kind[0]:
                self._rename(number, (tuple(other for other in kind[0] if other != gallery), kind[1]))

    def nowhere(self) -> NDArray[np.int64]:
        """Return the numbers of those who are in no gallery."""
        return np.flatnonzero(self._homeless()[self._roster.kinds])

    def page(self, page: int) -> tuple[Page, list[Kind]]:
        """Return a copy of the members in a page, and their kinds in the order of the page's numbers of kinds."""
        own = self._roster.page(page)
        nowhere = own.numbers[self._homeless()[own.kinds]]
        if len(nowhere):
            own = own.without(nowhere)
        used, kinds = np.unique(own.kinds, return_inverse=True)
        return replace(own, kinds=kinds.astype(np.uint32)), [self._kind(kind) for kind in used.tolist()]

    def take_in(self, page: Page, kinds: Sequence[Kind]) -> None:
        """Take in members of a page in which there are none; raises IndexError where a text or kind is missing."""
        if len(page.kinds) and int(page.kinds.max()) >= len(kinds):
            raise IndexError("kinds: too few")
        self._selections.clear()
        numbers = np.array([self._number_of(kind) for kind in kinds], dtype=np.uint32)[page.kinds]
        self._roster.take_in(replace(page, kinds=numbers))
        for number in numbers.tolist():
            self._held[number] += 1

    def of_everybody(self) -> frozenset[int]:
        """Return the numbers of all members."""
        return frozenset(np.flatnonzero(self._roster.kinds).tolist())

    def of_subject(self, subject_id: str) -> frozenset[int]:
        """Return the numbers of a subject's members; none where it has none."""
        return frozenset(self._roster.of_subject(subject_id))

    def compared(
        self, subject_id: str, galleries: tuple[str, ...] | None, shown: int, kinds: Kinds | None = None
    ) -> int:
        """Return how many of a subject's members a search of these galleries compares with what is shown.

        They are of their kinds among these, the present ones for None.
        """
        known = self._kinds if kinds is None else kinds
        own = [known[int(self._roster.kinds[number])] for number in self._roster.of_subject(subject_id)]
        return count_met([kind for kind in own if kind is not None], galleries, shown)

    def best_of_subjects(
        self, numbers: NDArray[np.int64], most: int, selection: Selection, excluding: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which are the first members of their subjects in (Q, N) rows; see the roster's method.

        ``excluding`` names a subject that is passed over, "" none; members count that the selection's probe meets.
        """
        own = self._roster.of_subject(excluding) if excluding else []
        return self._roster.best_of_subjects(numbers, most, selection.met, own[0] if own else -1)

    def select(self, galleries: tuple[str, ...] | None, shown: int) -> Selection:
        """Return the members in at least one of these galleries, all of them for None, and how many meet the probe.

        The answer is kept until a member comes or goes: the first search after a write pays for it, unless all
        galleries are searched and everybody meets.
        """
        if (galleries, shown) not in self._selections:
            self._selections[galleries, shown] = self._selected(galleries, shown)
        return self._selections[galleries, shown]

    def marked(self, selection: Selection, excluding: str) -> NDArray[np.bool_]:
        """Return by number whether it is selected and not the excluded subject's; any number that is no member's."""
        marks = np.ones(len(self._roster.kinds), dtype=np.bool_)
        if selection.numbers is not None:
            marks[:] = False
            marks[selection.numbers] = True
        marks[self._roster.of_subject(excluding)] = False
        return marks

    def _selected(self, galleries: tuple[str, ...] | None, shown: int) -> Selection:
        used = np.array(self._held) > 0
        within = self._within(galleries) & used
        met = within & [kind is not None and bool(meet(np.array(kind[1]), shown)) for kind in self._kinds]
        numbers = None if (within == used).all() else np.flatnonzero(within[self._roster.kinds])
        if (met == used).all():
            return Selection(numbers, len(self._roster), self._roster.subjects, met)
        marks = met[self._roster.kinds]
        return Selection(numbers, int(np.count_nonzero(marks)), self._roster.subjects_among(marks), met)

    def _within(self, galleries: tuple[str, ...] | None) -> NDArray[np.bool_]:
        # By kind, whether it is in at least one of these galleries, of all for None.
        held = [frozenset(kind[0]) if kind is not None else frozenset() for kind in self._kinds]
        if galleries is None:
            return np.array([bool(own) for own in held])
        return np.array([not own.isdisjoint(galleries) for own in held])

    def _homeless(self) -> NDArray[np.bool_]:
        # By kind, whether it is in no gallery.
        return np.array([kind is not None and not kind[0] for kind in self._kinds])

    def _kind(self, number: int) -> Kind:
        kind = self._kinds[number]
        assert kind is not None
        return kind

    def _number_of(self, kind: Kind) -> int:
        number = self._kind_of.get(kind)
        if number is None:
            if None not in self._kinds[1:]:
                self._kinds = (*self._kinds, None)
                self._held.append(0)
            number = self._kinds.index(None, 1)
            self._rename(number, kind)
        return number

    def _rename(self, number: int, kind: Kind | None) -> None:
        before = self._kinds[number]
        if before is not None and self._kind_of.get(before) == number:
            del self._kind_of[before]
        self._kinds = (*self._kinds[:number], kind, *self._kinds[number + 1 :])
        if kind is not None:
            self._kind_of[kind] = number
