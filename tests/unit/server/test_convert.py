"""Requests as what the engine takes: whatever they hold, a value or a typed error."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from biometrik.errors import (
    BiometrikError,
    InvalidInputError,
    InvalidPositionError,
    ResolutionMissingError,
    TemplateFormatError,
    UnsupportedFormatError,
    UnsupportedModalityError,
    UploadNotFoundError,
)
from biometrik.fingers import FingerPosition, FingerprintImage, Impression
from biometrik.formats import iso19794_4
from biometrik.formats.image_record import ImageRecord, ImageView
from biometrik.imaging import encode_png
from biometrik.samples import UnreadableSample
from biometrik.types import DEFAULT_MAX_FMR, DEFAULT_MAX_FPIR, FaceImage, Modality, SampleSource, Template, Trait
from biometrik.v1 import decision_pb2, sample_pb2
from biometrik.wire import template_to_wire
from biometrik_server.access import ANONYMOUS
from biometrik_server.calls import CURRENT, Call
from biometrik_server.config import ServerConfig
from biometrik_server.convert import Converter, page_size, paged
from biometrik_server.uploads import Uploads

PNG = encode_png(np.full((40, 60, 3), 200, dtype=np.uint8))
GRAY = np.arange(2400, dtype=np.uint8).reshape(40, 60)
GRAY_PNG = encode_png(GRAY)
FACE = sample_pb2.MODALITY_FACE
UPLOADS = Uploads(max_bytes_each=1 << 20, max_bytes_all=1 << 20, lifetime_s=60.0, clock=lambda: 0.0)
CONVERT = Converter(ServerConfig.load(None, {"database": ":memory:"}), UPLOADS)


@pytest.fixture(autouse=True, scope="module")
def _in_a_call() -> Iterator[None]:
    token = CURRENT.set(Call("/biometrik.v1.SampleService/AssessQuality", ANONYMOUS, "en"))
    yield
    CURRENT.reset(token)


def _sample(**fields: Any) -> sample_pb2.Sample:
    return sample_pb2.Sample(**{"modality": FACE, "data": PNG, **fields})


def test_an_image_is_decoded_with_how_it_came_to_be() -> None:
    (image,) = CONVERT.samples(
        [
            _sample(
                format=sample_pb2.SAMPLE_FORMAT_PNG,
                captured_at=Timestamp(seconds=86_400),
                source=sample_pb2.SAMPLE_SOURCE_SUPERVISED,
                device_ref="cam 2",
            )
        ]
    )
    assert isinstance(image, FaceImage)
    assert (image.width_px, image.height_px, image.encoded) == (60, 40, PNG)
    assert image.origin.captured_at is not None
    assert image.origin.captured_at.isoformat() == "1970-01-02T00:00:00+00:00"
    assert (image.origin.source, image.origin.device_ref) == (SampleSource.SUPERVISED, "cam 2")


def test_what_is_no_image_is_an_outcome_of_that_sample() -> None:
    bad, good = CONVERT.samples([_sample(data=b"GIF89a"), _sample()])
    assert isinstance(bad, UnreadableSample)
    assert bad.data == b"GIF89a"
    assert isinstance(good, FaceImage)


def test_an_upload_is_used_by_its_owner() -> None:
    upload_id = UPLOADS.begin(ANONYMOUS.name, len(PNG))
    UPLOADS.add(upload_id, PNG)
    UPLOADS.finish(upload_id, b"")
    message = sample_pb2.Sample(modality=FACE, upload_id=upload_id)
    (image,) = CONVERT.samples([message])
    assert isinstance(image, FaceImage)
    message.upload_id += "x"
    with pytest.raises(UploadNotFoundError):
        CONVERT.samples([message])


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"modality": 0}, UnsupportedModalityError, "MODALITY_FACE"),
        ({"modality": 77}, UnsupportedModalityError, "modality"),
        ({"position": sample_pb2.FINGER_POSITION_LEFT_THUMB}, InvalidInputError, "position"),
        ({"impression": sample_pb2.IMPRESSION_SWIPE}, InvalidInputError, "impression"),
        ({"ppi": 500.0}, InvalidInputError, "ppi"),
        ({"ppi": float("nan")}, InvalidInputError, "ppi"),
        ({"width_px": 60}, InvalidInputError, "width_px"),
        ({"height_px": 40}, InvalidInputError, "height_px"),
        ({"format": sample_pb2.SAMPLE_FORMAT_WSQ}, UnsupportedFormatError, "format"),
        ({"format": 99}, UnsupportedFormatError, "format"),
        ({"format": sample_pb2.SAMPLE_FORMAT_JPEG}, UnsupportedFormatError, "expected JPEG as stated, got PNG"),
        ({"source": 99}, InvalidInputError, "sample_source"),
        ({"device_ref": "x" * 129}, InvalidInputError, "device_ref"),
        ({"device_ref": "a\nb"}, InvalidInputError, "device_ref"),
        ({"captured_at": Timestamp(seconds=1 << 62)}, InvalidInputError, "timestamp"),
        ({"captured_at": Timestamp(seconds=-(1 << 62))}, InvalidInputError, "timestamp"),
        ({"captured_at": Timestamp(nanos=-5)}, InvalidInputError, "timestamp"),
        ({"captured_at": Timestamp(nanos=2_000_000_000)}, InvalidInputError, "timestamp"),
    ],
)
def test_a_sample_that_contradicts_itself_is_refused(
    fields: dict[str, Any], error: type[BiometrikError], said: str
) -> None:
    with pytest.raises(error, match=said):
        CONVERT.samples([_sample(**fields)])


def _print(**fields: Any) -> sample_pb2.Sample:
    index = sample_pb2.FINGER_POSITION_RIGHT_INDEX
    return sample_pb2.Sample(
        **{"modality": sample_pb2.MODALITY_FINGER, "position": index, "ppi": 500.0, "data": GRAY_PNG, **fields}
    )


def test_a_print_is_decoded_with_what_is_said_of_it() -> None:
    (image,) = CONVERT.samples([_print(impression=sample_pb2.IMPRESSION_LIVE_ROLLED, device_ref="scanner 1")])
    assert isinstance(image, FingerprintImage)
    np.testing.assert_array_equal(image.pixels, GRAY)
    assert (image.ppi, image.position, image.impression) == (500.0, 2, Impression.LIVE_ROLLED)
    assert (image.encoded, image.origin.device_ref) == (GRAY_PNG, "scanner 1")


def test_bare_pixels_are_a_print_of_the_size_that_is_said() -> None:
    raw = {"format": sample_pb2.SAMPLE_FORMAT_RAW8, "data": GRAY.tobytes(), "width_px": 60, "height_px": 40}
    image, short = CONVERT.samples([_print(**raw), _print(**{**raw, "height_px": 41})])
    assert isinstance(image, FingerprintImage)
    np.testing.assert_array_equal(image.pixels, GRAY)
    assert isinstance(short, UnreadableSample)
    assert short.trait == Trait.finger(2)


def test_a_finger_image_record_says_resolution_and_position_itself() -> None:
    record = iso19794_4.write(ImageRecord((ImageView.of(FingerprintImage(GRAY, 500.0, FingerPosition.LEFT_THUMB)),)))
    said = {"format": sample_pb2.SAMPLE_FORMAT_FIR, "data": record, "ppi": 0.0}
    (image,) = CONVERT.samples([_print(**said, position=0)])
    assert isinstance(image, FingerprintImage)
    assert (image.position, image.pixels.shape) == (FingerPosition.LEFT_THUMB, GRAY.shape)
    assert image.ppi == pytest.approx(500, rel=0.01)
    with pytest.raises(InvalidPositionError, match="LEFT_THUMB as its record says"):
        CONVERT.samples([_print(**said)])
    (broken,) = CONVERT.samples([_print(**{**said, "data": record[:-1]})])
    assert isinstance(broken, UnreadableSample)


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"ppi": 0.0}, ResolutionMissingError, "ppi: expected the scanner's resolution"),
        ({"ppi": 72.0}, InvalidInputError, r"250\.\.1000"),
        ({"ppi": float("nan")}, InvalidInputError, "ppi"),
        ({"position": 16}, InvalidPositionError, "position"),
        ({"impression": 99}, InvalidInputError, "impression"),
        ({"width_px": 60}, InvalidInputError, "width_px"),
        ({"format": sample_pb2.SAMPLE_FORMAT_RAW8}, InvalidInputError, "width_px, height_px: expected both for RAW8"),
        ({"format": sample_pb2.SAMPLE_FORMAT_WEBP}, UnsupportedFormatError, "for a finger"),
        ({"format": sample_pb2.SAMPLE_FORMAT_BMP}, UnsupportedFormatError, "expected BMP as stated, got PNG"),
    ],
)
def test_a_print_that_contradicts_itself_is_refused(
    fields: dict[str, Any], error: type[BiometrikError], said: str
) -> None:
    with pytest.raises(error, match=said):
        CONVERT.samples([_print(**fields)])


def test_a_print_that_is_none_is_an_outcome_of_that_sample() -> None:
    (bad,) = CONVERT.samples([_print(data=b"GIF89a")])
    assert isinstance(bad, UnreadableSample)
    assert (bad.data, bad.trait) == (b"GIF89a", Trait.finger(2))


def test_a_sample_without_content_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="data or upload_id"):
        CONVERT.samples([sample_pb2.Sample(modality=FACE)])
    with pytest.raises(UploadNotFoundError):
        CONVERT.samples([sample_pb2.Sample(modality=FACE, upload_id="guess")])


def test_samples_are_counted_before_anything_is_decoded() -> None:
    broken = _sample(modality=0)
    for count in (0, 17):
        with pytest.raises(InvalidInputError, match=rf"expected 1\.\.16, got {count}"):
            CONVERT.samples([broken] * count)
        with pytest.raises(InvalidInputError, match=rf"expected 1\.\.16, got {count}"):
            CONVERT.presented([sample_pb2.Presentation(sample=broken)] * count)


def test_presentations_keep_their_order_and_hold_one_of_two() -> None:
    template = Template(Modality.FACE, "demo@1", b"1234")
    first, second = CONVERT.presented(
        [sample_pb2.Presentation(template=template_to_wire(template)), sample_pb2.Presentation(sample=_sample())]
    )
    assert first == template
    assert isinstance(second, FaceImage)
    with pytest.raises(InvalidInputError, match="got neither"):
        CONVERT.presented([sample_pb2.Presentation()])


def test_a_template_that_its_fields_contradict_is_refused() -> None:
    for fields in (
        {"data": b"BMTK"},
        {"modality": sample_pb2.MODALITY_FINGER},
        {"position": sample_pb2.FINGER_POSITION_LEFT_RING},
        {"model_contract_id": "demo@2"},
    ):
        message = template_to_wire(Template(Modality.FACE, "demo@1", b"1234"))
        message.MergeFrom(sample_pb2.Template(**fields))
        with pytest.raises(TemplateFormatError):
            CONVERT.presented([sample_pb2.Presentation(template=message)])


def test_targets_are_a_rate_a_policy_or_the_default() -> None:
    threshold = decision_pb2.Threshold
    assert CONVERT.max_fmr(threshold()) == DEFAULT_MAX_FMR
    assert CONVERT.max_fpir(threshold()) == DEFAULT_MAX_FPIR
    assert CONVERT.max_fmr(threshold(fmr=2e-4)) == 2e-4
    assert CONVERT.max_fpir(threshold(fpir=0.02)) == 0.02
    assert (CONVERT.max_fmr(threshold(policy="strict")), CONVERT.max_fpir(threshold(policy="strict"))) == (1e-4, 1e-3)
    # Zero is a rate that somebody asked for, not the default; the engine refuses it.
    assert (CONVERT.max_fmr(threshold(fmr=0)), CONVERT.max_fpir(threshold(fpir=0))) == (0.0, 0.0)
    with pytest.raises(InvalidInputError, match="FPIR, which is for searches"):
        CONVERT.max_fmr(threshold(fpir=0.01))
    with pytest.raises(InvalidInputError, match="FMR, which is for comparisons"):
        CONVERT.max_fpir(threshold(fmr=0.01))
    for name in ("", "secret-name"):
        with pytest.raises(InvalidInputError, match="counter, strict") as caught:
            CONVERT.max_fmr(threshold(policy=name))
        assert "secret" not in str(caught.value)


@given(st.binary(max_size=300))
def test_whatever_bytes_a_sample_parses_from_the_result_is_a_value_or_a_typed_error(data: bytes) -> None:
    message = sample_pb2.Presentation(sample=_sample())
    try:
        message.MergeFromString(data)
    except DecodeError:  # not a message: gRPC refuses it before it comes here
        return
    try:
        (sample,) = CONVERT.presented([message])
    except BiometrikError:
        return
    assert isinstance(sample, FaceImage | FingerprintImage | UnreadableSample | Template)


def test_page_sizes_are_bounded() -> None:
    assert (page_size(0), page_size(1), page_size(1000)) == (100, 1, 1000)
    with pytest.raises(InvalidInputError, match=r"0\.\.1000, got 1001"):
        page_size(1001)


@given(st.lists(st.text(min_size=1, max_size=3), max_size=12, unique=True), st.integers(1, 5))
def test_pages_put_together_are_the_list(rows: list[str], size: int) -> None:
    seen: list[str] = []
    token, pages = "", 0
    while pages == 0 or token:
        page, token = paged(rows, str, token, size)
        assert len(page) == size or not token
        seen += page
        pages += 1
    assert seen == rows
    assert pages == max(1, -(-len(rows) // size))


def test_a_token_of_no_page_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="page_token"):
        paged(["a", "b"], str, "c", 1)
