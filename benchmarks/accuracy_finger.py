"""How well fingers are told apart: FVC's protocol on four databases, and searches of each print among the others."""

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
MATCHER: Final = "cylinders"
#: FVC: the threshold that at most 2 of 2,880 non-mated comparisons reach.
_FMR: Final = 1e-3


def run(options: Options) -> Result:
    """Extract, compare every pair within each database, and search each print among the database's others."""
    pipeline = FingerPipeline(
        FingerParameters(), Runtime(RuntimeParameters(threads=1), ModelParameters(cache=options.cache))
    )
    figures: dict[str, Any] = {}
    for name in DATABASES:
        fingers, minutiae = prints(options.data / "fvc-dev" / name, pipeline)
        figures[name] = _figures(similarities(minutiae), fingers)
        figures[name]["minutiae"] = float(np.mean([len(m) for m in minutiae]))
    means = {key: float(np.mean([found[key][0] for found in figures.values()])) for key in ("eer", "fmr1000")}
    hits = sum(found["rank_1"] for found in figures.values())
    searched = sum(found["prints"] for found in figures.values())
    bars = (
        Bar("equal error rate, mean of the databases", 0.6, 100 * means["eer"], "%"),
        Bar("FNMR at FMR 1e-3, mean of the databases", 1.6, 100 * means["fmr1000"], "%"),
        Bar("searches with a mate first", 99.5, 100 * hits / searched, "%", at_most=False),
    )
    parameters = {"extractor": FingerParameters().extractor, "matcher": MATCHER, "databases": list(DATABASES)}
    return Result(parameters, figures, bars)


def render(run: Mapping[str, Any], _folder: Path) -> str:
    """Return a table of the databases."""
    rows = [
        [
            name,
            f"{found['minutiae']:.0f}",
            _percent(found["eer"]),
            _percent(found["fmr1000"]),
            f"{100 * found['zero_fmr']:.2f} %",
            f"{found['rank_1']} / {found['prints']}",
        ]
        for name, found in run["figures"].items()
    ]
    head = ["database", "minutiae a print", "EER", "FNMR at FMR 1e-3", "FNMR without a false match", "mate first"]
    set_ = run["parameters"]
    return f"""`{set_["extractor"]}` and `{set_["matcher"]}`, FVC's protocol: in each database the 280 mated pairs of
ten fingers and all 2,880 pairs of different fingers. Intervals are two-sided 95 %, from 1,000 resamples of the
ten fingers (for FNMR at the threshold of all data): ten fingers say little about others.

{table(head, rows)}
"""


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


def _figures(similarity: NDArray[np.float32], fingers: list[str]) -> dict[str, Any]:
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
    }


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
