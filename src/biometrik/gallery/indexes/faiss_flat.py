"""Exact search by FAISS' flat inner-product index: every vector is compared with every query."""

from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from biometrik.gallery.index import TurnTaking

#: Its stubs show constructors of C++ that its Python layer replaces.
_faiss: Final[Any] = faiss
#: FAISS adds float32 products in an order that depends on batch and place, so near ties may come in any order. Rows
#: are asked for until one is worse than the last wanted by this share of the product of the norms, then all are
#: scored again in float64. 1e-5 is 80 float32 roundings: products of D values err by about sqrt(D) of them.
_ROUNDING: Final = 1e-5
#: Rows asked for beyond those wanted at first; one is enough where there are no near ties.
_SPARE: Final = 4
#: OpenMP's own choice, read before any search changes the calling thread's.
_THREADS: Final[int] = faiss.omp_get_max_threads()


class FaissFlat(TurnTaking):
    """FAISS IndexFlatIP under own ids; removal moves the last row into the gap, in constant time.

    FAISS moves its memory as it grows, so writes wait for searches. Its own ``remove_ids`` rewrites everything behind
    the gap (25–46 ms at a million rows of 128).
    """

    exact = True
    recall_claimed = 1.0

    def _create(self) -> None:
        self._flat: Any = faiss.IndexFlatIP(self.dimension)
        self._slot_of: dict[int, int] = {}
        self._id_at = np.empty(1024, dtype=np.int64)  # grows by doubling; slots beyond the count are unused
        self._largest_norm = 0.0  # of all vectors ever added: a bound, which removal need not lower

    def _count(self) -> int:
        return len(self._slot_of)

    def _add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> bool:
        if any(number in self._slot_of for number in ids.tolist()):
            return False
        start = self._count()
        stop = start + len(ids)
        if stop > len(self._id_at):
            self._id_at = np.resize(self._id_at, max(stop, 2 * len(self._id_at)))
        self._flat.add(vectors)
        self._id_at[start:stop] = ids
        self._slot_of.update(zip(ids.tolist(), range(start, stop), strict=True))
        self._largest_norm = max(self._largest_norm, float(_norms(vectors).max()))
        return True

    def _remove(self, ids: NDArray[np.int64]) -> bool:
        if not self._all_held(ids):
            return False
        for number in ids.tolist():
            rows = self._rows()
            slot, last = self._slot_of.pop(number), len(rows) - 1
            if slot != last:
                rows[slot] = rows[last]
                moved = int(self._id_at[last])
                self._id_at[slot] = moved
                self._slot_of[moved] = slot
            rows[last] = 0.0  # the memory stays with FAISS; what was erased does not
            self._flat.codes.resize(last * self.dimension * rows.itemsize)
            self._flat.ntotal = last
        return True

    def _all_held(self, ids: NDArray[np.int64]) -> bool:
        return all(number in self._slot_of for number in ids.tolist())

    def _vectors_of(self, ids: NDArray[np.int64]) -> NDArray[np.float32] | None:
        if not self._all_held(ids):
            return None
        return self._rows()[[self._slot_of[number] for number in ids.tolist()]]

    def _search(
        self,
        queries: NDArray[np.float32],
        allowed: NDArray[np.int64] | None,
        ids: NDArray[np.int64],
        similarities: NDArray[np.float32],
    ) -> None:
        total = self._count()
        parameters = None
        if allowed is not None:
            chosen = np.isin(self._id_at[:total], allowed)
            total = int(np.count_nonzero(chosen))
            bits = np.packbits(chosen, bitorder="little")  # must outlive the search: FAISS keeps a pointer
            parameters = _faiss.SearchParameters(sel=_faiss.IDSelectorBitmap(bits))
        if total == 0:
            return
        # OpenMP spreads one query over threads at several times the CPU. The setting is the calling thread's.
        faiss.omp_set_num_threads(1 if len(queries) == 1 else _THREADS)
        margins = _ROUNDING * self._largest_norm * _norms(queries)
        wanted = min(ids.shape[1], total)
        pending = np.arange(len(queries))
        if not margins.all():  # all products with a zero vector are ties
            nil = margins == 0.0
            members = self._id_at[: self._count()]
            ids[nil, :wanted] = np.sort(members if allowed is None else members[chosen])[:wanted]
            similarities[nil, :wanted] = 0.0
            pending = pending[~nil]
        asked = min(total, wanted + _SPARE)
        while pending.size:
            found, slots = self._flat.search(queries[pending], asked, params=parameters)
            certain = (found[:, -1] < found[:, wanted - 1] - margins[pending]) | (asked == total)
            for query, row in zip(pending[certain], slots[certain], strict=True):
                best, scores = self._ranked(queries[query], row, wanted)
                ids[query, :wanted], similarities[query, :wanted] = best, scores
            pending = pending[~certain]
            asked = min(total, 16 * asked)

    def _ranked(
        self, query: NDArray[np.float32], slots: NDArray[np.int64], wanted: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        # einsum adds each row's products in the same order wherever the row stands; BLAS may not.
        products = np.einsum("nd,d->n", self._rows()[slots].astype(np.float64), query.astype(np.float64))
        scores = products.astype(np.float32)
        ids = self._id_at[slots]
        order = np.lexsort((ids, -scores))[:wanted]
        return ids[order], scores[order]

    def _rows(self) -> NDArray[np.float32]:
        # A view into FAISS' memory, valid until the next change.
        count = self._flat.ntotal
        view: NDArray[np.float32] = faiss.rev_swig_ptr(self._flat.get_xb(), count * self.dimension)
        return view.reshape(count, self.dimension)


def _norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    return norms


INDEX = FaissFlat
