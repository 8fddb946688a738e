"""What a gallery is searched with at 1 and 10 million SYNTHETIC faces: start from a snapshot, memory, exact search."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.history import ROOT, Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.plots import growth
from benchmarks.render import table
from biometrik.features import Features
from biometrik.gallery.members import shown_by
from biometrik.gallery.protection import NoProtection
from biometrik.gallery.roster import PAGE, Page, packed
from biometrik.gallery.snapshot import Block, Origin, Snapshot
from biometrik.synthetic.faces import draw_embeddings

TITLE = "Ten million faces"
COMMAND = "python -m benchmarks.size_gallery_large; scripts/bench --only size_gallery_large"

_SIZES: Final = (1_000_000, 10_000_000)
_PROBES: Final = 50
_COUNT: Final = 10
#: Products of float32 of unit vectors err by less.
_ROUNDING: Final = 1e-5
_SCRIPT: Final = """
import ctypes, json, os, sys, time
from pathlib import Path
import numpy as np
from biometrik.features import Features
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.protection import NoProtection
from biometrik.gallery.searching import Searchable
from biometrik.gallery.snapshot import Snapshot
from biometrik.types import FACE
path, on_disk = Path(sys.argv[1]), sys.argv[2] == "1"
def status(name):
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))
def search(searchable, vector):
    (result,) = searchable.search([Features(vector)], 10, None, "", lambda similar, _: similar[FACE].astype(np.float64))
    return [[hit.subject_id, hit.compared[FACE].similarity] for hit in result.hits]
probes = np.load(path.with_suffix(".npy"))
snapshot = Snapshot(path, NoProtection(), str)
def restored(blocks):
    searchable = Searchable(
        INDEXES.load("int8-certified")(128, path.parent if on_disk else None), PrintIndex(lambda: None, 0)
    )
    searchable.restore(origin, blocks)
    return searchable
origin = snapshot.origin()
first = next(snapshot.blocks())
search(restored([first]), probes[0])  # compiles
empty = status("RssAnon")
begun = time.perf_counter()
searchable = restored(snapshot.blocks())
start_s = time.perf_counter() - begun
times, answers = [], []
for probe in probes:
    begun = time.perf_counter()
    answers.append(search(searchable, probe))
    times.append(time.perf_counter() - begun)
print(json.dumps({
    "start_s": start_s, "bytes": status("RssAnon") - empty, "peak": status("VmHWM"), "answers": answers,
    "search_ms": 1000 * sorted(times)[len(times) // 2], "subjects": len(searchable),
}), flush=True)
os._exit(0)
"""


def run(options: Options) -> Result:
    """Start a process each for every size, with vectors in memory and on disk."""
    figures: dict[str, Any] = {}
    wrong = 0
    for size in _SIZES:
        path = _path(options, size)
        if not path.exists():
            raise NotRunError(f"{path} is missing; run python -m benchmarks.size_gallery_large first, some minutes")
        expected = json.loads(path.with_suffix(".json").read_text(encoding="ascii"))
        for form in ("memory", "disk"):
            done = subprocess.run(
                [sys.executable, "-c", _SCRIPT, str(path), str(int(form == "disk"))],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise NotRunError(f"{size:,} faces, vectors in {form}: {(done.stderr.strip() or 'killed')[-300:]}")
            found = json.loads(done.stdout)
            wrong += sum(ours != theirs for ours, theirs in zip(found.pop("answers"), expected, strict=True))
            figures[f"{size}, {form}"] = found
    largest = f"{_SIZES[-1]}, memory"
    bars = (
        Bar(f"memory of a process with {_SIZES[-1]:,} faces, at its peak", 12, figures[largest]["peak"] / 2**30, "GiB"),
        Bar(f"searches of {4 * _PROBES} with other answers than brute force", 0, wrong),
    )
    return Result({"sizes": list(_SIZES), "dimension": 128, "probes": _PROBES}, figures, bars)


def render(run: Mapping[str, Any], plots: Path) -> str:
    """Return a table of growth and a picture."""
    rows = []
    sizes = run["parameters"]["sizes"]
    measures = {"GiB at the peak": ("peak", 2**30), "s to fill": ("start_s", 1), "ms a search": ("search_ms", 1)}
    growth(
        {
            measure: {
                f"vectors {place}": [run["figures"][f"{size}, {form}"][name] / unit for size in sizes]
                for form, place in (("memory", "in memory"), ("disk", "on disk"))
            }
            for measure, (name, unit) in measures.items()
        },
        sizes,
        "growth of a gallery",
        plots / "gallery_growth.png",
    )
    for size in sizes:
        for form in ("memory", "disk"):
            found = run["figures"][f"{size}, {form}"]
            rows.append(
                [
                    f"{size:,}, vectors {'in memory' if form == 'memory' else 'on disk'}",
                    f"{found['start_s']:.1f}",
                    f"{found['bytes'] / size:.0f}",
                    f"{found['peak'] / 2**30:.2f}",
                    f"{found['search_ms']:.1f}",
                ]
            )
    return f"""SYNTHETIC faces of {run["parameters"]["dimension"]} dimensions, one encounter a subject, filled from a
snapshot that was written from `biometrik.synthetic` directly, without a database: enrolling ten million in SQLite takes
too long here. Each search is for the best {_COUNT}, one at a time on all cores, and is compared with brute force.

{table(["faces", "s to fill", "bytes a face", "GiB at the peak", "ms a search"], rows)}

![Growth of a gallery](plots/gallery_growth.png)
"""


def _path(options: Options, size: int) -> Path:
    return options.cache / f"size-gallery-large-{size}.index"


def _make(options: Options, size: int) -> None:
    # The snapshot, the probes, and the answers by brute force.
    path = _path(options, size)
    probes = draw_embeddings(1, range(1, 1 + _PROBES), samples=range(1, 2)).reshape(_PROBES, -1)
    np.save(path.with_suffix(".npy"), probes)
    face = shown_by(Features(probes[0]))
    best: list[list[tuple[float, int, NDArray[np.float32]]]] = [[] for _ in probes]
    rng = np.random.default_rng(1)

    def block_of(page: int) -> Block:
        numbers = np.arange(max(page * PAGE, 1), min((page + 1) * PAGE, size + 1), dtype=np.int64)
        vectors = draw_embeddings(1, range(int(numbers[0]), int(numbers[-1]) + 1)).reshape(len(numbers), -1)
        for q, products in enumerate(probes @ vectors.T):
            rows = np.argpartition(-products, 2 * _COUNT)[: 2 * _COUNT]
            best[q] += [(float(products[row]), int(numbers[row]), vectors[row]) for row in rows]
            if len(best[q]) > 1000:
                best[q] = sorted(best[q], key=lambda one: -one[0])[: 2 * _COUNT]
        texts = [packed(_subject(number)) + packed(rng.bytes(16).hex()) for number in numbers.tolist()]
        at = np.cumsum([0, *map(len, texts)], dtype=np.uint32)[:-1]
        page_of = Page(numbers, np.zeros(len(numbers), dtype=np.uint32), at, b"".join(texts))
        return Block(page_of, [(("default",), face)], numbers, vectors)

    origin = Origin("", False, 128, 1, "", size, ("default",), {})
    Snapshot(path, NoProtection(), str).write(origin, size // PAGE + 1, block_of)
    answers = []
    for probe, near in zip(probes.astype(np.float64), best, strict=True):
        exact = [
            (float(np.float32(np.einsum("d,d->", vector.astype(np.float64), probe))), number)
            for _, number, vector in near
        ]
        exact.sort(key=lambda one: (-one[0], one[1]))
        kept = sorted((product for product, *_ in near), reverse=True)[2 * _COUNT - 1]  # no other's is above
        if exact[_COUNT - 1][0] - kept < 2 * _ROUNDING:
            raise RuntimeError("more near ties than were kept")
        answers.append([[_subject(number), similarity] for similarity, number in exact[:_COUNT]])
    path.with_suffix(".json").write_text(json.dumps(answers), encoding="ascii")


def _subject(number: int) -> str:
    return f"subject-{number:08d}"


if __name__ == "__main__":
    for faces in _SIZES:
        if not _path(Options(), faces).exists():
            _make(Options(), faces)
