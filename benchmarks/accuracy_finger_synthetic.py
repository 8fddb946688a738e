"""How like real fingers SYNTHETIC ones are: an extractor's minutiae against the truth, scores beside FVC's; speed."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot

from benchmarks.accuracy_finger import DATABASES, MATCHER, prints, similarities
from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.race import quartiles
from benchmarks.render import table
from biometrik.config import FingerParameters, ModelParameters, RuntimeParameters
from biometrik.evaluation.metrics import Comparisons, Trials, equal_error_rate, false_non_match_rate
from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint
from biometrik.fingers import Minutiae
from biometrik.inference import Runtime
from biometrik.synthetic.agreement import Agreement, agreement
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import CLEAN, HARD, ImpressionParameters, draw_impression
from biometrik.synthetic.templates import draw_identity, draw_template

TITLE = "Synthetic fingers beside real ones"

#: Population that the figures are of.
_SEED: Final = 2026
_FINGERS: Final = 100
_IMPRESSIONS: Final = 4
_VARIANTS: Final = {"clean": CLEAN, "usual": ImpressionParameters(), "hard": HARD}
_MARGIN_PX: Final = 12
_FMR: Final = 1e-3
_BINS: Final = np.linspace(0.0, 1.0, 101)

#: Seconds in which 2,500 fingers with four impressions each are drawn.
_TIME_BAR_S: Final = 1800.0


def run(options: Options) -> Result:
    """Extract the prints of each variant, compare every pair of each set, and time the drawing."""
    folder = options.data / "fvc-dev"
    if not folder.is_dir():
        raise NotRunError("the data set fvc-dev is not here; name the folder that holds it with --data")
    pipeline = FingerPipeline(
        FingerParameters(), Runtime(RuntimeParameters(threads=1), ModelParameters(cache=options.cache))
    )
    sets: dict[str, Any] = {f"FVC {name}": figures(*prints(folder / name, pipeline)) for name in DATABASES}
    agreements = {}
    for name, parameters in _VARIANTS.items():
        fingers, minutiae, agreed = _extracted(pipeline, parameters, 1 if parameters is CLEAN else _IMPRESSIONS)
        agreements[name] = [agreed.precision, agreed.recall, agreed.found, agreed.true]
        if parameters is not CLEAN:
            sets[f"synthetic images, {name}"] = figures(fingers, minutiae)
    identities = [draw_identity(_SEED, i) for i in range(_FINGERS)]
    drawn = [(str(d.index), draw_template(d, k)) for d in identities for k in range(_IMPRESSIONS)]
    sets["synthetic templates"] = figures([finger for finger, _ in drawn], [m for _, m in drawn])
    times = _times(options.rounds)
    seconds = 2_500 * times["finger"][0] + 10_000 * times["impression"][0]
    clean = agreements["clean"]
    bars = (
        Bar("precision of extraction, clean impressions", 0.9, clean[0], at_most=False),
        Bar("recall of extraction, clean impressions", 0.9, clean[1], at_most=False),
        Bar("templates drawn a second", 2_000, 1 / times["template"][0], at_most=False),
        Bar("2,500 fingers with four impressions each, drawn in", _TIME_BAR_S, seconds, "s"),
    )
    parameters_ = {
        "seed": _SEED,
        "fingers": _FINGERS,
        "impressions": _IMPRESSIONS,
        "extractor": FingerParameters().extractor,
        "matcher": MATCHER,
        "margin_px": _MARGIN_PX,
        "rounds": options.rounds,
    }
    return Result(parameters_, {"sets": sets, "agreement": agreements, "seconds": times}, bars)


def render(run: Mapping[str, Any], folder: Path) -> str:
    """Return tables of agreement, of the sets' statistics and of times, with the scores of all sets as a plot."""
    found, set_ = run["figures"], run["parameters"]
    _draw(found["sets"], folder / "finger_synthetic.png")
    agreements = [
        [name, f"{100 * row[0]:.1f} %", f"{100 * row[1]:.1f} %", f"{row[2]:,}", f"{row[3]:,}"]
        for name, row in found["agreement"].items()
    ]
    sets = [
        [
            name,
            " – ".join(f"{row['minutiae'][k]:.0f}" for k in (0, 2)),
            f"{row['density'][1]:.1f}",
            f"{row['nearest_px'][1]:.0f}",
            f"{100 * row['alike']:.0f} / {100 * row['opposed']:.0f} %",
            " / ".join(f"{s:.2f}" for s in row["mated"]),
            " / ".join(f"{s:.2f}" for s in row["non_mated"]),
            f"{100 * row['eer']:.2f} %",
            f"{100 * row['fmr1000']:.2f} %",
        ]
        for name, row in found["sets"].items()
    ]
    head = [
        "set",
        "minutiae, 5th – 95th percentile",
        "in 10,000 px²",
        "nearest, px",
        "neighbour alike / opposed",
        "mated similarity, 1st / 5th / 50th percentile",
        "non-mated, 50th / 99th / 99.9th",
        "EER",
        "FNMR at FMR 1e-3",
    ]
    times = [
        [name, f"{1e3 * value:.3g} ({1e3 * low:.3g} – {1e3 * high:.3g})"]
        for name, (value, low, high) in found["seconds"].items()
    ]
    return f"""`{set_["extractor"]}` on prints of `biometrik.synthetic`: nobody's. Agreement with their true minutiae
within 8 px and 20°, at least {set_["margin_px"]} px inside the part that touches:

{table(["impressions", "precision", "recall", "minutiae found", "true"], agreements)}

`{set_["matcher"]}` on {set_["fingers"]} fingers with {set_["impressions"]} impressions each, beside FVC's databases;
medians where nothing else is said:

{table(head, sets)}

![Similarities of synthetic and real prints](plots/finger_synthetic.png)

Milliseconds of processor time, median (quartiles) of {set_["rounds"]} rounds:

{table(["drawn", "ms"], times)}
"""


def figures(fingers: Sequence[str], minutiae: Sequence[Minutiae]) -> dict[str, Any]:
    """Return what a set's minutiae are like, and the similarities of all its pairs.

    Parameters
    ----------
    fingers : sequence of str
        Whose each print is.
    minutiae : sequence of Minutiae
        Of each print.
    """
    similarity = similarities(list(minutiae))
    names, finger = np.unique(fingers, return_inverse=True)
    first, second = np.triu_indices(len(fingers), 1)
    same = finger[first] == finger[second]
    mated, non_mated = (
        Comparisons.of(similarity[first, second][kind], finger[first][kind], finger[second][kind], len(names))
        for kind in (same, ~same)
    )
    return {
        "prints": len(fingers),
        **statistics(minutiae),
        "mated": _percentiles(mated.similarity, (1, 5, 50)),
        "non_mated": _percentiles(non_mated.similarity, (50, 99, 99.9)),
        "eer": equal_error_rate(Trials(mated, non_mated, len(fingers), 0)),
        "fmr1000": false_non_match_rate(mated, non_mated.threshold_accepting(_FMR)),
        "histogram": {
            name: [int(n) for n in np.histogram(kind.similarity, bins=_BINS)[0]]
            for name, kind in (("mated", mated), ("non_mated", non_mated))
        },
    }


def statistics(minutiae: Sequence[Minutiae]) -> dict[str, Any]:
    """Return counts, densities in the convex hull, nearest neighbours' distances and directions.

    Parameters
    ----------
    minutiae : sequence of Minutiae
        Of each print; those with fewer than three count only in the counts.
    """
    densities, distances, turns = [], [], []
    for m in minutiae:
        if len(m) < 3:
            continue
        densities.append(1e4 * len(m) / max(cv2.contourArea(cv2.convexHull(np.stack([m.x, m.y], axis=1))), 1.0))
        apart = np.hypot(m.x[:, None] - m.x, m.y[:, None] - m.y)
        np.fill_diagonal(apart, np.inf)
        distances.append(apart.min(axis=1))
        turns.append(np.cos(m.direction - m.direction[apart.argmin(axis=1)]))
    turn, near = np.concatenate(turns), np.cos(np.radians(30))
    return {
        "minutiae": _percentiles(np.array([len(m) for m in minutiae]), (5, 50, 95)),
        "density": _percentiles(np.array(densities), (5, 50, 95)),
        "nearest_px": _percentiles(np.concatenate(distances), (5, 50, 95)),
        "alike": float(np.mean(turn > near)),
        "opposed": float(np.mean(turn < -near)),
    }


def _extracted(
    pipeline: FingerPipeline, parameters: ImpressionParameters, impressions: int
) -> tuple[list[str], list[Minutiae], Agreement]:
    # Prints that give no template are left out of everything; the sets count those that are left.
    fingers, found, agreed = [], [], Agreement()
    for index in range(_FINGERS):
        finger = draw_finger(_SEED, index)
        for k in range(impressions):
            drawn = draw_impression(finger, k, parameters)
            (print_,) = pipeline.process([drawn.image])
            if isinstance(print_, ProcessedPrint):
                fingers.append(str(index))
                found.append(print_.minutiae)
                agreed += agreement(print_.minutiae, drawn.minutiae, drawn.contact, margin_px=_MARGIN_PX)
    return fingers, found, agreed


def _times(rounds: int) -> dict[str, list[float]]:
    finger, identity = draw_finger(_SEED, 0), draw_identity(_SEED, 0)
    work: dict[str, tuple[int, Callable[[int], object]]] = {
        "finger": (2, lambda i: draw_finger(_SEED, i)),
        "impression": (4, lambda i: draw_impression(finger, i)),
        "identity": (100, lambda i: draw_identity(_SEED, i)),
        "template": (200, lambda i: draw_template(identity, i)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _, act in work.values():
        act(0)  # compiles
    for _ in range(rounds):
        for name, (count, act) in work.items():
            start = time.process_time()
            for i in range(count):
                act(i)
            seconds[name].append((time.process_time() - start) / count)
    return {name: list(quartiles(found)) for name, found in seconds.items()}


def _draw(sets: Mapping[str, Any], path: Path) -> None:
    # FVC's four databases as one, for they are few prints each.
    pooled: dict[str, dict[str, NDArray[np.int64]]] = {}
    for name, found in sets.items():
        group = pooled.setdefault("FVC, four databases" if name.startswith("FVC") else name, {})
        for kind, counts in found["histogram"].items():
            group[kind] = group.get(kind, np.zeros(len(_BINS) - 1, dtype=np.int64)) + np.array(counts)
    figure, axes = pyplot.subplots(figsize=(7.0, 4.2))
    for colour, (name, group) in zip(("black", "tab:blue", "tab:red", "tab:green"), pooled.items(), strict=False):
        for kind, style in (("mated", "-"), ("non_mated", ":")):
            counts = group[kind]
            axes.stairs(
                counts / max(counts.sum(), 1),
                _BINS,
                color=colour,
                linestyle=style,
                label=f"{name}, {kind.replace('_', '-')} ({counts.sum():,})",
            )
    axes.set(yscale="log", ylim=(1e-5, 1), xlabel="similarity", ylabel="share of comparisons")
    axes.set(title="Similarities of synthetic and real prints")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})
    pyplot.close(figure)


def _percentiles(values: NDArray[Any], shares: tuple[float, ...]) -> list[float]:
    return [float(value) for value in np.percentile(values, shares)]
