"""The server without its batcher: each call runs the models by itself, on the thread that decoded its samples.

``python -m benchmarks.service_unbatched`` takes the arguments of the server. It is what a lone client is compared with.
"""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from biometrik.samples import PreparedSample, Sample
from biometrik_server import __main__ as command
from biometrik_server import app
from biometrik_server.desk import Desk

T = TypeVar("T")


class UnbatchedDesk(Desk):
    """A desk whose calls share nothing."""

    async def answer(self, read: Callable[[], Sequence[Sample]], use: Callable[[Sequence[PreparedSample]], T]) -> T:
        """Return what is made of prepared samples, as :meth:`biometrik_server.desk.Desk.answer` does."""
        return await self.call(lambda: use(self.engine.prepare(read())))


if __name__ == "__main__":
    vars(app)["Desk"] = UnbatchedDesk  # what Server makes its desk of
    sys.exit(command.main())
