"""Who can be searched: what each encounter shows, its subject and galleries. In memory, beside the indexes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from biometrik.features import Features

T = TypeVar("T")

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
    """

    numbers: NDArray[np.int64] | None
    encounters: int
    subjects: int


@dataclass(slots=True)
class _Roll:
    # The members of one gallery.
    numbers: set[int] = field(default_factory=set)
    encounters_of: Counter[str] = field(default_factory=Counter)


class Members:
    """The members of the indexes; not thread-safe, its owner holds a lock.

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
        self._member_at: dict[int, Member] = {}
        self._numbers_of: dict[str, set[int]] = {}
        self._rolls: dict[str, _Roll] = {}
        self._kinds: Counter[int] = Counter()  # how many members show the same
        self._selections: dict[tuple[tuple[str, ...] | None, int], Selection] = {}
        self._above = 0  # all numbers that ever were

    def __contains__(self, number: int) -> bool:
        return number in self._member_at

    def __getitem__(self, number: int) -> Member:
        return self._member_at[number]

    def add(self, number: int, member: Member) -> None:
        """Take in a member, or what changed of its galleries."""
        if number in self._member_at:
            self.remove(number)
        self._selections.clear()
        self._member_at[number] = member
        self._above = max(self._above, number + 1)
        self._numbers_of.setdefault(member.subject_id, set()).add(number)
        self._kinds[member.shown] += 1
        for name in member.galleries:
            roll = self._rolls.setdefault(name, _Roll())
            roll.numbers.add(number)
            roll.encounters_of[member.subject_id] += 1

    def remove(self, number: int) -> None:
        """Forget a member; raises KeyError where it is none."""
        self._selections.clear()
        member = self._member_at.pop(number)
        numbers = self._numbers_of[member.subject_id]
        numbers.remove(number)
        if not numbers:
            del self._numbers_of[member.subject_id]
        self._kinds -= Counter({member.shown: 1})
        for name in member.galleries:
            roll = self._rolls[name]
            roll.numbers.remove(number)
            roll.encounters_of[member.subject_id] -= 1
            if not roll.encounters_of[member.subject_id]:
                del roll.encounters_of[member.subject_id]

    def of_everybody(self) -> frozenset[int]:
        """Return the numbers of all members."""
        return frozenset(self._member_at)

    def of_subject(self, subject_id: str) -> frozenset[int]:
        """Return the numbers of a subject's members; none where it has none."""
        return frozenset(self._numbers_of.get(subject_id, ()))

    def of_gallery(self, name: str) -> frozenset[int]:
        """Return the numbers of a gallery's members; none where it has none."""
        return frozenset(self._rolls[name].numbers) if name in self._rolls else frozenset()

    def compared(self, subject_id: str, galleries: tuple[str, ...] | None, shown: int) -> int:
        """Return how many of a subject's members a search of these galleries compares with what is shown."""
        numbers = self._numbers_of.get(subject_id, set())
        members = [self._member_at[number] for number in numbers]
        within = [m.shown for m in members if galleries is None or not set(galleries).isdisjoint(m.galleries)]
        return int(meet(np.array(within, dtype=np.int64), shown).sum())

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
        marks = np.ones(self._above, dtype=np.bool_)
        if selection.numbers is not None:
            marks[:] = False
            marks[selection.numbers] = True
        marks[list(self._numbers_of.get(excluding, ()))] = False
        return marks

    def _selected(self, galleries: tuple[str, ...] | None, shown: int) -> Selection:
        numbers = None
        encounters, subjects = len(self._member_at), len(self._numbers_of)
        if galleries is not None:
            rolls = [self._rolls[name] for name in galleries if name in self._rolls]
            union = _union(roll.numbers for roll in rolls)
            if len(union) < len(self._member_at):
                numbers = np.fromiter(union, np.int64, len(union))
                encounters, subjects = len(union), len(_union(roll.encounters_of.keys() for roll in rolls))
        strange = {kind for kind in self._kinds if not meet(np.array(kind), shown)}
        if strange:
            members = map(self._member_at.__getitem__, self._member_at if numbers is None else numbers.tolist())
            met = [member.subject_id for member in members if member.shown not in strange]
            encounters, subjects = len(met), len(set(met))
        return Selection(numbers, encounters, subjects)


def _union(sets: Iterable[Iterable[T]]) -> set[T]:
    return set[T]().union(*sets)
