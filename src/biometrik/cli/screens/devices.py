"""What the commands about devices show, and what they ask of the person who proves a driver."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from biometrik.reasons import Locale
from biometrik_hardware.camera.camera import CameraMode
from biometrik_hardware.conformance import Verdict
from biometrik_hardware.device import Device
from biometrik_hardware.events import DeviceEvent, DeviceInfo, DeviceKind, EventKind
from biometrik_hardware.inventory import DriverStatus
from biometrik_hardware.outcomes import Retry

_KINDS: Final = {DeviceKind.FINGERPRINT_SCANNER: "scanner", DeviceKind.CAMERA: "camera"}


def listed(console: Console, present: Sequence[DeviceInfo], known: Sequence[DriverStatus]) -> None:
    """Show what is plugged in, and the drivers with what they lack."""
    if present:
        table = Table("device", "kind", "vendor", "model", "ppi", box=None, pad_edge=False)
        for info in present:
            ppi = "" if info.ppi is None else f"{info.ppi:g}"
            table.add_row(*map(Text, (info.id, _KINDS[info.kind], info.vendor, info.model, ppi)))
        console.print(table)
    else:
        console.print("No device was found by looking. Name one by hand: biometrik devices info DRIVER:PATH")
    console.print()
    table = Table("driver", "kind", "", box=None, pad_edge=False)
    for each in known:
        state = Text(each.needs, style="yellow") if each.needs else Text("ready", style="green")
        table.add_row(Text(each.name), _KINDS[each.kind], state)
    console.print(table)


def info(console: Console, found: DeviceInfo, mode: CameraMode | None) -> None:
    """Show what a device is and can do."""
    rows = {
        "device": found.id,
        "kind": _KINDS[found.kind],
        "vendor": found.vendor,
        "model": found.model,
        "serial": found.serial,
        "resolution": "" if found.ppi is None else f"{found.ppi:g} ppi",
        "positions": ", ".join(position.name.lower() for position in found.positions),
        "features": ", ".join(sorted(feature.value.lower() for feature in found.features)),
        "delivers": "" if mode is None else f"{mode.width_px} × {mode.height_px} px, {mode.fps:g} frames a second",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, style="bold"), Text(value))
    console.print(table)
    console.print(Text("It was opened, and answers.", style="green"))


@contextmanager
def told(device: Device, *, quiet: bool) -> Iterator[None]:
    """Tell the person on standard error what the device waits for, during a block."""

    def tell(event: DeviceEvent) -> None:
        if event.kind is EventKind.CAPTURE_STARTED and not quiet:
            Console(stderr=True).print("Place the finger on the scanner, and leave it there.")

    end = device.subscribe(tell)
    try:
        yield
    finally:
        end()


def retry(console: Console, asked: Retry, locale: Locale) -> None:
    """Show why the finger should be presented again."""
    console.print(Text.assemble((f"{asked.reason.value} ", "bold yellow"), asked.reason.text(locale)))


def captured(console: Console, file: Path, width_px: int, height_px: int) -> None:
    """Show where the image went."""
    console.print(Text(f"{width_px} × {height_px} px in {file}"))


def verdicts(console: Console, found: Sequence[Verdict]) -> None:
    """Show what each check of the conformance suite found."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for verdict in found:
        left_out = verdict.passed and bool(verdict.detail)
        sign = Text("–", "yellow") if left_out else Text("✓", "green") if verdict.passed else Text("✗", "bold red")
        table.add_row(sign, Text(verdict.check.replace("_", " ")), Text(verdict.detail))
    console.print(table)
    failed = sum(not verdict.passed for verdict in found)
    skipped = sum(verdict.passed and bool(verdict.detail) for verdict in found)
    passed = len(found) - failed - skipped
    console.print(Text(f"{passed} passed, {failed} failed, {skipped} left out", style="red" if failed else "green"))


def attended() -> bool:
    """Return whether somebody sits at a terminal and can be asked."""
    return sys.stdin.isatty()


class RigByHand:
    """The conformance suite's rig with a person for hands: asks on standard error, in few words.

    Parameters
    ----------
    make : callable
        Gives the device, closed.
    """

    def __init__(self, make: Callable[[], Device]) -> None:
        self._make = make
        self._is_there: bool | None = None
        self._is_plugged = True

    def device(self) -> Device:
        """Return the device, closed."""
        return self._make()

    def present(self) -> None:
        """Have the finger placed, if it is not there."""
        if self._is_there is not True:
            self._wait("Place a finger on the scanner and leave it there, or let the camera see something")
        self._is_there = True

    def absent(self) -> bool:
        """Have the finger taken away; a camera cannot but see."""
        if self._make().info.kind is DeviceKind.CAMERA:
            return False
        if self._is_there is not False:
            self._wait("Take the finger away")
        self._is_there = False
        return True

    def unplug(self) -> bool:
        """Have the cable pulled, if it can be."""
        self._is_plugged = not typer.confirm("Pull the cable now. Is it out?", err=True)
        return not self._is_plugged

    def replug(self) -> None:
        """Have the cable plugged in, if it is not."""
        if not self._is_plugged:
            self._wait("Plug the cable in again")
        self._is_plugged = True

    @staticmethod
    def _wait(what: str) -> None:
        typer.prompt(f"{what}, then press Enter", default="", show_default=False, prompt_suffix=" ", err=True)
