import datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.calibration import CalibrationTable
from biometrik.errors import InvalidInputError
from biometrik.evaluation.bootstrap import SubjectBootstrap
from biometrik.evaluation.calibration import calibrate
from biometrik.evaluation.metrics import Comparisons, Trials

DAY = datetime.date(2026, 1, 31)


def trials(non_mated: NDArray[np.floating[Any]], subjects: int, per_pair: int = 1) -> Trials:
    first, second = (np.repeat(side, per_pair) for side in np.triu_indices(subjects, 1))
    who = np.arange(subjects)
    return Trials(
        Comparisons.of(np.ones(subjects), who, who, subjects),
        Comparisons.of(non_mated, first, second, subjects),
        2 * subjects,
        1,
    )


def make(data: Trials, **changes: Any) -> CalibrationTable:
    values: dict[str, Any] = {"model_contract_id": "model@1", "dataset": "set", "date": DAY}
    return calibrate(data, **(values | changes))


@pytest.fixture
def normal(rng: np.random.Generator) -> Trials:
    return trials(rng.normal(0, 0.1, 300 * 299 // 2), 300)


def test_table_names_its_evidence(normal: Trials) -> None:
    table = make(normal)
    assert (table.id, table.model_contract_id, table.dataset) == ("set/model@1/2026-01-31", "model@1", "set")
    assert (table.subjects, table.images, table.failures_to_enroll) == (300, 600, 1)
    assert (table.mated, table.non_mated, table.date) == (300, 44_850, DAY)
    assert "1000 resamples of the subjects" in table.method
    assert "95%" in table.method
    assert CalibrationTable.from_json(table.to_json()) == table


def test_every_row_keeps_its_fmr_and_no_lower_threshold_does(normal: Trials) -> None:
    table = make(normal)
    assert len(table.points) > 50
    for point in table.points:
        target = 10 ** (-point.score / 10)
        assert point.fmr.value == (normal.non_mated.similarity >= point.similarity).mean() <= target
        lower = normal.non_mated.similarity[normal.non_mated.similarity < point.similarity]
        assert point.score == 0 or (normal.non_mated.similarity >= lower.max()).mean() > target


def test_score_is_the_measured_rate(normal: Trials) -> None:
    table = make(normal)
    for similarity in np.linspace(-0.1, 0.28, 40):
        rate = (normal.non_mated.similarity >= similarity).mean()
        assert table.score(float(similarity)) == pytest.approx(-10 * np.log10(rate), abs=0.15)


def test_evidence_ends_at_thirty_false_matches(normal: Trials) -> None:
    table = make(normal)
    last = table.points[-1]
    assert normal.non_mated.accepted(last.similarity) >= 30
    assert last.fmr.high <= 2 * table.tightest_fmr
    assert table.tightest_fmr == pytest.approx(30 / 44_850, rel=0.13)  # within one step


def test_evidence_ends_earlier_where_few_people_make_the_errors(rng: np.random.Generator) -> None:
    # All false matches above 0.5 come from one subject: an interval by subject knows that, counts do not.
    data = trials(rng.uniform(0, 0.4, 300 * 299 // 2), 300)
    one = (data.non_mated.first == 7) | (data.non_mated.second == 7)
    similarity = np.where(one, 0.6 + data.non_mated.similarity / 10, data.non_mated.similarity)
    lookalike = Trials(
        data.mated,
        Comparisons.of(similarity, data.non_mated.first, data.non_mated.second, 300),
        600,
        0,
    )
    table = make(lookalike)
    assert lookalike.non_mated.accepted(0.6) == 299
    assert table.points[-1].similarity < 0.5
    assert table.tightest_fmr > 299 / 44_850


def test_without_any_false_match_the_rule_of_three_over_disjoint_subjects_holds(rng: np.random.Generator) -> None:
    # 20 comparisons of each pair with one and the same similarity: 40 subjects, but no rate between 0 and 1.
    data = trials(np.zeros(40 * 39 // 2 * 20), 40, per_pair=20)
    table = make(data)
    assert [p.score for p in table.points] == pytest.approx([0.0, -10 * np.log10(3 / 20)])
    assert table.score(0.0) == 0.0
    assert table.tightest_fmr == pytest.approx(3 / 20)
    assert table.points[-1].similarity > 0
    assert [table.points[-1].fmr.value, table.points[-1].fmr.high] == pytest.approx([0.0, 3 / 20])


def test_no_score_promises_more_than_was_measured_where_similarities_are_equal(rng: np.random.Generator) -> None:
    # A comparator that answers in whole numbers.
    data = trials(rng.geometric(0.4, 300 * 299 // 2) - 1.0, 300)
    table = make(data)
    assert len(table.points) > 8
    for similarity in np.arange(0, 30, 0.25):
        rate = (data.non_mated.similarity >= similarity).mean()
        promised = 10 ** (-table.score(float(similarity)) / 10)
        assert promised >= 0.999 * rate
        if similarity == int(similarity) and rate > 2 * table.tightest_fmr:
            assert promised <= 1.13 * rate  # one step of the grid


def test_data_without_evidence_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InvalidInputError, match="calibrate on more people"):
        make(trials(rng.normal(size=10), 5))


def test_resamples_are_the_callers_choice(normal: Trials) -> None:
    table = make(normal, bootstrap=SubjectBootstrap(300, replicates=150))
    assert "150 resamples" in table.method
    assert table.points[-1] != make(normal).points[-1]
