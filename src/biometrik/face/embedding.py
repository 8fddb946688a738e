"""Aligned crops to embeddings: what every embedder does, and how an embedding becomes a template."""

import abc
from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError, TemplateFormatError
from biometrik.face.alignment import CROP_PX
from biometrik.inference import Runtime
from biometrik.registry import Registry
from biometrik.types import Modality, Template


class Embedder(abc.ABC):
    """Turns aligned crops into unit vectors; thread-safe.

    Parameters
    ----------
    runtime : Runtime
        Opens the networks.
    flip : bool
        Average with the mirrored crop's embedding.

    Raises
    ------
    ModelError
        The weights cannot be found, verified, or run with the provider asked for.
    """

    def __init__(self, runtime: Runtime, *, flip: bool = False) -> None:
        self._runtime = runtime
        self.flip = flip
        self._load(runtime)

    @final
    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return one unit vector a crop.

        Parameters
        ----------
        crops : (N, 112, 112, 3) uint8
            RGB, aligned by :func:`biometrik.face.alignment.align`.

        Returns
        -------
        (N, D) float32
            L2-normalised rows; their inner product is the cosine similarity.

        Raises
        ------
        InvalidInputError
            ``crops`` has another shape or dtype.
        """
        if crops.ndim != 4 or crops.shape[1:] != (CROP_PX, CROP_PX, 3) or crops.dtype != np.uint8:
            raise InvalidInputError(f"crops: expected (N, 112, 112, 3) uint8, got {crops.shape} {crops.dtype}")
        rows = np.empty((len(crops), self.dimension), dtype=np.float32)
        for start in range(0, len(crops), self._runtime.batch_size):
            batch = crops[start : start + self._runtime.batch_size]
            vectors = self._embed(batch)
            if self.flip:
                vectors = vectors + self._embed(batch[:, :, ::-1])
            rows[start : start + len(batch)] = vectors
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """D, the length of an embedding."""

    @abc.abstractmethod
    def _load(self, runtime: Runtime) -> None:
        """Open the network; called once."""

    @abc.abstractmethod
    def _embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the network's (N, D) output, not normalised."""

    @abc.abstractmethod
    def contract(self) -> Mapping[str, str]:
        """Return what shapes the numbers (weights' sha256, preprocessing), for the model contract."""


def to_template(embedding: NDArray[np.float32], model_contract_id: str) -> Template:
    """Pack one (D,) embedding into a template."""
    return Template(Modality.FACE, model_contract_id, embedding.astype("<f4").tobytes())


def from_templates(templates: Sequence[Template], dimension: int) -> NDArray[np.float32]:
    """Return the (N, D) embeddings of face templates.

    Raises
    ------
    TemplateFormatError
        A template is not a face's, not of ``dimension`` values, or holds a value that is not finite.
    """
    rows = np.empty((len(templates), dimension), dtype=np.float32)
    for row, template in zip(rows, templates, strict=True):
        if template.modality is not Modality.FACE or len(template.payload) != 4 * dimension:
            raise TemplateFormatError(f"template: expected a face embedding of {dimension} values")
        row[:] = np.frombuffer(template.payload, dtype="<f4")
    if not np.isfinite(rows).all():
        raise TemplateFormatError("template: the embedding holds values that are not finite")
    return rows


EMBEDDERS: Final[Registry[Embedder]] = Registry("biometrik.face.embedders", "EMBEDDER", "biometrik.face_embedders")
