"""Which format a record has, and what stands in it: for callers that are handed octets and told nothing.

ISO/IEC 19794-2:2005 and ANSI INCITS 378-2004 begin with the same eight octets, and so do the editions of 2011 and
2009; they are told apart by their lengths. Card formats have nothing to be recognised by.
"""

import struct
from collections.abc import Callable
from typing import Final

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.formats import ansi378, iso19794_2, iso19794_4
from biometrik.formats.minutiae_record import MinutiaeRecord, RecordFormat
from biometrik.formats.octets import MAX_FIELDS, Field, OctetReader

_MINUTIAE: Final[dict[RecordFormat, Callable[[OctetReader], MinutiaeRecord]]] = {
    RecordFormat.ISO_19794_2_2005: iso19794_2.parse,
    RecordFormat.ISO_19794_2_2011: iso19794_2.parse,
    RecordFormat.ANSI_378_2004: ansi378.parse,
    RecordFormat.ANSI_378_2009: ansi378.parse,
}
_PARSERS: Final[dict[RecordFormat, Callable[[OctetReader], object]]] = {
    **_MINUTIAE,
    RecordFormat.ISO_19794_4_2005: iso19794_4.parse,
    RecordFormat.ISO_19794_4_2011: iso19794_4.parse,
}
_XML_STARTS: Final = (b"<?xml", b"<BIR", b"\xef\xbb\xbf<")


def detect(data: bytes) -> RecordFormat:
    r"""Return a record's format by its first octets and, where two share these, by its lengths.

    Raises
    ------
    RecordFormatError
        None of the known ones.
    InvalidInputError
        ``data`` are not bytes.

    Examples
    --------
    >>> detect(b"FMR\0 20\0" + bytes([0, 0, 0, 30]) + bytes(18)).value
    'ISO/IEC 19794-2:2005'
    """
    if not isinstance(data, bytes):
        raise InvalidInputError(f"record: expected bytes, got {type(data).__name__}")
    magic = data[:8]
    if magic == iso19794_2.MAGIC_2005:
        return RecordFormat.ANSI_378_2004 if _has_ansi_length(data) else RecordFormat.ISO_19794_2_2005
    if magic == iso19794_2.MAGIC_2011:
        return RecordFormat.ISO_19794_2_2011 if _has_iso_2011_lengths(data) else RecordFormat.ANSI_378_2009
    if magic == ansi378.MAGIC_2009_AMENDED:
        return RecordFormat.ANSI_378_2009
    if magic == iso19794_4.MAGIC_2005:
        return RecordFormat.ISO_19794_4_2005
    if magic == iso19794_4.MAGIC_2011:
        return RecordFormat.ISO_19794_4_2011
    if data[:64].lstrip().startswith(_XML_STARTS):
        return RecordFormat.CBEFF_XML
    raise RecordFormatError(f"record: expected FMR, FIR or a BIR document, got {magic!r}; card formats must be named")


def read_minutiae(data: bytes, *, strict: bool = True) -> MinutiaeRecord:
    """Return what a minutiae record of any format says; ``origin`` tells the format.

    Raises
    ------
    RecordFormatError
        Not a minutiae record, or one that breaks its format; see :func:`biometrik.formats.iso19794_2.read`.
    """
    known = detect(data)
    if known not in _MINUTIAE:
        raise RecordFormatError(f"record: expected minutiae, got {known.value}")
    return _MINUTIAE[known](OctetReader(data, strict=strict))


def write_minutiae(record: MinutiaeRecord, target: RecordFormat) -> bytes:
    """Return a minutiae record in any of its formats.

    Raises
    ------
    InvalidInputError
        ``target`` is no minutiae format, or cannot express the record.
    """
    if target not in _MINUTIAE:
        raise InvalidInputError(f"target: expected a minutiae format, got {target.value}")
    write = ansi378.write if _MINUTIAE[target] is ansi378.parse else iso19794_2.write
    return write(record, target)


def inspect(data: bytes) -> tuple[Field, ...]:
    r"""Return a minutiae or image record field by field, as far as it can be read.

    Reading is lenient; what is wrong follows as rows of their own, without length.

    Parameters
    ----------
    data : bytes
        A record of any format but XML, which shows itself.

    Returns
    -------
    tuple of Field
        In the record's order, at most 1,536 fields; then one row named ``note`` for each remark, or ``fault`` for
        what ended the reading.

    Raises
    ------
    RecordFormatError
        None of the known formats.

    Examples
    --------
    >>> for field in inspect(b"FMR\0 20\0" + bytes([0, 0, 0, 24]))[:2]:
    ...     print(field.offset, field.length, field.name, field.value)
    0 8 format and version 8 octets
    8 4 record length 24
    """
    known = detect(data)
    if known not in _PARSERS:
        raise RecordFormatError(f"record: expected minutiae or images, got {known.value}")
    fields: list[Field] = []
    reader = OctetReader(data, strict=False, trace=fields, max_bytes=iso19794_4.MAX_IMAGE_RECORD_BYTES)
    remarks = []
    try:
        _PARSERS[known](reader)
    except RecordFormatError as error:
        remarks.append(Field(reader.offset, 0, "fault", str(error)))
    if len(fields) >= MAX_FIELDS:
        remarks.append(Field(reader.offset, 0, "note", f"more than {MAX_FIELDS} fields; the rest is not shown"))
    notes = [Field(reader.offset, 0, "note", note) for note in reader.notes]
    return (*fields, *notes, *remarks)


def _has_ansi_length(data: bytes) -> bool:
    # ANSI: two octets, at least its header's 26; or two zeros and four octets for a length that needs them.
    # ISO: four octets, at least its header's 24, so that two zeros are followed by 24 or more.
    if len(data) < 14:
        return False
    short, low = struct.unpack_from(">HH", data, 8)
    return bool(short >= 26 or (short == 0 and low < 24))


def _has_iso_2011_lengths(data: bytes) -> bool:
    # Only ISO's views tell their lengths, which add up to the record's; ANSI has a product identifier there. A damaged
    # record is taken as ISO's while its first view's length is possible.
    if len(data) < 19:
        return True
    total, count = struct.unpack_from(">IH", data, 8)
    offset = 15
    for _ in range(count):
        if offset + 4 > len(data):
            break
        (length,) = struct.unpack_from(">I", data, offset)
        if length < 34:
            break
        offset += length
    if offset == total:
        return True
    (first,) = struct.unpack_from(">I", data, 15)
    return _ansi_2009_end(data) != total and data[14] <= 1 and 34 <= first <= len(data)


def _ansi_2009_end(data: bytes) -> int:
    # Where a record that is read as ANSI's ends, or -1.
    offset = 21
    for _ in range(data[19] if len(data) > 20 else 0):
        if offset + 19 > len(data):
            return -1
        offset += 17 + 6 * data[offset + 16]
        if offset + 2 > len(data):
            return -1
        offset += 2 + struct.unpack_from(">H", data, offset)[0]
    return offset
