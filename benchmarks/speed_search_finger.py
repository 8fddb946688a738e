"""1:N by fingers: a gallery of synthetic subjects with two fingers each, searched in stages and exhaustively."""

import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks.history import Bar, Result
from benchmarks.options import Options
from benchmarks.race import quartiles
from benchmarks.render import table
from biometrik.config import FingerParameters, ModelParameters, RuntimeParameters
from biometrik.fingerprint import payload
from biometrik.fingerprint.matchers.cylinders import CylinderMatcher, Cylinders
from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint
from biometrik.fingers import Minutiae
from biometrik.gallery import prints as prints_module
from biometrik.gallery.database import Database
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.records import NewEncounter
from biometrik.gallery.schema import SCHEMA
from biometrik.gallery.stores.sqlite import SqliteStore
from biometrik.inference import Runtime
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.synthetic.templates import draw_identity, draw_template
from biometrik.types import Modality, Template

TITLE = "Search by fingers"

#: Drawn once, for the record; what is tuned is tuned on others.
_SEED: Final = 1917
_SUBJECTS: Final = 100_000
#: Right and left index finger.
_POSITIONS: Final = (2, 7)
#: Mated searches: of subjects whose templates are drawn, and of subjects whose prints are drawn as images.
_DRAWN_PROBES: Final = 1960
_IMAGED_PROBES: Final = 40
#: Searches in both forms, spread over all, and all of drawn images besides: an exhaustive one takes half a second.
_BOTH: Final = 260
#: Shares that go on from a glance, for a picture of what they cost and find, with one and with two fingers; a quarter
#: of them is compared in full, as by default. Of how many of the probes.
_SHARES: Final = (0.01, 0.02, 0.04, 0.08)
_SHARED: Final = 200
#: Standard deviations of a two-sided 95 % interval.
_SPREAD: Final = 1.96
_PORTION: Final = 1000
_CONTRACT: Final = "synthetic@1"

Fingers = tuple[bytes, bytes]
Prints = Mapping[int, Cylinders]


@dataclass(frozen=True, slots=True)
class Found:
    """Who came first in a mated search.

    Parameters
    ----------
    mate, staged : int
        The subject that the probe is of, and the first one of a staged search.
    exhaustive : int or None
        The first one of an exhaustive search; None where it was not made.
    """

    mate: int
    staged: int
    exhaustive: int | None


def run(options: Options) -> Result:
    """Draw the gallery, load it from SQLite, and search it in both forms."""
    matcher = CylinderMatcher()
    matcher.warm_up()
    references, probes = _people(options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "office.db"
        _store(path, references)
        staged, seconds = _loaded(path, matcher)
    exhaustive = PrintIndex(lambda: matcher, 2 * _SUBJECTS)
    exhaustive._segments = staged._segments  # the same templates: the two forms differ in nothing else
    allowed = np.ones(_SUBJECTS + 1, dtype=np.bool_)
    times: dict[str, list[float]] = {"staged": [], "exhaustive": []}
    found: dict[str, list[Found]] = {"drawn": [], "imaged": []}
    compared = []
    both = set(np.linspace(0, len(probes) - 1, _BOTH).round().astype(int).tolist())
    both |= {i for i, (kind, _, _) in enumerate(probes) if kind == "imaged"}
    shared: list[tuple[int, Prints]] = []
    for i, (kind, number, prints) in enumerate(probes):
        packs = {p: matcher.prepare(m) for p, m in zip(_POSITIONS, prints, strict=True)}
        if i % (len(probes) // _SHARED) == 0:
            shared.append((number, packs))
        best = {}
        for name, index in (("staged", staged), ("exhaustive", exhaustive)):
            if name == "exhaustive" and i not in both:
                continue
            wall, start = time.perf_counter(), time.process_time()
            candidates, _ = index.candidates(packs, allowed, 10)
            together = sum(np.nan_to_num(s) for s in index.compare(packs, candidates).similar.values())
            best[name] = int(candidates[int(np.argmax(together))])
            if i in both:
                times[name].append(time.process_time() - start)
                times.setdefault(f"{name}, waited", []).append(time.perf_counter() - wall)
            if name == "staged":
                compared.append(len(candidates))
        found[kind].append(Found(number, best["staged"], best.get("exhaustive")))
    return _result(staged, seconds, times, found, compared, _by_share(staged, allowed, shared))


def render(run: Mapping[str, Any], folder: Path) -> str:
    """Return tables of what was found and how long it took, and a picture of what other shares would."""
    figures, set_ = run["figures"], run["parameters"]
    found = [
        [kind, *(f"{row[name]}" for name in ("searches", "staged", "both", "exhaustive", "same"))]
        for kind, row in figures["found"].items()
    ]
    times = [
        [name, f"{1e3 * row[0]:.0f} ({1e3 * row[1]:.0f} – {1e3 * row[2]:.0f})"]
        for name, row in figures["seconds"].items()
    ]
    picture = folder / "search_finger_shares.png"
    plots.found_by_cost(
        figures["by_share"], "Mates that the stages keep, by the share that goes on from a glance", picture
    )
    columns = ["probes", "staged searches", "mate first", "in both forms", "mate first exhaustively", "the same first"]
    return f"""{set_["subjects"]:,} synthetic subjects with two labelled fingers each (`{set_["matcher"]}`),
mated probes of both fingers. A staged search compares about
{figures["compared"]:.0f} subjects in full. The best subject by the sum of its fingers' similarities counts. Of all
staged searches, {100 * figures["recall"]["value"]:.2f} % have the mate first (95 % interval
{100 * figures["recall"]["low"]:.2f} – {100 * figures["recall"]["high"]:.2f}, Wilson's); an answer claims
{100 * PrintIndex.recall_claimed:g} %.

{table(columns, found)}

Milliseconds a search, median (quartiles) of {set_["both"]}, both forms in turns: processor time, and what a caller on
{run["machine"]["cores"]} cores waits:

{table(["form", "ms"], times)}

Starting with {2 * set_["subjects"]:,} templates: {figures["load"]["read"]:.1f} s to read and check the rows of SQLite,
{figures["load"]["prepare"]:.1f} s to unpack and prepare, {figures["load"]["add"]:.1f} s to add to the index, on one
core. {figures["bytes"]:,.0f} bytes of memory a template.

![Mates kept over processor time](plots/search_finger_shares.png)

{_SHARED} of the probes again, by both fingers and by the first alone, at other shares: a probe of one finger gives each
stage twice as much.
"""


def _result(
    index: PrintIndex,
    seconds: Mapping[str, float],
    times: Mapping[str, Sequence[float]],
    found: Mapping[str, Sequence[Found]],
    compared: Sequence[int],
    by_share: Mapping[str, Sequence[Sequence[float]]],
) -> Result:
    rows = {
        kind: {
            "searches": len(outcomes),
            "staged": sum(one.staged == one.mate for one in outcomes),
            "both": sum(one.exhaustive is not None for one in outcomes),
            "exhaustive": sum(one.exhaustive == one.mate for one in outcomes),
            "same": sum(one.exhaustive == one.staged for one in outcomes),
        }
        for kind, outcomes in found.items()
    }
    searches, first, both, same = (
        sum(row[name] for row in rows.values()) for name in ("searches", "staged", "both", "same")
    )
    low, high = wilson(first, searches)
    figures = {
        "found": rows,
        "recall": {"value": first / searches, "low": low, "high": high},
        "seconds": {name: list(quartiles(list(values))) for name, values in times.items()},
        "compared": float(np.mean(compared)),
        "by_share": by_share,
        "load": dict(seconds),
        "bytes": sum(a.nbytes for s in index._segments for a in s.pack.packed) / len(index),
    }
    staged, full = (figures["seconds"][name][0] for name in ("staged", "exhaustive"))
    least, most = wilson(same, both)
    bars = (
        Bar("the same first in both forms", 0.99, same / both, at_most=False, low=least, high=most),
        Bar("mate first in staged searches, lower end of 95 %", index.recall_claimed, low, at_most=False),
        Bar("staged form's speed, to the exhaustive one's", 20, full / staged, at_most=False),
        Bar("references a second, staged, one core", 300_000, len(index) / staged, at_most=False),
        Bar("200,000 templates from rows to index, one core", 60.0, sum(seconds.values()), "s"),
    )
    parameters = {
        "seed": _SEED,
        "subjects": _SUBJECTS,
        "matcher": "cylinders",
        "both": both,
        "probes": {"drawn": _DRAWN_PROBES, "imaged": _IMAGED_PROBES},
    }
    return Result(parameters, figures, bars)


def _by_share(
    index: PrintIndex, allowed: NDArray[np.bool_], probes: Sequence[tuple[int, Prints]]
) -> dict[str, list[list[float]]]:
    # Fingers -> rows of (share, median processor time in ms, share of mates that are compared in full).
    found: dict[str, list[list[float]]] = {"both fingers": [], "one finger": []}
    for share in _SHARES:
        with patch.multiple(prints_module, _GLANCED_SHARE=share, _PROMISING_SHARE=share / 4):
            for fingers, rows in found.items():
                kept, times = 0, []
                for number, packs in probes:
                    shown = packs if fingers == "both fingers" else {_POSITIONS[0]: packs[_POSITIONS[0]]}
                    start = time.process_time()
                    numbers, _ = index.candidates(shown, allowed, 10)
                    index.compare(shown, numbers)
                    times.append(1e3 * (time.process_time() - start))
                    kept += number in numbers
                rows.append([share, float(np.median(times)), kept / len(probes)])
    return found


def wilson(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22(158), 1927: it does
    not shrink to a point where nothing was missed.
    """
    share, spread = count / of, _SPREAD**2 / of
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return middle - half, min(1.0, middle + half)


def _people(options: Options) -> tuple[list[Fingers], list[tuple[str, int, tuple[Minutiae, ...]]]]:
    # References, by number from 1, and the mated probes: (kind, number, minutiae of both fingers).
    with ProcessPoolExecutor() as pool:
        references = list(pool.map(_drawn, range(1, _SUBJECTS + 1), chunksize=_PORTION))
        seen = list(pool.map(_imaged, range(1, _IMAGED_PROBES + 1), repeat(options.cache)))
    probes = [
        ("drawn", number, tuple(draw_template(draw_identity(_SEED, 2 * number + side), 1) for side in (0, 1)))
        for number in range(_IMAGED_PROBES + 1, _IMAGED_PROBES + _DRAWN_PROBES + 1)
    ]
    imaged: list[tuple[str, int, tuple[Minutiae, ...]]] = []
    for number, minutiae in enumerate(seen, start=1):
        if len(minutiae) == 4:  # else one of the prints gave no template
            references[number - 1] = (payload.pack(minutiae[0]), payload.pack(minutiae[1]))
            imaged.append(("imaged", number, (minutiae[2], minutiae[3])))
    return references, [probe for both in _in_turns(probes, imaged) for probe in both]


def _imaged(number: int, cache: Path) -> list[Minutiae]:
    # Of two impressions of both fingers, those that give a template.
    runtime = Runtime(RuntimeParameters(threads=1), ModelParameters(cache=cache))
    pipeline = FingerPipeline(FingerParameters(extractor="ridge"), runtime)
    fingers = [draw_finger(_SEED, 2 * number + side) for side in (0, 1)]
    seen = pipeline.process([draw_impression(finger, k).image for k in (0, 1) for finger in fingers])
    return [found.minutiae for found in seen if isinstance(found, ProcessedPrint)]


def _in_turns(*kinds: Sequence[Any]) -> Iterator[list[Any]]:
    for i in range(max(map(len, kinds))):
        yield [kind[i] for kind in kinds if i < len(kind)]


def _drawn(number: int) -> Fingers:
    first, second = (payload.pack(draw_template(draw_identity(_SEED, 2 * number + side), 0)) for side in (0, 1))
    return first, second


def _store(path: Path, references: Sequence[Fingers]) -> None:
    # Without a sync for each of a hundred thousand enrolments: how they were written is not what is measured.
    database = Database(path, SCHEMA)
    database._writer.execute("PRAGMA synchronous=OFF")
    store = SqliteStore(database)
    try:
        for number, fingers in enumerate(references, start=1):
            templates = [
                Template(Modality.FINGER, _CONTRACT, data, position)
                for position, data in zip(_POSITIONS, fingers, strict=True)
            ]
            store.enroll(NewEncounter(f"S-{number}", tuple(templates)))
    finally:
        store.close()


def _loaded(path: Path, matcher: CylinderMatcher) -> tuple[PrintIndex, dict[str, float]]:
    # Processor seconds of each step.
    seconds = {"read": 0.0, "prepare": 0.0, "add": 0.0}
    index = PrintIndex(lambda: matcher, 0)
    store = SqliteStore.open(path)
    try:
        last = 0
        while True:
            start = time.process_time()
            page = store.scan(after=last)
            seconds["read"] += time.process_time() - start
            if not page:
                return index, seconds
            last = page[-1].number
            start = time.process_time()
            pack = matcher.prepare_many([payload.unpack(t.payload) for stored in page for t in stored.templates])
            seconds["prepare"] += time.process_time() - start
            start = time.process_time()
            rows = [
                (stored.number, {p: pack.part(2 * i + side, 2 * i + side + 1) for side, p in enumerate(_POSITIONS)})
                for i, stored in enumerate(page)
            ]
            index.add(rows)
            seconds["add"] += time.process_time() - start
    finally:
        store.close()
