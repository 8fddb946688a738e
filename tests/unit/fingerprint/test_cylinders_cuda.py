"""The GPU's matcher on numba's CUDA simulator, which needs a process of its own; without a GPU it says so."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from numba import cuda

from biometrik.config import EngineConfig, FingerParameters, RuntimeParameters
from biometrik.engine import Engine
from biometrik.errors import ProviderUnavailableError
from biometrik.fingerprint.matching import MATCHERS
from biometrik.types import Modality

_SIMULATED = """
import json
import numpy as np
from numba import cuda
from biometrik.errors import ProviderUnavailableError
from biometrik.fingerprint.matching import MATCHERS
from biometrik.fingers import Minutiae

rng = np.random.default_rng(1929)


def drawn(count, size=400):
    # On a lattice, so that no two are one, and of one flow.
    rows = rng.permutation(49)[:count]
    places = (60 + 40 * np.stack([rows % 7, rows // 7]) + rng.uniform(-12, 12, (2, count))).astype(np.float32)
    direction = (rng.normal(3, 0.9, count) % 6.28).astype(np.float32)
    kind = np.ones(count, dtype=np.uint8)
    return Minutiae(places[0], places[1], direction, kind, kind * np.uint8(80), size, size)


def again(print_):
    x, y = (v + rng.normal(3, 2, len(print_)).astype(np.float32) for v in (print_.x, print_.y))
    return Minutiae(x, y, print_.direction, print_.kind, print_.quality, 400, 400)


here, there = MATCHERS.load("cylinders")(), MATCHERS.load("cylinders-cuda")()
prints = [drawn(count) for count in (36, 12, 40, 20, 1, 0)]
probes = [again(prints[0]), again(prints[3]), drawn(33), prints[4]]
pack = here.pack([here.prepare(p) for p in prints])
found = {"cpu": [], "gpu": [], "cpu_screen": [], "gpu_screen": []}
for probe in map(here.prepare, probes):
    found["cpu"].append(here.compare_many(probe, pack).tolist())
    found["gpu"].append(there.compare_many(probe, pack).tolist())
    found["cpu_screen"].append(here.screen(probe, pack).tolist())
    found["gpu_screen"].append(there.screen(probe, pack).tolist())
    chosen = np.array([3, 0])
    found["cpu_screen"].append(here.glance(probe, pack, chosen).tolist())
    found["gpu_screen"].append(there.glance(probe, pack, chosen).tolist())
first, mate = here.prepare(probes[0]), pack.part(0, 1)
found["symmetric"] = there.compare(first, mate) == there.compare(mate, first)
ranking = there.search(first, pack, 2, compare=3)
found["ranking"] = ranking.indices.tolist()
alignment = there.align(first, mate)
found["aligned"] = [len(alignment.pairs), alignment.similarity == there.compare(first, mate)]
found["contract"] = dict(there.contract()) == dict(here.contract())
found["empty"] = [len(there.compare_many(first, pack.part(2, 2))), len(there.screen(first, pack.part(2, 2)))]
copies = len(there._copies)
there.compare_many(first, pack.part(1, 3))
found["parts"] = len(there._copies) - copies
del pack, mate, first, probe, ranking, alignment
found["freed"] = len(there._copies)


class Gpu:
    # As numba's: what is called within goes to it.
    entered = 0

    def __enter__(self):
        self.entered += 1

    def __exit__(self, *_):
        self.entered -= 1


gpus = [Gpu(), Gpu()]


def watched(call):
    def there(*arguments):
        assert [gpu.entered for gpu in gpus] == [0, 1]
        return call(*arguments)

    return there


cuda.gpus = gpus
for name in ("device_array", "to_device"):
    setattr(cuda, name, watched(getattr(cuda, name)))
second, first, mate = MATCHERS.load("cylinders-cuda")(device_id=1), here.prepare(prints[0]), here.prepare(probes[0])
found["second"] = [second.compare(first, mate), *second.screen(first, mate).tolist()]
found["first"] = [here.compare(first, mate), *here.screen(first, mate).tolist()]
try:
    MATCHERS.load("cylinders-cuda")(device_id=2)
except ProviderUnavailableError as error:
    found["missing"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SIMULATED],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_similarities_are_the_processors(found: dict[str, Any]) -> None:
    for here, there in zip(found["cpu"], found["gpu"], strict=True):
        assert there == pytest.approx(here, abs=2e-4)
    # Mates and strangers, so that every stage had something to do.
    assert found["gpu"][0][0] > 0.9
    assert found["gpu"][1][3] > 0.9
    assert 0 < found["gpu"][2][2] < 0.6
    assert found["gpu"][0][5] == 0


def test_promises_are_the_processors(found: dict[str, Any]) -> None:
    for here, there in zip(found["cpu_screen"], found["gpu_screen"], strict=True):
        assert there == pytest.approx(here, rel=1e-4, abs=1e-6)


def test_the_interface_is_the_processors(found: dict[str, Any]) -> None:
    assert found["symmetric"]
    assert found["ranking"][0] == 0
    assert found["aligned"][0] > 20
    assert found["aligned"][1]
    assert found["contract"]
    assert found["empty"] == [0, 0]


def test_copies_on_the_gpu_live_as_long_as_packs(found: dict[str, Any]) -> None:
    assert found["parts"] == 0  # the part's own short arrays are gone, its pack's long ones were there
    assert found["freed"] == 0


def test_all_of_it_happens_on_the_gpu_that_is_named(found: dict[str, Any]) -> None:
    assert found["second"] == pytest.approx(found["first"], abs=2e-4)
    assert re.search(r"matcher cylinders-cuda: expected device_id below 2, .*got 2; name one", found["missing"])


def test_an_engine_names_the_gpu_of_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "gpus", [object()])
    config = EngineConfig(
        finger=FingerParameters(matcher="cylinders-cuda"),
        runtime=RuntimeParameters(threads=1, warm_up=False, device_id=3),
        preload=(Modality.FACE, Modality.FINGER),
    )
    with pytest.raises(ProviderUnavailableError, match=r"matcher cylinders-cuda: expected device_id below 1, .*got 3"):
        Engine.open(":memory:", config)


def test_without_a_gpu_it_refuses_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    with pytest.raises(ProviderUnavailableError, match=r"expected an NVIDIA GPU.*choose the matcher cylinders"):
        MATCHERS.load("cylinders-cuda")()
