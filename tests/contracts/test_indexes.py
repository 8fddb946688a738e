"""What every index keeps to: the answers of brute force, through adds, removals, filters and threads."""

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import cuda
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.gallery.index import INDEXES, Index

D = 16
_gpu: Any = cuda.is_available
#: All, but for the one that needs a GPU where there is none: its own tests run these here with a stand-in.
HERE = [name for name in INDEXES.names() if name != "faiss-gpu" or _gpu()]
Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]


#: Each of these, and each that can keep vectors on disk once more so.
KINDS = [(name, False) for name in HERE] + [(name, True) for name in HERE if INDEXES.load(name).on_disk]


def _make(kind: tuple[str, bool], dimension: int = D) -> Index:
    name, on_disk = kind
    return INDEXES.load(name)(dimension, Path(tempfile.gettempdir()) if on_disk else None)


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}, on disk" if kind[1] else kind[0])
def kind(request: pytest.FixtureRequest) -> tuple[str, bool]:
    name, on_disk = request.param
    return str(name), bool(on_disk)


@pytest.fixture
def index(kind: tuple[str, bool]) -> Index:
    return _make(kind)


def _unit(rng: np.random.Generator, count: int) -> Vectors:
    rows = rng.standard_normal((count, D))
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _brute(
    model: dict[int, Vectors], query: Vectors, count: int, allowed: Ids | None = None
) -> list[tuple[int, float]]:
    chosen = set(model) if allowed is None else set(model) & set(allowed.tolist())
    wide = query.astype(np.float64)
    scored = [(float(np.float32(np.sum(model[i].astype(np.float64) * wide))), i) for i in chosen]
    scored.sort(key=lambda pair: (-pair[0], pair[1]))
    return [(i, score) for score, i in scored[:count]]


def _assert_recall(index: Index, model: dict[int, Vectors], queries: Vectors, count: int, allowed: Ids | None) -> None:
    ids, similarities = index.search(queries, count, allowed=allowed)
    assert ids.shape == similarities.shape == (len(queries), count)
    assert ids.dtype == np.int64
    assert similarities.dtype == np.float32
    found = expected = 0
    for query, row, scores in zip(queries, ids, similarities, strict=True):
        best = _brute(model, query, count, allowed)
        assert np.count_nonzero(row >= 0) == len(best)
        assert (row[len(best) :] == -1).all()
        assert (scores[len(best) :] == -np.inf).all()
        if index.exact:
            assert row[: len(best)].tolist() == [i for i, _ in best]
        assert scores[: len(best)] == pytest.approx([float(model[i] @ query) for i in row[: len(best)]], abs=1e-5)
        found += len({i for i, _ in best} & set(row.tolist()))
        expected += len(best)
    assert found >= index.recall_claimed * expected


def test_it_states_what_it_promises(index: Index) -> None:
    assert 0.0 < index.recall_claimed <= 1.0
    assert index.exact == (index.recall_claimed == 1.0)
    assert index.dimension == D


@pytest.mark.parametrize("queries", [1, 5, 40])
def test_recall_against_brute_force(index: Index, rng: np.random.Generator, queries: int) -> None:
    vectors = _unit(rng, 3000)
    ids = rng.permutation(10_000)[:3000].astype(np.int64)
    index.add(ids[:1000], vectors[:1000])
    index.add(ids[1000:], vectors[1000:])
    model = dict(zip(ids.tolist(), vectors, strict=True))
    assert len(index) == 3000
    _assert_recall(index, model, _unit(rng, queries), 10, None)
    _assert_recall(index, model, vectors[:queries], 1, None)


def test_recall_after_removals_and_adds(index: Index, rng: np.random.Generator) -> None:
    vectors = _unit(rng, 600)
    model: dict[int, Vectors] = {}
    for start in range(0, 600, 100):
        new = np.arange(start, start + 100, dtype=np.int64)
        index.add(new, vectors[new])
        model.update(zip(new.tolist(), vectors[new], strict=True))
        gone = rng.choice(sorted(model), size=40, replace=False).astype(np.int64)
        index.remove(gone)
        for number in gone.tolist():
            del model[number]
        assert len(index) == len(model)
        _assert_recall(index, model, _unit(rng, 3), 20, None)
    for number in sorted(model):
        index.remove(np.array([number], dtype=np.int64))
    assert len(index) == 0
    ids, similarities = index.search(_unit(rng, 2), 3)
    assert (ids == -1).all()
    assert (similarities == -np.inf).all()
    index.add(np.array([7], dtype=np.int64), vectors[:1])
    assert index.search(vectors[:1], 1)[0].tolist() == [[7]]


@pytest.mark.parametrize("allowed", [0, 1, 9, 500, 3000])
def test_recall_within_the_allowed(index: Index, rng: np.random.Generator, allowed: int) -> None:
    vectors = _unit(rng, 1000)
    ids = np.arange(1000, dtype=np.int64) * 3
    index.add(ids, vectors)
    index.remove(ids[::7])
    model = {int(i): v for i, v in zip(ids, vectors, strict=True) if i % 21}
    chosen = rng.permutation(3000)[:allowed].astype(np.int64)  # also ids that are not there
    _assert_recall(index, model, _unit(rng, 4), 10, chosen)
    _assert_recall(index, model, _unit(rng, 1), 10, chosen)


def test_equal_vectors_come_in_the_order_of_their_ids(index: Index, rng: np.random.Generator) -> None:
    vectors = _unit(rng, 50)
    same = np.repeat(vectors[:1], 40, axis=0)
    order = rng.permutation(40).astype(np.int64)
    index.add(order, same)
    index.add(np.arange(100, 150, dtype=np.int64), -vectors)
    index.remove(np.array([3, 11], dtype=np.int64))
    expected = [i for i in range(40) if i not in (3, 11)]
    for count in (1, 5, 38):
        assert index.search(vectors[:1], count)[0][0].tolist() == expected[:count]
    assert np.unique(index.search(vectors[:1], 38)[1]).size == 1


def test_a_similarity_depends_on_nothing_but_its_two_vectors(kind: tuple[str, bool], rng: np.random.Generator) -> None:
    vectors, queries = _unit(rng, 200), _unit(rng, 33)
    alone, crowded = _make(kind), _make(kind)
    alone.add(np.array([5], dtype=np.int64), vectors[5:6])
    crowded.add(np.arange(200, dtype=np.int64), vectors)
    batch = crowded.search(queries, 200)
    for query in range(33):
        single = alone.search(queries[query : query + 1], 1)[1][0, 0]
        assert batch[1][query][batch[0][query] == 5] == single


def test_a_zero_query_is_answered_with_ties(index: Index, rng: np.random.Generator) -> None:
    index.add(np.array([9, 4, 6], dtype=np.int64), _unit(rng, 3))
    queries = np.vstack([np.zeros((1, D), dtype=np.float32), _unit(rng, 1)])
    ids, similarities = index.search(queries, 2)
    assert ids[0].tolist() == [4, 6]
    assert similarities[0].tolist() == [0.0, 0.0]
    assert ids[1].tolist() == index.search(queries[1:], 2)[0][0].tolist()
    allowed = np.array([9, 6], dtype=np.int64)
    assert index.search(queries[:1], 3, allowed=allowed)[0][0].tolist() == [6, 9, -1]


def test_vectors_are_taken_as_they_are(index: Index, rng: np.random.Generator) -> None:
    short = 0.25 * _unit(rng, 1)
    index.add(np.array([1], dtype=np.int64), short)
    assert index.search(4 * short, 1)[1][0, 0] == pytest.approx(0.25)
    short[:] = 0.0  # the caller's array is the caller's
    assert index.search(_unit(rng, 1), 1)[1][0, 0] != 0.0


def test_no_queries_have_no_answers(index: Index) -> None:
    ids, similarities = index.search(np.empty((0, D), dtype=np.float32), 3)
    assert ids.shape == similarities.shape == (0, 3)
    index.add(np.empty(0, dtype=np.int64), np.empty((0, D), dtype=np.float32))
    index.remove(np.empty(0, dtype=np.int64))
    assert len(index) == 0


def test_bad_additions_change_nothing(index: Index, rng: np.random.Generator) -> None:
    vectors = _unit(rng, 2)
    one = np.array([1], dtype=np.int64)
    index.add(one, vectors[:1])
    for value in (np.nan, np.inf):
        bad = vectors.copy()
        bad[1, 3] = value
        with pytest.raises(InvalidInputError, match="finite"):
            index.add(np.array([2, 3], dtype=np.int64), bad)
        with pytest.raises(InvalidInputError, match="finite"):
            index.search(bad, 1)
    cases: list[tuple[str, NDArray[np.generic], NDArray[np.generic]]] = [
        ("not in the index yet", np.array([2, 1]), vectors),
        ("distinct", np.array([2, 2]), vectors),
        ("0 or more", np.array([-1, 2]), vectors),
        ("expected 1, one an id", np.array([2]), vectors),
        ("int64", np.array([2, 3], dtype=np.int32), vectors),
        ("float32", np.array([2, 3]), vectors.astype(np.float64)),
        ("float32", np.array([2, 3]), vectors[:, :-1]),
    ]
    for message, ids, rows in cases:
        with pytest.raises(InvalidInputError, match=message):
            index.add(ids, rows)  # type: ignore[arg-type]
    assert len(index) == 1
    assert index.search(vectors, 2)[0].tolist() == [[1, -1], [1, -1]]


def test_bad_removals_and_searches_change_nothing(index: Index, rng: np.random.Generator) -> None:
    vectors = _unit(rng, 2)
    index.add(np.array([1, 2], dtype=np.int64), vectors)
    for ids in ([3], [1, 3], [1, 1], [-1]):
        with pytest.raises(InvalidInputError, match="ids"):
            index.remove(np.array(ids, dtype=np.int64))
    with pytest.raises(InvalidInputError, match="count"):
        index.search(vectors, 0)
    with pytest.raises(InvalidInputError, match="allowed"):
        index.search(vectors, 1, allowed=np.array([1], dtype=np.int32))
    assert len(index) == 2


def test_a_dimension_is_needed(kind: tuple[str, bool]) -> None:
    with pytest.raises(InvalidInputError, match="dimension"):
        _make(kind, 0)


@pytest.mark.parametrize("name", [name for name in HERE if not INDEXES.load(name).on_disk])
def test_who_cannot_keep_vectors_on_disk_says_so(name: str) -> None:
    with pytest.raises(InvalidInputError, match="on disk"):
        _make((name, True))


def test_vectors_come_back(index: Index, rng: np.random.Generator) -> None:
    vectors = _unit(rng, 50)
    ids = rng.permutation(200)[:50].astype(np.int64)
    index.add(ids, vectors)
    index.remove(ids[:5])
    order = 5 + rng.permutation(45)
    assert np.array_equal(index.vectors(ids[order]), vectors[order])
    assert index.vectors(ids[:0]).shape == (0, D)
    with pytest.raises(InvalidInputError, match="in the index"):
        index.vectors(ids[4:6])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS),
    steps=st.lists(st.tuples(st.integers(0, 12), st.lists(st.integers(-2, 2), min_size=3, max_size=3)), max_size=40),
    count=st.integers(1, 8),
    allowed=st.none() | st.lists(st.integers(0, 12)),
)
def test_any_history_equals_brute_force(
    kind: tuple[str, bool], steps: list[tuple[int, list[int]]], count: int, allowed: list[int] | None
) -> None:
    # Small integers: their products are exact and full of ties. A step removes what is there and adds what is not.
    index = _make(kind, 3)
    model: dict[int, Vectors] = {}
    for number, values in steps:
        ids = np.array([number], dtype=np.int64)
        if number in model:
            index.remove(ids)
            del model[number]
        else:
            model[number] = np.array(values, dtype=np.float32)
            index.add(ids, model[number][None])
    queries = np.array([[1, 0, -1], [0, 0, 0], [2, 1, 1]], dtype=np.float32)
    chosen = None if allowed is None else np.array(allowed, dtype=np.int64)
    _assert_recall(index, model, queries, count, chosen)


def test_searches_beside_writes_see_only_whole_vectors(index: Index, rng: np.random.Generator) -> None:
    # Each id has one vector for ever: an answer that names an id with another's similarity was torn.
    vectors = _unit(rng, 400)
    steady = np.arange(100, dtype=np.int64)
    index.add(steady, vectors[:100])
    done = threading.Event()

    def churn(worker: int) -> None:
        own = np.arange(100 + 100 * worker, 200 + 100 * worker, dtype=np.int64)
        generator = np.random.default_rng(worker)
        for _ in range(30):
            part = generator.permutation(own)[:37]
            index.add(part, vectors[part])
            index.remove(part)

    def search(worker: int) -> int:
        generator = np.random.default_rng(100 + worker)
        searches = 0
        while not done.is_set() or searches == 0:
            picks = generator.integers(0, 100, size=1 + searches % 3)
            ids, similarities = index.search(vectors[picks], 5)
            assert (ids[:, 0] == picks).all()
            for row, (numbers, scores) in enumerate(zip(ids, similarities, strict=True)):
                assert scores == pytest.approx(vectors[numbers] @ vectors[picks[row]], abs=1e-5)
            within, _ = index.search(vectors[picks], 3, allowed=steady)
            assert (within < 100).all()
            searches += 1
        return searches

    with ThreadPoolExecutor(5) as pool:
        searchers = [pool.submit(search, worker) for worker in range(2)]
        for future in [pool.submit(churn, worker) for worker in range(3)]:
            future.result()
        done.set()
        assert all(future.result() for future in searchers)
    assert len(index) == 100


def test_a_view_is_of_one_moment(index: Index, rng: np.random.Generator) -> None:
    # Writes beside it wait for it or not; it does not change.
    vectors = _unit(rng, 60)
    ids = np.arange(60, dtype=np.int64)
    index.add(ids[:50], vectors[:50])
    before = index.search(vectors[:3], 50)
    begun = threading.Event()

    def write() -> None:
        begun.set()
        index.remove(ids[:40])
        index.add(ids[50:], vectors[50:])

    with ThreadPoolExecutor(1) as pool:
        with index.view() as view:
            writing = pool.submit(write)
            begun.wait()
            for _ in range(20):
                found = view.search(vectors[:3], 50)
                assert [part.tolist() for part in found] == [part.tolist() for part in before]
                some = view.search(vectors[:1], 3, allowed=ids[[1, 2, 55]])[0][0]
                assert sorted(some.tolist()) == [-1, 1, 2]
        writing.result()
    assert set(index.search(vectors[:1], 50)[0][0].tolist()) == {-1, *range(40, 60)}
