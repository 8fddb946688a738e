"""Finger image records of ISO/IEC 19794-4: the editions of 2005 and 2011.

Both begin with ``FIR`` and a null; version ``"010"`` is the edition of 2005, whose resolution, depth and compression
hold for all images, ``"020"`` that of 2011, in which every image has its own. The container is read here; compressed
images are handed out as they are, for :mod:`biometrik.imaging` to decode under its own limits.

References
----------
ISO/IEC 19794-4:2005, clause 7; ISO/IEC 19794-4:2011, clause 8.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.formats.image_record import ImageCoding, ImageRecord, ImageView
from biometrik.formats.minutiae_octets import UNREPORTED
from biometrik.formats.minutiae_record import ExtendedData, RecordFormat, ppi_of
from biometrik.formats.octets import MAX_BLOCKS, MAX_VIEWS, OctetReader
from biometrik.formats.representation import RepresentationHead, read_head, write_head
from biometrik.formats.view_codes import (
    ALL_POSITIONS,
    IMPRESSIONS_2005,
    IMPRESSIONS_2011,
    device_word,
    impression_code,
    impression_of,
    impression_words,
    quality_of,
    read_device_word,
    read_position,
)

MAGIC_2005: Final = b"FIR\x00010\0"
MAGIC_2011: Final = b"FIR\x00020\0"
#: Longest record by default, octets: ten fingers at 1000 ppi, uncompressed.
MAX_IMAGE_RECORD_BYTES: Final = 32 << 20
_PER_INCH, _PER_CM = 1, 2
_HEADER_2005: Final = struct.Struct(">8s6sHHBBHHHHBBH")
_VIEW_2005: Final = struct.Struct(">IBBBBBHHB")
_HEADER_2011: Final = struct.Struct(">8sIHBB")
_BODY_2011: Final = struct.Struct(">BBBHHHHBBBHH")


#: ISO/IEC 19794-4:2005, table 3, and :2011, table 9, in which a code means something else.
_CODINGS_2005: Final = (
    ImageCoding.RAW,
    ImageCoding.PACKED,
    ImageCoding.WSQ,
    ImageCoding.JPEG,
    ImageCoding.JPEG_2000,
    ImageCoding.PNG,
)
_CODINGS_2011: Final = tuple(ImageCoding)


def read(data: bytes, *, strict: bool = True, max_bytes: int = MAX_IMAGE_RECORD_BYTES) -> ImageRecord:
    """Return the images of a record of either edition.

    Parameters
    ----------
    data : bytes
        The record.
    strict : bool
        Whether a record that breaks a rule is refused. If not, these are repaired and noted: a total or view length
        that is not right; octets behind the record; missing images at its end; uncompressed pixels that are more than
        the size asks for; reserved codes of finger and impression.
    max_bytes : int
        Longest record.

    Raises
    ------
    RecordFormatError
        Not such a record, a broken rule (strict), or damage that cannot be repaired. A resolution of 0 is such: an
        image of unknown resolution cannot be compared.

    Examples
    --------
    >>> import numpy as np
    >>> from biometrik.fingers import FingerPosition, FingerprintImage
    >>> image = FingerprintImage(np.full((4, 3), 255, np.uint8), 500.0, FingerPosition.RIGHT_INDEX)
    >>> record = read(write(ImageRecord((ImageView.of(image),))))
    >>> record.views[0].image().pixels.shape, record.views[0].position.name
    ((4, 3), 'RIGHT_INDEX')
    """
    return parse(OctetReader(data, strict=strict, max_bytes=max_bytes))


def parse(reader: OctetReader) -> ImageRecord:
    """Return what a reader's record says; see :func:`read`."""
    magic = reader.octets("format and version", 8)
    if magic == MAGIC_2005:
        return _parse_2005(reader)
    if magic == MAGIC_2011:
        return _parse_2011(reader)
    raise RecordFormatError(f"record: expected FIR 010 or FIR 020, got {magic!r}")


def write(record: ImageRecord, edition: RecordFormat = RecordFormat.ISO_19794_4_2005) -> bytes:
    """Return a record as octets.

    The edition of 2005 has no room for quality, capture times, certifications and extended data, which are left out.

    Parameters
    ----------
    record : ImageRecord
        What to write.
    edition : RecordFormat
        ``ISO_19794_4_2005`` or ``ISO_19794_4_2011``.

    Raises
    ------
    InvalidInputError
        Another edition; values that the edition cannot express (2005: images that differ in resolution, depth, coding
        or device).
    """
    if not 1 <= len(record.views) <= MAX_VIEWS:
        raise InvalidInputError(f"views: expected 1..{MAX_VIEWS}, got {len(record.views)}")
    if edition is RecordFormat.ISO_19794_4_2005:
        return _write_2005(record)
    if edition is RecordFormat.ISO_19794_4_2011:
        return _write_2011(record)
    raise InvalidInputError(f"edition: expected one of ISO/IEC 19794-4, got {edition.value}")


def _parse_2005(reader: OctetReader) -> ImageRecord:
    _check_length(reader, reader.number("record length", 6))
    device = read_device_word(reader)
    level = reader.number("image acquisition level", 2)
    count = reader.number("number of images", 1)
    scan_ppi, ppi = _resolutions(reader, "record")
    bit_depth = _bit_depth(reader, "record")
    coding = _coding(reader, "record", _CODINGS_2005)
    reader.number("reserved", 2)
    views: list[ImageView] = []
    for view in _views(reader, count):
        part = _part(reader, view, last=len(views) == count - 1)
        position = read_position(part, view, ALL_POSITIONS)
        part.number(f"{view} number of views", 1)
        number = part.number(f"{view} number", 1)
        quality = quality_of(part, view, part.number(f"{view} quality", 1))
        code = part.number(f"{view} impression", 1, impression_words(IMPRESSIONS_2005))
        impression = impression_of(part, view, code, IMPRESSIONS_2005)
        width, height = part.number(f"{view} width", 2), part.number(f"{view} height", 2)
        part.number(f"{view} reserved", 1)
        views.append(
            _view(
                _image_data(part, view, part.remaining, coding, bit_depth * width * height),
                coding,
                width,
                height,
                ppi,
                position,
                impression,
                number,
                bit_depth,
                None if scan_ppi == ppi else scan_ppi,
                () if quality is None else (quality,),
                device=device,
            )
        )
        part.end(view)
    reader.end("record")
    return ImageRecord(tuple(views), level, tuple(reader.notes))


def _parse_2011(reader: OctetReader) -> ImageRecord:
    _check_length(reader, reader.number("record length", 4))
    count = reader.count("number of images", 2, MAX_VIEWS)
    certified = reader.number("certification flag", 1)
    if certified > 1:
        reader.fault(f"certification flag: expected 0 or 1, got {certified}, which is read as 1")
    reader.number("number of finger positions", 1)
    views: list[ImageView] = []
    for view in _views(reader, count):
        part = _part(reader, view, last=len(views) == count - 1)
        views.append(_parse_view_2011(part, view, certified=certified > 0))
        part.end(view)
    reader.end("record")
    return ImageRecord(tuple(views), notes=tuple(reader.notes))


def _parse_view_2011(reader: OctetReader, view: str, *, certified: bool) -> ImageView:
    head = read_head(reader, view, certified=certified)
    position = read_position(reader, view, ALL_POSITIONS)
    number = reader.number(f"{view} number", 1)
    scan_ppi, ppi = _resolutions(reader, view)
    bit_depth = _bit_depth(reader, view)
    coding = _coding(reader, view, _CODINGS_2011)
    code = reader.number(f"{view} impression", 1, impression_words(IMPRESSIONS_2011))
    impression = impression_of(reader, view, code, IMPRESSIONS_2011)
    width, height = reader.number(f"{view} width", 2), reader.number(f"{view} height", 2)
    length = reader.number(f"{view} image data length", 4)
    if length > reader.remaining:
        reader.fault(f"{view}: expected {length} octets of image data, got {reader.remaining}")
        length = reader.remaining
    return _view(
        _image_data(reader, view, length, coding, bit_depth * width * height),
        coding,
        width,
        height,
        ppi,
        position,
        impression,
        number,
        bit_depth,
        None if scan_ppi == ppi else scan_ppi,
        head.qualities,
        head.captured_at,
        head.device,
        head.certifications,
        _extended(reader, view),
    )


def _check_length(reader: OctetReader, length: int) -> None:
    if length != reader.stop:
        reader.fault(f"record length: expected {reader.stop}, which is the record's, got {length}")


def _views(reader: OctetReader, count: int) -> Iterator[str]:
    if count == 0:
        reader.fault("number of images: expected at least 1, got 0")
    for index in range(1, count + 1):
        if not reader.remaining:
            reader.fault(f"number of images: expected {count}, got the octets of {index - 1}")
            return
        yield f"image {index}"


def _part(reader: OctetReader, view: str, *, last: bool) -> OctetReader:
    # The length counts itself. Writers that forget the header are common, so the last image takes what is there.
    length = reader.number(f"{view} length", 4) - 4
    if not 0 <= length <= reader.remaining or (last and length != reader.remaining):
        reader.fault(f"{view} length: expected {reader.remaining + 4}, which is what is left, got {length + 4}")
        length = reader.remaining
    return reader.part(view, length)


def _resolutions(reader: OctetReader, what: str) -> tuple[tuple[float, float], tuple[float, float]]:
    unit = reader.number(f"{what} scale units", 1, lambda unit: {_PER_INCH: "an inch", _PER_CM: "a cm"}.get(unit, "?"))
    if unit not in (_PER_INCH, _PER_CM):
        raise RecordFormatError(f"{what} scale units: expected 1 (inch) or 2 (cm), got {unit}")
    scan_x, scan_y = reader.number(f"{what} scan resolution x", 2), reader.number(f"{what} scan resolution y", 2)
    x, y = reader.number(f"{what} image resolution x", 2), reader.number(f"{what} image resolution y", 2)
    ppi = _ppi(x, unit), _ppi(y, unit)
    # The scanner's resolution is often left out.
    return ((_ppi(scan_x, unit), _ppi(scan_y, unit)) if scan_x and scan_y else ppi), ppi


def _ppi(number: int, unit: int) -> float:
    return ppi_of(number) if unit == _PER_CM else float(number)


def _bit_depth(reader: OctetReader, what: str) -> int:
    bit_depth = reader.number(f"{what} bit depth", 1)
    if not 1 <= bit_depth <= 16:
        raise RecordFormatError(f"{what} bit depth: expected 1..16, got {bit_depth}")
    return bit_depth


def _coding(reader: OctetReader, what: str, codings: tuple[ImageCoding, ...]) -> ImageCoding:
    code = reader.number(
        f"{what} compression", 1, lambda code: codings[code].value if code < len(codings) else f"{code} reserved"
    )
    if code >= len(codings):
        raise RecordFormatError(f"{what} compression: expected 0..{len(codings) - 1}, got {code}")
    return codings[code]


def _image_data(reader: OctetReader, view: str, length: int, coding: ImageCoding, bits: int) -> bytes:
    if coding is ImageCoding.RAW and bits % 8 == 0:
        needed = bits // 8
        if length < needed:
            raise RecordFormatError(f"{view}: expected {needed} octets of pixels, got {length}; the record is cut off")
        if length > needed:
            reader.fault(f"{view}: expected {needed} octets of pixels, got {length}, the rest of which is ignored")
            data = reader.octets(f"{view} image data", needed)
            reader.octets(f"{view} image data beyond", length - needed)
            return data
    return reader.octets(f"{view} image data", length)


def _extended(reader: OctetReader, view: str) -> tuple[ExtendedData, ...]:
    blocks: list[ExtendedData] = []
    while reader.remaining >= 4 and len(blocks) < MAX_BLOCKS:
        type_id = reader.number(f"{view} extended data type", 2)
        length = reader.number(f"{view} extended data block length", 2) - 4
        if not 0 <= length <= reader.remaining:
            reader.fault(f"{view} extended data: expected a block that fits, got {length} octets; dropped")
            break
        blocks.append(ExtendedData(type_id, reader.octets(f"{view} extended data block", length)))
    return tuple(blocks)


def _view(*fields: Any, **named: Any) -> ImageView:
    # What a header may say and no image has (no pixels, no resolution) is the record's fault.
    try:
        return ImageView(*fields, **named)
    except InvalidInputError as error:
        raise RecordFormatError(str(error)) from None


def _scale(views: tuple[ImageView, ...]) -> tuple[int, list[int]]:
    # Scale units, then scan and image resolution in them; a resolution that is whole in inches is written in inches.
    scan, image = views[0].scan_ppi or views[0].ppi, views[0].ppi
    numbers = [*scan, *image]
    if all(number == round(number) for number in numbers):
        return _PER_INCH, [round(number) for number in numbers]
    return _PER_CM, [round(number / 2.54) for number in numbers]


def _write_2005(record: ImageRecord) -> bytes:
    first = record.views[0]
    shared = {(view.ppi, view.scan_ppi, view.bit_depth, view.coding, device_word(view.device)) for view in record.views}
    if len(shared) != 1:
        raise InvalidInputError(
            f"images: expected one resolution, depth, coding and device, got {len(shared)}; write the edition of 2011"
        )
    if first.coding not in _CODINGS_2005:
        raise InvalidInputError(f"coding: expected one of 2005, got {first.coding.value}; write the edition of 2011")
    views = b""
    for view in record.views:
        head = _VIEW_2005.pack(
            _VIEW_2005.size + len(view.data),
            view.position,
            sum(other.position == view.position for other in record.views),
            view.number,
            UNREPORTED,
            impression_code(view.impression, IMPRESSIONS_2005),
            view.width_px,
            view.height_px,
            0,
        )
        views += head + view.data
    unit, resolutions = _scale(record.views)
    header = _HEADER_2005.pack(
        MAGIC_2005,
        (_HEADER_2005.size + len(views)).to_bytes(6, "big"),
        device_word(first.device),
        record.acquisition_level,
        len(record.views),
        unit,
        *resolutions,
        first.bit_depth,
        _CODINGS_2005.index(first.coding),
        0,
    )
    return header + views


def _write_2011(record: ImageRecord) -> bytes:
    certified = any(view.certifications for view in record.views)
    views = b"".join(_view_2011(view, certified=certified) for view in record.views)
    positions = len({view.position for view in record.views})
    length = _HEADER_2011.size + len(views)
    return _HEADER_2011.pack(MAGIC_2011, length, len(record.views), certified, positions) + views


def _view_2011(view: ImageView, *, certified: bool) -> bytes:
    head = RepresentationHead(view.captured_at, view.device, view.qualities, view.certifications)
    unit, resolutions = _scale((view,))
    body = _BODY_2011.pack(
        view.position,
        view.number,
        unit,
        *resolutions,
        view.bit_depth,
        _CODINGS_2011.index(view.coding),
        impression_code(view.impression, IMPRESSIONS_2011),
        view.width_px,
        view.height_px,
    )
    octets = write_head(head, certified=certified) + body + struct.pack(">I", len(view.data)) + view.data
    octets += b"".join(struct.pack(">HH", e.type_id, len(e.data) + 4) + e.data for e in view.extended)
    return struct.pack(">I", len(octets) + 4) + octets
