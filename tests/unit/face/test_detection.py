"""What is done with a detector's boxes: suppression, choice, scale."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.config import DetectionParameters, FacePolicy, ModelParameters, RuntimeParameters
from biometrik.errors import InvalidInputError
from biometrik.face.detection import Detector, choose, suppress
from biometrik.inference import Runtime
from biometrik.types import Box, Face


def _row(x: float, y: float, side: float, confidence: float) -> list[float]:
    landmarks = [x + 0.3 * side, y + 0.4 * side, x + 0.7 * side, y + 0.4 * side, x + 0.5 * side, y + 0.6 * side]
    return [x, y, side, side, *landmarks, x + 0.4 * side, y + 0.8 * side, x + 0.6 * side, y + 0.8 * side, confidence]


def _face(x: float, y: float, side: float, confidence: float = 0.9) -> Face:
    row = np.array(_row(x, y, side, confidence), np.float32)
    return Face(Box(x, y, side, side), row[4:14].reshape(5, 2), confidence)


class Planted(Detector):
    """Finds one face in the middle quarter of each image, and an unsure and a broken one."""

    def _load(self, runtime: Runtime) -> None:
        self.batches: list[tuple[int, tuple[int, ...]]] = []

    def contract(self) -> Mapping[str, str]:
        return {}

    def _detect(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        self.batches.append((len(images), images[0].shape))
        rows = []
        for image in images:
            side = image.shape[1] / 2
            middle = _row(image.shape[1] / 2 - side / 2, image.shape[0] / 2 - side / 2, side, 0.8)
            broken = [*middle[:13], float("nan"), 0.99]
            rows.append(np.array([_row(0, 0, 10, 0.3), middle, broken], np.float32))
        return rows


@pytest.fixture
def detector() -> Planted:
    return Planted(DetectionParameters(max_side_px=320), Runtime(RuntimeParameters(batch_size=2), ModelParameters()))


def test_suppression_keeps_the_most_confident_of_overlapping_boxes() -> None:
    rows = np.array([_row(0, 0, 100, 0.7), _row(5, 5, 100, 0.9), _row(200, 0, 100, 0.8)], np.float32)
    kept = suppress(rows, 0.3)
    assert kept[:, 14].tolist() == pytest.approx([0.9, 0.8])


def test_suppression_is_by_intersection_over_union() -> None:
    # Two unit squares shifted by half overlap with IoU 1/3.
    rows = np.array([_row(0, 0, 100, 0.9), _row(50, 0, 100, 0.8)], np.float32)
    assert len(suppress(rows, 0.34)) == 2
    assert len(suppress(rows, 0.33)) == 1


def test_suppression_of_nothing_is_nothing() -> None:
    assert suppress(np.zeros((0, 15), np.float32), 0.3).shape == (0, 15)


def test_detections_are_in_pixels_of_the_original(detector: Planted) -> None:
    (faces,) = detector.detect([np.zeros((900, 1280, 3), np.uint8)])
    assert len(faces) == 1
    box = faces[0].box
    assert box.width == pytest.approx(640, rel=1e-3)
    assert box.centre == pytest.approx((640, 450), abs=2.5)
    assert detector.batches == [(1, (225, 320, 3))]


def test_scaling_keeps_pixel_centres(detector: Planted) -> None:
    (faces,) = detector.detect([np.zeros((640, 640, 3), np.uint8)])
    # The planted right eye is at 80 + 0.3·160 = 128 in the half-size image; its centre is at 2·(128 + 0.5) − 0.5.
    assert faces[0].landmarks[0, 0] == pytest.approx(256.5)


def test_equal_shapes_run_together_in_bounded_batches(detector: Planted) -> None:
    images = [np.zeros((h, 100, 3), np.uint8) for h in (50, 60, 50, 50, 60)]
    found = detector.detect(images)
    assert [len(faces) for faces in found] == [1] * 5
    assert sorted(detector.batches) == [(1, (50, 100, 3)), (2, (50, 100, 3)), (2, (60, 100, 3))]
    assert [faces[0].box.centre[1] for faces in found] == pytest.approx([25, 30, 25, 25, 30])


def test_images_are_checked(detector: Planted) -> None:
    with pytest.raises(InvalidInputError, match=r"expected \(H, W, 3\) uint8"):
        detector.detect([np.zeros((5, 5), np.uint8)])


def test_a_large_central_face_beats_a_larger_one_at_the_edge() -> None:
    central, edge = _face(450, 450, 100), _face(0, 0, 150)
    assert choose([edge, central], (1000, 1000, 3), FacePolicy.LARGEST_CENTRAL) is central
    assert (
        choose([_face(450, 450, 100), large := _face(350, 350, 300)], (1000, 1000, 3), FacePolicy.LARGEST_CENTRAL)
        is large
    )


def test_the_strict_policy_refuses_several_faces() -> None:
    one, two = _face(0, 0, 100), _face(200, 0, 100)
    assert choose([one], (300, 300, 3), FacePolicy.ERROR) is one
    assert choose([one, two], (300, 300, 3), FacePolicy.ERROR) is None
