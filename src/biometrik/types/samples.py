"""What is sensed of a person: images, faces found in them, their quality."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from biometrik import imaging
from biometrik.errors import InvalidInputError
from biometrik.reasons import Reason


class SampleSource(Enum):
    """Where a sample comes from."""

    SUPERVISED = "SUPERVISED"
    UNSUPERVISED = "UNSUPERVISED"
    DOCUMENT_CHIP = "DOCUMENT_CHIP"
    SCANNED_PHOTO = "SCANNED_PHOTO"


@dataclass(frozen=True, slots=True)
class SampleOrigin:
    """How a sample came to be; kept in the event log of an enrolment.

    Parameters
    ----------
    captured_at : datetime or None
        When, with its time zone; None where it is not known.
    source : SampleSource or None
        Where it comes from; None where it is not said.
    device_ref : str
        The caller's own reference of the device, at most 128 printable characters.

    Raises
    ------
    InvalidInputError
        A time without its zone, or a reference that is too long or not printable.
    """

    captured_at: datetime | None = None
    source: SampleSource | None = None
    device_ref: str = ""

    def __post_init__(self) -> None:
        if self.captured_at is not None and self.captured_at.tzinfo is None:
            raise InvalidInputError("captured_at: expected a time with its zone, e.g. datetime.now(UTC)")
        if len(self.device_ref) > 128 or not (self.device_ref == "" or self.device_ref.isprintable()):
            raise InvalidInputError(
                f"device_ref: expected at most 128 printable characters, got {len(self.device_ref)}"
            )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    # A view, so that freezing a value does not freeze the caller's array.
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True, eq=False)
class FaceImage:
    """A photograph in which a face is expected.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        RGB, upright. Not copied; seen read-only.
    encoded : bytes
        What the pixels were decoded from; empty where they were not. A client sends these.
    origin : SampleOrigin
        How it came to be.

    Raises
    ------
    InvalidInputError
        If ``pixels`` is not (H, W, 3) uint8 or is empty.
    """

    pixels: NDArray[np.uint8]
    encoded: bytes = field(default=b"", repr=False)
    origin: SampleOrigin = field(default_factory=SampleOrigin)

    def __post_init__(self) -> None:
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            raise InvalidInputError(f"pixels: expected a uint8 array, got {getattr(pixels, 'dtype', type(pixels))}")
        if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise InvalidInputError(f"pixels: expected (H, W, 3) RGB, got {pixels.shape}")
        object.__setattr__(self, "pixels", _read_only(pixels))

    @classmethod
    def from_file(cls, path: str | PathLike[str], *, limits: imaging.ImageLimits = imaging.DEFAULT_LIMITS) -> Self:
        """Read a photograph: JPEG, PNG, BMP, TIFF, WebP or JPEG 2000, turned upright by its EXIF tag.

        Raises
        ------
        ImageError
            The file is not an image that the library accepts; the subclass says why.
        InvalidInputError
            The file cannot be opened.
        """
        return cls.from_bytes(imaging.read_file(path, limits=limits), limits=limits)

    @classmethod
    def from_bytes(cls, data: bytes, *, limits: imaging.ImageLimits = imaging.DEFAULT_LIMITS) -> Self:
        """Decode an encoded photograph; see :meth:`from_file`.

        Raises
        ------
        ImageError
            The bytes are not an image that the library accepts; the subclass says why.
        """
        return cls(imaging.decode_rgb(data, limits=limits), data)

    @property
    def width_px(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in pixels; may reach beyond the image."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the middle."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face found in an image.

    Parameters
    ----------
    box : Box
        Around the face, in pixels of the image.
    landmarks : (5, 2) float32
        x, y of the subject's right eye (image left), left eye, nose tip, right and left mouth corner.
    confidence : float
        The detector's own, 0..1; comparable only within one detector.
    """

    box: Box
    landmarks: NDArray[np.float32]
    confidence: float

    def __post_init__(self) -> None:
        if self.landmarks.shape != (5, 2):
            raise InvalidInputError(f"landmarks: expected (5, 2), got {self.landmarks.shape}")
        object.__setattr__(self, "landmarks", _read_only(self.landmarks))

    @property
    def inter_eye_px(self) -> float:
        """Distance between the eye centres in pixels."""
        right, left = self.landmarks[0], self.landmarks[1]
        return float(math.hypot(left[0] - right[0], left[1] - right[1]))


@dataclass(frozen=True, slots=True)
class QualityComponent:
    """One measured aspect of a sample.

    Parameters
    ----------
    name : str
        ISO/IEC 29794-5 word, lower case with underscores.
    value : float
        0 (worst) .. 100 (best).
    measured : float
        The quantity behind it, in ``unit``.
    unit : str
        Unit of ``measured``; "" for a pure number.
    threshold : float
        The least ``value`` that is acceptable under the profile in force, 0..100.
    reason : Reason or None
        What to tell the operator; None where the component is acceptable.
    """

    name: str
    value: float
    measured: float
    unit: str
    threshold: float
    reason: Reason | None

    @property
    def acceptable(self) -> bool:
        """Whether the value reaches the threshold in force."""
        return self.value >= self.threshold


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a sample is for recognition.

    Parameters
    ----------
    overall : float
        0..100, the unified score.
    algorithm : str
        Name and version of what computed it, with the profile in force.
    components : tuple of QualityComponent
        Each measured aspect.
    """

    overall: float
    algorithm: str
    components: tuple[QualityComponent, ...]

    @property
    def acceptable(self) -> bool:
        """Whether every component reaches its threshold."""
        return all(component.acceptable for component in self.components)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """What the operator should do, worst component first, without repetition."""
        failed = sorted((c for c in self.components if not c.acceptable), key=lambda c: c.value - c.threshold)
        return tuple(dict.fromkeys(c.reason for c in failed if c.reason is not None))

    def component(self, name: str) -> QualityComponent:
        """Return one component by name.

        Raises
        ------
        InvalidInputError
            If there is none of that name.
        """
        for component in self.components:
            if component.name == name:
                return component
        raise InvalidInputError(f"quality component: expected one of {[c.name for c in self.components]}, got {name!r}")
