"""Rates, scores and decisions in words that a person at the counter can weigh."""

import datetime
import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from biometrik.types import Decision, Identification, Interval, QualityComponent


class Evidence(Protocol):
    """What scores rest on: a calibration table, or what a service says of its own."""

    @property
    def id(self) -> str:
        """Names it in decisions."""

    @property
    def dataset(self) -> str:
        """What it was measured on."""

    @property
    def subjects(self) -> int:
        """People in it."""

    @property
    def non_mated(self) -> int:
        """Comparisons of two people in it."""

    @property
    def date(self) -> datetime.date:
        """When it was measured."""

    @property
    def tightest_fmr(self) -> float:
        """The smallest FMR that it supports, 0..1."""

    @property
    def tightest_raw_score(self) -> float:
        """The similarity from which on scores no longer grow."""


E = TypeVar("E", bound=Evidence)


def count_behind(rate: float, *, digits: int = 2) -> str:
    """Return n of "1 in n", rounded down, so that "fewer than 1 of n" holds.

    Parameters
    ----------
    rate : float
        A probability, 0..1.
    digits : int
        How many of n are kept.

    Examples
    --------
    >>> count_behind(1e-3), count_behind(10**-4.12), count_behind(0.4)
    ('1,000', '13,000', '2.5')
    """
    if rate <= 0.0:
        return "∞"
    count = 1.0 / rate * (1 + 1e-9)  # 1/1e-3 must not fall to 999.99…
    if count < 10:
        return f"{math.floor(count * 10) / 10:g}"
    unit = 10 ** max(0, math.floor(math.log10(count)) + 1 - digits)
    return f"{math.floor(count / unit) * unit:,}"


def one_in(rate: float, *, digits: int = 2) -> str:
    """Return a rate as people say it.

    Examples
    --------
    >>> one_in(1e-4)
    '1 in 10,000'
    """
    return f"1 in {count_behind(rate, digits=digits)}"


def percent(rate: float) -> str:
    """Return an error rate in percent, to two digits; for rates only, a score is never a percentage.

    Examples
    --------
    >>> percent(1e-3), percent(0.0123), percent(4.47e-6)
    ('0.1 %', '1.2 %', '0.00045 %')
    """
    digits = max(0, 1 - math.floor(math.log10(rate * 100))) if 0 < rate < 1 else 0
    return f"{rate * 100:.{digits}f} %" if digits == 0 else f"{rate * 100:.{digits}f}".rstrip("0").rstrip(".") + " %"


def largest_score(evidence: Evidence) -> float:
    """Return the largest score that the calibration gives."""
    return -10.0 * math.log10(evidence.tightest_fmr)


def strength(score: float, *, capped: bool = False) -> str:
    """Return what a score means: how often a stranger reaches it.

    Parameters
    ----------
    score : float
        −10·log10(FMR).
    capped : bool
        The score is the most that the calibration can vouch for.

    Examples
    --------
    >>> strength(41.2)
    'a stranger reaches this in fewer than 1 of 13,000 comparisons'
    >>> strength(50.0, capped=True)
    'a stranger reaches this in fewer than 1 of 100,000 comparisons, the most that the calibration can vouch for'
    >>> strength(1.0)
    'a stranger reaches this in 1 of 1.2 comparisons: the two are hardly alike'
    """
    rate = 10.0 ** (-score / 10.0)
    if score < 10.0:
        return f"a stranger reaches this in 1 of {count_behind(rate)} comparisons: the two are hardly alike"
    limit = ", the most that the calibration can vouch for" if capped else ""
    return f"a stranger reaches this in fewer than 1 of {count_behind(rate)} comparisons{limit}"


def rounded(score: float) -> str:
    """Return a score to one decimal, rounded down: 29.99 must not seem to reach a threshold of 30.

    Examples
    --------
    >>> rounded(29.99), rounded(30.0)
    ('29.9', '30.0')
    """
    return f"{math.floor(score * 10 + 1e-9) / 10:.1f}"


def against_threshold(score: float, threshold: float) -> str:
    """Return the comparison that decides.

    Examples
    --------
    >>> against_threshold(41.23, 30.0), against_threshold(29.99, 30.0)
    ('41.2 ≥ 30.0', '29.9 < 30.0')
    """
    return f"{rounded(score)} {'≥' if score >= threshold else '<'} {threshold:.1f}"


def asked_and_achieved(name: str, asked: float, achieved: Interval) -> str:
    """Return the error rate asked for and the one measured at the threshold in force.

    Parameters
    ----------
    name : str
        ``FMR`` or ``FPIR``.

    Examples
    --------
    >>> asked_and_achieved("FMR", 1e-3, Interval(1e-3, 8e-4, 1.25e-3))
    'FMR asked 1 in 1,000, measured 1 in 1,000 (95 % interval 1 in 1,250 … 1 in 800)'
    """
    return (
        f"{name} asked {one_in(asked)}, measured {one_in(achieved.value, digits=3)} ({achieved.confidence * 100:.0f} %"
        f" interval {one_in(achieved.low, digits=3)} … {one_in(achieved.high, digits=3)})"
    )


def grounds(evidence: Evidence) -> str:
    """Return what a calibration rests on, in a line."""
    return (
        f"{evidence.id}: {evidence.non_mated:,} comparisons of strangers among {evidence.subjects:,} people of"
        f" {evidence.dataset}, {evidence.date.isoformat()}; supports FMR {one_in(evidence.tightest_fmr)} at best"
    )


def behind(result: Decision | Identification, calibrations: Sequence[E]) -> tuple[E, ...]:
    """Return the calibrations that an answer names, of those in force."""
    named = result.calibration_id.split(" + ")
    return tuple(table for table in calibrations if table.id in named)


def component_name(component: QualityComponent) -> str:
    """Return the component's name in plain words."""
    return component.name.replace("_", " ")


def measurement(component: QualityComponent) -> str:
    """Return what was measured, with its unit.

    Examples
    --------
    >>> measurement(QualityComponent("inter_eye_distance", 80.0, 61.24, "px", 30.0, None))
    '61.2 px'
    """
    number = f"{component.measured:.3g}" if abs(component.measured) < 1e4 else f"{component.measured:.0f}"
    if component.unit[:1].isdigit():  # a range
        return f"{number} of {component.unit}"
    return f"{number} {component.unit}".rstrip()


def score_of(result: object) -> str:
    """Return the score that decided and its threshold, or "" where a result has none."""
    match result:
        case Decision(score=float() as score, threshold=threshold):
            return against_threshold(score, threshold)
        case Identification(candidates=(best, *_), threshold=float() as threshold):
            return against_threshold(best.score, threshold)
    return ""


def rates_of(result: object) -> str:
    """Return the error rate asked for and the one achieved, or "" where a result has none."""
    match result:
        case Decision(max_fmr=asked, achieved_fmr=achieved):
            return f"FMR {percent(asked)} → {percent(achieved.value)}"
        case Identification(max_fpir=float() as asked, achieved_fpir=Interval() as achieved):
            return f"FPIR {percent(asked)} → {percent(achieved.value)}"
    return ""
