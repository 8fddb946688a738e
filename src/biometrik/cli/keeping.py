"""The service's part of an enrolment on this machine, so that nobody is sent home while the service is away.

Attempts are judged here by the rules that the service has. The enrolment is on disk, encrypted, before it is sent, and
stays there until the service has answered (:mod:`biometrik_station.forwarding`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from biometrik.capture import Capture
from biometrik.cli.counter import Kept
from biometrik.client import Finalized, OpenedSession
from biometrik.duplicates import DedupePolicy
from biometrik.engine import Engine
from biometrik.errors import InvalidInputError, SessionNotFoundError
from biometrik.samples import PreparedSample, Sample
from biometrik.types import Enrollment, EnrollmentOutcome, MissingSample, RequestContext, Trait
from biometrik.verdicts import CaptureBasis, OverrideKind, Submitted, TraitState, submitted
from biometrik_station.forwarding import Send, enroll, request_of
from biometrik_station.spool import Spool


@dataclass(slots=True, eq=False)
class _Visit:
    subject_id: str
    wanted: tuple[Trait, ...]
    galleries: tuple[str, ...] | None
    dedupe: DedupePolicy | None
    capture: Capture[PreparedSample]
    suspects: tuple[str, ...] = field(default=())

    def states(self) -> tuple[TraitState, ...]:
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

    def why(self, override: str) -> str:
        # What an operator accepted, and what the rules did after three attempts: the event log keeps it.
        said = [override] if override else []
        said += [f"{entry.trait.name}: {entry.detail}" for entry in self.capture.log if entry.what == "OVERRIDE"]
        said += [
            f"{trait.name}: {row.basis.value}"
            for trait, row in self.capture.taken.items()
            if row.basis is CaptureBasis.BEST_OF_ATTEMPTS
        ]
        return "; ".join(said)


class KeepingOffice:
    """An office (:class:`biometrik.cli.counter.Office`) that decides here and keeps; not thread-safe.

    Parameters
    ----------
    engine : Engine
        Assesses samples and compares fingers; its own gallery stays empty.
    spool : Spool
        Where enrolments are kept.
    send : callable
        Reaches the service, see :meth:`biometrik_station.forwarding.Forwarder.send`.
    """

    def __init__(self, engine: Engine, spool: Spool, send: Send) -> None:
        self._engine, self._spool, self._send = engine, spool, send
        self._visits: dict[str, _Visit] = {}

    def open_session(
        self,
        subject_id: str,
        wanted: Sequence[Trait],
        *,
        galleries: Sequence[str] | None = None,
        dedupe: DedupePolicy | None = None,
        context: RequestContext | None = None,  # noqa: ARG002  that of Finalize counts
    ) -> OpenedSession:
        """Begin to collect a person's samples; raises InvalidInputError as :class:`Capture`."""
        capture: Capture[PreparedSample] = Capture(wanted, same_finger=self._engine.same_finger)
        joined = None if galleries is None else tuple(galleries)
        visit = _Visit(subject_id, tuple(wanted), joined, dedupe, capture)
        session_id = f"here-{len(self._visits) + 1}"
        self._visits[session_id] = visit
        return OpenedSession(session_id, visit.states())

    def submit(self, session_id: str, sample: Sample, *, context: RequestContext | None = None) -> Submitted:  # noqa: ARG002
        """Present a sample as one attempt at the trait that it shows; raises InvalidInputError."""
        visit = self._visit(session_id)
        (prepared,) = self._engine.prepare([sample])
        verdict = visit.capture.present(prepared.trait, prepared, prepared.report)
        return submitted(verdict, prepared.report, visit.states())

    def mark_missing(
        self,
        session_id: str,
        missing: MissingSample,
        *,
        context: RequestContext | None = None,  # noqa: ARG002
    ) -> tuple[TraitState, ...]:
        """Say that a finger cannot be had; raises InvalidInputError."""
        visit = self._visit(session_id)
        visit.capture.mark_missing(missing)
        return visit.states()

    def restart(
        self,
        session_id: str,
        trait: Trait,
        *,
        context: RequestContext | None = None,  # noqa: ARG002
    ) -> tuple[TraitState, ...]:
        """Begin a trait from nothing; raises InvalidInputError."""
        visit = self._visit(session_id)
        visit.capture.restart(trait)
        return visit.states()

    def override(
        self,
        session_id: str,
        trait: Trait,
        kind: OverrideKind,
        reason: str,
        *,
        context: RequestContext | None = None,  # noqa: ARG002
    ) -> tuple[TraitState, ...]:
        """Take what the rules would not; raises InvalidInputError."""
        visit = self._visit(session_id)
        visit.capture.override(trait, kind, reason)
        return visit.states()

    def override_duplicates(
        self,
        session_id: str,
        reason: str,
        *,
        context: RequestContext | None = None,  # noqa: ARG002
    ) -> tuple[TraitState, ...]:
        """Leave the suspects whom the service named out of its next search.

        Raises
        ------
        InvalidInputError
            There are none, more than may be left out, or no reason.
        """
        visit = self._visit(session_id)
        if visit.dedupe is None or not visit.suspects:
            raise InvalidInputError("override: expected suspects of a Finalize that was refused, got none")
        visit.dedupe = replace(
            visit.dedupe,
            excluded_subject_ids=(*visit.dedupe.excluded_subject_ids, *visit.suspects),
            override="; ".join(filter(None, (visit.dedupe.override, reason))),
        )
        visit.suspects = ()
        return visit.states()

    def finalize(
        self, session_id: str, *, override: str = "", context: RequestContext | None = None
    ) -> Finalized | Kept:
        """Keep what was taken and send it.

        Returns
        -------
        Finalized or Kept
            The service's answer; Kept where it could not be had: the enrolment waits to be forwarded.

        Raises
        ------
        BiometrikError
            As :func:`biometrik_station.forwarding.enroll`.
        """
        visit = self._visit(session_id)
        taken = visit.capture.taken
        if not (visit.capture.finished or override):
            return _nothing(EnrollmentOutcome.NEEDS_RECAPTURE, visit)
        if not taken:
            return _nothing(EnrollmentOutcome.FAILURE_TO_ENROLL, visit)
        request = request_of(
            visit.subject_id,
            [row.sample.source for row in taken.values()],
            missing=visit.capture.missing,
            galleries=visit.galleries,
            override=visit.why(override),
            dedupe=visit.dedupe,
            context=context,
        )
        answer = enroll(self._spool, self._send, request)
        if answer is None:
            return Kept(visit.subject_id, visit.states())
        if answer.search is not None:
            visit.suspects = tuple(candidate.subject_id for candidate in answer.search.candidates)
        return Finalized(answer, visit.states())

    def cancel_session(self, session_id: str) -> None:
        """Give a session up; its samples are dropped."""
        self._visits.pop(session_id, None)

    def _visit(self, session_id: str) -> _Visit:
        if session_id not in self._visits:
            raise SessionNotFoundError("session_id: expected one that is open, got none; open another")
        return self._visits[session_id]


def _nothing(outcome: EnrollmentOutcome, visit: _Visit) -> Finalized:
    return Finalized(Enrollment(outcome, visit.subject_id, "", 0, ()), visit.states())
