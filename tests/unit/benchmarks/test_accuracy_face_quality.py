from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy_face_quality, plots
from benchmarks.accuracy_face_quality import error_versus_discard

DISCARDED = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)


def test_what_orders_by_usefulness_leaves_fewer_and_fewer_errors() -> None:
    similarity = np.linspace(0, 1, 100)
    assert error_versus_discard(similarity, similarity, 0.1) == pytest.approx(
        [0.10, 8 / 98, 5 / 95, 0.0, 0.0, 0.0], abs=1e-9
    )


def test_what_orders_backwards_leaves_more_of_them() -> None:
    similarity = np.linspace(0, 1, 100)
    left = error_versus_discard(similarity, -similarity, 0.1)
    assert left == pytest.approx([0.1 / (1 - share) for share in DISCARDED])


def test_chance_stays_level(rng: np.random.Generator) -> None:
    similarity, chance = rng.random(20_000), rng.random(20_000)
    assert error_versus_discard(similarity, chance, 0.1) == pytest.approx([0.1] * 6, abs=0.01)


def test_the_report_orders_curves_best_first_and_names_the_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, ...]] = []
    monkeypatch.setattr(plots, "discards", lambda _c, _d, names, _p: drawn.append(names))
    names = ("lowest component", "detection_confidence", "unified_quality")
    figures = {
        "curves": {name: [0.03 - i * 0.005] * 6 for i, name in enumerate(names)},
        "refused": {"unified_quality": 14},
        "quantiles": {"unified_quality": [47.0, 57.0, 77.0, 93.0]},
        "acceptable": 0.9953,
        "microseconds": 700.0,
    }
    parameters = {"dataset": "lfw-dev", "images": 3811, "fmr": 1e-4, "profile": "counter"}
    text = accuracy_face_quality.render({"figures": figures, "parameters": parameters}, tmp_path)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].strip("| ") for row in rows[2:5]] == list(reversed(names))
    assert "refused by component: unified_quality 14" in text
    assert "99.53 %" in text
    assert set(drawn[0]) == set(names)
