"""How long anybody waits while a gallery of a million SYNTHETIC faces grows, shrinks or loses a part of itself."""

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np

from benchmarks.history import Bar, Result
from benchmarks.options import Options
from benchmarks.plots import durations
from benchmarks.render import table
from biometrik.features import Features
from biometrik.gallery import roster
from biometrik.gallery.index import INDEXES
from biometrik.gallery.members import shown_by
from biometrik.gallery.prints import Comparator, PrintIndex
from biometrik.gallery.records import Change
from biometrik.gallery.roster import PAGE, Page, packed
from biometrik.gallery.searching import Searchable
from biometrik.gallery.snapshot import Block, Origin
from biometrik.types import FACE, Encounter, EncounterStatus

TITLE = "Waiting while a gallery changes"

_DIMENSION: Final = 128
#: Sizes where what a gallery keeps is made larger: arrays by slot and number, the table of ids, that of subjects.
_GROWTHS: Final = {"arrays": 1_024_000, "ids": 1 << 20, "subjects": 5 << 18}
_BEFORE: Final = 300  # faces that are left to such a size when writes begin
_WRITES_PER_S: Final = 200
_SEARCHES_PER_S: Final = 20
_SPAN_S: Final = 4.0
_ERASED: Final = 100_000
_GALLERIES: Final = ("default", "trip")
_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_FACE: Final = shown_by(Features(np.zeros(1, dtype=np.float32)))


def run(_options: Options) -> Result:
    """Write and search steadily, alone and while each of these happens."""
    office = _Office()
    spans: dict[str, dict[str, list[float]]] = {}
    for what, size in _GROWTHS.items():
        office.fill(size - _BEFORE)
        spans[f"growth of {what} at {size:,}"] = office.beside(partial(time.sleep, _SPAN_S))
    faces = len(office.searchable)
    spans["nothing else"] = office.beside(partial(time.sleep, _SPAN_S))
    spans["search of one gallery, half of all"] = office.beside(partial(time.sleep, _SPAN_S), ("trip",))
    spans[f"erasure of {_ERASED:,} subjects, one by one"] = office.beside(office.erase)
    deleted = faces - office.searchable.count(("default",))
    begun = time.perf_counter()
    spans["deletion of a gallery with half of all"] = office.beside(office.delete)
    delete_s = time.perf_counter() - begun
    longest = {kind: max(max(span[kind]) for span in spans.values()) for kind in ("write", "search")}
    figures = {
        "ms": {
            name: {
                kind: [1000 * float(np.quantile(waits, share)) for share in (0.5, 0.99, 1.0)]
                for kind, waits in span.items()
            }
            for name, span in spans.items()
        },
        "delete_s": delete_s,
        "deleted": deleted,
    }
    bars = (
        Bar("longest write", 50, 1000 * longest["write"], "ms"),
        Bar("longest search", 50, 1000 * longest["search"], "ms"),
    )
    return Result({"faces": faces, "writes_per_s": _WRITES_PER_S, "searches_per_s": _SEARCHES_PER_S}, figures, bars)


def render(run: Mapping[str, Any], plots: Path) -> str:
    """Return a table and a picture."""
    figures, told = run["figures"], run["parameters"]
    rows = [
        [name, *(f"{median:.2f} / {most:.0f} / {longest:.0f}" for median, most, longest in found.values())]
        for name, found in figures["ms"].items()
    ]
    longest = {name: [found["write"][2]] * 3 for name, found in figures["ms"].items()}
    durations(longest, "the longest write", plots / "gallery_changes.png")
    return f"""{told["writes_per_s"]} enrolments and {told["searches_per_s"]} searches a second beside what happens to
{told["faces"]:,} SYNTHETIC faces (random unit vectors of {_DIMENSION} dimensions) in memory, without the database: how
long each waited, the median, the 99th percentile and the longest, in ms. Half of the faces are in a gallery of their
own, which is deleted at the end: {figures["deleted"]:,} faces were forgotten within {figures["delete_s"]:.0f} s.

{table(["meanwhile", "a write", "a search"], rows)}

![Longest write](plots/gallery_changes.png)
"""


class _Office:
    # What is searched, and the numbers and events given out so far.

    def __init__(self) -> None:
        index = INDEXES.load("int8-certified")(_DIMENSION)
        index.warm_up()
        roster.warm_up()
        self.searchable = Searchable(index, PrintIndex(_comparator, 0))
        self._rng = np.random.default_rng(1)
        self._numbers = itertools.count()
        self._turn = threading.Lock()  # events come in their order, as from the store
        self._events = itertools.count(1)

    def fill(self, faces: int) -> None:
        """Have so many faces."""
        first = -(-next(self._numbers) // PAGE) * PAGE
        stop = first + faces - len(self.searchable)
        origin = Origin("", False, _DIMENSION, next(self._events), "", 0, _GALLERIES, {})
        pages = (range(start, min(start + PAGE, stop)) for start in range(first, stop, PAGE))
        self.searchable.restore(origin, map(self._block, pages))
        self._numbers = itertools.count(stop)

    def _block(self, page: range) -> Block:
        numbers = np.arange(page.start, page.stop, dtype=np.int64)
        vectors = self._rng.standard_normal((len(numbers), _DIMENSION), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        texts = [packed(f"subject-{number}") + packed(self._rng.bytes(16).hex()) for number in numbers.tolist()]
        at = np.cumsum([0, *map(len, texts)], dtype=np.uint32)[:-1]
        kinds = [((name,), _FACE) for name in _GALLERIES]
        return Block(Page(numbers, (numbers % 2).astype(np.uint32), at, b"".join(texts)), kinds, numbers, vectors)

    def beside(self, act: Callable[[], None], galleries: tuple[str, ...] | None = None) -> dict[str, list[float]]:
        """Return the seconds that each write and search took beside an act."""
        done = threading.Event()
        with ThreadPoolExecutor(2) as pool:
            writing = pool.submit(_steadily, self._write, _WRITES_PER_S, done)
            searching = pool.submit(_steadily, partial(self._search, galleries), _SEARCHES_PER_S, done)
            try:
                act()
            finally:
                done.set()
            return {"write": writing.result(), "search": searching.result()}

    def _write(self) -> None:
        number = next(self._numbers)
        encounter_id = UUID(int=number, version=4).hex
        encounter = Encounter(
            encounter_id, f"subject-{number}", EncounterStatus.ACTIVE, ("default",), _AT, 1, (FACE,), ()
        )
        features = Features(_vector(number))
        with self._turn:
            self.searchable.take_in(Change(next(self._events), number, encounter), features)

    def _search(self, galleries: tuple[str, ...] | None) -> None:
        probe = Features(_vector(int(time.perf_counter_ns())))
        self.searchable.search([probe], 10, galleries, "", lambda similar, _: similar[FACE].astype(np.float64))

    def erase(self) -> None:
        """Erase every eighth subject or so, one after the other."""
        for number in range(PAGE, PAGE + 8 * _ERASED, 8):
            with self._turn:
                self.searchable.forget_subject(f"subject-{number}", next(self._events))
            time.sleep(0)  # gives way to others, as a store does while it writes

    def delete(self) -> None:
        """Delete the gallery that half of all are in."""
        with self._turn:
            self.searchable.remove_gallery("trip", next(self._events))
        self.searchable.tidy()


def _comparator() -> Comparator:
    raise RuntimeError("prints: expected none")


def _vector(seed: int) -> Any:
    vector = np.random.default_rng(seed).standard_normal(_DIMENSION, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def _steadily(act: Callable[[], None], per_s: int, done: threading.Event) -> list[float]:
    took: list[float] = []
    begun = time.perf_counter()
    while not done.is_set():
        before = time.perf_counter()
        act()
        took.append(time.perf_counter() - before)
        done.wait(max(0.0, begun + len(took) / per_s - time.perf_counter()))
    return took
