"""One part of the run on a GPU, in a process that :mod:`benchmarks.speed_gpu` starts and listens to.

CUDA's and FAISS' errors end a process, and a GPU may hang: so each part has one, which can be ended. A line on standard
output is JSON: ``["row", {...}]`` something measured, ``["missing", what, why]``, or ``["progress", text]``.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.race import quartiles

#: What a part tells: see the module docstring, without its first word.
Told = tuple[str, Any] | tuple[str, str, str]
#: Part → module of this folder; its ``measure`` is given what it needs.
PARTS: Final[Mapping[str, str]] = {
    "matching": "gpu_matching",
    "search": "gpu_search",
    "embedding": "gpu_face",
    "detection": "gpu_face",
}
_MOST_REPEATS: Final = 200


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Parameters
    ----------
    repeat_s : float
        How long one figure is repeated.
    least_repeats : int
        How often at least.
    references : tuple of int
        Prints in a pack.
    drawn : int
        How many of them are drawn; packs repeat them.
    probes : int
        Prints that are compared with them.
    vectors : tuple of int
        Faces in an index.
    block : int
        How many are drawn at a time.
    queries : tuple of int
        Probes in a search.
    checked : int
        Queries whose answers are compared with brute force.
    crops, frames : tuple of int
        Images in a batch.
    """

    repeat_s: float
    least_repeats: int
    references: tuple[int, ...]
    drawn: int
    probes: int
    vectors: tuple[int, ...]
    block: int
    queries: tuple[int, ...]
    checked: int
    crops: tuple[int, ...]
    frames: tuple[int, ...]


FULL: Final = Sizes(
    repeat_s=1.5,
    least_repeats=3,
    references=(1_000, 10_000, 100_000),
    drawn=1_000,
    probes=10,
    vectors=(1_000_000, 10_000_000),
    block=100_000,
    queries=(1, 32, 1024),
    checked=64,
    crops=(1, 8, 32, 128, 256),
    frames=(1, 16),
)
#: For tests, on numba's simulator.
TINY: Final = Sizes(
    repeat_s=0.01,
    least_repeats=1,
    references=(2,),
    drawn=2,
    probes=2,
    vectors=(400, 1200),
    block=200,
    queries=(1, 4),
    checked=3,
    crops=(1, 2),
    frames=(1,),
)


@dataclass(frozen=True, slots=True)
class Job:
    """What a part is to do.

    Parameters
    ----------
    part : str
        One of :data:`PARTS`.
    sizes : Sizes
        How much.
    cache : Path
        Folder for folded weights.
    deadline : float
        By ``time.monotonic``.
    """

    part: str
    sizes: Sizes
    cache: Path
    deadline: float

    def left_s(self) -> float:
        """Return how long there is, seconds."""
        return self.deadline - time.monotonic()

    def timed(self, act: Callable[[], object]) -> dict[str, Any]:
        """Repeat something, once to warm up, and return milliseconds each: median, quartiles, how often, the first."""
        first = _seconds(act)
        times: list[float] = []
        end = min(time.monotonic() + self.sizes.repeat_s, self.deadline)
        while len(times) < self.sizes.least_repeats or (time.monotonic() < end and len(times) < _MOST_REPEATS):
            times.append(_seconds(act))
        return {"ms": [1e3 * q for q in quartiles(times)], "repeats": len(times), "first_ms": 1e3 * first}


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def main() -> int:
    """Measure one part; what cannot be measured is told, not raised."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    job = Job(given.part, TINY if given.tiny else FULL, given.cache, time.monotonic() + given.seconds)
    measure: Callable[[Job], Iterator[Told]] = importlib.import_module(f"benchmarks.{PARTS[job.part]}").measure
    for told in measure(job):
        print(json.dumps(told, allow_nan=False), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
