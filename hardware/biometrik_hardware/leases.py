"""Who has a device: an exclusive lease that runs out, can be renewed, and can be taken over with a right.

Leases hold within one process, the station's; against other processes the operating system's own exclusion counts.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from biometrik.errors import InvalidInputError
from biometrik_hardware.errors import DeviceBusyError, LeaseLostError


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use one device, alone and for a while.

    Parameters
    ----------
    device_id : str
        Which device.
    holder : str
        Who, in the caller's own words: a station, a session; no person's name.
    expires_at : float
        On the monotonic clock, seconds.
    token : str
        Proves it; a secret of the holder.
    """

    device_id: str
    holder: str
    expires_at: float
    token: str


@dataclass(frozen=True, slots=True)
class TakeoverRight:
    """The right to take a lease over, as the caller's authorisation gave it; kept in the audit event.

    Parameters
    ----------
    granted_to : str
        Who takes it over, the caller's own reference; 1 to 128 printable characters.
    reason : str
        Why; 1 to 128 printable characters.

    Raises
    ------
    InvalidInputError
        One of them is empty, too long or not printable.
    """

    granted_to: str
    reason: str

    def __post_init__(self) -> None:
        for name in ("granted_to", "reason"):
            _check_reference(name, getattr(self, name))


class LeaseBook:
    """The lease of one device. Thread-safe.

    Parameters
    ----------
    device_id : str
        Whose.
    clock : callable
        Seconds, monotonic; a test passes its own.

    Examples
    --------
    >>> book = LeaseBook("virtual:a")
    >>> lease = book.grant("counter 3", 30.0)
    >>> book.grant("counter 4", 30.0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    biometrik_hardware.errors.DeviceBusyError: virtual:a: expected a device that is free, got one that ...
    """

    def __init__(self, device_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._device_id = device_id
        self._clock = clock
        self._lock = threading.Lock()
        self._current: Lease | None = None

    @property
    def holder(self) -> str:
        """Who has the device; "" where nobody has."""
        with self._lock:
            lease = self._valid()
            return lease.holder if lease is not None else ""

    def grant(self, holder: str, ttl_s: float) -> Lease:
        """Give the lease to somebody.

        Raises
        ------
        DeviceBusyError
            Somebody has it.
        InvalidInputError
            No holder, or a time that is not positive.
        """
        with self._lock:
            if (lease := self._valid()) is not None:
                raise self._busy(lease)
            return self._give(holder, ttl_s)

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Return the same lease with a later end, counted from now.

        Raises
        ------
        LeaseLostError
            It ran out, was released or was taken over: ask for a new one.
        """
        with self._lock:
            self._require(lease)
            self._current = replace(lease, expires_at=self._clock() + _positive(ttl_s))
            return self._current

    def release(self, lease: Lease) -> bool:
        """Give the lease back; return whether it was still held."""
        with self._lock:
            held = self._valid()
            if held is None or held.token != lease.token:
                return False
            self._current = None
            return True

    def take_over(self, holder: str, ttl_s: float) -> tuple[Lease, str]:
        """Give the lease to somebody, whoever has it; return it and who had it ("" for nobody)."""
        with self._lock:
            before = self._valid()
            return self._give(holder, ttl_s), before.holder if before is not None else ""

    def check(self, lease: Lease | None) -> float | None:
        """Return how many seconds the lease is good for, None where nobody needs one.

        Raises
        ------
        DeviceBusyError
            Somebody has the device and ``lease`` is None.
        LeaseLostError
            ``lease`` is not, or no longer, the one that counts.
        """
        with self._lock:
            if lease is None:
                if (held := self._valid()) is not None:
                    raise self._busy(held)
                return None
            return self._require(lease).expires_at - self._clock()

    def _valid(self) -> Lease | None:
        if self._current is not None and self._current.expires_at <= self._clock():
            self._current = None
        return self._current

    def _require(self, lease: Lease) -> Lease:
        held = self._valid()
        if held is None or held.token != lease.token:
            raise LeaseLostError(
                f"{self._device_id}: expected a lease in force, got one that ran out or was taken over; ask again"
            )
        return held

    def _give(self, holder: str, ttl_s: float) -> Lease:
        _check_reference("holder", holder)
        until = self._clock() + _positive(ttl_s)
        self._current = Lease(self._device_id, holder, until, secrets.token_hex(16))
        return self._current

    def _busy(self, held: Lease) -> DeviceBusyError:
        left = held.expires_at - self._clock()
        return DeviceBusyError(
            f"{self._device_id}: expected a device that is free, got one that {held.holder!r} holds for {left:.0f} s "
            "more; wait, or take it over"
        )


def _positive(ttl_s: float) -> float:
    if not 0.0 < ttl_s <= 86_400.0:
        raise InvalidInputError(f"ttl_s: expected more than 0 and at most 86400 seconds, got {ttl_s}")
    return ttl_s


def _check_reference(name: str, value: str) -> None:
    if not 1 <= len(value) <= 128 or not value.isprintable():
        raise InvalidInputError(f"{name}: expected 1 to 128 printable characters, got {len(value)}")
