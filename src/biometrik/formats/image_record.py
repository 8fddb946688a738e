"""The images of a finger image record, as frozen values; :mod:`biometrik.formats.iso19794_4` reads and writes them."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Self

import numpy as np

from biometrik.errors import InvalidInputError, RecordFormatError, UnsupportedFormatError
from biometrik.fingers import FingerPosition, FingerprintImage, Impression
from biometrik.formats.minutiae_record import NO_DEVICE, CaptureDevice, Certification, ExtendedData, SampleQuality
from biometrik.formats.octets import check_range

#: ISO/IEC 19794-4:2005, table 1: 500 ppi, 8 bits.
_USUAL_LEVEL: Final = 31


class ImageCoding(Enum):
    """How an image's pixels became octets."""

    RAW = "raw"
    PACKED = "bit-packed"
    WSQ = "WSQ"
    JPEG = "JPEG"
    JPEG_2000 = "JPEG 2000"
    JPEG_2000_LOSSLESS = "JPEG 2000 lossless"
    PNG = "PNG"


@dataclass(frozen=True, slots=True)
class ImageView:
    """One image of a record.

    Parameters
    ----------
    data : bytes
        Pixels, row by row from top-left, or an encoded image.
    coding : ImageCoding
        Which of them.
    width_px, height_px : int
        1..65535.
    ppi : (float, float)
        Pixels an inch of the image in x and y.
    position : FingerPosition
        Which finger or fingers.
    impression : Impression
        How the print was taken.
    number : int
        Distinguishes the images of one finger, 0..255.
    bit_depth : int
        Bits a pixel, 1..16.
    scan_ppi : (float, float) or None
        Pixels an inch of the scanner, where it is not the image's.
    qualities, captured_at, device, certifications
        As in :class:`~biometrik.formats.minutiae_record.MinutiaeView`.
    extended : tuple of ExtendedData
        Segmentation, annotation, comments (2011 only), opaque.

    Raises
    ------
    InvalidInputError
        A number out of range.
    """

    data: bytes
    coding: ImageCoding
    width_px: int
    height_px: int
    ppi: tuple[float, float]
    position: FingerPosition = FingerPosition.UNKNOWN
    impression: Impression = Impression.LIVE_PLAIN
    number: int = 0
    bit_depth: int = 8
    scan_ppi: tuple[float, float] | None = None
    qualities: tuple[SampleQuality, ...] = ()
    captured_at: datetime | None = None
    device: CaptureDevice = NO_DEVICE
    certifications: tuple[Certification, ...] = ()
    extended: tuple[ExtendedData, ...] = ()

    def __post_init__(self) -> None:
        check_range("image width", self.width_px, 1, 0xFFFF)
        check_range("image height", self.height_px, 1, 0xFFFF)
        check_range("view number", self.number, 0, 0xFF)
        check_range("bit depth", self.bit_depth, 1, 16)
        for ppi in self.ppi + (self.scan_ppi or ()):
            if not 50.0 <= ppi <= 5000.0:
                raise InvalidInputError(f"ppi: expected 50..5000 pixels an inch, got {ppi}")

    @classmethod
    def of(cls, image: FingerprintImage, *, quality: int | None = None) -> Self:
        """Return a view of uncompressed pixels.

        Parameters
        ----------
        image : FingerprintImage
            What was captured.
        quality : int or None
            0..100; None where it was not measured.
        """
        height, width = image.pixels.shape
        return cls(
            image.pixels.tobytes(),
            ImageCoding.RAW,
            width,
            height,
            (image.ppi, image.ppi),
            image.position,
            image.impression,
            qualities=() if quality is None else (SampleQuality(quality),),
        )

    def image(self) -> FingerprintImage:
        """Return the pixels of an uncompressed image of 8 bits.

        Raises
        ------
        UnsupportedFormatError
            The image is compressed, packed or deeper: decode ``data`` with :mod:`biometrik.imaging`.
        RecordFormatError
            The data are not as many octets as the size asks for, or the resolution is not a print's.
        """
        if self.coding is not ImageCoding.RAW or self.bit_depth != 8:
            raise UnsupportedFormatError(
                f"finger image: expected raw pixels of 8 bits, got {self.coding.value} of {self.bit_depth}; "
                "decode its data with biometrik.imaging"
            )
        if len(self.data) != self.width_px * self.height_px:
            expected = self.width_px * self.height_px
            raise RecordFormatError(f"finger image: expected {expected} octets of pixels, got {len(self.data)}")
        if self.ppi[0] != self.ppi[1]:
            raise RecordFormatError(f"finger image: expected square pixels, got {self.ppi[0]} × {self.ppi[1]} ppi")
        pixels = np.frombuffer(self.data, dtype=np.uint8).reshape(self.height_px, self.width_px)
        try:
            return FingerprintImage(pixels, self.ppi[0], self.position, self.impression)
        except InvalidInputError as error:
            raise RecordFormatError(f"finger image: {error}") from None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A finger image record: one person's images, in the record's order.

    Parameters
    ----------
    views : tuple of ImageView
        May be empty.
    acquisition_level : int
        Settings level of the capture (2005 only), 0..65535; 31 is 500 ppi and 8 bits.
    notes : tuple of str
        What lenient reading repaired, and what these values cannot express.
    """

    views: tuple[ImageView, ...]
    acquisition_level: int = _USUAL_LEVEL
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_range("acquisition level", self.acquisition_level, 0, 0xFFFF)
