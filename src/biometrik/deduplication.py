"""Duplicates within a whole gallery: every encounter held against all others, a page at a time.

Faces are searched for in blocks, each a product of two matrices, down to the similarity that counts: all pairs at or
above it are found. Encounters with prints are searched for one by one, by all their traits together, as a probe would
be. The threshold is the FMR of one comparison: among millions of pairs even a strict one leaves some by chance, and
:attr:`DuplicatePage.compared` times the FMR says how many.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from biometrik import decision
from biometrik.duplicates import DuplicatePage, DuplicatePair
from biometrik.examiner import Examiner
from biometrik.features import Compared, Features
from biometrik.gallery.gallery import Gallery
from biometrik.recognition import traits_of
from biometrik.scale import Scale
from biometrik.types import FACE, Encounter, EncounterStatus, Modality

#: Encounters of a page: their templates take a few megabytes.
PAGE: Final = 1000
#: Faces of one block: enough that the product of matrices, not the call, takes the time, and few enough that others
#: who search wait a fraction of a second among a hundred thousand.
_BLOCK: Final = 256
#: Of a face that is like more than so many encounters, the most alike are named: a thousand encounters of one person,
#: or of one empty frame, are found as such by the first of them.
_MOST_ALIKE: Final = 1024
#: Subjects that one with prints is first searched for among; more where all of them are alike.
_SUBJECTS: Final = 10
_MOST_SUBJECTS: Final = 640

_Row = tuple[int, Encounter, Features]


class Deduplication:
    """Finds duplicates; thread-safe, stores nothing.

    Parameters
    ----------
    gallery : Gallery
        Searched.
    examiner : Examiner
        Says what similarities mean.
    """

    def __init__(self, gallery: Gallery, examiner: Examiner) -> None:
        self._gallery = gallery
        self._examiner = examiner

    def page(
        self, max_fmr: float, *, after: int, galleries: Sequence[str] | None, real_evidence: bool
    ) -> DuplicatePage:
        """Hold a page of encounters against all others; see :meth:`biometrik.Engine.duplicates`."""
        decision.check_rate("max_fmr", max_fmr)
        rows = self._gallery.page(after, PAGE)
        searched = [row for row in rows if _searched(row[1], galleries) and row[2]]
        faces = [row for row in searched if not row[2].prints]
        prints = [
            row for row in searched if row[2].prints and self._reaches(row[2], max_fmr, real_evidence=real_evidence)
        ]
        wanted = faces + prints
        others = max(0, self._gallery.count(galleries) - 1)
        pairs = [*self._by_face(faces, max_fmr, galleries, real_evidence=real_evidence)]
        exact = True
        for row in prints:
            found, whole = self._by_all(row, max_fmr, galleries, real_evidence=real_evidence)
            pairs += found
            exact = exact and whole
        return DuplicatePage(
            last=rows[-1][0] if rows else after,
            more=len(rows) == PAGE,
            pairs=tuple(pairs),
            faces=len(faces),
            prints=len(prints),
            passed_over=len(rows) - len(wanted),
            compared=len(wanted) * others // 2,
            exact=exact,
        )

    def _by_face(
        self, rows: Sequence[_Row], max_fmr: float, galleries: Sequence[str] | None, *, real_evidence: bool
    ) -> Iterator[DuplicatePair]:
        if not rows:
            return
        scales = self._examiner.scales([Modality.FACE], real_evidence=real_evidence)
        decision.verification({FACE: 1}, scales, max_fmr, 1)  # refuses what the evidence does not support
        least = scales[Modality.FACE].similarity_at(max_fmr)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            numbers = np.array([number for number, _, _ in block], dtype=np.int64)
            vectors = np.stack([features.vector for _, _, features in block if features.vector is not None])
            alike = self._gallery.alike(numbers, vectors, least, galleries=galleries, most=_MOST_ALIKE)
            for found in alike:
                own = block[found.row][1]
                if found.subject_id != own.subject_id:
                    score, components = decision.score_of({FACE: Compared(found.similarity)}, scales, 1)
                    yield DuplicatePair(
                        (own.subject_id, found.subject_id), (own.encounter_id, found.encounter_id), score, components
                    )

    def _by_all(
        self, row: _Row, max_fmr: float, galleries: Sequence[str] | None, *, real_evidence: bool
    ) -> tuple[list[DuplicatePair], bool]:
        _, own, features = row
        scales = self._scales(features, real_evidence=real_evidence)
        threshold, count = decision.to_score(max_fmr), _SUBJECTS
        while True:
            result = self._gallery.search(
                features,
                count,
                galleries=galleries,
                excluding=own.subject_id,
                fuse=lambda similar, counts: decision.scores_of(similar, counts, scales),
            )
            scored = [(hit, *decision.score_of(hit.compared, scales, 1)) for hit in result.hits]
            pairs = [
                DuplicatePair((own.subject_id, hit.subject_id), (own.encounter_id, hit.encounter_id), score, components)
                for hit, score, components in scored
                if decision.reaches(score, threshold)
            ]
            if len(pairs) < count or count >= _MOST_SUBJECTS:
                return pairs, result.coverage.exact
            count *= 4

    def _reaches(self, features: Features, max_fmr: float, *, real_evidence: bool) -> bool:
        # Whether all traits together can be told from a stranger's so surely; else no pair could ever count.
        traits = dict.fromkeys(traits_of(features), 1)
        return decision.supports(traits, self._scales(features, real_evidence=real_evidence), max_fmr, 1)

    def _scales(self, features: Features, *, real_evidence: bool) -> Mapping[Modality, Scale]:
        return self._examiner.scales((trait.modality for trait in traits_of(features)), real_evidence=real_evidence)


def _searched(encounter: Encounter, galleries: Sequence[str] | None) -> bool:
    within = encounter.galleries if galleries is None else set(encounter.galleries) & set(galleries)
    return encounter.status is EncounterStatus.ACTIVE and bool(within)
