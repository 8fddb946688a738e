"""The call that is being answered: who calls, in which language, until when it is wanted."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from biometrik.errors import QueueFullError
from biometrik.reasons import Locale
from biometrik_server.access import Client
from biometrik_server.metrics import Metrics

#: How fast refusals are forgotten.
_MEMORY_S: Final = 1.0
_SHARE_IN_A_RUSH: Final = 0.75


@dataclass(frozen=True, slots=True)
class Call:
    """A call in progress.

    Parameters
    ----------
    rpc : str
        Full name of the method, ``/package.Service/Method``.
    client : Client
        Who calls.
    locale : {"en", "id"}
        Language of advice.
    """

    rpc: str
    client: Client
    locale: Locale

    @property
    def name(self) -> str:
        """``Service/Method``, for logs and metrics."""
        return self.rpc.rsplit(".", 1)[-1]


#: Set by the interceptor for the task that answers.
CURRENT: ContextVar[Call] = ContextVar("biometrik_call")


class Admission:
    """Lets in as many calls as can be worked on; the next one is refused at once. Used on the event loop only.

    While it refuses more than ``limit`` a second, the house is in a rush, and only three quarters are let in: a queue
    is there for what comes in a burst; one that stands makes everybody wait longer and gets nothing more done (Nichols
    and Jacobson, Controlling Queue Delay, 2012). A quarter is about what a machine loses of its throughput by turning
    away two calls for each that it lets in, so that those let in wait as long as in a house that is just full.

    Parameters
    ----------
    limit : int
        Most calls at once.
    metrics : Metrics
        Shows how many there are.
    clock : callable
        Returns monotonic seconds.
    """

    def __init__(self, limit: int, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._limit_in_a_rush = math.ceil(limit * _SHARE_IN_A_RUSH)
        self._metrics = metrics
        self._clock = clock
        self._pressure = 0.0  # refusals, those of the last second counting most
        self._refused_at = clock()
        self._left = asyncio.Event()
        self.count = 0

    def refuse_when_full(self) -> None:
        """Raise QueueFullError where the next call would not be let in."""
        if self.count < self._limit_in_a_rush:
            return
        now = self._clock()
        pressure = self._pressure * math.exp((self._refused_at - now) / _MEMORY_S)
        if self.count >= self._limit or pressure > self._limit * _MEMORY_S:
            self._pressure, self._refused_at = pressure + 1, now
            raise QueueFullError("service: no room for another call; try again in a moment")

    async def room(self) -> None:
        """Return when there is room for what can wait: a quarter of it stays with the calls that cannot."""
        while self.count >= self._limit_in_a_rush:
            self._left.clear()
            await self._left.wait()

    @asynccontextmanager
    async def in_turn(self) -> AsyncIterator[None]:
        """Wait for :meth:`room`, and take it."""
        await self.room()
        with self:
            yield

    def __enter__(self) -> None:
        self.refuse_when_full()
        self.count += 1
        self._metrics.in_flight.set(self.count)

    def __exit__(self, *_: object) -> None:
        self.count -= 1
        self._left.set()
        self._metrics.in_flight.set(self.count)
