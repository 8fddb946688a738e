"""What all SYNTHETIC draws share: where their chance comes from, and the form their minutiae take."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import Minutiae


def generator(seed: int, *stream: int) -> np.random.Generator:
    """Return the source of chance that belongs to a seed and a place in its population.

    Parameters
    ----------
    seed : int
        Names the population; not negative.
    stream : int
        What is drawn, and which of it; not negative.

    Raises
    ------
    InvalidInputError
        A negative number.
    """
    if min(seed, *stream) < 0:
        raise InvalidInputError(f"seed and indices: expected whole numbers from 0, got {seed} and {stream[1:]}")
    return np.random.default_rng([seed, *stream])


def minutiae_of(
    x: NDArray[Any],
    y: NDArray[Any],
    direction: NDArray[Any],
    kind: NDArray[np.uint8],
    quality: NDArray[np.uint8],
    width_px: int,
    height_px: int,
) -> Minutiae:
    """Return minutiae from coordinates of any float type, and directions in [0, 2π) that may round up to a turn."""
    turn = direction.astype(np.float32)
    turn = np.where(turn >= np.float32(2 * math.pi), np.float32(0), turn)
    return Minutiae(x.astype(np.float32), y.astype(np.float32), turn, kind, quality, width_px, height_px)
