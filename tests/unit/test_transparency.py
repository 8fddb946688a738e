"""Sinks."""

from pathlib import Path

import numpy as np

from biometrik.transparency import NULL_SINK, DirectorySink


def test_a_directory_sink_keeps_stages_in_order(tmp_path: Path) -> None:
    sink = DirectorySink(tmp_path)
    sink.take("crops", np.arange(3))
    sink.take("embeddings", np.arange(4))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["001-crops.npy", "002-embeddings.npy"]
    assert np.load(tmp_path / "002-embeddings.npy").tolist() == [0, 1, 2, 3]


def test_the_null_sink_keeps_nothing(tmp_path: Path) -> None:
    NULL_SINK.take("crops", np.arange(3))
    assert list(tmp_path.iterdir()) == []
