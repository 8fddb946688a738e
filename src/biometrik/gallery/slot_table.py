"""Where each id's vector is: ids by slot, and a hash table of slots that finds a slot by its id.

It takes 8 bytes for each id and 4 for each of two to four places; a Python dict about a hundred bytes for each id, as
much as the codes that are searched. It grows a little with each write: there is a larger table then and the one before,
and whoever is not in the one is in the other.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.gallery.compiling import kernel

#: A place without a slot; others have the slot plus one. So a new table is memory that nobody has touched yet.
_FREE: Final = 0
#: Places that move to a larger table at a time, some 0.05 ms; and at least so many for each id that is put, of which
#: there have to be as many as half the places before it grows again.
_MOVED: Final = 1024
_MOVED_PER_ID: Final = 4
_LEAST_PLACES: Final = 64
#: Doubled like the places, but never when they are, so that no write waits for both: 1,024,000, not 1,048,576.
_LEAST_IDS: Final = 125
#: 2⁶⁴ divided by the golden ratio: its multiples spread consecutive ids, as a store gives them out, evenly.
#: Knuth, The Art of Computer Programming 3, section 6.4.
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


class SlotTable:
    """A slot for each id; not thread-safe. Arrays of ids and slots can be written to and are in C's order.

    Examples
    --------
    >>> table = SlotTable()
    >>> table.make_room(2, 2)
    >>> table.put(np.array([70, 8]), np.array([0, 1]))
    >>> table.slots_of(np.array([8, 9, 70]))
    array([ 1, -1,  0])
    >>> table.discard(np.array([70]))
    >>> len(table)
    1
    """

    def __init__(self) -> None:
        self._count = 0
        self._ids = np.zeros(_LEAST_IDS, dtype=np.int64)
        self._places = np.zeros(_LEAST_PLACES, dtype=np.uint32)
        self._before = _nobody()  # what has not moved yet of a smaller table; places below `_moved` are free
        self._moved = 0

    def __len__(self) -> int:
        return self._count

    @property
    def ids(self) -> NDArray[np.int64]:
        """The id that each slot was given last; forgetting an id leaves it there. Making room may make a new array."""
        return self._ids

    def slots_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slot of each of (N,) ids, -1 where there is none."""
        return self.found(ids)[0]

    def found(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
        """Return the slots, and how many of the ids have one."""
        slots = np.empty(len(ids), dtype=np.int64)
        return slots, _find(self._places, self._before, self._ids, ids, slots)

    def make_room(self, slots: int, more: int) -> None:
        """Make room for so many slots, below 2³², and for so many ids more than there are."""
        # Memory beyond what is used stays untouched, and so costs nothing, until it is used.
        count = self._count + more
        if slots > len(self._ids):
            grown = np.empty(max(slots, 2 * len(self._ids)), dtype=np.int64)
            grown[: len(self._ids)] = self._ids
            self._ids = grown
        self._move(_MOVED + _MOVED_PER_ID * more)
        places = len(self._places)
        while places < 2 * count:  # half full: two looks for an id that is not there
            places *= 2
        if places > len(self._places):
            larger = np.zeros(places, dtype=np.uint32)
            self._move(len(self._before))  # what is left, for which writes since the last growth were enough
            self._places, self._before = larger, self._places

    def put(self, ids: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        """Give (N,) ids, 0 or more, slots for which there is room; no other id has them."""
        self._count += _put(self._places, self._before, self._ids, ids, slots)

    def discard(self, ids: NDArray[np.int64]) -> None:
        """Forget (N,) ids; those that are not there are no error."""
        self._count -= _discard(self._places, self._before, self._ids, ids)

    def _move(self, portion: int) -> None:
        if len(self._before) == 1:
            return
        self._moved = _move(self._places, self._before, self._ids, self._moved, portion)
        if self._moved == len(self._before):
            self._before, self._moved = _nobody(), 0


def _nobody() -> NDArray[np.uint32]:
    # A table in which nobody is found, at the first look.
    return np.zeros(1, dtype=np.uint32)


@kernel
def _home(number: int, places: int) -> Any:
    # The upper half of the product, which depends on all bits of the id, as a share of the places: in a larger table
    # everybody comes in the same order, so that it is filled from one end to the other.
    half = (np.uint64(number) * _GOLDEN) >> np.uint64(32)
    return np.int64((half * np.uint64(places)) >> np.uint64(32))


@kernel
def _place(places: NDArray[np.uint32], ids: NDArray[np.int64], number: int) -> Any:
    # Where the id's slot is, or the free place where it would be.
    last = len(places) - 1
    place = _home(number, len(places))
    while places[place] != _FREE and ids[places[place] - 1] != number:
        place = (place + 1) & last
    return place


@kernel
def _find(
    places: NDArray[np.uint32],
    before: NDArray[np.uint32],
    ids: NDArray[np.int64],
    asked: NDArray[np.int64],
    found: NDArray[np.int64],
) -> int:
    count = 0
    for n in range(len(asked)):
        entry = places[_place(places, ids, asked[n])]
        if entry == _FREE:
            entry = before[_place(before, ids, asked[n])]
        found[n] = np.int64(entry) - 1
        count += entry != _FREE
    return count


@kernel
def _move(
    places: NDArray[np.uint32], before: NDArray[np.uint32], ids: NDArray[np.int64], moved: int, portion: int
) -> int:
    # So many places, and on to the next free one: who is left is still found, from the place that it wants on. Those
    # at the very beginning who were pushed past the end of the table go first; nobody stands behind them.
    place = moved
    while place < len(before) and (place - moved < portion or before[place] != _FREE):
        if before[place] != _FREE:
            places[_place(places, ids, ids[before[place] - 1])] = before[place]
            before[place] = _FREE
        place += 1
    return place


@kernel
def _put(
    places: NDArray[np.uint32],
    before: NDArray[np.uint32],
    ids: NDArray[np.int64],
    given: NDArray[np.int64],
    slots: NDArray[np.int64],
) -> int:
    new = 0
    for n in range(len(given)):
        place, old = _place(places, ids, given[n]), _place(before, ids, given[n])
        if before[old] != _FREE:
            before[old] = slots[n] + 1
        else:
            new += places[place] == _FREE
            places[place] = slots[n] + 1
        ids[slots[n]] = given[n]
    return new


@kernel
def _vacate(places: NDArray[np.uint32], ids: NDArray[np.int64], number: int) -> Any:
    # Whether it was there.
    last = len(places) - 1
    gap = _place(places, ids, number)
    if places[gap] == _FREE:
        return False
    # Whoever was pushed past the gap moves into it, so that a look-up still ends at the first free place.
    place = (gap + 1) & last
    while places[place] != _FREE:
        home = _home(ids[places[place] - 1], len(places))
        if (place - home) & last >= (place - gap) & last:
            places[gap] = places[place]
            gap = place
        place = (place + 1) & last
    places[gap] = _FREE
    return True


@kernel
def _discard(
    places: NDArray[np.uint32], before: NDArray[np.uint32], ids: NDArray[np.int64], given: NDArray[np.int64]
) -> int:
    gone = 0
    for number in given:
        gone += _vacate(places, ids, number) or _vacate(before, ids, number)
    return gone
