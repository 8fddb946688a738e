"""Exact search through 8-bit codes: a scan whose bounds say which vectors need comparing, then the comparison."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.gallery import int8_codes, int8_scan
from biometrik.gallery.index import Index, View
from biometrik.gallery.int8_scan import VNNI
from biometrik.gallery.int8_search import SEGMENT, TOGETHER, Rows, Search, SharedScan, scan
from biometrik.gallery.slot_table import SlotTable
from biometrik.gallery.vector_rows import DiskRows, MemoryRows, VectorRows

#: Free slots that are kept for additions: more than this share, and some, and the last rows move into them. A scan
#: passes over free slots, so it takes that much longer at most.
_SPARE_SHARE: Final = 1 / 16
_SPARE_LEAST: Final = 1024
#: Slots that are overwritten, moved or looked up under the lock at a time, so that nobody waits longer than for some
#: milliseconds; moving one takes ten times as long as overwriting one, and that as looking one up.
_MOVED: Final = 1 << 7
_OVERWRITTEN: Final = 1 << 10
_LOOKED_UP: Final = 1 << 15
#: Slots a mark is worth: looking up one of many ids takes 30 ns, from all over memory; passing a slot by 1 ns and a
#: mark less, both in their order.
_MARKED: Final = 16


class Int8Certified(Index):
    """Vectors in 8-bit codes beside the vectors themselves; searches and writes do not wait for each other.

    The scan reads the codes, a quarter of the memory, and leaves as candidates all rows that its bounds cannot prove
    to be worse than the best; these, some hundreds, are compared in float64. So the answer is that of comparing with
    every vector, whatever the vectors are; where many are nearly the same it takes longer.
    :mod:`biometrik.gallery.int8_scan` has the bounds, ADR 14 the reasons.

    A view is which slots are in use, in bits that no write changes: while there is a view, a write puts changed bits
    beside them. What was removed is overwritten, and its slot used again, when no view is left that has it.
    """

    on_disk = True
    exact = True
    recall_claimed = 1.0

    def _create(self) -> None:
        if self.dimension > int8_codes.MAX_DIMENSION:
            raise InvalidInputError(f"dimension: expected at most {int8_codes.MAX_DIMENSION}, got {self.dimension}")
        self._table = SlotTable()
        vectors: VectorRows = (
            MemoryRows(self.dimension) if self._folder is None else DiskRows(self.dimension, self._folder)
        )
        self._rows = Rows((), (), self._table.ids, vectors, 0, 0)
        self._free: set[int] = set()  # overwritten slots below the top
        self._gone: deque[tuple[int, NDArray[np.int64]]] = deque()  # slots not in use any more, and since which moment
        self._moment = 0  # grows as slots go
        self._views: list[int] = []  # the moments of open views, rising
        self._vnni = VNNI
        self._scan = SharedScan(lambda searches: scan(searches, self._vnni))

    def warm_up(self) -> None:
        """Use a small index like this one; numba keeps what it compiled for the next process."""
        like = Int8Certified(self.dimension)
        ids = np.arange(40, dtype=np.int64)  # more than the first table of slots takes, so that it grows
        for part in (ids[:1], ids[1:39], ids[39:]):
            like.add(part, np.zeros((len(part), self.dimension), dtype=np.float32))
        for allowed in (None, ids[:1], ids):  # one is looked up, many are marked
            like.search(np.zeros((2, self.dimension), dtype=np.float32), 1, allowed=allowed)
        like.remove(ids)

    def make_room(self, count: int) -> None:
        """See :class:`Index`."""
        with self._lock:
            self._rows.vectors.make_room(self._rows.top + count)

    def _count(self) -> int:
        return self._rows.used

    # --- changes: what may lack memory or the disk comes before what makes a row live ------------------------------

    def _add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> bool:
        if self._table.found(ids)[1]:
            return False
        rows = self._rows
        reused = list(islice(self._free, len(ids)))
        top = rows.top + len(ids) - len(reused)
        slots = np.array([*reused, *range(rows.top, top)], dtype=np.int64)
        if top > len(rows.segments) * SEGMENT:
            self._rows = rows = self._with_room(top)
        self._fill(slots, len(reused), vectors)
        self._table.make_room(top, len(ids))
        live = self._own_live(slots)
        self._table.put(ids, slots)
        _flip(live, slots)
        self._rows = Rows(rows.segments, live, self._table.ids, rows.vectors, top, rows.used + len(ids))
        self._free.difference_update(reused)
        return True

    def _remove(self, ids: NDArray[np.int64]) -> bool:
        slots, found = self._table.found(ids)
        if found < len(ids):
            return False
        rows = self._rows
        live = self._own_live(slots)
        self._table.discard(ids)
        _flip(live, slots)
        self._rows = Rows(rows.segments, live, rows.id_at, rows.vectors, rows.top, rows.used - len(ids))
        self._leave(slots)
        return True

    def _with_room(self, top: int) -> Rows:
        rows = self._rows
        segments, live = rows.segments, rows.live
        while top > len(segments) * SEGMENT:
            segments = (*segments, int8_codes.segment(SEGMENT, self.dimension))
            live = (*live, int8_codes.bits(SEGMENT))
        return Rows(segments, live, rows.id_at, rows.vectors, rows.top, rows.used)

    def _fill(self, slots: NDArray[np.int64], scattered: int, vectors: NDArray[np.float32]) -> None:
        # The first few slots are anywhere, the others follow one another.
        rows = self._rows
        for n in range(scattered):
            rows.vectors.write(int(slots[n]), vectors[n : n + 1])
        if scattered < len(slots):
            rows.vectors.write(int(slots[scattered]), vectors[scattered:])
        for number in _segments_of(slots):
            int8_scan.write(*rows.segments[number], slots, number * SEGMENT, vectors)

    def _own_live(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.uint32], ...]:
        # Bits of the slots in use, of which those of the segments of these slots are no view's.
        if not self._views:
            return self._rows.live
        live = list(self._rows.live)
        for number in _segments_of(slots):
            live[number] = live[number].copy()
        return tuple(live)

    def _leave(self, slots: NDArray[np.int64]) -> None:
        # Views of this moment and before still read them.
        self._gone.append((self._moment, slots))
        self._moment += 1

    def _vectors_of(self, ids: NDArray[np.int64]) -> NDArray[np.float32] | None:
        slots, found = self._table.found(ids)
        if found < len(ids):
            return None
        order = np.argsort(slots)
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        vectors[order] = self._rows.vectors.read(slots[order])
        return vectors

    # --- what removals leave to be done ----------------------------------------------------------------------------

    def _settle(self) -> bool:
        if self._overwritable():
            self._overwrite()
        return self._lowered_top() or self._moved() or self._overwritable()

    def _overwritable(self) -> bool:
        # Whether there is what no view has any more.
        return bool(self._gone) and not (self._views and self._views[0] <= self._gone[0][0])

    def _overwrite(self) -> None:
        rows = self._rows
        since, slots = self._gone[0]
        part, rest = slots[:_OVERWRITTEN], slots[_OVERWRITTEN:]
        for number in _segments_of(part):
            int8_scan.erase(*rows.segments[number], part, number * SEGMENT)
        erased = part.tolist()
        for slot in erased:
            rows.vectors.erase(slot)
        if len(rest):
            self._gone[0] = since, rest
        else:
            self._gone.popleft()
        self._free.update(erased)

    def _lowered_top(self) -> bool:
        rows = self._rows
        top = rows.top
        while top - 1 in self._free and rows.top - top < _OVERWRITTEN:
            top -= 1
            self._free.remove(top)
        if top == rows.top:
            return False
        self._rows = Rows(rows.segments, rows.live, rows.id_at, rows.vectors, top, rows.used)
        return True

    def _moved(self) -> bool:
        # The last rows into free slots, where too many are free; unless the very last is still read by a view.
        rows = self._rows
        if len(self._free) <= max(_SPARE_LEAST, _SPARE_SHARE * rows.top):
            return False
        start = rows.top
        while start > rows.top - _MOVED and _is_live(rows, start - 1):
            start -= 1
        if start == rows.top:
            return False
        old = np.arange(start, rows.top, dtype=np.int64)
        new = np.array(list(islice(self._free, len(old))), dtype=np.int64)
        ids = rows.id_at[old]
        vectors = rows.vectors.read(old)
        vectors.setflags(write=False)
        self._fill(new, len(new), vectors)
        both = np.concatenate([old, new])
        live = self._own_live(both)
        self._table.put(ids, new)
        _flip(live, both)
        self._rows = Rows(rows.segments, live, rows.id_at, rows.vectors, rows.top, rows.used)
        self._free.difference_update(new.tolist())
        self._leave(old)
        return True

    # --- search --------------------------------------------------------------------------------------------------

    @contextmanager
    def _view(self) -> Iterator[View]:
        with self._lock:
            rows, moment = self._rows, self._moment
            self._views.append(moment)
        try:
            yield View(self.dimension, partial(self._answer, rows, moment))
        finally:
            with self._lock:
                self._views.remove(moment)
                self._settle()

    def _answer(
        self,
        rows: Rows,
        moment: int,
        queries: NDArray[np.float32],
        allowed: NDArray[np.int64] | None,
        ids: NDArray[np.int64],
        similarities: NDArray[np.float32],
    ) -> None:
        chosen, there = (rows.live, rows.used) if allowed is None else self._chosen(rows, moment, allowed)
        wanted = min(ids.shape[1], there)
        if wanted == 0:
            return
        for start in range(0, len(queries), TOGETHER):
            part = slice(start, start + TOGETHER), slice(wanted)
            self._scan.answer(Search(rows, chosen, queries[part[0]], ids[part], similarities[part]))

    def _chosen(
        self, rows: Rows, moment: int, allowed: NDArray[np.int64]
    ) -> tuple[tuple[NDArray[np.uint32], ...], int]:
        # Bits of the slots that allowed ids had at that moment, and how many.
        if len(allowed) and allowed.min() >= 0 and max(rows.top, int(allowed.max())) < _MARKED * len(allowed):
            return _marked(rows, allowed)
        # They are where they are now, or gone.
        found = []
        for start in range(0, len(allowed), _LOOKED_UP):
            with self._lock:
                found.append(self._table.slots_of(allowed[start : start + _LOOKED_UP]))
        with self._lock:
            gone = [slots for since, slots in self._gone if since >= moment]
        if gone:
            left = np.concatenate(gone)
            left = left[left < rows.top]  # the others came later
            found.append(left[_among(rows.id_at[left], allowed)])
        chosen = tuple(int8_codes.bits(SEGMENT) for _ in rows.segments)
        slots = np.concatenate([np.empty(0, dtype=np.int64), *found])
        there = sum(
            int8_scan.choose(bits, live, slots, n * SEGMENT)
            for n, (bits, live) in enumerate(zip(chosen, rows.live, strict=True))
        )
        return chosen, there


def _marked(rows: Rows, allowed: NDArray[np.int64]) -> tuple[tuple[NDArray[np.uint32], ...], int]:
    # Bits of the slots in use that have one of many ids, and how many: slots keep their ids as long as they are seen.
    marks = np.zeros(int(allowed.max()) + 1, dtype=np.bool_)
    marks[allowed] = True
    chosen = tuple(int8_codes.bits(SEGMENT) for _ in rows.segments)
    there = sum(
        int8_scan.choose_marked(bits, live, rows.id_at[n * SEGMENT :], marks)
        for n, (bits, live) in enumerate(zip(chosen, rows.live, strict=True))
    )
    return chosen, there


def _among(few: NDArray[np.int64], many: NDArray[np.int64]) -> NDArray[np.bool_]:
    # Which of a few ids are among many, which np.isin would sort.
    ids, place = np.unique(few, return_inverse=True)
    table = SlotTable()
    table.make_room(len(ids), len(ids))
    table.put(ids, np.arange(len(ids)))
    there = np.zeros(len(ids) + 1, dtype=np.bool_)  # the last is for -1
    there[table.slots_of(many)] = True
    among: NDArray[np.bool_] = there[place]
    return among


def _flip(live: Sequence[NDArray[np.uint32]], slots: NDArray[np.int64]) -> None:
    for number in _segments_of(slots):
        int8_scan.flip(live[number], slots, number * SEGMENT)


def _segments_of(slots: NDArray[np.int64]) -> list[int]:
    # One is the usual, and a write takes microseconds.
    return [int(slots[0]) // SEGMENT] if len(slots) == 1 else np.unique(slots // SEGMENT).tolist()


def _is_live(rows: Rows, slot: int) -> bool:
    number, row = divmod(slot, SEGMENT)
    return bool(rows.live[number][row // int8_codes.GROUP] >> np.uint32(row % int8_codes.GROUP) & np.uint32(1))


INDEX = Int8Certified
