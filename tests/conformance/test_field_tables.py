"""Records written down octet by octet from the clauses' field tables, with synthetic values."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from biometrik.fingers import FingerPosition, FingerprintImage, Impression, Minutiae, MinutiaKind
from biometrik.formats import ansi378, catalogue, iso19794_2, iso19794_2_card, iso19794_4
from biometrik.formats.image_record import ImageCoding, ImageRecord, ImageView
from biometrik.formats.iso19794_2_card import CardOrder, CardSize
from biometrik.formats.minutiae_record import (
    CaptureDevice,
    Certification,
    ExtendedData,
    Extension,
    MinutiaeRecord,
    MinutiaeView,
    Raster,
    RecordFormat,
    RidgeCounts,
    SampleQuality,
    Singularity,
    SingularityKind,
)

#: An ending at (100, 50) upwards, a bifurcation at (200, 399) leftwards, another thing at (0, 0) to the right.
MINUTIAE = Minutiae(
    np.array([100, 200, 0], np.float32),
    np.array([50, 399, 0], np.float32),
    np.array([1.5 * math.pi, math.pi, 0], np.float32),
    np.array([MinutiaKind.ENDING, MinutiaKind.BIFURCATION, MinutiaKind.OTHER], np.uint8),
    np.array([60, 100, 0], np.uint8),
    300,
    400,
)
EXTENSION = Extension(
    RidgeCounts(1, np.array([[1, 2, 9], [2, 3, 4]], np.uint8)),
    (
        Singularity(SingularityKind.CORE, 150.0, 160.0, (1.5 * math.pi,)),
        Singularity(SingularityKind.CORE, 151.0, 170.0),
        Singularity(SingularityKind.DELTA, 80.0, 300.0, (0.0, math.pi, 1.5 * math.pi)),
    ),
    (ExtendedData(0x0101, b"\xca\xfe"),),
)
CAPTURED = datetime(2024, 5, 6, 7, 8, 9, 10_000, tzinfo=UTC)

ISO_2005 = bytes.fromhex(
    "464d5200"  # format identifier, FMR and a null
    "20323000"  # version, " 20" and a null
    "00000057"  # record length: 24 + 4 + 3 * 6 + 2 + 39 = 87
    "8123"  # compliance 8, device 0x123
    "012c 0190"  # image 300 × 400
    "00c5 00c5"  # 197 pixels a centimetre
    "01 00"  # one view, reserved
    "02 11 46 03"  # right index; view 1, live rolled; quality 70; three minutiae
    "4064 0032 40 3c"  # ending, x 100, y 50, 64 of 256, quality 60
    "80c8 018f 80 64"  # bifurcation, x 200, y 399, 128 of 256, quality 100
    "0000 0000 00 00"  # other, quality not reported
    "0027"  # extended data: 11 + 22 + 6 = 39 octets
    "0001 000b 01 010209 020304"  # ridge counts: four neighbours; 1 to 2: 9, 2 to 3: 4
    "0002 0016"  # cores and deltas: 4 + 1 + 5 + 4 + 1 + 7 = 22 octets
    "02 4096 00a0 40 0097 00aa"  # two cores: with an angle, without
    "01 4050 012c 00 80 40"  # one delta with its angles
    "0101 0006 cafe"  # a vendor's
)
ISO_2011 = bytes.fromhex(
    "464d5200 30333000"  # FMR, "030"
    "00000073"  # record length: 15 + 100 = 115
    "0001 01"  # one representation, certification blocks present
    "00000064"  # representation length: 4 + 9 + 5 + 6 + 4 + 7 + 4 + 2 + 18 + 2 + 39 = 100
    "07e8 05 06 07 08 09 000a"  # 2024-05-06 07:08:09.010
    "02 0011 0123"  # device technology 2, vendor 17, type 0x123
    "01 46 000f 0001"  # one quality block: 70 by vendor 15, algorithm 1
    "01 0011 03"  # one certification: authority 17, scheme 3
    "02 01 00c5 00c5 01"  # right index; view 1; 197 pixels a centimetre; live rolled
    "012c 0190"  # image 300 × 400
    "61 03"  # six octets a minutia, ending type 1; three minutiae
    "4064 0032 40 3c 80c8 018f 80 64 0000 0000 00 00"
    "0027 0001 000b 01 010209 020304 0002 0016 02 4096 00a0 40 0097 00aa 01 4050 012c 00 80 40 0101 0006 cafe"
)
ANSI_2004 = bytes.fromhex(
    "464d5200 20323000"  # FMR, " 20"
    "0058"  # record length: 26 + 4 + 18 + 2 + 38 = 88
    "00330021"  # CBEFF product identifier
    "8123 012c 0190 00c5 00c5 01 00"  # device, image, resolution, one view, reserved
    "02 11 46 03"
    "4064 0032 2d 3c"  # 45 steps of 2° are 90°, upwards
    "80c8 018f 5a 64"  # 180°
    "0000 0000 00 00"
    "0026"  # extended data: 11 + 21 + 6 = 38 octets
    "0001 000b 01 010209 020304"
    "0002 0015"  # 4 + 1 + 2 * 4 + 1 + 7: angles of cores are all or none
    "02 0096 00a0 0097 00aa"
    "41 0050 012c 00 5a 2d"
    "0101 0006 cafe"
)
ANSI_2009 = bytes.fromhex(
    "464d5200 30333000"  # FMR, "030"
    "00000060"  # record length: 21 + 17 + 18 + 2 + 38 = 96
    "00330021"  # product identifier
    "80 0123"  # device compliance, device
    "01 00"  # one view, reserved
    "02 01 01"  # right index; view 1; live rolled
    "46 000f 0001"  # quality 70 by vendor 15, algorithm 1
    "012c 0190 00c5 00c5 03"  # image, resolution, three minutiae
    "4064 0032 2d 3c 80c8 018f 5a 64 0000 0000 00 00"
    "0026 0001 000b 01 010209 020304 0002 0015 02 0096 00a0 0097 00aa 41 0050 012c 00 5a 2d 0101 0006 cafe"
)
MINUTIAE_RECORDS = {
    RecordFormat.ISO_19794_2_2005: ISO_2005,
    RecordFormat.ISO_19794_2_2011: ISO_2011,
    RecordFormat.ANSI_378_2004: ANSI_2004,
    RecordFormat.ANSI_378_2009: ANSI_2009,
}
IDS = [edition.value for edition in MINUTIAE_RECORDS]
PIXELS = np.arange(6, dtype=np.uint8).reshape(2, 3)
IMAGE_2005 = bytes.fromhex(
    "46495200 30313000"  # FIR, "010"
    "000000000034"  # record length: 32 + 20 = 52
    "0123 001f"  # device, acquisition level 31
    "01 01"  # one image; scale in inches
    "01f4 01f4 01f4 01f4"  # scan and image resolution 500
    "08 00 0000"  # eight bits, not compressed, reserved
    "00000014"  # view length: 14 + 6 = 20
    "07 01 01 fe 00"  # left index; one view of it, the first; quality undefined; live plain
    "0003 0002 00"  # 3 × 2 pixels, reserved
    "00 01 02 03 04 05"
)
IMAGE_2011 = bytes.fromhex(
    "46495200 30323000"  # FIR, "020"
    "00000048"  # record length: 16 + 56 = 72
    "0001 00 01"  # one representation, no certification blocks, one finger position
    "00000038"  # representation length: 4 + 9 + 5 + 1 + 5 + 18 + 4 + 6 + 4 = 56
    "07e8 05 06 07 08 09 000a"
    "02 0011 0123"
    "01 46 000f 0001"
    "07 01 01"  # left index; representation 1; scale in inches
    "01f4 01f4 01f4 01f4"
    "08 00 18"  # eight bits, not compressed, contactless (24)
    "0003 0002"
    "00000006 00 01 02 03 04 05"
    "0003 0004"  # an empty comment
)


def record_of(edition: RecordFormat) -> MinutiaeRecord:
    iso_2011 = edition is RecordFormat.ISO_19794_2_2011
    vendor = (15, 1) if edition in (RecordFormat.ISO_19794_2_2011, RecordFormat.ANSI_378_2009) else (0, 0)
    view = MinutiaeView(
        MINUTIAE,
        Raster(300, 400),
        FingerPosition.RIGHT_INDEX,
        Impression.LIVE_ROLLED,
        1,
        (SampleQuality(70, *vendor),),
        CAPTURED if iso_2011 else None,
        CaptureDevice(2, 17, 0x123) if iso_2011 else CaptureDevice(type_id=0x123, compliance=8),
        (Certification(17, 3),) if iso_2011 else (),
        1 if iso_2011 else 0,
        EXTENSION,
    )
    return MinutiaeRecord((view,), product=0x00330021, origin=edition)


@pytest.mark.parametrize(("edition", "octets"), MINUTIAE_RECORDS.items(), ids=IDS)
def test_a_minutiae_record_is_written_as_the_field_table_says(edition: RecordFormat, octets: bytes) -> None:
    assert catalogue.write_minutiae(record_of(edition), edition).hex(" ") == octets.hex(" ")


@pytest.mark.parametrize(("edition", "octets"), MINUTIAE_RECORDS.items(), ids=IDS)
def test_a_minutiae_record_is_read_as_the_field_table_says(edition: RecordFormat, octets: bytes) -> None:
    assert catalogue.detect(octets) is edition
    record, expected = catalogue.read_minutiae(octets), record_of(edition)
    assert record.notes == ()
    assert record.product == (0x00330021 if "ANSI" in edition.value else 0)
    (view,), (wanted,) = record.views, expected.views
    for name in ("raster", "position", "impression", "number", "qualities", "captured_at", "device", "certifications"):
        assert getattr(view, name) == getattr(wanted, name), name
    assert view.ending_type == wanted.ending_type
    for name in ("x", "y", "direction", "kind", "quality"):
        np.testing.assert_allclose(getattr(view.minutiae, name), getattr(MINUTIAE, name), atol=1e-6, err_msg=name)
    assert (view.minutiae.width_px, view.minutiae.height_px) == (300, 400)
    assert view.extension.ridge_counts is not None
    assert view.extension.ridge_counts.counts.tolist() == [[1, 2, 9], [2, 3, 4]]
    assert view.extension.opaque == EXTENSION.opaque
    cores = [point for point in view.extension.singularities if point.kind is SingularityKind.CORE]
    assert [(core.x, core.y) for core in cores] == [(150.0, 160.0), (151.0, 170.0)]
    np.testing.assert_allclose(view.extension.singularities[2].directions, (0.0, math.pi, 1.5 * math.pi), atol=1e-6)


def test_a_long_ansi_record_has_a_length_of_six_octets() -> None:
    # 45 views of 255 minutiae: 30 + 45 * (4 + 1530 + 2) = 69150.
    x = np.arange(255, dtype=np.float32)
    many = Minutiae(x, x, 0 * x, np.ones(255, np.uint8), np.ones(255, np.uint8), 300, 400)
    octets = ansi378.write(MinutiaeRecord((MinutiaeView.of(many),) * 45))
    assert octets[8:14] == bytes.fromhex("0000 00010e1e")
    assert len(octets) == 0x10E1E
    assert catalogue.detect(octets) is RecordFormat.ANSI_378_2004
    assert len(ansi378.read(octets).views) == 45


def test_amendment_1_of_2009_is_read_as_the_edition() -> None:
    amended = ANSI_2009.replace(b"030\0", b"035\0")
    assert catalogue.detect(amended) is RecordFormat.ANSI_378_2009
    assert ansi378.read(amended).views[0].position is FingerPosition.RIGHT_INDEX


def test_a_representation_of_2011_without_quality_has_minutiae_of_five_octets() -> None:
    silent = Minutiae(MINUTIAE.x, MINUTIAE.y, MINUTIAE.direction, MINUTIAE.kind, np.zeros(3, np.uint8), 300, 400)
    octets = iso19794_2.write(MinutiaeRecord((MinutiaeView.of(silent),)), RecordFormat.ISO_19794_2_2011)
    assert octets[-19:] == bytes.fromhex("50 03 4064 0032 40 80c8 018f 80 0000 0000 00 0000")
    assert iso19794_2.read(octets).views[0].minutiae.x.tolist() == [100.0, 200.0, 0.0]


def image_record(*, edition_2011: bool) -> ImageRecord:
    view = ImageView(
        PIXELS.tobytes(),
        ImageCoding.RAW,
        3,
        2,
        (500.0, 500.0),
        FingerPosition.LEFT_INDEX,
        Impression.LIVE_CONTACTLESS if edition_2011 else Impression.LIVE_PLAIN,
        1,
        qualities=(SampleQuality(70, 15, 1),) if edition_2011 else (),
        captured_at=CAPTURED if edition_2011 else None,
        device=CaptureDevice(2, 17, 0x123) if edition_2011 else CaptureDevice(type_id=0x123),
        extended=(ExtendedData(3, b""),) if edition_2011 else (),
    )
    return ImageRecord((view,))


@pytest.mark.parametrize(
    ("edition", "octets"),
    [(RecordFormat.ISO_19794_4_2005, IMAGE_2005), (RecordFormat.ISO_19794_4_2011, IMAGE_2011)],
)
def test_an_image_record_is_what_the_field_table_says(edition: RecordFormat, octets: bytes) -> None:
    expected = image_record(edition_2011=edition is RecordFormat.ISO_19794_4_2011)
    assert iso19794_4.write(expected, edition).hex(" ") == octets.hex(" ")
    assert catalogue.detect(octets) is edition
    record = iso19794_4.read(octets)
    assert record == expected
    image = record.views[0].image()
    assert isinstance(image, FingerprintImage)
    assert image.pixels.tolist() == PIXELS.tolist()
    assert (image.ppi, image.position) == (500.0, FingerPosition.LEFT_INDEX)


@pytest.mark.parametrize(
    ("edition", "codings"),
    [
        (RecordFormat.ISO_19794_4_2005, ["raw", "bit-packed", "WSQ", "JPEG", "JPEG 2000", "PNG"]),
        (
            RecordFormat.ISO_19794_4_2011,
            ["raw", "bit-packed", "WSQ", "JPEG", "JPEG 2000", "JPEG 2000 lossless", "PNG"],
        ),
    ],
)
def test_compression_codes_are_those_of_the_edition(edition: RecordFormat, codings: list[str]) -> None:
    octets = bytearray(IMAGE_2005 if edition is RecordFormat.ISO_19794_4_2005 else IMAGE_2011)
    place = 29 if edition is RecordFormat.ISO_19794_4_2005 else 52
    for code, words in enumerate(codings):
        octets[place] = code
        assert iso19794_4.read(bytes(octets)).views[0].coding.value == words


def test_a_compact_card_has_three_octets_a_minutia() -> None:
    # 100 px at 500 ppi are 5.08 mm, 200 px 10.16, 399 px 20.27, 50 px 2.54; angles in 64 steps.
    octets = bytes.fromhex("33 19 50 66 cb a0 00 00 00")
    assert iso19794_2_card.write(MINUTIAE, CardSize.COMPACT) == octets
    read = iso19794_2_card.read(octets, CardSize.COMPACT)
    np.testing.assert_allclose(read.x, MINUTIAE.x, atol=1.0)
    np.testing.assert_allclose(read.y, MINUTIAE.y, atol=1.0)
    np.testing.assert_allclose(read.direction, MINUTIAE.direction, atol=1e-6)
    assert read.kind.tolist() == MINUTIAE.kind.tolist()


def test_a_normal_card_has_five_octets_a_minutia() -> None:
    octets = bytes.fromhex("41fc 00fe 40 83f8 07eb 80 0000 0000 00")
    assert iso19794_2_card.write(MINUTIAE, CardSize.NORMAL) == octets
    np.testing.assert_allclose(iso19794_2_card.read(octets, CardSize.NORMAL).y, MINUTIAE.y, atol=0.1)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (CardOrder.X_THEN_Y, "000000 331950 66cba0"),
        (CardOrder.Y_THEN_X, "000000 331950 66cba0"),
        (CardOrder.ANGLE, "000000 331950 66cba0"),
        (CardOrder.POLAR, "331950 000000 66cba0"),
        (CardOrder.NONE, "331950 66cba0 000000"),
    ],
)
def test_a_card_gets_its_minutiae_in_the_order_that_it_asks_for(order: CardOrder, expected: str) -> None:
    octets = iso19794_2_card.write(MINUTIAE, CardSize.COMPACT, order)
    assert octets == bytes.fromhex(expected)
    backwards = iso19794_2_card.write(MINUTIAE, CardSize.COMPACT, order, descending=True)
    assert [backwards[at : at + 3] for at in (6, 3, 0)] == [octets[at : at + 3] for at in (0, 3, 6)]
