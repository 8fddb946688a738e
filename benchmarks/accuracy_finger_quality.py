"""Whether quality says how useful a print is: against NFIQ 2, and by the errors left when the worst are discarded."""

import io
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import plots as pictures
from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.render import table
from biometrik.config import FingerParameters, ModelParameters, RuntimeParameters
from biometrik.finger_imaging import read_print
from biometrik.fingerprint.matching import MATCHERS
from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint
from biometrik.fingerprint.quality import assess
from biometrik.fingers import FingerprintImage
from biometrik.inference import Runtime

TITLE = "Fingerprint quality"

DATABASES: Final = ("fvc2002/DB1_B", "fvc2002/DB3_B", "fvc2004/DB1_B", "fvc2004/DB2_B")
#: More of whose prints are compared with NFIQ 2; too easy to say anything of errors.
_MORE: Final = "crossmatch-dev"
_EXTRACTOR, _MATCHER = "ridge", "cylinders"
_PPI: Final = 500.0
#: FVC: the threshold that at most 2 of 2,880 non-mated comparisons reach.
_FMR: Final = 1e-3
#: Shares of mated comparisons that are discarded, those with the poorer print of lowest quality first.
_DISCARDED: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)
_OVERALL, _NFIQ2 = "unified_quality", "NFIQ 2"
#: Curves in the picture; the table has all.
_SHOWN: Final = (_OVERALL, _NFIQ2, "local_clarity")

_Row = dict[str, float]


def run(options: Options) -> Result:
    """Assess every print, compare within the databases, and discard comparisons by each component in turn."""
    folders = {name: options.data / "fvc-dev" / name for name in DATABASES} | {_MORE: options.data / _MORE}
    missing = [name for name, folder in folders.items() if not folder.is_dir()]
    if missing:
        raise NotRunError(f"the data set {missing[0]} is not here; name the folder that holds it with --data")
    pipeline = FingerPipeline(
        FingerParameters(extractor=_EXTRACTOR),
        Runtime(RuntimeParameters(threads=1), ModelParameters(cache=options.cache)),
    )
    reference = _nfiq2()
    values: dict[str, list[_Row]] = {}
    comparisons, eers, milliseconds = [], [], []
    advice = Counter[str]()
    for name, folder in folders.items():
        images = [(path, read_print(path, ppi=_PPI)) for path in sorted(folder.glob("*.tif"))]
        rows: list[_Row] = []
        for _, image in images:
            (found,) = pipeline.process([image])
            row: _Row = {}
            if isinstance(found, ProcessedPrint):
                began = time.process_time()
                quality = assess(found.prepared, found.minutiae, found.position, image.impression)
                milliseconds.append(1e3 * (time.process_time() - began))
                row = {component.name: component.value for component in quality.components}
                advice.update(reason.name for reason in quality.reasons)
            score = reference(image) if reference else None
            rows.append(row if score is None else {**row, _NFIQ2: score})
        values[name] = rows
        if name != _MORE:
            compared = _compared(pipeline, images, rows)
            comparisons.append(compared)
            eers.append(equal_error_rate(compared[0], compared[1]))
    correlations = _correlations(values) if reference else {}
    curves = _curves(comparisons)
    figures: dict[str, Any] = {
        "prints": sum(map(len, values.values())),
        "eer": dict(zip(DATABASES, eers, strict=True)),
        "correlations": correlations,
        "curves": curves,
        "advice": dict(advice),
        "milliseconds": float(np.median(milliseconds)),
    }
    bars = [
        Bar("equal error rate of ridge, mean of the databases", 6.0, 100 * float(np.mean(eers)), "%"),
        Bar(
            "errors left when 10 % of the comparisons are discarded by unified quality",
            80.0,
            100 * curves[_OVERALL][_DISCARDED.index(0.1)] / max(curves[_OVERALL][0], 1e-9),
            "% of all",
        ),
    ]
    if reference:
        bars.append(Bar("rank correlation with NFIQ 2, all prints", 0.7, correlations["all"], at_most=False))
    parameters = {"extractor": _EXTRACTOR, "matcher": _MATCHER, "databases": [*DATABASES, _MORE], "fmr": _FMR}
    lacking = {} if reference else {_NFIQ2: "needs the package nbis-py; scripts/setup installs it"}
    return Result(parameters, figures, tuple(bars), lacking)


def render(run: Mapping[str, Any], folder: Path) -> str:
    """Return tables of what discarding by each component leaves, and of the agreement with NFIQ 2."""
    found, set_ = run["figures"], run["parameters"]
    pictures.discards(found["curves"], _DISCARDED, _SHOWN, folder / "finger_quality.png")
    left = [
        [name, *(f"{100 * rate:.2f}" for rate in rates)]
        for name, rates in sorted(found["curves"].items(), key=lambda item: float(np.mean(item[1])))
    ]
    advice = ", ".join(f"{name} {count}" for name, count in found["advice"].items()) or "none"
    ranks = table(["prints of", "Spearman's ρ"], [[name, f"{rho:.2f}"] for name, rho in found["correlations"].items()])
    rates = ", ".join(f"{name} {100 * eer:.2f} %" for name, eer in found["eer"].items())
    return f"""{found["prints"]:,} prints. As an unnamed finger's reference some would be taken again, with this advice:
{advice}. One assessment takes {found["milliseconds"]:.0f} ms of processor time (median).

Rank correlation of the overall value with NFIQ 2, as nbis-py computes it. The mapping was fitted to these prints; ADR 9
has what is left when each database is held out.

{ranks}

Equal error rates of `{set_["extractor"]}` with `{set_["matcher"]}`: {rates}. FNMR in percent at FMR {set_["fmr"]:g},
each database's threshold fixed beforehand, after discarding the mated comparisons whose poorer print has the lowest
value:

{table(["discarded by", *(f"{100 * share:.0f} %" for share in _DISCARDED)], left)}

![FNMR after discarding](plots/finger_quality.png)
"""


def rank_correlation(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float:
    """Return Spearman's ρ; equal values share their mean rank.

    Examples
    --------
    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 900.0]))
    1.0
    """
    return round(float(np.corrcoef(_ranks(a), _ranks(b))[0, 1]), 12)


def equal_error_rate(mated: NDArray[np.floating[Any]], non_mated: NDArray[np.floating[Any]]) -> float:
    """Return the rate where as many mated comparisons fail as non-mated ones succeed, 0..1."""
    thresholds = np.unique(np.concatenate([mated, non_mated]))
    fnmr = np.searchsorted(np.sort(mated), thresholds) / len(mated)
    fmr = 1 - np.searchsorted(np.sort(non_mated), thresholds) / len(non_mated)
    at = np.argmin(np.abs(fnmr - fmr))
    return float((fnmr[at] + fmr[at]) / 2)


def _ranks(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: NDArray[np.float64] = ((2 * last - count - 1) / 2)[place]
    return ranks


def _nfiq2() -> Any:
    # From a print to its NFIQ 2 score, or None where that fails; None where the package is not installed.
    try:
        import nbis
    except ModuleNotFoundError:
        return None
    settings = nbis.NbisExtractorSettings(
        min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=True, ppi=_PPI
    )
    extractor = nbis.new_nbis_extractor(settings)

    def score(image: FingerprintImage) -> float | None:
        png = io.BytesIO()
        Image.fromarray(image.pixels).save(png, "png")
        try:
            return float(extractor.extract_minutiae(png.getvalue()).quality().score)
        except nbis.NbisError:
            return None

    return score


_Compared = tuple[NDArray[np.float64], NDArray[np.float64], list[_Row]]


def _compared(pipeline: FingerPipeline, images: list[tuple[Path, FingerprintImage]], rows: list[_Row]) -> _Compared:
    # Similarities of mated and non-mated pairs, and for each mated pair the lower value of each component.
    matcher = MATCHERS.load(_MATCHER)()
    templates = []
    for found in pipeline.process([image for _, image in images]):
        templates.append(matcher.prepare(found.minutiae) if isinstance(found, ProcessedPrint) else None)
    fingers = [path.stem.rpartition("_")[0] for path, _ in images]
    mated, non_mated, poorer = [], [], []
    for i, one in enumerate(templates):
        for j in range(i + 1, len(templates)):
            other = templates[j]
            similarity = matcher.compare(one, other) if one is not None and other is not None else 0.0
            if fingers[i] != fingers[j]:
                non_mated.append(similarity)
                continue
            mated.append(similarity)
            names = rows[i].keys() | rows[j].keys()
            poorer.append({name: min(rows[i].get(name, 0.0), rows[j].get(name, 0.0)) for name in names})
    return np.array(mated), np.array(non_mated), poorer


def _correlations(values: Mapping[str, list[_Row]]) -> dict[str, float]:
    # Of the overall value with NFIQ 2, within each database and over all.
    def correlation(rows: list[_Row]) -> float:
        both = [(row[_OVERALL], row[_NFIQ2]) for row in rows if _OVERALL in row and _NFIQ2 in row]
        ours, theirs = np.array(both).T
        return rank_correlation(ours, theirs)

    within = {name: correlation(rows) for name, rows in values.items()}
    return {"all": correlation([row for rows in values.values() for row in rows]), **within}


def _curves(comparisons: list[_Compared]) -> dict[str, list[float]]:
    # Errors are judged at each database's own threshold; comparisons of all databases are discarded together.
    wrong, poorer = [], []
    for mated, non_mated, lower in comparisons:
        allowed = int(_FMR * len(non_mated))
        wrong += (mated <= np.sort(non_mated)[-allowed - 1]).tolist()
        poorer += lower
    mixed = np.random.default_rng(1).permutation(len(wrong))
    errors = np.array(wrong)[mixed]
    names = sorted(set().union(*poorer))
    curves = {}
    for name in names:
        order = np.argsort(np.array([row.get(name, 0.0) for row in poorer])[mixed], kind="stable")
        curves[name] = [float(errors[order][int(share * len(errors)) :].mean()) for share in _DISCARDED]
    return curves
