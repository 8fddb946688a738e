"""The server without its batcher: each call runs the models by itself, on the thread that decoded its samples.

``python -m benchmarks.service_unbatched`` takes the arguments of the server. It is what a lone client is compared with.
"""

import sys
from collections.abc import Callable, Sequence

from biometrik.samples import PreparedSample, Sample
from biometrik_server import __main__ as command
from biometrik_server import app
from biometrik_server.desk import Desk


class UnbatchedDesk(Desk):
    """A desk whose calls share nothing."""

    async def prepare(self, read: Callable[[], Sequence[Sample]]) -> Sequence[PreparedSample]:
        """Return samples that have been through the models, as :meth:`biometrik_server.desk.Desk.prepare` does."""
        prepared = await self.call(lambda: self.engine.prepare(read()))
        self._metrics.samples(sample.report for sample in prepared)
        return prepared


if __name__ == "__main__":
    app.Desk = UnbatchedDesk  # type: ignore[misc]
    sys.exit(command.main())
