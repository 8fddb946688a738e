"""Scanners behind the Secure Biometric Interface: what is believed, and what is not."""

import json
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik_hardware.errors import (
    CaptureTimeoutError,
    DeviceAccessError,
    DeviceError,
    DeviceGoneError,
    DeviceNotFoundError,
    DeviceProtocolError,
)
from biometrik_hardware.fingerprint.drivers.sbi import SbiScanner
from biometrik_hardware.jws import Trust
from biometrik_hardware.outcomes import Retry, RetryReason
from biometrik_hardware.sbi_device import discovered
from tests.hardware_emulators.rigs import wave_of
from tests.hardware_emulators.sbi import SERIAL, SbiEmulator, Signer, encoded, vendor

THUMB = FingerPosition.LEFT_THUMB


@pytest.fixture
def emulator() -> Iterator[SbiEmulator]:
    """A service with a finger on its scanner."""
    with SbiEmulator() as made:
        made.finger = wave_of(THUMB)
        yield made


def scanner(emulator: SbiEmulator, serial: str = SERIAL, **options: Any) -> SbiScanner:
    return SbiScanner.at(f"{emulator.port}/{serial}", **({"authorities": vendor()[0].pem} | options))


def test_a_signed_image_is_captured(emulator: SbiEmulator) -> None:
    with scanner(emulator, wanted_quality=45.0) as device:
        taken = device.capture(timeout_s=3.0, position=THUMB)
    assert isinstance(taken, FingerprintImage)
    np.testing.assert_array_equal(taken.pixels, wave_of(THUMB).pixels)
    assert taken.ppi == pytest.approx(500.0, abs=0.5)
    (request,) = emulator.requests
    assert request["bio"][0]["bioSubType"] == ["Left Thumb"]
    assert request["bio"][0]["requestedScore"] == 45.0
    assert 2000 < request["timeout"] < 3000


def test_devices_are_discovered_on_their_ports(emulator: SbiEmulator) -> None:
    ports = range(emulator.port, emulator.port + 1)
    ((path, found),) = discovered("Finger", ports)
    assert (path, found.vendor, found.model, found.serial) == (f"{emulator.port}/{SERIAL}", "Test", "One", SERIAL)
    assert list(discovered("Face", ports)) == []
    emulator.damage = lambda body: b"<html>"
    assert list(discovered("Finger", ports)) == []


@pytest.mark.parametrize("name", ["transactionId", "bioType", "purpose", "env", "bioValue", "digitalId"])
@pytest.mark.parametrize("value", [None, "", "other"])
def test_an_answer_that_is_not_to_this_request_is_refused(emulator: SbiEmulator, name: str, value: Any) -> None:
    emulator.alter = lambda payload: payload.update({name: value})
    with scanner(emulator) as device, pytest.raises(DeviceProtocolError):
        device.capture(timeout_s=2.0)


def test_an_old_answer_is_refused(emulator: SbiEmulator) -> None:
    kept: list[str] = []

    def replay(capture: dict[str, Any]) -> None:
        kept.append(capture["data"])
        capture["data"] = kept[0]

    emulator.forge = replay
    with scanner(emulator) as device:
        device.capture(timeout_s=2.0)
        with pytest.raises(DeviceProtocolError, match="transactionId"):
            device.capture(timeout_s=2.0)


@pytest.mark.parametrize("data", ["", "a.b", "a.b.c", "...", None, 7, "e30.e30.", "W10.W10.AAAA"])
def test_what_is_not_signed_is_refused(emulator: SbiEmulator, data: Any) -> None:
    emulator.forge = lambda capture: capture.update({"data": data})
    with scanner(emulator) as device, pytest.raises(DeviceProtocolError):
        device.capture(timeout_s=2.0)


def test_an_image_whose_hash_does_not_fit_is_refused(emulator: SbiEmulator) -> None:
    emulator.forge = lambda capture: capture.update({"hash": "0" * 64})
    with scanner(emulator) as device, pytest.raises(DeviceProtocolError, match="hash"):
        device.capture(timeout_s=2.0)


def test_an_image_of_another_device_is_refused(emulator: SbiEmulator) -> None:
    _, device_key = vendor()
    emulator.alter = lambda payload: payload.update({"digitalId": device_key.token({"serialNo": "other"})})
    with scanner(emulator) as device, pytest.raises(DeviceProtocolError, match="another"):
        device.capture(timeout_s=2.0)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("103", DeviceAccessError), ("106", DeviceGoneError), ("107", DeviceAccessError), ("501", DeviceProtocolError)],
)
def test_error_codes_are_put_into_our_words(emulator: SbiEmulator, code: str, expected: type[DeviceError]) -> None:
    emulator.code = code
    with scanner(emulator) as device, pytest.raises(expected, match=code):
        device.capture(timeout_s=2.0)


def test_codes_that_mean_try_again_and_nobody(emulator: SbiEmulator) -> None:
    with scanner(emulator) as device:
        emulator.code = "105"
        assert device.capture(timeout_s=2.0) == Retry(RetryReason.CENTRE_FINGER)
        emulator.code = "101"
        with pytest.raises(CaptureTimeoutError):
            device.capture(timeout_s=0.4)
        assert len(emulator.requests) > 2  # asked again while there was time


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("env", "Developer", DeviceAccessError),
        ("env", "None", DeviceAccessError),
        ("purpose", "Auth", DeviceAccessError),
        ("deviceStatus", "Not Registered", DeviceAccessError),
        ("digitalId", "e30", DeviceProtocolError),
        ("digitalId", None, DeviceProtocolError),
    ],
)
def test_a_device_that_does_not_prove_to_be_the_one_wanted_is_not_opened(
    emulator: SbiEmulator, name: str, value: Any, expected: type[DeviceError]
) -> None:
    emulator.alter_info = lambda info: info.update({name: value})
    with pytest.raises(expected):
        scanner(emulator).open()


def test_a_device_whose_information_is_forged_is_not_opened(emulator: SbiEmulator) -> None:
    stranger = Signer("stranger", authority=True)
    with pytest.raises(DeviceProtocolError, match="trusted"):
        scanner(emulator, authorities=stranger.pem).open()


def test_authorities_may_be_a_file(emulator: SbiEmulator, tmp_path: Path) -> None:
    file = tmp_path / "authorities.pem"
    file.write_bytes(vendor()[0].pem)
    with scanner(emulator, authorities=str(file)) as device:  # as a station's settings name it
        assert isinstance(device.capture(timeout_s=2.0), FingerprintImage)


def test_without_authorities_nothing_is_opened(emulator: SbiEmulator) -> None:
    with pytest.raises(DeviceAccessError, match="authorities"):
        scanner(emulator, authorities=b"").open()
    with pytest.raises(InvalidInputError, match="PEM"):
        Trust(b"no certificate")


def test_a_device_that_is_not_there_or_not_ready(emulator: SbiEmulator) -> None:
    with pytest.raises(DeviceNotFoundError):
        scanner(emulator, serial="other").open()
    emulator.status = "Busy"
    with pytest.raises(DeviceAccessError, match="ready"):
        scanner(emulator).open()
    emulator.unplug()
    with pytest.raises(DeviceGoneError):
        scanner(emulator).open()
    for path in ("x", "70000", "0"):
        with pytest.raises(InvalidInputError):
            SbiScanner.at(path)


def test_who_is_believed() -> None:
    root, device = vendor()
    payload = {"a": 1}
    trust = Trust(root.pem)
    assert trust.payload(device.token(payload)) == payload
    middle = Signer("middle", root, authority=True)
    assert trust.payload(Signer("leaf", middle).token(payload)) == payload
    assert Trust(device.pem).payload(device.token(payload)) == payload  # one device alone


@pytest.mark.parametrize("case", ["stranger", "expired", "early", "no authority", "weak", "old authority"])
def test_who_is_not_believed(case: str) -> None:
    root, device = vendor()
    signer = {
        "stranger": lambda: Signer("x", Signer("other root", authority=True)),
        "expired": lambda: Signer("x", root, days=(-9, -1)),
        "early": lambda: Signer("x", root, days=(1, 9)),
        "no authority": lambda: Signer("x", device),
        "weak": lambda: Signer("x", root, bits=1024),
        "old authority": lambda: Signer("x", Signer("r", authority=True, days=(-9, -1))),
    }[case]()
    trusted = signer.chain[-1] if case == "old authority" else root.certificate
    pem = trusted.public_bytes(Encoding.PEM)
    with pytest.raises(DeviceProtocolError):
        Trust(pem).payload(signer.token({"a": 1}))


def test_a_signature_cannot_be_moved_or_left_out() -> None:
    root, device = vendor()
    trust = Trust(root.pem)
    head, payload, signature = device.token({"a": 1}).split(".")
    none = encoded(json.dumps({"alg": "none"}).encode())
    for forged in (
        f"{head}.{encoded(b'{}')}.{signature}",
        f"{head}.{payload}.{encoded(b'x' * 256)}",
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        device.token({"a": 1}, alg="HS256"),
        device.token({"a": 1}, x5c=[]),
        device.token({"a": 1}, x5c=["!"]),
        device.token({"a": 1}, x5c=None),
    ):
        with pytest.raises(DeviceProtocolError):
            trust.payload(forged)


def test_random_damage_never_hangs_or_crashes(emulator: SbiEmulator) -> None:
    rng = random.Random(8)

    def damage(body: bytes) -> bytes:
        out = bytearray(body)
        for _ in range(rng.choice((1, 3, 30))):
            out[rng.randrange(len(out))] = rng.randrange(256)
        return bytes(out[: rng.choice((len(out), rng.randrange(len(out))))])

    with scanner(emulator) as device:
        emulator.damage = damage
        for _ in range(40):
            began = time.monotonic()
            with suppress(DeviceProtocolError, CaptureTimeoutError):
                device.capture(timeout_s=0.5)
            assert time.monotonic() - began < 0.7
        emulator.damage = lambda body: body
        assert isinstance(device.capture(timeout_s=2.0), FingerprintImage)
