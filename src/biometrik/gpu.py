"""What NVIDIA GPUs this machine shows, asked of the driver itself.

It needs nothing installed, so ``python -m biometrik.gpu`` tells before gigabytes of CUDA libraries are fetched.
"""

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import Any, Final

from biometrik.errors import ProviderUnavailableError

_LIBRARY: Final = "libcuda.so.1"
#: CUresult and CUdevice_attribute; CUDA driver API, sections 6.1 and 6.5.
_SUCCESS, _NO_DEVICE = 0, 100
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_NAME_ROOM: Final = 256


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that CUDA can use.

    Parameters
    ----------
    name : str
        As the driver calls it.
    memory_bytes : int
        All of its memory.
    capability : tuple of int
        Compute capability, major and minor.
    """

    name: str
    memory_bytes: int
    capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver and what it shows.

    Parameters
    ----------
    cuda : tuple of int
        The newest CUDA that it runs, major and minor; libraries of a later major version refuse it.
    gpus : tuple of Gpu
        One or more, in CUDA's order, which CUDA_VISIBLE_DEVICES decides.
    """

    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]


def driver() -> Driver:
    """Ask the NVIDIA driver what it is and which GPUs it shows.

    Raises
    ------
    ProviderUnavailableError
        There is no driver, it shows no GPU, or it refuses; the message says which, and what to do.
    """
    try:
        cuda: Any = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise ProviderUnavailableError(
            f"GPU: expected an NVIDIA driver, got none ({_LIBRARY} cannot be loaded); install it, or pass the GPU "
            "through to this container"
        ) from error
    answer = cuda.cuInit(0)
    if answer not in (_SUCCESS, _NO_DEVICE):
        raise ProviderUnavailableError(
            f"GPU: expected a driver that starts, got CUDA error {answer}; nvidia-smi tells more; restart the machine "
            "where the driver was just updated"
        )
    gpus = () if answer == _NO_DEVICE else tuple(_gpu(cuda, n) for n in range(_int(cuda.cuDeviceGetCount)))
    if not gpus:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        remedy = (
            "pass it through to this container" if hidden is None else f"CUDA_VISIBLE_DEVICES is {hidden!r}: unset it"
        )
        raise ProviderUnavailableError(f"GPU: expected one that the NVIDIA driver shows, got none; {remedy}")
    version = _int(cuda.cuDriverGetVersion)
    return Driver((version // 1000, version % 1000 // 10), gpus)


def refuse_missing(what: str, device_id: int, shown: int) -> None:
    """Raise ProviderUnavailableError where a GPU is not among the ``shown`` ones, for ``what`` shall run on it."""
    if not 0 <= device_id < shown:
        raise ProviderUnavailableError(
            f"{what}: expected device_id below {shown}, as many GPUs as CUDA shows, got {device_id}; name one of them, "
            "or have CUDA_VISIBLE_DEVICES show more"
        )


def _gpu(cuda: Any, number: int) -> Gpu:
    device = _int(cuda.cuDeviceGet, number)
    name = ctypes.create_string_buffer(_NAME_ROOM)
    _check(cuda.cuDeviceGetName(name, _NAME_ROOM, device))
    memory = ctypes.c_size_t()
    _check(cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    major, minor = (_int(cuda.cuDeviceGetAttribute, what, device) for what in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR))
    return Gpu(name.value.decode(errors="replace"), memory.value, (major, minor))


def _int(call: Any, *arguments: int) -> int:
    found = ctypes.c_int()
    _check(call(ctypes.byref(found), *arguments))
    return found.value


def _check(answer: int) -> None:
    if answer != _SUCCESS:
        raise ProviderUnavailableError(
            f"GPU: expected an answer of the driver, got CUDA error {answer}; nvidia-smi tells more"
        )


def main() -> int:
    """Print the GPUs, or why there are none; return 1 then."""
    try:
        found = driver()
    except ProviderUnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for gpu in found.gpus:
        sys.stdout.write(
            f"{gpu.name}, {gpu.memory_bytes / 2**30:.0f} GiB, CUDA up to {found.cuda[0]}.{found.cuda[1]}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
