"""Deduplicating a hundred thousand SYNTHETIC faces, beside the bare product of matrices in numpy."""

import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.history import Bar, Result
from benchmarks.options import Options
from benchmarks.plots import durations
from benchmarks.race import quartiles, ratios
from benchmarks.render import table
from biometrik.config import EngineConfig, GalleryParameters, ModelParameters, RuntimeParameters
from biometrik.engine import Engine
from biometrik.synthetic.faces import draw_embeddings
from biometrik.types import Modality, Template

TITLE = "Deduplication speed"

_PEOPLE: Final = 98_000
_TWICE: Final = 2_000  # of them, enrolled under another id as well
_PAGE: Final = 1000  # an engine's own
_FMR: Final = 1e-5
#: Of the pages, every so many-th also by the flat index, which would take the benchmark's time alone.
_EVERY: Final = 10
#: float32 products of unit vectors err by less: pairs nearer to the threshold than that may be on either side of it.
_ROUNDING: Final = 1e-5


def run(options: Options) -> Result:
    """Fill two engines with the same faces, then take pages in turns with numpy, and compare the pairs."""
    first = draw_embeddings(1, range(_PEOPLE)).reshape(_PEOPLE, -1)
    again = draw_embeddings(1, range(_TWICE), samples=range(1, 2)).reshape(_TWICE, -1)
    vectors = np.concatenate([first, again])
    shared = Path("/dev/shm")  # a folder in memory, so that filling does not wait for a disk 100,000 times
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None)))
        begun = time.perf_counter()
        _fill(options, folder / "certified.db", vectors)
        filled_s = time.perf_counter() - begun
        shutil.copy(folder / "certified.db", folder / "flat.db")
        engine = stack.enter_context(_opened(options, folder / "certified.db", "int8-certified"))
        flat = stack.enter_context(_opened(options, folder / "flat.db", "faiss-flat"))
        least = np.float32(engine.calibration.similarity_at(_FMR))
        times: dict[str, list[float]] = {"biometrik": [], "numpy": [], "biometrik, flat": [], "numpy beside flat": []}
        ours: set[tuple[int, int]] = set()
        theirs: dict[tuple[int, int], float] = {}
        page = engine.duplicates(max_fmr=_FMR, after=0)  # compiles, warms caches
        after, more, number = 0, True, 0
        while more:
            begun = time.perf_counter()
            page = engine.duplicates(max_fmr=_FMR, after=after)
            times["biometrik"].append(time.perf_counter() - begun)
            ours |= {_pair(*map(int, pair.subject_ids)) for pair in page.pairs}
            begun = time.perf_counter()
            found = _product(vectors, number * _PAGE, least - np.float32(_ROUNDING))
            times["numpy"].append(time.perf_counter() - begun)
            theirs |= found
            if number % _EVERY == 0:
                begun = time.perf_counter()
                flat.duplicates(max_fmr=_FMR, after=after)
                times["biometrik, flat"].append(time.perf_counter() - begun)
                times["numpy beside flat"].append(times["numpy"][-1])
            after, more, number = page.last, page.more and number + 1 < len(vectors) // _PAGE, number + 1
    sure = {pair for pair, similarity in theirs.items() if similarity >= least + _ROUNDING}
    twice = {(who, _PEOPLE + who) for who in range(_TWICE)}
    seconds = {name: sum(values) for name, values in times.items()}
    spread = ratios(times["biometrik"], times["numpy"])
    missed, invented = len(sure - ours), len(ours - set(theirs))
    figures = {
        "s": seconds,
        "page_s": {name: quartiles(values) for name, values in times.items()},
        "times": spread,
        "times_flat": ratios(times["biometrik, flat"], times["numpy beside flat"]),
        "filled_s": filled_s,
        "missed": missed,
        "invented": invented,
        "pairs": len(ours),
        "true": len(twice & ours),
    }
    total = seconds["numpy"] / seconds["biometrik"]
    bars = (
        Bar("pairs that numpy finds and the search does not", 0, missed),
        Bar("pairs that the search finds and numpy does not", 0, invented),
        Bar("times the product of matrices in numpy, over all", 1.0, total, "", False, *spread[1:]),
    )
    parameters = {"faces": len(vectors), "twice": _TWICE, "fmr": _FMR, "page": _PAGE, "every": _EVERY}
    return Result(parameters, figures, bars)


def render(run: Mapping[str, Any], plots: Path) -> str:
    """Return a table, and a plot of the same."""
    told, figures = run["parameters"], run["figures"]
    rows = [
        [name, f"{1000 * figures['page_s'][name][0]:,.0f} ({1000 * low:,.0f} – {1000 * high:,.0f})", whole]
        for name, (_, low, high), whole in (
            ("biometrik", figures["page_s"]["biometrik"], f"{figures['s']['biometrik']:,.1f}"),
            ("numpy", figures["page_s"]["numpy"], f"{figures['s']['numpy']:,.1f}"),
            ("biometrik, flat", figures["page_s"]["biometrik, flat"], ""),
        )
    ]
    pages = {name: [1000 * second for second in figures["page_s"][name]] for name, _, _ in rows}
    durations(pages, f"{told['page']:,} against {told['faces']:,} faces", plots / "dedupe_page.png")
    return f"""{told["faces"]:,} SYNTHETIC faces, {told["twice"]:,} of them of people who are there already under
another id, at FMR {told["fmr"]:g}: all pairs, in pages of {told["page"]:,} faces that are held against all
{told["faces"]:,}. `biometrik` is `Engine.duplicates` with the index `int8-certified`, which reads what is stored in
SQLite and checks it, too; `flat` the same with `faiss-flat`, on every {told["every"]}th page. `numpy` is
`rows @ older.T` with the threshold and nothing else, half of the products: younger faces against older ones only. Pages
in turns, all cores.

{table(["what", "ms a page, median (quartiles)", "s in all"], rows)}

![A page](plots/dedupe_page.png)

{figures["pairs"]:,} pairs were named, {figures["true"]:,} of the {told["twice"]:,} true ones among them;
{figures["missed"]} that numpy finds were missed, {figures["invented"]} were invented. With `faiss-flat` a page takes
{1 / figures["times_flat"][0]:.1f} times numpy's. Enrolling everybody took {figures["filled_s"]:.0f} s, in a folder that
is memory.
"""


def _opened(options: Options, path: Path, index: str) -> Engine:
    config = EngineConfig(
        models=ModelParameters(cache=options.cache),
        runtime=RuntimeParameters(warm_up=False),
        gallery=GalleryParameters(index=index),
    )
    return Engine.open(path, config)


def _fill(options: Options, path: Path, vectors: NDArray[np.float32]) -> None:
    with _opened(options, path, "faiss-flat") as engine:
        for number, vector in enumerate(vectors):
            template = Template(Modality.FACE, engine.model_contract_id, vector.astype("<f4").tobytes())
            engine.enroll(str(number), [template])


def _product(vectors: NDArray[np.float32], start: int, least: np.float32) -> dict[tuple[int, int], float]:
    # Pairs of a page's rows and older ones, with their similarities.
    stop = min(start + _PAGE, len(vectors))
    products = vectors[start:stop] @ vectors[:stop].T
    found = {}
    for row, other in np.argwhere(products >= least).tolist():
        if other < start + row:
            found[_pair(start + row, other)] = float(products[row, other])
    return found


def _pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)
