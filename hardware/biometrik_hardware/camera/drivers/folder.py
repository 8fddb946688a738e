"""Any camera whose vendor's program can save files: watches the folder into which it writes.

Each file is a frame; the path is the folder. See :class:`biometrik_hardware.inbox.Inbox` for when a file counts, and
for what becomes of it. It cannot be discovered: name it by hand, ``folder:/path``.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import ImageError
from biometrik.imaging import decode_rgb
from biometrik_hardware.camera.camera import Camera, CameraMode
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.events import DeviceInfo
from biometrik_hardware.inbox import Inbox

_log = logging.getLogger(__name__)


class FolderCamera(Camera):
    """See the module docstring.

    Parameters
    ----------
    info : DeviceInfo
        Which folder.
    rest_s : float
        How long a file has to stay as it is, seconds.
    """

    driver = "folder"

    def __init__(self, info: DeviceInfo, *, rest_s: float = 0.2, **camera: Any) -> None:
        super().__init__(info, wanted=CameraMode(0, 0, 0.0), **camera)
        self._rest_s = rest_s

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield nothing: any folder could be meant."""
        yield from ()

    def _open(self, deadline: Deadline) -> None:
        self._inbox = Inbox(Path(self.info.path), self.info.id, self._rest_s)
        self._inbox.begin()

    def _close(self) -> None:
        pass

    def _grab(self, deadline: Deadline) -> NDArray[np.uint8] | None:
        data = self._inbox.take(deadline)
        try:
            return decode_rgb(data) if data is not None else None
        except ImageError as error:
            _log.warning("%s: a file that is no image (%s)", self.info.id, type(error).__name__)
            return None


DRIVER = FolderCamera
