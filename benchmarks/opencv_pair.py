"""OpenCV's own detector and embedder, with the same weights: what the library is measured against."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def plain_weights(cache: Path) -> tuple[Path, Path]:
    """Return YuNet and SFace folded to plain fp32, otherwise as their makers published them: for BGR, PRelu as such."""
    from biometrik import models
    from biometrik.config import ModelParameters
    from biometrik.manifest import PReluForm, manifest

    detector, embedder = (
        models.prepare(
            replace(entry, recipe=replace(entry.recipe, bgr_to_rgb=False)),
            ModelParameters(cache=cache),
            prelu=PReluForm.NATIVE,
        ).path
        for entry in map(manifest().entry, ("yunet-2023mar", "sface-2021dec"))
    )
    return detector, embedder


class OpenCvPair:
    """FaceDetectorYN and FaceRecognizerSF, used as OpenCV's documentation does.

    Parameters
    ----------
    detector, embedder : Path
        ONNX files; see :func:`plain_weights`.
    min_confidence, nms_iou : float
        As :class:`biometrik.config.DetectionParameters`.
    """

    def __init__(self, detector: Path, embedder: Path, *, min_confidence: float = 0.6, nms_iou: float = 0.3) -> None:
        self._detector = cv2.FaceDetectorYN.create(str(detector), "", (320, 320), min_confidence, nms_iou)
        self._recognizer = cv2.FaceRecognizerSF.create(str(embedder), "")

    def detect(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (N, 15) float32 at native scale: box, five landmarks, confidence."""
        self._detector.setInputSize((bgr.shape[1], bgr.shape[0]))
        rows: Any = self._detector.detect(bgr)[1]
        return np.empty((0, 15), np.float32) if rows is None else rows

    def embed_crop(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the unit embedding of an aligned (112, 112, 3) crop."""
        feature = self._recognizer.feature(bgr)[0].astype(np.float32, copy=False)
        unit: NDArray[np.float32] = feature / np.linalg.norm(feature)
        return unit

    def embed(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Return the unit embedding of the largest face, or None where there is none."""
        rows = self.detect(bgr)
        if len(rows) == 0:
            return None
        face = rows[int(np.argmax(rows[:, 2] * rows[:, 3]))]
        return self.embed_crop(np.asarray(self._recognizer.alignCrop(bgr, face), dtype=np.uint8))
