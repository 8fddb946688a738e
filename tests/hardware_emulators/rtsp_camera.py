"""A network camera that speaks RTSP on loopback: JPEGs over RTP, inside the RTSP connection.

RFC 2326 (RTSP; interleaved data: 10.12), RFC 3550 (RTP), RFC 2435 (JPEG over RTP).
"""

import re
import select
import socket
import struct
import time
from collections.abc import Iterator
from io import BytesIO
from typing import Final

from PIL import Image

from tests.hardware_emulators.network_camera import NetworkCameraEmulator

_JPEG_TYPE: Final = 26
_CLOCK_HZ: Final = 90_000
_PACKET_BYTES: Final = 1400
_SDP: Final = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 26\r\na=control:track\r\na=framerate:{fps:g}\r\n"
)


class RtspCameraEmulator(NetworkCameraEmulator):
    """As the network camera, whose cable and frames it has, with another protocol. Sizes are multiples of 16."""

    @property
    def address(self) -> str:
        """Where it is, also while it is unplugged."""
        return f"rtsp://127.0.0.1:{self._port}/stream"

    def _stream(self, viewer: socket.socket) -> None:
        if not self._agreed(viewer):
            return
        sequence = 0
        for index in self._beats():
            if _has_left(viewer):
                return
            due = int(time.monotonic() * _CLOCK_HZ) & 0xFFFFFFFF
            jpeg = BytesIO()
            Image.fromarray(self._frames(index)).save(jpeg, "JPEG", quality=90)
            data = b""
            for payload, is_last in _fragments(jpeg.getvalue()):
                head = struct.pack(">BBHII", 0x80, _JPEG_TYPE | (0x80 if is_last else 0), sequence, due, 7)
                data += struct.pack(">cBH", b"$", 0, len(head) + len(payload)) + head + payload
                sequence = (sequence + 1) & 0xFFFF
            viewer.sendall(self.damage(data))
            self.sent_at[index] = time.monotonic()

    def _agreed(self, viewer: socket.socket) -> bool:
        # The talk before the first picture; False where the viewer leaves before it.
        received = b""
        while True:
            part = viewer.recv(4096)
            if not part:
                return False
            received += part
            while b"\r\n\r\n" in received:
                request, _, received = received.partition(b"\r\n\r\n")
                viewer.sendall(self._reply(request.decode("ascii", "replace")))
                if request.startswith(b"PLAY "):
                    return True

    def _reply(self, request: str) -> bytes:
        found = re.search(r"(?im)^CSeq: *(\d+)", request)
        head = f"CSeq: {found[1] if found else 0}\r\nSession: 7\r\n"
        match request.split(" ", 1)[0]:
            case "OPTIONS":
                head += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            case "DESCRIBE":
                head += f"Content-Base: {self.address}/\r\nContent-Type: application/sdp\r\n"
                sdp = _SDP.format(fps=self._fps)
                return f"RTSP/1.0 200 OK\r\n{head}Content-Length: {len(sdp)}\r\n\r\n{sdp}".encode()
            case "SETUP" if "interleaved" not in request:
                return f"RTSP/1.0 461 Unsupported Transport\r\n{head}\r\n".encode()
            case "SETUP":
                head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        return f"RTSP/1.0 200 OK\r\n{head}\r\n".encode()


def _fragments(jpeg: bytes) -> Iterator[tuple[bytes, bool]]:
    # What RFC 2435 carries of a baseline JPEG: its quantisation tables and its scan, without the other headers.
    tables, at, size = b"", 2, (0, 0)
    while jpeg[at + 1] != 0xDA:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        body = jpeg[at + 4 : at + 2 + length]
        if marker == 0xDB:
            tables += b"".join(body[start + 1 : start + 65] for start in range(0, len(body), 65))
        if marker == 0xC0:
            size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
        at += 2 + length
    scan = jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") : -2]
    for offset in range(0, len(scan), _PACKET_BYTES):
        # 4:2:0; 255: the tables come with the frame.
        head = struct.pack(">IBBBB", offset, 1, 255, size[0] // 8, size[1] // 8)
        head += struct.pack(">HH", 0, len(tables)) + tables if offset == 0 else b""
        part = scan[offset : offset + _PACKET_BYTES]
        yield head + part, offset + len(part) == len(scan)


def _has_left(viewer: socket.socket) -> bool:
    # Whatever else a viewer says while it looks (keep-alive, RTCP) needs no answer.
    while select.select([viewer], [], [], 0)[0]:
        said = viewer.recv(4096)
        if not said or said.startswith(b"TEARDOWN"):
            return True
    return False
