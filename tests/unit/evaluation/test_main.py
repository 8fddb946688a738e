import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biometrik.calibration import CalibrationTable
from biometrik.config import FaceParameters
from biometrik.evaluation import __main__ as command
from biometrik.evaluation.calibration import calibrate, write
from biometrik.evaluation.protocols import compare_all
from biometrik.face.pipeline import RejectedFace
from biometrik.reasons import Reason
from biometrik.types import FaceImage


class FacesOfOneColour:
    """Stands in for the face pipeline: the embedding is the image's colour."""

    def __init__(self, parameters: FaceParameters, runtime: object) -> None:
        self.contract_id = f"colour{'+refine' * parameters.detection.refine}{'+flip' * parameters.flip}@123"

    def process(self, images: Sequence[FaceImage]) -> list[object]:
        return [self._one(image.pixels[0, 0].astype(np.float32) - 128) for image in images]

    def _one(self, colour: np.ndarray[tuple[int], np.dtype[np.float32]]) -> object:
        return ColouredFace(colour / np.linalg.norm(colour)) if colour[0] > -128 else RejectedFace(Reason.NO_FACE, 0)


class ColouredFace:
    def __init__(self, embedding: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        self.embedding = embedding


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "FacePipeline", FacesOfOneColour)
    monkeypatch.setattr("biometrik.evaluation.protocols.ProcessedFace", ColouredFace)
    for person in range(60):
        (tmp_path / "colours" / "images" / f"{person:02d}").mkdir(parents=True)
        for k, colour in enumerate(rng.integers(1, 255, (2, 3))):
            path = tmp_path / "colours" / "images" / f"{person:02d}" / f"{k}.png"
            Image.new("RGB", (32, 32), tuple(int(c) for c in colour)).save(path)
    Image.new("RGB", (32, 32)).save(tmp_path / "colours" / "images" / "00" / "2.png")
    return tmp_path / "colours"


def test_makes_a_table_with_and_one_without_the_mirrored_crop(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "tables"
    assert command.main(["--data", str(folder), "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "colours-colour+flip.json",
        "colours-colour+refine.json",
        "colours-colour.json",
    ]
    table = CalibrationTable.from_json((out / "colours-colour.json").read_text())
    assert table.model_contract_id == "colour@123"
    assert (table.subjects, table.images, table.failures_to_enroll) == (60, 121, 1)
    assert (table.mated, table.non_mated) == (60, 120 * 119 // 2 - 60)


def test_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "expected photographs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_table_is_replaced_whole_or_not_at_all(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rng.normal(size=(200, 4)).astype(np.float32)
    trials = compare_all(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.arange(200) // 2)
    table = calibrate(trials, model_contract_id="m@1", dataset="set", date=datetime.date(2026, 1, 31))
    path = write(table, tmp_path)
    before = path.read_text()

    def full(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write(table, tmp_path)
    assert path.read_text() == before == table.to_json()
    assert [p.name for p in tmp_path.iterdir()] == ["set-m.json"]
