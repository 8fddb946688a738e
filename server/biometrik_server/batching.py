"""Whatever is queued runs together: concurrent requests share one model run, a lone one never waits."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

from biometrik.errors import ServiceUnavailableError
from biometrik_server.priorities import give_way

T = TypeVar("T")
R = TypeVar("R")

#: What :class:`Batcher` tells of each run: items in it, and seconds that its oldest job waited.
Observer = Callable[[int, float], None]


class Batcher(Generic[T, R]):
    """Runs a function over the items of several callers at once.

    No timer: threads of its own take what is there when there is room for another run. A job whose future was
    cancelled before its run began is dropped, not computed.

    Parameters
    ----------
    run : callable
        Takes a sequence of items, returns as many results in the same order.
    max_items : int
        Most items of one run; a single job that is longer runs alone.
    clock : callable
        Monotonic seconds.
    observe : callable, optional
        Told of each run.
    runs : int
        Most runs at once. A run has parts that use one core: with two, what is left of the cores is another's.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]],
        *,
        max_items: int,
        clock: Callable[[], float],
        observe: Observer | None = None,
        runs: int = 1,
    ) -> None:
        self._run = run
        self._max_items: Final = max_items
        self._clock = clock
        self._observe = observe
        self._jobs: deque[_Job[T, R]] = deque()
        self._changed = threading.Condition()
        self._running = 0
        self._runs: Final = runs
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=f"batcher-{k}", daemon=True) for k in range(runs)]
        for thread in self._threads:
            thread.start()

    def submit(
        self, items: Sequence[T], answer: "Future[Sequence[R]] | None" = None, *, here: bool = False
    ) -> "Future[Sequence[R]]":
        """Queue items that belong together; the future gets their results, or what the function raised.

        Parameters
        ----------
        items : sequence
            What the function takes.
        answer : Future, optional
            The future to use, where somebody waits for it already.
        here : bool
            Where no run is going on, run these items on the calling thread: to wake another one costs a lone caller
            some tenths of a millisecond. The future is then done on return.

        Raises
        ------
        ServiceUnavailableError
            The batcher is closed.
        """
        job: _Job[T, R] = _Job(items, self._clock(), answer or Future())
        with self._changed:
            if self._closed:
                raise ServiceUnavailableError("service: stopping; ask another or try again later")
            if not here or self._running or self._jobs:
                self._jobs.append(job)
                self._changed.notify()
                return job.future
            self._running += 1
        if job.future.set_running_or_notify_cancel():
            self._perform([job])
        self._ran()
        return job.future

    def close(self) -> None:
        """Finish what is queued, then end the thread. Closing twice is fine."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        give_way()
        while jobs := self._next():
            self._perform(jobs)
            jobs = []  # nobody's samples are kept while it waits for the next ones
            self._ran()

    def _perform(self, jobs: "Sequence[_Job[T, R]]") -> None:
        if self._observe is not None:
            self._observe(sum(len(job.items) for job in jobs), self._clock() - jobs[0].queued_at)
        self._settle(jobs)

    def _ran(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify()

    def _next(self) -> "list[_Job[T, R]]":
        # The jobs of the next run, which begins with this; empty when closed and done.
        with self._changed:
            taken: list[_Job[T, R]] = []
            room = self._max_items
            while not taken:
                self._changed.wait_for(lambda: self._running < self._runs and (self._jobs or self._closed))
                if not self._jobs:
                    return []
                while self._jobs and (not taken or len(self._jobs[0].items) <= room):
                    job = self._jobs.popleft()
                    if job.future.set_running_or_notify_cancel():
                        taken.append(job)
                        room -= len(job.items)
            self._running += 1
            return taken

    def _settle(self, jobs: "Sequence[_Job[T, R]]") -> None:
        try:
            items = [item for job in jobs for item in job.items]
            results = self._run(items)
            if len(results) != len(items):
                raise RuntimeError(f"batch: expected {len(items)} results, got {len(results)}")
        except Exception as error:
            if len(jobs) > 1:  # one bad job must not fail its neighbours
                for job in jobs:
                    self._settle([job])
            else:
                jobs[0].future.set_exception(error)
            return
        start = 0
        for job in jobs:
            job.future.set_result(results[start : start + len(job.items)])
            start += len(job.items)


class _Job(Generic[T, R]):
    def __init__(self, items: Sequence[T], queued_at: float, future: "Future[Sequence[R]]") -> None:
        self.items = items
        self.queued_at = queued_at
        self.future = future
