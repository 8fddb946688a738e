"""Folders of vendors' programs: what counts as a file, and that each is handed over once."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biometrik.fingers import FingerprintImage
from biometrik_hardware.camera.drivers.folder import FolderCamera
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import CaptureTimeoutError, DeviceGoneError, DeviceNotFoundError, DeviceProtocolError
from biometrik_hardware.fingerprint.drivers.folder import FolderScanner
from biometrik_hardware.inbox import Inbox
from biometrik_hardware.outcomes import Retry, RetryReason
from tests.hardware_emulators.rigs import picture, ridges


def save(path: Path, ppi: int | None = 500) -> None:
    """Write a print aside and rename it."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        Image.fromarray(ridges(64, 60)).save(file, "PNG", **({"dpi": (ppi, ppi)} if ppi else {}))
    part.rename(path)


def later(seconds: float, path: Path, ppi: int | None = 500) -> threading.Timer:
    timer = threading.Timer(seconds, save, (path, ppi))
    timer.start()
    return timer


def test_a_new_file_is_the_capture_and_does_not_stay(tmp_path: Path) -> None:
    with FolderScanner.at(str(tmp_path), rest_s=0.05) as device:
        timer = later(0.1, tmp_path / "a.png")
        taken = device.capture(timeout_s=3.0)
        timer.join()
    assert isinstance(taken, FingerprintImage)
    assert taken.ppi == pytest.approx(500.0, abs=0.1)
    np.testing.assert_array_equal(taken.pixels, ridges(64, 60))
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_before_is_not_this_persons(tmp_path: Path) -> None:
    save(tmp_path / "old.png")
    with FolderScanner.at(str(tmp_path), rest_s=0.02) as device, pytest.raises(CaptureTimeoutError):
        device.capture(timeout_s=0.3)
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]


def test_a_file_that_grows_is_waited_for(tmp_path: Path) -> None:
    whole = tmp_path / ".whole"
    with whole.open("wb") as file:
        Image.fromarray(ridges(64, 60)).save(file, "PNG")
    data = whole.read_bytes()

    def write() -> None:
        with (tmp_path / "slow.png").open("wb", buffering=0) as file:
            for at in range(0, len(data), 1 + len(data) // 5):
                file.write(data[at : at + 1 + len(data) // 5])
                time.sleep(0.06)

    with FolderScanner.at(str(tmp_path), ppi=500.0, rest_s=0.15) as device:
        writer = threading.Timer(0.05, write)
        writer.start()
        taken = device.capture(timeout_s=3.0)
        writer.join()
    assert isinstance(taken, FingerprintImage)


def test_a_file_that_is_no_image_is_a_reason_to_try_again(tmp_path: Path) -> None:
    def write() -> None:
        (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")

    with FolderScanner.at(str(tmp_path), ppi=500.0, rest_s=0.02) as device:
        writer = threading.Timer(0.05, write)
        writer.start()
        assert device.capture(timeout_s=3.0) == Retry(RetryReason.TRANSFER_FAILED)
        writer.join()


def test_a_print_that_does_not_state_its_resolution_is_refused(tmp_path: Path) -> None:
    with FolderScanner.at(str(tmp_path), rest_s=0.02) as device:
        timer = later(0.05, tmp_path / "a.png", None)
        with pytest.raises(DeviceProtocolError, match="ppi"):
            device.capture(timeout_s=3.0)
        timer.join()


@pytest.mark.parametrize("name", [".hidden.png", "a.part", "a.TMP", "~a.png"])
def test_unfinished_files_do_not_count(tmp_path: Path, name: str) -> None:
    inbox = Inbox(tmp_path, "folder:x", rest_s=0.01)
    (tmp_path / name).write_bytes(b"x")
    assert inbox.take(Deadline(0.15)) is None


def test_links_and_pipes_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "link.png").symlink_to(__file__)
    os.mkfifo(tmp_path / "pipe.png")
    assert Inbox(tmp_path, "folder:x", rest_s=0.01).take(Deadline(0.15)) is None


def test_a_file_reaches_one_of_many_readers(tmp_path: Path) -> None:
    count = 40
    taken: list[bytes] = []

    def read() -> None:
        inbox = Inbox(tmp_path, "folder:x", rest_s=0.01)
        while (data := inbox.take(Deadline(0.5))) is not None:
            taken.append(data)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for index in range(count):
        (tmp_path / f"{index}.part").write_bytes(b"%d" % index)
        (tmp_path / f"{index}.part").rename(tmp_path / f"{index}.png")
    for reader in readers:
        reader.join()
    assert sorted(map(int, taken)) == list(range(count))


def test_a_folder_that_is_not_there_or_goes_away(tmp_path: Path) -> None:
    with pytest.raises(DeviceNotFoundError):
        FolderScanner.at(str(tmp_path / "none")).open()
    folder = tmp_path / "mounted"
    folder.mkdir()
    with FolderScanner.at(str(folder)) as device:
        folder.rmdir()
        with pytest.raises(DeviceGoneError):
            device.capture(timeout_s=1.0)


def test_a_folder_camera_leaves_out_what_is_no_image(tmp_path: Path) -> None:
    with FolderCamera.at(str(tmp_path), rest_s=0.02) as device:
        (tmp_path / "0.png").write_bytes(b"no image")
        Image.fromarray(picture(9)).save(tmp_path / "1.png")
        frame = device.read(timeout_s=3.0)
    np.testing.assert_array_equal(frame.pixels, picture(9))
    assert list(tmp_path.iterdir()) == []
