"""Codes of a finger view that records share: which finger, how taken, how good, by which device.

Impression codes differ between editions; every table here reads to :class:`~biometrik.fingers.Impression` and back.
"""

from collections.abc import Callable, Mapping
from typing import Final

from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition, Impression
from biometrik.formats.minutiae_octets import FAILED, UNREPORTED
from biometrik.formats.minutiae_record import CaptureDevice, SampleQuality
from biometrik.formats.octets import OctetReader

#: ISO/IEC 19794-2:2005, table 4; 19794-4:2005, table 7; ANSI INCITS 378-2004, table 7, which adds 9.
IMPRESSIONS_2005: Final[Mapping[int, Impression]] = {code.value: code for code in Impression}
#: ISO/IEC 19794-2:2011 and 19794-4:2011. Palm codes are not fingers.
IMPRESSIONS_2011: Final[Mapping[int, Impression]] = {
    0: Impression.LIVE_PLAIN,
    1: Impression.LIVE_ROLLED,
    2: Impression.NONLIVE_PLAIN,
    3: Impression.NONLIVE_ROLLED,
    7: Impression.LATENT,
    4: Impression.LATENT,
    5: Impression.LATENT,
    6: Impression.LATENT,
    8: Impression.SWIPE,
    9: Impression.LIVE_ROLLED,
    24: Impression.LIVE_CONTACTLESS,
}
#: Codes that say "other" and "not known", for which there is no :class:`Impression`.
_UNTOLD: Final = (28, 29)

#: ISO/IEC 19794-2:2005, table 2: minutiae belong to one finger.
SINGLE_POSITIONS: Final = frozenset(range(11))
#: Every code that :class:`FingerPosition` has.
ALL_POSITIONS: Final = frozenset(position.value for position in FingerPosition)


def read_position(reader: OctetReader, view: str, allowed: frozenset[int]) -> FingerPosition:
    """Return which finger; lenient reading takes a code that is not ``allowed`` as unknown, or as it is meant.

    Raises
    ------
    RecordFormatError
        Another code and the reader is strict, or the record ends.
    """
    code = reader.number(f"{view} finger position", 1, _worded(FingerPosition))
    if code in allowed:
        return FingerPosition(code)
    position = FingerPosition(code) if code in ALL_POSITIONS else FingerPosition.UNKNOWN
    reader.fault(f"{view}: expected a finger position of this format, got {code}; read as {_words(position.name)}")
    return position


def impression_of(reader: OctetReader, view: str, code: int, table: Mapping[int, Impression]) -> Impression:
    """Return how the print was taken; lenient reading takes an unknown code as live-scan plain.

    Raises
    ------
    RecordFormatError
        Another code and the reader is strict.
    """
    if code in table:
        return table[code]
    message = f"{view}: expected an impression type of this format, got {code}; read as live plain"
    if code in _UNTOLD and table is IMPRESSIONS_2011:
        reader.note(message)  # allowed, and not expressible
    else:
        reader.fault(message)
    return Impression.LIVE_PLAIN


def impression_code(impression: Impression, table: Mapping[int, Impression]) -> int:
    """Return an impression's code in a table; where several codes mean it, the first."""
    return next(code for code, meant in table.items() if meant is impression)


def impression_words(table: Mapping[int, Impression]) -> Callable[[int], str]:
    """Return what puts an impression code into words."""
    return _worded(lambda code: table[code])


def quality_of(reader: OctetReader, view: str, score: int, vendor: int = 0, algorithm: int = 0) -> SampleQuality | None:
    """Return a sample's quality, or None where it is not reported.

    Raises
    ------
    RecordFormatError
        A score that no edition has and the reader is strict.
    """
    if score == UNREPORTED:
        return None
    if score > 100 and score != FAILED:
        reader.fault(f"{view}: expected quality 0..100, got {score}, which is read as not reported")
        return None
    return SampleQuality(score if score <= 100 else None, vendor, algorithm)


def read_device_word(reader: OctetReader) -> CaptureDevice:
    """Return the device of a record header before 2009: four bits of compliance, twelve of the vendor's number.

    Raises
    ------
    RecordFormatError
        The record ends.
    """
    word = reader.number("capture device", 2, lambda word: f"compliance {word >> 12}, id {word & 0xFFF}")
    return CaptureDevice(type_id=word & 0xFFF, compliance=word >> 12)


def device_word(device: CaptureDevice) -> int:
    """Return a device as its two octets in record headers before 2009.

    Raises
    ------
    InvalidInputError
        Its type does not fit into twelve bits.
    """
    if device.type_id > 0xFFF:
        raise InvalidInputError(
            f"device type: expected 0..4095 in this edition, got {device.type_id}; write a later one"
        )
    return device.compliance << 12 | device.type_id


def _worded(of: Callable[[int], FingerPosition | Impression]) -> Callable[[int], str]:
    def says(code: int) -> str:
        try:
            return f"{code} {_words(of(code).name)}"
        except (ValueError, KeyError):
            return f"{code} reserved"

    return says


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
