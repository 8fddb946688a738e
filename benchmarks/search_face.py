"""Exact search of a million SYNTHETIC faces: time, answers, memory and writes, beside a flat FAISS index."""

import ctypes
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks import brute_force
from benchmarks.history import Bar, Result
from benchmarks.options import Options
from benchmarks.plots import durations, throughput
from benchmarks.race import quartiles, ratios
from benchmarks.render import table
from biometrik.gallery.index import INDEXES, Index
from biometrik.synthetic.faces import draw_embeddings

TITLE = "Face search speed"

_FACES: Final = 1_000_000
_DIMENSION: Final = 128
_SAMPLES: Final = 2  # of each subject in the gallery; the probes are third ones
_BLOCK: Final = 31_250
_COUNT: Final = 10
_CHECKED: Final = 10_000
_BATCHES: Final = (1, 8, 32)
_ROUNDS: Final = 7
_WRITES_PER_S: Final = 200
_TURN_S: Final = 1.0
_TURNS: Final = 11
_WRITES_A_ROUND: Final = 100
#: FAISS moves all that is behind a gap: the time of one removal says where it was, the median of ten what they take.
_REMOVED_EVERY: Final = 10
_CALLERS: Final = 8
#: What a scan reads of a row: codes, a scale; of 32 rows: two bounds and which are in use.
_READ_BYTES: Final = _DIMENSION + 4 + 12 / 32


def run(_options: Options) -> Result:
    """Time searches in turns on one core, compare the answers, then time writes and searches beside them."""
    reference, ours, growth, build_s = _filled()
    cores = os.sched_getaffinity(0)
    probes = draw_embeddings(1, range(_CHECKED), samples=range(2, 3)).reshape(-1, _DIMENSION)
    times = _raced(reference, ours, probes)
    rooms = {batch: ratios(times[f"int8-certified, {batch}"], times[f"FAISS, {batch}"]) for batch in _BATCHES}
    shares = quartiles([p / s for p, s in zip(times["memory probe"], times["int8-certified, 1"], strict=True)])
    os.sched_setaffinity(0, cores)
    different = _different(reference, ours, probes)
    writes = _write_times(reference, ours)
    removals = ratios(writes["removal"], writes["FAISS remove_ids"])
    updates = ratios(writes["update"], writes["FAISS remove_ids"])
    beside, waits = _beside(ours, probes)
    together = _together(ours, probes)
    figures = {
        "ms": {name: [1000 * q for q in quartiles(found)] for name, found in times.items()},
        "times": {str(batch): found for batch, found in rooms.items()},
        "bandwidth": shares,
        "different": different,
        "growth": growth,
        "build_s": build_s,
        "writes_ms": {name: [1000 * q for q in quartiles(found)] for name, found in writes.items()},
        "beside": beside,
        "writes_per_s": len(waits) / (_TURNS * _TURN_S),
        "waits_ms": {str(share): 1000 * float(np.quantile(waits, share)) for share in (0.5, 0.99, 1.0)},
        "together": together,
    }
    least = min(rooms[8], rooms[32])
    bars = (
        Bar("times bare IndexFlatIP per core, batch 8 and 32", 20.0, least[0], "", False, least[1], least[2]),
        Bar("times bare IndexFlatIP per core, batch 1", 3.5, rooms[1][0], "", False, rooms[1][1], rooms[1][2]),
        Bar("speed of reading memory reached at batch 1", 0.85, shares[0], "", False, shares[1], shares[2]),
        Bar(f"queries of {_CHECKED:,} with other answers than brute force", 0, different),
        Bar("memory for each face in the index", 800, growth, "bytes"),
        Bar("removal, times remove_ids", 1000, removals[0], "", False, removals[1], removals[2]),
        Bar("update, times remove_ids", 1000, updates[0], "", False, updates[1], updates[2]),
        Bar(
            f"searches beside {_WRITES_PER_S} writes a second, of those alone",
            0.85,
            beside[0],
            "",
            False,
            beside[1],
            beside[2],
        ),
        Bar("longest write beside searches", 50, 1000 * max(waits), "ms"),
    )
    parameters = {"faces": _FACES, "dimension": _DIMENSION, "count": _COUNT, "queries": _CHECKED, "rounds": _ROUNDS}
    return Result(parameters, figures, bars)


def render(run: Mapping[str, Any], plots: Path) -> str:
    """Return tables and a picture."""
    figures, told = run["figures"], run["parameters"]
    durations(figures["ms"], f"one query among {told['faces']:,}, one core", plots / "face_search.png")
    over_batches = {
        name: {batch: figures["ms"][f"{name}, {batch}"] for batch in _BATCHES} for name in ("FAISS", "int8-certified")
    }
    throughput(over_batches, f"searches among {told['faces']:,}, one core", plots / "face_search_batches.png")
    rows = [
        [name, f"{middle:.3f} ({low:.3f} – {high:.3f})", f"{1000 / middle:,.0f}"]
        for name, (middle, low, high) in figures["ms"].items()
    ]
    written = [
        [name, f"{middle:.4f} ({low:.4f} – {high:.4f})"] for name, (middle, low, high) in figures["writes_ms"].items()
    ]
    waits, together = figures["waits_ms"], figures["together"]
    return f"""{told["faces"]:,} SYNTHETIC embeddings of {told["dimension"]} dimensions, {_SAMPLES} of each subject
(`biometrik.synthetic`), the best {told["count"]}. Processor time for a query at each batch size, median (quartiles) of
{told["rounds"]} rounds in turns on one core; the number behind a name is the batch. FAISS is a bare `IndexFlatIP` on
one thread. The memory probe sums as many bytes as a
scan reads.

{table(["what", "ms a query", "each second"], rows)}

![Time of a query](plots/face_search.png)
![Queries a second over batches](plots/face_search_batches.png)

One vector at a time among {told["faces"]:,}, medians of {_WRITES_A_ROUND} in each of {told["rounds"]} rounds in turns
with FAISS' own removal, of which each round has {_WRITES_A_ROUND // _REMOVED_EVERY}, at places anywhere:

{table(["what", "ms"], written)}

Beside searches at batch 8 without a pause, {figures["writes_per_s"]:.0f} updates a second took
{waits["0.5"]:.2f} ms in the median, {waits["0.99"]:.2f} ms at the 99th percentile and {waits["1.0"]:.1f} ms at most.
{_CALLERS} threads that search for one face at a time share scans: together they had {together[0]:.1f}
({together[1]:.1f} – {together[2]:.1f}) times the answers of one thread alone.

Filling the index took {figures["build_s"]:.1f} s. Memory is the growth of the process' anonymous memory by the index
alone, without the names and galleries that an engine keeps of each face.
"""


def _filled() -> tuple[Any, Index, float, float]:
    # A bare FAISS index and ours, bytes of anonymous memory that each face took in ours, and the seconds to fill it.
    kind = INDEXES.load("int8-certified")
    kind(_DIMENSION).add(np.zeros(1, dtype=np.int64), np.ones((1, _DIMENSION), dtype=np.float32))  # compiles
    reference, ours = faiss.IndexFlatIP(_DIMENSION), kind(_DIMENSION)
    subjects = _BLOCK // _SAMPLES
    growth, build_s = 0, 0.0
    for start in range(0, _FACES, _BLOCK):
        first = start // _SAMPLES
        vectors = draw_embeddings(1, range(first, first + subjects), samples=range(_SAMPLES)).reshape(-1, _DIMENSION)
        reference.add(vectors)
        ids = np.arange(start, start + _BLOCK, dtype=np.int64)
        before, begun = _anonymous_bytes(), time.perf_counter()
        ours.add(ids, vectors)
        build_s += time.perf_counter() - begun
        growth += _anonymous_bytes() - before
    return reference, ours, growth / _FACES, build_s


def _anonymous_bytes() -> int:
    ctypes.CDLL(None).malloc_trim(0)  # else freed memory of the drawing would be used again, and seem to be none
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status: expected RssAnon")


def _raced(reference: Any, ours: Index, probes: NDArray[np.float32]) -> dict[str, list[float]]:
    # CPU seconds a query, round by round, all on one core.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    faiss.omp_set_num_threads(1)
    memory = np.ones(round(_FACES * _READ_BYTES) // 8, dtype=np.int64)
    times: dict[str, list[float]] = {}

    def timed(name: str, queries: int, act: Callable[[], object]) -> None:
        begun = time.process_time()
        act()
        times.setdefault(name, []).append((time.process_time() - begun) / queries)

    for turn in range(_ROUNDS + 1):
        for batch in _BATCHES:
            asked = probes[turn * batch : (turn + 1) * batch]
            timed(f"FAISS, {batch}", batch, partial(reference.search, asked, _COUNT))
            timed(f"int8-certified, {batch}", batch, partial(ours.search, asked, _COUNT))
            if batch == 1:
                timed("memory probe", 1, partial(_sum, memory))
        if turn == 0:
            times.clear()  # warm-up
    return times


@njit(nogil=True)
def _sum(values: NDArray[np.int64]) -> int:
    total = 0
    for value in values:
        total += value
    return total


def _different(reference: Any, ours: Index, probes: NDArray[np.float32]) -> int:
    vectors = faiss.rev_swig_ptr(reference.get_xb(), reference.ntotal * _DIMENSION).reshape(-1, _DIMENSION)
    answers = [ours.search(probes[start : start + 1000], _COUNT) for start in range(0, len(probes), 1000)]
    ids, similarities = (np.concatenate(part) for part in zip(*answers, strict=True))
    different = 0
    for q, (rows, exact) in enumerate(brute_force.near(vectors, probes, similarities[:, -1])):
        order = np.lexsort((rows, -exact))[:_COUNT]
        different += not (np.array_equal(rows[order], ids[q]) and np.array_equal(exact[order], similarities[q]))
    return different


def _write_times(reference: Any, ours: Index) -> dict[str, list[float]]:
    # Seconds, round by round: medians of a removal and of an update, a removal and an addition; FAISS' own removal.
    rng = np.random.default_rng(9)
    picks = rng.choice(_FACES, (_ROUNDS, _WRITES_A_ROUND), replace=False).astype(np.int64)
    vectors = draw_embeddings(2, range(_WRITES_A_ROUND)).reshape(-1, _DIMENSION)
    found: dict[str, list[float]] = {"removal": [], "update": [], "FAISS remove_ids": []}
    for own in picks:
        removal, update = [], []
        for n in range(_WRITES_A_ROUND):
            one, vector = own[n : n + 1], vectors[n : n + 1]
            begun = time.perf_counter()
            ours.remove(one)
            between = time.perf_counter()
            ours.add(one, vector)
            update.append(time.perf_counter() - begun)
            removal.append(between - begun)
        removed = []
        for one in own[::_REMOVED_EVERY]:
            begun = time.perf_counter()
            reference.remove_ids(one[None])
            removed.append(time.perf_counter() - begun)
        found["FAISS remove_ids"].append(float(np.median(removed)))
        found["removal"].append(float(np.median(removal)))
        found["update"].append(float(np.median(update)))
    return found


def _beside(ours: Index, probes: NDArray[np.float32]) -> tuple[tuple[float, float, float], list[float]]:
    # Throughput of one thread's searches at batch 8 beside steady updates, as a share of that without, in turns; and
    # the seconds that each update took.
    vectors = draw_embeddings(3, range(1000)).reshape(-1, _DIMENSION)
    shares, waits = [], []
    for _ in range(_TURNS):
        alone = _searches(ours, probes, 8)
        done = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(_write_steadily, ours, vectors, done)
            shares.append(_searches(ours, probes, 8) / alone)
            done.set()
            waits += writing.result()
    return quartiles(shares), waits


def _together(ours: Index, probes: NDArray[np.float32]) -> tuple[float, float, float]:
    # Answers of some threads that search for one face at a time, as a multiple of those of one thread, in turns.
    found = []
    for _ in range(_TURNS):
        alone = _searches(ours, probes, 1)
        with ThreadPoolExecutor(_CALLERS) as pool:
            callers = [pool.submit(_searches, ours, probes[n::_CALLERS], 1) for n in range(_CALLERS)]
            found.append(sum(caller.result() for caller in callers) / alone)
    return quartiles(found)


def _searches(ours: Index, probes: NDArray[np.float32], batch: int) -> int:
    count, end = 0, time.perf_counter() + _TURN_S
    while time.perf_counter() < end:
        start = batch * (count % (len(probes) // batch))
        ours.search(probes[start : start + batch], _COUNT)
        count += 1
    return count


def _write_steadily(ours: Index, vectors: NDArray[np.float32], done: threading.Event) -> list[float]:
    took: list[float] = []
    begun = time.perf_counter()
    while not done.is_set():
        one = np.array([len(took) % _FACES], dtype=np.int64)
        before = time.perf_counter()
        ours.remove(one)
        ours.add(one, vectors[len(took) % len(vectors)][None])
        took.append(time.perf_counter() - before)
        done.wait(max(0.0, begun + len(took) / _WRITES_PER_S - time.perf_counter()))
    return took
