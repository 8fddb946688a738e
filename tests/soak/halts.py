"""How often this process was stopped and went on (SIGSTOP, SIGCONT): what ran meanwhile has no times to judge."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

#: A thread may run a moment before the main thread is told that the process goes on, seconds.
_TOLD_WITHIN_S: Final = 0.2


class Halts:
    """A count, made by :func:`counted` in the main thread and asked from any.

    A long test that may be stopped asks :meth:`none_during` before it calls something a failure. Nothing else is
    forgiven: a busy machine, a lock that is held for seconds or a driver that hangs send no SIGCONT.
    """

    def __init__(self) -> None:
        self.count = 0

    def none_during(self, act: Callable[[], str]) -> str:
        """Return what an act says was wrong with it, "" where nothing; one that was halted and failed is done again."""
        while True:
            before = self.count
            what = act()
            if not what:
                return ""
            time.sleep(_TOLD_WITHIN_S)
            if self.count == before:
                return what

    def _went_on(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


@contextmanager
def counted() -> Iterator[Halts]:
    """Yield a count of halts from now on."""
    halts = Halts()
    before = signal.signal(signal.SIGCONT, halts._went_on)
    try:
        yield halts
    finally:
        signal.signal(signal.SIGCONT, before)
