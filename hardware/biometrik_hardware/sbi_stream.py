"""The live pictures of a device behind the Secure Biometric Interface: JPEGs over HTTP, one after the other.

References
----------
MOSIP, *Secure Biometric Interface specification* (0.9.5): device stream, multipart/x-mixed-replace.
"""

import json
import re
import select
import socket
from typing import Any, Final

from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceGoneError, DeviceProtocolError
from biometrik_hardware.sbi_service import HOST

#: Between two looks at the deadline, and longest wait for a connection on this machine, seconds.
_LOOK_S: Final = 0.02
_CONNECT_S: Final = 2.0
#: Longest head of the answer, or of one picture; the specification's are below 200 bytes.
_MAX_HEAD_BYTES: Final = 8192
#: Longest picture: 3840 × 2160 pixels at JPEG's best quality are about 6 MB.
_MAX_PICTURE_BYTES: Final = 16 << 20
_PIECE_BYTES: Final = 1 << 18
_OK: Final = re.compile(rb"HTTP/1\.[01] 200\b")
_LENGTH: Final = re.compile(rb"content-length:[ \t]*(\d{1,9})[ \t]*(?:\r\n|$)", re.IGNORECASE)


class SbiStream:
    """One stream, begun here. Not thread-safe.

    Parameters
    ----------
    port : int
        Of the service, on this machine.
    request : dict
        Which device, and for how long.
    deadline : Deadline
        For the answer's head.

    Raises
    ------
    TimeoutError
        The deadline is over.
    DeviceGoneError
        No service listens there, or it hangs up.
    DeviceProtocolError
        The answer is no stream.
    """

    def __init__(self, port: int, request: dict[str, Any], deadline: Deadline) -> None:
        self.ended = False
        """Whether the service ended it: nothing more will come."""
        self._received = bytearray()
        self._awaited: int | None = None
        body = json.dumps(request).encode()
        # HTTP/1.0, to which no answer is in chunks.
        head = f"STREAM /stream HTTP/1.0\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        try:
            within_s = max(0.001, min(deadline.remaining_s, _CONNECT_S))
            self._line = socket.create_connection((HOST, port), timeout=within_s)
        except OSError as error:
            raise _gone(port) from error
        try:
            self._line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            while (answer := self._head()) is None:
                if not self._receive(deadline):
                    raise _gone(port) if self.ended else TimeoutError
            if not _OK.match(answer) or b"multipart/" not in answer.lower():
                raise DeviceProtocolError(f"port {port}: expected a stream of pictures, got another answer")
        except OSError as error:
            self.close()
            raise error if isinstance(error, TimeoutError) else _gone(port) from error
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Hang up; twice is fine."""
        self._line.close()

    def picture(self, deadline: Deadline) -> bytes | None:
        """Return the newest whole JPEG that came; None where none is there by the deadline, or the stream ended.

        Raises
        ------
        DeviceProtocolError
            What comes is no sequence of pictures with their lengths.
        """
        while (picture := self._newest()) is None:
            if not self._receive(deadline):
                return None
        return picture

    def _receive(self, deadline: Deadline) -> bool:
        # Whether something came, and there is time for more.
        while not select.select([self._line], [], [], _LOOK_S)[0]:
            if deadline.over:
                return False
        try:
            piece = self._line.recv(_PIECE_BYTES)
        except OSError:
            piece = b""
        self.ended = not piece
        self._received += piece
        return not self.ended and not deadline.over

    def _newest(self) -> bytes | None:
        newest = None
        while (picture := self._next()) is not None:
            newest = picture
        return newest

    def _next(self) -> bytes | None:
        # The next whole picture, taken off what was received.
        if self._awaited is None:
            head = self._head()
            if head is None:
                return None
            length = _LENGTH.search(head)
            self._awaited = int(length[1]) if length is not None else 0
            if not 0 < self._awaited <= _MAX_PICTURE_BYTES:
                raise DeviceProtocolError(
                    f"stream: expected a picture of 1 to {_MAX_PICTURE_BYTES} bytes, got one of no or another length"
                )
        if len(self._received) < self._awaited:
            return None
        picture = bytes(self._received[: self._awaited])
        del self._received[: self._awaited]
        self._awaited = None
        return picture

    def _head(self) -> bytes | None:
        # The next lines up to an empty one, taken off what was received; None where they are not all there.
        while self._received.startswith(b"\r\n"):
            del self._received[:2]
        end = self._received.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES)
        if end < 0:
            if len(self._received) >= _MAX_HEAD_BYTES:
                raise DeviceProtocolError(
                    f"stream: expected a head of at most {_MAX_HEAD_BYTES} bytes, got a longer one"
                )
            return None
        head = bytes(self._received[:end])
        del self._received[: end + 4]
        return head


def _gone(port: int) -> DeviceGoneError:
    return DeviceGoneError(f"port {port}: expected a device service, got none; start it")
