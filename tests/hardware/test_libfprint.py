"""libfprint's driver on any machine: it works here or is refused in words, and fingers are counted as it counts."""

import sys
import types

import pytest

from biometrik.errors import InvalidInputError, PluginNotFoundError
from biometrik.fingers import FingerPosition
from biometrik_hardware.fingerprint.libfprint_numbering import to_libfprint
from biometrik_hardware.fingerprint.scanner import SCANNERS
from biometrik_hardware.inventory import installed_drivers
from tests.hardware_emulators.rigs import LIBFPRINT, fprint_is_here, here

MODULE = "biometrik_hardware.fingerprint.drivers.libfprint"

#: FpFinger of libfprint's fp-print.h, in its order.
LEFT_FIRST = (
    "UNKNOWN",
    *(f"{hand}_{finger}" for hand in ("LEFT", "RIGHT") for finger in ("THUMB", "INDEX", "MIDDLE", "RING", "LITTLE")),
)


def test_this_machine_tries_the_device_or_refuses_in_words() -> None:
    tried = fprint_is_here()
    assert (LIBFPRINT in here()) is tried
    assert ("libfprint" in [driver.driver for driver in installed_drivers()]) is tried
    if not tried:
        with pytest.raises(PluginNotFoundError, match=r"biometrik\[libfprint\]|gir1\.2-fprint-2\.0"):
            SCANNERS.load("libfprint")


def test_without_pygobject_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(PluginNotFoundError, match=r"needs 'gi'; pip install 'biometrik\[libfprint\]'"):
        SCANNERS.load("libfprint")


def test_without_the_systems_library_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def require_version(namespace: str, version: str) -> None:
        raise ValueError(f"Namespace {namespace} not available")

    fake = types.ModuleType("gi")
    monkeypatch.setattr(fake, "require_version", require_version, raising=False)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setitem(sys.modules, "gi", fake)
    with pytest.raises(PluginNotFoundError, match=r"gir1\.2-fprint-2\.0"):
        SCANNERS.load("libfprint")


def test_its_fingers_are_counted_from_the_left_thumb_on() -> None:
    for number, name in enumerate(LEFT_FIRST):
        assert to_libfprint(FingerPosition[name]) == number


def test_it_has_no_number_for_several_fingers() -> None:
    with pytest.raises(InvalidInputError, match="single finger"):
        to_libfprint(next(position for position in FingerPosition if position > 10))
