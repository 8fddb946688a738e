"""One attempt with a device: what the device gives goes through the models, and comes out as guidance and a sample."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from biometrik.attempt import Attempt, Hint, Seen, Shot, attempt_parameters
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.guidance import Guidance
from biometrik.recognition import Recognition
from biometrik.transport import compact
from biometrik.types import FACE, FaceImage, SampleOrigin, SampleReport, Trait
from biometrik_hardware.camera.camera import Camera
from biometrik_hardware.device import Device
from biometrik_hardware.errors import CaptureTimeoutError
from biometrik_hardware.fingerprint.scanner import FingerprintScanner
from biometrik_hardware.leases import Lease
from biometrik_hardware.outcomes import Retry, RetryReason

T = TypeVar("T")
Taking = FaceImage | FingerprintImage

#: Frames a second that are looked at: more tell a person nothing more, and cost a core.
_FPS: Final = 15.0
#: For so long a frame is waited for before time is seen to pass, seconds.
_FRAME_S: Final = 0.5
#: Width of a document's photograph by its height: 35 × 45 mm (ICAO 9303-3).
_PORTRAIT: Final = 35 / 45
#: What scanners ask of a person.
ASKED: Final[Mapping[RetryReason, Guidance]] = {
    RetryReason.PRESS_HARDER: Guidance.PRESS_HARDER,
    RetryReason.PRESS_SOFTER: Guidance.PRESS_SOFTER,
    RetryReason.MOVE_LEFT: Guidance.FINGER_LEFT,
    RetryReason.MOVE_RIGHT: Guidance.FINGER_RIGHT,
    RetryReason.MOVE_UP: Guidance.FINGER_UP,
    RetryReason.MOVE_DOWN: Guidance.FINGER_DOWN,
    RetryReason.CENTRE_FINGER: Guidance.CENTRE_FINGER,
    RetryReason.KEEP_STILL: Guidance.KEEP_STILL,
    RetryReason.REMOVE_FINGER: Guidance.REMOVE_FINGER,
    RetryReason.LIFTED_TOO_SOON: Guidance.KEEP_STILL,
    RetryReason.CLEAN_SENSOR: Guidance.WIPE_FINGER,
    RetryReason.TRANSFER_FAILED: Guidance.PLACE_FINGER,
}


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What is to be told of an attempt now.

    Parameters
    ----------
    hint : Hint or None
        What the person should do; None where the attempt is over.
    taken : Seen or None
        The sample, where it is over.
    report : SampleReport or None
        Of the newest frame or print; None before the first.
    frame : (H, W, 3) uint8 or None
        What the camera sees.
    """

    hint: Hint | None
    taken: Seen[Taking] | None
    report: SampleReport | None
    frame: NDArray[np.uint8] | None


class Guide:
    """Brings devices, models and the rules of an attempt together.

    Parameters
    ----------
    recognition : Recognition
        The models in force; used by one thread.
    portrait : bool
        Whether the middle of a wide picture is used, see :class:`biometrik_station.config.StationConfig`.
    compact_samples : bool
        Whether samples are made small: a face when it has been taken, a print before it is assessed, so that what is
        said of it is said of what is sent.
    """

    def __init__(self, recognition: Recognition, *, portrait: bool, compact_samples: bool) -> None:
        self._recognition = recognition
        self._portrait = portrait
        self._compact = compact_samples
        self._models = ThreadPoolExecutor(1, thread_name_prefix="models")
        # As many as devices may be waited for at once: each has one attempt, and a thread that waits costs little.
        self._waiting = ThreadPoolExecutor(64, thread_name_prefix="device")

    def close(self) -> None:
        """Wait for what runs; attempts must have ended."""
        self._models.shutdown()
        self._waiting.shutdown()

    async def call(self, function: Callable[[], T], device: Device | None = None) -> T:
        """Return what a call returns that waits for a device; it runs on a thread.

        Parameters
        ----------
        function : callable
            What is called.
        device : Device or None
            Whose operation it is: where nobody waits for it any more, it is ended, and its end waited for, so that the
            device is at rest.
        """
        running = asyncio.get_running_loop().run_in_executor(self._waiting, function)
        if device is None:
            return await running
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            device.cancel()
            await asyncio.wait([running])
            running.exception()  # it has been dealt with
            raise

    async def face(
        self, camera: Camera, lease: Callable[[], Lease], timeout_s: float, device_ref: str
    ) -> AsyncGenerator[Moment, None]:
        """Yield what is to be told of an attempt at a face; the last moment has the sample.

        Raises
        ------
        CaptureTimeoutError
            Nothing usable was seen in time.
        DeviceError
            See :meth:`Camera.read`.
        """
        began_s = now_s = time.monotonic()
        attempt: Attempt[Taking] = Attempt(FACE, began_s, replace(attempt_parameters(FACE), timeout_s=timeout_s))
        step = attempt.pass_time(began_s)
        yield _moment(step, None, None)
        while True:
            try:
                frame = await self.call(lambda: camera.read(timeout_s=_FRAME_S, lease=lease()), camera)
            except CaptureTimeoutError:
                now_s = max(now_s, time.monotonic())
                step = attempt.pass_time(now_s)
                yield await self._to_be_sent(_moment(step, None, None))
                if isinstance(step, Shot):
                    return
                continue
            if frame.taken_at < began_s:
                continue  # of the person before
            now_s = max(now_s, frame.taken_at)
            image = frame.to_image(device_ref)
            image = replace(image, pixels=_middle(image.pixels)) if self._portrait else image
            report = await self._assessed(image)
            step = attempt.see(Seen(now_s, image, report, image.width_px, image.height_px))
            yield await self._to_be_sent(_moment(step, report, image.pixels))
            if isinstance(step, Shot):
                return
            await asyncio.sleep(max(0.0, frame.taken_at + 1 / _FPS - time.monotonic()))

    async def finger(
        self,
        scanner: FingerprintScanner,
        lease: Callable[[], Lease],
        position: FingerPosition,
        timeout_s: float,
        device_ref: str,
    ) -> AsyncGenerator[Moment, None]:
        """Yield what is to be told of an attempt at a finger; the last moment has the print.

        Raises
        ------
        CaptureTimeoutError
            Nobody placed a finger in time.
        DeviceError
            See :meth:`FingerprintScanner.capture`.
        """
        trait, began_s = Trait.finger(position), time.monotonic()
        attempt: Attempt[Taking] = Attempt(trait, began_s, replace(attempt_parameters(trait), timeout_s=timeout_s))
        step = attempt.pass_time(began_s)
        yield _moment(step, None, None)
        while True:
            left_s = max(0.01, began_s + timeout_s - time.monotonic())
            try:
                taken = await self.call(partial(self._capture, scanner, position, left_s, lease), scanner)
            except CaptureTimeoutError:
                yield _moment(attempt.pass_time(max(time.monotonic(), began_s + timeout_s)), None, None)
                continue
            if isinstance(taken, Retry):
                yield _moment(attempt.ask_again(time.monotonic(), ASKED[taken.reason]), None, None)
                continue
            now_s = time.monotonic()
            taken = replace(taken, origin=SampleOrigin(datetime.now(UTC), device_ref=device_ref))
            if self._compact:
                taken = await self.call(partial(compact, taken))
            report = await self._assessed(taken)
            height_px, width_px = taken.pixels.shape
            yield _moment(attempt.see(Seen(now_s, taken, report, width_px, height_px)), report, None)
            return

    async def _to_be_sent(self, moment: Moment) -> Moment:
        # A face is cut out where it was found.
        seen = moment.taken
        if not self._compact or seen is None:
            return moment
        assert isinstance(seen.sample, FaceImage)
        small = await self.call(partial(compact, seen.sample, seen.report.face))
        return replace(moment, taken=replace(seen, sample=small))

    @staticmethod
    def _capture(
        scanner: FingerprintScanner, position: FingerPosition, timeout_s: float, lease: Callable[[], Lease]
    ) -> FingerprintImage | Retry:
        return scanner.capture(timeout_s=timeout_s, position=position, lease=lease())

    async def _assessed(self, image: Taking) -> SampleReport:
        def assessed() -> SampleReport:
            return self._recognition.prepare([image])[0].report

        return await asyncio.get_running_loop().run_in_executor(self._models, assessed)


def _moment(step: Hint | Shot[Taking], report: SampleReport | None, frame: NDArray[np.uint8] | None) -> Moment:
    if isinstance(step, Hint):
        return Moment(step, None, report, frame)
    if step.seen is None:
        said = ", ".join(reason.value for reason in step.last.report.reasons) if step.last is not None else "nobody"
        raise CaptureTimeoutError(f"capture: expected a sample that can be used in time, got {said or 'none'}")
    return Moment(None, step.seen, step.seen.report, frame)


def _middle(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # The middle of a wide picture, as wide as a portrait is for its height.
    height, width = pixels.shape[:2]
    wanted = round(height * _PORTRAIT)
    left = max(0, (width - wanted) // 2)
    return np.ascontiguousarray(pixels[:, left : left + wanted])
