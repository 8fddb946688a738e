"""One run of at most eight minutes on a machine with an NVIDIA GPU: matcher, search, embedding, detection."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.history import ROOT, Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.render import table
from biometrik import gpu
from biometrik.errors import ProviderUnavailableError

TITLE = "On a GPU"
COMMAND = "scripts/bench --gpu"
#: What README.md says while there is no record.
NOT_RUN = (
    "**Never run on a GPU**: there are no figures of face embedding over batches, of `faiss-gpu` at 1 and 10 million "
    "faces, or of `cylinders-cuda`. `scripts/bench --gpu` makes them on a machine with an NVIDIA GPU; its document and "
    "what to look for: [docs/operations/gpu.md](../docs/operations/gpu.md).\n"
)

#: Part → seconds that it may take, in order; together less than the eight minutes of the whole.
BUDGETS: Final[Mapping[str, float]] = {"matching": 90, "search": 210, "embedding": 100, "detection": 50}
_WHOLE_S: Final = 480.0
#: A part ends itself in time; one that hangs is ended after this much more.
_GRACE_S: Final = 5.0
#: As tests hold between the execution providers on the processor.
_LEAST_COSINE: Final = 0.9999
#: Rounding moves a candidate by a level now and then, and its similarity by more than the tolerance (ADR 7). That it is
#: rare is what is expected; no GPU has said so yet.
_MOST_BEYOND: Final = 0.01


def run(options: Options) -> Result:
    """Run every part in its own process; what one cannot measure is no reason not to run the others."""
    return measured(options, [])


def measured(options: Options, more: Sequence[str]) -> Result:
    """Run every part; ``more`` are further arguments of :mod:`benchmarks.gpu_part`."""
    try:
        driver = gpu.driver()
    except ProviderUnavailableError as error:
        raise NotRunError(f"{error}; then scripts/setup --gpu and scripts/bench --gpu") from error
    begun = time.monotonic()
    figures: dict[str, Any] = {
        "gpu": {
            "name": driver.gpus[0].name,
            "memory_mib": driver.gpus[0].memory_bytes >> 20,
            "capability": list(driver.gpus[0].capability),
            "driver_cuda": list(driver.cuda),
        }
    }
    missing: dict[str, str] = {}
    for name, budget in BUDGETS.items():
        left = _WHOLE_S - _GRACE_S - (time.monotonic() - begun)
        figures[name] = _part(name, min(budget, left), options.cache, more, missing)
    seconds = time.monotonic() - begun
    parameters = {"budgets_s": dict(BUDGETS), "arguments": list(more), "seconds": seconds}
    return Result(parameters, figures, _bars(figures, seconds), missing)


def render(run: Mapping[str, Any], _folder: Path) -> str:
    """Return a table for each part."""
    figures = run["figures"]
    card = figures["gpu"]
    lines = [
        f"{card['name']}, {card['memory_mib'] / 1024:.0f} GiB, compute capability "
        f"{'.'.join(map(str, card['capability']))}, driver for CUDA {'.'.join(map(str, card['driver_cuda']))}; the run "
        f"took {run['parameters']['seconds'] / 60:.1f} minutes. Milliseconds are the clock's, median (quartiles), with "
        "copies to the GPU and back; the first call of each is left out. Faces and prints are SYNTHETIC.\n"
    ]
    for name in BUDGETS:
        lines += [f"**{name}**\n", _table(figures[name]), ""] if figures[name] else []
    return "\n".join(lines)


def _part(name: str, seconds: float, cache: Path, more: Sequence[str], missing: dict[str, str]) -> list[dict[str, Any]]:
    # What one part measured; why it did not measure the rest goes into ``missing``.
    if seconds < _GRACE_S:
        missing[name] = "out of time"
        return []
    print(f"{name}: at most {seconds:.0f} s", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.gpu_part", name, "--cache", str(cache), "--seconds", f"{seconds:.1f}"]
    rows: list[dict[str, Any]] = []
    hung = threading.Event()
    with (
        tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as said,
        subprocess.Popen([*command, *more], cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True) as child,
    ):

        def end() -> None:
            hung.set()
            child.kill()

        watch = threading.Timer(seconds + _GRACE_S, end)
        watch.start()
        try:
            for line in child.stdout or ():
                _take(line, rows, missing)
            status = child.wait()
        finally:
            watch.cancel()
            child.kill()
        said.seek(0)
        last = said.read().strip().splitlines()[-1:] or ["it said nothing"]
    if hung.is_set():
        missing[name] = f"ended after {seconds + _GRACE_S:.0f} s; what it had measured by then counts"
    elif status != 0:
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        missing[name] = f"ended with {ended}: {last[0][:500]}"
    return rows


def _take(line: str, rows: list[dict[str, Any]], missing: dict[str, str]) -> None:
    # A line of a part. Libraries print, too: what is not ours is shown.
    try:
        kind, *told = json.loads(line)
    except (ValueError, TypeError):
        kind, told = "progress", [line.rstrip()]
    if kind == "row":
        rows.append(told[0])
    elif kind == "missing":
        missing[told[0]] = told[1]
        print(f"  not measured  {told[0]}: {told[1]}", file=sys.stderr, flush=True)
    else:
        print(f"  {told[0]}", file=sys.stderr, flush=True)


def _bars(figures: Mapping[str, Any], seconds: float) -> tuple[Bar, ...]:
    bars = [Bar("the whole run", _WHOLE_S / 60, seconds / 60, "minutes")]
    for row in figures["matching"]:
        if row["what"] == "equality":
            share = row["beyond_tolerance"] / row["pairs"]
            bars += [
                Bar("matcher: pairs further than 2e-4 from the processor's similarity", _MOST_BEYOND, share),
                Bar("matcher: probes with another best reference than the processor's", 0, row["other_best"]),
            ]
    for row in figures["search"]:
        if row["what"] == "answers":
            name = f"search, {row['faces']:,} faces: of {row['queries']} queries with other answers than brute force"
            bars.append(Bar(name, 0, row["different"]))
    for row in figures["embedding"]:
        if row["what"] == "agreement":
            name = f"embedding, {row['where']}: least cosine with the processor's"
            bars.append(Bar(name, _LEAST_COSINE, row["least_cosine"], "", False))
    for row in figures["detection"]:
        if row["what"] == "agreement":
            name = f"detection: of {row['images']} frames with other faces than the processor's"
            bars.append(Bar(name, 0, row["different"]))
    return tuple(bars)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    body = []
    for row in rows:
        label = [str(row[key]) for key in ("what", "index", "where") if key in row]
        label += [f"{row[key]:,} {key}" for key in ("faces", "references", "images", "queries") if key in row]
        label += [f"batch {row['batch']:,}"] if "batch" in row else []
        time_ = "" if "ms" not in row else "{:.3f} ({:.3f} – {:.3f})".format(*row["ms"])
        speed = row.get("per_s", row.get("pairs_per_s"))
        body.append([", ".join(label), time_, "" if speed is None else f"{speed:,.0f}", _rest(row)])
    return table(["what", "ms", "each second", "besides"], body)


def _rest(row: Mapping[str, Any]) -> str:
    told = {
        "s": "{:.1f} s",
        "gpu_bytes": "{:,} bytes of the GPU's memory",
        "pairs": "{:,} pairs",
        "median": "median apart {:.1e}",
        "largest": "largest {:.1e}",
        "beyond_tolerance": "{} beyond 2e-4",
        "other_best": "{} with another best",
        "different": "{} different",
        "least_cosine": "least cosine {:.6f}",
    }
    return ", ".join(text.format(row[key]) for key, text in told.items() if key in row)
