"""What a GPU makes special, on the stand-in; run by test_faiss_gpu.py in a process of its own."""

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import pytest
from numba import cuda
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numpy.typing import NDArray

from biometrik.errors import ProviderUnavailableError
from biometrik.gallery import gpu_vectors
from biometrik.gallery.indexes.faiss_flat import FaissFlat
from biometrik.gallery.indexes.faiss_gpu import FaissGpu
from tests.unit.gallery.indexes import gpu_standin
from tests.unit.gallery.indexes.gpu_standin import GpuDistanceParams, StandardGpuResources

D = 4
Vectors = NDArray[np.float32]


def _drawn(rng: np.random.Generator, count: int) -> Vectors:
    return rng.standard_normal((count, D)).astype(np.float32)


def _filled(vectors: Vectors) -> FaissGpu:
    index = FaissGpu(D)
    index.add(np.arange(len(vectors), dtype=np.int64), vectors)
    return index


def _both(vectors: Vectors) -> tuple[FaissGpu, FaissFlat]:
    flat = FaissFlat(D)
    flat.add(np.arange(len(vectors), dtype=np.int64), vectors)
    return _filled(vectors), flat


def _assert_same(ours: FaissGpu, flat: FaissFlat, queries: Vectors, count: int) -> None:
    found, expected = ours.search(queries, count), flat.search(queries, count)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


def test_answers_are_those_of_faiss_flat_to_the_last_bit(rng: np.random.Generator) -> None:
    vectors, queries = _drawn(rng, 3000), _drawn(rng, 40)
    ours, flat = _both(vectors)
    _assert_same(ours, flat, queries, 20)


def test_more_are_wanted_than_a_gpu_selects(rng: np.random.Generator) -> None:
    vectors, queries = _drawn(rng, 3000), _drawn(rng, 2)
    ours, flat = _both(vectors)
    _assert_same(ours, flat, queries, 2500)


def test_more_are_equal_than_a_gpu_selects(rng: np.random.Generator) -> None:
    same = np.repeat(_drawn(rng, 1), 2200, axis=0)
    index = _filled(same)
    assert index.search(same[:1], 5)[0].tolist() == [[0, 1, 2, 3, 4]]
    index.remove(np.arange(3, dtype=np.int64))
    assert index.search(np.vstack([same[:1], -same[:1]]), 2)[0].tolist() == [[3, 4], [3, 4]]


def test_an_id_may_be_allowed_twice(rng: np.random.Generator) -> None:
    vectors = _drawn(rng, 10)
    ids, _ = _filled(vectors).search(vectors[:1], 3, allowed=np.array([4, 4, 9, 4, 77], dtype=np.int64))
    assert sorted(ids[0].tolist()) == [-1, 4, 9]


def test_products_beyond_float32_are_compared_in_float64() -> None:
    # The two large terms cancel; in float32 each is infinite.
    vectors = np.zeros((2000, D), dtype=np.float32)
    vectors[:, 0], vectors[:, 1], vectors[:, 2] = 3e38, 3e38, np.linspace(1e30, 2e30, 2000)
    ids, similarities = _filled(vectors).search(np.array([[2, -2, 1, 0]], dtype=np.float32), 2)
    assert ids[0].tolist() == [1999, 1998]
    assert similarities[0] == pytest.approx(vectors[[1999, 1998], 2])


def test_the_removed_is_neither_here_nor_there(rng: np.random.Generator) -> None:
    vectors = _drawn(rng, 1000)
    index = _filled(vectors)
    index.remove(np.arange(100, 1000, dtype=np.int64)[::-1])
    index.remove(np.array([5], dtype=np.int64))
    there = np.concatenate([segment.copy_to_host() for segment in index._vectors._segments])
    here = index._rows.read(np.arange(1000, dtype=np.int64))
    for rows in (there, here):
        assert np.array_equal(rows[:99], vectors[[0, 1, 2, 3, 4, 99, *range(6, 99)]])
        assert not rows[99:1000].any()


def test_what_finds_no_memory_changes_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = _drawn(rng, 1500)
    index = _filled(vectors[:10])

    def full(*_: object) -> None:
        raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(gpu_vectors._cuda, "device_array", full)
    with pytest.raises(ProviderUnavailableError, match=r"MiB more of the GPU's memory.*OUT_OF_MEMORY"):
        index.add(np.arange(10, 1500, dtype=np.int64), vectors[10:])
    assert len(index) == 10
    assert index.search(vectors[11:12], 20)[0].max() < 10


def test_what_faiss_cannot_do_is_told_and_the_next_search_goes_on(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = _drawn(rng, 20)
    index = _filled(vectors)

    def full(*_: object) -> None:
        raise RuntimeError("StandardGpuResources: alloc fail")

    with monkeypatch.context() as patch:
        patch.setattr(faiss, "bfKnn", full)
        with pytest.raises(ProviderUnavailableError, match=r"compare 2 queries with 20 vectors, got .*alloc fail"):
            index.search(vectors[:2], 1)
    assert index.search(vectors[:1], 1)[0].shape == (1, 1)


class _Gpu:
    # As numba's: what is called within goes to it.
    def __init__(self) -> None:
        self.entered = 0

    def __enter__(self) -> None:
        self.entered += 1

    def __exit__(self, *_: object) -> None:
        self.entered -= 1


def test_all_of_it_happens_on_the_gpu_that_is_named(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [_Gpu(), _Gpu()]
    asked_of = set()

    def there(call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            assert [shown.entered for shown in gpus] == [0, 1]
            return call(*arguments)

        return watched

    def bf_knn(resources: StandardGpuResources, asked: GpuDistanceParams) -> None:
        asked_of.add(asked.device)
        gpu_standin.bfKnn(resources, asked)

    monkeypatch.setattr(cuda, "gpus", gpus)
    for name in ("device_array", "to_device", "synchronize"):
        monkeypatch.setattr(cuda, name, there(getattr(cuda, name)))
    monkeypatch.setattr(FakeCUDAArray, "copy_to_device", there(FakeCUDAArray.copy_to_device))
    monkeypatch.setattr(faiss, "bfKnn", bf_knn)
    gather = gpu_vectors._gather
    monkeypatch.setattr(gpu_vectors, "_gather", type("", (), {"__getitem__": lambda _, grid: there(gather[grid])})())
    vectors, allowed = _drawn(rng, 1500), np.arange(0, 1500, 3, dtype=np.int64)
    index, flat = FaissGpu(D, device_id=1), FaissFlat(D)
    for each in (index, flat):
        each.add(np.arange(1500, dtype=np.int64), vectors)
        each.remove(np.array([7], dtype=np.int64))
    assert np.array_equal(index.search(vectors[:3], 5)[0], flat.search(vectors[:3], 5)[0])
    found = index.search(vectors[:3], 5, allowed=allowed)[0]
    assert np.array_equal(found, flat.search(vectors[:3], 5, allowed=allowed)[0])
    assert asked_of == {1}


@pytest.mark.parametrize("device_id", [-1, 1])
def test_a_gpu_that_is_not_there_is_refused(device_id: int) -> None:
    with pytest.raises(ProviderUnavailableError, match=rf"index faiss-gpu: .*below 1, .*got {device_id}; name one"):
        FaissGpu(D, device_id=device_id)


def test_a_gpu_that_computes_with_less_than_float32_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def tf32(_resources: object, asked: GpuDistanceParams) -> None:
        # Ten bits of a factor are kept: of 1 + 2⁻¹², 1.
        faiss.rev_swig_ptr(asked.outDistances, 1)[:] = asked.dims

    monkeypatch.setattr(faiss, "bfKnn", tf32)
    with pytest.raises(ProviderUnavailableError, match="NVIDIA_TF32_OVERRIDE"):
        FaissGpu(512)
