"""Biometric information records (CBEFF, ISO/IEC 19785): the XML form that MOSIP uses, and a minimal binary form.

A BIR carries one block of biometric data, in whatever format, with what it is, for what and how good. The XML form is
a tree: an outer ``BIR`` that has no data, and one ``BIR`` a sample. It is written in the second edition's namespace
and read in any, with the older form's ``FormatOwner``, ``FormatType`` and plain ``Quality``, too. The XML form was
written after MOSIP's published schema; no record that MOSIP made was at hand to check it against.

The binary form is that of ISO/IEC 19785-3 called *minimum simple byte-oriented*: owner and type of the data's format,
two octets that say how they are encrypted and protected, and the data. It was written from memory of the clause, with
no implementation to compare with, and so only what needs no code table is accepted: plain data.

References
----------
ISO/IEC 19785-1:2015, clause 6; ISO/IEC 19785-3:2015; OASIS BIAS 2.0, schema ``cbeff_ed2.xsd``.
"""

import base64
import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final, TypeVar
from xml.sax.saxutils import escape, quoteattr

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.fingers import FingerPosition
from biometrik.formats.octets import MAX_NOTES, check_range
from biometrik.formats.xml_elements import MAX_ELEMENTS, Element, read_elements

NAMESPACE: Final = "http://standards.iso.org/iso-iec/19785/-3/ed-2/"
#: The owner of ISO's own data formats, and their types.
ISO_OWNER: Final = 257
FINGER_MINUTIAE: Final = 2
FINGER_IMAGE: Final = 7
FACE_IMAGE: Final = 8
#: Longest document or record by default, octets.
MAX_BIR_BYTES: Final = 32 << 20
E = TypeVar("E", bound=Enum)
_SIMPLE: Final = struct.Struct(">HHBB")
#: Longest word or identifier, characters.
_MAX_TEXT: Final = 256
#: Most blocks of a document: ten fingers, two irises and a face, several times over.
_MAX_BIRS: Final = 64
_FINGERS: Final = {
    "Thumb": (FingerPosition.RIGHT_THUMB, FingerPosition.LEFT_THUMB),
    "IndexFinger": (FingerPosition.RIGHT_INDEX, FingerPosition.LEFT_INDEX),
    "MiddleFinger": (FingerPosition.RIGHT_MIDDLE, FingerPosition.LEFT_MIDDLE),
    "RingFinger": (FingerPosition.RIGHT_RING, FingerPosition.LEFT_RING),
    "LittleFinger": (FingerPosition.RIGHT_LITTLE, FingerPosition.LEFT_LITTLE),
}


class Level(Enum):
    """How far the data are processed."""

    RAW = "Raw"
    INTERMEDIATE = "Intermediate"
    PROCESSED = "Processed"


class Purpose(Enum):
    """What the data are for."""

    VERIFY = "Verify"
    IDENTIFY = "Identify"
    ENROLL = "Enroll"
    ENROLL_VERIFY = "EnrollVerify"
    ENROLL_IDENTIFY = "EnrollIdentify"
    AUDIT = "Audit"


@dataclass(frozen=True, slots=True)
class Bir:
    """One block of biometric data and what is said of it.

    Parameters
    ----------
    data : bytes
        The block, in the format that ``format_owner`` and ``format_type`` name.
    format_owner, format_type : str
        Registered identifiers; numbers as text, but MOSIP also writes its name for the owner.
    modality : str
        ``Finger``, ``Face``, ``Iris`` …; "" where it is not said.
    subtype : str
        Which one, in words: ``Right IndexFinger``; "" where it is not said. See :attr:`position`.
    level : Level or None
        None where it is not said.
    purpose : Purpose or None
        None where it is not said.
    quality : int or None
        0..100; None where it is not said or could not be computed.
    quality_algorithm : (str, str)
        Organization and type of the algorithm.
    created_at : datetime or None
        UTC; None where it is not said.
    index : str
        The block's own identifier, a UUID; "" where there is none.
    others : tuple of (str, str)
        Keys and values that MOSIP adds.
    """

    data: bytes
    format_owner: str = str(ISO_OWNER)
    format_type: str = str(FINGER_IMAGE)
    modality: str = "Finger"
    subtype: str = ""
    level: Level | None = Level.RAW
    purpose: Purpose | None = Purpose.ENROLL
    quality: int | None = None
    quality_algorithm: tuple[str, str] = ("", "")
    created_at: datetime | None = None
    index: str = ""
    others: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.quality is not None:
            check_range("quality", self.quality, 0, 100)
        if self.created_at is not None and self.created_at.tzinfo is None:
            raise InvalidInputError("created_at: expected a time with a zone, got one without; use timezone.utc")
        texts = (self.format_owner, self.format_type, self.modality, self.subtype, self.index, *self.quality_algorithm)
        for text in (*texts, *(word for pair in self.others for word in pair)):
            if len(text) > _MAX_TEXT or not text.isprintable():
                raise InvalidInputError(f"text: expected at most {_MAX_TEXT} printable characters, got others")

    @property
    def position(self) -> FingerPosition:
        """The one finger that ``subtype`` names, UNKNOWN where it names none or several.

        Examples
        --------
        >>> Bir(b"", subtype="Right IndexFinger").position.name
        'RIGHT_INDEX'
        """
        words = self.subtype.split()
        fingers = [_FINGERS[word] for word in words if word in _FINGERS]
        if len(fingers) != 1 or ("Left" in words) == ("Right" in words):
            return FingerPosition.UNKNOWN
        return fingers[0]["Left" in words]


@dataclass(frozen=True, slots=True)
class BirRecord:
    """The blocks of a document.

    Parameters
    ----------
    birs : tuple of Bir
        In the document's order.
    notes : tuple of str
        What lenient reading repaired.
    """

    birs: tuple[Bir, ...]
    notes: tuple[str, ...] = ()


def subtype_of(position: FingerPosition) -> str:
    """Return a finger in the words of CBEFF; "" for an unknown one.

    Raises
    ------
    InvalidInputError
        Several fingers.

    Examples
    --------
    >>> subtype_of(FingerPosition.LEFT_RING)
    'Left RingFinger'
    """
    if position is FingerPosition.UNKNOWN:
        return ""
    for word, (right, left) in _FINGERS.items():
        if position in (right, left):
            return f"{'Right' if position is right else 'Left'} {word}"
    raise InvalidInputError(f"position: expected one finger, got {position.name}; write a BIR each")


def read(data: bytes, *, strict: bool = True, max_bytes: int = MAX_BIR_BYTES) -> BirRecord:
    """Return the blocks of an XML document.

    Parameters
    ----------
    data : bytes
        UTF-8; see :mod:`biometrik.formats.xml_elements` for what is refused.
    strict : bool
        Whether a document that breaks a rule is refused. If not, words that CBEFF does not have, times, qualities and
        blocks that cannot be read are left out and noted.
    max_bytes : int
        Longest document.

    Raises
    ------
    RecordFormatError
        Not such a document, or a broken rule (strict).
    """
    reader = _BirReader(strict)
    root = read_elements(data, max_bytes=max_bytes)
    if root.name not in ("BIR", "BIRs"):
        raise RecordFormatError(f"document: expected a BIR, got {root.name!r}")
    birs: list[Bir] = []
    for element in _walk(root):
        bir = reader.bir(element)
        if bir is not None:
            birs.append(bir)
        if len(birs) > _MAX_BIRS:
            raise RecordFormatError(f"document: expected at most {_MAX_BIRS} blocks, got more; split it")
    if not birs:
        reader.fault("document: expected a BIR with data, got none")
    return BirRecord(tuple(birs), tuple(reader.notes))


def write(record: BirRecord) -> bytes:
    """Return blocks as an XML document, in the form and namespace of the second edition.

    Raises
    ------
    InvalidInputError
        No block, more than 64, or more elements than :func:`read` accepts.

    Examples
    --------
    >>> octets = write(BirRecord((Bir(b"FIR", subtype="Left Thumb", quality=80),)))
    >>> read(octets).birs[0].position.name
    'LEFT_THUMB'
    """
    blocks = "".join(_bir_xml(bir) for bir in record.birs)
    info = "<BIRInfo><Integrity>false</Integrity></BIRInfo>"
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<BIR xmlns="{NAMESPACE}">{info}{blocks}</BIR>\n'
    if not 1 <= len(record.birs) <= _MAX_BIRS or text.count("</") > MAX_ELEMENTS:
        raise InvalidInputError(f"blocks: expected 1..{_MAX_BIRS} of few elements, got {len(record.birs)}; split them")
    return text.encode()


def read_simple(data: bytes, *, max_bytes: int = MAX_BIR_BYTES) -> Bir:
    """Return the block of a binary record in the minimum simple byte-oriented form.

    Raises
    ------
    RecordFormatError
        Too short or too long, or data that are encrypted or protected.

    Examples
    --------
    >>> read_simple(bytes([1, 1, 0, 2, 0, 0]) + b"FMR").format_type
    '2'
    """
    if not isinstance(data, bytes):
        raise InvalidInputError(f"record: expected bytes, got {type(data).__name__}")
    if not _SIMPLE.size <= len(data) <= max_bytes:
        raise RecordFormatError(f"record: expected {_SIMPLE.size}..{max_bytes} octets, got {len(data)}")
    owner, kind, encryption, integrity = _SIMPLE.unpack_from(data)
    if encryption or integrity:
        raise RecordFormatError(f"record: expected plain data, got options {encryption}, {integrity}; unprotect them")
    return Bir(data[_SIMPLE.size :], str(owner), str(kind), modality="", level=None, purpose=None)


def write_simple(bir: Bir) -> bytes:
    """Return a block as a binary record: its format and its data, and nothing else.

    Raises
    ------
    InvalidInputError
        The format's owner or type is not a number of 16 bits.
    """
    numbers = []
    for name, text in (("format owner", bir.format_owner), ("format type", bir.format_type)):
        if not (text.isascii() and text.isdecimal() and int(text) <= 0xFFFF):
            raise InvalidInputError(f"{name}: expected 0..65535, got {text!r}")
        numbers.append(int(text))
    return _SIMPLE.pack(*numbers, 0, 0) + bir.data


class _BirReader:
    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.notes: list[str] = []

    def fault(self, message: str) -> None:
        if self.strict:
            raise RecordFormatError(message)
        if len(self.notes) < MAX_NOTES:
            self.notes.append(message)

    def bir(self, element: Element) -> Bir | None:
        block = element.first("BDB")
        if block is None:
            return None
        try:
            data = base64.b64decode(block.octets.translate(None, b" \t\r\n"), validate=True)
        except binascii.Error:
            self.fault("BDB: expected base64, got other text; left out")
            return None
        info = element.first("BDBInfo") or Element("BDBInfo", {})
        owner = info.first_text("Format", "Organization") or info.first_text("FormatOwner")
        kind = info.first_text("Format", "Type") or info.first_text("FormatType")
        if not owner or not kind:
            self.fault("BDBInfo: expected a format's owner and type, got none; taken as not known")
        return Bir(
            data,
            _short(owner),
            _short(kind),
            _short(info.first_text("Type")),
            _short(" ".join(info.first_text("Subtype").split())),
            self._word(Level, info.first_text("Level")),
            self._word(Purpose, info.first_text("Purpose")),
            self._quality(info),
            (
                _short(info.first_text("Quality", "Algorithm", "Organization")),
                _short(info.first_text("Quality", "Algorithm", "Type")),
            ),
            self._time(info.first_text("CreationDate")),
            _short(info.first_text("Index")),
            tuple(_others(element)),
        )

    def _word(self, words: type[E], text: str) -> E | None:
        if not text:
            return None
        try:
            return words(text)
        except ValueError:
            self.fault(f"{words.__name__}: expected one of {[word.value for word in words]}, got {text[:32]!r}")
            return None

    def _quality(self, info: Element) -> int | None:
        text = info.first_text("Quality", "Score") or info.first_text("Quality")
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) <= 100):
            self.fault(f"Quality: expected 0..100, got {text[:32]!r}; left out")
            return None
        return int(text)

    def _time(self, text: str) -> datetime | None:
        if not text:
            return None
        try:
            time = datetime.fromisoformat(text)
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fault(f"CreationDate: expected a date and time of ISO 8601, got {text[:32]!r}; left out")
            return None


def _walk(root: Element) -> Iterator[Element]:
    yield root
    for child in root.children:
        if child.name == "BIR":
            yield from _walk(child)


def _others(element: Element) -> Iterator[tuple[str, str]]:
    for entry in [entry for others in element.all("others") for entry in others.all("entry")]:
        yield _short(entry.attributes.get("key", "")), _short(entry.text)


def _short(text: str) -> str:
    # Words and identifiers, not novels; what cannot be printed cannot be written again.
    return "".join(character for character in text[:_MAX_TEXT] if character.isprintable())


def _bir_xml(bir: Bir) -> str:
    version = "<Major>1</Major><Minor>1</Minor>"
    quality = "" if bir.quality is None else _tag("Score", str(bir.quality))
    algorithm = _registered("Algorithm", *bir.quality_algorithm)
    others = "".join(f"<entry key={quoteattr(key)}>{escape(value)}</entry>" for key, value in bir.others)
    # The order is the schema's.
    info = (
        _tag("Index", bir.index)
        + _registered("Format", bir.format_owner, bir.format_type)
        + _tag("CreationDate", bir.created_at.astimezone(UTC).isoformat() if bir.created_at else "")
        + _tag("Type", bir.modality)
        + _tag("Subtype", bir.subtype)
        + _tag("Level", bir.level.value if bir.level else "")
        + _tag("Purpose", bir.purpose.value if bir.purpose else "")
        + (f"<Quality>{algorithm}{quality}</Quality>" if quality else "")
    )
    return (
        f"<BIR><Version>{version}</Version><CBEFFVersion>{version}</CBEFFVersion>"
        "<BIRInfo><Integrity>false</Integrity></BIRInfo>"
        f"<BDBInfo>{info}</BDBInfo><BDB>{base64.b64encode(bir.data).decode()}</BDB>"
        + (f"<others>{others}</others>" if others else "")
        + "</BIR>"
    )


def _tag(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>" if text else ""


def _registered(name: str, organization: str, kind: str) -> str:
    return f"<{name}><Organization>{escape(organization)}</Organization><Type>{escape(kind)}</Type></{name}>"
