"""Vectors in the memory of a GPU, compared by FAISS: what the index ``faiss-gpu`` scans.

FAISS' own index on a GPU can neither change nor remove a row, and passes over a selection without a word. So the
memory is numba's, which writes single rows and gathers a selection, and FAISS' brute-force search reads it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from biometrik import gpu
from biometrik.errors import ProviderUnavailableError

# numba has no types.
_cuda: Any = cuda

#: The most rows that FAISS selects on a GPU (GPU_MAX_SELECTION_K); more would end the process.
MOST_SELECTED: Final = 2048
#: Rows of a segment. Memory grows by whole ones, half a gigabyte at 128 dimensions, so that nothing is ever copied.
_SEGMENT: Final = 1 << 20
#: Threads that copy one row.
_THREADS: Final = 32
#: Unit roundoff of float32.
_ROUNDOFF: Final = 2.0**-24
_REMEDY: Final = "pip uninstall -y onnxruntime faiss-cpu, then pip install 'biometrik[gpu]'"


def _gather_rows(rows: Any, chosen: Any, found: Any) -> None:
    # A block of threads a row.
    row = _cuda.blockIdx.x
    for d in range(_cuda.threadIdx.x, rows.shape[1], _cuda.blockDim.x):
        found[row, d] = rows[chosen[row], d]


_gather: Any = _cuda.jit(_gather_rows)


class GpuVectors:
    """Rows of float32 on one GPU; not thread-safe, as FAISS' resources are not.

    Parameters
    ----------
    dimension : int
        D, of each.
    device_id : int
        Which GPU, in the order in which CUDA shows them.

    Attributes
    ----------
    error : float
        A product errs by at most this share of the product of both lengths: D roundings of float32, in any order.
        N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1.

    Raises
    ------
    ProviderUnavailableError
        FAISS has no GPU build or lacks its CUDA libraries, there is no such GPU, or it computes with less than float32.
    """

    def __init__(self, dimension: int, device_id: int = 0) -> None:
        self._faiss = _gpu_faiss()
        gpu.refuse_missing("index faiss-gpu", device_id, len(_cuda.gpus))
        self._device_id = device_id
        self._dimension = dimension
        self._resources = self._faiss.StandardGpuResources()
        self._segments: list[Any] = []
        self._gathered: Any = None
        self.error = dimension * _ROUNDOFF / (1 - dimension * _ROUNDOFF)
        self._refuse_less_than_float32()

    def reserve(self, count: int) -> None:
        """Make room for ``count`` rows.

        Raises
        ------
        ProviderUnavailableError
            The GPU has not that much memory left.
        """
        while count > len(self._segments) * _SEGMENT:
            self._segments.append(self._device_array())

    def write(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Keep (N, D) vectors in the rows from ``first`` on, for which there is room."""
        done = 0
        while done < len(vectors):
            number, row = divmod(first + done, _SEGMENT)
            part = vectors[done : done + _SEGMENT - row]
            with self._device():
                self._segments[number][row : row + len(part)].copy_to_device(part)
            done += len(part)

    def erase(self, row: int) -> None:
        """Leave nothing of a vector."""
        self.write(row, np.zeros((1, self._dimension), dtype=np.float32))

    def best(
        self, queries: NDArray[np.float32], count: int, total: int, rows: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the largest products of each query, largest first, and the rows that they are of.

        Parameters
        ----------
        queries : (Q, D) float32
            Contiguous.
        count : int
            How many a query, 1 to :data:`MOST_SELECTED` and at most as many as are compared.
        total : int
            So many rows are in use.
        rows : (M,) int64 or None
            Only these rising rows are compared; all that are in use where it is None.

        Returns
        -------
        products : (Q, count) float32
            Inexact by :attr:`error`.
        rows : (Q, count) int64
        """
        products, found = [], []
        for part, size, numbers in self._parts(total, rows):
            wanted = min(count, size)
            values = np.empty((len(queries), wanted), dtype=np.float32)
            places = np.empty((len(queries), wanted), dtype=np.int64)
            self._ask(queries, part, size, values, places)
            products.append(values)
            found.append(numbers[places])
        values, places = np.concatenate(products, axis=1), np.concatenate(found, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(values, order, axis=1), np.take_along_axis(places, order, axis=1)

    def products(
        self, query: NDArray[np.float32], total: int, rows: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return all products of one (1, D) query, and the rows that they are of; see :meth:`best`."""
        products, found = [], []
        for part, size, numbers in self._parts(total, rows):
            values = np.empty((1, size), dtype=np.float32)
            self._ask(query, part, size, values, None)
            products.append(values[0])
            found.append(numbers)
        return np.concatenate(products), np.concatenate(found)

    def _parts(self, total: int, rows: NDArray[np.int64] | None) -> Iterator[tuple[Any, int, NDArray[np.int64]]]:
        # Memory on the GPU, how many of its rows count, and which rows these are. A part is good until the next one.
        for start in range(0, total, _SEGMENT):
            segment, stop = self._segments[start // _SEGMENT], min(start + _SEGMENT, total)
            if rows is None:
                yield segment, stop - start, np.arange(start, stop, dtype=np.int64)
                continue
            chosen = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
            if len(chosen) == 0:
                continue
            if self._gathered is None:
                self._gathered = self._device_array()
            with self._device():
                _gather[len(chosen), _THREADS](segment, _cuda.to_device(chosen - start), self._gathered)
                _cuda.synchronize()  # FAISS has streams of its own, which wait for no other
            yield self._gathered, len(chosen), chosen

    def _ask(
        self,
        queries: NDArray[np.float32],
        part: Any,
        size: int,
        products: NDArray[np.float32],
        places: NDArray[np.int64] | None,
    ) -> None:
        # What FAISS' knn_gpu and pairwise_distance_gpu do, with memory of the GPU for the vectors.
        faiss = self._faiss
        asked = faiss.GpuDistanceParams()
        asked.metric = faiss.METRIC_INNER_PRODUCT
        asked.dims = self._dimension
        asked.vectors = faiss.cast_integer_to_void_ptr(part.__cuda_array_interface__["data"][0])
        asked.numVectors = size
        asked.queries = faiss.swig_ptr(queries)
        asked.numQueries = len(queries)
        asked.outDistances = faiss.swig_ptr(products)
        if places is None:
            asked.k = -1  # all products
        else:
            asked.k = places.shape[1]
            asked.outIndices = faiss.swig_ptr(places)
        asked.device = self._device_id
        try:
            faiss.bfKnn(self._resources, asked)
        except RuntimeError as error:  # FAISS' word for a GPU's memory that is full
            raise ProviderUnavailableError(
                f"index faiss-gpu: expected FAISS to compare {len(queries)} queries with {size} vectors, got {error}; "
                "leave it more of the GPU's memory, or ask with fewer at once"
            ) from error

    def _device(self) -> AbstractContextManager[None]:
        # numba's calls within go to this GPU; its choice is each thread's own. FAISS is told with each call.
        device: AbstractContextManager[None] = _cuda.gpus[self._device_id]
        return device

    def _device_array(self) -> Any:
        try:
            with self._device():
                return _cuda.device_array((_SEGMENT, self._dimension), np.float32)
        except Exception as error:  # numba's, or CUDA's own
            raise ProviderUnavailableError(
                f"index faiss-gpu: expected {4 * _SEGMENT * self._dimension / 2**20:.0f} MiB more of the GPU's memory, "
                f"got {error}; take a GPU with more memory, or choose the index int8-certified"
            ) from error

    def _refuse_less_than_float32(self) -> None:
        # TF32 keeps ten bits of a factor, and would lose the last one of these.
        self.reserve(1)
        vector = np.full((1, self._dimension), 1 + 2.0**-12, dtype=np.float32)
        self.write(0, vector)
        found = float(self.products(vector, 1, None)[0][0])
        self.erase(0)
        exact = float(np.square(vector.astype(np.float64)).sum())
        if not abs(found - exact) <= self.error * exact:
            raise ProviderUnavailableError(
                f"index faiss-gpu: expected products within {self.error:.1e} of the exact ones, got "
                f"{abs(found / exact - 1):.1e}: this GPU computes with less than float32; unset NVIDIA_TF32_OVERRIDE, "
                "or choose the index faiss-flat"
            )


def _gpu_faiss() -> Any:
    # FAISS answers CUDA's errors by ending the process: whatever can be found out before is asked elsewhere.
    try:
        import faiss
    except (ImportError, RuntimeError) as error:  # FAISS' word for CUDA libraries that are not there
        raise ProviderUnavailableError(
            f"index faiss-gpu: expected FAISS with its CUDA libraries, got {error}; {_REMEDY}"
        ) from error
    if not hasattr(faiss, "StandardGpuResources"):
        raise ProviderUnavailableError(
            f"index faiss-gpu: expected the wheel faiss-gpu, got FAISS without GPUs (the CPU wheel); {_REMEDY}"
        )
    try:
        found = gpu.driver()
    except ProviderUnavailableError as error:
        raise ProviderUnavailableError(f"index faiss-gpu: {error}, or choose the index faiss-flat") from error
    if not _cuda.is_available():
        raise ProviderUnavailableError(
            f"index faiss-gpu: expected numba to use {found.gpus[0].name}, got that it cannot; it needs the package "
            f"numba-cuda and a driver of its CUDA's version; {_REMEDY}"
        )
    return faiss
