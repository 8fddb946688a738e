"""A ZFM/R30x sensor on a pseudo-terminal, written from the user manual and without the driver's library.

It speaks the byte protocol: start code EF01, address, packet identifier, length, content, checksum.
"""

import hashlib
import os
import select
import struct
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

_HEAD: Final = struct.Struct(">HIBH")
_START: Final = 0xEF01
_COMMAND, _DATA, _ACK, _END = 1, 2, 7, 8
_TEMPLATE_BYTES: Final = 512
_PACKET_SIZES: Final = (32, 64, 128, 256)

#: Turns the bytes of a whole answer into what comes out of the cable.
Damage = Callable[[bytes], bytes]


class ZfmEmulator:
    """A sensor that answers in a thread; a context manager.

    Parameters
    ----------
    folder : Path
        Where its port appears, as ``port``.
    width_px, height_px : int
        Of its image.
    baud : int
        Bytes leave it at ``baud / 10`` a second; 0 for as fast as can be.
    fragment : int
        Bytes that leave it at once; 0 for all.
    packet_code : int
        0..3 for 32, 64, 128, 256 bytes of data a packet.
    password : int
        That it wants.
    """

    def __init__(
        self,
        folder: Path,
        *,
        width_px: int = 256,
        height_px: int = 288,
        baud: int = 0,
        fragment: int = 0,
        packet_code: int = 2,
        password: int = 0,
        address: int = 0xFFFFFFFF,
    ) -> None:
        self.port = folder / "port"
        self.shape = height_px, width_px
        self.finger: NDArray[np.uint8] | None = None
        self.complaint = 0
        """Confirmation code of the next images, e.g. 3: could not read."""
        self.damage: Damage = lambda answer: answer
        self.commands: list[int] = []
        self.stored: dict[int, bytes] = {}
        self._baud, self._fragment, self._packet_code = baud, fragment, packet_code
        self._password, self._address = password, address
        self._image = b""
        self._characters = {1: b"", 2: b""}
        self._incoming: tuple[int, bytearray] | None = None
        self._ended = threading.Event()
        self._master: int | None = None

    def __enter__(self) -> "ZfmEmulator":
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def plug(self) -> None:
        """Connect the cable, under the same path."""
        if self._master is not None:
            return
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)  # what could be read may be gone when the other side opens or closes
        tty.setraw(slave)
        self.port.unlink(missing_ok=True)
        self.port.symlink_to(os.ttyname(slave))
        os.close(slave)
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, args=(self._master,), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Pull the cable: the port is gone, whoever reads it finds out."""
        if self._master is None:
            return
        self._ended.set()
        self._thread.join()
        self.port.unlink()
        os.close(self._master)
        self._master = None

    # -- the wire

    def _run(self, master: int) -> None:
        received = bytearray()
        while not self._ended.is_set():
            if not select.select([master], [], [], 0.01)[0]:
                continue
            try:
                received += os.read(master, 4096)
            except OSError:  # nothing to read after all, or nobody has the port open
                time.sleep(0.005)
                continue
            while (packet := _taken(received)) is not None:
                if answer := self._answer(*packet):
                    self._send(master, self.damage(answer))

    def _send(self, master: int, data: bytes) -> None:
        size = self._fragment or (max(1, self._baud // 1000) if self._baud else 4096)
        due_at = time.monotonic()
        while data and not self._ended.is_set():
            try:
                sent = os.write(master, data[:size])
            except BlockingIOError:
                if not select.select([], [master], [], 0.2)[1]:
                    return  # nobody reads
                continue
            except OSError:
                return
            data = data[sent:]
            if self._baud:
                due_at += sent * 10 / self._baud
                time.sleep(max(0.0, due_at - time.monotonic()))

    def _packet(self, kind: int, content: bytes) -> bytes:
        body = struct.pack(">BH", kind, len(content) + 2) + content
        return struct.pack(">HI", _START, self._address) + body + struct.pack(">H", sum(body) & 0xFFFF)

    def _acknowledged(self, code: int, content: bytes = b"") -> bytes:
        return self._packet(_ACK, bytes([code]) + content)

    def _stream(self, data: bytes) -> bytes:
        size = _PACKET_SIZES[self._packet_code]
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        return b"".join(self._packet(_DATA if part is not parts[-1] else _END, part) for part in parts)

    # -- what the sensor does

    def _answer(self, kind: int, content: bytes, intact: bool) -> bytes:
        if kind in (_DATA, _END):
            return self._arriving(kind, content)
        if not intact or kind != _COMMAND or not content:
            return self._acknowledged(0x01)
        self.commands.append(content[0])
        handler = _HANDLERS.get(content[0])
        try:
            return handler(self, content[1:]) if handler is not None else self._acknowledged(0x01)
        except (struct.error, IndexError):
            return self._acknowledged(0x01)

    def _arriving(self, kind: int, content: bytes) -> bytes:
        if self._incoming is not None:
            buffer, data = self._incoming
            data += content
            if kind == _END:
                self._characters[buffer], self._incoming = bytes(data), None
        return b""

    def _verify_password(self, content: bytes) -> bytes:
        (password,) = struct.unpack(">I", content)
        return self._acknowledged(0x00 if password == self._password else 0x13)

    def _parameters(self, content: bytes) -> bytes:
        values = struct.pack(">HHHHIHH", 0, 9, 1000, 3, self._address, self._packet_code, 6)
        return self._acknowledged(0x00, values)

    def _take_image(self, content: bytes) -> bytes:
        if self.finger is None:
            return self._acknowledged(0x02)
        if self.complaint:
            return self._acknowledged(self.complaint)
        assert self.finger.shape == self.shape
        grays = self.finger >> 4
        self._image = ((grays[:, 0::2] << 4) | grays[:, 1::2]).astype(np.uint8).tobytes()
        return self._acknowledged(0x00)

    def _upload_image(self, content: bytes) -> bytes:
        if not self._image:
            return self._acknowledged(0x0F)
        return self._acknowledged(0x00) + self._stream(self._image)

    def _convert(self, content: bytes) -> bytes:
        if not self._image:
            return self._acknowledged(0x15)
        self._characters[content[0]] = hashlib.shake_128(self._image).digest(_TEMPLATE_BYTES)
        return self._acknowledged(0x00)

    def _upload_characters(self, content: bytes) -> bytes:
        return self._acknowledged(0x00) + self._stream(self._characters[content[0]].ljust(_TEMPLATE_BYTES, b"\0"))

    def _download_characters(self, content: bytes) -> bytes:
        self._incoming = content[0], bytearray()
        return self._acknowledged(0x00)

    def _search(self, content: bytes) -> bytes:
        buffer, start, count = struct.unpack(">BHH", content)
        for slot in range(start, start + count):
            if self.stored.get(slot) == self._characters[buffer]:
                return self._acknowledged(0x00, struct.pack(">HH", slot, 123))
        return self._acknowledged(0x09, struct.pack(">HH", 0, 0))


_HANDLERS: Final = {
    0x13: ZfmEmulator._verify_password,
    0x0F: ZfmEmulator._parameters,
    0x01: ZfmEmulator._take_image,
    0x0A: ZfmEmulator._upload_image,
    0x02: ZfmEmulator._convert,
    0x08: ZfmEmulator._upload_characters,
    0x09: ZfmEmulator._download_characters,
    0x04: ZfmEmulator._search,
}


def _taken(received: bytearray) -> tuple[int, bytes, bool] | None:
    # The first whole packet, taken out: its identifier, its content, and whether its checksum is right.
    while len(received) >= _HEAD.size:
        start, _, kind, length = _HEAD.unpack_from(received)
        if start != _START or not 2 <= length <= 512:
            del received[:1]
            continue
        end = _HEAD.size + length
        if len(received) < end:
            return None
        body, checksum = received[6 : end - 2], received[end - 2 : end]
        content = bytes(received[_HEAD.size : end - 2])
        del received[:end]
        return kind, content, sum(body) & 0xFFFF == int.from_bytes(checksum, "big")
    return None
