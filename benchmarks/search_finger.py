"""Searches by one finger among drawn strangers, of drawn mates and of real prints: what the stages lose."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy_finger import DATABASES, prints
from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.render import table
from benchmarks.speed_search_finger import wilson
from biometrik.config import FingerParameters, ModelParameters, RuntimeParameters
from biometrik.errors import PluginNotFoundError
from biometrik.fingerprint.matchers.cylinders import CylinderMatcher, Cylinders
from biometrik.fingerprint.pipeline import FingerPipeline
from biometrik.fingers import Minutiae
from biometrik.gallery.prints import PrintIndex
from biometrik.inference import Runtime
from biometrik.synthetic.templates import draw_identity, draw_template

TITLE = "Search by one finger"

#: The default extractor; and one that finds more that is not there, as templates from elsewhere do.
EXTRACTORS: Final = ("leader", "nbis")
_SEED: Final = 320
#: From so many on the shares that go on decide how many do, not the least numbers.
_STRANGERS: Final = 50_000
#: Right index finger: all of them, so that every print meets every other.
_POSITION: Final = 2
_PORTION: Final = 1000
#: Mated searches of the strangers themselves, another impression of each.
_MATES: Final = 2_000


def run(options: Options) -> Result:
    """Search strangers' other impressions, and every print of FVC's four databases among all others, in both forms."""
    matcher = CylinderMatcher()
    matcher.warm_up()
    found: dict[str, Any] = {}
    missing = {}
    seen: dict[str, tuple[list[str], list[Minutiae]]] = {}
    for extractor in EXTRACTORS:
        try:
            seen[extractor] = _seen(options, extractor)
        except PluginNotFoundError as reason:
            missing[extractor] = str(reason)
    with ProcessPoolExecutor() as pool:
        starts = range(0, _STRANGERS, _PORTION)
        strangers = matcher.pack([matcher.prepare_many(drawn) for drawn in pool.map(_strangers, starts)])
    for extractor, (fingers, minutiae) in seen.items():
        found[extractor] = search(matcher, strangers, fingers, minutiae)
    drawn = mated(matcher, strangers, _MATES)
    parameters = {
        "seed": _SEED,
        "strangers": _STRANGERS,
        "databases": list(DATABASES),
        "matcher": "cylinders",
    }
    figures = {"drawn": drawn, "real": found}
    return Result(parameters, figures, _bars(figures), missing)


def mated(matcher: CylinderMatcher, strangers: Cylinders, count: int) -> dict[str, Any]:
    """Return how many of the first strangers are first when another impression of theirs is searched in stages.

    Parameters
    ----------
    matcher : CylinderMatcher
        It prepared the strangers.
    strangers : Cylinders
        Of this benchmark's seed, from the first on.
    count : int
        So many of them.
    """
    index, allowed = _index(matcher, strangers), np.ones(len(strangers), dtype=np.bool_)
    first = kept = 0
    for number in range(count):
        probe = {_POSITION: matcher.prepare(draw_template(draw_identity(_SEED, number), 1))}
        best, candidates = _first(index, probe, allowed)
        first += best == number
        kept += number in candidates
    low, high = wilson(first, count)
    return {"searches": count, "first": first, "kept": kept, "low": low, "high": high}


def search(
    matcher: CylinderMatcher, strangers: Cylinders, fingers: Sequence[str], minutiae: Sequence[Minutiae]
) -> dict[str, Any]:
    """Return how many prints find a mate first, in both forms, and how many mates the stages keep.

    Parameters
    ----------
    matcher : CylinderMatcher
        It prepared the strangers.
    strangers : Cylinders
        Nobody's mates.
    fingers : sequence of str
        Whose each print is.
    minutiae : sequence of Minutiae
        Of each print: it is searched among all others and the strangers.
    """
    pack = matcher.pack([matcher.prepare_many(minutiae), strangers])
    staged = _index(matcher, pack)
    exhaustive = staged.view()
    exhaustive._exhaustive_templates = len(pack)  # the same templates: the two forms differ in nothing else
    names = np.array([*fingers, *[""] * len(strangers)])
    firsts = np.empty((2, len(fingers)), dtype=np.int64)
    kept = mates = compared = 0
    for i, finger in enumerate(fingers):
        allowed = np.ones(len(pack), dtype=np.bool_)
        allowed[i] = False
        probe = {_POSITION: pack.part(i, i + 1)}
        for k, index in enumerate((staged, exhaustive)):
            firsts[k, i], candidates = _first(index, probe, allowed)
            if index is staged:
                kept += int((names[candidates] == finger).sum())
                mates += int((names == finger).sum()) - 1
                compared = len(candidates)
    staged_first, exhaustive_first = (int((names[first] == fingers).sum()) for first in firsts)
    return {
        "probes": len(fingers),
        "staged": staged_first,
        "exhaustive": exhaustive_first,
        "same": int((firsts[0] == firsts[1]).sum()),
        "compared": compared,
        "mates": mates,
        "kept": kept,
    }


def render(run: Mapping[str, Any], _folder: Path) -> str:
    """Return how drawn mates fare, and a table of real prints in both forms."""
    drawn = run["figures"]["drawn"]
    rows = [
        [
            f"`{extractor}`",
            f"{row['probes']}",
            f"{row['exhaustive']}",
            _share(row["staged"], row["probes"]),
            f"{row['same']}",
            f"{100 * row['kept'] / row['mates']:.1f} %",
        ]
        for extractor, row in run["figures"]["real"].items()
    ]
    set_ = run["parameters"]
    columns = ["minutiae", "probes", "mate first exhaustively", "mate first in stages", "the same first", "mates kept"]
    return f"""`{set_["matcher"]}`, one finger and nothing else, in stages among {set_["strangers"]:,} drawn strangers.
Another impression of one of them has it first in {drawn["first"]:,} of {drawn["searches"]:,} searches
({100 * drawn["low"]:.1f} – {100 * drawn["high"]:.1f} %, Wilson's 95 %), and among those compared in full in
{drawn["kept"]:,}; an answer to a probe of one finger claims {100 * PrintIndex.recall_claimed_alone:g} %.

Every print of FVC's four development databases among all other prints and the strangers has seven mates, and one of
them first is enough. "Mates kept" is the share of all of them, each by itself, that the stages let through, also of
those that no comparison would tell from strangers. Drawn strangers are smoother than real ones.

{table(columns, rows)}
"""


def _bars(figures: Mapping[str, Any]) -> tuple[Bar, ...]:
    name = "mate first by one drawn finger, lower end of 95 %"
    drawn = Bar(name, PrintIndex.recall_claimed_alone, figures["drawn"]["low"], at_most=False)
    if "leader" not in figures["real"]:
        return (drawn,)
    row = figures["real"]["leader"]
    probes = row["probes"]
    low, high = wilson(row["staged"], probes)
    name = "mate first in stages as often as exhaustively, leader"
    return (
        drawn,
        Bar(name, row["exhaustive"] / probes, row["staged"] / probes, at_most=False, low=low, high=high),
    )


def _index(matcher: CylinderMatcher, pack: Cylinders) -> PrintIndex:
    # By number from 0.
    index = PrintIndex(lambda: matcher, 0)
    for start in range(0, len(pack), _PORTION):
        portion = range(start, min(start + _PORTION, len(pack)))
        index.add([(number, {_POSITION: pack.part(number, number + 1)}) for number in portion])
    return index


def _first(
    index: PrintIndex, probe: Mapping[int, Cylinders], allowed: NDArray[np.bool_]
) -> tuple[int, NDArray[np.int64]]:
    # The best, and all that were compared in full.
    candidates, _ = index.candidates(probe, allowed, 10)
    (similar,) = index.compare(probe, candidates).similar.values()
    return int(candidates[int(np.argmax(similar))]), candidates


def _seen(options: Options, extractor: str) -> tuple[list[str], list[Minutiae]]:
    pipeline = FingerPipeline(
        FingerParameters(extractor=extractor),
        Runtime(RuntimeParameters(threads=1), ModelParameters(cache=options.cache)),
    )
    fingers, minutiae = [], []
    for name in DATABASES:
        of, found = prints(options.data / "fvc-dev" / name, pipeline)
        fingers += [f"{name}/{finger}" for finger in of]
        minutiae += found
    if not minutiae:
        raise NotRunError("expected prints in fvc-dev, found none; name the folder that holds it with --data")
    return fingers, minutiae


def _strangers(start: int) -> list[Minutiae]:
    return [draw_template(draw_identity(_SEED, number), 0) for number in range(start, start + _PORTION)]


def _share(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count} ({100 * low:.1f} – {100 * high:.1f} %)"
