"""Durable enrolment of ready templates by many callers, in turns with bare SQLite that commits the same tables.

A third in turn is the floor: as many threads as there are callers, which only ask one writing thread to commit rows
that are ready, and wait for it. It has neither templates nor checks, ids, an index or answers: what it costs over bare
SQLite, every engine pays that gives each caller a thread of one interpreter. A fourth, the bearing floor, also does
what no engine can leave undone for a template that it is to keep and to answer again, in as few lines as it takes. A
fifth does that in one thread, without any hand-over.
"""

import hashlib
import json
import math
import queue
import sqlite3
import statistics
import tempfile
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from benchmarks import plots
from benchmarks.history import Bar, Result
from benchmarks.options import Options
from benchmarks.race import quartiles
from benchmarks.render import table
from biometrik.config import EngineConfig, ModelParameters
from biometrik.engine import Engine
from biometrik.gallery.database import Database
from biometrik.gallery.stores.sqlite import SqliteStore
from biometrik.types import Modality, RequestContext, Template

TITLE = "Durable enrolment"

T = TypeVar("T")

_SEED: Final = 2026
_CALLERS: Final = 32
#: Rows that bare SQLite commits together.
_GROUP: Final = 16
#: Enrolments a caller and round.
_EACH: Final = 16
#: What is injected into each sync, seconds, and rounds and enrolments of the lone caller with it.
_DELAY_S: Final = 0.005
_DELAYED_ROUNDS: Final = 5
_ALONE: Final = 48
#: What the picture calls those that take turns.
_LABELS: Final = {
    "bare": "bare SQLite",
    "floor": "floor",
    "alone": "alone",
    "bearing": "bearing floor",
    "engine": "engine",
}
_TABLES: Final = {
    "subjects": 3,
    "encounters": 9,
    "encounter_galleries": 3,
    "templates": 2,
    "encounter_templates": 5,
    "events": 7,
    "transactions": 4,
}


def run(options: Options) -> Result:
    """Enrol with many callers, write the same rows bare and by the floor; then enrol on a slow disk, many and one."""
    config = EngineConfig(models=ModelParameters(cache=options.cache))
    rates: dict[str, list[float]] = {
        "engine": [],
        "bare": [],
        "floor": [],
        "bearing": [],
        "alone": [],
        "one": [],
        "many": [],
    }
    groups: list[float] = []
    # Beside the repository and not in the folder for temporary files, which may be in memory.
    with tempfile.TemporaryDirectory(dir=options.cache.parent, prefix=".speed_enrollment-") as made:
        folder = Path(made)
        with (
            Engine.open(folder / "office.db", config) as engine,
            _bare(folder / "bare.db") as bare,
            _bare(folder / "floor.db") as floor,
            _bare(folder / "bearing.db") as bearing,
            _bare(folder / "alone.db") as alone,
        ):
            draw = _Templates(engine.model_contract_id)
            size = _CALLERS * _EACH
            _enroll(engine, draw, _CALLERS, 2)  # warms up
            rows = _rows(engine, draw, size)
            contestants: Mapping[str, Callable[[Rows], float]] = {
                "engine": lambda _rows: _enroll(engine, draw, _CALLERS, _EACH),
                "bare": lambda rows: _write(bare, rows),
                "floor": lambda rows: _hand_over(floor, rows),
                "bearing": lambda _rows: _bear(bearing, draw(size)),
                "alone": lambda _rows: _bear_alone(alone, draw(size)),
            }
            names = list(contestants)
            for turn in range(options.rounds):
                for name in (names[turn % len(names) :] + names)[: len(names)]:
                    rates[name].append(size / contestants[name](rows))
                rows = _renumbered(rows, size)
            with _slow_disk(engine) as commits:
                for _ in range(_DELAYED_ROUNDS):
                    rates["one"].append(_ALONE / _enroll(engine, draw, 1, _ALONE))
                    before = len(commits)
                    rates["many"].append(size / _enroll(engine, draw, _CALLERS, _EACH))
                    groups.append(size / (len(commits) - before))
    return _result(rates, groups)


def render(run: Mapping[str, Any], folder: Path) -> str:
    """Return a table of rates, and a picture of those in turns."""
    figures, given = run["figures"], run["parameters"]
    names = {
        "engine": f"`Engine.enroll`, {given['callers']} callers",
        "bare": f"bare SQLite, the same tables, {given['group']} rows a commit",
        "floor": f"{given['callers']} threads that hand ready rows to one that commits them",
        "bearing": "the same, with what no engine can leave undone",
        "alone": f"that, by one thread without a hand-over, {given['group']} rows a commit",
        "one": f"`Engine.enroll`, one caller, {1e3 * given['delay_s']:g} ms more a sync",
        "many": f"`Engine.enroll`, {given['callers']} callers, {1e3 * given['delay_s']:g} ms more a sync",
    }
    rates = figures["rates"]
    shown = {label: rates[name] for name, label in _LABELS.items() if name in rates}
    plots.rates(shown, "enrolments a second", TITLE, folder / "speed_enrollment.png")
    rows = [[what, "{:,.0f} ({:,.0f} – {:,.0f})".format(*rates[name])] for name, what in names.items() if name in rates]
    return f"""One ready face template each, with a transaction id; acknowledged means synced and findable. The engine
and bare SQLite take turns in one process on one disk, {given["each"] * given["callers"]} enrolments a turn. Enrolments
a second, median (quartiles):

{table(["what", "enrolments a second"], rows)}

Of each pair of turns, the engine's rate is {figures["ratio"][0]:.2f} ({figures["ratio"][1]:.2f} –
{figures["ratio"][2]:.2f}) of the bare one's.{_of_floor(figures)}
With the slow sync, {figures["group"]:.1f} enrolments share one.

![Enrolments a second](plots/speed_enrollment.png)
"""


def _of_floor(figures: Mapping[str, Any]) -> str:
    if "floor" not in figures:  # a record from before there was one
        return ""
    floor, engine = (f"{row[0]:.2f} ({row[1]:.2f} – {row[2]:.2f})" for row in (figures["floor"], figures["of_floor"]))
    said = (
        f" The\nthreads that hand over rows, and do nothing else, reach {floor} of it; with that the\nhand-over alone"
        f" costs what lies between. The engine's rate is {engine} of theirs."
    )
    if "bearing" in figures:
        bearing, alone, own = (
            "{:.2f} ({:.2f} – {:.2f})".format(*figures[name]) for name in ("bearing", "alone", "of_bearing")
        )
        said += (
            "\nThreads that also do what no engine can leave undone (serial form and check of the template, digest, id,"
            f"\ntime, event and answer as JSON, checksums of rows) reach {bearing} of bare SQLite, and one thread"
            f"\nthat does it without a hand-over {alone}. The engine's rate is {own} of the former."
        )
    return said


def _result(rates: Mapping[str, Sequence[float]], groups: Sequence[float]) -> Result:
    def of(name: str, other: str) -> tuple[float, float, float]:
        return quartiles([one / two for one, two in zip(rates[name], rates[other], strict=True)])

    ratio, gain = of("engine", "bare"), of("many", "one")
    figures = {
        "rates": {name: list(quartiles(list(values))) for name, values in rates.items()},
        "ratio": list(ratio),
        "floor": list(of("floor", "bare")),
        "of_floor": list(of("engine", "floor")),
        "bearing": list(of("bearing", "bare")),
        "alone": list(of("alone", "bare")),
        "of_bearing": list(of("engine", "bearing")),
        "gain": list(gain),
        "group": statistics.median(groups),
    }
    bars = (
        Bar("32 callers, to bare SQLite in groups of 16", 0.7, ratio[0], at_most=False, low=ratio[1], high=ratio[2]),
        Bar("32 callers, to one, 5 ms more a sync", 8.0, gain[0], at_most=False, low=gain[1], high=gain[2]),
    )
    parameters = {
        "seed": _SEED,
        "callers": _CALLERS,
        "each": _EACH,
        "group": _GROUP,
        "rounds": len(rates["engine"]),
        "delay_s": _DELAY_S,
    }
    return Result(parameters, figures, bars)


class _Templates:
    # Unit vectors in any direction, each with an id that no other has.

    def __init__(self, contract_id: str) -> None:
        self._rng = np.random.default_rng(_SEED)
        self._contract_id = contract_id
        self._given = 0

    def __call__(self, count: int) -> list[tuple[str, Template]]:
        vectors = self._rng.standard_normal((count, 128))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self._given += count
        return [
            (f"S-{number}", Template(Modality.FACE, self._contract_id, vector.astype("<f4").tobytes()))
            for number, vector in enumerate(vectors, start=self._given - count)
        ]


def _enroll(engine: Engine, draw: _Templates, callers: int, each: int) -> float:
    # Seconds from the first call to the last answer.
    people = [draw(each) for _ in range(callers)]
    start_together = threading.Barrier(callers + 1)

    def work(own: Sequence[tuple[str, Template]]) -> None:
        start_together.wait()
        for subject_id, template in own:
            context = RequestContext(transaction_id=f"t-{subject_id}", station_ref="gate 4")
            engine.enroll(subject_id, [template], context=context)

    threads = [threading.Thread(target=work, args=(own,)) for own in people]
    for thread in threads:
        thread.start()
    start_together.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


Rows = dict[str, list[tuple[Any, ...]]]


def _rows(engine: Engine, draw: _Templates, count: int) -> Rows:
    # The rows of so many enrolments, as the engine writes them.
    people = draw(count)
    for subject_id, template in people[:_GROUP]:
        context = RequestContext(transaction_id=f"t-{subject_id}", station_ref="gate 4")
        engine.enroll(subject_id, [template], context=context)
    with _database(engine).reading() as connection:
        newest = {
            name: connection.execute(
                f"SELECT * FROM {name} ORDER BY {'encounter' if name == 'encounter_templates' else 'rowid'} DESC"
                f" LIMIT {_GROUP}"
            ).fetchall()[::-1]
            for name in _TABLES
        }
    return _renumbered({name: rows * (count // _GROUP) for name, rows in newest.items()}, count)


def _renumbered(rows: Rows, count: int) -> Rows:
    # The same rows under ids and numbers that are not in the bare file yet.
    first = 1 + (rows["encounters"][-1][0] if len({row[0] for row in rows["encounters"]}) == count else 0)
    numbers = range(first, first + count)
    return {
        "subjects": [(f"S-{n}", *row[1:]) for n, row in zip(numbers, rows["subjects"], strict=True)],
        "encounters": [
            (n, f"{n:032x}", f"S-{n}", *row[3:]) for n, row in zip(numbers, rows["encounters"], strict=True)
        ],
        "encounter_galleries": [(n, *row[1:]) for n, row in zip(numbers, rows["encounter_galleries"], strict=True)],
        "templates": [(n, *row[1:]) for n, row in zip(numbers, rows["templates"], strict=True)],
        "encounter_templates": [
            (n, 0, n, *row[3:]) for n, row in zip(numbers, rows["encounter_templates"], strict=True)
        ],
        "events": [(n + 1, *row[1:]) for n, row in zip(numbers, rows["events"], strict=True)],
        "transactions": [(f"t-{n}", *row[1:]) for n, row in zip(numbers, rows["transactions"], strict=True)],
    }


def _write(bare: sqlite3.Connection, rows: Rows) -> float:
    start = time.perf_counter()
    for first in range(0, len(rows["subjects"]), _GROUP):
        _commit(bare, rows, first, first + _GROUP)
    return time.perf_counter() - start


def _commit(bare: sqlite3.Connection, rows: Rows, first: int, last: int) -> None:
    bare.execute("BEGIN IMMEDIATE")
    for name, columns in _TABLES.items():
        places = ", ".join("?" * columns)
        bare.executemany(f"INSERT INTO {name} VALUES ({places})", rows[name][first:last])
    bare.execute("COMMIT")


def _hand_over(bare: sqlite3.Connection, rows: Rows) -> float:
    return _asked(
        len(rows["subjects"]),
        lambda _: None,
        lambda done, group: _commit(bare, rows, done, done + len(group)),
    )


def _bear(bare: sqlite3.Connection, people: Sequence[tuple[str, Template]]) -> float:
    first = _next_number(bare)
    return _asked(
        len(people),
        lambda n: _borne(*people[n]),
        lambda done, group: _commit(bare, _rows_of(first + done, group), 0, len(group)),
    )


def _bear_alone(bare: sqlite3.Connection, people: Sequence[tuple[str, Template]]) -> float:
    first = _next_number(bare)
    start = time.perf_counter()
    for done in range(0, len(people), _GROUP):
        _commit(bare, _rows_of(first + done, [_borne(*row) for row in people[done : done + _GROUP]]), 0, _GROUP)
    return time.perf_counter() - start


def _next_number(bare: sqlite3.Connection) -> int:
    return int(bare.execute("SELECT coalesce(max(number), 0) + 1 FROM encounters").fetchone()[0])


def _borne(subject_id: str, template: Template) -> tuple[str, bytes, str, str, str]:
    # What a caller's thread has to do: refuse what is no vector of length 1, and make digest, id and time.
    vector = np.frombuffer(template.payload, dtype="<f4")
    length = float(vector @ vector)
    assert math.isfinite(length)
    assert length < 1.001
    sealed = template.to_bytes()
    digest = hashlib.sha256(subject_id.encode() + sealed).hexdigest()
    return subject_id, sealed, digest, uuid.uuid4().hex, datetime.now(UTC).isoformat(timespec="microseconds")


def _rows_of(first: int, group: Sequence[tuple[str, bytes, str, str, str]]) -> Rows:
    # What can only be made by who numbers the rows: them, their checksums, events and answers.
    rows: Rows = {name: [] for name in _TABLES}
    for n, (subject_id, sealed, digest, encounter_id, at) in enumerate(group, start=first):
        details = json.dumps({"station_ref": "gate 4", "galleries": '["default"]', "templates": "1"})
        encounter = {
            "encounter_id": encounter_id,
            "subject_id": subject_id,
            "status": "ACTIVE",
            "galleries": ["default"],
            "created_at": at,
            "templates": 1,
            "traits": [{"modality": "face", "position": 0}],
            "missing": [],
        }
        answer = json.dumps({"event": n + 1, "number": n, "encounter": encounter, "note": ""})
        rows["templates"].append((n, sealed))
        for name, row in (
            ("subjects", (subject_id, at)),
            ("encounters", (n, encounter_id, subject_id, "ACTIVE", at, 1, '["face"]', "[]")),
            ("encounter_galleries", (n, 1)),
            ("encounter_templates", (n, 0, n, len(sealed))),
            ("events", (n + 1, at, "ENROLLED", subject_id, encounter_id, details)),
            ("transactions", (f"t-{subject_id}", digest, answer)),
        ):
            rows[name].append((*row, zlib.crc32(f"{name}{row!a}".encode())))
    return rows


def _asked(count: int, prepare: Callable[[int], T], commit: Callable[[int, Sequence[T]], None]) -> float:
    # Seconds from the first call to the last answer. The queue and the locks are the interpreter's own, in C.
    asking: queue.SimpleQueue[tuple[T, threading.Lock]] = queue.SimpleQueue()
    start_together = threading.Barrier(_CALLERS + 2)

    def call(caller: int) -> None:
        answered = threading.Lock()
        answered.acquire()
        start_together.wait()
        for n in range(caller, count, _CALLERS):
            asking.put((prepare(n), answered))
            answered.acquire()

    def write() -> None:
        start_together.wait()
        done = 0
        while done < count:
            group = [asking.get()]
            while not asking.empty():
                group.append(asking.get())
            commit(done, [made for made, _ in group])
            done += len(group)
            for _, answered in group:
                answered.release()

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(_CALLERS)]
    threads.append(threading.Thread(target=write))
    for thread in threads:
        thread.start()
    start_together.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


@contextmanager
def _bare(path: Path) -> Iterator[sqlite3.Connection]:
    # A file with the engine's own tables and settings, and a plain connection to it.
    SqliteStore.open(path).close()
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=64, check_same_thread=False)
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {setting}").fetchall()
    try:
        yield connection
    finally:
        connection.close()


class _SlowDisk:
    # A connection whose commits, one sync each, take longer.

    def __init__(self, connection: sqlite3.Connection, commits: list[float]) -> None:
        self._connection = connection
        self._commits = commits

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        cursor = self._connection.execute(statement, *arguments)
        if statement == "COMMIT":
            time.sleep(_DELAY_S)
            self._commits.append(time.perf_counter())
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@contextmanager
def _slow_disk(engine: Engine) -> Iterator[list[float]]:
    commits: list[float] = []
    database = _database(engine)
    writer = database._writer
    database._writer = _SlowDisk(writer, commits)  # type: ignore[assignment]  # quacks like a connection
    try:
        yield commits
    finally:
        database._writer = writer


def _database(engine: Engine) -> Database:
    store = engine._gallery._store
    assert isinstance(store, SqliteStore)
    return store._database
