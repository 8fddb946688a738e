"""Where calls meet the engine: decoding, batched model runs and engine calls, all outside the event loop."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from biometrik.engine import Engine
from biometrik.samples import PreparedSample, Sample
from biometrik_server.batching import Batcher
from biometrik_server.metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")


class Desk:
    """One engine, served to many calls at once.

    Parameters
    ----------
    engine : Engine
        Closed by :meth:`close`.
    metrics : Metrics
        Told of every stage.
    threads : int
        For decoding, searches and writes.
    """

    def __init__(self, engine: Engine, metrics: Metrics, *, threads: int) -> None:
        self.engine = engine
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="desk")
        self._batcher: Batcher[Sample, PreparedSample] = Batcher(
            self._models, max_items=engine.config.runtime.batch_size, clock=time.monotonic, observe=metrics.batch
        )

    async def prepare(self, read: Callable[[], Sequence[Sample]]) -> Sequence[PreparedSample]:
        """Return samples that have been through the models.

        Parameters
        ----------
        read : callable
            Decodes them; runs on a thread.

        Raises
        ------
        TemplateError
            A template cannot be used with the models in force.
        """
        samples = await self._on_thread("decode", read)
        prepared = await asyncio.wrap_future(self._batcher.submit(samples))
        self._metrics.samples(sample.report for sample in prepared)
        return prepared

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what an engine's method returns; it runs on a thread."""
        return await self._on_thread("engine", lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Finish what is queued and close the engine."""
        self._batcher.close()
        self._threads.shutdown(wait=True)
        self.engine.close()

    def _models(self, samples: Sequence[Sample]) -> Sequence[PreparedSample]:
        with self._metrics.stage("models"):
            return self.engine.prepare(samples)

    async def _on_thread(self, stage: str, function: Callable[[], T]) -> T:
        def timed() -> T:
            with self._metrics.stage(stage):
                return function()

        return await asyncio.get_running_loop().run_in_executor(self._threads, timed)
