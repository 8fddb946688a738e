from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.errors import InvalidInputError, RecordFormatError, UnsupportedFormatError
from biometrik.fingers import FingerPosition, FingerprintImage, Impression
from biometrik.formats import iso19794_4
from biometrik.formats.image_record import ImageCoding, ImageRecord, ImageView
from biometrik.formats.minutiae_record import CaptureDevice, RecordFormat

E2005, E2011 = RecordFormat.ISO_19794_4_2005, RecordFormat.ISO_19794_4_2011
BOTH = pytest.mark.parametrize("edition", [E2005, E2011], ids=lambda edition: edition.value)
IMAGE = FingerprintImage(np.arange(12, dtype=np.uint8).reshape(4, 3), 500.0, FingerPosition.LEFT_RING)
VIEW = ImageView.of(IMAGE)
WSQ = ImageView(b"\xff\xa0 not decoded here", ImageCoding.WSQ, 400, 500, (500.0, 500.0))


@st.composite
def views(draw: st.DrawFn) -> ImageView:
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    ppi = draw(st.sampled_from([250.0, 500.0, 508.0, 1000.0]))
    raw = draw(st.booleans())
    coding = ImageCoding.RAW if raw else draw(st.sampled_from([ImageCoding.WSQ, ImageCoding.JPEG, ImageCoding.PNG]))
    data = bytes(width * height) if raw else draw(st.binary(max_size=60))
    return ImageView(
        data,
        coding,
        width,
        height,
        (ppi, ppi),
        draw(st.sampled_from(FingerPosition)),
        draw(st.sampled_from([Impression.LIVE_PLAIN, Impression.LATENT, Impression.LIVE_CONTACTLESS])),
        draw(st.integers(0, 255)),
    )


@BOTH
@settings(max_examples=60, deadline=None)
@given(view=views(), count=st.integers(1, 3))
def test_images_are_read_as_they_were_written(edition: RecordFormat, view: ImageView, count: int) -> None:
    record = ImageRecord((view,) * count, acquisition_level=20 if edition is E2005 else 31)
    octets = iso19794_4.write(record, edition)
    assert iso19794_4.read(octets) == record


@BOTH
def test_pixels_come_back_as_an_image(edition: RecordFormat) -> None:
    image = iso19794_4.read(iso19794_4.write(ImageRecord((VIEW,)), edition)).views[0].image()
    assert image.pixels.tolist() == IMAGE.pixels.tolist()
    assert (image.ppi, image.position) == (500.0, FingerPosition.LEFT_RING)


@BOTH
def test_compressed_images_are_handed_out(edition: RecordFormat) -> None:
    (view,) = iso19794_4.read(iso19794_4.write(ImageRecord((WSQ,)), edition)).views
    assert (view.coding, view.data) == (ImageCoding.WSQ, WSQ.data)
    with pytest.raises(UnsupportedFormatError, match="raw pixels of 8 bits, got WSQ of 8"):
        view.image()


def test_resolution_a_centimetre_is_read_as_what_was_meant() -> None:
    octets = bytearray(iso19794_4.write(ImageRecord((VIEW,))))
    octets[19:28] = bytes.fromhex("02 00c5 00c5 00c5 00c5")
    assert iso19794_4.read(bytes(octets)).views[0].ppi == (500.0, 500.0)


def test_a_resolution_that_inches_cannot_say_is_written_in_centimetres() -> None:
    view = replace(VIEW, ppi=(195 * 2.54, 195 * 2.54))
    octets = iso19794_4.write(ImageRecord((view,)))
    assert octets[19:28] == bytes.fromhex("02 00c3 00c3 00c3 00c3")
    assert iso19794_4.read(octets).views[0].ppi == pytest.approx(view.ppi)


def test_the_scanners_own_resolution_is_kept() -> None:
    view = replace(VIEW, scan_ppi=(1000.0, 1000.0))
    assert iso19794_4.read(iso19794_4.write(ImageRecord((view,)))).views[0].scan_ppi == (1000.0, 1000.0)


def lenient(data: bytes, words: str) -> ImageRecord:
    with pytest.raises(RecordFormatError, match=words):
        iso19794_4.read(data)
    record = iso19794_4.read(data, strict=False)
    assert any(words in note for note in record.notes), record.notes
    return record


def test_a_view_length_without_its_header_is_repaired() -> None:
    octets = bytearray(iso19794_4.write(ImageRecord((VIEW,))))
    octets[32:36] = (12).to_bytes(4, "big")
    record = lenient(bytes(octets), "image 1 length")
    assert record.views[0].data == VIEW.data


@BOTH
def test_octets_behind_the_pixels_are_cut_off(edition: RecordFormat) -> None:
    octets = iso19794_4.write(ImageRecord((VIEW,)), edition)
    record = lenient(octets + b"\0\0\0", "record length")
    assert record.views[0].data == VIEW.data


def test_more_pixels_than_the_size_asks_for_are_cut_off() -> None:
    octets = bytearray(iso19794_4.write(ImageRecord((VIEW,))))
    octets[42] = 2  # width 2 instead of 3
    record = lenient(bytes(octets), "octets of pixels")
    assert record.views[0].data == VIEW.data[:8]
    assert record.views[0].image().pixels.shape == (4, 2)


@pytest.mark.parametrize(
    ("edition", "at", "octets", "words"),
    [
        (E2005, 19, b"\x03", "scale units"),
        (E2005, 24, bytes(4), "ppi: expected"),
        (E2005, 28, b"\x00", "bit depth"),
        (E2005, 29, b"\x06", "compression"),
        (E2005, 41, bytes(2), "image width"),
        (E2005, 41, b"\x00\x09", "octets of pixels"),
        (E2011, 12, b"\x01\x00", "number of images"),
    ],
)
def test_what_cannot_be_repaired(edition: RecordFormat, at: int, octets: bytes, words: str) -> None:
    data = bytearray(iso19794_4.write(ImageRecord((VIEW,)), edition))
    data[at : at + len(octets)] = octets
    with pytest.raises(RecordFormatError, match=words):
        iso19794_4.read(bytes(data), strict=False)


def test_a_record_has_a_size_limit() -> None:
    octets = iso19794_4.write(ImageRecord((VIEW,)))
    with pytest.raises(RecordFormatError, match="at most 57 octets, got 58"):
        iso19794_4.read(octets, max_bytes=57)
    with pytest.raises(RecordFormatError, match="FIR 010 or FIR 020"):
        iso19794_4.read(b"FMR\x00030\0")


def test_more_images_than_there_are() -> None:
    octets = bytearray(iso19794_4.write(ImageRecord((VIEW, VIEW))))
    octets[18] = 3
    assert len(lenient(bytes(octets), "number of images").views) == 2
    octets[18] = 0
    assert lenient(bytes(octets), "number of images").views == ()


@pytest.mark.parametrize(
    ("record", "edition", "words"),
    [
        (ImageRecord(()), E2005, "views: expected 1..255"),
        (ImageRecord((VIEW, WSQ)), E2005, "write the edition of 2011"),
        (ImageRecord((VIEW, replace(VIEW, device=CaptureDevice(type_id=1)))), E2005, "write the edition of 2011"),
        (ImageRecord((replace(WSQ, coding=ImageCoding.JPEG_2000_LOSSLESS),)), E2005, "JPEG 2000 lossless"),
        (ImageRecord((VIEW,)), RecordFormat.ANSI_378_2004, "edition"),
    ],
)
def test_what_an_edition_cannot_say_is_refused(record: ImageRecord, edition: RecordFormat, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        iso19794_4.write(record, edition)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (replace(VIEW, data=b"few"), "expected 12 octets"),
        (replace(VIEW, ppi=(500.0, 1000.0)), "square pixels"),
        (replace(VIEW, ppi=(100.0, 100.0)), "ppi: expected 250"),
    ],
)
def test_pixels_that_are_no_print_are_refused(view: ImageView, words: str) -> None:
    with pytest.raises(RecordFormatError, match=words):
        view.image()


def test_images_of_no_size_or_resolution_are_refused() -> None:
    for fields in ({"width_px": 0}, {"ppi": (0.0, 0.0)}, {"bit_depth": 17}, {"number": 256}):
        with pytest.raises(InvalidInputError, match="expected"):
            replace(VIEW, **fields)
