"""Devices that answer with damaged bytes, and cables pulled in the middle of captures, by the thousand.

``scripts/soak`` calls :func:`fuzzing` and :func:`unplugging`. Whatever the other side sends, an operation ends by its
deadline + 0.2 s with a result or a DeviceError, and the device works again when the line does.
"""

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biometrik_hardware.camera.camera import Camera
from biometrik_hardware.conformance import ALLOWANCE_S, Rig, in_use, more
from biometrik_hardware.device import Device
from biometrik_hardware.errors import CaptureTimeoutError, DeviceError, DeviceGoneError
from biometrik_hardware.events import DeviceState
from biometrik_hardware.fingerprint.scanner import FingerprintScanner
from tests.hardware_emulators.rigs import here
from tests.soak.damaged_devices import Target, libfprint, targets

_TIMEOUT_S: Final = 0.15
_TRIES: Final = 3
#: For which what is in use may take to come down again; a hook of OpenCV that is stuck comes back after 2 s.
_SETTLES_S: Final = 15.0
_EXTREMES: Final = (b"\x00", b"\xff", b"\xef\x01", b"\xff\xff\xff\xff", b"-1", b"99999999999", b"null", b"\r\n\r\n")

#: Devices of each driver that are fuzzed beside each other.
_LANES: Final = 4


@dataclass(frozen=True, slots=True)
class Failure:
    """A damaged answer, or a pulled cable, that a driver did not cope with."""

    index: int
    target: str
    what: str


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return an answer with one to eight damages done to it."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(6):
            case 0:
                out[at : at + 1] = rng.randbytes(1)
            case 1:
                del out[at : at + rng.choice((1, 2, 9, 500))]
            case 2:
                out[at:at] = rng.randbytes(rng.choice((1, 2, 9, 500)))
            case 3:
                extreme = rng.choice(_EXTREMES)
                out[at : at + len(extreme)] = extreme
            case 4:
                del out[at:]
            case _:
                out[at:at] = bytes(out[: rng.choice((1, 12, 200))])
    return bytes(out)


@contextmanager
def fuzzing() -> Iterator[Callable[[int, int, int], list[Failure]]]:
    """Set emulators up; what is yielded captures ``count`` times from a damaged line of each driver.

    Several devices of each driver run beside each other, because most of the time is spent waiting for what does not
    come.
    """
    with ExitStack() as stack:
        lanes = []
        for lane in range(_LANES):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            lanes += [(lane, target) for target in targets(stack, folder, lane)]

        pool = stack.enter_context(ThreadPoolExecutor(len(lanes)))

        def run(count: int, seed: int, start: int = 0) -> list[Failure]:
            runs = [
                pool.submit(_fuzzed, target, range(start + (lane - start) % _LANES, start + count, _LANES), seed)
                for lane, target in lanes
            ]
            return [failure for each in runs for failure in each.result()]

        yield run


@contextmanager
def fuzzing_libfprint() -> Iterator[Callable[[int, int, int], list[Failure]]]:
    """The same for libfprint, by itself, because what it hears could end the process; raises where there is none."""
    with ExitStack() as stack:
        target = libfprint(stack, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        yield lambda count, seed, start: _fuzzed(target, range(start, start + count), seed)


def _fuzzed(target: Target, indices: range, seed: int) -> list[Failure]:
    failures = []
    for index in indices:
        what = _failure_of(target, f"{seed}:{target.name}:{index}")
        failures += [Failure(index, target.name, what)] if what else []
    return failures


def _failure_of(target: Target, seed: str) -> str:
    # A driver that is late is late again with the same damage; a machine that is busy with something else is not.
    for _ in range(_TRIES):
        what, is_late = _tried(target, random.Random(seed))
        if not is_late:
            break
    return what


def _tried(target: Target, rng: random.Random) -> tuple[str, bool]:
    # What went wrong, and whether it was only late.
    device = target.device
    try:
        if device.state is not DeviceState.READY:
            target.spoil(lambda data: data)
            _open_in_time(device)
        target.spoil(lambda data: damaged(data, rng))
        began = time.monotonic()
        with suppress(DeviceError):
            _capture(device, _TIMEOUT_S)
        taken = time.monotonic() - began
    except Exception as error:
        return f"{type(error).__name__}: {error}", False
    is_late = taken > _TIMEOUT_S + ALLOWANCE_S
    return f"took {taken:.2f} s of {_TIMEOUT_S} s, {_TRIES} times" if is_late else "", is_late


def _open_in_time(device: Device) -> None:
    # What a broken line left behind may take a moment to end.
    until = time.monotonic() + 10.0
    while True:
        try:
            device.close()
            device.open(timeout_s=5.0)
            return
        except DeviceError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def _capture(device: Device, timeout_s: float) -> None:
    if isinstance(device, FingerprintScanner):
        device.capture(timeout_s=timeout_s)
    else:
        assert isinstance(device, Camera)
        device.read(timeout_s=timeout_s)


@contextmanager
def unplugging() -> Iterator[Callable[[int, int, int], list[Failure]]]:
    """Set a rig up for every driver; what is yielded pulls ``count`` cables, the drivers in turn."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rigs: list[tuple[str, Rig, Device]] = []
        for (kind, name), make in here().items():
            own = folder / f"{kind.value}-{name}"
            own.mkdir()
            rig = stack.enter_context(make(own))
            rigs.append((f"{kind.value} {name}", rig, rig.device()))
        for _, rig, device in rigs:  # what a library opens for itself on first use, it keeps, once
            rig.present()
            device.open(timeout_s=5.0)
            device.close()
        before = in_use()

        def run(count: int, seed: int, start: int = 0) -> list[Failure]:
            failures = []
            for index in range(start, start + count):
                name, rig, device = rigs[index % len(rigs)]
                what = _pulled(rig, device, random.Random(f"{seed}:{index}").uniform(0.0, 0.1)) or _left(before)
                failures += [Failure(index, name, what)] if what else []
            return failures

        yield run


def _pulled(rig: Rig, device: Device, after_s: float) -> str:
    try:
        rig.present()
        device.open(timeout_s=5.0)
        lease = device.lease("soak", 60.0)
        rig.absent()
        puller = threading.Timer(after_s, rig.unplug)
        puller.start()
        try:
            for _ in range(100):
                if isinstance(device, FingerprintScanner):
                    device.capture(timeout_s=5.0, lease=lease)
                elif isinstance(device, Camera):
                    device.read(timeout_s=5.0, lease=lease)
        except DeviceGoneError:
            pass
        except CaptureTimeoutError:
            return "did not notice that the cable was pulled"
        finally:
            puller.join()
            rig.replug()
            device.release(lease)
        return "" if device.state is DeviceState.GONE and not device.holder else f"ended {device.state.value}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _left(before: tuple[int, int]) -> str:
    # What is still in use although nothing is open. A leak stays for ever, so a slow machine may have its time.
    until = time.monotonic() + _SETTLES_S
    while more(after := in_use(), before):
        if time.monotonic() > until:
            return f"(threads, files) {before} became {after}"
        time.sleep(0.02)
    return ""
