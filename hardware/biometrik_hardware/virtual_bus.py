"""Where virtual devices are plugged in: frame sources, their speed, and what goes wrong with them.

A frame source is any callable, so a test, a demonstration or a generator of prints can stand behind the virtual
drivers, which know none of them.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik import imaging
from biometrik.errors import InvalidInputError
from biometrik.finger_imaging import read_print
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik_hardware.errors import DeviceGoneError, DeviceNotFoundError
from biometrik_hardware.events import DeviceKind
from biometrik_hardware.outcomes import RetryReason

#: Gives the print of the finger that was asked for; one that nobody has raises LookupError.
PrintSource = Callable[[FingerPosition], FingerprintImage]
#: Gives the frame of an index, (H, W, 3) uint8 RGB.
FrameSource = Callable[[int], NDArray[np.uint8]]


class Trouble(Enum):
    """What can go wrong with one capture, or one frame."""

    NOTHING = "NOTHING"
    NO_FINGER = "NO_FINGER"
    """Nobody comes: the capture times out; for a camera, one frame less."""
    DELAY = "DELAY"
    """It takes ``seconds`` longer; for a camera, the next frame comes so much later."""
    SMEAR = "SMEAR"
    """The finger, or the head, moves during the capture."""
    WRONG_FINGER = "WRONG_FINGER"
    """The same finger of the other hand."""
    SAME_FINGER = "SAME_FINGER"
    """The finger of the capture before."""
    RETRY = "RETRY"
    """The scanner itself asks again, for ``reason``."""
    UNPLUG = "UNPLUG"
    """The cable comes out after ``seconds``."""
    GARBAGE = "GARBAGE"
    """The device answers what its protocol does not allow."""
    HANG = "HANG"
    """The driver blocks for ``seconds`` and does not look at its deadline."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One step of a script of troubles.

    Parameters
    ----------
    trouble : Trouble
        What.
    seconds : float
        Until it happens; of HANG and DELAY, how long it takes.
    reason : RetryReason
        Of RETRY.
    """

    trouble: Trouble
    seconds: float = 0.0
    reason: RetryReason = RetryReason.CENTRE_FINGER


@dataclass(frozen=True, slots=True)
class VirtualScannerSetup:
    """A scanner and the person in front of it.

    Parameters
    ----------
    prints : callable
        Frame source.
    script : sequence of Fault
        One for each capture, in turn; afterwards nothing goes wrong.
    approach_s : float
        Until the finger is there: people take about a second.
    capture_s : float
        From there to the image: scanners take 0.1 to 4 s.
    ppi : float
        Of the scanner.
    """

    prints: PrintSource
    script: Sequence[Fault] = ()
    approach_s: float = 0.8
    capture_s: float = 0.4
    ppi: float = 500.0


@dataclass(frozen=True, slots=True)
class VirtualCameraSetup:
    """A camera and what stands in front of it.

    Parameters
    ----------
    frames : callable
        Frame source.
    script : sequence of Fault
        One for each frame, in turn; afterwards nothing goes wrong.
    fps : float
        Frames a second.
    """

    frames: FrameSource
    script: Sequence[Fault] = ()
    fps: float = 30.0


@dataclass(slots=True, eq=False)
class _Socket:
    setup: VirtualScannerSetup | VirtualCameraSetup
    plugged: bool = True
    used: int = 0
    last: FingerPosition = FingerPosition.UNKNOWN
    changed: threading.Condition = field(default_factory=threading.Condition)


class VirtualBus:
    """The sockets of one process. Thread-safe.

    Examples
    --------
    >>> with BUS.plugged("a", VirtualCameraSetup(lambda index: np.zeros((48, 64, 3), np.uint8))):
    ...     BUS.names(DeviceKind.CAMERA)
    ('a',)
    >>> BUS.names(DeviceKind.CAMERA)
    ()
    """

    def __init__(self) -> None:
        self._sockets: dict[str, _Socket] = {}
        self._lock = threading.Lock()

    def plug(self, name: str, setup: VirtualScannerSetup | VirtualCameraSetup) -> None:
        """Plug a device in, its script from the beginning.

        Raises
        ------
        InvalidInputError
            Something is plugged in under this name.
        """
        with self._lock:
            if name in self._sockets and self._sockets[name].plugged:
                raise InvalidInputError(f"name: expected a free one, got {name!r}; unplug it first")
            self._sockets[name] = _Socket(setup)

    def replug(self, name: str) -> None:
        """Plug a device in again; its script goes on."""
        self._socket(name).plugged = True

    def script(self, name: str, faults: Sequence[Fault]) -> None:
        """Have these things go wrong from now on, in place of what is left of an earlier script.

        Raises
        ------
        DeviceNotFoundError
            There never was a device of this name.
        """
        socket = self._socket(name)
        with self._lock:
            socket.setup, socket.used = replace(socket.setup, script=tuple(faults)), 0

    def unplug(self, name: str) -> None:
        """Pull the cable; who is in the middle of a capture is told."""
        socket = self._socket(name)
        socket.plugged = False

    @contextmanager
    def plugged(self, name: str, setup: VirtualScannerSetup | VirtualCameraSetup) -> Iterator[None]:
        """Have a device plugged in for a block."""
        self.plug(name, setup)
        try:
            yield
        finally:
            self.unplug(name)

    def names(self, kind: DeviceKind) -> tuple[str, ...]:
        """Return what is plugged in, sorted."""
        with self._lock:
            return tuple(sorted(n for n, s in self._sockets.items() if s.plugged and _kind(s.setup) is kind))

    def scanner(self, name: str) -> VirtualScannerSetup:
        """Return the scanner that is plugged in.

        Raises
        ------
        DeviceNotFoundError
            There is none.
        """
        socket = self._socket(name)
        if not socket.plugged or not isinstance(socket.setup, VirtualScannerSetup):
            raise DeviceNotFoundError(f"virtual:{name}: expected a scanner that is plugged in, got none")
        return socket.setup

    def camera(self, name: str) -> VirtualCameraSetup:
        """Return the camera that is plugged in.

        Raises
        ------
        DeviceNotFoundError
            There is none.
        """
        socket = self._socket(name)
        if not socket.plugged or not isinstance(socket.setup, VirtualCameraSetup):
            raise DeviceNotFoundError(f"virtual:{name}: expected a camera that is plugged in, got none")
        return socket.setup

    def check(self, name: str) -> None:
        """Raise DeviceGoneError if the cable is out."""
        if not self._socket(name).plugged:
            raise DeviceGoneError(f"virtual:{name}: expected a device that answers, got none; plug it in")

    def next_fault(self, name: str) -> Fault:
        """Return what goes wrong with the next capture or frame."""
        socket = self._socket(name)
        with self._lock:
            script, used = socket.setup.script, socket.used
            socket.used += 1
        return script[used] if used < len(script) else _NO_FAULT

    def remembered(self, name: str, position: FingerPosition) -> FingerPosition:
        """Return the finger of the capture before, and remember this one."""
        socket = self._socket(name)
        before, socket.last = socket.last, position
        return before

    def _socket(self, name: str) -> _Socket:
        with self._lock:
            if name not in self._sockets:
                raise DeviceNotFoundError(
                    f"virtual:{name}: expected a virtual device of this name, got none; plug() it"
                )
            return self._sockets[name]


def other_hand(position: FingerPosition) -> FingerPosition:
    """Return the same finger of the other hand; of an unknown finger, unknown.

    Examples
    --------
    >>> other_hand(FingerPosition.RIGHT_THUMB).name
    'LEFT_THUMB'
    """
    if 1 <= position <= 10:
        return FingerPosition((position + 4) % 10 + 1)
    return position


def prints_in(folder: Path, *, ppi: float | None = None) -> PrintSource:
    """Return a frame source that plays a folder of prints.

    Parameters
    ----------
    folder : Path
        Images; one whose name holds a position, as in ``7_right_index.png``, is shown when that is asked for, in the
        order of names, over and over. For an unknown position all are shown.
    ppi : float or None
        Pixels an inch; None takes what the files state.
    """
    files = _images_in(folder)
    shown: dict[FingerPosition, int] = {}

    def source(position: FingerPosition) -> FingerprintImage:
        fitting = [f for f in files if position is FingerPosition.UNKNOWN or position.name.lower() in f.stem.lower()]
        if not fitting:
            raise LookupError(position.name)
        index = shown.get(position, 0)
        shown[position] = index + 1
        return read_print(fitting[index % len(fitting)], ppi=ppi, position=position)

    return source


def frames_in(folder: Path) -> FrameSource:
    """Return a frame source that plays a folder of pictures in the order of their names, over and over."""
    files = _images_in(folder)
    # A camera's driver does not decode PNG: a few pictures are decoded once. The frames are handed out read-only.
    read = lru_cache(maxsize=8)(imaging.read_rgb)
    return lambda index: read(files[index % len(files)])


def smeared(pixels: NDArray[np.uint8], reach_px: int) -> NDArray[np.uint8]:
    """Return an image as if what it shows had moved sideways: each pixel is the mean of ``reach_px`` in its row."""
    padded = np.pad(pixels.astype(np.uint32), [(0, 0), (reach_px, 0), *[(0, 0)] * (pixels.ndim - 2)], mode="edge")
    total = np.cumsum(padded, axis=1)
    return ((total[:, reach_px:] - total[:, :-reach_px]) // reach_px).astype(np.uint8)


def sleep_regardless(seconds: float) -> None:
    """Block as a bad driver does, whatever the deadline."""
    time.sleep(seconds)


def _images_in(folder: Path) -> list[Path]:
    files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    if not files:
        raise InvalidInputError(f"{folder}: expected images, got an empty folder")
    return files


def _kind(setup: VirtualScannerSetup | VirtualCameraSetup) -> DeviceKind:
    return DeviceKind.CAMERA if isinstance(setup, VirtualCameraSetup) else DeviceKind.FINGERPRINT_SCANNER


_NO_FAULT: Final = Fault(Trouble.NOTHING)
BUS: Final = VirtualBus()
