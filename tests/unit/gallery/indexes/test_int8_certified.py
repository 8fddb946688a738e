"""Vectors made to break the bounds, in both forms of the scan, alone and in threads: the answer is brute force's."""

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.gallery import index as index_module
from biometrik.gallery import int8_scan, int8_search, slot_table
from biometrik.gallery.index import View
from biometrik.gallery.indexes import int8_certified
from biometrik.gallery.indexes.int8_certified import Int8Certified
from biometrik.gallery.int8_scan import VNNI

Vectors = NDArray[np.float32]


@pytest.fixture(params=sorted({VNNI, False}), ids=lambda vnni: "vnni" if vnni else "plain")
def vnni(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def _filled(vectors: Vectors, vnni: bool, rng: np.random.Generator) -> tuple[Int8Certified, NDArray[np.int64]]:
    index = Int8Certified(vectors.shape[1])
    index._vnni = vnni
    ids = rng.permutation(3 * len(vectors))[: len(vectors)].astype(np.int64)
    index.add(ids, vectors)
    return index, ids


def _assert_exact(index: Int8Certified, ids: NDArray[np.int64], vectors: Vectors, queries: Vectors, count: int) -> None:
    found, similarities = index.search(queries, count)
    exact = np.einsum("qd,nd->qn", queries.astype(np.float64), vectors.astype(np.float64)).astype(np.float32)
    for q in range(len(queries)):
        order = np.lexsort((ids, -exact[q]))[:count]
        assert found[q, : len(order)].tolist() == ids[order].tolist()
        assert similarities[q, : len(order)].tolist() == exact[q, order].tolist()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([0.0, 1e-44, 1e-30, 1e-18, 1.0, 1e18, 1e30]),
    asked=st.sampled_from([1e-44, 1e-30, 1.0, 1e6]),
    vnni=st.sampled_from(sorted({VNNI, False})),
)
def test_any_size_beside_ordinary_vectors(seed: int, size: float, asked: float, vnni: bool) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((200, 5))
    vectors[::3] *= size
    queries = asked * rng.standard_normal((4, 5))
    index, ids = _filled(vectors.astype(np.float32), vnni, rng)
    _assert_exact(index, ids, vectors.astype(np.float32), queries.astype(np.float32), 7)


def test_near_duplicates_that_no_bound_tells_apart(rng: np.random.Generator, vnni: bool) -> None:
    # Far closer than codes can say, and more than there is room for candidates.
    count = int8_search._ROOM + 5000
    vectors = np.tile(rng.standard_normal((1, 16)), (count, 1)) + 1e-6 * rng.standard_normal((count, 16))
    index, ids = _filled(vectors.astype(np.float32), vnni, rng)
    _assert_exact(index, ids, vectors.astype(np.float32), rng.standard_normal((2, 16)).astype(np.float32), 10)


def test_ties_in_any_number_go_to_the_lower_ids(rng: np.random.Generator, vnni: bool) -> None:
    count = int8_search._ROOM + 5000
    vectors = np.tile(rng.standard_normal((3, 16)), (count // 3, 1)).astype(np.float32)
    index, ids = _filled(vectors, vnni, rng)
    queries = np.vstack([vectors[:2], np.zeros((1, 16), dtype=np.float32)])
    _assert_exact(index, ids, vectors, queries, 50)


def test_means_of_unit_vectors(rng: np.random.Generator, vnni: bool) -> None:
    samples = rng.standard_normal((3000, 1, 32)) + rng.uniform(0.1, 3, (3000, 1, 1)) * rng.standard_normal(
        (3000, 4, 32)
    )
    samples /= np.linalg.norm(samples, axis=2, keepdims=True)
    vectors = samples.mean(axis=1).astype(np.float32)
    index, ids = _filled(vectors, vnni, rng)
    _assert_exact(index, ids, vectors, samples[::300, 0].astype(np.float32), 10)
    _assert_exact(index, ids, vectors, samples[:1, 0].astype(np.float32), 2999)


def test_one_large_value_that_spoils_the_scale(rng: np.random.Generator, vnni: bool) -> None:
    vectors = 1e-3 * rng.standard_normal((2000, 24))
    vectors[np.arange(2000), rng.integers(0, 24, 2000)] = 1.0
    index, ids = _filled(vectors.astype(np.float32), vnni, rng)
    queries = rng.standard_normal((9, 24)).astype(np.float32)
    queries[:5, :] -= queries[:5, :1]
    _assert_exact(index, ids, vectors.astype(np.float32), queries, 10)


def test_threads_share_the_rows(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_search, "_ROWS_PER_THREAD", 100)
    monkeypatch.setattr(int8_certified, "TOGETHER", 3)
    vectors = rng.standard_normal((1000, 12)).astype(np.float32)
    vectors[500:] = vectors[:500]  # ties across threads
    index, ids = _filled(vectors, VNNI, rng)
    for threads in (1, 2, 7):
        monkeypatch.setattr(int8_search, "_cores", lambda threads=threads: threads)
        for count in (1, 10, 400, 1000):
            _assert_exact(index, ids, vectors, vectors[:7], count)


def test_segments_join_without_a_seam(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_search, "_ROWS_PER_THREAD", 20_000)
    monkeypatch.setattr(int8_search, "_cores", lambda: 3)
    count = int8_search.SEGMENT + 300
    vectors = rng.standard_normal((count, 4)).astype(np.float32)
    index, ids = _filled(vectors, VNNI, rng)
    near = [0, int8_search.SEGMENT - 1, int8_search.SEGMENT, count - 1]
    _assert_exact(index, ids, vectors, vectors[near], 5)
    allowed = ids[near]
    assert sorted(index.search(vectors[:1], 5, allowed=allowed)[0][0].tolist()) == sorted([*allowed.tolist(), -1])
    index.remove(ids[300:])  # the second segment empties
    _assert_exact(index, ids[:300], vectors[:300], vectors[near], 5)


def test_the_removed_is_not_left_in_memory(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((70, 4)).astype(np.float32)
    index, ids = _filled(vectors, VNNI, rng)
    index.remove(ids)
    assert not any(array.any() for segment in index._rows.segments for array in segment)
    assert not index._rows.vectors.read(np.arange(70, dtype=np.int64)).any()


def test_a_dimension_beyond_the_sums_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="65536"):
        Int8Certified(65_537)


def _best_of(model: dict[int, Vectors], query: Vectors, count: int) -> list[tuple[float, int]]:
    scored = [
        (-float(np.float32(vector.astype(np.float64) @ query.astype(np.float64))), i) for i, vector in model.items()
    ]
    return sorted(scored)[:count]


@pytest.mark.parametrize("seed", range(6))
def test_views_see_what_was_there_whatever_is_written(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Views open and close in any order over additions, removals and the moving of rows; each knows only its moment.
    monkeypatch.setattr(int8_certified, "_SPARE_LEAST", 3)
    monkeypatch.setattr(int8_certified, "_MOVED", 4)
    monkeypatch.setattr(int8_certified, "_OVERWRITTEN", 5)
    rng = np.random.default_rng(seed)
    index = Int8Certified(3)
    model: dict[int, Vectors] = {}
    views: list[tuple[contextlib.ExitStack, View, dict[int, Vectors]]] = []
    for _ in range(400):
        act = rng.integers(0, 10)
        if act < 4:
            new = rng.choice(300, rng.integers(1, 9), replace=False).astype(np.int64)
            new = new[[number not in model for number in new.tolist()]]
            vectors = rng.integers(-2, 3, (len(new), 3)).astype(np.float32)
            index.add(new, vectors)
            model |= dict(zip(new.tolist(), vectors, strict=True))
        elif act < 7 and model:
            gone = rng.choice(list(model), rng.integers(1, 1 + min(len(model), 12)), replace=False)
            index.remove(gone.astype(np.int64))
            for number in gone.tolist():
                del model[number]
        elif act < 8 and len(views) < 4:
            stack = contextlib.ExitStack()
            views.append((stack, stack.enter_context(index.view()), dict(model)))
        elif views:
            stack, view, then = views[rng.integers(len(views))]
            query = rng.integers(-2, 3, (1, 3)).astype(np.float32)
            allowed = rng.choice(300, 40).astype(np.int64)
            within = {number: then[number] for number in set(allowed.tolist()) & set(then)}
            for known, chosen in ((then, None), (within, allowed)):
                ids, similarities = view.search(query, 7, allowed=chosen)
                expected = _best_of(known, query[0], 7)
                found = ids[0] >= 0
                assert list(zip((-similarities[0][found]).tolist(), ids[0][found].tolist(), strict=True)) == expected
            if rng.random() < 0.3:
                stack.close()
                views = [entry for entry in views if entry[1] is not view]
    for stack, _, _ in views:
        stack.close()
    index.remove(np.array(list(model), dtype=np.int64))
    assert index._rows.top == len(index._free) <= 3
    assert not index._gone
    assert not index._rows.vectors.read(np.arange(100, dtype=np.int64)).any()


def test_the_removed_is_overwritten_when_no_view_has_it(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((40, 4)).astype(np.float32)
    index, ids = _filled(vectors, VNNI, rng)
    with index.view() as late:
        with index.view() as early:
            index.remove(ids[:10])
            assert early.search(vectors[:1], 40)[0].min() >= 0
            with index.view() as after:
                assert np.count_nonzero(after.search(vectors[:1], 40)[0] >= 0) == 30
            index.add(ids[:1], vectors[:1])  # beyond those that views have
            assert index._rows.top == 41
        assert late.search(vectors[:1], 40)[0].min() >= 0
        assert index._rows.vectors.read(np.arange(10, dtype=np.int64)).all()
    assert not index._rows.vectors.read(np.arange(10, dtype=np.int64)).any()
    assert not index._rows.segments[0].scales[:10].any()
    index.add(ids[1:4], vectors[1:4])  # in the free slots
    assert index._rows.top == 41
    _assert_exact(index, np.r_[ids[:4], ids[10:]], np.r_[vectors[:4], vectors[10:]], vectors[:3], 9)


def test_a_view_knows_nothing_of_slots_that_came_and_went_later(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((3000, 4)).astype(np.float32)
    index = Int8Certified(4)
    ids = np.arange(3000, dtype=np.int64)
    index.add(ids[:10], vectors[:10])
    with index.view() as view:
        index.add(ids[10:], vectors[10:])
        index.remove(ids[5:])
        found, _ = view.search(vectors[:1], 20, allowed=ids[8:])
        assert sorted(found[0].tolist()) == [-1] * 18 + [8, 9]


def test_a_shrunk_index_scans_no_more_than_a_share_of_free_slots(rng: np.random.Generator) -> None:
    count = 20_000
    vectors = rng.standard_normal((count, 4)).astype(np.float32)
    index, ids = _filled(vectors, VNNI, rng)
    kept = rng.random(count) < 0.2
    with index.view():
        index.remove(ids[~kept])
        assert index._rows.top == count  # the view has them
    index.remove(ids[kept][:1])
    left = ids[kept][1:]
    assert len(index) == len(left)
    assert index._rows.top <= len(left) * (1 + int8_certified._SPARE_SHARE) + int8_certified._SPARE_LEAST + 1
    _assert_exact(index, left, vectors[kept][1:], vectors[:3], 9)


def test_a_warm_index_compiles_nothing_more(rng: np.random.Generator) -> None:
    rows = (int8_scan.write, int8_scan.erase, int8_scan.flip, int8_scan.choose, int8_scan.choose_marked)
    tables = (slot_table._find, slot_table._put, slot_table._discard, slot_table._move)
    kernels: list[Any] = [*rows, int8_scan.scan, int8_scan.take, int8_scan.rank, *tables, index_module._finite]

    def compiled() -> list[int]:
        return [len(kernel.signatures) for kernel in kernels]

    index = Int8Certified(4)
    index.warm_up()
    assert len(index) == 0
    before = compiled()
    assert all(before)
    vectors = rng.standard_normal((90, 4)).astype(np.float32)
    vectors.flags.writeable = False
    ids = np.arange(90, dtype=np.int64)
    ids.flags.writeable = False
    index.add(ids, vectors)
    index.search(vectors, 3)
    for allowed in (ids[:4], ids):
        index.search(vectors[:1], 3, allowed=allowed)
    index.remove(ids[:50])
    assert compiled() == before
