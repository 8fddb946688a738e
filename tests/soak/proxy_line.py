"""A proxy that stands for a weak line where no network namespaces can be made.

It hands on what TCP would: a segment that is lost arrives a round trip later, and all behind it waits for it. What TCP
itself does on such a line, its slow start and its waiting for acknowledgements, is not in it.
"""

import asyncio
import random
import threading
import time
from types import TracebackType
from typing import Final, Self

#: What an Ethernet carries of TCP in one segment.
_SEGMENT: Final = 1460
#: Segments that wait in the sender, as in a socket's buffer.
_BUFFERED: Final = 64


class ProxyLine:
    """A proxy before a service, as slow and lossy as is said; use it as a context manager.

    Parameters
    ----------
    target : str
        ``host:port`` of the service.
    rng : random.Random
        What is lost.
    bytes_per_s, one_way_s, loss : float
        Of the line, each way.
    """

    def __init__(
        self,
        target: str,
        rng: random.Random,
        *,
        bytes_per_s: float,
        one_way_s: float,
        loss: float,
    ) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._rng, self._bytes_per_s, self._one_way_s, self._loss = rng, bytes_per_s, one_way_s, loss
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="weak line")
        self.carried_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        opening = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop)
        self._server = opening.result()
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self._one_way_s)  # TCP's greeting
        far, far_out = await asyncio.open_connection(self._host, self._port)
        try:
            await asyncio.gather(self._carry(near, far_out), self._carry(far, near_out))
        except (OSError, asyncio.CancelledError):
            return  # either side has gone, or the line is taken down
        finally:
            near_out.close()
            far_out.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_BUFFERED)
        delivering = asyncio.create_task(self._deliver(way, sink))
        free_at = due = 0.0
        try:
            while data := await source.read(_SEGMENT):
                lost = self._rng.random() < self._loss
                free_at = max(free_at, time.monotonic()) + (1 + lost) * len(data) / self._bytes_per_s
                due = max(due, free_at + self._one_way_s + lost * 2 * self._one_way_s)
                self.carried_bytes += len(data)
                await way.put((due, data))
                await asyncio.sleep(max(0.0, free_at - time.monotonic()))
            await way.put((due, b""))
            await delivering
        finally:
            delivering.cancel()

    async def _deliver(self, way: "asyncio.Queue[tuple[float, bytes]]", sink: asyncio.StreamWriter) -> None:
        while True:
            due, data = await way.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.write_eof()
                return
            sink.write(data)
            await sink.drain()
