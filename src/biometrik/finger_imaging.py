"""Bytes to prints: bounded decoding of fingerprint images, with the resolution that they honestly state.

PNG, JPEG, BMP, TIFF and JPEG 2000 are decoded by :mod:`biometrik.imaging` under the same limits; raw pixels are taken
as they are; WSQ is decoded by the optional package ``wsq``, in a process of its own, because the NIST code in it
trusts its input and damaged bytes crash it.
"""

import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik import imaging
from biometrik.errors import (
    DamagedImageError,
    ImageTooLargeError,
    InvalidInputError,
    ResolutionMissingError,
    UnsupportedFormatError,
)
from biometrik.fingers import FingerPosition, FingerprintImage, Impression
from biometrik.image_headers import ImageHeader, read_header
from biometrik.imaging import DEFAULT_LIMITS, ImageLimits

#: Resolutions that scanners of the field have, pixels an inch, and how near a file must come to one of them to be
#: believed (ANSI/NIST-ITL 1-2011, 7.7.8; FBI EBTS appendix F: ±1 %). What else stands in files (72, 96, 300, 600) is
#: what an editor or a flatbed scanner put there, and is as often wrong as right.
_SCANNER_PPI: Final = (500.0, 1000.0)
_PPI_TOLERANCE: Final = 0.01
_INCH_CM: Final = 2.54
_INCH_M: Final = 0.0254


def read_print(
    path: str | PathLike[str],
    *,
    ppi: float | None = None,
    position: FingerPosition = FingerPosition.UNKNOWN,
    impression: Impression = Impression.LIVE_PLAIN,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> FingerprintImage:
    """Return the print in an image file; see :func:`decode_print`.

    Raises
    ------
    ImageError
        The file is not an image that the library accepts; the subclass says why.
    ResolutionMissingError
        Neither the caller nor the file states a resolution.
    InvalidInputError
        There is no such file, it is not a regular file, or it cannot be read; or ``ppi`` is out of range.
    """
    data = imaging.read_file(path, limits=limits)
    return decode_print(data, ppi=ppi, position=position, impression=impression, limits=limits)


def decode_print(
    data: bytes,
    *,
    ppi: float | None = None,
    position: FingerPosition = FingerPosition.UNKNOWN,
    impression: Impression = Impression.LIVE_PLAIN,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> FingerprintImage:
    """Return the print in an encoded image.

    Parameters
    ----------
    data : bytes
        PNG, JPEG, BMP, TIFF, JPEG 2000 or WSQ, whole; 8 bits, gray or a colour image that becomes gray.
    ppi : float or None
        Pixels an inch, 250..1000; None takes what the image states (:func:`stated_ppi`). What the caller says counts
        before what the image says.
    position, impression
        Which finger, and how it was taken.
    limits : ImageLimits
        Bounds on bytes, sides and pixels, checked before pixels are decoded.

    Raises
    ------
    UnsupportedFormatError
        Another format, a variant that would have to be guessed at, or WSQ without the package for it.
    ImageTooLargeError
        More bytes or pixels than ``limits`` allow.
    DamagedImageError
        Truncated or corrupt.
    ImageError
        Fewer pixels than ``limits.min_side_px`` a side.
    ResolutionMissingError
        Neither the caller nor the image states a resolution.
    InvalidInputError
        ``data`` is not bytes, or ``ppi`` is out of range.

    Examples
    --------
    >>> decode_print(b"some text", ppi=500)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    biometrik.errors.UnsupportedFormatError: image: expected PNG, JPEG, BMP, TIFF, JPEG 2000 or WSQ, got ...
    """
    if not isinstance(data, bytes):
        raise InvalidInputError(f"image: expected bytes, got {type(data).__name__}")
    if data.startswith(_WSQ_START):
        pixels, stated = _decode_wsq(data, limits)
    else:
        if not data.startswith(_ACCEPTED):
            raise UnsupportedFormatError(
                "image: expected PNG, JPEG, BMP, TIFF, JPEG 2000 or WSQ, got another format; save it as PNG"
            )
        pixels, stated = _gray(imaging.decode_rgb(data, limits=limits)), stated_ppi(data)
    resolution = stated if ppi is None else ppi
    if resolution is None:
        raise ResolutionMissingError(
            "ppi: expected the resolution in pixels an inch, got none from the caller and none that can be relied on "
            "from the image; state the scanner's (500 for most)"
        )
    return FingerprintImage(pixels, resolution, position, impression, data)


def raw_print(
    data: bytes,
    *,
    width_px: int,
    height_px: int,
    ppi: float,
    position: FingerPosition = FingerPosition.UNKNOWN,
    impression: Impression = Impression.LIVE_PLAIN,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> FingerprintImage:
    """Return a print from its bare pixels (RAW8).

    Parameters
    ----------
    data : bytes
        Gray, a byte a pixel, row by row from the top left; exactly ``width_px * height_px`` of them.
    width_px, height_px : int
        Size in pixels, within ``limits``.
    ppi : float
        Pixels an inch, 250..1000.
    position, impression
        Which finger, and how it was taken.
    limits : ImageLimits
        Bounds on sides and pixels.

    Raises
    ------
    ImageError
        The size is beyond ``limits``.
    DamagedImageError
        More or fewer bytes than the size needs.
    InvalidInputError
        ``ppi`` is out of range.

    Examples
    --------
    >>> raw_print(bytes(64 * 48), width_px=64, height_px=48, ppi=500).pixels.shape
    (48, 64)
    """
    imaging.check_header(ImageHeader("RAW8", width_px, height_px), limits)
    if len(data) != width_px * height_px:
        raise DamagedImageError(f"image: expected {width_px * height_px} bytes of raw pixels, got {len(data)}")
    pixels = np.frombuffer(data, dtype=np.uint8).reshape(height_px, width_px)
    return FingerprintImage(pixels, ppi, position, impression)


def read_print_header(data: bytes) -> ImageHeader:
    """Return what an encoded print claims to be, WSQ included, without decoding it.

    Raises
    ------
    UnsupportedFormatError
        None of the formats that :func:`decode_print` accepts.
    ImageTooLargeError, DamagedImageError
        As :func:`biometrik.image_headers.read_header`.
    """
    return _wsq_header(data) if data.startswith(_WSQ_START) else read_header(data)


def stated_ppi(data: bytes) -> float | None:
    """Return the resolution that an encoded image states, where it can be believed.

    Parameters
    ----------
    data : bytes
        PNG (pHYs), JPEG (JFIF density), BMP, TIFF (XResolution) or JPEG 2000 (capture resolution). Others state none.

    Returns
    -------
    float or None
        500.0 or 1000.0 where both axes are within 1 % of it, the resolutions of fingerprint scanners. None for
        anything else: 72, 96 or 300 are what software writes when it does not know.

    Examples
    --------
    >>> stated_ppi(b"BM" + bytes(12) + struct.pack("<IiiHHIIii", 40, 64, 64, 1, 8, 0, 0, 19685, 19685))
    500.0
    """
    for signature, read in _RESOLUTIONS:
        if data.startswith(signature):
            try:
                across, down = read(data)
            except (struct.error, OverflowError, ZeroDivisionError):
                return None
            for ppi in _SCANNER_PPI:
                if max(abs(across / ppi - 1), abs(down / ppi - 1)) <= _PPI_TOLERANCE:
                    return ppi
    return None


def _gray(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # ITU-R BT.601's weights; where the channels are equal, exactly those.
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


# --- Resolutions, as (across, down) pixels an inch; (0, 0) where there is none.

_NONE: Final = (0.0, 0.0)
#: More segments, chunks or boxes than this come before the pixels of no image.
_MAX_PARTS: Final = 1_000


def _png_ppi(data: bytes) -> tuple[float, float]:
    at = 8
    for _ in range(_MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"pHYs":
            across, down, unit = struct.unpack_from(">IIB", data, at + 8)
            return (across * _INCH_M, down * _INCH_M) if unit == 1 else _NONE
        if kind == b"IDAT":
            break
        at += length + 12
    return _NONE


def _jpeg_ppi(data: bytes) -> tuple[float, float]:
    mark, _, name, _, unit, across, down = struct.unpack_from(">HH5sHBHH", data, 2)
    if mark != 0xFFE0 or name != b"JFIF\0":
        return _NONE
    scale = {1: 1.0, 2: _INCH_CM}.get(unit, 0.0)
    return across * scale, down * scale


def _bmp_ppi(data: bytes) -> tuple[float, float]:
    (size,) = struct.unpack_from("<I", data, 14)
    across, down = struct.unpack_from("<ii", data, 38)
    return (across * _INCH_M, down * _INCH_M) if size >= 40 else _NONE


def _tiff_ppi(data: bytes) -> tuple[float, float]:
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    found = {282: 0.0, 283: 0.0}
    scale = 1.0  # TIFF 6.0, section 8: inches unless ResolutionUnit says otherwise
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values, offset = struct.unpack_from(order + "HHII", data, entry)
        if tag in found and (kind, values) == (5, 1):
            over, under = struct.unpack_from(order + "II", data, offset)
            found[tag] = over / under
        elif tag == 296:
            (unit,) = struct.unpack_from(order + "H", data, entry + 8)
            scale = {2: 1.0, 3: _INCH_CM}.get(unit, 0.0)
    return found[282] * scale, found[283] * scale


def _jp2_ppi(data: bytes) -> tuple[float, float]:
    # ISO/IEC 15444-1, I.5.3.7.1: the capture resolution, two fractions with powers of ten, pixels a metre.
    at, end = 0, len(data)
    for _ in range(_MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"resc":
            down, under_down, across, under_across, ten_down, ten_across = struct.unpack_from(">HHHHbb", data, at + 8)
            return across / under_across * 10.0**ten_across * _INCH_M, down / under_down * 10.0**ten_down * _INCH_M
        if kind == b"jp2c" or at >= end:
            break
        # The header and resolution boxes hold others: step inside.
        at += 8 if kind in (b"jp2h", b"res ") else max(length, 8)
    return _NONE


_RESOLUTIONS: Final[tuple[tuple[bytes, Callable[[bytes], tuple[float, float]]], ...]] = (
    (b"\x89PNG\r\n\x1a\n", _png_ppi),
    (b"\xff\xd8\xff", _jpeg_ppi),
    (b"BM", _bmp_ppi),
    (b"II*\0", _tiff_ppi),
    (b"MM\0*", _tiff_ppi),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _jp2_ppi),
)
_ACCEPTED: Final = (*(signature for signature, _ in _RESOLUTIONS), b"\xff\x4f\xff\x51")

# --- WSQ: FBI IAFIS-IC-0110 (V3)

_WSQ_START: Final = b"\xff\xa0"
_WSQ_FRAME: Final = 0xA2
#: Tables, block headers and comments, which carry their length; the frame header comes after some of them.
_WSQ_LENGTHS: Final = range(0xA2, 0xA9)
_WSQ_TIMEOUT_S: Final = 30.0
_WSQ_MEMORY_BYTES: Final = 2 << 30
#: Decodes standard input; writes width, height and resolution (0 unknown), then the pixels.
_WSQ_CHILD: Final = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.path.insert(0, sys.argv[1])
import _wsq
pixels, width, height, ppi = _wsq.decompress(sys.stdin.buffer.read())
head = b"".join(max(0, value).to_bytes(4, "little") for value in (width, height, ppi))
sys.stdout.buffer.write(head + bytes(pixels))
"""


def _decode_wsq(data: bytes, limits: ImageLimits) -> tuple[NDArray[np.uint8], float | None]:
    if len(data) > limits.max_bytes:
        raise ImageTooLargeError(f"image: expected at most {limits.max_bytes} bytes, got more; compress it")
    header = _wsq_header(data)
    imaging.check_header(header, limits)
    spec = find_spec("_wsq")
    if spec is None or spec.origin is None:
        raise UnsupportedFormatError(
            "image: WSQ expected the package wsq, got none; pip install 'biometrik[wsq]', or send PNG"
        )
    arguments = [str(Path(spec.origin).parent), str(_WSQ_MEMORY_BYTES)]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _WSQ_CHILD, *arguments],
            input=data,
            capture_output=True,
            timeout=_WSQ_TIMEOUT_S,
            check=True,
        )
        width, height, ppi = struct.unpack_from("<III", done.stdout)
        pixels = np.frombuffer(done.stdout, dtype=np.uint8, offset=12).reshape(height, width)
    except (subprocess.SubprocessError, struct.error, ValueError) as error:
        raise DamagedImageError("image: expected a whole WSQ, got a truncated or corrupt one; send it again") from error
    if (width, height) != (header.width_px, header.height_px):
        raise DamagedImageError("image: expected one size, got two that differ in its headers")
    honest = next((known for known in _SCANNER_PPI if abs(ppi / known - 1) <= _PPI_TOLERANCE), None)
    return pixels, honest


def _wsq_header(data: bytes) -> ImageHeader:
    at = 2
    try:
        for _ in range(_MAX_PARTS):
            mark, code, length = struct.unpack_from(">BBH", data, at)
            if mark != 0xFF or code not in _WSQ_LENGTHS or length < 2:
                break
            if code == _WSQ_FRAME:
                height, width = struct.unpack_from(">HH", data, at + 6)
                if width and height:
                    return ImageHeader("WSQ", width, height)
                break
            at += 2 + length
    except struct.error:
        pass
    raise DamagedImageError("image: expected a WSQ frame header, got none")
