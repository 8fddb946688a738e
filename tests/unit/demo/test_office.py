"""The service of the demo: its configuration is what was asked for, its end is certain, its failure is told."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biometrik.config import DetectionParameters, EngineConfig, FaceParameters, FacePolicy, ModelParameters
from biometrik.demo import office as office_module
from biometrik.demo.office import SCOPES, Office, configuration
from biometrik.errors import ServiceUnavailableError
from biometrik_server.access import Access
from biometrik_server.config import ServerConfig

TOKENS = {name: f"token-of-{name}" for name in SCOPES}


def _loaded(folder: Path, config: EngineConfig) -> ServerConfig:
    file = folder / "server.toml"
    file.write_text(configuration(folder / "demo.db", config, TOKENS), "utf-8")
    return ServerConfig.load(file)


def test_the_service_runs_the_engine_that_was_asked_for(tmp_path: Path) -> None:
    asked = EngineConfig(
        face=FaceParameters(
            detection=DetectionParameters(refine=True), policy=FacePolicy.ERROR, flip=True, quality_profile="portrait"
        ),
        models=ModelParameters(cache=tmp_path / 'a "quoted" folder', calibrations=(tmp_path / "own.json",)),
    )
    assert _loaded(tmp_path, asked).engine.parameters() == asked
    assert _loaded(tmp_path, EngineConfig()).engine.parameters() == EngineConfig()


def test_it_listens_on_this_machine_and_knows_the_tokens_but_does_not_hold_them(tmp_path: Path) -> None:
    config = _loaded(tmp_path, EngineConfig())
    assert config.is_loopback
    assert config.listen.endswith(":0")
    access = Access(config.known_clients)
    for name, token in TOKENS.items():
        client = access.identify(f"Bearer {token}", ())
        assert (client.name, {scope.value for scope in client.scopes}) == (name, set(SCOPES[name]))
        assert token not in (tmp_path / "server.toml").read_text("utf-8")


def test_a_service_that_ends_at_once_is_an_error_and_its_log_is_kept(tmp_path: Path) -> None:
    broken = replace(EngineConfig(), face=FaceParameters(detector="no-such-detector"))
    with Office(tmp_path, broken) as office:
        office.start()
        with pytest.raises(ServiceUnavailableError, match="its end"):
            office.wait()
        assert "no-such-detector" in office.last_words()
    assert office.pid == 0


def test_a_service_that_is_silent_is_given_up_and_one_that_ignores_the_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); sys.stderr.write('deaf\\n'); "
    started: list[Any] = []
    real = subprocess.Popen

    def popen(_: object, **options: Any) -> Any:
        process = real([sys.executable, "-u", "-c", deaf + "sys.stderr.flush(); time.sleep(60)"], **options)
        started.append(process)
        return process

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(office_module, "_START_S", 0.5)
    monkeypatch.setattr(office_module, "_STOP_S", 0.2)
    with Office(tmp_path, EngineConfig()) as office:
        office.start()
        with pytest.raises(ServiceUnavailableError, match="none in"):
            office.wait()
        while "deaf" not in office.last_words():
            assert started[0].poll() is None
    assert started[0].returncode == -signal.SIGKILL
