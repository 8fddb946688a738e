"""SCRFD detectors of InsightFace packs (and others of their signature), from the deployer's folder.

J. Guo, J. Deng, A. Lattas, S. Zafeiriou, "Sample and computation redistribution for efficient face detection",
ICLR 2022. A square input, the image scaled to fill it and placed at its top left, black elsewhere. Every cell of
every feature map has the same number of anchors, all at ``cell · stride``; an anchor's row holds its score, its
distances to the box's left, top, right and bottom, and the offsets of the five landmarks, in units of the stride.
The outputs are the scores of each stride, then the boxes of each, then the landmarks of each.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik import models
from biometrik.errors import ModelError
from biometrik.face.detection import Detector
from biometrik.inference import Runtime
from biometrik.manifest import Role

#: Values in a row of the scores, the boxes and the landmarks.
_WIDTHS: Final = (1, 4, 10)


class Scrfd(Detector):
    """See the module docstring; everything else is the base class."""

    def _load(self, runtime: Runtime) -> None:
        entry = models.pack(runtime.models).entry(Role.FACE_DETECTOR)
        self._weights = models.prepare(entry, runtime.models, prelu=runtime.prelu_form)
        self._network = runtime.open(self._weights.path)
        self._strides, found = entry.strides, len(self._network.output_names)
        if found != len(_WIDTHS) * len(self._strides):
            raise ModelError(
                f"weights {entry.id}: expected scores, boxes and landmarks at the strides {list(self._strides)} "
                f"({len(_WIDTHS) * len(self._strides)} outputs), got {found}; a detector without landmarks cannot "
                "serve, one of other strides declares them in the folder's biometrik.toml"
            )
        self._side_px = self._square_side(self._network.input_shape[2:])
        self._anchors = _anchors(self._side_px, self._strides, entry.anchors)
        self._rows = [entry.anchors * (self._side_px // stride) ** 2 for stride in self._strides]
        # Without an axis for the batch the rows of several images would be mixed.
        shapes = self._network.output_shapes
        self._batched = self._network.input_shape[0] is None and all(len(shape) == 3 for shape in shapes)

    def contract(self) -> Mapping[str, str]:
        recipe = self._weights.entry.recipe
        return {
            "weights": self._weights.sha256,
            "input": f"rgb, {recipe.normalisation or 'embedded'}, filling {self._side_px} px from the top left",
        }

    def _detect(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        height, width = images[0].shape[:2]
        scale = self._side_px / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        batch = np.zeros((len(images), 3, self._side_px, self._side_px), dtype=np.float32)
        for planes, image in zip(batch, images, strict=True):
            resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
            planes[:, : size[1], : size[0]] = resized.transpose(2, 0, 1)
        # SCRFD is trained on coordinates that scale from the corner, and InsightFace scales them back so.
        factors = np.array([width / size[0], height / size[1]], dtype=np.float32)
        step = len(batch) if self._batched else 1
        return [
            self._decode([output[i] for output in outputs], factors)
            for start in range(0, len(batch), step)
            for outputs in [self._run(batch[start : start + step])]
            for i in range(step)
        ]

    def _run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        # Scores, boxes and landmarks of all strides, each (N, A, 1 or 4 or 10).
        outputs = self._network.run(batch)
        count_strides = len(self._strides)
        groups = []
        for kind, width in enumerate(_WIDTHS):
            parts = outputs[kind * count_strides : (kind + 1) * count_strides]
            for part, count in zip(parts, self._rows, strict=True):
                if part.size != len(batch) * count * width:
                    raise ModelError(
                        f"weights {self._weights.entry.id}: expected {count} rows of {width} an image, "
                        f"got {part.shape}; the folder's biometrik.toml declares strides and anchors"
                    )
            groups.append(np.concatenate([part.reshape(len(batch), -1, width) for part in parts], axis=1))
        return groups

    def _decode(self, outputs: Sequence[NDArray[np.float32]], factors: NDArray[np.float32]) -> NDArray[np.float32]:
        scores, distances, offsets = outputs
        kept = np.flatnonzero(scores[:, 0] >= self.parameters.min_confidence)
        point, stride = self._anchors[kept, :2], self._anchors[kept, 2:]
        distance = distances[kept] * stride
        rows = np.empty((len(kept), 15), dtype=np.float32)
        rows[:, :2] = (point - distance[:, :2]) * factors
        rows[:, 2:4] = (distance[:, :2] + distance[:, 2:]) * factors
        landmarks = point[:, None] + offsets[kept].reshape(-1, 5, 2) * stride[:, :, None]
        rows[:, 4:14] = (landmarks * factors).reshape(-1, 10)
        rows[:, 14] = scores[kept, 0]
        return rows

    def _square_side(self, declared: Sequence[int | None]) -> int:
        coarsest = max(self._strides)
        if declared[0] is None or declared[1] is None:
            side = self.parameters.max_side_px
            return side + -side % coarsest
        if declared[0] != declared[1] or declared[0] % coarsest:
            raise ModelError(
                f"weights {self._weights.entry.id}: expected a square input, a multiple of {coarsest} px, "
                f"got {tuple(declared)}"
            )
        return declared[0]


def _anchors(side_px: int, strides: Sequence[int], per_cell: int) -> NDArray[np.float32]:
    # x, y (pixels) and stride of every row, in the network's order: by stride, row, column, anchor.
    parts = []
    for stride in strides:
        y, x = np.mgrid[0:side_px:stride, 0:side_px:stride]
        cells = np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1)
        parts.append(np.repeat(cells, per_cell, axis=0))
    return np.concatenate(parts).astype(np.float32)


DETECTOR = Scrfd
