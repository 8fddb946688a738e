"""What a similarity means: tables from similarity to score = −10·log10(FMR), measured on named data.

A table belongs to one model contract and one data set. It is made by ``scripts/calibrate`` (see
:mod:`biometrik.evaluation.calibration`), ships as JSON beside the models, and is only read here. A contract may have
two tables, one of people and one of synthetic samples that reaches further: :class:`Evidence` says which of them
speaks.
"""

import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

from biometrik.errors import CalibrationNotFoundError, InvalidInputError
from biometrik.scale import CalibrationPoint, Scale, larger_rate
from biometrik.types import EvidenceKind, Interval

_FORMAT: Final = 1
_MAX_BYTES: Final = 1 << 20
_MAX_POINTS: Final = 1000
_TEXTS: Final = ("id", "model_contract_id", "dataset", "method")
_COUNTS: Final = ("subjects", "images", "failures_to_enroll", "mated", "non_mated")


@dataclass(frozen=True, slots=True)
class CalibrationTable(Scale):
    """From similarity to score, for one model contract, with the evidence behind it.

    Parameters
    ----------
    id, model_contract_id : str
        See :class:`biometrik.scale.Scale`.
    points : tuple of CalibrationPoint
        See there; at most 1000, and measured FMRs never increase.
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
    evidence : EvidenceKind
        Whether the data was of people.

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
    >>> table = CalibrationTable("demo", "model@1", points, "a set", 500, 900, 0, 700, 400_000, day, "none")
    >>> table.score(0.375), table.score(0.9), table.score(-0.5)
    (25.0, 30.0, 0.0)
    >>> table.similarity_at(1e-2)
    0.25
    >>> CalibrationTable.from_json(table.to_json()) == table
    True
    """

    dataset: str
    subjects: int
    images: int
    failures_to_enroll: int
    mated: int
    non_mated: int
    date: datetime.date
    method: str
    evidence: EvidenceKind = EvidenceKind.REAL

    def __post_init__(self) -> None:
        if not 2 <= len(self.points) <= _MAX_POINTS:
            raise InvalidInputError(f"points: expected 2 to {_MAX_POINTS}, got {len(self.points)}")
        Scale.__post_init__(self)
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
        for i, (left, right) in enumerate(pairwise(self.points), start=1):
            if left.fmr.value == 0:
                raise InvalidInputError(f"points[{i - 1}].fmr: expected more than 0 before the last row")
            if right.fmr.value > left.fmr.value:
                raise InvalidInputError(f"points[{i}].fmr: expected at most the row before's")

    def to_json(self) -> str:
        """Serialise, one row a line."""
        head: dict[str, object] = {
            "format": _FORMAT,
            **{name: getattr(self, name) for name in _TEXTS + _COUNTS},
        }
        head["evidence"] = self.evidence.value
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
            evidence = EvidenceKind(fields.pop("evidence", EvidenceKind.REAL.value))
            points = tuple(
                CalibrationPoint(
                    float(row["score"]),
                    float(row["similarity"]),
                    Interval(float(row["fmr"]), float(row["low"]), float(row["high"]), confidence),
                )
                for row in fields.pop("points")
            )
            date = datetime.date.fromisoformat(fields.pop("date"))
            return cls(date=date, points=points, evidence=evidence, **fields)
        except InvalidInputError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidInputError(f"calibration: expected a calibration table, got {error!r:.120}") from None


@dataclass(frozen=True, slots=True)
class Evidence:
    """The tables of one model contract: of people, of synthetic samples, or both.

    Parameters
    ----------
    real, synthetic : CalibrationTable or None
        At least one.

    Raises
    ------
    InvalidInputError
        There is none, one is of the other kind, or they are of two model contracts.
    """

    real: CalibrationTable | None
    synthetic: CalibrationTable | None

    def __post_init__(self) -> None:
        for table, kind in ((self.real, EvidenceKind.REAL), (self.synthetic, EvidenceKind.SYNTHETIC)):
            if table is not None and table.evidence is not kind:
                raise InvalidInputError(f"evidence: expected a {kind.value} table, got {table.id}")
        contracts = {table.model_contract_id for table in self.tables}
        if len(contracts) != 1:
            raise InvalidInputError(f"evidence: expected tables of one model contract, got {sorted(contracts)}")

    @property
    def tables(self) -> tuple[CalibrationTable, ...]:
        """Those that are there, the real one first."""
        return tuple(table for table in (self.real, self.synthetic) if table is not None)

    def scale(self, *, real_only: bool = False) -> Scale:
        """Return what similarities mean by this evidence.

        With both tables, the larger FMR counts wherever both reach; they are never pooled. Beyond the end of the one
        that ends first the other speaks alone, and what the first had against it at that end is kept: the FMR is never
        smaller than what the first measured there times the other's further decline.

        Parameters
        ----------
        real_only : bool
            Leave synthetic evidence out.

        Raises
        ------
        CalibrationNotFoundError
            ``real_only``, and all evidence is synthetic.
        """
        if self.real is not None and self.synthetic is not None and not real_only:
            return larger_rate(self.real, self.synthetic)
        if self.real is not None:
            return self.real
        if self.synthetic is not None and not real_only:
            return self.synthetic
        raise CalibrationNotFoundError(
            f"calibration: expected one of people, got {self.tables[0].id}; accept synthetic evidence, or make a table"
            " with scripts/calibrate"
        )


def load_calibrations(extra: Sequence[Path] = ()) -> dict[str, Evidence]:
    """Return the evidence that ships with the models, and a deployer's own, by model contract.

    Parameters
    ----------
    extra : sequence of Path
        JSON files. A table here replaces the shipped one of the same model contract and kind.

    Raises
    ------
    InvalidInputError
        A file cannot be read, is not a table, or two of one kind are for one model contract.
    """
    tables = _by_kind(_shipped()) | _by_kind(_read(path) for path in extra)
    contracts = dict.fromkeys(contract for contract, _ in tables)
    return {
        contract: Evidence(tables.get((contract, EvidenceKind.REAL)), tables.get((contract, EvidenceKind.SYNTHETIC)))
        for contract in contracts
    }


def _by_kind(tables: Iterator[CalibrationTable]) -> dict[tuple[str, EvidenceKind], CalibrationTable]:
    found: dict[tuple[str, EvidenceKind], CalibrationTable] = {}
    for table in tables:
        other = found.setdefault((table.model_contract_id, table.evidence), table)
        if other is not table:
            raise InvalidInputError(
                f"calibrations: expected one {table.evidence.value} table for each model contract, got {other.id} and"
                f" {table.id} for {table.model_contract_id}; remove one"
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
