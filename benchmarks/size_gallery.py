"""Memory and start of a gallery of a million SYNTHETIC faces in a database, with and without a snapshot."""

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np

from benchmarks.history import ROOT, Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.plots import amounts
from benchmarks.render import table
from biometrik.config import EngineConfig, ModelParameters
from biometrik.engine import Engine
from biometrik.face.embedding import to_template
from biometrik.gallery import tables
from biometrik.gallery.records import DEFAULT_GALLERY, EventKind
from biometrik.synthetic.faces import draw_embeddings
from biometrik.types import FACE, Encounter, EncounterStatus

TITLE = "Memory and start of a gallery"
COMMAND = "python -m benchmarks.size_gallery; scripts/bench --only size_gallery"

_FACES: Final = 1_000_000
_BLOCK: Final = 10_240
_STARTS: Final = 3
#: What a process does: opens the database, searches, and says how long it took and what memory it holds.
_SCRIPT: Final = """
import ctypes, json, os, sys, threading, time
from pathlib import Path
import biometrik
from biometrik.face.embedding import to_template
from biometrik.synthetic.faces import draw_embeddings
database, cache, on_disk, snapshot, forget, keep = sys.argv[1:7]
if forget == "1":
    for path in Path(database).parent.glob(Path(database).name + "*"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
config = biometrik.EngineConfig(
    models=biometrik.ModelParameters(cache=Path(cache)),
    gallery=biometrik.GalleryParameters(
        index="int8-certified", vectors_on_disk=on_disk == "1", snapshot=snapshot == "1"
    ),
)
begun = time.perf_counter()
engine = biometrik.Engine.open(database, config)
opened = time.perf_counter() - begun
def kib(name):
    ctypes.CDLL(None).malloc_trim(0)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0])
bare = kib("RssAnon")
probes = draw_embeddings(1, range(20), samples=range(1, 2)).reshape(20, -1)
answers, times = [], []
if engine.subjects(limit=1) == []:  # an empty gallery has done what the others do, so that all code is loaded
    template = to_template(probes[0], engine.model_contract_id)
    engine.enroll("A", [template])
    engine.identify([template], max_fpir=None)
    engine.erase("A")
for probe in probes:
    template = to_template(probe, engine.model_contract_id)
    begun = time.perf_counter()
    best = engine.identify([template], max_fpir=None).candidates
    times.append(time.perf_counter() - begun)
    answers.append([(found.subject_id, found.raw_score) for found in best])
for thread in threading.enumerate():
    if thread.name == "biometrik-check":
        thread.join()
held = {name: 1024 * kib(name) for name in ("RssAnon", "VmHWM")}
begun = time.perf_counter()
if keep == "1":
    engine.keep_snapshot()
print(json.dumps({
    "open_s": opened, "answers": answers, "search_ms": 1000 * sorted(times)[len(times) // 2],
    "anonymous": held["RssAnon"], "peak": held["VmHWM"], "bare": 1024 * bare, "keep_s": time.perf_counter() - begun,
}), flush=True)
os._exit(0)  # as after a crash: nothing is written at the end
"""


def run(options: Options) -> Result:
    """Open the database in a new process each time: empty, read in full, from the snapshot, vectors here and there."""
    database = options.cache / f"size-gallery-{_FACES}.db"
    if not database.exists():
        raise NotRunError(f"{database} is missing; run python -m benchmarks.size_gallery first, some minutes")
    with tempfile.TemporaryDirectory() as name:
        empty = {form: _opened(options, Path(name) / f"{form}.db", form) for form in ("memory", "disk")}
    index = database.with_name(f"{database.name}.index")
    index.unlink(missing_ok=True)
    figures: dict[str, Any] = {"empty": empty, "from the store": _opened(options, database, "memory", keep=True)}
    for form in ("memory", "disk"):
        starts = [_opened(options, database, form) for _ in range(_STARTS)]
        figures[form] = sorted(starts, key=lambda start: float(start["open_s"]))[_STARTS // 2]
        figures[f"{form}, files not cached"] = _opened(options, database, form, forget=True)
        figures[form]["bytes_a_face"] = (figures[form]["anonymous"] - empty[form]["anonymous"]) / _FACES
        figures[form]["bytes_over_bare"] = (figures[form]["anonymous"] - empty[form]["bare"]) / _FACES
    figures["bytes"] = {"database": database.stat().st_size, "snapshot": index.stat().st_size}
    answers = {name: found.pop("answers") for name, found in figures.items() if "answers" in found}
    expected = answers["from the store"]
    different = sum(ours != theirs for found in answers.values() for ours, theirs in zip(found, expected, strict=True))
    for found in empty.values():
        del found["answers"]
    cold = max(figures[f"{form}, files not cached"]["open_s"] for form in ("memory", "disk"))
    bars = (
        Bar("memory for each face enrolled, vectors in memory", 800, figures["memory"]["bytes_a_face"], "bytes"),
        Bar("memory for each face enrolled, vectors on disk", 220, figures["disk"]["bytes_a_face"], "bytes"),
        Bar("start from a snapshot, the slowest form, files not cached", 10, cold, "s"),
        Bar("searches of 100 that answer otherwise than after a start from the store", 0, different),
    )
    return Result({"faces": _FACES, "dimension": 128, "starts": _STARTS}, figures, bars)


def render(run: Mapping[str, Any], plots: Path) -> str:
    """Return a table of starts and memory, and a plot of both."""
    figures, told = run["figures"], run["parameters"]
    names = ("from the store", "memory", "memory, files not cached", "disk", "disk, files not cached")
    labels = (
        "every template read, no snapshot",
        *(f"snapshot, vectors {'on' if 'disk' in name else 'in'} {name}" for name in names[1:]),
    )
    rows = [
        [
            label,
            f"{figures[name]['open_s']:.1f}",
            f"{figures[name]['anonymous'] / 2**20:,.0f}",
            f"{figures[name]['bytes_a_face']:.0f}" if "bytes_a_face" in figures[name] else "",
            f"{figures[name]['search_ms']:.1f}",
        ]
        for name, label in zip(names, labels, strict=True)
    ]
    shown = {
        measure: {label: figures[name][key] / unit for name, label in zip(names, labels, strict=True)}
        for measure, key, unit in (("s until opened", "open_s", 1), ("MiB of anonymous memory", "anonymous", 2**20))
    }
    amounts(shown, f"start of a process with {told['faces']:,} SYNTHETIC faces", plots / "gallery_starts.png")
    return f"""A database of {told["faces"]:,} SYNTHETIC faces, one encounter a subject, ids of 15 characters, opened by
a new process each time (of snapshots with cached files the median of {told["starts"]}); a start has the networks in it.
Memory is the process' anonymous memory after twenty searches and the check of the database; for each face, its growth
over the same process with an empty database, in which one face was enrolled, searched for and erased; over an empty
database that was opened and no more, it is {figures["memory"].get("bytes_over_bare", float("nan")):.0f} with vectors in
memory and {figures["disk"].get("bytes_over_bare", float("nan")):.0f} with vectors on disk. SQLite's full
check runs beside the searches of a start from a snapshot, and before a start without.

{table(["start", "s", "MiB", "bytes a face", "ms a search"], rows)}

![Start and memory](plots/gallery_starts.png)

Writing the snapshot took {figures["from the store"]["keep_s"]:.1f} s; it has {figures["bytes"]["snapshot"] / 1e6:,.0f}
MB, the database {figures["bytes"]["database"] / 1e6:,.0f} MB.
"""


def _opened(options: Options, database: Path, form: str, *, keep: bool = False, forget: bool = False) -> dict[str, Any]:
    flags = [str(int(flag)) for flag in (form == "disk", True, forget, keep)]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(database), str(options.cache), *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotRunError(done.stderr.strip().splitlines()[-1])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _make(options: Options) -> None:
    # The store's own rows, in transactions of thousands instead of one each; then the database is what it would be.
    database = options.cache / f"size-gallery-{_FACES}.db"
    draft = database.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with Engine.open(draft, EngineConfig(models=ModelParameters(cache=options.cache))) as engine:
        contract = engine.model_contract_id
    connection = sqlite3.connect(draft, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rng = np.random.default_rng(1)
    for start in range(0, _FACES, _BLOCK):
        stop = min(start + _BLOCK, _FACES)
        vectors = draw_embeddings(1, range(start, stop)).reshape(stop - start, -1)
        connection.execute("BEGIN")
        for who, vector in zip(range(start, stop), vectors, strict=True):
            subject_id, encounter_id = f"subject-{who:07d}", UUID(bytes=rng.bytes(16), version=4).hex
            encounter = Encounter(
                encounter_id, subject_id, EncounterStatus.ACTIVE, (DEFAULT_GALLERY,), at, 1, (FACE,), ()
            )
            tables.insert(connection, "subjects", (subject_id, tables.text(at)))
            tables.insert(connection, "encounters", tables.encounter_row(1 + who, encounter))
            tables.insert(connection, "encounter_galleries", (1 + who, 1))
            data = to_template(vector, contract).to_bytes()
            tables.keep_templates(connection, [(1 + who, 0, data)])
            details = {"galleries": json.dumps([DEFAULT_GALLERY]), "templates": "1"}
            tables.record(connection, at, EventKind.ENROLLED, details, subject_id, encounter_id)
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    draft.replace(database)


if __name__ == "__main__":
    _make(Options())
