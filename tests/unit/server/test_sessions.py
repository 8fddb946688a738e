"""Sessions: one client's, bounded, repeated without being done twice, gone when nobody calls."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import numpy as np
import pytest

from biometrik.config import EngineConfig
from biometrik.duplicates import DedupePolicy
from biometrik.engine import Engine
from biometrik.errors import InvalidInputError, QueueFullError, SessionNotFoundError, TransactionConflictError
from biometrik.reasons import Reason
from biometrik.samples import PreparedSample
from biometrik.types import (
    FACE,
    Candidate,
    Enrollment,
    EnrollmentOutcome,
    FaceImage,
    Identification,
    Outcome,
    RequestContext,
    SearchCoverage,
    Trait,
)
from biometrik.v1 import context_pb2
from biometrik.v1 import enrollment_service_pb2 as pb
from biometrik.verdicts import OverrideKind, SubmitOutcome, TraitStanding
from biometrik_server.sessions import Session, Sessions, digest_of
from tests.unit.captured import report

RIGHT = Trait.finger(2)


SUSPICION = Identification(
    Outcome.MATCH,
    (),
    (Candidate(1, "Z", "e-0", (), 50.0, None, True),),
    40.0,
    0.01,
    None,
    SearchCoverage(1, (), 1, 1, True, 1.0),
    "c",
    "m",
    (),
)


class Enroller:
    """Stands for an engine: it writes down what it is asked to enrol."""

    config = EngineConfig()

    def __init__(self, outcome: EnrollmentOutcome = EnrollmentOutcome.ENROLLED) -> None:
        self.outcome = outcome
        self.asked: list[dict[str, Any]] = []

    def enroll(self, subject_id: str, samples: list[PreparedSample], **how: Any) -> Enrollment:
        self.asked.append({"subject_id": subject_id, "samples": samples, **how})
        found = SUSPICION if self.outcome is EnrollmentOutcome.DUPLICATE_SUSPECTED else None
        return Enrollment(self.outcome, subject_id, "e-1", len(samples), (), found)


def sample(trait: Trait = FACE, overall: float = 80.0, side_px: int = 10, *, poor: bool = False) -> PreparedSample:
    pixels = np.zeros((side_px, side_px, 3), dtype=np.uint8)
    said = report(trait, overall, Reason.TOO_DARK if poor else None)
    return PreparedSample(FaceImage(pixels, b"encoded"), said, None)


def opening(transaction_id: str = "", subject_id: str = "A") -> pb.OpenSessionRequest:
    return pb.OpenSessionRequest(
        context=context_pb2.RequestContext(transaction_id=transaction_id), subject_id=subject_id
    )


def open_one(
    sessions: Sessions, transaction_id: str = "", owner: str = "counter", wanted: tuple[Trait, ...] = (FACE,)
) -> Session:
    who = RequestContext(transaction_id, operator_ref="op", consent_ref="form")
    return sessions.open(owner, opening(transaction_id), "A", wanted, None, who)


def on_a_loop(
    work: Callable[[Sessions, Enroller], Awaitable[None]],
    *,
    max_sessions: int = 2,
    max_bytes: int = 1000,
    lifetime_s: float = 60.0,
) -> None:
    async def run() -> None:
        engine = Enroller()
        limits = {"max_sessions": max_sessions, "max_bytes": max_bytes}
        await work(Sessions(cast(Engine, engine), lifetime_s=lifetime_s, **limits), engine)

    asyncio.run(run())


def test_a_session_is_its_clients_alone() -> None:
    async def work(sessions: Sessions, _: Enroller) -> None:
        session = open_one(sessions)
        assert sessions.get("counter", session.session_id) is session
        with pytest.raises(SessionNotFoundError):
            sessions.get("other", session.session_id)
        sessions.cancel("other", session.session_id)
        assert sessions.get("counter", session.session_id) is session
        sessions.cancel("counter", session.session_id)
        with pytest.raises(SessionNotFoundError):
            sessions.get("counter", session.session_id)

    on_a_loop(work)


def test_there_are_only_so_many_and_a_cancelled_one_makes_room() -> None:
    async def work(sessions: Sessions, _: Enroller) -> None:
        first = open_one(sessions)
        open_one(sessions)
        with pytest.raises(QueueFullError):
            open_one(sessions)
        sessions.cancel("counter", first.session_id)
        open_one(sessions)

    on_a_loop(work)


def test_an_opening_that_is_repeated_opens_nothing_and_its_id_is_one_clients() -> None:
    async def work(sessions: Sessions, _: Enroller) -> None:
        session = open_one(sessions, "t")
        assert open_one(sessions, "t") is session
        with pytest.raises(TransactionConflictError):
            sessions.open("counter", opening("t", "B"), "B", [FACE], None, RequestContext("t"))
        assert open_one(sessions, "t", owner="other") is not session

    on_a_loop(work)


def test_more_than_one_enrolment_takes_is_not_asked_for() -> None:
    async def work(sessions: Sessions, _: Enroller) -> None:
        many = tuple(Trait.finger(position) for position in range(11))
        open_one(sessions, wanted=many)
        with pytest.raises(InvalidInputError, match="at most 16"):
            open_one(sessions, wanted=many * 2)

    on_a_loop(work)


def test_a_session_that_nobody_calls_is_dropped() -> None:
    async def work(sessions: Sessions, _: Enroller) -> None:
        session = open_one(sessions, "t")
        await asyncio.sleep(0.1)
        with pytest.raises(SessionNotFoundError):
            sessions.get("counter", session.session_id)
        assert open_one(sessions, "t") is not session

    on_a_loop(work, lifetime_s=0.02)


def test_samples_have_room_together_and_their_files_are_not_kept() -> None:
    async def work(sessions: Sessions, _: Enroller) -> None:
        session = open_one(sessions)
        kept = sessions.room_for(sample(side_px=15))
        assert isinstance(kept.source, FaceImage)
        assert kept.source.encoded == b""
        session.present(kept)
        with pytest.raises(QueueFullError):
            sessions.room_for(sample(side_px=11))
        sessions.room_for(sample(side_px=10))

    on_a_loop(work, max_bytes=1000)


def _submit(transaction_id: str, session_id: str = "s") -> pb.SubmitSampleRequest:
    return pb.SubmitSampleRequest(
        context=context_pb2.RequestContext(transaction_id=transaction_id), session_id=session_id
    )


def test_an_act_that_is_repeated_is_done_once_and_another_request_is_refused() -> None:
    async def work(sessions: Sessions, _: Enroller) -> None:
        session, done = open_one(sessions), []

        async def act() -> int:
            await asyncio.sleep(0)
            done.append(1)
            return len(done)

        together = await asyncio.gather(*(session.once(_submit("t"), act) for _ in range(3)))
        assert together == [1, 1, 1]
        with pytest.raises(TransactionConflictError):
            await session.once(_submit("t", "another"), act)
        assert await session.once(_submit(""), act) == 2
        assert await session.once(_submit(""), act) == 3

    on_a_loop(work)


def test_an_act_whose_client_is_gone_is_finished_and_the_repeat_is_told() -> None:
    async def work(sessions: Sessions, _: Enroller) -> None:
        session, gate, done = open_one(sessions), asyncio.Event(), []

        async def act() -> str:
            await gate.wait()
            done.append(1)
            return "answer"

        asking = asyncio.create_task(session.once(_submit("t"), act))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        gate.set()
        assert await session.once(_submit("t"), act) == "answer"
        assert done == [1]

    on_a_loop(work)


def test_an_act_that_failed_may_be_tried_again() -> None:
    async def work(sessions: Sessions, _: Enroller) -> None:
        session, failures = open_one(sessions), [InvalidInputError("no")]

        async def act() -> str:
            if failures:
                raise failures.pop()
            return "yes"

        with pytest.raises(InvalidInputError):
            await session.once(_submit("t"), act)
        assert await session.once(_submit("t"), act) == "yes"

    on_a_loop(work)


def test_a_finalize_without_an_id_is_another_one_after_each_suspicion() -> None:
    async def work(sessions: Sessions, enroller: Enroller) -> None:
        session = open_one(sessions)
        session.dedupe = DedupePolicy()
        session.present(sample())
        enroller.outcome = EnrollmentOutcome.DUPLICATE_SUSPECTED
        for _ in range(2):
            session.enrolled(cast(Engine, enroller), RequestContext(), "")
        session.override_duplicates("looked at")
        session.enrolled(cast(Engine, enroller), RequestContext(), "")
        own = session.session_id
        assert [asked["context"].transaction_id for asked in enroller.asked] == [own, f"{own}.1", f"{own}.2"]
        assert [asked["dedupe"].excluded_subject_ids for asked in enroller.asked] == [(), (), ("Z",)]

    on_a_loop(work)


def test_who_asks_is_no_part_of_a_request_but_its_kind_is() -> None:
    assert digest_of(_submit("t")) == digest_of(_submit("u"))
    assert digest_of(_submit("t")) != digest_of(pb.FinalizeRequest(session_id="s"))


def test_what_is_wanted_still_keeps_an_enrolment_open_unless_the_operator_says_so() -> None:
    async def work(sessions: Sessions, engine: Enroller) -> None:
        session = open_one(sessions, wanted=(FACE, RIGHT))
        assert session.present(sample()).outcome is SubmitOutcome.ACCEPTED
        enroller = cast(Engine, engine)
        assert session.enrolled(enroller, RequestContext(), "").outcome is EnrollmentOutcome.NEEDS_RECAPTURE
        assert not engine.asked
        with pytest.raises(InvalidInputError, match="override_reason"):
            session.enrolled(enroller, RequestContext(), "x" * 129)
        done = session.enrolled(enroller, RequestContext(operator_ref="other"), "no finger")
        assert done.outcome is EnrollmentOutcome.ENROLLED
        (asked,) = engine.asked
        assert asked["override"] == "no finger"
        assert asked["context"] == RequestContext(session.session_id, "other", consent_ref="form")
        assert '["face", "TAKEN", "GOOD after 1"]' in asked["history"]
        assert not session.capture.held
        assert session.enrolled(enroller, RequestContext(), "") is done
        assert [state.standing for state in session.standings()] == [TraitStanding.TAKEN, TraitStanding.WANTED]

    on_a_loop(work)


def test_a_poor_sample_that_was_taken_says_why() -> None:
    async def work(sessions: Sessions, engine: Enroller) -> None:
        session = open_one(sessions)
        session.present(sample(poor=True))
        session.capture.override(FACE, OverrideKind.QUALITY, "scar")
        session.enrolled(cast(Engine, engine), RequestContext(), "")
        assert engine.asked[0]["override"] == "face: OVERRIDE"

    on_a_loop(work)


def test_nothing_taken_is_a_failure_to_enrol_and_nothing_is_stored() -> None:
    async def work(sessions: Sessions, engine: Enroller) -> None:
        session = open_one(sessions)
        done = session.enrolled(cast(Engine, engine), RequestContext(), "gives up")
        assert done.outcome is EnrollmentOutcome.FAILURE_TO_ENROLL
        assert not engine.asked

    on_a_loop(work)


def test_what_the_engine_does_not_store_leaves_the_session_open() -> None:
    async def work(sessions: Sessions, engine: Enroller) -> None:
        engine.outcome = EnrollmentOutcome.NEEDS_RECAPTURE
        session = open_one(sessions)
        session.present(sample())
        session.enrolled(cast(Engine, engine), RequestContext(), "")
        assert session.capture.held

    on_a_loop(work)
