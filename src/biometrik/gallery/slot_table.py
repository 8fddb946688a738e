"""Where each id's vector is: ids by slot, and a hash table of slots that finds a slot by its id.

It takes 8 bytes for each id and 4 for each of two to four places; a Python dict about a hundred bytes for each id, as
much as the codes that are searched.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.gallery.compiling import kernel

#: A place without a slot.
_FREE: Final = -1
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
        self._places = np.full(_LEAST_PLACES, _FREE, dtype=np.int32)

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
        return slots, _find(self._places, self._ids, ids, slots)

    def make_room(self, slots: int, more: int) -> None:
        """Make room for so many slots, at most 2³¹, and for so many ids more than there are."""
        # Memory beyond what is used stays untouched, and so costs nothing, until it is used.
        count = self._count + more
        if slots > len(self._ids):
            grown = np.empty(max(slots, 2 * len(self._ids)), dtype=np.int64)
            grown[: len(self._ids)] = self._ids
            self._ids = grown
        places = len(self._places)
        while places < 2 * count:  # half full: two looks for an id that is not there
            places *= 2
        if places > len(self._places):
            larger: NDArray[np.int32] = np.full(places, _FREE, dtype=np.int32)
            _seat(larger, self._ids, self._places)
            self._places = larger

    def put(self, ids: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        """Give (N,) ids, 0 or more, slots for which there is room; no other id has them."""
        self._count += _put(self._places, self._ids, ids, slots)

    def discard(self, ids: NDArray[np.int64]) -> None:
        """Forget (N,) ids; those that are not there are no error."""
        self._count -= _discard(self._places, self._ids, ids)


@kernel
def _home(number: int, places: int) -> Any:
    # The upper half of the product, which depends on all bits of the id, as a share of the places: in a larger table
    # everybody comes in the same order, so that it is filled from one end to the other.
    half = (np.uint64(number) * _GOLDEN) >> np.uint64(32)
    return np.int64((half * np.uint64(places)) >> np.uint64(32))


@kernel
def _place(places: NDArray[np.int32], ids: NDArray[np.int64], number: int) -> Any:
    # Where the id's slot is, or the free place where it would be.
    last = len(places) - 1
    place = _home(number, len(places))
    while places[place] != _FREE and ids[places[place]] != number:
        place = (place + 1) & last
    return place


@kernel
def _find(places: NDArray[np.int32], ids: NDArray[np.int64], asked: NDArray[np.int64], found: NDArray[np.int64]) -> int:
    count = 0
    for n in range(len(asked)):
        found[n] = places[_place(places, ids, asked[n])]
        count += found[n] != _FREE
    return count


@kernel
def _seat(places: NDArray[np.int32], ids: NDArray[np.int64], before: NDArray[np.int32]) -> None:
    for slot in before:
        if slot != _FREE:
            places[_place(places, ids, ids[slot])] = slot


@kernel
def _put(places: NDArray[np.int32], ids: NDArray[np.int64], given: NDArray[np.int64], slots: NDArray[np.int64]) -> int:
    new = 0
    for n in range(len(given)):
        place = _place(places, ids, given[n])
        new += places[place] == _FREE
        places[place] = slots[n]
        ids[slots[n]] = given[n]
    return new


@kernel
def _discard(places: NDArray[np.int32], ids: NDArray[np.int64], given: NDArray[np.int64]) -> int:
    gone = 0
    last = len(places) - 1
    for number in given:
        gap = _place(places, ids, number)
        if places[gap] == _FREE:
            continue
        gone += 1
        # Whoever was pushed past the gap moves into it, so that a look-up still ends at the first free place.
        place = (gap + 1) & last
        while places[place] != _FREE:
            home = _home(ids[places[place]], len(places))
            if (place - home) & last >= (place - gap) & last:
                places[gap] = places[place]
                gap = place
            place = (place + 1) & last
        places[gap] = _FREE
    return gone
