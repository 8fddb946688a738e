"""What happens around every call: who is it, is there room, what does an error become, what is logged."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Final

import grpc

from biometrik.errors import BiometrikError
from biometrik.reasons import Locale
from biometrik.wire import locale_of
from biometrik_server.access import OPEN_RPCS, Access
from biometrik_server.calls import CURRENT, Admission, Call
from biometrik_server.metrics import Metrics
from biometrik_server.status import DETAILS_KEY, failure_of

_log = logging.getLogger(__name__)

#: Streams admit their pieces of work one by one, not themselves.
_SELF_ADMITTING: Final = frozenset(
    {"/biometrik.v1.IdentificationService/IdentifyMany", "/biometrik.v1.SampleService/UploadSample"}
)

_Context = Any  # grpc.aio.ServicerContext of whatever request and response


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates, admits, translates errors, logs and measures every call but the open ones."""

    def __init__(self, access: Access, admission: Admission, metrics: Metrics) -> None:
        self._access = access
        self._admission = admission
        self._metrics = metrics

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
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream

            async def streaming(request: Any, context: _Context) -> AsyncIterator[Any]:
                async with self._around(rpc, request, context):
                    async for response in behaviour(request, context):
                        yield response

            wrap = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return wrap(streaming, **codec)
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def single(request: Any, context: _Context) -> Any:
            async with self._around(rpc, request, context):
                return await behaviour(request, context)

        wrap = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return wrap(single, **codec)

    @asynccontextmanager
    async def _around(self, rpc: str, request: Any, context: _Context) -> AsyncIterator[None]:
        started = time.perf_counter()
        locale: Locale = locale_of(request.context.locale) if hasattr(request, "context") else "en"
        client_name, code, reason = "", "OK", ""
        try:
            with ExitStack() as stack:
                metadata = dict(context.invocation_metadata() or ())
                client = self._access.identify(str(metadata.get("authorization", "")), _certificate_names(context))
                client_name = client.name
                self._access.check(client, rpc)
                if rpc not in _SELF_ADMITTING:
                    stack.enter_context(self._admission)
                CURRENT.set(Call(rpc, client, locale))
                yield
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
            self._record(rpc, client_name, code, reason, time.perf_counter() - started)

    def _record(self, rpc: str, client: str, code: str, reason: str, seconds: float) -> None:
        name = rpc.rsplit(".", 1)[-1]
        self._metrics.requests.labels(name, code, reason).inc()
        self._metrics.request_seconds.labels(name).observe(seconds)
        fields = {"rpc": name, "client": client, "code": code, "reason": reason, "ms": round(1000 * seconds, 2)}
        _log.info("call", extra={"fields": fields})


def _certificate_names(context: _Context) -> list[str]:
    names = context.auth_context().get("x509_common_name", ())
    return [name.decode("utf-8", "replace") for name in names]
