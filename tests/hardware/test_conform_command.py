"""``biometrik devices conform``, as a vendor runs it, with each driver that has another side.

Somebody is there who does what is asked. Virtual devices are run in tests/unit/test_cli_devices.py.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from biometrik.cli import app
from biometrik.cli.screens import devices as screen
from biometrik_hardware import conformance
from biometrik_hardware.conformance import Rig
from biometrik_hardware.device import Device
from tests.hardware_emulators.rigs import RIGS, VendorProgram, here
from tests.hardware_emulators.sbi import vendor

HERE = [(kind, name) for kind, name in here() if name != "virtual"]


@pytest.fixture(params=HERE, ids=[f"{kind.value}-{name}" for kind, name in HERE])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A rig for each driver."""
    with RIGS[request.param](tmp_path) as made:
        yield made


def obliging(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have somebody there who does what the command asks of a person."""

    def prompt(what: str, **_: Any) -> str:
        act = next(act for words, act in acts.items() if what.startswith(words))
        act()
        return ""

    acts = {"Place a finger": rig.present, "Take the finger away": rig.absent, "Plug the cable": rig.replug}
    monkeypatch.setattr(screen, "attended", lambda: True)
    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr(typer, "confirm", lambda what, **_: rig.unplug())


def options(device: Device, folder: Path) -> list[str]:
    words = ["--kind", "camera" if device.info.kind.value == "CAMERA" else "scanner", "--timeout", "2", "--json"]
    if device.driver == "sbi":
        file = folder / "authorities.pem"
        file.write_bytes(vendor()[0].pem)
        words += ["--authorities", str(file)]
    if device.driver == "libfprint":
        words += ["--ppi", "500"]
    return words


def test_a_vendor_runs_the_suite_by_hand(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = rig.device()
    monkeypatch.setattr(VendorProgram, "every_s", 0.4)  # longer than a file has to rest, unless it is said
    rig.present()
    obliging(rig, monkeypatch)
    result = CliRunner().invoke(app, ["devices", "conform", device.info.id, *options(device, tmp_path)])
    found = json.loads(result.stdout)
    assert [row for row in found["checks"] if not row["passed"]] == []
    assert result.exit_code == 0
    assert len(found["checks"]) == len(conformance.CHECKS)
