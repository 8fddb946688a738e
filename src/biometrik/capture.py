"""Guided capture: which samples a visit still needs, what becomes of each attempt, and what the operator decides.

Pure logic without devices, threads or a clock of its own. A station hands in frames and prints as they are assessed
(:meth:`Capture.begin`, :meth:`Capture.see`); a service hands in whole attempts (:meth:`Capture.present`). The rules are
those of BSI TR-03121: at most three attempts for each trait, then the best of them by quality; one finger is not taken
as two; a finger that cannot be had is data; the operator may begin a trait again, or accept what the rules do not,
with kind and reason; and all of it is written down (:attr:`Capture.log`), without a sample.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from biometrik.attempt import Attempt, AttemptParameters, Hint, Seen, Shot, better
from biometrik.errors import InvalidInputError
from biometrik.guidance import Guidance
from biometrik.reasons import Reason
from biometrik.types import MissingSample, Modality, SampleReport, Trait
from biometrik.verdicts import CaptureBasis, Failed, LogEntry, OverrideKind, Taken, TraitStanding, TryAgain, Verdict

S = TypeVar("S")

#: Attempts for each trait (BSI TR-03121).
MAX_ATTEMPTS: Final = 3
#: Acts after which one capture takes no more, so that its log is bounded: a patient operator needs a tenth of them.
MAX_LOG: Final = 1000

#: Says which of the fingers taken before a print is of; None where it is of none of them.
SameFinger = Callable[[S, Mapping[Trait, S]], Trait | None]


@dataclass(slots=True, eq=False)
class _Case(Generic[S]):
    # One trait's attempts so far.
    standing: TraitStanding = TraitStanding.WANTED
    attempts: int = 0
    best: Seen[S] | None = None  # may be taken
    twin: Seen[S] | None = None  # the best of those that look like another finger
    taken: Taken[S] | None = None
    missing: MissingSample | None = None


class Capture(Generic[S]):
    """The samples of one visit; not thread-safe.

    Parameters
    ----------
    wanted : sequence of Trait
        In the order in which they are asked for; each once. A finger of position 0 is any finger.
    same_finger : callable or None
        Compares a print with those taken before it; None where nobody can.
    parameters : mapping of Modality to AttemptParameters
        Of attempts at a stream, where they are not the usual ones.

    Raises
    ------
    InvalidInputError
        No trait, or one twice.

    Examples
    --------
    >>> from biometrik.types import FACE
    >>> capture = Capture([FACE, Trait.finger(2)])
    >>> capture.fail(FACE, (Reason.NO_FACE,)).attempts_left
    2
    >>> [trait.name for trait in capture.wanted]
    ['face', 'right_index']
    """

    def __init__(
        self,
        wanted: Sequence[Trait],
        *,
        same_finger: SameFinger[S] | None = None,
        parameters: Mapping[Modality, AttemptParameters] = MappingProxyType({}),
    ) -> None:
        if not wanted or len(set(wanted)) != len(wanted):
            raise InvalidInputError(f"wanted: expected at least one trait, each once, got {len(wanted)}")
        self._cases: dict[Trait, _Case[S]] = {trait: _Case() for trait in wanted}
        self._same_finger = same_finger
        self._parameters = parameters
        self._attempt: Attempt[S] | None = None
        self._log: list[LogEntry] = []
        self._cancelled = False

    # --- where it stands -------------------------------------------------------------------------------------

    @property
    def wanted(self) -> tuple[Trait, ...]:
        """What is still to be taken, the next one first."""
        return tuple(trait for trait, case in self._cases.items() if case.standing is TraitStanding.WANTED)

    @property
    def finished(self) -> bool:
        """Whether every trait is taken or missing, so that nothing has to be done any more."""
        settled = (TraitStanding.TAKEN, TraitStanding.MISSING)
        return not self._cancelled and all(case.standing in settled for case in self._cases.values())

    @property
    def cancelled(self) -> bool:
        """Whether it was given up."""
        return self._cancelled

    @property
    def taken(self) -> Mapping[Trait, Taken[S]]:
        """What was taken."""
        return {trait: case.taken for trait, case in self._cases.items() if case.taken is not None}

    @property
    def held(self) -> tuple[S, ...]:
        """Every sample that is held, taken or not."""
        return tuple(
            held.sample
            for case in self._cases.values()
            for held in (case.taken, case.best, case.twin)
            if held is not None
        )

    @property
    def missing(self) -> tuple[MissingSample, ...]:
        """What cannot be had."""
        return tuple(case.missing for case in self._cases.values() if case.missing is not None)

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """What happened, in order."""
        return tuple(self._log)

    def standing(self, trait: Trait) -> TraitStanding:
        """Return how far a trait is; raises InvalidInputError for one that is not part of this capture."""
        return self._case(trait).standing

    def attempts_left(self, trait: Trait) -> int:
        """Return how many attempts a trait has left; raises as :meth:`standing`."""
        case = self._case(trait)
        return MAX_ATTEMPTS - case.attempts if case.standing is TraitStanding.WANTED else 0

    # --- attempts at a stream ----------------------------------------------------------------------------------

    def begin(self, trait: Trait, at_s: float) -> None:
        """Begin an attempt at a trait; one that goes on is given up, and does not count.

        Raises
        ------
        InvalidInputError
            The trait is not wanted, or the capture was cancelled.
        """
        self._wanted_case(trait)
        self._attempt = Attempt(trait, at_s, self._parameters.get(trait.modality))

    def see(self, seen: Seen[S]) -> Hint | Verdict[S]:
        """Take a frame or print of the attempt that goes on; raises as :meth:`biometrik.attempt.Attempt.see`."""
        return self._after(self._going_on().see(seen))

    def ask_again(self, at_s: float, guidance: Guidance) -> Hint | Verdict[S]:
        """Pass on what the device asks of the person; raises as :meth:`biometrik.attempt.Attempt.ask_again`."""
        return self._after(self._going_on().ask_again(at_s, guidance))

    def pass_time(self, at_s: float) -> Hint | Verdict[S]:
        """Let time pass in which nothing came; raises as :meth:`biometrik.attempt.Attempt.pass_time`."""
        return self._after(self._going_on().pass_time(at_s))

    def interrupt(self, why: str) -> None:
        """Give up the attempt that goes on because the device is gone: it does not count; begin it again.

        Parameters
        ----------
        why : str
            The device error's reason, for the log.
        """
        attempt = self._going_on()
        self._attempt = None
        self._note(attempt.trait, "INTERRUPTED", why)

    # --- whole attempts ----------------------------------------------------------------------------------------

    def present(self, trait: Trait, sample: S, report: SampleReport) -> Verdict[S]:
        """Take a sample as one whole attempt.

        Raises
        ------
        InvalidInputError
            The trait is not wanted, the sample is of another modality, or the capture was cancelled.
        """
        if report.trait.modality is not trait.modality:
            raise InvalidInputError(f"sample: expected a {trait.modality.value}, got a {report.trait.modality.value}")
        return self._judge(trait, Seen(0.0, sample, report, 0, 0))

    def fail(self, trait: Trait, reasons: tuple[Reason, ...]) -> Verdict[S]:
        """Count an attempt that gave no sample; raises as :meth:`present`."""
        case = self._wanted_case(trait)
        case.attempts += 1
        return self._concluded(trait, case, reasons, None)

    # --- what the operator decides -------------------------------------------------------------------------------

    def mark_missing(self, missing: MissingSample) -> None:
        """Say that a finger cannot be had; whatever was taken of it is dropped.

        Raises
        ------
        InvalidInputError
            The finger is not part of this capture, or the capture was cancelled.
        """
        trait = Trait.finger(missing.position)
        self._reset(trait, TraitStanding.MISSING).missing = missing
        self._note(trait, "MISSING", f"{missing.reason.value}{' permanent' if missing.permanent else ''}")

    def override(self, trait: Trait, kind: OverrideKind, reason: str) -> Taken[S]:
        """Take what the rules would not: the best sample so far, although attempts are left or it looks like another.

        Parameters
        ----------
        trait : Trait
            Which.
        kind : OverrideKind
            What is overridden; DUPLICATE is no matter of one trait, and nothing here.
        reason : str
            Why, in the operator's words; 1 to 128 printable characters, no names. Kept in the log.

        Raises
        ------
        InvalidInputError
            Nothing was presented that this override could accept, no reason, or the capture was cancelled.
        """
        if not 1 <= len(reason) <= 128 or not reason.isprintable():
            raise InvalidInputError(f"reason: expected 1 to 128 printable characters, got {len(reason)}")
        case = self._open_case(trait)
        best = self._best(trait, case)
        seen = {OverrideKind.QUALITY: best, OverrideKind.SAME_FINGER: case.twin}.get(kind)
        if seen is None or case.standing not in (TraitStanding.WANTED, TraitStanding.FAILED):
            raise InvalidInputError(
                f"override: expected a {trait.name} that was presented and not taken, because of {kind.value}; got none"
            )
        self._note(trait, "OVERRIDE", f"{kind.value}: {reason}")
        return self._take(trait, case, seen, CaptureBasis.OVERRIDE)

    def restart(self, trait: Trait) -> None:
        """Begin a trait from nothing: what was taken, missing or failed of it is dropped, all attempts are there again.

        Raises
        ------
        InvalidInputError
            The trait is not part of this capture, or the capture was cancelled.
        """
        self._reset(trait, TraitStanding.WANTED)
        self._note(trait, "RESTARTED")

    def cancel(self) -> None:
        """Give all of it up: samples are dropped, nothing more is taken. Cancelling twice is fine."""
        if not self._cancelled:
            self._cancelled, self._attempt = True, None
            self._cases = {trait: _Case() for trait in self._cases}
            self._note(next(iter(self._cases)), "CANCELLED")

    # --- inside --------------------------------------------------------------------------------------------------

    def _after(self, step: Hint | Shot[S]) -> Hint | Verdict[S]:
        if isinstance(step, Hint):
            return step
        trait, self._attempt = self._going_on().trait, None
        if step.seen is not None:
            return self._judge(trait, step.seen)
        nothing = Reason.NO_FACE if trait.modality is Modality.FACE else Reason.NO_FINGERPRINT
        return self.fail(trait, (step.last.report.reasons if step.last else ()) or (nothing,))

    def _judge(self, trait: Trait, seen: Seen[S]) -> Verdict[S]:
        case = self._wanted_case(trait)
        case.attempts += 1
        report = seen.report
        if not (report.usable and seen.alone):
            reasons = report.reasons if seen.alone else (Reason.SEVERAL_FACES, *report.reasons)
            return self._concluded(trait, case, tuple(dict.fromkeys(reasons)), None)
        if (same_as := self._taken_as(trait, seen.sample)) is not None:
            case.twin = _better(seen, case.twin)
            return self._concluded(trait, case, (Reason.SAME_FINGER_TWICE, *report.reasons), same_as)
        case.best = _better(seen, case.best)
        if seen.good:
            return self._take(trait, case, seen, CaptureBasis.GOOD)
        return self._concluded(trait, case, report.reasons, None)

    def _taken_as(self, trait: Trait, sample: S) -> Trait | None:
        others = {
            other: taken.sample
            for other, taken in self.taken.items()
            if other != trait and other.modality is Modality.FINGER
        }
        if self._same_finger is None or trait.modality is not Modality.FINGER or not others:
            return None
        return self._same_finger(sample, others)

    def _best(self, trait: Trait, case: _Case[S]) -> Seen[S] | None:
        # Between an attempt and its taking, the same finger may have been taken as another.
        if case.best is not None and self._taken_as(trait, case.best.sample) is not None:
            case.twin, case.best = _better(case.best, case.twin), None
        return case.best

    def _concluded(
        self, trait: Trait, case: _Case[S], reasons: tuple[Reason, ...], same_as: Trait | None
    ) -> Verdict[S]:
        # After an attempt that gave nothing good.
        said = ", ".join(reason.value for reason in reasons) + (f" = {same_as.name}" if same_as else "")
        if case.attempts < MAX_ATTEMPTS:
            self._note(trait, "TRY_AGAIN", said)
            return TryAgain(trait, MAX_ATTEMPTS - case.attempts, reasons, same_as)
        if (best := self._best(trait, case)) is not None:
            return self._take(trait, case, best, CaptureBasis.BEST_OF_ATTEMPTS)
        case.standing = TraitStanding.FAILED
        self._note(trait, "FAILED", said)
        return Failed(trait, reasons, same_as)

    def _take(self, trait: Trait, case: _Case[S], seen: Seen[S], basis: CaptureBasis) -> Taken[S]:
        case.taken = Taken(trait, seen.sample, seen.report, basis, case.attempts)
        case.standing, case.best, case.twin = TraitStanding.TAKEN, None, None
        if self._attempt is not None and self._attempt.trait == trait:
            self._attempt = None
        self._note(trait, "TAKEN", f"{basis.value} after {case.attempts}")
        return case.taken

    def _reset(self, trait: Trait, standing: TraitStanding) -> _Case[S]:
        self._open_case(trait)
        if self._attempt is not None and self._attempt.trait == trait:
            self._attempt = None
        case = self._cases[trait] = _Case(standing)
        return case

    def _going_on(self) -> Attempt[S]:
        if self._attempt is None:
            raise InvalidInputError("attempt: expected one that goes on, got none; begin one")
        return self._attempt

    def _wanted_case(self, trait: Trait) -> _Case[S]:
        case = self._open_case(trait)
        if case.standing is not TraitStanding.WANTED:
            raise InvalidInputError(
                f"trait: expected one that is wanted, got {trait.name}, which is {case.standing.value}; restart it"
            )
        return case

    def _open_case(self, trait: Trait) -> _Case[S]:
        if self._cancelled:
            raise InvalidInputError("capture: expected one that goes on, got one that was cancelled")
        if len(self._log) >= MAX_LOG:
            raise InvalidInputError(f"capture: expected at most {MAX_LOG} acts, got more; cancel it and begin another")
        return self._case(trait)

    def _case(self, trait: Trait) -> _Case[S]:
        if trait not in self._cases:
            names = ", ".join(known.name for known in self._cases)
            raise InvalidInputError(f"trait: expected one of {names}, got {trait.name}")
        return self._cases[trait]

    def _note(self, trait: Trait, what: str, detail: str = "") -> None:
        self._log.append(LogEntry(trait, what, detail))


def _better(seen: Seen[S], than: Seen[S] | None) -> Seen[S]:
    return seen if than is None or better(seen.report, than.report) else than
