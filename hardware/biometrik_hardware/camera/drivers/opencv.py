"""V4L2 and UVC cameras, network cameras (RTSP, HTTP) and video files, through OpenCV.

The path is ``/dev/video0``, an address such as ``rtsp://host/stream``, or a file; a file is played at its own speed,
over and over. An address may hold a name and a password: they are part of the path and left out of the device's id.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik_hardware.camera.camera import Camera, CameraMode
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceGoneError, DeviceNotFoundError
from biometrik_hardware.events import DeviceInfo, Feature

#: Where Linux lists its cameras.
_LISTED: Final = Path("/sys/class/video4linux")
#: Above this width an uncompressed stream does not fit USB 2 at full speed, so MJPEG is asked for, pixels.
_COMPRESSED_FROM_PX: Final = 800


class OpencvCamera(Camera):
    """See the module docstring.

    Parameters
    ----------
    info : DeviceInfo
        Which camera.
    settle_s : float or None
        None for 0.5 s with a local camera, whose exposure moves at first, and 0 otherwise.
    **camera
        See Camera.
    """

    driver = "opencv"

    def __init__(self, info: DeviceInfo, *, settle_s: float | None = None, **camera: Any) -> None:
        local = info.path.startswith("/dev/")
        if settle_s is None:
            settle_s = 0.5 if local else 0.0
        super().__init__(replace(info, features=frozenset({Feature.RECONNECTS})), settle_s=settle_s, **camera)
        self._is_local = local
        self._is_stream = "://" in info.path
        self._capture = cv2.VideoCapture()

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield the first node of each V4L2 camera."""
        for node in sorted(_LISTED.glob("video*")):
            try:
                if int((node / "index").read_text()) == 0:
                    yield DeviceInfo(
                        cls.driver, f"/dev/{node.name}", cls.kind, model=(node / "name").read_text().strip()
                    )
            except (OSError, ValueError):
                continue  # unplugged meanwhile

    def _open(self, deadline: Deadline) -> None:
        path, wanted = self.info.path, self._wanted
        if self._is_stream:
            within_ms = max(1, int(1000 * deadline.remaining_s))
            self._capture.open(
                path,
                cv2.CAP_FFMPEG,
                [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, within_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 2000],
            )
        elif not Path(path).exists():
            raise DeviceNotFoundError(f"{self.info.id}: expected a camera or a file, got nothing of that name")
        else:
            self._capture.open(path, cv2.CAP_V4L2 if self._is_local else cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise DeviceNotFoundError(f"{self.info.id}: expected a video source, got none that OpenCV can open")
        if self._is_local:
            self._negotiate(wanted)
        get = self._capture.get
        self._mode = CameraMode(
            int(get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(get(cv2.CAP_PROP_FRAME_HEIGHT)),
            min(max(float(get(cv2.CAP_PROP_FPS)), 0.0), 1000.0),
        )
        self._due_at = time.monotonic()

    def _negotiate(self, wanted: CameraMode) -> None:
        # The compression before the size, because it decides which sizes there are. One frame of buffer is enough:
        # the stream reads all the time, and an older one would only be late.
        put = self._capture.set
        if wanted.width_px >= _COMPRESSED_FROM_PX:
            put(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        if wanted.width_px and wanted.height_px:
            put(cv2.CAP_PROP_FRAME_WIDTH, wanted.width_px)
            put(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height_px)
        if wanted.fps:
            put(cv2.CAP_PROP_FPS, wanted.fps)
        put(cv2.CAP_PROP_BUFFERSIZE, 1)

    def _close(self) -> None:
        self._capture.release()

    def _grab(self, deadline: Deadline) -> NDArray[np.uint8] | None:
        is_file = not (self._is_local or self._is_stream)
        if is_file and not deadline.wait(self._due_at - time.monotonic()):
            return None
        got, frame = self._capture.read()
        if not got and is_file and Path(self.info.path).exists():
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            got, frame = self._capture.read()
        if not got:
            raise DeviceGoneError(f"{self.info.id}: expected a frame, got none; is it plugged in, or reachable?")
        self._due_at = max(self._due_at, time.monotonic() - 1.0) + 1.0 / (self._mode.fps or 25.0)
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)


DRIVER = OpencvCamera
