"""NIST's mindtct through the package ``nbis-py``, where that is installed: a reference to compare with.

Its directions are multiples of 11.25° and its places whole pixels.
"""

from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

import cv2
import nbis
import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.extraction import Extractor, Found
from biometrik.fingers import NATIVE_PPI, MinutiaKind
from biometrik.inference import Runtime

_KINDS: Final = {"RIDGE_ENDING": MinutiaKind.ENDING, "BIFURCATION": MinutiaKind.BIFURCATION}


class Nbis(Extractor):
    """See the module docstring; everything else is the base class."""

    def _load(self, runtime: Runtime) -> None:
        del runtime  # nothing to open
        settings = nbis.NbisExtractorSettings(
            min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=False, ppi=NATIVE_PPI
        )
        self._mindtct = nbis.new_nbis_extractor(settings)

    def contract(self) -> Mapping[str, str]:
        return {"algorithm": "mindtct", "package": f"nbis-py {metadata.version('nbis-py')}"}

    def _extract(self, pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
        return [self._rows(print_) for print_ in pixels]

    def _rows(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        if np.ptp(pixels) == 0:
            return np.empty(0, dtype=Found)  # mindtct refuses an image without any contrast
        encoded = cv2.imencode(".bmp", pixels)[1]
        found = self._mindtct.extract_minutiae(encoded.tobytes()).get()
        rows = np.array(
            [
                (
                    minutia.x(),
                    minutia.y(),
                    -np.radians(minutia.angle()),  # counted counter-clockwise, y up
                    _KINDS.get(minutia.kind().name, MinutiaKind.OTHER),
                    round(100 * minutia.reliability()),
                )
                for minutia in found
            ],
            dtype=Found,
        )
        return rows[np.argsort(-rows["quality"], kind="stable")]


EXTRACTOR = Nbis
