"""Alignment: the transform's laws, and that strong reduction does not alias."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrik.errors import InvalidInputError
from biometrik.face.alignment import CROP_LANDMARKS, CROP_PX, align, similarity_transform


def _turned(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.asarray(points @ np.array([[c, -s], [s, c]]).T + np.array(shift))


@given(st.floats(-3.1, 3.1), st.floats(0.05, 40), st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)))
def test_any_similarity_of_the_target_is_undone(angle: float, scale: float, shift: tuple[float, float]) -> None:
    landmarks = _turned(CROP_LANDMARKS, angle, scale, shift)
    transform = similarity_transform(landmarks)
    mapped = landmarks @ transform[:, :2].T + transform[:, 2]
    np.testing.assert_allclose(mapped, CROP_LANDMARKS, atol=1e-6)


def test_the_transform_is_the_least_squares_one(rng: np.random.Generator) -> None:
    landmarks = CROP_LANDMARKS * 2 + rng.normal(0, 3, (5, 2))
    # Solved as a general linear least-squares problem in (a, b, tx, ty).
    rows = np.concatenate([[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in landmarks])
    a, b, tx, ty = np.linalg.lstsq(rows, CROP_LANDMARKS.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity_transform(landmarks), [[a, -b, tx], [b, a, ty]], atol=1e-9)


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_landmarks_without_extent_are_refused(landmarks: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="five distinct finite points"):
        similarity_transform(landmarks)


def test_an_image_already_in_place_is_kept(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (CROP_PX, CROP_PX, 3), dtype=np.uint8)
    crop = align(image, CROP_LANDMARKS)
    assert np.abs(crop.astype(int) - image).max() <= 1


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_a_large_face_is_averaged_down_in_place(factor: int, rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (CROP_PX, CROP_PX, 3), dtype=np.uint8)
    small = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), dtype=np.uint8)
    # Every pixel becomes a block of factor × factor, so averaging gives the small image back exactly.
    large = small.repeat(factor, axis=0).repeat(factor, axis=1)
    landmarks = CROP_LANDMARKS * factor + (factor - 1) / 2
    crop = align(large, landmarks * (1 + 1e-9))
    assert np.abs(crop.astype(int) - small).mean() < 1.0


def test_a_fine_pattern_vanishes_rather_than_aliasing() -> None:
    checks = (np.indices((896, 896)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    crop = align(checks, CROP_LANDMARKS * 7.3)
    inner = crop[10:-10, 10:-10].astype(int)
    assert np.ptp(inner) < 40
    assert abs(inner.mean() - 127.5) < 5


def test_outside_the_image_is_black() -> None:
    white = np.full((60, 60, 3), 255, np.uint8)
    crop = align(white, CROP_LANDMARKS)
    assert (crop[:59, :59] == 255).all()
    assert (crop[61:, 61:] == 0).all()
    far = align(white, CROP_LANDMARKS * 4 + 5000)
    assert (far == 0).all()
