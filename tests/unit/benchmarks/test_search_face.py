"""The search benchmark in small: it sees a wrong answer, and its figures can be drawn."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import search_face
from biometrik.synthetic.faces import draw_embeddings


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_face, "_FACES", 2000)
    monkeypatch.setattr(search_face, "_BLOCK", 500)
    monkeypatch.setattr(search_face, "_WRITES_A_ROUND", 5)
    monkeypatch.setattr(search_face, "_TURNS", 2)
    monkeypatch.setattr(search_face, "_TURN_S", 0.1)


def test_one_wrong_answer_counts() -> None:
    reference, ours, _, _ = search_face._filled()
    probes = draw_embeddings(1, range(30), samples=range(2, 3)).reshape(-1, 128)
    assert search_face._different(reference, ours, probes) == 0
    best = ours.search(probes[:1], 1)[0][0]
    ours.remove(best)
    assert search_face._different(reference, ours, probes) >= 1


def test_figures_are_rendered(tmp_path: Path) -> None:
    reference, ours, _, _ = search_face._filled()
    times = search_face._write_times(reference, ours)
    assert set(times) == {"removal", "update", "FAISS remove_ids"}
    assert len(ours) == 2000
    figures = {
        "ms": {
            f"{name}, {batch}": [20.0, 19.0, 21.0]
            for name in ("FAISS", "int8-certified")
            for batch in search_face._BATCHES
        },
        "writes_ms": {name: [1.0, 0.5, 2.0] for name in times},
        "waits_ms": {"0.5": 0.1, "0.99": 0.2, "1.0": 3.0},
        "together": [5.0, 4.0, 6.0],
        "writes_per_s": 200.0,
        "build_s": 2.0,
    }
    run = {
        "figures": figures,
        "parameters": {"faces": 2000, "dimension": 128, "count": 10, "rounds": 7},
    }
    assert "| FAISS, 1 | 20.000 (19.000 – 21.000) | 50 |" in search_face.render(run, tmp_path)
    assert (tmp_path / "face_search.png").stat().st_size > 0
    assert (tmp_path / "face_search_batches.png").stat().st_size > 0
    assert np.isfinite(list(times.values())).all()


def test_searches_beside_writes_and_each_other_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_face, "_WRITES_PER_S", 100)
    _, ours, _, _ = search_face._filled()
    probes = draw_embeddings(1, range(64), samples=range(2, 3)).reshape(-1, 128)
    (middle, low, high), waits = search_face._beside(ours, probes)
    assert 0 < low <= middle <= high
    assert len(waits) >= 2
    assert len(ours) == 2000
    assert all(value > 0 for value in search_face._together(ours, probes))
