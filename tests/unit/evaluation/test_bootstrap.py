import numpy as np
import pytest

from biometrik.errors import InvalidInputError
from biometrik.evaluation.bootstrap import SubjectBootstrap, interval, rule_of_three
from biometrik.evaluation.metrics import Comparisons
from biometrik.types import Interval


def all_pairs(rng: np.random.Generator, subjects: int, spread: float) -> Comparisons:
    # Each subject has an effect on all its comparisons: they are not independent.
    effect = rng.normal(0, spread, subjects)
    first, second = np.triu_indices(subjects, 1)
    similarity = effect[first] + effect[second] + rng.normal(0, 1, len(first))
    return Comparisons.of(similarity, first, second, subjects)


class TestResamples:
    def test_false_match_rates_are_those_of_the_written_out_resample(self, rng: np.random.Generator) -> None:
        comparisons = all_pairs(rng, 12, 1.0)
        bootstrap = SubjectBootstrap(12, replicates=100)
        thresholds = [-1.0, 0.5, 2.0]
        rates = bootstrap.false_match_rates(comparisons, thresholds)
        assert rates.shape == (100, 3)
        drawn = np.random.default_rng(19795).multinomial(12, np.full(12, 1 / 12), size=100)
        for row, weights in zip(rates, drawn, strict=True):
            weight = weights[comparisons.first] * weights[comparisons.second]
            expected = [weight[comparisons.similarity >= t].sum() / weight.sum() for t in thresholds]
            assert row == pytest.approx(expected)

    def test_false_non_match_rates_weigh_a_subject_once(self, rng: np.random.Generator) -> None:
        who = np.array([0, 0, 0, 1, 2, 2, 3])
        comparisons = Comparisons.of(rng.normal(size=7), who, who, 5)
        rates = SubjectBootstrap(5, replicates=100).false_non_match_rates(comparisons, [0.0, 0.5])
        drawn = np.random.default_rng(19795).multinomial(5, np.full(5, 1 / 5), size=100)
        for row, weights in zip(rates, drawn, strict=True):
            weight = weights[comparisons.first]
            own = [float((comparisons.similarity < t).mean()) for t in (0.0, 0.5)]
            expected = [weight[comparisons.similarity < t].sum() for t in (0.0, 0.5)]
            assert row == pytest.approx(np.array(expected) / weight.sum() if weight.sum() else own)

    def test_without_any_comparison_the_experiments_own_rate_stands(self) -> None:
        # Two subjects, one pair: resamples that draw one of them twice have no pair.
        one = Comparisons.of(np.array([0.5]), np.array([0]), np.array([1]), 2)
        rates = SubjectBootstrap(2, replicates=100).false_match_rates(one, [0.4])
        assert rates.tolist() == [[1.0]] * 100

    def test_are_the_same_each_time(self, rng: np.random.Generator) -> None:
        comparisons = all_pairs(rng, 20, 1.0)
        one, two = (SubjectBootstrap(20).false_match_rates(comparisons, [0.0]) for _ in range(2))
        other = SubjectBootstrap(20, seed=1).false_match_rates(comparisons, [0.0])
        assert np.array_equal(one, two)
        assert not np.array_equal(one, other)

    @pytest.mark.parametrize(("subjects", "replicates"), [(1, 1000), (10, 99)])
    def test_too_few_are_refused(self, subjects: int, replicates: int) -> None:
        with pytest.raises(InvalidInputError, match="bootstrap: expected 2 subjects and 100 replicates"):
            SubjectBootstrap(subjects, replicates=replicates)

    def test_of_other_subjects_are_refused(self, rng: np.random.Generator) -> None:
        with pytest.raises(InvalidInputError, match="expected 9 subjects, got 8"):
            SubjectBootstrap(9).false_match_rates(all_pairs(rng, 8, 1.0), [0.0])


class TestInterval:
    def test_covers_the_true_rate_where_comparisons_depend_on_each_other(self, rng: np.random.Generator) -> None:
        # 120 experiments of 40 subjects with strong subject effects; similarity ~ N(0, 2·1 + 1), FMR at 2.
        subjects, threshold = 40, 2.0
        truth = float((rng.normal(0, np.sqrt(3.0), 2_000_000) >= threshold).mean())
        bootstrap = SubjectBootstrap(subjects, replicates=200)
        covered = by_pair = 0
        for _ in range(120):
            comparisons = all_pairs(rng, subjects, 1.0)
            rate = comparisons.accepted(threshold) / len(comparisons)
            found = interval(rate, bootstrap.false_match_rates(comparisons, [threshold])[:, 0], subjects // 2)
            covered += found.low <= truth <= found.high
            naive = 1.96 * np.sqrt(rate * (1 - rate) / len(comparisons))
            by_pair += abs(rate - truth) <= naive
        assert covered >= 0.88 * 120  # nominal 95 %, less what percentile intervals lose on 40 subjects
        assert by_pair <= 0.5 * 120  # the interval that takes comparisons for independent is far too narrow

    def test_is_wider_the_surer_it_is_to_be(self) -> None:
        found = interval(0.5, np.linspace(0.0, 1.0, 1001), 10)
        assert (found.value, found.confidence) == (0.5, 0.95)
        assert [found.low, found.high] == pytest.approx([0.025, 0.975])

    def test_holds_an_estimate_that_no_resample_reached(self) -> None:
        assert interval(0.5, np.full(100, 0.4), 10) == Interval(0.5, 0.4, 0.5)
        assert interval(0.3, np.full(100, 0.4), 10) == Interval(0.3, 0.3, 0.4)

    @pytest.mark.parametrize(("independent", "bound"), [(300, 0.01), (3, 1.0), (0, 1.0)])
    def test_without_errors_is_the_rule_of_three(self, independent: int, bound: float) -> None:
        assert rule_of_three(independent) == pytest.approx(bound)
        assert interval(0.0, np.zeros(100), independent).high == pytest.approx(bound)
