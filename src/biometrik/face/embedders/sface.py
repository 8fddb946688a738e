"""SFace (OpenCV Zoo, 2021-12): MobileFaceNet trained with the sigmoid-constrained hypersphere loss; 128-d; the default.

Y. Zhong, W. Deng, J. Hu et al., "SFace: sigmoid-constrained hypersphere loss for robust face recognition",
IEEE TIP 30, 2021. The network normalises its input itself and takes RGB 0..255.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from biometrik import models
from biometrik.face.embedding import Embedder
from biometrik.inference import Runtime

WEIGHTS_ID: Final = "sface-2021dec"


class SFace(Embedder):
    """See the module docstring; everything else is the base class.

    ``norm_range``: 0 is the mean over 256 crops of white noise (uniform 0..255), which hold no face: 4.7. 100 is the
    99th percentile over the 2,471 photographs of lfw-dev that have a mate: 14.7 (1st: 9.4, median: 12.4). With ``flip``
    the norms are shorter by 0.1, a hundredth of the range. Measured with YuNet's landmarks, ADR 6.
    """

    norm_range: ClassVar[tuple[float, float] | None] = (4.7, 14.7)

    @property
    def dimension(self) -> int:
        return 128

    def _load(self, runtime: Runtime) -> None:
        self._weights = models.bundled(WEIGHTS_ID, runtime.models, prelu=runtime.prelu_form)
        self._network = runtime.open(self._weights.path)

    def contract(self) -> Mapping[str, str]:
        return {"weights": self._weights.sha256, "input": "rgb 0..255"}

    def _embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        return self._network.run(batch)[0]


EMBEDDER = SFace
