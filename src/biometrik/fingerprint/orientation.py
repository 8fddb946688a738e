"""Which way ridges run and how far apart they are, cell by cell."""

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint.arrays import kernel_input
from biometrik.fingerprint.segmentation import GRID_PX

#: Ridge periods that occur, pixels at 500 ppi: children's to tall men's thumbs (0.25 to 0.76 mm).
PERIODS_PX: Final = (5.0, 15.0)
#: What is taken where nothing can be measured, pixels: an adult's 0.46 mm.
TYPICAL_PERIOD_PX: Final = 9.0

#: The window in which a period is measured, pixels: across the ridges (five periods) and along them.
_ACROSS: Final = 48
_ALONG: Final = 16
#: Frequencies tried, cycles in the window.
_CYCLES: Final = np.arange(_ACROSS / PERIODS_PX[1], _ACROSS / PERIODS_PX[0] + 0.01, 0.4).astype(np.float32)
_HANN: Final = np.hanning(_ACROSS + 2)[1:-1].astype(np.float32)
_PHASE: Final = 2 * np.pi * np.outer(_CYCLES, (np.arange(_ACROSS) - (_ACROSS - 1) / 2) / _ACROSS)
_COS: Final = (np.cos(_PHASE) * _HANN).astype(np.float32)
_SIN: Final = (np.sin(_PHASE) * _HANN).astype(np.float32)
#: Neighbourhood over which periods are evened out, cells (standard deviation): 32 px. A finger's ridges widen slowly.
_EVEN_CELLS: Final = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class RidgeFlow:
    """The ridges' course.

    Parameters
    ----------
    angle : (rows, columns) float32
        Orientation of the ridges, radians in [0, π), y down.
    coherence : (rows, columns) float32
        How much the gradients agree, 0..1.
    """

    angle: NDArray[np.float32]
    coherence: NDArray[np.float32]


def structure_tensor(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return the means of the gradients' products in each cell.

    Parameters
    ----------
    pixels : (H, W) uint8 or float32
        Sides multiples of 8.

    Returns
    -------
    (3, H / 8, W / 8) float32
        xx, yy, xy.

    Raises
    ------
    InvalidInputError
        Other sides or rank.
    """
    if pixels.ndim != 2 or pixels.size == 0 or any(side % GRID_PX for side in pixels.shape):
        raise InvalidInputError(f"pixels: expected sides that are multiples of {GRID_PX}, got {pixels.shape}")
    x = cv2.Scharr(pixels, cv2.CV_32F, 1, 0, scale=1 / 32)
    y = cv2.Scharr(pixels, cv2.CV_32F, 0, 1, scale=1 / 32)
    size = pixels.shape[1] // GRID_PX, pixels.shape[0] // GRID_PX
    products = (cv2.resize(product, size, interpolation=cv2.INTER_AREA) for product in (x * x, y * y, x * y))
    return np.stack(list(products)).astype(np.float32, copy=False)


def ridge_flow(tensor: NDArray[np.float32], spread_px: float) -> RidgeFlow:
    """Return the orientation of the ridges: across the gradients, by their doubled angles' weighted mean.

    Parameters
    ----------
    tensor : (3, rows, columns) float32
        From :func:`structure_tensor`.
    spread_px : float
        Standard deviation of the neighbourhood averaged over, pixels.

    References
    ----------
    M. Kass, A. Witkin, "Analyzing oriented patterns", CVGIP 37, 1987; A. Bazen, S. Gerez, "Systematic methods for the
    computation of the directional fields and singular points of fingerprints", IEEE TPAMI 24(7), 2002.

    Examples
    --------
    >>> stripes = np.tile(np.cos(np.arange(64) * 0.7).astype(np.float32), (64, 1))
    >>> bool(np.allclose(ridge_flow(structure_tensor(stripes), 12.0).angle, np.pi / 2))
    True
    """
    sigma = spread_px / GRID_PX
    xx, yy, xy = (cv2.GaussianBlur(part, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for part in tensor)
    even, odd = xx - yy, 2 * xy
    angle = np.mod(0.5 * np.arctan2(odd, even) + np.float32(np.pi / 2), np.float32(np.pi))
    coherence = np.hypot(even, odd) / np.maximum(xx + yy, 1e-9)
    return RidgeFlow(np.where(angle >= np.float32(np.pi), 0, angle).astype(np.float32), np.minimum(coherence, 1))


def ridge_period(
    flat: NDArray[np.float32], flow: RidgeFlow, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the distance from ridge to ridge.

    Parameters
    ----------
    flat : (H, W) float32
        From :func:`biometrik.fingerprint.segmentation.flattened`.
    flow : RidgeFlow
        Of its cells.
    inside : (rows, columns) bool
        Cells where it is measured.

    Returns
    -------
    period : (rows, columns) float32
        Pixels, 5..15, evened out over the neighbourhood.
    strength : (rows, columns) float32
        Share of the profile's energy across the ridges at the strongest frequency, 0..1; 0 where it was not measured.

    Notes
    -----
    Each cell's window lies across its ridges; averaged along them it is a profile, whose Hann-windowed spectrum has a
    peak at the ridge frequency. Every second cell is measured, which is every ridge or two.

    References
    ----------
    L. Hong, Y. Wan, A. Jain, IEEE TPAMI 20(8), 1998, section 2.5: the oriented window; its peaks are counted there.
    """
    flat = kernel_input("flat", flat, np.float32)
    angle = kernel_input("angle", flow.angle, np.float32)
    inside = kernel_input("inside", inside, np.bool_)
    period = np.zeros(angle.shape, dtype=np.float32)
    strength = np.zeros(angle.shape, dtype=np.float32)
    _periods(flat, angle, inside, period, strength)
    measured = cv2.GaussianBlur(strength, (0, 0), _EVEN_CELLS, borderType=cv2.BORDER_CONSTANT)
    evened = cv2.GaussianBlur(strength * period, (0, 0), _EVEN_CELLS, borderType=cv2.BORDER_CONSTANT)
    known = measured > 1e-4
    evened = np.where(known, evened / np.maximum(measured, np.float32(1e-4)), np.float32(TYPICAL_PERIOD_PX))
    return np.clip(evened, *PERIODS_PX).astype(np.float32, copy=False), strength


@njit(cache=True, nogil=True)
def _periods(
    flat: NDArray[np.float32],
    angle: NDArray[np.float32],
    inside: NDArray[np.bool_],
    period: NDArray[np.float32],
    strength: NDArray[np.float32],
) -> None:
    # Trusts its input; fills the last two, which hold zeros, at every second cell of every second row.
    height, width = flat.shape
    profile = np.empty(_ACROSS, dtype=np.float32)
    power = np.empty(len(_CYCLES), dtype=np.float32)
    for row in range(0, angle.shape[0], 2):
        for column in range(0, angle.shape[1], 2):
            if not inside[row, column]:
                continue
            middle_y, middle_x = (row + 0.5) * GRID_PX, (column + 0.5) * GRID_PX
            cos, sin = math.cos(angle[row, column]), math.sin(angle[row, column])
            mean = 0.0
            for i in range(_ACROSS):
                off = i - (_ACROSS - 1) / 2
                total, count = 0.0, 0
                for k in range(_ALONG):
                    along = k - (_ALONG - 1) / 2
                    x = int(middle_x + along * cos - off * sin + 0.5)
                    y = int(middle_y + along * sin + off * cos + 0.5)
                    if 0 <= x < width and 0 <= y < height:
                        total += flat[y, x]
                        count += 1
                profile[i] = total / count if count else 0.0
                mean += profile[i]
            mean /= _ACROSS
            energy = 0.0
            for i in range(_ACROSS):
                profile[i] -= mean
                energy += profile[i] * profile[i] * _HANN[i]
            best = 1
            for f in range(len(_CYCLES)):
                even, odd = np.float32(0), np.float32(0)
                for i in range(_ACROSS):
                    even += profile[i] * _COS[f, i]
                    odd += profile[i] * _SIN[f, i]
                power[f] = even * even + odd * odd
                if power[f] > power[best]:
                    best = f
            if best < 1 or best > len(_CYCLES) - 2 or energy <= 0.0:
                continue
            before, here, after = power[best - 1], power[best], power[best + 1]
            bend = before - 2 * here + after
            shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
            cycles = _CYCLES[best] + shift * (_CYCLES[1] - _CYCLES[0])
            period[row, column] = _ACROSS / cycles
            # A pure wave has energy · (sum of the window) / 2 here.
            strength[row, column] = min(1.0, here * 4.0 / (energy * _ACROSS))
