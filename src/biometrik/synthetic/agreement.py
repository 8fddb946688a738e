"""How far the minutiae that an extractor finds are the true ones of a SYNTHETIC print."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import Minutiae


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts that add up over prints.

    Parameters
    ----------
    agreed : int
        Found minutiae that are paired with a true one.
    found, true : int
        Minutiae found, and true ones, inside the margin or paired with one that is.
    """

    agreed: int = 0
    found: int = 0
    true: int = 0

    @property
    def precision(self) -> float:
        """Share of the found minutiae that are true, 0..1; 1 where nothing was found."""
        return self.agreed / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the true minutiae that were found, 0..1; 1 where there is none."""
        return self.agreed / self.true if self.true else 1.0

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(self.agreed + other.agreed, self.found + other.found, self.true + other.true)


def agreement(
    found: Minutiae,
    true: Minutiae,
    contact: NDArray[np.bool_],
    *,
    margin_px: int = 12,
    distance_px: float = 8.0,
    angle_deg: float = 20.0,
) -> Agreement:
    """Pair found minutiae with true ones, nearest pairs first, each at most once, and count.

    Parameters
    ----------
    found, true : Minutiae
        What an extractor found, and the truth, in the same image.
    contact : (H, W) bool
        Where the finger touched: ridges end at its edge without a minutia.
    margin_px : int
        Minutiae nearer the edge of ``contact`` do not count, 0..64; one that lies just outside can still be the partner
        of one inside, so that a pair astride the margin is no error. Both of such a pair count.
    distance_px, angle_deg : float
        Pairs are at most so far apart, pixels and degrees; above 0.

    Returns
    -------
    Agreement

    Raises
    ------
    InvalidInputError
        A value out of range, or ``contact`` is not 2-D bool.

    Examples
    --------
    >>> nothing = np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32)
    >>> none = Minutiae(*nothing, np.zeros(0, np.uint8), np.zeros(0, np.uint8), 64, 64)
    >>> agreement(none, none, np.ones((64, 64), dtype=bool)).recall
    1.0
    """
    if contact.ndim != 2 or contact.dtype != np.bool_:
        raise InvalidInputError(f"contact: expected (H, W) bool, got {contact.shape} {contact.dtype}")
    if not 0 <= margin_px <= 64 or distance_px <= 0 or angle_deg <= 0:
        raise InvalidInputError(
            "margin_px, distance_px, angle_deg: expected 0..64 and above 0, got "
            f"{margin_px}, {distance_px}, {angle_deg}"
        )
    counted = _eroded(contact, margin_px)
    found_in, true_in = _within(found, counted), _within(true, counted)
    distance = np.hypot(found.x[:, None] - true.x[None, :], found.y[:, None] - true.y[None, :]).astype(np.float64)
    near = np.cos(found.direction[:, None] - true.direction[None, :]) >= math.cos(math.radians(angle_deg))
    distance[~near | (distance > distance_px) | ~(found_in[:, None] | true_in[None, :])] = np.inf
    agreed = 0
    while distance.size and np.isfinite(distance.min()):
        i, j = np.unravel_index(int(distance.argmin()), distance.shape)
        found_in[i] = true_in[j] = True
        distance[i, :] = distance[:, j] = np.inf
        agreed += 1
    return Agreement(agreed, int(found_in.sum()), int(true_in.sum()))


def _eroded(contact: NDArray[np.bool_], margin_px: int) -> NDArray[np.bool_]:
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1, 2 * margin_px + 1))
    inner = cv2.erode(contact.astype(np.uint8), element, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(inner) > 0


def _within(minutiae: Minutiae, mask: NDArray[Any]) -> NDArray[np.bool_]:
    row = np.clip(np.rint(minutiae.y).astype(np.intp), 0, mask.shape[0] - 1)
    column = np.clip(np.rint(minutiae.x).astype(np.intp), 0, mask.shape[1] - 1)
    return np.asarray(mask[row, column], dtype=np.bool_).copy()
