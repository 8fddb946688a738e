"""The suite that every driver passes; a vendor runs it on a driver of his own, with or without hardware.

A :class:`Rig` puts the device into the situations of the suite: by an emulator, or by asking a person to place a
finger and to pull the cable. :func:`conform` returns a verdict for every check and never raises, whatever the driver
does::

    for verdict in conform(MyRig()):
        print(verdict.check, verdict.passed, verdict.detail)
"""

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik_hardware.camera.camera import Camera, Frame
from biometrik_hardware.device import Device
from biometrik_hardware.errors import (
    CaptureCancelledError,
    CaptureTimeoutError,
    DeviceBusyError,
    DeviceError,
    DeviceGoneError,
    DeviceNotOpenError,
    LeaseLostError,
)
from biometrik_hardware.events import DeviceEvent, DeviceKind, DeviceState, EventKind
from biometrik_hardware.fingerprint.scanner import FingerprintScanner, Taken
from biometrik_hardware.leases import TakeoverRight

#: How long after its deadline an operation may end, seconds.
ALLOWANCE_S: Final = 0.2
_CYCLES: Final = 5
#: Frames that may be on their way when nothing more is sent.
_UNDERWAY: Final = 30


class Rig(Protocol):
    """Puts one device into the situations of the suite."""

    def device(self) -> Device:
        """Return the device, closed; the same driver and path each time."""

    def present(self) -> None:
        """From now on a capture succeeds: a finger lies there, or something stands before the camera."""

    def absent(self) -> bool:
        """From now on nothing can be captured, and nothing is broken; False where the rig cannot, as for ``unplug``."""

    def unplug(self) -> bool:
        """Pull the cable; False where the rig cannot, and the checks of it are left out."""

    def replug(self) -> None:
        """Plug it in again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found.

    Parameters
    ----------
    check : str
        Its name.
    passed : bool
        Whether the driver does what is demanded.
    detail : str
        What is wrong; "" where nothing is, "left out" where the rig could not.
    """

    check: str
    passed: bool
    detail: str = ""


def conform(rig: Rig, *, timeout_s: float = 5.0) -> tuple[Verdict, ...]:
    """Return the verdict of every check on the device of a rig.

    Parameters
    ----------
    rig : Rig
        The device and its situations.
    timeout_s : float
        For an operation that should succeed, seconds; for hardware with a person before it, 30 or more.
    """
    return tuple(_verdict(check, _Bench(rig, timeout_s)) for check in CHECKS)


@dataclass(frozen=True, slots=True)
class _Bench:
    rig: Rig
    timeout_s: float


def _verdict(check: Callable[[_Bench], None], bench: _Bench) -> Verdict:
    name = check.__name__.strip("_")
    try:
        bench.rig.present()
        check(bench)
    except _LeftOut:
        return Verdict(name, True, "left out")
    except _Failed as failure:
        return Verdict(name, False, str(failure))
    except Exception as error:
        return Verdict(name, False, f"raised {type(error).__name__}: {error}")
    return Verdict(name, True)


class _Failed(Exception):
    pass


class _LeftOut(Exception):
    pass


def _demand(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _Failed(otherwise)


def _capture(device: Device, timeout_s: float) -> Taken | Frame:
    if isinstance(device, FingerprintScanner):
        return device.capture(timeout_s=timeout_s)
    assert isinstance(device, Camera)
    return device.read(timeout_s=timeout_s)


def _raised(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def _named(error: Exception | None) -> str:
    return "nothing" if error is None else type(error).__name__


@contextmanager
def _ends_within(seconds: float, what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    taken = time.monotonic() - began
    _demand(taken <= seconds, f"{what}: expected an end within {seconds:.2f} s, took {taken:.2f} s")


def _says_what_it_is(bench: _Bench) -> None:
    device = bench.rig.device()
    info = device.info
    _demand(info.driver == type(device).driver, "info.driver is not the driver's name")
    _demand(info.kind is type(device).kind, "info.kind is not the driver's kind")
    if info.kind is DeviceKind.FINGERPRINT_SCANNER:
        _demand(bool(info.positions), "info.positions is empty: say which fingers it captures")


def _discovers_quickly(bench: _Bench) -> None:
    driver = type(bench.rig.device())
    with _ends_within(2.0, "discover"):
        infos = list(driver.discover())
    _demand(all(i.driver == driver.driver and i.kind is driver.kind for i in infos), "discover: yields others' devices")
    _demand(len({i.id for i in infos}) == len(infos), "discover: yields a device twice")


def _must_be_open(bench: _Bench) -> None:
    error = _raised(lambda: _capture(bench.rig.device(), 0.2))
    _demand(isinstance(error, DeviceNotOpenError), f"closed: expected DeviceNotOpenError, got {_named(error)}")


def _opens_and_closes_often(bench: _Bench) -> None:
    device = bench.rig.device()
    for _ in range(2):
        device.open(timeout_s=bench.timeout_s)
        device.open(timeout_s=bench.timeout_s)
        _demand(device.state is DeviceState.READY, f"open: expected READY, got {device.state.value}")
        device.close()
        device.close()
        _demand(device.state is DeviceState.CLOSED, f"close: expected CLOSED, got {device.state.value}")


def _captures(bench: _Bench) -> None:
    with bench.rig.device() as device:
        for _ in range(2):
            with _ends_within(bench.timeout_s + ALLOWANCE_S, "capture"):
                taken = _capture(device, bench.timeout_s)
            if isinstance(taken, Frame):
                _demand(taken.pixels.ndim == 3 and taken.pixels.shape[2] == 3, "frame: expected (H, W, 3)")
                _demand(not taken.pixels.flags.writeable, "frame: expected read-only pixels")
            elif isinstance(taken, FingerprintImage):
                _demand(int(np.ptp(taken.pixels)) > 0, "image: expected ridges, got one gray")
                if device.info.ppi is not None:
                    _demand(abs(taken.ppi - device.info.ppi) < 0.5, "image: its ppi is not the one of info")


def _stamps_the_position(bench: _Bench) -> None:
    with bench.rig.device() as device:
        if not isinstance(device, FingerprintScanner):
            raise _LeftOut
        position = next(p for p in device.info.positions if p is not FingerPosition.UNKNOWN)
        taken = device.capture(timeout_s=bench.timeout_s, position=position)
        if isinstance(taken, FingerprintImage):
            _demand(taken.position is position, "image: its position is not the one asked for")


def _counts_its_frames(bench: _Bench) -> None:
    with bench.rig.device() as device:
        if not isinstance(device, Camera):
            raise _LeftOut
        frames = [device.read(timeout_s=bench.timeout_s) for _ in range(3)]
        pairs = list(pairwise(frames))
        _demand(all(a.index < b.index for a, b in pairs), "frames: expected a growing index")
        _demand(all(a.taken_at < b.taken_at for a, b in pairs), "frames: expected a growing time")


def _times_out(bench: _Bench) -> None:
    with bench.rig.device() as device:
        _leave(bench.rig)
        error = None
        for _ in range(_UNDERWAY):
            with _ends_within(0.3 + ALLOWANCE_S, "capture of nothing"):
                error = _raised(lambda: _capture(device, 0.3))
            if error is not None:
                break
        _demand(isinstance(error, CaptureTimeoutError), f"expected CaptureTimeoutError, got {_named(error)}")
        _demand(device.state is DeviceState.READY, f"after a time-out: expected READY, got {device.state.value}")
        bench.rig.present()
        _capture(device, bench.timeout_s)


def _refuses_a_bad_timeout(bench: _Bench) -> None:
    with bench.rig.device() as device:
        for bad in (0.0, -1.0, float("nan"), float("inf")):
            error = _raised(lambda bad=bad: _capture(device, bad))  # type: ignore[misc]
            _demand(isinstance(error, InvalidInputError), f"timeout_s={bad}: expected InvalidInputError")


def _can_be_cancelled(bench: _Bench) -> None:
    with bench.rig.device() as device:
        error = _interrupted(bench.rig, device, device.cancel)
        _demand(isinstance(error, CaptureCancelledError), f"expected CaptureCancelledError, got {_named(error)}")
        _demand(device.state is DeviceState.READY, f"after cancel: expected READY, got {device.state.value}")


def _can_be_closed_meanwhile(bench: _Bench) -> None:
    with bench.rig.device() as device:
        error = _interrupted(bench.rig, device, device.close)
        _demand(isinstance(error, DeviceNotOpenError), f"expected DeviceNotOpenError, got {_named(error)}")
        _demand(device.state is DeviceState.CLOSED, f"expected CLOSED, got {device.state.value}")


def _does_one_thing_at_a_time(bench: _Bench) -> None:
    with bench.rig.device() as device:
        found: list[Exception | None] = []

        def second() -> None:
            found.append(_raised(lambda: _capture(device, 0.5)))
            device.cancel()

        _interrupted(bench.rig, device, second)
        _demand(isinstance(found[0], DeviceBusyError), f"expected DeviceBusyError, got {_named(found[0])}")


def _keeps_leases(bench: _Bench) -> None:
    device = bench.rig.device()
    lease = device.lease("first", 30.0)
    error = _raised(lambda: device.open(timeout_s=bench.timeout_s))
    _demand(
        isinstance(error, DeviceBusyError), f"open without the lease: expected DeviceBusyError, got {_named(error)}"
    )
    device.open(timeout_s=bench.timeout_s, lease=lease)
    try:
        lease = device.renew(lease, 60.0)
        events: list[DeviceEvent] = []
        device.subscribe(events.append)
        taken = device.take_over("second", 30.0, TakeoverRight("suite", "conformance"))
        error = _raised(lambda: device.renew(lease, 1.0))
        _demand(
            isinstance(error, LeaseLostError), f"renew after take-over: expected LeaseLostError, got {_named(error)}"
        )
        kinds = [event.kind for event in events]
        _demand(EventKind.LEASE_TAKEN_OVER in kinds, "take-over: expected an event")
        device.release(taken)
        _demand(device.holder == "", "release: expected nobody to hold it")
        _capture(device, bench.timeout_s)
    finally:
        device.close()


def _tells_what_happens(bench: _Bench) -> None:
    device = bench.rig.device()
    events: list[EventKind] = []
    end = device.subscribe(lambda event: events.append(event.kind))
    with device:
        _capture(device, bench.timeout_s)
    end()
    _demand(events[0] is EventKind.OPENED, f"expected OPENED first, got {events[0].value}")
    _demand(events[-1] is EventKind.CLOSED, f"expected CLOSED last, got {events[-1].value}")
    if isinstance(device, FingerprintScanner):
        _demand(EventKind.CAPTURE_STARTED in events, "expected CAPTURE_STARTED")
        _demand(bool({EventKind.CAPTURED, EventKind.RETRY} & set(events)), "expected CAPTURED or RETRY")


def _survives_unplugging(bench: _Bench) -> None:
    with bench.rig.device() as device:
        unplugged: list[bool] = []
        error = _interrupted(bench.rig, device, lambda: unplugged.append(bench.rig.unplug()), capture_s=bench.timeout_s)
        if not unplugged[0]:
            raise _LeftOut
        try:
            _demand(isinstance(error, DeviceGoneError), f"unplugged: expected DeviceGoneError, got {_named(error)}")
            _demand(device.state is DeviceState.GONE, f"unplugged: expected GONE, got {device.state.value}")
            error = _raised(lambda: device.open(timeout_s=1.0))
            _demand(
                isinstance(error, DeviceError), f"open while unplugged: expected a DeviceError, got {_named(error)}"
            )
            bench.rig.replug()
            bench.rig.present()
            device.open(timeout_s=bench.timeout_s)
            _capture(device, bench.timeout_s)
        finally:
            bench.rig.replug()


def _leaks_nothing(bench: _Bench) -> None:
    def cycle() -> None:
        with bench.rig.device() as device:
            _capture(device, bench.timeout_s)

    def leaves() -> str:
        before = in_use()
        for _ in range(_CYCLES):
            cycle()
        until = time.monotonic() + 1.0
        while more(after := in_use(), before) and time.monotonic() < until:
            time.sleep(0.02)
        return f"{before} after {_CYCLES} uses, got {after}" if more(after, before) else ""

    cycle()
    # A leak goes on. What a library opens once, or another thread of this process meanwhile, is not there again.
    left = leaves() and leaves()
    _demand(not left, f"expected (threads, files) {left}")


CHECKS: Final = (
    _says_what_it_is,
    _discovers_quickly,
    _must_be_open,
    _opens_and_closes_often,
    _captures,
    _stamps_the_position,
    _counts_its_frames,
    _times_out,
    _refuses_a_bad_timeout,
    _can_be_cancelled,
    _can_be_closed_meanwhile,
    _does_one_thing_at_a_time,
    _keeps_leases,
    _tells_what_happens,
    _survives_unplugging,
    _leaks_nothing,
)


def _interrupted(rig: Rig, device: Device, act: Callable[[], object], capture_s: float = 5.0) -> Exception | None:
    # What a capture of nothing raises when something happens in the middle of it.
    _leave(rig)
    _drain(device)
    found: list[Exception | None] = []
    capture = threading.Thread(target=lambda: found.append(_raised(lambda: _capture_on(device, capture_s))))
    capture.start()
    until = time.monotonic() + 1.0
    while device.state is not DeviceState.CAPTURING and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(0.05)
    act()
    capture.join(capture_s + 2 * ALLOWANCE_S)
    _demand(not capture.is_alive() and bool(found), "interrupted: expected an end, the capture still runs")
    rig.present()
    return found[0]


def _leave(rig: Rig) -> None:
    if not rig.absent():
        raise _LeftOut


def _capture_on(device: Device, timeout_s: float) -> None:
    # Until it raises: on a busy machine something may still be on its way.
    for _ in range(_UNDERWAY):
        _capture(device, timeout_s)


def _drain(device: Device) -> None:
    # Takes what was on its way when the rig stopped.
    with suppress(CaptureTimeoutError):
        for _ in range(_UNDERWAY):
            _capture(device, 0.2)


def in_use() -> tuple[int, int]:
    """Return how many threads and open files this process has."""
    gc.collect()
    files = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0  # noqa: PTH208
    return threading.active_count(), files


def more(after: tuple[int, int], before: tuple[int, int]) -> bool:
    """Return whether there are more threads or more files than before."""
    return after[0] > before[0] or after[1] > before[1]
