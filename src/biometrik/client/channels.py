"""The lines to a service, waited for or awaited: opened, closed, one call made."""

import asyncio
import queue
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from biometrik.client.calls import Operation
from biometrik.client.connection import Connection
from biometrik.errors import ServiceTimeoutError

T = TypeVar("T")
R = TypeVar("R", bound=Message)


class Channel:
    """What every client that waits for its answers is made of; safe to use from several threads.

    Parameters
    ----------
    address : str or Connection
        ``host:port`` or ``unix:/path``; a Connection also says how to prove who calls.
    """

    def __init__(self, address: str | Connection) -> None:
        self.connection = address if isinstance(address, Connection) else Connection(address)
        credentials, options = self.connection.credentials, self.connection.options
        self._channel = (
            grpc.insecure_channel(self.connection.address, options)
            if credentials is None
            else grpc.secure_channel(self.connection.address, credentials, options)
        )

    def close(self) -> None:
        """End the connection; calls in flight fail."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        """Return when the service can be reached; raises ServiceTimeoutError if it does not."""
        try:
            grpc.channel_ready_future(self._channel).result(timeout_s)
        except grpc.FutureTimeoutError:
            raise ServiceTimeoutError(
                f"service at {self.connection.address}: expected to be reached within {timeout_s:g} s, was not;"
                " is it running, and does TLS fit?"
            ) from None

    def _do(self, operation: Operation[T]) -> T:
        call: grpc.UnaryUnaryMultiCallable[Message, Any] = self._channel.unary_unary(
            operation.method,
            lambda request: request.SerializeToString(),
            operation.response.FromString,
        )
        timeout_s = self.connection.timeout_s if operation.timeout_s is None else operation.timeout_s
        try:
            answer = call(operation.request, timeout=timeout_s, metadata=self.connection.metadata)
        except grpc.RpcError as failure:
            raise self.connection.error(failure, timeout_s) from None
        return operation.read(answer)

    def _streamed(
        self, method: str, requests: Iterable[Message], response: type[R], timeout_s: float | None
    ) -> Iterator[R]:
        # Answers of a stream as they come. gRPC reads requests on a thread of its own and hides what they raise: it is
        # kept, and raised here.
        broken: queue.SimpleQueue[Exception] = queue.SimpleQueue()

        def sent() -> Iterator[Message]:
            try:
                yield from requests
            except Exception as error:  # not GeneratorExit: then the service has ended the stream
                broken.put(error)
                raise

        call: grpc.StreamStreamMultiCallable[Message, R] = self._channel.stream_stream(
            method, lambda request: request.SerializeToString(), response.FromString
        )
        answers = call(sent(), timeout=timeout_s, metadata=self.connection.metadata)
        try:
            yield from answers
        except grpc.RpcError as failure:
            if not broken.empty():
                raise broken.get() from None
            raise self.connection.error(failure, timeout_s) from None
        finally:
            answers.cancel()


class AsyncChannel:
    """The awaitable twin of :class:`Channel`, for one event loop.

    Parameters
    ----------
    address : str or Connection
        As there.
    """

    def __init__(self, address: str | Connection) -> None:
        self.connection = address if isinstance(address, Connection) else Connection(address)
        credentials, options = self.connection.credentials, self.connection.options
        self._channel = (
            grpc.aio.insecure_channel(self.connection.address, options)
            if credentials is None
            else grpc.aio.secure_channel(self.connection.address, credentials, options)
        )

    async def close(self) -> None:
        """End the connection; calls in flight fail."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        """Return when the service can be reached; raises ServiceTimeoutError if it does not."""
        try:
            await asyncio.wait_for(self._channel.channel_ready(), timeout_s)
        except TimeoutError:
            raise ServiceTimeoutError(
                f"service at {self.connection.address}: expected to be reached within {timeout_s:g} s, was not;"
                " is it running, and does TLS fit?"
            ) from None

    async def _do(self, operation: Operation[T]) -> T:
        call: grpc.aio.UnaryUnaryMultiCallable[Message, Any] = self._channel.unary_unary(
            operation.method,
            lambda request: request.SerializeToString(),
            operation.response.FromString,
        )
        timeout_s = self.connection.timeout_s if operation.timeout_s is None else operation.timeout_s
        try:
            answer = await call(operation.request, timeout=timeout_s, metadata=self.connection.metadata)
        except grpc.aio.AioRpcError as failure:
            raise self.connection.error(failure, timeout_s) from None
        return operation.read(answer)

    async def _streamed(
        self, method: str, requests: AsyncIterable[Message], response: type[R], timeout_s: float | None
    ) -> AsyncIterator[R]:
        # As the other one's; here gRPC reads requests in a task of its own.
        broken: list[Exception] = []

        async def sent() -> AsyncIterator[Message]:
            try:
                async for request in requests:
                    yield request
            except Exception as error:  # not GeneratorExit: then the service has ended the stream
                broken.append(error)
                raise

        call: grpc.aio.StreamStreamMultiCallable[Message, R] = self._channel.stream_stream(
            method, lambda request: request.SerializeToString(), response.FromString
        )
        answers = call(sent(), timeout=timeout_s, metadata=self.connection.metadata)
        try:
            async for answer in answers:
                yield answer
        except asyncio.CancelledError:
            if broken:  # gRPC cancelled the call, not somebody the caller
                raise broken[0] from None
            raise
        except grpc.aio.AioRpcError as failure:
            if broken:
                raise broken[0] from None
            raise self.connection.error(failure, timeout_s) from None
        finally:
            answers.cancel()
