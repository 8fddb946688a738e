"""The server's configuration: a TOML file, checked as a whole before anything starts."""

import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from biometrik.config import (
    DetectionParameters,
    EngineConfig,
    FaceParameters,
    FacePolicy,
    FingerParameters,
    GalleryParameters,
    ModelParameters,
    RuntimeParameters,
)
from biometrik.errors import InvalidInputError
from biometrik.types import Modality
from biometrik_server.access import Client, Scope

Rate = Annotated[float, Field(gt=0, lt=1)]

_MIB: Final = 1 << 20


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Section):
    """Certificates of the server, and of who may connect."""

    certificate: Path
    """PEM chain of the server."""
    key: Path
    """PEM private key of the server."""
    client_ca: Path | None = None
    """PEM of the authority whose client certificates are asked for (mutual TLS); None asks for none."""


class ClientEntry(_Section):
    """Somebody who may call: by bearer token, or by client certificate, or by both."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    scopes: frozenset[Scope]
    token_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    certificate_name: Annotated[str, Field(max_length=128)] = ""

    @model_validator(mode="after")
    def _has_a_proof(self) -> Self:
        if not self.token_sha256 and not self.certificate_name:
            raise ValueError(f"client {self.name}: expected token_sha256 or certificate_name, got neither")
        return self


class Policy(_Section):
    """Error rates under a name that counters use."""

    fmr: Rate = 1e-3
    fpir: Rate = 0.01


class Limits(_Section):
    """Bounds on what is accepted at once."""

    max_message_bytes: Annotated[int, Field(ge=64 << 10, le=64 * _MIB)] = 16 * _MIB
    max_concurrent_requests: Annotated[int, Field(ge=1, le=4096)] = 32
    """Worked on or waiting; more are refused at once. On a CPU that makes 40 templates a second, the last of 32 waits
    for less than a second."""
    max_searches_per_stream: Annotated[int, Field(ge=1, le=256)] = 8
    max_records_per_stream: Annotated[int, Field(ge=1, le=256)] = 16
    """Of an import: half of what is worked on at once, so that counters find room beside it."""
    max_upload_bytes: Annotated[int, Field(ge=1)] = 256 * _MIB
    """Of all uploads that wait together."""
    upload_lifetime_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    max_sessions: Annotated[int, Field(ge=1, le=4096)] = 64
    """Enrolment sessions at once."""
    max_session_bytes: Annotated[int, Field(ge=1)] = 512 * _MIB
    """Of the samples of all sessions together."""
    session_lifetime_s: Annotated[float, Field(gt=0, le=86_400)] = 900.0
    """After its last call a session is dropped."""


class Snapshots(_Section):
    """Where Snapshot puts its copies of the database."""

    folder: Path
    """Never created: of a disk that is not mounted, a folder below its mount point is not there."""
    keep: Annotated[int, Field(ge=0, le=10_000)] = 0
    """How many copies stay: after each new one the oldest beyond that are removed. 0: all."""


class Engine(_Section):
    """Models and runtime; the words are those of :mod:`biometrik.config`."""

    provider: str = "cpu"
    precision: str = "fp32"
    threads: int = 0
    batch_size: Annotated[int, Field(ge=0, le=256)] = 0
    """Most samples of one model run. 0: 16 on a GPU; 4 on a CPU, where a longer run saves nothing, makes the others
    wait, and costs memory."""
    device_id: int = 0
    detector: str = "yunet"
    embedder: str = "sface"
    refine: bool = False
    flip: bool = False
    face_policy: FacePolicy = FacePolicy.LARGEST_CENTRAL
    quality_profile: str = "counter"
    extractor: str = "leader"
    matcher: str = "cylinders"
    index: str = ""
    """What searches faces. "": the library's default."""
    on_damage: str = "refuse"
    """What a damaged encounter does to the start: refuse, or quarantine (set aside, and go on without it)."""
    preload: tuple[Modality, ...] = (Modality.FACE,)
    """Whose models are opened at start besides the faces'; others when the first sample of them comes."""
    cache: Path | None = None
    pack: Path | None = None
    calibrations: tuple[Path, ...] = ()
    require_consent: bool = False

    def parameters(self) -> EngineConfig:
        """Return the engine's configuration; raises InvalidInputError for a value out of range."""
        return EngineConfig(
            face=FaceParameters(
                detector=self.detector,
                embedder=self.embedder,
                detection=DetectionParameters(refine=self.refine),
                policy=self.face_policy,
                flip=self.flip,
                quality_profile=self.quality_profile,
            ),
            finger=FingerParameters(extractor=self.extractor, matcher=self.matcher),
            runtime=RuntimeParameters(
                provider=self.provider,
                precision=self.precision,
                threads=self.threads,
                batch_size=self.batch_size or (16 if self.provider == "cuda" else 4),
                device_id=self.device_id,
            ),
            models=ModelParameters(cache=self.cache, pack=self.pack, calibrations=self.calibrations),
            gallery=GalleryParameters(index=self.index or GalleryParameters().index, on_damage=self.on_damage),
            require_consent=self.require_consent,
            preload=self.preload,
        )


class HostConfig(_Section):
    """What a service and a station have in common: where they listen, who may call, models and bounds."""

    listen: Annotated[str, Field(min_length=1)] = "127.0.0.1:50051"
    """host:port, port 0 for a free one, or unix:/path."""
    metrics: str = ""
    """host:port of the Prometheus page; "" for none. It names no person, and is not authenticated."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    grace_s: Annotated[float, Field(ge=0, le=600)] = 30.0
    """How long calls in flight may take to finish after a stop was asked for."""
    tls: Tls | None = None
    clients: tuple[ClientEntry, ...] = ()
    limits: Limits = Limits()
    engine: Engine = Engine()

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        names = [client.name for client in self.clients]
        if len(set(names)) != len(names):
            raise ValueError("clients: expected each name once")
        if any(client.certificate_name for client in self.clients) and (self.tls is None or not self.tls.client_ca):
            raise ValueError("clients: certificate_name needs tls.client_ca")
        if not self.is_loopback and self.tls is None:
            raise ValueError(f"listen: {self.listen} is not loopback and needs [tls] with certificate and key")
        if not self.is_loopback and not self.clients:
            raise ValueError(f"listen: {self.listen} is not loopback and needs [[clients]] with tokens or certificates")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.listen.startswith("unix:"):
            return True
        host = self.listen.rpartition(":")[0].strip("[]")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def known_clients(self) -> tuple[Client, ...] | None:
        """Who may call; None where everybody may."""
        if not self.clients:
            return None
        return tuple(Client(c.name, c.scopes, c.token_sha256, c.certificate_name) for c in self.clients)

    @classmethod
    def load(cls, path: Path | None, overrides: Mapping[str, Any] | None = None) -> Self:
        """Return the configuration of a TOML file.

        Parameters
        ----------
        path : Path or None
            None for the defaults.
        overrides : mapping
            Top-level settings that take the place of the file's.

        Raises
        ------
        InvalidInputError
            The file cannot be read, or a setting is wrong; the message names it.
        """
        try:
            settings = tomllib.loads(path.read_text("utf-8")) if path else {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidInputError(f"{path}: expected a TOML file, got {error}") from None
        try:
            config = cls.model_validate({**settings, **(overrides or {})})
        except ValidationError as error:
            found = "; ".join(_said(row) for row in error.errors(include_url=False, include_input=False))
            raise InvalidInputError(f"{path or 'configuration'}: {found}") from None
        config.engine.parameters()
        return config


class ServerConfig(HostConfig):
    """All settings of a server."""

    database: Annotated[str, Field(min_length=1)]
    """File of the database, or ":memory:"."""
    policies: Mapping[str, Policy] = {"counter": Policy(), "strict": Policy(fmr=1e-4, fpir=1e-3)}
    snapshots: Snapshots | None = None
    """None: Snapshot is refused."""

    @model_validator(mode="after")
    def _can_be_copied(self) -> Self:
        if self.snapshots is not None:
            if self.database == ":memory:":
                raise ValueError("snapshots: expected a database in a file, got one in memory, which is not copied")
            if self.snapshots.folder.resolve() == Path(self.database).resolve().parent:  # old copies are removed there
                raise ValueError("snapshots.folder: expected a folder of their own, got the database's")
        return self


def _said(row: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in row["loc"])
    message = str(row["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
