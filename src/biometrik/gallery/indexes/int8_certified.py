"""Exact search through 8-bit codes: a scan whose bounds say which vectors need comparing, then the comparison."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.gallery import int8_codes, int8_scan
from biometrik.gallery.index import Index
from biometrik.gallery.int8_codes import CHUNK, GROUP, Segment
from biometrik.gallery.int8_scan import VNNI
from biometrik.gallery.slot_table import SlotTable
from biometrik.gallery.vector_rows import MemoryRows, VectorRows

#: Rows of a segment. The index grows by whole ones, so that nothing is ever copied; a scan of one takes 0.3 ms.
_SEGMENT: Final = 1 << 16
_GROUPS: Final = _SEGMENT // GROUP
#: Candidates of a query that a scan has room for. Only near duplicates come beyond some hundreds.
_ROOM: Final = 4 * CHUNK * GROUP
#: Queries scanned together. Their candidates have to stay in the cache beside the codes: 64 KiB each at most.
_TOGETHER: Final = 64
_LOWEST: Final = np.float32(-np.inf)
#: Rows that are worth a thread, which takes about 0.05 ms to start.
_ROWS_PER_THREAD: Final = 1 << 15


class Int8Certified(Index):
    """Vectors in 8-bit codes beside the vectors themselves; removal moves the last row into the gap, constant time.

    The scan reads the codes, a quarter of the memory, and leaves as candidates all rows that its bounds cannot prove
    to be worse than the best; these, some hundreds, are compared in float64. So the answer is that of comparing with
    every vector, whatever the vectors are; where many are nearly the same it takes longer.
    :mod:`biometrik.gallery.int8_scan` has the bounds, ADR 14 the reasons.
    """

    exact = True
    recall_claimed = 1.0

    def _create(self) -> None:
        if self.dimension > int8_codes.MAX_DIMENSION:
            raise InvalidInputError(f"dimension: expected at most {int8_codes.MAX_DIMENSION}, got {self.dimension}")
        self._table = SlotTable()
        self._id_at = np.empty(1024, dtype=np.int64)  # grows by doubling; slots beyond the count are unused
        self._segments: list[Segment] = []
        self._rows: VectorRows = MemoryRows(self.dimension)
        self._vnni = VNNI

    def _held(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        held: NDArray[np.bool_] = self._table.slots_of(ids) >= 0
        return held

    def _count(self) -> int:
        return len(self._table)

    # --- changes -------------------------------------------------------------------------------------------------

    def _add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        start = self._count()
        stop = start + len(ids)
        if stop > len(self._id_at):
            self._id_at = np.resize(self._id_at, max(stop, 2 * len(self._id_at)))
        while stop > len(self._segments) * _SEGMENT:
            self._segments.append(int8_codes.segment(_SEGMENT, self.dimension))
        # What may lack memory comes before what makes a row live.
        self._rows.write(start, vectors)
        self._id_at[start:stop] = ids
        self._table.put(ids, np.arange(start, stop, dtype=np.int64))
        self._encode(start, vectors)

    def _remove(self, ids: NDArray[np.int64]) -> None:
        for n in range(len(ids)):
            gone = ids[n : n + 1]
            slot = self._table.slots_of(gone)
            last = self._count() - 1
            if slot[0] != last:
                moved = self._id_at[last : last + 1]
                vector = self._rows.read(np.array([last], dtype=np.int64))
                self._rows.write(int(slot[0]), vector)
                self._encode(int(slot[0]), vector)
                self._id_at[slot] = moved
                self._table.put(moved, slot)
            self._table.discard(gone)
            int8_scan.erase(self._segments[last // _SEGMENT], last % _SEGMENT)
            self._rows.erase(last)

    def _encode(self, start: int, vectors: NDArray[np.float32]) -> None:
        done = 0
        while done < len(vectors):
            number, first = divmod(start + done, _SEGMENT)
            part = vectors[done : done + _SEGMENT - first]
            int8_scan.write(self._segments[number], first, part)
            done += len(part)

    # --- search --------------------------------------------------------------------------------------------------

    def _search(
        self,
        queries: NDArray[np.float32],
        allowed: NDArray[np.int64] | None,
        ids: NDArray[np.int64],
        similarities: NDArray[np.float32],
    ) -> None:
        wanted = min(ids.shape[1], self._count() if allowed is None else len(allowed))
        if wanted == 0 or self._count() == 0:
            return
        shares = self._shares([s.live for s in self._segments] if allowed is None else self._chosen(allowed))
        for start in range(0, len(queries), _TOGETHER):
            together = queries[start : start + _TOGETHER]
            scans = [_Scan(self._id_at, self._rows, share, together, wanted, self._vnni) for share in shares]
            _run(scans)
            floors = np.max([scan.found.floor for scan in scans], axis=0)
            for q in range(len(together)):
                best = _merged([scan.best(q, floors[q]) for scan in scans], wanted)
                ids[start + q, : len(best.ids)] = best.ids
                similarities[start + q, : len(best.ids)] = best.similarities

    def _chosen(self, allowed: NDArray[np.int64]) -> list[NDArray[np.uint32]]:
        # Bits of the allowed rows, as Segment.live has them.
        slots = self._table.slots_of(allowed)
        slots = slots[slots >= 0]
        bits = np.zeros(len(self._segments) * _GROUPS, dtype=np.uint32)
        np.bitwise_or.at(bits, slots // GROUP, np.uint32(1) << (slots % GROUP).astype(np.uint32))
        return list(bits.reshape(-1, _GROUPS))

    def _shares(self, chosen: Sequence[NDArray[np.uint32]]) -> list[list["_Stretch"]]:
        # All rows, in as many equal parts as there are threads that are worth it.
        groups = -(-self._count() // GROUP)
        threads = max(1, min(_cores(), self._count() // _ROWS_PER_THREAD))
        edges = [groups * t // threads for t in range(threads + 1)]
        return [
            [
                _Stretch(segment, bits, max(first - base, 0), min(stop - base, _GROUPS), base * GROUP)
                for segment, bits, base in zip(self._segments, chosen, range(0, groups, _GROUPS), strict=False)
                if first < base + _GROUPS and base < stop
            ]
            for first, stop in pairwise(edges)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    # Groups ``first`` to ``stop`` of a segment, whose first row is in slot ``origin``, and which rows of it count.
    segment: Segment
    chosen: NDArray[np.uint32]
    first: int
    stop: int
    origin: int


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    # Of one query, best first, of equals the lower id first.
    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]


_NONE: Final = _Best(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))


class _Scan:
    # One thread's share of a search.

    def __init__(
        self,
        id_at: NDArray[np.int64],
        rows: VectorRows,
        share: list[_Stretch],
        queries: NDArray[np.float32],
        wanted: int,
        vnni: bool,
    ) -> None:
        self._id_at = id_at
        self._rows = rows
        self._share = share
        self._wanted = wanted
        self._vnni = vnni
        self._queries = queries.astype(np.float64)
        # Scaled by powers of two, which changes no order, bounds can neither overflow nor vanish.
        self._exponents = np.maximum(np.frexp(np.abs(self._queries).max(axis=1))[1], -32)
        self._batch = int8_codes.batch(np.ldexp(self._queries, -self._exponents[:, None]))
        self.found = int8_codes.found(len(queries), wanted, _ROOM + 2 * wanted)
        self._best = [_NONE] * len(queries)

    def run(self) -> None:
        """Pass over the rows; afterwards those that may be among the best were compared, or are candidates."""
        for part in self._share:
            at = part.first
            while True:
                at = int8_scan.scan(
                    self._vnni, part.segment, part.chosen, at, part.stop, part.origin, self._batch, self.found
                )
                if at == part.stop:
                    break
                for q in range(len(self._best)):
                    self._compare(q)

    def best(self, q: int, floor: np.float32) -> _Best:
        """Return the best of a query, but for those whose upper bound is below the floor."""
        self.found.floor[q] = floor
        self._compare(q)
        return self._best[q]

    def _compare(self, q: int) -> None:
        # Takes the candidates out and raises the floor to what the best are known to reach.
        int8_scan.sift(self.found, q)
        slots = np.sort(self.found.rows[q, : self.found.counts[q]]).astype(np.int64)
        self.found.counts[q] = 0
        if len(slots) == 0:
            return
        # Products of float32 are exact in float64, and einsum adds each row's in the same order wherever it stands.
        products = np.einsum("nd,d->n", self._rows.read(slots).astype(np.float64), self._queries[q])
        compared = _Best(self._id_at[slots], products.astype(np.float32))
        self._best[q] = _merged([self._best[q], compared], self._wanted)
        if len(self._best[q].ids) == self._wanted:
            # Below what rounds to the same similarity, and below that in the scan's units.
            least = np.nextafter(self._best[q].similarities[-1], _LOWEST)
            known = np.nextafter(np.float32(np.ldexp(np.float64(least), -self._exponents[q])), _LOWEST)
            self.found.floor[q] = max(self.found.floor[q], known)


def _cores() -> int:
    # Those that the calling thread may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(scans: Sequence[_Scan]) -> None:
    # The first in this thread. Threads end with the search: none is left to be lost in a fork.
    if len(scans) == 1:
        scans[0].run()
        return
    with ThreadPoolExecutor(len(scans) - 1) as pool:
        others = [pool.submit(scan.run) for scan in scans[1:]]
        scans[0].run()
        for other in others:
            other.result()


def _merged(parts: Sequence[_Best], wanted: int) -> _Best:
    if len(parts) == 1:
        return parts[0]
    ids = np.concatenate([part.ids for part in parts])
    similarities = np.concatenate([part.similarities for part in parts])
    order = np.lexsort((ids, -similarities))[:wanted]
    return _Best(ids[order], similarities[order])


INDEX = Int8Certified
