"""Extended data of a view: ridge counts, cores and deltas, and opaque blocks.

A total length, then blocks of type, length (which counts both) and data: ISO/IEC 19794-2:2005, 7.5.3 to 7.5.5;
ANSI INCITS 378-2004, 6.6. ISO marks with every core and delta whether an angle follows, ANSI with their number.
"""

import struct
from collections.abc import Iterator
from enum import Enum
from typing import Final

import numpy as np

from biometrik.errors import InvalidInputError
from biometrik.formats.minutiae_octets import place, radians, steps
from biometrik.formats.minutiae_record import (
    ExtendedData,
    Extension,
    MinutiaeView,
    Raster,
    RidgeCounts,
    Singularity,
    SingularityKind,
)
from biometrik.formats.octets import MAX_BLOCKS, OctetReader

RIDGE_COUNT: Final = 1
CORE_AND_DELTA: Final = 2
#: Cores, and deltas, of one print: four bits.
MAX_SINGULARITIES: Final = 15
_ANGULAR: Final = 0x40
_HEADER_BYTES: Final = 4


class Dialect(Enum):
    """Whose cores and deltas: where the mark of an angle stands, and how many angle steps a turn has."""

    ISO = 256
    ANSI = 180


def read_extension(reader: OctetReader, view: str, dialect: Dialect, raster: Raster) -> Extension:
    """Return the extended data that follow a view's minutiae.

    Raises
    ------
    RecordFormatError
        A length does not hold or, if the reader is strict, a ridge count, core or delta block cannot be read; lenient
        reading keeps such a block as opaque data and drops what is cut off.
    """
    if reader.remaining < 2:
        reader.fault(f"{view}: expected the length of extended data, got the record's end; there are none")
        reader.offset = reader.stop
        return Extension()
    length = reader.number(f"{view} extended data length", 2)
    if length > reader.remaining:
        reader.fault(f"{view}: expected {length} octets of extended data, got {reader.remaining}")
        length = reader.remaining
    blocks = reader.part(f"{view} extended data", length)
    ridge_counts: RidgeCounts | None = None
    singularities: tuple[Singularity, ...] = ()
    opaque: list[ExtendedData] = []
    for block in _blocks(blocks, view):
        try:
            if block.type_id == RIDGE_COUNT and ridge_counts is None:
                ridge_counts = _ridge_counts(block.data)
            elif block.type_id == CORE_AND_DELTA and not singularities:
                singularities = _singularities(block.data, dialect, raster)
            else:
                opaque.append(block)
        except (struct.error, InvalidInputError) as error:
            reader.fault(f"{view} extended data of type {block.type_id}: {error}; kept as they are")
            opaque.append(block)
    return Extension(ridge_counts, singularities, tuple(opaque))


def write_extension(view: MinutiaeView, dialect: Dialect, *, keep_opaque: bool) -> bytes:
    """Return a view's extended data with their length.

    Parameters
    ----------
    view : MinutiaeView
        What to write.
    dialect : Dialect
        Whose form.
    keep_opaque : bool
        Whether opaque blocks are written, too.

    Raises
    ------
    InvalidInputError
        A core or delta outside of the raster, more than 15 of a kind, or more than 65535 octets.
    """
    blocks = []
    extension = view.extension
    if extension.ridge_counts is not None:
        counts = extension.ridge_counts
        blocks.append((RIDGE_COUNT, bytes([counts.method]) + counts.counts.tobytes()))
    if extension.singularities:
        blocks.append((CORE_AND_DELTA, _singular_octets(extension.singularities, dialect, view.raster)))
    if keep_opaque:
        blocks += [(block.type_id, block.data) for block in extension.opaque]
    octets = b"".join(struct.pack(">HH", kind, len(data) + _HEADER_BYTES) + data for kind, data in blocks)
    if len(octets) > 0xFFFF:
        raise InvalidInputError(f"extended data: expected at most 65535 octets, got {len(octets)}")
    return struct.pack(">H", len(octets)) + octets


def _blocks(reader: OctetReader, view: str) -> Iterator[ExtendedData]:
    for _ in range(MAX_BLOCKS):
        if reader.remaining < _HEADER_BYTES:
            break
        type_id = reader.number(f"{view} extended data type", 2)
        length = reader.number(f"{view} extended data block length", 2) - _HEADER_BYTES
        if not 0 <= length <= reader.remaining:
            reader.fault(f"{view} extended data: expected a block that fits, got {length} octets; dropped")
            return
        yield ExtendedData(type_id, reader.octets(f"{view} extended data block", length))
    reader.end(f"{view} extended data")


def _ridge_counts(data: bytes) -> RidgeCounts:
    if len(data) % 3 != 1:
        raise InvalidInputError(f"ridge counts: expected 1 octet and 3 a pair, got {len(data)}")
    return RidgeCounts(data[0], np.frombuffer(data, np.uint8, offset=1).reshape(-1, 3))


def _singularities(data: bytes, dialect: Dialect, raster: Raster) -> tuple[Singularity, ...]:
    found: list[Singularity] = []
    offset = 0
    for kind, angles in ((SingularityKind.CORE, 1), (SingularityKind.DELTA, 3)):
        (number,) = struct.unpack_from("B", data, offset)
        offset += 1
        for _ in range(number & 0x0F):
            x, y = struct.unpack_from(">HH", data, offset)
            offset += 4
            marked = x >> 14 == 1 if dialect is Dialect.ISO else number & _ANGULAR
            taken = struct.unpack_from(f"{angles if marked else 0}B", data, offset)
            offset += len(taken)
            directions = tuple(radians(np.array(taken, np.int64), dialect.value).tolist())
            place_x, place_y = (x & 0x3FFF) * raster.x_scale, (y & 0x3FFF) * raster.y_scale
            found.append(Singularity(kind, place_x, place_y, directions))
    if offset != len(data):
        raise InvalidInputError(f"cores and deltas: expected {offset} octets, got {len(data)}")
    return tuple(found)


def _singular_octets(singularities: tuple[Singularity, ...], dialect: Dialect, raster: Raster) -> bytes:
    octets = b""
    for kind in SingularityKind:
        points = [point for point in singularities if point.kind is kind]
        if len(points) > MAX_SINGULARITIES:
            raise InvalidInputError(f"{kind.value}s: expected at most {MAX_SINGULARITIES}, got {len(points)}")
        marked = bool(points) and all(point.directions for point in points)
        octets += bytes([len(points) | (_ANGULAR if dialect is Dialect.ANSI and marked else 0)])
        for point in points:
            x, y = place(f"{kind.value}s", np.array([point.x]), np.array([point.y]), raster)
            # ANSI marks all of a kind or none: angles that only some have are left out there.
            angular = bool(point.directions) if dialect is Dialect.ISO else marked
            mark = 0x4000 if angular and dialect is Dialect.ISO else 0
            octets += struct.pack(">HH", int(x[0]) | mark, int(y[0]))
            if angular:
                octets += bytes(steps(np.array(point.directions, np.float32), dialect.value).tolist())
    return octets
