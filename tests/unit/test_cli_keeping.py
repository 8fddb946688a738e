"""An enrolment that is decided on this machine: the rules are the service's, and nothing is sent that is not kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biometrik.cli.counter import Kept
from biometrik.cli.keeping import KeepingOffice
from biometrik.client import Finalized
from biometrik.duplicates import DedupePolicy
from biometrik.errors import InvalidInputError, ServiceUnavailableError, SessionNotFoundError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.reasons import Reason
from biometrik.samples import PreparedSample, Sample
from biometrik.types import (
    Candidate,
    Enrollment,
    EnrollmentOutcome,
    Identification,
    MissingReason,
    MissingSample,
    Modality,
    Outcome,
    RequestContext,
    SampleReport,
    SearchCoverage,
    Template,
    Trait,
)
from biometrik.v1 import enrollment_service_pb2 as pb
from biometrik.verdicts import OverrideKind, SubmitOutcome, TraitStanding
from biometrik_station.spool import Spool
from tests.unit.captured import LEFT_INDEX, RIGHT_INDEX, report, unusable

PRINT = FingerprintImage(np.zeros((100, 100), dtype=np.uint8), 500.0, FingerPosition.RIGHT_INDEX)
TEMPLATE = Template(Modality.FINGER, "m", b"x", RIGHT_INDEX.position)


class Engine:
    """Says of each sample, in order, what it is given."""

    def __init__(self, *said: SampleReport, same: bool = False) -> None:
        self.said, self.same = list(said), same

    def prepare(self, samples: list[Sample]) -> tuple[PreparedSample, ...]:
        said = self.said.pop(0)
        return tuple(PreparedSample(sample, said, TEMPLATE if said.usable else None) for sample in samples)

    def same_finger(self, sample: PreparedSample, others: Mapping[Trait, PreparedSample]) -> Trait | None:
        return next(iter(others)) if self.same else None


class Service:
    """Answers what it is told to, or is away."""

    def __init__(self, *answers: Enrollment | None) -> None:
        self.answers = list(answers)
        self.asked: list[pb.EnrollRequest] = []

    def send(self, request: pb.EnrollRequest) -> Enrollment:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if answer is None:
            raise ServiceUnavailableError("away")
        return answer


ENROLLED = Enrollment(EnrollmentOutcome.ENROLLED, "A-1", "e-1", 1, ())


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("5f" * 32)
    return Spool(tmp_path / "spool", key)


def office(spool: Spool, service: Service, engine: Engine) -> KeepingOffice:
    made: Any = engine
    return KeepingOffice(made, spool, service.send)


def test_what_was_taken_is_kept_while_the_service_is_away(spool: Spool) -> None:
    service = Service(None)
    desk = office(spool, service, Engine(report(RIGHT_INDEX)))
    session = desk.open_session("A-1", [RIGHT_INDEX, LEFT_INDEX], galleries=["staff"])
    assert [state.standing for state in session.traits] == [TraitStanding.WANTED] * 2
    assert desk.submit(session.session_id, PRINT).outcome is SubmitOutcome.ACCEPTED
    missing = MissingSample(FingerPosition.LEFT_INDEX, MissingReason.BANDAGED, permanent=False)
    desk.mark_missing(session.session_id, missing)
    who = RequestContext(operator_ref="officer-7")
    done = desk.finalize(session.session_id, context=who)
    assert isinstance(done, Kept)
    assert [state.standing for state in done.traits] == [TraitStanding.TAKEN, TraitStanding.MISSING]
    (kept,) = spool.waiting()
    request = spool.read(kept.name)
    assert request is not None
    assert request == service.asked[0]
    assert (request.subject_id, request.context.operator_ref, list(request.galleries.names)) == (
        "A-1",
        "officer-7",
        ["staff"],
    )
    assert request.context.transaction_id
    assert request.samples[0].sample.data  # its bytes, not an upload that expires
    assert len(request.missing) == 1
    assert request.override_reason == ""


def test_what_the_service_answers_at_once_is_not_kept(spool: Spool) -> None:
    desk = office(spool, Service(ENROLLED), Engine(report(RIGHT_INDEX)))
    session = desk.open_session("A-1", [RIGHT_INDEX]).session_id
    desk.submit(session, PRINT)
    done = desk.finalize(session)
    assert isinstance(done, Finalized)
    assert done.enrollment == ENROLLED
    assert spool.waiting() == []


def test_what_is_not_complete_is_neither_sent_nor_kept(spool: Spool) -> None:
    bad = unusable(Reason.NO_FINGERPRINT, RIGHT_INDEX)
    service = Service()
    desk = office(spool, service, Engine(bad, bad, bad))
    session = desk.open_session("A-1", [RIGHT_INDEX]).session_id
    outcomes = [desk.submit(session, PRINT).outcome for _ in range(3)]
    assert outcomes == [SubmitOutcome.RETRY, SubmitOutcome.RETRY, SubmitOutcome.ATTEMPTS_EXHAUSTED]
    for override, outcome in (("", EnrollmentOutcome.NEEDS_RECAPTURE), ("burnt", EnrollmentOutcome.FAILURE_TO_ENROLL)):
        done = desk.finalize(session, override=override)
        assert isinstance(done, Finalized)
        assert done.enrollment.outcome is outcome
    assert desk.restart(session, RIGHT_INDEX)[0].standing is TraitStanding.WANTED
    assert (service.asked, spool.waiting()) == ([], [])


def test_why_something_was_accepted_goes_with_it(spool: Spool) -> None:
    service = Service(None)
    poor = report(RIGHT_INDEX, 20.0, Reason.BLURRED)
    desk = office(spool, service, Engine(poor, poor, poor, report(LEFT_INDEX), same=True))
    session = desk.open_session("A-1", [RIGHT_INDEX, LEFT_INDEX]).session_id
    for _ in range(3):
        desk.submit(session, PRINT)
    assert desk.submit(session, PRINT).same_as == RIGHT_INDEX
    desk.override(session, LEFT_INDEX, OverrideKind.SAME_FINGER, "seen to be two")
    desk.finalize(session, override="in a hurry")
    assert service.asked[0].override_reason == (
        "in a hurry; left_index: SAME_FINGER: seen to be two; right_index: BEST_OF_ATTEMPTS"
    )


def test_suspects_of_the_service_are_left_out_with_a_reason_under_a_transaction_of_its_own(spool: Spool) -> None:
    candidate = Candidate(1, "B-1", "e-0", (), 50.0, None, True)
    coverage = SearchCoverage(1, (), 1, 1, True, 1.0)
    found = Identification(Outcome.MATCH, (), (candidate,), 40.0, 0.01, None, coverage, "c", "m", ())
    suspected = Enrollment(EnrollmentOutcome.DUPLICATE_SUSPECTED, "A-1", "", 0, (), found)
    service = Service(suspected, ENROLLED)
    desk = office(spool, service, Engine(report(RIGHT_INDEX)))
    session = desk.open_session("A-1", [RIGHT_INDEX], dedupe=DedupePolicy()).session_id
    desk.submit(session, PRINT)
    with pytest.raises(InvalidInputError, match="suspects"):
        desk.override_duplicates(session, "a twin")
    desk.finalize(session)
    assert spool.waiting() == []  # nothing was stored, and the operator is still there to be asked
    desk.override_duplicates(session, "a twin")
    done = desk.finalize(session)
    assert isinstance(done, Finalized)
    assert done.enrollment == ENROLLED
    first, second = service.asked
    assert first.context.transaction_id != second.context.transaction_id
    assert list(second.dedupe.excluded_subject_ids) == ["B-1"]
    assert second.dedupe.override_reason == "a twin"


def test_a_session_that_was_given_up_is_gone(spool: Spool) -> None:
    desk = office(spool, Service(), Engine())
    session = desk.open_session("A-1", [RIGHT_INDEX]).session_id
    desk.cancel_session(session)
    with pytest.raises(SessionNotFoundError):
        desk.submit(session, PRINT)
