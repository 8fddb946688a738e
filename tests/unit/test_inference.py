"""Providers: the same answers from each, and a clear refusal where one cannot run."""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from biometrik.config import ModelParameters, RuntimeParameters
from biometrik.errors import InvalidInputError, ModelError, ModelNotFoundError, ProviderUnavailableError
from biometrik.inference import Network, Runtime, import_openvino, provider_names, wheel_conflicts
from biometrik.manifest import PReluForm

HERE = ("cpu", "openvino")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two outputs, 2·x and the mean over each plane; the second is declared first."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "two"], ["double"]),
            helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["N", 3, 1, 1]),
            helper.make_tensor_value_info("double", TensorProto.FLOAT, ["N", 3, "H", "W"]),
        ],
        [numpy_helper.from_array(np.array(2, dtype=np.float32), "two")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def runtime(**parameters: Any) -> Runtime:
    return Runtime(RuntimeParameters(**parameters), ModelParameters())


def open_with(provider: str, path: Path) -> Network:
    return runtime(provider=provider, threads=1).open(path)


@pytest.mark.parametrize("provider", HERE)
def test_outputs_come_in_the_order_asked_for(net: Path, rng: np.random.Generator, provider: str) -> None:
    network = open_with(provider, net)
    x = rng.uniform(0, 255, (2, 3, 4, 5)).astype(np.float32)
    mean, double = network.run(x)
    np.testing.assert_allclose(mean[..., 0, 0], x.mean(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_allclose(double, 2 * x, rtol=1e-6)
    (only,) = network.run(x, ["double"])
    np.testing.assert_array_equal(only, double)
    turned = network.run(x, ["double", "mean"])
    np.testing.assert_array_equal(turned[0], double)
    np.testing.assert_array_equal(turned[1], mean)


@pytest.mark.parametrize("provider", HERE)
def test_shapes_and_names_are_the_networks(net: Path, provider: str) -> None:
    network = open_with(provider, net)
    assert network.input_shape == (None, 3, None, None)
    assert network.output_names == ("mean", "double")
    assert network.output_shapes == ((None, 3, 1, 1), (None, 3, None, None))


@pytest.mark.parametrize("provider", HERE)
def test_strided_input_is_taken(net: Path, rng: np.random.Generator, provider: str) -> None:
    images = rng.uniform(0, 255, (1, 4, 5, 3)).astype(np.float32)
    planes = images.transpose(0, 3, 1, 2)
    assert not planes.flags.c_contiguous
    (double,) = open_with(provider, net).run(planes, ["double"])
    np.testing.assert_allclose(double, 2 * planes, rtol=1e-6)


@pytest.mark.parametrize("provider", HERE)
def test_results_are_the_callers_own(net: Path, provider: str) -> None:
    network = open_with(provider, net)
    (first,) = network.run(np.ones((1, 3, 2, 2), dtype=np.float32), ["double"])
    network.run(np.full((1, 3, 2, 2), 7, dtype=np.float32), ["double"])
    assert (first == 2).all()
    first[:] = 0  # writable


@pytest.mark.parametrize("provider", HERE)
def test_run_is_thread_safe(net: Path, provider: str) -> None:
    network = open_with(provider, net)

    def doubles(value: int) -> bool:
        x = np.full((1 + value % 3, 3, 8, 8 + value % 5), value, dtype=np.float32)
        mean, double = network.run(x)
        return bool((mean == value).all() and (double == 2 * value).all() and double.shape == x.shape)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(doubles, range(400)))


@pytest.mark.parametrize("provider", HERE)
@pytest.mark.parametrize("content", [b"", b"not a network"])
def test_other_bytes_are_a_model_error(tmp_path: Path, provider: str, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"network net\.onnx: expected"):
        open_with(provider, path)


@pytest.mark.parametrize("provider", HERE)
def test_a_missing_file_is_named(tmp_path: Path, provider: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"absent\.onnx"):
        open_with(provider, tmp_path / "absent.onnx")


@pytest.mark.parametrize("provider", HERE)
def test_a_shape_that_does_not_fit_is_a_model_error(net: Path, provider: str) -> None:
    network = open_with(provider, net)
    with pytest.raises(ModelError, match="network run"):
        network.run(np.zeros((1, 4, 2, 2), dtype=np.float32))
    network.run(np.zeros((1, 3, 2, 2), dtype=np.float32))  # and it goes on


def test_an_unknown_output_is_named(net: Path) -> None:
    with pytest.raises(ModelError, match=r"expected some of \['mean', 'double'\], got \['treble'\]"):
        open_with("cpu", net).run(np.zeros((1, 3, 2, 2), dtype=np.float32), ["treble"])


def test_a_network_without_an_image_input_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "flat",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    path = tmp_path / "flat.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    for provider in HERE:
        with pytest.raises(ModelError, match="expected one input"):
            open_with(provider, path)


# Settings.


def test_provider_names() -> None:
    assert provider_names() == ("cpu", "cuda", "openvino")
    with pytest.raises(InvalidInputError, match="expected one of cpu, cuda, openvino, got 'tpu'"):
        runtime(provider="tpu")


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_bf16_needs_openvino(provider: str) -> None:
    with pytest.raises(InvalidInputError, match="got bf16, which needs openvino"):
        runtime(provider=provider, precision="bf16")


def test_each_provider_has_its_form_of_prelu() -> None:
    assert runtime(provider="cpu").prelu_form is PReluForm.REWRITTEN
    assert runtime(provider="openvino").prelu_form is PReluForm.NATIVE
    assert runtime(batch_size=5).batch_size == 5


@pytest.mark.parametrize(("threads", "expected"), [(0, 3), (2, 2)])
def test_session_options(net: Path, monkeypatch: pytest.MonkeyPatch, threads: int, expected: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 2, 5})
    made: list[Any] = []
    original = onnxruntime.InferenceSession

    def session(path: Path, options: Any, **settings: Any) -> Any:
        made.append((options, settings))
        return original(path, options, **settings)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    runtime(threads=threads).open(net)

    options, settings = made[0]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (expected, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.log_severity_level == 3
    assert settings == {"providers": ["CPUExecutionProvider"], "enable_fallback": 0}


# OpenVINO.


class FakeCore:
    """Knows what the CPU can do, and remembers how a network was compiled."""

    real = import_openvino().Core
    capabilities: Sequence[str] = ()
    compiled_with: Any = None

    def get_property(self, device: str, name: str) -> Sequence[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return self.capabilities

    def read_model(self, path: Path) -> Any:
        return self.real().read_model(path)

    def compile_model(self, model: Any, device: str, properties: dict[str, Any]) -> Any:
        type(self).compiled_with = properties
        return self.real().compile_model(model, device)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> type[FakeCore]:
    fake = type("Core", (FakeCore,), {})
    monkeypatch.setattr(import_openvino(), "Core", fake)
    return fake


def test_bf16_without_the_instructions_is_refused(core: type[FakeCore]) -> None:
    core.capabilities = ("FP32", "INT8")
    with pytest.raises(ProviderUnavailableError, match="expected a CPU with bfloat16 instructions"):
        runtime(provider="openvino", precision="bf16")


@pytest.mark.parametrize(("precision", "hint"), [("bf16", "bf16"), ("fp32", "f32")])
def test_precision_is_stated_in_both_cases(net: Path, core: type[FakeCore], precision: str, hint: str) -> None:
    core.capabilities = ("FP32", "BF16")
    runtime(provider="openvino", precision=precision, threads=2).open(net)
    assert core.compiled_with == {
        "INFERENCE_NUM_THREADS": 2,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
    }


def test_openvino_sends_nothing_home(net: Path, tmp_path: Path) -> None:
    # Its telemetry writes an id into the home folder, forks, and sends from there.
    program = (
        "import sys; from pathlib import Path\n"
        "events = []\n"
        "watched = ('socket.', 'subprocess.', 'os.fork', 'os.posix_spawn')\n"
        "sys.addaudithook(lambda event, _: events.append(event) if event.startswith(watched) else None)\n"
        "import numpy as np\n"
        "from biometrik.config import ModelParameters, RuntimeParameters\n"
        "from biometrik.inference import Runtime\n"
        "network = Runtime(RuntimeParameters(provider='openvino'), ModelParameters()).open(Path(sys.argv[1]))\n"
        "network.run(np.zeros((1, 3, 2, 2), dtype=np.float32))\n"
        "import time; time.sleep(0.3)\n"
        "print(events)\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", program, str(net)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ProviderUnavailableError, match=r"pip install 'biometrik\[openvino\]'"):
        runtime(provider="openvino")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ProviderUnavailableError, match=r"pip install 'biometrik\[cpu\]'"):
        runtime(provider="cpu")


# CUDA: the refusals, and the binding against a stand-in that computes on the CPU.


def test_the_cpu_wheel_is_named() -> None:
    assert "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
    with pytest.raises(ProviderUnavailableError, match="expected the wheel onnxruntime-gpu, got the CPU wheel"):
        runtime(provider="cuda")


class FakeBinding:
    def __init__(self, session: "FakeSession") -> None:
        self.session = session
        self.inputs: dict[str, NDArray[np.float32]] = {}
        self.outputs: list[str] = []
        self.results: list[NDArray[np.float32]] = []

    def bind_ortvalue_input(self, name: str, value: tuple[str, int, NDArray[np.float32]]) -> None:
        device, device_id, array = value
        assert (device, device_id) == ("cuda", 1)
        self.inputs[name] = array

    def bind_output(self, name: str, device: str, device_id: int) -> None:
        assert (device, device_id) == ("cuda", 1)
        self.outputs.append(name)

    def copy_outputs_to_cpu(self) -> list[NDArray[np.float32]]:
        return self.results


class FakeSession:
    active = ("CUDAExecutionProvider", "CPUExecutionProvider")

    def __init__(self, path: Path, options: Any, *, providers: Any, enable_fallback: int) -> None:
        assert providers == [("CUDAExecutionProvider", {"device_id": "1"})]
        assert enable_fallback == 0
        self._real = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.get_inputs, self.get_outputs = self._real.get_inputs, self._real.get_outputs
        self.bindings: list[FakeBinding] = []

    def get_providers(self) -> list[str]:
        return list(self.active)

    def io_binding(self) -> FakeBinding:
        self.bindings.append(FakeBinding(self))
        return self.bindings[-1]

    def run_with_iobinding(self, binding: FakeBinding) -> None:
        binding.results = self._real.run(binding.outputs, binding.inputs)


@pytest.fixture
def gpu_wheel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stand in for onnxruntime-gpu on a machine with a driver."""
    module = ModuleType("onnxruntime")
    vars(module).update(
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        preload_dlls=lambda: None,
        SessionOptions=onnxruntime.SessionOptions,
        InferenceSession=type("Session", (FakeSession,), {}),
        OrtValue=SimpleNamespace(ortvalue_from_numpy=lambda array, device, device_id: (device, device_id, array)),
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    monkeypatch.setattr("ctypes.CDLL", lambda name: name)
    return module


def test_cuda_binds_input_and_outputs_on_the_device(net: Path, gpu_wheel: ModuleType, rng: np.random.Generator) -> None:
    network = runtime(provider="cuda", device_id=1).open(net)
    x = rng.uniform(0, 255, (2, 3, 4, 5)).astype(np.float32)
    double, mean = network.run(x, ["double", "mean"])
    np.testing.assert_allclose(double, 2 * x, rtol=1e-6)
    np.testing.assert_allclose(mean[..., 0, 0], x.mean(axis=(2, 3)), rtol=1e-5)


def test_cuda_is_thread_safe(net: Path, gpu_wheel: ModuleType) -> None:
    network = runtime(provider="cuda", device_id=1).open(net)

    def doubled(value: int) -> bool:
        (double,) = network.run(np.full((1, 3, 2, 2), value, dtype=np.float32), ["double"])
        return bool((double == 2 * value).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(doubled, range(200)))


def test_a_hidden_fallback_is_an_error(net: Path, gpu_wheel: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_wheel.InferenceSession, "active", ("CPUExecutionProvider",))
    with pytest.raises(ProviderUnavailableError, match=r"got one on the CPU: .*(/dev/nvidia|nvidia-smi)"):
        runtime(provider="cuda", device_id=1).open(net)


def test_libraries_that_do_not_load_are_named(
    net: Path, gpu_wheel: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_wheel.InferenceSession, "active", ("CPUExecutionProvider",))
    monkeypatch.setattr(
        gpu_wheel, "preload_dlls", lambda: sys.stdout.write("Failed to load libcudnn.so.9: no file\nPlease read …\n")
    )
    with pytest.raises(ProviderUnavailableError, match=r"CPU: Failed to load libcudnn\.so\.9: no file;"):
        runtime(provider="cuda", device_id=1).open(net)
    assert capsys.readouterr().out == ""


def test_a_missing_driver_is_named(gpu_wheel: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", load)
    with pytest.raises(ProviderUnavailableError, match=r"expected an NVIDIA driver, got none \(libcuda\.so\.1"):
        runtime(provider="cuda")


# Wheels that overwrite each other.


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def distribution(name: str) -> str:
        if name not in names:
            raise metadata.PackageNotFoundError(name)
        return name

    monkeypatch.setattr(metadata, "distribution", distribution)


def test_a_clean_installation_has_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "onnxruntime", "faiss-cpu", "opencv-python-headless", "openvino")
    assert wheel_conflicts() == []


@pytest.mark.parametrize(
    ("module", "pair"),
    [
        ("onnxruntime", ("onnxruntime", "onnxruntime-gpu")),
        ("faiss", ("faiss-cpu", "faiss-gpu")),
        ("cv2", ("opencv-python", "opencv-python-headless")),
    ],
)
def test_a_mix_is_named(monkeypatch: pytest.MonkeyPatch, module: str, pair: tuple[str, str]) -> None:
    install(monkeypatch, *pair)
    (conflict,) = wheel_conflicts()
    assert (conflict.module, conflict.distributions) == (module, pair)
    assert f"pip uninstall -y {' '.join(pair)}" in conflict.remedy


def test_a_mix_of_onnxruntime_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "onnxruntime", "onnxruntime-gpu")
    for provider in ("cpu", "cuda"):
        with pytest.raises(ProviderUnavailableError, match="got onnxruntime and onnxruntime-gpu, which overwrite"):
            runtime(provider=provider)
    runtime(provider="openvino")  # does not care


def test_a_mix_of_others_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "faiss-cpu", "faiss-gpu")
    runtime(provider="cpu")
