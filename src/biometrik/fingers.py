"""The values of the finger modality: positions, images, minutiae. Immutable; arrays are read-only.

Coordinates are pixels at 500 ppi unless a resolution is named, x to the right and y down. A direction *d* points along
``(cos d, sin d)`` in these axes, so it grows clockwise on the screen; interchange formats, which count
counter-clockwise, are translated by their codecs. Left and right are the subject's.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.types import SampleOrigin, Trait

#: The resolution at which minutiae are measured and prints are processed, pixels an inch.
NATIVE_PPI: Final = 500.0
#: ISO/IEC 19794-2:2005, 7.4.2.6: the number of minutiae is one byte.
MAX_MINUTIAE: Final = 255


class FingerPosition(IntEnum):
    """Which finger, or fingers, an image shows (ISO/IEC 19794-4 and ANSI/NIST-ITL finger position codes)."""

    UNKNOWN = 0
    RIGHT_THUMB = 1
    RIGHT_INDEX = 2
    RIGHT_MIDDLE = 3
    RIGHT_RING = 4
    RIGHT_LITTLE = 5
    LEFT_THUMB = 6
    LEFT_INDEX = 7
    LEFT_MIDDLE = 8
    LEFT_RING = 9
    LEFT_LITTLE = 10
    PLAIN_RIGHT_THUMB = 11
    PLAIN_LEFT_THUMB = 12
    PLAIN_RIGHT_FOUR = 13
    PLAIN_LEFT_FOUR = 14
    PLAIN_BOTH_THUMBS = 15

    @property
    def is_single(self) -> bool:
        """Whether one finger is meant, known or not."""
        return self < FingerPosition.PLAIN_RIGHT_FOUR


class Impression(IntEnum):
    """How a print was taken (ISO/IEC 19794-2:2005, table 4)."""

    LIVE_PLAIN = 0
    LIVE_ROLLED = 1
    NONLIVE_PLAIN = 2
    NONLIVE_ROLLED = 3
    LATENT = 7
    SWIPE = 8
    LIVE_CONTACTLESS = 9


class MinutiaKind(IntEnum):
    """What the ridge does there (ISO/IEC 19794-2:2005, 7.5.2.1)."""

    OTHER = 0
    ENDING = 1
    BIFURCATION = 2


@dataclass(frozen=True, slots=True, eq=False)
class FingerprintImage:
    """A print of one finger, dark ridges on light ground.

    Parameters
    ----------
    pixels : (H, W) uint8
        Gray, row-major from top-left. Not copied; seen read-only.
    ppi : float
        Pixels an inch, 250..1000. It has no default: a print of unknown resolution cannot be compared.
    position : FingerPosition
        Which finger.
    impression : Impression
        How it was taken.
    encoded : bytes
        What the pixels were decoded from; empty where they were not. A client sends these.
    origin : SampleOrigin
        How it came to be.

    Raises
    ------
    InvalidInputError
        Wrong shape or dtype, or a resolution out of range.
    """

    pixels: NDArray[np.uint8]
    ppi: float
    position: FingerPosition = FingerPosition.UNKNOWN
    impression: Impression = Impression.LIVE_PLAIN
    encoded: bytes = field(default=b"", repr=False)
    origin: SampleOrigin = field(default_factory=SampleOrigin)

    def __post_init__(self) -> None:
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2 or 0 in pixels.shape:
            found = f"{pixels.shape} {pixels.dtype}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise InvalidInputError(f"pixels: expected (H, W) uint8 gray, got {found}")
        if not 250.0 <= self.ppi <= 1000.0:
            raise InvalidInputError(f"ppi: expected 250..1000 pixels an inch, got {self.ppi}")
        object.__setattr__(self, "pixels", _read_only(pixels))

    @property
    def trait(self) -> Trait:
        """Which finger, for comparisons."""
        return Trait.finger(self.position)


@dataclass(frozen=True, slots=True, eq=False)
class Minutiae:
    """The minutiae of one print, as arrays of one length N.

    Parameters
    ----------
    x, y : (N,) float32
        Pixels at 500 ppi, 0..4095.
    direction : (N,) float32
        Radians, [0, 2π): an ending's ridge, and a bifurcation's valley, extends along it (ISO/IEC 19794-2, 6.5.2).
    kind : (N,) uint8
        Values of :class:`MinutiaKind`.
    quality : (N,) uint8
        0 (worst) .. 100 (best); 0 for all where it is not known.
    width_px, height_px : int
        Size of the print at 500 ppi.

    Raises
    ------
    InvalidInputError
        Arrays of other lengths or dtypes, more than 255, or values out of range.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    direction: NDArray[np.float32]
    kind: NDArray[np.uint8]
    quality: NDArray[np.uint8]
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        count = len(self.x)
        if count > MAX_MINUTIAE:
            raise InvalidInputError(f"minutiae: expected at most {MAX_MINUTIAE}, got {count}")
        for name, dtype in (
            ("x", np.float32),
            ("y", np.float32),
            ("direction", np.float32),
            ("kind", np.uint8),
            ("quality", np.uint8),
        ):
            values = getattr(self, name)
            if values.shape != (count,) or values.dtype != dtype:
                raise InvalidInputError(
                    f"{name}: expected ({count},) {np.dtype(dtype)}, got {values.shape} {values.dtype}"
                )
            object.__setattr__(self, name, _read_only(values))
        if not (1 <= self.width_px <= 4096 and 1 <= self.height_px <= 4096):
            raise InvalidInputError(f"size: expected 1..4096 pixels a side, got {self.width_px} × {self.height_px}")
        places = np.concatenate([self.x, self.y])
        if not ((places >= 0) & (places < 4096)).all():  # also false for NaN
            raise InvalidInputError("x, y: expected 0..4095 pixels")
        if not ((self.direction >= 0) & (self.direction < np.float32(2 * np.pi) + np.float32(1e-6))).all():
            raise InvalidInputError("direction: expected radians in [0, 2π)")
        if self.kind.max(initial=0) > max(MinutiaKind) or self.quality.max(initial=0) > 100:
            raise InvalidInputError("kind, quality: expected 0..2 and 0..100")

    def __len__(self) -> int:
        return len(self.x)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
