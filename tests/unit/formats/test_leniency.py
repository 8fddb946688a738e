"""What is commonly wrong in the field: refused when strict, repaired and noted when not."""

import numpy as np
import pytest

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.fingers import FingerPosition, Impression, Minutiae
from biometrik.formats import ansi378, catalogue, iso19794_2, iso19794_2_card
from biometrik.formats.iso19794_2_card import CardSize
from biometrik.formats.minutiae_record import (
    Extension,
    MinutiaeRecord,
    MinutiaeView,
    Raster,
    RecordFormat,
    RidgeCounts,
    Singularity,
    SingularityKind,
)

ISO_2005, ISO_2011 = RecordFormat.ISO_19794_2_2005, RecordFormat.ISO_19794_2_2011
ANSI_2004, ANSI_2009 = RecordFormat.ANSI_378_2004, RecordFormat.ANSI_378_2009


def record_octets(edition: RecordFormat, *, extended: bool = False) -> bytearray:
    x = np.array([10, 20, 30], np.float32)
    minutiae = Minutiae(x, x, 0 * x, np.array([1, 2, 1], np.uint8), np.full(3, 40, np.uint8), 300, 400)
    extension = Extension(
        RidgeCounts(1, np.array([[1, 2, 3]], np.uint8)), (Singularity(SingularityKind.CORE, 5.0, 6.0, (0.0,)),)
    )
    view = MinutiaeView(
        minutiae, Raster(300, 400), FingerPosition.RIGHT_INDEX, extension=extension if extended else Extension()
    )
    return bytearray(catalogue.write_minutiae(MinutiaeRecord((view,)), edition))


def patched(edition: RecordFormat, at: int, octets: bytes, *, extended: bool = False) -> bytes:
    data = record_octets(edition, extended=extended)
    data[at : at + len(octets)] = octets
    return bytes(data)


def read_both(edition: RecordFormat, data: bytes, words: str) -> MinutiaeRecord:
    """Return the lenient reading of a record that strict reading refuses with these words."""
    read = iso19794_2.read if edition in (ISO_2005, ISO_2011) else ansi378.read
    with pytest.raises(RecordFormatError, match=words):
        read(data)
    record = read(data, strict=False)
    assert any(words in note for note in record.notes), record.notes
    return record


@pytest.mark.parametrize("edition", [ISO_2005, ISO_2011, ANSI_2004, ANSI_2009], ids=lambda edition: edition.value)
def test_octets_behind_the_record(edition: RecordFormat) -> None:
    record = read_both(edition, bytes(record_octets(edition)) + b"\0\0", "record length")
    assert len(record.views[0].minutiae) == 3
    assert len(record.notes) == 2


@pytest.mark.parametrize("edition", [ISO_2005, ISO_2011, ANSI_2004, ANSI_2009], ids=lambda edition: edition.value)
def test_minutiae_that_are_cut_off(edition: RecordFormat) -> None:
    record = read_both(edition, bytes(record_octets(edition)[:-6]), "record length")
    assert record.views[0].minutiae.x.tolist() == [10.0, 20.0]
    assert any("the octets of 2" in note for note in record.notes)


@pytest.mark.parametrize(
    ("edition", "at"), [(ISO_2005, 18), (ISO_2011, 15 + 25), (ANSI_2004, 20), (ANSI_2009, 21 + 12)]
)
def test_no_resolution_is_taken_as_500_ppi(edition: RecordFormat, at: int) -> None:
    shift = -4 if edition is ISO_2011 else 0
    record = read_both(edition, patched(edition, at + shift, bytes(4)), "resolution")
    assert record.views[0].raster.x_per_cm == 197
    assert record.views[0].minutiae.x.tolist() == [10.0, 20.0, 30.0]


def test_one_resolution_is_taken_for_both() -> None:
    record = read_both(ISO_2005, patched(ISO_2005, 18, bytes([1, 138, 0, 0])), "resolution")
    assert (record.views[0].raster.x_per_cm, record.views[0].raster.y_per_cm) == (394, 394)


def test_no_image_size_grows_to_the_minutiae() -> None:
    record = read_both(ISO_2005, patched(ISO_2005, 14, bytes(4)), "image size")
    assert (record.views[0].minutiae.width_px, record.views[0].minutiae.height_px) == (31, 31)


def test_minutiae_outside_of_the_image_make_it_larger() -> None:
    record = read_both(ISO_2005, patched(ISO_2005, 14, bytes([0, 25])), "inside of the 25 × 400 image")
    assert record.views[0].raster.width_px == 31
    assert iso19794_2.read(iso19794_2.write(record)).views[0].minutiae.x.tolist() == [10.0, 20.0, 30.0]


@pytest.mark.parametrize(
    ("at", "octets", "words"),
    [
        (24, b"\x63", "finger position"),
        (25, b"\x05", "impression type"),
        (26, b"\xc8", "quality 0..100"),
        (33, b"\x65", "minutia quality"),
        (33, b"\xff", "minutia quality"),
        (28, b"\xc0", "minutia types"),
        (30, b"\x80", "reserved bits"),
    ],
)
def test_reserved_codes_of_2005(at: int, octets: bytes, words: str) -> None:
    record = read_both(ISO_2005, patched(ISO_2005, at, octets), words)
    assert len(record.views[0].minutiae) == 3


def test_what_reserved_codes_are_read_as() -> None:
    data = record_octets(ISO_2005)
    data[24], data[25], data[26], data[28], data[33] = 99, 0x15, 200, 0xC0, 101
    (view,) = iso19794_2.read(bytes(data), strict=False).views
    assert (view.position, view.impression, view.number) == (FingerPosition.UNKNOWN, Impression.LIVE_PLAIN, 1)
    assert view.qualities == ()
    assert view.minutiae.kind.tolist() == [0, 2, 1]
    assert view.minutiae.quality.tolist() == [0, 40, 40]


def test_a_slap_thumb_in_a_minutiae_record_keeps_its_meaning() -> None:
    record = read_both(ISO_2005, patched(ISO_2005, 24, b"\x0b"), "finger position")
    assert record.views[0].position is FingerPosition.PLAIN_RIGHT_THUMB


def test_254_and_255_are_unknown_quality_since_2009_only() -> None:
    data = record_octets(ANSI_2009)
    data[21 + 17 + 5] = 254
    data[21 + 17 + 11] = 255
    record = ansi378.read(bytes(data))
    assert record.views[0].minutiae.quality.tolist() == [0, 0, 40]


def test_angles_beyond_179_steps_in_ansi() -> None:
    record = read_both(ANSI_2004, patched(ANSI_2004, 26 + 4 + 4, b"\xb4"), "angles below 180")
    assert record.views[0].minutiae.direction[0] == 0.0


def test_no_view_although_octets_follow() -> None:
    record = read_both(ISO_2005, patched(ISO_2005, 22, b"\0"), "number of views")
    assert len(record.views) == 1


def test_more_views_than_there_are() -> None:
    record = read_both(ISO_2005, patched(ISO_2005, 22, b"\x03"), "number of views")
    assert len(record.views) == 1


def test_no_length_of_extended_data() -> None:
    data = record_octets(ISO_2005)[:-2]
    data[11] -= 2
    record = read_both(ISO_2005, bytes(data), "length of extended data")
    assert len(record.views[0].minutiae) == 3


def test_a_damaged_block_is_kept_as_it_is() -> None:
    start = 24 + 4 + 18
    for at, words in ((start + 5, "extended data"), (start + 2 + 8 + 4, "extended data of type 2")):
        data = record_octets(ISO_2005, extended=True)
        data[at] += 1
        record = read_both(ISO_2005, bytes(data), words)
        assert len(record.views[0].minutiae) == 3
    assert [block.type_id for block in record.views[0].extension.opaque] == [2]


def test_an_unknown_impression_of_2011_is_allowed_and_said() -> None:
    data = record_octets(ISO_2011)
    place = data.index(bytes.fromhex("00c5 00c5 00")) + 4
    data[place] = 29
    record = iso19794_2.read(bytes(data))
    assert record.views[0].impression is Impression.LIVE_PLAIN
    assert "29" in record.notes[0]
    for code in (4, 5, 6, 7):
        data[place] = code
        latent = iso19794_2.read(bytes(data))
        assert latent.views[0].impression is Impression.LATENT
        assert iso19794_2.write(latent, ISO_2011)[place] == 7
    data[place] = 9
    assert iso19794_2.read(bytes(data)).views[0].impression is Impression.LIVE_ROLLED


@pytest.mark.parametrize(
    ("at", "octets", "words"),
    [
        (19, bytes.fromhex("07e8 0d 06 07 08 09 000a"), "capture time"),
        (14, b"\x02", "certification flag"),
        (15, bytes.fromhex("00000001"), "octets behind its length"),
    ],
)
def test_faults_of_2011(at: int, octets: bytes, words: str) -> None:
    data = patched(ISO_2011, at, octets)
    with pytest.raises(RecordFormatError, match=words):
        iso19794_2.read(data)


def test_a_time_that_is_none_is_left_out() -> None:
    data = patched(ISO_2011, 19, bytes.fromhex("07e8 0d 06 07 08 09 000a"))
    assert iso19794_2.read(data, strict=False).views[0].captured_at is None
    half = patched(ISO_2011, 19, bytes.fromhex("07e8 0c 06 ff ff ff ffff"))
    captured = iso19794_2.read(half).views[0].captured_at
    assert captured is not None
    assert captured.isoformat() == "2024-12-06T00:00:00+00:00"


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "format and version"),
        (b"FMR\0 30\0", "expected FMR 20 or FMR 030"),
        (b"FMR\0 20\0" + bytes(9), "record length|cut off"),
        (patched(ISO_2005, 18, b"\x7f\xff"), "pixels a centimetre"),
        (patched(ISO_2005, 14, b"\x7f\xff"), "raster width"),
        (patched(ISO_2011, 12, b"\x01\x00"), "number of views"),
        (bytes(2 << 20), "at most 1048576"),
    ],
)
def test_what_nobody_can_repair(data: bytes, words: str, strict: bool) -> None:
    with pytest.raises(RecordFormatError, match=words):
        iso19794_2.read(data, strict=strict)


def test_places_beyond_4095_pixels_at_500_ppi_are_refused() -> None:
    data = patched(ISO_2005, 14, bytes.fromhex("3fff 3fff 00c5 00c5"))
    with pytest.raises(RecordFormatError, match=r"view 1: size: expected 1\.\.4096"):
        iso19794_2.read(data, strict=False)


def test_a_card_with_octets_left_over() -> None:
    for data, words in ((bytes(7), "1 more"), (bytes([1, 2, 0xC0]), "types 0..2")):
        with pytest.raises(RecordFormatError, match=words):
            iso19794_2_card.read(data, CardSize.COMPACT)
        assert iso19794_2_card.read(data, CardSize.COMPACT, strict=False).kind.tolist() == [0] * (len(data) // 3)
    with pytest.raises(RecordFormatError, match="reserved bits"):
        iso19794_2_card.read(bytes([0, 1, 0x80, 1, 0]), CardSize.NORMAL)
    with pytest.raises(RecordFormatError, match="at most"):
        iso19794_2_card.read(bytes(3 * 256), CardSize.COMPACT)


def test_another_standards_edition_is_refused() -> None:
    record = iso19794_2.read(bytes(record_octets(ISO_2005)))
    with pytest.raises(InvalidInputError, match="ISO/IEC 19794-2"):
        iso19794_2.write(record, ANSI_2004)
    with pytest.raises(InvalidInputError, match="ANSI INCITS 378"):
        ansi378.write(record, ISO_2005)
    with pytest.raises(RecordFormatError, match="FMR 035"):
        ansi378.read(b"FIR\x00010\0")
