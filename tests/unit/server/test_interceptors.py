"""What happens around every call, seen by a client over a real line: who, room, errors, and what is noted of it."""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from biometrik.client import AsyncClient, Connection
from biometrik.errors import (
    BiometrikError,
    InvalidInputError,
    PermissionDeniedError,
    QueueFullError,
    SubjectNotFoundError,
    ThresholdUnsupportedError,
    UnauthenticatedError,
)
from biometrik.v1 import subject_service_pb2
from biometrik_server.access import Access, Client, Scope
from biometrik_server.calls import CURRENT, Admission
from biometrik_server.interceptors import CallInterceptor
from biometrik_server.logs import JsonFormatter
from biometrik_server.metrics import Metrics

READER = Client("counter 3", frozenset({Scope.GALLERY_READ}), hashlib.sha256(b"s3cret").hexdigest())
METHOD = "/biometrik.v1.SubjectService/GetSubject"
METRICS = Metrics()


def _handlers(act: Callable[[], Awaitable[Any]]) -> grpc.GenericRpcHandler:
    # A service of one method, which does what the test says.
    async def get_subject(request: Any, context: Any) -> Any:
        return await act()

    method: Any = grpc.unary_unary_rpc_method_handler(
        get_subject, subject_service_pb2.GetSubjectRequest.FromString, lambda answer: answer.SerializeToString()
    )
    service, name = METHOD.removeprefix("/").split("/")
    return grpc.method_handlers_generic_handler(service, {name: method})


async def _raise(error: BaseException) -> Any:
    raise error


@asynccontextmanager
async def _served(
    act: Callable[[], Awaitable[Any]], *, clients: list[Client] | None = None, room: int = 4, metrics: Metrics = METRICS
) -> AsyncIterator[str]:
    interceptor = CallInterceptor(Access(clients), Admission(room, metrics), metrics)
    server = grpc.aio.server(interceptors=[interceptor])
    server.add_generic_rpc_handlers((_handlers(act),))
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def _asked(address: str, token: str = "", locale: Any = "en") -> BaseException:
    async with AsyncClient(Connection(address, token=token, locale=locale, timeout_s=10)) as client:
        with pytest.raises(BiometrikError) as caught:
            await client.subject("3174-secret")
        return caught.value


def _run(work: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work, 20)

    return asyncio.run(bounded())


def test_an_error_arrives_as_itself_in_the_language_of_the_request() -> None:
    async def work() -> None:
        async with _served(lambda: _raise(SubjectNotFoundError("subject: nobody"))) as address:
            english, indonesian = await _asked(address), await _asked(address, locale="id")
            for error in (english, indonesian):
                assert type(error) is SubjectNotFoundError
                assert str(error) == "subject: nobody"
            assert english.__notes__ != indonesian.__notes__

    _run(work())


def test_an_unsupported_threshold_brings_the_tightest() -> None:
    async def work() -> None:
        async with _served(lambda: _raise(ThresholdUnsupportedError("no", tightest=1.25e-5))) as address:
            error = await _asked(address)
            assert isinstance(error, ThresholdUnsupportedError)
            assert error.tightest == 1.25e-5

    _run(work())


def test_what_is_not_ours_keeps_its_message_and_goes_to_the_log_without_it(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> BaseException:
        async with _served(lambda: _raise(KeyError("template of 3174-secret"))) as address:
            return await _asked(address)

    error = _run(work())
    assert type(error) is BiometrikError
    assert "3174" not in str(error)
    (record,) = [record for record in caplog.records if record.exc_info]
    line = JsonFormatter().format(record)
    assert json.loads(line)["exception"] == "KeyError"
    assert "3174" not in line


@pytest.mark.parametrize("token", ["", "other"])
def test_strangers_are_refused_before_anything_is_done(token: str) -> None:
    async def work() -> None:
        async with _served(lambda: _raise(AssertionError()), clients=[READER]) as address:
            assert type(await _asked(address, token)) is UnauthenticatedError

    _run(work())


def test_a_client_without_the_scope_is_refused() -> None:
    async def work() -> None:
        verifier = Client("gate", frozenset({Scope.VERIFY}), READER.token_sha256)
        async with _served(lambda: _raise(AssertionError()), clients=[verifier]) as address:
            error = await _asked(address, "s3cret")
            assert type(error) is PermissionDeniedError
            assert "gallery.read" in str(error)

    _run(work())


def test_the_handler_knows_who_calls_and_in_which_language() -> None:
    seen: list[Any] = []

    async def act() -> Any:
        seen.append(CURRENT.get())
        raise SubjectNotFoundError("subject: nobody")

    async def work() -> None:
        async with _served(act, clients=[READER]) as address:
            await _asked(address, "s3cret", "id")

    _run(work())
    assert [(call.rpc, call.client, call.locale) for call in seen] == [(METHOD, READER, "id")]


def test_health_is_open_to_strangers() -> None:
    async def work() -> None:
        async with (
            _served(lambda: _raise(AssertionError()), clients=[READER]) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
            answer = health_pb2.HealthCheckResponse.FromString(await check(b"", timeout=10))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

    _run(work())


def test_beyond_the_room_calls_are_refused_at_once_and_room_comes_back() -> None:
    async def work() -> None:
        gate, inside = asyncio.Event(), asyncio.Semaphore(0)

        async def act() -> Any:
            inside.release()
            await gate.wait()
            raise SubjectNotFoundError("subject: nobody")

        async with _served(act, room=2) as address:
            waiting = [asyncio.ensure_future(_asked(address)) for _ in range(2)]
            for _ in waiting:
                await inside.acquire()
            assert type(await _asked(address)) is QueueFullError
            gate.set()
            assert {type(error) for error in await asyncio.gather(*waiting)} == {SubjectNotFoundError}
            assert type(await _asked(address)) is SubjectNotFoundError

    _run(work())


def test_of_a_rush_the_log_has_one_line_and_the_metrics_every_call(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with _served(lambda: _raise(AssertionError()), room=0, metrics=metrics) as address:
            for _ in range(5):
                assert type(await _asked(address)) is QueueFullError
            while not [r for r in caplog.records if r.message == "full house"]:
                await asyncio.sleep(0.05)

    metrics = Metrics()
    with caplog.at_level(logging.INFO, logger="biometrik_server"):
        _run(work())
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    (told,) = [line for line in lines if line["event"] in ("call", "full house")]
    assert (told["event"], told["level"], told["reason"]) == ("full house", "WARNING", "QUEUE_FULL")
    assert told["calls"] == {"": 5} or told["calls"] == {"anonymous": 5}
    labels = {"rpc": "SubjectService/GetSubject", "code": "RESOURCE_EXHAUSTED", "reason": "QUEUE_FULL"}
    assert metrics.registry.get_sample_value("biometrik_requests_total", labels) == 5


def test_bytes_that_are_no_message_are_refused_after_the_caller_is_known() -> None:
    async def sent(address: str, metadata: tuple[tuple[str, str], ...]) -> BaseException:
        async with grpc.aio.insecure_channel(address) as channel:
            call: Any = channel.unary_unary(METHOD)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"\xff\xff\xff", timeout=10, metadata=metadata)
            return Connection(address).error(caught.value)

    async def work() -> None:
        async with _served(lambda: _raise(AssertionError()), clients=[READER]) as address:
            assert type(await sent(address, ())) is UnauthenticatedError
            assert type(await sent(address, (("authorization", "Bearer s3cret"),))) is InvalidInputError

    _run(work())


def test_a_call_is_counted_and_noted_without_whom_it_is_about(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    caplog.set_level(logging.INFO, "biometrik_server")

    async def work() -> None:
        nobody = SubjectNotFoundError("subject: nobody")
        async with _served(lambda: _raise(nobody), clients=[READER], metrics=metrics) as address:
            await _asked(address, "s3cret")

    _run(work())
    labels = {"rpc": "SubjectService/GetSubject", "code": "NOT_FOUND", "reason": "SUBJECT_NOT_FOUND"}
    assert metrics.registry.get_sample_value("biometrik_requests_total", labels) == 1.0
    (line,) = [JsonFormatter().format(record) for record in caplog.records if record.getMessage() == "call"]
    row = json.loads(line)
    assert (row["rpc"], row["client"], row["code"]) == ("SubjectService/GetSubject", "counter 3", "NOT_FOUND")
    assert row["ms"] >= 0
    assert "secret" not in line
    assert "s3cret" not in line
