"""How long detection and embedding of one face take on one core, in turns with OpenCV's pair and bare ONNX Runtime."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import plots as pictures
from benchmarks.history import Bar, NotRunError, Result
from benchmarks.opencv_pair import plain_weights
from benchmarks.options import Options
from benchmarks.race import Contestant, ContestantError, quartiles, race, ratios
from benchmarks.render import table
from biometrik.errors import ProviderUnavailableError
from biometrik.evaluation.protocols import labelled_images
from biometrik.inference import import_openvino
from biometrik.types import FaceImage

TITLE = "Face recognition speed"

_OURS: Final = "biometrik"
_BARE: Final = "bare ONNX Runtime"
_BF16: Final = "biometrik, OpenVINO bf16"
#: Label → what :mod:`benchmarks.contestant` is told.
_SYSTEMS: Final[Mapping[str, Mapping[str, str]]] = {
    _OURS: {"system": "library"},
    "biometrik, with quality": {"system": "whole_pipeline"},
    _BARE: {"system": "bare_onnxruntime"},
    "biometrik, OpenVINO fp32": {"system": "library", "provider": "openvino"},
    _BF16: {"system": "library", "provider": "openvino", "precision": "bf16"},
    "OpenCV 5": {"system": "opencv", "version": "5."},
    "OpenCV 4.14": {"system": "opencv", "version": "4.14.", "peer": "opencv4"},
}
#: Workload → label → bars: how many times faster than that the library is at least.
_BARS: Final[Mapping[str, Mapping[str, float]]] = {
    "photographs, 250 px": {"OpenCV 5": 1.1, "OpenCV 4.14": 2.0},
    "frames, 1080p": {"OpenCV 5": 3.0},
    "frames, 640 × 360": {},
}
#: Workloads whose images go into the networks as they are: there the library and bare ONNX Runtime calls work on the
#: same tensors. A larger frame is scaled down first, which bare calls are spared.
_SAME_TENSORS: Final = ("photographs, 250 px", "frames, 640 × 360")
#: The bf16 provider against OpenCV 5 on photographs, and the library's time over bare ONNX Runtime's.
_BF16_BAR: Final = 1.6
_OVERHEAD_BAR: Final = 1.10
_PHOTOGRAPHS: Final = 40
_FRAME: Final = (1920, 1080)
_SMALL_FRAME: Final = (640, 360)


def run(options: Options) -> Result:
    """Race all systems that can run here over each workload that is here."""
    missing: dict[str, str] = {}
    images = _workloads(options, missing)
    core = max(os.sched_getaffinity(0))
    detector, embedder = plain_weights(options.cache)
    shared = {"core": core, "cache": str(options.cache), "detector": str(detector), "embedder": str(embedder)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shared["workloads"] = {name: str(_saved(folder / f"{k}.npz", images[name])) for k, name in enumerate(images)}
        contestants: dict[str, Contestant] = {}
        for label, told in _SYSTEMS.items():
            path = [options.peers / told["peer"]] if "peer" in told else []
            if path and not path[0].is_dir():
                missing[label] = "not installed; scripts/bench --install-peers fetches it"
                continue
            try:
                contestants[label] = stack.enter_context(Contestant({**shared, **told}, path))
            except ContestantError as said:
                missing[label] = str(said)
        if _OURS not in contestants:
            raise NotRunError(missing[_OURS])
        figures = {name: _raced(contestants, name, len(images[name]), options.rounds) for name in images}
    if _BF16 in missing:
        missing[_BF16] += f" (OpenVINO finds {_capabilities()})"
    parameters = {"rounds": options.rounds, "threads": 1, "core": core, "opencv": cv2.__version__}
    return Result(parameters, figures, _bars(figures), missing)


def render(run: Mapping[str, Any], folder: Path) -> str:
    """Return a table and a plot for each workload."""
    parts = [
        "One core, one thread, from decoded arrays: detection and embedding of one face an image, each system in its "
        f"own process, in turns over {run['parameters']['rounds']} rounds. OpenCV runs its FaceDetectorYN at native "
        "scale and FaceRecognizerSF, on plain fp32 weights. Milliseconds are processor time an image, median "
        "(quartiles) of rounds; ratios are taken round by round. Bare ONNX Runtime makes the library's network runs "
        "on the same tensors: on 1080p frames it is spared scaling 2 megapixels down, so the bar on the library's "
        "overhead is held on the images that need none.\n"
    ]
    for k, (name, found) in enumerate(run["figures"].items()):
        rows = [
            [label, _spread(row["cpu_ms"]), f"{row['wall_ms'][0]:.1f}", _times(row["cpu_ratio"]), f"{row['embedded']}"]
            for label, row in found["systems"].items()
        ]
        head = [name, "CPU ms an image", "wall ms", "times biometrik's CPU time", f"faces in {found['images']}"]
        medians = {label: row["cpu_ms"] for label, row in found["systems"].items()}
        pictures.durations(medians, f"{name}: CPU time an image, one core", folder / f"face_speed_{k}.png")
        parts += [table(head, rows), f"\n![{name}](plots/face_speed_{k}.png)\n"]
        if found["busy"]:
            parts.append("The machine was busy: wall and processor time differ by more than a twentieth.\n")
    return "\n".join(parts)


def _workloads(options: Options, missing: dict[str, str]) -> dict[str, list[NDArray[np.uint8]]]:
    found = {}
    photographs, frames, small_frames = _BARS
    folder = options.data / "lfw-dev"
    if (folder / "images").is_dir():
        paths = labelled_images(folder).paths
        found[photographs] = [FaceImage.from_file(p).pixels for p in paths[:: len(paths) // _PHOTOGRAPHS]][
            :_PHOTOGRAPHS
        ]
    else:
        missing[photographs] = "the data set lfw-dev is not here; name the folder that holds it with --data"
    astronaut = shipped_photograph()
    if astronaut is not None:
        found[frames] = [_frame(FaceImage.from_file(astronaut).pixels, side) for side in (560, 720, 900, 1080)]
        found[small_frames] = [_scaled(frame) for frame in found[frames]]
    else:
        missing[frames] = missing[small_frames] = (
            "scikit-image, whose photograph they are made of, is not installed; run scripts/setup"
        )
    if not found:
        raise NotRunError("; ".join(f"{what}: {why}" for what, why in missing.items()))
    return found


def shipped_photograph() -> Path | None:
    """Return a photograph of one person that a dependency ships, or None where it is not installed."""
    spec = find_spec("skimage")
    path = Path(spec.origin).parent / "data" / "astronaut.png" if spec and spec.origin else None
    return path if path and path.is_file() else None


def _frame(photograph: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    # A person before a blurred background, as a counter's camera sees one.
    width, height = _FRAME
    frame = cv2.GaussianBlur(cv2.resize(photograph, _FRAME, interpolation=cv2.INTER_LINEAR), (0, 0), 40)
    left, top = (width - side) // 2, height - side
    frame[top : top + side, left : left + side] = cv2.resize(photograph, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.asarray(frame, dtype=np.uint8)


def _scaled(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(frame, _SMALL_FRAME, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _saved(path: Path, images: Sequence[NDArray[np.uint8]]) -> Path:
    np.savez(path, *images)
    return path


def _raced(contestants: Mapping[str, Contestant], workload: str, images: int, rounds: int) -> dict[str, Any]:
    timings = race(contestants, workload, rounds)
    ours = timings[_OURS]
    busy = sum(ours.wall_s) > 1.05 * sum(ours.cpu_s)
    systems = {
        label: {
            "cpu_ms": [1e3 * q / images for q in quartiles(found.cpu_s)],
            "wall_ms": [1e3 * q / images for q in quartiles(found.wall_s)],
            "cpu_ratio": list(ratios(ours.cpu_s, found.cpu_s)),
            "wall_ratio": list(ratios(ours.wall_s, found.wall_s)),
            # bf16 against OpenCV 5 and the like need their own rounds.
            "cpu_s": found.cpu_s,
            "embedded": found.embedded,
        }
        for label, found in timings.items()
    }
    return {"images": images, "busy": busy, "systems": systems}


def _bars(figures: Mapping[str, Any]) -> tuple[Bar, ...]:
    bars = []
    for name, found in figures.items():
        systems = found["systems"]
        for label, target in _BARS[name].items():
            if label in systems:
                middle, low, high = systems[label]["cpu_ratio"]
                bars.append(Bar(f"{name}: times faster than {label}", target, middle, "×", False, low, high))
        if _BARE in systems and name in _SAME_TENSORS:
            # The other way round: our time over the bare runs'.
            middle, low, high = ratios(systems[_BARE]["cpu_s"], systems[_OURS]["cpu_s"])
            bars.append(Bar(f"{name}: time over {_BARE}", _OVERHEAD_BAR, middle, "×", True, low, high))
    systems = figures.get(next(iter(_BARS)), {"systems": {}})["systems"]
    if _BF16 in systems and "OpenCV 5" in systems:
        middle, low, high = ratios(systems[_BF16]["cpu_s"], systems["OpenCV 5"]["cpu_s"])
        bars.append(
            Bar(f"{next(iter(_BARS))}: bf16, times faster than OpenCV 5", _BF16_BAR, middle, "×", False, low, high)
        )
    return tuple(bars)


def _capabilities() -> str:
    try:
        openvino = import_openvino()
    except ProviderUnavailableError:
        return "no package openvino"
    return ", ".join(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _spread(row: Sequence[float]) -> str:
    return f"{row[0]:.1f} ({row[1]:.1f} – {row[2]:.1f})"


def _times(row: Sequence[float]) -> str:
    return f"{row[0]:.2f} ({row[1]:.2f} – {row[2]:.2f})"
