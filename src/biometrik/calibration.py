"""What a similarity means: tables from similarity to score = −10·log10(FMR), measured on named data.

A table belongs to one model contract and one data set. It is made by ``scripts/calibrate`` (see
:mod:`biometrik.evaluation.calibration`), ships as JSON beside the models, and is only read here.
"""

import datetime
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

from biometrik.errors import InvalidInputError, ThresholdUnsupportedError
from biometrik.types import Interval

_FORMAT: Final = 1
_MAX_BYTES: Final = 1 << 20
_MAX_POINTS: Final = 1000
_TEXTS: Final = ("id", "model_contract_id", "dataset", "method")
_COUNTS: Final = ("subjects", "images", "failures_to_enroll", "mated", "non_mated")
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
class CalibrationTable:
    """From similarity to score, for one model contract, with the evidence behind it.

    Parameters
    ----------
    id : str
        Names the table in every decision that rests on it.
    model_contract_id : str
        The models whose similarities the table reads.
    dataset : str
        The data it was measured on.
    subjects, images, failures_to_enroll : int
        People, their images, and how many of these gave no template (ISO/IEC 19795-1, FTE).
    mated, non_mated : int
        Comparisons of images of one person, and of two.
    date : datetime.date
        When it was measured.
    method : str
        How thresholds and intervals were found.
    points : tuple of CalibrationPoint
        2 to 1000 rows. Scores begin at 0; scores and similarities increase strictly, measured FMRs never.
        The last row is the tightest FMR that the data supports.

    Raises
    ------
    InvalidInputError
        A value breaks the bounds above.

    References
    ----------
    ISO/IEC 19795-1:2021, false match rate and non-mated comparison trials.

    Examples
    --------
    >>> rows = [(0.0, -0.25, 1.0), (20.0, 0.25, 0.01), (30.0, 0.5, 0.001)]
    >>> points = tuple(CalibrationPoint(s, t, Interval(f, f * 0.8, f)) for s, t, f in rows)
    >>> day = datetime.date(2026, 1, 31)
    >>> table = CalibrationTable("demo", "model@1", "a set", 500, 900, 0, 700, 400_000, day, "none", points)
    >>> table.score(0.375), table.score(0.9), table.score(-0.5)
    (25.0, 30.0, 0.0)
    >>> table.similarity_at(1e-2)
    0.25
    >>> CalibrationTable.from_json(table.to_json()) == table
    True
    """

    id: str
    model_contract_id: str
    dataset: str
    subjects: int
    images: int
    failures_to_enroll: int
    mated: int
    non_mated: int
    date: datetime.date
    method: str
    points: tuple[CalibrationPoint, ...]

    def __post_init__(self) -> None:
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str) or not 1 <= len(value) <= 1000 or not value.isprintable():
                raise InvalidInputError(f"{name}: expected 1 to 1000 printable characters, got {value!r:.60}")
        for name in _COUNTS:
            count = getattr(self, name)
            if type(count) is not int or not 0 <= count < 1 << 53:
                raise InvalidInputError(f"{name}: expected a count, got {count!r:.60}")
        if self.non_mated < 1 or self.subjects < 2 or self.images <= self.failures_to_enroll:
            raise InvalidInputError("counts: expected two subjects and a non-mated comparison at least")
        _check_points(self.points)

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
        return self._interpolated(similarity, lambda p: p.similarity, lambda p: p.score)

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
        return self._interpolated(self._supported_score(fmr), lambda p: p.score, lambda p: p.similarity)

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
            return self._interpolated(score, lambda p: p.score, quantity)

        last = self.points[-1]
        if last.fmr.value == 0 and score > self.points[-2].score:
            # Nothing was seen beyond the last row but one: only the rule of three's bound is left.
            return last.fmr
        value = 10.0 ** -at(lambda p: -math.log10(p.fmr.value) if p.fmr.value else math.inf)
        low = value * at(lambda p: p.fmr.low / p.fmr.value if p.fmr.value else 0.0)
        high = value * at(lambda p: p.fmr.high / p.fmr.value if p.fmr.value else 1.0)
        return Interval(value, low, min(high, 1.0), last.fmr.confidence)

    def to_json(self) -> str:
        """Serialise, one row a line."""
        head: dict[str, object] = {
            "format": _FORMAT,
            **{name: getattr(self, name) for name in _TEXTS + _COUNTS},
        }
        head["date"] = self.date.isoformat()
        head["confidence"] = self.points[0].fmr.confidence
        rows = [
            json.dumps({"score": p.score, "similarity": p.similarity, **_rates(p.fmr)}, allow_nan=False)
            for p in self.points
        ]
        lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
        return "\n".join(["{", *lines, '  "points": [', ",\n".join(f"    {row}" for row in rows), "  ]", "}", ""])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        InvalidInputError
            The text is not a table of this format, or breaks its bounds.
        """
        if len(text) > _MAX_BYTES:
            raise InvalidInputError(f"calibration: expected at most {_MAX_BYTES} characters, got {len(text)}")
        try:
            fields: dict[str, Any] = json.loads(text)
            if fields.pop("format") != _FORMAT:
                raise InvalidInputError(f"calibration: expected format {_FORMAT}; make the table anew")
            confidence = float(fields.pop("confidence"))
            points = tuple(
                CalibrationPoint(
                    float(row["score"]),
                    float(row["similarity"]),
                    Interval(float(row["fmr"]), float(row["low"]), float(row["high"]), confidence),
                )
                for row in fields.pop("points")
            )
            return cls(date=datetime.date.fromisoformat(fields.pop("date")), points=points, **fields)
        except InvalidInputError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidInputError(f"calibration: expected a calibration table, got {error!r:.120}") from None

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

    def _interpolated(
        self, x: float, of: Callable[[CalibrationPoint], float], to: Callable[[CalibrationPoint], float]
    ) -> float:
        above = bisect_right(self.points, x, key=of)
        if above == 0:
            return to(self.points[0])
        if above == len(self.points):
            return to(self.points[-1])
        left, right = self.points[above - 1], self.points[above]
        share = (x - of(left)) / (of(right) - of(left))
        # A share of 0 must give the row's own value, whatever the neighbour holds.
        return to(left) if share == 0.0 else to(left) + share * (to(right) - to(left))


def load_calibrations(extra: Sequence[Path] = ()) -> dict[str, CalibrationTable]:
    """Return the tables that ship with the models, and a deployer's own, by model contract.

    Parameters
    ----------
    extra : sequence of Path
        JSON files. A table here replaces the shipped one of the same model contract.

    Raises
    ------
    InvalidInputError
        A file cannot be read, is not a table, or two of one kind are for one model contract.
    """
    return _by_contract(_shipped()) | _by_contract(_read(path) for path in extra)


def _by_contract(tables: Iterator[CalibrationTable]) -> dict[str, CalibrationTable]:
    found: dict[str, CalibrationTable] = {}
    for table in tables:
        other = found.setdefault(table.model_contract_id, table)
        if other is not table:
            raise InvalidInputError(
                f"calibrations: expected one for each model contract, got {other.id} and {table.id} for "
                f"{table.model_contract_id}; remove one"
            )
    return found


def _shipped() -> Iterator[CalibrationTable]:
    folder = resources.files("biometrik_models") / "calibrations"
    for file in sorted(folder.iterdir(), key=lambda f: f.name) if folder.is_dir() else ():
        if file.name.endswith(".json"):
            yield CalibrationTable.from_json(file.read_text(encoding="utf-8"))


def _read(path: Path) -> CalibrationTable:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidInputError(f"calibration {path}: expected at most {_MAX_BYTES} bytes")
        return CalibrationTable.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InvalidInputError) as error:
        raise InvalidInputError(f"calibration {path}: expected a readable calibration table; {error}") from None


def _rates(fmr: Interval) -> dict[str, float]:
    return {"fmr": fmr.value, "low": fmr.low, "high": fmr.high}


def _check_points(points: tuple[CalibrationPoint, ...]) -> None:
    if not 2 <= len(points) <= _MAX_POINTS:
        raise InvalidInputError(f"points: expected 2 to {_MAX_POINTS}, got {len(points)}")
    if points[0].score != 0:
        raise InvalidInputError(f"points[0].score: expected 0, got {points[0].score}")
    for i, point in enumerate(points):
        rate = point.fmr
        if not (math.isfinite(point.score) and math.isfinite(point.similarity)):
            raise InvalidInputError(f"points[{i}]: expected finite score and similarity")
        if not 0 <= rate.low <= rate.value <= rate.high <= 1 or not 0 < rate.confidence < 1:
            raise InvalidInputError(f"points[{i}].fmr: expected 0 <= low <= value <= high <= 1, got {rate}")
        if rate.value == 0 and i < len(points) - 1:
            raise InvalidInputError(f"points[{i}].fmr: expected more than 0 before the last row")
    for i, (left, right) in enumerate(pairwise(points), start=1):
        if not (right.score > left.score and right.similarity > left.similarity):
            raise InvalidInputError(f"points[{i}]: expected score and similarity above the row before")
        if right.fmr.value > left.fmr.value:
            raise InvalidInputError(f"points[{i}].fmr: expected at most the row before's")
