"""The devices of a station: which there are, who has which, and what happens to them. Thread-safe; calls block."""

import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, Self

from biometrik.errors import InvalidInputError
from biometrik_hardware.device import Device
from biometrik_hardware.errors import DeviceBusyError, DeviceNotFoundError, LeaseLostError
from biometrik_hardware.events import DeviceEvent, DeviceInfo, DeviceKind, DeviceState
from biometrik_hardware.inventory import Inventory, device, driver
from biometrik_hardware.leases import Lease, TakeoverRight
from biometrik_hardware.virtual_bus import (
    BUS,
    Fault,
    VirtualCameraSetup,
    VirtualScannerSetup,
    frames_in,
    prints_in,
)
from biometrik_station.config import KIND_WORDS, DeviceEntry, parse_device_id

Listener = Callable[[str, DeviceEvent], None]

_log = logging.getLogger(__name__)

#: How long opening a device may take, seconds: scanners on a serial line and cameras on the network need some.
_OPEN_S: Final = 5.0
#: How long the end of what runs is waited for after a device was taken over: what a driver may take, and to spare.
_ENDS_S: Final = 0.5
#: Virtual devices of a station read what they show only when they are plugged in.
_VIRTUAL: Final = "virtual"


@dataclass(frozen=True, slots=True)
class Listed:
    """A device as the station lists it.

    Parameters
    ----------
    device_id : str
        On this station.
    info : DeviceInfo
        What is known of it.
    holder : str
        Who has it; "" where nobody has.
    """

    device_id: str
    info: DeviceInfo
    holder: str


@dataclass(slots=True, eq=False)
class _Slot:
    # A device that somebody has or had, and his lease.
    device: Device
    lease: Lease | None = None
    attempt_of: str = ""  # token of the lease under which an attempt runs
    lock: threading.Lock = field(default_factory=threading.Lock)
    opening: threading.Lock = field(default_factory=threading.Lock)  # held for seconds: never on the event loop


class Rack:
    """All devices of a station; use it as a context manager.

    Parameters
    ----------
    named : sequence of DeviceEntry
        Devices that the configuration names.
    discover : bool
        Whether those that are plugged in are found by themselves; always done for virtual ones that are named.
    """

    def __init__(self, named: Sequence[DeviceEntry], *, discover: bool) -> None:
        self._named = {entry.id: entry for entry in named}
        self._inventory = Inventory(self._came_or_went) if discover else None
        self._kinds: dict[str, DeviceKind] = {}
        self._slots: dict[str, _Slot] = {}
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        for entry in self._named.values():
            kind, name, path = parse_device_id(entry.id)
            if entry.shows is not None and name == _VIRTUAL:
                BUS.plug(path, _setup(kind, entry))
        if self._inventory is not None:
            self._inventory.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._inventory is not None:
            self._inventory.__exit__(kind, error, trace)
        for slot in tuple(self._slots.values()):
            slot.device.close()
        for entry in self._named.values():
            if entry.shows is not None:
                BUS.unplug(parse_device_id(entry.id)[2])

    def listed(self) -> list[Listed]:
        """Return what can be used now, in the order of the ids."""
        found = {_id(info): info for info in (self._inventory.present if self._inventory else ())}
        for device_id in self._named.keys() - found.keys():
            kind, name, path = parse_device_id(device_id)
            with suppress(DeviceNotFoundError):
                found[device_id] = driver(kind, name).described(path)
        return [Listed(device_id, info, self._holder(device_id)) for device_id, info in sorted(found.items())]

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have a listener told what happens to which device, in any thread; return what ends it."""
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock, suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def acquire(self, device_id: str, holder: str, ttl_s: float) -> Lease:
        """Open a device and give it to somebody alone.

        Raises
        ------
        DeviceNotFoundError
            It is not listed.
        DeviceError
            Somebody has it, or it cannot be opened; see :meth:`Device.open`.
        InvalidInputError
            Not a device's id, or no holder.
        """
        slot = self._slot_of_listed(device_id)
        with slot.lock:
            slot.lease = lease = slot.device.lease(holder, ttl_s)
        return self._opened(slot, lease)

    def take_over(self, device_id: str, holder: str, ttl_s: float, right: TakeoverRight) -> Lease:
        """Open a device and give it to somebody although another has it; what runs ends with LeaseLostError.

        Parameters
        ----------
        device_id : str
            Which.
        holder : str
            Who has it from now on.
        ttl_s : float
            For so many seconds.
        right : TakeoverRight
            Who may, and why; told to listeners, and logged.

        Raises
        ------
        DeviceNotFoundError
            It is not listed.
        DeviceError
            It cannot be opened; see :meth:`Device.open`.
        InvalidInputError
            Not a device's id, or no holder.
        """
        slot = self._slot_of_listed(device_id)
        with slot.lock:
            slot.lease = lease = slot.device.take_over(holder, ttl_s, right)
        fields = {"device": device_id, "by": right.granted_to, "reason": right.reason}
        _log.warning("lease taken over", extra={"fields": fields})
        until = time.monotonic() + _ENDS_S
        while slot.device.state is DeviceState.CAPTURING and time.monotonic() < until:
            time.sleep(0.01)
        return self._opened(slot, lease)

    def renew(self, device_id: str, token: str, ttl_s: float) -> Lease:
        """Return a lease with a later end; raises LeaseLostError."""
        slot, lease = self._held(device_id, token)
        with slot.lock:
            slot.lease = renewed = slot.device.renew(lease, ttl_s)
        return renewed

    def release(self, device_id: str, token: str) -> None:
        """Give a device back and close it; nothing happens where the lease is no longer held."""
        with suppress(LeaseLostError):
            slot, lease = self._held(device_id, token)
            slot.device.close()
            slot.device.release(lease)

    @contextmanager
    def use(self, device_id: str, token: str) -> Iterator[tuple[Device, Callable[[], Lease]]]:
        """Have a device for one attempt, with what returns its lease as it stands; whatever runs at the end is ended.

        Raises
        ------
        LeaseLostError
            The token is not that of the lease in force.
        DeviceBusyError
            An attempt runs.
        """
        slot, _ = self._held(device_id, token)
        with slot.lock:
            if slot.attempt_of == token:
                raise DeviceBusyError(
                    f"{device_id}: expected a device at rest, got one with an attempt; end that first"
                )
            slot.attempt_of = token
        try:
            yield slot.device, lambda: self._held(device_id, token)[1]
        finally:
            with slot.lock:
                if slot.attempt_of == token:  # otherwise the device was taken over, and another's attempt runs
                    slot.attempt_of = ""
                    slot.device.cancel()

    def script(self, device_id: str, faults: Sequence[Fault]) -> None:
        """Say what goes wrong with a virtual device from now on, and plug its cable in.

        Raises
        ------
        DeviceNotFoundError
            There is none of this name.
        InvalidInputError
            It is not virtual.
        """
        _, name, path = parse_device_id(device_id)
        if name != _VIRTUAL:
            raise InvalidInputError(f"device_id: expected a virtual device, got one of the driver {name}")
        BUS.script(path, faults)
        BUS.replug(path)

    def close_idle(self) -> None:
        """Close devices whose lease has run out, so that others can have them."""
        for slot in tuple(self._slots.values()):
            with slot.opening:
                if not slot.device.holder:
                    slot.device.close()

    # --- inside

    def _slot_of_listed(self, device_id: str) -> _Slot:
        parse_device_id(device_id)
        if device_id not in {listed.device_id for listed in self.listed()}:
            raise DeviceNotFoundError(f"{device_id}: expected a device of this station, got none; list the devices")
        return self._slot(device_id)

    @staticmethod
    def _opened(slot: _Slot, lease: Lease) -> Lease:
        try:
            with slot.opening:
                slot.device.open(timeout_s=_OPEN_S, lease=lease)
        except BaseException:
            slot.device.release(lease)
            raise
        return lease

    def _slot(self, device_id: str) -> _Slot:
        kind, name, path = parse_device_id(device_id)
        with self._lock:
            if device_id not in self._slots:
                options = self._named[device_id].options if device_id in self._named else {}
                made = device(kind, f"{name}:{path}", **options)
                made.subscribe(lambda event: self._tell(device_id, event))
                self._slots[device_id] = _Slot(made)
            return self._slots[device_id]

    def _held(self, device_id: str, token: str) -> tuple[_Slot, Lease]:
        slot = self._slots.get(device_id)
        lease = slot.lease if slot is not None else None
        if slot is None or lease is None or not hmac.compare_digest(lease.token.encode(), token.encode()):
            raise LeaseLostError(f"{device_id}: expected a lease in force, got none; acquire the device")
        return slot, lease

    def _holder(self, device_id: str) -> str:
        slot = self._slots.get(device_id)
        return slot.device.holder if slot is not None else ""

    def _came_or_went(self, event: DeviceEvent) -> None:
        if self._inventory is not None:
            self._kinds |= {info.id: info.kind for info in self._inventory.present}
        if (kind := self._kinds.get(event.device_id)) is not None:
            self._tell(f"{KIND_WORDS[kind]}:{event.device_id}", event)

    def _tell(self, device_id: str, event: DeviceEvent) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(device_id, replace(event, device_id=device_id))


def _id(info: DeviceInfo) -> str:
    return f"{KIND_WORDS[info.kind]}:{info.id}"


def _setup(kind: DeviceKind, entry: DeviceEntry) -> VirtualScannerSetup | VirtualCameraSetup:
    assert entry.shows is not None
    try:
        if kind is DeviceKind.CAMERA:
            return VirtualCameraSetup(frames_in(entry.shows), fps=entry.fps)
        return VirtualScannerSetup(prints_in(entry.shows), approach_s=entry.approach_s)
    except OSError as error:
        raise InvalidInputError(f"{entry.id}: expected a folder that it shows, got {error.strerror}") from None
