"""What stands in a record is said, and a conversion says what it lost: nothing more and nothing less."""

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biometrik import records
from biometrik.errors import (
    BiometrikError,
    ImageTooLargeError,
    InvalidInputError,
    RecordFormatError,
    ResolutionMissingError,
    UnsupportedFormatError,
)
from biometrik.finger_imaging import decode_print
from biometrik.fingerprint import payload
from biometrik.fingerprint.matching import MATCHERS, Matcher
from biometrik.fingers import FingerPosition, FingerprintImage, Minutiae
from biometrik.formats import catalogue, cbeff, iso19794_4
from biometrik.formats.image_record import ImageCoding, ImageRecord, ImageView
from biometrik.formats.minutiae_record import MinutiaeRecord, MinutiaeView, RecordFormat
from biometrik.formats.record_report import RecordType, Stated
from biometrik.imaging import ImageLimits, encode_png
from biometrik.types import Modality, Template
from tests.soak import formats as soak

T = RecordType
CARD = Stated(T.ISO_19794_2_CARD_COMPACT)
TARGETS = {target.name: target for target in soak.targets()}
PIXELS = np.random.default_rng(5).integers(0, 256, (48, 40)).astype(np.uint8)
PRINT = FingerprintImage(PIXELS, 500.0, FingerPosition.LEFT_INDEX)


def _minutiae(count: int = 9, seed: int = 7) -> Minutiae:
    rng = np.random.default_rng(seed)
    return Minutiae(
        rng.integers(0, 300, count).astype(np.float32),
        rng.integers(0, 400, count).astype(np.float32),
        # steps that the 1.40625° of ISO and the 2° of ANSI share are 90°
        (rng.integers(0, 4, count) * (np.pi / 2)).astype(np.float32),
        rng.integers(1, 3, count).astype(np.uint8),
        rng.integers(1, 100, count).astype(np.uint8),
        300,
        400,
    )


def _record(*positions: FingerPosition, quality: int | None = 70) -> bytes:
    views = tuple(MinutiaeView.of(_minutiae(), position=position, quality=quality) for position in positions)
    return catalogue.write_minutiae(MinutiaeRecord(views), RecordFormat.ISO_19794_2_2011)


ONE = _record(FingerPosition.RIGHT_INDEX)
TWO = _record(FingerPosition.RIGHT_INDEX, FingerPosition.LEFT_THUMB)


def _images(*views: ImageView) -> bytes:
    return iso19794_4.write(ImageRecord(views), RecordFormat.ISO_19794_4_2011)


def test_a_minutiae_record_is_described_without_its_minutiae() -> None:
    report = records.inspect(TWO)
    assert (report.type, report.octets, report.blocks, report.departures) == (T.ISO_19794_2_2011, len(TWO), (), ())
    assert [view.position for view in report.views] == [FingerPosition.RIGHT_INDEX, FingerPosition.LEFT_THUMB]
    view = report.views[0]
    assert (view.minutiae, view.x_ppi, view.width_px, view.quality, view.coding) == (9, 500.0, 300, 70, "")


def test_what_lenient_reading_forgave_is_said() -> None:
    longer = ONE + b"\0"
    assert records.inspect(longer).departures != ()
    assert records.convert(longer, T.ISO_19794_2_2005).departures == records.inspect(longer).departures


def test_an_image_record_is_described_without_its_pixels() -> None:
    report = records.inspect(_images(ImageView.of(PRINT, quality=40)))
    (view,) = report.views
    assert (view.position, view.width_px, view.height_px, view.minutiae) == (PRINT.position, 40, 48, None)
    assert (view.coding, view.x_ppi, view.quality) == ("raw", 500.0, 40)


def test_a_bare_image_is_described_by_its_header() -> None:
    (stated,) = records.inspect(encode_png(PIXELS, ppi=500)).views
    (silent,) = records.inspect(encode_png(PIXELS)).views
    assert (stated.x_ppi, silent.x_ppi, silent.coding) == (500.0, None, "PNG")


def test_a_conversion_to_itself_loses_nothing_and_changes_nothing() -> None:
    for name in ("ISO/IEC 19794-2:2005", "ISO/IEC 19794-2:2011", "ANSI INCITS 378-2004", "ISO/IEC 19794-4:2011"):
        sample = TARGETS[name].sample
        made = records.convert(sample, records.inspect(sample).type)
        assert (made.data, made.losses) == (sample, ())


def test_losses_are_those_of_the_format() -> None:
    rich = TARGETS["ISO/IEC 19794-2:2011"].sample
    made = records.convert(rich, T.ANSI_378_2004, view=1)
    said = " ".join(made.losses)
    for lost in ("angles rounded by up to", "capture time", "certifications"):
        assert lost in said
    assert "places" not in said
    assert records.convert(ONE, T.ANSI_378_2004).losses == ()


def test_angles_are_rounded_by_no_more_than_half_a_step() -> None:
    turned = replace(_minutiae(), direction=np.linspace(0, 6.2, 9).astype(np.float32))
    template = Template(Modality.FINGER, "ridges@1", payload.pack(turned), 2)
    for target, step in ((T.ISO_19794_2_2005, 360 / 256), (T.ANSI_378_2004, 2.0)):
        (loss,) = [x for x in records.convert(template.to_bytes(), target).losses if "angles" in x]
        assert 0 < float(loss.split()[-1].rstrip("°")) <= step / 2 + 0.01


def test_a_view_is_chosen_or_asked_for() -> None:
    made = records.convert(TWO, T.ISO_19794_2_2011, view=2)
    assert [view.position for view in records.inspect(made.data).views] == [FingerPosition.LEFT_THUMB]
    for view in (3, -1):
        with pytest.raises(InvalidInputError, match="view"):
            records.convert(TWO, T.ISO_19794_2_2005, view=view)
    with pytest.raises(InvalidInputError, match="say which"):
        records.convert(TWO, T.TEMPLATE)


def test_minutiae_do_not_become_images_nor_the_other_way_round() -> None:
    for data, target in ((ONE, T.PNG), (ONE, T.ISO_19794_4_2011), (_images(ImageView.of(PRINT)), T.ISO_19794_2_2005)):
        with pytest.raises(UnsupportedFormatError, match="target"):
            records.convert(data, target)


def test_card_formats_are_named_and_read() -> None:
    card = records.convert(ONE, T.ISO_19794_2_CARD_COMPACT)
    assert len(card.data) == 27
    assert any("size or resolution" in loss for loss in card.losses)
    assert records.inspect(card.data, CARD).views[0].minutiae == 9
    with pytest.raises(UnsupportedFormatError):
        records.inspect(card.data)
    where = replace(CARD, position=FingerPosition.LEFT_RING)
    (view,) = records.inspect(records.convert(card.data, T.ISO_19794_2_2011, where).data).views
    assert view.position is FingerPosition.LEFT_RING


def test_images_go_in_and_out_pixel_by_pixel() -> None:
    png = encode_png(PIXELS, ppi=500)
    record = records.convert(png, T.ISO_19794_4_2011, Stated(position=FingerPosition.LEFT_INDEX))
    assert record.losses == ()
    assert records.inspect(record.data).views[0].position is FingerPosition.LEFT_INDEX
    back = records.convert(record.data, T.PNG)
    assert back.losses == ("view 1: finger position",)
    np.testing.assert_array_equal(decode_print(back.data).pixels, PIXELS)
    raw = records.convert(record.data, T.RAW8)
    assert raw.data == PIXELS.tobytes()
    assert raw.losses == ("view 1: resolution", "view 1: finger position")
    stated = Stated(T.RAW8, ppi=500.0, width_px=40, height_px=48)
    np.testing.assert_array_equal(decode_print(records.convert(raw.data, T.PNG, stated).data).pixels, PIXELS)


def test_the_prints_of_a_record_come_out_as_they_went_in() -> None:
    whole = replace(ImageView.of(PRINT), data=encode_png(PIXELS), coding=ImageCoding.PNG)
    record = _images(ImageView.of(PRINT), whole)
    for data in (record, records.convert(record, T.CBEFF_XML).data):
        for image in records.images_from_record(data):
            np.testing.assert_array_equal(image.pixels, PIXELS)
            assert (image.position, image.ppi, image.impression) == (PRINT.position, PRINT.ppi, PRINT.impression)
    with pytest.raises(UnsupportedFormatError, match="expected images"):
        records.images_from_record(ONE)
    with pytest.raises(ImageTooLargeError):
        records.images_from_record(record, limits=ImageLimits(max_pixels=2 * PIXELS.size - 1))


def test_compressed_images_of_a_record_are_kept_as_they_are() -> None:
    view = replace(ImageView.of(PRINT), data=encode_png(PIXELS), coding=ImageCoding.PNG)
    made = records.convert(_images(view), T.ISO_19794_4_2005)
    assert iso19794_4.read(made.data).views[0].data == view.data
    np.testing.assert_array_equal(decode_print(records.convert(made.data, T.PNG).data).pixels, PIXELS)
    wsq = _images(replace(view, data=b"\xff\xa0 opaque", coding=ImageCoding.WSQ))
    assert records.convert(wsq, T.WSQ).data == b"\xff\xa0 opaque"
    with pytest.raises(UnsupportedFormatError, match="WSQ"):
        records.convert(_images(view), T.WSQ)


def test_an_image_that_is_not_what_its_record_says_is_refused() -> None:
    liar = replace(ImageView.of(PRINT), data=encode_png(PIXELS), coding=ImageCoding.PNG, width_px=41)
    with pytest.raises(RecordFormatError, match="41"):
        records.convert(_images(liar), T.RAW8)


def test_a_resolution_that_nobody_states_is_refused() -> None:
    with pytest.raises(ResolutionMissingError):
        records.convert(encode_png(PIXELS), T.ISO_19794_4_2011)
    with pytest.raises(InvalidInputError, match="ppi"):
        records.convert(PIXELS.tobytes(), T.PNG, Stated(T.RAW8, width_px=40, height_px=48))


def test_cbeff_has_a_block_a_print_and_gives_the_record_back() -> None:
    wrapped = records.convert(TWO, T.CBEFF_XML)
    assert wrapped.losses == ()
    report = records.inspect(wrapped.data)
    assert [block.subtype for block in report.blocks] == ["Right IndexFinger", "Left Thumb"]
    assert [(b.format_owner, b.format_type, b.quality, b.content) for b in report.blocks] == [
        ("257", "2", 70, T.ISO_19794_2_2011)
    ] * 2
    assert records.convert(wrapped.data, T.ISO_19794_2_2011).data == TWO
    simple = records.convert(ONE, T.CBEFF_SIMPLE)
    assert records.inspect(simple.data).type is T.CBEFF_SIMPLE
    assert records.convert(simple.data, T.ISO_19794_2_2011).data == ONE


def test_a_header_says_what_its_block_does_not() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    image = encode_png(PIXELS, ppi=500)
    bir = cbeff.Bir(image, subtype="Left RingFinger", created_at=when)
    (view,) = records.inspect(cbeff.write(cbeff.BirRecord((bir,)))).views
    assert (view.position, view.captured_at) == (FingerPosition.LEFT_RING, when)


def test_a_block_that_cannot_be_read_does_not_lose_the_others() -> None:
    face = cbeff.Bir(b"FAC\x00010\0", format_type="8", modality="Face")
    broken = cbeff.Bir(b"FMR\0 20\0", format_type="2")
    good = cbeff.Bir(ONE, format_type="2")
    report = records.inspect(cbeff.write(cbeff.BirRecord((face, broken, good))))
    assert [block.content for block in report.blocks[::2]] == [None, T.ISO_19794_2_2011]
    assert len(report.views) == 1
    assert [note.split(":")[0] for note in report.departures] == ["block 1", "block 2"]
    with pytest.raises(UnsupportedFormatError, match="can be read"):
        records.convert(cbeff.write(cbeff.BirRecord((face,))), T.ISO_19794_2_2005)


def test_the_images_of_a_document_share_the_bound_of_one() -> None:
    png = encode_png(PIXELS, ppi=500)
    document = cbeff.write(cbeff.BirRecord((cbeff.Bir(png),) * 3))
    two = ImageLimits(max_pixels=2 * PIXELS.size)
    made = records.convert(document, T.ISO_19794_4_2011, limits=two)
    assert len(records.inspect(made.data).views) == 2
    assert any("block 3: left out" in note for note in made.departures)
    with pytest.raises(ImageTooLargeError):
        records.convert(png, T.ISO_19794_4_2011, limits=ImageLimits(max_pixels=PIXELS.size - 1))


def test_templates_of_a_record_have_a_contract_of_their_own() -> None:
    templates = records.templates_from_record(TWO)
    assert [t.position for t in templates] == [2, 6]
    assert {t.model_contract_id for t in templates} == {records.RECORD_CONTRACT}
    np.testing.assert_array_equal(payload.unpack(templates[0].payload).x, _minutiae().x)
    made = records.convert(ONE, T.TEMPLATE)
    assert Template.from_bytes(made.data) == templates[0]
    assert made.losses == ("view 1: quality",)
    with pytest.raises(UnsupportedFormatError):
        records.templates_from_record(_images(ImageView.of(PRINT)))


def test_records_are_compared_finger_by_finger() -> None:
    def record(*fingers: tuple[int, int]) -> bytes:
        views = tuple(replace(MinutiaeView.of(_minutiae(40, seed)), position=FingerPosition(p)) for seed, p in fingers)
        return catalogue.write_minutiae(MinutiaeRecord(views), RecordFormat.ISO_19794_2_2005)

    both = record((1, 2), (2, 7))
    found = records.compare(record((2, 7)), both)
    assert (found.comparisons, found.probe_view, found.reference_view) == (1, 1, 2)
    assert found.similarity > 0.9
    assert records.compare(record((2, 0)), both).comparisons == 2
    with pytest.raises(InvalidInputError, match="one finger in both"):
        records.compare(record((2, 3)), both)


def test_templates_of_records_from_elsewhere_can_be_matched() -> None:
    matcher: Matcher[Any] = MATCHERS.load("cylinders")()

    def prepared(seed: int, target: RecordFormat) -> Any:
        view = MinutiaeView.of(_minutiae(40, seed))
        data = catalogue.write_minutiae(MinutiaeRecord((view,)), target)
        (template,) = records.templates_from_record(data)
        return matcher.prepare(payload.unpack(template.payload))

    iso, ansi = prepared(1, RecordFormat.ISO_19794_2_2005), prepared(1, RecordFormat.ANSI_378_2004)
    other = prepared(2, RecordFormat.ANSI_378_2004)
    assert matcher.compare(iso, ansi) > 2 * matcher.compare(iso, other)


def test_our_template_becomes_a_record_and_a_face_s_does_not() -> None:
    ours = Template(Modality.FINGER, "ridges@1", payload.pack(_minutiae()), 3)
    made = records.convert(ours.to_bytes(), T.ISO_19794_2_2011)
    assert (made.losses, records.inspect(made.data).views[0].position) == ((), FingerPosition.RIGHT_MIDDLE)
    again = records.convert(ours.to_bytes(), T.TEMPLATE)
    assert Template.from_bytes(again.data).model_contract_id == records.RECORD_CONTRACT
    with pytest.raises(UnsupportedFormatError, match="face"):
        records.inspect(Template(Modality.FACE, "f@1", b"1234").to_bytes())


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x01\x01", bytes(40)])
def test_what_is_none_of_them_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError):
        records.inspect(data)
    with pytest.raises(UnsupportedFormatError):
        records.inspect(ONE, Stated(T.ANSI_378_2009))


@pytest.mark.parametrize("name", ["inspect record", "convert record"])
@settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(index=st.integers(0, 1 << 30))
def test_mutations_are_read_or_refused(name: str, index: int) -> None:
    target = TARGETS[name]
    assert soak.failure_of(target, soak.mutated(target.sample, 3, index)) is None


def test_every_error_is_of_the_tree() -> None:
    for target in TARGETS.values():
        for length in range(0, len(target.sample), max(7, len(target.sample) // 40)):
            for become in T:
                with contextlib.suppress(BiometrikError):
                    records.convert(target.sample[:length], become)
