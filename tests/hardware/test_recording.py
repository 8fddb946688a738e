"""Recordings: what comes back is what was given, with its faults and its time."""

import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik_hardware.camera.drivers.virtual import VirtualCamera
from biometrik_hardware.errors import CaptureTimeoutError, DeviceGoneError, DeviceProtocolError
from biometrik_hardware.events import DeviceInfo, DeviceKind
from biometrik_hardware.fingerprint.drivers.virtual import VirtualScanner
from biometrik_hardware.outcomes import Retry, RetryReason
from biometrik_hardware.recording import Origin, Recorder, camera_setup, scanner_setup
from biometrik_hardware.virtual_bus import BUS, Fault, Trouble, VirtualCameraSetup, VirtualScannerSetup
from tests.hardware_emulators.rigs import picture, wave_of

INFO = DeviceInfo("virtual", "x", DeviceKind.FINGERPRINT_SCANNER, ppi=500.0)
SCRIPT = (
    Fault(Trouble.NOTHING),
    Fault(Trouble.RETRY, reason=RetryReason.PRESS_HARDER),
    Fault(Trouble.NO_FINGER),
    Fault(Trouble.DELAY, 0.1),
    Fault(Trouble.GARBAGE),
    Fault(Trouble.UNPLUG, 0.05),
    Fault(Trouble.NOTHING),
)


def played(name: str, setup: VirtualScannerSetup, tape: Recorder | None = None) -> list[tuple[object, float]]:
    """Capture as often as the script has steps; what came, and how long it took."""
    outcomes: list[tuple[object, float]] = []
    with BUS.plugged(name, setup):
        scanner = VirtualScanner.at(name)
        scanner.record(tape)
        for _ in SCRIPT:
            BUS.replug(name)
            scanner.open()
            began = time.monotonic()
            try:
                taken: object = scanner.capture(timeout_s=0.6, position=FingerPosition.LEFT_INDEX)
            except (DeviceGoneError, DeviceProtocolError, CaptureTimeoutError) as error:
                taken = type(error)
            outcomes.append((taken, time.monotonic() - began))
        scanner.close()
    return outcomes


def test_a_recording_plays_what_was_captured_with_faults_and_time(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    setup = VirtualScannerSetup(wave_of, SCRIPT, approach_s=0.02, capture_s=0.01)
    first = played("first", setup, Recorder(folder, INFO, Origin.SYNTHETIC))
    again = played("again", scanner_setup(folder))
    assert [taken for taken, _ in first][1:3] == [Retry(RetryReason.PRESS_HARDER), CaptureTimeoutError]
    took_s = [json.loads(line)["took_s"] for line in (folder / "steps.jsonl").read_text().splitlines()]
    for (one, _), (two, two_s), one_s in zip(first, again, took_s, strict=True):
        if isinstance(one, FingerprintImage):
            assert isinstance(two, FingerprintImage)
            np.testing.assert_array_equal(one.pixels, two.pixels)
            assert (one.ppi, one.position, one.impression) == (two.ppi, two.position, two.impression)
        else:
            assert one == two
        assert two_s > 0.9 * one_s  # never sooner; how much later is the machine's affair


def test_events_are_written_with_their_time_and_without_names(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    setup = VirtualScannerSetup(wave_of, (Fault(Trouble.RETRY, reason=RetryReason.PRESS_HARDER),), approach_s=0.0)
    with BUS.plugged("watched", setup):
        scanner = VirtualScanner.at("watched")
        scanner.record(Recorder(folder, INFO, Origin.SYNTHETIC))
        lease = scanner.lease("counter 3", 60.0)
        scanner.open(lease=lease)
        scanner.capture(timeout_s=1.0, lease=lease)
        scanner.release(lease)
        scanner.close()
    text = (folder / "events.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [(row["kind"], row["detail"]) for row in rows] == [
        ("LEASE_GRANTED", ""),
        ("OPENED", ""),
        ("CAPTURE_STARTED", "UNKNOWN"),
        ("RETRY", "PRESS_HARDER"),
        ("LEASE_RELEASED", ""),
        ("CLOSED", ""),
    ]
    assert all(one["at_s"] <= two["at_s"] for one, two in pairwise(rows))


def test_frames_come_back_at_their_time(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    with BUS.plugged("camera", VirtualCameraSetup(picture, fps=50.0)), VirtualCamera.at("camera") as camera:
        camera.record(Recorder(folder, camera.info, Origin.CONSENTED, "form 12"))
        first = [camera.read(timeout_s=1.0) for _ in range(5)]
    setup = camera_setup(folder)
    for index, frame in enumerate(first):
        np.testing.assert_array_equal(setup.frames(index), frame.pixels)
    pauses_s = [fault.seconds for fault in setup.script if fault.trouble is Trouble.DELAY]
    at_s = [json.loads(line)["at_s"] for line in (folder / "steps.jsonl").read_text().splitlines()]
    assert pauses_s == pytest.approx([0.0, *(two - one for one, two in pairwise(at_s))])
    began = time.monotonic()
    with BUS.plugged("again", setup), VirtualCamera.at("again") as camera:
        while (frame := camera.read(timeout_s=1.0)).index < 4:  # one that nobody took in time is a gap
            np.testing.assert_array_equal(frame.pixels, first[frame.index].pixels)
    assert time.monotonic() - began > 0.9 * sum(pauses_s)
    assert json.loads((folder / "about.json").read_text())["consent_ref"] == "form 12"


def test_a_recording_says_whose_samples_it_holds(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="consent_ref"):
        Recorder(tmp_path / "a", INFO, Origin.CONSENTED)
    with pytest.raises(InvalidInputError, match="consent_ref"):
        Recorder(tmp_path / "a", INFO, Origin.SYNTHETIC, "form 12")
    Recorder(tmp_path / "a", INFO, Origin.SYNTHETIC)
    with pytest.raises(InvalidInputError, match="exists"):
        Recorder(tmp_path / "a", INFO, Origin.SYNTHETIC)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "{}",
        '{"at_s": 0, "took_s": 0, "retry": "X"}',
        '{"at_s": 0, "took_s": 0, "fault": "X"}',
        '{"at_s": 0, "took_s": 0, "file": "../../x.png", "ppi": 500}',
        '{"at_s": 0, "took_s": -1, "retry": "KEEP_STILL"}',
        '{"at_s": NaN, "took_s": 0, "retry": "KEEP_STILL"}',
        '{"at_s": 0, "took_s": 1e999, "retry": "KEEP_STILL"}',
        '{"at_s": 0, "took_s": 1' + "0" * 400 + ', "retry": "KEEP_STILL"}',
        "[" * 100_000,
    ],
    ids=lambda line: line[:60],
)
def test_a_damaged_recording_is_refused(tmp_path: Path, line: str) -> None:
    folder = tmp_path / "a"
    Recorder(folder, INFO, Origin.SYNTHETIC)
    (folder / "steps.jsonl").write_text(line + "\n")
    with pytest.raises(InvalidInputError, match="recording"):
        scanner_setup(folder)


@pytest.mark.parametrize("ppi", ["[1]", '{"x": 1}', '"fine"', "1" + "0" * 400])
def test_a_recording_with_a_damaged_resolution_is_refused(tmp_path: Path, ppi: str) -> None:
    folder = tmp_path / "a"
    Recorder(folder, INFO, Origin.SYNTHETIC)
    about = folder / "about.json"
    about.write_text(about.read_text().replace('"ppi": 500.0', f'"ppi": {ppi}'))
    with pytest.raises(InvalidInputError, match="recording"):
        scanner_setup(folder)


def test_a_recording_of_another_kind_or_of_nothing_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with pytest.raises(InvalidInputError):
        scanner_setup(folder)
    Recorder(folder, INFO, Origin.SYNTHETIC)
    with pytest.raises(InvalidInputError, match="CAMERA"):
        camera_setup(folder)
    assert scanner_setup(folder).script == ()
