"""Similarities and what they rest on, as the answers that callers get."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from biometrik import decision
from biometrik.decision import Operating
from biometrik.features import Compared
from biometrik.gallery.gallery import Hit
from biometrik.gallery.searching import SearchResult
from biometrik.reasons import Reason
from biometrik.scale import Scale
from biometrik.types import Candidate, Decision, Identification, Modality, Outcome, SampleReport, Trait

Reports = tuple[SampleReport, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """The reference that fits best.

    Parameters
    ----------
    compared : mapping of Trait to Compared
        At least one trait.
    subject_id, encounter_id : str
        Whose; "" where nothing is stored.
    """

    compared: Mapping[Trait, Compared]
    subject_id: str = ""
    encounter_id: str = ""


def decided(
    scales: Mapping[Modality, Scale],
    operating: Operating,
    max_fmr: float,
    best: Match,
    references: int,
    *sides: Reports,
) -> Decision:
    """Return the answer of a comparison.

    Parameters
    ----------
    scales : mapping of Modality to Scale
        The evidence.
    operating : Operating
        The threshold in force.
    max_fmr : float
        What was asked for.
    best : Match
        The best of ``references``.
    references : int
        How many the probe was held against.
    *sides : tuple of SampleReport
        The probe's, and the reference's where that was presented too.
    """
    score, components = decision.score_of(best.compared, scales, references)
    pairs = {trait: found.comparisons for trait, found in best.compared.items()}
    reports = tuple(report for side in sides for report in side)
    outcome, reasons = decision.judge(score, operating.threshold, *sides)
    if outcome is Outcome.NO_MATCH and not decision.supports(pairs, scales, max_fmr, references):
        # More was presented than could be used, or than the reference has: it could not have matched.
        outcome, reasons = Outcome.INCONCLUSIVE, (Reason.TOO_FEW_SAMPLES, *advice(reports))
    return Decision(
        outcome=outcome,
        reasons=reasons,
        score=score,
        threshold=operating.threshold,
        max_fmr=max_fmr,
        achieved_fmr=operating.achieved,
        raw_score=components[0].raw_score if len(components) == 1 else None,
        comparisons=references,
        subject_id=best.subject_id,
        encounter_id=best.encounter_id,
        calibration_id=decision.ids(pairs, scales),
        model_contract_id=decision.contracts(pairs, scales),
        samples=reports,
        components=components,
    )


def inconclusive(
    scales: Mapping[Modality, Scale],
    traits: Collection[Trait],
    operating: Operating,
    max_fmr: float,
    reason: Reason,
    reports: Reports,
) -> Decision:
    """Return the answer where nothing could be compared; ``traits`` are those that were presented."""
    return Decision(
        outcome=Outcome.INCONCLUSIVE,
        reasons=(reason, *advice(reports)),
        score=None,
        threshold=operating.threshold,
        max_fmr=max_fmr,
        achieved_fmr=operating.achieved,
        raw_score=None,
        comparisons=0,
        subject_id="",
        encounter_id="",
        calibration_id=decision.ids(traits, scales),
        model_contract_id=decision.contracts(traits, scales),
        samples=reports,
    )


def identified(
    scales: Mapping[Modality, Scale],
    presented: Mapping[Trait, int],
    used: Mapping[Trait, int],
    found: SearchResult,
    max_fpir: float | None,
    reports: Reports,
) -> Identification:
    """Return the answer of a search.

    Parameters
    ----------
    scales : mapping of Modality to Scale
        The evidence.
    presented, used : mapping of Trait to int
        What was presented, and what of it could be used, each with the number of its samples.
    found : SearchResult
        What the gallery returned.
    max_fpir : float or None
        What was asked for; None for candidates without a decision.
    reports : tuple of SampleReport
        The probe's.

    Raises
    ------
    InvalidInputError, ThresholdUnsupportedError
        As :func:`biometrik.decision.identification`.
    """
    subjects = found.coverage.subjects
    operating, enough = None, True
    if max_fpir is not None:
        decision.check_rate("max_fpir", max_fpir)
        if subjects:
            most = max((hit.encounters_compared for hit in found.hits), default=1)
            operating = decision.identification(presented, scales, max_fpir, subjects, most)
            enough = not used or decision.supports(used, scales, max_fpir, subjects * most)
    threshold = None if operating is None else operating.threshold
    hits = found.hits if used else ()
    candidates = tuple(_candidate(scales, rank, hit, threshold) for rank, hit in enumerate(hits, start=1))
    outcome, reasons = _outcome(candidates, threshold, subjects, reports, usable=bool(used))
    if outcome is Outcome.NO_MATCH and subjects and not enough:
        outcome, reasons = Outcome.INCONCLUSIVE, (Reason.TOO_FEW_SAMPLES, *advice(reports))
    traits = used or presented
    return Identification(
        outcome=outcome,
        reasons=reasons,
        candidates=candidates,
        threshold=threshold,
        max_fpir=max_fpir,
        achieved_fpir=None if operating is None else operating.achieved,
        coverage=found.coverage,
        calibration_id=decision.ids(traits, scales),
        model_contract_id=decision.contracts(traits, scales),
        samples=reports,
    )


def advice(reports: Sequence[SampleReport]) -> tuple[Reason, ...]:
    """Return what to do about samples that could not be used, without repetition."""
    return tuple(dict.fromkeys(reason for report in reports if not report.usable for reason in report.reasons))


def _candidate(scales: Mapping[Modality, Scale], rank: int, hit: Hit, threshold: float | None) -> Candidate:
    score, components = decision.score_of(hit.compared, scales, hit.encounters_compared)
    return Candidate(
        rank=rank,
        subject_id=hit.subject_id,
        encounter_id=hit.encounter_id,
        galleries=hit.galleries,
        score=score,
        raw_score=components[0].raw_score if len(components) == 1 else None,
        is_match=threshold is not None and decision.reaches(score, threshold),
        components=components,
    )


def _outcome(
    candidates: Sequence[Candidate], threshold: float | None, subjects: int, reports: Reports, *, usable: bool
) -> tuple[Outcome, tuple[Reason, ...]]:
    if not usable:
        return Outcome.INCONCLUSIVE, (Reason.NO_USABLE_PROBE, *advice(reports))
    if subjects == 0:
        return Outcome.NO_MATCH, (Reason.EMPTY_GALLERY,)
    if threshold is None:
        return Outcome.INCONCLUSIVE, (Reason.NO_THRESHOLD,)
    best = max((candidate.score for candidate in candidates), default=0.0)
    return decision.judge(best, threshold, reports)
