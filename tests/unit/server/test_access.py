"""Who may call what: tokens, certificates, scopes, and a scope for every RPC of the contract."""

import hashlib
from typing import Any

import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from biometrik.errors import PermissionDeniedError, UnauthenticatedError
from biometrik.v1 import (
    admin_service_pb2,
    device_service_pb2,
    enrollment_service_pb2,
    gallery_service_pb2,
    identification_service_pb2,
    sample_service_pb2,
    subject_service_pb2,
    verification_service_pb2,
)
from biometrik_server.access import ANONYMOUS, OPEN_RPCS, RPC_SCOPES, Access, Client, Scope, new_token

CONTRACT = (
    admin_service_pb2,
    device_service_pb2,
    enrollment_service_pb2,
    gallery_service_pb2,
    identification_service_pb2,
    sample_service_pb2,
    subject_service_pb2,
    verification_service_pb2,
)
VERIFY = "/biometrik.v1.VerificationService/Verify"


def _rpcs(file: Any) -> set[str]:
    return {
        f"/{service.full_name}/{method.name}"
        for service in file.services_by_name.values()
        for method in service.methods
    }


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


COUNTER = Client("counter", frozenset({Scope.VERIFY}), token_sha256=_hash("s3cret"))
GATE = Client("gate", frozenset({Scope.IDENTIFY}), certificate_name="gate-4")
ACCESS = Access([COUNTER, GATE])


def test_every_rpc_of_the_contract_has_its_scopes_and_nothing_else_has() -> None:
    ours = set().union(*(_rpcs(module.DESCRIPTOR) for module in CONTRACT))
    assert len(ours) == 41
    assert set(RPC_SCOPES) == ours | _rpcs(reflection_pb2.DESCRIPTOR)
    assert all(RPC_SCOPES.values())
    assert _rpcs(health_pb2.DESCRIPTOR) == OPEN_RPCS


def test_writes_and_erasures_ask_for_scopes_that_readers_do_not_have() -> None:
    reader = frozenset({Scope.VERIFY, Scope.IDENTIFY, Scope.GALLERY_READ})
    allowed = {rpc.rsplit("/", 1)[-1] for rpc, scopes in RPC_SCOPES.items() if scopes & reader}
    writes = {"Enroll", "EraseSubject", "SetEncounterStatus", "SetEncounterGalleries", "CreateGallery", "DeleteGallery"}
    writes |= {
        "ImportEncounters",
        "OpenSession",
        "SubmitSample",
        "MarkMissing",
        "Override",
        "RestartTrait",
        "Finalize",
        "CancelSession",
    }
    assert not writes & allowed
    assert {rpc.rsplit("/", 1)[-1] for rpc, scopes in RPC_SCOPES.items() if scopes == {Scope.PRIVACY}} == {
        "EraseSubject"
    }


@pytest.mark.parametrize("header", ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "])
def test_a_known_token_names_its_client(header: str) -> None:
    assert ACCESS.identify(header, ()) is COUNTER


@pytest.mark.parametrize("header", ["", "s3cret", "Basic s3cret", "Bearer ", "Bearer", "Bearer other", "Bearer S3cret"])
def test_anything_else_is_nobody(header: str) -> None:
    with pytest.raises(UnauthenticatedError):
        ACCESS.identify(header, ())


def test_the_hash_of_a_token_is_no_token() -> None:
    with pytest.raises(UnauthenticatedError):
        ACCESS.identify(f"Bearer {COUNTER.token_sha256}", ())


def test_a_client_without_a_token_is_not_found_by_one() -> None:
    with pytest.raises(UnauthenticatedError):
        Access([GATE]).identify("Bearer ", ())
    with pytest.raises(UnauthenticatedError):
        Access([GATE]).identify("Bearer x", ())


def test_a_certificate_names_its_client_and_an_unknown_token_is_not_forgiven_for_it() -> None:
    assert ACCESS.identify("", ["other", "gate-4"]) is GATE
    with pytest.raises(UnauthenticatedError):
        ACCESS.identify("", ["gate-5", ""])
    with pytest.raises(UnauthenticatedError):
        ACCESS.identify("Bearer other", ["gate-4"])


def test_without_clients_everybody_may_everything() -> None:
    assert Access(None).identify("Bearer whatever", ()) is ANONYMOUS
    for rpc in RPC_SCOPES:
        Access.check(ANONYMOUS, rpc)
    with pytest.raises(UnauthenticatedError):
        Access([]).identify("", ())


def test_one_of_the_scopes_is_needed_and_the_message_names_them() -> None:
    Access.check(COUNTER, VERIFY)
    Access.check(COUNTER, "/biometrik.v1.SampleService/CompareSamples")
    with pytest.raises(PermissionDeniedError, match="EraseSubject: expected scope privacy"):
        Access.check(COUNTER, "/biometrik.v1.SubjectService/EraseSubject")
    with pytest.raises(PermissionDeniedError, match="enroll or verify"):
        Access.check(GATE, "/biometrik.v1.SampleService/CompareSamples")


def test_an_rpc_that_is_not_listed_is_open_to_nobody() -> None:
    with pytest.raises(PermissionDeniedError, match="none"):
        Access.check(ANONYMOUS, "/biometrik.v1.SubjectService/DumpEverything")


def test_a_new_token_is_fresh_and_only_its_hash_is_kept() -> None:
    (token, digest), (other, _) = new_token(), new_token()
    assert token != other
    assert len(token) >= 43
    assert digest == _hash(token)
    client = Client("new", frozenset({Scope.ADMIN}), token_sha256=digest)
    assert Access([client]).identify(f"Bearer {token}", ()) is client
    assert token not in repr(client)
