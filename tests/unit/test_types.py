"""Values: checks, immutability, and the template's bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrik.errors import InvalidInputError, TemplateFormatError
from biometrik.reasons import Reason
from biometrik.types import (
    Box,
    Face,
    FaceImage,
    Modality,
    Purpose,
    Quality,
    QualityComponent,
    RequestContext,
    Template,
    sha256_hex,
)

templates = st.builds(
    Template,
    st.sampled_from(Modality),
    st.text(st.characters(codec="ascii"), min_size=1, max_size=255),
    st.binary(min_size=1, max_size=600),
    st.integers(0, 15),
)


@given(templates)
def test_a_template_survives_its_bytes(template: Template) -> None:
    assert Template.from_bytes(template.to_bytes()) == template


@given(templates, st.data())
def test_a_damaged_template_is_refused(template: Template, data: st.DataObject) -> None:
    good = template.to_bytes()
    damaged = bytearray(good)
    at = data.draw(st.integers(0, len(good) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(TemplateFormatError):
        Template.from_bytes(bytes(damaged))


@given(templates, st.data())
def test_a_truncated_or_longer_template_is_refused(template: Template, data: st.DataObject) -> None:
    good = template.to_bytes()
    with pytest.raises(TemplateFormatError):
        Template.from_bytes(good[: data.draw(st.integers(0, len(good) - 1))])
    with pytest.raises(TemplateFormatError):
        Template.from_bytes(good + data.draw(st.binary(min_size=1, max_size=20)))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_template_or_a_typed_error(data: bytes) -> None:
    with pytest.raises(TemplateFormatError):
        Template.from_bytes(data)


@pytest.mark.parametrize(
    ("contract", "payload", "position"),
    [
        ("", b"x", 0),
        ("é", b"x", 0),
        ("a" * 256, b"x", 0),
        ("a", b"", 0),
        ("a", b"x" * ((1 << 20) + 1), 0),
        ("a", b"x", 16),
    ],
)
def test_a_template_checks_its_fields(contract: str, payload: bytes, position: int) -> None:
    with pytest.raises(InvalidInputError):
        Template(Modality.FACE, contract, payload, position)


def test_a_template_does_not_show_its_payload() -> None:
    assert "secret" not in repr(Template(Modality.FACE, "m@1", b"secret"))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        [[1, 2, 3]],
    ],
)
def test_a_face_image_checks_its_pixels(pixels: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="pixels: expected"):
        FaceImage(pixels)


def test_a_face_image_is_a_read_only_view_and_leaves_the_caller_its_array() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    image = FaceImage(pixels)
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0, 0] = 1
    pixels[0, 0, 0] = 7
    assert image.pixels[0, 0, 0] == 7
    assert (image.width_px, image.height_px) == (5, 4)


def test_a_face_measures_its_eyes() -> None:
    landmarks = np.array([[10, 10], [40, 50], [25, 40], [15, 60], [35, 60]], np.float32)
    face = Face(Box(0, 0, 60, 80), landmarks, 0.9)
    assert face.inter_eye_px == pytest.approx(50.0)
    assert (face.box.area, *face.box.centre) == (4800, 30, 40)
    with pytest.raises(InvalidInputError, match=r"expected \(5, 2\)"):
        Face(Box(0, 0, 1, 1), np.zeros((4, 2), np.float32), 0.9)


def test_quality_orders_its_reasons_by_shortfall() -> None:
    quality = Quality(
        10.0,
        "test/1",
        (
            QualityComponent("sharpness", 30.0, 1.0, "", 40.0, Reason.BLURRED),
            QualityComponent("under_exposure", 5.0, 0.9, "", 50.0, Reason.TOO_DARK),
            QualityComponent("head_size", 80.0, 0.5, "", 50.0, None),
        ),
    )
    assert not quality.acceptable
    assert quality.reasons == (Reason.TOO_DARK, Reason.BLURRED)
    assert quality.component("head_size").acceptable
    with pytest.raises(InvalidInputError, match="expected one of"):
        quality.component("nonsense")


def test_request_context_bounds_its_references() -> None:
    assert RequestContext(operator_ref="desk 4").operator_ref == "desk 4"
    with pytest.raises(InvalidInputError, match="operator_ref"):
        RequestContext(operator_ref="x" * 129)
    with pytest.raises(InvalidInputError, match="transaction_id"):
        RequestContext(transaction_id="a\nb")
    assert RequestContext(purpose=Purpose.AUDIT).purpose is Purpose.AUDIT
    with pytest.raises(InvalidInputError, match="purpose: expected a Purpose or None, got str"):
        RequestContext(purpose="AUDIT")  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_digests_differ_where_the_parts_do(first: list[bytes], second: list[bytes]) -> None:
    assert (sha256_hex(*first) == sha256_hex(*second)) == (first == second)
