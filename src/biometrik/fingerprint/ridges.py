"""A print's ridges: how they run, how far apart, how clearly they are seen, and a picture of nothing but them."""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.enhancement import enhanced
from biometrik.fingerprint.orientation import ridge_flow, ridge_period, structure_tensor
from biometrik.fingerprint.segmentation import GRID_PX, flattened, foreground, without_specks

#: Neighbourhoods of the flow, pixels (standard deviation): a ridge and a half before the ridges are clear, within one
#: ridge after.
_COARSE_PX: Final = 14.0
_FINE_PX: Final = 8.0
#: Blur before gradients are taken, pixels: below a ridge's width, above a pixel's noise.
_BLUR_PX: Final = 1.0
#: Neighbourhood that speaks for a cell's clarity, cells (standard deviation).
_CLARITY_CELLS: Final = 1.0
#: Ridges are readable from this amplitude on; a clear wave has about 1 where contrast is made even.
_READABLE: Final = 0.45


@dataclass(frozen=True, slots=True, eq=False)
class Ridges:
    """What :func:`find_ridges` sees; cells are 8 × 8 pixels.

    Parameters
    ----------
    flat : (H, W) float32
        The print with even light and contrast, ridges positive.
    clear : (H, W) float32
        Its ridges alone, positive; 0 where there are none.
    inside : (H / 8, W / 8) bool
        Cells whose ridges can be read.
    angle : (H / 8, W / 8) float32
        Orientation of the ridges, radians in [0, π), y down.
    coherence : (H / 8, W / 8) float32
        How much the clear ridges have one orientation, 0..1.
    certainty : (H / 8, W / 8) float32
        The same of the print's own gradients, 0..1.
    period : (H / 8, W / 8) float32
        From ridge to ridge, pixels, 5..15.
    regularity : (H / 8, W / 8) float32
        Share of the energy across the ridges at one frequency, 0..1; 0 where it was not measured, which it is in every
        second cell of every second row.
    amplitude : (H / 8, W / 8) float32
        Of the ridges in ``clear``; about 1 where they are good.
    purity : (H / 8, W / 8) float32
        Share of the contrast in ``flat`` that is the ridges', 0..1.
    """

    flat: NDArray[np.float32]
    clear: NDArray[np.float32]
    inside: NDArray[np.bool_]
    angle: NDArray[np.float32]
    coherence: NDArray[np.float32]
    certainty: NDArray[np.float32]
    period: NDArray[np.float32]
    regularity: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    purity: NDArray[np.float32]


def find_ridges(pixels: NDArray[np.uint8]) -> Ridges:
    """Return a print's ridges.

    The flow is found twice: coarsely on the print, then finely on what a first filtering made clear. The second
    filtering begins with the print again, because filtering twice smooths minutiae away.

    Parameters
    ----------
    pixels : (H, W) uint8
        500 ppi, dark ridges, sides multiples of 8.

    Raises
    ------
    InvalidInputError
        Another dtype, rank or side.

    Examples
    --------
    >>> ridges = find_ridges(np.tile(np.uint8(127 + 100 * np.cos(np.arange(160) * 0.7)), (160, 1)))
    >>> bool(ridges.inside.all()), round(float(np.median(ridges.period)), 1)
    (True, 9.0)
    """
    flat = flattened(pixels)
    inside = foreground(structure_tensor(pixels))
    tensor = structure_tensor(cv2.GaussianBlur(flat, (0, 0), _BLUR_PX))
    certainty = ridge_flow(tensor, _FINE_PX).coherence
    flow = ridge_flow(tensor, _COARSE_PX)
    period, regularity = ridge_period(flat, flow, inside)
    flow = ridge_flow(structure_tensor(enhanced(flat, flow.angle, period, inside)), _FINE_PX)
    clear = enhanced(flat, flow.angle, period, inside)
    ridge, all_ = _energy(clear), _energy(flat)
    amplitude = np.sqrt(2 * ridge)
    purity = np.sqrt(np.minimum(ridge / np.maximum(all_, np.float32(1e-6)), 1))
    inside = without_specks(inside & (amplitude > _READABLE))
    return Ridges(flat, clear, inside, flow.angle, flow.coherence, certainty, period, regularity, amplitude, purity)


def _energy(wave: NDArray[np.float32]) -> NDArray[Any]:
    size = wave.shape[1] // GRID_PX, wave.shape[0] // GRID_PX
    cells = cv2.resize(wave * wave, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(cells, (0, 0), _CLARITY_CELLS, borderType=cv2.BORDER_CONSTANT)
