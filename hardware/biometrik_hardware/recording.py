"""What a device gave, with its timing and its faults, kept in a folder and played again on any machine.

``steps.jsonl`` holds the outcomes, which are played again; ``events.jsonl`` what was told besides, to be read.
A recording holds biometric data: it is made of synthetic samples, or with a consent whose reference it carries, and
whoever made it keeps and deletes it. It is played by the virtual drivers::

    recorder = Recorder(folder, scanner.info, Origin.SYNTHETIC)
    scanner.record(recorder)
    ...
    with BUS.plugged("again", scanner_setup(folder)):
        VirtualScanner.at("again")
"""

import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from biometrik.errors import ImageError, InvalidInputError
from biometrik.fingers import FingerPosition, FingerprintImage, Impression
from biometrik.imaging import decode_rgb, read_file
from biometrik_hardware.camera.camera import Frame
from biometrik_hardware.errors import CaptureTimeoutError, DeviceGoneError, DeviceProtocolError
from biometrik_hardware.events import DeviceEvent, DeviceInfo, DeviceKind, EventKind
from biometrik_hardware.outcomes import Retry, RetryReason
from biometrik_hardware.virtual_bus import Fault, Trouble, VirtualCameraSetup, VirtualScannerSetup

_VERSION: Final = 1
#: Faults of a device; what an application does to itself (cancel, close, lose its lease) is not played again.
_FAULTS: Final = {
    DeviceGoneError.reason: Trouble.UNPLUG,
    DeviceProtocolError.reason: Trouble.GARBAGE,
    CaptureTimeoutError.reason: Trouble.NO_FINGER,
}

#: Events whose detail names people or programs.
_OF_LEASES: Final = frozenset(kind for kind in EventKind if kind.value.startswith("LEASE_"))
#: What reading a damaged recording raises: of JSON that is none or nested without end, and of values that do not fit.
_DAMAGE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class Origin(Enum):
    """Whose samples a recording holds."""

    SYNTHETIC = "SYNTHETIC"
    CONSENTED = "CONSENTED"


class Recorder:
    """A tape for :meth:`Device.record`, which writes each outcome into a folder as it comes. Thread-safe.

    Parameters
    ----------
    folder : Path
        Made here; must not exist.
    info : DeviceInfo
        Of the device.
    origin : Origin
        Whose samples they are.
    consent_ref : str
        The caller's reference of the consent; needed with CONSENTED.

    Raises
    ------
    InvalidInputError
        CONSENTED without its reference, or a folder that exists.
    """

    def __init__(self, folder: Path, info: DeviceInfo, origin: Origin, consent_ref: str = "") -> None:
        if (origin is Origin.CONSENTED) != bool(consent_ref):
            raise InvalidInputError("consent_ref: expected a reference with CONSENTED, and none with SYNTHETIC")
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise InvalidInputError(f"{folder}: expected a folder that can be made, got {error.strerror}") from None
        self._folder = folder
        self._lock = threading.Lock()
        self._numbers = count()
        self._began = time.monotonic()
        about = {
            "version": _VERSION,
            "kind": info.kind.value,
            "driver": info.driver,
            "vendor": info.vendor,
            "model": info.model,
            "ppi": info.ppi,
            "origin": origin.value,
            "consent_ref": consent_ref,
        }
        (folder / "about.json").write_text(json.dumps(about, indent=1), "utf-8")

    def took(self, outcome: object, seconds: float) -> None:
        """Write an outcome or an event; what an application did to itself is no outcome, and names are left out."""
        with self._lock:
            at_s = round(time.monotonic() - self._began, 4)
            step: dict[str, Any] = {"at_s": at_s, "took_s": round(seconds, 4)}
            match outcome:
                case DeviceEvent():
                    detail = "" if outcome.kind in _OF_LEASES else outcome.detail
                    self._append("events.jsonl", {"at_s": at_s, "kind": outcome.kind.value, "detail": detail})
                    return
                case FingerprintImage():
                    step |= {
                        "file": self._saved(outcome.pixels),
                        "ppi": outcome.ppi,
                        "position": outcome.position.name,
                        "impression": outcome.impression.name,
                    }
                case Frame():
                    step |= {"file": self._saved(outcome.pixels), "index": outcome.index}
                case Retry():
                    step |= {"retry": outcome.reason.value}
                case DeviceGoneError() | DeviceProtocolError() | CaptureTimeoutError():
                    step |= {"fault": outcome.reason}
                case _:
                    return
            self._append("steps.jsonl", step)

    def _append(self, name: str, row: dict[str, Any]) -> None:
        with (self._folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _saved(self, pixels: NDArray[np.uint8]) -> str:
        name = f"{next(self._numbers):05d}.png"
        Image.fromarray(pixels).save(self._folder / name, "PNG", compress_level=1)
        return name


@dataclass(frozen=True, slots=True)
class _Step:
    took_s: float
    at_s: float
    file: str = ""
    ppi: float = 0.0
    position: FingerPosition = FingerPosition.UNKNOWN
    impression: Impression = Impression.LIVE_PLAIN
    fault: Fault | None = None


def scanner_setup(folder: Path, *, speed: float = 1.0) -> VirtualScannerSetup:
    """Return a scanner for the virtual bus that gives what was recorded, in turn, whatever finger is asked for.

    Parameters
    ----------
    folder : Path
        A recording of a scanner.
    speed : float
        2 plays twice as fast.

    Raises
    ------
    InvalidInputError
        Not a recording of a scanner, or a damaged one.

    Notes
    -----
    Where the device went away it does so again: plug it in with ``BUS.replug``, as one would a cable.
    """
    steps, ppi = _read(folder, DeviceKind.FINGERPRINT_SCANNER)
    images = iter([step for step in steps if step.file])

    def prints(_: FingerPosition) -> FingerprintImage:
        step = next(images, None)
        if step is None:
            raise LookupError
        return FingerprintImage(_pixels(folder, step)[:, :, 0], step.ppi, step.position, step.impression)

    script = tuple(_faster(step.fault or Fault(Trouble.DELAY, step.took_s), speed) for step in steps)
    ppi = ppi or next((step.ppi for step in steps if step.file), 500.0)
    return VirtualScannerSetup(prints, script, approach_s=0.0, capture_s=0.0, ppi=ppi)


def camera_setup(folder: Path, *, speed: float = 1.0) -> VirtualCameraSetup:
    """Return a camera for the virtual bus that gives the frames that were recorded, when they came, then over again.

    Parameters
    ----------
    folder : Path
        A recording of a camera.
    speed : float
        2 plays twice as fast.

    Raises
    ------
    InvalidInputError
        Not a recording of a camera, or a damaged one.
    """
    steps, _ = _read(folder, DeviceKind.CAMERA)
    frames = [step for step in steps if step.file]
    if not frames:
        raise InvalidInputError(f"{folder}: expected a recording with frames, got one without")
    script: list[Fault] = []
    before_s = frames[0].at_s
    for step in steps:
        script.append(_faster(Fault(Trouble.DELAY, max(0.0, step.at_s - before_s)), speed))
        script.append(_faster(step.fault, speed) if step.fault is not None else Fault(Trouble.NOTHING))
        before_s = max(before_s, step.at_s)
    return VirtualCameraSetup(lambda index: _pixels(folder, frames[index % len(frames)]), script, fps=1000.0)


def _read(folder: Path, kind: DeviceKind) -> tuple[list[_Step], float]:
    # The steps, and the resolution of the device; 0 where it says so with each image.
    try:
        about = json.loads((folder / "about.json").read_text("utf-8"))
        if (about["version"], about["kind"]) != (_VERSION, kind.value):
            raise InvalidInputError(f"{folder}: expected a recording of a {kind.value}, got another one")
        return list(_steps(folder)), float(about["ppi"] or 0.0)
    except _DAMAGE as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{folder}: expected a recording, got none or a damaged one") from error


def _steps(folder: Path) -> Iterator[_Step]:
    path = folder / "steps.jsonl"
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        step = json.loads(line)
        took_s, at_s = float(step["took_s"]), float(step["at_s"])
        if not (0.0 <= took_s < math.inf and 0.0 <= at_s < math.inf):
            raise ValueError("a time that is none")
        if "retry" in step:
            yield _Step(took_s, at_s, fault=Fault(Trouble.RETRY, took_s, RetryReason(step["retry"])))
        elif "fault" in step:
            yield _Step(took_s, at_s, fault=Fault(_FAULTS[step["fault"]], took_s))
        else:
            if not (folder / step["file"]).resolve().is_relative_to(folder.resolve()):
                raise ValueError("a file outside the recording")
            position = FingerPosition[step.get("position", "UNKNOWN")]
            impression = Impression[step.get("impression", "LIVE_PLAIN")]
            yield _Step(took_s, at_s, step["file"], float(step.get("ppi", 0.0)), position, impression)


def _pixels(folder: Path, step: _Step) -> NDArray[np.uint8]:
    try:
        return decode_rgb(read_file(folder / step.file))
    except (ImageError, InvalidInputError) as error:
        raise DeviceProtocolError(f"{folder}: expected an image of the recording, got none") from error


def _faster(fault: Fault, speed: float) -> Fault:
    return Fault(fault.trouble, fault.seconds / speed, fault.reason)
