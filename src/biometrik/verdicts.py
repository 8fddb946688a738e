"""What becomes of the attempts at a trait in a guided capture, as values; see :mod:`biometrik.capture`."""

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from biometrik.reasons import Reason
from biometrik.types import SampleReport, Trait

S = TypeVar("S")


class TraitStanding(Enum):
    """How far a trait is."""

    WANTED = "WANTED"
    TAKEN = "TAKEN"
    MISSING = "MISSING"
    FAILED = "FAILED"
    """All attempts are used up, and none gave a sample that may be taken."""


class CaptureBasis(Enum):
    """Why a sample was taken."""

    GOOD = "GOOD"
    BEST_OF_ATTEMPTS = "BEST_OF_ATTEMPTS"
    """None of the attempts was acceptable; this was the best by quality."""
    OVERRIDE = "OVERRIDE"
    """The operator accepted it."""


class OverrideKind(Enum):
    """What the operator overrides."""

    QUALITY = "QUALITY"
    """A sample is poor, and a better one cannot be had: the attempts that are left are given up."""
    SAME_FINGER = "SAME_FINGER"
    """Two prints look alike, and the operator has seen that they are of two fingers."""
    DUPLICATE = "DUPLICATE"
    """The enrolment, not a trait of it, is suspected to be a duplicate, and the operator has looked at the suspects."""


@dataclass(frozen=True, slots=True, eq=False)
class Taken(Generic[S]):
    """A trait has its sample.

    Parameters
    ----------
    trait : Trait
        Which.
    sample : S
        The caller's own.
    report : SampleReport
        What became of it in the models.
    basis : CaptureBasis
        Why it was taken.
    attempts : int
        How many it took.
    """

    trait: Trait
    sample: S
    report: SampleReport
    basis: CaptureBasis
    attempts: int


@dataclass(frozen=True, slots=True)
class TryAgain:
    """An attempt gave nothing that may be taken; another is due.

    Parameters
    ----------
    trait : Trait
        Which.
    attempts_left : int
        At least 1.
    reasons : tuple of Reason
        What to do better, what matters most first.
    same_as : Trait or None
        The trait under which this very finger was taken before; None where it was not.
    """

    trait: Trait
    attempts_left: int
    reasons: tuple[Reason, ...]
    same_as: Trait | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """All attempts are used up: the operator may begin again, override, or say that the trait is missing.

    Parameters
    ----------
    trait : Trait
        Which.
    reasons : tuple of Reason
        Of the last attempt.
    same_as : Trait or None
        As of :class:`TryAgain`.
    """

    trait: Trait
    reasons: tuple[Reason, ...]
    same_as: Trait | None = None


Verdict = Taken[S] | TryAgain | Failed


@dataclass(frozen=True, slots=True)
class TraitState:
    """How far a trait of a capture is.

    Parameters
    ----------
    trait : Trait
        Which.
    standing : TraitStanding
        How far.
    attempts_left : int
        0 unless it is wanted.
    basis : CaptureBasis or None
        Why its sample was taken; None where none was.
    """

    trait: Trait
    standing: TraitStanding
    attempts_left: int
    basis: CaptureBasis | None


class SubmitOutcome(Enum):
    """What became of an attempt, in one word."""

    ACCEPTED = "ACCEPTED"
    """The trait has its sample: this one, or the best of all attempts where this was the last."""
    RETRY = "RETRY"
    DUPLICATE_OF_POSITION = "DUPLICATE_OF_POSITION"
    """The finger was presented before, as another."""
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a sample that was submitted to a session.

    Parameters
    ----------
    outcome : SubmitOutcome
        What became of it.
    reasons : tuple of Reason
        What to do better, what matters most first.
    same_as : Trait or None
        The trait under which this very finger was taken before; None where it was not.
    report : SampleReport
        Of the sample.
    traits : tuple of TraitState
        Every trait of the session, in the order asked for.
    """

    outcome: SubmitOutcome
    reasons: tuple[Reason, ...]
    same_as: Trait | None
    report: SampleReport
    traits: tuple[TraitState, ...]


def submitted(verdict: Verdict[S], report: SampleReport, traits: tuple[TraitState, ...]) -> Submitted:
    """Return the answer that a verdict is."""
    match verdict:
        case Taken():
            return Submitted(SubmitOutcome.ACCEPTED, (), None, report, traits)
        case Failed(_, reasons, same_as):
            return Submitted(SubmitOutcome.ATTEMPTS_EXHAUSTED, reasons, same_as, report, traits)
        case TryAgain(_, _, reasons, same_as):
            outcome = SubmitOutcome.RETRY if same_as is None else SubmitOutcome.DUPLICATE_OF_POSITION
            return Submitted(outcome, reasons, same_as, report, traits)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What happened to a trait, for the audit trail; holds no sample.

    Parameters
    ----------
    trait : Trait
        Which.
    what : str
        ``TAKEN``, ``TRY_AGAIN``, ``FAILED``, ``MISSING``, ``OVERRIDE``, ``RESTARTED``, ``INTERRUPTED``, ``CANCELLED``.
    detail : str
        CaptureBasis, reasons, or the operator's words.
    """

    trait: Trait
    what: str
    detail: str = ""
