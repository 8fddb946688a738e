import dataclasses
import datetime
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrik import calibration
from biometrik.calibration import CalibrationTable, Evidence, load_calibrations
from biometrik.errors import CalibrationNotFoundError, InvalidInputError
from biometrik.scale import CalibrationPoint
from biometrik.types import EvidenceKind, Interval

ROWS = [
    (0.0, -0.25, 1.0, 1.0, 1.0),
    (10.0, 0.0, 0.1, 0.09, 0.11),
    (20.0, 0.25, 0.01, 0.008, 0.013),
    (30.0, 0.5, 0.001, 0.0006, 0.0015),
]


def points(rows: list[tuple[float, float, float, float, float]]) -> tuple[CalibrationPoint, ...]:
    return tuple(CalibrationPoint(s, t, Interval(f, low, high)) for s, t, f, low, high in rows)


def table(rows: list[tuple[float, float, float, float, float]] = ROWS, **changes: Any) -> CalibrationTable:
    values: dict[str, Any] = {
        "id": "set/model@1/2026-01-31",
        "model_contract_id": "model@1",
        "dataset": "set",
        "subjects": 500,
        "images": 900,
        "failures_to_enroll": 3,
        "mated": 700,
        "non_mated": 400_000,
        "date": datetime.date(2026, 1, 31),
        "method": "made up",
        "points": points(rows),
    }
    return CalibrationTable(**(values | changes))


@st.composite
def tables(draw: st.DrawFn) -> CalibrationTable:
    count = draw(st.integers(2, 12))
    steps = st.floats(0.01, 5)
    score, similarity, fmr, rows = 0.0, draw(st.floats(-1, 1)), 1.0, []
    for _ in range(count):
        rows.append((score, similarity, fmr, fmr * draw(st.floats(0.1, 1)), min(1.0, fmr * draw(st.floats(1, 2)))))
        score, similarity = score + draw(steps), similarity + draw(steps) / 10
        fmr = min(fmr, 10 ** (-score / 10))
    return table(rows)


class TestJson:
    @given(tables(), st.sampled_from(EvidenceKind))
    def test_comes_back_as_it_went(self, table: CalibrationTable, kind: EvidenceKind) -> None:
        table = dataclasses.replace(table, evidence=kind)
        assert CalibrationTable.from_json(table.to_json()) == table

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", "null", '{"format": 1}', "[" * 5000, '{"format": 1, "points": 3}', "\x00"]
    )
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidInputError, match="calibration: expected"):
            CalibrationTable.from_json(text)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("format", 2),
            ("subjects", 1),
            ("subjects", "500"),
            ("subjects", True),
            ("mated", -1),
            ("non_mated", 0),
            ("images", 1 << 60),
            ("failures_to_enroll", 900),
            ("date", "yesterday"),
            ("id", ""),
            ("dataset", "two\nlines"),
            ("method", "x" * 1001),
            ("confidence", 1.0),
            ("points", []),
            ("surprise", 1),
            ("evidence", "hearsay"),
        ],
    )
    def test_each_field_is_checked(self, key: str, value: object) -> None:
        fields = json.loads(table().to_json())
        fields[key] = value
        with pytest.raises(InvalidInputError):
            CalibrationTable.from_json(json.dumps(fields))

    def test_every_field_is_needed(self) -> None:
        fields = json.loads(table().to_json())
        assert fields.pop("evidence") == "real"  # the one that older tables lack
        for key in fields:
            with pytest.raises(InvalidInputError):
                CalibrationTable.from_json(json.dumps({k: v for k, v in fields.items() if k != key}))

    def test_length_is_bounded(self) -> None:
        with pytest.raises(InvalidInputError, match="at most"):
            CalibrationTable.from_json(" " * (1 << 20) + table().to_json())


class TestRows:
    @pytest.mark.parametrize(
        ("row", "column", "value", "message"),
        [
            (0, 0, 1.0, r"points\[0\].score: expected 0"),
            (2, 0, 10.0, r"points\[2\]: expected score and similarity above"),
            (2, 1, 0.0, r"points\[2\]: expected score and similarity above"),
            (3, 0, math.inf, r"points\[3\]: expected finite"),
            (3, 1, math.nan, r"points\[3\]: expected finite"),
            (2, 3, 0.02, r"points\[2\].fmr: expected 0 <= low"),
            (2, 4, 0.001, r"points\[2\].fmr: expected 0 <= low"),
            (1, 4, 1.5, r"points\[1\].fmr: expected 0 <= low"),
        ],
    )
    def test_are_checked(self, row: int, column: int, value: float, message: str) -> None:
        rows = [list(r) for r in ROWS]
        rows[row][column] = value
        with pytest.raises(InvalidInputError, match=message):
            table([(a, b, c, d, e) for a, b, c, d, e in rows])

    def test_measured_rates_never_rise(self) -> None:
        with pytest.raises(InvalidInputError, match="at most the row before"):
            table([*ROWS, (40.0, 0.6, 0.0011, 0.0006, 0.0015)])

    def test_only_the_last_may_be_free_of_errors(self) -> None:
        with pytest.raises(InvalidInputError, match="before the last row"):
            table([*ROWS, (35.0, 0.6, 0.0, 0.0, 0.0003), (40.0, 0.7, 0.0, 0.0, 0.0001)])

    @pytest.mark.parametrize("count", [1, 1001])
    def test_are_bounded_in_number(self, count: int) -> None:
        rows = [(float(i), i / 1000, 10 ** (-i / 10), 0.0, 1.0) for i in range(count)]
        with pytest.raises(InvalidInputError, match="points: expected 2 to 1000"):
            table(rows)


class TestEvidence:
    def test_needs_a_table_of_its_kind_and_of_one_contract(self) -> None:
        real, synthetic = table(), table(evidence=EvidenceKind.SYNTHETIC)
        assert Evidence(real, None).tables == (real,)
        assert Evidence(real, synthetic).tables == (real, synthetic)
        with pytest.raises(InvalidInputError, match="expected tables of one model contract, got \\[\\]"):
            Evidence(None, None)
        with pytest.raises(InvalidInputError, match="expected a real table"):
            Evidence(synthetic, None)
        with pytest.raises(InvalidInputError, match="expected a synthetic table"):
            Evidence(None, real)
        with pytest.raises(InvalidInputError, match=r"one model contract, got .*model@1.*model@2"):
            Evidence(real, dataclasses.replace(synthetic, model_contract_id="model@2"))

    def test_of_people_alone_is_their_table(self) -> None:
        real, synthetic = table(), table(evidence=EvidenceKind.SYNTHETIC)
        assert Evidence(real, None).scale() is real
        assert Evidence(real, synthetic).scale(real_only=True) is real
        assert Evidence(None, synthetic).scale() is synthetic
        with pytest.raises(CalibrationNotFoundError, match="expected one of people"):
            Evidence(None, synthetic).scale(real_only=True)

    def test_of_both_is_named_after_both_and_reaches_further(self) -> None:
        real = table(ROWS[:3], id="people")
        synthetic = table([*ROWS, (40.0, 0.75, 1e-4, 0.5e-4, 2e-4)], id="drawn", evidence=EvidenceKind.SYNTHETIC)
        scale = Evidence(real, synthetic).scale()
        assert (scale.id, scale.model_contract_id) == ("people + drawn", "model@1")
        assert scale.tightest_fmr == pytest.approx(1e-4)
        assert Evidence(real, synthetic).scale(real_only=True).tightest_fmr == pytest.approx(1e-2)


class TestLoading:
    def test_shipped_tables_read_and_name_their_evidence(self) -> None:
        shipped = load_calibrations()
        assert {contract.partition("@")[0] for contract in shipped} == {
            "yunet+sface",
            "yunet+sface+flip",
            "yunet+sface+refine",
            "leader",
            "ridge",
        }
        for contract, evidence in shipped.items():
            assert all(table.model_contract_id == contract for table in evidence.tables)
            assert evidence.scale().tightest_fmr < 1e-5

    def test_a_deployers_table_joins_or_replaces(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shipped = table()
        monkeypatch.setattr(calibration, "_shipped", lambda: iter([shipped]))
        own = dataclasses.replace(shipped, id="own")
        other = dataclasses.replace(shipped, id="other", model_contract_id="model@2")
        paths = [tmp_path / "own.json", tmp_path / "other.json"]
        for path, written in zip(paths, (own, other), strict=True):
            path.write_text(written.to_json())
        assert load_calibrations() == {"model@1": Evidence(shipped, None)}
        assert load_calibrations(paths) == {"model@1": Evidence(own, None), "model@2": Evidence(other, None)}

    def test_a_deployers_people_stand_beside_the_shipped_synthetic_ones(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, synthetic = table(), table(id="drawn", evidence=EvidenceKind.SYNTHETIC)
        monkeypatch.setattr(calibration, "_shipped", lambda: iter([real, synthetic]))
        own = table(id="own")
        (tmp_path / "own.json").write_text(own.to_json())
        assert load_calibrations([tmp_path / "own.json"]) == {"model@1": Evidence(own, synthetic)}

    def test_two_for_one_contract_are_refused(self, tmp_path: Path) -> None:
        paths = [tmp_path / "one.json", tmp_path / "two.json"]
        for path in paths:
            path.write_text(table().to_json())
        with pytest.raises(InvalidInputError, match="one real table for each model contract"):
            load_calibrations(paths)

    def test_a_file_that_is_missing_damaged_or_huge_is_named(self, tmp_path: Path) -> None:
        damaged, binary, huge = tmp_path / "damaged.json", tmp_path / "binary.json", tmp_path / "huge.json"
        damaged.write_text(table().to_json()[:-20])
        binary.write_bytes(b"\xff\xfe\x00")
        huge.write_bytes(b" " * ((1 << 20) + 1))
        for path in (tmp_path / "missing.json", tmp_path, damaged, binary, huge):
            with pytest.raises(InvalidInputError, match=f"calibration {path}: expected"):
                load_calibrations([path])
