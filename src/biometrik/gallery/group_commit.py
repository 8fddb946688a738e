"""Who commits: writes that come while another is on its way to the disk share the next sync."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Lock
from typing import Generic, TypeVar

W = TypeVar("W")


class _Place(Generic[W]):
    # A write that waits, and the thread that brought it.

    __slots__ = ("done", "turn", "write")

    def __init__(self, write: W) -> None:
        self.write = write
        self.done = False
        self.turn = Event()  # set when it is done, or when its thread may lead


class GroupCommit(Generic[W]):
    """Brings the writes of many threads to the disk, in the order in which they come, one group after another.

    The first thread to come leads: it commits its own write. Whatever comes meanwhile is the next group, and the first
    of them leads it. So a lone writer waits for nobody, and N threads that write all the time need about two syncs for
    N writes.

    Parameters
    ----------
    commit : callable
        Commits a group. It tells each write how it went, also where it raises: what it raises, only the thread that
        leads gets.
    """

    def __init__(self, commit: Callable[[Sequence[W]], None]) -> None:
        self._commit = commit
        self._lead = Lock()  # who holds it leads
        self._waiting: deque[_Place[W]] = deque()

    def submit(self, write: W) -> None:
        """Return when the write has been through ``commit``.

        A thread that is interrupted while it waits takes its write back, unless that is on its way already.
        """
        place = _Place(write)
        self._waiting.append(place)
        try:
            while not place.done:
                if self._lead.acquire(blocking=False):
                    try:
                        self._commit_waiting()
                    finally:
                        self._lead.release()
                        self._wake_next()
                else:
                    place.turn.wait()
                    place.turn.clear()
        except BaseException:
            with suppress(ValueError):
                self._waiting.remove(place)
            self._wake_next()  # it may have been this thread's turn to lead
            raise

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no group is under way, and let none begin meanwhile."""
        try:
            with self._lead:
                yield
        finally:
            self._wake_next()

    def _commit_waiting(self) -> None:
        group: list[_Place[W]] = []
        try:
            while self._waiting:
                group.append(self._waiting.popleft())
            if group:  # else another leader took this thread's write along
                self._commit([place.write for place in group])
        finally:
            for place in group:
                place.done = True
                place.turn.set()

    def _wake_next(self) -> None:
        # After giving up the lead, so that nobody who failed to get it meanwhile is left asleep.
        with suppress(IndexError):
            self._waiting[0].turn.set()
