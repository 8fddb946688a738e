"""A print made ready for extraction: at 500 ppi, dark ridges on light ground, cut to where there are ridges."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import NATIVE_PPI, FingerprintImage
from biometrik.reasons import Reason

#: Side of the cells in which ridges are looked for, pixels at 500 ppi: two ridge periods of an adult's finger.
CELL_PX: Final = 16
#: The print lies in the middle of a sheet whose sides are multiples of this, and what is cut out begins and ends on
#: multiples of it: networks that halve their maps five times see the same print in the same phase, cut or not.
MULTIPLE_PX: Final = 32
#: Cells around the ridges that are kept.
_MARGIN_CELLS: Final = 1
#: Within this of 500 ppi a print is native (ISO/IEC 19794-4:2005, 7.1: ±1 %) and not resampled.
_NATIVE_TOLERANCE: Final = 0.01
_WHITE: Final = 255
#: Longest side of an image at 500 ppi: where minutiae can be (:class:`biometrik.fingers.Minutiae`).
_MAX_SIDE_PX: Final = 4096

#: A cell holds ridges where its standard deviation is this share of the best cells' (their 95th percentile), and at
#: least the second value, gray levels. On the development sets the ground has 0 to 6 levels, ridges 20 to 80.
_MIN_CONTRAST: Final = (0.2, 6.0)
#: A patch of ridges counts where it is at least this share of the largest, and has at least so many cells.
_MIN_PATCH: Final = (0.05, 8)
#: Cells without ridges that a print must have, as a share, before their brightness says something of its polarity.
_MIN_GROUND: Final = 0.03

#: An image that shows several fingers is at least this wide: two fingertips of 15 mm side by side, pixels at 500 ppi.
_SLAP_WIDTH_PX: Final = 600
#: The ridges of one finger are at most so wide and high, pixels at 500 ppi: 52 mm, more than a rolled thumb's 41, and
#: 78 mm, all three joints. It bounds what extraction takes: 0.9 GiB at most.
_LARGEST_PX: Final = (1024, 1536)
#: What counts as a finger of its own there, pixels at 500 ppi: 8 mm wide and 9 mm high.
_FINGER_PX: Final = (160, 180)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPrint:
    """What an extractor looks at, and where it lies in the print.

    Parameters
    ----------
    pixels : (H, W) uint8
        500 ppi, dark ridges on light ground; H and W are multiples of 32. White where it reaches beyond the print.
    left, top : int
        Place of its first pixel in the print at 500 ppi; may be negative.
    width_px, height_px : int
        Size of the whole print at 500 ppi.
    foreground : (H / 16, W / 16) bool
        Which cells of ``pixels`` hold ridges.
    inverted : bool
        Whether the print came with light ridges and was turned.
    """

    pixels: NDArray[np.uint8]
    left: int
    top: int
    width_px: int
    height_px: int
    foreground: NDArray[np.bool_]
    inverted: bool

    def __post_init__(self) -> None:
        for name in ("pixels", "foreground"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)


def prepare(image: FingerprintImage) -> PreparedPrint | Reason:
    """Return the print ready for extraction, or why nothing can be extracted from it.

    Parameters
    ----------
    image : FingerprintImage
        Of 250 to 1000 ppi.

    Returns
    -------
    PreparedPrint or Reason
        ``NO_FINGERPRINT`` where there are no ridges, ``SLAP_IMAGE`` where there are several fingers.

    Notes
    -----
    Polarity is judged by the ground beside the ridges, which is lighter than they are on average unless the print is
    inverted. A print that fills its image has no ground and is taken as it is.

    A slap is an image at least 30 mm wide in which two patches of ridges of a finger's size stand side by side, one
    whose ridges reach over more than 52 × 78 mm, or one whose finger position says so. Two fingers that touch each
    other are not told apart.

    Raises
    ------
    InvalidInputError
        The image is wider or higher than 4096 pixels at 500 ppi (208 mm).
    """
    if not image.position.is_single:
        return Reason.SLAP_IMAGE
    pixels = resampled(image.pixels, image.ppi)
    height, width = pixels.shape
    if max(height, width) > _MAX_SIDE_PX:
        raise InvalidInputError(f"print: expected at most {_MAX_SIDE_PX} px a side at 500 ppi, got {width} x {height}")
    above, left = (-height % MULTIPLE_PX) // 2, (-width % MULTIPLE_PX) // 2
    edges = above, -height % MULTIPLE_PX - above, left, -width % MULTIPLE_PX - left
    mean, deviation = _cells(cv2.copyMakeBorder(pixels, *edges, cv2.BORDER_REPLICATE))
    patches = _patches(deviation)
    if not patches:
        return Reason.NO_FINGERPRINT
    ridges = np.logical_or.reduce(patches)
    rows, columns = _span(ridges.any(axis=1)), _span(ridges.any(axis=0))
    size = (columns.stop - columns.start) * CELL_PX, (rows.stop - rows.start) * CELL_PX
    if size[0] > _LARGEST_PX[0] or size[1] > _LARGEST_PX[1]:
        return Reason.SLAP_IMAGE
    if width >= _SLAP_WIDTH_PX and _stand_side_by_side(patches):
        return Reason.SLAP_IMAGE
    ground = mean[deviation < _threshold(deviation)]
    inverted = bool(ground.size >= _MIN_GROUND * mean.size and np.median(ground) < mean[ridges].mean())
    if inverted:
        pixels = np.bitwise_not(pixels)
    sheet = cv2.copyMakeBorder(pixels, *edges, cv2.BORDER_CONSTANT, value=_WHITE).astype(np.uint8, copy=False)
    cut = sheet[rows.start * CELL_PX : rows.stop * CELL_PX, columns.start * CELL_PX : columns.stop * CELL_PX]
    return PreparedPrint(
        pixels=cut,
        left=columns.start * CELL_PX - left,
        top=rows.start * CELL_PX - above,
        width_px=width,
        height_px=height,
        foreground=ridges[rows, columns],
        inverted=inverted,
    )


def resampled(pixels: NDArray[np.uint8], ppi: float) -> NDArray[np.uint8]:
    """Return a print at 500 ppi: pixels' areas averaged on the way down, cubic interpolation on the way up.

    Parameters
    ----------
    pixels : (H, W) uint8
        Gray.
    ppi : float
        Of ``pixels``, 250..1000; within 1 % of 500 they are returned as they are.

    Returns
    -------
    (H, W) uint8
        Gray, at 500 ppi.

    Examples
    --------
    >>> resampled(np.zeros((480, 640), dtype=np.uint8), 1000.0).shape
    (240, 320)
    """
    if abs(ppi / NATIVE_PPI - 1) <= _NATIVE_TOLERANCE:
        return pixels
    height, width = (max(1, round(side * NATIVE_PPI / ppi)) for side in pixels.shape)
    interpolation = cv2.INTER_AREA if ppi > NATIVE_PPI else cv2.INTER_CUBIC
    return cv2.resize(pixels, (width, height), interpolation=interpolation).astype(np.uint8, copy=False)


def _cells(sheet: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    # Mean and standard deviation of each cell.
    rows, columns = (side // CELL_PX for side in sheet.shape)
    cells = sheet.astype(np.float32).reshape(rows, CELL_PX, columns, CELL_PX)
    mean = cells.mean(axis=(1, 3))
    square = np.einsum("iajb,iajb->ij", cells, cells) / CELL_PX**2
    return mean, np.sqrt(np.maximum(square - mean * mean, 0))


def _threshold(deviation: NDArray[np.float32]) -> float:
    share, least = _MIN_CONTRAST
    return max(least, share * float(np.percentile(deviation, 95)))


def _patches(deviation: NDArray[np.float32]) -> list[NDArray[np.bool_]]:
    # Masks of the connected regions with ridges, without specks, the largest first.
    ridges = (deviation >= _threshold(deviation)).astype(np.uint8)
    closed = cv2.morphologyEx(ridges, cv2.MORPH_CLOSE, np.ones((3, 3), dtype=np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    share, least = _MIN_PATCH
    wanted = max(share * float(areas.max(initial=0)), least)
    return [labels == i + 1 for i in np.argsort(-areas, kind="stable") if areas[i] >= wanted]


def _stand_side_by_side(patches: list[NDArray[np.bool_]]) -> bool:
    spans = []
    for patch in patches:
        rows, columns = (np.flatnonzero(patch.any(axis=axis)) for axis in (1, 0))
        width, height = (int(np.ptp(cells) + 1) * CELL_PX for cells in (columns, rows))
        if width >= _FINGER_PX[0] and height >= _FINGER_PX[1]:
            spans.append((int(columns[0]), int(columns[-1])))
    spans.sort()
    return any(first[1] < second[0] for first, second in pairwise(spans))


def _span(has_ridges: NDArray[np.bool_]) -> slice:
    # The cells to keep along one axis: those with ridges and their margin, out to whole multiples.
    cells, unit = np.flatnonzero(has_ridges), MULTIPLE_PX // CELL_PX
    first, last = max(0, int(cells[0]) - _MARGIN_CELLS), min(len(has_ridges), int(cells[-1]) + 1 + _MARGIN_CELLS)
    return slice(first // unit * unit, -(-last // unit) * unit)
