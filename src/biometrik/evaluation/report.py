"""An experiment's result: equal error rate and detection error trade-off, with intervals."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.evaluation.bootstrap import SubjectBootstrap, interval
from biometrik.evaluation.metrics import (
    Comparisons,
    Trials,
    crossing,
    equal_error_rate,
    false_match_rate,
    false_non_match_rate,
)
from biometrik.types import Interval

#: Distance of the scores at which curves are sampled, −10·log10(FMR).
SCORE_STEP: Final = 0.5
#: A rate stands on at least this many errors (rule of 30, ISO/IEC 19795-1:2006, Annex B).
LEAST_ERRORS: Final = 30
#: Resamples reach a target FMR at other thresholds than the experiment: the curve is followed this much further.
_MARGIN: Final = 6.0


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold costs.

    Parameters
    ----------
    score : float
        −10·log10 of the target FMR.
    threshold : float
        The smallest non-mated similarity that keeps the target on this data.
    fmr, fnmr : Interval
        Measured. FMR's interval is for this threshold; FNMR's is for the target FMR, so it includes the threshold's
        own uncertainty: every resample finds its own.
    """

    score: float
    threshold: float
    fmr: Interval
    fnmr: Interval


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well mated and non-mated comparisons are told apart.

    Parameters
    ----------
    eer : Interval
        Equal error rate; see :func:`biometrik.evaluation.metrics.equal_error_rate`.
    points : tuple of OperatingPoint
        Detection error trade-off at scores 0, 0.5, 1 … up to the last with 30 false matches behind it.
    """

    eer: Interval
    points: tuple[OperatingPoint, ...]

    def at(self, fmr: float) -> OperatingPoint:
        """Return the operating point for a target FMR.

        Raises
        ------
        InvalidInputError
            The curve has no step there: targets are powers such as 1e-3, within the evidence.
        """
        score = -10.0 * math.log10(fmr)
        for point in self.points:
            if abs(point.score - score) < 1e-6:
                return point
        last = self.points[-1].score
        raise InvalidInputError(f"fmr: expected the FMR of a score 0, 0.5 … {last}, got {fmr} (score {score:.2f})")


def score_grid(comparisons: int) -> list[float]:
    """Return scores 0, 0.5, 1 … up to the last with 30 errors behind it.

    Examples
    --------
    >>> score_grid(45)
    [0.0, 0.5, 1.0, 1.5]
    """
    most = 10.0 * math.log10(max(comparisons / LEAST_ERRORS, 1.0))
    return [step * SCORE_STEP for step in range(int(most / SCORE_STEP + 1e-9) + 1)]


def thresholds_at(non_mated: Comparisons, scores: list[float]) -> list[float]:
    """Return the smallest non-mated similarity that keeps the FMR of each score."""
    return [non_mated.threshold_accepting(10.0 ** (-score / 10)) for score in scores]


def measure(trials: Trials, bootstrap: SubjectBootstrap | None = None) -> Accuracy:
    """Return equal error rate and detection error trade-off with intervals.

    Parameters
    ----------
    trials : Trials
        Every comparison of the experiment.
    bootstrap : SubjectBootstrap, optional
        By default 1000 resamples with a fixed seed.

    Notes
    -----
    Estimates are exact order statistics. In a resample, FNMR at a target FMR and the EER are interpolated between
    the thresholds of the curve, half a score apart.
    """
    mated, non_mated = trials.mated, trials.non_mated
    bootstrap = bootstrap or SubjectBootstrap(non_mated.subjects)
    scores = score_grid(len(non_mated))
    further = [scores[-1] + SCORE_STEP * step for step in range(1, int(_MARGIN / SCORE_STEP) + 1)]
    thresholds = thresholds_at(non_mated, scores + further)
    fmr = bootstrap.false_match_rates(non_mated, thresholds)
    fnmr = bootstrap.false_non_match_rates(mated, thresholds)
    fnmr_at_target = _at_own_thresholds(fmr, fnmr, scores)
    mated_subjects = len(np.unique(mated.first))
    points = tuple(
        OperatingPoint(
            score,
            threshold,
            interval(false_match_rate(non_mated, threshold), fmr[:, k], non_mated.subjects // 2),
            interval(false_non_match_rate(mated, threshold), fnmr_at_target[:, k], mated_subjects),
        )
        for k, (score, threshold) in enumerate(zip(scores, thresholds, strict=False))
    )
    return Accuracy(interval(equal_error_rate(trials), crossing(fmr, fnmr), mated_subjects), points)


def _at_own_thresholds(fmr: NDArray[np.float64], fnmr: NDArray[np.float64], scores: list[float]) -> NDArray[np.float64]:
    # (R, len(scores)): FNMR where each resample's own FMR meets the target.
    with np.errstate(divide="ignore"):
        own = -10.0 * np.log10(fmr)
    # Ties and a tail that a resample lost (inf) must not stop the scores from rising.
    own = np.minimum(own, 1e3) + np.arange(own.shape[1]) * 1e-9
    return np.stack([np.interp(scores, x, y) for x, y in zip(own, fnmr, strict=True)])
