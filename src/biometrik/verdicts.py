"""What becomes of the attempts at a trait in a guided capture, as values; see :mod:`biometrik.capture`."""

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from biometrik.reasons import Reason
from biometrik.types import SampleReport, Trait

S = TypeVar("S")


class Standing(Enum):
    """How far a trait is."""

    WANTED = "WANTED"
    TAKEN = "TAKEN"
    MISSING = "MISSING"
    FAILED = "FAILED"
    """All attempts are used up, and none gave a sample that may be taken."""


class Basis(Enum):
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
    basis : Basis
        Why it was taken.
    attempts : int
        How many it took.
    """

    trait: Trait
    sample: S
    report: SampleReport
    basis: Basis
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
class LogEntry:
    """What happened to a trait, for the audit trail; holds no sample.

    Parameters
    ----------
    trait : Trait
        Which.
    what : str
        ``TAKEN``, ``TRY_AGAIN``, ``FAILED``, ``MISSING``, ``OVERRIDE``, ``RESTARTED``, ``INTERRUPTED``, ``CANCELLED``.
    detail : str
        Basis, reasons, or the operator's words.
    """

    trait: Trait
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TraitState:
    """How far a trait of a capture is.

    Parameters
    ----------
    trait : Trait
        Which.
    standing : Standing
        How far.
    attempts_left : int
        0 unless it is wanted.
    basis : Basis or None
        Why its sample was taken; None where none was.
    """

    trait: Trait
    standing: Standing
    attempts_left: int
    basis: Basis | None
