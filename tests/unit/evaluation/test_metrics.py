from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.evaluation.metrics import (
    Comparisons,
    Trials,
    crossing,
    equal_error_rate,
    false_match_rate,
    false_non_match_rate,
)

similarities = hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-1, 1, width=32))


def non_mated(similarity: NDArray[np.floating[Any]]) -> Comparisons:
    return Comparisons.of(similarity, np.zeros(len(similarity), int), np.ones(len(similarity), int), 2)


def mated(similarity: NDArray[np.floating[Any]]) -> Comparisons:
    return Comparisons.of(similarity, np.zeros(len(similarity), int), np.zeros(len(similarity), int), 2)


class TestComparisons:
    def test_are_sorted_with_their_subjects(self) -> None:
        found = Comparisons.of(np.array([0.1, 0.9, 0.5]), np.array([0, 1, 2]), np.array([3, 4, 5]), 6)
        assert found.similarity.tolist() == pytest.approx([0.9, 0.5, 0.1])
        assert (found.first.tolist(), found.second.tolist()) == ([1, 2, 0], [4, 5, 3])

    @given(similarities, st.floats(-1.5, 1.5))
    def test_accepted_counts_at_or_above(self, similarity: NDArray[np.float32], threshold: float) -> None:
        assert non_mated(similarity).accepted(threshold) == (similarity.astype(float) >= threshold).sum()

    @given(similarities, st.integers(0, 59))
    def test_accepted_counts_ties(self, similarity: NDArray[np.float32], which: int) -> None:
        threshold = float(similarity[which % len(similarity)])
        assert non_mated(similarity).accepted(threshold) == (similarity >= threshold).sum()

    @given(similarities, st.floats(0, 1))
    def test_threshold_is_the_least_that_keeps_the_share(self, similarity: NDArray[np.float32], share: float) -> None:
        comparisons = non_mated(similarity)
        threshold = comparisons.threshold_accepting(share)
        assert comparisons.accepted(threshold) <= share * len(similarity) * (1 + 1e-9)
        lower = similarity[similarity < threshold]
        assert len(lower) == 0 or comparisons.accepted(float(lower.max())) > share * len(similarity)
        assert threshold in similarity or comparisons.accepted(threshold) == 0

    def test_a_whole_number_of_errors_is_not_lost_to_rounding(self) -> None:
        comparisons = non_mated(np.arange(3000) / 3000)
        for errors in range(1, 3000, 7):
            assert comparisons.accepted(comparisons.threshold_accepting(errors / 3000)) == errors

    @pytest.mark.parametrize(
        ("similarity", "first", "second", "subjects", "message"),
        [
            ([], [], [], 2, "at least one"),
            ([0.1], [0, 1], [1, 1], 2, "two subjects each"),
            ([0.1], [0], [2], 2, "subjects 0 to 1"),
            ([0.1], [-1], [1], 2, "subjects 0 to 1"),
            ([np.nan], [0], [1], 2, "finite"),
            ([0.1], [0], [1], 10_001, "sample them"),
        ],
    )
    def test_are_checked(
        self, similarity: list[float], first: list[int], second: list[int], subjects: int, message: str
    ) -> None:
        with pytest.raises(InvalidInputError, match=message):
            Comparisons.of(np.array(similarity), np.array(first, int), np.array(second, int), subjects)


class TestTrials:
    def test_mixed_kinds_are_refused(self) -> None:
        one, two = mated(np.array([0.5])), non_mated(np.array([0.5]))
        with pytest.raises(InvalidInputError, match="mated: expected one subject"):
            Trials(two, two, 4, 0)
        with pytest.raises(InvalidInputError, match="non_mated: expected two subjects"):
            Trials(one, one, 4, 0)

    def test_of_two_experiments_are_refused(self) -> None:
        other = Comparisons.of(np.array([0.5]), np.array([0]), np.array([1]), 3)
        with pytest.raises(InvalidInputError, match="one set of subjects"):
            Trials(mated(np.array([0.5])), other, 4, 0)


class TestRates:
    def test_a_similarity_at_the_threshold_matches(self) -> None:
        found = np.array([0.25, 0.5, 0.5, 0.75])
        assert false_match_rate(non_mated(found), 0.5) == 0.75
        assert false_non_match_rate(mated(found), 0.5) == 0.25

    @given(similarities, st.floats(-1, 1), st.floats(-1, 1))
    def test_move_against_each_other(self, similarity: NDArray[np.float32], one: float, other: float) -> None:
        low, high = sorted((one, other))
        assert false_match_rate(non_mated(similarity), low) >= false_match_rate(non_mated(similarity), high)
        assert false_non_match_rate(mated(similarity), low) <= false_non_match_rate(mated(similarity), high)


class TestEqualErrorRate:
    @pytest.mark.parametrize(
        ("same", "different", "rate"),
        [
            ([0.8, 0.9], [0.1, 0.2], 0.0),
            ([0.1, 0.2], [0.8, 0.9], 1.0),
            ([0.1, 0.9], [0.1, 0.9], 0.5),
            # at 0.6: FMR 1/4, FNMR 1/4
            ([0.5, 0.7, 0.8, 0.9], [0.1, 0.2, 0.3, 0.6], 0.25),
            # between 0.5 and its next: FMR 0.5 → 0, FNMR 0 → 1; the lines cross at 1/3
            ([0.5], [0.5, 0.1], 1 / 3),
        ],
    )
    def test_of_small_sets(self, same: list[float], different: list[float], rate: float) -> None:
        trials = Trials(mated(np.array(same)), non_mated(np.array(different)), 9, 0)
        assert equal_error_rate(trials) == pytest.approx(rate)

    @given(similarities, similarities)
    def test_lies_between_the_steps(self, same: NDArray[np.float32], different: NDArray[np.float32]) -> None:
        trials = Trials(mated(same), non_mated(different), 9, 0)
        rate = equal_error_rate(trials)
        pairs = [
            (float((different >= t).mean()), float((same < t).mean()))
            for t in [*np.unique(np.concatenate([same, different])), np.float32(2)]
        ]
        # No threshold has both rates below it, and none has both above.
        assert all(max(fmr, fnmr) >= rate - 1e-9 for fmr, fnmr in pairs)
        assert all(min(fmr, fnmr) <= rate + 1e-9 for fmr, fnmr in pairs)

    def test_of_normal_distributions_is_the_known_one(self, rng: np.random.Generator) -> None:
        # Means 2 apart, deviation 1: the rates meet in the middle, at Φ(−1).
        trials = Trials(mated(rng.normal(2, 1, 50_000)), non_mated(rng.normal(0, 1, 50_000)), 100_000, 0)
        assert equal_error_rate(trials) == pytest.approx(0.158655, abs=0.004)

    def test_curves_that_never_meet_give_the_last_rate(self) -> None:
        assert crossing(np.array([[1.0, 0.9]]), np.array([[0.0, 0.1]])).tolist() == [0.1]
