"""A rig for every driver: the device, the other side of it, and the situations of the conformance suite."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from biometrik.errors import PluginNotFoundError
from biometrik.fingers import FingerPosition
from biometrik_hardware.camera.camera import CAMERAS
from biometrik_hardware.conformance import Rig
from biometrik_hardware.device import Device
from biometrik_hardware.events import DeviceKind
from biometrik_hardware.fingerprint.scanner import SCANNERS
from biometrik_hardware.virtual_rig import VirtualCameraRig, VirtualScannerRig, plain_frame, plain_print
from tests.hardware_emulators.fprint import FprintEmulator, whorl
from tests.hardware_emulators.network_camera import NetworkCameraEmulator
from tests.hardware_emulators.sbi import SbiEmulator, vendor
from tests.hardware_emulators.zfm import ZfmEmulator


def ridges(height_px: int, width_px: int, period_px: float = 9.0, turn: float = 0.0) -> NDArray[np.uint8]:
    """Return (H, W) uint8 of plain waves: nobody's finger."""
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float64)
    wave = np.cos((x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / period_px)
    return np.asarray(127.5 + 127.5 * wave, np.uint8)


#: A print whose waves tell the position, and a frame (72, 128, 3) that tells its index by its red.
wave_of: Final = plain_print
picture: Final = plain_frame


@contextmanager
def virtual_scanner(folder: Path) -> Iterator[Rig]:
    """The virtual scanner, quick."""
    with VirtualScannerRig("rig scanner", wave_of) as rig:
        yield rig


@contextmanager
def virtual_camera(folder: Path) -> Iterator[Rig]:
    """The virtual camera."""
    with VirtualCameraRig("rig camera", picture) as rig:
        yield rig


class _ZfmRig:
    def __init__(self, emulator: ZfmEmulator) -> None:
        self._emulator = emulator

    def device(self) -> Device:
        return SCANNERS.load("zfm").at(str(self._emulator.port))

    def present(self) -> None:
        self._emulator.finger = ridges(*self._emulator.shape)

    def absent(self) -> bool:
        self._emulator.finger = None
        return True

    def unplug(self) -> bool:
        self._emulator.unplug()
        return True

    def replug(self) -> None:
        self._emulator.plug()


@contextmanager
def zfm(folder: Path) -> Iterator[Rig]:
    """The serial sensor against its emulator."""
    with ZfmEmulator(folder) as emulator:
        yield _ZfmRig(emulator)


class VendorProgram:
    """A vendor's own program, which saves image after image into a folder; a context manager.

    Parameters
    ----------
    folder : Path
        Where; made here.
    pixels : ndarray
        What is on the images.
    """

    every_s = 0.1
    """Between two images, seconds."""

    def __init__(self, folder: Path, pixels: NDArray[np.uint8]) -> None:
        self.folder = folder
        self.saves = True
        self._away = folder.with_name(folder.name + " away")
        self._pixels = pixels
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        folder.mkdir()

    def __enter__(self) -> "VendorProgram":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def unmount(self) -> None:
        """Take the folder away."""
        if self.folder.exists():
            self.folder.rename(self._away)

    def mount(self) -> None:
        """Bring it back."""
        if self._away.exists():
            self._away.rename(self.folder)

    def _run(self) -> None:
        # As a careful program does: write aside, then rename.
        while not self._ended.wait(self.every_s):
            if not self.saves:
                continue
            try:
                part = self.folder / "capture.part"
                with part.open("wb") as file:
                    Image.fromarray(self._pixels).save(file, "PNG", dpi=(500, 500))
                part.replace(self.folder / "capture.png")
            except FileNotFoundError:
                continue  # the folder was taken away


class _FolderRig:
    def __init__(self, driver: type[Device], program: VendorProgram) -> None:
        self._driver = driver
        self._program = program

    def device(self) -> Device:
        return self._driver.at(str(self._program.folder), rest_s=0.04)

    def present(self) -> None:
        self._program.saves = True

    def absent(self) -> bool:
        self._program.saves = False
        return True

    def unplug(self) -> bool:
        self._program.unmount()
        return True

    def replug(self) -> None:
        self._program.mount()


@contextmanager
def folder_scanner(folder: Path) -> Iterator[Rig]:
    """The folder of a scanner's program."""
    with VendorProgram(folder / "prints", ridges(96, 80)) as program:
        yield _FolderRig(SCANNERS.load("folder"), program)


@contextmanager
def folder_camera(folder: Path) -> Iterator[Rig]:
    """The folder of a camera's program."""
    with VendorProgram(folder / "pictures", picture(7)) as program:
        yield _FolderRig(CAMERAS.load("folder"), program)


class NetworkCameraRig:
    """A camera behind an emulator of either protocol."""

    def __init__(self, emulator: NetworkCameraEmulator) -> None:
        self._emulator = emulator

    def device(self) -> Device:
        return CAMERAS.load("opencv").at(self._emulator.address)

    def present(self) -> None:
        self._emulator.streams = True

    def absent(self) -> bool:
        self._emulator.streams = False
        return True

    def unplug(self) -> bool:
        self._emulator.unplug()
        return True

    def replug(self) -> None:
        self._emulator.plug()


@contextmanager
def network_camera(folder: Path) -> Iterator[Rig]:
    """A network camera on loopback."""
    with NetworkCameraEmulator(picture) as emulator:
        yield NetworkCameraRig(emulator)


class _SbiRig:
    def __init__(self, emulator: SbiEmulator) -> None:
        self._emulator = emulator

    def device(self) -> Device:
        return SCANNERS.load("sbi").at(str(self._emulator.port), authorities=vendor()[0].pem)

    def present(self) -> None:
        self._emulator.finger = wave_of(FingerPosition.RIGHT_INDEX)

    def absent(self) -> bool:
        self._emulator.finger = None
        return True

    def unplug(self) -> bool:
        self._emulator.unplug()
        return True

    def replug(self) -> None:
        self._emulator.plug()


@contextmanager
def sbi(folder: Path) -> Iterator[Rig]:
    """A vendor's device service on loopback."""
    with SbiEmulator() as emulator:
        yield _SbiRig(emulator)


class _SbiCameraRig:
    def __init__(self, emulator: SbiEmulator) -> None:
        self._emulator = emulator

    def device(self) -> Device:
        return CAMERAS.load("sbi").at(str(self._emulator.port), authorities=vendor()[0].pem)

    def present(self) -> None:
        self._emulator.streams = True

    def absent(self) -> bool:
        self._emulator.streams = False
        return True

    def unplug(self) -> bool:
        self._emulator.unplug()
        return True

    def replug(self) -> None:
        self._emulator.plug()


@contextmanager
def sbi_camera(folder: Path) -> Iterator[Rig]:
    """A vendor's device service with a face camera."""
    with SbiEmulator(picture) as emulator:
        yield _SbiCameraRig(emulator)


class _FprintRig:
    def __init__(self, emulator: FprintEmulator) -> None:
        self._emulator = emulator

    def device(self) -> Device:
        return SCANNERS.load("libfprint").at("virtual_image/0", ppi=500.0)

    def present(self) -> None:
        self._emulator.finger = whorl()

    def absent(self) -> bool:
        self._emulator.finger = None
        return True

    def unplug(self) -> bool:
        self._emulator.unplug()
        return True

    def replug(self) -> None:
        self._emulator.plug()


@contextmanager
def libfprint(folder: Path) -> Iterator[Rig]:
    """The virtual scanner of libfprint itself."""
    with FprintEmulator(folder) as emulator:
        yield _FprintRig(emulator)


MakeRig = Callable[[Path], AbstractContextManager[Rig]]

RIGS: Final[dict[tuple[DeviceKind, str], MakeRig]] = {
    (DeviceKind.FINGERPRINT_SCANNER, "virtual"): virtual_scanner,
    (DeviceKind.FINGERPRINT_SCANNER, "zfm"): zfm,
    (DeviceKind.FINGERPRINT_SCANNER, "folder"): folder_scanner,
    (DeviceKind.FINGERPRINT_SCANNER, "sbi"): sbi,
    (DeviceKind.FINGERPRINT_SCANNER, "libfprint"): libfprint,
    (DeviceKind.CAMERA, "virtual"): virtual_camera,
    (DeviceKind.CAMERA, "opencv"): network_camera,
    (DeviceKind.CAMERA, "folder"): folder_camera,
    (DeviceKind.CAMERA, "sbi"): sbi_camera,
}


#: What is tried only where the system brings its library; tests/hardware/test_libfprint.py says how it is refused
#: elsewhere.
LIBFPRINT: Final = (DeviceKind.FINGERPRINT_SCANNER, "libfprint")


def here() -> dict[tuple[DeviceKind, str], MakeRig]:
    """Return the rigs that work on this machine: all of them, or all but libfprint's."""
    return {name: make for name, make in RIGS.items() if name != LIBFPRINT or fprint_is_here()}


def fprint_is_here() -> bool:
    """Return whether the system has libfprint, its introspection data, and PyGObject for this Python."""
    try:
        SCANNERS.load("libfprint")
    except PluginNotFoundError:
        return False
    return True
