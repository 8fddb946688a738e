from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy_finger_synthetic
from benchmarks.accuracy_finger_synthetic import statistics
from biometrik.fingers import Minutiae
from biometrik.synthetic.templates import draw_identity, draw_template


def _lattice(step: float, turn: float) -> Minutiae:
    x, y = (axis.ravel().astype(np.float32) for axis in np.meshgrid(np.arange(6) * step, np.arange(5) * step))
    direction = np.where((np.arange(30) % 2) == 0, 0.0, turn).astype(np.float32)
    return Minutiae(x, y, direction, np.ones(30, np.uint8), np.ones(30, np.uint8), 400, 400)


def test_statistics_of_a_lattice_are_its_own() -> None:
    found = statistics([_lattice(20.0, np.pi)])
    assert found["minutiae"] == [30.0] * 3
    assert found["nearest_px"] == pytest.approx([20.0] * 3)
    assert found["density"][1] == pytest.approx(1e4 * 30 / (100 * 80))
    assert found["alike"] + found["opposed"] == pytest.approx(1.0)
    assert statistics([_lattice(20.0, 0.0)])["alike"] == 1.0


def test_the_report_has_a_row_for_each_set_and_draws_fvc_as_one(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The matcher takes long to compile, and is not what is tested.
    monkeypatch.setattr(
        accuracy_finger_synthetic, "similarities", lambda minutiae: rng.random((len(minutiae),) * 2, dtype=np.float32)
    )
    found = accuracy_finger_synthetic.figures(
        [str(i) for i in range(4) for _ in range(2)],
        [draw_template(draw_identity(1, i), k) for i in range(4) for k in range(2)],
    )
    assert sum(found["histogram"]["mated"]) == 4
    assert sum(found["histogram"]["non_mated"]) == 24
    sets = {"FVC a": found, "FVC b": found, "synthetic templates": found}
    run = {
        "figures": {"sets": sets, "agreement": {"clean": [0.96, 0.97, 40, 41]}, "seconds": {"finger": [0.1, 0.1, 0.2]}},
        "parameters": {
            "extractor": "leader", "matcher": "cylinders", "fingers": 4, "impressions": 2, "margin_px": 12, "rounds": 1,
        },
    }  # fmt: skip
    text = accuracy_finger_synthetic.render(run, tmp_path)
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith(("| FVC", "| synthetic"))] == [
        "| FVC a", "| FVC b", "| synthetic templates",
    ]  # fmt: skip
    assert "96.0 %" in text
    assert (tmp_path / "finger_synthetic.png").is_file()
