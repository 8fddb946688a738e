import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrik.errors import InvalidInputError, ThresholdUnsupportedError
from biometrik.scale import CalibrationPoint, Scale, larger_rate
from biometrik.types import Interval

Row = tuple[float, float, float, float, float]
ROWS: list[Row] = [
    (0.0, -0.25, 1.0, 1.0, 1.0),
    (10.0, 0.0, 0.1, 0.09, 0.11),
    (20.0, 0.25, 0.01, 0.008, 0.013),
    (30.0, 0.5, 0.001, 0.0006, 0.0015),
]


def scale(rows: list[Row] = ROWS, id: str = "set") -> Scale:
    return Scale(id, "model@1", tuple(CalibrationPoint(s, t, Interval(f, low, high)) for s, t, f, low, high in rows))


@st.composite
def scales(draw: st.DrawFn) -> Scale:
    count = draw(st.integers(2, 12))
    steps = st.floats(0.01, 5)
    score, similarity, fmr, rows = 0.0, draw(st.floats(-1, 1)), 1.0, []
    for _ in range(count):
        rows.append((score, similarity, fmr, fmr * draw(st.floats(0.1, 1)), min(1.0, fmr * draw(st.floats(1, 2)))))
        score, similarity = score + draw(steps), similarity + draw(steps) / 10
        fmr = min(fmr, 10 ** (-score / 10))
    return scale(rows)


class TestScore:
    @pytest.mark.parametrize(
        ("similarity", "score"),
        [
            (-math.inf, 0),
            (-0.3, 0),
            (-0.25, 0),
            (0.0, 10),
            (0.125, 15),
            (0.25, 20),
            (0.5, 30),
            (0.7, 30),
            (math.inf, 30),
        ],
    )
    def test_is_linear_between_rows_and_bounded_by_them(self, similarity: float, score: float) -> None:
        assert scale().score(similarity) == pytest.approx(score, abs=1e-12)

    @given(scales(), st.floats(-2, 8), st.floats(-2, 8))
    def test_never_falls(self, of: Scale, one: float, other: float) -> None:
        low, high = sorted((one, other))
        assert 0 <= of.score(low) <= of.score(high) <= of.points[-1].score

    def test_not_a_number_is_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="similarity: expected a number"):
            scale().score(math.nan)


class TestThreshold:
    @pytest.mark.parametrize(("fmr", "similarity"), [(1.0, -0.25), (0.1, 0.0), (1e-2, 0.25), (1e-3, 0.5)])
    def test_of_a_row_is_that_row(self, fmr: float, similarity: float) -> None:
        assert scale().similarity_at(fmr) == similarity

    @given(scales(), st.floats(0, 1))
    def test_has_the_score_of_its_fmr(self, of: Scale, share: float) -> None:
        score = share * of.points[-1].score
        assert of.score(of.similarity_at(10 ** (-score / 10))) == pytest.approx(score, abs=1e-6)

    @given(scales())
    def test_of_the_tightest_fmr_is_the_last_row(self, of: Scale) -> None:
        assert of.similarity_at(of.tightest_fmr) == pytest.approx(of.points[-1].similarity)

    def test_beyond_the_evidence_is_refused_with_the_tightest(self) -> None:
        with pytest.raises(ThresholdUnsupportedError, match=r"at least 0\.001, .* calibrate on more people") as caught:
            scale().similarity_at(0.9e-3)
        assert caught.value.tightest == scale().tightest_fmr == pytest.approx(1e-3)

    @pytest.mark.parametrize("fmr", [0.0, -0.1, 1.1, math.nan])
    def test_of_no_rate_is_refused(self, fmr: float) -> None:
        with pytest.raises(InvalidInputError, match="fmr: expected more than 0"):
            scale().similarity_at(fmr)


class TestInterval:
    def test_of_a_row_is_the_measured_one(self) -> None:
        assert scale().interval_at(1e-2).low == pytest.approx(0.008)
        assert scale().interval_at(1e-2).high == pytest.approx(0.013)

    def test_between_rows_is_between_theirs(self) -> None:
        between = scale().interval_at(10**-2.5)
        assert between.value == pytest.approx(10**-2.5)
        assert between.low == pytest.approx(10**-2.5 * 0.7)
        assert between.high == pytest.approx(10**-2.5 * 1.4)

    @given(scales(), st.floats(0, 1))
    def test_holds_its_value(self, of: Scale, share: float) -> None:
        found = of.interval_at(10 ** (-share * of.points[-1].score / 10))
        assert 0 <= found.low <= found.value <= found.high <= 1

    def test_behind_which_no_error_was_seen_is_the_rule_of_three(self) -> None:
        unseen = scale([*ROWS, (33.0, 0.6, 0.0, 0.0, 5e-4)])
        assert unseen.interval_at(unseen.tightest_fmr) == Interval(0.0, 0.0, 5e-4)
        assert unseen.interval_at(10**-3.2) == Interval(0.0, 0.0, 5e-4)
        assert unseen.interval_at(1e-3).value == pytest.approx(1e-3)

    def test_beyond_the_evidence_is_refused(self) -> None:
        with pytest.raises(ThresholdUnsupportedError):
            scale().interval_at(1e-4)


class TestScores:
    @given(scales(), st.lists(st.floats(-2, 8), max_size=20))
    def test_are_those_of_each_to_the_last_bit(self, of: Scale, similarities: list[float]) -> None:
        assert of.scores(np.array(similarities)).tolist() == [of.score(similarity) for similarity in similarities]

    @given(scales())
    def test_of_the_rows_are_the_rows(self, of: Scale) -> None:
        assert of.scores(np.array([p.similarity for p in of.points])).tolist() == [p.score for p in of.points]

    def test_where_nothing_was_compared_there_is_none(self) -> None:
        found = scale().scores(np.array([np.nan, np.inf, -np.inf, 0.25], dtype=np.float32))
        assert np.array_equal(found, [np.nan, 30.0, 0.0, 20.0], equal_nan=True)


class TestLargerRate:
    @given(scales(), scales(), st.floats(-2, 8), st.floats(-2, 8))
    def test_never_promises_more_than_either_where_both_reach(
        self, first: Scale, second: Scale, one: float, other: float
    ) -> None:
        both = larger_rate(first, second)
        low, high = sorted((one, other))
        assert both.score(low) <= both.score(high)
        rows, swapped = ([(p.score, p.similarity) for p in b.points] for b in (both, larger_rate(second, first)))
        assert rows == swapped
        seam = min(first.tightest_raw_score, second.tightest_raw_score)
        longer = max((first, second), key=lambda s: s.tightest_raw_score)
        for similarity in (one, other):
            heard = (first, second) if similarity <= seam else (longer,)
            assert both.score(similarity) <= min(s.score(similarity) for s in heard) + 1e-9

    @given(scales(), scales(), st.floats(0, 1))
    def test_measured_rates_hold_their_value(self, first: Scale, second: Scale, share: float) -> None:
        both = larger_rate(first, second)
        found = both.interval_at(10 ** (-share * both.points[-1].score / 10))
        assert 0 <= found.low <= found.value <= found.high <= 1

    @given(scales())
    def test_of_one_and_itself_is_itself(self, of: Scale) -> None:
        both = larger_rate(of, of)
        assert [(p.score, p.similarity) for p in both.points] == [(p.score, p.similarity) for p in of.points]
        assert both.id == "set + set"

    def test_beyond_the_end_of_one_the_other_goes_on_alone(self) -> None:
        further = [(score, t + 0.1, f, low, high) for score, t, f, low, high in ROWS]
        people, drawn = scale(ROWS[:3]), scale([*further, (40.0, 0.8, 1e-4, 1e-5, 2e-4)])
        both = larger_rate(people, drawn)
        for similarity in (-0.1, 0.0, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9):
            assert both.score(similarity) == pytest.approx(drawn.score(similarity))  # it has the larger FMR throughout
        found = both.interval_at(1e-4)
        assert (found.value, found.low, found.high) == pytest.approx((1e-4, 1e-5, 2e-4))

    def test_what_the_one_measured_at_its_end_is_not_forgotten(self) -> None:
        # At 0.25 people have an FMR of 1e-2 where the drawn say 1e-3: beyond it theirs counts ten times.
        nearer = [(score, t - 0.25, f, low, high) for score, t, f, low, high in ROWS]
        people, drawn = scale(ROWS[:3]), scale([*nearer, (40.0, 0.5, 1e-4, 0.5e-4, 2e-4)])
        both = larger_rate(people, drawn)
        assert both.score(0.25) == pytest.approx(20.0)
        assert both.score(0.375) == pytest.approx(25.0)
        assert both.tightest_fmr == pytest.approx(1e-3)
        found = both.interval_at(1e-3)
        assert (found.value, found.low, found.high) == pytest.approx((1e-3, 0.5e-3, 2e-3))

    def test_where_no_error_was_seen_the_bound_stands_for_the_rate(self) -> None:
        unseen = scale([*ROWS[:2], (13.0, 0.1, 0.0, 0.0, 0.05)])
        both = larger_rate(unseen, scale())
        assert both.interval_at(0.05).value == pytest.approx(0.05, rel=0.01)


def test_rows_are_checked() -> None:
    with pytest.raises(InvalidInputError, match="points: expected at least 2"):
        scale(ROWS[:1])
    with pytest.raises(InvalidInputError, match=r"points\[1\]: expected score and similarity above"):
        scale([ROWS[0], ROWS[0]])
