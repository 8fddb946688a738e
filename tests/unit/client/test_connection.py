"""How a client reaches a service, and what its failures become: the library's own errors, whatever came."""

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from biometrik import errors
from biometrik.client.connection import Connection, error_of
from biometrik.errors import BiometrikError, InvalidInputError
from biometrik_server.status import failure_of

Code = grpc.StatusCode
DETAILS = "grpc-status-details-bin"
HERE = Connection("counter.example:50051", timeout_s=2.5)


def _all(kind: type[BiometrikError]) -> list[type[BiometrikError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _all(child))]


ALL = [kind for kind in _all(BiometrikError) if kind.__module__ == errors.__name__]


class Failed(grpc.RpcError):
    """A call that failed, as gRPC hands it out."""

    def __init__(self, code: grpc.StatusCode, message: str | None, trailing: object = ()) -> None:
        self._found = code, message, trailing

    def code(self) -> grpc.StatusCode:
        return self._found[0]

    def details(self) -> str | None:
        return self._found[1]

    def trailing_metadata(self) -> Any:
        return self._found[2]


def _raised(kind: type[BiometrikError]) -> BiometrikError:
    if issubclass(kind, errors.ThresholdUnsupportedError):
        return kind("thing: expected less", tightest=2.5e-5)
    return kind("thing: expected less")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_of_the_service_arrives_as_itself_with_words_for_the_operator(kind: type[BiometrikError]) -> None:
    failure = failure_of(_raised(kind), "id")
    error = HERE.error(Failed(failure.code, failure.message, ((DETAILS, failure.details()),)))
    assert type(error) is kind
    assert str(error) == "thing: expected less"
    assert error.__notes__ == [failure.localized]
    if isinstance(error, errors.ThresholdUnsupportedError):
        assert error.tightest == 2.5e-5


@pytest.mark.parametrize(
    ("code", "message", "kind", "said"),
    [
        (Code.UNAVAILABLE, "refused", errors.ServiceUnavailableError, "counter.example:50051.*is it running"),
        (Code.DEADLINE_EXCEEDED, "", errors.ServiceTimeoutError, "within 2.5 s"),
        (Code.RESOURCE_EXHAUSTED, "larger than max (17 vs. 16)", errors.PayloadTooLargeError, "17 vs. 16"),
        (Code.RESOURCE_EXHAUSTED, "Concurrent RPC limit", errors.QueueFullError, "try again"),
        (Code.UNIMPLEMENTED, "Method not found!", errors.ProtocolError, "expected biometrik.v1"),
        (Code.INTERNAL, "stream reset", errors.ServiceError, "INTERNAL"),
        (Code.CANCELLED, None, errors.ServiceUnavailableError, "is the service stopping"),
        (Code.ABORTED, None, errors.ServiceError, "ABORTED"),
        (Code.UNKNOWN, "", errors.ServiceError, "UNKNOWN"),
    ],
)
def test_failures_of_the_line_are_errors_of_the_service(
    code: grpc.StatusCode, message: str | None, kind: type[BiometrikError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        raise HERE.error(Failed(code, message, None))
    assert type(caught.value) is kind


def test_details_of_another_domain_are_not_ours() -> None:
    holder, status = AnyMessage(), status_pb2.Status()
    holder.Pack(error_details_pb2.ErrorInfo(domain="googleapis.com", reason="SUBJECT_NOT_FOUND"))
    status.details.append(holder)
    error = HERE.error(Failed(Code.NOT_FOUND, "x", ((DETAILS, status.SerializeToString()),)))
    assert type(error) is errors.ServiceError


@given(st.binary(max_size=60))
def test_damaged_details_leave_the_code(raw: bytes) -> None:
    error = HERE.error(Failed(Code.UNAVAILABLE, "gone", (("other", b"x"), (DETAILS, b"\x0a\xff" + raw))))
    assert type(error) is errors.ServiceUnavailableError


def test_a_reason_that_is_not_known_here_is_a_plain_error_that_names_it() -> None:
    error = error_of("OF_TOMORROW", "something new", {})
    assert type(error) is errors.ServiceError
    assert str(error) == "OF_TOMORROW: something new"


@pytest.mark.parametrize("metadata", [{}, {"tightest": "small"}])
def test_a_tightest_rate_that_is_no_number_is_nan(metadata: dict[str, str]) -> None:
    error = error_of("THRESHOLD_UNSUPPORTED", "no", metadata)
    assert isinstance(error, errors.ThresholdUnsupportedError)
    assert isnan(error.tightest)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Connection("x", certificate=Path("a.pem")),
        lambda: Connection("x", key=Path("a.key")),
        lambda: Connection("x", timeout_s=0.0),
        lambda: Connection("x", timeout_s=float("nan")),
    ],
)
def test_a_connection_that_cannot_be_is_refused(make: Callable[[], Connection]) -> None:
    with pytest.raises(InvalidInputError):
        make()


def test_a_token_goes_with_every_call_and_is_not_shown() -> None:
    connection = Connection("localhost:1", token="s3cret")
    assert connection.metadata == (("authorization", "Bearer s3cret"),)
    assert "s3cret" not in repr(connection)
    assert HERE.metadata == ()


def test_a_token_goes_in_plaintext_to_this_machine_only(tmp_path: Path) -> None:
    for here in ("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/x"):
        assert Connection(here, token="s3cret").metadata
    assert Connection("office.example:1", token="s3cret", root_certificate=tmp_path / "ca.pem").encrypted
    for there in ("office.example:1", "192.0.2.7:1", "x"):
        with pytest.raises(InvalidInputError, match="expected TLS to"):
            Connection(there, token="s3cret")


def test_tls_is_used_where_a_certificate_is_given_and_a_missing_file_is_named(tmp_path: Path) -> None:
    assert HERE.credentials is None
    root = tmp_path / "root.pem"
    root.write_bytes(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    assert isinstance(Connection("x", root_certificate=root).credentials, grpc.ChannelCredentials)
    with pytest.raises(InvalidInputError, match=r"gone\.pem: expected a readable PEM file"):
        _ = Connection("x", root_certificate=tmp_path / "gone.pem").credentials


def test_the_name_in_the_certificate_may_be_another_than_the_host() -> None:
    named = Connection("10.0.0.4:50051", server_name="server.example")
    assert ("grpc.ssl_target_name_override", "server.example") in named.options
    assert "grpc.ssl_target_name_override" not in dict(HERE.options)
