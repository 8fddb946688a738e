"""The station: devices and models, DeviceService in front of them."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Final, Self

import biometrik
from biometrik.recognition import Recognition
from biometrik.v1 import device_service_pb2, device_service_pb2_grpc
from biometrik_hardware.events import DeviceKind
from biometrik_server.hosting import Host
from biometrik_server.metrics import Metrics
from biometrik_station.config import StationConfig
from biometrik_station.guiding import Guide
from biometrik_station.rack import Rack
from biometrik_station.service import DeviceService

_log = logging.getLogger(__name__)

SERVICE_NAMES: Final = (device_service_pb2.DESCRIPTOR.services_by_name["DeviceService"].full_name,)
#: How often devices whose lease has run out are looked for, seconds.
_IDLE_S: Final = 1.0


class Station:
    """A running station; make one with :meth:`start`.

    Parameters
    ----------
    config : StationConfig
        All settings.
    recognition : Recognition
        What samples are assessed with.
    rack : Rack
        The devices, entered; closed by ``closing``.
    closing : ExitStack
        Closed when the station stops.
    """

    def __init__(self, config: StationConfig, recognition: Recognition, rack: Rack, closing: ExitStack) -> None:
        self._closing = closing
        self._rack = rack
        self._guide = Guide(recognition, portrait=config.portrait, compact_samples=config.compact)
        self._host = Host(config, Metrics())
        self._service = DeviceService(rack, self._guide)
        device_service_pb2_grpc.add_DeviceServiceServicer_to_server(self._service, self._host.grpc)
        self._idle = asyncio.create_task(self._close_idle())

    @property
    def port(self) -> int:
        """Where it listens; 0 on a unix socket."""
        return self._host.port

    @classmethod
    async def start(cls, config: StationConfig) -> Self:
        """Load the models, look for devices and begin to answer.

        Raises
        ------
        BiometrikError
            As :class:`Recognition` and :class:`Spool`; InvalidInputError where the address cannot be listened on, a
            certificate not be read, or a virtual device not be shown.
        """
        loop = asyncio.get_running_loop()
        waiting = 0 if config.spool is None else len(config.spool.open().waiting())
        with ExitStack() as stack:
            with ThreadPoolExecutor(1) as opener:
                recognition = await loop.run_in_executor(opener, Recognition, config.engine.parameters())
                rack = Rack(config.devices, discover=config.discover)
                await loop.run_in_executor(opener, stack.enter_context, rack)
                if any(listed.info.kind is DeviceKind.FINGERPRINT_SCANNER for listed in rack.listed()):
                    # Otherwise the first print opens them, and pays for it.
                    await loop.run_in_executor(opener, lambda: recognition.finger)
            station = cls(config, recognition, rack, stack.pop_all())
        try:
            station._host.bind(SERVICE_NAMES)
            await station._host.start()
        except BaseException:
            await station._close()
            raise
        fields = {
            "version": biometrik.__version__,
            "models": recognition.face.contract_id,
            "devices": len(rack.listed()),
            "waiting": waiting,
        }
        _log.info("ready", extra={"fields": {"listening": station._host.listening, **fields}})
        return station

    async def stop(self) -> None:
        """Refuse new calls, let attempts finish within ``grace_s``, then close the devices."""
        self._service.stop()
        await self._host.stop()
        await self._close()
        _log.info("stopped")

    async def _close(self) -> None:
        self._idle.cancel()
        with suppress(asyncio.CancelledError):
            await self._idle
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._closing.close)
        await loop.run_in_executor(None, self._guide.close)

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_S)
            await self._guide.call(self._rack.close_idle)
