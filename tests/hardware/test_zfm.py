"""The serial sensor, against an emulator that speaks its byte protocol on a pseudo-terminal."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from biometrik.fingers import FingerprintImage
from biometrik_hardware.errors import (
    CaptureTimeoutError,
    DeviceAccessError,
    DeviceBusyError,
    DeviceNotFoundError,
    DeviceProtocolError,
)
from biometrik_hardware.events import DeviceKind
from biometrik_hardware.fingerprint.drivers.zfm import SensorMatch, ZfmScanner
from biometrik_hardware.outcomes import Retry, RetryReason
from tests.hardware_emulators.rigs import ridges
from tests.hardware_emulators.zfm import ZfmEmulator

FINGER = ridges(288, 256, 9.3)
UPLOAD_IMAGE = 0x0A


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[ZfmEmulator]:
    """A sensor with a finger on it."""
    with ZfmEmulator(tmp_path) as made:
        made.finger = FINGER
        yield made


def scanner(emulator: ZfmEmulator, **options: float) -> ZfmScanner:
    return ZfmScanner.at(str(emulator.port), **options)


def damaging(first: int, how: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Damage the first answers that are longer than an acknowledgement."""
    left = [first]

    def damage(answer: bytes) -> bytes:
        if len(answer) <= 32 or left[0] == 0:
            return answer
        left[0] -= 1
        return how(answer)

    return damage


def test_sixteen_grays_become_eight_bits(emulator: ZfmEmulator) -> None:
    with scanner(emulator, ppi=508.0) as device:
        taken = device.capture(timeout_s=5.0)
    assert isinstance(taken, FingerprintImage)
    np.testing.assert_array_equal(taken.pixels, (FINGER >> 4) * 17)
    assert len(np.unique(taken.pixels)) == 16
    assert taken.ppi == device.info.ppi == 508.0


@pytest.mark.parametrize("fragment", [1, 7, 139, 1000])
@pytest.mark.parametrize("packet_code", [0, 3])
def test_fragments_and_sizes_of_packets_do_not_matter(tmp_path: Path, fragment: int, packet_code: int) -> None:
    with ZfmEmulator(tmp_path, width_px=64, height_px=48, fragment=fragment, packet_code=packet_code) as emulator:
        emulator.finger = FINGER[:48, :64]
        with scanner(emulator, width_px=64, height_px=48) as device:
            taken = device.capture(timeout_s=5.0)
    assert isinstance(taken, FingerprintImage)
    np.testing.assert_array_equal(taken.pixels, (FINGER[:48, :64] >> 4) * 17)


def test_a_slow_line_takes_its_time_and_no_more(tmp_path: Path) -> None:
    with ZfmEmulator(tmp_path, width_px=96, height_px=96, baud=115_200) as emulator:
        emulator.finger = FINGER[:96, :96]
        with scanner(emulator, width_px=96, height_px=96) as device:
            began = time.monotonic()
            assert isinstance(device.capture(timeout_s=5.0), FingerprintImage)
            assert 0.4 <= time.monotonic() - began < 1.5  # 5 kB at 11.5 kB/s
            began = time.monotonic()
            with pytest.raises(CaptureTimeoutError):
                device.capture(timeout_s=0.2)
            assert time.monotonic() - began < 0.4
            assert isinstance(device.capture(timeout_s=5.0), FingerprintImage)  # what was left on the line is no harm


@pytest.mark.parametrize(
    "how",
    [
        lambda answer: answer[:500] + answer[501:],
        lambda answer: answer[:5] + answer[6:],
        lambda answer: answer[:-1],
        lambda answer: answer[:1000] + bytes([answer[1000] ^ 4]) + answer[1001:],
        lambda answer: b"\xff\x00" + answer,
        lambda answer: answer[:12] + b"\xef\x01\xff\xff\xff\xff\x02\xff\xff" + answer[21:],
        lambda answer: b"",
    ],
    ids=["lost byte", "lost in the head", "lost at the end", "flipped bit", "noise before", "long length", "silence"],
)
def test_a_damaged_image_is_asked_for_again(emulator: ZfmEmulator, how: Callable[[bytes], bytes]) -> None:
    with scanner(emulator) as device:
        emulator.damage = damaging(1, how)
        taken = device.capture(timeout_s=8.0)
    assert isinstance(taken, FingerprintImage)
    np.testing.assert_array_equal(taken.pixels, (FINGER >> 4) * 17)
    assert emulator.commands.count(UPLOAD_IMAGE) >= 2


def test_a_line_that_is_always_damaged_is_said_to_be(emulator: ZfmEmulator) -> None:
    with scanner(emulator) as device:
        emulator.damage = damaging(99, lambda answer: answer[:500] + answer[501:])
        with pytest.raises(DeviceProtocolError, match="baud"):
            device.capture(timeout_s=8.0)
        emulator.damage = lambda answer: answer
        assert isinstance(device.capture(timeout_s=5.0), FingerprintImage)


def test_an_image_of_another_size_is_refused(emulator: ZfmEmulator) -> None:
    with scanner(emulator, width_px=192, height_px=192) as device, pytest.raises(DeviceProtocolError):
        device.capture(timeout_s=8.0)


def test_what_the_sensor_complains_of_is_a_reason_to_try_again(emulator: ZfmEmulator) -> None:
    emulator.complaint = 0x03
    with scanner(emulator) as device:
        assert device.capture(timeout_s=5.0) == Retry(RetryReason.KEEP_STILL)


def test_a_password_that_is_wrong_is_refused(tmp_path: Path) -> None:
    with ZfmEmulator(tmp_path, password=7) as emulator:
        with pytest.raises(DeviceAccessError, match="password"):
            scanner(emulator).open()
        with scanner(emulator, password=7):
            pass


def test_a_second_user_of_the_port_is_refused(emulator: ZfmEmulator) -> None:
    with scanner(emulator), pytest.raises(DeviceBusyError, match="another program"):
        scanner(emulator).open()


def test_a_port_that_is_not_there_and_one_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(DeviceNotFoundError):
        ZfmScanner.at(str(tmp_path / "none")).open()
    with ZfmEmulator(tmp_path) as emulator:
        emulator.damage = lambda answer: b""
        began = time.monotonic()
        with pytest.raises(CaptureTimeoutError):
            scanner(emulator).open(timeout_s=0.5)
        assert time.monotonic() - began < 0.7


def test_the_sensor_keeps_and_finds_templates(emulator: ZfmEmulator) -> None:
    with scanner(emulator) as device:
        device.capture(timeout_s=5.0)
        template = device.sensor_template()
        assert isinstance(template, bytes)
        assert len(template) == 512
        assert device.search_sensor(template) is None
        emulator.stored[41] = template
        assert device.search_sensor(template) == SensorMatch(41, 123)


def test_a_template_of_nothing_is_a_reason_to_try_again(emulator: ZfmEmulator) -> None:
    with scanner(emulator) as device:
        assert device.sensor_template() == Retry(RetryReason.CENTRE_FINGER)


def test_only_ports_that_are_named_for_it_are_discovered() -> None:
    assert all(info.path.startswith("/dev/biometrik-zfm") for info in ZfmScanner.discover())
    info = ZfmScanner.described("/dev/x")
    assert info.kind is DeviceKind.FINGERPRINT_SCANNER
    assert info.id == "zfm:/dev/x"


def test_random_damage_never_hangs_or_crashes(tmp_path: Path) -> None:
    rng = random.Random(5)
    with ZfmEmulator(tmp_path, width_px=32, height_px=32) as emulator:
        emulator.finger = FINGER[:32, :32]
        device = scanner(emulator, width_px=32, height_px=32)
        device.open()
        for _ in range(6):  # thousands: scripts/soak hardware_fuzz
            emulator.damage = lambda answer: bytes(b if rng.random() > 0.02 else rng.randrange(256) for b in answer)
            began = time.monotonic()
            with suppress(DeviceProtocolError, CaptureTimeoutError):
                device.capture(timeout_s=0.2)
            assert time.monotonic() - began < 0.4
        emulator.damage = lambda answer: answer
        time.sleep(0.3)
        taken = device.capture(timeout_s=3.0)
        device.close()
    assert isinstance(taken, FingerprintImage)
