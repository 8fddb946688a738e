"""Making calibration tables; reading them is :mod:`biometrik.calibration`."""

import datetime
import math
import os
import re
from pathlib import Path
from typing import Final

import numpy as np

from biometrik.calibration import CalibrationTable
from biometrik.errors import InvalidInputError
from biometrik.evaluation.bootstrap import CONFIDENCE, SubjectBootstrap, interval, rule_of_three
from biometrik.evaluation.metrics import Trials, false_match_rate
from biometrik.evaluation.report import LEAST_ERRORS, SCORE_STEP, score_grid, thresholds_at
from biometrik.scale import CalibrationPoint
from biometrik.types import EvidenceKind, Interval

#: Scores of a table increase strictly; across a step they do so by this much.
_RISE: Final = 1e-6


def calibrate(
    trials: Trials,
    *,
    model_contract_id: str,
    dataset: str,
    date: datetime.date,
    evidence: EvidenceKind = EvidenceKind.REAL,
    detail: str = "",
    bootstrap: SubjectBootstrap | None = None,
) -> CalibrationTable:
    """Return the table from similarity to score that these trials support.

    The threshold of a score is the smallest non-mated similarity with a measured FMR of at most 10^(−score/10). A score
    is supported if at least 30 false matches stand behind it and the upper bound of its FMR is at most twice its
    target, and every lower score is supported too. Where 3/n over disjoint pairs of subjects is tighter than that,
    a last row above every non-mated similarity bears it (rule of three).

    Parameters
    ----------
    trials : Trials
        Every comparison of the experiment.
    model_contract_id : str
        The models that made the similarities.
    dataset : str
        Name of the data.
    date : datetime.date
        When it was measured.
    evidence : EvidenceKind
        Whether the data was of people.
    detail : str
        What else has to be said of the data; a part of the table's ``method``.
    bootstrap : SubjectBootstrap, optional
        By default 1000 resamples with a fixed seed.

    Raises
    ------
    InvalidInputError
        The data is too small to support any FMR below 1.
    """
    non_mated = trials.non_mated
    bootstrap = bootstrap or SubjectBootstrap(non_mated.subjects)
    scores = score_grid(len(non_mated))
    thresholds = thresholds_at(non_mated, scores)
    replicates = bootstrap.false_match_rates(non_mated, thresholds)
    disjoint = non_mated.subjects // 2
    rows: dict[float, CalibrationPoint] = {}
    for k, (score, threshold) in enumerate(zip(scores, thresholds, strict=True)):
        fmr = interval(false_match_rate(non_mated, threshold), replicates[:, k], disjoint)
        if non_mated.accepted(threshold) < LEAST_ERRORS or fmr.high > 2.0 * 10.0 ** (-score / 10):
            break
        rows[threshold] = CalibrationPoint(score, threshold, fmr)  # of equal thresholds, the highest score
    unseen, above = rule_of_three(disjoint), float(np.nextafter(non_mated.similarity[0], np.float32(np.inf)))
    score = -10.0 * math.log10(unseen)
    if all(score > point.score for point in rows.values()):
        rows[above] = CalibrationPoint(score, above, Interval(0.0, 0.0, unseen))
    points = _with_steps(list(rows.values()))
    if len(points) < 2:
        raise InvalidInputError(
            f"trials: expected evidence for an FMR below 1, got {len(non_mated)} non-mated comparisons of "
            f"{non_mated.subjects} subjects; calibrate on more people"
        )
    return CalibrationTable(
        id=f"{dataset}/{model_contract_id}/{date.isoformat()}",
        model_contract_id=model_contract_id,
        dataset=dataset,
        subjects=non_mated.subjects,
        images=trials.images,
        failures_to_enroll=trials.failures_to_enroll,
        mated=len(trials.mated),
        non_mated=len(non_mated),
        date=date,
        evidence=evidence,
        method=(
            f"{detail}{'; ' if detail else ''}order statistics of all comparisons; {CONFIDENCE:.0%} percentile "
            f"intervals of {bootstrap.replicates} resamples of the subjects, both of a pair"
        ),
        points=points,
    )


def write(table: CalibrationTable, folder: Path) -> Path:
    """Write a table as ``<dataset>-<models>.json``, whole or not at all; return where.

    The name leaves out digests and versions of the model contract: a table of changed models takes the place of the old
    one.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table.dataset}-{re.sub('@[^+]*', '', table.model_contract_id)}.json"
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(table.to_json())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _with_steps(points: list[CalibrationPoint]) -> tuple[CalibrationPoint, ...]:
    # Where scores jump (many equal similarities, or the rule of three's row) a straight line would promise more than
    # was measured: the lower score holds until the higher one's threshold.
    result = points[:1]
    for point in points[1:]:
        last = result[-1]
        just_below = float(np.nextafter(np.float32(point.similarity), np.float32(-np.inf)))
        if point.score - last.score > SCORE_STEP + _RISE and just_below > last.similarity:
            result.append(CalibrationPoint(last.score + _RISE, just_below, last.fmr))
        result.append(point)
    return tuple(result)
