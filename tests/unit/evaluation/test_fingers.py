from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from biometrik.calibration import CalibrationTable
from biometrik.evaluation import fingers
from biometrik.evaluation.prints import EnrolledPrints, Finger
from biometrik.synthetic.templates import draw_identity, draw_template
from biometrik.types import EvidenceKind


class Pipeline:
    """Stands in for the finger pipeline, which only names its contract here."""

    def __init__(self, parameters: Any, runtime: object) -> None:
        self.contract_id = f"{parameters.extractor}@123"


def scattered(sources: list[object], pipelines: list[object], *, progress: object) -> list[EnrolledPrints]:
    # Two templates of each of 40 fingers, whatever the sources.
    names = [(i, k) for i in range(40) for k in range(2)]
    minutiae = tuple(draw_template(draw_identity(3, i), k) for i, k in names)
    return [EnrolledPrints(tuple(Finger(str(i)) for i, _ in names), minutiae, 1) for _ in pipelines]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingers, "FingerPipeline", Pipeline)
    monkeypatch.setattr(fingers, "enroll_prints", scattered)


def test_makes_a_table_of_people_and_one_of_synthetic_prints(quick: None, tmp_path: Path) -> None:
    data, out = tmp_path / "people", tmp_path / "tables"
    data.mkdir()
    Image.new("L", (40, 40)).save(data / "1_1.png")
    arguments = ["--data", str(data), "--ppi", "500", "--synthetic", "40", "--extractor", "one", "two"]
    assert fingers.main([*arguments, "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        f"{name}-{models}+cylinders.json" for name in ("people", "synthetic") for models in ("one", "two")
    ]
    for name, evidence, detail in (
        ("people", EvidenceKind.REAL, "like fingers within each of"),
        ("synthetic", EvidenceKind.SYNTHETIC, "40 fingers of biometrik.synthetic"),
    ):
        table = CalibrationTable.from_json((out / f"{name}-one+cylinders.json").read_text())
        assert table.evidence is evidence
        assert table.model_contract_id.startswith("one@123+cylinders@")
        assert (table.dataset, table.subjects, table.images, table.failures_to_enroll) == (name, 40, 81, 1)
        assert (table.mated, table.non_mated) == (40, 40 * 39 // 2 * 4)
        assert table.method.startswith(detail)
        assert str(tmp_path) not in table.to_json()


def test_says_what_is_wrong(quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fingers.main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    assert "expected prints" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
