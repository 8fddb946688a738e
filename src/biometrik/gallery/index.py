"""Finding the most similar vectors: the plug-in interface of indexes."""

import abc
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar, Final, final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.gallery.compiling import kernel
from biometrik.registry import Registry

#: Answers queries (Q, D) among allowed ids, or all for None, by filling ids and similarities (Q, count): the first
#: columns, best first; the rest is left as it is.
Answer = Callable[
    [NDArray[np.float32], NDArray[np.int64] | None, NDArray[np.int64], NDArray[np.float32]],
    None,
]


#: Compared with faster than the types, and a write takes microseconds.
_FLOAT32: Final = np.dtype(np.float32)
_INT64: Final = np.dtype(np.int64)


@final
class View:
    """The vectors that were in an index at one moment; made by :meth:`Index.view`.

    Parameters
    ----------
    dimension : int
        D.
    answer : Answer
        Of the index, for checked arguments.
    """

    def __init__(self, dimension: int, answer: Answer) -> None:
        self._dimension = dimension
        self._answer = answer

    def search(
        self, queries: NDArray[np.float32], count: int, *, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the most similar vectors of each query, best first; of equally similar ones the lower id first.

        Parameters
        ----------
        queries : (Q, D) float32
            Finite.
        count : int
            How many a query, 1 or more.
        allowed : (M,) int64, optional
            Only these ids are compared; ids that are not in the index are no error. None compares with all.

        Returns
        -------
        ids : (Q, count) int64
            -1 where there were fewer to compare with.
        similarities : (Q, count) float32
            Inner products, within float32's range; -inf where the id is -1. The same for the same pair of
            vectors, whatever else is in the index or in the batch.

        Raises
        ------
        InvalidInputError
            Shapes, dtypes, a value that is not finite, a count below 1.
        """
        queries = _checked_vectors("queries", queries, self._dimension)
        if count < 1:
            raise InvalidInputError(f"count: expected 1 or more, got {count}")
        if allowed is not None:
            allowed = _int64("allowed", allowed)
        ids = np.full((len(queries), count), -1, dtype=np.int64)
        similarities = np.full((len(queries), count), -np.inf, dtype=np.float32)
        if len(queries):
            self._answer(queries, allowed, ids, similarities)
        return ids, similarities


class Index(abc.ABC):
    """Vectors under the caller's own ids, searched by inner product.

    Thread-safe: each method is atomic. Vectors are taken as they are; the inner product of unit vectors is their
    cosine, that of a unit vector with a mean of unit vectors is the mean of the cosines.

    Parameters
    ----------
    dimension : int
        D, the length of each vector, 1 or more.
    folder : Path, optional
        Where a file of vectors may be made, for an index that can keep them there; None keeps all in memory.
    device_id : int
        Which GPU, for an index that uses one.

    Attributes
    ----------
    on_disk : bool
        Whether it can keep vectors in a file.
    exact : bool
        Whether a search compares with every vector and returns the true best.
    recall_claimed : float
        Share of the true best that a search promises to return, as a benchmark measured it; 1.0 where exact.
    """

    on_disk: ClassVar[bool] = False
    exact: ClassVar[bool]
    recall_claimed: ClassVar[float]

    def __init__(self, dimension: int, folder: Path | None = None, *, device_id: int = 0) -> None:
        if dimension < 1:
            raise InvalidInputError(f"dimension: expected 1 or more, got {dimension}")
        if folder is not None and not self.on_disk:
            raise InvalidInputError("index: expected one that can keep vectors on disk; name int8-certified")
        self.dimension = dimension
        self._folder = folder
        self._device_id = device_id
        self._lock = threading.Lock()
        self._create()

    @final
    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Make vectors findable; all of them or, where an error is raised, none.

        Parameters
        ----------
        ids : (N,) int64
            0 or more, distinct and not in the index.
        vectors : (N, D) float32
            Finite.

        Raises
        ------
        InvalidInputError
            Shapes, dtypes, an id that is negative, repeated or in the index already, a value that is not finite.
        """
        ids = _checked_ids(ids)
        vectors = _checked_vectors("vectors", vectors, self.dimension)
        if len(vectors) != len(ids):
            raise InvalidInputError(f"vectors: expected {len(ids)}, one an id, got {len(vectors)}")
        if len(ids) == 0:
            return
        with self._lock:
            if not self._add(ids, vectors):
                raise InvalidInputError("ids: expected ids that are not in the index yet; remove them first")

    def make_room(self, count: int) -> None:  # noqa: B027  # most indexes have no file
        """See to it that :meth:`add` finds room on the disk for so many vectors more.

        Raises
        ------
        StoreUnavailableError
            The disk of an index that keeps vectors there is full.
        """

    @final
    def remove(self, ids: NDArray[np.int64]) -> None:
        """Forget vectors; all of them or, where an error is raised, none.

        Parameters
        ----------
        ids : (N,) int64
            Distinct and in the index.

        Raises
        ------
        InvalidInputError
            Shape, dtype, an id that is repeated or not in the index.
        """
        ids = _checked_ids(ids)
        with self._lock:
            if not self._remove(ids):
                raise InvalidInputError("ids: expected ids that are in the index")
            more = self._settle()
        while more:
            with self._lock:
                more = self._settle()

    @final
    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the (N, D) vectors of (N,) ids that are in the index, a copy; raises InvalidInputError as remove."""
        ids = _checked_ids(ids)
        with self._lock:
            vectors = self._vectors_of(ids) if len(ids) else np.empty((0, self.dimension), dtype=np.float32)
        if vectors is None:
            raise InvalidInputError("ids: expected ids that are in the index")
        return vectors

    @final
    def search(
        self, queries: NDArray[np.float32], count: int, *, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the most similar vectors among those of now; see :meth:`View.search`."""
        with self.view() as view:
            return view.search(queries, count, allowed=allowed)

    @final
    def view(self) -> AbstractContextManager[View]:
        """Keep the index as it is now for several searches.

        Returns
        -------
        context manager of View
            Valid within its ``with`` block. Until it ends, writes wait, or memory of what is removed stays in use:
            it is for some milliseconds, and the thread that holds it must not call the index.
        """
        return self._view()

    @final
    def __len__(self) -> int:
        """Return how many vectors can be found."""
        with self._lock:
            return self._count()

    @abc.abstractmethod
    def warm_up(self) -> None:
        """Compile what would be compiled at first use, so that no later call waits for it."""

    # --- what an index writes: all but `_view` are called with the lock held and checked arguments: ------------------
    # --- ids that can be written to and vectors that cannot, in C's order, so that kernels are compiled once --------

    @abc.abstractmethod
    def _create(self) -> None:
        """Start empty; called once."""

    @abc.abstractmethod
    def _add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> bool:
        """Return False, and change nothing, where an id is in the index."""

    @abc.abstractmethod
    def _remove(self, ids: NDArray[np.int64]) -> bool:
        """Return False, and change nothing, where an id is not in the index."""

    @abc.abstractmethod
    def _vectors_of(self, ids: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Return the vectors of one id or more, None where one is not in the index."""

    @abc.abstractmethod
    def _settle(self) -> bool:
        """Do what a removal left to be done, at most for some milliseconds; return whether there is more."""

    @abc.abstractmethod
    def _view(self) -> AbstractContextManager[View]:
        """Return the index as it is now; called without the lock."""

    @abc.abstractmethod
    def _count(self) -> int: ...


class TurnTaking(Index):
    """An index whose searches and writes take turns: while a view is open, writes wait."""

    def warm_up(self) -> None:
        """Nothing is compiled."""

    def _settle(self) -> bool:
        """Nothing is left to be done."""
        return False

    @contextmanager
    def _view(self) -> Iterator[View]:
        with self._lock:
            yield View(self.dimension, self._search)

    @abc.abstractmethod
    def _search(
        self,
        queries: NDArray[np.float32],
        allowed: NDArray[np.int64] | None,
        ids: NDArray[np.int64],
        similarities: NDArray[np.float32],
    ) -> None:
        """Fill the answers; called with the lock held, see :data:`Answer`."""


def _checked_vectors(what: str, vectors: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    if vectors.ndim != 2 or vectors.shape[1] != dimension or vectors.dtype != _FLOAT32:
        raise InvalidInputError(f"{what}: expected (N, {dimension}) float32, got {vectors.shape} {vectors.dtype}")
    own = vectors.view() if vectors.flags.c_contiguous else vectors.copy()
    own.setflags(write=False)
    if not _finite(own):
        raise InvalidInputError(f"{what}: expected finite values")
    return own


def _int64(what: str, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    if ids.ndim != 1 or ids.dtype != _INT64:
        raise InvalidInputError(f"{what}: expected (N,) int64, got {ids.shape} {ids.dtype}")
    return ids if ids.flags.carray else ids.copy()


@kernel
def _finite(vectors: NDArray[np.float32]) -> bool:
    # Without the array of what is finite that NumPy makes, which takes longer than a write does otherwise.
    every = True
    for row in vectors:
        for value in row:
            every &= np.isfinite(value)
    return every


def _checked_ids(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    ids = _int64("ids", ids)
    least = ids.min(initial=0) if len(ids) != 1 else ids[0]  # one is the usual
    if least < 0:
        raise InvalidInputError(f"ids: expected 0 or more, got {least}")
    if len(ids) > 1 and len(np.unique(ids)) != len(ids):
        raise InvalidInputError("ids: expected distinct ids")
    return ids


INDEXES: Final[Registry[Index]] = Registry(
    "biometrik.gallery.indexes", "INDEX", "biometrik.indexes", extras={"faiss-flat": "cpu", "faiss-gpu": "gpu"}
)
