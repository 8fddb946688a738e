"""The virtual devices in the situations of the conformance suite: shows what a rig is, and that the suite runs."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self, overload

import numpy as np
from numpy.typing import NDArray

from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik_hardware.camera.drivers.virtual import VirtualCamera
from biometrik_hardware.device import Device
from biometrik_hardware.fingerprint.drivers.virtual import VirtualScanner
from biometrik_hardware.virtual_bus import (
    BUS,
    Fault,
    FrameSource,
    PrintSource,
    Trouble,
    VirtualCameraSetup,
    VirtualScannerSetup,
)

#: From ridge to ridge at 500 ppi, as on a grown-up's finger, pixels.
_RIDGE_PX: Final = 9.0


class _Situation(Sequence[Fault]):
    # A script without end that follows what the rig says.
    present = True

    def __len__(self) -> int:
        return 1 << 62

    @overload
    def __getitem__(self, index: int) -> Fault: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Fault]: ...
    def __getitem__(self, index: int | slice) -> Fault | Sequence[Fault]:
        assert isinstance(index, int)
        return Fault(Trouble.NOTHING if self.present else Trouble.NO_FINGER)


class _VirtualRig:
    def __init__(
        self,
        driver: type[Device],
        name: str,
        situation: _Situation,
        setup: VirtualScannerSetup | VirtualCameraSetup,
    ) -> None:
        self._driver, self._name, self._situation, self._setup = driver, name, situation, setup

    def __enter__(self) -> Self:
        BUS.plug(self._name, self._setup)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        BUS.unplug(self._name)

    def device(self) -> Device:
        """Return the device, closed."""
        return self._driver.at(self._name)

    def present(self) -> None:
        """From now on a capture succeeds."""
        self._situation.present = True

    def absent(self) -> bool:
        """From now on nobody is there."""
        self._situation.present = False
        return True

    def unplug(self) -> bool:
        """Pull the cable."""
        BUS.unplug(self._name)
        return True

    def replug(self) -> None:
        """Plug it in again."""
        BUS.replug(self._name)


class VirtualScannerRig(_VirtualRig):
    """The virtual scanner and a quick person before it; plugged in for a block.

    Parameters
    ----------
    name : str
        Its path on the virtual bus.
    prints : callable
        Frame source.
    """

    def __init__(self, name: str, prints: PrintSource) -> None:
        situation = _Situation()
        setup = VirtualScannerSetup(prints, situation, approach_s=0.02, capture_s=0.02)
        super().__init__(VirtualScanner, name, situation, setup)


class VirtualCameraRig(_VirtualRig):
    """The virtual camera, at 60 frames a second; plugged in for a block.

    Parameters
    ----------
    name : str
        Its path on the virtual bus.
    frames : callable
        Frame source.
    """

    def __init__(self, name: str, frames: FrameSource) -> None:
        situation = _Situation()
        super().__init__(VirtualCamera, name, situation, VirtualCameraSetup(frames, situation, fps=60.0))


def plain_print(position: FingerPosition) -> FingerprintImage:
    """Return waves that run another way for each finger: nobody's print."""
    y, x = np.mgrid[0:96, 0:80]
    turn = 0.2 * position
    wave = np.cos((x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / _RIDGE_PX)
    return FingerprintImage((127.5 + 127.5 * wave).astype(np.uint8), 500.0, position)


def plain_frame(index: int) -> NDArray[np.uint8]:
    """Return a frame (72, 128, 3) that tells its index by its red."""
    return np.full((72, 128, 3), (index % 251, 40, 200), np.uint8)
