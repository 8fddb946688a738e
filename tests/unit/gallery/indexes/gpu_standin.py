"""A stand-in of a GPU as a pytest plug-in: numba's simulator, and FAISS' few GPU calls in numpy.

It stands for what FAISS documents: which fields of ``GpuDistanceParams`` are read, that vectors may be memory of the
GPU, that at most 2,048 rows are selected, that k = -1 returns all products. It errs within float32's rounding, at
random and by as much as may be. What it cannot stand for: CUDA, streams, memory that runs out, speed.
"""

import ctypes
import os
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

from numba import cuda

from biometrik import gpu
from biometrik.gallery import gpu_vectors

_MOST_SELECTED = 2048


class StandardGpuResources:
    """FAISS' memory and streams."""


class GpuDistanceParams:
    """What ``bfKnn`` is asked; the defaults are FAISS'."""

    metric: int = faiss.METRIC_L2
    k: int = 0
    dims: int = 0
    vectors: int | None = None
    numVectors: int = 0
    queries: Any = None
    numQueries: int = 0
    outDistances: Any = None
    outIndices: Any = None
    device: int = -1


class GpuIndexFlatConfig:
    """Which GPU."""

    device: int = 0


class GpuIndexFlatIP(faiss.IndexFlatIP):
    """FAISS' own index on a GPU."""

    def __init__(self, resources: StandardGpuResources, dimension: int, _config: GpuIndexFlatConfig) -> None:
        assert isinstance(resources, StandardGpuResources)
        super().__init__(dimension)


def bfKnn(resources: StandardGpuResources, asked: GpuDistanceParams) -> None:
    """Compare, as FAISS does."""
    assert isinstance(resources, StandardGpuResources)
    assert asked.metric == faiss.METRIC_INNER_PRODUCT
    assert 0 <= asked.device < len(cuda.gpus)
    assert asked.vectors
    assert asked.numVectors > 0
    assert asked.numQueries > 0
    vectors = _array(asked.vectors, (asked.numVectors, asked.dims))
    queries = faiss.rev_swig_ptr(asked.queries, asked.numQueries * asked.dims).reshape(-1, asked.dims)
    products = _inexact(queries.astype(np.float64), vectors.astype(np.float64))
    width = asked.numVectors if asked.k == -1 else asked.k
    out = faiss.rev_swig_ptr(asked.outDistances, asked.numQueries * width).reshape(-1, width)
    if asked.k == -1:
        out[:] = products
        return
    assert 0 < asked.k <= min(_MOST_SELECTED, asked.numVectors)
    order = np.argsort(-products, axis=1)[:, : asked.k]
    faiss.rev_swig_ptr(asked.outIndices, asked.numQueries * width).reshape(-1, width)[:] = order
    out[:] = np.take_along_axis(products, order, axis=1)


def _array(address: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    values = (ctypes.c_float * (shape[0] * shape[1])).from_address(address)
    return np.ctypeslib.as_array(values).reshape(shape)


def _inexact(queries: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    worst = (queries.shape[1] - 1) * 2.0**-24 * lengths  # and one more rounding, below
    noise = np.random.default_rng(len(vectors)).choice([-1.0, 1.0], lengths.shape)
    with np.errstate(over="ignore"):
        return np.asarray(queries @ vectors.T + noise * worst, dtype=np.float32)


def install() -> None:
    """Put the stand-in in place, for the rest of the process."""
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    calls: dict[str, object] = {"cast_integer_to_void_ptr": int}
    parts = (StandardGpuResources, GpuDistanceParams, GpuIndexFlatConfig, GpuIndexFlatIP, bfKnn)
    calls |= {part.__name__: part for part in parts}
    for name, call in calls.items():
        setattr(faiss, name, call)
    interface: Any = FakeCUDAArray
    interface.__cuda_array_interface__ = property(lambda array: array._ary.__array_interface__)
    shown = gpu.Driver((13, 0), (gpu.Gpu("stand-in", 1 << 33, (9, 0)),))
    gpu.driver = lambda: shown
    # Small, so that tests of some thousand vectors have several segments, and simulated threads are few.
    gpu_vectors._SEGMENT, gpu_vectors._THREADS = 700, 1  # type: ignore[misc]


def pytest_configure() -> None:
    """Called by pytest."""
    install()
