"""One map from errors to gRPC status: complete, in two languages, silent about what is not ours."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from biometrik import errors
from biometrik.errors import BiometrikError
from biometrik_server.status import CODES, DOMAIN, Failure, failure_of

Code = grpc.StatusCode


def _all(kind: type[BiometrikError]) -> list[type[BiometrikError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _all(child))]


ALL = [kind for kind in _all(BiometrikError) if kind.__module__ == errors.__name__]

#: What the contract promises, by reason.
PROMISED = {
    "INVALID_INPUT": Code.INVALID_ARGUMENT,
    "UNSUPPORTED_FORMAT": Code.INVALID_ARGUMENT,
    "RESOLUTION_MISSING": Code.INVALID_ARGUMENT,
    "RECORD_INVALID": Code.INVALID_ARGUMENT,
    "IMAGE_TOO_LARGE": Code.INVALID_ARGUMENT,
    "POSITION_INVALID": Code.INVALID_ARGUMENT,
    "UNSUPPORTED_MODALITY": Code.INVALID_ARGUMENT,
    "TEMPLATE_CONTRACT_MISMATCH": Code.FAILED_PRECONDITION,
    "THRESHOLD_UNSUPPORTED": Code.FAILED_PRECONDITION,
    "CONSENT_MISSING": Code.FAILED_PRECONDITION,
    "LEGAL_BASIS_MISSING": Code.FAILED_PRECONDITION,
    "MODEL_LICENCE_UNKNOWN": Code.FAILED_PRECONDITION,
    "CALIBRATION_NOT_FOUND": Code.FAILED_PRECONDITION,
    "SUBJECT_NOT_FOUND": Code.NOT_FOUND,
    "ENCOUNTER_NOT_FOUND": Code.NOT_FOUND,
    "GALLERY_NOT_FOUND": Code.NOT_FOUND,
    "UPLOAD_NOT_FOUND": Code.NOT_FOUND,
    "GALLERY_EXISTS": Code.ALREADY_EXISTS,
    "TRANSACTION_CONFLICT": Code.ALREADY_EXISTS,
    "PAYLOAD_TOO_LARGE": Code.RESOURCE_EXHAUSTED,
    "QUEUE_FULL": Code.RESOURCE_EXHAUSTED,
    "STORE_UNAVAILABLE": Code.UNAVAILABLE,
    "ENGINE_CLOSED": Code.UNAVAILABLE,
    "STORE_DAMAGED": Code.DATA_LOSS,
    "DEADLINE_EXCEEDED": Code.DEADLINE_EXCEEDED,
    "UNAUTHENTICATED": Code.UNAUTHENTICATED,
    "PERMISSION_DENIED": Code.PERMISSION_DENIED,
}


def _raised(kind: type[BiometrikError]) -> BiometrikError:
    if issubclass(kind, errors.ThresholdUnsupportedError):
        return kind("thing: expected less", tightest=2.5e-5)
    return kind("thing: expected less")


def _details(
    failure: Failure,
) -> tuple[status_pb2.Status, error_details_pb2.ErrorInfo, error_details_pb2.LocalizedMessage]:
    status = status_pb2.Status.FromString(failure.details())
    info, localized = error_details_pb2.ErrorInfo(), error_details_pb2.LocalizedMessage()
    assert len(status.details) == 2
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(localized)
    return status, info, localized


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_and_says_so_to_machine_and_person(kind: type[BiometrikError]) -> None:
    texts = set()
    for locale in ("en", "id"):
        failure = failure_of(_raised(kind), locale)
        status, info, localized = _details(failure)
        assert failure.code is not Code.OK
        assert status.code == failure.code.value[0]
        assert status.message == failure.message == "thing: expected less"
        assert (info.domain, info.reason) == (DOMAIN, kind.reason)
        assert (localized.locale, localized.message) == (locale, failure.localized)
        assert localized.message
        texts.add(localized.message)
    assert len(texts) == 2


def test_the_root_is_the_only_error_that_falls_back_to_it() -> None:
    # Every branch names its own code: a new one is not INTERNAL by accident.
    for kind in ALL:
        nearest = next(base for base in kind.__mro__ if base in CODES)
        assert (nearest is BiometrikError) == (kind is BiometrikError)


def test_the_codes_are_those_that_the_contract_promises() -> None:
    assert {kind.reason: failure_of(_raised(kind)).code for kind in ALL if kind.reason in PROMISED} == PROMISED


def test_reasons_are_unique_upper_case_words() -> None:
    reasons = [kind.reason for kind in ALL]
    assert len(set(reasons)) == len(reasons)
    assert all(reason == reason.upper() and reason.replace("_", "").isalnum() for reason in reasons)


def test_an_unsupported_threshold_carries_the_tightest_rate() -> None:
    _, info, _ = _details(failure_of(_raised(errors.ThresholdUnsupportedError)))
    assert dict(info.metadata) == {"tightest": "2.5e-05"}
    _, other, _ = _details(failure_of(errors.InvalidInputError("no")))
    assert dict(other.metadata) == {}


@pytest.mark.parametrize(
    "error", [KeyError("NIK 3174"), RuntimeError("template AAAA"), MemoryError(), OSError(5, "/x")]
)
def test_what_is_not_ours_says_nothing_of_itself(error: Exception) -> None:
    failure = failure_of(error, "id")
    assert (failure.code, failure.reason) == (Code.INTERNAL, "INTERNAL")
    raw = failure.details()
    for argument in map(str, error.args):
        assert argument.encode() not in raw
        assert argument not in failure.message
