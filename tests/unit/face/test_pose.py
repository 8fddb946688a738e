"""Head pose: known turns of the generic head are read back, and its error on other heads is what the docstring says."""

import math
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik.config import DetectionParameters, ModelParameters, RuntimeParameters
from biometrik.face.alignment import CROP_LANDMARKS
from biometrik.face.detection import DETECTORS
from biometrik.face.pose import HEAD_MODEL, head_pose
from biometrik.inference import Runtime
from biometrik.types import FaceImage


def _seen(head: NDArray[np.float64], yaw: float, pitch: float) -> NDArray[np.float64]:
    c, s = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = math.cos(math.radians(pitch)), math.sin(math.radians(pitch))
    nod = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    return np.asarray((head @ (nod @ turn).T)[:, :2])


def _degrees(landmarks: NDArray[np.floating]) -> list[float]:
    return [math.degrees(angle) for angle in head_pose(landmarks)]


@pytest.mark.parametrize("degrees", [-40, -8, 0, 8, 40])
def test_roll_is_read_off_the_image(degrees: float) -> None:
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    assert head_pose(CROP_LANDMARKS @ turn.T)[2] == pytest.approx(angle, abs=0.01)


@given(st.floats(-70, 70), st.floats(-40, 40), st.floats(10, 400), st.floats(-500, 500))
def test_a_turned_head_is_measured_at_any_size_and_place(yaw: float, pitch: float, size: float, place: float) -> None:
    found = _degrees(size * _seen(HEAD_MODEL, yaw, pitch) + place)
    assert found == pytest.approx([yaw, pitch, 0], abs=0.5)


@given(st.floats(-60, 60), st.floats(-30, 30))
def test_a_mirrored_head_turns_the_other_way(yaw: float, pitch: float) -> None:
    landmarks = _seen(HEAD_MODEL, yaw, pitch)
    mirrored = landmarks[[1, 0, 2, 4, 3]] * [-1, 1]
    turn, nod, lean = _degrees(landmarks)
    assert _degrees(mirrored) == pytest.approx([-turn, nod, -lean], abs=1e-6)


def test_far_turns_end_at_the_limits() -> None:
    assert _degrees(_seen(HEAD_MODEL, 88, 0))[0] == 80


@pytest.mark.parametrize(("yaw", "errors"), [(0, (6, 12)), (60, (4, 3))])
def test_the_error_on_other_heads_is_as_documented(
    yaw: float, errors: tuple[float, float], rng: np.random.Generator
) -> None:
    off = []
    for _ in range(600):
        head = HEAD_MODEL.copy()
        head[2] += rng.normal(size=3) * [0, 0.06, 0.2 * 0.45]
        head[3:] *= [1 + 0.1 * rng.normal(), 1, 1]
        head[3:] += rng.normal(size=3) * [0, 0.08, 0.05]
        found = _degrees(_seen(head, yaw, 0) + 0.03 * rng.normal(size=(5, 2)))
        off.append([found[0] - yaw, found[1]])
    assert np.sqrt(np.mean(np.square(off), axis=0)) == pytest.approx(errors, abs=1)


def test_one_who_looks_aside_is_read_alike_at_every_size() -> None:
    # The fifth of the group's six looks to the image's left, with both eyes in view.
    spec = find_spec("insightface")
    assert spec is not None
    assert spec.submodule_search_locations
    group = FaceImage.from_file(Path(spec.submodule_search_locations[0], "data", "images", "t1.jpg")).pixels
    detector = DETECTORS.load("yunet")(DetectionParameters(), Runtime(RuntimeParameters(threads=1), ModelParameters()))
    face = sorted(detector.detect([group])[0], key=lambda face: face.box.x)[4]
    x, y = face.box.centre
    half = 1.1 * face.box.height
    cut = group[max(0, int(y - half)) : int(y + half), max(0, int(x - half)) : int(x + half)]
    for scale in (0.6, 1.0, 1.6, 2.0):
        image = np.asarray(cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        (found,) = detector.detect([image])[0]
        yaw, _, _ = _degrees(found.landmarks)
        assert -65 < yaw < -45
