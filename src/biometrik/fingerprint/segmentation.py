"""Where a print has ridges that can be read, and the print freed of shading and pressure."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError

#: Side of the cells of all fields here, pixels at 500 ppi: a little less than a ridge period, so that what is constant
#: within a cell follows the ridges around a core.
GRID_PX: Final = 8
#: Radius of the neighbourhood whose mean and deviation are made equal everywhere, pixels: three and a half periods
#: across, so that a ridge and its valley always lie in it.
_SHADE_PX: Final = 15
#: Contrast below which nothing is amplified, gray levels (standard deviation): what sensors have on bare ground.
_GROUND_LEVELS: Final = 6.0

#: A cell may be foreground where its coherent contrast is this share of the better half's median.
_SHARE: Final = 0.12
#: Standard deviation of the neighbourhood that speaks for a cell, cells: 12 px.
_SPREAD_CELLS: Final = 1.5
#: Pieces and holes smaller than this are not seen, cells: 13 mm², which holds no more than a minutia or two.
_LEAST_CELLS: Final = 80


def flattened(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a print whose local mean is 0 and local contrast 1: shading, dry and wet zones made alike.

    Parameters
    ----------
    pixels : (H, W) uint8
        500 ppi, dark ridges.

    Returns
    -------
    (H, W) float32
        Ridges positive, about -2..2; what has less contrast than bare ground stays small.

    References
    ----------
    L. Hong, Y. Wan, A. Jain, "Fingerprint image enhancement: algorithm and performance evaluation", IEEE TPAMI 20(8),
    1998, section 2.3; made local.

    Examples
    --------
    >>> bool(abs(flattened(np.full((64, 64), 200, np.uint8))).max() == 0)
    True
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise InvalidInputError(f"pixels: expected (H, W) uint8, got {pixels.shape} {pixels.dtype}")
    gray = pixels.astype(np.float32)
    window = 2 * _SHADE_PX + 1, 2 * _SHADE_PX + 1
    mean = cv2.boxFilter(gray, -1, window, borderType=cv2.BORDER_REFLECT_101)
    square = cv2.sqrBoxFilter(gray, cv2.CV_32F, window, borderType=cv2.BORDER_REFLECT_101)
    variance = np.maximum(square - mean * mean, 0)
    return ((mean - gray) / np.sqrt(variance + np.float32(_GROUND_LEVELS**2))).astype(np.float32, copy=False)


def foreground(tensor: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which cells may hold ridges: a generous first guess, by which nothing is lost.

    Parameters
    ----------
    tensor : (3, rows, columns) float32
        Structure tensor of the print before it is flattened, from
        :func:`biometrik.fingerprint.orientation.structure_tensor`. Its coherent part is large where gradients share an
        orientation, as those of ridges do and those of noise do not.

    Returns
    -------
    (rows, columns) bool

    References
    ----------
    A. Bazen, S. Gerez, "Segmentation of fingerprint images", ProRISC 2001: coherence, mean and variance as features.
    """
    xx, yy, xy = (cv2.GaussianBlur(part, (0, 0), _SPREAD_CELLS, borderType=cv2.BORDER_REPLICATE) for part in tensor)
    contrast = np.sqrt(np.hypot(xx - yy, 2 * xy))
    return without_specks(contrast > _SHARE * float(np.percentile(contrast, 75)))


def without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask without threads, specks and holes.

    Parameters
    ----------
    mask : (rows, columns) bool
        Cells of 8 px.

    Examples
    --------
    >>> mask = np.zeros((40, 40), dtype=bool)
    >>> mask[5:35, 5:35] = True
    >>> mask[20, 20], mask[2, 38] = False, True
    >>> int(without_specks(mask).sum())
    900
    """
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return _filled(~_filled(~opened)) if opened.any() else opened


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # Connected regions of false cells that are too small become true.
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < _LEAST_CELLS
    small[0] = False
    filled: NDArray[np.bool_] = mask | small[labels]
    return filled
