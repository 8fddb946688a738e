"""Systems in turns: each in its own process, all on one core, one pass a round, so that all meet the same weather."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.history import ROOT

_WARM_UP_ROUNDS = 2


@dataclass(slots=True)
class Timings:
    """One system's passes over one workload.

    Parameters
    ----------
    cpu_s, wall_s : list of float
        Seconds a pass, a round each.
    embedded : int
        Embeddings that a pass made.
    """

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    embedded: int = 0


class ContestantError(Exception):
    """A contestant could not start; the message is what it said."""


class Contestant:
    """A child process that runs passes when told.

    Parameters
    ----------
    config : mapping
        Of :mod:`benchmarks.contestant`: ``system``, ``core``, ``workloads`` and what the system needs.
    path : sequence of Path
        Folders of packages that come before those of the environment.

    Raises
    ------
    ContestantError
        It ended before it was ready.
    """

    def __init__(self, config: Mapping[str, Any], path: Sequence[Path] = ()) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT])),
            "OPENCV_LOG_LEVEL": "ERROR",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contestant", json.dumps(config)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self._answer()
        except ContestantError:
            self.close()
            raise

    def run(self, workload: str) -> dict[str, float]:
        """Make one pass and return its times."""
        assert self._process.stdin is not None
        self._process.stdin.write(workload + "\n")
        self._process.stdin.flush()
        return self._answer()

    def peak_mib(self) -> float:
        """Return the largest resident size that the process has had, MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._process.stderr.read().strip().splitlines()
            raise ContestantError(said[-1] if said else "it ended without a word")
        answer: dict[str, Any] = json.loads(line)
        return answer


def race(contestants: Mapping[str, Contestant], workload: str, rounds: int) -> dict[str, Timings]:
    """Let every contestant pass over a workload once a round, beginning with another one each round."""
    names = list(contestants)
    timings = {name: Timings() for name in names}
    for turn in range(-_WARM_UP_ROUNDS, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            answer = contestants[name].run(workload)
            if turn >= 0:
                timings[name].cpu_s.append(answer["cpu_s"])
                timings[name].wall_s.append(answer["wall_s"])
                timings[name].embedded = int(answer["embedded"])
    return timings


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return median, lower and upper quartile.

    Examples
    --------
    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (3.0, 2.0, 4.0)
    """
    low, middle, high = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return middle, low, high


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return quartiles of theirs / ours, round by round: how many times faster ours is."""
    return quartiles([their / our for our, their in zip(ours, theirs, strict=True)])
