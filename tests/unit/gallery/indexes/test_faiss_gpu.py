"""The index on a GPU: its refusals here, its contract and logic on a stand-in, in a process of its own.

The stand-in (gpu_standin.py) is numba's simulator and FAISS' GPU calls in numpy. Nothing here says that a real GPU
does what FAISS documents: that is for ``scripts/bench --gpu`` and, where a GPU is, for the contract tests themselves.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import faiss
import pytest
from numba import cuda

from biometrik import gpu
from biometrik.config import EngineConfig, GalleryParameters, RuntimeParameters
from biometrik.engine import Engine
from biometrik.errors import ProviderUnavailableError
from biometrik.gallery.index import INDEXES

_ROOT = Path(__file__).parents[4]
_STANDIN = "tests.unit.gallery.indexes.gpu_standin"
_SHOWN = gpu.Driver((13, 0), (gpu.Gpu("NVIDIA Test", 1 << 33, (9, 0)),))


@pytest.mark.parametrize(
    ("arguments", "least"),
    [
        (["tests/contracts/test_indexes.py", "-k", "faiss-gpu or any_history"], 20),
        (["tests/unit/gallery/indexes/simulated_faiss_gpu.py"], 11),
    ],
    ids=["contract", "logic"],
)
def test_it_keeps_the_contract_on_a_stand_in(arguments: list[str], least: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", _STANDIN, "-p", "no:cacheprovider", *arguments],
        env={
            **os.environ,
            "NUMBA_ENABLE_CUDASIM": "1",
        },
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    told = done.stdout.splitlines()[-1]
    assert "skipped" not in told
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None
    assert int(passed[1]) >= least


def _refusal() -> str:
    with pytest.raises(ProviderUnavailableError) as raised:
        INDEXES.load("faiss-gpu")(128)
    return str(raised.value)


@pytest.fixture
def gpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)


def test_without_a_gpu_build_it_refuses_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    assert re.search(r"expected the wheel faiss-gpu, got .*CPU wheel.*pip install 'biometrik\[gpu\]'", _refusal())


def test_without_faiss_or_its_libraries_it_refuses_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert re.search(r"expected FAISS with its CUDA libraries, got .*faiss.*biometrik\[gpu\]", _refusal())


@pytest.mark.usefixtures("gpu_build")
def test_without_a_driver_it_refuses_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> gpu.Driver:
        raise ProviderUnavailableError("GPU: expected an NVIDIA driver, got none; install it")

    monkeypatch.setattr(gpu, "driver", none)
    assert re.search(r"index faiss-gpu: .*NVIDIA driver, got none.*choose the index faiss-flat", _refusal())


@pytest.mark.usefixtures("gpu_build")
def test_where_numba_cannot_use_the_gpu_it_refuses_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "driver", lambda: _SHOWN)
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    assert re.search(r"expected numba to use NVIDIA Test.*numba-cuda", _refusal())


@pytest.mark.usefixtures("gpu_build")
def test_an_engine_names_the_gpu_of_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "driver", lambda: _SHOWN)
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "gpus", [object()])
    config = EngineConfig(
        gallery=GalleryParameters(index="faiss-gpu"), runtime=RuntimeParameters(threads=1, warm_up=False, device_id=3)
    )
    with pytest.raises(ProviderUnavailableError, match=r"index faiss-gpu: expected device_id below 1, .*got 3"):
        Engine.open(tmp_path / "a.db", config)
    assert not (tmp_path / "a.db").exists()


def test_an_engine_that_is_told_to_use_it_does_not_start_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    config = EngineConfig(
        gallery=GalleryParameters(index="faiss-gpu"), runtime=RuntimeParameters(threads=1, warm_up=False)
    )
    with pytest.raises(ProviderUnavailableError, match="index faiss-gpu"):
        Engine.open(tmp_path / "a.db", config)
    assert not (tmp_path / "a.db").exists()
