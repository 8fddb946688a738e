"""An enrolment at a counter, against a service and a station that do as they are told."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import typer

from biometrik.capture import Capture
from biometrik.cli.counter import Choice, Counter, Plan, devices_for
from biometrik.cli.screens.counter import Terminal
from biometrik.client import CaptureMoment, Finalized, OpenedSession, StationDevice, StationLease
from biometrik.errors import InvalidInputError, ServiceError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.guidance import Guidance
from biometrik.reasons import Reason
from biometrik.types import (
    FACE,
    Candidate,
    Enrollment,
    EnrollmentOutcome,
    FaceImage,
    Identification,
    MissingReason,
    MissingSample,
    Modality,
    Outcome,
    SearchCoverage,
    Trait,
)
from biometrik.verdicts import OverrideKind, Submitted, TraitStanding, TraitState, submitted
from biometrik_hardware.errors import CaptureTimeoutError, DeviceBusyError, DeviceError, DeviceGoneError, LeaseLostError
from biometrik_hardware.events import DeviceKind
from tests.unit.captured import LEFT_INDEX, RIGHT_INDEX, report, unusable

CAMERA, SCANNER = "camera:virtual:desk", "scanner:virtual:desk"
DEVICES = {Modality.FACE: CAMERA, Modality.FINGER: SCANNER}
PRINT = FingerprintImage(np.zeros((100, 100), dtype=np.uint8), 500.0)
PORTRAIT = FaceImage(np.zeros((100, 80, 3), dtype=np.uint8))


def suspicion(subject_id: str) -> Identification:
    """Return a search that found one."""
    candidate = Candidate(1, subject_id, "e-0", (), 50.0, None, True)
    coverage = SearchCoverage(1, (), 1, 1, True, 1.0)
    return Identification(Outcome.MATCH, (), (candidate,), 40.0, 0.01, None, coverage, "c", "m", ())


class Office:
    """A service that says of each sample, in order, what it is given; its rules are the library's own."""

    def __init__(self, *said: Any, same: bool = False) -> None:
        self.said = list(said)
        self.same = same
        self.cancelled = False
        self.overrides: list[str] = []
        self.suspects: list[str] = []
        self.reasons: list[str] = []

    def open_session(self, subject_id: str, wanted: Sequence[Trait], **how: Any) -> OpenedSession:
        self.dedupe = how["dedupe"]
        self.capture = Capture[int](wanted, same_finger=lambda _, others: next(iter(others)) if self.same else None)
        return OpenedSession("session", self.states())

    def states(self) -> tuple[TraitState, ...]:
        capture = self.capture
        return tuple(TraitState(t, capture.standing(t), capture.attempts_left(t), None) for t in self.capture._cases)

    def submit(self, session_id: str, sample: object, **_: Any) -> Submitted:
        said = self.said.pop(0)
        if isinstance(said, Exception):
            raise said
        trait = said.trait
        return submitted(self.capture.present(trait, 0, said), said, self.states())

    def mark_missing(self, session_id: str, missing: MissingSample, **_: Any) -> tuple[TraitState, ...]:
        self.capture.mark_missing(missing)
        return self.states()

    def override(self, session_id: str, trait: Trait, kind: OverrideKind, reason: str, **_: Any) -> Any:
        self.capture.override(trait, kind, reason)
        return self.states()

    def restart(self, session_id: str, trait: Trait, **_: Any) -> tuple[TraitState, ...]:
        self.capture.restart(trait)
        return self.states()

    def override_duplicates(self, session_id: str, reason: str, **_: Any) -> Any:
        if len(reason) > 128:
            raise InvalidInputError("reason: expected 1 to 128 printable characters")
        self.suspects.pop(0)
        self.reasons.append(reason)
        return self.states()

    def finalize(self, session_id: str, *, override: str = "", **_: Any) -> Finalized:
        self.overrides.append(override)
        done = self.capture.finished or bool(override)
        if done and self.suspects:
            found = suspicion(self.suspects[0])
            refused = Enrollment(EnrollmentOutcome.DUPLICATE_SUSPECTED, "A-1", "", 0, (), found)
            return Finalized(refused, self.states())
        outcome = EnrollmentOutcome.ENROLLED if done else EnrollmentOutcome.NEEDS_RECAPTURE
        return Finalized(Enrollment(outcome, "A-1", "e-1" if done else "", 1, ()), self.states())

    def cancel_session(self, session_id: str) -> None:
        self.cancelled = True


class Station:
    """A station whose attempts end with a sample, or with the errors that it is given for the first ones."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = list(errors)
        self.held: set[str] = set()
        self.acquired: list[str] = []
        self.lost = False
        self.busy = False
        self.taken_over: list[str] = []

    def acquire(self, device_id: str, *, ttl_s: float) -> StationLease:
        assert ttl_s > 15.0
        if self.busy:
            raise DeviceBusyError(f"{device_id}: expected a device that is free, got one that another holds")
        self.held.add(device_id)
        self.acquired.append(device_id)
        return StationLease(device_id, "secret", datetime.now(UTC))

    def take_over(self, device_id: str, reason: str, *, ttl_s: float) -> StationLease:
        assert ttl_s > 15.0
        self.taken_over.append(f"{device_id}: {reason}")
        self.held.add(device_id)
        return StationLease(device_id, "secret", datetime.now(UTC))

    def renew(self, lease: StationLease, *, ttl_s: float) -> StationLease:
        if self.lost:
            raise LeaseLostError("lease: expected one in force, got none")
        return lease

    def release(self, lease: StationLease) -> None:
        self.held.discard(lease.device_id)

    def capture(
        self, lease: StationLease, position: FingerPosition, *, attempt_s: float, preview_side_px: int
    ) -> Generator[CaptureMoment, None, None]:
        assert lease.device_id in self.held
        yield moment("Place the finger", Guidance.PLACE_FINGER)
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        yield replace(moment(""), sample=PORTRAIT if lease.device_id == CAMERA else PRINT)


class Desk:
    """An operator who answers what is written down, and notes what is asked."""

    def __init__(self, *answers: str, attended: bool = True) -> None:
        self.answers = list(answers)
        self.attended = attended
        self.offered: list[tuple[Choice, ...]] = []
        self.told: list[str] = []
        self.failures: list[str] = []
        self.ended: list[str] = []

    def begin(self, trait: Trait, attempts_left: int) -> None:
        self.told.append(f"{trait.name} {attempts_left}")

    def tell(self, moment: CaptureMoment) -> None:
        self.told.append(moment.text)

    def end(self, answer: Submitted) -> None:
        self.ended.append(answer.outcome.value)

    def fail(self, error: Any) -> None:
        self.failures.append(error.reason)

    def choose(self, trait: Trait, choices: Sequence[Choice]) -> Choice:
        assert self.attended
        self.offered.append(tuple(choices))
        choice = Choice(self.answers.pop(0))
        assert choice in choices
        return choice

    def ask(self, question: str) -> str:
        assert self.attended
        return self.answers.pop(0)


def moment(text: str, guidance: Guidance | None = None) -> CaptureMoment:
    return CaptureMoment(guidance, text, 0.0, b"", None, None)


def enrol(
    office: Office,
    station: Station,
    desk: Desk,
    *wanted: Trait,
    missing: Iterable[MissingSample] = (),
    override: str = "",
) -> Finalized:
    counter: Any = Counter(office, station, DEVICES, desk)  # type: ignore[arg-type]  # as much of them as is used
    done: Finalized = counter.enrol(Plan("A-1", wanted, tuple(missing), override=override))
    assert not station.held
    assert not desk.answers
    assert office.cancelled == (done.enrollment.outcome is not EnrollmentOutcome.ENROLLED)
    return done


def standings(done: Finalized) -> list[TraitStanding]:
    return [state.standing for state in done.traits]


def test_what_is_wanted_is_taken_in_order_and_devices_are_given_back() -> None:
    desk, station = Desk(attended=False), Station()
    missing = MissingSample(FingerPosition(LEFT_INDEX.position), MissingReason.AMPUTATED, permanent=True)
    done = enrol(Office(report(RIGHT_INDEX), report()), station, desk, RIGHT_INDEX, LEFT_INDEX, FACE, missing=[missing])
    assert standings(done) == [TraitStanding.TAKEN, TraitStanding.MISSING, TraitStanding.TAKEN]
    assert desk.told == ["right_index 3", "Place the finger", "", "face 3", "Place the finger", ""]
    assert station.acquired == [SCANNER, CAMERA]


def test_where_nobody_is_asked_attempts_are_repeated_and_what_fails_is_left() -> None:
    bad = unusable(Reason.NO_FINGERPRINT, RIGHT_INDEX)
    desk = Desk(attended=False)
    done = enrol(Office(bad, bad, bad, report()), Station(), desk, RIGHT_INDEX, FACE)
    assert standings(done) == [TraitStanding.FAILED, TraitStanding.TAKEN]
    assert desk.ended == ["RETRY", "RETRY", "ATTEMPTS_EXHAUSTED", "ACCEPTED"]
    assert done.enrollment.outcome is EnrollmentOutcome.NEEDS_RECAPTURE


def test_an_override_on_the_command_line_goes_to_the_end() -> None:
    bad = unusable(Reason.NO_FACE)
    office = Office(bad, bad, bad)
    done = enrol(office, Station(), Desk(attended=False), FACE, override="bandaged")
    assert (done.enrollment.outcome, office.overrides) == (EnrollmentOutcome.ENROLLED, ["bandaged"])


def test_a_poor_sample_is_overridden_with_a_reason_and_one_that_cannot_be_accepted_is_told() -> None:
    poor = report(RIGHT_INDEX, 20.0, Reason.BLURRED)
    desk = Desk("override", "", "override", "worn by work")
    assert standings(enrol(Office(poor), Station(), desk, RIGHT_INDEX)) == [TraitStanding.TAKEN]
    # Without a reason the service refuses, and the operator is asked again.
    assert desk.failures == ["INVALID_INPUT"]


def test_a_finger_presented_twice_is_overridden_as_such_or_presented_again() -> None:
    office = Office(report(RIGHT_INDEX), report(LEFT_INDEX), same=True)
    desk = Desk("override", "seen to be two fingers")
    done = enrol(office, Station(), desk, RIGHT_INDEX, LEFT_INDEX)
    assert standings(done) == [TraitStanding.TAKEN, TraitStanding.TAKEN]
    assert desk.ended == ["ACCEPTED", "DUPLICATE_OF_POSITION"]
    assert [row.detail for row in office.capture.log if row.what == "OVERRIDE"] == [
        "SAME_FINGER: seen to be two fingers"
    ]


def test_after_three_attempts_a_trait_begins_anew_or_is_missing_or_left() -> None:
    bad = unusable(Reason.NO_FINGERPRINT, RIGHT_INDEX)
    desk = Desk("again", "again", "again", "again", "again", "missing", "gone", "missing", "bandaged")
    done = enrol(Office(*[bad] * 6), Station(), desk, RIGHT_INDEX)
    assert standings(done) == [TraitStanding.MISSING]
    assert desk.offered[2] == (Choice.LEAVE, Choice.AGAIN, Choice.MISSING)
    assert desk.failures == ["INVALID_INPUT"]


def test_what_the_service_could_not_accept_is_not_offered() -> None:
    crowd = report(FACE, faces=2)
    desk = Desk("again", "again", "leave", "")
    assert standings(enrol(Office(crowd, crowd, crowd), Station(), desk, FACE)) == [TraitStanding.FAILED]
    assert desk.offered[2] == (Choice.LEAVE, Choice.AGAIN)


def test_the_operator_is_asked_at_the_end_why_it_should_be_enrolled_all_the_same() -> None:
    bad = unusable(Reason.NO_FACE)
    assert standings(enrol(Office(bad), Station(), Desk("leave", ""), FACE)) == [TraitStanding.WANTED]
    office = Office(bad)
    done = enrol(office, Station(), Desk("leave", "burnt"), FACE)
    assert (done.enrollment.outcome, office.overrides) == (EnrollmentOutcome.ENROLLED, ["", "burnt"])


def test_the_operator_is_asked_of_suspects_until_none_is_left_or_one_stays() -> None:
    office = Office(report())
    office.suspects = ["B-1", "B-2"]
    desk = Desk("x" * 129, "a twin", "the other one")
    done = enrol(office, Station(), desk, FACE)
    assert done.enrollment.outcome is EnrollmentOutcome.ENROLLED
    assert (office.reasons, desk.failures) == (["a twin", "the other one"], ["INVALID_INPUT"])

    office = Office(report())
    office.suspects = ["B-1"]
    done = enrol(office, Station(), Desk(""), FACE)
    assert (done.enrollment.outcome, office.reasons) == (EnrollmentOutcome.DUPLICATE_SUSPECTED, [])

    office = Office(report())
    office.suspects = ["B-1"]
    done = enrol(office, Station(), Desk(attended=False), FACE)
    assert done.enrollment.outcome is EnrollmentOutcome.DUPLICATE_SUSPECTED
    assert office.dedupe is None


@pytest.mark.parametrize("error", [CaptureTimeoutError("nobody came"), DeviceGoneError("it is gone")])
def test_a_device_that_gave_nothing_is_told_and_no_attempt_is_lost(error: DeviceError) -> None:
    desk = Desk("again")
    done = enrol(Office(report()), Station(error), desk, FACE)
    assert standings(done) == [TraitStanding.TAKEN]
    assert desk.failures == [error.reason]
    assert [word for word in desk.told if word.startswith("face")] == ["face 3", "face 3"]


def test_a_lease_that_ran_out_while_the_operator_thought_is_taken_anew() -> None:
    station = Station()
    station.lost = True
    enrol(Office(unusable(Reason.NO_FACE), report()), station, Desk("again"), FACE)
    assert station.acquired == [CAMERA, CAMERA]


def test_a_device_that_another_has_is_taken_over_once_and_only_for_a_reason() -> None:
    station = Station()
    station.busy = station.lost = True
    unattended: Any = (Office(report()), station, DEVICES, Desk(attended=False))
    with pytest.raises(DeviceBusyError):
        Counter(*unattended).enrol(Plan("A-1", (FACE,)))
    again: Any = (Office(unusable(Reason.NO_FACE), report()), station, DEVICES, Desk(attended=False))
    with pytest.raises(DeviceBusyError):  # it was taken back meanwhile
        Counter(*again, take_over="counter 3 hangs").enrol(Plan("A-1", (FACE,)))
    assert station.taken_over == [f"{CAMERA}: counter 3 hangs"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), CaptureTimeoutError("nobody came"), ServiceError("the line broke")]
)
def test_whatever_ends_it_devices_are_given_back_and_the_session_is_cancelled(error: BaseException) -> None:
    office, station = Office(), Station(error)
    counter: Any = Counter(office, station, DEVICES, Desk(attended=False))  # type: ignore[arg-type]
    with pytest.raises(type(error)):
        counter.enrol(Plan("A-1", (FACE,)))
    assert office.cancelled
    assert not station.held


def device(device_id: str, kind: DeviceKind = DeviceKind.CAMERA) -> StationDevice:
    return StationDevice(device_id, kind, "", "", "", 0.0, (), "")


def test_the_only_device_of_a_kind_is_used_and_of_several_the_one_that_is_named() -> None:
    scanner = device("s", DeviceKind.FINGERPRINT_SCANNER)
    assert devices_for([FACE, RIGHT_INDEX], [device("a"), scanner], []) == {Modality.FACE: "a", Modality.FINGER: "s"}
    assert devices_for([FACE], [device("a"), device("b"), scanner], ["b"]) == {Modality.FACE: "b"}
    assert devices_for([], [], []) == {}
    with pytest.raises(InvalidInputError, match="camera: expected one, got a, b; name it with --device"):
        devices_for([FACE], [device("a"), device("b")], [])
    with pytest.raises(InvalidInputError, match="scanner: expected one, got none; plug one in"):
        devices_for([RIGHT_INDEX], [device("a")], [])
    with pytest.raises(InvalidInputError, match="device: expected of a; got c"):
        devices_for([FACE], [device("a")], ["c"])


class Page:
    """What a preview was told to show."""

    url = "http://127.0.0.1:1/secret/"

    def __init__(self) -> None:
        self.shown: list[tuple[bytes, str, bool]] = []

    def show(self, jpeg: bytes, word: str, *, good: bool = False) -> None:
        self.shown.append((jpeg, word, good))

    def clear(self) -> None:
        self.shown.append((b"", "", False))


def test_guidance_is_said_once_as_long_as_it_lasts_and_every_picture_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = Page()
    terminal = Terminal("en", page, quiet=False, attended=True)  # type: ignore[arg-type]
    terminal.begin(FACE, 3)
    for _ in range(2):
        terminal.tell(replace(moment("Mendekat", Guidance.COME_CLOSER), preview=b"picture"))
    terminal.tell(replace(moment(""), preview=b"still"))
    terminal.tell(replace(moment(""), preview=b"taken", sample=PORTRAIT))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("Mendekat") == 1
    assert "face, 3 attempt(s) left" in said.err
    assert page.shown == [(b"picture", "Mendekat", False)] * 2 + [(b"still", "", True), (b"", "", False)]


def test_the_operator_is_asked_until_there_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["", "x", "Over"])
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: next(said))
    terminal = Terminal("en", None, quiet=True, attended=True)
    assert terminal.choose(FACE, [Choice.AGAIN, Choice.OVERRIDE]) is Choice.OVERRIDE
