"""Who may call what: bearer tokens and client certificates to scopes."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from biometrik.errors import PermissionDeniedError, UnauthenticatedError


class Scope(Enum):
    """What a client may do."""

    ENROLL = "enroll"
    VERIFY = "verify"
    IDENTIFY = "identify"
    GALLERY_READ = "gallery.read"
    GALLERY_WRITE = "gallery.write"
    DEVICE = "device"
    DEVICE_TAKEOVER = "device.takeover"
    PRIVACY = "privacy"
    AUDIT = "audit"
    ADMIN = "admin"


_ANY: Final = frozenset(Scope)

#: Every RPC and the scopes of which one is needed. A test holds this against the contract.
RPC_SCOPES: Final[Mapping[str, frozenset[Scope]]] = {
    "/biometrik.v1.SampleService/AssessQuality": frozenset({Scope.VERIFY, Scope.ENROLL}),
    "/biometrik.v1.SampleService/ExtractTemplates": frozenset({Scope.VERIFY, Scope.ENROLL}),
    "/biometrik.v1.SampleService/CompareSamples": frozenset({Scope.VERIFY, Scope.ENROLL}),
    "/biometrik.v1.SampleService/InspectRecord": frozenset({Scope.VERIFY, Scope.ENROLL}),
    "/biometrik.v1.SampleService/ConvertRecord": frozenset({Scope.VERIFY, Scope.ENROLL}),
    "/biometrik.v1.SampleService/UploadSample": frozenset({Scope.VERIFY, Scope.ENROLL, Scope.IDENTIFY}),
    **{
        f"/biometrik.v1.EnrollmentService/{method}": frozenset({Scope.ENROLL})
        for method in (
            "Enroll",
            "ImportEncounters",
            "OpenSession",
            "SubmitSample",
            "MarkMissing",
            "Override",
            "RestartTrait",
            "Finalize",
            "CancelSession",
        )
    },
    "/biometrik.v1.SubjectService/GetSubject": frozenset({Scope.GALLERY_READ}),
    "/biometrik.v1.SubjectService/ListEncounters": frozenset({Scope.GALLERY_READ}),
    "/biometrik.v1.SubjectService/GetEncounter": frozenset({Scope.GALLERY_READ}),
    "/biometrik.v1.SubjectService/SetEncounterStatus": frozenset({Scope.GALLERY_WRITE}),
    "/biometrik.v1.SubjectService/SetEncounterGalleries": frozenset({Scope.GALLERY_WRITE}),
    "/biometrik.v1.SubjectService/EraseSubject": frozenset({Scope.PRIVACY}),
    "/biometrik.v1.GalleryService/CreateGallery": frozenset({Scope.GALLERY_WRITE}),
    "/biometrik.v1.GalleryService/GetGallery": frozenset({Scope.GALLERY_READ}),
    "/biometrik.v1.GalleryService/ListGalleries": frozenset({Scope.GALLERY_READ}),
    "/biometrik.v1.GalleryService/DeleteGallery": frozenset({Scope.GALLERY_WRITE}),
    "/biometrik.v1.GalleryService/ListMembers": frozenset({Scope.GALLERY_READ}),
    "/biometrik.v1.VerificationService/Verify": frozenset({Scope.VERIFY}),
    "/biometrik.v1.IdentificationService/Identify": frozenset({Scope.IDENTIFY}),
    "/biometrik.v1.IdentificationService/IdentifyStored": frozenset({Scope.IDENTIFY}),
    "/biometrik.v1.IdentificationService/IdentifyMany": frozenset({Scope.IDENTIFY}),
    **{
        f"/biometrik.v1.DeviceService/{method}": frozenset({Scope.DEVICE})
        for method in (
            "ListDevices",
            "WatchDevices",
            "AcquireDevice",
            "RenewLease",
            "ReleaseDevice",
            "Capture",
            "ScriptVirtualDevice",
        )
    },
    "/biometrik.v1.DeviceService/TakeOverDevice": frozenset({Scope.DEVICE_TAKEOVER}),
    "/biometrik.v1.AdminService/GetCapabilities": _ANY,
    "/biometrik.v1.AdminService/ListModels": frozenset({Scope.ADMIN}),
    "/biometrik.v1.AdminService/Snapshot": frozenset({Scope.ADMIN}),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ANY,
}
#: Open to everybody who can reach the server: whether it lives says nothing of anybody.
OPEN_RPCS: Final = frozenset(f"/grpc.health.v1.Health/{method}" for method in ("Check", "List", "Watch"))


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who may call.

    Parameters
    ----------
    name : str
        For logs and metrics.
    scopes : frozenset of Scope
        What it may do.
    token_sha256 : str
        SHA-256 of its bearer token, hexadecimal; "" where it has none. The token itself is kept nowhere.
    certificate_name : str
        Common name of its client certificate; "" where it has none.
    """

    name: str
    scopes: frozenset[Scope]
    token_sha256: str = ""
    certificate_name: str = ""


#: Who calls where no authentication is asked for.
ANONYMOUS: Final = Client("anonymous", _ANY)


def new_token() -> tuple[str, str]:
    """Return a fresh bearer token of 256 random bits, and the SHA-256 to configure."""
    token = secrets.token_urlsafe(32)
    return token, hashlib.sha256(token.encode()).hexdigest()


class Access:
    """Recognises clients and checks their scopes.

    Parameters
    ----------
    clients : sequence of Client or None
        None asks for no authentication: everybody is :data:`ANONYMOUS`.
    """

    def __init__(self, clients: Sequence[Client] | None) -> None:
        self._clients = clients

    def identify(self, authorization: str, certificate_names: Iterable[str]) -> Client:
        """Return who calls.

        Parameters
        ----------
        authorization : str
            The metadata entry of that name: ``Bearer …``, or "".
        certificate_names : iterable of str
            Common names of the verified client certificate.

        Raises
        ------
        UnauthenticatedError
            Nobody known has this token or certificate.
        """
        if self._clients is None:
            return ANONYMOUS
        kind, _, token = authorization.partition(" ")
        if kind.lower() == "bearer" and token:
            digest = hashlib.sha256(token.strip().encode()).hexdigest()
            for client in self._clients:
                if client.token_sha256 and hmac.compare_digest(client.token_sha256, digest):
                    return client
            raise UnauthenticatedError("authorization: the bearer token is not known here")
        names = set(certificate_names)
        for client in self._clients:
            if client.certificate_name and client.certificate_name in names:
                return client
        raise UnauthenticatedError(
            "authorization: expected 'Bearer <token>' or a known client certificate, got neither"
        )

    @staticmethod
    def check(client: Client, rpc: str) -> None:
        """Raise PermissionDeniedError unless the client has a scope that the RPC needs."""
        needed = RPC_SCOPES.get(rpc, frozenset())
        if not needed & client.scopes:
            names = " or ".join(sorted(scope.value for scope in needed)) or "none that is given to anybody"
            raise PermissionDeniedError(f"{rpc.rsplit('/', 1)[-1]}: expected scope {names}")

    @staticmethod
    def require(client: Client, scope: Scope, what: str) -> None:
        """Raise PermissionDeniedError unless the client has a scope that part of a request needs besides the RPC's."""
        if scope not in client.scopes:
            raise PermissionDeniedError(f"{what}: expected scope {scope.value}")
