"""Whether the database is whole: what is in quarantine, told to the log, the metrics and the health service."""

import asyncio
import logging
from typing import Final

from biometrik_server.desk import Desk
from biometrik_server.hosting import Host
from biometrik_server.metrics import Metrics

_log = logging.getLogger(__name__)

#: A name of the health service beside those of our services. NOT_SERVING there says that the server works and is
#: degraded; whoever restarts servers that are dead asks for "" and is not told.
INTACT: Final = "biometrik.intact"


class Condition:
    """How much of the database is set aside because it is damaged; used on the event loop.

    Parameters
    ----------
    desk : Desk
        Asks the engine.
    host : Host
        Has the health service.
    metrics : Metrics
        Shows how many there are.
    """

    def __init__(self, desk: Desk, host: Host, metrics: Metrics) -> None:
        self._desk = desk
        self._host = host
        self._metrics = metrics
        self._looking = asyncio.Lock()  # of two counts the later one stays
        self.quarantined = 0

    async def look(self) -> None:
        """Count what is in quarantine. It grows at a start only, and shrinks by erasures."""
        async with self._looking:
            before, self.quarantined = self.quarantined, len(await self._desk.call(self._desk.engine.quarantined))
            self._metrics.quarantined.set(self.quarantined)
            await self._host.set_health(INTACT, serving=not self.quarantined)
        if self.quarantined > before:
            _log.warning(
                "degraded: damaged encounters are in quarantine and not found; biometrik backup quarantine names them",
                extra={"fields": {"quarantined": self.quarantined}},
            )

    async def look_after_erasure(self) -> None:
        """Count again where there is anything that an erasure can have removed."""
        if self.quarantined:
            await self.look()
