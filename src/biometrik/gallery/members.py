"""Who is in the index: the number of each vector, its subject and galleries. In memory, beside the index."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Member:
    """What a search says of a vector that it finds."""

    subject_id: str
    encounter_id: str
    galleries: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The members that a search compares with.

    Parameters
    ----------
    numbers : (N,) int64 or None
        Theirs; None where that is everybody, so that the index need not filter.
    encounters, subjects : int
        How many members, and how many subjects they belong to.
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
    """The members of an index; not thread-safe, its owner holds a lock.

    Examples
    --------
    >>> members = Members()
    >>> members.add(1, Member("A-0192", "e1", ("default",)))
    >>> members.add(2, Member("A-0192", "e2", ("default", "watch")))
    >>> members.select(("watch",)).numbers
    array([2])
    >>> members.select(("default",)).subjects
    1
    """

    def __init__(self) -> None:
        self._member_at: dict[int, Member] = {}
        self._numbers_of: dict[str, set[int]] = {}
        self._rolls: dict[str, _Roll] = {}
        self._selections: dict[tuple[str, ...], Selection] = {}

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
        self._numbers_of.setdefault(member.subject_id, set()).add(number)
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

    def compared(self, subject_id: str, galleries: tuple[str, ...] | None) -> int:
        """Return how many of a subject's members a search of these galleries compares with."""
        numbers = self._numbers_of.get(subject_id, set())
        if galleries is None:
            return len(numbers)
        return sum(not set(galleries).isdisjoint(self._member_at[number].galleries) for number in numbers)

    def select(self, galleries: tuple[str, ...] | None) -> Selection:
        """Return the members in at least one of these galleries; all of them for None.

        The answer is kept until a member comes or goes: the first search after a write pays for it.
        """
        everybody = Selection(None, len(self._member_at), len(self._numbers_of))
        if galleries is None:
            return everybody
        if galleries not in self._selections:
            rolls = [self._rolls[name] for name in galleries if name in self._rolls]
            numbers = _union(roll.numbers for roll in rolls)
            if len(numbers) == len(self._member_at):
                selection = everybody
            else:
                array = np.fromiter(numbers, np.int64, len(numbers))
                selection = Selection(array, len(array), len(_union(roll.encounters_of.keys() for roll in rolls)))
            self._selections[galleries] = selection
        return self._selections[galleries]


def _union(sets: Iterable[Iterable[T]]) -> set[T]:
    return set[T]().union(*sets)
