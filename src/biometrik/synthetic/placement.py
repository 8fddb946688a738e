"""How a SYNTHETIC finger is put on the scanner: where it lies, how its skin gives, which part touches."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.synthetic.distortion import SkinDistortion

#: Half-axes of the part that touches the glass at usual pressure, pixels: across, above and below the pattern's centre.
_CONTACT_PX: Final = (132.0, 165.0, 190.0)
#: How far from the pattern's centre a partial impression has its own, pixels.
_AWAY_PX: Final = (45.0, 95.0)


@dataclass(frozen=True, slots=True)
class PlacementParameters:
    """How placements of one SYNTHETIC finger differ. Every spread is 0 or more.

    Parameters
    ----------
    width_px, height_px : int
        Size of the image, 128..1024 pixels at 500 ppi.
    rotation_deg, translation_px : float
        Standard deviations of how the finger lies, degrees (up to 180) and pixels (up to 100).
    torsion_deg, traction_px : float
        Standard deviations of how the skin is turned and pulled, degrees (up to 12) and pixels (up to 14).
    pressure : float
        Standard deviation of the size of the part that touches, as a share, up to 0.3.
    partial : float
        Share of placements of which only a part touches, 0..1.
    """

    width_px: int = 388
    height_px: int = 448
    rotation_deg: float = 10.0
    translation_px: float = 18.0
    torsion_deg: float = 5.0
    traction_px: float = 5.0
    pressure: float = 0.1
    partial: float = 0.15

    def __post_init__(self) -> None:
        if not (128 <= self.width_px <= 1024 and 128 <= self.height_px <= 1024):
            raise InvalidInputError(
                f"width_px, height_px: expected 128..1024, got {self.width_px} and {self.height_px}"
            )
        for name, most in (
            ("rotation_deg", 180.0),
            ("translation_px", 100.0),
            ("torsion_deg", 12.0),
            ("traction_px", 14.0),
            ("pressure", 0.3),
            ("partial", 1.0),
        ):
            if not 0.0 <= getattr(self, name) <= most:
                raise InvalidInputError(f"{name}: expected 0..{most:g}, got {getattr(self, name)}")


#: Always the same placement: upright, in the middle, undistorted.
STILL: Final = PlacementParameters(
    rotation_deg=0.0, translation_px=0.0, torsion_deg=0.0, traction_px=0.0, pressure=0.0, partial=0.0
)


@dataclass(frozen=True, slots=True)
class Placement:
    """One placement of a finger.

    Parameters
    ----------
    rotation_rad : float
        Clockwise on the screen.
    centre_px : (float, float)
        Where the pattern's centre would print without distortion: x, y in the image.
    skin : SkinDistortion
        How the skin gives.
    pressure : float
        Size of the part that touches; 1 is usual.
    away_px : (float, float)
        Middle of the part that touches, from the pattern's centre; (0, 0) unless the impression is partial.
    """

    rotation_rad: float
    centre_px: tuple[float, float]
    skin: SkinDistortion
    pressure: float
    away_px: tuple[float, float]

    def to_glass(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return image points as points of the glass: pixels from the pattern's centre, the finger upright."""
        dx, dy = x - self.centre_px[0], y - self.centre_px[1]
        cosine, sine = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return cosine * dx + sine * dy, cosine * dy - sine * dx

    def to_image(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return points of the glass as points of the image: the inverse of :meth:`to_glass`."""
        cosine, sine = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return cosine * x - sine * y + self.centre_px[0], sine * x + cosine * y + self.centre_px[1]

    def depth(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Return how deep points of the glass lie in the part that touches.

        Parameters
        ----------
        x, y : (...) float
            Pixels from the pattern's centre; of shapes that broadcast. The dtype is kept.

        Returns
        -------
        (...) float
            1 in the middle, 0 at the edge, negative outside: shares of the half-axes.
        """
        whole = self._ellipse(x, y)
        if self.away_px == (0.0, 0.0):
            return whole
        # What is off the glass on one side does not reach further on the other.
        depth: NDArray[Any] = np.minimum(whole, self._ellipse(x - self.away_px[0], y - self.away_px[1]))
        return depth

    def _ellipse(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        across, above, below = (1.0 / (self.pressure * half) for half in _CONTACT_PX)
        reach = y * np.where(y < 0, y.dtype.type(above), y.dtype.type(below))
        depth: NDArray[Any] = 1.0 - np.sqrt((x * across) ** 2 + reach**2)
        return depth


def draw_placement(rng: np.random.Generator, parameters: PlacementParameters) -> Placement:
    """Draw how a SYNTHETIC finger is put on the scanner.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    parameters : PlacementParameters
        How placements differ.

    Examples
    --------
    >>> draw_placement(np.random.default_rng(1), STILL).centre_px[0]
    194.0
    """
    rotation, torsion, pull_x, pull_y, stuck_x, stuck_y, shift_x, shift_y, pressure = np.clip(
        rng.standard_normal(9), -2.5, 2.5
    ).tolist()
    skin = SkinDistortion(
        torsion_rad=math.radians(_within(parameters.torsion_deg * torsion, 12.0)),
        traction_px=(_within(parameters.traction_px * pull_x, 14.0), _within(parameters.traction_px * pull_y, 14.0)),
        centre_px=(12.0 * stuck_x, 12.0 * stuck_y),
    )
    centre = (
        0.5 * parameters.width_px + parameters.translation_px * shift_x,
        0.49 * parameters.height_px + parameters.translation_px * shift_y,
    )
    away = (0.0, 0.0)
    if rng.random() < parameters.partial:
        turn, far = rng.uniform(0.0, 2 * math.pi), rng.uniform(*_AWAY_PX)
        away = (far * math.cos(turn), far * math.sin(turn))
    return Placement(
        math.radians(parameters.rotation_deg * rotation), centre, skin, 1.0 + parameters.pressure * pressure, away
    )


def _within(value: float, most: float) -> float:
    return max(-most, min(most, value))
