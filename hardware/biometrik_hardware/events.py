"""What a device is and what happens to it, as values."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition

#: Who logs in, and with what, in an address (RFC 3986, 3.2.1).
_PASSWORD: Final = re.compile(r"(?<=://)[^/?#]*@")


class DeviceKind(Enum):
    """What a device captures."""

    FINGERPRINT_SCANNER = "FINGERPRINT_SCANNER"
    CAMERA = "CAMERA"


class Feature(Enum):
    """What a device can do beyond capturing."""

    SLAP = "SLAP"
    """Several fingers in one image."""
    ROLLED = "ROLLED"
    """Rolled impressions."""
    ON_DEVICE_SEARCH = "ON_DEVICE_SEARCH"
    """Makes, stores and searches templates of its own."""
    SIGNED = "SIGNED"
    """Signs what it captures."""
    RECONNECTS = "RECONNECTS"
    """Comes back by itself after its line was interrupted."""


class DeviceState(Enum):
    """What a device is doing."""

    CLOSED = "CLOSED"
    OPENING = "OPENING"
    READY = "READY"
    CAPTURING = "CAPTURING"
    GONE = "GONE"
    """Unplugged or hung, or a camera whose stream broke; it can be opened again when it is back."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What is known of a device before it is opened.

    Parameters
    ----------
    driver : str
        Name of the driver in its registry.
    path : str
        Where the driver finds it: a port, a device file, an address, a folder.
    kind : DeviceKind
        What it captures.
    vendor, model, serial : str
        "" where not known.
    ppi : float or None
        Of a scanner, pixels an inch; None for a camera, and for a scanner that says so with each image.
    positions : tuple of FingerPosition
        What a scanner can capture; empty for a camera.
    features : frozenset of Feature
        What else it can do.

    Raises
    ------
    InvalidInputError
        No driver or path, or a resolution out of range.

    Examples
    --------
    >>> DeviceInfo("zfm", "/dev/ttyUSB0", DeviceKind.FINGERPRINT_SCANNER, ppi=500.0).id
    'zfm:/dev/ttyUSB0'
    """

    driver: str
    path: str
    kind: DeviceKind
    vendor: str = ""
    model: str = ""
    serial: str = ""
    ppi: float | None = None
    positions: tuple[FingerPosition, ...] = ()
    features: frozenset[Feature] = frozenset()

    def __post_init__(self) -> None:
        if not self.driver or not self.path:
            raise InvalidInputError("device: expected a driver and a path, got an empty one")
        if self.ppi is not None and not 250.0 <= self.ppi <= 1000.0:
            raise InvalidInputError(f"ppi: expected 250..1000 pixels an inch, got {self.ppi}")

    @property
    def id(self) -> str:
        """Names the device on this machine, ``driver:path``; a password in an address is left out, for it is shown."""
        return f"{self.driver}:{_PASSWORD.sub('***@', self.path)}"


class EventKind(Enum):
    """What happened to a device."""

    ARRIVED = "ARRIVED"
    LEFT = "LEFT"
    OPENED = "OPENED"
    CLOSED = "CLOSED"
    GONE = "GONE"
    CAPTURE_STARTED = "CAPTURE_STARTED"
    CAPTURED = "CAPTURED"
    RETRY = "RETRY"
    CAPTURE_FAILED = "CAPTURE_FAILED"
    RECONNECTED = "RECONNECTED"
    LEASE_GRANTED = "LEASE_GRANTED"
    LEASE_RENEWED = "LEASE_RENEWED"
    LEASE_RELEASED = "LEASE_RELEASED"
    LEASE_TAKEN_OVER = "LEASE_TAKEN_OVER"


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """Something happened to a device; never holds pixels.

    Parameters
    ----------
    kind : EventKind
        What.
    device_id : str
        To which device.
    detail : str
        The retry reason, the error's reason, or for leases who and why.
    at : datetime
        When, UTC.
    """

    kind: EventKind
    device_id: str
    detail: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
