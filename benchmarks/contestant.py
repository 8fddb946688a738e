"""One system in its own process, on one core: started by :mod:`benchmarks.race`, told over its standard input.

A line in names a workload; the line out is JSON with the processor and wall seconds that one pass over it took.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
#: Makes a contestant ready for the images of a workload, and returns one pass over them: it counts the embeddings, or
#: the minutiae.
System = Callable[[dict[str, Any]], Callable[[list[Image]], Callable[[], int]]]


def library(config: dict[str, Any]) -> Callable[[list[Image]], Callable[[], int]]:
    """Detection and embedding by the library's own stages, image by image."""
    from biometrik.face.alignment import align
    from biometrik.face.detection import choose

    pipeline = _pipeline(config)

    def embed(image: Image) -> int:
        (faces,) = pipeline.detector.detect([image])
        if not faces:
            return 0
        face = choose(faces, image.shape, pipeline.parameters.policy)
        if face is not None and pipeline.parameters.detection.refine:
            (face,) = pipeline.detector.refine([image], [face])
        return 0 if face is None else len(pipeline.embedder.embed(align(image, face.landmarks)[None]))

    return lambda images: lambda: sum(embed(image) for image in images)


def whole_pipeline(config: dict[str, Any]) -> Callable[[list[Image]], Callable[[], int]]:
    """All that the library does with a photograph, quality included."""
    from biometrik.face.pipeline import ProcessedFace
    from biometrik.types import FaceImage

    pipeline = _pipeline(config)

    def prepare(images: list[Image]) -> Callable[[], int]:
        samples = [FaceImage(image) for image in images]
        return lambda: sum(isinstance(pipeline.process([s])[0], ProcessedFace) for s in samples)

    return prepare


def bare_onnxruntime(config: dict[str, Any]) -> Callable[[list[Image]], Callable[[], int]]:
    """Only the network runs that the library makes, on the same tensors, recorded beforehand."""
    import onnxruntime

    from biometrik.inference import Network, Runtime

    calls: list[tuple[Path, NDArray[np.float32], list[str]]] = []

    class Recording(Network):
        def __init__(self, path: Path, network: Network) -> None:
            self._path, self._network = path, network
            self.input_shape = network.input_shape
            self.output_names, self.output_shapes = network.output_names, network.output_shapes

        def _run(self, batch: NDArray[np.float32], outputs: Any) -> list[NDArray[np.float32]]:
            calls.append((self._path, batch.copy(), list(outputs)))
            return self._network.run(batch, outputs)

    class Recorder(Runtime):
        def open(self, path: Path) -> Network:
            return Recording(path, super().open(path))

    embed = library({**config, "runtime": Recorder})
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    sessions: dict[Path, Any] = {}

    def prepare(images: list[Image]) -> Callable[[], int]:
        calls.clear()
        count = embed(images)()
        recorded = list(calls)
        for path, _, _ in recorded:
            if path not in sessions:
                sessions[path] = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        runs = [(sessions[path], names, {sessions[path].get_inputs()[0].name: x}) for path, x, names in recorded]

        def replay() -> int:
            for session, names, feed in runs:
                session.run(names, feed)
            return count

        return replay

    return prepare


def opencv(config: dict[str, Any]) -> Callable[[list[Image]], Callable[[], int]]:
    """OpenCV's own pair, on BGR as it reads images."""
    import cv2

    from benchmarks.opencv_pair import OpenCvPair

    if not cv2.__version__.startswith(config["version"]):
        raise RuntimeError(f"expected OpenCV {config['version']}, got {cv2.__version__}")
    cv2.setNumThreads(1)
    pair = OpenCvPair(Path(config["detector"]), Path(config["embedder"]))

    def prepare(images: list[Image]) -> Callable[[], int]:
        swapped = [image[..., ::-1].copy() for image in images]
        return lambda: sum(pair.embed(image) is not None for image in swapped)

    return prepare


def finger_pipeline(config: dict[str, Any]) -> Callable[[list[Image]], Callable[[], int]]:
    """All that the library does with a print at 500 ppi, print by print; counts minutiae."""
    from biometrik.config import FingerParameters
    from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint
    from biometrik.fingers import FingerprintImage

    pipeline = FingerPipeline(FingerParameters(extractor=config.get("extractor", "leader")), _runtime(config))

    def count(sample: FingerprintImage) -> int:
        (found,) = pipeline.process([sample])
        return len(found.minutiae) if isinstance(found, ProcessedPrint) else 0

    def prepare(images: list[Image]) -> Callable[[], int]:
        samples = [FingerprintImage(image, 500.0) for image in images]
        return lambda: sum(count(sample) for sample in samples)

    return prepare


def published_leader(_config: dict[str, Any]) -> Callable[[list[Image]], Callable[[], int]]:
    """The minutiae network as it was published, on whole prints; counts minutiae."""
    from benchmarks.leader_as_published import PublishedLeader

    network = PublishedLeader()
    return lambda images: lambda: sum(len(network.minutiae(image)) for image in images)


SYSTEMS: dict[str, System] = {
    "library": library,
    "whole_pipeline": whole_pipeline,
    "bare_onnxruntime": bare_onnxruntime,
    "opencv": opencv,
    "finger_pipeline": finger_pipeline,
    "published_leader": published_leader,
}


def _pipeline(config: dict[str, Any]) -> Any:
    from biometrik.config import FaceParameters
    from biometrik.face.pipeline import FacePipeline

    return FacePipeline(FaceParameters(), _runtime(config))


def _runtime(config: dict[str, Any]) -> Any:
    from biometrik.config import ModelParameters, RuntimeParameters
    from biometrik.inference import Runtime

    parameters = RuntimeParameters(
        provider=config.get("provider", "cpu"), precision=config.get("precision", "fp32"), threads=1, batch_size=1
    )
    return config.get("runtime", Runtime)(parameters, ModelParameters(cache=Path(config["cache"])))


def main() -> None:
    """Serve passes until standard input ends."""
    config: dict[str, Any] = json.loads(sys.argv[1])
    os.sched_setaffinity(0, {config["core"]})
    prepare = SYSTEMS[config["system"]](config)
    passes = {}
    for name, path in config["workloads"].items():
        with np.load(path) as images:
            passes[name] = prepare([images[key] for key in images.files])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        run = passes[line.strip()]
        cpu, wall = time.process_time(), time.perf_counter()
        embedded = run()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(json.dumps({"cpu_s": cpu, "wall_s": wall, "embedded": embedded}), flush=True)


if __name__ == "__main__":
    main()
