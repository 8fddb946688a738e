"""The list of minutiae as octets: five or six a minutia, in every record format since 2004.

Two bits of kind and fourteen of x, two reserved and fourteen of y, an octet of angle, an octet of quality
(ISO/IEC 19794-2:2005, 7.5.2; ANSI INCITS 378-2004, 6.5.2). The formats differ in the angle's unit and in what the
quality octet may say.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.fingers import Minutiae, MinutiaKind
from biometrik.formats.minutiae_record import Raster
from biometrik.formats.octets import OctetReader

#: Octets that stand for "not reported" and "could not be computed" since 2009.
UNREPORTED: Final = 254
FAILED: Final = 255
_SIX: Final = np.dtype([("x", ">u2"), ("y", ">u2"), ("angle", "u1"), ("quality", "u1")])
_FIVE: Final = np.dtype([("x", ">u2"), ("y", ">u2"), ("angle", "u1")])
_KIND_WORDS: Final = ("other", "ending", "bifurcation", "reserved")


@dataclass(frozen=True, slots=True)
class MinutiaLayout:
    """How a format writes one minutia.

    Parameters
    ----------
    angle_steps : int
        Angle units of a full turn: 256 in ISO, 180 in ANSI.
    marks_unknown : bool
        Whether 254 and 255 say that there is no quality; without, 0 does.
    size : int
        5 without quality, or 6.
    """

    angle_steps: int
    marks_unknown: bool
    size: int = 6


def radians(steps: NDArray[np.integer], turn: int) -> NDArray[np.float32]:
    """Return directions, radians clockwise on the screen in [0, 2π), of angles in steps counter-clockwise.

    Examples
    --------
    >>> radians(np.array([0, 64]), 256)  # to the right; up, which is three quarters clockwise
    array([0.      , 4.712389], dtype=float32)
    """
    return (np.mod(-steps.astype(np.int64), turn) * (2 * np.pi / turn)).astype(np.float32)


def steps(directions: NDArray[np.float32], turn: int) -> NDArray[np.int64]:
    """Return angles in whole steps counter-clockwise, 0 .. ``turn`` - 1, of directions in radians clockwise."""
    return np.mod(-np.rint(directions.astype(np.float64) * (turn / (2 * np.pi))).astype(np.int64), turn)


def read_minutiae(
    reader: OctetReader, view: str, count: int, layout: MinutiaLayout, raster: Raster
) -> tuple[Minutiae, Raster]:
    """Return the next ``count`` minutiae, and a raster that holds them all.

    Parameters
    ----------
    reader : OctetReader
        Stands at the first minutia.
    view : str
        Words for messages.
    count : int
        Minutiae that the record announces, 0..255.
    layout : MinutiaLayout
        How they are written.
    raster : Raster
        What x and y count.

    Raises
    ------
    RecordFormatError
        The record ends before, a coordinate is beyond 4095 pixels at 500 ppi, or, if the reader is strict, a reserved
        value is used or a minutia lies outside of the image.
    """
    if count * layout.size > reader.remaining:
        there = reader.remaining // layout.size
        reader.fault(f"{view}: expected {count} minutiae, got the octets of {there}, which are kept")
        count = there
    start = reader.offset
    octets = reader.octets(f"{view} minutiae", count * layout.size, shown=False)
    raw = np.frombuffer(octets, dtype=_SIX if layout.size == 6 else _FIVE)
    kind, x, y = raw["x"] >> 14, raw["x"] & 0x3FFF, raw["y"] & 0x3FFF
    quality = raw["quality"] if layout.size == 6 else np.zeros(count, np.uint8)
    if reader.trace is not None:
        _show(reader, start, view, layout, np.stack([kind, x, y, raw["angle"], quality], axis=1))
    if kind.max(initial=0) > max(MinutiaKind):
        reader.fault(f"{view}: expected minutia types 0..2, got 3, which is read as other")
        kind = np.where(kind > max(MinutiaKind), MinutiaKind.OTHER, kind)
    if (raw["y"] >> 14).any():
        reader.fault(f"{view}: expected reserved bits 0 before y, got others, which are ignored")
    if raw["angle"].max(initial=0) >= layout.angle_steps:
        reader.fault(f"{view}: expected angles below {layout.angle_steps}, got {raw['angle'].max()}, wrapped around")
    unknown = quality > 100
    if (unknown & ~((quality >= UNREPORTED) & layout.marks_unknown)).any():
        reader.fault(f"{view}: expected minutia quality 0..100, got {quality.max()}, which is read as not reported")
    raster = _holding(reader, view, raster, int(x.max(initial=0)), int(y.max(initial=0)))
    try:
        minutiae = Minutiae(
            (x * raster.x_scale).astype(np.float32),
            (y * raster.y_scale).astype(np.float32),
            radians(raw["angle"], layout.angle_steps),
            kind.astype(np.uint8),
            np.where(unknown, 0, quality).astype(np.uint8),
            max(1, round(raster.width_px * raster.x_scale)),
            max(1, round(raster.height_px * raster.y_scale)),
        )
    except InvalidInputError as error:
        raise RecordFormatError(f"{view}: {error}") from None
    return minutiae, raster


def write_minutiae(minutiae: Minutiae, raster: Raster, layout: MinutiaLayout) -> bytes:
    """Return minutiae as octets.

    Raises
    ------
    InvalidInputError
        A minutia lies outside of the raster.
    """
    raw = np.zeros(len(minutiae), dtype=_SIX if layout.size == 6 else _FIVE)
    x, y = place("minutiae", minutiae.x, minutiae.y, raster)
    raw["x"] = x | (minutiae.kind.astype(np.int64) << 14)
    raw["y"] = y
    raw["angle"] = steps(minutiae.direction, layout.angle_steps)
    if layout.size == 6:
        silent = layout.marks_unknown and not minutiae.quality.any()
        raw["quality"] = UNREPORTED if silent else minutiae.quality
    return raw.tobytes()


def place(
    name: str, x: NDArray[np.floating], y: NDArray[np.floating], raster: Raster
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return places at 500 ppi in whole pixels of a raster.

    Raises
    ------
    InvalidInputError
        A place outside of the raster. One that rounding alone carries over the edge is put on it.
    """
    columns = np.rint(x / raster.x_scale).astype(np.int64)
    rows = np.rint(y / raster.y_scale).astype(np.int64)
    if (columns > raster.width_px).any() or (rows > raster.height_px).any():
        size = f"{raster.width_px} × {raster.height_px}"
        raise InvalidInputError(f"{name}: expected places inside of the {size} image, got one outside; crop first")
    return np.minimum(columns, raster.width_px - 1), np.minimum(rows, raster.height_px - 1)


def _holding(reader: OctetReader, view: str, raster: Raster, x: int, y: int) -> Raster:
    if x < raster.width_px and y < raster.height_px:
        return raster
    size = f"{raster.width_px} × {raster.height_px}"
    reader.fault(f"{view}: expected minutiae inside of the {size} image, got one outside; the image is taken as larger")
    width, height = max(raster.width_px, x + 1), max(raster.height_px, y + 1)
    return Raster(min(width, 0x3FFF), min(height, 0x3FFF), raster.x_per_cm, raster.y_per_cm)


def _show(reader: OctetReader, start: int, view: str, layout: MinutiaLayout, raw: NDArray[np.integer]) -> None:
    for index, (kind, x, y, angle, quality) in enumerate(raw.tolist()):
        degrees = angle * 360 / layout.angle_steps
        words = f"{_KIND_WORDS[kind]} at ({x}, {y}), {degrees:g}°"
        words += f", quality {quality}" if layout.size == 6 else ""
        reader.see(start + index * layout.size, layout.size, f"{view} minutia {index + 1}", words)
