"""What scanners and cameras share: state, lease, deadlines, events, and errors in the house's words.

The base class owns the public calls, which are final; a driver writes ``discover`` and the hooks ``_open``, ``_close``
and the one of its kind. All hooks of a device run in one thread of its own (:mod:`biometrik_hardware.worker`), so a
call ends by its deadline + 0.2 s whatever the hook does.
"""

import abc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar, final

from biometrik.errors import InvalidInputError
from biometrik_hardware import failures
from biometrik_hardware.deadline import Deadline, Interruption
from biometrik_hardware.errors import (
    CaptureTimeoutError,
    DeviceBusyError,
    DeviceError,
    DeviceGoneError,
    DeviceNotOpenError,
    DeviceProtocolError,
)
from biometrik_hardware.events import DeviceEvent, DeviceInfo, DeviceKind, DeviceState, EventKind
from biometrik_hardware.leases import Lease, LeaseBook, TakeoverRight
from biometrik_hardware.worker import StuckError, Worker

T = TypeVar("T")
Listener = Callable[[DeviceEvent], None]


class Tape(Protocol):
    """Takes what a device gives, with its time; :class:`biometrik_hardware.recording.Recorder` is one."""

    def took(self, outcome: object, seconds: float) -> None:
        """Receive an image, a frame, a Retry or a DeviceError, and how long it took; or a DeviceEvent, and 0."""


_log = logging.getLogger(__name__)

#: Longest time-out of one operation, seconds.
MAX_TIMEOUT_S: Final = 3600.0
#: How long closing is waited for, seconds.
_CLOSE_S: Final = 1.0
#: How long the thread is waited for when nothing runs in it any more, seconds.
_STOP_S: Final = 0.2


class Device(abc.ABC):
    """A scanner or camera; open inside its ``with`` block. Thread-safe: one operation runs at a time.

    Parameters
    ----------
    info : DeviceInfo
        From ``discover``, or made by :meth:`at` for what cannot be discovered.
    clock : callable
        Of the leases, seconds, monotonic; a test passes its own.
    """

    driver: ClassVar[str]
    kind: ClassVar[DeviceKind]

    def __init__(self, info: DeviceInfo, *, clock: Callable[[], float] = time.monotonic) -> None:
        if info.driver != self.driver:
            raise InvalidInputError(f"info: expected a device of driver {self.driver}, got one of {info.driver}")
        self.info = info
        self._lock = threading.RLock()
        self._state = DeviceState.CLOSED
        self._worker: Worker | None = None
        self._stuck: Worker | None = None
        self._running: Deadline | None = None
        self._leases = LeaseBook(info.id, clock)
        self._listeners: list[Listener] = []
        self._tape: Tape | None = None

    # -- what a driver writes

    @classmethod
    @abc.abstractmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        """Yield what is plugged in now, without opening or disturbing it; nothing where that cannot be known."""

    @classmethod
    def described(cls, path: str) -> DeviceInfo:
        """Return what is known of a device that is named by hand; a driver overrides it to say more."""
        return DeviceInfo(cls.driver, path, cls.kind)

    @abc.abstractmethod
    def _open(self, deadline: Deadline) -> None:
        """Connect; raise OSError or a DeviceError. ``_close`` is called where it raises."""

    @abc.abstractmethod
    def _close(self) -> None:
        """Let go of everything; also called when the device is gone or ``_open`` failed, perhaps twice."""

    # -- what an application calls

    @final
    @classmethod
    def at(cls, path: str, **options: Any) -> Self:
        """Return the device at a path; options are the driver's own keyword arguments."""
        return cls(cls.described(path), **options)

    @final
    @property
    def state(self) -> DeviceState:
        """What the device is doing."""
        return self._state

    @final
    @property
    def holder(self) -> str:
        """Who has the lease; "" where nobody has."""
        return self._leases.holder

    @final
    def open(self, *, timeout_s: float = 5.0, lease: Lease | None = None) -> None:
        """Connect to the device; nothing happens where it is open.

        Parameters
        ----------
        timeout_s : float
            Seconds, more than 0.
        lease : Lease or None
            Needed while somebody holds one.

        Raises
        ------
        DeviceNotFoundError
            Nothing is plugged in at its path.
        DeviceAccessError
            The operating system refuses it to this user.
        DeviceBusyError
            Somebody else has it, or it hangs in an earlier call.
        DeviceError
            It did not answer in time, or not as its protocol demands.
        """
        with self._lock:
            if self._state in (DeviceState.READY, DeviceState.CAPTURING):
                self._leases.check(lease)
                return
            if self._state is DeviceState.OPENING:
                raise DeviceBusyError(f"{self.info.id}: expected a closed device, got one that is being opened")
            if self._stuck is not None and self._stuck.alive:
                raise DeviceBusyError(
                    f"{self.info.id}: expected a device at rest, got one that hangs in an earlier call; unplug it"
                )
            deadline = self._deadline(timeout_s, lease)
            self._state, self._running = DeviceState.OPENING, deadline
            self._worker = worker = Worker(f"biometrik {self.info.id}", self._close_quietly)
        try:
            with self._in_our_words(deadline, worker, opening=True):
                worker.run(lambda: self._open(deadline), deadline)
                if deadline.interruption is not None:
                    raise TimeoutError
        except DeviceError:
            self._shut(DeviceState.CLOSED)
            raise
        with self._lock:
            self._state, self._running = DeviceState.READY, None
        self._opened(worker)
        self._tell(EventKind.OPENED)

    @final
    def close(self) -> None:
        """End what runs and disconnect; nothing happens where it is closed. Ends within 1.2 s."""
        with self._lock:
            if self._state is DeviceState.CLOSED:
                return
            if self._running is not None:
                self._running.interrupt(Interruption.CLOSED)
        if self._shut(DeviceState.CLOSED):
            self._tell(EventKind.CLOSED)

    @final
    def cancel(self) -> None:
        """End the operation that runs, if any: it raises CaptureCancelledError. From any thread."""
        with self._lock:
            if self._running is not None:
                self._running.interrupt(Interruption.CANCELLED)

    @final
    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have a listener told every event, in the thread where it happens; return what ends it."""
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock, suppress(ValueError):
                self._listeners.remove(listener)

        return end

    @final
    def record(self, tape: Tape | None) -> None:
        """Hand what the device gives, and its events, to a tape from now on; None ends it. It is biometric data."""
        self._tape = tape

    @final
    def lease(self, holder: str, ttl_s: float) -> Lease:
        """Give the device to somebody alone, for so many seconds; every call then needs the lease.

        Raises
        ------
        DeviceBusyError
            Somebody has it.
        """
        lease = self._leases.grant(holder, ttl_s)
        self._tell(EventKind.LEASE_GRANTED, holder)
        return lease

    @final
    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Return the lease with a later end, counted from now.

        Raises
        ------
        LeaseLostError
            It ran out, was released or was taken over.
        """
        renewed = self._leases.renew(lease, ttl_s)
        self._tell(EventKind.LEASE_RENEWED, lease.holder)
        return renewed

    @final
    def release(self, lease: Lease) -> None:
        """Give the lease back; nothing happens where it is no longer held."""
        if self._leases.release(lease):
            self._tell(EventKind.LEASE_RELEASED, lease.holder)

    @final
    def take_over(self, holder: str, ttl_s: float, right: TakeoverRight) -> Lease:
        """Give the device to somebody although another has it; what runs is ended, and who and why is told.

        Parameters
        ----------
        holder : str
            Who has it from now on.
        ttl_s : float
            For so many seconds.
        right : TakeoverRight
            Who may, and why; part of the event LEASE_TAKEN_OVER.
        """
        lease, before = self._leases.take_over(holder, ttl_s)
        with self._lock:
            if self._running is not None:
                self._running.interrupt(Interruption.LEASE_LOST)
        self._tell(EventKind.LEASE_TAKEN_OVER, f"{before!r} -> {holder!r} by {right.granted_to!r}: {right.reason}")
        return lease

    @final
    def __enter__(self) -> Self:
        self.open()
        return self

    @final
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- for the base classes of each kind

    def _opened(self, worker: Worker) -> None:  # noqa: B027  (only some kinds need it)
        """Do what a kind of device does once it is open."""

    def _closing(self) -> None:  # noqa: B027
        """Do what a kind of device does before it is closed; in any thread, while a hook may run."""

    def _has_ended(self) -> bool:
        """Return whether nothing more will come until it is opened anew; asked after an operation that failed."""
        return False

    @contextmanager
    def _operation(self, timeout_s: float, lease: Lease | None) -> Iterator[tuple[Deadline, Worker]]:
        # One operation: takes the device, gives it a deadline, turns every error into one of ours.
        with self._lock:
            deadline = self._deadline(timeout_s, lease)
            if self._state is DeviceState.GONE:
                raise DeviceGoneError(
                    f"{self.info.id}: expected a device that answers, got none; plug it in and open it"
                )
            if self._state is DeviceState.CLOSED or self._worker is None:
                raise DeviceNotOpenError(
                    f"{self.info.id}: expected an open device, got a closed one; use open() or with"
                )
            if self._state is not DeviceState.READY:
                raise DeviceBusyError(f"{self.info.id}: expected a device at rest, got one in the middle of something")
            self._state, self._running, worker = DeviceState.CAPTURING, deadline, self._worker
        began = time.monotonic()
        try:
            with self._in_our_words(deadline, worker):
                yield deadline, worker
        except DeviceError as error:
            self._tell(EventKind.CAPTURE_FAILED, error.reason)
            self._taped(error, time.monotonic() - began)
            is_gone = isinstance(error, DeviceGoneError) or worker is self._stuck or self._has_ended()
            if is_gone and self._shut(DeviceState.GONE):
                self._tell(EventKind.GONE)
            raise
        finally:
            deadline.interrupt(Interruption.CANCELLED)  # after Ctrl-C the hook still runs
            with self._lock:
                if self._running is deadline:
                    self._running = None
                if self._state is DeviceState.CAPTURING:
                    self._state = DeviceState.READY

    def _tell(self, kind: EventKind, detail: str = "") -> None:
        event = DeviceEvent(kind, self.info.id, detail)
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in (*listeners, self._tape_event):
            try:
                listener(event)
            except Exception:
                _log.exception("%s: a listener failed on %s", self.info.id, kind.value)

    def _tape_event(self, event: DeviceEvent) -> None:
        self._taped(event, 0.0)

    def _taped(self, outcome: object, seconds: float) -> None:
        if (tape := self._tape) is not None:
            tape.took(outcome, seconds)

    # -- inside

    def _deadline(self, timeout_s: float, lease: Lease | None) -> Deadline:
        if not 0.0 < timeout_s <= MAX_TIMEOUT_S:
            raise InvalidInputError(f"timeout_s: expected more than 0 and at most {MAX_TIMEOUT_S}, got {timeout_s}")
        leased_s = self._leases.check(lease)
        if leased_s is None or leased_s > timeout_s:
            return Deadline(timeout_s)
        return Deadline(leased_s, of_lease=True)

    @contextmanager
    def _in_our_words(self, deadline: Deadline, worker: Worker, *, opening: bool = False) -> Iterator[None]:
        name = self.info.id
        try:
            yield
        except StuckError:
            self._stuck = worker
            if deadline.interruption is not None:
                raise failures.of_deadline(name, deadline) from None
            raise DeviceGoneError(
                f"{name}: expected an answer within {deadline.timeout_s:g} s, got a driver that hangs; unplug it"
            ) from None
        except DeviceError as error:
            if isinstance(error, CaptureTimeoutError) or deadline.interruption is not None:
                raise failures.of_deadline(name, deadline) from error
            raise
        except TimeoutError as error:
            raise failures.of_deadline(name, deadline) from error
        except OSError as error:
            if deadline.interruption is not None:
                raise failures.of_deadline(name, deadline) from error
            raise failures.of_system(name, error, opening=opening) from error
        except Exception as error:
            if deadline.interruption is not None:
                raise failures.of_deadline(name, deadline) from error
            what = type(error).__name__
            raise DeviceProtocolError(
                f"{name}: expected an answer in its protocol, got one that fails ({what})"
            ) from error

    def _shut(self, state: DeviceState) -> bool:
        # Whoever comes first closes; True for him.
        with self._lock:
            worker, self._worker = self._worker, None
            was_stuck = worker is not None and worker is self._stuck
            before, self._state, self._running = self._state, state, None
        if worker is None:
            return before is not state
        self._closing()
        if not was_stuck:
            try:
                worker.run(self._close_quietly, Deadline(_CLOSE_S))
            except StuckError:
                self._stuck = worker
            else:
                worker.stop(_STOP_S)
        return True

    def _close_quietly(self) -> None:
        try:
            self._close()
        except Exception:
            _log.warning("%s: closing failed", self.info.id, exc_info=True)
