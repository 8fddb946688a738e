"""One thread in which all hooks of one open device run, so that no hook can hold up the application.

Vendors' libraries often demand that a device is used by the thread that opened it, and some calls (a camera whose
network cable was pulled, a serial port whose kernel driver hangs) cannot be ended from outside. A caller therefore
waits for its deadline and a little grace, then leaves the thread to itself: it is told to close the device as soon as
the hook comes back, and ends.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from biometrik_hardware.deadline import Deadline

T = TypeVar("T")

#: Seconds beyond a deadline for which a hook is waited for: the promise is an end by the deadline + 0.2 s.
GRACE_S: Final = 0.1


class StuckError(Exception):
    """A hook did not come back by its deadline; the worker can no longer be used."""


@dataclass(slots=True, eq=False)
class _Task(Generic[T]):
    call: Callable[[], T]
    deadline: Deadline
    done: bool = False
    results: list[T] = field(default_factory=list)
    error: BaseException | None = None


class Worker:
    """A thread that runs calls one after the other until it is stopped.

    Parameters
    ----------
    name : str
        Of the thread.
    last : callable
        Run in the thread when it ends because a hook was stuck: closes what is still open.
    """

    def __init__(self, name: str, last: Callable[[], None]) -> None:
        self._tasks: queue.SimpleQueue[_Task[object] | Callable[[], None] | None] = queue.SimpleQueue()
        self._last = last
        self._abandoned = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs; after it was stuck, whether it still is."""
        return self._thread.is_alive()

    def run(self, call: Callable[[], T], deadline: Deadline) -> T:
        """Run a call in the thread and return what it returns, or raise what it raises.

        Raises
        ------
        StuckError
            It did not come back by the deadline + 0.1 s. The worker must not be used again.
        """
        task = _Task(call, deadline)
        self._tasks.put(task)  # type: ignore[arg-type]
        if not deadline.wait_for(lambda: task.done, GRACE_S):
            self._abandoned = True
            self._tasks.put(None)
            raise StuckError
        if task.error is not None:
            raise task.error
        return task.results[0]

    def post(self, call: Callable[[], None]) -> None:
        """Run a call that does not raise, without waiting for it."""
        self._tasks.put(call)

    def stop(self, timeout_s: float) -> None:
        """End the thread after what was handed to it, waiting for so long."""
        self._tasks.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _loop(self) -> None:
        while (task := self._tasks.get()) is not None:
            if not isinstance(task, _Task):
                task()
                continue
            try:
                task.results.append(task.call())
            except BaseException as error:
                task.error = error
            task.done = True
            task.deadline.notify()
            del task  # else it would keep a frame or an exception until the next one
        if self._abandoned:
            self._last()
