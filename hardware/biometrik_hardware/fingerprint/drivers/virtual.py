"""A scanner without hardware: plays any frame source at a real scanner's speed, with a script of troubles.

Plug it in with :data:`biometrik_hardware.virtual_bus.BUS`; its path is the name there.
"""

from collections.abc import Iterator
from typing import Final

from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceProtocolError
from biometrik_hardware.events import DeviceInfo, DeviceKind
from biometrik_hardware.fingerprint.scanner import SINGLE_FINGERS, FingerprintScanner, Taken
from biometrik_hardware.outcomes import Retry, RetryReason
from biometrik_hardware.virtual_bus import BUS, Trouble, other_hand, sleep_regardless, smeared

#: How often the cable is looked at, seconds.
_LOOK_S: Final = 0.02
#: How far a finger slips, pixels.
_SMEAR_PX: Final = 24


class VirtualScanner(FingerprintScanner):
    """See the module docstring; everything else is the base class."""

    driver = "virtual"

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield what is plugged into the virtual bus."""
        yield from map(cls.described, BUS.names(DeviceKind.FINGERPRINT_SCANNER))

    @classmethod
    def described(cls, path: str) -> DeviceInfo:
        """Return what is known of it; its resolution is the set-up's."""
        ppi = BUS.scanner(path).ppi
        return DeviceInfo(cls.driver, path, cls.kind, "biometrik", "virtual", path, ppi, SINGLE_FINGERS)

    def _open(self, deadline: Deadline) -> None:
        self._setup = BUS.scanner(self.info.path)

    def _close(self) -> None:
        pass

    def _read(self, position: FingerPosition, deadline: Deadline) -> Taken | None:
        name, setup = self.info.path, self._setup
        BUS.check(name)
        fault = BUS.next_fault(name)
        before = BUS.remembered(name, position)
        match fault.trouble:
            case Trouble.HANG:
                sleep_regardless(fault.seconds)
            case Trouble.NO_FINGER:
                self._wait(deadline.remaining_s, deadline)
            case _:
                self._wait(fault.seconds, deadline)
        if fault.trouble is Trouble.UNPLUG:
            BUS.unplug(name)
        if fault.trouble is Trouble.GARBAGE:
            raise DeviceProtocolError(f"{self.info.id}: expected an image, got bytes of no meaning")
        if not self._wait(setup.approach_s + setup.capture_s, deadline):
            return None
        match fault.trouble:
            case Trouble.RETRY:
                return Retry(fault.reason)
            case Trouble.WRONG_FINGER:
                position = other_hand(position)
            case Trouble.SAME_FINGER:
                position = before
        try:
            image = setup.prints(position)
        except LookupError:
            return Retry(RetryReason.CENTRE_FINGER)
        if fault.trouble is Trouble.SMEAR:
            return FingerprintImage(smeared(image.pixels, _SMEAR_PX), image.ppi, image.position, image.impression)
        return image

    def _wait(self, seconds: float, deadline: Deadline) -> bool:
        until = deadline.remaining_s - seconds
        while (left := deadline.remaining_s - until) > 0 and deadline.wait(min(left, _LOOK_S)):
            BUS.check(self.info.path)
        BUS.check(self.info.path)
        return not deadline.over


DRIVER = VirtualScanner
