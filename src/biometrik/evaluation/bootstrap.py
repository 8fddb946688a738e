"""How sure a rate is: intervals from resampling subjects.

Comparisons of one subject with many others are not independent, so it is *subjects* that are resampled: one drawn w
times counts w times, a pair drawn w and v times w·v times, and a resample's rate is its errors over its comparisons,
both counted that way.

References
----------
ISO/IEC 19795-1:2006, Annex B: rule of 3, rule of 30, bootstrap estimates of confidence intervals.

T. Snijders, S. Borgatti, "Non-parametric standard errors and tests for network statistics", Connections 22(2),
1999: the bootstrap that resamples vertices and takes the pairs between them.

R. Fogliato, P. Patil, P. Perona, "Confidence intervals for error rates in 1:1 matching tasks", IJCV 132, 2024:
intervals by comparison are too narrow, those by subject hold.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.evaluation.metrics import Comparisons
from biometrik.types import Interval

#: Two-sided probability of every interval.
CONFIDENCE: Final = 0.95
REPLICATES: Final = 1000
_SEED: Final = 19795


class SubjectBootstrap:
    """Resamples of the subjects of one experiment, the same for every rate measured with it.

    Parameters
    ----------
    subjects : int
        Subjects in the experiment, 2 or more.
    replicates : int
        Resamples, each of ``subjects`` draws with replacement.
    seed : int
        Equal seeds give equal resamples.

    Raises
    ------
    InvalidInputError
        Fewer than two subjects, or fewer than 100 replicates: too few for a 95 % interval.
    """

    def __init__(self, subjects: int, *, replicates: int = REPLICATES, seed: int = _SEED) -> None:
        if subjects < 2 or replicates < 100:
            raise InvalidInputError(
                f"bootstrap: expected 2 subjects and 100 replicates at least, got {subjects} and {replicates}"
            )
        self.subjects = subjects
        self.replicates = replicates
        rng = np.random.default_rng(seed)
        #: (R, S): how often each subject was drawn.
        self._drawn = rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=replicates).astype(np.float32)

    def false_match_rates(self, non_mated: Comparisons, thresholds: Sequence[float]) -> NDArray[np.float64]:
        """Return the FMR at each threshold in every resample.

        Parameters
        ----------
        non_mated : Comparisons
            Of two subjects each.
        thresholds : sequence of float
            K similarities, rising.

        Returns
        -------
        (R, K) float64
            A resample without any comparison has the experiment's own rate.
        """
        # Σ w_i·w_j over pairs is w·C·w with C the pairs counted by subject. The counts are whole numbers far
        # below 2^24, so float32 holds each row's sum exactly.
        ends = self._ends(non_mated, thresholds)
        pairs = np.zeros((self.subjects, self.subjects), dtype=np.float32)
        counts = np.empty((self.replicates, len(ends)))
        start = 0
        for k, end in enumerate(ends):
            np.add.at(pairs, (non_mated.first[start:end], non_mated.second[start:end]), np.float32(1))
            counts[:, k] = np.einsum("rs,rs->r", self._drawn @ pairs, self._drawn, dtype=np.float64)
            start = end
        return self._rates(counts, ends)

    def false_non_match_rates(self, mated: Comparisons, thresholds: Sequence[float]) -> NDArray[np.float64]:
        """Return the FNMR at each threshold in every resample; see :meth:`false_match_rates`."""
        ends = self._ends(mated, thresholds)
        counts = np.stack([np.bincount(mated.first[:end], minlength=self.subjects) for end in ends], axis=1)
        return 1.0 - self._rates(self._drawn.astype(np.float64) @ counts, ends)

    def _ends(self, comparisons: Comparisons, thresholds: Sequence[float]) -> list[int]:
        # How many comparisons each threshold accepts, the highest threshold first; then all.
        if comparisons.subjects != self.subjects:
            raise InvalidInputError(f"bootstrap: expected {self.subjects} subjects, got {comparisons.subjects}")
        return [*(comparisons.accepted(threshold) for threshold in reversed(thresholds)), len(comparisons)]

    @staticmethod
    def _rates(counts: NDArray[np.float64], ends: Sequence[int]) -> NDArray[np.float64]:
        # Accepted shares, in the order of rising thresholds.
        total = counts[:, -1:]
        own = np.array(ends[:-1]) / ends[-1]
        rates: NDArray[np.float64] = np.where(total > 0, counts[:, :-1] / np.maximum(total, 1), own)[:, ::-1]
        return rates


def interval(value: float, replicates: NDArray[np.float64], independent: int) -> Interval:
    """Return an estimate with the percentile interval of its resamples.

    Parameters
    ----------
    value : float
        The estimate, 0..1.
    replicates : (R,) float64
        The same rate in each resample.
    independent : int
        Comparisons that share no subject. Where no error was seen, no resample can show one; the upper bound is
        then 3 / ``independent`` (rule of 3).

    Examples
    --------
    >>> interval(0.0, np.zeros(100), 300)
    Interval(value=0.0, low=0.0, high=0.01, confidence=0.95)
    """
    tail = (1.0 - CONFIDENCE) / 2
    low, high = (float(q) for q in np.quantile(replicates, [tail, 1.0 - tail]))
    if value == 0.0:
        high = max(high, rule_of_three(independent))
    return Interval(value, min(low, value), max(high, value), CONFIDENCE)


def rule_of_three(independent: int) -> float:
    """Return the 95 % upper bound of a rate of which no error was seen in so many independent comparisons."""
    return min(1.0, 3.0 / max(independent, 1))
