"""The scan: its bounds hold for any vectors, and the instruction and its plain twin say the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik.gallery import int8_codes, int8_scan
from biometrik.gallery.int8_codes import CHUNK, GROUP, QUERIES
from biometrik.gallery.int8_scan import VNNI

Vectors = NDArray[np.float32]
_ROWS = 3 * GROUP


def _filled(vectors: Vectors, rows: int = _ROWS) -> int8_codes.Segment:
    segment = int8_codes.segment(rows, vectors.shape[1])
    slots = np.arange(len(vectors), dtype=np.int64)
    vectors = vectors.view()
    vectors.flags.writeable = False
    int8_scan.write(*segment, slots, 0, vectors)
    return segment


def _rows(*rows: int, of: int = _ROWS) -> NDArray[np.uint32]:
    bits = int8_codes.bits(of)
    int8_scan.flip(bits, np.array(rows, dtype=np.int64), 0)
    return bits


def _found(wanted: list[int], room: int = 4 * CHUNK * GROUP) -> int8_codes.Found:
    return int8_codes.found(np.array(wanted, dtype=np.int64), room)


def _scanned(segment: int8_codes.Segment, queries: Vectors, count: int, *, vnni: bool = VNNI) -> int8_codes.Found:
    found = _found([count] * len(queries))
    batch = int8_codes.batch(queries.astype(np.float64))
    chosen, choice = (segment.scales > 0).reshape(-1, GROUP), np.zeros(len(queries), dtype=np.int64)
    bits = np.packbits(chosen, bitorder="little").view(np.uint32)[None]
    assert int8_scan.scan(vnni, segment, bits, choice, 0, len(chosen), 1000, batch, found) == len(chosen)
    return found


def _skewed(seed: int, count: int, dimension: int) -> Vectors:
    # Rows of very different sizes and shapes: one large value, all equal, zeros, from 1e-30 to 1e30.
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, dimension)) ** rng.choice([0, 1, 3, 9], size=(count, 1))
    rows *= rng.choice([0.0, 1e-30, 1e-3, 1.0, 1e4, 1e30], size=(count, 1))
    skewed: Vectors = rows.astype(np.float32)
    return skewed


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), dimension=st.integers(1, 70), queries=st.sampled_from([1, 3, 8, 13]))
def test_every_bound_holds(seed: int, dimension: int, queries: int) -> None:
    vectors = _skewed(seed, _ROWS, dimension)
    asked = np.clip(_skewed(seed + 1, queries, dimension), -1, 1)
    found = _scanned(_filled(vectors), asked, _ROWS)  # all are among the best: all are candidates
    assert found.counts.tolist() == [_ROWS] * queries
    exact = asked.astype(np.float64) @ vectors.astype(np.float64).T
    for q in range(queries):
        rows = found.rows[q, :_ROWS] - 1000
        assert sorted(rows.tolist()) == list(range(_ROWS))
        assert (found.upper[q, :_ROWS] >= exact[q, rows]).all()
        # Each of the sorted lower bounds is below as many products as it says.
        assert (np.sort(found.lower[q]) <= np.sort(exact[q])).all()


def test_bounds_are_close_where_vectors_are_ordinary(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((_ROWS, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = _scanned(_filled(vectors), vectors[:1], _ROWS)
    over = found.upper[0, :_ROWS] - (vectors[found.rows[0, :_ROWS] - 1000] @ vectors[0])
    assert over.max() < 0.04  # twice two roundings of 1/127 of the largest value, over √12, times √128


@pytest.mark.parametrize("queries", [1, QUERIES, QUERIES + 1])
@pytest.mark.parametrize("dimension", [1, 4, 126, 512])
def test_the_plain_form_says_the_same(rng: np.random.Generator, queries: int, dimension: int) -> None:
    vectors = rng.standard_normal((_ROWS, dimension)).astype(np.float32)
    asked = rng.standard_normal((queries, dimension)).astype(np.float32)
    segment = _filled(vectors)
    first, second = (_scanned(segment, asked, 5, vnni=form) for form in (VNNI, False))
    assert (first.counts == second.counts).all()
    for q in range(queries):
        n = first.counts[q]
        assert (first.rows[q, :n] == second.rows[q, :n]).all()
        assert (first.upper[q, :n] == second.upper[q, :n]).all()
    assert (first.floor == second.floor).all()


def test_sums_at_the_ends_of_their_range_do_not_overflow() -> None:
    dimension = int8_codes.MAX_DIMENSION
    vectors = np.ones((2, dimension), dtype=np.float32)
    vectors[1] = -1
    for query in (vectors[:1], vectors[1:]):
        found = _scanned(_filled(vectors, GROUP), query, 2)
        order = np.argsort(found.upper[0, :2])
        assert found.rows[0, :2][order].tolist() == ([1001, 1000] if query[0, 0] > 0 else [1000, 1001])
        assert abs(found.upper[0, :2]).tolist() == pytest.approx([dimension, dimension], rel=1e-3)


def test_only_chosen_rows_are_candidates(rng: np.random.Generator) -> None:
    segment = _filled(rng.standard_normal((_ROWS, 8)).astype(np.float32))
    found = _found([_ROWS, _ROWS, 3])
    chosen = np.stack([_rows(0, 2, 95), _rows(2, 40)])
    choice = np.array([0, 1, 0], dtype=np.int64)
    int8_scan.scan(VNNI, segment, chosen, choice, 0, 3, 0, int8_codes.batch(np.ones((3, 8))), found)
    rows = [found.rows[q, : found.counts[q]].tolist() for q in range(3)]
    assert rows == [[0, 2, 95], [2, 40], [0, 2, 95]]
    assert found.floor[0] == -np.inf
    assert found.floor[2] == found.lower[2].min() > -np.inf


def test_each_query_has_the_floor_of_as_many_as_it_wants(rng: np.random.Generator) -> None:
    segment = _filled(rng.standard_normal((_ROWS, 8)).astype(np.float32))
    query = rng.standard_normal((1, 8))
    alone = [_scanned(segment, query.astype(np.float32), count) for count in (2, 9, 1)]
    together = _found([2, 9, 1])
    every = _rows(*range(_ROWS))[None]
    choice = np.zeros(3, dtype=np.int64)
    batch = int8_codes.batch(np.tile(query.astype(np.float32).astype(np.float64), (3, 1)))
    int8_scan.scan(VNNI, segment, every, choice, 0, 3, 0, batch, together)
    assert together.floor.tolist() == [float(found.floor[0]) for found in alone]


def test_rows_outside_the_bits_are_nobodys() -> None:
    bits, live = _rows(), _rows(3, 64)
    slots = np.array([99, 103, 164, 164, 196, -5], dtype=np.int64)  # rows -1, 3, 64, 64, 96 and before
    assert int8_scan.choose(bits, live, slots, 100) == 2
    assert (bits == live).all()
    int8_scan.flip(bits, slots[[0, 1, 2, 4, 5]], 100)
    assert not bits.any()


def test_the_scan_stops_where_there_is_no_room_and_goes_on(rng: np.random.Generator) -> None:
    rows = 5 * CHUNK * GROUP
    segment = _filled(np.ones((rows, 4), dtype=np.float32), rows)
    found = _found([1], 2 * CHUNK * GROUP)
    every, choice = _rows(*range(rows), of=rows)[None], np.zeros(1, dtype=np.int64)
    batch = int8_codes.batch(np.ones((1, 4)))
    at, seen = 0, 0
    while at < rows // GROUP:
        before = at
        at = int8_scan.scan(VNNI, segment, every, choice, before, rows // GROUP, 0, batch, found)
        assert before < at
        seen += int(found.counts[0])
        found.counts[0] = 0
    assert seen == rows


def test_erasing_leaves_nothing(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((40, 6)).astype(np.float32)
    segment = _filled(vectors)
    for row in range(40):
        int8_scan.erase(*segment, np.array([row]), 0)
    assert all(not array.any() for array in segment)


@pytest.mark.skipif(not VNNI, reason="has one way of looking at sums")
@pytest.mark.parametrize(("dimension", "queries"), [(4, 1), (7, 8), (128, 1), (128, 11), (512, 8), (60_000, 8)])
def test_no_row_on_the_floor_is_lost_where_sums_are_looked_at_together(
    rng: np.random.Generator, dimension: int, queries: int
) -> None:
    # With a floor that is one row's own upper bound, both ways leave the same candidates, this row among them.
    vectors = rng.standard_normal((_ROWS, dimension)).astype(np.float32) * rng.choice([1e-3, 1, 1e3], (_ROWS, 1))
    segment = _filled(vectors.astype(np.float32))
    batch = int8_codes.batch(rng.standard_normal((queries, dimension)))
    every, choice = _rows(*range(_ROWS))[None], np.zeros(queries, dtype=np.int64)
    uppers = _found([_ROWS] * queries)
    int8_scan.scan(False, segment, every, choice, 0, 3, 0, batch, uppers)
    assert (uppers.counts == _ROWS).all()
    for row in range(0, _ROWS, 7):
        found = [_found([_ROWS] * queries) for _ in range(2)]
        for vnni, own in zip((False, True), found, strict=True):
            own.floor[:] = uppers.upper[:, row]
            int8_scan.scan(vnni, segment, every, choice, 0, 3, 0, batch, own)
        assert found[0].counts.tolist() == found[1].counts.tolist()
        for q, count in enumerate(found[0].counts.tolist()):
            assert found[0].rows[q, :count].tolist() == found[1].rows[q, :count].tolist()
            assert row in found[0].rows[q, :count]


def test_candidates_are_taken_as_far_as_there_is_room_without_those_below_the_floor() -> None:
    found = _found([1, 1, 1])
    found.counts[:] = 2, 0, 3
    found.rows[0, :2], found.upper[0, :2] = (7, 8), (0.5, 0.1)
    found.rows[2, :3], found.upper[2, :3] = (1, 2, 3), (0.9, np.nan, 0.2)
    found.floor[:] = 0.2
    slots, of = np.empty(2, dtype=np.int64), np.empty(2, dtype=np.int64)
    taken = []
    while number := int8_scan.take(found, slots, of):
        taken.append((slots[:number].tolist(), of[:number].tolist()))
    assert taken == [([7, 3], [0, 2]), ([2, 1], [2, 2])]
    assert found.counts.tolist() == [0, 0, 0]


def test_the_best_are_kept_and_of_equals_the_lower_ids(rng: np.random.Generator) -> None:
    # Few whole values, so that many are equal, come in portions and in any order.
    vectors = rng.integers(-2, 3, (500, 6)).astype(np.float32)
    ids = rng.permutation(10_000)[:500]
    queries = rng.integers(-2, 3, (3, 6)).astype(np.float64)
    best = int8_codes.best(np.array([1, 40, 700]))
    for start in range(0, 500, 60):
        part = slice(start, start + 60)
        for q in range(3):
            of = np.full(len(ids[part]), q)
            int8_scan.rank(vectors[part], ids[part], of, queries, best)
    assert best.counts.tolist() == [1, 40, 500]
    for q, count in enumerate(best.counts.tolist()):
        exact = (vectors @ queries[q]).astype(np.float32)
        expected = np.lexsort((ids, -exact))[:count]
        order = np.lexsort((best.ids[q, :count], -best.similarities[q, :count]))
        assert best.ids[q, order].tolist() == ids[expected].tolist()
        assert best.similarities[q, order].tolist() == exact[expected].tolist()
    assert (best.ids[2, 500:] == -1).all()
    assert (best.similarities[2, 500:] == -np.inf).all()
