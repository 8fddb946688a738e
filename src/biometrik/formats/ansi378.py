"""Finger minutiae records of ANSI INCITS 378: the editions of 2004 and 2009.

The edition of 2004 shares format and version with ISO/IEC 19794-2:2005 and differs in the record's length (2 octets,
or 2 zeros and 4), the CBEFF product identifier behind it and angles in steps of 2°. The edition of 2009 moves image
size and resolution into the view, beside the quality's algorithm; its amendment 1 counts as the same edition here.

References
----------
ANSI INCITS 378-2004, clause 6; ANSI INCITS 378-2009, clause 6, and its amendment 1.
"""

import struct
from collections.abc import Iterator
from typing import Final, TypeVar

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.formats.extended_data import Dialect, read_extension, write_extension
from biometrik.formats.iso19794_2 import raster_of, single_position
from biometrik.formats.minutiae_octets import FAILED, UNREPORTED, MinutiaLayout, read_minutiae, write_minutiae
from biometrik.formats.minutiae_record import (
    CaptureDevice,
    MinutiaeRecord,
    MinutiaeView,
    RecordFormat,
)
from biometrik.formats.octets import MAX_RECORD_BYTES, MAX_VIEWS, OctetReader
from biometrik.formats.view_codes import (
    ALL_POSITIONS,
    IMPRESSIONS_2005,
    IMPRESSIONS_2011,
    SINGLE_POSITIONS,
    device_word,
    impression_code,
    impression_of,
    impression_words,
    quality_of,
    read_device_word,
    read_position,
)

T = TypeVar("T")

MAGIC_2004: Final = b"FMR\0 20\0"
MAGIC_2009: Final = b"FMR\x00030\0"
MAGIC_2009_AMENDED: Final = b"FMR\x00035\0"
_LAYOUT_2004: Final = MinutiaLayout(180, marks_unknown=False)
_LAYOUT_2009: Final = MinutiaLayout(180, marks_unknown=True)
#: What follows the record's length.
_HEADER_2004: Final = struct.Struct(">IHHHHHBB")
_HEADER_2009: Final = struct.Struct(">8sIIBHBB")
_VIEW_2009: Final = struct.Struct(">BBBBHHHHHHB")


def read(data: bytes, *, strict: bool = True) -> MinutiaeRecord:
    """Return what a minutiae record of either edition says.

    The caller knows that the record is ANSI's; :func:`biometrik.formats.catalogue.detect` tells it from ISO's.

    Parameters
    ----------
    data : bytes
        The record, at most 1 MiB.
    strict : bool
        Whether a record that breaks a rule is refused; what is repaired if not is as in
        :func:`biometrik.formats.iso19794_2.read`.

    Raises
    ------
    RecordFormatError
        Not such a record, a broken rule (strict), or damage that cannot be repaired.
    """
    return parse(OctetReader(data, strict=strict))


def write(record: MinutiaeRecord, edition: RecordFormat = RecordFormat.ANSI_378_2004) -> bytes:
    """Return a record as octets.

    What an edition has no room for is left out: capture times, certifications, more than one quality, and opaque
    extended data that came from another format. In 2004, a quality that is not known is written as 0.

    Parameters
    ----------
    record : MinutiaeRecord
        What to write.
    edition : RecordFormat
        ``ANSI_378_2004`` or ``ANSI_378_2009``.

    Raises
    ------
    InvalidInputError
        Another edition; values that the edition cannot express (2004: views with different rasters or devices; 2009:
        different devices).
    """
    if edition is RecordFormat.ANSI_378_2004:
        octets = _write_2004(record)
    elif edition is RecordFormat.ANSI_378_2009:
        octets = _write_2009(record)
    else:
        raise InvalidInputError(f"edition: expected one of ANSI INCITS 378, got {edition.value}")
    if len(octets) > MAX_RECORD_BYTES:
        raise InvalidInputError(f"record: expected at most {MAX_RECORD_BYTES} octets, got {len(octets)}; split it")
    return octets


def parse(reader: OctetReader) -> MinutiaeRecord:
    """Return what a reader's record says; see :func:`read`."""
    magic = reader.octets("format and version", 8)
    if magic == MAGIC_2004:
        return _parse_2004(reader)
    if magic in (MAGIC_2009, MAGIC_2009_AMENDED):
        return _parse_2009(reader)
    raise RecordFormatError(f"record: expected FMR 20, FMR 030 or FMR 035, got {magic!r}")


def _parse_2004(reader: OctetReader) -> MinutiaeRecord:
    length = reader.number("record length", 2) or reader.number("record length, long form", 4)
    _check_length(reader, length)
    product = reader.number("product identifier", 4)
    device = read_device_word(reader)
    width, height = reader.number("image width", 2), reader.number("image height", 2)
    x_per_cm, y_per_cm = reader.number("pixels a cm in x", 2), reader.number("pixels a cm in y", 2)
    raster = raster_of(reader, "record", width, height, x_per_cm, y_per_cm)
    says = impression_words(IMPRESSIONS_2005)
    views = []
    for view in _views(reader):
        position = read_position(reader, view, SINGLE_POSITIONS)
        both = reader.number(f"{view} number, impression", 1, lambda both: f"{both >> 4}, {says(both & 15)}")
        impression = impression_of(reader, view, both & 0xF, IMPRESSIONS_2005)
        quality = quality_of(reader, view, reader.number(f"{view} quality", 1))
        count = reader.number(f"{view} number of minutiae", 1)
        minutiae, held = read_minutiae(reader, view, count, _LAYOUT_2004, raster)
        views.append(
            MinutiaeView(
                minutiae,
                held,
                position,
                impression,
                both >> 4,
                () if quality is None else (quality,),
                device=device,
                extension=read_extension(reader, view, Dialect.ANSI, held),
            )
        )
    reader.end("record")
    return MinutiaeRecord(tuple(views), product, RecordFormat.ANSI_378_2004, tuple(reader.notes))


def _parse_2009(reader: OctetReader) -> MinutiaeRecord:
    _check_length(reader, reader.number("record length", 4))
    product = reader.number("product identifier", 4)
    compliance = reader.number("device compliance", 1, lambda bits: f"{bits:08b}")
    device = CaptureDevice(compliance=compliance >> 4, type_id=reader.number("capture device", 2))
    views = [_parse_view_2009(reader, view, device) for view in _views(reader)]
    reader.end("record")
    return MinutiaeRecord(tuple(views), product, RecordFormat.ANSI_378_2009, tuple(reader.notes))


def _parse_view_2009(reader: OctetReader, view: str, device: CaptureDevice) -> MinutiaeView:
    position = read_position(reader, view, ALL_POSITIONS)
    number = reader.number(f"{view} number", 1)
    if number > 15:
        reader.fault(f"{view} number: expected 0..15, got {number}, which is read as 0")
        number = 0
    code = reader.number(f"{view} impression", 1, impression_words(IMPRESSIONS_2011))
    impression = impression_of(reader, view, code, IMPRESSIONS_2011)
    score = reader.number(f"{view} quality", 1)
    vendor = reader.number(f"{view} quality vendor", 2)
    quality = quality_of(reader, view, score, vendor, reader.number(f"{view} quality algorithm", 2))
    width, height = reader.number(f"{view} image width", 2), reader.number(f"{view} image height", 2)
    x_per_cm, y_per_cm = reader.number(f"{view} pixels a cm in x", 2), reader.number(f"{view} pixels a cm in y", 2)
    raster = raster_of(reader, view, width, height, x_per_cm, y_per_cm)
    count = reader.number(f"{view} number of minutiae", 1)
    minutiae, raster = read_minutiae(reader, view, count, _LAYOUT_2009, raster)
    return MinutiaeView(
        minutiae,
        raster,
        position,
        impression,
        number,
        () if quality is None else (quality,),
        device=device,
        extension=read_extension(reader, view, Dialect.ANSI, raster),
    )


def _views(reader: OctetReader) -> Iterator[str]:
    # The number of views and a reserved octet, then the name of each view that is there to be read.
    count = reader.number("number of views", 1)
    reader.number("reserved", 1)
    if count == 0:
        count = min(1, reader.remaining)
        reader.fault(f"number of views: expected at least 1, got 0; read as {count}")
    for index in range(1, count + 1):
        if not reader.remaining:
            reader.fault(f"number of views: expected {count}, got the octets of {index - 1}")
            return
        yield f"view {index}"


def _check_length(reader: OctetReader, length: int) -> None:
    if length != reader.stop:
        reader.fault(f"record length: expected {reader.stop}, which is the record's, got {length}")


def _write_2004(record: MinutiaeRecord) -> bytes:
    raster, device = _shared({(view.raster, device_word(view.device)) for view in record.views}, record)
    views = b"".join(_view_2004(view, record.origin) for view in record.views)
    header = _HEADER_2004.pack(
        record.product,
        device,
        raster.width_px,
        raster.height_px,
        raster.x_per_cm,
        raster.y_per_cm,
        len(record.views),
        0,
    )
    length = len(MAGIC_2004) + 2 + len(header) + len(views)
    length_octets = struct.pack(">H", length) if length <= 0xFFFF else struct.pack(">HI", 0, length + 4)
    return MAGIC_2004 + length_octets + header + views


def _view_2004(view: MinutiaeView, origin: RecordFormat | None) -> bytes:
    head = struct.pack(
        "BBBB",
        single_position(view.position),
        view.number << 4 | impression_code(view.impression, IMPRESSIONS_2005),
        (view.qualities[0].score or 0) if view.qualities else 0,
        len(view.minutiae),
    )
    keep = origin is RecordFormat.ANSI_378_2004
    octets = head + write_minutiae(view.minutiae, view.raster, _LAYOUT_2004)
    return octets + write_extension(view, Dialect.ANSI, keep_opaque=keep)


def _write_2009(record: MinutiaeRecord) -> bytes:
    device = _shared({view.device for view in record.views}, record)
    views = b"".join(_view_2009(view, record.origin) for view in record.views)
    header = _HEADER_2009.pack(
        MAGIC_2009,
        _HEADER_2009.size + len(views),
        record.product,
        device.compliance << 4,
        device.type_id,
        len(record.views),
        0,
    )
    return header + views


def _view_2009(view: MinutiaeView, origin: RecordFormat | None) -> bytes:
    quality = view.qualities[0] if view.qualities else None
    score = UNREPORTED if quality is None else FAILED if quality.score is None else quality.score
    head = _VIEW_2009.pack(
        view.position,
        view.number,
        impression_code(view.impression, IMPRESSIONS_2011),
        score,
        quality.vendor if quality else 0,
        quality.algorithm if quality else 0,
        view.raster.width_px,
        view.raster.height_px,
        view.raster.x_per_cm,
        view.raster.y_per_cm,
        len(view.minutiae),
    )
    keep = origin is RecordFormat.ANSI_378_2009
    octets = head + write_minutiae(view.minutiae, view.raster, _LAYOUT_2009)
    return octets + write_extension(view, Dialect.ANSI, keep_opaque=keep)


def _shared(values: set[T], record: MinutiaeRecord) -> T:
    # What the record's header says of all views.
    if len(values) != 1 or len(record.views) > MAX_VIEWS:
        raise InvalidInputError(
            f"views: expected 1..{MAX_VIEWS} that share one raster and device, got {len(record.views)} "
            f"with {len(values)}; write a record each"
        )
    return next(iter(values))
