"""A network camera in a process of its own: 720p JPEGs over HTTP that tell their number, and when each was sent.

``python -m benchmarks.device_sender`` prints its port and serves one viewer after the other. For each line on its
standard input it prints, as JSON, when each of the last 256 frames was handed to the system.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH_PX: Final = 1280
HEIGHT_PX: Final = 720
FPS: Final = 30.0
#: Frames have numbers of so many bits, each a block of so many pixels at the top of the picture.
_BITS: Final = 16
_BLOCK_PX: Final = 64


def numbered(frame: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Return a copy of a frame, (H, W, 3) uint8, that tells its number, 0..65535."""
    out = frame.copy()
    for bit in range(_BITS):
        out[:_BLOCK_PX, bit * _BLOCK_PX : (bit + 1) * _BLOCK_PX] = 255 if number >> bit & 1 else 0
    return out


def number_of(frame: NDArray[np.uint8]) -> int:
    """Return the number that a frame tells, also after JPEG."""
    middles = frame[_BLOCK_PX // 2, _BLOCK_PX // 2 : _BITS * _BLOCK_PX : _BLOCK_PX, 0]
    return sum(1 << bit for bit in range(_BITS) if middles[bit] > 127)


def scene() -> NDArray[np.uint8]:
    """Return a frame of smooth shades and a little noise, about 100 kB as a JPEG, as a room is."""
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    shades = np.stack([x * 255 / WIDTH_PX, y * 255 / HEIGHT_PX, (x + y) % 256], axis=-1)
    noise = np.random.default_rng(7).normal(0, 4, shades.shape)
    return np.clip(shades + noise, 0, 255).astype(np.uint8)


def _parts(frames: int) -> Iterator[bytes]:
    # What goes over the line for each of the first frames, encoded beforehand.
    picture = scene()
    for number in range(frames):
        _, jpeg = cv2.imencode(".jpg", numbered(picture, number), [cv2.IMWRITE_JPEG_QUALITY, 85])
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        yield head.encode() + jpeg.tobytes() + b"\r\n"


def main() -> None:
    """Serve until standard input ends."""
    frames = 256
    parts, sent_at = list(_parts(frames)), [0.0] * frames
    server = socket.create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    threading.Thread(target=_serve, args=(server, parts, sent_at), daemon=True).start()
    for _ in sys.stdin:  # a line asks for the times
        print(json.dumps(sent_at), flush=True)


def _serve(server: socket.socket, parts: list[bytes], sent_at: list[float]) -> None:
    number = 0
    while True:
        viewer, _ = server.accept()
        with viewer:
            try:
                viewer.recv(4096)
                viewer.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
                due_at = time.monotonic()
                while True:
                    due_at += 1 / FPS
                    time.sleep(max(0.0, due_at - time.monotonic()))
                    viewer.sendall(parts[number])
                    sent_at[number] = time.monotonic()
                    number = (number + 1) % len(parts)
            except OSError:
                continue  # this viewer left


if __name__ == "__main__":
    main()
