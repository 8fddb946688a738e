"""What the fuzzing of drivers damages: a device of each driver, and what it hears, reads or plays."""

import itertools
import random
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from biometrik.errors import InvalidInputError
from biometrik.finger_imaging import decode_print
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.imaging import decode_rgb
from biometrik_hardware.camera.camera import Frame
from biometrik_hardware.camera.drivers.folder import FolderCamera
from biometrik_hardware.camera.drivers.opencv import OpencvCamera
from biometrik_hardware.camera.drivers.sbi import SbiCamera
from biometrik_hardware.camera.drivers.virtual import VirtualCamera
from biometrik_hardware.device import Device
from biometrik_hardware.errors import CaptureTimeoutError, DeviceError
from biometrik_hardware.events import DeviceInfo, DeviceKind
from biometrik_hardware.fingerprint.drivers.folder import FolderScanner
from biometrik_hardware.fingerprint.drivers.sbi import SbiScanner
from biometrik_hardware.fingerprint.drivers.virtual import VirtualScanner
from biometrik_hardware.fingerprint.drivers.zfm import ZfmScanner
from biometrik_hardware.fingerprint.scanner import SCANNERS
from biometrik_hardware.outcomes import Retry, RetryReason
from biometrik_hardware.recording import Origin, Recorder, camera_setup, scanner_setup
from biometrik_hardware.virtual_bus import BUS, Fault, Trouble, VirtualCameraSetup, VirtualScannerSetup
from biometrik_hardware.virtual_rig import plain_frame
from tests.hardware_emulators.fprint import FprintEmulator, whorl
from tests.hardware_emulators.network_camera import NetworkCameraEmulator
from tests.hardware_emulators.rigs import ridges, wave_of
from tests.hardware_emulators.rtsp_camera import RtspCameraEmulator
from tests.hardware_emulators.sbi import SbiEmulator, vendor
from tests.hardware_emulators.zfm import ZfmEmulator

Damage = Callable[[bytes], bytes]

#: How long a fault of a script lasts, seconds: shorter and longer than a capture, and what is no time at all.
_LASTS: Final = (0.0, 0.02, 0.3, -1.0, float("inf"), float("nan"))
_OPEN_S: Final = 1.0
#: Answers of a serial sensor that are damaged one after the other: one, two, or all.
_DAMAGED_ANSWERS: Final = (1, 2, 1000)


@dataclass(frozen=True, slots=True)
class Target:
    """A device, and how to damage what it gets from now on.

    Parameters
    ----------
    name : str
        Of the driver.
    device : Device
        The device.
    spoil : callable
        Takes the damage; one that changes nothing puts everything in order.
    """

    name: str
    device: Device
    spoil: Callable[[Damage], None]


def targets(stack: ExitStack, folder: Path, lane: int) -> tuple[Target, ...]:
    """Return one of each driver but libfprint's; they end with the stack."""
    made = tuple(
        make(stack, folder, lane)
        for make in (
            _zfm,
            _sbi,
            _sbi_camera,
            _http,
            _rtsp,
            _video,
            _folder_scanner,
            _folder_camera,
            _virtual_scanner,
            _virtual_camera,
            _recorded_scanner,
            _recorded_camera,
        )
    )
    for target in made:
        stack.callback(target.device.close)
    return made


def libfprint(stack: ExitStack, folder: Path) -> Target:
    """Return the one of libfprint, of which there is one a process: what goes over the socket is damaged."""
    emulator = stack.enter_context(FprintEmulator(folder))
    emulator.finger = whorl()
    target = Target("libfprint", SCANNERS.load("libfprint").at("virtual_image/0", ppi=500.0), _spoiling(emulator))
    stack.callback(target.device.close)
    return target


def _spoiling(emulator: FprintEmulator | SbiEmulator | NetworkCameraEmulator) -> Callable[[Damage], None]:
    return lambda damage: setattr(emulator, "damage", damage)


# --- what answers over a line --------------------------------------------------------------------------------------


def _zfm(stack: ExitStack, folder: Path, lane: int) -> Target:
    emulator = stack.enter_context(ZfmEmulator(folder, width_px=32, height_px=32))
    emulator.finger = ridges(32, 32)

    def spoil(damage: Damage) -> None:
        # A capture is two answers, the second with the image; the driver asks again after a damaged one.
        rng, answers = _chance(damage), itertools.count()
        first = rng.randrange(2) if rng is not None else 0
        last = first + rng.choice(_DAMAGED_ANSWERS) if rng is not None else first
        emulator.damage = lambda data: damage(data) if first <= next(answers) < last else data

    return Target("zfm", ZfmScanner.at(str(emulator.port), width_px=32, height_px=32), spoil)


def _sbi(stack: ExitStack, folder: Path, lane: int) -> Target:
    emulator = stack.enter_context(SbiEmulator())
    emulator.finger = wave_of(FingerPosition.RIGHT_INDEX)
    return Target("sbi", SbiScanner.at(str(emulator.port), authorities=vendor()[0].pem), _spoiling(emulator))


def _sbi_camera(stack: ExitStack, folder: Path, lane: int) -> Target:
    emulator = stack.enter_context(SbiEmulator(plain_frame, fps=60.0))
    return Target("sbi camera", SbiCamera.at(str(emulator.port), authorities=vendor()[0].pem), _spoiling(emulator))


def _http(stack: ExitStack, folder: Path, lane: int) -> Target:
    emulator = stack.enter_context(NetworkCameraEmulator(plain_frame, fps=60.0))
    return Target("opencv http", OpencvCamera.at(emulator.address), _spoiling(emulator))


def _rtsp(stack: ExitStack, folder: Path, lane: int) -> Target:
    emulator = stack.enter_context(RtspCameraEmulator(lambda index: plain_frame(index)[:64], fps=60.0))
    return Target("opencv rtsp", OpencvCamera.at(emulator.address), _spoiling(emulator))


# --- what is read from files ---------------------------------------------------------------------------------------


def _folder_scanner(stack: ExitStack, folder: Path, lane: int) -> Target:
    prints = _made(folder / "prints")
    return Target(
        "folder scanner", FolderScanner.at(str(prints), ppi=500.0, rest_s=0.02), _saving(prints, _png(ridges(64, 60)))
    )


def _folder_camera(stack: ExitStack, folder: Path, lane: int) -> Target:
    pictures = _made(folder / "pictures")
    return Target("folder camera", FolderCamera.at(str(pictures), rest_s=0.02), _saving(pictures, _png(plain_frame(7))))


def _saving(folder: Path, image: bytes) -> Callable[[Damage], None]:
    # As a vendor's program does, a moment after the capture began.
    def spoil(damage: Damage) -> None:
        def write() -> None:
            (folder / "a.part").write_bytes(damage(image))
            (folder / "a.part").replace(folder / "a.png")

        for old in folder.iterdir():
            old.unlink(missing_ok=True)
        threading.Timer(0.02, write).start()

    return spoil


def _video(stack: ExitStack, folder: Path, lane: int) -> Target:
    intact, played = folder / "intact.avi", folder / "played.avi"
    writer = cv2.VideoWriter(str(intact), cv2.VideoWriter.fourcc(*"MJPG"), 60.0, (128, 72))
    for index in range(6):
        writer.write(plain_frame(index))
    writer.release()
    shutil.copyfile(intact, played)
    device = OpencvCamera.at(str(played))

    def spoil(damage: Damage) -> None:
        device.close()
        played.write_bytes(damage(intact.read_bytes()))
        with suppress(DeviceError):  # what is no video any more is not opened
            device.open(timeout_s=_OPEN_S)

    return Target("opencv file", device, spoil)


# --- what is played ------------------------------------------------------------------------------------------------


def _virtual_scanner(stack: ExitStack, folder: Path, lane: int) -> Target:
    name, shown = f"damaged scanner {lane}", [_png(ridges(64, 60))]

    def prints(position: FingerPosition) -> FingerprintImage:
        return decode_print(shown[0], ppi=500.0, position=position)

    setup = VirtualScannerSetup(prints, approach_s=0.01, capture_s=0.01)
    stack.enter_context(BUS.plugged(name, setup))
    return Target("virtual scanner", VirtualScanner.at(name), _playing(name, shown))


def _virtual_camera(stack: ExitStack, folder: Path, lane: int) -> Target:
    name, shown = f"damaged camera {lane}", [_png(plain_frame(7))]
    stack.enter_context(BUS.plugged(name, VirtualCameraSetup(lambda _: decode_rgb(shown[0]), fps=60.0)))
    device, play = VirtualCamera.at(name), _playing(name, shown)

    def spoil(damage: Damage) -> None:
        device.close()  # the script before may have told it to wait for ever
        play(damage)
        with suppress(DeviceError):
            device.open(timeout_s=_OPEN_S)

    return Target("virtual camera", device, spoil)


def _playing(name: str, shown: list[bytes]) -> Callable[[Damage], None]:
    # The picture, or what goes wrong with the next captures.
    intact = shown[0]

    def spoil(damage: Damage) -> None:
        rng = _chance(damage)
        scripted = rng is not None and rng.random() < 0.5
        shown[0] = intact if scripted else damage(intact)
        BUS.script(name, [_fault(rng) for _ in range(rng.randint(1, 4))] if rng is not None and scripted else [])
        BUS.replug(name)

    return spoil


def _fault(rng: random.Random) -> Fault:
    return Fault(rng.choice(tuple(Trouble)), rng.choice(_LASTS), rng.choice(tuple(RetryReason)))


def _recorded_scanner(stack: ExitStack, folder: Path, lane: int) -> Target:
    tape = folder / "scanner tape"
    recorder = Recorder(tape, DeviceInfo("zfm", "x", DeviceKind.FINGERPRINT_SCANNER, ppi=500.0), Origin.SYNTHETIC)
    for outcome in (wave_of(FingerPosition.RIGHT_INDEX), Retry(RetryReason.KEEP_STILL), CaptureTimeoutError("nobody")):
        recorder.took(outcome, 0.02)
    name = f"damaged scanner tape {lane}"
    stack.enter_context(BUS.plugged(name, scanner_setup(tape)))
    device = VirtualScanner.at(name)
    return Target("recorded scanner", device, _replaying(device, tape, scanner_setup))


def _recorded_camera(stack: ExitStack, folder: Path, lane: int) -> Target:
    tape = folder / "camera tape"
    recorder = Recorder(tape, DeviceInfo("opencv", "x", DeviceKind.CAMERA), Origin.SYNTHETIC)
    for index in range(3):
        recorder.took(Frame(plain_frame(index), index, 0.0), 0.01)
    name = f"damaged camera tape {lane}"
    stack.enter_context(BUS.plugged(name, camera_setup(tape)))
    device = VirtualCamera.at(name)
    return Target("recorded camera", device, _replaying(device, tape, camera_setup))


def _replaying(
    device: Device, tape: Path, setup_of: Callable[[Path], VirtualScannerSetup | VirtualCameraSetup]
) -> Callable[[Damage], None]:
    # One file of the recording is damaged, and played if it still is one.
    name, copy = device.info.path, tape.with_name(tape.name + " damaged")

    def spoil(damage: Damage) -> None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(tape, copy)
        if (rng := _chance(damage)) is not None:
            file = rng.choice(sorted(copy.iterdir()))
            file.write_bytes(damage(file.read_bytes()))
        device.close()
        BUS.unplug(name)
        try:
            BUS.plug(name, setup_of(copy))
            type(device).at(name)
        except InvalidInputError:  # what it should say of a recording that is none
            BUS.replug(name)
        with suppress(DeviceError):
            device.open(timeout_s=_OPEN_S)

    return spoil


def _chance(damage: Damage) -> random.Random | None:
    # Decisions that go with a damage; None where it changes nothing.
    intact = bytes(64)
    return random.Random(spoilt) if (spoilt := damage(intact)) != intact else None


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _png(pixels: NDArray[np.uint8]) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
