"""What is presented in a call, and what tells one sample from another."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from biometrik.imaging import ImageLimits, encode_png
from biometrik.reasons import Reason
from biometrik.samples import PreparedSample, Sample, UnreadableSample, as_it_is, decoded, digest, origins
from biometrik.types import (
    FaceImage,
    Modality,
    Quality,
    QualityComponent,
    SampleOrigin,
    SampleReport,
    SampleSource,
    Template,
)

PIXELS = np.arange(40 * 50 * 3, dtype=np.uint32).reshape(40, 50, 3).astype(np.uint8)
TEMPLATE = Template(Modality.FACE, "demo@1", b"1234")


def test_bytes_become_a_photograph_that_remembers_them() -> None:
    data = encode_png(PIXELS)
    origin = SampleOrigin(source=SampleSource.DOCUMENT_CHIP, device_ref="reader 3")
    image = decoded(data, origin=origin)
    assert isinstance(image, FaceImage)
    assert np.array_equal(image.pixels, PIXELS)
    assert (image.encoded, image.origin) == (data, origin)
    plain = decoded(data)
    assert isinstance(plain, FaceImage)
    assert plain.origin == SampleOrigin()


@pytest.mark.parametrize("data", [b"", b"GIF89a", encode_png(PIXELS)[:60]])
def test_other_bytes_become_an_outcome(data: bytes) -> None:
    sample = decoded(data)
    assert isinstance(sample, UnreadableSample)
    assert sample.data == data
    assert sample.detail
    assert "data" not in repr(sample)


def test_limits_are_kept() -> None:
    sample = decoded(encode_png(PIXELS), limits=ImageLimits(max_bytes=100))
    assert isinstance(sample, UnreadableSample)
    assert "100" in sample.detail


def test_ready_templates_are_usable_and_unreadable_bytes_say_why_not() -> None:
    ready = as_it_is(TEMPLATE)
    assert (ready.template, ready.report.usable, ready.report.reasons) == (TEMPLATE, True, ())
    assert ready.acceptable
    broken = as_it_is(UnreadableSample("broken"))
    assert (broken.template, broken.report.usable) == (None, False)
    assert broken.report.reasons == (Reason.IMAGE_UNREADABLE,)
    assert not broken.acceptable


def test_poor_quality_is_not_acceptable() -> None:
    poor = QualityComponent("luminance", 10.0, 12.0, "", 20.0, Reason.TOO_DARK)
    report = SampleReport(0, True, (Reason.TOO_DARK,), Quality(10.0, "demo", (poor,)), 1, None)
    sample = PreparedSample(FaceImage(PIXELS), report, TEMPLATE)
    assert not sample.acceptable
    good = replace(report, quality=Quality(90.0, "demo", (replace(poor, value=20.0, reason=None),)))
    assert replace(sample, report=good).acceptable


def test_a_sample_can_stand_at_another_place() -> None:
    ready = as_it_is(TEMPLATE)
    moved = ready.at(3)
    assert (moved.report.position, ready.report.position) == (3, 0)
    assert moved.source is ready.source


def test_digests_tell_samples_apart_by_what_they_hold() -> None:
    image = FaceImage(PIXELS)
    same = decoded(encode_png(PIXELS))
    assert digest(image) == digest(same)
    others: list[Sample] = [
        FaceImage(PIXELS.reshape(50, 40, 3)),
        FaceImage(255 - PIXELS),
        TEMPLATE,
        replace(TEMPLATE, payload=b"1235"),
        UnreadableSample("x", b"1"),
        UnreadableSample("x", b"2"),
    ]
    assert len({digest(sample) for sample in (image, *others)}) == 7
    assert digest(UnreadableSample("x", b"1")) == digest(UnreadableSample("other words", b"1"))


def test_a_view_of_an_image_has_the_digest_of_its_copy() -> None:
    view = PIXELS[::2, ::-1]
    assert digest(FaceImage(view)) == digest(FaceImage(view.copy()))


def test_origins_are_kept_only_where_something_is_known() -> None:
    known = SampleOrigin(datetime(2026, 8, 17, 3, tzinfo=UTC), SampleSource.SUPERVISED, "cam 2")
    assert origins([FaceImage(PIXELS), TEMPLATE, UnreadableSample("x")]) == ""
    assert json.loads(origins([TEMPLATE, FaceImage(PIXELS, origin=known)])) == [
        {},
        {"captured_at": "2026-08-17T03:00:00+00:00", "source": "SUPERVISED", "device_ref": "cam 2"},
    ]
