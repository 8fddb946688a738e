"""How a client reaches a service, and what its failures become."""

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from biometrik import errors
from biometrik.errors import BiometrikError, InvalidInputError
from biometrik.reasons import Locale
from biometrik_hardware import errors as devices

_DETAILS_KEY: Final = "grpc-status-details-bin"
_DOMAIN: Final = "biometrik"
#: Over a line of 64 kbit/s that loses packets, the slowest verification with a face and a finger took 34 s, see "Over a
#: weak line" in docs/integration.md; where nobody answers, a counter still knows within a minute.
DEFAULT_TIMEOUT_S: Final = 60.0
#: Answers may be longer than gRPC's default of 4 MiB: pages of subjects, candidates with many galleries.
_MAX_RECEIVE_BYTES: Final = 64 << 20
#: Only what is certainly safe is tried again: a call that the service did not answer, with writes under their
#: transaction id.
_SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)

_Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a service is and how to prove who calls.

    Parameters
    ----------
    address : str
        ``host:port`` or ``unix:/path``.
    token : str
        Bearer token; "" for none.
    root_certificate : Path or None
        PEM of the authority that signed the server's certificate; with it, or with a client certificate, TLS is used.
    certificate, key : Path or None
        PEM of the client's certificate and private key, for mutual TLS.
    server_name : str
        Name in the server's certificate, where it is not the host of ``address``.
    timeout_s : float
        The deadline of each call.
    locale : {"en", "id"}
        Language of the advice in answers and errors.

    Raises
    ------
    InvalidInputError
        A certificate without its key, a token in plaintext to another machine, or a time that is not positive.
    """

    address: str
    token: str = field(default="", repr=False)
    root_certificate: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""
    timeout_s: float = DEFAULT_TIMEOUT_S
    locale: Locale = "en"

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidInputError("certificate, key: expected both or neither")
        if self.token and not self.encrypted and not self._is_loopback:
            raise InvalidInputError(
                f"token: expected TLS to {self.address}, got plaintext, in which anybody on the line reads it; name"
                " the authority that signed the service's certificate (root_certificate)"
            )
        if not self.timeout_s > 0:
            raise InvalidInputError(f"timeout_s: expected more than 0, got {self.timeout_s}")

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used."""
        return self.root_certificate is not None or self.certificate is not None

    @property
    def _is_loopback(self) -> bool:
        host = self.address.rpartition(":")[0].strip("[]")
        try:
            return self.address.startswith("unix:") or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    @property
    def options(self) -> list[tuple[str, Any]]:
        """Channel options."""
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", _MAX_RECEIVE_BYTES),
            ("grpc.max_send_message_length", _MAX_RECEIVE_BYTES),
            ("grpc.enable_retries", 1),
            ("grpc.service_config", _SERVICE_CONFIG),
            # A weak line that went silent is found out while a call waits on it.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
        ]
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        return options

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS credentials; None for plaintext.

        Raises
        ------
        InvalidInputError
            A file cannot be read.
        """
        if not self.encrypted:
            return None
        return grpc.ssl_channel_credentials(_read(self.root_certificate), _read(self.key), _read(self.certificate))

    def error(self, failure: grpc.RpcError, timeout_s: float | None = None) -> BiometrikError:
        """Return the library's error for a call that failed, with the words for the operator as its note.

        Parameters
        ----------
        failure : RpcError
            What gRPC raised.
        timeout_s : float or None
            The deadline of this call, where it was not the connection's.
        """
        code: grpc.StatusCode = failure.code()
        message = str(failure.details() or "")
        trailing: Any = failure.trailing_metadata() or ()  # pairs, whatever the stubs call them
        raw = next((entry[1] for entry in trailing if entry[0] == _DETAILS_KEY), b"")
        info, localized = _details(raw)
        if info is not None and info.domain == _DOMAIN:
            error = error_of(info.reason, message, dict(info.metadata))
        else:
            error = self._of_transport(code, message, self.timeout_s if timeout_s is None else timeout_s)
        if localized:
            error.add_note(localized)
        return error

    def _of_transport(self, code: grpc.StatusCode, message: str, timeout_s: float) -> BiometrikError:
        match code:
            case _Code.UNAVAILABLE:
                return errors.ServiceUnavailableError(
                    f"service at {self.address}: expected an answer, got none ({message}); is it running and reachable?"
                )
            case _Code.CANCELLED:  # what a service that stops answers to calls that come at that moment
                return errors.ServiceUnavailableError(
                    f"service at {self.address}: expected an answer, the call was ended; is the service stopping?"
                )
            case _Code.DEADLINE_EXCEEDED:
                return errors.ServiceTimeoutError(
                    f"service at {self.address}: expected an answer within {timeout_s:g} s, got none"
                )
            case _Code.RESOURCE_EXHAUSTED if "larger than max" in message:
                return errors.PayloadTooLargeError(f"service at {self.address}: {message}")
            case _Code.RESOURCE_EXHAUSTED:
                return errors.QueueFullError(f"service at {self.address}: busy ({message}); try again in a moment")
            case _Code.UNIMPLEMENTED:
                return errors.ProtocolError(
                    f"service at {self.address}: expected biometrik.v1, got one that lacks this call ({message})"
                )
            case _:
                return errors.ServiceError(f"service at {self.address}: {code.name} ({message})")


def error_of(reason: str, message: str, metadata: dict[str, str]) -> BiometrikError:
    """Return the library's error that a reason names; a plain one for reasons that are not known here."""
    kind = _BY_REASON.get(reason)
    if kind is None:
        return errors.ServiceError(f"{reason}: {message}")
    if issubclass(kind, errors.ThresholdUnsupportedError):
        return kind(message, tightest=_number(metadata.get("tightest", "")))
    return kind(message)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _details(raw: bytes | str) -> tuple[error_details_pb2.ErrorInfo | None, str]:
    status, info, localized = status_pb2.Status(), None, ""
    try:
        status.ParseFromString(raw if isinstance(raw, bytes) else raw.encode())
        for detail in status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
            elif detail.Is(error_details_pb2.LocalizedMessage.DESCRIPTOR):
                words = error_details_pb2.LocalizedMessage()
                detail.Unpack(words)
                localized = words.message
    except DecodeError:  # not ours, or damaged on the way
        return None, ""
    return info, localized


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path}: expected a readable PEM file, got {error.strerror}") from None


def _all(kind: type[BiometrikError]) -> Sequence[type[BiometrikError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _all(child))]


_OURS: Final = (errors.__name__, devices.__name__)
_BY_REASON: Final = {kind.reason: kind for kind in reversed(_all(BiometrikError)) if kind.__module__ in _OURS}
