"""Subjects found by their hash: a hash table of numbers, of which each subject has one in it.

Which hash a number has is told by an array of its owner's. The table grows a little with each write: there is a larger
one then and the one before, and whoever is not in the one is in the other.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from biometrik.gallery.compiling import brief_kernel, kernel

_LEAST_PLACES: Final = 64
#: Subjects a place at most: a look-up ends after four looks.
_FULL: Final = 5 / 8
#: Places that move to a larger table at a time, some 0.05 ms; and at least so many for each subject that comes, of
#: whom there have to be as many as 5/8 of the places before it grows again.
_MOVED: Final = 1024
_MOVED_PER_SUBJECT: Final = 4


class Seat(NamedTuple):
    """Where a subject is: a place of a table, with the number there, or -1 where the subject is not and would be."""

    places: NDArray[np.uint32]
    place: int
    number: int


class SubjectTable:
    """A number for each subject; not thread-safe. All hashes are (M,) uint32 by number."""

    def __init__(self) -> None:
        self._count = 0
        self._places = np.zeros(_LEAST_PLACES, dtype=np.uint32)  # a number plus one; 0 is free
        self._before = _nobody()  # what has not moved yet of a smaller table; places below `_moved` are free
        self._moved = 0

    def __len__(self) -> int:
        return self._count

    def make_room(self, more: int, hashes: NDArray[np.uint32]) -> None:
        """Make room for so many subjects more than there are."""
        self._move(_MOVED + _MOVED_PER_SUBJECT * more, hashes)
        places = len(self._places)
        while _FULL * places < self._count + more:
            places *= 2
        if places > len(self._places):
            # Memory that nobody has touched yet, and so costs nothing: the system gives it as subjects move.
            larger = np.zeros(places, dtype=np.uint32)
            self._move(len(self._before), hashes)  # what is left, for which writes since the last growth were enough
            self._places, self._before = larger, self._places

    def seat(self, hashed: int, hashes: NDArray[np.uint32], is_it: Callable[[int], bool]) -> Seat:
        """Return where the subject of this hash is of whose numbers ``is_it`` is true."""
        seat = self._seat_in(self._before, hashed, hashes, is_it)
        return seat if seat.number >= 0 else self._seat_in(self._places, hashed, hashes, is_it)

    def _seat_in(
        self, places: NDArray[np.uint32], hashed: int, hashes: NDArray[np.uint32], is_it: Callable[[int], bool]
    ) -> Seat:
        place = hashed * len(places) >> 32  # see _home
        while True:
            place = int(_next_place(places, hashes, hashed, place))
            number = int(places[place]) - 1
            if number < 0 or is_it(number):
                return Seat(places, place, number)
            place = (place + 1) & (len(places) - 1)

    def put(self, seat: Seat, number: int) -> None:
        """Have a number where the subject is, or would be; there is room, and nothing else has changed since."""
        self._count += seat.number < 0
        seat.places[seat.place] = number + 1

    def clear(self, seat: Seat, hashes: NDArray[np.uint32]) -> None:
        """Forget the subject that is there."""
        _vacate(seat.places, hashes, seat.place)
        self._count -= 1

    def enter(self, numbers: NDArray[np.int64], hashes: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Take in subjects whose hash is not there yet; returns which of (N,) numbers met theirs, and are not in."""
        met = np.zeros(len(numbers), dtype=np.bool_)
        self._count += _enter(self._places, self._before, hashes, numbers, met)
        return met

    def _move(self, portion: int, hashes: NDArray[np.uint32]) -> None:
        if len(self._before) == 1:
            return
        self._moved = _move(self._places, self._before, hashes, self._moved, portion)
        if self._moved == len(self._before):
            self._before, self._moved = _nobody(), 0


def _nobody() -> NDArray[np.uint32]:
    # A table in which nobody is found, at the first look.
    return np.zeros(1, dtype=np.uint32)


@kernel
def _home(hashed: np.uint32, places: int) -> Any:
    # The hash as a share of the places: in a larger table everybody comes in the same order, so that it is filled from
    # one end to the other.
    return np.int64((np.uint64(hashed) * np.uint64(places)) >> np.uint64(32))


@brief_kernel
def _next_place(places: NDArray[np.uint32], hashes: NDArray[np.uint32], hashed: int | np.int64, place: int) -> int:
    # From a place on, the first whose encounter has this hash, or the first free one.
    while places[place] != 0 and hashes[places[place] - 1] != hashed:
        place = (place + 1) & (len(places) - 1)
    return place


@kernel
def _move(
    places: NDArray[np.uint32], before: NDArray[np.uint32], hashes: NDArray[np.uint32], moved: int, portion: int
) -> int:
    # So many places, and on to the next free one: who is left is still found, from the place that it wants on. Those
    # at the very beginning who were pushed past the end of the table go first; nobody stands behind them.
    last = len(places) - 1
    old = moved
    while old < len(before) and (old - moved < portion or before[old] != 0):
        if before[old] != 0:
            place = _home(hashes[before[old] - 1], len(places))
            while places[place] != 0:
                place = (place + 1) & last
            places[place] = before[old]
            before[old] = 0
        old += 1
    return old


@kernel
def _enter(
    places: NDArray[np.uint32],
    before: NDArray[np.uint32],
    hashes: NDArray[np.uint32],
    numbers: NDArray[np.int64],
    met: NDArray[np.bool_],
) -> int:
    new = 0
    for n in range(len(numbers)):
        number = numbers[n]
        hashed = np.int64(hashes[number])
        place = _next_place(places, hashes, hashed, _home(hashes[number], len(places)))
        old = _next_place(before, hashes, hashed, _home(hashes[number], len(before)))
        if places[place] == 0 and before[old] == 0:
            places[place] = number + 1
            new += 1
        else:
            met[n] = True
    return new


@kernel
def _vacate(places: NDArray[np.uint32], hashes: NDArray[np.uint32], gap: int) -> None:
    # Whoever was pushed past the gap moves into it, so that a look-up still ends at the first free place.
    last = len(places) - 1
    place = (gap + 1) & last
    while places[place] != 0:
        home = _home(hashes[places[place] - 1], len(places))
        if (place - home) & last >= (place - gap) & last:
            places[gap] = places[place]
            gap = place
        place = (place + 1) & last
    places[gap] = 0
