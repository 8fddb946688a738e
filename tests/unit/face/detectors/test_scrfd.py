"""SCRFD packs: a small network of the same signature finds bright squares where they were planted."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from biometrik.config import DetectionParameters, ModelParameters, RuntimeParameters
from biometrik.errors import ModelError, ModelNotFoundError
from biometrik.face.detection import DETECTORS
from biometrik.face.detectors.scrfd import Scrfd
from biometrik.inference import Runtime
from biometrik.types import Box, Face

Image = NDArray[np.uint8]
SIDE = 64

#: What every anchor of a stride answers, in strides: left, top, right, bottom, then the landmarks' x, y.
BOX = {8: (1.0, 2.0, 3.0, 4.0), 16: (0.5, 0.5, 1.0, 1.0), 32: (0.25, 0.5, 0.25, 1.0), 64: (0.1, 0.2, 0.3, 0.4)}
POINTS = np.arange(10) / 10 - 0.3


def net(
    *,
    strides: Sequence[int] = (8, 16, 32),
    anchors: int = 2,
    landmarks: bool = True,
    batched: bool = False,
    size: int | str = "S",
) -> bytes:
    """Serialise a network whose last anchor of a cell scores the cell's mean brightness, 0..1; the others score 0."""
    nodes: list[NodeProto] = []
    constants: dict[str, NDArray[np.generic]] = {}
    outputs: dict[str, list[int | str]] = {}
    kinds = {"score": 1, "box": 4, "points": 10} if landmarks else {"score": 1, "box": 4}
    for kind, width in kinds.items():
        shape = [0, -1, width] if batched else [-1, width]
        constants[f"{kind}_shape"] = np.array(shape, dtype=np.int64)
    for kind, width in kinds.items():
        for stride in strides:
            name = f"{kind}_{stride}"
            weights = np.zeros((anchors, width, 3, 1, 1), dtype=np.float32)
            bias = np.zeros((anchors, width), dtype=np.float32)
            if kind == "score":
                # Normalised pixels are (x − 127.5) / 128.
                weights[-1] = 128 / 255 / 3
                bias[-1] = 0.5
            else:
                bias[:] = BOX[stride] if kind == "box" else POINTS
            constants[f"{name}_w"] = weights.reshape(-1, 3, 1, 1)
            constants[f"{name}_b"] = bias.reshape(-1)
            if kind == "score":
                sides = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
                nodes.append(helper.make_node("AveragePool", ["input.1"], [f"cells_{stride}"], **sides))
            nodes += [
                helper.make_node("Conv", [f"cells_{stride}", f"{name}_w", f"{name}_b"], [f"{name}_map"]),
                helper.make_node("Transpose", [f"{name}_map"], [f"{name}_last"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_last", f"{kind}_shape"], [name]),
            ]
            outputs[name] = ["N", f"A_{name}", width] if batched else [f"A_{name}", width]
    graph = helper.make_graph(
        nodes,
        "scrfd",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["N" if batched else 1, 3, size, size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


Opener = Callable[..., Scrfd]


@pytest.fixture
def open_pack(tmp_path: Path) -> Opener:
    def open_with(
        model: bytes, *, provider: str = "cpu", batch_size: int = 16, side_px: int = SIDE, **declared: object
    ) -> Scrfd:
        folder = tmp_path / hashlib.sha256(model).hexdigest()[:8]
        folder.mkdir(exist_ok=True)
        (folder / "det.onnx").write_bytes(model)
        values: dict[str, object] = {
            "role": "face-detector",
            "file": "det.onnx",
            "licence": "MIT",
            "source": "made by this test",
            "sha256": hashlib.sha256(model).hexdigest(),
        } | declared
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        (folder / "biometrik.toml").write_text("\n".join(['name = "test"', "[[weights]]", *lines]))
        runtime = Runtime(
            RuntimeParameters(provider=provider, threads=1, batch_size=batch_size),
            ModelParameters(cache=tmp_path / "cache", pack=folder),
        )
        return Scrfd(DetectionParameters(max_side_px=side_px), runtime)

    return open_with


def planted(height: int, width: int, x: int, y: int, side: int) -> Image:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[y : y + side, x : x + side] = 255
    return image


def assert_face(face: Face, x: float, y: float, stride: int, scale: float = 1.0) -> None:
    """Expect what the anchor at (x, y) in the network's pixels answers, in pixels of an image ``scale`` as large."""
    left, top, right, bottom = (distance * stride for distance in BOX[stride])
    box = face.box
    expected = np.array([x - left, y - top, left + right, top + bottom]) * scale
    np.testing.assert_allclose([box.x, box.y, box.width, box.height], expected, atol=1e-4)
    points = (np.array([x, y]) + POINTS.reshape(5, 2) * stride) * scale
    np.testing.assert_allclose(face.landmarks, points, atol=1e-4)


def test_it_is_registered() -> None:
    assert DETECTORS.load("scrfd") is Scrfd


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
@pytest.mark.parametrize(("x", "y"), [(0, 0), (24, 40), (56, 56)])
def test_a_planted_face_is_found_there(open_pack: Opener, provider: str, x: int, y: int) -> None:
    (faces,) = open_pack(net(), provider=provider).detect([planted(SIDE, SIDE, x, y, 8)])
    (face,) = faces
    assert_face(face, x, y, 8)
    assert face.confidence == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_every_stride_is_decoded(open_pack: Opener, stride: int) -> None:
    # Before suppression, since the finer strides answer for the same square.
    image = planted(SIDE, SIDE, stride, 0, stride)
    (rows,) = open_pack(net())._detect([image])
    (row,) = rows[np.isclose(rows[:, 2], (BOX[stride][0] + BOX[stride][2]) * stride)]
    box, landmarks = row[:4].tolist(), row[4:14].reshape(5, 2)
    assert_face(Face(Box(*box), landmarks, float(row[14])), stride, 0, stride)


def test_an_empty_image_holds_none(open_pack: Opener) -> None:
    assert open_pack(net()).detect([np.zeros((SIDE, SIDE, 3), dtype=np.uint8)]) == [[]]


def test_a_small_image_fills_the_square(open_pack: Opener) -> None:
    # 32 px become 64: the square lands on the cell (16, 32) and answers in pixels of the small image.
    (faces,) = open_pack(net()).detect([planted(32, 32, 8, 16, 4)])
    assert_face(max(faces, key=lambda face: face.confidence), 16, 32, 8, scale=0.5)


def test_a_tall_image_stands_at_the_left(open_pack: Opener) -> None:
    (faces,) = open_pack(net()).detect([planted(64, 24, 8, 48, 8)])
    (face,) = faces
    assert_face(face, 8, 48, 8)


def test_padding_is_black(open_pack: Opener) -> None:
    # All white: nothing is found right of the 24 columns that the image fills.
    (faces,) = open_pack(net()).detect([np.full((64, 24, 3), 255, dtype=np.uint8)])
    assert faces
    assert max(face.landmarks[0, 0] - POINTS[0] * 8 for face in faces) <= 24


def test_resizing_is_opencvs(open_pack: Opener, rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    image[8:24, 16:32] |= 0xE0
    (faces,) = open_pack(net()).detect([image])
    resized = cv2.resize(image, (64, 51), interpolation=cv2.INTER_LINEAR)
    padded = np.zeros((64, 64, 3))
    padded[:51] = resized
    best = padded.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3, 4)).max() / 255
    assert max(face.confidence for face in faces) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_batches_change_nothing(open_pack: Opener, batched: bool, batch_size: int) -> None:
    places = [(0, 0), (24, 40), (8, 8), (48, 16), (56, 0)]
    images = [planted(SIDE, SIDE, x, y, 8) for x, y in places]
    found = open_pack(net(batched=batched), batch_size=batch_size).detect(images)
    for (x, y), (face,) in zip(places, found, strict=True):
        assert_face(face, x, y, 8)


def test_a_fixed_size_is_the_networks(open_pack: Opener) -> None:
    detector = open_pack(net(size=96), side_px=64)
    (faces,) = detector.detect([planted(64, 64, 16, 32, 6)])
    assert_face(max(faces, key=lambda face: face.confidence), 24, 48, 8, scale=64 / 96)


def test_a_free_size_follows_the_setting(open_pack: Opener) -> None:
    assert "filling 128 px" in open_pack(net(), side_px=100).contract()["input"]


@pytest.mark.parametrize("size", [48, 100])
def test_a_size_off_the_grid_is_refused(open_pack: Opener, size: int) -> None:
    with pytest.raises(ModelError, match="a multiple of 32 px"):
        open_pack(net(size=size))


def test_other_strides_and_anchors_are_declared(open_pack: Opener) -> None:
    model = net(strides=(8, 16, 32, 64), anchors=1)
    (faces,) = open_pack(model, strides=[8, 16, 32, 64], anchors=1).detect([planted(SIDE, SIDE, 24, 40, 8)])
    assert_face(faces[0], 24, 40, 8)


def test_undeclared_strides_are_refused(open_pack: Opener) -> None:
    with pytest.raises(ModelError, match=r"strides \[8, 16, 32\] \(9 outputs\), got 12"):
        open_pack(net(strides=(8, 16, 32, 64), anchors=1))


def test_undeclared_anchors_are_refused(open_pack: Opener) -> None:
    detector = open_pack(net(anchors=1))
    with pytest.raises(ModelError, match="expected 128 rows of 1 an image"):
        detector.detect([planted(SIDE, SIDE, 0, 0, 8)])


def test_a_detector_without_landmarks_is_refused(open_pack: Opener) -> None:
    with pytest.raises(ModelError, match="got 6; a detector without landmarks cannot serve"):
        open_pack(net(landmarks=False))


def test_the_contract_names_weights_and_preprocessing(open_pack: Opener) -> None:
    model = net()
    contract = open_pack(model).contract()
    assert contract["weights"] == hashlib.sha256(model).hexdigest()
    assert contract["input"] == "rgb, (x - 127.5) / 128, filling 64 px from the top left"


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ModelNotFoundError, match=r"ModelParameters\.pack"):
        Scrfd(DetectionParameters(), Runtime(RuntimeParameters(threads=1), ModelParameters()))
