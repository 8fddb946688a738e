"""The doctor: a sound machine passes, each fault is found and comes with a remedy."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from biometrik import doctor
from biometrik.config import EngineConfig, FaceParameters, ModelParameters, RuntimeParameters
from biometrik.demo.photographs import ASTRONAUT, find
from biometrik.doctor import Check, Status, examine
from biometrik.engine import Engine
from biometrik.errors import ProviderUnavailableError
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
