"""What every face detector and embedder keeps to; the cases are the registries' own names.

A plug-in with weights of its own is tried on a photograph. Those that serve a deployer's pack get a small one, made
here: its detector takes a white cell for a face, its embedder projects the crop.
"""

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from biometrik.config import DetectionParameters, ModelParameters, RuntimeParameters
from biometrik.errors import InvalidInputError
from biometrik.face.detection import DETECTORS, Detector
from biometrik.face.embedding import EMBEDDERS, Embedder
from biometrik.inference import Runtime
from biometrik.types import Face, FaceImage

Image = NDArray[np.uint8]
Array = NDArray[Any]

#: Plug-ins whose weights come from a pack; any other is expected to find a face in a photograph.
PACKED = ("scrfd", "arcface")

# A pack with the signatures of InsightFace's.

_CELL = 8
_SIDE = 64
_STRIDES = (8, 16, 32)
#: Landmarks from the cell's corner, in cells: eyes, nose, mouth corners around the white square's middle.
_POINTS = (0.2, 0.3, 0.8, 0.3, 0.5, 0.5, 0.3, 0.7, 0.7, 0.7)


def _model(nodes: list[NodeProto], constants: dict[str, Array], side: int, outputs: dict[str, list[Any]]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, side, side])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _detector() -> bytes:
    # One anchor a cell. At stride 8 its score is the cell's brightness, at the others it is 0.
    nodes: list[NodeProto] = []
    constants: dict[str, Array] = {}
    outputs: dict[str, list[Any]] = {}
    for kind, width in (("score", 1), ("box", 4), ("points", 10)):
        for stride in _STRIDES:
            name = f"{kind}_{stride}"
            weights = np.zeros((width, 3, stride, stride), dtype=np.float32)
            answer: Any = {"score": (0.0,), "box": (0.0, 0.0, 1.0, 1.0), "points": _POINTS}[kind]
            if name == f"score_{_CELL}":  # what enters is (x − 127.5) / 128
                weights[:] = 128 / 255 / weights.size
                answer = (0.5,)
            constants |= {f"{name}_w": weights, f"{name}_b": np.array(answer, dtype=np.float32)}
            constants[f"{name}_shape"] = np.array([0, -1, width], dtype=np.int64)
            nodes += [
                helper.make_node("Conv", ["x", f"{name}_w", f"{name}_b"], [f"{name}_map"], strides=[stride] * 2),
                helper.make_node("Transpose", [f"{name}_map"], [f"{name}_last"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_last", f"{name}_shape"], [name]),
            ]
            outputs[name] = ["N", (_SIDE // stride) ** 2, width]
    return _model(nodes, constants, _SIDE, outputs)


def _embedder(rng: np.random.Generator) -> bytes:
    nodes = [
        helper.make_node("AveragePool", ["x"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("PRelu", ["cells", "slope"], ["bent"]),
        helper.make_node("Flatten", ["bent"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["y"]),
    ]
    constants = {
        "slope": np.full((3, 1, 1), 0.25, dtype=np.float32),
        "matrix": rng.normal(size=(147, 64)).astype(np.float32),
    }
    return _model(nodes, constants, 112, {"y": ["N", 64]})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelParameters:
    pack = tmp_path_factory.mktemp("pack")
    files = {
        "face-detector": ("det.onnx", _detector(), "anchors = 1"),
        "face-embedder": ("rec.onnx", _embedder(np.random.default_rng(7)), ""),
    }
    declaration = ['name = "tiny"']
    for role, (file, data, more) in files.items():
        (pack / file).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        declaration += ["[[weights]]", f'role = "{role}"', f'file = "{file}"', f'sha256 = "{digest}"', more]
        declaration += ['licence = "MIT"', 'source = "made by this test"']
    (pack / "biometrik.toml").write_text("\n".join(declaration))
    return ModelParameters(cache=tmp_path_factory.mktemp("cache"), pack=pack)


def _runtime(models: ModelParameters, provider: str = "cpu", batch_size: int = 16) -> Runtime:
    return Runtime(RuntimeParameters(provider=provider, threads=1, batch_size=batch_size), models)


# Detectors.


@dataclass(frozen=True)
class Scene:
    """An image that holds one face, and where its landmarks are, within how many pixels."""

    image: Image
    landmarks: NDArray[np.float64]
    tolerance_px: float
    #: The landmarks move with the image by any multiple of this.
    step_px: int


def _scene(name: str) -> Scene:
    if name in PACKED:
        image = np.zeros((_SIDE, _SIDE, 3), dtype=np.uint8)
        image[16:24, 24:32] = 255
        return Scene(image, np.array([24, 16]) + np.array(_POINTS).reshape(5, 2) * _CELL, 1e-3, _CELL)
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations
    photograph = FaceImage.from_file(Path(spec.submodule_search_locations[0], "data", "astronaut.png"))
    # The head and shoulders. The landmarks were read off the photograph by eye; the eyes are 44 px apart.
    marks = np.array([[107.0, 85.0], [151.0, 87.5], [127.0, 111.0], [108.0, 124.0], [149.0, 125.0]])
    return Scene(np.ascontiguousarray(photograph.pixels[16:272, 96:352]), marks, 6.0, 32)


@pytest.fixture(scope="module", params=DETECTORS.names())
def detector_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def scene(detector_name: str) -> Scene:
    return _scene(detector_name)


@pytest.fixture(scope="module")
def detector(detector_name: str, models: ModelParameters) -> Detector:
    return _open_detector(detector_name, _runtime(models))


def _open_detector(name: str, runtime: Runtime) -> Detector:
    return DETECTORS.load(name)(DetectionParameters(max_side_px=512), runtime)


def _numbers(faces: Sequence[Face]) -> NDArray[np.float64]:
    rows = [[f.box.x, f.box.y, f.box.width, f.box.height, *f.landmarks.ravel().tolist(), f.confidence] for f in faces]
    return np.array(rows, dtype=np.float64).reshape(-1, 15)


def _variations(scene: Scene) -> list[Image]:
    image = scene.image
    shifted = np.roll(image, scene.step_px, axis=1)
    return [image, np.zeros_like(image), shifted, image[:, : -scene.step_px], image]


def test_a_face_is_found_where_it_is(detector: Detector, scene: Scene) -> None:
    ((face,),) = detector.detect([scene.image])
    assert np.abs(face.landmarks - scene.landmarks).max() <= scene.tolerance_px
    assert face.landmarks.dtype == np.float32
    assert 0.6 <= face.confidence <= 1 + 1e-5
    # The box is around them: their mean is near its middle, a little lower where it holds the forehead.
    x, y = (face.landmarks.mean(axis=0) - face.box.centre) / (face.box.width, face.box.height)
    assert abs(x) < 0.1
    assert -0.05 < y < 0.25
    assert face.box.area**0.5 < 3.5 * face.inter_eye_px


def test_the_subjects_right_eye_comes_first(detector: Detector, scene: Scene) -> None:
    ((face,),) = detector.detect([scene.image])
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_the_answer_moves_with_the_image(detector: Detector, scene: Scene) -> None:
    step = scene.step_px
    ((here,),), ((there,),) = detector.detect([scene.image]), detector.detect([np.roll(scene.image, step, axis=1)])
    offset = (there.landmarks - here.landmarks).mean(axis=0)
    np.testing.assert_allclose(offset, [step, 0], atol=max(1e-3, scene.tolerance_px / 8))


def test_a_batch_is_its_images(detector_name: str, models: ModelParameters, detector: Detector, scene: Scene) -> None:
    images = _variations(scene)
    alone = [_numbers(detector.detect([image])[0]) for image in images]
    assert [len(rows) for rows in alone] == [1, 0, 1, 1, 1]
    for batch_size in (1, 2, 16):
        found = _open_detector(detector_name, _runtime(models, batch_size=batch_size)).detect(images)
        for one, faces in zip(alone, found, strict=True):
            np.testing.assert_allclose(_numbers(faces), one, atol=1e-3)


def test_nothing_in_gives_nothing_out(detector: Detector, scene: Scene) -> None:
    assert detector.detect([]) == []
    assert detector.detect([np.zeros_like(scene.image)]) == [[]]
    assert detector.detect([np.zeros((1, 1, 3), dtype=np.uint8)]) == [[]]


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (0, 8, 3)])
def test_other_arrays_are_refused(detector: Detector, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"expected \(H, W, 3\) uint8"):
        detector.detect([np.zeros(shape, dtype=np.uint8)])


def test_images_may_be_frozen_and_strided(detector: Detector, scene: Scene) -> None:
    expected = _numbers(detector.detect([scene.image])[0])
    wide = np.repeat(scene.image, 2, axis=1)
    wide.flags.writeable = False
    np.testing.assert_array_equal(_numbers(detector.detect([wide[:, ::2]])[0]), expected)


def test_a_detector_answers_the_same_in_threads(detector: Detector, scene: Scene) -> None:
    images = _variations(scene)
    expected = [_numbers(detector.detect([image])[0]) for image in images]

    def differs(i: int) -> bool:
        i %= len(images)
        return not np.array_equal(_numbers(detector.detect([images[i]])[0]), expected[i])

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(differs, range(20)))


def test_detectors_agree_across_providers(
    detector_name: str, models: ModelParameters, detector: Detector, scene: Scene
) -> None:
    other = _open_detector(detector_name, _runtime(models, "openvino"))
    np.testing.assert_allclose(
        _numbers(other.detect([scene.image])[0]), _numbers(detector.detect([scene.image])[0]), atol=0.05
    )
    _assert_contract(detector.contract(), other.contract())


# Embedders.


@pytest.fixture(scope="module", params=EMBEDDERS.names())
def embedder_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def embedder(embedder_name: str, models: ModelParameters) -> Embedder:
    return EMBEDDERS.load(embedder_name)(_runtime(models))


@pytest.fixture
def crops(rng: np.random.Generator) -> Image:
    # Blocks rather than noise: after pooling, noise would be the same gray everywhere.
    blocks = rng.integers(0, 256, (5, 7, 7, 3)).astype(np.uint8)
    return blocks.repeat(16, axis=1).repeat(16, axis=2)


def test_rows_are_unit_vectors(embedder: Embedder, crops: Image) -> None:
    rows = embedder.embed(crops)
    assert rows.shape == (len(crops), embedder.dimension)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert (rows @ rows.T)[~np.eye(len(rows), dtype=bool)].max() < 0.999  # other crops, other vectors


def test_norms_are_positive_and_lie_by_the_range(embedder: Embedder, crops: Image) -> None:
    rows, norms = embedder.embed_and_grade(crops)
    np.testing.assert_array_equal(rows, embedder.embed(crops))
    assert norms.shape == (len(crops),)
    assert norms.dtype == np.float32
    assert (norms > 0).all()
    if embedder.norm_range is not None:
        low, high = embedder.norm_range
        assert 0 <= low < high
        # What holds no face is at the lower end, within a fifth of the range.
        noise = np.random.default_rng(3).integers(0, 256, crops.shape, dtype=np.uint8)
        assert np.abs(embedder.embed_and_grade(noise)[1].mean() - low) < 0.2 * (high - low)


def test_a_batch_is_its_crops(embedder_name: str, models: ModelParameters, embedder: Embedder, crops: Image) -> None:
    alone = np.concatenate([embedder.embed(crop[None]) for crop in crops])
    for batch_size in (1, 2, 16):
        together = EMBEDDERS.load(embedder_name)(_runtime(models, batch_size=batch_size)).embed(crops)
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_no_crop_gives_no_row(embedder: Embedder) -> None:
    assert embedder.embed(np.empty((0, 112, 112, 3), dtype=np.uint8)).shape == (0, embedder.dimension)


@pytest.mark.parametrize("shape", [(112, 112, 3), (1, 96, 112, 3), (1, 3, 112, 112)])
def test_other_crops_are_refused(embedder: Embedder, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"expected \(N, 112, 112, 3\) uint8"):
        embedder.embed(np.zeros(shape, dtype=np.uint8))


def test_flip_forgets_the_side(embedder_name: str, models: ModelParameters, embedder: Embedder, crops: Image) -> None:
    flipping = EMBEDDERS.load(embedder_name)(_runtime(models), flip=True)
    mirrored = crops[:, :, ::-1]
    np.testing.assert_allclose(flipping.embed(crops), flipping.embed(mirrored), atol=1e-5)
    assert np.abs(flipping.embed(crops) - embedder.embed(crops)).max() > 1e-3
    assert np.abs(embedder.embed(mirrored) - embedder.embed(crops)).max() > 1e-3


def test_embeddings_know_red_from_blue(embedder: Embedder, crops: Image) -> None:
    assert np.abs(embedder.embed(crops[..., ::-1]) - embedder.embed(crops)).max() > 1e-3


def test_an_embedder_answers_the_same_in_threads(embedder: Embedder, crops: Image) -> None:
    expected = [embedder.embed(crop[None]) for crop in crops]

    def differs(i: int) -> bool:
        i %= len(crops)
        return not np.array_equal(embedder.embed(crops[i : i + 1]), expected[i])

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(differs, range(20)))


def test_embedders_agree_across_providers(
    embedder_name: str, models: ModelParameters, embedder: Embedder, crops: Image
) -> None:
    other = EMBEDDERS.load(embedder_name)(_runtime(models, "openvino"))
    cosines = (other.embed(crops) * embedder.embed(crops)).sum(axis=1)
    assert cosines.min() >= 0.9999
    _assert_contract(embedder.contract(), other.contract())


def _assert_contract(contract: Any, other: Any) -> None:
    # Names its weights and their input, and is the same whoever runs them.
    assert re.fullmatch("[0-9a-f]{64}", contract["weights"])
    assert all(isinstance(value, str) and value for pair in contract.items() for value in pair)
    assert set(contract) > {"weights"}
    assert dict(contract) == dict(other)
