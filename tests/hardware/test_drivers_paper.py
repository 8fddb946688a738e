"""The worked example of docs/drivers.md conforms, and its tables name the drivers that there are."""

import re
import select
import socket
import struct
import threading
import types
from pathlib import Path
from typing import Any, Final

import pytest

from biometrik_hardware.camera.camera import CAMERAS
from biometrik_hardware.conformance import conform
from biometrik_hardware.device import Device
from biometrik_hardware.errors import DeviceProtocolError
from biometrik_hardware.fingerprint.scanner import SCANNERS
from biometrik_hardware.outcomes import Retry, RetryReason
from tests.hardware_emulators.rigs import ridges

PAPER: Final = next(p for p in Path(__file__).parents if (p / "pyproject.toml").is_file()) / "docs" / "drivers.md"


class AcmeEmulator:
    """The ACME N1 on loopback."""

    def __init__(self) -> None:
        self.answer: bytes | None = self.image()
        self._server: socket.socket | None = None
        self.port = 0
        self.plug()

    @staticmethod
    def image() -> bytes:
        pixels = ridges(60, 50)
        return struct.pack(">HH", 50, 60) + pixels.tobytes()

    def plug(self) -> None:
        if self._server is None:
            self._server = socket.create_server(("127.0.0.1", self.port))
            self.port = self._server.getsockname()[1]
            self._ended = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._server,), daemon=True)
            self._thread.start()

    def unplug(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            self._ended.set()
            self._thread.join()
            server.close()

    def _run(self, server: socket.socket) -> None:
        lines: dict[socket.socket, bool] = {}  # whether it waits for a finger
        while not self._ended.is_set():
            for ready in select.select([server, *lines], [], [], 0.005)[0]:
                if ready is server:
                    lines[server.accept()[0]] = False
                elif ready.recv(1):
                    lines[ready] = True
                else:
                    del lines[ready]
                    ready.close()
            for line in [line for line, waits in lines.items() if waits and self.answer is not None]:
                line.sendall(self.answer or b"")
                lines[line] = False
        for line in lines:
            line.close()


class AcmeRig:
    """The example's driver, and the other side of it."""

    def __init__(self, driver: type[Device], emulator: AcmeEmulator) -> None:
        self._driver, self._emulator = driver, emulator

    def device(self) -> Device:
        return self._driver.at(f"127.0.0.1:{self._emulator.port}")

    def present(self) -> None:
        self._emulator.answer = self._emulator.image()

    def absent(self) -> bool:
        self._emulator.answer = None
        return True

    def unplug(self) -> bool:
        self._emulator.unplug()
        return True

    def replug(self) -> None:
        self._emulator.plug()


@pytest.fixture(scope="module")
def driver() -> Any:
    """The class of the first block of code in the paper."""
    (code, *_) = re.findall(r"```python\n(.*?)```", PAPER.read_text("utf-8"), re.DOTALL)
    module = types.ModuleType("acme_n1")
    exec(compile(code, str(PAPER), "exec"), module.__dict__)
    assert len([line for line in code.splitlines() if line.strip()]) < 80  # an hour's work
    return module.DRIVER


def test_the_worked_example_conforms(driver: Any) -> None:
    emulator = AcmeEmulator()
    try:
        assert [v for v in conform(AcmeRig(driver, emulator), timeout_s=2.0) if not v.passed] == []
    finally:
        emulator.unplug()


def test_the_worked_example_says_what_is_wrong(driver: Any) -> None:
    emulator = AcmeEmulator()
    try:
        with driver.at(f"127.0.0.1:{emulator.port}") as device:
            emulator.answer = struct.pack(">HH", 0, 0)
            assert device.capture(timeout_s=1.0) == Retry(RetryReason.KEEP_STILL)
            emulator.answer = struct.pack(">HH", 50_000, 2)
            with pytest.raises(DeviceProtocolError, match="1024"):
                device.capture(timeout_s=1.0)
            emulator.answer = struct.pack(">HH", 50, 60) + b"x"
            with pytest.raises(DeviceProtocolError, match="part"):
                device.capture(timeout_s=0.2)
    finally:
        emulator.unplug()


def test_every_driver_is_in_the_table() -> None:
    text = PAPER.read_text("utf-8")
    for kind, registry in (("scanner", SCANNERS), ("camera", CAMERAS)):
        assert [name for name in registry.names() if f"{kind} `{name}`" not in text] == []
