"""What every minutiae format says, as one set of frozen values.

The codecs of ISO/IEC 19794-2 and ANSI INCITS 378 read to and write from these, which is what makes a record of one
format writable as another. Minutiae, cores and deltas are in the units of :mod:`biometrik.fingers` (pixels at 500 ppi,
radians clockwise on the screen); the :class:`Raster` keeps what the record itself counts in, so that writing a record
that was read gives the same octets again.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import NATIVE_PPI, FingerPosition, Impression, Minutiae
from biometrik.formats.octets import check_range

#: Resolutions that devices have and that whole pixels a centimetre cannot express, pixels an inch.
_NOMINAL_PPI: Final = (250.0, 500.0, 1000.0)
_CM_PER_INCH: Final = 2.54


class RecordFormat(Enum):
    """The formats of records that this package tells apart."""

    ISO_19794_2_2005 = "ISO/IEC 19794-2:2005"
    ISO_19794_2_2011 = "ISO/IEC 19794-2:2011"
    ANSI_378_2004 = "ANSI INCITS 378-2004"
    ANSI_378_2009 = "ANSI INCITS 378-2009"
    ISO_19794_4_2005 = "ISO/IEC 19794-4:2005"
    ISO_19794_4_2011 = "ISO/IEC 19794-4:2011"
    CBEFF_XML = "ISO/IEC 19785-3 XML"


def ppi_of(per_cm: int) -> float:
    """Return pixels an inch of a resolution in whole pixels a centimetre.

    Records can only approximate the common resolutions: 500 ppi is 196.85 pixels a centimetre, and is found rounded
    (197) and cut off (196). Both are read as the 500 that was meant.

    Examples
    --------
    >>> ppi_of(197), ppi_of(196), ppi_of(394), ppi_of(200)
    (500.0, 500.0, 1000.0, 508.0)
    """
    for nominal in _NOMINAL_PPI:
        if abs(nominal / _CM_PER_INCH - per_cm) < 1.0:
            return nominal
    return per_cm * _CM_PER_INCH


@dataclass(frozen=True, slots=True)
class Raster:
    """The pixels in which a record counts.

    Parameters
    ----------
    width_px, height_px : int
        Size of the captured image in these pixels, 1..16383.
    x_per_cm, y_per_cm : int
        Pixels a centimetre, 50..1000; 197 is 500 ppi.

    Raises
    ------
    InvalidInputError
        A number out of range.
    """

    width_px: int
    height_px: int
    x_per_cm: int = 197
    y_per_cm: int = 197

    def __post_init__(self) -> None:
        check_range("raster width", self.width_px, 1, 0x3FFF)
        check_range("raster height", self.height_px, 1, 0x3FFF)
        check_range("raster pixels a centimetre in x", self.x_per_cm, 50, 1000)
        check_range("raster pixels a centimetre in y", self.y_per_cm, 50, 1000)

    @property
    def x_scale(self) -> float:
        """Pixels at 500 ppi of one of these, horizontally."""
        return NATIVE_PPI / ppi_of(self.x_per_cm)

    @property
    def y_scale(self) -> float:
        """Pixels at 500 ppi of one of these, vertically."""
        return NATIVE_PPI / ppi_of(self.y_per_cm)


@dataclass(frozen=True, slots=True)
class SampleQuality:
    """How good an algorithm found a sample.

    Parameters
    ----------
    score : int or None
        0 (worst) .. 100 (best); None where the algorithm could not tell.
    vendor, algorithm : int
        The algorithm's registered identifiers, 0..65535; 0 is not stated.
    """

    score: int | None
    vendor: int = 0
    algorithm: int = 0

    def __post_init__(self) -> None:
        if self.score is not None:
            check_range("quality score", self.score, 0, 100)
        check_range("quality vendor", self.vendor, 0, 0xFFFF)
        check_range("quality algorithm", self.algorithm, 0, 0xFFFF)


@dataclass(frozen=True, slots=True)
class CaptureDevice:
    """What captured a sample; every number is 0 where it is not stated.

    Parameters
    ----------
    technology : int
        ISO/IEC 19794-2:2011 code of the sensor's technology, 0..255.
    vendor, type_id : int
        Registered vendor, 0..65535, and the vendor's own number of the device, 0..65535; formats before 2009 have
        12 bits for the latter.
    compliance : int
        Bits of the image quality specifications that the device is certified for, 0..15.
    """

    technology: int = 0
    vendor: int = 0
    type_id: int = 0
    compliance: int = 0

    def __post_init__(self) -> None:
        check_range("device technology", self.technology, 0, 0xFF)
        check_range("device vendor", self.vendor, 0, 0xFFFF)
        check_range("device type", self.type_id, 0, 0xFFFF)
        check_range("device compliance", self.compliance, 0, 0xF)


#: A record that does not say what captured it.
NO_DEVICE: Final = CaptureDevice()


@dataclass(frozen=True, slots=True)
class Certification:
    """That an authority certified the device under a scheme (ISO/IEC 19794-1:2011).

    Parameters
    ----------
    authority : int
        Registered identifier, 0..65535.
    scheme : int
        0..255.
    """

    authority: int
    scheme: int

    def __post_init__(self) -> None:
        check_range("certification authority", self.authority, 0, 0xFFFF)
        check_range("certification scheme", self.scheme, 0, 0xFF)


@dataclass(frozen=True, slots=True, eq=False)
class RidgeCounts:
    """Ridges that are crossed between pairs of minutiae.

    Parameters
    ----------
    method : int
        How pairs were chosen: 0 not said, 1 four neighbours, 2 eight neighbours.
    counts : (K, 3) uint8
        Two minutia indices as the record numbers them, and the ridges between; read-only.
    """

    method: int
    counts: NDArray[np.uint8]

    def __post_init__(self) -> None:
        check_range("ridge count method", self.method, 0, 0xFF)
        counts = self.counts
        if counts.dtype != np.uint8 or counts.ndim != 2 or counts.shape[1] != 3:
            raise InvalidInputError(f"ridge counts: expected (K, 3) uint8, got {counts.shape} {counts.dtype}")
        view = counts.view()
        view.flags.writeable = False
        object.__setattr__(self, "counts", view)


class SingularityKind(Enum):
    """What the ridge flow does at a singular point."""

    CORE = "core"
    DELTA = "delta"


@dataclass(frozen=True, slots=True)
class Singularity:
    """A core or a delta.

    Parameters
    ----------
    kind : SingularityKind
        Which of them.
    x, y : float
        Pixels at 500 ppi, 0..4095.
    directions : tuple of float
        Radians, [0, 2π): none, or one of a core, or the three of a delta.
    """

    kind: SingularityKind
    x: float
    y: float
    directions: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        allowed = 1 if self.kind is SingularityKind.CORE else 3
        if len(self.directions) not in (0, allowed):
            raise InvalidInputError(
                f"directions of a {self.kind.value}: expected 0 or {allowed}, got {len(self.directions)}"
            )


@dataclass(frozen=True, slots=True)
class ExtendedData:
    """A block of extended data that is kept as it is: a vendor's, or one of a kind that is not read here.

    Parameters
    ----------
    type_id : int
        The record's code of the kind, 0..65535.
    data : bytes
        At most 65531 octets.
    """

    type_id: int
    data: bytes

    def __post_init__(self) -> None:
        check_range("extended data type", self.type_id, 0, 0xFFFF)
        check_range("extended data length", len(self.data), 0, 0xFFFF - 4)


@dataclass(frozen=True, slots=True, eq=False)
class Extension:
    """All extended data of a view.

    Parameters
    ----------
    ridge_counts : RidgeCounts or None
        None where the record has none.
    singularities : tuple of Singularity
        Cores, then deltas.
    opaque : tuple of ExtendedData
        Everything else.
    """

    ridge_counts: RidgeCounts | None = None
    singularities: tuple[Singularity, ...] = ()
    opaque: tuple[ExtendedData, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class MinutiaeView:
    """The minutiae of one print.

    Parameters
    ----------
    minutiae : Minutiae
        At 500 ppi.
    raster : Raster
        The pixels in which the record counts.
    position : FingerPosition
        Which finger.
    impression : Impression
        How the print was taken.
    number : int
        Distinguishes the views of one finger, 0..15.
    qualities : tuple of SampleQuality
        None where the record reports none; formats before 2011 have room for one.
    captured_at : datetime or None
        UTC; None where the record does not say.
    device : CaptureDevice
        What captured it.
    certifications : tuple of Certification
        The device's.
    ending_type : int
        Where the point of a ridge ending lies: 0 at the fork of the valley, 1 at the end of the ridge's skeleton.
    extension : Extension
        Ridge counts, cores and deltas, and what else a record adds.

    Raises
    ------
    InvalidInputError
        A number out of range.
    """

    minutiae: Minutiae
    raster: Raster
    position: FingerPosition = FingerPosition.UNKNOWN
    impression: Impression = Impression.LIVE_PLAIN
    number: int = 0
    qualities: tuple[SampleQuality, ...] = ()
    captured_at: datetime | None = None
    device: CaptureDevice = NO_DEVICE
    certifications: tuple[Certification, ...] = ()
    ending_type: int = 0
    extension: Extension = Extension()

    def __post_init__(self) -> None:
        check_range("view number", self.number, 0, 15)
        check_range("ending type", self.ending_type, 0, 15)
        if self.captured_at is not None and self.captured_at.tzinfo is None:
            raise InvalidInputError("captured_at: expected a time with a zone, got one without; use timezone.utc")

    @classmethod
    def of(
        cls,
        minutiae: Minutiae,
        *,
        position: FingerPosition = FingerPosition.UNKNOWN,
        impression: Impression = Impression.LIVE_PLAIN,
        quality: int | None = None,
    ) -> Self:
        """Return a view of minutiae as an extractor makes them, to be written at 500 ppi.

        Parameters
        ----------
        minutiae : Minutiae
            At 500 ppi.
        position, impression
            As in the class.
        quality : int or None
            0..100; None where it was not measured.
        """
        raster = Raster(minutiae.width_px, minutiae.height_px)
        qualities = () if quality is None else (SampleQuality(quality),)
        return cls(minutiae, raster, position, impression, qualities=qualities)


@dataclass(frozen=True, slots=True, eq=False)
class MinutiaeRecord:
    """A minutiae record: one person's views, in the record's order.

    Parameters
    ----------
    views : tuple of MinutiaeView
        May be empty.
    product : int
        CBEFF product identifier of what made the record, 0..2³²-1; 0 is not stated. Only ANSI has it.
    origin : RecordFormat or None
        What it was read from; None for a record made here. Opaque extended data are written to the same format only.
    notes : tuple of str
        What lenient reading repaired, and what these values cannot express.
    """

    views: tuple[MinutiaeView, ...]
    product: int = 0
    origin: RecordFormat | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_range("product", self.product, 0, 0xFFFFFFFF)
