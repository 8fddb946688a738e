"""Enrolments that look for duplicates first, so that of two at the same time none overlooks the other.

An enrolment searches and then commits; what another commits in between, its search has not seen. So each is on a list
from before its search until it can be found itself. Before it searches, it is held against those that came onto the
list earlier, and waits for the ones that look alike. Enrolments of people who do not look alike do not wait for each
other, whatever the store takes for a commit.

What this guarantees: of the enrolments with a policy in one engine, those of people whom the comparator takes for one
person go as if one after the other, in the order in which they began; each search sees every such enrolment that began
before it and was stored. An enrolment without a policy looks for nobody and is seen as soon as it can be found. What a
search in stages overlooks (:class:`biometrik.types.SearchCoverage` says so) it overlooks here, too.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from biometrik import decision
from biometrik.duplicates import DedupeAction, DedupePolicy, as_json, from_json
from biometrik.examiner import Examiner, Fuse
from biometrik.features import Features
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.records import Change, Declined, NewEncounter
from biometrik.gallery.searching import SearchResult
from biometrik.presentation import Presentation
from biometrik.recognition import Recognition
from biometrik.types import Identification, Outcome

#: Two are alike enough to wait from this many times the rate on at which a search for one subject would name the other:
#: the comparator's own rounding between the two ways to one similarity must not decide.
_CAUTION: Final = 2.0
#: And from twice this rate on whatever is asked for: less than the evidence of every trait supports, so that no pair is
#: too alike to be told from one that is not. One pair of strangers in fifty waits in vain, for a commit.
_LEAST_RATE: Final = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class _UnderWay:
    # An enrolment between the beginning of its search and the moment from which on it can be found.
    subject_id: str
    stored: Features
    over: threading.Event = field(default_factory=threading.Event)


class Admission:
    """Enrols under a policy; thread-safe.

    Parameters
    ----------
    gallery : Gallery
        Searched, and written to.
    examiner : Examiner
        Says what similarities mean.
    recognition : Recognition
        Compares.
    """

    def __init__(self, gallery: Gallery, examiner: Examiner, recognition: Recognition) -> None:
        self._gallery = gallery
        self._examiner = examiner
        self._recognition = recognition
        self._lock = threading.Lock()  # over the list alone; nobody waits with it
        self._under_way: list[_UnderWay] = []

    def admit(
        self, new: NewEncounter, probe: Presentation, policy: DedupePolicy
    ) -> tuple[Change | Declined, Identification]:
        """Search for the person, then store the encounter or, as the policy says, do not.

        Parameters
        ----------
        new : NewEncounter
            To be stored; its request digest tells the policy, too. Of a repeat the first answer is returned.
        probe : Presentation
            The samples of its templates.
        policy : DedupePolicy
            What is searched, and what follows.

        Returns
        -------
        change, found
            What was done, and what the search found: its candidates are the suspects.

        Raises
        ------
        BiometrikError
            As :meth:`biometrik.Engine.enroll`; nothing was stored.
        """
        first = self._gallery.admitted(new)
        if first is not None:
            return first, from_json(first.note)
        with self._in_order(new, probe, policy):
            found = self._search(new.subject_id, probe, policy)
            new = replace(new, note=as_json(found), details={**new.details, **policy.said(found)})
            suspected = found.outcome is Outcome.MATCH
            if suspected and policy.action is DedupeAction.REFUSE:
                answer = self._gallery.decline(new)
            else:
                answer = self._gallery.admit(new)
        return answer, from_json(answer.note)

    @contextmanager
    def _in_order(self, new: NewEncounter, probe: Presentation, policy: DedupePolicy) -> Iterator[None]:
        mine = _UnderWay(new.subject_id, self._recognition.features(new.templates))
        passed_over = {new.subject_id, *policy.excluded_subject_ids}
        with self._lock:
            earlier = [other for other in self._under_way if other.subject_id not in passed_over]
            self._under_way.append(mine)
        try:
            for other in earlier:
                if self._alike(probe.features, other.stored, policy):
                    other.over.wait()  # for one that came earlier only: nobody waits in a circle
            yield
        finally:
            with self._lock:
                self._under_way.remove(mine)
            mine.over.set()

    def _alike(self, probe: Features, other: Features, policy: DedupePolicy) -> bool:
        # At no more than the threshold of a search among one subject; among more it is higher.
        score = self._examiner.score(probe, other, real_evidence=policy.real_evidence)
        least = decision.to_score(min(1.0, _CAUTION * max(policy.max_fpir, _LEAST_RATE)))
        return score is not None and decision.reaches(score, least)

    def _search(self, subject_id: str, probe: Presentation, policy: DedupePolicy) -> Identification:
        excluded = policy.excluded_subject_ids

        def search(probes: Sequence[Features], fuse: Fuse) -> list[SearchResult]:
            results = self._gallery.search_many(
                probes,
                policy.max_candidates + len(excluded),
                galleries=policy.galleries,
                excluding=subject_id,
                fuse=fuse,
            )
            hits = [[hit for hit in found.hits if hit.subject_id not in excluded] for found in results]
            return [
                replace(found, hits=tuple(own[: policy.max_candidates]))
                for found, own in zip(results, hits, strict=True)
            ]

        (found,) = self._examiner.identify([probe], search, policy.max_fpir, real_evidence=policy.real_evidence)
        suspects = tuple(candidate for candidate in found.candidates if candidate.is_match)
        return replace(found, candidates=suspects, samples=())
