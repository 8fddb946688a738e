"""Face embedding and detection on a GPU over batch sizes, beside the processor; TensorRT where it is installed."""

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_part import Job, Told
from biometrik.config import DetectionParameters, ModelParameters, RuntimeParameters
from biometrik.demo.photographs import ASTRONAUT, find
from biometrik.errors import BiometrikError, InvalidInputError, ProviderUnavailableError
from biometrik.face.detection import DETECTORS
from biometrik.face.embedders import sface
from biometrik.face.embedding import EMBEDDERS
from biometrik.inference import Runtime
from biometrik.models import bundled
from biometrik.types import FaceImage

_LARGEST: Final = 256
_FRAME: Final = (640, 360)
#: What differs between two runs of one network on two providers moves no landmark by more, pixels.
_NEAR_PX: Final = 1.0


def measure(job: Job) -> Iterator[Told]:
    """Measure the part asked for."""
    yield from (_embedding if job.part == "embedding" else _detection)(job)


def _runtime(job: Job, provider: str) -> Runtime:
    return Runtime(RuntimeParameters(provider=provider, batch_size=_LARGEST), ModelParameters(cache=job.cache))


def _embedding(job: Job) -> Iterator[Told]:
    sizes = job.sizes.crops
    crops = _noise((max(sizes), 112, 112))
    here = EMBEDDERS.load("sface")(_runtime(job, "cpu"))
    expected = here.embed(crops)
    yield from _rows(job, "embedding", "processor", sizes[:3], lambda n: here.embed(crops[:n]))
    try:
        there = EMBEDDERS.load("sface")(_runtime(job, "cuda"))
        least = float(np.einsum("nd,nd->n", there.embed(crops), expected).min())
        yield "row", {"what": "agreement", "where": "CUDA", "images": len(crops), "least_cosine": least}
        yield from _rows(job, "embedding", "CUDA", sizes, lambda n: there.embed(crops[:n]))
    except BiometrikError as error:
        yield "missing", "embedding, CUDA", str(error)
    if find_spec("tensorrt") is None:  # it is no part of the extra, so that it is not there is no fault
        yield "progress", "TensorRT is not installed: the package tensorrt-cu13, under NVIDIA's licence"
        return
    try:
        run = _tensorrt(bundled(sface.WEIGHTS_ID, ModelParameters(cache=job.cache)).path, max(sizes), job.cache)
    except ProviderUnavailableError as error:
        yield "missing", "embedding, TensorRT", str(error)
        return
    batch = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
    found = run(batch)
    cosines = np.einsum("nd,nd->n", found / np.linalg.norm(found, axis=1, keepdims=True), expected)
    yield "row", {"what": "agreement", "where": "TensorRT", "images": len(crops), "least_cosine": float(cosines.min())}
    yield from _rows(job, "embedding", "TensorRT, network alone", sizes, lambda n: run(batch[:n]))


def _detection(job: Job) -> Iterator[Told]:
    sizes = job.sizes.frames
    frames = _frames(max(sizes))
    here = DETECTORS.load("yunet")(DetectionParameters(), _runtime(job, "cpu"))
    expected = here.detect(frames)
    yield from _rows(job, "detection", "processor", sizes, lambda n: here.detect(frames[:n]))
    try:
        there = DETECTORS.load("yunet")(DetectionParameters(), _runtime(job, "cuda"))
        found = there.detect(frames)
    except BiometrikError as error:
        yield "missing", "detection, CUDA", str(error)
        return
    different = sum(
        len(a) != len(b) or any(np.abs(x.landmarks - y.landmarks).max() > _NEAR_PX for x, y in zip(a, b, strict=True))
        for a, b in zip(found, expected, strict=True)
    )
    faces = sum(map(len, expected))
    yield "row", {"what": "agreement", "where": "CUDA", "images": len(frames), "faces": faces, "different": different}
    yield from _rows(job, "detection", "CUDA", sizes, lambda n: there.detect(frames[:n]))


def _rows(job: Job, what: str, where: str, batches: tuple[int, ...], act: Callable[[int], object]) -> Iterator[Told]:
    for batch in batches:
        if job.left_s() < 2 * job.sizes.repeat_s:
            yield "missing", f"{what}, {where}, batch {batch}", "out of time"
            continue
        yield "progress", f"{what}, {where}, batch {batch}"
        row = job.timed(partial(act, batch))
        yield "row", {"what": what, "where": where, "batch": batch, "per_s": 1e3 * batch / row["ms"][0], **row}


def _tensorrt(path: Path, largest: int, cache: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    import onnxruntime

    name = "TensorrtExecutionProvider"
    tensorrt = importlib.import_module("tensorrt")  # its import loads the libraries that ONNX Runtime then finds
    session: Any = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    shapes = {kind: f"{given.name}:{n}x3x112x112" for kind, n in (("min", 1), ("opt", 32), ("max", largest))}
    settings = {f"trt_profile_{kind}_shapes": shape for kind, shape in shapes.items()}
    settings |= {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache / f"tensorrt-{tensorrt.__version__}"),
    }
    session = onnxruntime.InferenceSession(path, providers=[(name, settings)], enable_fallback=0)
    if name not in session.get_providers():
        raise ProviderUnavailableError("TensorRT: expected a session on it, got one on the processor")
    return lambda batch: np.asarray(session.run(None, {given.name: batch})[0])


def _noise(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    # Blurred, so that it has the structure of an image; it is nobody.
    rng = np.random.default_rng(19794)
    images = [
        cv2.GaussianBlur(rng.integers(0, 256, (*shape[1:], 3), dtype=np.uint8), (0, 0), 3) for _ in range(shape[0])
    ]
    return np.stack(images).astype(np.uint8)


def _frames(count: int) -> list[NDArray[np.uint8]]:
    # A person in a frame where a dependency ships a photograph, else noise, in which there is nobody to find.
    try:
        photograph = FaceImage.from_file(find(ASTRONAUT)).pixels
    except InvalidInputError:
        return list(_noise((count, _FRAME[1], _FRAME[0])))
    frame = cv2.resize(photograph, _FRAME, interpolation=cv2.INTER_AREA)
    return [np.roll(frame, 3 * n, axis=1).astype(np.uint8) for n in range(count)]
