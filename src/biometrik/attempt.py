"""One attempt to take a sample of a face or a finger: what to say meanwhile, when it is good, when time is up.

Pure logic: whoever has the device calls :meth:`Attempt.see` with every frame or print that was assessed, and gets back
a :class:`Hint` or the :class:`Shot` that ends the attempt. The time is the caller's, on any clock that does not go
backwards; a frame counts at the time when it was taken, not when it had been looked at.
"""

import math
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np

from biometrik.errors import InvalidInputError
from biometrik.guidance import Guidance, guidance_for
from biometrik.types import Face, Modality, SampleReport, Trait

S = TypeVar("S")

#: How fast a face may move, eye distances a second: during an exposure of 1/30 s it then smears by a standard deviation
#: of a thirtieth of the eye distance, the blur that the quality profile ``portrait`` still takes.
STILL: Final = math.sqrt(12) * 30 * (1.2 / 35)


@dataclass(frozen=True, slots=True)
class AttemptParameters:
    """When an attempt ends, and how calmly it speaks.

    Parameters
    ----------
    hold_s : float
        For so long everything must be good before a sample is taken, seconds. 0: the first sample ends the attempt,
        good or not, as with a scanner that gives one print for each placing of a finger. 0.4: a blink lasts 0.1 to
        0.4 s, so a face that is good for longer was seen with open eyes; and well below the 1 s that people wait.
    max_gap_s : float
        What was not looked at for longer is not known to have been good meanwhile, seconds. 0.7: two frames of the
        slowest preview, 3 a second (BSI TR-03121).
    timeout_s : float
        The attempt ends so long after it began, seconds. 10: a face, or a slap of four fingers (BSI TR-03121).
    word_s : float
        A word of guidance stands at least for so long before another takes its place, seconds; otherwise nobody can
        follow it. 1: reading three words and beginning to move.

    Raises
    ------
    InvalidInputError
        A time that is negative, or no time at all for the attempt.
    """

    hold_s: float = 0.4
    max_gap_s: float = 0.7
    timeout_s: float = 10.0
    word_s: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.hold_s < self.timeout_s <= 3600 and self.max_gap_s > 0 and self.word_s >= 0):
            raise InvalidInputError("attempt: expected 0 <= hold_s < timeout_s <= 3600, max_gap_s > 0 and word_s >= 0")


#: A camera streams; a scanner gives one print for each placing.
FACE_ATTEMPT: Final = AttemptParameters()
FINGER_ATTEMPT: Final = AttemptParameters(hold_s=0.0)


def attempt_parameters(trait: Trait) -> AttemptParameters:
    """Return what is usual for a trait."""
    return FACE_ATTEMPT if trait.modality is Modality.FACE else FINGER_ATTEMPT


@dataclass(frozen=True, slots=True, eq=False)
class Seen(Generic[S]):
    """A frame or print, and what is to be said of it.

    Parameters
    ----------
    at_s : float
        When it was taken, seconds on the caller's clock.
    sample : S
        The caller's own; only handed on.
    report : SampleReport
        What became of it in the models.
    width_px, height_px : int
        Size of the image.
    """

    at_s: float
    sample: S
    report: SampleReport
    width_px: int
    height_px: int

    @property
    def alone(self) -> bool:
        """Whether it shows nobody but one person: otherwise the best face could be the wrong one."""
        return self.report.faces_found <= 1

    @property
    def good(self) -> bool:
        """Whether it is what was wanted: usable, of acceptable quality, of one person."""
        quality = self.report.quality
        return self.report.usable and self.alone and quality is not None and quality.acceptable


@dataclass(frozen=True, slots=True)
class Hint:
    """The attempt goes on.

    Parameters
    ----------
    guidance : Guidance or None
        What the person should do; None where all is well and it is only waited.
    good_for_s : float
        For how long all has been well, seconds.
    """

    guidance: Guidance | None
    good_for_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Shot(Generic[S]):
    """The attempt is over.

    Parameters
    ----------
    seen : Seen or None
        The best of it; None where nothing usable was seen in time.
    last : Seen or None
        The last that was seen; says what was wrong where ``seen`` is None.
    """

    seen: Seen[S] | None
    last: Seen[S] | None


class Attempt(Generic[S]):
    """One attempt; after its :class:`Shot` it takes no more.

    Parameters
    ----------
    trait : Trait
        What is to be seen.
    began_at_s : float
        Now, seconds on the caller's clock.
    parameters : AttemptParameters or None
        None for what is usual for the trait.

    Examples
    --------
    >>> from biometrik.types import FACE
    >>> nobody = SampleReport(0, False, (), None, 0, None)
    >>> attempt = Attempt(FACE, 100.0)
    >>> attempt.see(Seen(100.1, "frame", nobody, 640, 480)).guidance.name
    'FACE_CAMERA'
    >>> attempt.pass_time(110.0).seen is None
    True
    """

    def __init__(self, trait: Trait, began_at_s: float, parameters: AttemptParameters | None = None) -> None:
        self.trait = trait
        self._parameters = parameters or attempt_parameters(trait)
        self._began_at_s = self._now_s = began_at_s
        self._last: Seen[S] | None = None
        self._best: Seen[S] | None = None
        self._best_of_run: Seen[S] | None = None
        self._good_since_s: float | None = None
        self._word: Guidance | None = self._invitation
        self._word_since_s = began_at_s
        self._over = False

    def see(self, seen: Seen[S]) -> Hint | Shot[S]:
        """Take a frame or print.

        Raises
        ------
        InvalidInputError
            The clock went backwards, the sample is of another modality, or the attempt is over.
        """
        if seen.report.trait.modality is not self.trait.modality:
            raise InvalidInputError(
                f"sample: expected a {self.trait.modality.value}, got a {seen.report.trait.modality.value}"
            )
        self._advance(seen.at_s)
        before, self._last = self._last, seen
        if seen.report.usable and seen.alone and better(seen.report, self._best.report if self._best else None):
            self._best = seen
        if self._parameters.hold_s == 0:
            return self._end(self._best)
        still = before is None or _is_still(before, seen)
        if not seen.good or not still:
            self._good_since_s = self._best_of_run = None
            word = guidance_for(seen.report, seen.width_px, seen.height_px)
            if word is None:
                word = Guidance.STAND_STILL if not still else self._invitation
            return self._hint(Guidance.ONE_PERSON if not seen.alone else word)
        if self._good_since_s is None or before is None or seen.at_s - before.at_s > self._parameters.max_gap_s:
            self._good_since_s, self._best_of_run = seen.at_s, seen
        elif self._best_of_run is None or better(seen.report, self._best_of_run.report):
            self._best_of_run = seen
        if seen.at_s - self._good_since_s >= self._parameters.hold_s:
            return self._end(self._best_of_run)
        return self._hint(None)

    def ask_again(self, at_s: float, guidance: Guidance) -> Hint | Shot[S]:
        """Pass on what the device itself asks of the person; it gave no sample.

        Raises
        ------
        InvalidInputError
            The clock went backwards, or the attempt is over.
        """
        self._advance(at_s)
        self._good_since_s = self._best_of_run = None
        self._word, self._word_since_s = guidance, at_s  # what a device asks happens once: it is said at once
        return self._hint(guidance)

    def pass_time(self, at_s: float) -> Hint | Shot[S]:
        """Let time pass in which nothing came.

        Raises
        ------
        InvalidInputError
            The clock went backwards, or the attempt is over.
        """
        self._advance(at_s)
        if self._last is not None and at_s - self._last.at_s > self._parameters.max_gap_s:
            self._good_since_s = self._best_of_run = None
        return self._hint(self._word)

    @property
    def _invitation(self) -> Guidance:
        return Guidance.FACE_CAMERA if self.trait.modality is Modality.FACE else Guidance.PLACE_FINGER

    def _advance(self, at_s: float) -> None:
        if self._over:
            raise InvalidInputError("attempt: expected one that goes on, got one that is over; begin another")
        if not at_s >= self._now_s:  # also NaN
            raise InvalidInputError(f"at_s: expected a clock that does not go backwards, got {self._now_s} -> {at_s}")
        self._now_s = at_s

    def _hint(self, word: Guidance | None) -> Hint | Shot[S]:
        if self._now_s - self._began_at_s >= self._parameters.timeout_s:
            return self._end(self._best)
        steady = self._now_s - self._word_since_s < self._parameters.word_s
        if word is not self._word and (word is None or self._word is None or not steady):
            self._word, self._word_since_s = word, self._now_s
        good_for_s = 0.0 if self._good_since_s is None else self._now_s - self._good_since_s
        return Hint(self._word, good_for_s)

    def _end(self, seen: Seen[S] | None) -> Shot[S]:
        self._over = True
        return Shot(seen, self._last)


def better(report: SampleReport, than: SampleReport | None) -> bool:
    """Whether a sample is better than another: acceptable before poor, then by quality; any is better than none."""
    return than is None or _rank(report) > _rank(than)


def _rank(report: SampleReport) -> tuple[bool, float]:
    # A quality that could not be computed is below every other.
    return (False, -1.0) if report.quality is None else (report.quality.acceptable, report.quality.overall)


def _is_still(before: Seen[S], now: Seen[S]) -> bool:
    a, b = before.report.face, now.report.face
    if a is None or b is None:
        return a is b  # a face that has just appeared moves; prints have none
    passed_s = now.at_s - before.at_s
    return _shift(a, b) <= STILL * passed_s * b.inter_eye_px


def _shift(a: Face, b: Face) -> float:
    # How far the landmarks moved on the mean, pixels.
    return float(np.hypot(*(a.landmarks - b.landmarks).T).mean())
