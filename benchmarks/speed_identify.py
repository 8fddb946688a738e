"""Identification among a million SYNTHETIC faces through the engine, beside a flat FAISS index."""

import gc
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks import brute_force
from benchmarks.history import Bar, Result
from benchmarks.options import Options
from benchmarks.plots import durations
from benchmarks.race import quartiles, ratios
from benchmarks.render import table
from biometrik.config import EngineConfig, ModelParameters
from biometrik.engine import Engine
from biometrik.face.embedding import to_template
from biometrik.features import Features
from biometrik.gallery.members import shown_by
from biometrik.gallery.records import DEFAULT_GALLERY
from biometrik.gallery.roster import PAGE, Page, packed
from biometrik.gallery.snapshot import Block, Origin
from biometrik.synthetic.faces import draw_embeddings
from biometrik.types import Identification, Template

TITLE = "Identification speed"

_FACES: Final = 1_000_000
_DIMENSION: Final = 128
_SAMPLES: Final = 2  # of each subject in the gallery; the probes are third ones
_COUNT: Final = 10
_CHECKED: Final = 10_000
#: Of these, how many are asked for one by one, and the others so many at a time.
_ALONE: Final = 500
_TOGETHER: Final = 250
_BATCHES: Final = (1, 8, 32)
_CALLERS: Final = (8, 32)
_CALLS: Final = 4  # of each caller and round
_FACE: Final = shown_by(Features(np.zeros(1, dtype=np.float32)))


def run(options: Options) -> Result:
    """Time searches in turns on one core, then compare 10,000 answers with brute force."""
    reference = faiss.IndexFlatIP(_DIMENSION)
    vectors = np.empty((_FACES, _DIMENSION), dtype=np.float32)
    with Engine.open(":memory:", EngineConfig(models=ModelParameters(cache=options.cache))) as engine:
        _fill(engine, vectors)
        reference.add(vectors)
        probes = draw_embeddings(1, range(_CHECKED), samples=range(_SAMPLES, _SAMPLES + 1)).reshape(-1, _DIMENSION)
        templates = [to_template(probe, engine.model_contract_id) for probe in probes]
        cores = os.sched_getaffinity(0)
        gc.collect()
        gc.freeze()  # as the service's process does once it has started
        times = _raced(reference, engine, probes, templates, options.rounds)
        os.sched_setaffinity(0, cores)
        gc.unfreeze()
        different = _different(engine, vectors, probes, templates)
    faster = {
        name: ratios(found, times[f"FAISS, {min(_BATCHES[-1], int(name.rsplit(' ', 1)[1]))}"])
        for name, found in times.items()
        if not name.startswith("FAISS")
    }
    figures = {
        "ms": {name: [1000 * q for q in quartiles(found)] for name, found in times.items()},
        "times": faster,
        "different": different,
    }
    least = min(faster["identify_many, 8"], faster["identify_many, 32"])
    alone = faster["identify, 1"]
    bars = (
        Bar("times bare IndexFlatIP per core, 8 and 32 people at once", 20.0, least[0], "", False, least[1], least[2]),
        Bar("times bare IndexFlatIP per core, one person", 3.5, alone[0], "", False, alone[1], alone[2]),
        Bar(f"people of {_CHECKED:,} with other candidates than brute force", 0, different),
    )
    parameters = {"faces": _FACES, "dimension": _DIMENSION, "count": _COUNT, "rounds": options.rounds}
    return Result(parameters, figures, bars)


def render(run: Mapping[str, Any], plots: Path) -> str:
    """Return a table and a picture."""
    figures, told = run["figures"], run["parameters"]
    durations(figures["ms"], f"one person among {told['faces']:,}, one core", plots / "identify.png")
    rows = [
        [
            name,
            f"{middle:.3f} ({low:.3f} – {high:.3f})",
            "{:.2f} ({:.2f} – {:.2f})".format(*figures["times"][name]) if name in figures["times"] else "",
        ]
        for name, (middle, low, high) in figures["ms"].items()
    ]
    return f"""{told["faces"]:,} SYNTHETIC faces, {_SAMPLES} of each subject, in an engine whose database is in memory
and was left empty: what is searched was put in as a start from a snapshot does. From ready templates to the best
{told["count"]} candidates with their scores, through `Engine.identify` for one person and `Engine.identify_many` for 8
and 32; callers are threads that call `Engine.identify` one person at a time. As in the service's process, what is there
before the searches is left out of garbage collections. Processor time for a person, median
(quartiles) of {told["rounds"]} rounds in turns on one core, beside a bare FAISS `IndexFlatIP` on one thread, which is
given vectors and returns numbers.

{table(["what", "ms a person", "times FAISS"], rows)}

![Time of an identification](plots/identify.png)
"""


def _fill(engine: Engine, vectors: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(1)

    def blocks() -> Iterator[Block]:
        for start in range(0, _FACES, PAGE):
            numbers = np.arange(start, min(start + PAGE, _FACES))
            subjects = range(start // _SAMPLES, -(-int(numbers[-1] + 1) // _SAMPLES))
            drawn = draw_embeddings(1, subjects, samples=range(_SAMPLES)).reshape(-1, _DIMENSION)
            vectors[numbers] = drawn
            texts = [packed(_subject(number)) + packed(rng.bytes(16).hex()) for number in numbers.tolist()]
            at = np.cumsum([0, *map(len, texts)], dtype=np.uint32)[:-1]
            page = Page(numbers, np.zeros(len(numbers), dtype=np.uint32), at, b"".join(texts))
            yield Block(page, [((DEFAULT_GALLERY,), _FACE)], numbers, drawn)

    searchable = engine._gallery._searchable
    origin = Origin("", False, _DIMENSION, searchable.version, "", 0, (DEFAULT_GALLERY,), {})
    searchable.restore(origin, blocks())


def _subject(number: int) -> str:
    return f"subject-{number // _SAMPLES:07d}"


def _raced(
    reference: Any, engine: Engine, probes: NDArray[np.float32], templates: Sequence[Template], rounds: int
) -> dict[str, list[float]]:
    # CPU seconds a person, round by round, all on one core.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    faiss.omp_set_num_threads(1)
    times: dict[str, list[float]] = {}

    def timed(name: str, people: int, act: Callable[[], object]) -> None:
        begun = time.process_time()
        act()
        times.setdefault(name, []).append((time.process_time() - begun) / people)

    for turn in range(rounds + 1):
        for batch in _BATCHES:
            asked = slice(turn * batch, (turn + 1) * batch)
            timed(f"FAISS, {batch}", batch, partial(reference.search, probes[asked], _COUNT))
            timed(
                f"{'identify' if batch == 1 else 'identify_many'}, {batch}",
                batch,
                partial(_identify, engine, templates[asked]),
            )
        for callers in _CALLERS:
            own = templates[turn * callers * _CALLS : (turn + 1) * callers * _CALLS]
            timed(f"callers, {callers}", len(own), partial(_call, engine, own, callers))
        if turn == 0:
            times.clear()  # warm-up
    return times


def _identify(engine: Engine, templates: Sequence[Template]) -> tuple[Identification, ...]:
    if len(templates) == 1:
        return (engine.identify(templates, max_fpir=None, max_candidates=_COUNT),)
    return engine.identify_many([[own] for own in templates], max_fpir=None, max_candidates=_COUNT)


def _call(engine: Engine, templates: Sequence[Template], callers: int) -> None:
    with ThreadPoolExecutor(callers) as pool:
        for _ in pool.map(lambda n: [_identify(engine, [own]) for own in templates[n::callers]], range(callers)):
            pass


def _different(
    engine: Engine, vectors: NDArray[np.float32], probes: NDArray[np.float32], templates: Sequence[Template]
) -> int:
    # People whose candidates are not the subjects whose best encounters are most like the probe, of all of them.
    steps = [*range(_ALONE), *range(_ALONE, _CHECKED, _TOGETHER), _CHECKED]
    answers = [
        [(found.subject_id, found.raw_score) for found in answer.candidates]
        for start, stop in itertools.pairwise(steps)
        for answer in _identify(engine, templates[start:stop])
    ]
    least = np.array([row[-1][1] for row in answers], dtype=np.float32)
    different = 0
    for answer, (rows, exact) in zip(answers, brute_force.near(vectors, probes, least), strict=True):
        best: dict[str, float] = {}
        for row in np.lexsort((rows, -exact)).tolist():
            best.setdefault(_subject(int(rows[row])), float(exact[row]))
        different += list(best.items())[:_COUNT] != answer
    return different
