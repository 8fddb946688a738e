"""LEADER's graph as its authors exported it, fed as its distribution feeds it: the network alone, no rewriting."""

from importlib import metadata
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from biometrik.manifest import manifest

#: The quality from which on minutiae are kept, 0..1: the library's default.
_MIN_QUALITY: Final = 0.3
_MULTIPLE_PX: Final = 32


class PublishedLeader:
    """One ONNX Runtime session with one thread."""

    def __init__(self) -> None:
        entry = manifest().entry("leader-2026")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = str(metadata.distribution("afis").locate_file(entry.file))
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def minutiae(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (N, 3) rows x, y in pixels and direction in radians with y down.

        Parameters
        ----------
        pixels : (H, W) uint8
            A print at 500 ppi; laid in the middle of a sheet of the gray of its first pixel.
        """
        height, width = pixels.shape
        above, left = (-height % _MULTIPLE_PX) // 2, (-width % _MULTIPLE_PX) // 2
        sheet = np.full(
            (height + -height % _MULTIPLE_PX, width + -width % _MULTIPLE_PX), pixels[0, 0], dtype=np.float32
        )
        sheet[above : above + height, left : left + width] = pixels
        maps = self._session.run(None, {"input": sheet[None, :, :, None]})[0][0]
        maps = maps[above : above + height, left : left + width]
        y, x = np.nonzero(maps[..., 3] >= _MIN_QUALITY)
        return np.stack([x, y, np.mod(-maps[y, x, 1], 2 * np.pi)], axis=1).astype(np.float32)
