"""The server's configuration: defaults that are safe, and a refusal in words for everything that is not."""

from pathlib import Path
from typing import Any

import pytest

from biometrik.config import EngineConfig, FacePolicy, RuntimeParameters
from biometrik.errors import InvalidInputError
from biometrik.types import Modality
from biometrik_server.access import Scope
from biometrik_server.config import ServerConfig

HASH = "a" * 64
TLS = {"certificate": "server.pem", "key": "server.key"}
TOKEN = {"name": "counter", "scopes": ["verify"], "token_sha256": HASH}
CERTIFICATE = {"name": "gate", "scopes": ["identify"], "certificate_name": "gate-4"}


def _load(**settings: Any) -> ServerConfig:
    return ServerConfig.load(None, {"database": "people.db", **settings})


def _refused(**settings: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        _load(**settings)
    return str(caught.value)


def test_the_defaults_serve_this_machine_only() -> None:
    config = _load()
    assert config.is_loopback
    assert config.known_clients is None
    assert config.tls is None
    assert config.limits.max_message_bytes == 16 << 20
    assert config.metrics == ""
    # Runs are shorter than the library's own: others wait for them.
    assert config.engine.parameters() == EngineConfig(runtime=RuntimeParameters(batch_size=4))


def test_runs_are_longer_on_a_gpu() -> None:
    assert _load(engine={"provider": "cuda"}).engine.parameters().runtime.batch_size == 16
    assert _load(engine={"batch_size": 7}).engine.parameters().runtime.batch_size == 7
    assert _load(engine={"index": "faiss-gpu"}).engine.parameters().gallery.index == "faiss-gpu"


@pytest.mark.parametrize(
    ("listen", "loopback"),
    [
        ("127.0.0.1:0", True),
        ("127.8.9.1:50051", True),
        ("[::1]:50051", True),
        ("localhost:50051", True),
        ("unix:/run/biometrik.sock", True),
        ("0.0.0.0:50051", False),
        ("[::]:50051", False),
        (":50051", False),
        ("10.0.0.4:50051", False),
        ("server.example:50051", False),
        ("localhost.example:50051", False),
        ("50051", False),
    ],
)
def test_what_counts_as_loopback(listen: str, loopback: bool) -> None:
    open_to_all = {"tls": TLS, "clients": [TOKEN]}
    assert _load(listen=listen, **open_to_all).is_loopback is loopback


def test_off_loopback_plaintext_and_strangers_are_refused() -> None:
    assert "needs [tls]" in _refused(listen="0.0.0.0:50051", clients=[TOKEN])
    assert "needs [[clients]]" in _refused(listen="0.0.0.0:50051", tls=TLS)
    assert _load(listen="0.0.0.0:50051", tls=TLS, clients=[TOKEN]).known_clients


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"databse": "x"}, "databse: Extra inputs"),
        ({"database": ""}, "database"),
        ({"listen": ""}, "listen"),
        ({"log_level": "LOUD"}, "log_level"),
        ({"grace_s": -1}, "grace_s"),
        ({"tls": {"certificate": "server.pem"}}, "tls.key"),
        ({"tls": {**TLS, "ca": "x"}}, "tls.ca"),
        ({"limits": {"max_concurrent_requests": 0}}, "limits.max_concurrent_requests"),
        ({"limits": {"max_message_bytes": 1}}, "limits.max_message_bytes"),
        ({"limits": {"upload_lifetime_s": 0}}, "limits.upload_lifetime_s"),
        ({"limits": {"max_upload_bytes": "many"}}, "limits.max_upload_bytes"),
        ({"policies": {"counter": {"fmr": 0}}}, "policies.counter.fmr"),
        ({"policies": {"counter": {"fpir": 1.0}}}, "policies.counter.fpir"),
        ({"policies": {"counter": {"fmr": float("nan")}}}, "policies.counter.fmr"),
        ({"policies": {"counter": {"far": 0.1}}}, "policies.counter.far"),
        ({"engine": {"detektor": "yunet"}}, "engine.detektor"),
        ({"engine": {"face_policy": "biggest"}}, "engine.face_policy"),
        ({"engine": {"threads": -1}}, "threads"),
        ({"engine": {"batch_size": -1}}, "batch_size"),
        ({"clients": [{**TOKEN, "token_sha256": "s3cret"}]}, "clients.0.token_sha256"),
        ({"clients": [{**TOKEN, "token_sha256": HASH.upper()}]}, "clients.0.token_sha256"),
        ({"clients": [{**TOKEN, "token_sha256": ""}]}, "client counter: expected token_sha256 or certificate_name"),
        ({"clients": [{**TOKEN, "scopes": ["everything"]}]}, "clients.0.scopes"),
        ({"clients": [{**TOKEN, "name": ""}]}, "clients.0.name"),
        ({"clients": [{**TOKEN, "token": "s3cret"}]}, "clients.0.token"),
        ({"clients": [TOKEN, TOKEN]}, "each name once"),
        ({"clients": [CERTIFICATE]}, "certificate_name needs tls.client_ca"),
        ({"clients": [CERTIFICATE], "tls": TLS}, "certificate_name needs tls.client_ca"),
    ],
)
def test_every_refusal_names_what_is_wrong(settings: dict[str, Any], said: str) -> None:
    assert said in _refused(**settings)


def test_a_refusal_does_not_repeat_what_was_configured() -> None:
    assert "s3cret" not in _refused(clients=[{**TOKEN, "token_sha256": "s3cret"}])


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = _refused(grace_s=-1, log_level="LOUD", limits={"max_concurrent_requests": 0})
    assert all(word in said for word in ("grace_s", "log_level", "max_concurrent_requests"))


def test_a_file_is_read_and_overridden(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(
        f"""
        database = "people.db"
        listen = "127.0.0.1:7000"
        [[clients]]
        name = "counter"
        scopes = ["verify", "gallery.read"]
        token_sha256 = "{HASH}"
        [policies.gate]
        fmr = 1e-5
        [engine]
        threads = 2
        face_policy = "error"
        require_consent = true
        extractor = "ridge"
        preload = ["face", "finger"]
        """,
        "utf-8",
    )
    config = ServerConfig.load(path, {"listen": "127.0.0.1:0"})
    assert (config.database, config.listen) == ("people.db", "127.0.0.1:0")
    assert dict(config.policies) == {"gate": config.policies["gate"]}
    assert (config.policies["gate"].fmr, config.policies["gate"].fpir) == (1e-5, 0.01)
    engine = config.engine.parameters()
    assert (engine.runtime.threads, engine.face.policy, engine.require_consent) == (2, FacePolicy.ERROR, True)
    assert (engine.finger.extractor, engine.preload) == ("ridge", (Modality.FACE, Modality.FINGER))
    assert config.known_clients is not None
    (client,) = config.known_clients
    assert (client.name, client.scopes) == ("counter", frozenset({Scope.VERIFY, Scope.GALLERY_READ}))


def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    for content in (b"database = ", b"\xff\xfe", None):
        if content is None:
            wrong.unlink()
        else:
            wrong.write_bytes(content)
        with pytest.raises(InvalidInputError, match=r"wrong\.toml: expected a TOML file"):
            ServerConfig.load(wrong)


def test_without_a_database_there_is_no_server() -> None:
    with pytest.raises(InvalidInputError, match="database"):
        ServerConfig.load(None)


def test_copies_need_a_file_and_a_folder_of_their_own(tmp_path: Path) -> None:
    assert _load().snapshots is None
    settings = {"folder": str(tmp_path / "copies"), "keep": 3}
    database = str(tmp_path / "office.db")
    snapshots = _load(database=database, snapshots=settings).snapshots
    assert snapshots is not None
    assert (snapshots.folder, snapshots.keep) == (tmp_path / "copies", 3)
    assert "in memory" in _refused(database=":memory:", snapshots=settings)
    # Old copies are removed from the folder: what is served must not lie among them.
    assert "got the database's" in _refused(database=database, snapshots={"folder": str(tmp_path / "x" / "..")})
    assert "snapshots.keep" in _refused(snapshots={**settings, "keep": -1})
    assert "snapshots.folder" in _refused(snapshots={"keep": 1})
