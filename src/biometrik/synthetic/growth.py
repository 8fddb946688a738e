"""Ridges that grow: a pattern that fits a given orientation and period everywhere, minutiae where it must have them."""

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError

ORIENTATIONS: Final = 64
#: Periods for which there are filters, pixels; what lies outside takes the nearest.
PERIODS_PX: Final = np.linspace(3.2, 6.2, 13)
#: Filters reach so many rows up and down, and twice this number of columns, of which the first is empty: 16 floats are
#: whole vector registers.
REACH: Final = 8
#: Standard deviations of the filters' envelope along and across the ridge, in periods.
_ENVELOPE: Final = (0.5, 0.42)


def grow(
    orientation: NDArray[np.float64],
    period_px: NDArray[np.float64],
    inside: NDArray[np.bool_],
    start: NDArray[np.float32],
    iterations: int,
) -> NDArray[np.float32]:
    """Return the ridge pattern that ``start`` grows into.

    Each iteration filters every pixel with the Gabor filter of its orientation and period and saturates the answer, so
    that ridges spread from where there are some, and meet where they must.

    Parameters
    ----------
    orientation : (H, W) float64
        Of the ridges, radians in [0, π).
    period_px : (H, W) float64
        From ridge to ridge, pixels; 3.2 to 6.2 are reached.
    inside : (H, W) bool
        Where ridges may grow.
    start : (H, W) float32
        What they grow from: 0 where there is nothing yet.
    iterations : int
        How often the pattern is filtered, 1..1000.

    Returns
    -------
    (H, W) float32
        −1 in the middle of valleys to 1 on ridges; 0 outside.

    Raises
    ------
    InvalidInputError
        Arrays of different shapes, or iterations out of range.

    Notes
    -----
    The period comes out 1 to 4 % shorter than asked for, 6 % along the pixels' axes, where the overtones of saturated
    waves fold back.

    References
    ----------
    R. Cappelli, D. Maio, D. Maltoni, "Synthetic fingerprint-database generation", ICPR 2002, section 2.3.
    """
    shape = orientation.shape
    if len(shape) != 2 or not shape == period_px.shape == inside.shape == start.shape:
        raise InvalidInputError(
            f"growth: expected four (H, W) arrays of one shape, got {shape}, {period_px.shape}, {inside.shape}, "
            f"{start.shape}"
        )
    if not 1 <= iterations <= 1000:
        raise InvalidInputError(f"iterations: expected 1..1000, got {iterations}")
    step = PERIODS_PX[1] - PERIODS_PX[0]
    level = np.clip(np.rint((period_px - PERIODS_PX[0]) / step), 0, len(PERIODS_PX) - 1)
    turn = np.rint(orientation * (ORIENTATIONS / math.pi)) % ORIENTATIONS
    filters = np.where(inside, level * ORIENTATIONS + turn, -1).astype(np.int32)
    frame = ((REACH, REACH), (REACH, REACH))
    pattern = np.pad(np.where(inside, start, 0).astype(np.float32), frame)
    following = np.zeros_like(pattern)
    for _ in range(iterations):
        _filter(pattern, filters, _bank(), following)
        pattern, following = following, pattern
    return pattern[REACH:-REACH, REACH:-REACH].copy()


@lru_cache(maxsize=1)
def _bank() -> NDArray[np.float32]:
    # (periods × orientations, rows, columns); each filter without a mean, and of gain 3 for a wave that fits it.
    rows, columns = np.mgrid[-REACH : REACH + 1, -REACH:REACH].astype(np.float64)
    bank = []
    for period in PERIODS_PX:
        for turn in range(ORIENTATIONS):
            angle = turn * math.pi / ORIENTATIONS
            along = columns * math.cos(angle) + rows * math.sin(angle)
            across = rows * math.cos(angle) - columns * math.sin(angle)
            envelope = np.exp(-0.5 * ((along / _ENVELOPE[0]) ** 2 + (across / _ENVELOPE[1]) ** 2) / period**2)
            envelope[:, 0] = 0.0  # as many columns left of the centre as right of it
            wave = np.cos(2 * math.pi * across / period)
            wave -= (envelope * wave).sum() / envelope.sum()
            bank.append(envelope * wave * (3.0 / (envelope * wave * wave).sum()))
    return np.array(bank, dtype=np.float32)


@njit(cache=True, nogil=True)
def _filter(
    pattern: NDArray[np.float32],
    filters: NDArray[np.int32],
    bank: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    # Sixteen sums side by side, so that the compiler vectorises them without leave to reorder additions: the same
    # pattern on every machine.
    height, width = filters.shape
    sums = np.zeros(2 * REACH, dtype=np.float32)
    for y in range(height):
        for x in range(width):
            chosen = filters[y, x]
            if chosen < 0:
                continue
            sums[:] = np.float32(0.0)
            for row in range(2 * REACH + 1):
                for column in range(2 * REACH):
                    sums[column] += bank[chosen, row, column] * pattern[y + row, x + column]
            total = np.float32(0.0)
            for column in range(2 * REACH):
                total += sums[column]
            # A rational saturation: exact arithmetic, unlike tanh.
            out[y + REACH, x + REACH] = total / (np.float32(1.0) + abs(total))
