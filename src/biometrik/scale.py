"""From similarity to score = −10·log10(FMR), and back: what decisions ask of a calibration."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError, ThresholdUnsupportedError
from biometrik.types import Interval

#: Scores closer than this are one: an FMR that went through 10^x and log10 comes back this near.
_SCORE_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """One row of a table.

    Parameters
    ----------
    score : float
        −10·log10 of the FMR that ``similarity`` keeps as a threshold.
    similarity : float
        The least similarity with this score; the decision is ``similarity >= threshold``.
    fmr : Interval
        FMR measured on the table's data at that threshold, with its interval.
    """

    score: float
    similarity: float
    fmr: Interval


@dataclass(frozen=True, slots=True)
class Scale:
    """What similarities of one model contract mean.

    Parameters
    ----------
    id : str
        Names the evidence in every decision that rests on it.
    model_contract_id : str
        The models whose similarities are read.
    points : tuple of CalibrationPoint
        At least two rows. Scores begin at 0; scores and similarities increase strictly. The last row is the tightest
        FMR that the evidence supports.

    Raises
    ------
    InvalidInputError
        A value breaks the bounds above.
    """

    id: str
    model_contract_id: str
    points: tuple[CalibrationPoint, ...]
    # The columns of the points; a search asks for many scores.
    _similarities: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _scores: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_points(self.points)
        object.__setattr__(self, "_similarities", tuple(point.similarity for point in self.points))
        object.__setattr__(self, "_scores", tuple(point.score for point in self.points))

    @property
    def tightest_fmr(self) -> float:
        """The smallest FMR that the table's data supports, 0..1."""
        return float(10.0 ** (-self.points[-1].score / 10))

    @property
    def tightest_raw_score(self) -> float:
        """The similarity at which that FMR is reached: from there on scores no longer grow."""
        return self.points[-1].similarity

    def score(self, similarity: float) -> float:
        """Return −10·log10(FMR) of a comparison.

        Parameters
        ----------
        similarity : float
            The comparator's own, of this table's model contract.

        Returns
        -------
        float
            Piecewise linear between the table's rows; 0 below the first, capped at the last. Non-decreasing.

        Raises
        ------
        InvalidInputError
            ``similarity`` is not a number.
        """
        if math.isnan(similarity):
            raise InvalidInputError("similarity: expected a number, got nan")
        return _interpolated(similarity, self._similarities, self._scores)

    def scores(self, similarities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return what :meth:`score` returns for each similarity, to the last bit; NaN where one is NaN.

        Parameters
        ----------
        similarities : (K,) float
            NaN where there was no comparison.

        Returns
        -------
        (K,) float64
        """
        x = similarities.astype(np.float64)
        rows = np.array([(point.similarity, point.score) for point in self.points]).T
        at = np.clip(np.searchsorted(rows[0], x, side="right"), 1, len(self.points) - 1)
        (left, right), (low, high) = ((row[at - 1], row[at]) for row in rows)
        share = (np.maximum(x, rows[0, 0]) - left) / (right - left)
        found: NDArray[np.float64] = np.where(x >= rows[0, -1], rows[1, -1], low + share * (high - low))
        return found

    def similarity_at(self, fmr: float) -> float:
        """Return the threshold for a target FMR: ``similarity >= threshold`` keeps it.

        Parameters
        ----------
        fmr : float
            Target false match rate, :attr:`tightest_fmr` .. 1.

        Raises
        ------
        InvalidInputError
            ``fmr`` is not in (0, 1].
        ThresholdUnsupportedError
            The data cannot support so small an FMR; the error names the tightest that it can.
        """
        return _interpolated(self._supported_score(fmr), self._scores, self._similarities)

    def interval_at(self, fmr: float) -> Interval:
        """Return the FMR measured at the threshold for a target FMR, with its interval.

        Between rows, the rate is interpolated on a logarithmic scale and the bounds in proportion to it.

        Raises
        ------
        InvalidInputError, ThresholdUnsupportedError
            As :meth:`similarity_at`.
        """
        score = self._supported_score(fmr)

        def at(quantity: Callable[[CalibrationPoint], float]) -> float:
            return _interpolated(score, self._scores, [quantity(point) for point in self.points])

        last = self.points[-1]
        if last.fmr.value == 0 and score > self.points[-2].score:
            # Nothing was seen beyond the last row but one: only the rule of three's bound is left.
            return last.fmr
        value = 10.0 ** -at(lambda p: -math.log10(p.fmr.value) if p.fmr.value else math.inf)
        low = value * at(lambda p: p.fmr.low / p.fmr.value if p.fmr.value else 0.0)
        high = value * at(lambda p: p.fmr.high / p.fmr.value if p.fmr.value else 1.0)
        return Interval(value, low, min(high, 1.0), last.fmr.confidence)

    def _supported_score(self, fmr: float) -> float:
        if not 0.0 < fmr <= 1.0:
            raise InvalidInputError(f"fmr: expected more than 0 and at most 1, got {fmr}")
        score = -10.0 * math.log10(fmr)
        tightest = self.points[-1].score
        if score > tightest + _SCORE_TOLERANCE:
            raise ThresholdUnsupportedError(
                f"fmr: expected at least {self.tightest_fmr:.3g}, the tightest that calibration {self.id} "
                f"supports, got {fmr:.3g}; ask for a larger one or calibrate on more people",
                tightest=self.tightest_fmr,
            )
        return min(score, tightest)


def _interpolated(x: float, of: Sequence[float], to: Sequence[float]) -> float:
    above = bisect_right(of, x)
    if above == 0:
        return to[0]
    if above == len(of):
        return to[-1]
    left, right = above - 1, above
    share = (x - of[left]) / (of[right] - of[left])
    # A share of 0 must give the row's own value, whatever the neighbour holds.
    return to[left] if share == 0.0 else to[left] + share * (to[right] - to[left])


def larger_rate(first: Scale, second: Scale) -> Scale:
    """Return the scale on which of two the larger FMR counts, wherever both have evidence.

    Beyond the last row of the one that ends first, the other goes on alone. Where it had the smaller FMR there, it
    keeps that distance: its FMR is larger by the factor by which the two disagreed at the seam.

    Parameters
    ----------
    first, second : Scale
        Of one model contract.

    Returns
    -------
    Scale
        Its id names both. Between rows of either, its FMR is that of the line between them: no smaller than the larger
        of the two.
    """
    shorter, longer = sorted((first, second), key=lambda scale: scale.tightest_raw_score)
    seam = shorter.tightest_raw_score
    lag = max(0.0, longer.score(seam) - shorter.points[-1].score)
    rows: list[CalibrationPoint] = []
    for similarity in sorted({point.similarity for scale in (first, second) for point in scale.points}):
        if similarity <= seam:
            score, speaker = min(((scale.score(similarity), scale) for scale in (shorter, longer)), key=lambda s: s[0])
            row = CalibrationPoint(score, similarity, _rate(speaker, score, 0.0))
        else:
            score = longer.score(similarity) - lag
            row = CalibrationPoint(score, similarity, _rate(longer, score, lag))
        # Of rows with one score the last keeps it: the lower end of what is flat.
        while rows and rows[-1].score >= row.score:
            rows.pop()
        rows.append(row)
    return Scale(f"{first.id} + {second.id}", first.model_contract_id, tuple(rows))


def _rate(scale: Scale, score: float, lag: float) -> Interval:
    # What the scale measured at score + lag, made larger by the lag.
    factor = 10.0 ** (lag / 10)
    measured = scale.interval_at(10.0 ** (-(score + lag) / 10))
    # No false match seen: the rule of three's bound stands for the rate.
    value = min(1.0, (measured.value or measured.high) * factor)
    return Interval(value, measured.low * factor, min(1.0, measured.high * factor), measured.confidence)


def _check_points(points: tuple[CalibrationPoint, ...]) -> None:
    if len(points) < 2:
        raise InvalidInputError(f"points: expected at least 2, got {len(points)}")
    if points[0].score != 0:
        raise InvalidInputError(f"points[0].score: expected 0, got {points[0].score}")
    for i, point in enumerate(points):
        rate = point.fmr
        if not (math.isfinite(point.score) and math.isfinite(point.similarity)):
            raise InvalidInputError(f"points[{i}]: expected finite score and similarity")
        if not 0 <= rate.low <= rate.value <= rate.high <= 1 or not 0 < rate.confidence < 1:
            raise InvalidInputError(f"points[{i}].fmr: expected 0 <= low <= value <= high <= 1, got {rate}")
    for i, (left, right) in enumerate(pairwise(points), start=1):
        if not (right.score > left.score and right.similarity > left.similarity):
            raise InvalidInputError(f"points[{i}]: expected score and similarity above the row before")
