"""How long anybody waits beside a copy of a database of a million SYNTHETIC faces, with cores idle and busy."""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np

from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.plots import longest_over_time
from benchmarks.render import table
from biometrik.config import EngineConfig, ModelParameters
from biometrik.engine import Engine
from biometrik.face.embedding import to_template
from biometrik.gallery.database import Database
from biometrik.gallery.database_file import sync_file
from biometrik.synthetic.faces import draw_embeddings
from biometrik.types import EncounterStatus, Template

TITLE = "Waiting beside a copy of the database"

_FACES: Final = 1_000_000
#: Calls a second, each kind by so many threads.
_LOAD: Final = {"enrolment": (100, 2), "update": (10, 1), "search": (10, 1)}
_BEFORE_S: Final = 40.0
_AFTER_S: Final = 5.0
_BAR_S: Final = 0.05
_BUSY: Final = 2
_SEED: Final = 20_262
#: Syncs another file on the same disk all the time: what it waits is the disk's doing. Tells (when, how long).
_SYNCS: Final = """
import json, os, sys, time
took = []
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
while os.getppid() == int(sys.argv[2]) and not os.path.exists(sys.argv[1] + ".end"):
    os.pwrite(descriptor, bytes(40_000), 40_000 * (len(took) % 1000))
    begun = time.perf_counter()
    os.fdatasync(descriptor)
    took.append((begun, time.perf_counter() - begun))
    time.sleep(0.02)
print(json.dumps(took))
"""

_COPY: Final = Database.copy

#: (when it began, seconds that it took)
_Waits = list[tuple[float, float]]


@dataclass(slots=True)
class _Turn:
    # What was seen of a copy: waits by kind, and when it began, ended reading the database, and ended.
    waits: dict[str, _Waits] = field(default_factory=dict)
    begun: float = 0.0
    copied: float = 0.0
    ended: float = 0.0
    log_bytes: int = 0


def run(options: Options) -> Result:
    """Copy the database beside enrolments, updates and searches, first with idle cores, then with busy ones."""
    source = options.cache / f"size-gallery-{_FACES}.db"
    if not source.exists():
        raise NotRunError(f"{source} is missing; run python -m benchmarks.size_gallery first, some minutes")
    config = EngineConfig(models=ModelParameters(cache=options.cache))
    with tempfile.TemporaryDirectory(dir=options.cache) as name:
        database = Path(name) / "office.db"
        shutil.copyfile(source, database)
        sync_file(database)
        index = source.with_name(f"{source.name}.index")
        if index.exists():
            shutil.copyfile(index, f"{database}.index")
        with Engine.open(database, config) as engine:
            if not index.exists():
                engine.keep_snapshot()
                shutil.copyfile(f"{database}.index", index)
            for thread in threading.enumerate():
                if thread.name == "biometrik-check":
                    thread.join()
            calls, folder = _Calls(engine), database.resolve().parent
            turns = {
                "idle cores": _turn(engine, calls, folder, busy=0),
                f"{_BUSY} busy threads": _turn(engine, calls, folder, busy=_BUSY),
            }
    figures = {label: _figures(turn) for label, turn in turns.items()}
    bars = tuple(
        Bar(f"longest {kind} beside a copy and just after, {label}", 1000 * _BAR_S, found["ms"]["copy"][kind][2], "ms")
        for label, found in figures.items()
        for kind in ("write", "search")
    )
    load = {kind: per_s for kind, (per_s, _) in _LOAD.items()}
    return Result({"faces": _FACES, "load": load, "before_s": _BEFORE_S, "after_s": _AFTER_S}, figures, bars)


def render(run: Mapping[str, Any], plots: Path) -> str:
    """Return tables and a picture."""
    figures, told = run["figures"], run["parameters"]
    rows = [
        [
            label,
            names,
            *(f"{median:.2f} / {most:.1f} / {longest:.0f}" for median, most, longest in waits.values()),
            "{}, {}".format(*found["long_writes"][names]),
        ]
        for label, found in figures.items()
        for names, waits in found["ms"].items()
    ]
    copies = [
        [
            label,
            f"{found['copying_s']:.1f}",
            f"{found['reading_s']:.0f}",
            f"{found['log_bytes'] / 1e6:.0f}",
            f"{found['first_write_ms']:.1f}",
        ]
        for label, found in figures.items()
    ]
    longest_over_time(
        {label: found["longest_write_ms"] for label, found in figures.items()},
        "longest write of each second; copying begins at 0",
        plots / "snapshot_writes.png",
    )
    load = told["load"]
    return f"""{load["enrolment"]} enrolments, {load["update"]} updates and {load["search"]} searches a second beside
`Engine.snapshot` of a database of {told["faces"]:,} SYNTHETIC faces, for {told["before_s"]:.0f} s before each,
while it is made, and for {told["after_s"]:.0f} s after; with idle cores, and beside threads that compute all the time
outside of the interpreter's lock. How long each call took, the median, the 99th percentile and the longest, in ms;
`sync` is the bare sync of another file on the same disk by another process, all the time: what the disk does. Long
writes took more than 50 ms; the second number is how many of them were made while such a sync took half as long or
more.

{table(["cores", "span", "a write", "a search", "a sync", "long writes"], rows)}

The database is read while it is copied; then the copy is synced and read to its last row. The log grows until the
copying ends.

{table(["cores", "copying, s", "reading the copy, s", "log, MB", "first write after copying, ms"], copies)}

![Longest writes](plots/snapshot_writes.png)
"""


class _Calls:
    # What is done all the time. Templates are drawn before.

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        vectors = draw_embeddings(_SEED, range(1000)).reshape(1000, -1)
        self._templates: list[Template] = [to_template(vector, engine.model_contract_id) for vector in vectors]
        self._numbers = itertools.count()
        self._updated = self._enrolled()
        self.search()

    def enrolment(self) -> None:
        self._enrolled()

    def update(self) -> None:
        active = next(self._numbers) % 2
        status = EncounterStatus.ACTIVE if active else EncounterStatus.INACTIVE
        self._engine.set_encounter_status(self._updated, status)

    def search(self) -> None:
        self._engine.identify([self._template(next(self._numbers))], max_fpir=None)

    def _enrolled(self) -> str:
        number = next(self._numbers)
        return self._engine.enroll(f"later-{number}", [self._template(number)]).encounter_id

    def _template(self, number: int) -> Template:
        return self._templates[number % len(self._templates)]


def _turn(engine: Engine, calls: _Calls, folder: Path, *, busy: int) -> _Turn:
    turn, done = _Turn(), threading.Event()

    def timed(database: Database, draft: Path) -> None:
        _COPY(database, draft)
        turn.copied = time.perf_counter()

    log = folder / "office.db-wal"
    copy = folder / "copy.db"
    threads = sum(count for _, count in _LOAD.values())
    with (
        _syncs(folder) as syncs,
        ThreadPoolExecutor(threads + busy + 1) as pool,
        patch.object(Database, "copy", timed),
    ):
        computing = [pool.submit(_compute, done) for _ in range(busy)]
        working = [
            (kind, pool.submit(_steadily, getattr(calls, kind), per_s / count, done))
            for kind, (per_s, count) in _LOAD.items()
            for _ in range(count)
        ]
        try:
            time.sleep(_BEFORE_S)
            turn.begun = time.perf_counter()
            copying = pool.submit(engine.snapshot, copy)
            while not copying.done():
                turn.log_bytes = max(turn.log_bytes, log.stat().st_size)
                time.sleep(0.02)
            copying.result()
            turn.ended = time.perf_counter()
            time.sleep(_AFTER_S)
        finally:
            done.set()
        for computed in computing:
            computed.result()
        for kind, worked in working:
            turn.waits.setdefault("search" if kind == "search" else "write", []).extend(worked.result())
    turn.waits["sync"] = syncs
    copy.unlink()
    return turn


def _figures(turn: _Turn) -> dict[str, Any]:
    last = turn.ended + _AFTER_S
    spans = {"nothing else": (0.0, turn.begun), "copy": (turn.begun, last)}
    writes = sorted(turn.waits["write"])
    seconds = range(-int(_BEFORE_S), int(last - turn.begun))
    return {
        "ms": {
            name: {kind: _quantiles(_within(waits, *span)) for kind, waits in turn.waits.items()}
            for name, span in spans.items()
        },
        "long_writes": {name: _long(_in(writes, *span), turn.waits["sync"]) for name, span in spans.items()},
        "copying_s": turn.copied - turn.begun,
        "reading_s": turn.ended - turn.copied,
        "log_bytes": turn.log_bytes,
        "first_write_ms": 1000 * next(took for at, took in writes if at > turn.copied),
        "longest_write_ms": [
            [second, round(1000 * max(_within(writes, turn.begun + second, turn.begun + second + 1), default=0.0), 1)]
            for second in seconds
        ],
    }


def _in(waits: _Waits, start: float, stop: float) -> _Waits:
    return [(at, took) for at, took in waits if start <= at < stop]


def _within(waits: _Waits, start: float, stop: float) -> list[float]:
    return [took for _, took in _in(waits, start, stop)]


def _long(writes: _Waits, syncs: _Waits) -> tuple[int, int]:
    # How many there are, and how many of them with the disk as slow for others.
    found = [(at, took) for at, took in writes if took > _BAR_S]
    slow = [any(s < at + took and at < s + t and 2 * t >= took for s, t in syncs) for at, took in found]
    return len(found), sum(slow)


def _quantiles(waits: list[float]) -> list[float]:
    return [1000 * float(np.quantile(waits, share)) for share in (0.5, 0.99, 1.0)]


@contextmanager
def _syncs(folder: Path) -> Iterator[_Waits]:
    # Fills what it gives when it ends.
    found: _Waits = []
    file = folder / "syncs"
    command = [sys.executable, "-c", _SYNCS, str(file), str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/", text=True) as process:
        try:
            yield found
        finally:
            end = file.with_name("syncs.end")
            end.touch()
            told, _ = process.communicate()
            end.unlink()
    found += map(tuple, json.loads(told))


def _compute(done: threading.Event) -> None:
    data = bytes(2_000_000)
    while not done.is_set():
        hashlib.sha256(data).digest()


def _steadily(act: Callable[[], None], per_s: float, done: threading.Event) -> _Waits:
    took: _Waits = []
    begun = time.perf_counter()
    while not done.is_set():
        before = time.perf_counter()
        act()
        took.append((before, time.perf_counter() - before))
        done.wait(max(0.0, begun + len(took) / per_s - time.perf_counter()))
    return took
