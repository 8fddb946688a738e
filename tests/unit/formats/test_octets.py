import pytest

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.formats.octets import MAX_FIELDS, MAX_NOTES, Field, OctetReader, check_range


def test_numbers_are_big_endian_and_traced() -> None:
    trace: list[Field] = []
    reader = OctetReader(bytes.fromhex("0102 ff"), trace=trace)
    assert reader.number("first", 2) == 0x0102
    assert reader.octets("second", 1) == b"\xff"
    assert trace == [Field(0, 2, "first", "258"), Field(2, 1, "second", "1 octets")]
    assert reader.remaining == 0


def test_a_part_ends_where_it_was_told_and_shares_notes() -> None:
    reader = OctetReader(bytes(range(6)), strict=False)
    part = reader.part("view", 4)
    assert reader.octets("rest", 2) == b"\x04\x05"
    assert part.octets("start", 3) == b"\x00\x01\x02"
    with pytest.raises(RecordFormatError, match=r"^more: expected 2 octets at offset 3, got 1; the record is cut off$"):
        part.number("more", 2)
    part.end("view")
    assert reader.notes == ["view: expected to end at octet 3, got 1 more, which are ignored"]


def test_a_fault_ends_strict_reading_only() -> None:
    with pytest.raises(RecordFormatError, match=r"^broken$"):
        OctetReader(b"").fault("broken")
    lenient = OctetReader(b"", strict=False)
    for _ in range(MAX_NOTES + 5):
        lenient.fault("broken")
    assert lenient.notes == ["broken"] * MAX_NOTES


def test_bounds_hold_before_anything_is_read() -> None:
    with pytest.raises(RecordFormatError, match="at most 3 octets, got 4"):
        OctetReader(bytes(4), max_bytes=3)
    with pytest.raises(InvalidInputError, match="expected bytes, got str"):
        OctetReader("FMR")  # type: ignore[arg-type]
    with pytest.raises(RecordFormatError, match="at most 2, got 3"):
        OctetReader(b"\x03").count("blocks", 1, 2)


def test_a_trace_has_an_end() -> None:
    trace: list[Field] = []
    reader = OctetReader(bytes(MAX_FIELDS + 9), trace=trace)
    for _ in range(MAX_FIELDS + 9):
        reader.number("octet", 1)
    assert len(trace) == MAX_FIELDS


@pytest.mark.parametrize(("value", "allowed"), [(0, True), (255, True), (-1, False), (256, False)])
def test_a_number_to_write_must_be_in_range(value: int, allowed: bool) -> None:
    if allowed:
        check_range("number", value, 0, 255)
    else:
        with pytest.raises(InvalidInputError, match=rf"^number: expected 0\.\.255, got {value}$"):
            check_range("number", value, 0, 255)
