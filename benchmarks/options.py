"""What every benchmark is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.history import ROOT, Result


@dataclass(frozen=True, slots=True)
class Options:
    """Where things are, and how long to measure.

    Parameters
    ----------
    data : Path
        Folder with the data sets of real images, which are not part of the repository.
    cache : Path
        Folder for folded weights.
    peers : Path
        Folder with other versions of packages to measure against.
    rounds : int
        Interleaved rounds of a speed benchmark.
    minutes : float
        How long a load benchmark keeps its load up.
    """

    data: Path = ROOT.parent / "shared" / "data"
    cache: Path = ROOT / ".cache"
    peers: Path = ROOT / "benchmarks" / ".peers"
    rounds: int = 15
    minutes: float = 10.0


class Benchmark(Protocol):
    """A module of this folder named ``accuracy_…``, ``load_…``, ``search_…``, ``size_…`` or ``speed_…``."""

    TITLE: str

    def run(self, options: Options) -> Result:
        """Measure. Raises NotRunError where something is missing."""

    def render(self, run: dict[str, object], plots: Path) -> str:
        """Return Markdown for the recorded run's figures; write its pictures into ``plots``."""
