"""Searches of rows in codes: scanned together, each among the rows that were there when it began."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from biometrik.gallery import int8_codes, int8_scan
from biometrik.gallery.int8_codes import CHUNK, GROUP, Segment
from biometrik.gallery.vector_rows import VectorRows

#: Rows of a segment. An index grows by whole ones, so that nothing is ever copied; a scan of one takes 1.2 ms, and
#: to begin one some 0.01.
SEGMENT: Final = 1 << 18
_GROUPS: Final = SEGMENT // GROUP
#: Queries scanned together. Their candidates have to stay in the cache beside the codes: 64 KiB each at most.
TOGETHER: Final = 64
#: Candidates of a query that a scan has room for. Only near duplicates come beyond some hundreds.
_ROOM: Final = 4 * CHUNK * GROUP
#: Values of vectors that are read at a time to be compared: 2 MiB.
_COMPARED: Final = 1 << 19
_LOWEST: Final = np.float32(-np.inf)
#: Rows that are worth a thread, which takes about 0.05 ms to start.
_ROWS_PER_THREAD: Final = 1 << 15
_NOWHERE: Final = int8_codes.bits(SEGMENT)


class Rows(NamedTuple):
    """What an index held at one moment. Slots in use then keep their contents as long as somebody may read them.

    Parameters
    ----------
    segments : tuple of Segment
        S, of 65,536 rows each.
    live : tuple of (2048,) uint32
        Bits of the slots in use, by segment; never written to while somebody reads them.
    id_at : (M,) int64
        Ids by slot; M is at least ``top``.
    vectors : VectorRows
        By slot.
    top : int
        All slots in use are below.
    used : int
        How many are in use.
    """

    segments: tuple[Segment, ...]
    live: tuple[NDArray[np.uint32], ...]
    id_at: NDArray[np.int64]
    vectors: VectorRows
    top: int
    used: int


@dataclass(slots=True, eq=False)
class Search:
    """One caller's search, and its answer when it is over.

    Parameters
    ----------
    rows : Rows
        Searched; of one index all searches are of the same vectors.
    chosen : sequence of (2048,) uint32
        Bits of the slots that count, by segment.
    queries : (Q, D) float32
        1..64.
    ids : (Q, W) int64
    similarities : (Q, W) float32
        Filled with the best W of each query, 1 or more, best first, of equals the lower id first.
    over : bool
        Whether they are.
    """

    rows: Rows
    chosen: Sequence[NDArray[np.uint32]]
    queries: NDArray[np.float32]
    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]
    over: bool = False


class SharedScan:
    """One scan at a time, of all searches that wait for it: those that come while it runs share the next.

    Nobody waits for company: a search that comes when no scan runs begins at once. Whoever comes first after a scan
    does the next one, for all. Sharing pays, because a scan waits for memory: eight queries take little
    longer than one.

    Parameters
    ----------
    scan : callable
        Answers searches of 64 queries in all.
    """

    def __init__(self, scan: Callable[[Sequence[Search]], None]) -> None:
        self._scan = scan
        self._turn = threading.Condition()  # over all of the following
        self._waiting: list[Search] = []
        self._busy = False

    def answer(self, search: Search) -> None:
        """Return when a search is over. An error is that of the scan's thread; the others go on without it."""
        with self._turn:
            self._waiting.append(search)
            try:
                self._turn.wait_for(lambda: search.over or not self._busy)
            except BaseException:  # an interrupt; a scan under way may have it
                if search in self._waiting:
                    self._waiting.remove(search)
                raise
            if search.over:
                return
            self._waiting.remove(search)
            together = self._taken(search)
            self._busy = True
        try:
            self._scan(together)
        except BaseException:
            with self._turn:
                self._waiting[:0] = together[1:]
            raise
        else:
            for one in together:
                one.over = True
        finally:
            with self._turn:
                self._busy = False
                self._turn.notify_all()

    def _taken(self, first: Search) -> list[Search]:
        # With those that have waited longest, as far as there is room.
        together, queries = [first], len(first.queries)
        while self._waiting and queries + len(self._waiting[0].queries) <= TOGETHER:
            queries += len(self._waiting[0].queries)
            together.append(self._waiting.pop(0))
        return together


def scan(searches: Sequence[Search], vnni: bool) -> None:
    """Answer searches of 64 queries in all, by one pass over the memory of their rows."""
    asked = _asked(searches)
    scans = [_Scan(asked, share, vnni) for share in _shares(searches)]
    _run(scans)
    floors = np.max([scan.found.floor for scan in scans], axis=0)
    for scan in scans:
        scan.end(floors)
    for scan in scans[1:]:
        int8_scan.merge(scans[0].best, scan.best)
    first = 0
    for search in searches:
        int8_scan.put_out(scans[0].best, first, search.ids, search.similarities)
        first += len(search.queries)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    # Q queries of all searches: the rows that were there last, and which of the distinct choices of slots each has.
    rows: Rows
    choice: NDArray[np.int64]
    wanted: NDArray[np.int64]
    queries: NDArray[np.float64]
    exponents: NDArray[np.int32]
    batch: int8_codes.Batch


def _asked(searches: Sequence[Search]) -> _Asked:
    lengths = [len(search.queries) for search in searches]
    queries, exponents, divided = int8_codes.scaled(np.concatenate([search.queries for search in searches]))
    kinds = _distinct([search.chosen for search in searches])
    choice = [next(n for n, kind in enumerate(kinds) if kind is search.chosen) for search in searches]
    return _Asked(
        rows=max((search.rows for search in searches), key=lambda rows: len(rows.id_at)),
        choice=np.repeat(np.array(choice, dtype=np.int64), lengths),
        wanted=np.repeat(np.array([search.ids.shape[1] for search in searches], dtype=np.int64), lengths),
        queries=queries,
        exponents=exponents,
        batch=int8_codes.batch(divided),
    )


def _distinct(choices: Sequence[Sequence[NDArray[np.uint32]]]) -> list[Sequence[NDArray[np.uint32]]]:
    return list({id(choice): choice for choice in choices}.values())


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    # Groups ``first`` to ``stop`` of a segment, whose first row is in slot ``origin``, and the choices of its rows.
    segment: Segment
    chosen: NDArray[np.uint32]
    first: int
    stop: int
    origin: int


def _shares(searches: Sequence[Search]) -> list[list[_Stretch]]:
    # All rows, in as many equal parts as there are threads that are worth it.
    rows = max((search.rows for search in searches), key=lambda rows: len(rows.segments))
    top = max(search.rows.top for search in searches)
    kinds = _distinct([search.chosen for search in searches])
    chosen = [
        np.stack([kind[n] if n < len(kind) else _NOWHERE for kind in kinds]) if len(kinds) > 1 else kinds[0][n][None]
        for n in range(len(rows.segments))
    ]
    groups = -(-top // GROUP)
    threads = max(1, min(_cores(), top // _ROWS_PER_THREAD))
    edges = [groups * t // threads for t in range(threads + 1)]
    return [
        [
            _Stretch(segment, bits, max(first - base, 0), min(stop - base, _GROUPS), base * GROUP)
            for segment, bits, base in zip(rows.segments, chosen, range(0, groups, _GROUPS), strict=False)
            if first < base + _GROUPS and base < stop
        ]
        for first, stop in pairwise(edges)
    ]


class _Scan:
    # One thread's share of a scan.

    def __init__(self, asked: _Asked, share: list[_Stretch], vnni: bool) -> None:
        self._asked = asked
        self._share = share
        self._vnni = vnni
        self.found = int8_codes.found(asked.wanted, _ROOM + 2 * int(asked.wanted.max()))
        self.best = int8_codes.best(asked.wanted)

    def run(self) -> None:
        """Pass over the rows; afterwards those that may be among the best were compared, or are candidates."""
        asked = self._asked
        for part in self._share:
            at = part.first
            while True:
                at = int8_scan.scan(
                    self._vnni,
                    part.segment,
                    part.chosen,
                    asked.choice,
                    at,
                    part.stop,
                    part.origin,
                    asked.batch,
                    self.found,
                )
                if at == part.stop:
                    break
                self._compare()
                self._raise_floors()

    def end(self, floors: NDArray[np.float32]) -> None:
        """Compare the candidates that are left, but for those whose upper bound is below the floor."""
        self.found.floor[:] = floors
        self._compare()

    def _compare(self) -> None:
        # Takes the candidates out.
        rows = self._asked.rows
        room = max(1, _COMPARED // rows.vectors.dimension)
        slots, of = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
        taken = room
        while taken == room:
            taken = int8_scan.take(self.found, slots, of)
            if taken:
                order = np.argsort(slots[:taken])
                rising = slots[order]
                vectors = rows.vectors.read(rising)
                int8_scan.rank(vectors, rows.id_at[rising], of[order], self._asked.queries, self.best)

    def _raise_floors(self) -> None:
        # Below what rounds to the similarity of the worst of the best, and below that in the scan's units.
        least = np.nextafter(self.best.similarities[:, 0], _LOWEST).astype(np.float64)
        known = np.nextafter(np.ldexp(least, -self._asked.exponents).astype(np.float32), _LOWEST)
        full = self.best.counts == self.best.wanted
        np.maximum(self.found.floor, known, out=self.found.floor, where=full)


def _cores() -> int:
    # Those that the calling thread may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(scans: Sequence[_Scan]) -> None:
    # The first in this thread. Threads end with the scan: none is left to be lost in a fork.
    if len(scans) == 1:
        scans[0].run()
        return
    with ThreadPoolExecutor(len(scans) - 1) as pool:
        others = [pool.submit(scan.run) for scan in scans[1:]]
        scans[0].run()
        for other in others:
            other.result()
