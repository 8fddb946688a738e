"""Raw similarity → score → decision. The only module that compares with a threshold.

A score is −10·log10(FMR). Where a probe is held against *k* references of one subject and the best counts, the
chance that a stranger passes is 1 − (1 − FMR)^k, so the score is lowered accordingly: a subject with a longer history
is no easier to impersonate (Šidák's correction; measured, it keeps the FMR close to the target, ADR 4).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from biometrik.calibration import CalibrationTable
from biometrik.errors import InvalidInputError, ThresholdUnsupportedError
from biometrik.reasons import Reason
from biometrik.types import Interval, Outcome, Quality, SampleReport

#: A target this near below the tightest rate (relative) is that rate, gone through logarithms and back …
_RATE_TOLERANCE: Final = 2e-10
#: … and a score this near below the threshold reaches it: more than the same distance on the score's scale.
_SCORE_TOLERANCE: Final = 1e-8


def to_score(rate: float) -> float:
    """Return −10·log10(rate).

    Parameters
    ----------
    rate : float
        A false match rate, 0 < rate ≤ 1.

    Examples
    --------
    >>> to_score(1e-3)
    30.0
    """
    return -10.0 * math.log10(rate)


def to_rate(score: float) -> float:
    """Return the false match rate behind a score; the inverse of :func:`to_score`."""
    return float(10.0 ** (-score / 10.0))


def any_of(rate: float, count: int) -> float:
    """Return the chance that at least one of ``count`` independent events of chance ``rate`` happens."""
    return -math.expm1(count * math.log1p(-rate)) if rate < 1.0 else 1.0


def each_of(rate: float, count: int) -> float:
    """Return the chance of each event so that any of ``count`` happens with chance ``rate``: Šidák's correction."""
    return -math.expm1(math.log1p(-rate) / count) if rate < 1.0 else 1.0


@dataclass(frozen=True, slots=True)
class Operating:
    """A threshold in force.

    Parameters
    ----------
    threshold : float
        Score needed for a match.
    achieved : Interval
        The error rate that the caller's target is about (FMR, or FPIR), as the calibration measured it there.
    """

    threshold: float
    achieved: Interval


def verification(table: CalibrationTable, max_fmr: float, comparisons: int) -> Operating:
    """Return the threshold for a 1:1 decision.

    Parameters
    ----------
    table : CalibrationTable
        The evidence.
    max_fmr : float
        Target, 0 < max_fmr < 1.
    comparisons : int
        References of the claimed subject, ≥ 1.

    Raises
    ------
    InvalidInputError
        ``max_fmr`` is out of range.
    ThresholdUnsupportedError
        The evidence is too thin for the target; ``tightest`` is the smallest FMR that it supports.
    """
    _check_rate("max_fmr", max_fmr)
    single = each_of(max_fmr, comparisons)
    if single < table.tightest_fmr * (1 - _RATE_TOLERANCE):
        tightest = any_of(table.tightest_fmr, comparisons)
        raise ThresholdUnsupportedError(
            f"max_fmr: calibration {table.id} supports {_rounded_up(tightest)} or more"
            f" for {comparisons} reference(s), got {max_fmr:.2g}",
            tightest=tightest,
        )
    return Operating(to_score(max_fmr), _spread(table.interval_at(single), comparisons))


def identification(table: CalibrationTable, max_fpir: float, subjects: int, comparisons: int) -> Operating:
    """Return the threshold for an open-set 1:N decision: FPIR = 1 − (1 − FMR)^N.

    Parameters
    ----------
    table : CalibrationTable
        The evidence.
    max_fpir : float
        Target, 0 < max_fpir < 1.
    subjects : int
        N, subjects searched, ≥ 1.
    comparisons : int
        Most references of any candidate subject, ≥ 1.

    Raises
    ------
    InvalidInputError
        ``max_fpir`` is out of range.
    ThresholdUnsupportedError
        The evidence is too thin for the target at this size; ``tightest`` is the smallest FPIR that it supports.
    """
    _check_rate("max_fpir", max_fpir)
    fmr = each_of(max_fpir, subjects)
    single = each_of(fmr, comparisons)
    if single < table.tightest_fmr * (1 - _RATE_TOLERANCE):
        tightest = any_of(any_of(table.tightest_fmr, comparisons), subjects)
        raise ThresholdUnsupportedError(
            f"max_fpir: calibration {table.id} supports {_rounded_up(tightest)} or more over {subjects} subjects,"
            f" got {max_fpir:.2g}; ask for that, narrow the galleries, or pass max_fpir=None for candidates only",
            tightest=tightest,
        )
    return Operating(to_score(fmr), _spread(table.interval_at(single), comparisons * subjects))


def subject_score(table: CalibrationTable, similarity: float, comparisons: int) -> float:
    """Return the score of the best of ``comparisons`` references, 0 or more."""
    single = to_rate(table.score(similarity))
    return max(0.0, to_score(any_of(single, comparisons)))


def reaches(score: float, threshold: float) -> bool:
    """Return whether a score is a match at a threshold.

    Examples
    --------
    >>> reaches(30.0, 30.0), reaches(29.99, 30.0)
    (True, False)
    """
    return score >= threshold - _SCORE_TOLERANCE


def judge(score: float, threshold: float, *sides: Sequence[SampleReport]) -> tuple[Outcome, tuple[Reason, ...]]:
    """Return the outcome, and reasons where it is inconclusive.

    A match stands whatever the samples' quality. Nobody is refused on a poor sample: where all of a side's usable
    samples are of poor quality, a score below the threshold is inconclusive, with what to do about it.

    Parameters
    ----------
    score, threshold : float
        −10·log10(FMR).
    *sides : sequence of SampleReport
        Those presented together; a comparison of two sets of samples has two sides. Templates come without quality
        and count as acceptable.
    """
    if reaches(score, threshold):
        return Outcome.MATCH, ()
    poor: list[Quality] = []
    for side in sides:
        grades = [sample.quality for sample in side if sample.usable]
        if not any(grade is None or grade.acceptable for grade in grades):
            poor += [grade for grade in grades if grade is not None]
    if not poor:
        return Outcome.NO_MATCH, ()
    advice = dict.fromkeys(reason for grade in poor for reason in grade.reasons)
    return Outcome.INCONCLUSIVE, (Reason.QUALITY_TOO_LOW, *advice)


def _check_rate(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise InvalidInputError(f"{name}: expected a rate between 0 and 1, e.g. 1e-3, got {value}")


def _spread(single: Interval, count: int) -> Interval:
    return Interval(
        any_of(single.value, count), any_of(single.low, count), any_of(single.high, count), single.confidence
    )


def _rounded_up(rate: float) -> str:
    # Two digits that are not refused when they are asked for.
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return f"{math.ceil(rate / step) * step:.2g}"
