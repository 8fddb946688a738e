"""Prints to minutiae: what every extractor does."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from biometrik.config import ExtractionParameters
from biometrik.fingerprint.preparation import PreparedPrint
from biometrik.fingers import Minutiae
from biometrik.inference import Runtime
from biometrik.registry import Registry

#: One row of what an extractor finds, in pixels of what it was given: ``direction`` in radians as
#: :class:`biometrik.fingers.Minutiae` has it, but of any turn; ``quality`` 0..100.
Found = np.dtype(
    [("x", np.float32), ("y", np.float32), ("direction", np.float32), ("kind", np.uint8), ("quality", np.float32)]
)
_TURN: Final = np.float32(2 * np.pi)
#: Most pixels in one run on a GPU: 16 prints of 500 × 400, about 2 GiB of a network's maps.
_BATCH_PIXELS: Final = 3_200_000


class Extractor(abc.ABC):
    """Finds minutiae; thread-safe.

    Parameters
    ----------
    parameters : ExtractionParameters
        Which minutiae are kept.
    runtime : Runtime
        Opens the networks.

    Raises
    ------
    ModelError
        The weights cannot be found, verified, or run with the provider asked for.
    """

    def __init__(self, parameters: ExtractionParameters, runtime: Runtime) -> None:
        self.parameters = parameters
        self._runtime = runtime
        self._load(runtime)

    @final
    def extract(self, prints: Sequence[PreparedPrint]) -> list[Minutiae]:
        """Find the minutiae of each print, best first.

        Parameters
        ----------
        prints : sequence of PreparedPrint
            Of any sizes; equal sizes run together.

        Returns
        -------
        list of Minutiae
            In pixels of the whole print at 500 ppi; those outside it are dropped.
        """
        by_shape: dict[tuple[int, int], list[int]] = {}
        for i, prepared in enumerate(prints):
            by_shape.setdefault((prepared.pixels.shape[0], prepared.pixels.shape[1]), []).append(i)
        results: dict[int, Minutiae] = {}
        for (height, width), indices in by_shape.items():
            size = min(self._runtime.batch_size, max(1, _BATCH_PIXELS // (height * width)))
            size = size if self._runtime.prefers_batches else 1
            for batch in (indices[start : start + size] for start in range(0, len(indices), size)):
                rows_of = self._extract(np.stack([prints[i].pixels for i in batch]))
                for i, rows in zip(batch, rows_of, strict=True):
                    results[i] = _minutiae(rows, prints[i], self.parameters)
        return [results[i] for i in range(len(prints))]

    @abc.abstractmethod
    def _load(self, runtime: Runtime) -> None:
        """Open what is needed; called once."""

    @abc.abstractmethod
    def _extract(self, pixels: NDArray[np.uint8]) -> Sequence[NDArray[Any]]:
        """Return rows of :data:`Found` for each of (N, H, W) prints: 500 ppi, dark ridges, sides multiples of 32."""

    @abc.abstractmethod
    def contract(self) -> Mapping[str, str]:
        """Return what shapes the minutiae (weights' sha256, recipe), for the model contract."""


def _minutiae(rows: NDArray[Any], prepared: PreparedPrint, parameters: ExtractionParameters) -> Minutiae:
    x, y = rows["x"] + prepared.left, rows["y"] + prepared.top
    inside = (x >= 0) & (x <= prepared.width_px - 1) & (y >= 0) & (y <= prepared.height_px - 1)
    kept = np.flatnonzero(inside & (rows["quality"] >= parameters.min_quality))
    order = kept[np.argsort(-rows["quality"][kept], kind="stable")][: parameters.max_minutiae]
    direction = np.mod(rows["direction"][order], _TURN)
    return Minutiae(
        x[order],
        y[order],
        np.where(direction >= _TURN, np.float32(0), direction),  # a tiny negative angle rounds to a whole turn
        rows["kind"][order],
        np.clip(np.rint(rows["quality"][order]), 0, 100).astype(np.uint8),
        prepared.width_px,
        prepared.height_px,
    )


EXTRACTORS: Final[Registry[Extractor]] = Registry(
    "biometrik.fingerprint.extractors", "EXTRACTOR", "biometrik.minutiae_extractors"
)
