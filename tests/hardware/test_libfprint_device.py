"""The system's libfprint, with its own virtual scanner; conftest.py leaves this out where the system has none."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gi.repository import FPrint

from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik_hardware.errors import CaptureTimeoutError, DeviceError, DeviceNotFoundError, DeviceProtocolError
from biometrik_hardware.fingerprint.drivers.libfprint import LibfprintScanner
from biometrik_hardware.fingerprint.libfprint_numbering import to_libfprint
from biometrik_hardware.fingerprint.scanner import SINGLE_FINGERS
from biometrik_hardware.outcomes import Retry, RetryReason
from tests.hardware_emulators.fprint import FprintEmulator, whorl

PATH = "virtual_image/0"


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[FprintEmulator]:
    """The virtual scanner, with nobody there."""
    with FprintEmulator(tmp_path) as made:
        yield made


def test_it_is_found_while_it_is_plugged_in(emulator: FprintEmulator) -> None:
    (info,) = LibfprintScanner.discover()
    assert (info.path, info.model, info.positions) == (PATH, "Virtual image device for debugging", SINGLE_FINGERS)
    emulator.unplug()
    assert list(LibfprintScanner.discover()) == []
    with pytest.raises(DeviceNotFoundError, match="plug it in"):
        LibfprintScanner.at(PATH).open()


def test_an_image_comes_as_it_was_sent(emulator: FprintEmulator) -> None:
    emulator.finger = whorl()
    with LibfprintScanner.at(PATH, ppi=500.0) as scanner:
        taken = scanner.capture(timeout_s=5.0, position=FingerPosition.LEFT_RING)
    assert isinstance(taken, FingerprintImage)
    assert (taken.ppi, taken.position) == (500.0, FingerPosition.LEFT_RING)
    np.testing.assert_array_equal(taken.pixels, emulator.finger)


def test_a_resolution_that_nobody_states_is_asked_for(emulator: FprintEmulator) -> None:
    emulator.finger = whorl()
    with LibfprintScanner.at(PATH) as scanner, pytest.raises(DeviceProtocolError, match="state ppi"):
        scanner.capture(timeout_s=5.0)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, RetryReason.REMOVE_FINGER),
        (1, RetryReason.LIFTED_TOO_SOON),
        (2, RetryReason.CENTRE_FINGER),
        (3, RetryReason.REMOVE_FINGER),
        (99, RetryReason.REMOVE_FINGER),
    ],
)
def test_try_again_is_an_answer(emulator: FprintEmulator, code: int, reason: RetryReason) -> None:
    with LibfprintScanner.at(PATH, ppi=500.0) as scanner:
        emulator.retry(code)
        assert scanner.capture(timeout_s=5.0) == Retry(reason)
        emulator.finger = whorl()
        assert isinstance(scanner.capture(timeout_s=5.0), FingerprintImage)


def test_an_image_without_ridges_is_asked_for_again(emulator: FprintEmulator) -> None:
    emulator.finger = np.full((192, 160), 200, np.uint8)
    with LibfprintScanner.at(PATH, ppi=500.0) as scanner:
        assert scanner.capture(timeout_s=5.0) == Retry(RetryReason.REMOVE_FINGER)


@pytest.mark.parametrize("code", [0, 5, 6, 257])
def test_an_error_of_the_library_is_one_of_ours_and_the_device_works_again(emulator: FprintEmulator, code: int) -> None:
    scanner = LibfprintScanner.at(PATH, ppi=500.0)
    with scanner:
        emulator.fail(code)
        with pytest.raises(DeviceError):
            scanner.capture(timeout_s=5.0)
    emulator.finger = whorl()
    with scanner:
        assert isinstance(scanner.capture(timeout_s=5.0), FingerprintImage)


def test_a_template_names_the_finger_that_was_asked_for(emulator: FprintEmulator) -> None:
    with LibfprintScanner.at(PATH, ppi=500.0) as scanner:
        with pytest.raises(CaptureTimeoutError):
            scanner.sensor_template(timeout_s=0.3)
        emulator.finger = whorl()
        template = scanner.sensor_template(timeout_s=10.0, position=FingerPosition.RIGHT_INDEX)
    assert FPrint.Print.deserialize(template).get_finger() == FPrint.Finger.RIGHT_INDEX


def test_the_library_counts_fingers_as_our_table_says() -> None:
    for position in SINGLE_FINGERS:
        assert to_libfprint(position) == int(getattr(FPrint.Finger, position.name))
