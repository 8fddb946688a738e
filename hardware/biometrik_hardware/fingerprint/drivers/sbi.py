"""Scanners behind MOSIP's Secure Biometric Interface, so every scanner that is certified for it (extra ``sbi``).

The vendor's service listens on this machine (ports 4501 to 4600) and speaks HTTP with verbs of its own. What it
captures is signed by the device, and believed only when the signature leads to an authority that the caller trusts.
The path is ``PORT`` or ``PORT/SERIAL``.

References
----------
MOSIP, *Secure Biometric Interface specification* (0.9.5): device discovery, registration capture, error codes.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from biometrik.errors import BiometrikError, InvalidInputError
from biometrik.finger_imaging import decode_print
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.formats import iso19794_4
from biometrik.formats.image_record import ImageCoding
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import (
    DeviceAccessError,
    DeviceError,
    DeviceGoneError,
    DeviceNotFoundError,
    DeviceProtocolError,
)
from biometrik_hardware.events import DeviceInfo, Feature
from biometrik_hardware.fingerprint.scanner import SINGLE_FINGERS, FingerprintScanner, Taken
from biometrik_hardware.jws import Trust, decoded
from biometrik_hardware.outcomes import Retry, RetryReason
from biometrik_hardware.sbi_service import SbiService, answers, now

PORTS: Final = range(4501, 4601)
_SPEC: Final = "0.9.5"
_PURPOSE: Final = "Registration"
_EMPTY_HASH: Final = hashlib.sha256(b"").digest()
#: The service is to answer before the deadline, to leave time for the way back, seconds.
_WAY_BACK_S: Final = 0.15
#: Before a service that saw no finger is asked again, seconds.
_AGAIN_S: Final = 0.1
_SUBTYPES: Final = {
    FingerPosition.UNKNOWN: "UNKNOWN",
    **{
        FingerPosition(first + index): f"{hand} {finger}"
        for first, hand in ((1, "Right"), (6, "Left"))
        for index, finger in enumerate(("Thumb", "IndexFinger", "MiddleFinger", "RingFinger", "LittleFinger"))
    },
}
_NOTHING_THERE: Final = "101"
_RETRIES: Final = {"102": RetryReason.TRANSFER_FAILED, "105": RetryReason.CENTRE_FINGER}
_REFUSALS: Final[dict[str, tuple[type[DeviceError], str]]] = {
    "103": (DeviceAccessError, "a device that is whole, got one that was tampered with"),
    "106": (DeviceGoneError, "a device that is plugged in, got none"),
    "107": (DeviceAccessError, "a device key in force, got one that expired; register the device anew"),
}


class SbiScanner(FingerprintScanner):
    """See the module docstring.

    Parameters
    ----------
    info : DeviceInfo
        Which port, and which device behind it.
    authorities : bytes
        Certificates of those who certify devices, PEM. Without them nothing is believed and nothing opened.
    environment : str
        "Staging", "Developer", "Pre-Production" or "Production"; a device of another one is refused.
    wanted_quality : float
        0..100, at which the service captures by itself; at the deadline it gives the best that there was.
    """

    driver = "sbi"

    def __init__(
        self,
        info: DeviceInfo,
        *,
        authorities: bytes = b"",
        environment: str = "Production",
        wanted_quality: float = 60.0,
        **device: Any,
    ) -> None:
        super().__init__(replace(info, features=info.features | {Feature.SIGNED}), **device)
        port, _, serial = info.path.partition("/")
        if not port.isdecimal():
            raise InvalidInputError(f"path: expected PORT or PORT/SERIAL, got {info.path!r}")
        self._service, self._serial = SbiService(int(port)), serial
        self._authorities, self._environment, self._wanted_quality = authorities, environment, wanted_quality

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield the finger scanners of all services on this machine."""
        deadline = Deadline(1.5)
        for port in PORTS:
            if not answers(port, deadline):
                continue
            try:
                yield from (_info(port, found) for found in _discovered(SbiService(port), Deadline(0.4)))
            except (DeviceError, TimeoutError):
                continue  # something else listens there

    def _open(self, deadline: Deadline) -> None:
        if not self._authorities:
            raise DeviceAccessError(
                f"{self.info.id}: expected authorities to believe, got none; state their certificates"
            )
        self._trust = Trust(self._authorities)
        found = [d for d in _discovered(self._service, deadline) if self._serial in ("", _serial_of(d))]
        if not found:
            raise DeviceNotFoundError(
                f"{self.info.id}: expected a finger scanner behind this port, got none; plug it in"
            )
        self._found = found[0]
        status = self._found.get("deviceStatus")
        if status != "Ready":
            raise DeviceAccessError(f"{self.info.id}: expected a device that is ready, got one that says otherwise")

    def _close(self) -> None:
        pass

    def _read(self, position: FingerPosition, deadline: Deadline) -> Taken | None:
        while True:
            transaction = str(uuid.uuid4())
            answer = self._service.ask("RCAPTURE", "/capture", self._request(position, transaction, deadline), deadline)
            capture = _first(answer, "biometrics")
            code = _error_of(capture)
            if code != _NOTHING_THERE:
                break
            if not deadline.wait(_AGAIN_S):
                return None
        if code in _RETRIES:
            return Retry(_RETRIES[code])
        if code != "0":
            kind, what = _REFUSALS.get(code, (DeviceProtocolError, "an image, got an error of the service"))
            raise kind(f"{self.info.id}: expected {what} (code {code[:8]})")
        return self._image(self._trust.payload(capture.get("data", "")), capture, transaction)

    def _request(self, position: FingerPosition, transaction: str, deadline: Deadline) -> dict[str, Any]:
        return {
            "env": self._environment,
            "purpose": _PURPOSE,
            "specVersion": _SPEC,
            "timeout": max(1, int(1000 * (deadline.remaining_s - _WAY_BACK_S))),
            "captureTime": now(),
            "transactionId": transaction,
            "bio": [
                {
                    "type": "Finger",
                    "count": 1,
                    "bioSubType": [_SUBTYPES[position]],
                    "exception": [],
                    "requestedScore": self._wanted_quality,
                    "deviceId": str(self._found.get("deviceId", "")),
                    "serialNo": _serial_of(self._found),
                    "deviceSubId": "0",
                    "previousHash": _EMPTY_HASH.hex().upper(),
                }
            ],
            "customOpts": [],
        }

    def _image(self, signed: dict[str, Any], capture: dict[str, Any], transaction: str) -> FingerprintImage:
        # An old answer, or one that was made for somebody else, is signed just as well.
        wanted = {"transactionId": transaction, "bioType": "Finger", "purpose": _PURPOSE, "env": self._environment}
        for name, value in wanted.items():
            if signed.get(name) != value:
                raise DeviceProtocolError(f"{self.info.id}: expected an answer to this request, got another {name}")
        if self._serial and _serial_in(self._trust.payload(signed.get("digitalId", ""))) != self._serial:
            raise DeviceProtocolError(f"{self.info.id}: expected an image of this device, got one of another")
        record = decoded(signed.get("bioValue", ""))
        chained = hashlib.sha256(_EMPTY_HASH + hashlib.sha256(record).digest()).hexdigest()
        if str(capture.get("hash", "")).lower() != chained:
            raise DeviceProtocolError(f"{self.info.id}: expected the hash of this image, got another")
        try:
            view = iso19794_4.read(record, strict=False).views[0]
            if view.coding is ImageCoding.RAW:
                return view.image()
            return decode_print(view.data, ppi=view.ppi[0], position=view.position, impression=view.impression)
        except (BiometrikError, IndexError) as error:
            raise DeviceProtocolError(
                f"{self.info.id}: expected an ISO/IEC 19794-4 image, got another record"
            ) from error


def _discovered(service: SbiService, deadline: Deadline) -> list[dict[str, Any]]:
    answer = service.ask("MOSIPDISC", "/device", {"type": "Finger", "specVersion": _SPEC}, deadline)
    found = [d for d in answer if isinstance(d, dict) and _error_of(d) == "0"] if isinstance(answer, list) else []
    return [
        d for d in found if _identity(d).get("type") in ("Finger", None) and d.get("purpose") in (_PURPOSE, None, "")
    ]


def _info(port: int, found: dict[str, Any]) -> DeviceInfo:
    identity = _identity(found)
    vendor, model = (str(identity.get(name, ""))[:64] for name in ("make", "model"))
    serial = _serial_of(found)
    path = f"{port}/{serial}" if serial else str(port)
    return DeviceInfo(
        SbiScanner.driver,
        path,
        SbiScanner.kind,
        vendor,
        model,
        serial,
        positions=SINGLE_FINGERS,
        features=frozenset({Feature.SIGNED}),
    )


def _identity(found: dict[str, Any]) -> dict[str, Any]:
    # Discovery is not signed: what it says is for display only.
    try:
        value = json.loads(decoded(str(found.get("digitalId", "")).split(".")[0]))
    except (DeviceProtocolError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _serial_of(found: dict[str, Any]) -> str:
    return str(found.get("serialNo") or _serial_in(_identity(found)))[:64]


def _serial_in(identity: dict[str, Any]) -> str:
    return str(identity.get("serialNo", ""))[:64]


def _first(answer: Any, name: str) -> dict[str, Any]:
    captures = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(captures, list) or not captures or not isinstance(captures[0], dict):
        raise DeviceProtocolError("answer: expected a capture, got none")
    return captures[0]


def _error_of(answer: dict[str, Any]) -> str:
    error = answer.get("error")
    return str(error.get("errorCode", "0")) if isinstance(error, dict) else "0"


DRIVER = SbiScanner
