"""Too large, too slow, too many, and gone before the answer: the server bounds what each of them costs."""

import hashlib
import io
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from PIL import Image

from biometrik.client import Client
from biometrik.errors import (
    BiometrikError,
    PayloadTooLargeError,
    QueueFullError,
    ServiceTimeoutError,
)
from biometrik.reasons import Reason
from biometrik.types import EnrollmentOutcome, FaceImage, Identification, Outcome, Template
from biometrik.v1 import context_pb2, enrollment_service_pb2, sample_pb2, sample_service_pb2
from tests.e2e.conftest import METRICS, Serve
from tests.soak.server_process import ServerProcess, random_template

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
_UPLOAD = "/biometrik.v1.SampleService/UploadSample"
_QUALITY = "/biometrik.v1.SampleService/AssessQuality"

Piece = sample_service_pb2.UploadSampleRequest


# --- too large -------------------------------------------------------------------------------------------------


def test_a_message_that_is_too_large_is_refused(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel, server.client() as client:
        assert _quality_call(channel, bytes(15 << 20)).result()
        refused = _quality_call(channel, bytes(17 << 20))
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert isinstance(client.connection.error(refused), PayloadTooLargeError)
        assert client.capabilities().max_message_bytes == 16 << 20


def test_a_sample_larger_than_a_message_is_uploaded(server: ServerProcess, portrait: FaceImage) -> None:
    file = io.BytesIO()
    Image.fromarray(np.kron(portrait.pixels, np.ones((5, 5, 1), dtype=np.uint8))).save(file, "BMP")
    assert len(file.getvalue()) > 17 << 20
    large = FaceImage.from_bytes(file.getvalue())
    with server.client() as client:
        assert client.enroll("large", [portrait]).outcome is EnrollmentOutcome.ENROLLED
        assert client.verify("large", [large]).outcome is Outcome.MATCH


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([Piece(total_size_bytes=10, chunk=b"12345")], "UPLOAD_INCOMPLETE"),
        ([Piece(total_size_bytes=10, chunk=b"12345"), Piece(chunk=b"1234567")], "UPLOAD_INCOMPLETE"),
        ([Piece(total_size_bytes=5, chunk=b"12345", sha256=b"x" * 32)], "UPLOAD_INCOMPLETE"),
        ([Piece(total_size_bytes=5, chunk=b"12345", sha256=b"x")], "UPLOAD_INCOMPLETE"),
        ([Piece(chunk=b"12345")], "UPLOAD_INCOMPLETE"),
        ([], "UPLOAD_NOT_FOUND"),
        ([Piece(total_size_bytes=1 << 40)], "IMAGE_TOO_LARGE"),
        ([Piece(total_size_bytes=(1 << 64) - 1)], "IMAGE_TOO_LARGE"),
    ],
)
def test_an_upload_that_does_not_fit_is_refused(server: ServerProcess, pieces: list[Piece], reason: str) -> None:
    before = server.metrics()["biometrik_upload_bytes"]
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
        _upload(channel, pieces)
    assert _reason(caught.value) == reason
    assert server.metrics()["biometrik_upload_bytes"] <= before


def test_an_enrolment_by_upload_is_repeated_with_its_first_answer(server: ServerProcess, portrait: FaceImage) -> None:
    data = portrait.encoded
    with grpc.insecure_channel(server.address) as channel:
        upload_id = _upload(channel, [Piece(total_size_bytes=len(data), chunk=data, sha256=_sha256(data))])
        enroll = channel.unary_unary(
            "/biometrik.v1.EnrollmentService/Enroll",
            enrollment_service_pb2.EnrollRequest.SerializeToString,
            enrollment_service_pb2.EnrollResponse.FromString,
        )
        sample = sample_pb2.Sample(modality=sample_pb2.MODALITY_FACE, upload_id=upload_id)
        request = enrollment_service_pb2.EnrollRequest(
            context=context_pb2.RequestContext(transaction_id="by-upload"),
            subject_id="by-upload",
            samples=[sample_pb2.Presentation(sample=sample)],
        )
        first = enroll(request, timeout=30)
        assert first.encounter_id
        assert enroll(request, timeout=30) == first


def test_an_upload_is_for_its_call_and_repeats_only(serve: Serve) -> None:
    server = serve(METRICS + "[limits]\nupload_lifetime_s = 2.0\n")
    data = b"not an image, and no matter"
    with grpc.insecure_channel(server.address) as channel:
        upload_id = _upload(channel, [Piece(total_size_bytes=len(data), chunk=data, sha256=_sha256(data))])
        ask = channel.unary_unary(
            _QUALITY,
            sample_service_pb2.AssessQualityRequest.SerializeToString,
            sample_service_pb2.AssessQualityResponse.FromString,
        )
        sample = sample_pb2.Sample(modality=sample_pb2.MODALITY_FACE, upload_id=upload_id)
        request = sample_service_pb2.AssessQualityRequest(samples=[sample])
        assert not ask(request, timeout=30).samples[0].usable
        assert not ask(request, timeout=30).samples[0].usable  # a repeat, its answer lost on the line
        _wait_until(lambda: server.metrics()["biometrik_upload_bytes"] == 0)
        with pytest.raises(grpc.RpcError) as caught:
            ask(request, timeout=30)
    assert _reason(caught.value) == "UPLOAD_NOT_FOUND"


def test_abandoned_uploads_make_room(serve: Serve) -> None:
    server = serve(METRICS + "[limits]\nmax_upload_bytes = 1000\nupload_lifetime_s = 1.0\n")
    with grpc.insecure_channel(server.address) as channel:
        _upload(channel, [Piece(total_size_bytes=800, chunk=bytes(800))])  # whole, and never used
        assert server.metrics()["biometrik_upload_bytes"] == 800
        with pytest.raises(grpc.RpcError) as caught:
            _upload(channel, [Piece(total_size_bytes=800, chunk=bytes(800))])
        assert _reason(caught.value) == "QUEUE_FULL"
        _wait_until(lambda: server.metrics()["biometrik_upload_bytes"] == 0)
        assert _upload(channel, [Piece(total_size_bytes=800, chunk=bytes(800))])


def test_an_upload_that_breaks_off_makes_room_at_once(server: ServerProcess) -> None:
    go_on = threading.Event()

    def pieces() -> Iterator[Piece]:
        yield Piece(total_size_bytes=1 << 20, chunk=bytes(1000))
        go_on.wait(30)

    with grpc.insecure_channel(server.address) as channel:
        try:
            call = _upload_call(channel).future(pieces(), timeout=60)
            _wait_until(lambda: server.metrics()["biometrik_upload_bytes"] == 1 << 20)
            call.cancel()
            _wait_until(lambda: server.metrics()["biometrik_upload_bytes"] == 0)
        finally:
            go_on.set()


@pytest.mark.parametrize("sent", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0b" * 20_000])
def test_bytes_that_are_no_message_are_an_error_of_the_caller(server: ServerProcess, sent: bytes) -> None:
    with grpc.insecure_channel(server.address) as channel:
        unary: Any = channel.unary_unary(_QUALITY)
        stream: Any = channel.stream_unary(_UPLOAD)
        for call, said in ((unary, sent), (stream, iter([sent]))):
            with pytest.raises(grpc.RpcError) as caught:
                call(said, timeout=30)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert _reason(caught.value) == "INVALID_INPUT"


# --- too slow --------------------------------------------------------------------------------------------------


def test_clients_that_say_half_a_word_do_not_stop_the_others(server: ServerProcess) -> None:
    host, port = server.address.split(":")
    with ExitStack() as stack, server.client() as client:
        client.capabilities()
        memory, descriptors = server.memory_bytes(), server.descriptor_count()
        beginnings = (
            b"",
            _PREFACE[:12],
            _PREFACE + _SETTINGS[:5],
            _PREFACE + _SETTINGS + b"\0\x40\0\x01\x04\0\0\0\x01\x82",
        )
        for number in range(200):
            line = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            line.sendall(beginnings[number % len(beginnings)])
        template = random_template("slow", server.model_contract_id)
        client.enroll("slow", [template])
        for _ in range(20):
            assert client.verify("slow", [template]).outcome is Outcome.MATCH
        with server.client() as another:
            assert another.verify("slow", [template]).outcome is Outcome.MATCH
        assert server.memory_bytes() < memory + (64 << 20)
        stack.close()
        _wait_until(lambda: server.descriptor_count() <= descriptors + 2)


def test_a_stream_is_answered_before_its_client_asks_on(server: ServerProcess) -> None:
    template = random_template("stream", server.model_contract_id)
    answered: queue.SimpleQueue[str] = queue.SimpleQueue()

    def people() -> Iterator[tuple[str, list[Template]]]:
        for number in range(5):
            yield f"tag-{number}", [template]
            assert answered.get(timeout=20) == f"tag-{number}"

    with server.client() as client:
        client.enroll("stream", [template])
        for tag, answer in client.identify_many(people(), timeout_s=60):
            assert isinstance(answer, Identification)
            assert answer.candidates[0].subject_id == "stream"
            answered.put(tag)
    assert answered.empty()


# --- gone before the answer ------------------------------------------------------------------------------------


def test_what_nobody_waits_for_is_not_computed(
    serve: Serve, slow_samples: list[FaceImage], portrait: FaceImage
) -> None:
    server = serve(METRICS)
    with server.client() as client, _busy(server, client, slow_samples, waiting=5) as answers:
        with grpc.insecure_channel(server.address) as channel:
            calls = [_quality_call(channel, portrait.encoded) for _ in range(8)]
            _wait_until(lambda: server.metrics()["biometrik_requests_in_flight"] == len(answers) + len(calls))
            for call in calls:
                call.cancel()
        with pytest.raises(ServiceTimeoutError), server.client(timeout_s=0.05) as hasty:
            hasty.quality([portrait])
        assert not all(answer.done() for answer in answers)  # the models were never free meanwhile
    assert all(len(answer.result()) == len(slow_samples) for answer in answers)
    _wait_until(lambda: server.metrics()["biometrik_requests_in_flight"] == 0)
    assert server.metrics()["biometrik_batch_samples_sum"] == len(answers) * len(slow_samples)


# --- too many --------------------------------------------------------------------------------------------------


def test_who_is_not_admitted_hears_so_at_once(serve: Serve, slow_samples: list[FaceImage]) -> None:
    server = serve(METRICS + "[limits]\nmax_concurrent_requests = 2\n")
    with server.client() as client, _busy(server, client, slow_samples) as answers:
        with grpc.insecure_channel(server.address) as channel:
            for _ in range(8):
                with pytest.raises(grpc.RpcError) as caught:
                    _quality_call(channel, b"").result()
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert _reason(caught.value) == "QUEUE_FULL"
        with pytest.raises(QueueFullError):
            client.galleries()
        assert not any(answer.done() for answer in answers)
    for answer in answers:
        assert [report.reasons for report in answer.result()] == [(Reason.NO_FACE,)] * len(slow_samples)
    with server.client() as client:
        assert client.galleries()


def test_what_was_acknowledged_under_overload_is_there(serve: Serve) -> None:
    server = serve("[limits]\nmax_concurrent_requests = 3\n")
    contract = server.model_contract_id
    with server.client() as client:

        def enrol(number: int) -> BiometrikError | None:
            subject = f"S-{number}"
            try:
                client.enroll(subject, [random_template(subject, contract)])
            except BiometrikError as error:
                return error
            return None

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(enrol, range(300)))
        there = {f"S-{number}" for number, error in enumerate(answers) if error is None}
        assert {subject.subject_id for subject in client.subjects(limit=1000)} == there
        refused = [error for error in answers if error is not None]
        assert len(there) > 3
        assert refused
        assert {type(error) for error in refused} == {QueueFullError}
        for subject in there:
            template = random_template(subject, contract)
            assert client.identify([template], max_candidates=1).candidates[0].subject_id == subject


# --- how it is asked -------------------------------------------------------------------------------------------


@contextmanager
def _busy(
    server: ServerProcess, client: Client, samples: list[FaceImage], *, waiting: int = 1
) -> Iterator[list[Future[Any]]]:
    """Keep the models busy: one call is worked on and the others wait when the block is entered."""
    with ThreadPoolExecutor(1 + waiting) as pool:
        first = pool.submit(client.quality, samples)
        _wait_until(lambda: server.metrics()["biometrik_batch_samples_count"] == 1)
        others = [pool.submit(client.quality, samples) for _ in range(waiting)]
        _wait_until(lambda: server.metrics()["biometrik_requests_in_flight"] == 1 + waiting)
        yield [first, *others]


def _wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _upload_call(
    channel: grpc.Channel,
) -> "grpc.StreamUnaryMultiCallable[Piece, sample_service_pb2.UploadSampleResponse]":
    return channel.stream_unary(_UPLOAD, Piece.SerializeToString, sample_service_pb2.UploadSampleResponse.FromString)


def _upload(channel: grpc.Channel, pieces: list[Piece]) -> str:
    return str(_upload_call(channel)(iter(pieces), timeout=30).upload_id)


def _quality_call(channel: grpc.Channel, data: bytes) -> Any:
    sample = sample_pb2.Sample(modality=sample_pb2.MODALITY_FACE, data=data)
    request = sample_service_pb2.AssessQualityRequest(samples=[sample])
    ask: Any = channel.unary_unary(_QUALITY, lambda message: message.SerializeToString())
    return ask.future(request, timeout=60)


def _reason(error: Any) -> str:
    raw = next(value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin")
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(raw).details:
        detail.Unpack(info)
    assert info.domain == "biometrik"
    return str(info.reason)
