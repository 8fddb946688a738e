"""Aligned crops to embeddings: what every embedder does, and how an embedding becomes a template."""

import abc
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError, TemplateFormatError
from biometrik.face.alignment import CROP_PX
from biometrik.inference import Runtime
from biometrik.registry import Registry
from biometrik.types import Modality, Template

#: How much longer than 1 rounding may leave an embedding.
_LENGTH_TOLERANCE: Final = 1e-3


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

    #: Lengths of the network's output, before it is normalised, that mean "no face at all" and "as good as faces get":
    #: the two ends of the unified quality. None where nobody has measured them for these weights.
    norm_range: ClassVar[tuple[float, float] | None] = None

    @final
    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return one unit vector a crop: the first half of :meth:`embed_and_grade`.

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
        return self.embed_and_grade(crops)[0]

    @final
    def embed_and_grade(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return one unit vector a crop, and how strongly the network answered to it.

        Parameters
        ----------
        crops : (N, 112, 112, 3) uint8
            RGB, aligned by :func:`biometrik.face.alignment.align`.

        Returns
        -------
        rows : (N, D) float32
            L2-normalised; their inner product is the cosine similarity.
        norms : (N,) float32
            Length of the network's output before normalisation, ≥ 0, in the network's own unit (:attr:`norm_range`).
            With ``flip`` the length of the mean of both outputs: shorter, too, where the mirrored crop looks different.

        Raises
        ------
        InvalidInputError
            ``crops`` has another shape or dtype.

        References
        ----------
        Q. Meng et al., "MagFace: a universal representation for face recognition and quality assessment", CVPR 2021,
        section 3: networks trained on the hypersphere answer to faces that they cannot tell with short vectors.
        """
        if crops.ndim != 4 or crops.shape[1:] != (CROP_PX, CROP_PX, 3) or crops.dtype != np.uint8:
            raise InvalidInputError(f"crops: expected (N, 112, 112, 3) uint8, got {crops.shape} {crops.dtype}")
        rows = np.empty((len(crops), self.dimension), dtype=np.float32)
        for start in range(0, len(crops), self._runtime.batch_size):
            batch = crops[start : start + self._runtime.batch_size]
            found = rows[start : start + len(batch)]
            found[:] = self._embed(batch)
            if self.flip:
                found += self._embed(batch[:, :, ::-1])
                found /= 2
        norms = np.asarray(np.linalg.norm(rows, axis=1), dtype=np.float32)
        return np.asarray(rows / np.maximum(norms, np.finfo(np.float32).tiny)[:, None], dtype=np.float32), norms

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
        A template is not a face's, not of ``dimension`` values, holds a value that is not finite, or is longer than
        1: with such a one, forged, similarities would be no cosines, and it would pass for half of all people.
    """
    rows = np.empty((len(templates), dimension), dtype=np.float32)
    for row, template in zip(rows, templates, strict=True):
        if template.modality is not Modality.FACE or len(template.payload) != 4 * dimension:
            raise TemplateFormatError(f"template: expected a face embedding of {dimension} values")
        row[:] = np.frombuffer(template.payload, dtype="<f4")
    # In float64 the squares of finite float32 values cannot overflow, so the sum tells both faults at once.
    wide = rows.astype(np.float64)
    square = float(np.vecdot(wide, wide).max(initial=0.0))
    if not math.isfinite(square):
        raise TemplateFormatError("template: the embedding holds values that are not finite")
    if square > (1 + _LENGTH_TOLERANCE) ** 2:
        raise TemplateFormatError(f"template: expected an embedding of length 1, got {math.sqrt(square):.6g}")
    return rows


EMBEDDERS: Final[Registry[Embedder]] = Registry("biometrik.face.embedders", "EMBEDDER", "biometrik.face_embedders")
