"""From a folder of labelled photographs to every comparison between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.evaluation.metrics import Comparisons, Trials
from biometrik.face.pipeline import FacePipeline, ProcessedFace
from biometrik.types import FaceImage

#: One embedding an image, None where the image gave no template.
Embed = Callable[[Sequence[FaceImage]], Sequence[NDArray[np.float32] | None]]

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".jp2"})
_BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Photographs of known people.

    Parameters
    ----------
    name : str
        Of the data set.
    paths : tuple of Path
        The photographs.
    labels : tuple of str
        Whom each shows.
    """

    name: str
    paths: tuple[Path, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """Embeddings of a data set.

    Parameters
    ----------
    embeddings : (N, D) float32
        Unit rows of the images that gave a template.
    subjects : (N,) int64
        Whose they are.
    failures_to_enroll : int
        Images that gave none.
    """

    embeddings: NDArray[np.float32]
    subjects: NDArray[np.int64]
    failures_to_enroll: int


def labelled_images(folder: Path, name: str = "") -> LabelledImages:
    """Return the photographs ``folder/images/<person>/<file>``, the layout of Labeled Faces in the Wild.

    Parameters
    ----------
    folder : Path
        Holds ``images``.
    name : str
        Of the data set; by default the folder's.

    Raises
    ------
    InvalidInputError
        The folder has no photographs in that layout.

    References
    ----------
    G. Huang, M. Ramesh, T. Berg, E. Learned-Miller, "Labeled faces in the wild", UMass Amherst TR 07-49, 2007.
    """
    found = sorted(p for p in (folder / "images").glob("*/*") if p.suffix.lower() in _SUFFIXES)
    if not found:
        raise InvalidInputError(
            f"data: expected photographs images/<person>/<file> in {folder}, got none; name the folder of a data set"
        )
    return LabelledImages(name or folder.resolve().name, tuple(found), tuple(p.parent.name for p in found))


def embed_with(pipeline: FacePipeline) -> Embed:
    """Return what :func:`enroll` needs of a face pipeline."""

    def embed(images: Sequence[FaceImage]) -> list[NDArray[np.float32] | None]:
        return [r.embedding if isinstance(r, ProcessedFace) else None for r in pipeline.process(images)]

    return embed


def enroll(data: LabelledImages, embed: Embed, *, progress: Callable[[int], None] = lambda _: None) -> Enrolled:
    """Read and embed every photograph.

    Parameters
    ----------
    data : LabelledImages
        What to read.
    embed : callable
        From images to unit embeddings, None for a failure to enrol.
    progress : callable
        Told how many more images are done.

    Raises
    ------
    ImageError
        A file is not an image: the data set is damaged.
    InvalidInputError
        No image gave a template.
    """
    rows: list[NDArray[np.float32] | None] = []
    for start in range(0, len(data.paths), _BATCH):
        batch = data.paths[start : start + _BATCH]
        rows += embed([FaceImage.from_file(path) for path in batch])
        progress(len(batch))
    people = np.unique(data.labels, return_inverse=True)[1]
    kept = [i for i, row in enumerate(rows) if row is not None]
    embeddings = [row for row in rows if row is not None]
    if not embeddings:
        raise InvalidInputError(f"data: expected faces in {data.name}, got none in {len(rows)} images")
    return Enrolled(np.stack(embeddings), people[kept], len(rows) - len(kept))


def compare_all(
    embeddings: NDArray[np.float32], subjects: NDArray[np.integer[Any]], *, failures_to_enroll: int = 0
) -> Trials:
    """Compare every embedding with every other.

    Parameters
    ----------
    embeddings : (N, D) float32
        Unit rows; the similarity is their inner product, the cosine.
    subjects : (N,) int
        Whose each row is; any numbers.
    failures_to_enroll : int
        Images beside these that gave no template.

    Returns
    -------
    Trials
        N·(N−1)/2 comparisons, 12 bytes each, about four times that while they are sorted.

    Raises
    ------
    InvalidInputError
        Shapes do not fit, or there is no mated or no non-mated comparison.

    Examples
    --------
    >>> trials = compare_all(np.eye(4, dtype=np.float32), np.array([7, 7, 9, 9]))
    >>> len(trials.mated), len(trials.non_mated)
    (2, 4)
    """
    count = len(embeddings)
    if embeddings.ndim != 2 or subjects.shape != (count,):
        raise InvalidInputError(
            f"embeddings: expected (N, D) and N subjects, got {embeddings.shape} and {subjects.shape}"
        )
    names, numbers = np.unique(subjects, return_inverse=True)
    numbers = numbers.astype(np.int32)
    pairs = count * (count - 1) // 2
    similarity = np.empty(pairs, dtype=np.float32)
    first, second = np.empty(pairs, dtype=np.int32), np.empty(pairs, dtype=np.int32)
    end = 0
    for row in range(count - 1):
        rest = slice(end, end + count - 1 - row)
        np.matmul(embeddings[row + 1 :], embeddings[row], out=similarity[rest])
        first[rest], second[rest] = numbers[row], numbers[row + 1 :]
        end = rest.stop
    same = first == second
    if not same.any() or same.all():
        raise InvalidInputError("subjects: expected two images of one person and two people at least")
    mated, non_mated = (
        Comparisons.of(similarity[kept], first[kept], second[kept], len(names)) for kept in (same, ~same)
    )
    return Trials(mated, non_mated, count + failures_to_enroll, failures_to_enroll)
