"""Exact search on an NVIDIA GPU by FAISS: float32 products of all vectors there, the best again in float64 here."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.gallery.gpu_vectors import MOST_SELECTED, GpuVectors
from biometrik.gallery.index import TurnTaking
from biometrik.gallery.slot_table import SlotTable
from biometrik.gallery.vector_rows import MemoryRows

#: Rows asked for beyond those wanted; one is enough where there are no near ties.
_SPARE: Final = 4
#: Products of lengths up to here stay in float32's range, whatever their order.
_LONGEST: Final = 1e38
#: Pairs that are compared in float64 at a time: 64 MiB at 128 dimensions.
_PAIRS: Final = 1 << 16


class FaissGpu(TurnTaking):
    """Vectors on a GPU under own ids; removal moves the last row into the gap, in constant time.

    All vectors are compared there, in float32. Those that come within its rounding of the last one wanted are compared
    again here, in float64, with a copy in this machine's memory: so the answer is that of ``faiss-flat``. Only where
    more rows are near than a GPU selects does it return all products instead. Never run on a GPU so far: tested against
    a stand-in of FAISS' calls.

    Raises
    ------
    ProviderUnavailableError
        See :class:`biometrik.gallery.gpu_vectors.GpuVectors`; there is no fallback to the processor.
    """

    exact = True
    recall_claimed = 1.0

    def _create(self) -> None:
        self._vectors = GpuVectors(self.dimension, self._device_id)
        self._rows = MemoryRows(self.dimension)
        self._table = SlotTable()
        self._id_at = np.empty(1024, dtype=np.int64)  # grows by doubling; slots beyond the count are unused
        self._largest_norm = 0.0  # of all vectors ever added: a bound, which removal need not lower

    def _count(self) -> int:
        return len(self._table)

    def _add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> bool:
        if self._table.found(ids)[1]:
            return False
        start = self._count()
        stop = start + len(ids)
        # What may lack memory comes before what makes a row live.
        self._vectors.reserve(stop)
        if stop > len(self._id_at):
            self._id_at = np.resize(self._id_at, max(stop, 2 * len(self._id_at)))
        self._table.make_room(stop, len(ids))
        self._rows.write(start, vectors)
        self._vectors.write(start, vectors)
        self._id_at[start:stop] = ids
        self._largest_norm = max(self._largest_norm, float(_norms(vectors).max()))
        self._table.put(ids, np.arange(start, stop, dtype=np.int64))
        return True

    def _remove(self, ids: NDArray[np.int64]) -> bool:
        if self._table.found(ids)[1] < len(ids):
            return False
        for n in range(len(ids)):
            gone = ids[n : n + 1]
            slot = self._table.slots_of(gone)
            last = self._count() - 1
            self._table.discard(gone)
            if slot[0] != last:
                vector = self._rows.read(np.array([last], dtype=np.int64))
                self._rows.write(int(slot[0]), vector)
                self._vectors.write(int(slot[0]), vector)
                moved = self._id_at[last : last + 1]
                self._id_at[slot] = moved
                self._table.put(moved, slot)
            self._rows.erase(last)
            self._vectors.erase(last)
        return True

    def _vectors_of(self, ids: NDArray[np.int64]) -> NDArray[np.float32] | None:
        slots, found = self._table.found(ids)
        if found < len(ids):
            return None
        order = np.argsort(slots)
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        vectors[order] = self._rows.read(slots[order])
        return vectors

    def _search(
        self,
        queries: NDArray[np.float32],
        allowed: NDArray[np.int64] | None,
        ids: NDArray[np.int64],
        similarities: NDArray[np.float32],
    ) -> None:
        slots = None if allowed is None else self._slots(allowed)
        count = self._count() if slots is None else len(slots)
        wanted = min(ids.shape[1], count)
        if wanted == 0:
            return
        lengths = self._largest_norm * _norms(queries)
        # Two products may each err, also by what is too small for float32.
        margins = 2 * (self._vectors.error * lengths + self.dimension * np.finfo(np.float32).tiny)
        margins[lengths > _LONGEST] = np.inf  # nothing is known of products beyond float32's range
        nil = lengths == 0.0
        if nil.any():  # all products with a zero vector are ties
            members = self._id_at[: self._count()] if slots is None else self._id_at[slots]
            ids[nil, :wanted] = np.sort(members)[:wanted]
            similarities[nil, :wanted] = 0.0
        pending = np.nonzero(~nil)[0]
        asked = min(count, wanted + _SPARE)
        if asked <= MOST_SELECTED:
            first = np.nonzero(~nil & np.isfinite(margins))[0]
            certain = self._fill_certain(queries, margins, first, wanted, asked, slots, ids, similarities)
            pending = np.setdiff1d(pending, certain, assume_unique=True)
        for query in pending:
            near = self._near(queries[query : query + 1], wanted, margins[query], slots)
            self._rank(queries, np.full(len(near), query), near, wanted, ids, similarities)

    def _fill_certain(
        self,
        queries: NDArray[np.float32],
        margins: NDArray[np.float64],
        of: NDArray[np.int64],
        wanted: int,
        asked: int,
        slots: NDArray[np.int64] | None,
        ids: NDArray[np.int64],
        similarities: NDArray[np.float32],
    ) -> NDArray[np.int64]:
        # Fills the answers of those queries ``of`` which ``asked`` rows are enough for, and returns which these are.
        if len(of) == 0:
            return of
        products, found = self._vectors.best(queries[of], asked, self._count(), slots)
        floors = products[:, wanted - 1] - margins[of]
        enough = products[:, -1] < floors
        if asked == (self._count() if slots is None else len(slots)):
            enough[:] = True
        rows, columns = np.nonzero((products >= floors[:, None]) & enough[:, None])
        self._rank(queries, of[rows], found[rows, columns], wanted, ids, similarities)
        return of[enough]

    def _slots(self, allowed: NDArray[np.int64]) -> NDArray[np.int64]:
        slots = np.unique(self._table.slots_of(allowed))
        return slots[slots >= 0]

    def _near(
        self, query: NDArray[np.float32], wanted: int, margin: float, slots: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        # All rows that may be among the best of one query.
        products, found = self._vectors.products(query, self._count(), slots)
        if not np.isfinite(margin):
            return found
        floor = np.partition(products, -wanted)[-wanted] - margin
        near: NDArray[np.int64] = found[products >= floor]
        return near

    def _rank(
        self,
        queries: NDArray[np.float32],
        of: NDArray[np.int64],
        slots: NDArray[np.int64],
        wanted: int,
        ids: NDArray[np.int64],
        similarities: NDArray[np.float32],
    ) -> None:
        # Fills the answers of the queries that ``of`` names beside each candidate; each has ``wanted`` or more.
        if len(slots) == 0:
            return
        wide = queries.astype(np.float64)
        scores = np.empty(len(slots), dtype=np.float32)
        for start in range(0, len(slots), _PAIRS):
            part = slice(start, start + _PAIRS)
            distinct, place = np.unique(slots[part], return_inverse=True)
            vectors = self._rows.read(distinct).astype(np.float64)[place]
            # Products of float32 are exact in float64, and einsum adds each row's in the same order wherever it is.
            scores[part] = np.einsum("nd,nd->n", vectors, wide[of[part]])
        numbers = self._id_at[slots]
        order = np.lexsort((numbers, -scores, of))
        asked, first = np.unique(of[order], return_index=True)
        best = order[first[:, None] + np.arange(wanted)]
        ids[asked, :wanted] = numbers[best]
        similarities[asked, :wanted] = scores[best]


def _norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    return norms


INDEX = FaissGpu
