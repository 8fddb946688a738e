"""A camera without hardware: plays any frame source at a real camera's speed, with a script of troubles.

Plug it in with :data:`biometrik_hardware.virtual_bus.BUS`; its path is the name there.
"""

import time
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik_hardware.camera.camera import Camera, CameraMode
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceProtocolError
from biometrik_hardware.events import DeviceInfo, DeviceKind
from biometrik_hardware.virtual_bus import BUS, Trouble, sleep_regardless, smeared

_SMEAR_PX: Final = 24


class VirtualCamera(Camera):
    """See the module docstring; everything else is the base class."""

    driver = "virtual"

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield what is plugged into the virtual bus."""
        yield from (
            DeviceInfo(cls.driver, name, cls.kind, "biometrik", "virtual", name)
            for name in BUS.names(DeviceKind.CAMERA)
        )

    def _open(self, deadline: Deadline) -> None:
        self._setup = BUS.camera(self.info.path)
        height, width, _ = self._setup.frames(0).shape
        self._mode = CameraMode(width, height, self._setup.fps)
        self._index, self._due_at = 0, time.monotonic()

    def _close(self) -> None:
        pass

    def _grab(self, deadline: Deadline) -> NDArray[np.uint8] | None:
        name, setup = self.info.path, self._setup
        BUS.check(name)
        now = time.monotonic()
        if not deadline.wait(self._due_at - now):
            return None
        # Like a sensor it keeps its beat; after a long pause it begins a new one.
        self._due_at = max(self._due_at, now - 1.0) + 1.0 / setup.fps
        fault = BUS.next_fault(name)
        match fault.trouble:
            case Trouble.HANG:
                sleep_regardless(fault.seconds)
            case Trouble.UNPLUG:
                deadline.wait(fault.seconds)
                BUS.unplug(name)
            case Trouble.DELAY:
                self._due_at += fault.seconds
                return None
            case Trouble.NO_FINGER:
                return None
            case Trouble.GARBAGE:
                raise DeviceProtocolError(f"{self.info.id}: expected a frame, got bytes of no meaning")
        BUS.check(name)
        pixels = setup.frames(self._index)
        self._index += 1
        return smeared(pixels, _SMEAR_PX) if fault.trouble is Trouble.SMEAR else pixels


DRIVER = VirtualCamera
