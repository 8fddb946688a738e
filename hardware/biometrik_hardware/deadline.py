"""When an operation has to end, and who may end it before."""

import threading
import time
from collections.abc import Callable
from enum import Enum


class Interruption(Enum):
    """Why an operation was ended before its deadline."""

    CANCELLED = "CANCELLED"
    CLOSED = "CLOSED"
    LEASE_LOST = "LEASE_LOST"


class Deadline:
    """The end of one operation on the monotonic clock; it can be brought forward by an interruption.

    A driver's hook waits with :meth:`wait`, which ends at once when the operation is interrupted, and looks at
    :attr:`over` between blocking calls that it bounds by :attr:`remaining_s`. Thread-safe.

    Parameters
    ----------
    timeout_s : float
        Seconds from now.
    of_lease : bool
        Whether it is a lease that ends then.

    Examples
    --------
    >>> deadline = Deadline(60.0)
    >>> deadline.over
    False
    >>> deadline.interrupt(Interruption.CANCELLED)
    >>> deadline.over, deadline.remaining_s
    (True, 0.0)
    """

    def __init__(self, timeout_s: float, *, of_lease: bool = False) -> None:
        self.timeout_s = timeout_s
        self.of_lease = of_lease
        self._at = time.monotonic() + timeout_s
        self._changed = threading.Condition()
        self._interruption: Interruption | None = None

    @property
    def remaining_s(self) -> float:
        """Seconds that are left, 0 when it is over."""
        return 0.0 if self._interruption is not None else max(0.0, self._at - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the operation should end now."""
        return self.remaining_s <= 0.0

    @property
    def interruption(self) -> Interruption | None:
        """Why it ended early; None where it did not."""
        return self._interruption

    def wait(self, seconds: float) -> bool:
        """Sleep for so long, or until it is over; return whether time is left."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self.over and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(left, self.remaining_s))
        return not self.over

    def wait_for(self, condition: Callable[[], bool], grace_s: float = 0.0) -> bool:
        """Wait until a condition holds, looked at after each :meth:`notify`; return whether it does.

        Parameters
        ----------
        condition : callable
            Looked at under this deadline's lock.
        grace_s : float
            Seconds to wait beyond the deadline, or beyond an interruption.
        """
        given_up_at: float | None = None
        with self._changed:
            while not condition():
                now = time.monotonic()
                if given_up_at is None and self.over:
                    given_up_at = now + grace_s
                if given_up_at is not None and now >= given_up_at:
                    return False
                self._changed.wait(self.remaining_s if given_up_at is None else given_up_at - now)
        return True

    def notify(self) -> None:
        """Have those who wait look at their condition."""
        with self._changed:
            self._changed.notify_all()

    def interrupt(self, why: Interruption) -> None:
        """End the operation now; the first cause counts."""
        with self._changed:
            self._interruption = self._interruption or why
            self._changed.notify_all()
