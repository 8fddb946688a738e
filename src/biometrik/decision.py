"""Raw similarity → score → decision. The only module that compares with a threshold.

A score is −10·log10(FMR). Where a probe is held against *k* references of one subject and the best counts, the
chance that a stranger passes is 1 − (1 − FMR)^k, so the score is lowered accordingly: a subject with a longer history
is no easier to impersonate (Šidák's correction; measured, it keeps the FMR close to the target, ADR 4). Where several
traits are compared, the rates of those that are there become one (:mod:`biometrik.fusion`).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError, ThresholdUnsupportedError
from biometrik.features import Compared
from biometrik.fusion import fused_rate, fused_rates
from biometrik.reasons import Reason
from biometrik.scale import Scale
from biometrik.types import Component, Interval, Modality, Outcome, Quality, SampleReport, Trait

#: A target this near below the tightest rate (relative) is that rate, gone through logarithms and back …
_RATE_TOLERANCE: Final = 2e-10
#: … and a score this near below the threshold reaches it: more than the same distance on the score's scale.
_SCORE_TOLERANCE: Final = 1e-8
#: Rates are searched for in two passes of so many steps: to 40 / 256² powers of ten, a hundredth of a score.
_STEPS: Final = 256
#: A bound of no false match at all counts as this where bounds are fused, so that it has a logarithm.
_LEAST_RATE: Final = 1e-300


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
    if count == 1:
        return rate
    return -math.expm1(count * math.log1p(-rate)) if rate < 1.0 else 1.0


def each_of(rate: float, count: int) -> float:
    """Return the chance of each event so that any of ``count`` happens with chance ``rate``: Šidák's correction."""
    if count == 1:
        return rate
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


def score_of(
    compared: Mapping[Trait, Compared], scales: Mapping[Modality, Scale], references: int
) -> tuple[float, tuple[Component, ...]]:
    """Return the score of the best of ``references``, 0 or more, and what each trait contributes.

    Parameters
    ----------
    compared : mapping of Trait to Compared
        Of the reference that fits best; at least one trait.
    scales : mapping of Modality to Scale
        The evidence.
    references : int
        References of one subject that the probe was held against, 1 or more.
    """
    rates: dict[Trait, float] = {}
    components = []
    for trait, found in compared.items():
        scale = scales[trait.modality]
        rates[trait] = any_of(to_rate(scale.score(found.similarity)), found.comparisons)
        score = max(0.0, to_score(rates[trait]))
        capped = found.similarity >= scale.tightest_raw_score
        components.append(
            Component(trait, score, found.similarity, found.comparisons, scale.id, scale.model_contract_id, capped)
        )
    return max(0.0, to_score(any_of(fused_rate(rates), references))), tuple(components)


def scores_of(
    similarities: Mapping[Trait, NDArray[np.float32]],
    comparisons: Mapping[Trait, NDArray[np.int64]],
    scales: Mapping[Modality, Scale],
) -> NDArray[np.float64]:
    """Return the scores of many references at once, as :func:`score_of` would for one reference a subject.

    Parameters
    ----------
    similarities : mapping of Trait to (K,) float32
        NaN where a reference lacks the trait.
    comparisons : mapping of Trait to (K,) int64
        Pairs that each is the best of; any number where it is missing.
    scales : mapping of Modality to Scale
        The evidence.

    Returns
    -------
    (K,) float64
        0 or more.
    """
    columns = []
    for trait, values in similarities.items():
        single = 10.0 ** (-scales[trait.modality].scores(values) / 10.0)
        with np.errstate(divide="ignore"):  # log1p(-1): a rate of 1 stays one
            columns.append(-np.expm1(comparisons[trait] * np.log1p(-single)))
    rates = fused_rates(np.stack(columns, axis=1), tuple(similarities))
    return np.maximum(0.0, -10.0 * np.log10(rates))


def verification(
    compared: Mapping[Trait, int], scales: Mapping[Modality, Scale], max_fmr: float, references: int
) -> Operating:
    """Return the threshold for a 1:1 decision.

    Parameters
    ----------
    compared : mapping of Trait to int
        Pairs of samples of each trait that are held against each other; at least one trait.
    scales : mapping of Modality to Scale
        The evidence.
    max_fmr : float
        Target, 0 < max_fmr < 1.
    references : int
        References of the claimed subject, ≥ 1.

    Raises
    ------
    InvalidInputError
        ``max_fmr`` is out of range.
    ThresholdUnsupportedError
        The evidence is too thin for the target; ``tightest`` is the smallest FMR that it supports.
    """
    check_rate("max_fmr", max_fmr)
    if not supports(compared, scales, max_fmr, references):
        tightest = any_of(_tightest(compared, scales), references)
        raise ThresholdUnsupportedError(
            f"max_fmr: calibration {ids(compared, scales)} supports {_rounded_up(tightest)} or more"
            f" for {_counted(compared)} and {references} reference(s), got {max_fmr:.2g}",
            tightest=tightest,
        )
    return Operating(to_score(max_fmr), _spread(_achieved(each_of(max_fmr, references), compared, scales), references))


def identification(
    compared: Mapping[Trait, int], scales: Mapping[Modality, Scale], max_fpir: float, subjects: int, references: int
) -> Operating:
    """Return the threshold for an open-set 1:N decision: FPIR = 1 − (1 − FMR)^N.

    Parameters
    ----------
    compared, scales
        As for :func:`verification`.
    max_fpir : float
        Target, 0 < max_fpir < 1.
    subjects : int
        N, subjects searched, ≥ 1.
    references : int
        Most references of any candidate subject, ≥ 1.

    Raises
    ------
    InvalidInputError
        ``max_fpir`` is out of range.
    ThresholdUnsupportedError
        The evidence is too thin for the target at this size; ``tightest`` is the smallest FPIR that it supports.
    """
    check_rate("max_fpir", max_fpir)
    fmr = each_of(max_fpir, subjects)
    if not supports(compared, scales, max_fpir, references * subjects):
        tightest = any_of(_tightest(compared, scales), references * subjects)
        raise ThresholdUnsupportedError(
            f"max_fpir: calibration {ids(compared, scales)} supports {_rounded_up(tightest)} or more for"
            f" {_counted(compared)} over {subjects} subjects, got {max_fpir:.2g}; ask for that, narrow the galleries,"
            " present more samples, or pass max_fpir=None for candidates only",
            tightest=tightest,
        )
    return Operating(
        to_score(fmr), _spread(_achieved(each_of(fmr, references), compared, scales), references * subjects)
    )


def supports(compared: Mapping[Trait, int], scales: Mapping[Modality, Scale], rate: float, comparisons: int) -> bool:
    """Whether these traits together support a rate over ``comparisons`` references."""
    return rate >= any_of(_tightest(compared, scales), comparisons) * (1 - _RATE_TOLERANCE)


def ids(traits: Iterable[Trait], scales: Mapping[Modality, Scale]) -> str:
    """Return the calibrations behind traits, each once, joined by `` + ``."""
    return " + ".join(dict.fromkeys(scales[trait.modality].id for trait in traits))


def contracts(traits: Iterable[Trait], scales: Mapping[Modality, Scale]) -> str:
    """Return the model contracts behind traits, each once, joined by `` + ``."""
    return " + ".join(dict.fromkeys(scales[trait.modality].model_contract_id for trait in traits))


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


def check_rate(name: str, value: float) -> None:
    """Refuse a target that is no rate with an InvalidInputError."""
    if not 0.0 < value < 1.0:
        raise InvalidInputError(f"{name}: expected a rate between 0 and 1, e.g. 1e-3, got {value}")


def _tightest(compared: Mapping[Trait, int], scales: Mapping[Modality, Scale]) -> float:
    # The smallest FMR of one reference that these traits together support.
    return fused_rate({trait: any_of(scales[trait.modality].tightest_fmr, n) for trait, n in compared.items()})


def _achieved(fmr: float, compared: Mapping[Trait, int], scales: Mapping[Modality, Scale]) -> Interval:
    # Of several traits at the point where all have the same rate, or as near to it as their evidence reaches.
    floors = {trait: any_of(scales[trait.modality].tightest_fmr, n) for trait, n in compared.items()}
    common = fmr if len(compared) == 1 else _common_rate(fmr, floors)
    measured: dict[Trait, Interval] = {}
    for trait, n in compared.items():
        scale = scales[trait.modality]
        single = max(each_of(max(common, floors[trait]), n), scale.tightest_fmr)
        measured[trait] = _spread(scale.interval_at(single), n)
    if len(measured) == 1:
        (interval,) = measured.values()
        return interval

    def fused(of: Callable[[Interval], float]) -> float:
        return fused_rate({trait: max(of(interval), _LEAST_RATE) for trait, interval in measured.items()})

    return Interval(
        fused(lambda interval: interval.value or interval.high),  # where no false match was seen, its bound
        fused(lambda interval: interval.low),
        fused(lambda interval: interval.high),
        min(interval.confidence for interval in measured.values()),
    )


def _common_rate(fmr: float, floors: Mapping[Trait, float]) -> float:
    # The largest rate that traits may all have so that they are fused to no more than fmr. What is fused grows with it:
    # found among powers of ten, then among those between two of them.
    low, high = -40.0, 0.0
    for _ in range(2):
        powers = np.linspace(low, high, _STEPS)
        rates = np.maximum(10.0 ** powers[:, None], np.array([*floors.values()]))
        found = int(np.searchsorted(fused_rates(rates, tuple(floors)), fmr, side="right"))
        low, high = float(powers[max(0, found - 1)]), float(powers[min(found, _STEPS - 1)])
    return float(10.0**low)


def _spread(single: Interval, count: int) -> Interval:
    return Interval(
        any_of(single.value, count), any_of(single.low, count), any_of(single.high, count), single.confidence
    )


def _counted(compared: Mapping[Trait, int]) -> str:
    return f"{len(compared)} trait(s)"


def _rounded_up(rate: float) -> str:
    # Two digits that are not refused when they are asked for.
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return f"{math.ceil(rate / step) * step:.2g}"
