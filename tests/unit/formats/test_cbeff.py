from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.fingers import FingerPosition
from biometrik.formats import cbeff
from biometrik.formats.cbeff import Bir, BirRecord, Level, Purpose

#: As MOSIP's published documentation shows it, with other values.
MOSIP = b"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<BIR xmlns="http://standards.iso.org/iso-iec/19785/-3/ed-2/">
    <BIRInfo><Integrity>false</Integrity></BIRInfo>
    <!-- right index finger -->
    <BIR>
        <Version><Major>1</Major><Minor>1</Minor></Version>
        <CBEFFVersion><Major>1</Major><Minor>1</Minor></CBEFFVersion>
        <BIRInfo><Integrity>false</Integrity></BIRInfo>
        <BDBInfo>
            <Index>01234567-89ab-cdef-0123-456789abcdef</Index>
            <Format><Organization>Mosip</Organization><Type>7</Type></Format>
            <CreationDate>2024-05-06T07:08:09.987808900Z</CreationDate>
            <Type>Finger</Type>
            <Subtype>Right
                IndexFinger</Subtype>
            <Level>Raw</Level>
            <Purpose>Enroll</Purpose>
            <Quality>
                <Algorithm><Organization>HMAC</Organization><Type>SHA-256</Type></Algorithm>
                <Score>94</Score>
            </Quality>
        </BDBInfo>
        <BDB>
            RklS
            ADAx
        </BDB>
        <SB>c2lnbmF0dXJl</SB>
        <others><entry key="SPEC_VERSION">0.9.5</entry><entry key="RETRIES">1</entry></others>
    </BIR>
    <BIR>
        <BIRInfo><Integrity>false</Integrity></BIRInfo>
        <BDBInfo><Format><Organization>Mosip</Organization><Type>8</Type></Format><Type>Face</Type></BDBInfo>
        <BDB>RkFD</BDB>
    </BIR>
</BIR>"""

#: The older form of the same.
OLD = b"""<BIR xmlns="http://docs.oasis-open.org/bias/ns/biaspatronformat-1.0/"><BIR><BDBInfo>
<FormatOwner>257</FormatOwner><FormatType>2</FormatType><CreationDate>2018-12-18T12:18:35.667+05:30</CreationDate>
<Type>Finger</Type><Subtype>Left IndexFinger MiddleFinger RingFinger LittleFinger</Subtype>
<Level>Processed</Level><Purpose>Verify</Purpose><Quality>90</Quality></BDBInfo><BDB>Rk1S</BDB></BIR></BIR>"""


BLOCK = b"<BIR><BDBInfo><FormatOwner>257</FormatOwner><FormatType>2</FormatType></BDBInfo><BDB/></BIR>"


def test_a_document_as_mosip_documents_it() -> None:
    record = cbeff.read(MOSIP)
    finger, face = record.birs
    assert record.notes == ()
    assert finger == Bir(
        b"FIR\x0001",
        "Mosip",
        "7",
        "Finger",
        "Right IndexFinger",
        Level.RAW,
        Purpose.ENROLL,
        94,
        ("HMAC", "SHA-256"),
        datetime(2024, 5, 6, 7, 8, 9, 987_808, tzinfo=UTC),
        "01234567-89ab-cdef-0123-456789abcdef",
        (("SPEC_VERSION", "0.9.5"), ("RETRIES", "1")),
    )
    assert finger.position is FingerPosition.RIGHT_INDEX
    assert (face.modality, face.format_type, face.level, face.quality) == ("Face", "8", None, None)


def test_the_older_form_is_read_too() -> None:
    (slap,) = cbeff.read(OLD).birs
    assert (slap.format_owner, slap.format_type, slap.quality, slap.level) == ("257", "2", 90, Level.PROCESSED)
    assert slap.created_at == datetime(2018, 12, 18, 6, 48, 35, 667_000, tzinfo=UTC)
    assert slap.position is FingerPosition.UNKNOWN  # four of them


TEXT = st.text(
    st.characters(blacklist_categories=["Cs", "Cc", "Cf", "Co", "Cn", "Zl", "Zp", "Zs"], whitelist_characters="&<>\"'"),
    max_size=20,
)


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(max_size=200),
    words=st.lists(TEXT, min_size=3, max_size=3),
    level=st.sampled_from([None, *Level]),
    purpose=st.sampled_from([None, *Purpose]),
    quality=st.none() | st.integers(0, 100),
    created_at=st.none() | st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
    count=st.integers(1, 3),
)
def test_blocks_are_read_as_they_were_written(
    data: bytes,
    words: list[str],
    level: Level | None,
    purpose: Purpose | None,
    quality: int | None,
    created_at: datetime | None,
    count: int,
) -> None:
    bir = Bir(
        data,
        subtype=words[0],
        level=level,
        purpose=purpose,
        quality=quality,
        quality_algorithm=(words[1], words[2]) if quality is not None else ("", ""),
        created_at=created_at.replace(tzinfo=UTC) if created_at else None,
        others=((words[1], words[2]),),
    )
    assert cbeff.read(cbeff.write(BirRecord((bir,) * count))) == BirRecord((bir,) * count)


def test_elements_are_written_in_the_order_of_the_schema() -> None:
    bir = Bir(b"x", index="i", subtype="Left Thumb", quality=5, created_at=datetime(2024, 1, 1, tzinfo=UTC))
    root = ElementTree.fromstring(cbeff.write(BirRecord((bir,))))
    assert root.tag == f"{{{cbeff.NAMESPACE}}}BIR"
    names = [child.tag.rpartition("}")[2] for child in root[1]]
    assert names == ["Version", "CBEFFVersion", "BIRInfo", "BDBInfo", "BDB"]
    info = [child.tag.rpartition("}")[2] for child in root[1][3]]
    assert info == ["Index", "Format", "CreationDate", "Type", "Subtype", "Level", "Purpose", "Quality"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"<Level>Raw", b"<Level>Cooked", "Level: expected one of"),
        (b"<Purpose>Enroll", b"<Purpose>Fun", "Purpose: expected one of"),
        (b"<Score>94", b"<Score>101", "Quality: expected 0..100"),
        (b"<Score>94", b"<Score>-1", "Quality: expected 0..100"),
        (b"2024-05-06T", b"yesterday ", "CreationDate"),
        (b"<Type>7<", b"<Type><", "a format's owner and type"),
        (b"RkFD", b"R!FD", "BDB: expected base64"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_noted(old: bytes, new: bytes, words: str) -> None:
    document = MOSIP.replace(old, new, 1)
    with pytest.raises(RecordFormatError, match=words):
        cbeff.read(document)
    record = cbeff.read(document, strict=False)
    assert words in record.notes[0]
    assert record.birs[0].data == b"FIR\x0001"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"<html/>", "expected a BIR, got 'html'"),
        (b"<BIR/>", "expected a BIR with data"),
        (b"<BIR>" + BLOCK * 65 + b"</BIR>", "at most 64 blocks"),
        (b"<!DOCTYPE BIR><BIR/>", "document type"),
    ],
)
def test_other_documents_are_refused(document: bytes, words: str) -> None:
    with pytest.raises(RecordFormatError, match=words):
        cbeff.read(document)
    with pytest.raises(RecordFormatError, match="at most 100 octets"):
        cbeff.read(MOSIP, max_bytes=100)


@pytest.mark.parametrize("position", [p for p in FingerPosition if p <= FingerPosition.LEFT_LITTLE])
def test_every_finger_has_its_words(position: FingerPosition) -> None:
    assert Bir(b"", subtype=cbeff.subtype_of(position)).position is position


def test_several_fingers_have_no_single_word() -> None:
    with pytest.raises(InvalidInputError, match="a BIR each"):
        cbeff.subtype_of(FingerPosition.PLAIN_RIGHT_FOUR)
    assert Bir(b"", subtype="Left Right Thumb").position is FingerPosition.UNKNOWN
    assert Bir(b"", subtype="Thumb").position is FingerPosition.UNKNOWN


def test_the_simple_binary_form() -> None:
    bir = Bir(b"FMR", "257", "2", modality="", level=None, purpose=None)
    octets = cbeff.write_simple(bir)
    assert octets == bytes.fromhex("0101 0002 00 00") + b"FMR"
    assert cbeff.read_simple(octets) == bir


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(5), "expected 6"),
        (bytes.fromhex("0101 0002 01 00"), "plain data"),
        (bytes.fromhex("0101 0002 00 01"), "plain data"),
        (bytes(101), r"6\.\.100 octets"),
    ],
)
def test_simple_records_that_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(RecordFormatError, match=words):
        cbeff.read_simple(data, max_bytes=100)


def test_values_that_no_document_can_hold_are_refused() -> None:
    for build in (
        lambda: Bir(b"", quality=101),
        lambda: Bir(b"", created_at=datetime(2024, 1, 1)),
        lambda: Bir(b"", subtype="a\0b"),
        lambda: Bir(b"", index="x" * 300),
        lambda: cbeff.write(BirRecord(())),
        lambda: cbeff.write(BirRecord((Bir(b""),) * 65)),
        lambda: cbeff.write(BirRecord((Bir(b"", others=(("a", "b"),) * 2048),))),
        lambda: cbeff.write_simple(Bir(b"", format_owner="Mosip")),
        lambda: cbeff.write_simple(Bir(b"", format_type="70000")),
        lambda: cbeff.read_simple("text"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInputError, match="expected"):
            build()
