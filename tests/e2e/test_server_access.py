"""Who may call: TLS, client certificates and tokens, as a deployer configures them."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from biometrik.client import Client, Connection
from biometrik.duplicates import DedupePolicy
from biometrik.errors import PermissionDeniedError, ServiceError, ServiceUnavailableError, UnauthenticatedError
from biometrik.samples import UnreadableSample
from biometrik.types import FACE
from tests.e2e.identities import Identity
from tests.soak.server_process import ServerProcess, StartError, random_template

COUNTER_TOKEN = "counter-token-that-nobody-guesses"
AUDIT_TOKEN = "audit-token-that-nobody-guesses"
_SEARCH = "/biometrik.v1.IdentificationService/Identify"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.authority("office-ca", tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return an authority that the server does not know, with the name of the one that it does."""
    return Identity.authority("office-ca", tmp_path_factory.mktemp("strangers"))


def _clients() -> str:
    return "".join(
        f"[[clients]]\nname = '{name}'\nscopes = {scopes}\n{proof}\n"
        for name, scopes, proof in (
            ("counter", ["enroll", "verify"], f"token_sha256 = '{_sha256(COUNTER_TOKEN)}'"),
            ("audit", ["audit"], f"token_sha256 = '{_sha256(AUDIT_TOKEN)}'"),
        )
    )


def _tls(server: Identity, authority: Identity | None = None) -> str:
    lines = f"[tls]\ncertificate = '{server.pem}'\nkey = '{server.key_pem}'\n"
    return lines + (f"client_ca = '{authority.pem}'\n" if authority else "")


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# --- tokens ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, authority: Identity) -> Iterator[ServerProcess]:
    """Return a server with TLS that asks for tokens."""
    settings = 'log_level = "DEBUG"\n' + _tls(authority.issue("server")) + _clients()
    with ServerProcess(tmp_path_factory.mktemp("guarded"), settings, listen="127.0.0.1:0") as server:
        yield server


def _connected(server: ServerProcess, root: Identity, **settings: Any) -> Client:
    return Client(Connection(server.address, root_certificate=root.pem, timeout_s=20, **settings))


def test_a_token_opens_what_its_scopes_name(guarded: ServerProcess, authority: Identity) -> None:
    template = random_template("T", guarded.model_contract_id)
    with _connected(guarded, authority, token=COUNTER_TOKEN) as counter:
        counter.enroll("T-1", [template])
        assert counter.verify("T-1", [template]).subject_id == "T-1"
        for refused in (
            lambda: counter.identify([template]),
            lambda: counter.enroll("T-2", [template], dedupe=DedupePolicy()),  # would tell who else is enrolled
            lambda: counter.open_session("T-2", [FACE], dedupe=DedupePolicy()),
            lambda: counter.subject("T-1"),
            lambda: counter.erase("T-1"),
            lambda: counter.create_gallery("watch"),
        ):
            with pytest.raises(PermissionDeniedError, match="expected scope"):
                refused()
        assert counter.verify("T-1", [template]).subject_id == "T-1"  # and nothing was erased
    with _connected(guarded, authority, token=AUDIT_TOKEN) as audit, pytest.raises(PermissionDeniedError):
        audit.verify("T-1", [template])


@pytest.mark.parametrize("token", ["", "wrong-token-of-somebody", _sha256(COUNTER_TOKEN), COUNTER_TOKEN + "x"])
def test_without_a_known_token_nobody_is_answered(guarded: ServerProcess, authority: Identity, token: str) -> None:
    template = random_template("T", guarded.model_contract_id)
    with _connected(guarded, authority, token=token) as client:
        for refused in (
            lambda: client.verify("T-1", [template]),
            lambda: list(client.identify_many([("tag", [template])])),
            lambda: client.quality([UnreadableSample("", b"no image")]),
        ):
            with pytest.raises(UnauthenticatedError):
                refused()


def test_tokens_are_not_in_the_log(guarded: ServerProcess, authority: Identity) -> None:
    wrong = "wrong-token-of-somebody"
    for token in (COUNTER_TOKEN, wrong):
        with _connected(guarded, authority, token=token) as client, pytest.raises(ServiceError):
            client.erase("T-1")
    names = {event.get("client") for event in guarded.events()}
    assert "counter" in names
    log = guarded.log()
    for token in (COUNTER_TOKEN, AUDIT_TOKEN, wrong):
        assert token not in log
        assert _sha256(token) not in log


def test_a_server_that_an_unknown_authority_signed_is_not_trusted(guarded: ServerProcess, stranger: Identity) -> None:
    with _connected(guarded, stranger, token=COUNTER_TOKEN) as client, pytest.raises(ServiceUnavailableError):
        client.capabilities()
    plain = Client(Connection(guarded.address, token=COUNTER_TOKEN, timeout_s=20))  # no TLS at all
    with plain, pytest.raises(ServiceUnavailableError):
        plain.capabilities()


def test_strangers_who_call_and_send_nothing_do_not_hold_the_server(
    guarded: ServerProcess, authority: Identity
) -> None:
    until = threading.Event()

    def silent() -> Iterator[bytes]:
        until.wait(60)
        yield from ()

    credentials = grpc.ssl_channel_credentials(authority.pem.read_bytes())
    with grpc.secure_channel(guarded.address, credentials) as channel:
        try:
            ask: Any = channel.stream_stream(_SEARCH)
            calls = [ask(silent(), timeout=60) for _ in range(96)]
            for call in calls:  # long before the message of a known client would have to be there
                assert call.code() is grpc.StatusCode.UNAUTHENTICATED
        finally:
            until.set()
    with _connected(guarded, authority, token=COUNTER_TOKEN) as counter:
        assert counter.enroll("T-2", [random_template("T-2", guarded.model_contract_id)]).encounter_id


# --- client certificates ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, authority: Identity) -> Iterator[ServerProcess]:
    """Return a server that asks for client certificates."""
    clients = "[[clients]]\nname = 'station'\nscopes = ['verify', 'enroll']\ncertificate_name = 'station-7'\n"
    settings = _tls(authority.issue("server"), authority) + clients
    with ServerProcess(tmp_path_factory.mktemp("mutual"), settings) as server:
        yield server


def test_the_common_name_of_a_certificate_gives_scopes(mutual: ServerProcess, authority: Identity) -> None:
    station = authority.issue("station-7")
    template = random_template("M", mutual.model_contract_id)
    with _connected(mutual, authority, certificate=station.pem, key=station.key_pem) as client:
        client.enroll("M-1", [template])
        assert client.verify("M-1", [template]).subject_id == "M-1"
        with pytest.raises(PermissionDeniedError):
            client.erase("M-1")
    assert {event.get("client") for event in mutual.events() if event["event"] == "call"} >= {"station"}


def test_a_certificate_of_somebody_unknown_is_refused(mutual: ServerProcess, authority: Identity) -> None:
    other = authority.issue("station-8")
    client = _connected(mutual, authority, certificate=other.pem, key=other.key_pem)
    with client, pytest.raises(UnauthenticatedError):
        client.capabilities()


def test_without_a_certificate_that_the_authority_signed_there_is_no_line(
    mutual: ServerProcess, authority: Identity, stranger: Identity
) -> None:
    forged = stranger.issue("station-7")
    with _connected(mutual, authority) as nameless, pytest.raises(ServiceUnavailableError):
        nameless.capabilities()
    forger = _connected(mutual, authority, certificate=forged.pem, key=forged.key_pem)
    with forger, pytest.raises(ServiceUnavailableError):
        forger.capabilities()
    assert mutual.events()  # every line of the log is JSON, failed handshakes or not


# --- what is not allowed at all --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "tls", "clients", "words"),
    [
        ("0.0.0.0:0", False, True, "needs [tls]"),
        ("[::]:0", False, True, "needs [tls]"),
        ("0.0.0.0:0", True, False, "needs [[clients]]"),
        ("a-name.example:0", False, True, "needs [tls]"),
    ],
)
def test_off_this_machine_both_tls_and_clients_are_asked_for(
    listen: str, tls: bool, clients: bool, words: str, tmp_path: Path, authority: Identity
) -> None:
    settings = (_tls(authority.issue("server")) if tls else "") + (_clients() if clients else "")
    with pytest.raises(StartError) as caught, ServerProcess(tmp_path, settings, listen=listen):
        pass
    assert caught.value.status == 2
    assert words in caught.value.said


def test_a_key_of_another_certificate_is_named(tmp_path: Path, authority: Identity) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    settings = f"[tls]\ncertificate = '{one.pem}'\nkey = '{other.key_pem}'\n"
    with pytest.raises(StartError) as caught, ServerProcess(tmp_path, settings):
        pass
    assert caught.value.status == 1
    assert "other.key" in caught.value.said
