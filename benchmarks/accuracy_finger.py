"""How well fingers are told apart: FVC's protocol on four databases with each extractor, and searches of each print
among the others, staged and in full.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.render import table
from biometrik.config import FingerParameters, ModelParameters, RuntimeParameters
from biometrik.evaluation.bootstrap import SubjectBootstrap, interval
from biometrik.evaluation.metrics import Comparisons, Trials, false_non_match_rate
from biometrik.evaluation.report import measure
from biometrik.fingerprint.matching import MATCHERS
from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint
from biometrik.fingers import FingerprintImage, Minutiae
from biometrik.inference import Runtime
from biometrik.types import Interval

TITLE = "Fingerprint recognition accuracy"

DATABASES: Final = ("fvc2002/DB1_B", "fvc2002/DB3_B", "fvc2004/DB1_B", "fvc2004/DB2_B")
#: With whose prints staged search has a longer list to find a mate in.
_MORE: Final = "crossmatch-dev"
EXTRACTORS: Final = ("leader", "ridge")
MATCHER: Final = "cylinders"
#: FVC: the threshold that at most 2 of 2,880 non-mated comparisons reach.
_FMR: Final = 1e-3


def run(options: Options) -> Result:
    """Extract, compare every pair within each database, and search each print among all others."""
    figures: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for extractor in EXTRACTORS:
        pipeline = FingerPipeline(
            FingerParameters(extractor=extractor),
            Runtime(RuntimeParameters(threads=1), ModelParameters(cache=options.cache)),
        )
        found = {name: prints(options.data / "fvc-dev" / name, pipeline) for name in DATABASES}
        figures[extractor] = {"databases": {name: _figures(*of) for name, of in found.items()}}
        try:
            more = prints(options.data / _MORE, pipeline)[1]
        except NotRunError as reason:
            missing[f"staged search, {extractor}"] = str(reason)
            continue
        figures[extractor]["staged"] = _staged(found, more)
    parameters = {"extractors": list(EXTRACTORS), "matcher": MATCHER, "databases": list(DATABASES)}
    return Result(parameters, figures, _bars(figures), missing)


def render(run: Mapping[str, Any], _folder: Path) -> str:
    """Return a table of the databases for each extractor, and how staged search fares."""
    head = ["minutiae a print", "EER", "FNMR at FMR 1e-3", "FNMR without a false match", "mate first"]
    set_ = run["parameters"]
    parts = [
        f"""`{set_["matcher"]}`, FVC's protocol: in each database the 280 mated pairs of ten fingers and all 2,880 pairs
of different fingers. Intervals are two-sided 95 %, from 1,000 resamples of the ten fingers (for FNMR at the threshold
of all data): ten fingers say little about others.
"""
    ]
    for extractor, found in run["figures"].items():
        rows = [
            [
                name,
                f"{row['minutiae']:.0f}",
                _percent(row["eer"]),
                _percent(row["fmr1000"]),
                f"{100 * row['zero_fmr']:.2f} %",
                f"{row['rank_1']} / {row['prints']}",
            ]
            for name, row in found["databases"].items()
        ]
        parts.append(table([f"`{extractor}`", *head], rows) + "\n")
        if "staged" in found:
            row = found["staged"]
            parts.append(
                f"Each of these prints searched among the {row['references']} others, `{_MORE}`'s included, "
                f"{row['compared']} of them compared in full: the first candidate is that of full search for "
                f"{row['same_first']} of {row['probes']}, a mate for {row['rank_1']} ({row['rank_1_full']} in full "
                "search).\n"
            )
    return "\n".join(parts)


def prints(folder: Path, pipeline: FingerPipeline) -> tuple[list[str], list[Minutiae]]:
    """Return finger and minutiae of every print of a database, ``<finger>_<impression>.tif``.

    Raises
    ------
    NotRunError
        The database is not here.
    """
    if not folder.is_dir():
        raise NotRunError(f"the data set {folder.name} is not here; name the folder that holds it with --data")
    fingers, found = [], []
    for path, image in _images(folder):
        (print_,) = pipeline.process([image])
        fingers.append(path.stem.rpartition("_")[0])
        found.append(print_.minutiae if isinstance(print_, ProcessedPrint) else _nothing(image))
    return fingers, found


def similarities(minutiae: list[Minutiae]) -> NDArray[np.float32]:
    """Return the similarity of every print to every other, (N, N) float32."""
    matcher = MATCHERS.load(MATCHER)()
    templates = [matcher.prepare(m) for m in minutiae]
    pack = matcher.pack(templates)
    return np.stack([matcher.compare_many(template, pack) for template in templates])


def _figures(fingers: list[str], minutiae: list[Minutiae]) -> dict[str, Any]:
    similarity = similarities(minutiae)
    names, finger = np.unique(fingers, return_inverse=True)
    first, second = np.triu_indices(len(fingers), 1)
    same = finger[first] == finger[second]
    mated, non_mated = (
        Comparisons.of(similarity[first, second][kind], finger[first][kind], finger[second][kind], len(names))
        for kind in (same, ~same)
    )
    accuracy = measure(Trials(mated, non_mated, len(fingers), 0))
    threshold = non_mated.threshold_accepting(_FMR)
    resampled = SubjectBootstrap(len(names)).false_non_match_rates(mated, [threshold])[:, 0]
    others = similarity.copy()
    np.fill_diagonal(others, -1)
    return {
        "prints": len(fingers),
        "eer": _triple(accuracy.eer),
        "fmr1000": _triple(interval(false_non_match_rate(mated, threshold), resampled, len(names))),
        "zero_fmr": false_non_match_rate(mated, non_mated.threshold_accepting(0.0)),
        "rank_1": int((finger[others.argmax(axis=1)] == finger).sum()),
        "minutiae": float(np.mean([len(m) for m in minutiae])),
    }


def _staged(probes: Mapping[str, tuple[list[str], list[Minutiae]]], more: list[Minutiae]) -> dict[str, Any]:
    # Every print of the databases searched among all others, in two ways.
    matcher = MATCHERS.load(MATCHER)()
    fingers = np.array([f"{name}/{finger}" for name, (of, _) in probes.items() for finger in of] + [""] * len(more))
    templates = [matcher.prepare(m) for _, minutiae in probes.values() for m in minutiae]
    count = len(templates)
    references = matcher.pack([*templates, *(matcher.prepare(m) for m in more)])
    first, compared = np.empty((2, count), dtype=np.int64), 0
    for i, probe in enumerate(templates):
        for k, compare in enumerate((None, len(references))):
            ranking = matcher.search(probe, references, 2, compare=compare)
            # A print is among the references itself.
            first[k, i] = ranking.indices[ranking.indices != i][0]
            compared = ranking.compared if compare is None else compared
    return {
        "probes": count,
        "references": len(references) - 1,
        "compared": compared,
        "same_first": int((first[0] == first[1]).sum()),
        "rank_1": int((fingers[first[0]] == fingers[:count]).sum()),
        "rank_1_full": int((fingers[first[1]] == fingers[:count]).sum()),
    }


def _bars(figures: Mapping[str, Any]) -> tuple[Bar, ...]:
    leader, ridge = (list(figures[name]["databases"].values()) for name in EXTRACTORS)
    eer, fmr1000 = (100 * float(np.mean([found[key][0] for found in leader])) for key in ("eer", "fmr1000"))
    hits, searched = (sum(found[key] for found in leader) for key in ("rank_1", "prints"))
    ridge_eer = 100 * float(np.mean([found["eer"][0] for found in ridge]))
    staged = figures["leader"].get("staged")
    search: tuple[Bar, ...] = ()
    if staged is not None:
        same = 100 * staged["same_first"] / staged["probes"]
        search = (Bar("staged searches with the first candidate of full search, leader", 100, same, "%", False),)
    return (
        Bar("equal error rate, mean of the databases, leader", 0.6, eer, "%"),
        Bar("FNMR at FMR 1e-3, mean of the databases, leader", 1.6, fmr1000, "%"),
        Bar("searches with a mate first, leader", 99.5, 100 * hits / searched, "%", at_most=False),
        *search,
        Bar("equal error rate, mean of the databases, ridge", 6.0, ridge_eer, "%"),
    )


def _images(folder: Path) -> Iterator[tuple[Path, FingerprintImage]]:
    for path in sorted(folder.glob("*.tif")):
        with Image.open(path) as image:
            # The files' own tags are wrong.
            yield path, FingerprintImage(np.asarray(image.convert("L")), ppi=500)


def _nothing(image: FingerprintImage) -> Minutiae:
    none = np.empty(0, dtype=np.float32)
    kind = np.empty(0, dtype=np.uint8)
    return Minutiae(none, none, none, kind, kind, image.pixels.shape[1], image.pixels.shape[0])


def _triple(rate: Interval) -> list[float]:
    return [rate.value, rate.low, rate.high]


def _percent(rate: list[float]) -> str:
    return f"{100 * rate[0]:.2f} % ({100 * rate[1]:.2f} – {100 * rate[2]:.2f})"
