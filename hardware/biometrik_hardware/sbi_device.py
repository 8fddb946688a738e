"""Devices behind MOSIP's Secure Biometric Interface: which there are, and which of them prove who they are.

What a service says when it is discovered is not signed and is for display only; before a device is used it is asked
for its signed information.

References
----------
MOSIP, *Secure Biometric Interface specification* (0.9.5): device discovery, device information, error codes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from biometrik.errors import InvalidInputError
from biometrik.imaging import read_file
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import DeviceAccessError, DeviceError, DeviceNotFoundError, DeviceProtocolError
from biometrik_hardware.jws import Trust, decoded
from biometrik_hardware.sbi_service import SbiService, answers

PORTS: Final = range(4501, 4601)
SPEC: Final = "0.9.5"
PURPOSE: Final = "Registration"
#: How long all ports, and one of them, are asked for when devices are discovered, seconds.
_DISCOVERY_S: Final = 1.5
_ANSWER_S: Final = 0.4


@dataclass(frozen=True, slots=True)
class SbiDevice:
    """One device of a service.

    Parameters
    ----------
    device_id : str
        The service's name of it.
    status : str
        "Ready" where it can be used.
    type : str
        "Finger", "Face" or "Iris".
    vendor, model, serial : str
        "" where it does not say.
    """

    device_id: str
    status: str
    type: str
    vendor: str
    model: str
    serial: str


def discovered(device_type: str, ports: range = PORTS) -> Iterator[tuple[str, SbiDevice]]:
    """Yield path and device of all services on this machine that say they have such a device."""
    deadline = Deadline(_DISCOVERY_S)
    for port in ports:
        if not answers(port, deadline):
            continue
        request = {"type": device_type, "specVersion": SPEC}
        try:
            found = SbiService(port).ask("MOSIPDISC", "/device", request, Deadline(_ANSWER_S))
        except (DeviceError, TimeoutError):
            continue  # something else listens there
        for row in _rows(found):
            device = _device(row, _unsigned(row.get("digitalId")))
            if device.type in (device_type, "") and row.get("purpose") in (PURPOSE, None, ""):
                yield (f"{port}/{device.serial}" if device.serial else str(port)), device


class SbiAccess:
    """The way to one device, and whom to believe.

    Parameters
    ----------
    path : str
        ``PORT`` or ``PORT/SERIAL``.
    device_type : str
        "Finger" or "Face".
    authorities : bytes, str or Path
        Certificates of those who certify devices, PEM, or the file that holds them. Without them nothing is believed
        and nothing opened.
    environment : str
        "Staging", "Developer", "Pre-Production" or "Production"; a device of another one is refused.

    Raises
    ------
    InvalidInputError
        Not such a path.
    """

    def __init__(self, path: str, device_type: str, authorities: bytes | str | Path, environment: str) -> None:
        port, _, serial = path.partition("/")
        if not port.isdecimal():
            raise InvalidInputError(f"path: expected PORT or PORT/SERIAL, got {path!r}")
        self.service, self.serial, self.environment = SbiService(int(port)), serial, environment
        self._type, self._authorities = device_type, authorities

    def trust(self, name: str) -> Trust:
        """Return whom to believe.

        Raises
        ------
        DeviceAccessError
            No authority was stated.
        InvalidInputError
            What was stated is none, or a file that cannot be read.
        """
        if not self._authorities:
            raise DeviceAccessError(f"{name}: expected authorities to believe, got none; state their certificates")
        given = self._authorities
        return Trust(given if isinstance(given, bytes) else read_file(given))

    def introduced(self, name: str, trust: Trust, deadline: Deadline) -> SbiDevice:
        """Return the device as it signs itself, ready to be used.

        Raises
        ------
        DeviceNotFoundError
            There is none of this type and serial number behind the port.
        DeviceAccessError
            It is not ready, or registered for another environment or purpose.
        DeviceProtocolError
            What it says is not signed by somebody who is believed.
        """
        request = {"type": self._type, "specVersion": SPEC}
        refused: DeviceProtocolError | None = None
        for row in _rows(self.service.ask("MOSIPDINFO", "/info", request, deadline)):
            try:
                info = trust.payload(row.get("deviceInfo", ""))
                device = _device(info, trust.payload(info.get("digitalId", "")))
            except DeviceProtocolError as error:
                refused = error
                continue
            if device.type != self._type or self.serial not in ("", device.serial):
                continue
            if (info.get("env"), info.get("purpose")) != (self.environment, PURPOSE):
                raise DeviceAccessError(
                    f"{name}: expected a device for {PURPOSE} in {self.environment}, got one that is registered for"
                    " something else"
                )
            if device.status != "Ready":
                raise DeviceAccessError(f"{name}: expected a device that is ready, got one that says otherwise")
            return device
        if refused is not None:
            raise refused
        raise DeviceNotFoundError(
            f"{name}: expected a {self._type.lower()} device behind this port, got none; plug it in"
        )


def serial_in(identity: dict[str, Any]) -> str:
    """Return the serial number of a digital id; "" where it has none."""
    return str(identity.get("serialNo", ""))[:64]


def error_of(answer: dict[str, Any]) -> str:
    """Return the error code of an answer; "0" where nothing went wrong."""
    error = answer.get("error")
    return str(error.get("errorCode", "0")) if isinstance(error, dict) else "0"


def _rows(answer: Any) -> list[dict[str, Any]]:
    rows = answer if isinstance(answer, list) else []
    return [row for row in rows if isinstance(row, dict) and error_of(row) == "0"]


def _device(row: dict[str, Any], identity: dict[str, Any]) -> SbiDevice:
    kind, vendor, model = (str(identity.get(name, ""))[:64] for name in ("type", "make", "model"))
    serial = serial_in(identity) or str(row.get("serialNo", ""))[:64]
    return SbiDevice(
        str(row.get("deviceId", ""))[:64], str(row.get("deviceStatus", ""))[:64], kind, vendor, model, serial
    )


def _unsigned(digital_id: object) -> dict[str, Any]:
    # Of a signed one the payload, of another the whole.
    parts = str(digital_id or "").split(".")
    try:
        value = json.loads(decoded(parts[1] if len(parts) == 3 else parts[0]))
    except (DeviceProtocolError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
