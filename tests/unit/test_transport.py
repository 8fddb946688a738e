"""Samples made small: within their bytes whatever they show, cut where they should be, and still the same person's."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.fingerprint.preparation import PreparedPrint, prepare
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.imaging import encode_png, format_of
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.transport import MAX_FACE_BYTES, MAX_PRINT_BYTES, compact
from biometrik.types import Box, Face, FaceImage, SampleOrigin


def face(x: float, y: float, side: float) -> Face:
    """Return a face whose eyes are half its width apart."""
    places = ((0.25, 0.4), (0.75, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    landmarks = np.array([(x + side * right, y + side * down) for right, down in places], dtype=np.float32)
    return Face(Box(x, y, side, side), landmarks, 0.9)


def noise(height: int, width: int) -> FaceImage:
    """Return the picture that compresses worst."""
    return FaceImage(np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_a_face_is_cut_with_half_its_size_of_room_and_keeps_where_it_came_from() -> None:
    origin = SampleOrigin(datetime(2026, 11, 24, tzinfo=UTC), device_ref="camera:desk")
    picture = FaceImage(np.full((720, 1280, 3), 90, dtype=np.uint8), origin=origin)
    made = compact(picture, face(500, 200, 200))
    assert made.pixels.shape == (400, 400, 3)
    assert made.origin == origin
    assert format_of(made.encoded) == "JPEG"
    assert np.array_equal(FaceImage.from_bytes(made.encoded).pixels, made.pixels)


def test_large_faces_are_scaled_to_120_pixels_between_the_eyes() -> None:
    made = compact(FaceImage(np.full((2000, 2000, 3), 90, dtype=np.uint8)), face(500, 500, 960))
    assert made.pixels.shape == (480, 480, 3)


@settings(max_examples=20, deadline=None)
@given(x=st.floats(-400, 1000), y=st.floats(-400, 800), side=st.floats(1, 900))
def test_whatever_the_picture_and_wherever_the_face_it_fits(x: float, y: float, side: float) -> None:
    picture = noise(600, 800)
    made = compact(picture, face(x, y, side))
    assert made is picture or len(made.encoded) <= MAX_FACE_BYTES


def test_quality_is_as_high_as_fits() -> None:
    assert len(compact(noise(300, 300), face(75, 75, 150)).encoded) > 0.9 * MAX_FACE_BYTES


def test_what_is_smaller_as_it_is_stays_and_so_does_what_shows_no_face() -> None:
    plain = np.full((64, 64, 3), 90, dtype=np.uint8)
    small = FaceImage(plain, encode_png(plain))
    assert compact(small, face(8, 8, 40)) is small
    assert compact(small) is small


@pytest.mark.parametrize("ppi", [500.0, 1000.0])
def test_a_print_is_what_extractors_look_at(ppi: float) -> None:
    drawn = draw_impression(draw_finger(3, FingerPosition.LEFT_THUMB), 0).image
    size = round(ppi / 500)
    enlarged = np.pad(drawn.pixels, 96, constant_values=255).repeat(size, axis=0).repeat(size, axis=1)
    taken = FingerprintImage(enlarged, ppi, drawn.position)
    made = compact(taken)
    before, after = prepare(taken), prepare(made)
    assert isinstance(before, PreparedPrint)
    assert isinstance(after, PreparedPrint)
    assert (made.ppi, made.position) == (500.0, drawn.position)
    assert len(made.encoded) <= MAX_PRINT_BYTES
    assert format_of(made.encoded) == "JPEG2000"
    assert after.pixels.shape == before.pixels.shape
    # 19 kB are 0.9 bit a pixel here: ridges of some 100 levels stay within a few.
    assert np.abs(after.pixels.astype(int) - before.pixels).mean() < 10


def test_prints_fit_even_where_they_are_noise() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (800, 800), dtype=np.uint8)
    assert 0 < len(compact(FingerprintImage(pixels, 500.0, FingerPosition.LEFT_THUMB)).encoded) <= MAX_PRINT_BYTES


def test_a_small_print_is_lossless() -> None:
    drawn = draw_impression(draw_finger(3, FingerPosition.LEFT_THUMB), 0).image
    small = replace(drawn, pixels=np.ascontiguousarray(drawn.pixels[160:288, 128:256]))
    before, made = prepare(small), compact(small)
    assert isinstance(before, PreparedPrint)
    assert np.array_equal(made.pixels, before.pixels)


def test_a_print_without_ridges_is_returned_as_it_is() -> None:
    blank = FingerprintImage(np.full((300, 300), 255, dtype=np.uint8), 500.0)
    assert compact(blank) is blank
