"""Search on a GPU: the index faiss-gpu and FAISS' own flat index, times, memory, and answers beside brute force."""

import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from benchmarks.gpu_part import Job, Told
from biometrik import gpu
from biometrik.errors import BiometrikError
from biometrik.gallery.index import INDEXES, Index
from biometrik.synthetic.faces import draw_embeddings

# numba has no types.
_cuda: Any = cuda
_DIMENSION: Final = 128
_SAMPLES: Final = 2  # of each subject in the gallery; the probes are third ones
_COUNT: Final = 10
#: Two of FAISS' temporary memories and room to breathe, bytes.
_TEMPORARY: Final = 4 << 30
#: Bytes of this machine's memory a face: the vector, its id twice, and blocks being drawn.
_HERE: Final = 4 * _DIMENSION + 64
#: Brute force looks at so many of the best float32 products of a block again in float64.
_NEAR: Final = 32
_REMOVALS: Final = 100


def measure(job: Job) -> Iterator[Told]:
    """Fill, search and change indexes of each size."""
    for count in job.sizes.vectors:
        what = f"search, {count:,} faces"
        lacking = _lacking(count) if count >= 1_000_000 else ""
        if lacking or job.left_s() < count / 150_000:
            yield "missing", what, lacking or "out of time"
            continue
        try:
            ours = INDEXES.load("faiss-gpu")(_DIMENSION)
            ours.search(np.zeros((1, _DIMENSION), dtype=np.float32), 1)
        except BiometrikError as error:
            yield "missing", "search", str(error)
            return
        yield from _measured(job, count, ours)


def _measured(job: Job, count: int, ours: Index) -> Iterator[Told]:
    sizes = job.sizes
    bare = _Bare()
    most = max(*sizes.queries, sizes.checked)
    probes = draw_embeddings(1, range(most), samples=range(2, 3)).reshape(-1, _DIMENSION)
    brute = _BruteForce(probes[: sizes.checked])
    taken = {"faiss-gpu": 0.0, "bare": 0.0}
    memory = {"faiss-gpu": 0, "bare": 0}
    for start in range(0, count, sizes.block):
        first, subjects = start // _SAMPLES, sizes.block // _SAMPLES
        vectors = draw_embeddings(1, range(first, first + subjects), samples=range(_SAMPLES)).reshape(-1, _DIMENSION)
        ids = np.arange(start, start + len(vectors), dtype=np.int64)
        for name, add in (("faiss-gpu", partial(ours.add, ids, vectors)), ("bare", partial(bare.add, vectors))):
            before, begun = _used_bytes(), time.perf_counter()
            add()
            taken[name] += time.perf_counter() - begun
            memory[name] += _used_bytes() - before
        brute.add(ids, vectors)
        if start % (10 * sizes.block) == 0:
            yield "progress", f"{start + len(vectors):,} of {count:,} faces are in"
    for name, seconds in taken.items():
        yield "row", {"what": "fill", "index": name, "faces": count, "s": seconds, "gpu_bytes": memory[name]}
    yield "progress", "comparing with brute force"
    yield "row", {"what": "answers", "faces": count, "queries": sizes.checked, "different": brute.different(ours)}
    for batch in sizes.queries:
        asked = probes[:batch]
        for name, act in (("faiss-gpu", ours.search), ("bare", bare.search)):
            if job.left_s() < 2 * sizes.repeat_s:
                yield "missing", f"search, {count:,} faces, {name}, batch {batch}", "out of time"
                continue
            yield "progress", f"{count:,} faces, {name}, batch {batch}"
            row = job.timed(partial(act, asked, _COUNT))
            speed = 1e3 * batch / row["ms"][0]
            yield "row", {"what": "search", "index": name, "faces": count, "batch": batch, "per_s": speed, **row}
    half = np.arange(0, count, 2, dtype=np.int64)
    row = job.timed(lambda: ours.search(probes[:1], _COUNT, allowed=half))
    yield "row", {"what": "search of half", "index": "faiss-gpu", "faces": count, "batch": 1, **row}
    begun = time.perf_counter()
    for number in half[: min(_REMOVALS, len(half))]:
        ours.remove(np.array([number]))
    per = 1e3 * (time.perf_counter() - begun) / min(_REMOVALS, len(half))
    yield "row", {"what": "removal", "index": "faiss-gpu", "faces": count, "ms": [per, per, per]}


class _Bare:
    # FAISS' own index on a GPU, as its documentation has it.
    def __init__(self) -> None:
        import faiss

        tools: Any = faiss
        settings = tools.GpuIndexFlatConfig()
        settings.device = 0
        self._resources = tools.StandardGpuResources()
        self._index = tools.GpuIndexFlatIP(self._resources, _DIMENSION, settings)

    def add(self, vectors: NDArray[np.float32]) -> None:
        self._index.add(vectors)

    def search(self, queries: NDArray[np.float32], count: int) -> None:
        self._index.search(queries, count)


class _BruteForce:
    # The best of each query in float64, taken from the best float32 products of each block.
    def __init__(self, queries: NDArray[np.float32]) -> None:
        self._queries = queries
        self._ids: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64) for _ in queries]
        self._scores: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32) for _ in queries]

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        products = self._queries @ vectors.T
        near = np.argpartition(-products, min(_NEAR, len(vectors)) - 1, axis=1)[:, :_NEAR]
        for q, query in enumerate(self._queries.astype(np.float64)):
            rows = near[q]
            exact = np.einsum("nd,d->n", vectors[rows].astype(np.float64), query).astype(np.float32)
            numbers = np.concatenate([self._ids[q], ids[rows]])
            scores = np.concatenate([self._scores[q], exact])
            order = np.lexsort((numbers, -scores))[:_COUNT]
            self._ids[q], self._scores[q] = numbers[order], scores[order]

    def different(self, index: Index) -> int:
        ids, scores = index.search(self._queries, _COUNT)
        return sum(
            not (np.array_equal(ids[q], self._ids[q]) and np.array_equal(scores[q], self._scores[q]))
            for q in range(len(self._queries))
        )


def _lacking(count: int) -> str:
    # What keeps a size from being measured, "" if nothing.
    try:
        there = gpu.driver().gpus[0].memory_bytes
    except BiometrikError as error:
        return str(error)
    here = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    need_there, need_here = 2 * 4 * _DIMENSION * count + _TEMPORARY, _HERE * count
    for name, need, have in (("GPU", need_there, there), ("machine", need_here, here)):
        if have < need:
            return f"needs {need / 2**30:.0f} GiB of the {name}'s memory, there are {have / 2**30:.0f}"
    return ""


def _used_bytes() -> int:
    context = _cuda.current_context()
    free, total = context.get_memory_info()
    return int(total - free)
