"""Verify and identify: samples of a person against who is enrolled."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from biometrik.engine.state import EngineState
from biometrik.errors import InvalidInputError
from biometrik.examiner import Fuse
from biometrik.features import Features
from biometrik.gallery.searching import SearchResult
from biometrik.presentation import Presentation
from biometrik.reasons import Reason
from biometrik.samples import PreparedSample, Sample
from biometrik.types import DEFAULT_MAX_FMR, DEFAULT_MAX_FPIR, Decision, Identification

#: Most claims of one 1:few verification: beyond, it is a search.
MAX_CLAIMS: Final = 64
#: Most people of one call: until they are all searched for, an index keeps what it held when the call began.
MAX_PEOPLE: Final = 1000


class Recognising(EngineState):
    """The comparison with who is enrolled: 1:1, 1:few and 1:N."""

    def verify(
        self,
        subject_id: str,
        samples: Sequence[Sample | PreparedSample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether the person is the enrolled subject.

        Parameters
        ----------
        subject_id : str
            The claim.
        samples : sequence of FaceImage, FingerprintImage or Template
            One or more samples of the person: the face, fingers, or both; what is missing does not shift the FMR.
            Faces of acceptable quality are averaged as embeddings; if none is acceptable, all usable ones are.
        max_fmr : float
            Target false match rate, 0..1.
        real_evidence : bool
            Rest on calibrations from real samples alone; otherwise those from synthetic prints reach further.

        Raises
        ------
        SubjectNotFoundError
            Nobody is enrolled under this id.
        InvalidInputError
            No samples, too many, or ``max_fmr`` out of range.
        ThresholdUnsupportedError
            The calibration cannot support ``max_fmr`` for this subject's number of references.
        CalibrationNotFoundError
            No calibration is known for these models.
        IncompatibleTemplateError
            All the subject's templates, or one presented, are of other models.
        StoreDamagedError
            A stored template is damaged.
        """
        return self.verify_any([subject_id], samples, max_fmr=max_fmr, real_evidence=real_evidence)

    def verify_any(
        self,
        subject_ids: Sequence[str],
        samples: Sequence[Sample | PreparedSample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether the person is one of a few enrolled subjects (1:few), and which.

        Parameters
        ----------
        subject_ids : sequence of str
            The claims, 1..64, each once.
        samples, max_fmr, real_evidence
            As for :meth:`verify`; ``max_fmr`` is the chance that a stranger passes as any of them.

        Raises
        ------
        SubjectNotFoundError
            Nobody is enrolled under one of these ids.
        InvalidInputError
            No claims, too many, or one twice; otherwise as :meth:`verify`.
        ThresholdUnsupportedError, CalibrationNotFoundError, IncompatibleTemplateError, StoreDamagedError
            As :meth:`verify`.
        """
        if not 1 <= len(subject_ids) <= MAX_CLAIMS or len(set(subject_ids)) != len(subject_ids):
            raise InvalidInputError(f"subject_ids: expected 1..{MAX_CLAIMS}, each once, got {len(subject_ids)}")
        with self._call():
            references = [(who, ref) for who in subject_ids for ref in self._gallery.references(who)]
            return self._examiner.verify(references, samples, max_fmr, real_evidence=real_evidence)

    def verify_encounter(
        self,
        encounter_id: str,
        samples: Sequence[Sample | PreparedSample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether the person is who was enrolled at one encounter.

        Parameters
        ----------
        encounter_id : str
            The reference.
        samples, max_fmr, real_evidence
            As for :meth:`verify`.

        Raises
        ------
        EncounterNotFoundError
            There is no such encounter.
        InvalidInputError, ThresholdUnsupportedError, CalibrationNotFoundError, IncompatibleTemplateError
            As :meth:`verify`.
        """
        with self._call():
            subject_id = self._gallery.encounter(encounter_id).subject_id
            references = [(subject_id, ref) for ref in self._gallery.references_of_encounter(encounter_id)]
            return self._examiner.verify(references, samples, max_fmr, real_evidence=real_evidence)

    def identify(
        self,
        samples: Sequence[Sample | PreparedSample],
        *,
        max_fpir: float | None = DEFAULT_MAX_FPIR,
        galleries: Sequence[str] | None = None,
        max_candidates: int = 10,
        excluding: str = "",
        real_evidence: bool = False,
    ) -> Identification:
        """Search for the person among everybody enrolled.

        Parameters
        ----------
        samples : sequence of FaceImage, FingerprintImage or Template
            One or more samples of the person, as in :meth:`verify`.
        max_fpir : float or None
            Target false positive identification rate over this search, 0..1; None for ranked candidates without a
            decision.
        galleries : sequence of str, optional
            Search only encounters in these; all by default.
        max_candidates : int
            1..100.
        excluding : str
            A subject to leave out, e.g. the person's own.
        real_evidence : bool
            As for :meth:`verify`.

        Raises
        ------
        GalleryNotFoundError
            A gallery is unknown.
        InvalidInputError
            No samples, too many, or a number out of range.
        ThresholdUnsupportedError
            The calibration cannot support ``max_fpir`` over this many subjects.
        CalibrationNotFoundError
            No calibration is known for these models.
        IncompatibleTemplateError
            A template is of other models.
        """
        with self._call():
            probe = self._examiner.present(samples)
            (found,) = self._identify([probe], max_fpir, galleries, max_candidates, excluding, real_evidence)
            return found

    def identify_many(
        self,
        people: Sequence[Sequence[Sample | PreparedSample]],
        *,
        max_fpir: float | None = DEFAULT_MAX_FPIR,
        galleries: Sequence[str] | None = None,
        max_candidates: int = 10,
        excluding: str = "",
        real_evidence: bool = False,
    ) -> tuple[Identification, ...]:
        """Search for each of several people, all among those enrolled at one moment.

        Every answer is what :meth:`identify` gives. For eight faces or more it takes about a sixth of the time, because
        one pass over the gallery serves all of them; images of equal size share model runs.

        Parameters
        ----------
        people : sequence of sequences of FaceImage, FingerprintImage or Template
            The samples of each person; 0..1000 people.
        max_fpir, galleries, max_candidates, excluding, real_evidence
            As for :meth:`identify`; ``max_fpir`` is the rate of each search.

        Returns
        -------
        tuple of Identification
            In the same order.

        Raises
        ------
        GalleryNotFoundError, InvalidInputError, ThresholdUnsupportedError, CalibrationNotFoundError
        IncompatibleTemplateError
            As :meth:`identify`, for all where one person's samples are at fault; also too many people.
        """
        if len(people) > MAX_PEOPLE:
            raise InvalidInputError(f"people: expected at most {MAX_PEOPLE}, got {len(people)}; ask for them in parts")
        with self._call():
            probes = self._examiner.present_many(people)
            return tuple(self._identify(probes, max_fpir, galleries, max_candidates, excluding, real_evidence))

    def identify_stored(
        self,
        subject_id: str,
        *,
        max_fpir: float | None = DEFAULT_MAX_FPIR,
        galleries: Sequence[str] | None = None,
        max_candidates: int = 10,
        real_evidence: bool = False,
    ) -> Identification:
        """Search with what is stored of a subject, leaving it out, for the same person under another id.

        Parameters
        ----------
        subject_id : str
            Its active encounters' faces are averaged as embeddings; their prints go together.
        max_fpir, galleries, max_candidates, real_evidence
            As for :meth:`identify`.

        Raises
        ------
        SubjectNotFoundError
            Nobody is enrolled under this id.
        GalleryNotFoundError, InvalidInputError, ThresholdUnsupportedError, CalibrationNotFoundError
            As :meth:`identify`.
        IncompatibleTemplateError
            All the subject's templates are of other models.
        """
        with self._call():
            references = [(subject_id, reference) for reference in self._gallery.references(subject_id)]
            probe = self._examiner.stored(references)
            (found,) = self._identify([probe], max_fpir, galleries, max_candidates, subject_id, real_evidence)
            # What is stored was not presented: there is nothing to report of it, and nothing to take again.
            reasons = tuple(Reason.NO_REFERENCE if r is Reason.NO_USABLE_PROBE else r for r in found.reasons)
            return replace(found, reasons=reasons, samples=())

    def _identify(
        self,
        probes: Sequence[Presentation],
        max_fpir: float | None,
        galleries: Sequence[str] | None,
        max_candidates: int,
        excluding: str,
        real_evidence: bool,
    ) -> list[Identification]:
        if not 1 <= max_candidates <= 100:
            raise InvalidInputError(f"max_candidates: expected 1..100, got {max_candidates}")

        def search(features: Sequence[Features], fuse: Fuse) -> list[SearchResult]:
            return self._gallery.search_many(
                features, max_candidates, galleries=galleries, excluding=excluding, fuse=fuse
            )

        return self._examiner.identify(probes, search, max_fpir, real_evidence=real_evidence)
