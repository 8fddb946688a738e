"""Streams of requests: a few are worked on at once, each is answered as it is ready, an error answers its request."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from biometrik.bulk import MAX_TAG
from biometrik.errors import BiometrikError, InvalidInputError
from biometrik.reasons import Locale
from biometrik.v1 import context_pb2
from biometrik_server.calls import CURRENT
from biometrik_server.status import failure_of

_log = logging.getLogger(__name__)

Q = TypeVar("Q")
A = TypeVar("A")


async def answered(
    requests: AsyncIterator[Q],
    answer: Callable[[Q], Coroutine[Any, Any, A]],
    *,
    at_once: int,
    room: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[A]:
    """Yield the answers of a stream's requests as they are ready; the next request is read when there is room.

    Parameters
    ----------
    requests : async iterator
        The stream.
    answer : callable
        Answers one; raises nothing but for a fault of the software.
    at_once : int
        Most requests that are worked on.
    room : callable, optional
        Waited for before each request is read, so that those of many streams do not wait in memory.
    """

    async def read() -> Q | None:
        if room is not None:
            await room()
        return await anext(requests, None)

    working: set[asyncio.Task[A]] = set()
    # Reading is a task beside the work: a client may wait for an answer before it asks on.
    reading: set[asyncio.Task[Q | None]] = {asyncio.create_task(read())}
    try:
        while working or reading:
            ready = reading if len(working) < at_once else set()
            await asyncio.wait([*working, *ready], return_when=asyncio.FIRST_COMPLETED)
            for request_read in [task for task in ready if task.done()]:
                request = request_read.result()
                reading = set() if request is None else {asyncio.create_task(read())}
                if request is not None:
                    working.add(asyncio.create_task(answer(request)))
            for answer_of_one in [task for task in working if task.done()]:
                working.discard(answer_of_one)
                yield answer_of_one.result()
    finally:  # the client has gone: what nobody waits for is not computed
        for task in (*working, *reading):
            task.cancel()


def check_tag(tag: str) -> None:
    """Raise InvalidInputError for a tag that is too long."""
    if len(tag) > MAX_TAG:
        raise InvalidInputError(f"tag: expected at most {MAX_TAG} characters, got {len(tag)}")


def error_to_wire(error: Exception, locale: Locale) -> context_pb2.RequestError:
    """Return what one request of a stream failed with; a fault of the software is logged."""
    if not isinstance(error, BiometrikError):
        _log.error("unexpected error", exc_info=error, extra={"fields": {"rpc": CURRENT.get().rpc}})
    failure = failure_of(error, locale)
    number: int = failure.code.value[0]
    return context_pb2.RequestError(
        code=number,
        reason=failure.reason,
        message=failure.message,
        localized_message=failure.localized,
        metadata=dict(failure.metadata),
    )
