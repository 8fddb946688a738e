"""The rebuilt network against the published one, run as it is."""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from biometrik import leader_graph
from biometrik.config import ModelParameters
from biometrik.errors import ModelError
from biometrik.graph_surgery import fold
from biometrik.leader_graph import MAX_MINUTIAE, QUALITY_FLOOR, transcribe
from biometrik.manifest import manifest
from biometrik.models import bundled

Array = NDArray[np.float32]
Run = Callable[[Array], Array]


def _published() -> Path:
    entry = manifest().entry("leader-2026")
    return Path(str(metadata.distribution("afis").locate_file(entry.file)))


def _session(model: bytes) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0])


@pytest.fixture(scope="module")
def published() -> Run:
    return _session(_published().read_bytes())


@pytest.fixture(scope="module")
def rebuilt() -> Run:
    return _session(transcribe(onnx.load(_published())).SerializeToString())


def _texture(rng: np.random.Generator, height: int, width: int) -> Array:
    # Ridges with phase spirals, each of which is a minutia, and noise, so that there is every quality.
    y, x = np.mgrid[0:height, 0:width]
    turn = 2 * np.pi / 9 * (x + 0.3 * y)
    for _ in range(height * width // 900):
        turn = turn + rng.choice((-1, 1)) * np.arctan2(y - rng.uniform(0, height), x - rng.uniform(0, width))
    noise = rng.normal(size=(height, width))
    return np.asarray((128 + 90 * np.cos(turn) + 20 * noise).clip(0, 255), dtype=np.float32)


def _decoded(maps: Array, least: float) -> Array:
    # Rows of leader_graph.COLUMNS from the published network's maps (H, W, 4), away from the border.
    y, x = np.nonzero(maps[..., 3] >= least)
    order = np.argsort(-maps[y, x, 3], kind="stable")
    y, x = y[order], x[order]
    direction, kind, quality = maps[y, x, 1], maps[y, x, 2], maps[y, x, 3]
    return np.stack([x, y, quality, direction, kind], axis=1).astype(np.float32)


def _answers(minutiae: Array) -> Array:
    x, y, quality, cosine, sine, ending = minutiae.T
    rows = np.stack([x, y, quality, np.arctan2(sine, cosine), 1 / (1 + np.exp(-ending))], axis=1)
    return rows.astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (160, 96), (32, 32)])
def test_the_function_is_the_same(
    published: Run, rebuilt: Run, rng: np.random.Generator, height: int, width: int
) -> None:
    gray = _texture(rng, height, width)
    expected = _decoded(published(gray[None, :, :, None])[0], 0.2)
    found = _answers(rebuilt(gray[None, None])[0])
    found = found[found[:, 2] >= 0.2]
    assert height == 32 or len(expected) >= 5
    assert len(found) == len(expected)
    # Equal qualities may come in another order.
    found, expected = (rows[np.lexsort((rows[:, 0], rows[:, 1]))] for rows in (found, expected))
    np.testing.assert_array_equal(found[:, :2], expected[:, :2])
    np.testing.assert_allclose(found[:, 2], expected[:, 2], atol=1e-4)
    # Nearer to the border than the heads see, the maps' last cells stand for the zeros beyond.
    x, y = found[:, 0], found[:, 1]
    inner = (x >= 12) & (y >= 12) & (x < width - 12) & (y < height - 12)
    assert height == 32 or inner.sum() >= 5
    turned = np.abs((found[:, 3] - expected[:, 3] + np.pi) % (2 * np.pi) - np.pi)
    assert turned[inner].max(initial=0) <= 1e-3
    assert np.abs(found[:, 4] - expected[:, 4])[inner].max(initial=0) <= 1e-3


def test_rows_are_sorted_bounded_and_above_the_floor(rebuilt: Run, rng: np.random.Generator) -> None:
    rows = rebuilt(_texture(rng, 512, 544)[None, None])[0]
    assert 5 <= len(rows) <= MAX_MINUTIAE
    assert (np.diff(rows[:, 2]) <= 0).all()
    assert rows[-1, 2] >= QUALITY_FLOOR
    assert rows[0, 2] <= 1


def test_a_batch_is_as_long_as_its_longest(rebuilt: Run, rng: np.random.Generator) -> None:
    batch = np.stack([_texture(rng, 96, 96), np.full((96, 96), 255, dtype=np.float32)])[:, None]
    both, (alone,), (blank,) = rebuilt(batch), rebuilt(batch[:1]), rebuilt(batch[1:])
    assert both.shape == (2, len(alone), 6)
    np.testing.assert_allclose(both[0], alone, atol=1e-4)
    assert blank.shape == (1, 6)
    assert both[1, :, 2].max() < QUALITY_FLOOR


def test_at_most_a_records_minutiae_leave(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_graph, "MAX_MINUTIAE", 7)
    few = _session(transcribe(onnx.load(_published())).SerializeToString())
    assert few(_texture(rng, 160, 160)[None, None]).shape == (1, 7, 6)


def test_another_network_is_refused() -> None:
    model = onnx.load(_published())
    del model.graph.initializer[:]
    with pytest.raises(ModelError, match=r"expected LEADER as published, got a network without"):
        transcribe(model)
    model = onnx.load(_published())
    del model.graph.node[:]
    with pytest.raises(ModelError, match=r"expected LEADER as published, got a network without"):
        transcribe(model)


def test_folding_rebuilds_it_the_same_way_each_time(tmp_path: Path) -> None:
    recipe = manifest().entry("leader-2026").recipe
    source = _published().read_bytes()
    assert recipe.label == "leader"
    assert fold(source, recipe) == fold(source, recipe)
    weights = bundled("leader-2026", ModelParameters(cache=tmp_path))
    assert weights.licence == "MIT"
    model = onnx.load(weights.path)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.output] == ["minutiae"]
