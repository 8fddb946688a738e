"""What a finger template holds: minutiae as bytes.

Little-endian. All that a matcher can derive (neighbourhoods, cylinders) is derived at load, not stored::

    offset  size  content
    0       1     version, 1
    1       1     N, number of minutiae, 0..255
    2       2     width of the print at 500 ppi, pixels, 1..4096
    4       2     height, likewise
    6       7·N   minutiae, in the order of the extractor, best first:
              2     x in 1/8 pixel (bits 0..14); bit 15 is bit 0 of the kind
              2     y in 1/8 pixel (bits 0..14); bit 15 is bit 1 of the kind
              2     direction, 2π/65536
              1     quality, 0..100

40 minutiae take 286 bytes, and as a template with its header, contract id and checksum less than 350.
"""

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError, TemplateFormatError
from biometrik.fingers import Minutiae

_VERSION: Final = 1
_HEADER: Final = struct.Struct("<BBHH")
_MINUTIA: Final = np.dtype([("x", "<u2"), ("y", "<u2"), ("direction", "<u2"), ("quality", "u1")])
_PLACES: Final = 8  # a pixel
_DIRECTIONS: Final = 1 << 16  # a turn
_KIND_BIT: Final = 15


def pack(minutiae: Minutiae) -> bytes:
    """Return minutiae as bytes, places rounded to 1/8 pixel and directions to 2π/65536.

    Parameters
    ----------
    minutiae : Minutiae
        Of one print.

    Examples
    --------
    >>> none = np.empty(0, dtype=np.float32)
    >>> empty = Minutiae(none, none, none, none.astype(np.uint8), none.astype(np.uint8), 388, 374)
    >>> pack(empty).hex()
    '010084017601'
    """
    rows = np.empty(len(minutiae), dtype=_MINUTIA)
    rows["x"] = _places(minutiae.x) | (minutiae.kind & 1).astype(np.uint16) << _KIND_BIT
    rows["y"] = _places(minutiae.y) | (minutiae.kind >> 1).astype(np.uint16) << _KIND_BIT
    steps = np.rint(minutiae.direction.astype(np.float64) * (_DIRECTIONS / (2 * np.pi)))
    rows["direction"] = (steps.astype(np.int64) % _DIRECTIONS).astype(np.uint16)
    rows["quality"] = minutiae.quality
    return _HEADER.pack(_VERSION, len(minutiae), minutiae.width_px, minutiae.height_px) + rows.tobytes()


def unpack(data: bytes) -> Minutiae:
    """Return the minutiae that :func:`pack` wrote.

    Parameters
    ----------
    data : bytes
        May come from anywhere: every length and value is checked.

    Raises
    ------
    TemplateFormatError
        Another version or length, or a value out of range.
    """
    if len(data) < _HEADER.size:
        raise TemplateFormatError(f"minutiae: expected at least {_HEADER.size} bytes, got {len(data)}")
    version, count, width, height = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise TemplateFormatError(f"minutiae: expected version {_VERSION}, got {version}; enrol again")
    expected = _HEADER.size + count * _MINUTIA.itemsize
    if len(data) != expected:
        raise TemplateFormatError(f"minutiae: expected {expected} bytes for {count} minutiae, got {len(data)}")
    rows = np.frombuffer(data, dtype=_MINUTIA, offset=_HEADER.size)
    kind = (rows["x"] >> _KIND_BIT) | (rows["y"] >> _KIND_BIT) << 1
    direction = (rows["direction"] * (2 * np.pi / _DIRECTIONS)).astype(np.float32)
    try:
        return Minutiae(
            _pixels(rows["x"]),
            _pixels(rows["y"]),
            direction,
            kind.astype(np.uint8),
            rows["quality"].copy(),
            width,
            height,
        )
    except InvalidInputError as error:
        raise TemplateFormatError(f"minutiae: {error}") from None


def _places(pixels: NDArray[np.float32]) -> NDArray[np.uint16]:
    last = (1 << _KIND_BIT) - 1
    return np.minimum(np.rint(pixels * _PLACES), last).astype(np.uint16)


def _pixels(places: NDArray[np.uint16]) -> NDArray[np.float32]:
    return ((places & ((1 << _KIND_BIT) - 1)) / np.float32(_PLACES)).astype(np.float32)
