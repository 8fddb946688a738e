"""Finger minutiae records of ISO/IEC 19794-2: the editions of 2005 and 2011.

Both begin with ``FMR`` and a null. Version ``" 20"`` is the edition of 2005, whose image size, resolution and device
hold for all views, ``"030"`` that of 2011, in which every view has its own, and a capture time, quality and
certification blocks. Card formats, which have no header, are in :mod:`biometrik.formats.iso19794_2_card`.

References
----------
ISO/IEC 19794-2:2005, clause 7; ISO/IEC 19794-2:2011, clause 8.
"""

import struct
from dataclasses import replace
from typing import Final

import numpy as np

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.fingers import FingerPosition, Impression
from biometrik.formats.extended_data import Dialect, read_extension, write_extension
from biometrik.formats.minutiae_octets import MinutiaLayout, read_minutiae, write_minutiae
from biometrik.formats.minutiae_record import (
    CaptureDevice,
    Extension,
    MinutiaeRecord,
    MinutiaeView,
    Raster,
    RecordFormat,
)
from biometrik.formats.octets import MAX_RECORD_BYTES, MAX_VIEWS, OctetReader
from biometrik.formats.representation import RepresentationHead, read_head, write_head
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

MAGIC_2005: Final = b"FMR\0 20\0"
MAGIC_2011: Final = b"FMR\x00030\0"
_HEADER_2005: Final = struct.Struct(">8sIHHHHHBB")
_HEADER_2011: Final = struct.Struct(">8sIHB")
_LAYOUT: Final = {
    RecordFormat.ISO_19794_2_2005: MinutiaLayout(256, marks_unknown=False),
    RecordFormat.ISO_19794_2_2011: MinutiaLayout(256, marks_unknown=True),
}
#: Pixels a centimetre that lenient reading puts in place of 0: 500 ppi.
_ASSUMED_PER_CM: Final = 197
#: Plain thumbs, as slap codes name them, are thumbs to an edition that knows single fingers only.
_THUMBS: Final = {
    FingerPosition.PLAIN_RIGHT_THUMB: FingerPosition.RIGHT_THUMB,
    FingerPosition.PLAIN_LEFT_THUMB: FingerPosition.LEFT_THUMB,
}


def read(data: bytes, *, strict: bool = True) -> MinutiaeRecord:
    """Return what a minutiae record of either edition says.

    Parameters
    ----------
    data : bytes
        The record, at most 1 MiB.
    strict : bool
        Whether a record that breaks a rule is refused. If not, these are repaired and noted: a total length that is
        not the record's; octets behind the record; missing views, minutiae or extended data at its end; no resolution
        (500 ppi is assumed) or image size (the minutiae's extent); minutiae outside of the image; reserved codes of
        finger, impression, minutia type and quality; the view header of nbis-py 0.1.3, which is two octets short.

    Raises
    ------
    RecordFormatError
        Not such a record, a broken rule (strict), or damage that cannot be repaired.

    Examples
    --------
    >>> import numpy as np
    >>> from biometrik.fingers import Minutiae
    >>> one = np.ones(1, np.float32)
    >>> minutiae = Minutiae(100 * one, 50 * one, 0 * one, np.ones(1, np.uint8), np.zeros(1, np.uint8), 300, 400)
    >>> octets = write(MinutiaeRecord((MinutiaeView.of(minutiae, position=FingerPosition.LEFT_INDEX),)))
    >>> len(octets), read(octets).views[0].position.name
    (36, 'LEFT_INDEX')
    """
    return parse(OctetReader(data, strict=strict))


def write(record: MinutiaeRecord, edition: RecordFormat = RecordFormat.ISO_19794_2_2005) -> bytes:
    """Return a record as octets.

    What an edition has no room for is left out: capture times, vendors of quality and certifications in 2005, the
    product identifier in both, opaque extended data that came from another format. In 2005, a quality that is not
    known is written as 0, the only way to say so.

    Parameters
    ----------
    record : MinutiaeRecord
        What to write.
    edition : RecordFormat
        ``ISO_19794_2_2005`` or ``ISO_19794_2_2011``.

    Raises
    ------
    InvalidInputError
        Another edition; values that the edition cannot express (2005: views with different rasters or devices).
    """
    if edition is RecordFormat.ISO_19794_2_2005:
        octets = _write_2005(record)
    elif edition is RecordFormat.ISO_19794_2_2011:
        octets = _write_2011(record)
    else:
        raise InvalidInputError(f"edition: expected one of ISO/IEC 19794-2, got {edition.value}")
    if len(octets) > MAX_RECORD_BYTES:
        raise InvalidInputError(f"record: expected at most {MAX_RECORD_BYTES} octets, got {len(octets)}; split it")
    return octets


def parse(reader: OctetReader) -> MinutiaeRecord:
    """Return what a reader's record says; see :func:`read`."""
    magic = reader.octets("format and version", 8)
    if magic == MAGIC_2005:
        return _parse_2005(reader)
    if magic == MAGIC_2011:
        return _parse_2011(reader)
    raise RecordFormatError(f"record: expected FMR 20 or FMR 030, got {magic!r}")


def _parse_2005(reader: OctetReader) -> MinutiaeRecord:
    _total_length(reader, 4)
    device = read_device_word(reader)
    width, height = reader.number("image width", 2), reader.number("image height", 2)
    x_per_cm, y_per_cm = reader.number("pixels a cm in x", 2), reader.number("pixels a cm in y", 2)
    raster = raster_of(reader, "record", width, height, x_per_cm, y_per_cm)
    stated = count = reader.number("number of views", 1)
    reader.number("reserved", 1)
    if count == 0:
        count = min(1, reader.remaining)
        reader.fault(f"number of views: expected at least 1, got 0; read as {count}")
    views: list[MinutiaeView] = []
    for index in range(1, count + 1):
        if not reader.remaining:
            reader.fault(f"number of views: expected {count}, got the octets of {index - 1}")
            break
        views.append(_parse_view_2005(reader, f"view {index}", raster, device, may_be_short=stated == 0))
    reader.end("record")
    return MinutiaeRecord(tuple(views), origin=RecordFormat.ISO_19794_2_2005, notes=tuple(reader.notes))


def _parse_view_2005(
    reader: OctetReader, view: str, raster: Raster, device: CaptureDevice, *, may_be_short: bool
) -> MinutiaeView:
    position = read_position(reader, view, SINGLE_POSITIONS)
    short = may_be_short and _is_short(reader)
    if short:
        reader.note(f"{view}: expected a header of 4 octets, got 2; minutia quality is taken as 0..63")
        number, impression, quality = 0, Impression.LIVE_PLAIN, None
    else:
        says = impression_words(IMPRESSIONS_2005)
        both = reader.number(f"{view} number, impression", 1, lambda both: f"{both >> 4}, {says(both & 15)}")
        number, impression = both >> 4, impression_of(reader, view, both & 0xF, IMPRESSIONS_2005)
        quality = quality_of(reader, view, reader.number(f"{view} quality", 1))
    count = reader.number(f"{view} number of minutiae", 1)
    layout = _LAYOUT[RecordFormat.ISO_19794_2_2005]
    minutiae, raster = read_minutiae(reader, view, count, layout, raster)
    if short:
        quality_100 = np.minimum(np.rint(minutiae.quality * (100 / 63)), 100).astype(np.uint8)
        minutiae = replace(minutiae, quality=quality_100)
    extension = Extension() if short else read_extension(reader, view, Dialect.ISO, raster)
    return MinutiaeView(
        minutiae,
        raster,
        position,
        impression,
        number,
        () if quality is None else (quality,),
        device=device,
        extension=extension,
    )


def _is_short(reader: OctetReader) -> bool:
    # nbis-py 0.1.3 states 0 views, then writes the finger's position, the number of minutiae, and minutiae whose
    # quality goes to 63; nothing else.
    count = int.from_bytes(reader.peek(1), "big")
    return reader.remaining == 1 + 6 * count and count > 0


def _parse_2011(reader: OctetReader) -> MinutiaeRecord:
    _total_length(reader, 4)
    count = reader.count("number of views", 2, MAX_VIEWS)
    if count == 0:
        reader.fault("number of views: expected at least 1, got 0")
    certified = reader.number("certification flag", 1)
    if certified > 1:
        reader.fault(f"certification flag: expected 0 or 1, got {certified}, which is read as 1")
    views: list[MinutiaeView] = []
    for index in range(1, count + 1):
        if not reader.remaining:
            reader.fault(f"number of views: expected {count}, got the octets of {index - 1}")
            break
        view = f"view {index}"
        length = reader.number(f"{view} length", 4) - 4
        if not 0 <= length <= reader.remaining:
            reader.fault(f"{view}: expected {length} octets behind its length, got {reader.remaining}")
            length = reader.remaining
        views.append(_parse_view_2011(reader.part(view, length), view, certified=certified > 0))
    reader.end("record")
    return MinutiaeRecord(tuple(views), origin=RecordFormat.ISO_19794_2_2011, notes=tuple(reader.notes))


def _parse_view_2011(reader: OctetReader, view: str, *, certified: bool) -> MinutiaeView:
    head = read_head(reader, view, certified=certified)
    position = read_position(reader, view, ALL_POSITIONS)
    number = reader.number(f"{view} number", 1)
    if number > 15:
        reader.fault(f"{view} number: expected 0..15, got {number}, which is read as 0")
        number = 0
    x_per_cm, y_per_cm = reader.number(f"{view} pixels a cm in x", 2), reader.number(f"{view} pixels a cm in y", 2)
    code = reader.number(f"{view} impression", 1, impression_words(IMPRESSIONS_2011))
    impression = impression_of(reader, view, code, IMPRESSIONS_2011)
    width, height = reader.number(f"{view} image width", 2), reader.number(f"{view} image height", 2)
    raster = raster_of(reader, view, width, height, x_per_cm, y_per_cm)
    sizes = reader.number(f"{view} octets a minutia, ending type", 1, lambda both: f"{both >> 4}, {both & 15}")
    if sizes >> 4 not in (5, 6):
        raise RecordFormatError(f"{view}: expected 5 or 6 octets a minutia, got {sizes >> 4}")
    count = reader.number(f"{view} number of minutiae", 1)
    layout = MinutiaLayout(256, marks_unknown=True, size=sizes >> 4)
    minutiae, raster = read_minutiae(reader, view, count, layout, raster)
    extension = read_extension(reader, view, Dialect.ISO, raster)
    reader.end(view)
    return MinutiaeView(
        minutiae,
        raster,
        position,
        impression,
        number,
        head.qualities,
        head.captured_at,
        head.device,
        head.certifications,
        sizes & 0xF,
        extension,
    )


def _total_length(reader: OctetReader, size: int) -> None:
    length = reader.number("record length", size)
    if length != reader.stop:
        reader.fault(f"record length: expected {reader.stop}, which is the record's, got {length}")


def raster_of(reader: OctetReader, what: str, width: int, height: int, x_per_cm: int, y_per_cm: int) -> Raster:
    """Return the raster that a header states; lenient reading puts 500 ppi in place of no resolution.

    Raises
    ------
    RecordFormatError
        Numbers that no capture has, or, if the reader is strict, zeros.
    """
    if not (x_per_cm and y_per_cm):
        reader.fault(f"{what} resolution: expected pixels a cm, got 0; read as {_ASSUMED_PER_CM}, which is 500 ppi")
        x_per_cm, y_per_cm = x_per_cm or y_per_cm or _ASSUMED_PER_CM, y_per_cm or x_per_cm or _ASSUMED_PER_CM
    if not (width and height):
        reader.fault(f"{what} image size: expected at least 1 × 1, got {width} × {height}; grown to the minutiae")
        width, height = width or 1, height or 1
    try:
        return Raster(width, height, x_per_cm, y_per_cm)
    except InvalidInputError as error:
        raise RecordFormatError(str(error)) from None


def _write_2005(record: MinutiaeRecord) -> bytes:
    shared = {(view.raster, device_word(view.device)) for view in record.views}
    if len(shared) != 1 or len(record.views) > 0xFF:
        raise InvalidInputError(
            f"views: expected 1..255 that share one raster and device, got {len(record.views)} with {len(shared)}; "
            "write the edition of 2011"
        )
    raster, device = shared.pop()
    views = b"".join(_view_2005(view, record.origin) for view in record.views)
    header = _HEADER_2005.pack(
        MAGIC_2005,
        _HEADER_2005.size + len(views),
        device,
        raster.width_px,
        raster.height_px,
        raster.x_per_cm,
        raster.y_per_cm,
        len(record.views),
        0,
    )
    return header + views


def _view_2005(view: MinutiaeView, origin: RecordFormat | None) -> bytes:
    head = struct.pack(
        "BBBB",
        single_position(view.position),
        view.number << 4 | impression_code(view.impression, IMPRESSIONS_2005),
        (view.qualities[0].score or 0) if view.qualities else 0,
        len(view.minutiae),
    )
    minutiae = write_minutiae(view.minutiae, view.raster, _LAYOUT[RecordFormat.ISO_19794_2_2005])
    keep = origin is RecordFormat.ISO_19794_2_2005
    return head + minutiae + write_extension(view, Dialect.ISO, keep_opaque=keep)


def single_position(position: FingerPosition) -> int:
    """Return the code of one finger.

    Raises
    ------
    InvalidInputError
        Several fingers.
    """
    position = _THUMBS.get(position, position)
    if position not in SINGLE_POSITIONS:
        raise InvalidInputError(f"position: expected one finger, got {position.name}; segment the image first")
    return position


def _write_2011(record: MinutiaeRecord) -> bytes:
    if not 1 <= len(record.views) <= MAX_VIEWS:
        raise InvalidInputError(f"views: expected 1..{MAX_VIEWS}, got {len(record.views)}")
    certified = any(view.certifications for view in record.views)
    views = b"".join(_view_2011(view, record.origin, certified=certified) for view in record.views)
    return _HEADER_2011.pack(MAGIC_2011, _HEADER_2011.size + len(views), len(record.views), certified) + views


def _view_2011(view: MinutiaeView, origin: RecordFormat | None, *, certified: bool) -> bytes:
    head = RepresentationHead(view.captured_at, view.device, view.qualities, view.certifications)
    layout = MinutiaLayout(256, marks_unknown=True, size=6 if view.minutiae.quality.any() else 5)
    body = struct.pack(
        ">BBHHBHHBB",
        view.position,
        view.number,
        view.raster.x_per_cm,
        view.raster.y_per_cm,
        impression_code(view.impression, IMPRESSIONS_2011),
        view.raster.width_px,
        view.raster.height_px,
        layout.size << 4 | view.ending_type,
        len(view.minutiae),
    )
    keep = origin is RecordFormat.ISO_19794_2_2011
    octets = write_head(head, certified=certified) + body + write_minutiae(view.minutiae, view.raster, layout)
    octets += write_extension(view, Dialect.ISO, keep_opaque=keep)
    return struct.pack(">I", len(octets) + 4) + octets
