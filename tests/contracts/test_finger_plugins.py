"""What every minutiae extractor keeps to; the cases are the registry's own names.

The prints are made here: parallel ridges with phase spirals, each of which is one minutia at a known place
(K. G. Larkin, P. A. Fletcher, "A coherent framework for fingerprint analysis", Optics Express 15(14), 2007).
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.config import ExtractionParameters, ModelParameters, RuntimeParameters
from biometrik.fingerprint.extraction import EXTRACTORS, Extractor
from biometrik.fingerprint.preparation import PreparedPrint, prepare
from biometrik.fingers import FingerprintImage, Minutiae
from biometrik.inference import Runtime

Image = NDArray[np.uint8]

#: Ridge period, pixels: an adult's at 500 ppi.
_PERIOD = 9.0
#: Places (x, y) of the minutiae in the whole print and the sense in which the phase turns.
_SPIRALS = (
    (90, 110, 1),
    (150, 90, -1),
    (220, 120, 1),
    (110, 180, -1),
    (170, 165, 1),
    (235, 190, -1),
    (95, 250, 1),
    (160, 240, -1),
    (215, 260, 1),
    (150, 310, -1),
)
_SIZE = 400, 330


def _print(angle: float = 0.3, spirals: Sequence[tuple[int, int, int]] = _SPIRALS, phase: float = 0.0) -> Image:
    height, width = _SIZE
    y, x = np.mgrid[0:height, 0:width]
    turn = 2 * np.pi / _PERIOD * (np.cos(angle) * x + np.sin(angle) * y) + phase
    for at_x, at_y, sense in spirals:
        turn = turn + sense * np.arctan2(y - at_y, x - at_x)
    ridges = 128 + 100 * np.cos(turn)
    inside = ((x - width / 2) / (0.45 * width)) ** 2 + ((y - height / 2) / (0.46 * height)) ** 2 < 1
    return np.where(inside, ridges, 250).astype(np.uint8)


def _prepared(pixels: Image) -> PreparedPrint:
    prepared = prepare(FingerprintImage(pixels, 500.0))
    assert isinstance(prepared, PreparedPrint)
    return prepared


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelParameters:
    return ModelParameters(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module", params=EXTRACTORS.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _open(
    name: str, models: ModelParameters, provider: str = "cpu", parameters: ExtractionParameters | None = None
) -> Extractor:
    runtime = Runtime(RuntimeParameters(provider=provider, threads=1), models)
    return EXTRACTORS.load(name)(parameters or ExtractionParameters(), runtime)


@pytest.fixture(scope="module")
def extractor(name: str, models: ModelParameters) -> Extractor:
    return _open(name, models)


def _nearest(minutiae: Minutiae, spirals: Sequence[tuple[int, int, int]] = _SPIRALS) -> NDArray[np.float64]:
    # (minutiae, spirals) distances, pixels.
    places = np.array(spirals, dtype=np.float64)
    return np.hypot(minutiae.x[:, None] - places[:, 0], minutiae.y[:, None] - places[:, 1])


def _rows(minutiae: Minutiae) -> NDArray[np.float64]:
    columns = (minutiae.x, minutiae.y, minutiae.direction, minutiae.kind, minutiae.quality)
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def _turned(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs((a - b + np.pi) % (2 * np.pi) - np.pi)


@pytest.mark.parametrize("angle", [0.3, 1.2, 2.4])
def test_minutiae_are_found_where_they_are(extractor: Extractor, angle: float) -> None:
    (minutiae,) = extractor.extract([_prepared(_print(angle))])
    distances = _nearest(minutiae)
    assert (distances.min(axis=0) <= 8).mean() >= 0.9  # recall
    # The edge of the print, where every ridge ends, is not counted.
    inner = ((minutiae.x - _SIZE[1] / 2) / (0.36 * _SIZE[1])) ** 2 + (
        (minutiae.y - _SIZE[0] / 2) / (0.37 * _SIZE[0])
    ) ** 2 < 1
    assert (distances.min(axis=1)[inner] <= 8).mean() >= 0.9  # precision


@pytest.mark.parametrize("angle", [0.3, 1.2])
def test_the_ridge_or_valley_extends_along_the_direction(extractor: Extractor, angle: float) -> None:
    # Where the phase turns clockwise as the wave travels to the right, there is a line more above than below.
    (minutiae,) = extractor.extract([_prepared(_print(angle))])
    distances = _nearest(minutiae)
    found = distances.min(axis=1) <= 8
    senses = np.array([sense for _, _, sense in _SPIRALS])[distances.argmin(axis=1)]
    off = _turned(minutiae.direction.astype(np.float64), angle + senses * 1.5 * np.pi)[found]
    assert np.median(off) <= np.radians(8)
    assert off.max() <= np.radians(25)


def test_half_a_phase_exchanges_endings_and_bifurcations(extractor: Extractor) -> None:
    # Ridges and valleys change places, so an ending becomes a bifurcation.
    (here,), (there,) = (extractor.extract([_prepared(_print(phase=phase))]) for phase in (0.0, np.pi))
    one, other = _nearest(here), _nearest(there)
    both = [i for i in range(len(_SPIRALS)) if max(one[:, i].min(), other[:, i].min()) <= 8]
    kinds = [(int(here.kind[one[:, i].argmin()]), int(there.kind[other[:, i].argmin()])) for i in both]
    assert {kind for pair in kinds for kind in pair} <= {1, 2}
    assert np.mean([a != b for a, b in kinds]) >= 0.7


def test_half_a_turn_turns_the_minutiae(extractor: Extractor) -> None:
    pixels = _print()
    (here,), (there,) = (extractor.extract([_prepared(p)]) for p in (pixels, np.ascontiguousarray(pixels[::-1, ::-1])))
    x, y = _SIZE[1] - 1 - there.x, _SIZE[0] - 1 - there.y
    distance = np.hypot(here.x[:, None] - x, here.y[:, None] - y)
    turned = _turned(here.direction[:, None].astype(np.float64), there.direction[None, :].astype(np.float64) + np.pi)
    strong = here.quality >= 60
    assert strong.sum() >= 8
    assert ((distance <= 5) & (turned <= np.radians(15))).any(axis=1)[strong].mean() >= 0.85


def test_light_ridges_give_the_same_minutiae(extractor: Extractor) -> None:
    pixels = _print()
    (dark,), (light,) = (extractor.extract([_prepared(p)]) for p in (pixels, np.bitwise_not(pixels)))
    np.testing.assert_allclose(_rows(light), _rows(dark), atol=1e-3)


def test_the_best_come_first_within_the_bounds(name: str, models: ModelParameters, extractor: Extractor) -> None:
    (every,) = extractor.extract([_prepared(_print())])
    assert (np.diff(every.quality.astype(int)) <= 0).all()
    assert every.quality.min() >= extractor.parameters.min_quality
    assert (every.width_px, every.height_px) == (_SIZE[1], _SIZE[0])
    few = _open(name, models, parameters=ExtractionParameters(min_quality=int(every.quality[5]), max_minutiae=5))
    np.testing.assert_array_equal(_rows(few.extract([_prepared(_print())])[0]), _rows(every)[:5])


def test_a_batch_is_its_prints(extractor: Extractor) -> None:
    prints = [_prepared(_print(angle)) for angle in (0.3, 1.2)] + [_prepared(_print()[:250])]
    alone = [_rows(extractor.extract([p])[0]) for p in prints]
    for rows, found in zip(alone, extractor.extract(prints), strict=True):
        np.testing.assert_allclose(_rows(found), rows, atol=1e-3)
    # What a GPU is given at once.
    together = extractor._extract(np.stack([p.pixels for p in prints[:2]]))
    for p, found_rows in zip(prints[:2], together, strict=True):
        (expected,) = extractor._extract(p.pixels[None])
        good = expected["quality"] >= 20
        assert good.any()
        for column in ("x", "y", "kind"):
            np.testing.assert_array_equal(found_rows[column][: good.sum()], expected[column][good])
        np.testing.assert_allclose(found_rows["quality"][: good.sum()], expected["quality"][good], atol=1e-3)


def test_nothing_in_gives_nothing_out(extractor: Extractor) -> None:
    assert extractor.extract([]) == []
    cells = np.zeros((8, 8), dtype=np.bool_)
    blank = PreparedPrint(np.full((128, 128), 255, dtype=np.uint8), 0, 0, 128, 128, cells, False)
    assert len(extractor.extract([blank])[0]) == 0


def test_noise_gives_no_more_than_a_record_holds(extractor: Extractor, rng: np.random.Generator) -> None:
    noise = _prepared(rng.integers(0, 256, (320, 320)).astype(np.uint8))
    assert len(extractor.extract([noise])[0]) <= 255


def test_an_extractor_answers_the_same_in_threads(extractor: Extractor) -> None:
    prints = [_prepared(_print()[:192, 64:256]), _prepared(_print(1.2)[100:292, 64:256])]
    expected = [_rows(extractor.extract([p])[0]) for p in prints]

    def differs(i: int) -> bool:
        return not np.array_equal(_rows(extractor.extract([prints[i % 2]])[0]), expected[i % 2])

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(differs, range(12)))


def test_extractors_agree_across_providers(name: str, models: ModelParameters, extractor: Extractor) -> None:
    other = _open(name, models, "openvino")
    prepared = _prepared(_print()[:250])
    here, there = (_rows(e.extract([prepared])[0]) for e in (extractor, other))
    np.testing.assert_allclose(here[:, [0, 1, 3]], there[:, [0, 1, 3]])
    np.testing.assert_allclose(here[:, [2, 4]], there[:, [2, 4]], atol=1.0)
    contract = extractor.contract()
    assert contract == other.contract()
    assert all(isinstance(value, str) and value for pair in contract.items() for value in pair)
    if "weights" in contract:
        assert re.fullmatch("[0-9a-f]{64}", contract["weights"])


def test_weights_are_cached(models: ModelParameters, extractor: Extractor) -> None:
    assert models.cache is not None
    if "weights" in extractor.contract():
        assert list(Path(models.cache).glob("*.onnx"))
