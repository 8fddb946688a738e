"""Where each id's vector is: a hash table of whole numbers in two arrays, 12 bytes a place.

A Python dict takes about a hundred bytes for each id, as much as the codes that are searched.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: A place without an id.
_FREE: Final = -1
_LEAST_PLACES: Final = 64
#: 2⁶⁴ divided by the golden ratio: its multiples spread consecutive ids, as a store gives them out, evenly.
#: Knuth, The Art of Computer Programming 3, section 6.4.
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)

F = TypeVar("F", bound=Callable[..., Any])


def _kernel(function: F) -> F:
    compile_: Any = njit
    return cast(F, compile_(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))


class SlotTable:
    """A slot for each id; not thread-safe.

    Examples
    --------
    >>> table = SlotTable()
    >>> table.put(np.array([70, 8]), np.array([0, 1]))
    >>> table.slots_of(np.array([8, 9, 70]))
    array([ 1, -1,  0])
    >>> table.discard(np.array([70]))
    >>> len(table)
    1
    """

    def __init__(self) -> None:
        self._count = 0
        self._ids = np.full(_LEAST_PLACES, _FREE, dtype=np.int64)
        self._slots = np.zeros(_LEAST_PLACES, dtype=np.int32)

    def __len__(self) -> int:
        return self._count

    def slots_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slot of each of (N,) ids, -1 where there is none."""
        slots = np.empty(len(ids), dtype=np.int64)
        _find(self._ids, self._slots, _read_only(ids), slots)
        return slots

    def put(self, ids: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        """Give (N,) ids, 0 or more, the slots below 2³¹ that they have from now on."""
        if 2 * (self._count + len(ids)) > len(self._ids):  # half full: two looks for an id that is not there
            self._grow(self._count + len(ids))
        self._count += _put(self._ids, self._slots, _read_only(ids), slots)

    def discard(self, ids: NDArray[np.int64]) -> None:
        """Forget (N,) ids; those that are not there are no error."""
        self._count -= _discard(self._ids, self._slots, _read_only(ids))

    def _grow(self, count: int) -> None:
        places = len(self._ids)
        while places < 2 * count:
            places *= 2
        kept = self._ids != _FREE
        ids, slots = self._ids[kept], self._slots[kept].astype(np.int64)
        self._ids = np.full(places, _FREE, dtype=np.int64)
        self._slots = np.zeros(places, dtype=np.int32)
        _put(self._ids, self._slots, _read_only(ids), slots)


def _read_only(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    # One kind of array, whatever the caller's is: a kernel is compiled once.
    view = ids.view()
    view.flags.writeable = False
    return view


@_kernel
def _home(number: int, places: int) -> Any:
    # The upper half of the product, which depends on all bits of the id.
    return np.int64((np.uint64(number) * _GOLDEN) >> np.uint64(32)) & (places - 1)


@_kernel
def _place(table: NDArray[np.int64], number: int) -> Any:
    # Where the id is, or the free place where it would be.
    last = len(table) - 1
    place = _home(number, len(table))
    while table[place] != number and table[place] != _FREE:
        place = (place + 1) & last
    return place


@_kernel
def _find(table: NDArray[np.int64], slots: NDArray[np.int32], ids: NDArray[np.int64], found: NDArray[np.int64]) -> None:
    for n in range(len(ids)):
        place = _place(table, ids[n])
        found[n] = slots[place] if table[place] != _FREE else -1


@_kernel
def _put(table: NDArray[np.int64], slots: NDArray[np.int32], ids: NDArray[np.int64], given: NDArray[np.int64]) -> int:
    new = 0
    for n in range(len(ids)):
        place = _place(table, ids[n])
        new += table[place] == _FREE
        table[place] = ids[n]
        slots[place] = given[n]
    return new


@_kernel
def _discard(table: NDArray[np.int64], slots: NDArray[np.int32], ids: NDArray[np.int64]) -> int:
    gone = 0
    last = len(table) - 1
    for n in range(len(ids)):
        gap = _place(table, ids[n])
        if table[gap] == _FREE:
            continue
        gone += 1
        # Whoever was pushed past the gap moves into it, so that a look-up still ends at the first free place.
        place = (gap + 1) & last
        while table[place] != _FREE:
            home = _home(table[place], len(table))
            if (place - home) & last >= (place - gap) & last:
                table[gap], slots[gap] = table[place], slots[place]
                gap = place
            place = (place + 1) & last
        table[gap] = _FREE
    return gone
