"""Face cameras behind the Secure Biometric Interface: their stream, and what is no stream."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from biometrik_hardware.camera.drivers.sbi import SbiCamera
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceAccessError, DeviceError, DeviceGoneError, DeviceProtocolError
from biometrik_hardware.events import DeviceState
from biometrik_hardware.sbi_device import discovered
from biometrik_hardware.sbi_stream import SbiStream
from tests.hardware_emulators.rigs import picture
from tests.hardware_emulators.sbi import SERIAL, SbiEmulator, vendor


@pytest.fixture
def emulator() -> Iterator[SbiEmulator]:
    """A service with a face camera."""
    with SbiEmulator(picture) as made:
        yield made


def camera(emulator: SbiEmulator, **options: Any) -> SbiCamera:
    return SbiCamera.at(f"{emulator.port}/{SERIAL}", **({"authorities": vendor()[0].pem} | options))


def test_the_pictures_of_a_stream_are_frames(emulator: SbiEmulator) -> None:
    with camera(emulator) as device:
        frames = [device.read(timeout_s=2.0) for _ in range(5)]
    assert frames[0].pixels.shape == picture(0).shape
    shown = frames[-1].index
    np.testing.assert_allclose(frames[-1].pixels[0, 0].astype(int), picture(shown)[0, 0].astype(int), atol=8)
    (request,) = emulator.requests
    assert request["deviceId"] == "7"


def test_a_camera_is_discovered_as_one(emulator: SbiEmulator) -> None:
    ports = range(emulator.port, emulator.port + 1)
    ((path, found),) = discovered("Face", ports)
    assert (path, found.type) == (f"{emulator.port}/{SERIAL}", "Face")
    assert list(discovered("Finger", ports)) == []


def test_a_stream_that_the_service_ends_is_asked_for_again(emulator: SbiEmulator) -> None:
    emulator.ends_after = 2
    with camera(emulator) as device:
        for _ in range(5):
            device.read(timeout_s=2.0)
    assert len(emulator.requests) > 1


def test_a_stream_that_shows_nothing_and_ends_is_a_camera_that_is_gone(emulator: SbiEmulator) -> None:
    emulator.ends_after = 0
    with camera(emulator) as device:
        with pytest.raises(DeviceGoneError):
            device.read(timeout_s=2.0)
        assert device.state is DeviceState.GONE


def test_who_the_camera_is_must_be_signed(emulator: SbiEmulator) -> None:
    with pytest.raises(DeviceAccessError, match="authorities"):
        camera(emulator, authorities=b"").open()
    emulator.alter_info = lambda info: info.update(digitalId="e30")
    with pytest.raises(DeviceProtocolError):
        camera(emulator).open()


def test_a_damaged_picture_is_left_out(emulator: SbiEmulator) -> None:
    parts = 0

    def damage(part: bytes) -> bytes:
        nonlocal parts
        parts += 1
        at = part.index(b"\r\n\r\n") + 4
        return part if parts % 2 else part[:at] + bytes(len(part) - at - 2) + b"\r\n"

    with camera(emulator) as device:
        emulator.damage = damage
        assert all(device.read(timeout_s=2.0).pixels.any() for _ in range(4))


class Answers:
    """Answers one request with the same bytes, whatever is asked; then keeps the line or hangs up."""

    def __init__(self, answer: bytes, *, hangs_up: bool = True) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(answer, hangs_up))

    def __enter__(self) -> "Answers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._listener.close()

    def _run(self, answer: bytes, hangs_up: bool) -> None:
        line, _ = self._listener.accept()
        with line:
            line.recv(4096)
            line.sendall(answer)
            if not hangs_up:
                self._ended.wait(10.0)


HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=--BoundaryString\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", DeviceGoneError),
        (b"HTTP/1.1 500 No\r\n\r\n", DeviceProtocolError),
        (
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"error":{"errorCode":"106"}}',
            DeviceProtocolError,
        ),
        (b"SSH-2.0-x\r\n\r\n", DeviceProtocolError),
        (b"x" * 9000, DeviceProtocolError),
    ],
)
def test_what_is_no_stream_is_refused(answer: bytes, expected: type[DeviceError]) -> None:
    with Answers(answer) as service, pytest.raises(expected):
        SbiStream(service.port, {}, Deadline(2.0))


@pytest.mark.parametrize(
    "part",
    [
        b"--BoundaryString\r\n\r\n",
        b"--BoundaryString\r\nContent-Length:0\r\n\r\n",
        b"--BoundaryString\r\nContent-Length:-5\r\n\r\n",
        b"--BoundaryString\r\nContent-Length:99999999\r\n\r\n",
        b"--BoundaryString\r\nContent-Length:9999999999999\r\n\r\n",
        b"x" * 9000,
    ],
)
def test_parts_without_a_length_to_believe_are_refused(part: bytes) -> None:
    with Answers(HEAD + part, hangs_up=False) as service:
        stream = SbiStream(service.port, {}, Deadline(2.0))
        with pytest.raises(DeviceProtocolError, match="stream: expected"):
            stream.picture(Deadline(2.0))
        stream.close()


def test_the_newest_picture_counts_and_one_in_pieces_waits() -> None:
    parts = b"".join(b"--BoundaryString\r\ncontent-length: 3\r\n\r\n" + data + b"\r\n\r\n" for data in (b"abc", b"def"))
    with Answers(HEAD + parts + b"--BoundaryString\r\nContent-Length:3\r\n\r\ngh") as service:
        stream = SbiStream(service.port, {}, Deadline(2.0))
        assert stream.picture(Deadline(2.0)) == b"def"
        assert stream.picture(Deadline(2.0)) is None
        assert stream.ended
        stream.close()


def test_a_service_that_says_nothing_is_waited_for_until_the_deadline() -> None:
    with Answers(b"", hangs_up=False) as service, pytest.raises(TimeoutError):
        SbiStream(service.port, {}, Deadline(0.1))
