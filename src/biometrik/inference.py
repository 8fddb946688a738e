"""Running networks: sessions and execution providers. The only module that imports onnxruntime or openvino.

Three providers stand behind one interface: ``cpu`` and ``cuda`` (ONNX Runtime) and ``openvino``. One that cannot run
here is an error when a :class:`Runtime` is made or a network opened, never a silent fallback.
"""

import abc
import ctypes
import importlib
import io
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from biometrik.config import ModelParameters, RuntimeParameters
from biometrik.errors import InvalidInputError, ModelError, ModelNotFoundError, ProviderUnavailableError
from biometrik.manifest import PReluForm
from biometrik.wheels import wheel_conflicts as wheel_conflicts

_CUDA: Final = "CUDAExecutionProvider"
_TELEMETRY: Final = "openvino_telemetry"


class Network(abc.ABC):
    """A network that is loaded and ready; :meth:`run` is thread-safe.

    Attributes
    ----------
    input_shape : tuple of (int or None)
        (N, C, H, W) as the network declares it, None where it may vary.
    output_names : tuple of str
        In the network's own order.
    output_shapes : tuple of tuple of (int or None)
        As the network declares them, beside ``output_names``; some exporters declare a batch of 1 that varies.
    """

    input_shape: tuple[int | None, ...]
    output_names: tuple[str, ...]
    output_shapes: tuple[tuple[int | None, ...], ...]

    @final
    def run(self, batch: NDArray[np.float32], outputs: Sequence[str] | None = None) -> list[NDArray[np.float32]]:
        """Run one batch through the network's single input.

        Parameters
        ----------
        batch : (N, C, H, W) float32
            RGB, 0..255. Copied only if it is not contiguous.
        outputs : sequence of str or None
            Names of the outputs wanted, in the order wanted; None for all.

        Returns
        -------
        list of float32 arrays
            The caller's own.

        Raises
        ------
        ModelError
            The network does not take this shape, or has no such output.
        """
        names = self.output_names if outputs is None else outputs
        if unknown := set(names).difference(self.output_names):
            raise ModelError(f"outputs: expected some of {list(self.output_names)}, got {sorted(unknown)}")
        with _translated("run"):
            return self._run(np.ascontiguousarray(batch, dtype=np.float32), names)

    @abc.abstractmethod
    def _run(self, batch: NDArray[np.float32], outputs: Sequence[str]) -> list[NDArray[np.float32]]: ...


class Runtime:
    """Opens networks with one provider and thread count.

    Parameters
    ----------
    parameters : RuntimeParameters
        Provider, precision, threads, batch size.
    models : ModelParameters
        Where weights are found; plug-ins read it.

    Raises
    ------
    InvalidInputError
        No such provider, or one that does not offer the precision.
    ProviderUnavailableError
        The provider cannot run here; the message says what is missing.
    """

    def __init__(self, parameters: RuntimeParameters, models: ModelParameters) -> None:
        if parameters.provider not in _PROVIDERS:
            names = ", ".join(provider_names())
            raise InvalidInputError(f"provider: expected one of {names}, got {parameters.provider!r}")
        if parameters.precision == "bf16" and parameters.provider != "openvino":
            raise InvalidInputError(
                f"precision: expected fp32 with the provider {parameters.provider}, got bf16, which needs openvino"
            )
        self.parameters = parameters
        self.models = models
        self._open = _PROVIDERS[parameters.provider](parameters)

    @property
    def batch_size(self) -> int:
        """Most images in one model run."""
        return self.parameters.batch_size

    @property
    def prefers_batches(self) -> bool:
        """Whether large networks run several images faster at once: on a GPU. A core runs out of cache instead."""
        return self.parameters.provider == "cuda"

    @property
    def prelu_form(self) -> PReluForm:
        """The form of parametric rectifiers that this provider runs faster."""
        return PReluForm.NATIVE if self.parameters.provider == "openvino" else PReluForm.REWRITTEN

    def open(self, path: Path) -> Network:
        """Load a network.

        Parameters
        ----------
        path : Path
            ONNX file with one float32 input; verified weights from :mod:`biometrik.models`.

        Raises
        ------
        ModelNotFoundError
            There is no such file.
        ModelError
            It is not a model that the provider can run.
        ProviderUnavailableError
            The provider refuses to run it where it was asked to.
        """
        if not path.is_file():
            raise ModelNotFoundError(f"network: expected an ONNX file, got {path}")
        with _translated(path.name):
            return self._open(path)


def provider_names() -> tuple[str, ...]:
    """Return the names of the execution providers, whether or not they can run here.

    Examples
    --------
    >>> provider_names()
    ('cpu', 'cuda', 'openvino')
    """
    return tuple(_PROVIDERS)


def import_openvino() -> ModuleType:
    """Import openvino so that it stays silent.

    On import, openvino reports to its maker: it writes an id into the home folder, forks the process and sends an
    event. It does not where the package ``openvino_telemetry`` cannot be found, so that is hidden for the moment.

    Raises
    ------
    ProviderUnavailableError
        The package is not installed.
    """
    modules: dict[str, Any] = sys.modules
    hide = _TELEMETRY not in modules
    if hide:
        modules[_TELEMETRY] = None  # an import of it now raises ImportError
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ProviderUnavailableError(
            f"provider openvino: expected the package openvino, got {error}; pip install 'biometrik[openvino]'"
        ) from error
    finally:
        if hide:
            del modules[_TELEMETRY]


class _OnnxRuntimeNetwork(Network):
    def __init__(self, session: Any) -> None:
        self._session = session
        self._input, self.input_shape = _single_input(
            [(value.name, _shape(value.shape)) for value in session.get_inputs()]
        )
        self.output_names = tuple(value.name for value in session.get_outputs())
        self.output_shapes = tuple(_shape(value.shape) for value in session.get_outputs())

    def _run(self, batch: NDArray[np.float32], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        return list(self._session.run(list(outputs), {self._input: batch}))


class _CudaNetwork(_OnnxRuntimeNetwork):
    """Input and outputs are bound on the device: one copy in, one copy out, none between.

    Tested against a stand-in of ONNX Runtime's binding interface; no run on a real GPU is claimed until the
    benchmark history holds one.
    """

    def __init__(self, session: Any, onnxruntime: ModuleType, device_id: int) -> None:
        super().__init__(session)
        self._place = "cuda", device_id
        self._to_device: Callable[..., Any] = onnxruntime.OrtValue.ortvalue_from_numpy

    def _run(self, batch: NDArray[np.float32], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        binding = self._session.io_binding()  # one a call, so that threads do not share it
        binding.bind_ortvalue_input(self._input, self._to_device(batch, *self._place))
        for name in outputs:
            binding.bind_output(name, *self._place)
        self._session.run_with_iobinding(binding)
        return list(binding.copy_outputs_to_cpu())


class _OpenVinoNetwork(Network):
    def __init__(self, model: Any, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: deque[Any] = deque()  # its append and pop are atomic
        _, self.input_shape = _single_input(
            [(port.any_name, _partial_shape(port.partial_shape)) for port in model.inputs]
        )
        # Read before compiling, which adds names of its own.
        self.output_names = tuple(port.any_name for port in model.outputs)
        self.output_shapes = tuple(_partial_shape(port.partial_shape) for port in model.outputs)

    def _run(self, batch: NDArray[np.float32], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        positions = [self.output_names.index(name) for name in outputs]
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        # A request keeps its output memory for the next run: what leaves is a copy.
        request.infer([batch], share_inputs=True)
        results = [np.array(request.get_output_tensor(i).data) for i in positions]
        self._idle.append(request)
        return results


_Opener = Callable[[Path], Network]


def _cpu(parameters: RuntimeParameters) -> _Opener:
    onnxruntime = _import_onnxruntime("cpu")

    def open_network(path: Path) -> Network:
        return _OnnxRuntimeNetwork(_session(onnxruntime, path, parameters, "CPUExecutionProvider"))

    return open_network


def _cuda(parameters: RuntimeParameters) -> _Opener:
    onnxruntime = _import_onnxruntime("gpu")
    _require_cuda(onnxruntime)
    not_loaded = _preload_cuda(onnxruntime)
    place = {"device_id": str(parameters.device_id)}

    def open_network(path: Path) -> Network:
        session = _session(onnxruntime, path, parameters, (_CUDA, place))
        # ONNX Runtime answers a CUDA that does not start with a session on the CPU.
        if _CUDA not in session.get_providers():
            raise ProviderUnavailableError(_cuda_failure(parameters.device_id, not_loaded))
        return _CudaNetwork(session, onnxruntime, parameters.device_id)

    return open_network


def _openvino(parameters: RuntimeParameters) -> _Opener:
    core = import_openvino().Core()
    if parameters.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ProviderUnavailableError(
            "precision bf16: expected a CPU with bfloat16 instructions (avx512_bf16, amx_bf16), got one without"
        )
    properties = {
        "INFERENCE_NUM_THREADS": _threads(parameters),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Stated in both cases: left to itself, OpenVINO takes bf16 wherever the CPU has it.
        "INFERENCE_PRECISION_HINT": "bf16" if parameters.precision == "bf16" else "f32",
    }

    def open_network(path: Path) -> Network:
        model = core.read_model(path)
        return _OpenVinoNetwork(model, core.compile_model(model, "CPU", properties))

    return open_network


_PROVIDERS: Final[Mapping[str, Callable[[RuntimeParameters], _Opener]]] = {
    "cpu": _cpu,
    "cuda": _cuda,
    "openvino": _openvino,
}


def _import_onnxruntime(extra: str) -> ModuleType:
    for conflict in wheel_conflicts():
        if conflict.module == "onnxruntime":
            raise ProviderUnavailableError(
                f"onnxruntime: expected one distribution, got {' and '.join(conflict.distributions)}, which "
                f"overwrite each other; {conflict.remedy}"
            )
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderUnavailableError(
            f"onnxruntime: expected an installed wheel, got {error}; pip install 'biometrik[{extra}]'"
        ) from error
    module: ModuleType = onnxruntime
    return module


def _session(onnxruntime: ModuleType, path: Path, parameters: RuntimeParameters, provider: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads(parameters)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads that spin would take the cores that the rest of the process needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=[provider], enable_fallback=0)


def _require_cuda(onnxruntime: ModuleType) -> None:
    if _CUDA not in onnxruntime.get_available_providers():
        raise ProviderUnavailableError(
            "provider cuda: expected the wheel onnxruntime-gpu, got the CPU wheel onnxruntime; "
            "pip uninstall -y onnxruntime faiss-cpu, then pip install 'biometrik[gpu]'"
        )
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise ProviderUnavailableError(
            "provider cuda: expected an NVIDIA driver, got none (libcuda.so.1 cannot be loaded); install it, or "
            "pass the GPU through to this container"
        ) from error


def _preload_cuda(onnxruntime: ModuleType) -> list[str]:
    # Loads the CUDA and cuDNN libraries that the gpu extra brings. What it cannot load it says on stdout only.
    said = io.StringIO()
    with redirect_stdout(said):
        onnxruntime.preload_dlls()
    return [line for line in said.getvalue().splitlines() if line.startswith("Failed to load")]


def _cuda_failure(device_id: int, not_loaded: Sequence[str]) -> str:
    if not_loaded:
        missing = f"{'; '.join(not_loaded)}; pip install 'biometrik[gpu]' brings CUDA and cuDNN"
    elif not any(Path("/dev").glob("nvidia[0-9]*")):
        missing = "no GPU is visible (no /dev/nvidia*); pass it through to this container"
    else:
        missing = (
            f"GPU {device_id} is absent or refused, or the driver is older than the wheel's CUDA: nvidia-smi tells"
        )
    return f"provider cuda: expected a session on the GPU, got one on the CPU: {missing}"


def _threads(parameters: RuntimeParameters) -> int:
    return parameters.threads or len(os.sched_getaffinity(0))


def _single_input(
    inputs: Sequence[tuple[str, tuple[int | None, ...]]],
) -> tuple[str, tuple[int | None, ...]]:
    if len(inputs) != 1 or len(inputs[0][1]) != 4:
        raise ModelError(f"expected one input (N, C, H, W), got {dict(inputs)}")
    return inputs[0]


def _shape(dimensions: Sequence[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in dimensions)


def _partial_shape(shape: Any) -> tuple[int | None, ...]:
    return tuple(size.get_length() if size.is_static else None for size in shape)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    # The runtimes raise types of their own that callers should not need to know.
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"network {what}: expected a model and an input that fit it, got {_reason(error)}") from error


def _reason(error: Exception) -> str:
    # What was wrong, without the source lines of OpenVINO that come before it.
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return " ".join(told)[:500] or type(error).__name__
