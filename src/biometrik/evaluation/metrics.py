"""Error rates of comparisons that are decided by ``similarity >= threshold``.

References
----------
ISO/IEC 19795-1:2021: false match rate, false non-match rate, detection error trade-off, failure to enrol.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError

#: Experiments are bounded: the bootstrap holds a count for each pair of subjects, 400 MB at this bound.
MAX_SUBJECTS: Final = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Similarities of one kind (mated or non-mated), greatest first, with the subjects behind them.

    Made by :meth:`of`, which sorts and checks.

    Parameters
    ----------
    similarity : (N,) float32
        N ≥ 1, descending.
    first, second : (N,) int32
        Subjects compared, 0 .. ``subjects`` − 1.
    subjects : int
        Subjects in the experiment, also those without a comparison of this kind.
    """

    similarity: NDArray[np.float32]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    subjects: int

    @classmethod
    def of(
        cls,
        similarity: NDArray[np.floating[Any]],
        first: NDArray[np.integer[Any]],
        second: NDArray[np.integer[Any]],
        subjects: int,
    ) -> Self:
        """Take comparisons in any order.

        Raises
        ------
        InvalidInputError
            There is no comparison, lengths differ, a similarity is not finite, a subject is out of range, or
            there are more than 10,000 subjects.
        """
        if not 0 < len(similarity) == len(first) == len(second):
            raise InvalidInputError(
                f"comparisons: expected at least one, with two subjects each, got {len(similarity)} similarities"
                f" and {len(first)} and {len(second)} subjects"
            )
        if not 1 <= subjects <= MAX_SUBJECTS:
            raise InvalidInputError(f"subjects: expected 1 to {MAX_SUBJECTS}, got {subjects}; sample them")
        if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) >= subjects:
            raise InvalidInputError(f"comparisons: expected subjects 0 to {subjects - 1}")
        if not np.isfinite(similarity).all():
            raise InvalidInputError("similarity: expected finite values")
        similarity = similarity.astype(np.float32, copy=False)
        order = np.argsort(-similarity, kind="stable")
        return cls(
            similarity[order],
            first[order].astype(np.int32, copy=False),
            second[order].astype(np.int32, copy=False),
            subjects,
        )

    def __len__(self) -> int:
        return len(self.similarity)

    def accepted(self, threshold: float) -> int:
        """Return how many comparisons have ``similarity >= threshold``.

        Examples
        --------
        >>> who = np.zeros(3, dtype=int)
        >>> comparisons = Comparisons.of(np.array([0.25, 0.75, 0.5]), who, who, 1)
        >>> comparisons.accepted(0.5), comparisons.accepted(0.5 + 1e-12)
        (2, 1)
        """
        least = np.float32(threshold)
        if float(least) < threshold:  # rounded down: the least float32 that reaches it is the next
            least = np.nextafter(least, np.float32(np.inf))
        return len(self) - int(np.searchsorted(self.similarity[::-1], least, side="left"))

    def threshold_accepting(self, share: float) -> float:
        """Return the smallest of the similarities that, as a threshold, accepts at most this share of them.

        Where none does, not even the greatest, the next float32 above it.

        Parameters
        ----------
        share : float
            0..1.

        Examples
        --------
        >>> who = np.zeros(4, dtype=int)
        >>> comparisons = Comparisons.of(np.array([0.25, 1.0, 0.5, 0.5]), who, who + 1, 2)
        >>> comparisons.threshold_accepting(0.75), comparisons.threshold_accepting(0.5)
        (0.5, 1.0)
        """
        # A product such as 1e-3 * 3000 may fall a rounding error short of the whole number that it is.
        allowed = int(share * len(self) * (1 + 1e-12))
        if allowed >= len(self):
            return float(self.similarity[-1])
        above = np.nextafter(self.similarity[allowed], np.float32(np.inf))
        better = self.accepted(float(above))
        return float(self.similarity[better - 1] if better else above)


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """All comparisons of an experiment.

    Parameters
    ----------
    mated, non_mated : Comparisons
        Of two samples of one subject, and of samples of two subjects.
    images, failures_to_enroll : int
        Samples presented, and those of them that gave no template and so take part in no comparison.

    Raises
    ------
    InvalidInputError
        A mated comparison has two subjects or a non-mated one has one, or the two kinds count other subjects.
    """

    mated: Comparisons
    non_mated: Comparisons
    images: int
    failures_to_enroll: int

    def __post_init__(self) -> None:
        if (self.mated.first != self.mated.second).any():
            raise InvalidInputError("mated: expected one subject in each comparison, got two")
        if (self.non_mated.first == self.non_mated.second).any():
            raise InvalidInputError("non_mated: expected two subjects in each comparison, got one")
        if self.mated.subjects != self.non_mated.subjects:
            raise InvalidInputError(
                f"trials: expected one set of subjects, got {self.mated.subjects} and {self.non_mated.subjects}"
            )


def false_match_rate(non_mated: Comparisons, threshold: float) -> float:
    """Return the share of non-mated comparisons with ``similarity >= threshold``, 0..1."""
    return non_mated.accepted(threshold) / len(non_mated)


def false_non_match_rate(mated: Comparisons, threshold: float) -> float:
    """Return the share of mated comparisons with ``similarity < threshold``, 0..1."""
    return (len(mated) - mated.accepted(threshold)) / len(mated)


def equal_error_rate(trials: Trials) -> float:
    """Return the rate at which FMR and FNMR are equal, 0..1.

    Both are steps of the threshold. Between the last threshold with FNMR < FMR and the first with FNMR ≥ FMR they
    are taken to be linear, and the rate where the two lines cross is returned.

    Examples
    --------
    >>> one, two = np.zeros(8, dtype=int), np.ones(8, dtype=int)
    >>> mated = Comparisons.of(np.arange(8) + 6.0, one, one, 2)
    >>> non_mated = Comparisons.of(np.arange(8) * 1.0, one, two, 2)
    >>> equal_error_rate(Trials(mated, non_mated, 10, 0))
    0.125
    """
    mated, non_mated = trials.mated.similarity[::-1], trials.non_mated.similarity[::-1]
    thresholds = np.unique(np.concatenate([mated, non_mated]))
    thresholds = np.append(thresholds, np.nextafter(thresholds[-1], np.float32(np.inf)))
    fmr = 1.0 - np.searchsorted(non_mated, thresholds, side="left") / len(non_mated)
    fnmr = np.searchsorted(mated, thresholds, side="left") / len(mated)
    return float(crossing(fmr[None], fnmr[None])[0])


def crossing(fmr: NDArray[np.float64], fnmr: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where falling FMR and rising FNMR meet, linear between neighbouring thresholds.

    Parameters
    ----------
    fmr, fnmr : (R, K) float64
        Rates at K rising thresholds, a curve each row.

    Returns
    -------
    (R,) float64
        The common rate; the last FNMR of a row in which they do not meet.

    Examples
    --------
    >>> crossing(np.array([[1.0, 0.25, 0.0]]), np.array([[0.0, 0.25, 1.0]]))
    array([0.25])
    """
    gap = fnmr - fmr
    meets = (gap >= 0).any(axis=1)
    after = np.where(meets, np.argmax(gap >= 0, axis=1), gap.shape[1] - 1)
    rows, before = np.arange(len(gap)), np.maximum(after - 1, 0)
    span = gap[rows, after] - gap[rows, before]
    share = np.where(span > 0, np.clip(-gap[rows, before] / np.where(span > 0, span, 1.0), 0.0, 1.0), 0.0)
    rate: NDArray[np.float64] = fnmr[rows, before] + share * (fnmr[rows, after] - fnmr[rows, before])
    return rate
