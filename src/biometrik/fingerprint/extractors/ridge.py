"""Ridges made clear, thinned to lines, and read: the fast extractor, without a network.

Every stage is a module of its own: segmentation, orientation and period, enhancement, in the order that
:mod:`biometrik.fingerprint.ridges` has, then the skeleton. ADR 9 has the reasons and measurements.
"""

from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.extraction import Extractor, Found
from biometrik.fingerprint.ridges import Ridges, find_ridges
from biometrik.fingerprint.segmentation import GRID_PX
from biometrik.fingerprint.skeleton import ridge_minutiae, thin
from biometrik.inference import Runtime

#: Changes when the same pixels give other minutiae.
_VERSION: Final = "1"
#: Cells at the edge of the readable part where minutiae do not count, because ridges are cut there: 8 px.
_EDGE: Final = np.ones((3, 3), dtype=np.uint8)
#: Log odds that a minutia is one: per unit of purity, amplitude and coherence around it, and without any. By logistic
#: regression of 10,990 minutiae of the development sets on whether LEADER has one there too (ADR 9).
_PURITY: Final = 6.0
_AMPLITUDE: Final = 5.5
_COHERENCE: Final = 4.5
_WITHOUT: Final = -10.2


class Ridge(Extractor):
    """See the module docstring; everything else is the base class."""

    def _load(self, runtime: Runtime) -> None:
        del runtime  # nothing to open

    def contract(self) -> Mapping[str, str]:
        return {"algorithm": "ridge", "version": _VERSION}

    def _extract(self, pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
        return [_rows(find_ridges(print_)) for print_ in pixels]


def _rows(ridges: Ridges) -> NDArray[Any]:
    inner = cv2.erode(ridges.inside.astype(np.uint8), _EDGE, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    skeleton = thin((ridges.clear > 0).astype(np.uint8))
    found = ridge_minutiae(skeleton, ridges.angle, inner, ridges.period)
    rows = np.empty(len(found), dtype=Found)
    for name in ("x", "y", "direction", "kind"):
        rows[name] = found[name]
    at = found["y"].astype(np.intp) // GRID_PX, found["x"].astype(np.intp) // GRID_PX
    odds = _PURITY * ridges.purity + _AMPLITUDE * np.minimum(ridges.amplitude, 2) + _COHERENCE * ridges.coherence
    # The root of the probability, because a matcher loses more by a true minutia than by a false one: the usual limit
    # of 30 then drops what is false ten times in eleven. Whole numbers, as a template keeps them.
    rows["quality"] = np.rint(100 / np.sqrt(1 + np.exp(-(odds[at] + _WITHOUT))))
    return rows[np.argsort(-rows["quality"], kind="stable")]


EXTRACTOR = Ridge
