"""A counter talks to a station, which captures, and to the service, which decides: three programs, one enrolment."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from biometrik.cli import app
from biometrik.client import AsyncStationClient, Client, StationClient
from biometrik.errors import InvalidInputError, PermissionDeniedError, SessionNotFoundError, TransactionConflictError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.gallery.stores.sqlite import STORE
from biometrik.guidance import Guidance
from biometrik.imaging import encode_png
from biometrik.reasons import Reason
from biometrik.samples import Sample
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.synthetic.marking import png
from biometrik.transport import MAX_FACE_BYTES, MAX_PRINT_BYTES
from biometrik.types import (
    FACE,
    FINGER_NAMES,
    EnrollmentOutcome,
    FaceImage,
    MissingReason,
    MissingSample,
    RequestContext,
    Trait,
)
from biometrik.verdicts import CaptureBasis, OverrideKind, SubmitOutcome, TraitStanding
from biometrik_hardware.errors import CaptureTimeoutError, DeviceBusyError, DeviceGoneError, LeaseLostError
from biometrik_hardware.events import EventKind
from biometrik_hardware.virtual_bus import Fault, Trouble
from biometrik_server.access import new_token
from tests.soak.server_process import ServerProcess, StationProcess

CAMERA, SCANNER = "camera:virtual:desk", "scanner:virtual:desk-finger"
FINGERS = [position for position in FingerPosition if 1 <= position <= 10]


def show(folder: Path, portrait: FaceImage) -> str:
    """Write what the virtual devices see, ten SYNTHETIC fingers and a face that fills the frame; return settings."""
    for name in ("faces", "prints"):
        (folder / name).mkdir()
    # The head of the photograph, enlarged to what a camera with 720 lines sees of a person in front of it.
    frame = np.full((720, 1280, 3), 120, dtype=np.uint8)
    frame[:, 360:920] = cv2.resize(portrait.pixels[8:248, 130:317], (560, 720), interpolation=cv2.INTER_CUBIC)
    (folder / "faces" / "face.png").write_bytes(encode_png(frame))
    for position in FINGERS:
        finger = draw_finger(5, position)
        for impression in (1, 2):
            name = f"{FINGER_NAMES[position]}_{impression}.png"
            (folder / "prints" / name).write_bytes(png(draw_impression(finger, impression).image))
    return f"""
[[devices]]
id = "{CAMERA}"
shows = {json.dumps(str(folder / "faces"))}
[[devices]]
id = "{SCANNER}"
shows = {json.dumps(str(folder / "prints"))}
approach_s = 0.0
"""


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, portrait: FaceImage) -> Iterator[StationProcess]:
    folder = tmp_path_factory.mktemp("station")
    with StationProcess(folder, show(folder, portrait)) as process:
        yield process


def taken(
    station: StationClient, device_id: str, position: FingerPosition = FingerPosition.UNKNOWN
) -> tuple[Sample, list[Guidance]]:
    """Return what one attempt takes, with what was said meanwhile."""
    lease = station.acquire(device_id, holder="counter 3")
    try:
        moments = list(station.capture(lease, position, attempt_s=5.0))
    finally:
        station.release(lease)
    sample = moments[-1].sample
    assert sample is not None
    return sample, [moment.guidance for moment in moments if moment.guidance is not None]


def enrol(counter: Client, station: StationClient, session_id: str) -> list[str]:
    """Do what a counter's program does: take what is wanted until nothing is; return what went wrong on the way."""
    faults: list[str] = []
    wanted = [Trait.finger(position) for position in FINGERS] + [FACE]
    while wanted:
        trait = wanted[0]
        try:
            if trait == FACE:
                sample, _ = taken(station, CAMERA)
            else:
                sample, _ = taken(station, SCANNER, FingerPosition(trait.position))
        except DeviceGoneError as error:
            faults.append(error.reason)
            station.script(SCANNER)  # somebody plugs it in again
            continue
        answer = counter.submit(session_id, sample)
        if answer.same_as is not None:
            faults.append(f"{answer.outcome.value}: {trait.name} is {answer.same_as.name}")
        wanted = [state.trait for state in answer.traits if state.standing is TraitStanding.WANTED]
    return faults


def test_ten_fingers_and_a_face_are_enrolled_in_spite_of_two_faults_and_the_log_tells(
    station: StationProcess, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path) as server, server.client() as counter, station.station() as devices:
        nothing = Fault(Trouble.NOTHING)
        devices.script(SCANNER, nothing, nothing, Fault(Trouble.SAME_FINGER), nothing, Fault(Trouble.UNPLUG, 0.05))
        who = RequestContext(operator_ref="officer-7", station_ref="station-1", consent_ref="form-1")
        session = counter.open_session("A-1", [*map(Trait.finger, FINGERS), FACE], context=who)
        faults = enrol(counter, devices, session.session_id)
        assert faults == ["DUPLICATE_OF_POSITION: right_middle is right_index", "DEVICE_REMOVED"]
        done = counter.finalize(session.session_id)
        assert done.enrollment.outcome is EnrollmentOutcome.ENROLLED
        assert done.enrollment.templates == 11
        assert {state.standing for state in done.traits} == {TraitStanding.TAKEN}
        assert counter.finalize(session.session_id).enrollment.encounter_id == done.enrollment.encounter_id
        assert counter.verify("A-1", [taken(devices, SCANNER, FingerPosition.LEFT_RING)[0]]).outcome.value == "MATCH"
        assert server.stop() == 0
    details = enrolment_event(tmp_path / "office.db")
    assert (details["operator_ref"], details["station_ref"], details["consent_ref"]) == (
        "officer-7",
        "station-1",
        "form-1",
    )
    history = json.loads(details["history"])
    assert ["right_middle", "TRY_AGAIN", "SAME_FINGER_TWICE = right_index"] in history
    assert [name for name, what, _ in history if what == "TAKEN"] == [FINGER_NAMES[p] for p in FINGERS] + ["face"]
    origins = json.loads(details["samples"])
    assert [row["device_ref"] for row in origins] == [SCANNER] * 10 + [CAMERA]
    assert all(row["captured_at"] and row["source"] == "SUPERVISED" for row in origins)


def enrolment_event(path: Path) -> dict[str, str]:
    """Return the details of the one enrolment in a database."""
    store = STORE.open(path)
    try:
        (event,) = [event for event in store.events() if event.kind.value == "ENROLLED"]
    finally:
        store.close()
    return dict(event.details)


def test_an_operator_marks_overrides_and_restarts_and_nobody_else_can(station: StationProcess, tmp_path: Path) -> None:
    tokens = {name: new_token() for name in ("counter", "other", "gate")}
    clients = "".join(
        f'[[clients]]\nname = "{name}"\nscopes = {scopes}\ntoken_sha256 = "{digest}"\n'
        for (name, (_, digest)), scopes in zip(
            tokens.items(), ('["enroll", "gallery.read"]', '["enroll"]', '["verify"]'), strict=True
        )
    )
    right, middle = Trait.finger(2), Trait.finger(3)
    amputated = MissingSample(FingerPosition.RIGHT_MIDDLE, MissingReason.AMPUTATED, permanent=True)
    with (
        ServerProcess(tmp_path, clients) as server,
        server.client(token=tokens["counter"][0]) as counter,
        server.client(token=tokens["other"][0]) as other,
        server.client(token=tokens["gate"][0]) as gate,
        station.station() as devices,
    ):
        with pytest.raises(PermissionDeniedError):
            gate.open_session("B-1", [right])
        opening = RequestContext(transaction_id="open-1")
        session = counter.open_session("B-1", [right, middle, FACE], context=opening).session_id
        assert counter.open_session("B-1", [right, middle, FACE], context=opening).session_id == session
        with pytest.raises(TransactionConflictError):
            counter.open_session("B-2", [right, middle, FACE], context=opening)
        with pytest.raises(SessionNotFoundError):
            other.mark_missing(session, amputated)
        print_, _ = taken(devices, SCANNER, FingerPosition.RIGHT_INDEX)
        blank = FaceImage.from_bytes(encode_png(np.full((480, 360, 3), 90, dtype=np.uint8)))
        first = RequestContext(transaction_id="face-1")
        retry = counter.submit(session, blank, context=first)
        assert (retry.outcome, retry.reasons, retry.traits[2].attempts_left) == (
            SubmitOutcome.RETRY,
            (Reason.NO_FACE,),
            2,
        )
        assert counter.submit(session, blank, context=first).traits[2].attempts_left == 2  # a repeat counts once
        assert counter.finalize(session).enrollment.outcome is EnrollmentOutcome.NEEDS_RECAPTURE
        counter.mark_missing(session, amputated)
        assert counter.submit(session, print_).outcome is SubmitOutcome.ACCEPTED
        assert counter.restart(session, right)[0].standing is TraitStanding.WANTED
        assert counter.submit(session, print_).outcome is SubmitOutcome.ACCEPTED
        for outcome in (SubmitOutcome.RETRY, SubmitOutcome.ATTEMPTS_EXHAUSTED):
            assert counter.submit(session, blank).outcome == outcome
        assert counter.finalize(session).enrollment.outcome is EnrollmentOutcome.NEEDS_RECAPTURE
        done = counter.finalize(session, override="face bandaged")
        assert done.enrollment.outcome is EnrollmentOutcome.ENROLLED
        assert [state.standing for state in done.traits] == [
            TraitStanding.TAKEN,
            TraitStanding.MISSING,
            TraitStanding.FAILED,
        ]
        assert done.traits[0].basis is CaptureBasis.GOOD
        assert counter.encounter(done.enrollment.encounter_id).missing == (amputated,)
        counter.cancel_session(session)
        with pytest.raises(SessionNotFoundError):
            counter.override(session, right, OverrideKind.QUALITY, "why")
        assert server.stop() == 0
    details = enrolment_event(tmp_path / "office.db")
    assert "face bandaged" in details["override"]
    assert ["right_middle", "MISSING", "AMPUTATED permanent"] in json.loads(details["history"])


def test_a_sessions_samples_are_dropped_when_nobody_calls(tmp_path: Path) -> None:
    limits = "[limits]\nmax_sessions = 1\nsession_lifetime_s = 0.2\n"
    with ServerProcess(tmp_path, limits) as server, server.client() as counter:
        session = counter.open_session("C-1", [FACE]).session_id
        time.sleep(0.5)
        with pytest.raises(SessionNotFoundError):
            counter.finalize(session)
        counter.open_session("C-2", [FACE])


def test_a_device_is_had_by_one_and_the_other_is_told_by_whom(station: StationProcess) -> None:
    with station.station() as devices, station.station() as others:
        assert [device.device_id for device in devices.devices()] == [CAMERA, SCANNER]
        lease = devices.acquire(CAMERA, holder="counter 3")
        with pytest.raises(DeviceBusyError, match="'counter 3'"):
            others.acquire(CAMERA, holder="counter 4")
        assert devices.devices()[0].holder == "counter 3"
        assert devices.renew(lease, ttl_s=120).expires_at > lease.expires_at
        devices.release(lease)
        devices.release(lease)
        with pytest.raises(LeaseLostError):
            list(devices.capture(lease))


def test_a_device_is_taken_over_from_a_counter_that_hangs_and_the_log_says_by_whom_and_why(
    station: StationProcess,
) -> None:
    with station.station() as hangs, station.station() as devices:
        devices.script(SCANNER, Fault(Trouble.NO_FINGER))
        moments = hangs.capture(hangs.acquire(SCANNER, holder="counter 3", ttl_s=600), attempt_s=300.0)
        next(moments)  # and it never asks for another
        with pytest.raises(InvalidInputError, match="reason"):
            devices.take_over(SCANNER, "")
        lease = devices.take_over(SCANNER, "counter 3 hangs", holder="counter 4")
        assert list(devices.capture(lease, FingerPosition.LEFT_INDEX))[-1].sample is not None
        with pytest.raises(LeaseLostError):
            list(moments)
        assert devices.devices()[1].holder == "counter 4"
        devices.release(lease)
    (row,) = [row for row in station.events() if row["event"] == "lease taken over"]
    assert (row["device"], row["by"], row["reason"]) == (SCANNER, "anonymous", "counter 3 hangs")


def test_a_lease_that_runs_out_frees_the_device(station: StationProcess) -> None:
    with station.station() as devices:
        lease = devices.acquire(CAMERA, ttl_s=0.2)
        time.sleep(0.3)
        devices.release(devices.acquire(CAMERA))
        with pytest.raises(LeaseLostError):
            devices.renew(lease)


def test_a_face_is_guided_and_previewed(station: StationProcess) -> None:
    with station.station(locale="id") as devices:
        lease = devices.acquire(CAMERA)
        moments = list(devices.capture(lease, preview_side_px=160))
        devices.release(lease)
    assert moments[0].guidance is Guidance.FACE_CAMERA
    assert moments[0].text == "Hadap ke kamera"
    preview = FaceImage.from_bytes(moments[-2].preview)
    assert max(preview.width_px, preview.height_px) == 160
    last = moments[-1]
    assert isinstance(last.sample, FaceImage)
    assert last.sample.width_px < 560  # of the frame's middle, the head with half its size of room
    assert last.sample.height_px < 720
    assert len(last.sample.encoded) <= MAX_FACE_BYTES
    assert last.report is not None
    assert last.report.quality is not None
    assert last.report.quality.acceptable


def test_what_a_scanner_asks_and_that_nobody_comes_is_told(station: StationProcess) -> None:
    with station.station() as devices:
        devices.script(SCANNER, Fault(Trouble.RETRY), Fault(Trouble.NOTHING), Fault(Trouble.NO_FINGER))
        sample, said = taken(devices, SCANNER, FingerPosition.LEFT_INDEX)
        assert isinstance(sample, FingerprintImage)
        assert len(sample.encoded) <= MAX_PRINT_BYTES
        assert said == [Guidance.PLACE_FINGER, Guidance.CENTRE_FINGER]
        lease = devices.acquire(SCANNER)
        with pytest.raises(CaptureTimeoutError) as caught:
            list(devices.capture(lease, FingerPosition.LEFT_INDEX, attempt_s=1.0))
        devices.release(lease)
        assert caught.value.__notes__


def test_an_attempt_that_nobody_waits_for_any_more_leaves_the_device_at_rest(station: StationProcess) -> None:
    with station.station() as devices:
        devices.script(SCANNER, Fault(Trouble.NO_FINGER))
        lease = devices.acquire(SCANNER)
        moments = devices.capture(lease, FingerPosition.LEFT_INDEX, attempt_s=60.0)
        next(moments)
        with pytest.raises(DeviceBusyError):
            list(devices.capture(lease, FingerPosition.LEFT_INDEX))
        moments.close()
        until = time.monotonic() + 10
        while True:
            try:
                assert list(devices.capture(lease, FingerPosition.LEFT_INDEX))[-1].sample is not None
                break
            except DeviceBusyError:
                assert time.monotonic() < until
        devices.release(lease)


def test_a_watcher_is_told_who_has_what_and_async_clients_capture_too(station: StationProcess) -> None:
    async def work() -> list[tuple[str, EventKind]]:
        async with AsyncStationClient(station.address) as devices, AsyncStationClient(station.address) as watcher:
            seen: list[tuple[str, EventKind]] = []

            async def watch() -> None:
                async for event in watcher.watch():
                    seen.append((event.device_id, event.kind))
                    if event.kind is EventKind.LEASE_RELEASED:
                        return

            watching = asyncio.create_task(watch())
            await watcher.devices()  # its stream is open by then
            lease = await devices.acquire(SCANNER, holder="counter 3")
            moments = [moment async for moment in devices.capture(lease, FingerPosition.RIGHT_THUMB)]
            assert moments[-1].sample is not None
            await devices.release(await devices.renew(lease))
            await asyncio.wait_for(watching, 10)
            return seen

    seen = asyncio.run(work())
    assert {device_id for device_id, _ in seen} == {SCANNER}
    kinds = [kind for _, kind in seen]
    assert kinds[0] is EventKind.LEASE_GRANTED
    assert {EventKind.OPENED, EventKind.CAPTURED, EventKind.LEASE_RENEWED, EventKind.CLOSED} < set(kinds)


def enroll(*words: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """Run ``biometrik station enroll`` in this process; return its JSON and what was said besides."""
    plain = dict.fromkeys(("BIOMETRIK_SERVER", "BIOMETRIK_TOKEN", "BIOMETRIK_LOCALE"))
    result = CliRunner().invoke(app, ["station", "enroll", *words, "--json"], env=plain)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout), result.stderr


def test_the_terminal_enrols_in_spite_of_a_finger_presented_twice(station: StationProcess, tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server, station.station() as devices:
        devices.script(SCANNER, Fault(Trouble.NOTHING), Fault(Trouble.SAME_FINGER))
        words = ("--finger", "right_index", "--finger", "left_index", "--face", "--missing", "left_ring=amputated")
        where = ("--server", server.address, "--station", station.address, "--operator", "officer-7", "--preview", "0")
        answer, said = enroll("A-1", *words, *where)
        assert answer["outcome"] == "ENROLLED"
        assert answer["templates"] == 3
        assert [(row["trait"], row["standing"], row["basis"]) for row in answer["traits"]] == [
            ("right_index", "TAKEN", "GOOD"),
            ("left_index", "TAKEN", "GOOD"),
            ("left_ring", "MISSING", None),
            ("face", "TAKEN", "GOOD"),
        ]
        assert "Preview for the subject: http://127.0.0.1:" in said
        assert [device.holder for device in devices.devices()] == ["", ""]
        devices.script(SCANNER, Fault(Trouble.NO_FINGER))
        answer, _ = enroll("A-2", "--finger", "right_index", *where[:4], "--attempt", "1", code=4)
        assert answer["error"]["reason"] == "CAPTURE_TIMEOUT"
        assert [device.holder for device in devices.devices()] == ["", ""]
        assert server.stop() == 0
    details = enrolment_event(tmp_path / "office.db")
    assert details["operator_ref"] == "officer-7"
    assert ["left_index", "TRY_AGAIN", "SAME_FINGER_TWICE = right_index"] in json.loads(details["history"])


def test_the_terminal_needs_no_station_beside_it_and_shows_the_subject_what_to_do(
    portrait: FaceImage, tmp_path: Path
) -> None:
    config = tmp_path / "here.toml"
    config.write_text("discover = false\n" + show(tmp_path, portrait), "utf-8")
    words = ("A-1", "--face", "--config", str(config), "--locale", "id", "--preview", "0")
    with (
        ServerProcess(tmp_path) as server,
        subprocess.Popen(
            [sys.executable, "-m", "biometrik.cli", "station", "enroll", *words, "--server", server.address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as counter,
    ):
        assert counter.stderr is not None
        url = counter.stderr.readline().rpartition(" ")[2].strip()
        pictures, number = [], "0"
        with suppress(OSError):  # it ends when the person is enrolled
            while True:
                with urllib.request.urlopen(f"{url}now?after={number}", timeout=30) as answer:
                    if answer.status == 200:
                        number = answer.headers["X-Number"]
                        pictures.append((unquote(answer.headers["X-Word"]), answer.read()))
        out, err = counter.communicate(timeout=60)
        assert counter.returncode == 0, err
        assert "ENROLLED A-1" in out
        assert "Hadap ke kamera" in err
        shown = [FaceImage.from_bytes(picture) for _, picture in pictures if picture]
        assert shown
        assert {max(picture.width_px, picture.height_px) for picture in shown} == {480}


def test_the_terminal_enrols_while_the_service_is_away_and_it_arrives_once(
    station: StationProcess, tmp_path: Path
) -> None:
    key, config = tmp_path / "spool.key", tmp_path / "spool.toml"
    key.touch(0o600)
    key.write_text("5f" * 32)
    config.write_text(f'discover = false\n[spool]\nfolder = "{tmp_path / "spool"}"\nkey = "{key}"\n')
    keep = ("--keep", "--config", str(config), "--station", station.address)
    with ServerProcess(tmp_path) as server:
        address = server.address
    answer, _ = enroll("A-1", "--finger", "right_index", "--face", *keep, "--server", address)
    assert (answer["outcome"], answer["encounter_id"]) == ("KEPT", "")
    assert {row["standing"] for row in answer["traits"]} == {"TAKEN"}
    with ServerProcess(tmp_path, listen=address) as server, server.client() as office:
        command = ["station", "forward", "--config", str(config), "--server", address, "--json"]
        for forwarded in (1, 0):
            result = CliRunner().invoke(app, command)
            assert result.exit_code == 0, result.output
            assert len(json.loads(result.stdout)["forwarded"]) == forwarded
        answer, _ = enroll("A-2", "--finger", "right_index", *keep, "--server", address)
        assert answer["outcome"] == "ENROLLED"
        for subject, templates in (("A-1", 2), ("A-2", 1)):
            (encounter,) = office.subject(subject).encounters
            assert encounter.templates == templates
    assert list((tmp_path / "spool").glob("*.entry")) == []


def test_ctrl_c_gives_the_device_and_the_session_back(station: StationProcess, tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "[limits]\nmax_sessions = 1\n") as server, station.station() as devices:
        devices.script(SCANNER, Fault(Trouble.NO_FINGER))
        where = ("--server", server.address, "--station", station.address)
        with subprocess.Popen(
            [sys.executable, "-m", "biometrik.cli", "station", "enroll", "A-1", "--finger", "right_index", *where],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as counter:
            assert counter.stderr is not None
            while "Place the finger" not in counter.stderr.readline():
                assert counter.poll() is None
            counter.send_signal(signal.SIGINT)
            out, err = counter.communicate(timeout=60)
        assert (counter.returncode, out) == (130, ""), err
        assert "INTERRUPTED" in err
        assert [device.holder for device in devices.devices()] == ["", ""]
        with server.client() as office:
            office.open_session("A-2", [FACE])  # the only session that there may be is free


def test_compact_can_be_turned_off(portrait: FaceImage, tmp_path: Path) -> None:
    settings = f"compact = false\n{show(tmp_path, portrait)}"
    with StationProcess(tmp_path, settings) as station, station.station() as devices:
        face, _ = taken(devices, CAMERA)
    assert isinstance(face, FaceImage)
    assert (face.width_px, face.height_px) == (560, 720)
