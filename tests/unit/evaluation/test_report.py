import numpy as np
import pytest

from biometrik.errors import InvalidInputError
from biometrik.evaluation.bootstrap import SubjectBootstrap
from biometrik.evaluation.metrics import Comparisons, Trials, equal_error_rate
from biometrik.evaluation.report import Accuracy, measure, score_grid

SUBJECTS = 120


@pytest.fixture
def trials(rng: np.random.Generator) -> Trials:
    first, second = np.triu_indices(SUBJECTS, 1)
    non_mated = Comparisons.of(rng.normal(0, 0.1, len(first)), first, second, SUBJECTS)
    who = np.repeat(np.arange(SUBJECTS), 3)
    mated = Comparisons.of(rng.normal(0.3, 0.1, len(who)), who, who, SUBJECTS)
    return Trials(mated, non_mated, 3 * SUBJECTS, 0)


@pytest.fixture
def accuracy(trials: Trials) -> Accuracy:
    return measure(trials, SubjectBootstrap(SUBJECTS, replicates=200))


@pytest.mark.parametrize(
    ("comparisons", "last"), [(10, 0.0), (30, 0.0), (300, 10.0), (30_000, 30.0), (7_255_541, 53.5)]
)
def test_grid_ends_where_thirty_errors_do(comparisons: int, last: float) -> None:
    grid = score_grid(comparisons)
    assert grid[0] == 0
    assert grid[-1] == last
    assert np.diff(grid).tolist() == [0.5] * (len(grid) - 1)


def test_operating_points_are_exact(trials: Trials, accuracy: Accuracy) -> None:
    for point in accuracy.points:
        target = 10 ** (-point.score / 10)
        assert point.fmr.value == (trials.non_mated.similarity >= point.threshold).mean() <= target
        assert point.fnmr.value == pytest.approx((trials.mated.similarity < point.threshold).mean())


def test_rates_trade_off(accuracy: Accuracy) -> None:
    fmr = [p.fmr.value for p in accuracy.points]
    fnmr = [p.fnmr.value for p in accuracy.points]
    assert fmr == sorted(fmr, reverse=True)
    assert fnmr == sorted(fnmr)
    assert accuracy.points[0].fmr.value == 1.0


def test_intervals_hold_their_values(accuracy: Accuracy) -> None:
    for rate in [accuracy.eer, *(p.fmr for p in accuracy.points), *(p.fnmr for p in accuracy.points)]:
        assert rate.low <= rate.value <= rate.high
    assert accuracy.eer.low < accuracy.eer.value < accuracy.eer.high


def test_equal_error_rate_is_the_exact_one(trials: Trials, accuracy: Accuracy) -> None:
    assert accuracy.eer.value == equal_error_rate(trials)


def test_fnmr_at_a_target_is_less_sure_than_at_a_threshold(trials: Trials, accuracy: Accuracy) -> None:
    # At a target FMR the threshold is uncertain too; with few non-mated errors behind it that shows.
    point = accuracy.points[-1]
    bootstrap = SubjectBootstrap(SUBJECTS, replicates=200)
    fixed = bootstrap.false_non_match_rates(trials.mated, [point.threshold])[:, 0]
    assert point.fnmr.high - point.fnmr.low > 1.1 * (np.quantile(fixed, 0.975) - np.quantile(fixed, 0.025))


def test_a_point_is_found_by_its_fmr(accuracy: Accuracy) -> None:
    assert accuracy.at(1e-2).score == 20.0
    with pytest.raises(InvalidInputError, match="fmr: expected the FMR of a score"):
        accuracy.at(1e-5)
    with pytest.raises(InvalidInputError, match="fmr: expected the FMR of a score"):
        accuracy.at(0.03)


def test_sets_without_errors_have_an_upper_bound(rng: np.random.Generator) -> None:
    first, second = np.triu_indices(20, 1)
    who = np.arange(20)
    trials = Trials(
        Comparisons.of(rng.uniform(0.8, 0.9, 20), who, who, 20),
        Comparisons.of(rng.uniform(0, 0.1, len(first)), first, second, 20),
        40,
        0,
    )
    found = measure(trials)
    assert [found.eer.value, found.eer.high] == pytest.approx([0.0, 3 / 20])
    assert found.points[-1].fnmr.high == pytest.approx(3 / 20)
