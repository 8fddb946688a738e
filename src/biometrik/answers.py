"""Similarities and what they rest on, as the answers that callers get."""

from collections.abc import Sequence

from biometrik import decision
from biometrik.calibration import CalibrationTable
from biometrik.decision import Operating
from biometrik.gallery.gallery import Hit
from biometrik.gallery.searching import SearchResult
from biometrik.reasons import Reason
from biometrik.types import Candidate, Decision, Identification, Outcome, SampleReport

Reports = tuple[SampleReport, ...]


def decided(
    table: CalibrationTable,
    operating: Operating,
    max_fmr: float,
    similarity: float,
    *sides: Reports,
    comparisons: int = 1,
    subject_id: str = "",
    encounter_id: str = "",
) -> Decision:
    """Return the answer of a comparison.

    Parameters
    ----------
    table : CalibrationTable
        The evidence.
    operating : Operating
        The threshold in force.
    max_fmr : float
        What was asked for.
    similarity : float
        The best of ``comparisons``.
    *sides : tuple of SampleReport
        The probe's, and the reference's where that was presented too.
    comparisons : int
        References that the probe was held against.
    subject_id, encounter_id : str
        Whose reference fits best; "" where nothing is stored.
    """
    score = decision.subject_score(table, similarity, comparisons)
    outcome, reasons = decision.judge(score, operating.threshold, *sides)
    return Decision(
        outcome=outcome,
        reasons=reasons,
        score=score,
        threshold=operating.threshold,
        max_fmr=max_fmr,
        achieved_fmr=operating.achieved,
        raw_score=similarity,
        comparisons=comparisons,
        subject_id=subject_id,
        encounter_id=encounter_id,
        calibration_id=table.id,
        model_contract_id=table.model_contract_id,
        samples=tuple(report for side in sides for report in side),
    )


def inconclusive(
    table: CalibrationTable, operating: Operating, max_fmr: float, reason: Reason, reports: Reports
) -> Decision:
    """Return the answer where nothing could be compared."""
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
        calibration_id=table.id,
        model_contract_id=table.model_contract_id,
        samples=reports,
    )


def identified(
    table: CalibrationTable, found: SearchResult, max_fpir: float | None, reports: Reports, *, usable: bool
) -> Identification:
    """Return the answer of a search.

    Parameters
    ----------
    table : CalibrationTable
        The evidence.
    found : SearchResult
        What the gallery returned.
    max_fpir : float or None
        What was asked for; None for candidates without a decision.
    reports : tuple of SampleReport
        The probe's.
    usable : bool
        Whether there was a probe to search with; if not, only the coverage of ``found`` is told.

    Raises
    ------
    InvalidInputError, ThresholdUnsupportedError
        As :func:`biometrik.decision.identification`.
    """
    subjects = found.coverage.subjects
    operating = None
    if max_fpir is not None and subjects:
        most = max((hit.encounters_compared for hit in found.hits), default=1)
        operating = decision.identification(table, max_fpir, subjects, most)
    threshold = None if operating is None else operating.threshold
    hits = found.hits if usable else ()
    candidates = tuple(_candidate(table, rank, hit, threshold) for rank, hit in enumerate(hits, start=1))
    outcome, reasons = _outcome(candidates, threshold, subjects, reports, usable=usable)
    return Identification(
        outcome=outcome,
        reasons=reasons,
        candidates=candidates,
        threshold=threshold,
        max_fpir=max_fpir,
        achieved_fpir=None if operating is None else operating.achieved,
        coverage=found.coverage,
        calibration_id=table.id,
        model_contract_id=table.model_contract_id,
        samples=reports,
    )


def advice(reports: Sequence[SampleReport]) -> tuple[Reason, ...]:
    """Return what to do about samples that could not be used, without repetition."""
    return tuple(dict.fromkeys(reason for report in reports if not report.usable for reason in report.reasons))


def _candidate(table: CalibrationTable, rank: int, hit: Hit, threshold: float | None) -> Candidate:
    score = decision.subject_score(table, hit.similarity, hit.encounters_compared)
    return Candidate(
        rank=rank,
        subject_id=hit.subject_id,
        encounter_id=hit.encounter_id,
        galleries=hit.galleries,
        score=score,
        raw_score=hit.similarity,
        is_match=threshold is not None and decision.reaches(score, threshold),
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
