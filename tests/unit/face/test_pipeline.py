"""The face pipeline with the bundled weights, beside OpenCV's own implementation of the same two networks."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.config import DetectionParameters, FaceParameters, FacePolicy, ModelParameters, RuntimeParameters
from biometrik.errors import InvalidInputError, PluginNotFoundError
from biometrik.face.pipeline import FacePipeline, ProcessedFace, RejectedFace
from biometrik.inference import Runtime
from biometrik.manifest import PReluForm
from biometrik.reasons import Reason
from biometrik.transparency import DirectorySink
from biometrik.types import FaceImage

RUNTIME = Runtime(RuntimeParameters(threads=1, batch_size=4), ModelParameters())


def _shipped(package: str, *parts: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)


@pytest.fixture(scope="module")
def pipeline() -> FacePipeline:
    return FacePipeline(FaceParameters(), RUNTIME)


@pytest.fixture(scope="module")
def group() -> FaceImage:
    return FaceImage.from_file(_shipped("insightface", "data", "images", "t1.jpg"))


@pytest.fixture(scope="module")
def astronaut() -> FaceImage:
    return FaceImage.from_file(_shipped("skimage", "data", "astronaut.png"))


def test_six_people_are_found_in_the_group(pipeline: FacePipeline, group: FaceImage) -> None:
    (faces,) = pipeline.detector.detect([group.pixels])
    assert len(faces) == 6
    for face in faces:
        right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
        assert right_eye[0] < nose[0] < left_eye[0]
        assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
        assert face.box.x < right_eye[0] < face.box.x + face.box.width


def test_detection_on_a_scaled_copy_finds_the_same_places(group: FaceImage) -> None:
    native, scaled = (
        FacePipeline(FaceParameters(detection=DetectionParameters(max_side_px=side)), RUNTIME).detector.detect(
            [group.pixels]
        )[0]
        for side in (1280, 640)
    )
    assert len(native) == len(scaled) == 6
    for face in native:
        nearest = min(scaled, key=lambda other: abs(other.box.x - face.box.x))
        offset = np.linalg.norm(nearest.landmarks - face.landmarks, axis=1).max()
        # The landmarks of a turned head move most: one of the six looks sideways.
        assert offset < 0.4 * face.inter_eye_px


def test_a_face_is_the_same_alone_and_in_a_batch(
    pipeline: FacePipeline, group: FaceImage, astronaut: FaceImage
) -> None:
    images = [astronaut, group, astronaut, FaceImage(astronaut.pixels[:400])]
    together = pipeline.process(images)
    for image, result in zip(images, together, strict=True):
        (alone,) = pipeline.process([image])
        assert isinstance(alone, ProcessedFace)
        assert isinstance(result, ProcessedFace)
        assert float(alone.embedding @ result.embedding) > 0.99999
        np.testing.assert_allclose(alone.face.landmarks, result.face.landmarks, atol=0.01)


def test_a_high_resolution_copy_has_the_same_embedding(pipeline: FacePipeline, astronaut: FaceImage) -> None:
    large = cv2.resize(astronaut.pixels, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
    small, again = pipeline.process([astronaut, FaceImage(np.asarray(large, dtype=np.uint8))])
    assert isinstance(small, ProcessedFace)
    assert isinstance(again, ProcessedFace)
    assert float(small.embedding @ again.embedding) > 0.9


def test_a_second_look_steadies_the_landmarks(pipeline: FacePipeline, astronaut: FaceImage) -> None:
    once, twice = [], []
    for scale in (1.0, 1.25, 1.6, 2.0):
        image = cv2.resize(astronaut.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        pixels = np.asarray(image, dtype=np.uint8)
        face = pipeline.detector.detect([pixels])[0][0]
        (again,) = pipeline.detector.refine([pixels], [face])
        assert again.box == face.box
        once.append(face.landmarks / scale)
        twice.append(again.landmarks / scale)
    scatter = [float(np.std(looks, axis=0).mean()) for looks in (once, twice)]
    assert scatter[1] < scatter[0]


def test_a_second_look_that_finds_nothing_changes_nothing(pipeline: FacePipeline, astronaut: FaceImage) -> None:
    (face,) = pipeline.detector.detect([astronaut.pixels])[0][:1]
    (same,) = pipeline.detector.refine([np.zeros_like(astronaut.pixels)], [face])
    assert same is face


@pytest.mark.parametrize("flip", [False, True])
def test_overall_quality_is_what_the_embedder_saw(astronaut: FaceImage, flip: bool) -> None:
    pipeline = FacePipeline(FaceParameters(flip=flip), RUNTIME)
    images = [astronaut, *(FaceImage(_blurred(astronaut, px)) for px in (3.0, 6.0))]
    results = [result for result in pipeline.process(images) if isinstance(result, ProcessedFace)]
    _, norms = pipeline.embedder.embed_and_grade(np.stack([result.crop for result in results]))
    low, high = pipeline.embedder.norm_range or (0, 0)
    for result, norm in zip(results, norms, strict=True):
        unified = result.quality.component("unified_quality")
        assert unified.measured == pytest.approx(float(norm), rel=1e-4)
        assert result.quality.overall == unified.value == pytest.approx(100 * (norm - low) / (high - low), abs=0.01)
    values = [result.quality.overall for result in results]
    assert values[0] > 60
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 3


def _blurred(image: FaceImage, blur_px: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(image.pixels, (0, 0), blur_px), dtype=np.uint8)


def test_an_embedder_of_unknown_norms_leaves_the_lowest_component(
    astronaut: FaceImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = FacePipeline(FaceParameters(), RUNTIME)
    monkeypatch.setattr(type(pipeline.embedder), "norm_range", None)
    (result,) = pipeline.process([astronaut])
    assert isinstance(result, ProcessedFace)
    assert result.quality.algorithm.endswith("lowest component")


def test_no_face_and_several_faces_are_rejections(pipeline: FacePipeline, group: FaceImage) -> None:
    cat = FaceImage.from_file(_shipped("skimage", "data", "chelsea.png"))
    assert pipeline.process([cat]) == [RejectedFace(Reason.NO_FACE, 0)]
    strict = FacePipeline(FaceParameters(policy=FacePolicy.ERROR), RUNTIME)
    assert strict.process([group]) == [RejectedFace(Reason.SEVERAL_FACES, 6)]
    assert pipeline.process([]) == []


def test_the_default_policy_takes_a_large_central_face(pipeline: FacePipeline, group: FaceImage) -> None:
    (result,) = pipeline.process([group])
    assert isinstance(result, ProcessedFace)
    assert abs(result.face.box.centre[0] - group.width_px / 2) < group.width_px / 4


def test_the_contract_names_what_shapes_the_numbers(pipeline: FacePipeline) -> None:
    others = [
        FaceParameters(flip=True),
        FaceParameters(detection=DetectionParameters(refine=True)),
        FaceParameters(detection=DetectionParameters(max_side_px=512)),
        FaceParameters(detection=DetectionParameters(min_confidence=0.7)),
    ]
    ids = {pipeline.contract_id, *(FacePipeline(parameters, RUNTIME).contract_id for parameters in others)}
    assert len(ids) == 5
    assert pipeline.contract_id.startswith("yunet+sface@")
    same = FacePipeline(FaceParameters(policy=FacePolicy.ERROR, quality_profile="portrait"), RUNTIME)
    assert same.contract_id == pipeline.contract_id


def test_settings_are_checked() -> None:
    with pytest.raises(InvalidInputError, match="quality_profile: expected one of"):
        FacePipeline(FaceParameters(quality_profile="passport"), RUNTIME)
    with pytest.raises(PluginNotFoundError, match="detector: expected one of"):
        FacePipeline(FaceParameters(detector="mtcnn"), RUNTIME)


def test_stages_reach_the_sink(pipeline: FacePipeline, astronaut: FaceImage, tmp_path: Path) -> None:
    (result,) = pipeline.process([astronaut], sink=DirectorySink(tmp_path))
    assert isinstance(result, ProcessedFace)
    np.testing.assert_array_equal(np.load(tmp_path / "001-crops.npy")[0], result.crop)


def test_boxes_and_landmarks_equal_opencv_at_native_scale(
    pipeline: FacePipeline, group: FaceImage, astronaut: FaceImage
) -> None:
    for image in (FaceImage(group.pixels[150:790, 300:940]), astronaut):
        reference = cv2.FaceDetectorYN.create(
            str(_folded("yunet-2023mar")), "", (image.width_px, image.height_px), 0.6, 0.3
        )
        _, rows = reference.detect(np.ascontiguousarray(image.pixels))
        (faces,) = pipeline.detector.detect([image.pixels])
        assert len(faces) == len(rows) >= 1
        for row in rows:
            face = min(faces, key=lambda face: abs(face.box.x - row[0]))
            box = [face.box.x, face.box.y, face.box.width, face.box.height]
            np.testing.assert_allclose(box, row[:4], atol=0.01)
            np.testing.assert_allclose(face.landmarks.ravel(), row[4:14], atol=0.01)
            assert face.confidence == pytest.approx(row[14], abs=1e-4)


def test_embeddings_equal_opencv_on_the_same_crops(pipeline: FacePipeline, group: FaceImage) -> None:
    (faces,) = pipeline.detector.detect([group.pixels])
    from biometrik.face.alignment import align

    crops = np.stack([align(group.pixels, face.landmarks) for face in faces])
    reference = cv2.FaceRecognizerSF.create(str(_folded("sface-2021dec")), "")
    for crop, embedding in zip(crops, pipeline.embedder.embed(crops), strict=True):
        feature = reference.feature(np.ascontiguousarray(crop[..., ::-1]))[0]
        assert float(embedding @ feature / np.linalg.norm(feature)) >= 0.9999


def _folded(weights_id: str) -> Path:
    # OpenCV cannot read the shipped, block-quantised files either: it gets the folded ones, which our detector takes
    # in RGB order and OpenCV feeds without swapping (its pipeline runs on what it is given).
    from biometrik import models

    return models.bundled(weights_id, ModelParameters(), prelu=PReluForm.NATIVE).path
