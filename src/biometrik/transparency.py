"""A stage may hand its result to a sink that the caller passes: for pictures, debugging and golden tests.

Never on by default: stages are biometric data. The null sink costs a method call.
"""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Sink(Protocol):
    """Takes the named result of a stage."""

    def take(self, stage: str, value: NDArray[Any]) -> None:
        """Receive ``value``, the result of ``stage``; must not modify it."""


class NullSink:
    """Takes everything and keeps nothing."""

    def take(self, stage: str, value: NDArray[Any]) -> None:
        """Do nothing."""


class DirectorySink:
    """Writes each stage as a numbered ``.npy`` file into an existing folder.

    Parameters
    ----------
    folder : Path
        Must exist. What lands here is biometric data: the caller keeps and deletes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def take(self, stage: str, value: NDArray[Any]) -> None:
        """Write ``NNN-stage.npy``."""
        self._count += 1
        np.save(self._folder / f"{self._count:03d}-{stage}.npy", value, allow_pickle=False)


NULL_SINK = NullSink()
