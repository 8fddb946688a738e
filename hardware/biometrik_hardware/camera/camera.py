"""A camera: applications get the newest frame, drivers write one hook that gets the next."""

import abc
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.registry import Registry
from biometrik.types import FaceImage, SampleOrigin
from biometrik_hardware.deadline import Deadline, Interruption
from biometrik_hardware.device import Device
from biometrik_hardware.errors import DeviceNotOpenError, DeviceProtocolError
from biometrik_hardware.events import DeviceInfo, DeviceKind, DeviceState, EventKind
from biometrik_hardware.leases import Lease
from biometrik_hardware.worker import Worker

#: How long one frame is waited for before the stream looks around, seconds.
_GRAB_S: Final = 0.5
#: How long one attempt to connect again may take, and the longest pause between two, seconds.
_RECONNECT_S: Final = 5.0
_PAUSE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class CameraMode:
    """How a camera delivers.

    Parameters
    ----------
    width_px, height_px : int
        Size of a frame; 0 for the camera's own.
    fps : float
        Frames a second; 0 for the camera's own.
    """

    width_px: int = 1280
    height_px: int = 720
    fps: float = 30.0

    def __post_init__(self) -> None:
        if min(self.width_px, self.height_px) < 0 or not 0.0 <= self.fps <= 1000.0:
            raise InvalidInputError("mode: expected sizes of at least 0 and 0..1000 frames a second, got others")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a stream.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        RGB, read-only.
    index : int
        Counts the frames of the camera since it was opened; a gap is frames that nobody took.
    taken_at : float
        When it came, on the monotonic clock, seconds.
    """

    pixels: NDArray[np.uint8]
    index: int
    taken_at: float

    def to_image(self, device_ref: str = "") -> FaceImage:
        """Return it as the engine takes it; ``device_ref`` is the caller's name of the camera."""
        age = time.monotonic() - self.taken_at
        taken = datetime.fromtimestamp(time.time() - age, UTC)
        return FaceImage(self.pixels, origin=SampleOrigin(captured_at=taken, device_ref=device_ref))


class Camera(Device):
    """A camera that is open, and streams, inside its ``with`` block.

    Parameters
    ----------
    info : DeviceInfo
        Which camera.
    wanted : CameraMode
        What it should deliver; :attr:`mode` says what it does.
    settle_s : float
        Frames of the first seconds are dropped: exposure and white balance still move.
    reconnect_s : float
        For so long a line that broke is tried again; meanwhile :meth:`read` times out. 0: the camera is gone at once.
    """

    kind: ClassVar[DeviceKind] = DeviceKind.CAMERA

    def __init__(
        self,
        info: DeviceInfo,
        *,
        wanted: CameraMode = CameraMode(),
        settle_s: float = 0.0,
        reconnect_s: float = 0.0,
        **device: Any,
    ) -> None:
        super().__init__(info, **device)
        self._wanted = self._mode = wanted
        self._settle_s = settle_s
        self._reconnect_s = reconnect_s
        self._slot = threading.Lock()
        self._newest: Frame | None = None
        self._failure: Exception | None = None
        self._taken = -1
        self._grabbing: Deadline | None = None
        self._streaming = threading.Event()

    @final
    @property
    def mode(self) -> CameraMode:
        """What the open camera delivers.

        Raises
        ------
        DeviceNotOpenError
            It is not open.
        """
        if self.state not in (DeviceState.READY, DeviceState.CAPTURING):
            raise DeviceNotOpenError(f"{self.info.id}: expected an open camera, got a closed one; use open() or with")
        return self._mode

    @final
    def read(self, *, timeout_s: float, lease: Lease | None = None) -> Frame:
        """Return the newest frame that was not returned before, waiting for it if need be.

        Parameters
        ----------
        timeout_s : float
            Seconds, more than 0. The call ends by then + 0.2 s.
        lease : Lease or None
            Needed while somebody holds one.

        Raises
        ------
        CaptureTimeoutError
            No frame in time.
        CaptureCancelledError
            Somebody cancelled it.
        LeaseLostError
            The lease ran out or was taken over.
        DeviceBusyError
            Somebody else has the camera, or it is in the middle of something.
        DeviceError
            The camera is closed or gone, or broke its protocol: its stream has ended, and it counts as gone until it is
            opened anew.
        """
        began = time.monotonic()
        with self._operation(timeout_s, lease) as (deadline, _):
            if not deadline.wait_for(self._has_news) or deadline.interruption is not None:
                raise TimeoutError
            with self._slot:
                frame, failure = self._newest, self._failure
            if frame is None or frame.index <= self._taken:
                assert failure is not None
                raise failure
            self._taken = frame.index
        self._taped(frame, time.monotonic() - began)
        return frame

    @abc.abstractmethod
    def _grab(self, deadline: Deadline) -> NDArray[np.uint8] | None:
        """Return the next frame, (H, W, 3) uint8 RGB, or None when none came in time.

        It is called without a pause, so it has to wait for the frame; and the array must not be written to again.
        """

    # -- the stream, in the device's thread

    def _opened(self, worker: Worker) -> None:
        with self._slot:
            self._newest = self._failure = None
        self._taken = -1
        self._streaming.set()
        worker.post(self._stream)

    def _closing(self) -> None:
        self._streaming.clear()
        with self._slot:
            if self._grabbing is not None:
                self._grabbing.interrupt(Interruption.CLOSED)

    def _has_ended(self) -> bool:
        with self._slot:
            return self._failure is not None

    def _stream(self) -> None:
        index, good_after = 0, time.monotonic() + self._settle_s
        while self._streaming.is_set():
            try:
                pixels = self._grab(self._next(_GRAB_S))
                if pixels is None:
                    continue
                _check(pixels, self.info.id)
            except Exception as error:
                if self._reconnected():
                    good_after = time.monotonic() + self._settle_s
                    continue
                self._publish(None, error)
                return
            now = time.monotonic()
            if now >= good_after:
                self._publish(Frame(_read_only(pixels), index, now), None)
            index += 1

    def _next(self, seconds: float) -> Deadline:
        # A deadline for one hook of the stream, which closing interrupts.
        deadline = Deadline(seconds)
        with self._slot:
            self._grabbing = deadline
        if not self._streaming.is_set():
            deadline.interrupt(Interruption.CLOSED)
        return deadline

    def _reconnected(self) -> bool:
        until, pause_s = time.monotonic() + self._reconnect_s, 0.1
        while self._streaming.is_set() and time.monotonic() < until:
            self._close_quietly()
            try:
                self._open(self._next(_RECONNECT_S))
            except Exception:
                self._next(min(pause_s, until - time.monotonic())).wait(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_S)
                continue
            self._tell(EventKind.RECONNECTED)
            return True
        return False

    def _publish(self, frame: Frame | None, failure: Exception | None) -> None:
        with self._slot:
            self._newest, self._failure = frame if frame is not None else self._newest, failure
        if (reader := self._running) is not None:
            reader.notify()

    def _has_news(self) -> bool:
        with self._slot:
            frame = self._newest
            return self._failure is not None or (frame is not None and frame.index > self._taken)


def _check(pixels: NDArray[np.uint8], name: str) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise DeviceProtocolError(f"{name}: expected (H, W, 3) uint8 RGB, got {pixels.shape} {pixels.dtype}")


def _read_only(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    view = pixels.view()
    view.flags.writeable = False
    return view


#: The drivers of cameras, by name.
CAMERAS: Final = Registry[Camera]("biometrik_hardware.camera.drivers", "DRIVER", "biometrik.cameras")
