"""Searches that share a scan: who waits for whom, and that each gets its own answer."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.gallery import int8_search
from biometrik.gallery.indexes.int8_certified import Int8Certified
from biometrik.gallery.int8_scan import VNNI
from biometrik.gallery.int8_search import TOGETHER, Rows, Search, SharedScan

_NOTHING = Rows((), (), np.empty(0, dtype=np.int64), Int8Certified(4)._rows.vectors, 0, 0)


def _search(queries: int = 1) -> Search:
    return _asking(_NOTHING, (), np.zeros((queries, 4), dtype=np.float32), 1)


def _asking(rows: Rows, chosen: Sequence[NDArray[np.uint32]], queries: NDArray[np.float32], wanted: int) -> Search:
    shape = len(queries), wanted
    return Search(rows, chosen, queries, np.full(shape, -1, dtype=np.int64), np.full(shape, 7, dtype=np.float32))


class _Scans:
    # A scan that takes until it is let go.

    def __init__(self) -> None:
        self.made: list[list[Search]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.failure: BaseException | None = None

    def __call__(self, searches: Sequence[Search]) -> None:
        self.made.append(list(searches))
        self.begun.release()
        assert self.go.acquire(timeout=30)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        for search in searches:
            search.ids[:] = id(search)


@pytest.fixture
def scans() -> _Scans:
    return _Scans()


def _beside(
    pool: ThreadPoolExecutor, shared: SharedScan, scans: _Scans, searches: Sequence[Search]
) -> list[Future[None]]:
    # The first is being scanned, the others wait in this order.
    futures = [pool.submit(shared.answer, searches[0])]
    assert scans.begun.acquire(timeout=30)
    for n, search in enumerate(searches[1:], 1):
        futures.append(pool.submit(shared.answer, search))
        while len(shared._waiting) < n:
            pass
    return futures


def test_a_lone_search_begins_at_once(scans: _Scans) -> None:
    scans.go.release()
    search = _search()
    SharedScan(scans).answer(search)
    assert scans.made == [[search]]
    assert search.over


def test_searches_that_come_during_a_scan_share_the_next(scans: _Scans) -> None:
    shared, searches = SharedScan(scans), [_search() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        futures = _beside(pool, shared, scans, searches)
        scans.go.release(2)
        for future in futures:
            future.result(timeout=30)
    assert [len(made) for made in scans.made] == [1, 5]
    assert {id(search) for search in scans.made[1]} == {id(search) for search in searches[1:]}
    assert all(search.ids[0, 0] == id(search) for search in searches)


def test_a_scan_has_room_for_so_many_queries_and_the_oldest_come_first(scans: _Scans) -> None:
    shared = SharedScan(scans)
    searches = [_search(), _search(TOGETHER - 10), _search(10), _search(20), _search(TOGETHER)]
    with ThreadPoolExecutor(len(searches)) as pool:
        futures = _beside(pool, shared, scans, searches)
        scans.go.release(len(searches))
        for future in futures:
            future.result(timeout=30)
    assert all(sum(len(search.queries) for search in made) <= TOGETHER for made in scans.made)
    assert sum(len(made) for made in scans.made) == len(searches)


def test_an_error_is_its_threads_own(scans: _Scans) -> None:
    shared, searches = SharedScan(scans), [_search() for _ in range(4)]
    scans.failure = MemoryError("no room")
    with ThreadPoolExecutor(4) as pool:
        futures = _beside(pool, shared, scans, searches)
        scans.go.release(1)
        assert scans.begun.acquire(timeout=30)  # the next has begun
        scans.failure = MemoryError("no room")
        scans.go.release(2)
        failures = [future.exception(timeout=30) for future in futures]
    assert isinstance(failures[0], MemoryError)
    assert [type(failure) for failure in failures[1:]].count(MemoryError) == 1
    assert [len(made) for made in scans.made] == [1, 3, 2]
    assert sum(search.over for search in searches) == 2
    scans.go.release()
    shared.answer(_search())


def _index(rng: np.random.Generator, count: int) -> Int8Certified:
    index = Int8Certified(6)
    index.add(np.arange(count, dtype=np.int64), rng.standard_normal((count, 6)).astype(np.float32))
    return index


def _bits(rows: Rows, allowed: NDArray[np.bool_]) -> tuple[NDArray[np.uint32], ...]:
    return tuple(
        bits & np.packbits(part, bitorder="little").view(np.uint32)
        for bits, part in zip(rows.live, np.split(allowed, len(rows.live)), strict=True)
    )


@pytest.mark.parametrize("threads", [1, 3])
def test_together_each_has_its_own_answer(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    # Of different moments, among different rows, wanting different numbers.
    monkeypatch.setattr(int8_search, "_ROWS_PER_THREAD", 100)
    monkeypatch.setattr(int8_search, "_cores", lambda: threads)
    index = _index(rng, int8_search.SEGMENT - 20)
    queries = rng.standard_normal((12, 6)).astype(np.float32)
    with index.view():
        before = index._rows
        index.remove(np.arange(0, 500, dtype=np.int64))
        index.add(np.arange(10**6, 10**6 + 200), rng.standard_normal((200, 6)).astype(np.float32))
        after = index._rows
        assert len(after.segments) > len(before.segments)
        some = _bits(before, rng.random(int8_search.SEGMENT) < 0.01)
        made = [
            (before, before.live, queries[:1], 5),
            (after, after.live, queries[1:9], 40),
            (before, some, queries[9:11], 1),
            (after, after.live, queries[11:], 700),
        ]
        alone, together = ([_asking(*parts) for parts in made] for _ in range(2))
        for search in alone:
            int8_search.scan([search], VNNI)
        int8_search.scan(together, VNNI)
    for one, other in zip(alone, together, strict=True):
        assert (one.ids >= 0).all()
        np.testing.assert_array_equal(other.ids, one.ids)
        np.testing.assert_array_equal(other.similarities, one.similarities)
