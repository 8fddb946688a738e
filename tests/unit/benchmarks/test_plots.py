"""Pictures are written, are small, and are the same bytes each time from the same figures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import plots


def variant(shift: float) -> dict[str, Any]:
    points: list[dict[str, Any]] = [
        {
            "score": score,
            "threshold": score / 100,
            "fmr": [10 ** (-score / 10)] * 3,
            "fnmr": [shift * f for f in (0.02, 0.01, 0.03)],
        }
        for score in (0.0, 10.0, 20.0, 30.0, 40.0)
    ]
    counts = np.linspace(0, 99, 100).astype(int).tolist()
    rows = [[p["score"], p["threshold"], *p["fmr"]] for p in points] + [[45.0, 0.5, 0.0, 0.0, 1e-4]]
    return {
        "points": points,
        "eer": [0.01 * shift, 0.0, 0.02],
        "histogram": {"mated": counts, "non_mated": counts[::-1]},
        "calibration": {"points": rows},
    }


FIGURES = {"plain": variant(1.0), "flip": variant(0.9)}
DRAWINGS: dict[str, Callable[[Path], None]] = {
    "trade-off": lambda path: plots.trade_off(FIGURES, path),
    "similarities": lambda path: plots.similarities(FIGURES["plain"], path),
    "calibration": lambda path: plots.calibration(FIGURES, path),
    "no calibration": lambda path: plots.calibration({"plain": FIGURES["plain"] | {"calibration": None}}, path),
    "rates": lambda path: plots.rates({"ours": (2.0, 1.5, 2.5), "theirs": (4.0, 3.5, 5.0)}, "a second", "a race", path),
    "durations": lambda path: plots.durations({"ours": (2.0, 1.5, 2.5), "theirs": (4.0, 3.5, 5.0)}, "a race", path),
    "longest": lambda path: plots.longest_over_time({"idle": [(-1, 2.0), (0, 9.0)], "busy": [(0, 5.0)]}, "a day", path),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())
def test_is_small_and_repeatable(draw: Callable[[Path], None], tmp_path: Path) -> None:
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    draw(one)
    draw(two)
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_size < 80_000
    with Image.open(one) as picture:
        assert picture.width <= 640
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # something is drawn


def test_other_figures_give_another_picture(tmp_path: Path) -> None:
    plots.trade_off({"plain": variant(1.0)}, tmp_path / "one.png")
    plots.trade_off({"plain": variant(0.5)}, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()
