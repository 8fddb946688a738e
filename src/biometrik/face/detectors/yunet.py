"""YuNet (OpenCV Zoo, 2023-03): anchor-free, five landmarks, 76,000 parameters; the bundled default.

W. Wu, H. Peng, S. Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence Research 20, 2023.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik import models
from biometrik.face.detection import Detector
from biometrik.inference import Runtime

WEIGHTS_ID: Final = "yunet-2023mar"
_STRIDES: Final = (8, 16, 32)
_OUTPUTS: Final = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in _STRIDES)


class YuNet(Detector):
    """See the module docstring; everything else is the base class."""

    def _load(self, runtime: Runtime) -> None:
        self._weights = models.bundled(WEIGHTS_ID, runtime.models, prelu=runtime.prelu_form)
        self._network = runtime.open(self._weights.path)

    def contract(self) -> Mapping[str, str]:
        return {"weights": self._weights.sha256, "input": "rgb 0..255, zero-padded right and bottom to 32"}

    def _detect(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        height, width = (side + -side % _STRIDES[-1] for side in images[0].shape[:2])
        batch = np.zeros((len(images), 3, height, width), dtype=np.float32)
        for planes, image in zip(batch, images, strict=True):
            planes[:, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
        outputs = self._network.run(batch, _OUTPUTS)
        classes, objects, boxes, points = (np.concatenate(outputs[i : i + 3], axis=1) for i in (0, 3, 6, 9))
        confidence = np.sqrt(np.clip(classes[..., 0], 0, 1) * np.clip(objects[..., 0], 0, 1))
        cells, strides = _grid(height, width)
        return [self._decode(confidence[i], boxes[i], points[i], cells, strides) for i in range(len(images))]

    def _decode(
        self,
        confidence: NDArray[np.float32],
        boxes: NDArray[np.float32],
        points: NDArray[np.float32],
        cells: NDArray[np.float32],
        strides: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        kept = np.flatnonzero(confidence >= self.parameters.min_confidence)
        cell, stride, box = cells[kept], strides[kept, None], boxes[kept]
        rows = np.empty((len(kept), 15), dtype=np.float32)
        with np.errstate(over="ignore"):  # an absurd size becomes inf, and the base class drops the row
            size = np.exp(box[:, 2:]) * stride
        rows[:, :2] = (cell + box[:, :2]) * stride - size / 2
        rows[:, 2:4] = size
        rows[:, 4:14] = ((points[kept].reshape(-1, 5, 2) + cell[:, None]) * stride[:, :, None]).reshape(-1, 10)
        rows[:, 14] = confidence[kept]
        return rows


@lru_cache(maxsize=32)  # a tenth of the detector's time on a small photograph; cameras and counters have few sizes
def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    # Cell coordinates (A, 2) and stride (A,) of every output row, in the network's order.
    cells, strides = [], []
    for stride in _STRIDES:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full(x.size, stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


DETECTOR = YuNet
