"""LEADER (R. Cappelli, arXiv 2602.15493): one network from gray print to minutiae; the accurate default.

Its graph is rebuilt from the published weights by :mod:`biometrik.leader_graph`, which says how and why.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik import models
from biometrik.fingerprint.extraction import Extractor, Found
from biometrik.fingers import MinutiaKind
from biometrik.inference import Runtime

WEIGHTS_ID: Final = "leader-2026"


class Leader(Extractor):
    """See the module docstring; everything else is the base class."""

    def _load(self, runtime: Runtime) -> None:
        self._weights = models.bundled(WEIGHTS_ID, runtime.models)
        self._network = runtime.open(self._weights.path)

    def contract(self) -> Mapping[str, str]:
        return {"weights": self._weights.sha256, "input": "gray 0..255 at 500 ppi, sides multiples of 32"}

    def _extract(self, pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
        (minutiae,) = self._network.run(pixels[:, None].astype(np.float32))
        return [_rows(values) for values in minutiae]


def _rows(values: NDArray[np.float32]) -> NDArray[Any]:
    x, y, quality, cosine, sine, ending = values.T
    rows = np.empty(len(values), dtype=Found)
    rows["x"], rows["y"], rows["quality"] = x, y, 100 * quality
    rows["direction"] = np.arctan2(-sine, cosine)  # the network's y points up
    rows["kind"] = np.where(ending >= 0, MinutiaKind.ENDING, MinutiaKind.BIFURCATION)
    return rows


EXTRACTOR = Leader
