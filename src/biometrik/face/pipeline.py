"""The story of a face: detect → choose → refine → align → embed → quality."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.config import FaceParameters
from biometrik.errors import InvalidInputError
from biometrik.face import quality
from biometrik.face.alignment import CROP_PX, align
from biometrik.face.detection import DETECTORS, choose
from biometrik.face.embedding import EMBEDDERS, from_templates, to_template
from biometrik.inference import Runtime
from biometrik.reasons import Reason
from biometrik.transparency import NULL_SINK, Sink
from biometrik.types import Face, FaceImage, Quality, Template, sha256_hex

#: Changes when this module or alignment computes other numbers from the same networks.
_PIPELINE_VERSION: Final = "1"


@dataclass(frozen=True, slots=True, eq=False)
class ProcessedFace:
    """A face from which a template can be made.

    Parameters
    ----------
    face : Face
        Where it is in the image.
    faces_found : int
        Number of faces in the image.
    crop : (112, 112, 3) uint8
        Aligned RGB.
    quality : Quality
        Of this face in this image.
    embedding : (D,) float32
        Unit length.
    """

    face: Face
    faces_found: int
    crop: NDArray[np.uint8]
    quality: Quality
    embedding: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RejectedFace:
    """An image from which no template can be made, and why."""

    reason: Reason
    faces_found: int


class FacePipeline:
    """Images to embeddings, batched throughout; thread-safe.

    Parameters
    ----------
    parameters : FaceParameters
        Which plug-ins, and their settings.
    runtime : Runtime
        Opens the networks.

    Raises
    ------
    PluginNotFoundError
        No detector or embedder of that name.
    ModelError
        Weights or provider cannot be used.
    InvalidInputError
        Unknown quality profile.
    """

    def __init__(self, parameters: FaceParameters, runtime: Runtime) -> None:
        if parameters.quality_profile not in quality.PROFILES:
            names = ", ".join(quality.PROFILES)
            raise InvalidInputError(f"quality_profile: expected one of {names}, got {parameters.quality_profile!r}")
        self.parameters = parameters
        self.detector = DETECTORS.load(parameters.detector)(parameters.detection, runtime)
        self.embedder = EMBEDDERS.load(parameters.embedder)(runtime, flip=parameters.flip)
        self.contract_id = self._contract_id()

    def process(self, images: Sequence[FaceImage], *, sink: Sink = NULL_SINK) -> list[ProcessedFace | RejectedFace]:
        """Return what was found in each image.

        Parameters
        ----------
        images : sequence of FaceImage
            Of any sizes; equal sizes run through the detector together.
        sink : Sink
            Takes each stage's result.
        """
        found = self.detector.detect([image.pixels for image in images])
        results: dict[int, ProcessedFace | RejectedFace] = {}
        chosen: dict[int, Face] = {}
        for i, (image, faces) in enumerate(zip(images, found, strict=True)):
            face = choose(faces, image.pixels.shape, self.parameters.policy) if faces else None
            if face is None:
                results[i] = RejectedFace(Reason.SEVERAL_FACES if faces else Reason.NO_FACE, len(faces))
            else:
                chosen[i] = face
        if self.parameters.detection.refine:
            pixels = [images[i].pixels for i in chosen]
            chosen = dict(zip(chosen, self.detector.refine(pixels, list(chosen.values())), strict=True))

        crops = np.empty((len(chosen), CROP_PX, CROP_PX, 3), dtype=np.uint8)
        for crop, (i, face) in zip(crops, chosen.items(), strict=True):
            crop[:] = align(images[i].pixels, face.landmarks)
        embeddings, norms = self.embedder.embed_and_grade(crops)
        sink.take("crops", crops)
        sink.take("embeddings", embeddings)

        for crop, embedding, norm, (i, face) in zip(crops, embeddings, norms, chosen.items(), strict=True):
            grade = quality.assess(
                images[i].pixels,
                face,
                crop,
                len(found[i]),
                self.parameters.quality_profile,
                norm=float(norm),
                norm_range=self.embedder.norm_range,
            )
            results[i] = ProcessedFace(face, len(found[i]), crop, grade, embedding)
        return [results[i] for i in range(len(images))]

    def template(self, face: ProcessedFace) -> Template:
        """Pack a face's embedding, pinned to this pipeline's model contract."""
        return to_template(face.embedding, self.contract_id)

    def embeddings(self, templates: Sequence[Template]) -> NDArray[np.float32]:
        """Return the (N, D) float32 embeddings of templates; see :func:`biometrik.face.embedding.from_templates`."""
        return from_templates(templates, self.embedder.dimension)

    def warm_up(self) -> None:
        """Run both networks once."""
        self.detector.detect([np.zeros((256, 256, 3), dtype=np.uint8)])
        self.embedder.embed(np.zeros((1, CROP_PX, CROP_PX, 3), dtype=np.uint8))

    def _contract_id(self) -> str:
        # The execution provider is left out: it changes the last digits, not the meaning (ADR 1).
        detection = self.parameters.detection
        terms = {
            "pipeline": _PIPELINE_VERSION,
            "detector": dict(self.detector.contract()),
            "detection": [detection.min_confidence, detection.nms_iou, detection.max_side_px, detection.refine],
            "embedder": dict(self.embedder.contract()),
            "flip": self.parameters.flip,
        }
        digest = sha256_hex(json.dumps(terms, sort_keys=True).encode())
        policies = ("+refine" if detection.refine else "") + ("+flip" if self.parameters.flip else "")
        return f"{self.parameters.detector}+{self.parameters.embedder}{policies}@{digest[:12]}"
