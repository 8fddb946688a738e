"""Whether quality says how useful a photograph is: errors that remain when the worst are discarded, on `lfw-dev`."""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import plots as pictures
from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.render import table
from biometrik.config import FaceParameters, ModelParameters, RuntimeParameters
from biometrik.evaluation.protocols import compare_all, labelled_images
from biometrik.face import quality
from biometrik.face.pipeline import FacePipeline, ProcessedFace
from biometrik.inference import Runtime
from biometrik.types import FaceImage

TITLE = "Face quality"

#: Shares of mated comparisons that are discarded, those with the poorer sample of lowest quality first.
_DISCARDED: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)
#: Discarding is judged at the threshold of this FMR: the more errors there are, the less chance decides.
_FMR: Final = 1e-4
_BATCH: Final = 32
#: The score that samples are ordered by, and what it would be if the embedder did not say how much it saw.
_UNIFIED: Final = "unified_quality"
_LOWEST: Final = "lowest component"
#: The share of comparisons whose discarding is promised to leave no more than this share of the errors.
_PROMISED_AT, _PROMISED_LEFT = 0.05, 0.7
#: Curves in the picture; the table has all.
_SHOWN: Final = (_UNIFIED, _LOWEST, "detection_confidence")


def run(options: Options) -> Result:
    """Assess and embed every photograph, then discard comparisons by each component in turn."""
    folder = options.data / "lfw-dev"
    if not (folder / "images").is_dir():
        raise NotRunError("the data set lfw-dev is not here; name the folder that holds it with --data")
    data = labelled_images(folder)
    pipeline = FacePipeline(FaceParameters(), Runtime(RuntimeParameters(), ModelParameters(cache=options.cache)))
    people = np.unique(data.labels, return_inverse=True)[1]
    kept: list[int] = []
    embeddings, values, microseconds = [], [], []
    refused, accepted = Counter[str](), 0
    for start in range(0, len(data.paths), _BATCH):
        images = [FaceImage.from_file(path) for path in data.paths[start : start + _BATCH]]
        for i, (image, found) in enumerate(zip(images, pipeline.process(images), strict=True), start):
            if not isinstance(found, ProcessedFace):
                continue
            began = time.perf_counter()
            lowest = quality.assess(image.pixels, found.face, found.crop, found.faces_found).overall
            microseconds.append(1e6 * (time.perf_counter() - began))
            kept.append(i)
            embeddings.append(found.embedding)
            values.append({_LOWEST: lowest} | {c.name: c.value for c in found.quality.components})
            refused.update(c.name for c in found.quality.components if not c.acceptable)
            accepted += found.quality.acceptable
    curves = _curves(np.stack(embeddings), people[kept], values)
    share = accepted / len(kept)
    figures: dict[str, Any] = {
        "curves": curves,
        "refused": dict(refused),
        "quantiles": {
            name: [float(q) for q in np.percentile([v[name] for v in values], (1, 5, 50, 95))] for name in values[0]
        },
        "acceptable": share,
        "microseconds": float(np.median(microseconds)),
    }
    bars = (
        Bar("everyday photographs that the counter profile accepts", 99.0, 100 * share, "%", at_most=False),
        Bar(
            f"errors left when {100 * _PROMISED_AT:.0f} % of the comparisons are discarded by unified quality",
            100 * _PROMISED_LEFT,
            100 * curves[_UNIFIED][_DISCARDED.index(_PROMISED_AT)] / curves[_UNIFIED][0],
            "% of all",
        ),
        Bar("one assessment", 1.0, figures["microseconds"] / 1e3, "ms"),
    )
    return Result({"dataset": data.name, "images": len(kept), "fmr": _FMR, "profile": "counter"}, figures, bars)


def render(run: Mapping[str, Any], folder: Path) -> str:
    """Return tables of what discarding by each component leaves, and of the values that occur."""
    found, set_ = run["figures"], run["parameters"]
    pictures.discards(found["curves"], _DISCARDED, _SHOWN, folder / "face_quality.png")
    left = [
        [name, *(f"{100 * rate:.2f}" for rate in rates)]
        for name, rates in sorted(found["curves"].items(), key=lambda item: float(np.mean(item[1])))
    ]
    values = [[name, *(f"{q:.0f}" for q in qs)] for name, qs in found["quantiles"].items()]
    refusals = ", ".join(f"{name} {count}" for name, count in found["refused"].items()) or "none"
    return f"""{set_["images"]:,} photographs of `{set_["dataset"]}`. The profile `{set_["profile"]}` accepts
{100 * found["acceptable"]:.2f} %; refused by component: {refusals}. One assessment takes
{found["microseconds"]:.0f} µs (median).

FNMR in percent at FMR {set_["fmr"]:g}, its threshold fixed beforehand, after discarding the mated comparisons whose
poorer sample has the lowest value. What orders samples by usefulness falls from left to right; chance stays level.
The overall value is `{_UNIFIED}`; `{_LOWEST}` is what it is where the embedder does not say how much it saw.

{table(["discarded by", *(f"{100 * share:.0f} %" for share in _DISCARDED)], left)}

![FNMR after discarding](plots/face_quality.png)

Values that occur, 0–100:

{table(["component", "1st percentile", "5th", "median", "95th"], values)}
"""


def error_versus_discard(
    similarity: NDArray[np.floating[Any]], usefulness: NDArray[np.floating[Any]], threshold: float
) -> list[float]:
    """Return the FNMR that is left after discarding each share of the mated comparisons, least useful first.

    Parameters
    ----------
    similarity, usefulness : (N,) float
        Of each mated comparison; equally useful ones are discarded in their order here.
    threshold : float
        Similarities below are errors.

    References
    ----------
    P. Grother, E. Tabassi, "Performance of biometric quality measures", IEEE TPAMI 29(4), 2007, section 4.
    """
    wrong = (similarity < threshold)[np.argsort(usefulness, kind="stable")]
    return [float(wrong[int(share * len(wrong)) :].mean()) for share in _DISCARDED]


def _curves(
    embeddings: NDArray[np.float32],
    people: NDArray[np.int64],
    values: list[dict[str, float]],
) -> dict[str, list[float]]:
    threshold = compare_all(embeddings, people).non_mated.threshold_accepting(_FMR)
    first, second = np.nonzero(np.triu(people[:, None] == people, 1))
    # Components tie in many pairs; the data set's order, by name, is mixed so that it does not decide.
    mixed = np.random.default_rng(1).permutation(len(first))
    first, second = first[mixed], second[mixed]
    similarity = np.einsum("nd,nd->n", embeddings[first], embeddings[second])
    orders = {name: np.array([v[name] for v in values]) for name in values[0]}
    return {
        name: error_versus_discard(similarity, np.minimum(order[first], order[second]), threshold)
        for name, order in orders.items()
    }
