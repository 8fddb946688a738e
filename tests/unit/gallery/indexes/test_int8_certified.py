"""Vectors made to break the bounds, in both forms of the scan, alone and in threads: the answer is brute force's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.gallery import int8_search
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
