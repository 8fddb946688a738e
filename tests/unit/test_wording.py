"""Rates and scores in words never promise more than the number."""

import math

from hypothesis import given
from hypothesis import strategies as st

from biometrik import wording
from biometrik.types import QualityComponent

rates = st.floats(1e-12, 1.0)


def _number(text: str) -> float:
    return float(text.replace(",", ""))


@given(rates, st.integers(1, 6))
def test_the_count_is_rounded_down_and_not_by_more_than_its_digits(rate: float, digits: int) -> None:
    count = _number(wording.count_behind(rate, digits=digits))
    assert count <= 1 / rate * (1 + 1e-6)
    assert count >= 1 / rate * (1 - 10 ** (1 - digits)) - 1 - 1e-6 / rate


@given(rates)
def test_more_strangers_never_make_a_smaller_count(rate: float) -> None:
    assert _number(wording.count_behind(rate / 2)) >= _number(wording.count_behind(rate))


def test_no_rate_has_no_count() -> None:
    assert wording.one_in(0.0) == "1 in ∞"


@given(st.floats(0, 80), st.floats(0, 80))
def test_what_is_shown_decides_as_the_numbers_do(score: float, threshold: float) -> None:
    shown = wording.against_threshold(score, threshold)
    assert ("≥" in shown) is (score >= threshold)


@given(st.floats(0, 80))
def test_a_score_is_never_rounded_up(score: float) -> None:
    assert float(wording.rounded(score)) <= score + 1e-6
    assert float(wording.rounded(score)) > score - 0.1 - 1e-6


@given(rates)
def test_percent_keeps_two_digits(rate: float) -> None:
    assert math.isclose(float(wording.percent(rate).removesuffix(" %")) / 100, rate, rel_tol=0.051)


def test_a_measured_range_and_a_bare_number_read_well() -> None:
    assert wording.measurement(QualityComponent("a", 1, 10.31, "0..255", 0, None)) == "10.3 of 0..255"
    assert wording.measurement(QualityComponent("a", 1, 0.8193, "", 0, None)) == "0.819"
    assert wording.component_name(QualityComponent("inter_eye_distance", 1, 1, "px", 0, None)) == "inter eye distance"


def test_what_has_no_score_shows_none() -> None:
    assert wording.score_of(object()) == wording.rates_of(object()) == ""
