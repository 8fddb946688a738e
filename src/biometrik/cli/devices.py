"""The commands about scanners and cameras: devices list, info, capture, conform."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from typer import Argument, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import Output
from biometrik.cli.root import ERROR, INCONCLUSIVE, OK, Listing, app, command

if TYPE_CHECKING:
    from biometrik.fingers import FingerPosition
    from biometrik_hardware.conformance import Rig
    from biometrik_hardware.device import Device
    from biometrik_hardware.events import DeviceKind

_devices = typer.Typer(
    cls=Listing,
    help="Find scanners and cameras, try them, prove a driver.\n\n"
    "A device is named DRIVER:PATH, as [bold]biometrik devices[/] lists it: zfm:/dev/ttyUSB0, opencv:/dev/video0,"
    " opencv:rtsp://host/stream, sbi:4501, folder:/captures. Some drivers need an extra of the package;"
    " the list says which. docs/drivers.md tells how to write one.",
)
app.add_typer(_devices, name="devices")

_KINDS: Final = {"scanner": "FINGERPRINT_SCANNER", "camera": "CAMERA"}

Id = Annotated[str, Argument(metavar="DEVICE", help="DRIVER:PATH, e.g. zfm:/dev/ttyUSB0.")]


@dataclass(frozen=True, slots=True)
class Setup:
    """Which kind of device is meant, and what its driver cannot know."""

    kind: Annotated[
        Literal["scanner", "camera"] | None,
        Option("--kind", help="Where a driver of this name exists for both: folder, virtual."),
    ] = None
    ppi: Annotated[
        float | None, Option("--ppi", metavar="PPI", help="Pixels an inch of the scanner, as you measured it.")
    ] = None
    baud: Annotated[int | None, Option("--baud", metavar="RATE", help="Speed of a serial line, as it is set.")] = None
    authorities: Annotated[
        Path | None, Option("--authorities", metavar="PEM", help="Who certifies devices, for the driver sbi.")
    ] = None
    timeout: Annotated[
        float, Option("--timeout", metavar="SECONDS", min=0.001, max=3600.0, help="Deadline of a capture.")
    ] = 30.0

    def device(self, name: str) -> "Device":
        """Return the device of an id, closed.

        Raises
        ------
        BadParameter
            The kind has to be said, or the driver does not know an option.
        BiometrikError
            There is no such driver, or an extra that it needs is not installed.
        """
        from biometrik_hardware.inventory import device, driver

        kind = self._kind_of(name)
        options = self._options()
        unknown = options.keys() - _options_of(driver(kind, name.partition(":")[0]))
        if unknown:
            raise typer.BadParameter(
                f"the driver of {name.partition(':')[0]} does not know this option",
                param_hint=", ".join(f"--{option}" for option in sorted(unknown)),
            )
        return device(kind, name, **options)

    def _kind_of(self, name: str) -> "DeviceKind":
        from biometrik_hardware.events import DeviceKind
        from biometrik_hardware.inventory import REGISTRIES

        if self.kind is not None:
            return DeviceKind(_KINDS[self.kind])
        kinds = [kind for kind, registry in REGISTRIES.items() if name.partition(":")[0] in registry.names()]
        if len(kinds) > 1:
            raise typer.BadParameter("expected scanner or camera, because both have such a driver", param_hint="--kind")
        # A driver that there is not is refused by name, with those that there are.
        return kinds[0] if kinds else DeviceKind.FINGERPRINT_SCANNER

    def _options(self) -> dict[str, Any]:
        from biometrik.imaging import read_file

        given = {"ppi": self.ppi, "baud": self.baud}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if self.authorities is not None:
            options["authorities"] = read_file(self.authorities)
        return options


@command(_devices, name="list", example="biometrik devices", exits="0 ok")
def list_devices(*, output: Output) -> None:
    """List what is plugged in, and the drivers that there are; opens nothing.

    Folders, addresses and serial ports that no udev rule names are not found
    by looking: name them by hand to the other commands.
    """
    from biometrik.cli import schema
    from biometrik.cli.screens import devices as screen
    from biometrik_hardware.inventory import Inventory, drivers

    known, present = drivers(), Inventory().refresh()
    answer(
        "devices list",
        {"devices": [schema.device(info) for info in present], "drivers": [schema.driver(each) for each in known]},
        lambda console: screen.listed(console, present, known),
        as_json=output.json,
    )


@command(_devices, name="info", example="biometrik devices info opencv:/dev/video0", exits="0 it answers")
def device_info(device: Id, *, setup: Setup, output: Output) -> None:
    """Open a device, say what it is and can do, and close it."""
    from biometrik.cli import schema
    from biometrik.cli.screens import devices as screen
    from biometrik_hardware.camera.camera import Camera

    found = setup.device(device)
    mode = None
    with _opened(found, setup.timeout):
        if isinstance(found, Camera):
            mode = found.mode
    answer(
        "devices info",
        {"device": schema.device(found.info), "mode": None if mode is None else schema.mode(mode)},
        lambda console: screen.info(console, found.info, mode),
        as_json=output.json,
    )


@command(
    _devices,
    example="biometrik devices capture zfm:/dev/ttyUSB0 --output thumb.png --position right_thumb --ppi 508",
    exits="0 captured · 3 the device asks for another try",
)
def capture(
    device: Id,
    *,
    file: Annotated[
        Path, Option("--output", metavar="FILE", help="Where the image goes, a .png; readable by you only.")
    ],
    position: Annotated[
        str, Option("--position", metavar="FINGER", help="Which finger was asked for: right_thumb … left_little.")
    ] = "unknown",
    force: Annotated[bool, Option("--force", help="Replace a file that is there.")] = False,
    setup: Setup,
    output: Output,
) -> None:
    """Take one print or one picture and write it to a file, all of it or nothing.

    The image is biometric data: where it goes, and how long it stays, is yours
    to answer for.
    """
    from biometrik.cli import files, schema
    from biometrik.cli.screens import devices as screen
    from biometrik.errors import InvalidInputError
    from biometrik.imaging import encode_png
    from biometrik_hardware.fingerprint.scanner import FingerprintScanner
    from biometrik_hardware.outcomes import Retry

    if file.suffix.lower() != ".png":
        raise InvalidInputError(f"{file}: expected a name that ends in .png, which loses nothing, got another")
    files.refuse_to_replace(file, force=force)  # before somebody is asked for a finger
    finger = _finger(position)
    found = setup.device(device)
    with _opened(found, setup.timeout), screen.told(found, quiet=output.json):
        if isinstance(found, FingerprintScanner):
            taken = found.capture(timeout_s=setup.timeout, position=finger)
        else:
            taken = _frame(found, setup.timeout)
    if isinstance(taken, Retry):
        answer(
            "devices capture",
            {"retry": schema.retry(taken, output.locale), "file": None},
            lambda console: screen.retry(console, taken, output.locale),
            as_json=output.json,
            code=INCONCLUSIVE,
        )
        return
    ppi = getattr(taken, "ppi", None)
    files.write(file, encode_png(taken.pixels, ppi=ppi), force=force)
    height, width = taken.pixels.shape[:2]
    answer(
        "devices capture",
        {"retry": None, "file": str(file), "width_px": width, "height_px": height, "ppi": ppi},
        lambda console: screen.captured(console, file, width, height),
        as_json=output.json,
    )


@command(
    _devices,
    example="biometrik devices conform zfm:/dev/ttyUSB0 --ppi 508[/]\n\n"
    "         [bold cyan]biometrik devices conform virtual --kind scanner",
    exits="0 it conforms · 4 it does not",
)
def conform(
    device: Annotated[
        str, Argument(metavar="DRIVER", help="DRIVER:PATH of a device, or virtual for a run without hardware.")
    ],
    *,
    setup: Setup,
    output: Output,
) -> None:
    """Put a device into every situation that its driver must cope with, and say what it does.

    You are asked to place a finger, to take it away, and to pull the cable;
    what you cannot do, say no to, and those checks are left out. --timeout is
    how long you have for each step. This needs a terminal; virtual does not.
    """
    from biometrik.cli import schema
    from biometrik.cli.screens import devices as screen
    from biometrik_hardware.conformance import conform as conformed

    with _rig(device, setup) as rig:
        verdicts = conformed(rig, timeout_s=5.0 if device == "virtual" else setup.timeout)
    passed = all(verdict.passed for verdict in verdicts)
    answer(
        "devices conform",
        {"device": device, "passed": passed, "checks": [schema.verdict(verdict) for verdict in verdicts]},
        lambda console: screen.verdicts(console, verdicts),
        as_json=output.json,
        code=OK if passed else ERROR,
    )


@contextmanager
def _rig(name: str, setup: Setup) -> Iterator["Rig"]:
    if name != "virtual":
        from biometrik.cli.screens import devices as screen

        if not screen.attended():
            raise typer.BadParameter(
                f"{name} needs a person at a terminal, who places a finger and pulls the cable; run this in a terminal",
                param_hint="DRIVER",
            )
        yield screen.RigByHand(lambda: setup.device(name))
        return
    from biometrik_hardware.virtual_rig import VirtualCameraRig, VirtualScannerRig, plain_frame, plain_print

    rig = (
        VirtualCameraRig("conform", plain_frame)
        if setup.kind == "camera"
        else VirtualScannerRig("conform", plain_print)
    )
    with rig:
        yield rig


@contextmanager
def _opened(device: "Device", timeout_s: float) -> Iterator[None]:
    device.open(timeout_s=timeout_s)
    try:
        yield
    finally:
        device.close()


def _frame(device: "Device", timeout_s: float) -> Any:
    from biometrik_hardware.camera.camera import Camera

    assert isinstance(device, Camera)
    return device.read(timeout_s=timeout_s)


def _finger(name: str) -> "FingerPosition":
    from biometrik.fingers import FingerPosition

    try:
        return FingerPosition[name.upper().replace("-", "_")]
    except KeyError:
        known = ", ".join(p.name.lower() for p in FingerPosition if 0 <= p <= 10)
        raise typer.BadParameter(f"expected one of {known}, got {name!r}", param_hint="--position") from None


def _options_of(driver: "type[Device]") -> set[str]:
    import inspect

    return set(inspect.signature(driver.__init__).parameters)
