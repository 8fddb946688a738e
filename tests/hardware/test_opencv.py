"""Cameras through OpenCV: a video file, and a network camera on loopback that breaks."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik_hardware.camera.camera import CameraMode
from biometrik_hardware.camera.drivers import opencv
from biometrik_hardware.camera.drivers.opencv import OpencvCamera
from biometrik_hardware.conformance import conform
from biometrik_hardware.errors import CaptureTimeoutError, DeviceError, DeviceGoneError, DeviceNotFoundError
from biometrik_hardware.events import EventKind
from tests.hardware_emulators.network_camera import NetworkCameraEmulator
from tests.hardware_emulators.rigs import NetworkCameraRig, picture
from tests.hardware_emulators.rtsp_camera import RtspCameraEmulator

FRAMES, FPS = 25, 50.0


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Half a second of frames that tell their index by their red, ten apart."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (128, 72))
    for index in range(FRAMES):
        writer.write(cv2.cvtColor(picture(10 * index), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture(params=[NetworkCameraEmulator, RtspCameraEmulator], ids=["http", "rtsp"])
def emulator(request: pytest.FixtureRequest) -> Iterator[NetworkCameraEmulator]:
    """A network camera of either protocol."""
    with request.param(frame, fps=50.0) as made:
        yield made


def frame(index: int) -> NDArray[np.uint8]:
    """Return a frame of a size that RTP can carry."""
    return np.full((80, 128, 3), picture(index)[0, 0], np.uint8)


def shown(pixels: Any) -> int:
    return round(float(pixels[:, :, 0].mean()) / 10)


def test_a_file_is_played_at_its_own_speed_in_rgb_and_over_again(film: Path) -> None:
    with OpencvCamera.at(str(film)) as camera:
        assert camera.mode == CameraMode(128, 72, FPS)
        frames = [camera.read(timeout_s=1.0) for _ in range(FRAMES + 5)]
    assert np.allclose(frames[0].pixels[0, 0], picture(0)[0, 0], atol=8)  # blue is blue
    assert all(shown(f.pixels) == f.index % FRAMES for f in frames)
    took = frames[-1].taken_at - frames[0].taken_at
    assert took > 0.9 * (frames[-1].index - frames[0].index) / FPS  # never faster


def test_a_slow_application_gets_the_newest_frame(emulator: NetworkCameraEmulator) -> None:
    with OpencvCamera.at(emulator.address) as camera:
        camera.read(timeout_s=2.0)
        time.sleep(0.5)
        newest = camera.read(timeout_s=2.0)
        sent = len(emulator.sent_at)
    # A queue would give the second frame; and what is shown is of that index, not an older picture.
    assert newest.index > sent // 2
    assert abs(int(newest.pixels[0, 0, 0]) - int(picture(newest.index)[0, 0, 0])) <= 8


def test_a_stream_that_stalls_times_out_and_one_that_breaks_is_gone(emulator: NetworkCameraEmulator) -> None:
    with OpencvCamera.at(emulator.address) as camera:
        camera.read(timeout_s=2.0)
        emulator.streams = False
        began = time.monotonic()
        with pytest.raises(CaptureTimeoutError):
            _read_on(camera)
        assert time.monotonic() - began < 3.0
        emulator.unplug()
        with pytest.raises(DeviceGoneError):
            camera.read(timeout_s=2.0)


def test_a_stream_comes_back_by_itself(emulator: NetworkCameraEmulator) -> None:
    events: list[EventKind] = []
    with OpencvCamera.at(emulator.address, reconnect_s=20.0) as camera:
        camera.subscribe(lambda event: events.append(event.kind))
        camera.read(timeout_s=2.0)
        emulator.unplug()
        with pytest.raises(CaptureTimeoutError):
            _read_on(camera)
        emulator.plug()
        camera.read(timeout_s=5.0)
    assert EventKind.RECONNECTED in events


def test_a_camera_over_rtsp_conforms() -> None:
    with RtspCameraEmulator(frame, fps=200.0) as made:  # twenty frames are looked at before it counts as open
        assert [v for v in conform(NetworkCameraRig(made), timeout_s=2.0) if not v.passed] == []


def test_garbage_in_the_stream_is_no_crash(emulator: NetworkCameraEmulator) -> None:
    rng = np.random.default_rng(3)

    def damage(part: bytes) -> bytes:
        out = np.frombuffer(part, np.uint8).copy()
        at = rng.integers(0, len(out), 6)
        out[at] = rng.integers(0, 256, 6)
        return out.tobytes()

    with OpencvCamera.at(emulator.address) as camera:
        camera.read(timeout_s=2.0)
        emulator.damage = damage
        for _ in range(20):
            began = time.monotonic()
            try:
                camera.read(timeout_s=0.2)
            except DeviceGoneError:
                break
            except CaptureTimeoutError:
                continue
            finally:
                assert time.monotonic() - began < 0.4


@pytest.mark.parametrize("path", ["none.avi", "text.avi"])
def test_what_is_no_video_is_not_found(tmp_path: Path, path: str) -> None:
    (tmp_path / "text.avi").write_text("no film")
    with pytest.raises(DeviceNotFoundError):
        OpencvCamera.at(str(tmp_path / path)).open()


def test_a_host_that_does_not_answer_ends_by_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(DeviceError):
        OpencvCamera.at("rtsp://192.0.2.1/stream").open(timeout_s=0.3)  # a network for documentation
    assert time.monotonic() - began < 0.5


def test_cameras_are_found_where_linux_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for node, index, name in (
        ("video0", "0", "Front"),
        ("video1", "1", "Front"),
        ("video2", "0", "Rear"),
        ("video3", "x", ""),
    ):
        (tmp_path / node).mkdir()
        (tmp_path / node / "index").write_text(index + "\n")
        (tmp_path / node / "name").write_text(name + "\n")
    monkeypatch.setattr(opencv, "_LISTED", tmp_path)
    assert [(i.path, i.model) for i in OpencvCamera.discover()] == [("/dev/video0", "Front"), ("/dev/video2", "Rear")]


def test_what_is_wanted_is_asked_for_in_an_order_that_drivers_take() -> None:
    class Fake:
        asked: list[tuple[int, float]] = []  # noqa: RUF012

        def set(self, what: int, value: float) -> bool:
            self.asked.append((what, value))
            return True

    camera = OpencvCamera.at("/dev/video9", wanted=CameraMode(1280, 720, 15.0))
    camera._capture = Fake()  # type: ignore[assignment]
    camera._negotiate(CameraMode(1280, 720, 15.0))
    assert [what for what, _ in Fake.asked] == [
        cv2.CAP_PROP_FOURCC,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
        cv2.CAP_PROP_BUFFERSIZE,
    ]
    assert camera._settle_s == 0.5


def _read_on(camera: OpencvCamera) -> None:
    for _ in range(30):
        camera.read(timeout_s=0.2)
