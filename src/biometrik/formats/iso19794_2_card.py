"""Minutiae as cards hold and compare them: ISO/IEC 19794-2:2005, clause 8.

Nothing but minutiae, one after the other, of one finger. The compact size has three octets (x and y in 0.1 mm; two
bits of kind and six of angle, 64 to a turn); the normal size five (kind and x, y in 0.01 mm; angle, 256 to a turn).
Which size, how many, and in which order is agreed outside, in the card's biometric information template.

The compact size was checked against what other implementations do; the normal size rests on the clause alone.
"""

from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import MAX_MINUTIAE, NATIVE_PPI, Minutiae, MinutiaKind
from biometrik.formats.minutiae_octets import radians, steps
from biometrik.formats.octets import OctetReader

_MM_PER_INCH: Final = 25.4
_COMPACT: Final = np.dtype([("x", "u1"), ("y", "u1"), ("angle", "u1")])
_NORMAL: Final = np.dtype([("x", ">u2"), ("y", ">u2"), ("angle", "u1")])


class CardSize(Enum):
    """How much a card spends on a minutia: octets."""

    COMPACT = 3
    NORMAL = 5

    @property
    def unit_mm(self) -> float:
        """One step of x and y, millimetres."""
        return 0.1 if self is CardSize.COMPACT else 0.01

    @property
    def angle_steps(self) -> int:
        """Angle units of a full turn."""
        return 64 if self is CardSize.COMPACT else 256

    @property
    def most(self) -> int:
        """Largest x and y."""
        return 0xFF if self is CardSize.COMPACT else 0x3FFF


class CardOrder(Enum):
    """In which order a card wants its minutiae; the values are the card's own code without direction."""

    NONE = 0x00
    X_THEN_Y = 0x04
    Y_THEN_X = 0x08
    ANGLE = 0x0C
    POLAR = 0x10
    """By distance from the minutiae's centre of mass, then by angle around it."""


def read(data: bytes, size: CardSize, *, strict: bool = True) -> Minutiae:
    """Return a card's minutiae, at 500 ppi.

    A card says neither quality nor the image's size; the latter is taken from the minutiae's extent.

    Parameters
    ----------
    data : bytes
        3 or 5 octets a minutia, at most 255.
    size : CardSize
        Which.
    strict : bool
        Whether a reserved kind or octets left over are refused; if not, they are read as other and ignored.

    Raises
    ------
    RecordFormatError
        More than 255 minutiae, or, if strict, another broken rule.

    Examples
    --------
    >>> minutiae = read(bytes([100, 50, 0x40 | 16]), CardSize.COMPACT)  # an ending at (10 mm, 5 mm), upwards
    >>> minutiae.x.tolist(), minutiae.kind.tolist(), minutiae.direction.tolist()
    ([196.8503875732422], [1], [4.71238899230957])
    """
    reader = OctetReader(data, strict=strict, max_bytes=MAX_MINUTIAE * size.value + size.value - 1)
    count = min(len(data) // size.value, MAX_MINUTIAE)
    octets = reader.octets("minutiae", count * size.value)
    reader.end("minutiae")
    if size is CardSize.COMPACT:
        raw = np.frombuffer(octets, dtype=_COMPACT)
        kind, x, y, angle = raw["angle"] >> 6, raw["x"], raw["y"], raw["angle"] & 0x3F
    else:
        raw = np.frombuffer(octets, dtype=_NORMAL)
        kind, x, y, angle = raw["x"] >> 14, raw["x"] & 0x3FFF, raw["y"] & 0x3FFF, raw["angle"]
        if (raw["y"] >> 14).any():
            reader.fault("minutiae: expected reserved bits 0 before y, got others, which are ignored")
    if kind.max(initial=0) > max(MinutiaKind):
        reader.fault("minutiae: expected types 0..2, got 3, which is read as other")
        kind = np.where(kind > max(MinutiaKind), MinutiaKind.OTHER, kind)
    scale = size.unit_mm / _MM_PER_INCH * NATIVE_PPI
    places = (x * scale).astype(np.float32), (y * scale).astype(np.float32)
    return Minutiae(
        *places,
        radians(angle, size.angle_steps),
        kind.astype(np.uint8),
        np.zeros(count, np.uint8),
        *(int(place.max(initial=0)) + 1 for place in places),
    )


def write(minutiae: Minutiae, size: CardSize, order: CardOrder = CardOrder.NONE, *, descending: bool = False) -> bytes:
    """Return minutiae as a card holds them.

    Parameters
    ----------
    minutiae : Minutiae
        At 500 ppi. Cards take few (often 60): leave out the poorest first.
    size : CardSize
        3 or 5 octets a minutia.
    order : CardOrder
        What the card asks for.
    descending : bool
        Largest first.

    Raises
    ------
    InvalidInputError
        A place beyond 25.5 mm (compact) or 163.8 mm (normal).
    """
    scale = size.unit_mm / _MM_PER_INCH * NATIVE_PPI
    x, y = np.rint(minutiae.x / scale).astype(np.int64), np.rint(minutiae.y / scale).astype(np.int64)
    if max(x.max(initial=0), y.max(initial=0)) > size.most:
        most = size.most * size.unit_mm
        raise InvalidInputError(f"minutiae: expected places within {most:g} mm, got farther ones; crop or shift them")
    angle = steps(minutiae.direction, size.angle_steps)
    kind = minutiae.kind.astype(np.int64)
    if size is CardSize.COMPACT:
        raw = np.zeros(len(minutiae), dtype=_COMPACT)
        raw["x"], raw["y"], raw["angle"] = x, y, kind << 6 | angle
    else:
        raw = np.zeros(len(minutiae), dtype=_NORMAL)
        raw["x"], raw["y"], raw["angle"] = kind << 14 | x, y, angle
    sequence = _sequence(order, x, y, angle)
    return raw[sequence[::-1] if descending else sequence].tobytes()


def _sequence(
    order: CardOrder, x: NDArray[np.int64], y: NDArray[np.int64], angle: NDArray[np.int64]
) -> NDArray[np.int64]:
    if order is CardOrder.NONE or not len(x):
        return np.arange(len(x))
    if order is CardOrder.X_THEN_Y:
        return np.lexsort((y, x))
    if order is CardOrder.Y_THEN_X:
        return np.lexsort((x, y))
    if order is CardOrder.ANGLE:
        return np.argsort(angle, kind="stable")
    across, down = x - x.mean(), y - y.mean()
    return np.lexsort((np.mod(np.arctan2(-down, across), 2 * np.pi), across**2 + down**2))
