"""The other side of libfprint's own virtual scanner: images over a Unix socket, in the words of its source.

libfprint lists the device while FP_VIRTUAL_IMAGE names the socket, and reads from it while it captures: two 32-bit
numbers, width and height, and the pixels. Negative widths are orders: -1 asks for another try, -2 is an error, -5
takes the device away.
"""

import fcntl
import os
import socket
import struct
import sys
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

_VARIABLE: Final = "FP_VIRTUAL_IMAGE"
_PAUSE_S: Final = 0.03
_RETRY, _ERROR, _LEAVE = -1, -2, -5


def whorl(height_px: int = 192, width_px: int = 160) -> NDArray[np.uint8]:
    """Return (H, W) uint8 of ridges that begin and end: nobody's finger, but with minutiae, which libfprint wants."""
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float64)
    phase = np.hypot(x - width_px / 2, y - height_px / 3) * 2 * np.pi / 9
    rng = np.random.default_rng(5)
    for at_y, at_x, turn in zip(
        rng.uniform(20, height_px - 20, 24), rng.uniform(20, width_px - 20, 24), rng.choice((-1, 1), 24), strict=True
    ):
        phase += turn * np.arctan2(y - at_y, x - at_x)  # one ridge more on one side: a minutia
    return np.asarray(127.5 + 127.5 * np.cos(phase), np.uint8)


class FprintEmulator:
    """Presents a finger to libfprint's virtual scanner, over and over; a context manager.

    Parameters
    ----------
    folder : Path
        Where the socket is.
    """

    def __init__(self, folder: Path) -> None:
        self.finger: NDArray[np.uint8] | None = None
        self.damage: Callable[[bytes], bytes] = lambda message: message
        self._socket = folder / "fprint"
        self._orders: list[bytes] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "FprintEmulator":
        self.plug()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        os.environ.pop(_VARIABLE, None)

    def plug(self) -> None:
        """Have libfprint list it."""
        os.environ[_VARIABLE] = str(self._socket)

    def unplug(self) -> None:
        """Pull the cable."""
        os.environ.pop(_VARIABLE, None)
        self._orders.append(struct.pack("ii", _LEAVE, 0))

    def retry(self, code: int) -> None:
        """Have the next capture ask for another try."""
        self._orders.append(struct.pack("ii", _RETRY, code))

    def fail(self, code: int) -> None:
        """Have the next capture fail."""
        self._orders.append(struct.pack("ii", _ERROR, code))

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            line = socket.socket(socket.AF_UNIX)
            line.settimeout(0.01)
            with line, suppress(ConnectionError, FileNotFoundError):
                line.connect(str(self._socket))
                self._serve(line)

    def _serve(self, line: socket.socket) -> None:
        # Until the other side closes, which it does when the device is closed or taken away. It reads only while it
        # captures, and takes the second of two images at once for a fault: so one, and a pause once it was read.
        while not self._ended.wait(_PAUSE_S):
            if _unread(line) == 0 and (message := self._next()):
                line.sendall(self.damage(message))
            with suppress(TimeoutError):
                if line.recv(1) == b"":
                    return

    def _next(self) -> bytes:
        if self._orders:
            return self._orders.pop(0)
        finger = self.finger
        return struct.pack("ii", *finger.shape[::-1]) + finger.tobytes() if finger is not None else b""


def _unread(line: socket.socket) -> int:
    # Bytes that the other side has not read yet.
    return int.from_bytes(fcntl.ioctl(line, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
