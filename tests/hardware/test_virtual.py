"""Virtual devices: the troubles of the script are the application's, and the speed is a real device's."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik_hardware.camera.camera import Frame
from biometrik_hardware.camera.drivers.virtual import VirtualCamera
from biometrik_hardware.device import Device
from biometrik_hardware.errors import (
    CaptureTimeoutError,
    DeviceGoneError,
    DeviceNotFoundError,
    DeviceNotOpenError,
    DeviceProtocolError,
)
from biometrik_hardware.events import DeviceInfo, DeviceKind, DeviceState, EventKind
from biometrik_hardware.fingerprint.drivers.virtual import VirtualScanner
from biometrik_hardware.inventory import Inventory, device, driver
from biometrik_hardware.outcomes import Retry, RetryReason
from biometrik_hardware.virtual_bus import (
    BUS,
    Fault,
    Trouble,
    VirtualCameraSetup,
    VirtualScannerSetup,
    frames_in,
    other_hand,
    prints_in,
    smeared,
)
from tests.hardware_emulators.rigs import picture, ridges, wave_of

INDEX, THUMB = FingerPosition.RIGHT_INDEX, FingerPosition.RIGHT_THUMB


def quick(*script: Fault) -> VirtualScannerSetup:
    return VirtualScannerSetup(wave_of, script, approach_s=0.0, capture_s=0.0)


def read_on(camera: VirtualCamera, count: int) -> None:
    for _ in range(count):
        camera.read(timeout_s=0.2)


def shown(taken: object) -> FingerPosition:
    """Which finger lay there."""
    assert isinstance(taken, FingerprintImage)
    return next(p for p in FingerPosition if np.array_equal(wave_of(p).pixels, taken.pixels))


def test_wrong_finger_same_finger_and_smear() -> None:
    script = (Fault(Trouble.NOTHING), Fault(Trouble.SAME_FINGER), Fault(Trouble.WRONG_FINGER), Fault(Trouble.SMEAR))
    with BUS.plugged("v", quick(*script)), VirtualScanner.at("v") as scanner:
        assert shown(scanner.capture(timeout_s=1.0, position=THUMB)) is THUMB
        assert shown(scanner.capture(timeout_s=1.0, position=INDEX)) is THUMB
        assert shown(scanner.capture(timeout_s=1.0, position=INDEX)) is FingerPosition.LEFT_INDEX
        taken = scanner.capture(timeout_s=1.0, position=INDEX)
        assert isinstance(taken, FingerprintImage)
        assert taken.position is INDEX
        assert taken.pixels.std() < 0.6 * wave_of(INDEX).pixels.std()
        assert shown(scanner.capture(timeout_s=1.0, position=INDEX)) is INDEX


def test_garbage_retry_nobody_and_a_pulled_cable() -> None:
    script = (
        Fault(Trouble.GARBAGE),
        Fault(Trouble.RETRY, reason=RetryReason.PRESS_SOFTER),
        Fault(Trouble.NO_FINGER),
        Fault(Trouble.HANG, 0.1),
        Fault(Trouble.UNPLUG, 0.05),
    )
    with BUS.plugged("v", quick(*script)), VirtualScanner.at("v") as scanner:
        with pytest.raises(DeviceProtocolError):
            scanner.capture(timeout_s=1.0)
        assert scanner.capture(timeout_s=1.0) == Retry(RetryReason.PRESS_SOFTER)
        with pytest.raises(CaptureTimeoutError):
            scanner.capture(timeout_s=0.1)
        assert isinstance(scanner.capture(timeout_s=1.0), FingerprintImage)
        with pytest.raises(DeviceGoneError):
            scanner.capture(timeout_s=1.0)
        with pytest.raises(DeviceNotFoundError):
            scanner.open()
        BUS.replug("v")
        scanner.open()
        assert isinstance(scanner.capture(timeout_s=1.0), FingerprintImage)


def test_a_capture_takes_as_long_as_a_person() -> None:
    setup = VirtualScannerSetup(wave_of, approach_s=0.2, capture_s=0.1)
    with BUS.plugged("v", setup), VirtualScanner.at("v") as scanner:
        began = time.monotonic()
        scanner.capture(timeout_s=2.0)
        assert 0.3 <= time.monotonic() - began < 0.6


def test_a_finger_that_nobody_has_is_not_captured(tmp_path: Path) -> None:
    Image.fromarray(ridges(64, 60)).save(tmp_path / "1_right_index.png", dpi=(500, 500))
    setup = VirtualScannerSetup(prints_in(tmp_path, ppi=500.0), approach_s=0.0, capture_s=0.0)
    with BUS.plugged("v", setup), VirtualScanner.at("v") as scanner:
        assert isinstance(scanner.capture(timeout_s=1.0, position=INDEX), FingerprintImage)
        assert isinstance(scanner.capture(timeout_s=1.0, position=THUMB), Retry)
        assert isinstance(scanner.capture(timeout_s=1.0), FingerprintImage)


def test_a_camera_keeps_its_beat_and_gives_the_newest_frame() -> None:
    with BUS.plugged("v", VirtualCameraSetup(picture, fps=50.0)), VirtualCamera.at("v") as camera:
        assert (camera.mode.width_px, camera.mode.height_px, camera.mode.fps) == (128, 72, 50.0)
        first = camera.read(timeout_s=1.0)
        time.sleep(0.3)  # a slow application
        late = camera.read(timeout_s=1.0)
        assert time.monotonic() - late.taken_at < 0.1
        assert late.index - first.index >= 10
        assert int(late.pixels[0, 0, 0]) == late.index
        image = late.to_image("counter 3, left")
        assert image.origin.device_ref == "counter 3, left"
        assert image.pixels.shape == (72, 128, 3)
    with pytest.raises(DeviceNotOpenError):
        _ = camera.mode


def test_frames_before_the_exposure_settled_are_dropped() -> None:
    with BUS.plugged("v", VirtualCameraSetup(picture, fps=50.0)), VirtualCamera.at("v", settle_s=0.3) as camera:
        assert camera.read(timeout_s=2.0).index >= 10


def test_a_camera_comes_back_by_itself_where_it_is_told_to() -> None:
    events: list[EventKind] = []
    with BUS.plugged("v", VirtualCameraSetup(picture, fps=50.0)), VirtualCamera.at("v", reconnect_s=5.0) as camera:
        camera.subscribe(lambda event: events.append(event.kind))
        camera.read(timeout_s=1.0)
        BUS.unplug("v")
        with pytest.raises(CaptureTimeoutError):
            read_on(camera, 20)
        BUS.replug("v")
        assert isinstance(camera.read(timeout_s=3.0), Frame)
    assert EventKind.RECONNECTED in events


@pytest.mark.parametrize(
    ("trouble", "expected"), [(Trouble.GARBAGE, DeviceProtocolError), (Trouble.UNPLUG, DeviceGoneError)]
)
def test_a_stream_that_fails_says_why(trouble: Trouble, expected: type[Exception]) -> None:
    setup = VirtualCameraSetup(picture, (Fault(Trouble.SMEAR), Fault(trouble)), fps=50.0)
    with BUS.plugged("v", setup), VirtualCamera.at("v") as camera:
        with pytest.raises(expected):
            read_on(camera, 3)
        assert camera.state is DeviceState.GONE  # and not at rest, with an error for every reader
        BUS.replug("v")
        camera.open()
        assert camera.read(timeout_s=1.0).pixels.size


def test_a_frame_that_is_none_is_the_drivers_fault() -> None:
    frames = iter([picture(0), picture(0)])
    setup = VirtualCameraSetup(lambda index: next(frames, np.zeros((4, 4), np.uint8)), fps=50.0)
    with BUS.plugged("v", setup), VirtualCamera.at("v") as camera, pytest.raises(DeviceProtocolError, match="RGB"):
        read_on(camera, 3)


def test_a_folder_of_pictures_is_played_over_and_over(tmp_path: Path) -> None:
    for index in range(2):
        Image.fromarray(picture(100 * index)).save(tmp_path / f"{index}.png")
    source = frames_in(tmp_path)
    assert [int(source(index)[0, 0, 0]) for index in range(4)] == [0, 100, 0, 100]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="empty"):
        frames_in(tmp_path / "empty")


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_a_smear_moves_nothing_up_or_down(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, shape).astype(np.uint8)
    out = smeared(pixels, 8)
    assert out.shape == shape
    assert out.dtype == np.uint8
    flat = np.broadcast_to(pixels[:, :1], shape).copy()
    np.testing.assert_array_equal(smeared(flat, 8), flat)


def test_hands_are_swapped() -> None:
    assert all(other_hand(other_hand(p)) is p for p in FingerPosition)
    assert other_hand(FingerPosition.LEFT_LITTLE) is FingerPosition.RIGHT_LITTLE


def test_a_name_is_plugged_in_once() -> None:
    with BUS.plugged("v", quick()), pytest.raises(InvalidInputError):
        BUS.plug("v", quick())
    with pytest.raises(DeviceNotFoundError):
        VirtualScanner.at("never plugged")


def test_the_inventory_tells_what_comes_and_goes() -> None:
    told: list[tuple[EventKind, str]] = []
    drivers: tuple[type[Device], ...] = (VirtualScanner, VirtualCamera)
    inventory = Inventory(lambda event: told.append((event.kind, event.device_id)), drivers=drivers, interval_s=0.02)
    with inventory:
        assert list(inventory.present) == []
        with BUS.plugged("v", quick()), BUS.plugged("w", VirtualCameraSetup(picture)):
            _until(lambda: len(told) == 2)
            assert {found.kind for found in inventory.present} == set(DeviceKind)
        _until(lambda: len(told) == 4)
    assert {kind for kind, _ in told[:2]} == {EventKind.ARRIVED}
    assert sorted(told[2:], key=lambda t: t[1]) == [(EventKind.LEFT, "virtual:v"), (EventKind.LEFT, "virtual:w")]


def test_a_driver_that_fails_to_look_keeps_its_devices() -> None:
    class Moody(VirtualScanner):
        fails = False

        @classmethod
        def discover(cls) -> Iterator[DeviceInfo]:
            if cls.fails:
                raise OSError
            yield from super().discover()

    inventory = Inventory(drivers=(Moody,))
    with BUS.plugged("v", quick()):
        assert len(inventory.refresh()) == 1
        Moody.fails = True
        assert len(inventory.refresh()) == 1
    Moody.fails = False
    assert inventory.refresh() == ()


def test_devices_are_found_by_their_id() -> None:
    assert driver(DeviceKind.CAMERA, "virtual") is VirtualCamera
    with BUS.plugged("v", quick()):
        assert isinstance(device(DeviceKind.FINGERPRINT_SCANNER, "virtual:v"), VirtualScanner)
    for wrong in ("virtual", "virtual:", ":v", ""):
        with pytest.raises(InvalidInputError, match="driver:path"):
            device(DeviceKind.FINGERPRINT_SCANNER, wrong)


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 2.0
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)
