"""What the driver is asked, with a stand-in of the driver; without one the remedy is told."""

import ctypes
from typing import Any

import pytest

from biometrik import gpu
from biometrik.errors import ProviderUnavailableError


class FakeDriver:
    """CUDA's driver API with so many GPUs; ``answer`` is what ``cuInit`` says."""

    def __init__(self, gpus: int, answer: int = 0) -> None:
        self._gpus = gpus
        self._answer = answer

    def cuInit(self, _flags: int) -> int:
        return self._answer

    def cuDriverGetVersion(self, out: Any) -> int:
        out._obj.value = 12040
        return 0

    def cuDeviceGetCount(self, out: Any) -> int:
        out._obj.value = self._gpus
        return 0

    def cuDeviceGet(self, out: Any, number: int) -> int:
        out._obj.value = 10 + number
        return 0

    def cuDeviceGetName(self, name: Any, room: int, device: int) -> int:
        assert room == len(name)
        name.value = f"NVIDIA Test {device}".encode()
        return 0

    def cuDeviceTotalMem_v2(self, out: Any, _device: int) -> int:
        out._obj.value = 24 << 30
        return 0

    def cuDeviceGetAttribute(self, out: Any, what: int, _device: int) -> int:
        out._obj.value = {75: 8, 76: 9}[what]
        return 0


def _shown(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: driver)


def test_the_driver_names_its_gpus(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _shown(monkeypatch, FakeDriver(2))
    found = gpu.driver()
    assert found.cuda == (12, 4)
    assert found.gpus == tuple(gpu.Gpu(f"NVIDIA Test {n}", 24 << 30, (8, 9)) for n in (10, 11))
    assert gpu.main() == 0
    assert "NVIDIA Test 10, 24 GiB, CUDA up to 12.4" in capsys.readouterr().out


@pytest.mark.parametrize("driver", [FakeDriver(0), FakeDriver(0, 100)])
def test_a_driver_without_gpus_is_told_with_what_hides_them(
    monkeypatch: pytest.MonkeyPatch, driver: FakeDriver
) -> None:
    _shown(monkeypatch, driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(ProviderUnavailableError, match="got none; pass it through"):
        gpu.driver()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(ProviderUnavailableError, match="CUDA_VISIBLE_DEVICES is '-1': unset it"):
        gpu.driver()


def test_a_driver_that_refuses_is_told_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _shown(monkeypatch, FakeDriver(1, 803))
    with pytest.raises(ProviderUnavailableError, match="CUDA error 803; nvidia-smi"):
        gpu.driver()


def test_without_a_driver_the_remedy_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert gpu.main() == 1
    assert "expected an NVIDIA driver, got none" in capsys.readouterr().err
