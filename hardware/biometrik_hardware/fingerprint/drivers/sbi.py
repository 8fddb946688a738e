"""Scanners behind MOSIP's Secure Biometric Interface, so every scanner that is certified for it (extra ``sbi``).

The vendor's service listens on this machine (ports 4501 to 4600) and speaks HTTP with verbs of its own. What it
captures is signed by the device, and believed only when the signature leads to an authority that the caller trusts.
The path is ``PORT`` or ``PORT/SERIAL``.

References
----------
MOSIP, *Secure Biometric Interface specification* (0.9.5): device information, registration capture, error codes.
"""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from biometrik.errors import BiometrikError
from biometrik.finger_imaging import decode_print
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.formats import iso19794_4
from biometrik.formats.image_record import ImageCoding
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.errors import (
    DeviceAccessError,
    DeviceError,
    DeviceGoneError,
    DeviceProtocolError,
)
from biometrik_hardware.events import DeviceInfo, Feature
from biometrik_hardware.fingerprint.scanner import SINGLE_FINGERS, FingerprintScanner, Taken
from biometrik_hardware.jws import decoded
from biometrik_hardware.outcomes import Retry, RetryReason
from biometrik_hardware.sbi_device import PURPOSE, SPEC, SbiAccess, discovered, error_of, serial_in
from biometrik_hardware.sbi_service import now

_TYPE: Final = "Finger"
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
    authorities : bytes, str or Path
        Certificates of those who certify devices, PEM, or the file that holds them. Without them nothing is believed
        and nothing opened.
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
        authorities: bytes | str | Path = b"",
        environment: str = "Production",
        wanted_quality: float = 60.0,
        **device: Any,
    ) -> None:
        super().__init__(replace(info, features=info.features | {Feature.SIGNED}), **device)
        self._access = SbiAccess(info.path, _TYPE, authorities, environment)
        self._wanted_quality = wanted_quality

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield the finger scanners of all services on this machine."""
        for path, found in discovered(_TYPE):
            yield DeviceInfo(
                cls.driver,
                path,
                cls.kind,
                found.vendor,
                found.model,
                found.serial,
                positions=SINGLE_FINGERS,
                features=frozenset({Feature.SIGNED}),
            )

    def _open(self, deadline: Deadline) -> None:
        self._trust = self._access.trust(self.info.id)
        self._found = self._access.introduced(self.info.id, self._trust, deadline)

    def _close(self) -> None:
        pass

    def _read(self, position: FingerPosition, deadline: Deadline) -> Taken | None:
        while True:
            transaction = str(uuid.uuid4())
            answer = self._access.service.ask(
                "RCAPTURE", "/capture", self._request(position, transaction, deadline), deadline
            )
            capture = _first(answer, "biometrics")
            code = error_of(capture)
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
            "env": self._access.environment,
            "purpose": PURPOSE,
            "specVersion": SPEC,
            "timeout": max(1, int(1000 * (deadline.remaining_s - _WAY_BACK_S))),
            "captureTime": now(),
            "transactionId": transaction,
            "bio": [
                {
                    "type": _TYPE,
                    "count": 1,
                    "bioSubType": [_SUBTYPES[position]],
                    "exception": [],
                    "requestedScore": self._wanted_quality,
                    "deviceId": self._found.device_id,
                    "serialNo": self._found.serial,
                    "deviceSubId": "0",
                    "previousHash": _EMPTY_HASH.hex().upper(),
                }
            ],
            "customOpts": [],
        }

    def _image(self, signed: dict[str, Any], capture: dict[str, Any], transaction: str) -> FingerprintImage:
        # An old answer, or one that was made for somebody else, is signed just as well.
        wanted = {"transactionId": transaction, "bioType": _TYPE, "purpose": PURPOSE, "env": self._access.environment}
        for name, value in wanted.items():
            if signed.get(name) != value:
                raise DeviceProtocolError(f"{self.info.id}: expected an answer to this request, got another {name}")
        if serial_in(self._trust.payload(signed.get("digitalId", ""))) != self._found.serial:
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


def _first(answer: Any, name: str) -> dict[str, Any]:
    captures = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(captures, list) or not captures or not isinstance(captures[0], dict):
        raise DeviceProtocolError("answer: expected a capture, got none")
    return captures[0]


DRIVER = SbiScanner
