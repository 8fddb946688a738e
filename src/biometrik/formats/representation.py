"""The head of every representation in ISO/IEC 19794-2:2011 and -4:2011: when, with what, how good, certified by whom.

ISO/IEC 19794-1:2011, clause 12; length of the representation (which counts itself), capture time, device, quality
blocks and, where the record's header says so, certification blocks.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from biometrik.errors import InvalidInputError
from biometrik.formats.minutiae_octets import FAILED
from biometrik.formats.minutiae_record import CaptureDevice, Certification, SampleQuality
from biometrik.formats.octets import MAX_BLOCKS, OctetReader
from biometrik.formats.view_codes import quality_of

_TIME: Final = struct.Struct(">H5BH")
_NO_YEAR: Final = 0xFFFF
_NO_TIME: Final = _TIME.pack(_NO_YEAR, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFFFF)


@dataclass(frozen=True, slots=True)
class RepresentationHead:
    """What the head says, as the fields of the views."""

    captured_at: datetime | None
    device: CaptureDevice
    qualities: tuple[SampleQuality, ...]
    certifications: tuple[Certification, ...]


def read_head(reader: OctetReader, view: str, *, certified: bool) -> RepresentationHead:
    """Return the head behind the representation's length.

    Raises
    ------
    RecordFormatError
        The record ends or, if the reader is strict, a time or a quality is out of range.
    """
    captured_at = _captured_at(reader, view)
    technology = reader.number(f"{view} device technology", 1)
    vendor = reader.number(f"{view} device vendor", 2)
    device = CaptureDevice(technology, vendor, reader.number(f"{view} device type", 2))
    qualities = []
    for _ in range(reader.count(f"{view} number of quality blocks", 1, MAX_BLOCKS)):
        score = reader.number(f"{view} quality", 1)
        by = reader.number(f"{view} quality vendor", 2)
        quality = quality_of(reader, view, score, by, reader.number(f"{view} quality algorithm", 2))
        qualities += [quality] if quality is not None else []
    certifications = []
    for _ in range(reader.count(f"{view} number of certifications", 1, MAX_BLOCKS) if certified else 0):
        authority = reader.number(f"{view} certification authority", 2)
        certifications.append(Certification(authority, reader.number(f"{view} certification scheme", 1)))
    return RepresentationHead(captured_at, device, tuple(qualities), tuple(certifications))


def write_head(head: RepresentationHead, *, certified: bool) -> bytes:
    """Return the head as octets, without the representation's length.

    Raises
    ------
    InvalidInputError
        More than 16 blocks of a kind.
    """
    most = max(len(head.qualities), len(head.certifications))
    if most > MAX_BLOCKS:
        raise InvalidInputError(f"quality and certification blocks: expected at most {MAX_BLOCKS} each, got {most}")
    octets = _NO_TIME
    if head.captured_at is not None:
        t = head.captured_at.astimezone(UTC)
        octets = _TIME.pack(t.year, t.month, t.day, t.hour, t.minute, t.second, t.microsecond // 1000)
    octets += struct.pack(">BHHB", head.device.technology, head.device.vendor, head.device.type_id, len(head.qualities))
    for quality in head.qualities:
        score = FAILED if quality.score is None else quality.score
        octets += struct.pack(">BHH", score, quality.vendor, quality.algorithm)
    if certified:
        octets += bytes([len(head.certifications)])
        octets += b"".join(struct.pack(">HB", c.authority, c.scheme) for c in head.certifications)
    return octets


def _captured_at(reader: OctetReader, view: str) -> datetime | None:
    octets = reader.octets(f"{view} capture time", _TIME.size)
    year, month, day, hour, minute, second, milliseconds = _TIME.unpack(octets)
    if year == _NO_YEAR or month == 0xFF or day == 0xFF:  # a year or month alone is no time
        return None
    hour, minute, second = (0 if part == 0xFF else part for part in (hour, minute, second))
    microseconds = 0 if milliseconds == 0xFFFF else milliseconds * 1000
    try:
        return datetime(year, month, day, hour, minute, second, microseconds, tzinfo=UTC)
    except ValueError:
        reader.fault(f"{view}: expected a capture time, got {octets.hex()}, which is ignored")
        return None
