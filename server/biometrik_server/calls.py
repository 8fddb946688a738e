"""The call that is being answered: who calls, in which language, until when it is wanted."""

from contextvars import ContextVar
from dataclasses import dataclass

from biometrik.errors import QueueFullError
from biometrik.reasons import Locale
from biometrik_server.access import Client
from biometrik_server.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Call:
    """A call in progress.

    Parameters
    ----------
    rpc : str
        Full name of the method, ``/package.Service/Method``.
    client : Client
        Who calls.
    locale : {"en", "id"}
        Language of advice.
    """

    rpc: str
    client: Client
    locale: Locale

    @property
    def name(self) -> str:
        """``Service/Method``, for logs and metrics."""
        return self.rpc.rsplit(".", 1)[-1]


#: Set by the interceptor for the task that answers.
CURRENT: ContextVar[Call] = ContextVar("biometrik_call")


class Admission:
    """Lets in as many calls as can be worked on; the next one is refused at once. Used on the event loop only.

    Parameters
    ----------
    limit : int
        Most calls at once.
    metrics : Metrics
        Shows how many there are.
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._metrics = metrics
        self.count = 0

    def refuse_when_full(self) -> None:
        """Raise QueueFullError where the next call would not be let in."""
        if self.count >= self._limit:
            raise QueueFullError(f"service: {self.count} calls are worked on or waiting; try again in a moment")

    def __enter__(self) -> None:
        self.refuse_when_full()
        self.count += 1
        self._metrics.in_flight.set(self.count)

    def __exit__(self, *_: object) -> None:
        self.count -= 1
        self._metrics.in_flight.set(self.count)
