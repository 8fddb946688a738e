"""Quality: each component follows its own degradation, stays in range, and gives its reason exactly when it fails."""

import math
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from biometrik.config import FaceParameters, ModelParameters, RuntimeParameters
from biometrik.errors import InvalidInputError
from biometrik.face.alignment import CROP_LANDMARKS, align
from biometrik.face.pipeline import FacePipeline, ProcessedFace
from biometrik.face.quality import ALGORITHM, PROFILES, assess
from biometrik.inference import Runtime
from biometrik.reasons import Reason
from biometrik.types import Box, Face, FaceImage, Quality


@pytest.fixture(scope="module")
def portrait() -> tuple[FaceImage, Face]:
    """Return a photograph that scikit-image ships, and the face in it."""
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations
    image = FaceImage.from_file(Path(spec.submodule_search_locations[0], "data", "astronaut.png"))
    pipeline = FacePipeline(FaceParameters(), Runtime(RuntimeParameters(threads=1), ModelParameters()))
    (found,) = pipeline.process([image])
    assert isinstance(found, ProcessedFace)
    return image, found.face


def _face(landmarks: np.ndarray, confidence: float = 0.95) -> Face:
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return Face(Box(*map(float, low), *map(float, high - low)), landmarks.astype(np.float32), confidence)


def _assess(image: np.ndarray, face: Face, profile: str = "counter", faces: int = 1) -> Quality:
    return assess(image, face, align(image, face.landmarks), faces, profile)


def _falls(values: list[float]) -> bool:
    return all(after <= before + 1e-9 for before, after in pairwise(values)) and values[-1] < values[0]


def test_a_good_photograph_passes_at_the_counter(portrait: tuple[FaceImage, Face]) -> None:
    image, face = portrait
    quality = _assess(image.pixels, face)
    assert quality.acceptable
    assert quality.reasons == ()
    assert 0 < quality.overall <= 100
    names = {component.name for component in quality.components}
    assert names | {"unified_quality"} == set(PROFILES["counter"]) == set(PROFILES["portrait"])


def test_without_a_norm_the_lowest_component_for_recognition_is_the_overall_value(
    portrait: tuple[FaceImage, Face],
) -> None:
    image, face = portrait
    crop = align(image.pixels, face.landmarks)
    for known in ({"norm": 9.0}, {"norm_range": (5.0, 15.0)}):
        quality = assess(image.pixels, face, crop, 1, **known)
        assert "unified_quality" not in {component.name for component in quality.components}
        assert quality.overall == quality.component("inter_eye_distance").value
        assert quality.algorithm == f"{ALGORITHM} counter, lowest component"


@pytest.mark.parametrize(("norm", "value"), [(0.0, 0.0), (5.0, 0.0), (9.5, 45.0), (14.0, 90.0), (99.0, 100.0)])
def test_the_norm_gives_the_overall_value(portrait: tuple[FaceImage, Face], norm: float, value: float) -> None:
    image, face = portrait
    crop = align(image.pixels, face.landmarks)
    quality = assess(image.pixels, face, crop, 1, "portrait", norm=norm, norm_range=(5.0, 15.0))
    unified = quality.component("unified_quality")
    assert quality.overall == unified.value == pytest.approx(value)
    assert unified.measured == norm
    assert quality.algorithm == f"{ALGORITHM} portrait, unified"


def test_a_weak_answer_is_explained_by_what_else_fails(portrait: tuple[FaceImage, Face]) -> None:
    image, face = portrait

    def reasons(pixels: np.ndarray) -> tuple[Reason, ...]:
        crop = align(pixels, face.landmarks)
        return assess(pixels, face, crop, 1, norm=6.0, norm_range=(5.0, 15.0)).reasons

    assert reasons(image.pixels) == (Reason.FACE_UNCLEAR,)
    blurred = np.asarray(cv2.GaussianBlur(image.pixels, (0, 0), 4 * face.inter_eye_px / 35), dtype=np.uint8)
    assert reasons(blurred) == (Reason.BLURRED,)


def test_darkness(portrait: tuple[FaceImage, Face]) -> None:
    image, face = portrait
    graded = [_assess((image.pixels * k).astype(np.uint8), face) for k in (1.0, 0.4, 0.2, 0.1, 0.03)]
    assert _falls([quality.component("luminance_mean").value for quality in graded])
    assert _falls([quality.component("under_exposure").value for quality in graded])
    assert not graded[-1].acceptable
    assert Reason.TOO_DARK in graded[-1].reasons
    assert Reason.TOO_BRIGHT not in graded[-1].reasons


def test_glare(portrait: tuple[FaceImage, Face]) -> None:
    image, face = portrait
    graded = [
        _assess(np.clip(image.pixels.astype(float) + k, 0, 255).astype(np.uint8), face) for k in (0, 80, 140, 200)
    ]
    assert _falls([quality.component("over_exposure").value for quality in graded])
    assert Reason.TOO_BRIGHT in graded[-1].reasons
    assert Reason.TOO_DARK not in graded[-1].reasons


def test_fog(portrait: tuple[FaceImage, Face]) -> None:
    image, face = portrait
    graded = [
        _assess((128 + (image.pixels.astype(float) - 128) * k).astype(np.uint8), face) for k in (1, 0.5, 0.2, 0.08)
    ]
    assert _falls([quality.component("dynamic_range").value for quality in graded])
    assert Reason.LOW_CONTRAST in graded[-1].reasons


def test_blur_and_motion(portrait: tuple[FaceImage, Face]) -> None:
    image, face = portrait
    per_crop_px = face.inter_eye_px / 35
    graded = [_assess(cv2.GaussianBlur(image.pixels, (0, 0), s * per_crop_px), face) for s in (0.3, 1.0, 2.0, 4.0)]
    assert _falls([quality.component("sharpness").value for quality in graded])
    assert Reason.BLURRED in graded[-1].reasons
    moved = [_assess(cv2.blur(image.pixels, (round(s * per_crop_px), 1)), face) for s in (1, 8, 16, 40)]
    assert _falls([quality.component("sharpness").value for quality in moved])
    assert Reason.BLURRED in moved[-1].reasons


@pytest.mark.parametrize("noise", [2.0, 5.0, 10.0])
def test_noise_does_not_look_like_sharpness(
    portrait: tuple[FaceImage, Face], noise: float, rng: np.random.Generator
) -> None:
    image, face = portrait
    crop = align(image.pixels, face.landmarks)
    grain = noise * rng.standard_normal((*crop.shape[:2], 1))

    def blurred(blur_px: float, grain: float | np.ndarray) -> Quality:
        pixels = cv2.GaussianBlur(crop, (0, 0), blur_px).astype(float) + grain
        return assess(image.pixels, face, np.clip(np.round(pixels), 0, 255).astype(np.uint8), 1)

    for blur_px in (1.0, 2.0, 3.0):
        clean, noisy = (blurred(blur_px, added).component("sharpness").measured for added in (0.0, grain))
        assert noisy == pytest.approx(clean, abs=0.35)
    assert _falls([blurred(blur_px, grain).component("sharpness").value for blur_px in (0.5, 1.0, 2.0, 3.0)])
    assert Reason.BLURRED in blurred(4.0, grain).reasons


def test_a_flat_crop_has_no_detail(portrait: tuple[FaceImage, Face], rng: np.random.Generator) -> None:
    image, face = portrait
    flat = np.full((112, 112, 3), 120, np.uint8)
    grainy = np.clip(120 + 8 * rng.standard_normal(flat.shape), 0, 255).astype(np.uint8)
    for crop in (flat, grainy):
        assert assess(image.pixels, face, crop, 1).component("sharpness").value < 25


def test_light_from_one_side(portrait: tuple[FaceImage, Face]) -> None:
    image, face = portrait
    x = np.arange(image.width_px) - face.box.centre[0]
    graded = []
    for strength in (0.0, 0.5, 1.0):
        shade = 1 - strength * 0.95 / (1 + np.exp(-x / (0.05 * face.box.width)))
        graded.append(_assess((image.pixels * shade[:, None]).astype(np.uint8), face))
    assert _falls([quality.component("illumination_uniformity").value for quality in graded])
    strict = _assess((image.pixels * shade[:, None]).astype(np.uint8), face, "portrait")
    assert Reason.UNEVEN_LIGHT in strict.reasons


def test_coloured_light(portrait: tuple[FaceImage, Face]) -> None:
    image, face = portrait
    green = (image.pixels * np.array([0.3, 1.0, 0.3])).astype(np.uint8)
    natural, cast = _assess(image.pixels, face, "portrait"), _assess(green, face, "portrait")
    assert natural.component("natural_colour").value > cast.component("natural_colour").value
    assert Reason.UNNATURAL_COLOUR in cast.reasons


def test_distance() -> None:
    image = np.full((480, 640, 3), 128, np.uint8)
    graded = [_assess(image, _face(CROP_LANDMARKS * k + 100)) for k in (3.0, 1.0, 0.5)]
    assert _falls([quality.component("inter_eye_distance").value for quality in graded])
    assert graded[1].component("inter_eye_distance").measured == pytest.approx(35.24, abs=0.05)
    assert Reason.FACE_TOO_SMALL in graded[-1].reasons


def test_size_and_place_in_the_frame_count_for_a_portrait() -> None:
    image = np.full((400, 300, 3), 128, np.uint8)
    centred = CROP_LANDMARKS - [56, 60]
    good = _assess(image, _face(centred * 2.2 + [150, 180]), "portrait")
    assert good.component("head_size").acceptable
    assert good.component("head_centred").acceptable
    assert Reason.FACE_TOO_SMALL in _assess(image, _face(centred * 1.2 + [150, 180]), "portrait").reasons
    assert Reason.FACE_TOO_LARGE in _assess(image, _face(centred * 4.0 + [150, 180]), "portrait").reasons
    aside = _assess(image, _face(centred * 2.2 + [210, 180]), "portrait")
    assert Reason.FACE_OFF_CENTRE in aside.reasons
    assert aside.component("head_centred").measured == pytest.approx(0.7, abs=0.01)


def test_a_face_cut_off_at_the_edge() -> None:
    image = np.full((200, 200, 3), 128, np.uint8)
    whole, half = (_assess(image, _face(CROP_LANDMARKS + np.array([x, 40]))) for x in (40, -55))
    assert whole.component("head_inside").value == 100
    assert 40 < half.component("head_inside").value < 60
    assert Reason.FACE_CUT_OFF in half.reasons


def test_several_faces_count_for_a_portrait_only() -> None:
    image = np.full((480, 640, 3), 128, np.uint8)
    face = _face(CROP_LANDMARKS * 3 + 100)
    assert Reason.SEVERAL_FACES in _assess(image, face, "portrait", faces=2).reasons
    assert Reason.SEVERAL_FACES not in _assess(image, face, "counter", faces=2).reasons


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(np.uint8, (112, 112, 3), elements=st.integers(0, 255), fill=st.integers(0, 255)),
    hnp.arrays(np.float32, (5, 2), elements=st.floats(-500, 1500, width=32), unique=True),
    st.sampled_from(sorted(PROFILES)),
    st.integers(1, 30),
    st.none() | st.floats(0, 50),
)
def test_values_are_in_range_and_reasons_fit(
    crop: np.ndarray, landmarks: np.ndarray, profile: str, faces: int, norm: float | None
) -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    quality = assess(image, _face(landmarks), crop, faces, profile, norm=norm, norm_range=(5.0, 15.0))
    assert 0 <= quality.overall <= 100
    for component in quality.components:
        assert 0 <= component.value <= 100
        assert math.isfinite(component.measured)
        assert (component.reason is None) == component.acceptable
    assert quality.acceptable == (quality.reasons == ())


def test_arguments_are_checked() -> None:
    image, face = np.zeros((200, 200, 3), np.uint8), _face(CROP_LANDMARKS)
    with pytest.raises(InvalidInputError, match="profile: expected one of counter, portrait"):
        assess(image, face, np.zeros((112, 112, 3), np.uint8), 1, "passport")
    with pytest.raises(InvalidInputError, match="crop: expected"):
        assess(image, face, np.zeros((100, 112, 3), np.uint8), 1, "counter")
    with pytest.raises(InvalidInputError, match="norm_range: expected low < high"):
        assess(image, face, np.zeros((112, 112, 3), np.uint8), 1, norm=1.0, norm_range=(15.0, 5.0))
