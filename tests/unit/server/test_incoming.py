"""What comes in of a call: a message, a stream of them, nothing, or bytes that are none."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from biometrik.errors import InvalidInputError, ServiceTimeoutError
from biometrik.v1.gallery_service_pb2 import GetGalleryRequest
from biometrik_server import interceptors
from biometrik_server.interceptors import _Incoming

NAMED = GetGalleryRequest(name="watch")
BROKEN = b"\xff\xff"


async def _sent(*messages: bytes, then_silent: bool = False) -> AsyncIterator[bytes]:
    for message in messages:
        yield message
    if then_silent:
        await asyncio.sleep(60)


def _one(sent: AsyncIterator[bytes], timeout_s: float = 10.0) -> object:
    return asyncio.run(_Incoming(sent, GetGalleryRequest.FromString, streams=False).request(timeout_s))


def _all(*messages: bytes) -> list[object]:
    async def read() -> list[object]:
        stream = await _Incoming(_sent(*messages), GetGalleryRequest.FromString, streams=True).request(0.0)
        return [message async for message in stream]

    return asyncio.run(read())


def test_a_message_is_parsed_without_waiting_for_the_end() -> None:
    assert _one(_sent(NAMED.SerializeToString(), then_silent=True)) == NAMED


def test_silence_is_not_waited_for_without_end() -> None:
    with pytest.raises(ServiceTimeoutError, match=r"within 0\.01 s"):
        _one(_sent(then_silent=True), timeout_s=0.01)


@pytest.mark.parametrize("messages", [(), (BROKEN,)])
def test_no_message_is_an_error_of_the_caller(messages: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidInputError, match="expected a message"):
        _one(_sent(*messages))


def test_a_stream_that_falls_silent_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptors, "MESSAGE_S", 0.01)

    async def read() -> None:
        sent = _sent(NAMED.SerializeToString(), then_silent=True)
        stream = await _Incoming(sent, GetGalleryRequest.FromString, streams=True).request(0.0)
        assert await anext(stream) == NAMED
        with pytest.raises(ServiceTimeoutError):
            await anext(stream)

    asyncio.run(read())


def test_a_stream_is_parsed_message_by_message() -> None:
    assert _all() == []
    assert _all(NAMED.SerializeToString(), b"") == [NAMED, GetGalleryRequest()]
    with pytest.raises(InvalidInputError, match="expected a message"):
        _all(NAMED.SerializeToString(), BROKEN)
