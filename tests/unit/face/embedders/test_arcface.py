"""ArcFace packs: a small network of the same signature, whose embedding is computed here as well."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from biometrik.config import ModelParameters, RuntimeParameters
from biometrik.errors import ModelError, ModelNotFoundError
from biometrik.face.embedders.arcface import ArcFace
from biometrik.face.embedding import EMBEDDERS
from biometrik.inference import Runtime

Array = NDArray[np.float32]
POOL = 16  # 112 / 16 = 7 cells a side, 147 values a crop


class Net:
    """Mean of each 16 × 16 cell, PRelu with a slope a channel, a linear layer to D values."""

    def __init__(
        self, rng: np.random.Generator, *, dimension: int = 512, own_normalisation: bool = False, batch: int | str = "N"
    ) -> None:
        self.slope = np.array([0.25, -0.5, 1.5], dtype=np.float32).reshape(3, 1, 1)
        self.matrix = rng.normal(size=(3 * 49, dimension)).astype(np.float32)
        self.own_normalisation = own_normalisation
        self.batch = batch

    def embed(self, crops: NDArray[np.uint8], mean: float, std: float) -> Array:
        """Return unit vectors for (N, 112, 112, 3) crops, with plain numpy in double precision."""
        pixels = (crops.astype(np.float64) - mean) / std
        cells = pixels.reshape(len(crops), 7, POOL, 7, POOL, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
        rectified = np.where(cells > 0, cells, cells * self.slope)
        vectors = rectified.reshape(len(crops), -1) @ self.matrix
        unit: Array = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def onnx(self) -> bytes:
        nodes: list[NodeProto] = []
        constants = {"slope": self.slope, "matrix": self.matrix}
        image = "input.1"
        if self.own_normalisation:
            constants |= {"mean": np.array([120], dtype=np.float32), "scale": np.array([0.01], dtype=np.float32)}
            nodes += [
                helper.make_node("Sub", [image, "mean"], ["centred"]),
                helper.make_node("Mul", ["centred", "scale"], ["normalised"]),
            ]
            image = "normalised"
        nodes += [
            helper.make_node("AveragePool", [image], ["cells"], kernel_shape=[POOL] * 2, strides=[POOL] * 2),
            helper.make_node("PRelu", ["cells", "slope"], ["rectified"]),
            helper.make_node("Flatten", ["rectified"], ["flat"]),
            helper.make_node("MatMul", ["flat", "matrix"], ["683"]),
        ]
        graph = helper.make_graph(
            nodes,
            "arcface",
            [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [self.batch, 3, 112, 112])],
            # As real exports do: the output declares a batch of 1 even where the input's is free.
            [helper.make_tensor_value_info("683", TensorProto.FLOAT, [1, self.matrix.shape[1]])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return bytes(model.SerializeToString())


Opener = Callable[..., ArcFace]


@pytest.fixture
def open_pack(tmp_path: Path) -> Opener:
    def open_with(
        model: bytes, *, provider: str = "cpu", batch_size: int = 16, flip: bool = False, normalise: object = "auto"
    ) -> ArcFace:
        folder = tmp_path / hashlib.sha256(model).hexdigest()[:8]
        folder.mkdir(exist_ok=True)
        (folder / "rec.onnx").write_bytes(model)
        (folder / "biometrik.toml").write_text(
            'name = "test"\n[[weights]]\nrole = "face-embedder"\nfile = "rec.onnx"\nlicence = "MIT"\n'
            f'source = "made by this test"\nsha256 = "{hashlib.sha256(model).hexdigest()}"\n'
            f"normalise = {json.dumps(normalise)}\n"
        )
        parameters = RuntimeParameters(provider=provider, threads=1, batch_size=batch_size)
        return ArcFace(Runtime(parameters, ModelParameters(cache=tmp_path / "cache", pack=folder)), flip=flip)

    return open_with


@pytest.fixture
def crops(rng: np.random.Generator) -> NDArray[np.uint8]:
    # Each channel of each crop at its own level, so that swapped channels or a wrong mean show.
    noise = rng.integers(0, 120, (5, 112, 112, 3))
    levelled: NDArray[np.uint8] = (noise + np.array([0, 60, 135])).astype(np.uint8)
    return levelled


def test_it_is_registered() -> None:
    assert EMBEDDERS.load("arcface") is ArcFace


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_embeddings_are_those_of_numpy(
    rng: np.random.Generator, crops: NDArray[np.uint8], open_pack: Opener, provider: str
) -> None:
    net = Net(rng)
    embedder = open_pack(net.onnx(), provider=provider)
    assert embedder.dimension == 512
    np.testing.assert_allclose(embedder.embed(crops), net.embed(crops, 127.5, 127.5), atol=2e-6)


def test_channels_are_rgb(rng: np.random.Generator, crops: NDArray[np.uint8], open_pack: Opener) -> None:
    net = Net(rng)
    embeddings = open_pack(net.onnx()).embed(crops)
    assert np.abs(embeddings - net.embed(crops[..., ::-1], 127.5, 127.5)).max() > 1e-2


def test_a_graph_that_normalises_itself_gets_raw_pixels(
    rng: np.random.Generator, crops: NDArray[np.uint8], open_pack: Opener
) -> None:
    net = Net(rng, own_normalisation=True)
    np.testing.assert_allclose(open_pack(net.onnx()).embed(crops), net.embed(crops, 120, 100), atol=2e-6)


@pytest.mark.parametrize(("normalise", "mean", "std"), [("none", 0, 1), ([10.0, 20.0], 10, 20)])
def test_declared_normalisation_wins(
    rng: np.random.Generator,
    crops: NDArray[np.uint8],
    open_pack: Opener,
    normalise: object,
    mean: float,
    std: float,
) -> None:
    net = Net(rng)
    embedder = open_pack(net.onnx(), normalise=normalise)
    np.testing.assert_allclose(embedder.embed(crops), net.embed(crops, mean, std), atol=2e-6)


@pytest.mark.parametrize("dimension", [128, 256])
def test_dimension_is_read_from_the_network(
    rng: np.random.Generator, crops: NDArray[np.uint8], open_pack: Opener, dimension: int
) -> None:
    embedder = open_pack(Net(rng, dimension=dimension).onnx())
    assert embedder.dimension == dimension
    assert embedder.embed(crops).shape == (len(crops), dimension)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("batch", [1, "N"])
def test_batches_change_nothing(
    rng: np.random.Generator, crops: NDArray[np.uint8], open_pack: Opener, batch_size: int, batch: int | str
) -> None:
    net = Net(rng, batch=batch)
    embedder = open_pack(net.onnx(), batch_size=batch_size)
    np.testing.assert_allclose(embedder.embed(crops), net.embed(crops, 127.5, 127.5), atol=2e-6)


def test_flip_averages_with_the_mirrored_crop(
    rng: np.random.Generator, crops: NDArray[np.uint8], open_pack: Opener
) -> None:
    model = Net(rng).onnx()
    flipped = open_pack(model, flip=True)
    np.testing.assert_allclose(flipped.embed(crops), flipped.embed(crops[:, :, ::-1]), atol=2e-6)
    assert np.abs(flipped.embed(crops) - open_pack(model).embed(crops)).max() > 1e-3


def test_the_contract_names_weights_and_preprocessing(rng: np.random.Generator, open_pack: Opener) -> None:
    model = Net(rng).onnx()
    contract = open_pack(model).contract()
    assert contract["weights"] == hashlib.sha256(model).hexdigest()
    assert "127.5" in contract["input"]
    assert open_pack(model, normalise=[1.0, 2.0]).contract() != contract
    assert open_pack(model, provider="openvino").contract() == contract  # the form of PRelu is no difference


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ModelNotFoundError, match=r"ModelParameters\.pack"):
        ArcFace(Runtime(RuntimeParameters(threads=1), ModelParameters()))


def network(input_shape: list[int | str], output_shape: list[int | str], outputs: int = 1) -> bytes:
    names = [f"y{i}" for i in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], [name]) for name in names],
        "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, output_shape) for name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("shape", "outputs", "message"),
    [
        (["N", 3, 96, 96], 1, "expected an embedder"),
        (["N", 1, 112, 112], 1, "expected an embedder"),
        (["N", 3, 112, 112], 2, "with one output, got .* with 2"),
        (["N", 3, 112, 112], 1, r"expected embeddings \(N, D\), got \(1, 3, 112, 112\)"),
    ],
)
def test_networks_of_other_signatures_are_refused(
    open_pack: Opener, shape: list[int | str], outputs: int, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        open_pack(network(shape, shape, outputs))
