"""How well faces are told apart, on every pair of photographs of `lfw-dev`; and that the networks are OpenCV's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import plots as pictures
from benchmarks.history import Bar, NotRunError, Result
from benchmarks.opencv_pair import OpenCvPair, plain_weights
from benchmarks.options import Options
from benchmarks.render import table
from biometrik.calibration import load_calibrations
from biometrik.config import DetectionParameters, FaceParameters, ModelParameters, RuntimeParameters
from biometrik.evaluation.metrics import Comparisons, Trials
from biometrik.evaluation.protocols import LabelledImages, compare_all, embed_with, enroll, labelled_images
from biometrik.evaluation.report import Accuracy, measure
from biometrik.face.pipeline import FacePipeline, ProcessedFace
from biometrik.inference import Runtime
from biometrik.types import Face, FaceImage, Interval

TITLE = "Face recognition accuracy"

#: Variants of the pipeline → bars in percent: equal error rate, FNMR at FMR 1e-3 and at 1e-4.
_VARIANTS: Final = {"plain": (0.9, 1.8, 3.4), "flip": (0.8, 1.6, 3.0), "refine": (0.8, 1.6, 3.0)}
#: Photographs on which the networks are held against OpenCV's own.
_EQUAL_ON: Final = 400


def run(options: Options) -> Result:
    """Embed all of lfw-dev with each variant, compare every pair, and compare with OpenCV on some."""
    folder = options.data / "lfw-dev"
    if not (folder / "images").is_dir():
        raise NotRunError("the data set lfw-dev is not here; name the folder that holds it with --data")
    data = labelled_images(folder)
    figures: dict[str, Any] = {}
    bars: list[Bar] = []
    for variant, (eer, at_3, at_4) in _VARIANTS.items():
        pipeline = _pipeline(
            options, FaceParameters(flip=variant == "flip", detection=DetectionParameters(refine=variant == "refine"))
        )
        enrolled = enroll(data, embed_with(pipeline))
        trials = compare_all(enrolled.embeddings, enrolled.subjects, failures_to_enroll=enrolled.failures_to_enroll)
        accuracy = measure(trials)
        figures[variant] = _figures(pipeline.contract_id, trials, accuracy)
        failed = enrolled.failures_to_enroll / len(data.paths)
        bars += [
            _bar(f"equal error rate, {variant}", eer, accuracy.eer),
            _bar(f"FNMR at FMR 1e-3, {variant}", at_3, accuracy.at(1e-3).fnmr),
            _bar(f"FNMR at FMR 1e-4, {variant}", at_4, accuracy.at(1e-4).fnmr),
            Bar(f"failure to enrol, {variant}", 0.0, 100 * failed, "%"),
        ]
    figures["opencv"] = equal = _beside_opencv(options, data)
    bars += [
        Bar("least cosine to OpenCV's embedding of the same crop", 0.9999, equal["least_cosine"], at_most=False),
        Bar("greatest difference from OpenCV's boxes and landmarks", 0.01, equal["greatest_px"], "px"),
        Bar("faces that only one of the two finds", 0, equal["unpaired"]),
    ]
    parameters = {
        "dataset": data.name,
        "images": len(data.paths),
        "subjects": len(set(data.labels)),
        "detector": FaceParameters().detector,
        "embedder": FaceParameters().embedder,
        "compared_with_opencv": _EQUAL_ON,
    }
    return Result(parameters, figures, tuple(bars))


def render(run: Mapping[str, Any], folder: Path) -> str:
    """Return tables of the operating points, with the trade-off, the similarities and the calibration as plots."""
    figures = {name: found for name, found in run["figures"].items() if name != "opencv"}
    pictures.trade_off(figures, folder / "face_det.png")
    pictures.similarities(figures["plain"], folder / "face_similarities.png")
    pictures.calibration(figures, folder / "face_calibration.png")
    rows = [
        [f"{variant}, FMR 1e-{score // 10}", f"{p['threshold']:.3f}", _percent(p["fnmr"]), _times(p["fmr"], score)]
        for variant, found in figures.items()
        for score in (20, 30, 40, 50)
        for p in found["points"]
        if p["score"] == score
    ]
    counts, equal, set_ = figures["plain"], run["figures"]["opencv"], run["parameters"]
    return f"""All pairs of the {set_["images"]:,} photographs of {set_["subjects"]:,} people in `{set_["dataset"]}`:
{counts["mated"]:,} mated and {counts["non_mated"]:,} non-mated comparisons. `plain` is the default; `flip` averages the
mirrored crop in, `refine` measures the landmarks twice. Intervals are two-sided 95 %, from 1,000 resamples of the
people (both of a pair); FNMR's includes the uncertainty of the threshold. This is one population of press photographs:
other people and cameras need their own calibration.

{table(["operating point", "cosine threshold", "FNMR", "FMR there, times the target"], rows)}

![Detection error trade-off](plots/face_det.png)
![Similarities of mated and non-mated comparisons](plots/face_similarities.png)
![Calibration](plots/face_calibration.png)

{_calibrations(figures)}

Beside OpenCV {equal["version"]} on {equal["images"]} photographs, with the same weights: cosine of embeddings of one
crop ≥ {equal["least_cosine"]:.7f}; boxes and landmarks of {equal["faces"]} faces at native scale within
{equal["greatest_px"]:.2g} px.
"""


def _pipeline(options: Options, parameters: FaceParameters) -> FacePipeline:
    return FacePipeline(parameters, Runtime(RuntimeParameters(), ModelParameters(cache=options.cache)))


def _figures(contract_id: str, trials: Trials, accuracy: Accuracy) -> dict[str, Any]:
    evidence = load_calibrations().get(contract_id)
    shipped = evidence.real if evidence else None
    return {
        "model_contract_id": contract_id,
        "mated": len(trials.mated),
        "non_mated": len(trials.non_mated),
        "eer": _triple(accuracy.eer),
        "points": [
            {"score": p.score, "threshold": p.threshold, "fmr": _triple(p.fmr), "fnmr": _triple(p.fnmr)}
            for p in accuracy.points
        ],
        "histogram": {"mated": _histogram(trials.mated), "non_mated": _histogram(trials.non_mated)},
        "calibration": None
        if shipped is None
        else {
            "id": shipped.id,
            "tightest_fmr": shipped.tightest_fmr,
            "points": [[p.score, p.similarity, *_triple(p.fmr)] for p in shipped.points],
            # How far the shipped table's scores are from what was measured just now.
            "greatest_drift": max(
                abs(shipped.score(p.threshold) - p.score)
                for p in accuracy.points
                if p.score <= shipped.points[-1].score
            ),
        },
    }


def _beside_opencv(options: Options, data: LabelledImages) -> dict[str, Any]:
    # At native scale, as OpenCV detects: nothing is scaled down, no second look.
    settings = DetectionParameters(max_side_px=4096, refine=False)
    pipeline = _pipeline(options, FaceParameters(detection=settings))
    pair = OpenCvPair(*plain_weights(options.cache), min_confidence=settings.min_confidence, nms_iou=settings.nms_iou)
    step = max(1, len(data.paths) // _EQUAL_ON)
    cosines: list[float] = []
    distances: list[float] = []
    unpaired = 0
    paths = data.paths[::step][:_EQUAL_ON]
    for path in paths:
        image = FaceImage.from_file(path)
        bgr = image.pixels[..., ::-1].copy()
        near, alone = _pairs(pipeline.detector.detect([image.pixels])[0], pair.detect(bgr))
        distances += near
        unpaired += alone
        (found,) = pipeline.process([image])
        if isinstance(found, ProcessedFace):
            cosines.append(float(pair.embed_crop(found.crop[..., ::-1].copy()) @ found.embedding))
    return {
        "version": cv2.__version__,
        "images": len(paths),
        "faces": len(distances),
        "least_cosine": min(cosines),
        "greatest_px": max(distances),
        "unpaired": unpaired,
    }


def _pairs(ours: Sequence[Face], theirs: NDArray[np.float32]) -> tuple[list[float], int]:
    # Greatest coordinate difference of each pair of faces within a pixel, and how many faces have no partner.
    distances = []
    left = [row[:14] for row in theirs]
    for face in ours:
        box = face.box
        row = np.array([box.x, box.y, box.width, box.height, *face.landmarks.ravel()])
        near = [float(np.abs(row - other).max()) for other in left]
        if near and min(near) < 1.0:
            distances.append(min(near))
            left.pop(int(np.argmin(near)))
    return distances, len(ours) - len(distances) + len(left)


def _calibrations(figures: Mapping[str, Any]) -> str:
    lines = []
    for variant, found in figures.items():
        shipped = found["calibration"]
        if shipped is None:
            lines.append(f"No calibration ships for `{found['model_contract_id']}`: run `scripts/calibrate`.")
        else:
            lines.append(
                f"Calibration `{shipped['id']}` ({variant}) supports FMR ≥ {shipped['tightest_fmr']:.2g}; its scores "
                f"are within {shipped['greatest_drift']:.2g} of this measurement."
            )
    return "\n".join(lines)


def _histogram(comparisons: Comparisons) -> list[int]:
    return [int(n) for n in np.histogram(comparisons.similarity, bins=pictures.BINS)[0]]


def _triple(rate: Interval) -> list[float]:
    return [rate.value, rate.low, rate.high]


def _bar(name: str, percent: float, rate: Interval) -> Bar:
    return Bar(name, percent, 100 * rate.value, "%", low=100 * rate.low, high=100 * rate.high)


def _percent(rate: Sequence[float]) -> str:
    return f"{100 * rate[0]:.2f} % ({100 * rate[1]:.2f} – {100 * rate[2]:.2f})"


def _times(rate: Sequence[float], score: float) -> str:
    return " – ".join(f"{bound * 10 ** (score / 10):.2f}" for bound in rate[1:])
