"""What FAISS makes special: memory after removal, threads, near ties beyond float32."""

import faiss
import numpy as np
import pytest

from biometrik.gallery.indexes.faiss_flat import FaissFlat


def _index(count: int, rng: np.random.Generator) -> FaissFlat:
    index = FaissFlat(4)
    vectors = rng.standard_normal((count, 4)).astype(np.float32)
    index.add(np.arange(count, dtype=np.int64), vectors)
    return index


def test_the_removed_is_not_left_in_memory(rng: np.random.Generator) -> None:
    index = _index(10, rng)
    # Removal shrinks a C++ vector, which keeps its memory: it can be looked at afterwards.
    memory = faiss.rev_swig_ptr(index._flat.get_xb(), 40)
    index.remove(np.arange(10, dtype=np.int64)[::-1])
    assert not memory.any()


def test_removal_moves_the_last_into_the_gap(rng: np.random.Generator) -> None:
    index = _index(5, rng)
    last = index._rows()[4].copy()
    index.remove(np.array([1], dtype=np.int64))
    assert (index._rows()[1] == last).all()
    assert index._slot_of == {0: 0, 4: 1, 2: 2, 3: 3}
    assert index._flat.codes.size() == 4 * 4 * 4


def test_one_query_takes_one_thread(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(faiss, "omp_set_num_threads", asked.append)
    monkeypatch.setattr("biometrik.gallery.indexes.faiss_flat._THREADS", 2)
    index = _index(5, rng)
    query = np.ones((1, 4), dtype=np.float32)
    index.search(query, 1)
    index.search(np.vstack([query, query]), 1)
    assert asked == [1, 2]


def test_order_is_that_of_float64_where_float32_sums_cannot_tell() -> None:
    # 1e4 + x − 1e4 loses x's digits in float32; all differ in the tenth, far less than FAISS' rounding.
    small = np.linspace(1e-3, 2e-3, 50).astype(np.float32)
    vectors = np.zeros((50, 4), dtype=np.float32)
    vectors[:, 0], vectors[:, 1], vectors[:, 2] = 1e4, small, -1e4
    index = FaissFlat(4)
    index.add(np.arange(50, dtype=np.int64), vectors)
    query = np.array([[1, 1, 1, 0]], dtype=np.float32)
    ids, similarities = index.search(query, 5)
    assert ids[0].tolist() == [49, 48, 47, 46, 45]
    assert similarities[0].tolist() == small[[49, 48, 47, 46, 45]].tolist()


def test_growth_keeps_every_id(rng: np.random.Generator) -> None:
    index = FaissFlat(4)
    vectors = rng.standard_normal((5000, 4)).astype(np.float32)
    for start in range(0, 5000, 700):
        ids = np.arange(start, min(start + 700, 5000), dtype=np.int64)
        index.add(ids, vectors[ids])
    picks = np.array([0, 1023, 1024, 4999])
    scores = index.search(vectors[picks], 1)[1][:, 0]
    expected = (vectors.astype(np.float64) @ vectors[picks].T.astype(np.float64)).max(axis=0)
    assert scores == pytest.approx(expected)
