"""What happens around every call: who is it, is there room, what does an error become, what is logged."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from biometrik.errors import (
    BiometrikError,
    InvalidInputError,
    QueueFullError,
    ServiceTimeoutError,
    UnauthenticatedError,
)
from biometrik.reasons import Locale
from biometrik.wire import locale_of
from biometrik_server.access import OPEN_RPCS, Access
from biometrik_server.calls import CURRENT, Admission, Call
from biometrik_server.metrics import Metrics
from biometrik_server.status import DETAILS_KEY, failure_of

_log = logging.getLogger(__name__)

#: Within which the message of a call, or the next one of a stream, must have come: four MiB over a line of 300 kbit/s.
#: A client that has nothing to send for longer ends its stream and opens another.
MESSAGE_S: Final = 120.0
#: How long is waited for the message of somebody unknown, which is looked at only for its language.
_STRANGER_S: Final = 1.0
#: Between two lines of the log about calls that found no room.
_RUSH_S: Final = 1.0

_Context = Any  # grpc.aio.ServicerContext of whatever request and response


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates, admits, translates errors, logs and measures every call but the open ones."""

    def __init__(self, access: Access, admission: Admission, metrics: Metrics) -> None:
        self._access = access
        self._admission = admission
        self._metrics = metrics
        self._turned_away: Counter[str] = Counter()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the method's handler with all of that around it."""
        handler = await continuation(handler_call_details)
        rpc = str(handler_call_details.method)
        if handler is None or rpc in OPEN_RPCS:
            return handler
        # Of gRPC every call is a stream of bytes: it would wait without end for the one message of a call, whoever
        # makes it, and answer UNKNOWN where it cannot be parsed.
        streams, parse = handler.request_streaming, handler.request_deserializer
        codec = {"request_deserializer": None, "response_serializer": handler.response_serializer}
        if handler.response_streaming:
            behaviour = handler.stream_stream if streams else handler.unary_stream

            async def streaming(sent: AsyncIterator[bytes], context: _Context) -> AsyncIterator[Any]:
                async with self._around(rpc, _Incoming(sent, parse, streams=streams), context) as request:
                    async for response in behaviour(request, context):
                        yield response

            return grpc.stream_stream_rpc_method_handler(streaming, **codec)
        behaviour = handler.stream_unary if streams else handler.unary_unary

        async def single(sent: AsyncIterator[bytes], context: _Context) -> Any:
            async with self._around(rpc, _Incoming(sent, parse, streams=streams), context) as request:
                return await behaviour(request, context)

        return grpc.stream_unary_rpc_method_handler(single, **codec)

    @asynccontextmanager
    async def _around(self, rpc: str, incoming: "_Incoming", context: _Context) -> AsyncIterator[Any]:
        started = time.perf_counter()
        locale: Locale = "en"
        client_name, code, reason = "", "OK", ""
        try:
            with ExitStack() as stack:
                metadata = dict(context.invocation_metadata() or ())
                try:
                    client = self._access.identify(str(metadata.get("authorization", "")), _certificate_names(context))
                except UnauthenticatedError:
                    with suppress(BiometrikError):
                        locale = _locale(await incoming.request(_STRANGER_S))
                    raise
                client_name = client.name
                if not incoming.streams:  # a full house says so without reading what it cannot work on
                    self._admission.refuse_when_full()
                request = await incoming.request(MESSAGE_S)
                locale = _locale(request)
                self._access.check(client, rpc)
                if not incoming.streams:  # streams admit their pieces of work one by one
                    stack.enter_context(self._admission)
                CURRENT.set(Call(rpc, client, locale))
                yield request
        except asyncio.CancelledError:
            code, reason = "CANCELLED", "CANCELLED"
            raise
        except Exception as error:
            if not isinstance(error, BiometrikError):
                _log.exception("unexpected error", extra={"fields": {"rpc": rpc}})
            failure = failure_of(error, locale)
            code, reason = failure.code.name, failure.reason
            await context.abort(failure.code, failure.message, ((DETAILS_KEY, failure.details()),))
        finally:
            # On the loop's next turn, so that the answer does not wait for its log line.
            seconds = time.perf_counter() - started
            asyncio.get_running_loop().call_soon(self._record, rpc, client_name, code, reason, seconds)

    def _record(self, rpc: str, client: str, code: str, reason: str, seconds: float) -> None:
        name = rpc.rsplit(".", 1)[-1]
        self._metrics.requests.labels(name, code, reason).inc()
        self._metrics.request_seconds.labels(name).observe(seconds)
        if reason == QueueFullError.reason:
            self._turn_away(client)
            return
        fields = {"rpc": name, "client": client, "code": code, "reason": reason, "ms": round(1000 * seconds, 2)}
        _log.info("call", extra={"fields": fields})

    def _turn_away(self, client: str) -> None:
        # Of a rush one line a second, not one a call: it would take time from those that are let in, and fill disks.
        if not self._turned_away:
            asyncio.get_running_loop().call_later(_RUSH_S, self._tell_of_the_rush)
        self._turned_away[client] += 1

    def _tell_of_the_rush(self) -> None:
        fields = {"reason": QueueFullError.reason, "calls": dict(self._turned_away)}
        self._turned_away.clear()
        _log.warning("full house", extra={"fields": fields})


class _Incoming:
    """What comes in of a call, as bytes, and how they are parsed."""

    def __init__(self, sent: AsyncIterator[bytes], parse: Callable[[bytes], Any], *, streams: bool) -> None:
        self._sent = sent
        self._parse = parse
        self.streams = streams

    async def request(self, timeout_s: float) -> Any:
        """Return the message of a call, or the iterator over those of a stream.

        Raises
        ------
        ServiceTimeoutError
            It did not come in time.
        InvalidInputError
            None came, or bytes that are none.
        """
        if self.streams:
            return self._messages()
        data = await self._next(timeout_s)
        if data is None:
            raise InvalidInputError("request: expected a message, got none")
        return self._message(data)

    async def _messages(self) -> AsyncIterator[Any]:
        while (data := await self._next(MESSAGE_S)) is not None:
            yield self._message(data)

    async def _next(self, timeout_s: float) -> bytes | None:
        # None at the end of what the client sends.
        try:
            async with asyncio.timeout(timeout_s):
                return await anext(self._sent, None)
        except TimeoutError:
            raise ServiceTimeoutError(f"request: expected its message within {timeout_s:g} s, got none") from None

    def _message(self, data: bytes) -> Any:
        try:
            return self._parse(data)
        except DecodeError:
            raise InvalidInputError("request: expected a message of the contract, got bytes that are none") from None


def _locale(request: Any) -> Locale:
    return locale_of(request.context.locale) if hasattr(request, "context") else "en"


def _certificate_names(context: _Context) -> list[str]:
    names = context.auth_context().get("x509_common_name", ())
    return [name.decode("utf-8", "replace") for name in names]
