"""Finding faces: what every detector does, and what is done with its boxes."""

import abc
from collections.abc import Mapping, Sequence
from typing import Final, final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.config import DetectionParameters, FacePolicy
from biometrik.errors import InvalidInputError
from biometrik.inference import Runtime
from biometrik.registry import Registry
from biometrik.types import Box, Face

#: Side of the square that :meth:`Detector.refine` looks at, pixels: a multiple of 32 that holds the face below and
#: half a face around it.
_REFINE_PX: Final = 128
#: Side of the face in it (root of the box's area), pixels: about what embedders' own crops show, and the middle of
#: the range of sizes that detectors are trained on.
_REFINE_FACE_PX: Final = 80.0


class Detector(abc.ABC):
    """Finds faces with five landmarks in RGB images; thread-safe.

    Parameters
    ----------
    parameters : DetectionParameters
        Confidence, overlap and scale.
    runtime : Runtime
        Opens the networks.

    Raises
    ------
    ModelError
        The weights cannot be found, verified, or run with the provider asked for.
    """

    def __init__(self, parameters: DetectionParameters, runtime: Runtime) -> None:
        self.parameters = parameters
        self._runtime = runtime
        self._load(runtime)

    @final
    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """Find the faces of each image, most confident first.

        Parameters
        ----------
        images : sequence of (H, W, 3) uint8
            RGB. Larger ones than ``parameters.max_side_px`` are scaled down for detection only.

        Returns
        -------
        list of list of Face
            In pixels of the images as they were given.
        """
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
                raise InvalidInputError(f"image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        scaled = [_bounded(image, self.parameters.max_side_px) for image in images]
        found: list[list[Face]] = [[] for _ in images]
        for batch in _same_shape(scaled, self._runtime.batch_size):
            rows_of = self._detect([scaled[i][0] for i in batch])
            for i, rows in zip(batch, rows_of, strict=True):
                found[i] = _faces(rows, scaled[i][1], self.parameters)
        return found

    @final
    def refine(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> list[Face]:
        """Measure each face's landmarks a second time, at a standard size, and average the two.

        A detector's landmarks scatter with the size at which it happens to see a face. A second look, at one size
        for all, halves that variance and costs a tenth of a look at the whole image (ADR 5).

        Parameters
        ----------
        images : sequence of (H, W, 3) uint8
            RGB.
        faces : sequence of Face
            One of each image, as :meth:`detect` found it.

        Returns
        -------
        list of Face
            With averaged landmarks; unchanged where the second look does not find the face again.
        """
        crops, scales = [], []
        for image, face in zip(images, faces, strict=True):
            scale = _REFINE_FACE_PX / max(1.0, face.box.area) ** 0.5
            crops.append(_window(image, face.landmarks.mean(axis=0), scale))
            scales.append(scale)
        refined = []
        for face, scale, again in zip(faces, scales, self.detect(crops), strict=True):
            middle = face.landmarks.mean(axis=0)
            seen = [(other.landmarks - _REFINE_PX / 2) / scale + middle for other in again]
            offsets = [float(np.linalg.norm(landmarks - face.landmarks, axis=1).mean()) for landmarks in seen]
            # Further off than half the face's side it is another face, or none.
            if offsets and min(offsets) < 0.5 * face.box.area**0.5:
                landmarks = (face.landmarks + seen[int(np.argmin(offsets))]) / 2
                face = Face(face.box, landmarks.astype(np.float32), face.confidence)
            refined.append(face)
        return refined

    @abc.abstractmethod
    def _load(self, runtime: Runtime) -> None:
        """Open the network; called once."""

    @abc.abstractmethod
    def _detect(self, images: Sequence[NDArray[np.uint8]]) -> Sequence[NDArray[np.float32]]:
        """Return (N, 15) float32 a image: x, y, width, height, five landmarks x, y, confidence; before suppression.

        All ``images`` have one shape. Rows below ``parameters.min_confidence`` may be left out.
        """

    @abc.abstractmethod
    def contract(self) -> Mapping[str, str]:
        """Return what shapes the landmarks (weights' sha256, preprocessing), for the model contract."""


def choose(faces: Sequence[Face], shape: tuple[int, ...], policy: FacePolicy) -> Face | None:
    """Return the face that the image is about, or None where the policy refuses the image.

    Parameters
    ----------
    faces : sequence of Face
        At least one.
    shape : tuple
        (H, W, ...) of the image, pixels.
    policy : FacePolicy
        See there for the rule.
    """
    if policy is FacePolicy.ERROR and len(faces) > 1:
        return None
    middle_x, middle_y = shape[1] / 2, shape[0] / 2

    def prominence(face: Face) -> float:
        x, y = face.box.centre
        return face.box.area - 2.0 * ((x - middle_x) ** 2 + (y - middle_y) ** 2)

    return max(faces, key=prominence)


def suppress(rows: NDArray[np.float32], iou: float) -> NDArray[np.float32]:
    """Greedy non-maximum suppression.

    Parameters
    ----------
    rows : (N, 15) float32
        As :meth:`Detector._detect` returns them.
    iou : float
        Of two boxes that overlap more, the less confident is dropped.

    Returns
    -------
    (M, 15) float32
        Most confident first.
    """
    rows = rows[np.argsort(-rows[:, 14], kind="stable")]
    left, top = rows[:, 0], rows[:, 1]
    right, bottom = left + rows[:, 2], top + rows[:, 3]
    area = rows[:, 2] * rows[:, 3]
    kept: list[int] = []
    order = np.arange(len(rows))
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        width = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        height = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        order = rest[overlap <= iou * (area[best] + area[rest] - overlap)]
    return rows[kept]


def _window(image: NDArray[np.uint8], centre: NDArray[np.float32], scale: float) -> NDArray[np.uint8]:
    # A square around a point, scaled; black beyond the image. Where it shrinks a lot, it is averaged down first.
    factor = max(1, int(1 / scale))
    if factor > 1:
        reach = _REFINE_PX / 2 / scale + factor
        start = np.maximum(np.floor(centre - reach), 0).astype(int)
        part = image[start[1] : int(centre[1] + reach) + 1, start[0] : int(centre[0] + reach) + 1]
        height, width = part.shape[0] // factor, part.shape[1] // factor
        if height and width:
            part = part[: height * factor, : width * factor]
            image = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
            centre = (centre - start - (factor - 1) / 2) / factor
            scale *= factor
    half = _REFINE_PX / 2
    transform = np.array([[scale, 0, half - scale * centre[0]], [0, scale, half - scale * centre[1]]])
    window = cv2.warpAffine(image, transform, (_REFINE_PX, _REFINE_PX), flags=cv2.INTER_LINEAR)
    return window.astype(np.uint8, copy=False)


def _bounded(image: NDArray[np.uint8], max_side_px: int) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    # The image no larger than the bound, and the factors (x, y) from its pixels to the original's.
    height, width = image.shape[:2]
    if max(height, width) <= max_side_px:
        return image, (1.0, 1.0)
    scale = max_side_px / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Halved by averaging as often as it can be, then scaled the rest of the way: a third of the time of averaging in
    # one step, and nothing is aliased.
    small = image
    while max(small.shape[:2]) >= 2 * max_side_px:
        half = max(1, small.shape[1] // 2), max(1, small.shape[0] // 2)
        small = cv2.resize(small, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if small.shape[:2] != size[::-1]:
        small = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    return small, (width / size[0], height / size[1])


def _same_shape(scaled: Sequence[tuple[NDArray[np.uint8], tuple[float, float]]], batch_size: int) -> list[list[int]]:
    # Indices in batches of one shape each, so that no image's result depends on its neighbours' padding.
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, (image, _) in enumerate(scaled):
        by_shape.setdefault(image.shape, []).append(i)
    return [
        indices[start : start + batch_size]
        for indices in by_shape.values()
        for start in range(0, len(indices), batch_size)
    ]


def _faces(rows: NDArray[np.float32], factors: tuple[float, float], parameters: DetectionParameters) -> list[Face]:
    rows = rows[(rows[:, 14] >= parameters.min_confidence) & np.isfinite(rows).all(axis=1)]
    factor_x, factor_y = factors
    # Pixel centres, not corners, keep their place: x' = (x + 0.5)·f − 0.5.
    shift = np.array([factor_x - 1, factor_y - 1], dtype=np.float32) / 2
    scale = np.array([factor_x, factor_y], dtype=np.float32)
    faces = []
    for row in suppress(rows, parameters.nms_iou):
        x, y = row[:2] * scale + shift
        width, height = row[2:4] * scale
        landmarks = row[4:14].reshape(5, 2) * scale + shift
        faces.append(Face(Box(float(x), float(y), float(width), float(height)), landmarks, float(row[14])))
    return faces


DETECTORS: Final[Registry[Detector]] = Registry("biometrik.face.detectors", "DETECTOR", "biometrik.face_detectors")
