"""Who commits: writes that come while another is on its way to the disk share the next sync."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Generic, TypeVar

W = TypeVar("W")


class _Place(Generic[W]):
    # A write that waits, and the thread that brought it.

    __slots__ = ("done", "turn", "write")

    def __init__(self, write: W) -> None:
        self.write = write
        self.done = False
        self.turn = Lock()  # its thread's, which waits for it; let go when the write is done, or the thread may lead
        self.turn.acquire()

    def wake(self) -> None:
        with suppress(RuntimeError):  # it was woken already, and is not yet up
            self.turn.release()


class GroupCommit(Generic[W]):
    """Brings the writes of many threads to the disk, in the order in which they come, one group after another.

    The first thread to come leads: it commits its own write. Whatever comes meanwhile is the next group, and the first
    of them leads it. So a lone writer waits for nobody, and N threads that write all the time need about two syncs for
    N writes.

    Parameters
    ----------
    commit : callable
        Commits a group, one at a time. It tells each write how it went, also where it raises: what it raises, only the
        thread that leads gets.
    follow : callable
        Does what follows the commit of a group, before the next group is begun.
    """

    def __init__(self, commit: Callable[[Sequence[W]], None], follow: Callable[[Sequence[W]], None]) -> None:
        self._commit = commit
        self._follow = follow
        self._lead = Lock()  # who holds it commits, and does what follows
        self._waiting: deque[_Place[W]] = deque()

    def submit(self, write: W) -> None:
        """Return when the write has been through ``commit`` and ``follow``.

        A thread that is interrupted while it waits takes its write back, unless that is on its way already.
        """
        place = _Place(write)
        self._waiting.append(place)
        try:
            while not place.done:
                if self._lead.acquire(blocking=False):
                    self._lead_group()
                else:
                    place.turn.acquire()
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

    def _lead_group(self) -> None:
        # Called with the lead. What follows is not left for the time of the next commit: two threads that compute at
        # once take the interpreter from each other at every statement, which costs more than the disk's time saves.
        group: list[_Place[W]] = []
        try:
            while self._waiting:
                group.append(self._waiting.popleft())
            if group:  # else another leader took this thread's write along
                writes = [place.write for place in group]
                self._commit(writes)
                self._follow(writes)
        finally:
            for place in group:
                place.done = True
            for place in group:
                place.wake()
            self._lead.release()
            self._wake_next()

    def _wake_next(self) -> None:
        # After giving up the lead, so that nobody who failed to get it meanwhile is left asleep.
        with suppress(IndexError):
            self._waiting[0].wake()
