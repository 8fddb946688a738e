"""Scores and decisions: the arithmetic of rates, and that the corrections keep the rate that they promise."""

import datetime
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrik import decision
from biometrik.calibration import CalibrationTable
from biometrik.errors import InvalidInputError, ThresholdUnsupportedError
from biometrik.features import Compared
from biometrik.reasons import Reason
from biometrik.scale import CalibrationPoint
from biometrik.types import FACE, Interval, Modality, Outcome, Quality, QualityComponent, SampleReport, Trait

#: Non-mated similarities of this table are uniform on 0..1: FMR(t) = 1 − t, down to 1e-4.
SCORES = np.arange(0, 40.5, 0.5)
TABLE = CalibrationTable(
    id="uniform",
    model_contract_id="uniform@1",
    dataset="none",
    subjects=1000,
    images=2000,
    failures_to_enroll=0,
    mated=1000,
    non_mated=1_000_000,
    date=datetime.date(2026, 1, 31),
    method="analytic",
    points=tuple(
        CalibrationPoint(float(s), 1 - 10 ** (-s / 10), Interval(f := 10 ** (-s / 10), f * 0.9, min(1.0, f * 1.1)))
        for s in SCORES
    ),
)


FACES = {FACE: 1}
SCALES = {Modality.FACE: TABLE}


def _score(similarity: float, references: int) -> float:
    return decision.score_of({FACE: Compared(float(similarity))}, SCALES, references)[0]


def _report(*, value: float, usable: bool = True) -> SampleReport:
    reason = Reason.TOO_DARK if value < 50 else None
    quality = Quality(value, "test/1", (QualityComponent("under_exposure", value, 0.0, "", 50.0, reason),))
    return SampleReport(0, usable, quality.reasons, quality, 1, None)


@given(st.floats(1e-12, 1.0))
def test_score_and_rate_are_inverse(rate: float) -> None:
    assert decision.to_rate(decision.to_score(rate)) == pytest.approx(rate, rel=1e-9)


@given(st.floats(1e-12, 1.0), st.integers(1, 10_000_000))
def test_any_and_each_are_inverse(rate: float, count: int) -> None:
    assert decision.any_of(decision.each_of(rate, count), count) == pytest.approx(rate, rel=1e-6)


def test_small_rates_do_not_vanish() -> None:
    assert decision.each_of(1e-3, 10**9) == pytest.approx(1.0005e-12, rel=1e-4)
    assert decision.any_of(1e-15, 1000) == pytest.approx(1e-12)


@pytest.mark.parametrize(("score", "outcome"), [(30.0, Outcome.MATCH), (29.999, Outcome.NO_MATCH)])
def test_the_threshold_itself_is_a_match(score: float, outcome: Outcome) -> None:
    assert decision.judge(score, 30.0, [_report(value=80)]) == (outcome, ())


def test_nobody_is_refused_on_a_poor_sample() -> None:
    assert decision.judge(5.0, 30.0, [_report(value=10)]) == (
        Outcome.INCONCLUSIVE,
        (Reason.QUALITY_TOO_LOW, Reason.TOO_DARK),
    )
    assert decision.judge(31.0, 30.0, [_report(value=10)]) == (Outcome.MATCH, ())
    assert decision.judge(5.0, 30.0, [_report(value=10), _report(value=90)])[0] is Outcome.NO_MATCH
    assert decision.judge(5.0, 30.0, [_report(value=90, usable=False), _report(value=10)])[0] is Outcome.INCONCLUSIVE


def test_a_verification_threshold_states_the_achieved_fmr() -> None:
    operating = decision.verification(FACES, SCALES, 1e-3, 1)
    assert operating.threshold == pytest.approx(30.0)
    assert operating.achieved.value == pytest.approx(1e-3)
    assert (operating.achieved.low, operating.achieved.high) == pytest.approx((0.9e-3, 1.1e-3))


@pytest.mark.parametrize("comparisons", [1, 2, 7])
def test_a_tighter_target_than_the_evidence_is_refused_by_name(comparisons: int) -> None:
    tightest = decision.any_of(TABLE.tightest_fmr, comparisons)
    assert decision.verification(FACES, SCALES, tightest, comparisons).threshold <= 40.0
    with pytest.raises(ThresholdUnsupportedError, match="uniform supports") as caught:
        decision.verification(FACES, SCALES, tightest * 0.99, comparisons)
    assert caught.value.tightest == pytest.approx(tightest)
    assert caught.value.reason == "THRESHOLD_UNSUPPORTED"


@pytest.mark.parametrize("comparisons", [1, 3])
def test_a_target_that_is_accepted_can_be_reached(comparisons: int) -> None:
    tightest = decision.any_of(TABLE.tightest_fmr, comparisons)
    operating = decision.verification(FACES, SCALES, tightest * (1 - 1e-10), comparisons)
    best = _score(1.0, comparisons)
    assert decision.judge(best, operating.threshold, [_report(value=80)])[0] is Outcome.MATCH


def test_the_rate_that_an_error_names_is_supported() -> None:
    with pytest.raises(ThresholdUnsupportedError) as caught:
        decision.verification(FACES, SCALES, 1e-9, 7)
    named = float(str(caught.value).split("supports ")[1].split()[0])
    assert decision.verification(FACES, SCALES, named, 7).threshold > 0


@pytest.mark.parametrize("rate", [0.0, 1.0, -1e-3, math.nan, math.inf])
def test_a_rate_is_checked(rate: float) -> None:
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        decision.verification(FACES, SCALES, rate, 1)
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        decision.identification(FACES, SCALES, rate, 10, 1)


def test_an_identification_threshold_moves_with_the_gallery() -> None:
    small, large = (decision.identification(FACES, SCALES, 0.01, n, 1) for n in (10, 100))
    assert large.threshold - small.threshold == pytest.approx(10.0, abs=0.01)
    assert large.achieved.value == pytest.approx(0.01)
    with pytest.raises(ThresholdUnsupportedError, match="candidates only") as caught:
        decision.identification(FACES, SCALES, 0.01, 1000, 1)
    assert caught.value.tightest == pytest.approx(1 - (1 - 1e-4) ** 1000)


@given(st.floats(0, 1), st.integers(1, 50))
def test_more_references_never_raise_a_score(similarity: float, comparisons: int) -> None:
    one = _score(similarity, comparisons)
    more = _score(similarity, comparisons + 1)
    assert 0.0 <= more <= one + 1e-12 <= 40.0 + 1e-9


@pytest.mark.parametrize("references", [1, 3, 8])
def test_the_fmr_asked_for_is_kept_with_several_references(references: int, rng: np.random.Generator) -> None:
    trials, target = 200_000, 1e-2
    best = rng.random((trials, references)).max(axis=1)
    threshold = decision.verification(FACES, SCALES, target, references).threshold
    scores = np.array([_score(s, references) for s in best[best > 0.98]])
    found = (scores >= threshold).sum() / trials
    assert found == pytest.approx(target, abs=4 * math.sqrt(target / trials))


def test_the_fpir_asked_for_is_kept_over_a_gallery(rng: np.random.Generator) -> None:
    searches, subjects, references, target = 20_000, 20, 2, 0.05
    threshold = decision.identification(FACES, SCALES, target, subjects, references).threshold
    best = rng.random((searches, subjects, references)).max(axis=2).max(axis=1)
    found = np.mean([_score(s, references) >= threshold for s in best])
    assert found == pytest.approx(target, abs=4 * math.sqrt(target / searches))


def test_several_traits_state_what_was_achieved_together() -> None:
    fingers = {FACE: 1, Trait.finger(2): 1, Trait.finger(7): 3}
    scales = {Modality.FACE: TABLE, Modality.FINGER: TABLE}
    for target in (1e-2, 1e-4, 1e-6):
        operating = decision.verification(fingers, scales, target, 2)
        assert operating.threshold == pytest.approx(decision.to_score(target))
        assert operating.achieved.value == pytest.approx(target, rel=0.02)
        assert operating.achieved.low < operating.achieved.value < operating.achieved.high
    with pytest.raises(ThresholdUnsupportedError, match=r"uniform supports .* for 3 trait\(s\)") as caught:
        decision.verification(fingers, scales, 1e-30, 2)
    assert (
        decision.verification(fingers, scales, caught.value.tightest, 2).achieved.value <= caught.value.tightest * 1.01
    )


def test_traits_together_reach_further_than_each_and_are_named_once() -> None:
    both = {FACE: Compared(1.0), Trait.finger(2): Compared(1.0)}
    scales = {Modality.FACE: TABLE, Modality.FINGER: TABLE}
    score, components = decision.score_of(both, scales, 1)
    assert score > max(component.score for component in components)
    assert all(component.capped for component in components)
    assert decision.ids(both, scales) == TABLE.id
    many = decision.scores_of(
        {trait: np.array([1.0, 0.5, np.nan], dtype=np.float32) for trait in both},
        {trait: np.array([1, 1, 1]) for trait in both},
        scales,
    )
    assert many[0] == pytest.approx(score)
    assert many[0] > many[1] > many[2] == 0.0
