"""What is plugged into this machine, and what comes and goes: discovery and hot-plug over all drivers."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, cast

from biometrik.errors import InvalidInputError, PluginNotFoundError
from biometrik.registry import Registry
from biometrik_hardware.camera.camera import CAMERAS
from biometrik_hardware.deadline import Deadline
from biometrik_hardware.device import Device, Listener
from biometrik_hardware.events import DeviceEvent, DeviceInfo, DeviceKind, EventKind
from biometrik_hardware.fingerprint.scanner import SCANNERS
from biometrik_hardware.worker import StuckError, Worker

_log = logging.getLogger(__name__)

#: How long one driver may look around, seconds.
_DISCOVERY_S: Final = 2.0

REGISTRIES: Final[Mapping[DeviceKind, Registry[Any]]] = {
    DeviceKind.FINGERPRINT_SCANNER: SCANNERS,
    DeviceKind.CAMERA: CAMERAS,
}


def driver(kind: DeviceKind, name: str) -> type[Device]:
    """Return the class of a driver.

    Raises
    ------
    PluginNotFoundError
        There is none of that name, or an extra that it needs is not installed.
    """
    return cast(type[Device], REGISTRIES[kind].load(name))


def device(kind: DeviceKind, device_id: str, **options: Any) -> Device:
    """Return the device of an id, ``driver:path``; it need not be discoverable.

    Parameters
    ----------
    kind : DeviceKind
        Scanner or camera.
    device_id : str
        As DeviceInfo.id, e.g. ``zfm:/dev/ttyUSB0``.
    **options
        The driver's own.

    Raises
    ------
    InvalidInputError
        Not ``driver:path``.
    PluginNotFoundError
        There is no such driver, or an extra that it needs is not installed.
    """
    name, _, path = device_id.partition(":")
    if not name or not path:
        raise InvalidInputError(f"device_id: expected 'driver:path', got {device_id!r}")
    return driver(kind, name).at(path, **options)


class Inventory:
    """What is plugged in, as of the last look; inside its ``with`` block it looks by itself.

    Parameters
    ----------
    listener : callable or None
        Told ARRIVED and LEFT, in the thread that looks.
    drivers : sequence of type or None
        Whose devices; None for all whose packages are installed.
    interval_s : float
        Between two looks of the ``with`` block.
    """

    def __init__(
        self,
        listener: Listener | None = None,
        *,
        drivers: Sequence[type[Device]] | None = None,
        interval_s: float = 1.0,
    ) -> None:
        self._listener = listener
        self._drivers = tuple(drivers) if drivers is not None else installed_drivers()
        self._interval_s = interval_s
        self._present: dict[tuple[DeviceKind, str], DeviceInfo] = {}
        self._workers: dict[type[Device], Worker] = {}
        self._look = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def present(self) -> tuple[DeviceInfo, ...]:
        """What was plugged in at the last look, sorted by kind and id."""
        return tuple(self._present[key] for key in sorted(self._present, key=lambda key: (key[0].value, key[1])))

    def refresh(self) -> tuple[DeviceInfo, ...]:
        """Look now, tell what came and went, and return what is there. A driver that fails or hangs keeps its devices.

        Ends within 2.1 s a driver.
        """
        with self._look:
            found: dict[tuple[DeviceKind, str], DeviceInfo] = {}
            for each in self._drivers:
                infos = self._discovered(each)
                if infos is None:
                    infos = [i for i in self._present.values() if (i.kind, i.driver) == (each.kind, each.driver)]
                found |= {(info.kind, info.id): info for info in infos}
            before, self._present = self._present, found
        for key in before.keys() - found.keys():
            self._tell(DeviceEvent(EventKind.LEFT, before[key].id))
        for key in found.keys() - before.keys():
            self._tell(DeviceEvent(EventKind.ARRIVED, found[key].id))
        return self.present

    def __enter__(self) -> Self:
        self.refresh()
        self._ended.clear()
        self._thread = threading.Thread(target=self._watch, name="biometrik inventory", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(2 * _DISCOVERY_S)

    def _watch(self) -> None:
        while not self._ended.wait(self._interval_s):
            self.refresh()

    def _discovered(self, driver: type[Device]) -> list[DeviceInfo] | None:
        # None where the driver could not say.
        stuck = self._workers.get(driver)
        if stuck is not None and stuck.alive:
            return None
        worker, look = Worker(f"biometrik discovery {driver.driver}", _nothing), _discovery(driver)
        try:
            infos = worker.run(look, Deadline(_DISCOVERY_S))
        except StuckError:
            self._workers[driver] = worker
            _log.warning("%s: discovery hangs", driver.driver)
            return None
        except Exception:
            _log.warning("%s: discovery failed", driver.driver, exc_info=True)
            infos = None
        worker.stop(0.2)
        return infos

    def _tell(self, event: DeviceEvent) -> None:
        if self._listener is None:
            return
        try:
            self._listener(event)
        except Exception:
            _log.exception("%s: a listener failed on %s", event.device_id, event.kind.value)


@dataclass(frozen=True, slots=True)
class DriverStatus:
    """A driver, and what this machine lacks for it.

    Parameters
    ----------
    kind : DeviceKind
        Of its devices.
    name : str
        In its registry.
    needs : str
        What to install; "" where nothing is missing.
    """

    kind: DeviceKind
    name: str
    needs: str = ""


def drivers() -> tuple[DriverStatus, ...]:
    """Return all drivers of all kinds, also those that something is missing for."""
    found = []
    for kind, registry in REGISTRIES.items():
        for name in registry.names():
            try:
                registry.load(name)
            except PluginNotFoundError as error:
                found.append(DriverStatus(kind, name, str(error)))
            else:
                found.append(DriverStatus(kind, name))
    return tuple(found)


def installed_drivers() -> tuple[type[Device], ...]:
    """Return the drivers of all kinds whose packages are installed."""
    return tuple(driver(each.kind, each.name) for each in drivers() if not each.needs)


def _discovery(driver: type[Device]) -> Callable[[], list[DeviceInfo]]:
    return lambda: list(driver.discover())


def _nothing() -> None:
    pass
