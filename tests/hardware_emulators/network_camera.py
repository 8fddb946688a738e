"""A network camera on loopback: JPEGs over HTTP, one after the other (multipart/x-mixed-replace)."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Turns the bytes of one part into what goes over the line.
Damage = Callable[[bytes], bytes]


class NetworkCameraEmulator:
    """Serves any number of viewers, each in a thread; a context manager.

    Parameters
    ----------
    frames : callable
        Index → (H, W, 3) uint8 RGB.
    fps : float
        Frames a second.
    """

    def __init__(self, frames: Callable[[int], NDArray[np.uint8]], fps: float = 50.0) -> None:
        self.streams = True
        """False: the line stays up and nothing comes."""
        self.damage: Damage = lambda part: part
        self.sent_at: dict[int, float] = {}
        """Index → when its last byte was handed to the system, monotonic."""
        self._frames, self._fps = frames, fps
        self._port = 0
        self._listener: socket.socket | None = None
        self._viewers: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> str:
        """Where it is, also while it is unplugged."""
        return f"http://127.0.0.1:{self._port}/stream.mjpg"

    def __enter__(self) -> "NetworkCameraEmulator":
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def plug(self) -> None:
        """Connect it, at the address that it had before."""
        if self._listener is not None:
            return
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def unplug(self) -> None:
        """Pull the cable: every connection breaks."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for viewer in tuple(self._viewers):
            with suppress(OSError):  # its other side was quicker
                viewer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _start(self, target: Callable[[socket.socket], None], argument: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(argument,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                viewer, _ = listener.accept()
            except OSError:
                return
            self._viewers.add(viewer)
            self._start(self._serve, viewer)

    def _serve(self, viewer: socket.socket) -> None:
        try:
            self._stream(viewer)
        except OSError:
            pass
        finally:
            self._viewers.discard(viewer)
            viewer.close()

    def _stream(self, viewer: socket.socket) -> None:
        viewer.recv(4096)
        viewer.sendall(
            b"HTTP/1.0 200 OK\r\nCache-Control: no-store\r\n"
            b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
        )
        for index in self._beats():
            jpeg = BytesIO()
            Image.fromarray(self._frames(index)).save(jpeg, "JPEG", quality=90)
            data = jpeg.getvalue()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            viewer.sendall(self.damage(head + data + b"\r\n"))
            self.sent_at[index] = time.monotonic()

    def _beats(self) -> Iterator[int]:
        # The index of each frame, when it is due, until the cable is pulled.
        index, due_at = 0, time.monotonic()
        while self._listener is not None:
            due_at = max(due_at + 1 / self._fps, time.monotonic() - 0.1)
            time.sleep(max(0.0, due_at - time.monotonic()))
            if self.streams:
                yield index
                index += 1
