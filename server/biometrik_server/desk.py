"""Where calls meet the engine: decoding, batched model runs and engine calls, all outside the event loop."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

from biometrik.engine import Engine
from biometrik.samples import PreparedSample, Sample
from biometrik.types import Decision, Enrollment, Identification
from biometrik_server.batching import Batcher
from biometrik_server.calls import CURRENT
from biometrik_server.metrics import Metrics

#: Model runs at once. What one does on a single core leaves the others to the second, and faces do not wait for prints.
MODEL_RUNS: Final = 2

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
    runs : int
        Model runs at once.
    """

    def __init__(self, engine: Engine, metrics: Metrics, *, threads: int, runs: int = MODEL_RUNS) -> None:
        self.engine = engine
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="desk")
        self._batcher: Batcher[Sample, PreparedSample] = Batcher(
            self._models,
            max_items=engine.config.runtime.batch_size,
            clock=time.monotonic,
            observe=metrics.batch,
            runs=runs,
        )

    async def answer(self, read: Callable[[], Sequence[Sample]], use: Callable[[Sequence[PreparedSample]], T]) -> T:
        """Return what is made of samples that have been through the models. Outcomes are counted.

        It goes from thread to thread: a detour over the event loop between the steps costs a lone client some tenths
        of a millisecond.

        Parameters
        ----------
        read : callable
            Decodes the samples; runs on a thread.
        use : callable
            An engine's method, of the prepared samples; runs on a thread.

        Raises
        ------
        BiometrikError
            What ``read`` or ``use`` raises; TemplateError for a template that cannot be used with the models in force.
        """
        answer: Future[T] = Future()

        # No function here keeps hold of what calls it back: samples are large, and cycles wait for the collector.
        def finish(prepared: Future[Sequence[PreparedSample]]) -> T:
            samples = prepared.result()
            self._metrics.samples(sample.report for sample in samples)
            with self._metrics.stage("engine"):
                return use(samples)

        def go_on(prepared: Future[Sequence[PreparedSample]]) -> None:
            if not prepared.cancelled():
                _settle(answer, partial(finish, prepared))

        prepared = self._queued(read, go_on)
        try:
            return self._counted(await asyncio.wrap_future(answer))
        finally:
            prepared.cancel()  # given up: what nobody waits for is not computed

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what an engine's method returns; it runs on a thread. Outcomes are counted."""
        return self._counted(await self._on_thread("engine", lambda: function(*args, **kwargs)))

    def close(self) -> None:
        """Finish what is queued and close the engine."""
        self._batcher.close()
        self._threads.shutdown(wait=True)
        self.engine.close()

    def _models(self, samples: Sequence[Sample]) -> Sequence[PreparedSample]:
        with self._metrics.stage("models"):
            return self.engine.prepare(samples)

    def _queued(
        self,
        read: Callable[[], Sequence[Sample]],
        then: "Callable[[Future[Sequence[PreparedSample]]], None]",
    ) -> "Future[Sequence[PreparedSample]]":
        # Decoded on a thread that takes the samples to the models itself, and goes on with ``then`` where they were
        # free. Of a failure ``then`` may be told on any thread.
        prepared: Future[Sequence[PreparedSample]] = Future()
        # The call that is being answered goes along: its client owns uploads. A context is entered once at a time.
        decoding, going_on = contextvars.copy_context(), contextvars.copy_context()

        def hand_over(prepared: Future[Sequence[PreparedSample]]) -> None:
            if prepared.cancelled() or prepared.exception() is not None:
                then(prepared)  # here, even while the threads shut down
            else:
                self._threads.submit(going_on.run, then, prepared)

        def decode(prepared: Future[Sequence[PreparedSample]]) -> None:
            if prepared.cancelled():
                return
            try:
                with self._metrics.stage("decode"):
                    samples = read()
                self._batcher.submit(samples, prepared, here=True)
            except BaseException as error:
                if prepared.set_running_or_notify_cancel():
                    prepared.set_exception(error)
                then(prepared)
                del prepared  # the error's traceback holds this frame
                return
            if prepared.done():
                then(prepared)
            else:
                prepared.add_done_callback(hand_over)

        self._threads.submit(decoding.run, decode, prepared)
        return prepared

    def _counted(self, answer: T) -> T:
        if isinstance(answer, Decision | Identification | Enrollment):
            self._metrics.outcomes.labels(CURRENT.get().name, answer.outcome.value).inc()
        return answer

    async def _on_thread(self, stage: str, function: Callable[[], T]) -> T:
        def timed() -> T:
            with self._metrics.stage(stage):
                return function()

        # The call that is being answered goes along: its client owns uploads.
        answering = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, answering.run, timed)


def _settle(answer: "Future[T]", function: Callable[[], T]) -> None:
    if answer.set_running_or_notify_cancel():
        try:
            answer.set_result(function())
        except BaseException as error:
            answer.set_exception(error)
            del answer, function  # the error's traceback holds this frame
