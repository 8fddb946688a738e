"""ZhianTec ZFM-20/60/70/100, R30x, R551, FPM10A, AS608: serial sensors, through ``pyfingerprint`` (extra ``zfm``).

Limits of the sensors: an image has 4 bits a pixel (16 grays) and takes 36,864 bytes, with framing 7.0 s at 57,600
baud and 3.5 s at 115,200. The protocol does not tell the resolution. The manuals say 500 ppi, and a window of
14.5 × 19.4 mm for 256 × 288 pixels, which contradicts it: measure yours with a target and state it. ``pyfingerprint``
waits without end and puts images into files: the driver gives it a line that knows the deadline, and reads images
packet by packet.

Protocol: ZhianTec, *ZFM-20 Series Fingerprint Identification Module User Manual* V1.4, chapter 4. A sensor on a USB
adapter looks like any serial port, and nothing is sent to ports that may belong to something else: those are
discovered that a udev rule names ``/dev/biometrik-zfm*``; others are named by hand, ``zfm:/dev/ttyUSB0``.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from pyfingerprint.pyfingerprint import PyFingerprint  # type: ignore[import-untyped]

from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceAccessError, DeviceProtocolError
from biometrik_hardware.events import DeviceInfo, Feature
from biometrik_hardware.fingerprint.scanner import FingerprintScanner, Taken
from biometrik_hardware.outcomes import Retry, RetryReason

T = TypeVar("T")

#: How long the line may be silent before an answer, and within one, seconds. A search takes the sensor up to 1 s.
_ANSWER_S: Final = 2.0
_SILENCE_S: Final = 0.25
_ATTEMPTS: Final = 3
#: Between two looks for a finger, seconds.
_POLL_S: Final = 0.05
_COMMAND, _ACK, _DATA, _END = 0x01, 0x07, 0x02, 0x08
_UPLOAD_IMAGE: Final = 0x0A
_DONE: Final = 0x00
#: What the sensor says of a finger, in the words of pyfingerprint.
_RETRIES: Final = {
    "Could not read image": RetryReason.KEEP_STILL,
    "The image is too messy": RetryReason.CLEAN_SENSOR,
    "The image contains too few feature points": RetryReason.PRESS_HARDER,
    "The image is invalid": RetryReason.CENTRE_FINGER,
}


@dataclass(frozen=True, slots=True)
class SensorMatch:
    """A template in the sensor's own memory that it thinks is of the finger.

    Parameters
    ----------
    slot : int
        Where it is stored.
    accuracy : int
        The sensor's own measure, larger is more alike; it stands for no error rate.
    """

    slot: int
    accuracy: int


class ZfmScanner(FingerprintScanner):
    """See the module docstring.

    Parameters
    ----------
    info : DeviceInfo
        Which port.
    ppi : float
        Pixels an inch, as measured; see the module docstring.
    baud : int
        As the sensor is set, a multiple of 9600.
    width_px, height_px : int
        Of the sensor's image: 256 × 288, except for a few (R503: 192 × 192).
    address, password : int
        As the sensor is set, 32 bits.
    """

    driver = "zfm"

    def __init__(
        self,
        info: DeviceInfo,
        *,
        ppi: float = 500.0,
        baud: int = 57_600,
        width_px: int = 256,
        height_px: int = 288,
        address: int = 0xFFFFFFFF,
        password: int = 0,
        **device: Any,
    ) -> None:
        super().__init__(replace(info, ppi=ppi, features=frozenset({Feature.ON_DEVICE_SEARCH})), **device)
        self._baud, self._address, self._password = baud, address, password
        self._width_px, self._height_px = width_px, height_px
        self._line: _Line | None = None
        self._sensor: Any = None

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield the ports that a udev rule names ``/dev/biometrik-zfm*``."""
        for path in sorted(Path("/dev").glob("biometrik-zfm*")):
            yield cls.described(str(path))

    def sensor_template(self, *, timeout_s: float = 5.0) -> bytes | Retry:
        """Return the sensor's own template of the image that was captured last; only such sensors can read it."""
        with self._operation(timeout_s, None) as (deadline, worker):
            return worker.run(lambda: self._template(deadline), deadline)

    def search_sensor(self, template: bytes, *, timeout_s: float = 5.0) -> SensorMatch | None:
        """Return which of the sensor's stored templates is like this one, or None where none is."""
        with self._operation(timeout_s, None) as (deadline, worker):
            return worker.run(lambda: self._search(template, deadline), deadline)

    # -- hooks

    def _open(self, deadline: Deadline) -> None:
        sensor = PyFingerprint(self.info.path, self._baud, self._address, self._password)
        # The port is private to pyfingerprint; behind the line every read of its endless loops has a deadline.
        self._line = _Line(sensor._PyFingerprint__serial)
        self._sensor, sensor._PyFingerprint__serial = sensor, self._line
        self._line.own()
        if not self._exchange(sensor.verifyPassword, deadline):
            raise DeviceAccessError(f"{self.info.id}: expected the sensor's password, got another one")

    def _close(self) -> None:
        line, self._line, self._sensor = self._line, None, None
        if line is not None:
            line.close()

    def _read(self, position: FingerPosition, deadline: Deadline) -> Taken | None:
        try:
            while not self._exchange(self._sensor.readImage, deadline):
                if not deadline.wait(_POLL_S):
                    return None
            pixels = self._exchange(self._image, deadline)
        except _RetryError as wanted:
            return Retry(wanted.reason)
        packed = np.frombuffer(pixels, np.uint8).reshape(self._height_px, self._width_px // 2)
        gray = np.empty((self._height_px, self._width_px), np.uint8)
        gray[:, 0::2], gray[:, 1::2] = (packed >> 4) * 17, (packed & 15) * 17
        assert self.info.ppi is not None
        return FingerprintImage(gray, self.info.ppi, position)

    # -- the sensor's language

    def _exchange(self, ask: Callable[[], T], deadline: Deadline) -> T:
        # A byte that was lost or turned around costs one attempt: the line is let run dry, and the sensor asked anew.
        assert self._line is not None
        for _ in range(_ATTEMPTS):
            self._line.begin(deadline)
            try:
                return ask()
            except (OSError, DeviceAccessError):
                raise
            except Exception as error:
                if str(error) in _RETRIES:
                    raise _RetryError(_RETRIES[str(error)]) from error
                failure = error
            self._line.drain()
        raise DeviceProtocolError(
            f"{self.info.id}: expected an answer in its protocol, got {_ATTEMPTS} damaged ones; check baud and cable"
        ) from failure

    def _image(self) -> bytes:
        size = self._width_px * self._height_px // 2
        self._sensor._PyFingerprint__writePacket(_COMMAND, (_UPLOAD_IMAGE,))
        kind, content = self._sensor._PyFingerprint__readPacket()
        if kind != _ACK or content[:1] != [_DONE]:
            raise ValueError("no image")
        pixels = bytearray()
        while kind != _END:
            kind, content = self._sensor._PyFingerprint__readPacket()
            if kind not in (_DATA, _END) or len(pixels) + len(content) > size:
                raise ValueError("not a packet of this image")
            pixels += bytes(content)
        if len(pixels) != size:
            raise ValueError("an image of another size")
        return bytes(pixels)

    def _template(self, deadline: Deadline) -> bytes | Retry:
        try:
            self._exchange(self._sensor.convertImage, deadline)
            return bytes(self._exchange(self._sensor.downloadCharacteristics, deadline))
        except _RetryError as wanted:
            return Retry(wanted.reason)

    def _search(self, template: bytes, deadline: Deadline) -> SensorMatch | None:
        if not self._exchange(lambda: self._sensor.uploadCharacteristics(1, list(template)), deadline):
            raise DeviceProtocolError(f"{self.info.id}: expected the template to arrive, got another one back")
        slot, accuracy = self._exchange(self._sensor.searchTemplate, deadline)
        return SensorMatch(slot, accuracy) if slot >= 0 else None


class _RetryError(Exception):
    def __init__(self, reason: RetryReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class _Line:
    # What pyfingerprint takes for its serial port. `read` gives one byte or raises; it never gives none, because
    # pyfingerprint would count that as a byte.

    def __init__(self, port: Any) -> None:
        self._port = port
        self._port.timeout, self._port.write_timeout = 0.02, 0.5
        self._received = bytearray()
        self._deadline = Deadline(_ANSWER_S)
        self._answered = False

    def own(self) -> None:
        self._port.exclusive = True

    def begin(self, deadline: Deadline) -> None:
        self._deadline, self._answered = deadline, False

    def read(self) -> bytes:
        patience_s = _SILENCE_S if self._answered else _ANSWER_S
        silent_since = time.monotonic()
        while not self._received:
            if self._deadline.over:
                raise TimeoutError
            self._received += self._port.read(max(1, self._port.in_waiting))
            if not self._received and time.monotonic() - silent_since > patience_s:
                raise ValueError("the line is silent within an answer" if self._answered else "no answer")
        self._answered = True
        byte = bytes(self._received[:1])
        del self._received[:1]
        return byte

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def drain(self) -> None:
        # Until nothing comes for a while.
        self._received.clear()
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 0.1 and not self._deadline.over:
            if self._port.read(max(1, self._port.in_waiting)):
                quiet_since = time.monotonic()

    def isOpen(self) -> bool:
        return bool(self._port.is_open)

    def close(self) -> None:
        self._port.close()


DRIVER = ZfmScanner
