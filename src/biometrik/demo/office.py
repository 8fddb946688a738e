"""The service of the demo: a process of its own on a free port of this machine, as an office would run it."""

import hashlib
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from biometrik.client import Client, Connection
from biometrik.config import EngineConfig, FacePolicy
from biometrik.errors import ServiceUnavailableError

#: What the office's own counter may do, and what the gate may.
SCOPES: Final[Mapping[str, tuple[str, ...]]] = {
    "counter": ("enroll", "verify", "identify", "gallery.read", "privacy"),
    "gate": ("verify",),
}
#: Cold caches, where the models are rewritten first, on a slow machine.
_START_S: Final = 120.0
_STOP_S: Final = 30.0
_POLL_S: Final = 0.02
_LOG_LINES: Final = 12


class Office:
    """A service that is started, asked and stopped; nothing of it outlives its ``with`` block.

    Parameters
    ----------
    folder : Path
        For its database, configuration and log.
    config : EngineConfig
        The engine's settings.
    """

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        self.database = folder / "demo.db"
        self.address = ""
        self.started_ms = 0.0
        self._folder = folder
        self._config = config
        self._tokens = {name: secrets.token_urlsafe(32) for name in SCOPES}
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "service.log"
        self._begun = 0.0

    def __enter__(self) -> "Office":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def database_files(self) -> list[Path]:
        """Return the files that the database is made of."""
        return sorted(self._folder.glob(f"{self.database.name}*"))

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        return self._process.pid if self._process else 0

    def start(self, policy: FacePolicy = FacePolicy.LARGEST_CENTRAL) -> None:
        """Start it, without waiting until it answers.

        Parameters
        ----------
        policy : FacePolicy
            What becomes of photographs of several people.
        """
        face = replace(self._config.face, policy=policy)
        settings = self._folder / "server.toml"
        settings.write_text(configuration(self.database, replace(self._config, face=face), self._tokens), "utf-8")
        settings.chmod(0o600)
        self._begun = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "biometrik.cli", "serve", "--config", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def wait(self) -> None:
        """Return when it answers.

        Raises
        ------
        ServiceUnavailableError
            It ended, or took too long.
        """
        while not (address := self._listening()):
            ended = self._process is None or self._process.poll() is not None
            if ended or time.perf_counter() - self._begun > _START_S:
                raise ServiceUnavailableError(
                    f"service: expected one that answers, got {'its end' if ended else f'none in {_START_S:g} s'}"
                )
            time.sleep(_POLL_S)
        self.address = address
        self.started_ms = 1000 * (time.perf_counter() - self._begun)

    def stop(self) -> None:
        """Let calls in flight finish and end it; by force if it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()

    def client(self, name: str) -> Client:
        """Return a client with the token of the counter or the gate."""
        return Client(Connection(self.address, token=self._tokens[name]))

    def last_words(self) -> str:
        """Return the end of its log."""
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:])

    def _listening(self) -> str:
        for line in self._log.read_text("utf-8", "replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # not the log's, or half of a line
                continue
            if isinstance(row, dict) and row.get("event") == "ready":
                return str(row["listening"])
        return ""


def configuration(database: Path, config: EngineConfig, tokens: Mapping[str, str]) -> str:
    """Return a service's configuration, as TOML.

    Parameters
    ----------
    database : Path
        Its file.
    config : EngineConfig
        The engine's settings.
    tokens : mapping of str to str
        Names of :data:`SCOPES` → bearer token.
    """
    face, runtime, models = config.face, config.runtime, config.models
    engine: dict[str, Any] = {
        "provider": runtime.provider,
        "precision": runtime.precision,
        "threads": runtime.threads,
        "batch_size": runtime.batch_size,
        "device_id": runtime.device_id,
        "detector": face.detector,
        "embedder": face.embedder,
        "refine": face.detection.refine,
        "flip": face.flip,
        "face_policy": face.policy.value,
        "quality_profile": face.quality_profile,
        "cache": models.cache,
        "pack": models.pack,
        "calibrations": models.calibrations,
    }
    clients = "".join(
        "\n[[clients]]\n"
        + _lines(
            {"name": name, "scopes": SCOPES[name], "token_sha256": hashlib.sha256(token.encode("ascii")).hexdigest()}
        )
        for name, token in tokens.items()
    )
    return _lines({"database": database, "listen": "127.0.0.1:0"}) + "\n[engine]\n" + _lines(engine) + clients


def _lines(settings: Mapping[str, Any]) -> str:
    # JSON's strings, numbers, lists and truths are TOML's as well.
    return "".join(f"{name} = {json.dumps(_plain(value))}\n" for name, value in settings.items() if value is not None)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value
