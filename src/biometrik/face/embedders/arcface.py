"""ArcFace networks of InsightFace packs (and others of their signature): 512-d, from the deployer's folder.

J. Deng, J. Guo, N. Xue, S. Zafeiriou, "ArcFace: additive angular margin loss for deep face recognition", CVPR 2019.
The folded network takes RGB 0..255: folding puts the pack's normalisation before it, unless the graph has its own.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik import models
from biometrik.errors import ModelError
from biometrik.face.alignment import CROP_PX
from biometrik.face.embedding import Embedder
from biometrik.inference import Runtime
from biometrik.manifest import Role

#: Length of embeddings that are believed; ArcFace networks have 128..1024.
_MAX_DIMENSION: Final = 4096


class ArcFace(Embedder):
    """See the module docstring; everything else is the base class.

    No ``norm_range``: the deployer's weights are not known here, nor how long their outputs are.
    """

    @property
    def dimension(self) -> int:
        return self._dimension

    def _load(self, runtime: Runtime) -> None:
        entry = models.pack(runtime.models).entry(Role.FACE_EMBEDDER)
        self._weights = models.prepare(entry, runtime.models, prelu=runtime.prelu_form)
        self._network = runtime.open(self._weights.path)
        shape, outputs = self._network.input_shape, self._network.output_names
        if shape[1] != 3 or any(side not in (None, CROP_PX) for side in shape[2:]) or len(outputs) != 1:
            raise ModelError(
                f"weights {entry.id}: expected an embedder (N, 3, {CROP_PX}, {CROP_PX}) with one output, "
                f"got {shape} with {len(outputs)}"
            )
        # Exporters forget to declare D, or declare it wrongly: one black crop tells.
        probe = self._network.run(np.zeros((1, 3, CROP_PX, CROP_PX), dtype=np.float32))[0]
        if probe.ndim != 2 or probe.shape[0] != 1 or not 1 < probe.shape[1] <= _MAX_DIMENSION:
            raise ModelError(f"weights {entry.id}: expected embeddings (N, D), got {probe.shape}")
        self._dimension = int(probe.shape[1])

    def contract(self) -> Mapping[str, str]:
        recipe = self._weights.entry.recipe
        return {"weights": self._weights.sha256, "input": f"rgb, {recipe.normalisation or 'embedded'}"}

    def _embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        if self._network.input_shape[0] == 1:
            return np.concatenate([self._network.run(batch[i : i + 1])[0] for i in range(len(batch))])
        return self._network.run(batch)[0]


EMBEDDER = ArcFace
