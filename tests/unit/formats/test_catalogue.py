import numpy as np
import pytest

from biometrik.errors import InvalidInputError, RecordFormatError
from biometrik.fingers import FingerprintImage, Minutiae
from biometrik.formats import catalogue, cbeff, iso19794_4
from biometrik.formats.image_record import ImageRecord, ImageView
from biometrik.formats.minutiae_record import CaptureDevice, MinutiaeRecord, MinutiaeView, Raster, RecordFormat
from biometrik.formats.octets import MAX_FIELDS

MINUTIAE_FORMATS = (
    RecordFormat.ISO_19794_2_2005,
    RecordFormat.ISO_19794_2_2011,
    RecordFormat.ANSI_378_2004,
    RecordFormat.ANSI_378_2009,
)
IMAGE = ImageRecord((ImageView.of(FingerprintImage(np.zeros((4, 3), np.uint8), 500.0)),))


def record_of(count: int, views: int = 1, device: int = 0, product: int = 0) -> MinutiaeRecord:
    x = np.arange(count, dtype=np.float32)
    kind = np.ones(count, np.uint8)
    view = MinutiaeView(
        Minutiae(x, x, 0 * x, kind, kind * 50, 300, 400), Raster(300, 400), device=CaptureDevice(type_id=device)
    )
    return MinutiaeRecord((view,) * views, product)


@pytest.mark.parametrize("edition", MINUTIAE_FORMATS, ids=lambda edition: edition.value)
@pytest.mark.parametrize("count", [0, 1, 255])
@pytest.mark.parametrize("views", [1, 60])
@pytest.mark.parametrize(("device", "product"), [(0, 0), (66, 0x00010042), (0xFFF, 0xFFFFFFFF), (0, 1), (40, 0x10000)])
def test_formats_that_share_a_magic_are_told_apart(
    edition: RecordFormat, count: int, views: int, device: int, product: int
) -> None:
    octets = catalogue.write_minutiae(record_of(count, views, device, product), edition)
    assert catalogue.detect(octets) is edition
    assert catalogue.read_minutiae(octets).origin is edition


@pytest.mark.parametrize("edition", MINUTIAE_FORMATS, ids=lambda edition: edition.value)
def test_a_record_that_was_cut_off_is_still_recognised(edition: RecordFormat) -> None:
    octets = catalogue.write_minutiae(record_of(20, 3), edition)
    assert catalogue.detect(octets[:-7]) is edition
    assert catalogue.detect(octets + b"\0\0") is edition


def test_lengths_that_add_up_make_an_iso_record_whatever_else_they_might_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = catalogue.write_minutiae(record_of(20, 3), RecordFormat.ISO_19794_2_2011)
    monkeypatch.setattr(catalogue, "_ansi_2009_end", lambda data: len(data))
    assert catalogue.detect(octets) is RecordFormat.ISO_19794_2_2011


def test_images_and_documents_are_recognised() -> None:
    assert catalogue.detect(iso19794_4.write(IMAGE)) is RecordFormat.ISO_19794_4_2005
    image_2011 = iso19794_4.write(IMAGE, RecordFormat.ISO_19794_4_2011)
    assert catalogue.detect(image_2011) is RecordFormat.ISO_19794_4_2011
    document = cbeff.write(cbeff.BirRecord((cbeff.Bir(b"x"),)))
    for data in (document, b"\n " + document[document.index(b"<BIR") :], b"\xef\xbb\xbf" + document):
        assert catalogue.detect(data) is RecordFormat.CBEFF_XML


@pytest.mark.parametrize("data", [b"", b"FMR", b"FMR\0 99\0", b"FAC\x00010\0", b"\x89PNG\r\n\x1a\n"])
def test_other_octets_have_no_format(data: bytes) -> None:
    with pytest.raises(RecordFormatError, match="expected FMR, FIR or a BIR"):
        catalogue.detect(data)


def test_minutiae_are_not_asked_of_images() -> None:
    with pytest.raises(RecordFormatError, match="expected minutiae, got ISO/IEC 19794-4:2005"):
        catalogue.read_minutiae(iso19794_4.write(IMAGE))
    with pytest.raises(InvalidInputError, match="expected a minutiae format"):
        catalogue.write_minutiae(record_of(1), RecordFormat.CBEFF_XML)
    with pytest.raises(RecordFormatError, match="expected minutiae or images"):
        catalogue.inspect(b"<BIR/>")
    with pytest.raises(InvalidInputError, match="expected bytes"):
        catalogue.detect("<BIR/>")  # type: ignore[arg-type]


@pytest.mark.parametrize("edition", MINUTIAE_FORMATS, ids=lambda edition: edition.value)
def test_an_inspection_covers_every_octet_once(edition: RecordFormat) -> None:
    octets = catalogue.write_minutiae(record_of(5, 2), edition)
    fields = catalogue.inspect(octets)
    offset = 0
    for field in fields:
        assert field.offset == offset, field
        offset += field.length
    assert offset == len(octets)
    assert not {"note", "fault"} & {field.name for field in fields}


def test_an_inspection_says_what_stands_there() -> None:
    octets = catalogue.write_minutiae(record_of(3), RecordFormat.ISO_19794_2_2005)
    shown = {field.name: field.value for field in catalogue.inspect(octets)}
    assert shown["image width"] == "300"
    assert shown["view 1 finger position"] == "0 unknown"
    assert shown["view 1 number, impression"] == "0, 0 live plain"
    assert shown["view 1 minutia 3"] == "ending at (2, 2), 0°, quality 50"
    images = {field.name: field.value for field in catalogue.inspect(iso19794_4.write(IMAGE))}
    assert images["record compression"] == "raw"
    assert images["image 1 image data"] == "12 octets"


def test_an_inspection_ends_with_what_is_wrong() -> None:
    octets = catalogue.write_minutiae(record_of(3), RecordFormat.ISO_19794_2_2005)
    wrong = bytearray(octets)
    wrong[24], wrong[18:22] = 99, bytes(4)
    notes = [field.value for field in catalogue.inspect(bytes(wrong)) if field.name == "note"]
    assert [note.split(":")[0] for note in notes] == ["record resolution", "view 1"]
    assert any(field.value == "99 reserved" for field in catalogue.inspect(bytes(wrong)))
    last = catalogue.inspect(octets[:25])[-1]
    assert (last.name, last.offset) == ("fault", 25)
    assert "cut off" in last.value


def test_an_inspection_has_an_end() -> None:
    octets = catalogue.write_minutiae(record_of(255, 20), RecordFormat.ISO_19794_2_2005)
    fields = catalogue.inspect(octets)
    assert len(fields) == MAX_FIELDS + 1
    assert "the rest is not shown" in fields[-1].value
