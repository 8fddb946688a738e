"""Every driver in the registries passes the conformance suite; a driver without a rig fails here."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.fingers import FingerPosition
from biometrik_hardware import conformance
from biometrik_hardware.conformance import Rig, conform
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.device import Device
from biometrik_hardware.errors import CaptureTimeoutError, DeviceGoneError
from biometrik_hardware.events import DeviceInfo, DeviceState
from biometrik_hardware.fingerprint.scanner import FingerprintScanner, Taken
from biometrik_hardware.inventory import REGISTRIES
from tests.hardware_emulators.rigs import RIGS, here, wave_of

DRIVERS = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names()]
HERE = list(here())
IDS = [f"{kind.value}-{name}" for kind, name in HERE]


def test_every_driver_has_a_rig() -> None:
    assert set(RIGS) == set(DRIVERS)


@pytest.fixture(params=HERE, ids=IDS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A rig for each driver."""
    with RIGS[request.param](tmp_path) as made:
        yield made


def test_a_driver_conforms(rig: Rig) -> None:
    verdicts = conform(rig, timeout_s=2.0)
    assert [v for v in verdicts if not v.passed] == []
    assert len(verdicts) == len(conformance.CHECKS)
    assert sum(v.detail == "left out" for v in verdicts) <= 2


def test_nothing_is_left_of_many_cables_pulled_in_the_middle_of_captures(rig: Rig) -> None:
    cables = 5
    device = rig.device()
    before: tuple[int, int] | None = None
    for _ in range(cables):
        rig.present()
        device.open(timeout_s=2.0)
        rig.absent()
        puller = threading.Timer(0.05, rig.unplug)
        puller.start()
        with pytest.raises((DeviceGoneError, CaptureTimeoutError)):
            _until_gone(device)
        puller.join()
        assert device.state is DeviceState.GONE
        rig.replug()
        if before is None:
            before = conformance.in_use()
    assert before is not None
    # What each cable left would be there once for each of the others. A driver may keep a thread or a file for the
    # next time, as libfprint's keeps its contexts: one more where a slow end met the next beginning, not one a cable.
    threads, files = (kept + cables - 2 for kept in before)
    until = time.monotonic() + 2.0
    while conformance.more(conformance.in_use(), (threads, files)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not conformance.more(conformance.in_use(), (threads, files))


def _until_gone(device: Device) -> None:
    while True:  # a frame that was on its way may still come
        conformance._capture(device, 2.0)


class Lazy(FingerprintScanner):
    """A driver with every fault that the suite looks for: it blocks, lies and forgets."""

    driver = "lazy"
    left: ClassVar[list[int]] = []

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        yield DeviceInfo("other", "x", cls.kind)

    def _open(self, deadline: Deadline) -> None:
        self.left.append(os.open(os.devnull, os.O_RDONLY))

    def _close(self) -> None:
        pass

    def _read(self, position: FingerPosition, deadline: Deadline) -> Taken | None:
        time.sleep(0.4)
        flat: NDArray[np.uint8] = np.zeros((40, 40), np.uint8)
        return type(wave_of(position))(flat, 400.0, position)


class LazyRig:
    """Nothing can be done with it."""

    def device(self) -> Device:
        return Lazy(DeviceInfo("lazy", "x", Lazy.kind, ppi=500.0))

    def present(self) -> None: ...

    def absent(self) -> bool:
        return True

    def unplug(self) -> bool:
        return False

    def replug(self) -> None: ...


def test_the_suite_finds_a_bad_driver() -> None:
    failed = {v.check for v in conform(LazyRig(), timeout_s=0.6) if not v.passed}
    for file in Lazy.left:
        os.close(file)
    assert failed >= {
        "says_what_it_is",
        "discovers_quickly",
        "captures",
        "stamps_the_position",
        "times_out",
        "can_be_cancelled",
        "leaks_nothing",
    }
