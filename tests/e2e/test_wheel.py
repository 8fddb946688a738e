"""The built wheel, installed into an empty environment, gives the packages and a working command."""

import json
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (built,) = folder.glob("biometrik-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    # The requirements are those of the environment that runs this test: tests use no network.
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_holds_packages_manifest_and_calibrations_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    packages = {"biometrik", "biometrik_hardware", "biometrik_models", "biometrik_server", "biometrik_station"}
    assert tops == packages | {next(top for top in tops if top.endswith(".dist-info"))}
    assert {f"{package}/py.typed" for package in packages - {"biometrik_models"}} <= set(names)
    assert "biometrik_server/example.toml" in names
    assert "biometrik_models/manifest.toml" in names
    assert any(name.startswith("biometrik_models/calibrations/") and name.endswith(".json") for name in names)
    assert not [name for name in names if name.endswith(".onnx")]


def test_the_packages_come_from_the_wheel(environment: Path) -> None:
    code = "import biometrik, biometrik_models; print(biometrik.__file__); print(biometrik_models.__file__)"
    command = [str(environment / "bin" / "python"), "-c", code]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=environment).stdout
    assert all(line.startswith(str(environment)) for line in output.splitlines())


def test_the_command_works(environment: Path, tmp_path: Path) -> None:
    command = [str(environment / "bin" / "biometrik"), "models", "--json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert "sface-2021dec" in output
    assert json.loads(output)


def test_the_wheel_knows_devices(environment: Path, tmp_path: Path) -> None:
    python, command = (environment / "bin" / name for name in ("python", "biometrik"))
    code = "import biometrik_hardware.conformance as c; print(c.__file__)"
    output = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert output.startswith(str(environment))
    words = [str(command), "devices", "conform", "virtual", "--kind", "scanner", "--json"]
    output = subprocess.run(words, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert json.loads(output)["passed"] is True


def test_the_wheel_serves(environment: Path, tmp_path: Path) -> None:
    command = [str(environment / "bin" / "biometrik"), "serve", "--example-config"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert "database" in tomllib.loads(output)
