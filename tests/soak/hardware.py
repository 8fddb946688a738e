"""Devices that answer with damaged bytes, and cables pulled in the middle of captures, by the thousand.

``scripts/soak`` calls :func:`fuzzing` and :func:`unplugging`. Whatever the other side sends, an operation ends by its
deadline + 0.2 s with a result or a DeviceError, and the device works again when the line does. What fails while the
whole process is stopped is done again, see :mod:`tests.soak.halts`.
"""

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from biometrik_hardware.camera.camera import Camera
from biometrik_hardware.conformance import ALLOWANCE_S, Rig, in_use, more
from biometrik_hardware.device import Device
from biometrik_hardware.errors import CaptureTimeoutError, DeviceBusyError, DeviceError, DeviceGoneError
from biometrik_hardware.events import DeviceState
from biometrik_hardware.fingerprint.scanner import FingerprintScanner
from biometrik_hardware.outcomes import Retry
from tests.hardware_emulators.rigs import here
from tests.soak.damaged_devices import Target, libfprint, targets
from tests.soak.halts import Halts, counted

_TIMEOUT_S: Final = 0.15
_TRIES: Final = 3
#: For which what is in use may take to come down again; a hook of OpenCV that is stuck comes back after 2 s.
_SETTLES_S: Final = 15.0
_EXTREMES: Final = (b"\x00", b"\xff", b"\xef\x01", b"\xff\xff\xff\xff", b"-1", b"99999999999", b"null", b"\r\n\r\n")

_LATE: Final = "late"
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


class Fuzzing:
    """Captures from damaged lines, and counts what comes of it.

    Parameters
    ----------
    lanes : list of lists of Target
        The same targets in each lane; the lanes run beside each other.
    pool : ThreadPoolExecutor
        With a thread for each target.
    halts : Halts
        Of this process.
    """

    def __init__(self, lanes: list[list[Target]], pool: ThreadPoolExecutor, halts: Halts) -> None:
        self._lanes, self._pool, self._halts = lanes, pool, halts
        self._outcomes = {target.name: Counter[str]() for target in lanes[0]}
        self._lock = threading.Lock()

    def __call__(self, count: int, seed: int, start: int, /) -> list[Failure]:
        """Capture ``count`` times from a damaged line of each driver."""
        lanes = len(self._lanes)
        runs = [
            self._pool.submit(self._fuzzed, target, range(start + (lane - start) % lanes, start + count, lanes), seed)
            for lane, row in enumerate(self._lanes)
            for target in row
        ]
        return [failure for each in runs for failure in each.result()]

    @property
    def figures(self) -> Mapping[str, Any]:
        """How the captures of each driver ended, and how often the process was stopped."""
        with self._lock:
            outcomes = {name: dict(sorted(counts.items())) for name, counts in self._outcomes.items()}
        return {"outcomes": outcomes, "halts": self._halts.count}

    def _fuzzed(self, target: Target, indices: range, seed: int) -> list[Failure]:
        failures = []
        for index in indices:
            what = self._halts.none_during(partial(self._failure_of, target, f"{seed}:{target.name}:{index}"))
            failures += [Failure(index, target.name, what)] if what else []
        return failures

    def _failure_of(self, target: Target, seed: str) -> str:
        # A driver that is late is late again with the same damage; a machine that is busy with something else is not.
        for _ in range(_TRIES):
            what, ended = _tried(target, random.Random(seed))
            with self._lock:
                self._outcomes[target.name][ended] += 1
            if ended == DeviceBusyError.reason:
                target.device.close()  # libfprint counts one that works without a pause as hot; opened anew it is cool
            elif ended != _LATE:
                break
        return what


@contextmanager
def fuzzing() -> Iterator[Fuzzing]:
    """Set emulators up; what is yielded captures ``count`` times from a damaged line of each driver.

    Several devices of each driver run beside each other, because most of the time is spent waiting for what does not
    come.
    """
    with ExitStack() as stack:
        halts = stack.enter_context(counted())
        lanes = []
        for lane in range(_LANES):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            lanes.append(list(targets(stack, folder, lane)))
        pool = stack.enter_context(ThreadPoolExecutor(sum(map(len, lanes))))
        yield Fuzzing(lanes, pool, halts)


@contextmanager
def fuzzing_libfprint() -> Iterator[Fuzzing]:
    """The same for libfprint, by itself, because what it hears could end the process; raises where there is none."""
    with ExitStack() as stack:
        halts = stack.enter_context(counted())
        target = libfprint(stack, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        yield Fuzzing([[target]], stack.enter_context(ThreadPoolExecutor(1)), halts)


def _tried(target: Target, rng: random.Random) -> tuple[str, str]:
    # What went wrong, and how the capture ended.
    device = target.device
    try:
        if device.state is not DeviceState.READY:
            target.spoil(lambda data: data)
            _open_in_time(device)
        target.spoil(lambda data: damaged(data, rng))
        began = time.monotonic()
        try:
            ended = _capture(device, _TIMEOUT_S)
        except DeviceError as error:
            ended = error.reason
        taken = time.monotonic() - began
    except Exception as error:
        return f"{type(error).__name__}: {error}", "failed"
    if taken > _TIMEOUT_S + ALLOWANCE_S:
        return f"took {taken:.2f} s of {_TIMEOUT_S} s, {_TRIES} times", _LATE
    return "", ended


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


def _capture(device: Device, timeout_s: float) -> str:
    if isinstance(device, FingerprintScanner):
        return "retry" if isinstance(device.capture(timeout_s=timeout_s), Retry) else "taken"
    assert isinstance(device, Camera)
    device.read(timeout_s=timeout_s)
    return "taken"


@contextmanager
def unplugging() -> Iterator[Callable[[int, int, int], list[Failure]]]:
    """Set a rig up for every driver; what is yielded pulls ``count`` cables, the drivers in turn."""
    with ExitStack() as stack:
        halts = stack.enter_context(counted())
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
                after_s = random.Random(f"{seed}:{index}").uniform(0.0, 0.1)
                what = halts.none_during(partial(_pulled, rig, device, after_s)) or _left(before)
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
