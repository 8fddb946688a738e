"""A scanner of fingerprints: one call for applications, one hook for drivers."""

import abc
import time
from dataclasses import replace
from functools import partial
from typing import ClassVar, Final, final

from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.registry import Registry
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.device import Device
from biometrik_hardware.events import DeviceInfo, DeviceKind, EventKind
from biometrik_hardware.leases import Lease
from biometrik_hardware.outcomes import Retry

#: What a scanner with room for one finger can capture.
SINGLE_FINGERS: Final = tuple(position for position in FingerPosition if 0 <= position <= 10)

Taken = FingerprintImage | Retry


class FingerprintScanner(Device):
    """A scanner that is open inside its ``with`` block.

    Examples
    --------
    A driver is a subclass with four hooks; ``docs/drivers.md`` builds one. An application does::

        with FingerprintScanner ... as scanner:
            match scanner.capture(timeout_s=10, position=FingerPosition.RIGHT_INDEX):
                case Retry(reason):
                    show(reason.text("id"))
                case image:
                    engine.enroll(...)
    """

    kind: ClassVar[DeviceKind] = DeviceKind.FINGERPRINT_SCANNER

    @classmethod
    def described(cls, path: str) -> DeviceInfo:
        """Return what is known of a scanner that is named by hand: it takes one finger."""
        return DeviceInfo(cls.driver, path, cls.kind, positions=SINGLE_FINGERS)

    @final
    def capture(
        self, *, timeout_s: float, position: FingerPosition = FingerPosition.UNKNOWN, lease: Lease | None = None
    ) -> Taken:
        """Wait for a finger and return one impression, or why the person should present it again.

        Parameters
        ----------
        timeout_s : float
            Seconds, more than 0. The call ends by then + 0.2 s.
        position : FingerPosition
            What was asked of the person; stamped on the image.
        lease : Lease or None
            Needed while somebody holds one.

        Returns
        -------
        FingerprintImage or Retry
            Dark ridges on light ground, at the scanner's own resolution.

        Raises
        ------
        CaptureTimeoutError
            No finger in time.
        CaptureCancelledError
            Somebody cancelled it.
        LeaseLostError
            The lease ran out or was taken over.
        DeviceBusyError
            Somebody else has the scanner, or it is in the middle of something.
        DeviceError
            The scanner is closed or gone, or broke its protocol.
        InvalidInputError
            The scanner cannot capture this position, or a time-out out of range.
        """
        if self.info.positions and position not in self.info.positions:
            raise InvalidInputError(
                f"position: expected one that {self.info.id} can capture, got {position.name}; see info.positions"
            )
        began = time.monotonic()
        with self._operation(timeout_s, lease) as (deadline, worker):
            self._tell(EventKind.CAPTURE_STARTED, position.name)
            taken = worker.run(partial(self._read, position, deadline), deadline)
            if taken is None or deadline.interruption is not None:
                raise TimeoutError
        if isinstance(taken, FingerprintImage) and taken.position != position:
            taken = replace(taken, position=position)
        self._taped(taken, time.monotonic() - began)
        if isinstance(taken, Retry):
            self._tell(EventKind.RETRY, taken.reason.value)
        else:
            self._tell(EventKind.CAPTURED, position.name)
        return taken

    @abc.abstractmethod
    def _read(self, position: FingerPosition, deadline: Deadline) -> Taken | None:
        """Wait for a finger and return its image, a Retry, or None when the deadline is over.

        Wait with ``deadline.wait``; bound blocking calls by ``deadline.remaining_s``.
        """


#: The drivers of scanners, by name.
SCANNERS: Final = Registry[FingerprintScanner](
    "biometrik_hardware.fingerprint.drivers",
    "DRIVER",
    "biometrik.scanners",
    extras={"zfm": "zfm", "sbi": "sbi", "libfprint": "libfprint"},
)
