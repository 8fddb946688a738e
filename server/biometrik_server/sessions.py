"""Enrolments that are collected sample by sample: in memory, bounded, of one client each, dropped when nobody calls."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from biometrik.capture import MAX_LOG, Capture
from biometrik.duplicates import DedupePolicy
from biometrik.engine import Engine
from biometrik.errors import InvalidInputError, QueueFullError, SessionNotFoundError, TransactionConflictError
from biometrik.fingers import FingerprintImage
from biometrik.samples import PreparedSample
from biometrik.types import Enrollment, EnrollmentOutcome, FaceImage, RequestContext, Trait, sha256_hex
from biometrik.verdicts import CaptureBasis, Submitted, TraitState, submitted

M = TypeVar("M")

#: Random bytes in the name of a session: nobody guesses it.
_ID_BYTES: Final = 18


@dataclass(slots=True, eq=False)
class Session:
    """One person's enrolment as it stands.

    Parameters
    ----------
    session_id, owner : str
        Its name, and the client that opened it.
    subject_id : str
        Whom it is for.
    galleries : tuple of str or None
        That the encounter joins; None for the default one.
    context : RequestContext
        Of its opening.
    wanted : tuple of Trait
        In the order asked for.
    capture : Capture
        The rules, and what was taken.
    dedupe : DedupePolicy or None
        How duplicates are looked for; suspects whom the operator has seen are left out from then on.
    """

    session_id: str
    owner: str
    subject_id: str
    galleries: tuple[str, ...] | None
    context: RequestContext
    wanted: tuple[Trait, ...]
    capture: Capture[PreparedSample]
    dedupe: DedupePolicy | None = None
    _suspects: tuple[str, ...] = ()  # of the last Finalize
    _suspicions: int = 0  # how often there were any
    _done: tuple[Enrollment, tuple[TraitState, ...]] | None = None
    _answers: dict[str, tuple[str, Any]] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def once(self, request: Any, act: Callable[[], Awaitable[M]]) -> M:
        """Return the answer of an act, which takes its turn; of a repeat, the first answer.

        An act that has begun goes on although its client is gone: the repeat is then told what became of it.

        Parameters
        ----------
        request : Message
            With a context, whose transaction id names the act; "" for an act that cannot be repeated.
        act : callable
            What is done.

        Raises
        ------
        TransactionConflictError
            The transaction id was used with another request.
        """
        task = asyncio.create_task(self._in_turn(request, act))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # told, or nobody is there to be
        return await asyncio.shield(task)

    async def _in_turn(self, request: Any, act: Callable[[], Awaitable[M]]) -> M:
        name, digest = request.context.transaction_id, digest_of(request)
        async with self._turn:
            if name in self._answers:
                known, answer = self._answers[name]
                _check_same(known, digest)
                first: M = answer
                return first
            if len(self._answers) >= MAX_LOG:
                raise InvalidInputError(f"session: expected at most {MAX_LOG} acts, got more; cancel it, begin another")
            answer = await act()
            if name:
                self._answers[name] = (digest, answer)
            return answer

    def present(self, sample: PreparedSample) -> Submitted:
        """Take a sample as one attempt at the trait that it shows; raises as :meth:`Capture.present`."""
        verdict = self.capture.present(sample.trait, sample, sample.report)
        return submitted(verdict, sample.report, self.standings())

    def override_duplicates(self, reason: str) -> None:
        """Leave the suspects of the last Finalize out of the next; others are suspected all the same.

        Raises
        ------
        InvalidInputError
            There are none, more than may be left out, or no reason.
        """
        if not 1 <= len(reason) <= 128 or not reason.isprintable():
            raise InvalidInputError(f"reason: expected 1 to 128 printable characters, got {len(reason)}")
        if self.dedupe is None or not self._suspects:
            raise InvalidInputError("override: expected suspects of a Finalize that was refused, got none")
        self.dedupe = replace(
            self.dedupe,
            excluded_subject_ids=(*self.dedupe.excluded_subject_ids, *self._suspects),
            override="; ".join(filter(None, (self.dedupe.override, reason))),
        )
        self._suspects = ()

    def enrolled(self, engine: Engine, context: RequestContext, override: str) -> Enrollment:
        """Enrol what was taken; see Finalize in the contract.

        Raises
        ------
        BiometrikError
            As :meth:`Engine.enroll`.
        """
        if len(override) > 128 or not (override == "" or override.isprintable()):
            raise InvalidInputError(f"override_reason: expected up to 128 printable characters, got {len(override)}")
        if self._done is not None:
            return self._done[0]
        capture, taken = self.capture, self.capture.taken
        if not (capture.finished or override):
            return _nothing(EnrollmentOutcome.NEEDS_RECAPTURE, self.subject_id)
        if not taken:
            return _nothing(EnrollmentOutcome.FAILURE_TO_ENROLL, self.subject_id)
        reasons = [override] if override else []
        reasons += [
            f"{trait.name}: {row.basis.value}" for trait, row in taken.items() if row.basis is not CaptureBasis.GOOD
        ]
        enrollment = engine.enroll(
            self.subject_id,
            [row.sample for row in taken.values()],
            missing=capture.missing,
            galleries=self.galleries,
            override="; ".join(reasons),
            dedupe=self.dedupe,
            history=json.dumps([[entry.trait.name, entry.what, entry.detail] for entry in capture.log]),
            context=_joined(context, self.context, self._transaction()),
        )
        if enrollment.outcome is EnrollmentOutcome.DUPLICATE_SUSPECTED and enrollment.search is not None:
            self._suspects = tuple(candidate.subject_id for candidate in enrollment.search.candidates)
            self._suspicions += 1
        if enrollment.outcome is EnrollmentOutcome.ENROLLED:
            self._done = (enrollment, self.standings())
            capture.cancel()
        return enrollment

    def _transaction(self) -> str:
        # Of a Finalize without one. What a suspicion was answered is remembered under its id: the next is another.
        return f"{self.session_id}.{self._suspicions}" if self._suspicions else self.session_id

    def standings(self) -> tuple[TraitState, ...]:
        """Return how far every trait is; of a session that has enrolled, how far it was then."""
        if self._done is not None:
            return self._done[1]
        capture, taken = self.capture, self.capture.taken
        return tuple(
            TraitState(
                trait,
                capture.standing(trait),
                capture.attempts_left(trait),
                taken[trait].basis if trait in taken else None,
            )
            for trait in self.wanted
        )


class Sessions:
    """All sessions of a server; used on its event loop.

    Parameters
    ----------
    engine : Engine
        Compares fingers.
    max_sessions, max_bytes : int
        How many there may be, and how much their samples may hold together.
    lifetime_s : float
        After its last call a session is dropped.
    """

    def __init__(self, engine: Engine, *, max_sessions: int, max_bytes: int, lifetime_s: float) -> None:
        self._engine = engine
        self._max_sessions = max_sessions
        self._max_bytes = max_bytes
        self._lifetime_s = lifetime_s
        self._sessions: dict[str, Session] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._opened: dict[tuple[str, str], tuple[str, str]] = {}

    def open(
        self,
        owner: str,
        request: Any,
        subject_id: str,
        wanted: Sequence[Trait],
        galleries: tuple[str, ...] | None,
        context: RequestContext,
        dedupe: DedupePolicy | None = None,
    ) -> Session:
        """Open a session, or return the one that this transaction opened.

        Raises
        ------
        InvalidInputError
            Nothing wanted, a trait twice, or more than one enrolment takes.
        QueueFullError
            There are as many as there may be.
        TransactionConflictError
            The transaction id was used with another request.
        """
        transaction, digest = (owner, context.transaction_id), digest_of(request)
        if context.transaction_id and transaction in self._opened:
            known, session_id = self._opened[transaction]
            _check_same(known, digest)
            return self.get(owner, session_id)
        if len(wanted) > self._engine.config.max_samples:
            raise InvalidInputError(f"wanted: expected at most {self._engine.config.max_samples}, got {len(wanted)}")
        if len(self._sessions) >= self._max_sessions:
            raise QueueFullError(f"session: {len(self._sessions)} enrolments are open; finish one, or try again later")
        capture: Capture[PreparedSample] = Capture(wanted, same_finger=self._same_finger)
        session_id = secrets.token_urlsafe(_ID_BYTES)
        session = Session(session_id, owner, subject_id, galleries, context, tuple(wanted), capture, dedupe)
        self._sessions[session_id] = session
        if context.transaction_id:
            self._opened[transaction] = (digest, session_id)
        self._keep(session)
        return session

    def get(self, owner: str, session_id: str) -> Session:
        """Return a session and begin its lifetime anew.

        Raises
        ------
        SessionNotFoundError
            There is none of this name, or it is another client's.
        """
        session = self._sessions.get(session_id)
        if session is None or session.owner != owner:
            raise SessionNotFoundError("session_id: expected one that is open, got none; open another")
        self._keep(session)
        return session

    def room_for(self, sample: PreparedSample) -> PreparedSample:
        """Return the sample as it is kept, without the bytes that it was decoded from.

        Raises
        ------
        QueueFullError
            The samples of all sessions would hold too much.
        """
        if isinstance(sample.source, FaceImage | FingerprintImage):
            sample = replace(sample, source=replace(sample.source, encoded=b""))
        held = sum(_bytes(each) for session in self._sessions.values() for each in session.capture.held)
        if held + _bytes(sample) > self._max_bytes:
            raise QueueFullError("session: samples of open enrolments fill their room; finish one, or try again later")
        return sample

    def cancel(self, owner: str, session_id: str) -> None:
        """Drop a session and its samples; nothing happens where there is none."""
        with suppress(SessionNotFoundError):
            self._drop(self.get(owner, session_id))

    def _keep(self, session: Session) -> None:
        if (timer := self._timers.pop(session.session_id, None)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[session.session_id] = loop.call_later(self._lifetime_s, self._drop, session)

    def _drop(self, session: Session) -> None:
        self._sessions.pop(session.session_id, None)
        if (timer := self._timers.pop(session.session_id, None)) is not None:
            timer.cancel()
        if session.context.transaction_id:
            self._opened.pop((session.owner, session.context.transaction_id), None)

    def _same_finger(self, sample: PreparedSample, others: Mapping[Trait, PreparedSample]) -> Trait | None:
        return self._engine.same_finger(sample, others)


def digest_of(request: Any) -> str:
    """Return what tells a request from another; who asks and in which language does not count."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("context")
    return sha256_hex(same.DESCRIPTOR.full_name.encode(), same.SerializeToString(deterministic=True))


def _check_same(known: str, digest: str) -> None:
    if known != digest:
        raise TransactionConflictError("transaction_id: expected the request of its first use, got another")


def _joined(later: RequestContext, opening: RequestContext, transaction_id: str) -> RequestContext:
    # What the last call says counts; what it leaves out is as it was at the opening.
    return RequestContext(
        transaction_id=later.transaction_id or transaction_id,
        operator_ref=later.operator_ref or opening.operator_ref,
        station_ref=later.station_ref or opening.station_ref,
        consent_ref=later.consent_ref or opening.consent_ref,
        purpose=later.purpose or opening.purpose,
    )


def _nothing(outcome: EnrollmentOutcome, subject_id: str) -> Enrollment:
    return Enrollment(outcome, subject_id, "", 0, ())


def _bytes(sample: PreparedSample) -> int:
    return sample.source.pixels.nbytes if isinstance(sample.source, FaceImage | FingerprintImage) else 0
