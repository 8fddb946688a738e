"""How skin gives: the middle of a SYNTHETIC finger sticks to the glass while the rest turns and slides."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError

#: Within these bounds the map is one to one: its displacement changes by less than a pixel a pixel.
_MAX_TORSION_RAD: Final = math.radians(12.0)
_MAX_TRACTION_PX: Final = 14.0
_MIN_STUCK_PX: Final = 60.0
_SOFTNESS: Final = (1.4, 4.0)
#: Fixed-point steps of the way back; each leaves at most 0.8 of the error.
_STEPS: Final = 48


@dataclass(frozen=True, slots=True)
class SkinDistortion:
    """The map between where a point of the finger would print undistorted, and where it does.

    Parameters
    ----------
    torsion_rad : float
        How far the finger is turned after it touched, −0.21..0.21 (12°).
    traction_px : (float, float)
        How far it is pulled (x, y), each −14..14 pixels.
    centre_px : (float, float)
        Middle of the part that sticks.
    stuck_px : (float, float)
        Half-axes of the part that sticks (an ellipse), at least 60 pixels.
    softness : float
        Width of the ring that stretches, in units of those half-axes, 1.4..4.

    Raises
    ------
    InvalidInputError
        A value out of range.

    References
    ----------
    R. Cappelli, D. Maio, D. Maltoni, "Modelling plastic distortion in fingerprint images", ICAPR 2001, section 2.
    """

    torsion_rad: float = 0.0
    traction_px: tuple[float, float] = (0.0, 0.0)
    centre_px: tuple[float, float] = (0.0, 0.0)
    stuck_px: tuple[float, float] = (70.0, 85.0)
    softness: float = 1.6

    def __post_init__(self) -> None:
        if not abs(self.torsion_rad) <= _MAX_TORSION_RAD:
            raise InvalidInputError(f"torsion_rad: expected at most ±{_MAX_TORSION_RAD:.2f}, got {self.torsion_rad}")
        if not max(map(abs, self.traction_px)) <= _MAX_TRACTION_PX:
            raise InvalidInputError(f"traction_px: expected at most ±{_MAX_TRACTION_PX}, got {self.traction_px}")
        if not (min(self.stuck_px) >= _MIN_STUCK_PX and _SOFTNESS[0] <= self.softness <= _SOFTNESS[1]):
            raise InvalidInputError(
                f"stuck_px, softness: expected from {_MIN_STUCK_PX} px and 1.4..4, got {self.stuck_px}, {self.softness}"
            )

    def to_finger(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the point of the finger that prints at each point of the glass.

        Parameters
        ----------
        x, y : (...) float
            Pixels on the glass; of shapes that broadcast. The dtype is kept.
        """
        dx, dy = x - self.centre_px[0], y - self.centre_px[1]
        cosine, sine = math.cos(self.torsion_rad), math.sin(self.torsion_rad)
        distance = np.sqrt((dx / self.stuck_px[0]) ** 2 + (dy / self.stuck_px[1]) ** 2) - 1.0
        brake = 0.5 - 0.5 * np.cos(np.clip(distance, 0.0, self.softness) * (math.pi / self.softness))
        along_x = (cosine - 1.0) * dx - sine * dy + self.traction_px[0]
        along_y = sine * dx + (cosine - 1.0) * dy + self.traction_px[1]
        return x + brake * along_x, y + brake * along_y

    def to_glass(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return where points of the finger print: the inverse of :meth:`to_finger`, to 1e-3 pixels.

        Parameters
        ----------
        x, y : (...) float64
            Pixels on the finger, of one shape.
        """
        glass_x, glass_y = x, y
        for _ in range(_STEPS):
            back_x, back_y = self.to_finger(glass_x, glass_y)
            glass_x, glass_y = glass_x + (x - back_x), glass_y + (y - back_y)
        return glass_x, glass_y
