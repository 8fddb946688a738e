"""Face cameras behind MOSIP's Secure Biometric Interface, so every camera that is certified for it (extra ``sbi``).

The vendor's service on this machine streams what its camera sees, over the loopback only. Who the device is, it signs;
the pictures are not signed, so whoever may run programs on this machine is trusted with them. The path is ``PORT`` or
``PORT/SERIAL``.

References
----------
MOSIP, *Secure Biometric Interface specification* (0.9.5): device information, device stream.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import ImageError
from biometrik.imaging import decode_rgb
from biometrik_hardware.camera.camera import Camera, CameraMode
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceGoneError
from biometrik_hardware.events import DeviceInfo
from biometrik_hardware.sbi_device import SbiAccess, discovered
from biometrik_hardware.sbi_stream import SbiStream

_log = logging.getLogger(__name__)
_TYPE: Final = "Face"
#: For how long a stream is asked for, milliseconds; a service that is not told ends it after five minutes.
_STREAM_MS: Final = 3_600_000


class SbiCamera(Camera):
    """See the module docstring.

    Parameters
    ----------
    info : DeviceInfo
        Which port, and which device behind it.
    authorities, environment
        See SbiAccess.
    **camera
        See Camera.
    """

    driver = "sbi"
    _line: SbiStream | None = None

    def __init__(
        self,
        info: DeviceInfo,
        *,
        authorities: bytes | str | Path = b"",
        environment: str = "Production",
        **camera: Any,
    ) -> None:
        super().__init__(info, wanted=CameraMode(0, 0, 0.0), **camera)
        self._access = SbiAccess(info.path, _TYPE, authorities, environment)

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield the face cameras of all services on this machine."""
        for path, found in discovered(_TYPE):
            yield DeviceInfo(cls.driver, path, cls.kind, found.vendor, found.model, found.serial)

    def _open(self, deadline: Deadline) -> None:
        self._found = self._access.introduced(self.info.id, self._access.trust(self.info.id), deadline)
        self._begin(deadline)

    def _close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _begin(self, deadline: Deadline) -> None:
        self._close()
        request = {"deviceId": self._found.device_id, "deviceSubId": "0", "timeout": str(_STREAM_MS)}
        self._line, self._has_shown = SbiStream(self._access.service.port, request, deadline), False

    def _grab(self, deadline: Deadline) -> NDArray[np.uint8] | None:
        assert self._line is not None
        picture = self._line.picture(deadline)
        if picture is None:
            if self._line.ended:
                self._go_on(deadline)
            return None
        self._has_shown = True
        try:
            return decode_rgb(picture)
        except ImageError as error:
            _log.warning("%s: a picture that is none (%s)", self.info.id, type(error).__name__)
            return None

    def _go_on(self, deadline: Deadline) -> None:
        # A service may end a stream that was long enough for it; one that showed nothing has nothing to show.
        if not self._has_shown:
            raise DeviceGoneError(f"{self.info.id}: expected pictures, got an end of the stream; is it plugged in?")
        self._begin(deadline)


DRIVER = SbiCamera
