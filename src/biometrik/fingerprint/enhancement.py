"""Ridges made clear: each cell is filtered with the wave that fits its orientation and period."""

import math
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingerprint.arrays import kernel_input
from biometrik.fingerprint.orientation import PERIODS_PX
from biometrik.fingerprint.segmentation import GRID_PX

#: Orientations of the bank: 5.6° apart, a quarter of what filters this short tell apart.
_ORIENTATIONS: Final = 32
#: Periods of the bank, a seventh apart: filters of more than an octave's width do not see less.
_PERIODS: Final = np.geomspace(*PERIODS_PX, 9)
#: Standard deviation of a filter's window, periods: its width at half height is one period, so that it sees a ridge
#: between its two valleys and no more. A longer one smooths minutiae away (ADR 9).
_WINDOW: Final = 0.42
#: Filters reach so many standard deviations, where 8 % of the window's height is left.
_REACH: Final = 2.25
_RADIUS_PX: Final = math.ceil(_REACH * _WINDOW * PERIODS_PX[1])


def enhanced(
    flat: NDArray[np.float32],
    angle: NDArray[np.float32],
    period: NDArray[np.float32],
    inside: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return what each cell's own Gabor filter finds.

    Parameters
    ----------
    flat : (H, W) float32
        Ridges positive, valleys negative.
    angle, period : (H / 8, W / 8) float32
        Of the ridges: radians, pixels.
    inside : (H / 8, W / 8) bool
        Cells that are filtered.

    Returns
    -------
    (H, W) float32
        A wave of amplitude 1 stays one; 0 outside.

    Raises
    ------
    InvalidInputError
        Shapes that do not fit, or another dtype.

    References
    ----------
    L. Hong, Y. Wan, A. Jain, IEEE TPAMI 20(8), 1998, section 2.6.
    """
    flat = kernel_input("flat", flat, np.float32)
    inside = kernel_input("inside", inside, np.bool_)
    grid = flat.shape[0] // GRID_PX, flat.shape[1] // GRID_PX
    if any(side % GRID_PX for side in flat.shape) or not grid == angle.shape == period.shape == inside.shape:
        raise InvalidInputError(
            f"angle, period, inside: expected {grid} cells of {GRID_PX} px, got {angle.shape}, {period.shape}, "
            f"{inside.shape}"
        )
    turn = np.rint(angle * (_ORIENTATIONS / math.pi)).astype(np.int64) % _ORIENTATIONS
    step = math.log(_PERIODS[1] / _PERIODS[0])
    size = np.clip(np.rint(np.log(period / PERIODS_PX[0]) / step), 0, len(_PERIODS) - 1).astype(np.int64)
    r = _RADIUS_PX
    padded = cv2.copyMakeBorder(flat, r, r, r, r, cv2.BORDER_REFLECT_101).astype(np.float32, copy=False)
    out = np.zeros(flat.shape, dtype=np.float32)
    bank, radius = _bank()
    _filter(padded, bank, radius, np.where(inside, size * _ORIENTATIONS + turn, -1), out)
    return out


@lru_cache(maxsize=1)
def _bank() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    # (periods · orientations, side, side) even Gabor filters, blind to constant light, and how far each reaches.
    y, x = np.mgrid[-_RADIUS_PX : _RADIUS_PX + 1, -_RADIUS_PX : _RADIUS_PX + 1].astype(np.float64)
    filters, radii = [], []
    for period in _PERIODS:
        radius = math.ceil(_REACH * _WINDOW * period)
        window = np.exp(-(x**2 + y**2) / (2 * (_WINDOW * period) ** 2))
        window[np.maximum(abs(x), abs(y)) > radius] = 0
        for angle in np.arange(_ORIENTATIONS) * (math.pi / _ORIENTATIONS):
            wave = np.cos(2 * math.pi / period * (y * math.cos(angle) - x * math.sin(angle)))
            even = window * (wave - (window * wave).sum() / window.sum())
            filters.append(even / (even * wave).sum())
            radii.append(radius)
    return np.stack(filters).astype(np.float32), np.array(radii, dtype=np.int64)


@njit(cache=True, nogil=True)
def _filter(
    padded: NDArray[np.float32],
    bank: NDArray[np.float32],
    radius: NDArray[np.int64],
    choice: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    # Trusts its input; fills `out`, which holds zeros. A cell's 64 sums run side by side in vector registers: for each
    # of the filter's columns the strip of the print below it is laid out row after row, so that the filter's next row
    # is the same 64 numbers eight further on.
    side = bank.shape[1]
    rows = GRID_PX + side - 1
    strip = np.empty(rows * GRID_PX, dtype=np.float32)
    sums = np.empty(GRID_PX * GRID_PX, dtype=np.float32)
    for row in range(choice.shape[0]):
        for column in range(choice.shape[1]):
            if choice[row, column] < 0:
                continue
            kernel = bank[choice[row, column]]
            first = side // 2 - radius[choice[row, column]]
            last = side - first
            sums[:] = 0
            for dx in range(first, last):
                for y in range(first, GRID_PX - 1 + last):
                    for x in range(GRID_PX):
                        strip[GRID_PX * y + x] = padded[row * GRID_PX + y, column * GRID_PX + dx + x]
                for dy in range(first, last):
                    weight = kernel[dy, dx]
                    part = strip[GRID_PX * dy : GRID_PX * (dy + GRID_PX)]
                    for i in range(GRID_PX * GRID_PX):
                        sums[i] += weight * part[i]
            for y in range(GRID_PX):
                for x in range(GRID_PX):
                    out[row * GRID_PX + y, column * GRID_PX + x] = sums[GRID_PX * y + x]
