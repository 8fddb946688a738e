"""SYNTHETIC impressions: one finger put on a scanner, again and again, never twice alike.

Where the finger lies, how its skin gives, how hard it is pressed and how moist it is, which part touches, and what the
scanner adds are drawn for each; the true minutiae are carried along.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import NATIVE_PPI, FingerprintImage, Minutiae
from biometrik.synthetic.drawing import generator, minutiae_of
from biometrik.synthetic.fingerprints import CENTRE_PX, MasterFinger
from biometrik.synthetic.placement import STILL, Placement, PlacementParameters, draw_placement

_STREAM: Final = 0x494D5052
#: A minutia's direction is carried by a point so far along it, pixels.
_ARM_PX: Final = 4.0
#: A pixel shows the finger where so much of it does.
_INSIDE: Final = 0.99


@dataclass(frozen=True, slots=True)
class ImpressionParameters:
    """How SYNTHETIC impressions of one finger differ.

    Parameters
    ----------
    placement : PlacementParameters
        How the finger is put on the scanner.
    moisture : float
        Standard deviation of how wet (thick ridges) or dry (thin, broken ones) the finger is, 0..2; 1 is usual.
    noise : float
        Grain of skin and scanner, pores, blotches, 0..3; 1 is usual.
    scratches : float
        Mean number, 0..20.
    """

    placement: PlacementParameters = field(default_factory=PlacementParameters)
    moisture: float = 1.0
    noise: float = 1.0
    scratches: float = 1.5

    def __post_init__(self) -> None:
        for name, most in (("moisture", 2.0), ("noise", 3.0), ("scratches", 20.0)):
            if not 0.0 <= getattr(self, name) <= most:
                raise InvalidInputError(f"{name}: expected 0..{most:g}, got {getattr(self, name)}")


#: Impressions in which nothing goes wrong: the same placement, neither wet nor dry, no noise.
CLEAN: Final = ImpressionParameters(placement=STILL, moisture=0.0, noise=0.0, scratches=0.0)
#: Impressions of people who are not helped: askew, off the middle, twisted, dry or wet, often only in part.
HARD: Final = ImpressionParameters(
    placement=PlacementParameters(
        rotation_deg=15.0, translation_px=26.0, torsion_deg=8.0, traction_px=9.0, pressure=0.15, partial=0.25
    ),
    moisture=1.2,
    noise=1.3,
    scratches=4.0,
)


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticPrint:
    """An impression of a SYNTHETIC finger, with what is true of it.

    Parameters
    ----------
    image : FingerprintImage
        At 500 ppi.
    minutiae : Minutiae
        The finger's true minutiae that lie in ``contact``, where they are in this image; quality 100. Their kind is the
        finger's: pressure can turn an ending into a bifurcation to the eye.
    contact : (H, W) bool
        Where the finger touched; read-only.
    """

    image: FingerprintImage
    minutiae: Minutiae
    contact: NDArray[np.bool_]

    def __post_init__(self) -> None:
        contact = self.contact.view()
        contact.flags.writeable = False
        object.__setattr__(self, "contact", contact)


def draw_impression(
    finger: MasterFinger, impression: int, parameters: ImpressionParameters | None = None
) -> SyntheticPrint:
    """Return SYNTHETIC impression number ``impression`` of a finger: the same for the same arguments, on every run.

    Parameters
    ----------
    finger : MasterFinger
        The finger.
    impression : int
        Which of its impressions; not negative.
    parameters : ImpressionParameters, optional
        How they differ.

    Returns
    -------
    SyntheticPrint

    Raises
    ------
    InvalidInputError
        A negative number.

    References
    ----------
    D. Maltoni et al., "Handbook of fingerprint recognition", 2nd ed., 6.7 (from the master to impressions).

    Examples
    --------
    >>> from biometrik.synthetic.fingerprints import draw_finger
    >>> first = draw_impression(draw_finger(7, 0), 0, CLEAN)
    >>> first.image.pixels.shape, first.image.ppi
    ((448, 388), 500.0)
    """
    parameters = parameters or ImpressionParameters()
    rng = generator(finger.seed, _STREAM, finger.index, impression)
    placement = draw_placement(rng, parameters.placement)
    moisture = parameters.moisture * float(np.clip(rng.standard_normal(), -2.0, 2.0))

    x = np.arange(parameters.placement.width_px, dtype=np.float32)[None, :]
    y = np.arange(parameters.placement.height_px, dtype=np.float32)[:, None]
    glass_x, glass_y = placement.to_glass(x, y)
    ridges, pores, inside = _seen(finger, *placement.skin.to_finger(glass_x, glass_y))
    # The edge of the part that touches is never a perfect ellipse.
    edge = 0.03 * _cloud(rng, ridges.shape, 45) + 0.02 * parameters.noise * _cloud(rng, ridges.shape, 7)
    depth = placement.depth(glass_x, glass_y) + edge
    touches = (depth > 0) & inside
    ink = _ink(rng, parameters.noise, moisture, ridges, pores, depth) * touches
    ink *= 1.0 - _scratched(rng, parameters.scratches, placement, ridges.shape)
    pixels = _scanned(rng, parameters.noise, moisture, placement.pressure, ink)
    return SyntheticPrint(FingerprintImage(pixels, NATIVE_PPI), _carried(finger.minutiae, placement, touches), touches)


def _seen(
    finger: MasterFinger, x: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    # Ridges, pores and extent of the finger at each pixel.
    layers = np.dstack([finger.ridges, finger.pores, finger.inside.astype(np.float32)])
    at = np.asarray(x + CENTRE_PX[0], dtype=np.float32), np.asarray(y + CENTRE_PX[1], dtype=np.float32)
    nothing = (0.0, 0.0, 0.0)
    seen: NDArray[np.float32] = np.asarray(
        cv2.remap(layers, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=nothing), dtype=np.float32
    )
    return seen[..., 0], seen[..., 1], seen[..., 2] > _INSIDE


def _ink(
    rng: np.random.Generator,
    noise: float,
    moisture: float,
    ridges: NDArray[np.float32],
    pores: NDArray[np.float32],
    depth: NDArray[np.float32],
) -> NDArray[np.float32]:
    # 0 (ground) .. 1 (ridge). Height of the skin above a level that moisture and pressure move.
    dryness = max(0.0, -moisture)
    usual = 0.06 + (0.2 if moisture > 0 else 0.16) * moisture
    level = usual + noise * (0.12 + 0.1 * abs(moisture)) * _cloud(rng, ridges.shape, 40)
    fading = np.minimum(depth / 0.12, 1.0) - 1.0
    grain = noise * (0.15 + 0.3 * dryness) * _cloud(rng, ridges.shape, 2)
    patches = noise * (0.2 + 0.12 * dryness) * _cloud(rng, ridges.shape, 9)
    height = ridges + level + 0.35 * fading + grain + patches - noise * rng.uniform(0.1, 1.2) * pores
    ink: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-6.0 * height))).astype(np.float32)
    return ink


def _scratched(
    rng: np.random.Generator, mean: float, placement: Placement, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    # 0 .. 0.8: lines on which the skin does not touch.
    lines = np.zeros(shape, dtype=np.uint8)
    for _ in range(int(rng.poisson(mean))):
        x, y = np.array(placement.centre_px) + rng.normal(0.0, 75.0, 2)
        turn, half = rng.uniform(0.0, math.pi), rng.uniform(8.0, 45.0)
        dx, dy = half * math.cos(turn), half * math.sin(turn)
        ends = (round(x - dx), round(y - dy)), (round(x + dx), round(y + dy))
        cv2.line(lines, *ends, 255, int(rng.integers(1, 3)), cv2.LINE_AA)
    soft = np.asarray(cv2.GaussianBlur(lines, (5, 5), 0.9))
    return soft * np.float32(0.8 / 255.0)


def _scanned(
    rng: np.random.Generator, noise: float, moisture: float, pressure: float, ink: NDArray[np.float32]
) -> NDArray[np.uint8]:
    ground = 246.0 - 2.0 * noise + 2.0 * noise * _cloud(rng, ink.shape, 120)
    darkest = 42.0 - 12.0 * moisture - 60.0 * (pressure - 1.0) + 14.0 * noise * _cloud(rng, ink.shape, 60)
    gray = ground + (np.clip(darkest, 8.0, 120.0) - ground) * ink
    gray = np.asarray(cv2.GaussianBlur(gray.astype(np.float32), (5, 5), 0.7 + 0.1 * max(0.0, moisture)))
    gray += 3.0 * noise * rng.standard_normal(gray.shape, dtype=np.float32) * (0.3 + 0.7 * ink)
    pixels: NDArray[np.uint8] = np.clip(np.rint(gray), 0, 255).astype(np.uint8)
    return pixels


def _cloud(rng: np.random.Generator, shape: tuple[int, ...], size_px: int) -> NDArray[np.float32]:
    # Smooth noise of mean 0 and deviation about 1 whose blotches are so large.
    height, width = shape
    coarse = rng.standard_normal((height // size_px + 3, width // size_px + 3), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _carried(minutiae: Minutiae, placement: Placement, touches: NDArray[np.bool_]) -> Minutiae:
    x = minutiae.x.astype(np.float64) - CENTRE_PX[0]
    y = minutiae.y.astype(np.float64) - CENTRE_PX[1]
    ahead = (
        np.stack([x, x + _ARM_PX * np.cos(minutiae.direction)]),
        np.stack([y, y + _ARM_PX * np.sin(minutiae.direction)]),
    )
    (x, ahead_x), (y, ahead_y) = placement.to_image(*placement.skin.to_glass(*ahead))
    height, width = touches.shape
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    framed = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (x >= 0) & (y >= 0)
    kept = framed & touches[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    direction = np.mod(np.arctan2(ahead_y - y, ahead_x - x), 2 * math.pi)
    kind, quality = minutiae.kind[kept], minutiae.quality[kept]
    return minutiae_of(x[kept], y[kept], direction[kept], kind, quality, width, height)
