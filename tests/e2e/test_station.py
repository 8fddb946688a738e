"""A counter talks to a station, which captures, and to the service, which decides: three programs, one enrolment."""

import asyncio
import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from biometrik.calibration import CalibrationTable
from biometrik.client import AsyncStationClient, Client, StationClient
from biometrik.config import EngineConfig
from biometrik.errors import PermissionDeniedError, SessionNotFoundError, TransactionConflictError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.gallery.stores.sqlite import STORE
from biometrik.guidance import Guidance
from biometrik.imaging import encode_png
from biometrik.reasons import Reason
from biometrik.recognition import Recognition
from biometrik.samples import Sample
from biometrik.scale import CalibrationPoint
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.synthetic.marking import png
from biometrik.transport import MAX_FACE_BYTES, MAX_PRINT_BYTES
from biometrik.types import (
    FACE,
    FINGER_NAMES,
    EnrollmentOutcome,
    EvidenceKind,
    FaceImage,
    Interval,
    MissingReason,
    MissingSample,
    Modality,
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


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a server's settings with evidence for fingers: invented, but of the size that these prints have.

    Different fingers of these ten have similarities up to 0.63, two impressions of one 0.97 and more.
    """
    contract = Recognition(EngineConfig()).comparison_id(Modality.FINGER)
    rows = ((0.0, 0.0, 1.0), (20.0, 0.6, 1e-2), (30.0, 0.7, 1e-3), (46.0, 0.85, 10**-4.6))
    points = tuple(CalibrationPoint(score, similarity, Interval(fmr, fmr, fmr)) for score, similarity, fmr in rows)
    day = datetime.date(2026, 11, 24)
    table = CalibrationTable(
        "e2e", contract, points, "invented", 10, 20, 0, 10, 180, day, "none", EvidenceKind.SYNTHETIC
    )
    file = tmp_path_factory.mktemp("evidence") / "fingers.json"
    file.write_text(table.to_json(), "utf-8")
    return f"[engine]\ncalibrations = [{json.dumps(str(file))}]\n"


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
    station: StationProcess, evidence: str, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path, evidence) as server, server.client() as counter, station.station() as devices:
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


def test_an_operator_marks_overrides_and_restarts_and_nobody_else_can(
    station: StationProcess, evidence: str, tmp_path: Path
) -> None:
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
        ServerProcess(tmp_path, clients + evidence) as server,
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
        moments.close()  # type: ignore[attr-defined]  # a generator
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


def test_compact_can_be_turned_off(portrait: FaceImage, tmp_path: Path) -> None:
    settings = f"compact = false\n{show(tmp_path, portrait)}"
    with StationProcess(tmp_path, settings) as station, station.station() as devices:
        face, _ = taken(devices, CAMERA)
    assert isinstance(face, FaceImage)
    assert (face.width_px, face.height_px) == (560, 720)
