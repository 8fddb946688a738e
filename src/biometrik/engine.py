"""The engine: enrol, verify, identify, compare, erase. The only module that knows modalities and gallery together."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from biometrik import decision
from biometrik.calibration import CalibrationTable, load_calibrations
from biometrik.config import EngineConfig
from biometrik.errors import (
    CalibrationNotFoundError,
    EngineClosedError,
    EngineStateError,
    IncompatibleTemplateError,
    InvalidInputError,
)
from biometrik.face.pipeline import FacePipeline, ProcessedFace, RejectedFace
from biometrik.gallery.gallery import Gallery, Hit, Reference
from biometrik.gallery.index import INDEXES
from biometrik.gallery.records import DEFAULT_GALLERY
from biometrik.gallery.store import STORES, Event
from biometrik.inference import Runtime
from biometrik.reasons import Reason
from biometrik.types import (
    Candidate,
    Decision,
    Encounter,
    EncounterStatus,
    Enrollment,
    EnrollmentOutcome,
    ErasureCertificate,
    FaceImage,
    GalleryInfo,
    GalleryKind,
    Identification,
    Outcome,
    RequestContext,
    SampleReport,
    Subject,
    Template,
    sha256_hex,
)

#: Target FMR where the caller names none: 1 in 1,000 (BSI TR-03121, face verification).
DEFAULT_MAX_FMR: Final = 1e-3


class Engine:
    """A database of enrolled people and the models to recognise them with.

    Open it with :meth:`open`; every method is safe to call from several threads. A forked child must open its own:
    the parent's engine refuses there.

    Examples
    --------
    >>> with Engine.open(":memory:") as engine:
    ...     len(engine.subjects())
    0
    """

    def __init__(
        self,
        pipeline: FacePipeline,
        gallery: Gallery,
        calibration: CalibrationTable | None,
        config: EngineConfig,
    ) -> None:
        self.config = config
        self._pipeline = pipeline
        self._gallery = gallery
        self._calibration = calibration
        self._pid = os.getpid()
        self._idle = threading.Condition()
        self._calls = 0
        self._closed = False

    @classmethod
    def open(cls, path: str | PathLike[str], config: EngineConfig | None = None) -> Self:
        """Open a database, creating it if it is not there, and load the models.

        Parameters
        ----------
        path : path-like
            File of the database, or ``":memory:"`` for one that vanishes when it is closed.
        config : EngineConfig, optional
            Models, runtime, gallery; the defaults run the bundled models on the CPU.

        Raises
        ------
        ModelError
            Weights are missing, damaged, without licence, or the execution provider cannot run here.
        DatabaseLockedError
            Another process owns the database; the message names it.
        StoreDamagedError, StoreUnavailableError
            The database cannot be read.
        PluginNotFoundError
            The configuration names a plug-in that is not there.
        """
        config = config or EngineConfig()
        runtime = Runtime(config.runtime, config.models)
        pipeline = FacePipeline(config.face, runtime)
        calibration = load_calibrations(config.models.calibrations).get(pipeline.contract_id)
        if config.runtime.warm_up:
            pipeline.warm_up()
        index = INDEXES.load(config.gallery.index)(pipeline.embedder.dimension)
        in_memory = fspath(path) == ":memory:"
        store = STORES.load("memory" if in_memory else config.gallery.store).open(path)
        try:
            gallery = Gallery(
                store,
                index,
                model_contract_id=pipeline.contract_id,
                vector_of=lambda templates: pipeline.embeddings(templates).mean(axis=0),
            )
        except BaseException:
            store.close()
            raise
        return cls(pipeline, gallery, calibration, config)

    def close(self) -> None:
        """Wait for calls in flight, then close the database. Closing twice is fine."""
        self._refuse_in_fork()
        with self._idle:
            if self._closed:
                return
            self._closed = True
            self._idle.wait_for(lambda: self._calls == 0)
        self._gallery.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def model_contract_id(self) -> str:
        """Names the models in force; pinned on every template."""
        return self._pipeline.contract_id

    @property
    def calibration(self) -> CalibrationTable:
        """The evidence behind every score.

        Raises
        ------
        CalibrationNotFoundError
            None is known for these models.
        """
        if self._calibration is None:
            raise CalibrationNotFoundError(
                f"calibration: none for {self.model_contract_id}; make one with scripts/calibrate and name it in"
                " ModelParameters.calibrations"
            )
        return self._calibration

    @property
    def foreign_templates(self) -> int:
        """Stored face templates of other model contracts: they are kept, but cannot be compared or found."""
        with self._call():
            return self._gallery.foreign_templates

    # --- samples ---------------------------------------------------------------------------------------------

    def quality(self, samples: Sequence[FaceImage]) -> tuple[SampleReport, ...]:
        """Return what is to be said of each sample, storing nothing.

        Raises
        ------
        InvalidInputError
            No samples, or too many.
        """
        with self._call():
            return self._process(samples).reports

    def extract(self, samples: Sequence[FaceImage]) -> tuple[Template | None, ...]:
        """Return a template a sample; None where none can be made (ask :meth:`quality` why).

        Raises
        ------
        InvalidInputError
            No samples, or too many.
        """
        with self._call():
            processed = self._process(samples)
            return tuple(
                self._pipeline.template(face) if isinstance(face, ProcessedFace) else None for face in processed.faces
            )

    def compare(
        self, probe: Sequence[FaceImage], reference: Sequence[FaceImage], *, max_fmr: float = DEFAULT_MAX_FMR
    ) -> Decision:
        """Say whether two people are the same, storing nothing.

        Parameters
        ----------
        probe, reference : sequence of FaceImage
            One or more photographs of each. Several of one side are averaged as embeddings.
        max_fmr : float
            Target false match rate, 0..1.

        Returns
        -------
        Decision
            ``samples`` holds the probe's reports, then the reference's.

        Raises
        ------
        InvalidInputError
            No samples, too many, or ``max_fmr`` out of range.
        ThresholdUnsupportedError
            The calibration cannot support ``max_fmr``.
        CalibrationNotFoundError
            No calibration is known for these models.
        """
        with self._call():
            operating = decision.verification(self.calibration, max_fmr, 1)
            first, second = self._process(probe), self._process(reference)
            reports = first.reports + tuple(_moved(r, len(first.reports)) for r in second.reports)
            if first.vector is None or second.vector is None:
                return self._inconclusive(operating, max_fmr, 0, Reason.NO_USABLE_PROBE, reports)
            similarity = float(first.vector @ second.vector)
            return self._decide(operating, max_fmr, similarity, 1, "", reports)

    # --- 1:1 and 1:N -----------------------------------------------------------------------------------------

    def verify(self, subject_id: str, samples: Sequence[FaceImage], *, max_fmr: float = DEFAULT_MAX_FMR) -> Decision:
        """Say whether the person is the enrolled subject.

        Parameters
        ----------
        subject_id : str
            The claim.
        samples : sequence of FaceImage
            One or more photographs of the person. Those of acceptable quality are averaged as embeddings; if
            none is acceptable, all usable ones are.
        max_fmr : float
            Target false match rate, 0..1.

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
            All the subject's templates are of other models.
        StoreDamagedError
            A stored template is damaged.
        """
        with self._call():
            references = self._comparable(self._gallery.references(subject_id))
            operating = decision.verification(self.calibration, max_fmr, max(1, len(references)))
            processed = self._process(samples)
            if not references:
                return self._inconclusive(operating, max_fmr, 0, Reason.NO_REFERENCE, processed.reports)
            if processed.vector is None:
                return self._inconclusive(operating, max_fmr, 0, Reason.NO_USABLE_PROBE, processed.reports)
            similarities = [
                float(processed.vector @ self._pipeline.embeddings(reference.templates).mean(axis=0))
                for reference in references
            ]
            best = int(np.argmax(similarities))
            return self._decide(
                operating,
                max_fmr,
                similarities[best],
                len(references),
                references[best].encounter_id,
                processed.reports,
            )

    def identify(
        self,
        samples: Sequence[FaceImage],
        *,
        max_fpir: float | None = 0.01,
        galleries: Sequence[str] | None = None,
        max_candidates: int = 10,
        excluding: str = "",
    ) -> Identification:
        """Search for the person among everybody enrolled.

        Parameters
        ----------
        samples : sequence of FaceImage
            One or more photographs of the person, averaged as in :meth:`verify`.
        max_fpir : float or None
            Target false positive identification rate over this search, 0..1; None for ranked candidates without a
            decision.
        galleries : sequence of str, optional
            Search only encounters in these; all by default.
        max_candidates : int
            1..100.
        excluding : str
            A subject to leave out, e.g. the person's own.

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
        """
        if not 1 <= max_candidates <= 100:
            raise InvalidInputError(f"max_candidates: expected 1..100, got {max_candidates}")
        with self._call():
            table = self.calibration
            processed = self._process(samples)
            vector = processed.vector
            probe = np.zeros(self._pipeline.embedder.dimension, dtype=np.float32) if vector is None else vector
            found = self._gallery.search(probe, max_candidates, galleries=galleries, excluding=excluding)
            hits = found.hits if vector is not None else ()
            operating = None
            if max_fpir is not None and found.coverage.subjects:
                most = max((hit.encounters_compared for hit in found.hits), default=1)
                operating = decision.identification(table, max_fpir, found.coverage.subjects, most)
            candidates = tuple(
                self._candidate(rank, hit, None if operating is None else operating.threshold)
                for rank, hit in enumerate(hits, start=1)
            )
            outcome, reasons = self._search_outcome(processed, candidates, operating, found.coverage.subjects)
            return Identification(
                outcome=outcome,
                reasons=reasons,
                candidates=candidates,
                threshold=None if operating is None else operating.threshold,
                max_fpir=max_fpir,
                achieved_fpir=None if operating is None else operating.achieved,
                coverage=found.coverage,
                calibration_id=table.id,
                model_contract_id=self.model_contract_id,
                samples=processed.reports,
            )

    # --- enrolment and the gallery ---------------------------------------------------------------------------

    def enroll(
        self,
        subject_id: str,
        samples: Sequence[FaceImage],
        *,
        galleries: Sequence[str] = (DEFAULT_GALLERY,),
        override: str = "",
        context: RequestContext | None = None,
    ) -> Enrollment:
        """Add an encounter to a subject, creating the subject if it is new.

        When it returns ``ENROLLED``, the encounter is on disk and can be found. Samples of acceptable quality are
        stored as templates, the photographs are not kept.

        Parameters
        ----------
        subject_id : str
            The caller's opaque id, 1..128 printable characters.
        samples : sequence of FaceImage
            Photographs of this person, taken now.
        galleries : sequence of str
            Galleries that the encounter joins.
        override : str
            Why an operator accepts samples of poor quality; kept in the event log. "" for no override.
        context : RequestContext, optional
            Transaction id (a repeat returns the first answer) and the caller's references.

        Raises
        ------
        InvalidInputError
            A bad id, no samples, too many.
        GalleryNotFoundError
            A gallery is unknown.
        TransactionConflictError
            The transaction id was used with another request.
        StoreUnavailableError
            The database cannot be written; nothing was stored.
        """
        context = context or RequestContext()
        with self._call():
            processed = self._process(samples)
            faces = [face for face in processed.faces if isinstance(face, ProcessedFace)]
            accepted = faces if override else [face for face in faces if face.quality.acceptable]
            if not accepted:
                outcome = EnrollmentOutcome.NEEDS_RECAPTURE if faces else EnrollmentOutcome.FAILURE_TO_ENROLL
                return Enrollment(outcome, subject_id, "", 0, processed.reports)
            encounter = self._gallery.enroll(
                subject_id,
                [self._pipeline.template(face) for face in accepted],
                galleries=galleries,
                transaction_id=context.transaction_id,
                request_digest=_request_digest(subject_id, samples, galleries, override),
                details=_details(context, override),
            )
            return Enrollment(
                EnrollmentOutcome.ENROLLED,
                subject_id,
                encounter.encounter_id,
                encounter.templates,
                processed.reports,
            )

    def erase(self, subject_id: str, *, context: RequestContext | None = None) -> ErasureCertificate:
        """Remove a subject and all that was stored of it from the database's bytes and from the index.

        Raises
        ------
        SubjectNotFoundError
            Nobody is enrolled under this id.
        StoreUnavailableError
            The database cannot be written; nothing was erased.
        """
        with self._call():
            transaction_id = context.transaction_id if context else ""
            return self._gallery.erase(subject_id, transaction_id=transaction_id)

    def subject(self, subject_id: str) -> Subject:
        """Return a subject with its encounters; raises SubjectNotFoundError."""
        with self._call():
            return self._gallery.subject(subject_id)

    def subjects(self, *, gallery: str | None = None, after: str = "", limit: int = 100) -> list[Subject]:
        """Return a page of subjects in the order of their ids, those after ``after``; ``limit`` 1..1000."""
        with self._call():
            return self._gallery.subjects(gallery=gallery, after=after, limit=limit)

    def encounter(self, encounter_id: str) -> Encounter:
        """Return an encounter; raises EncounterNotFoundError."""
        with self._call():
            return self._gallery.encounter(encounter_id)

    def set_encounter_status(self, encounter_id: str, status: EncounterStatus) -> Encounter:
        """Let an encounter take part in comparisons, or not; raises EncounterNotFoundError."""
        with self._call():
            return self._gallery.set_encounter_status(encounter_id, status)

    def set_encounter_galleries(self, encounter_id: str, galleries: Sequence[str]) -> Encounter:
        """Move an encounter to other galleries; raises EncounterNotFoundError, GalleryNotFoundError."""
        with self._call():
            return self._gallery.set_encounter_galleries(encounter_id, galleries)

    def create_gallery(self, name: str, kind: GalleryKind = GalleryKind.POPULATION) -> GalleryInfo:
        """Create a gallery; raises GalleryExistsError."""
        with self._call():
            return self._gallery.create_gallery(name, kind)

    def gallery(self, name: str) -> GalleryInfo:
        """Return a gallery; raises GalleryNotFoundError."""
        with self._call():
            return self._gallery.gallery(name)

    def galleries(self) -> list[GalleryInfo]:
        """Return all galleries."""
        with self._call():
            return self._gallery.galleries()

    def delete_gallery(self, name: str) -> None:
        """Delete a gallery; its encounters leave it and stay; raises GalleryNotFoundError."""
        with self._call():
            self._gallery.delete_gallery(name)

    def events(self, *, after: int = 0, limit: int = 100) -> list[Event]:
        """Return a page of the event log, in order, those with a sequence number above ``after``."""
        with self._call():
            return self._gallery.events(after=after, limit=limit)

    # --- inside ----------------------------------------------------------------------------------------------

    @contextmanager
    def _call(self) -> Iterator[None]:
        self._refuse_in_fork()
        with self._idle:
            if self._closed:
                raise EngineClosedError("engine: closed; open it again with Engine.open")
            self._calls += 1
        try:
            yield
        finally:
            with self._idle:
                self._calls -= 1
                self._idle.notify_all()

    def _refuse_in_fork(self) -> None:
        if os.getpid() != self._pid:
            raise EngineStateError(
                f"engine: opened by process {self._pid}, used in its forked child {os.getpid()};"
                " open an engine after the fork, or start workers with the 'spawn' method"
            )

    def _process(self, samples: Sequence[FaceImage]) -> "_Processed":
        if not 1 <= len(samples) <= self.config.max_samples:
            raise InvalidInputError(f"samples: expected 1..{self.config.max_samples}, got {len(samples)}")
        return _Processed(self._pipeline.process(samples))

    def _comparable(self, references: Sequence[Reference]) -> list[Reference]:
        kept = [
            reference
            for reference in references
            if all(t.model_contract_id == self.model_contract_id for t in reference.templates)
        ]
        if references and not kept:
            other = references[0].templates[0].model_contract_id
            raise IncompatibleTemplateError(
                f"template: expected models {self.model_contract_id}, got {other}; enrol the subject again, or"
                " open the database with the models that it was made with"
            )
        return kept

    def _decide(
        self,
        operating: decision.Operating,
        max_fmr: float,
        similarity: float,
        comparisons: int,
        encounter_id: str,
        reports: tuple[SampleReport, ...],
    ) -> Decision:
        score = decision.subject_score(self.calibration, similarity, comparisons)
        outcome, reasons = decision.judge(score, operating.threshold, reports)
        return Decision(
            outcome=outcome,
            reasons=reasons,
            score=score,
            threshold=operating.threshold,
            max_fmr=max_fmr,
            achieved_fmr=operating.achieved,
            raw_score=similarity,
            comparisons=comparisons,
            encounter_id=encounter_id,
            calibration_id=self.calibration.id,
            model_contract_id=self.model_contract_id,
            samples=reports,
        )

    def _inconclusive(
        self,
        operating: decision.Operating,
        max_fmr: float,
        comparisons: int,
        reason: Reason,
        reports: tuple[SampleReport, ...],
    ) -> Decision:
        return Decision(
            outcome=Outcome.INCONCLUSIVE,
            reasons=(reason, *_advice(reports)),
            score=None,
            threshold=operating.threshold,
            max_fmr=max_fmr,
            achieved_fmr=operating.achieved,
            raw_score=None,
            comparisons=comparisons,
            encounter_id="",
            calibration_id=self.calibration.id,
            model_contract_id=self.model_contract_id,
            samples=reports,
        )

    def _candidate(self, rank: int, hit: Hit, threshold: float | None) -> Candidate:
        score = decision.subject_score(self.calibration, hit.similarity, hit.encounters_compared)
        return Candidate(
            rank=rank,
            subject_id=hit.subject_id,
            encounter_id=hit.encounter_id,
            galleries=hit.galleries,
            score=score,
            raw_score=hit.similarity,
            is_match=threshold is not None and decision.reaches(score, threshold),
        )

    def _search_outcome(
        self,
        processed: "_Processed",
        candidates: tuple[Candidate, ...],
        operating: decision.Operating | None,
        subjects: int,
    ) -> tuple[Outcome, tuple[Reason, ...]]:
        if processed.vector is None:
            return Outcome.INCONCLUSIVE, (Reason.NO_USABLE_PROBE, *_advice(processed.reports))
        if subjects == 0:
            return Outcome.NO_MATCH, (Reason.EMPTY_GALLERY,)
        if operating is None:
            return Outcome.INCONCLUSIVE, (Reason.NO_THRESHOLD,)
        best = max((candidate.score for candidate in candidates), default=0.0)
        return decision.judge(best, operating.threshold, processed.reports)


class _Processed:
    # The samples of one call: a face or a rejection each, their reports, and the one vector that speaks for all.

    def __init__(self, faces: Sequence[ProcessedFace | RejectedFace]) -> None:
        self.faces = faces
        self.reports = tuple(_report(i, face) for i, face in enumerate(faces))
        usable = [face for face in faces if isinstance(face, ProcessedFace)]
        good = [face for face in usable if face.quality.acceptable] or usable
        self.vector: NDArray[np.float32] | None = (
            np.mean([face.embedding for face in good], axis=0, dtype=np.float32) if good else None
        )


def _report(position: int, face: ProcessedFace | RejectedFace) -> SampleReport:
    if isinstance(face, RejectedFace):
        return SampleReport(position, False, (face.reason,), None, face.faces_found, None)
    return SampleReport(position, True, face.quality.reasons, face.quality, face.faces_found, face.face)


def _moved(report: SampleReport, offset: int) -> SampleReport:
    return SampleReport(
        report.position + offset,
        report.usable,
        report.reasons,
        report.quality,
        report.faces_found,
        report.face,
    )


def _advice(reports: Sequence[SampleReport]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reason for report in reports if not report.usable for reason in report.reasons))


def _request_digest(subject_id: str, samples: Sequence[FaceImage], galleries: Sequence[str], override: str) -> str:
    pixels = [str(sample.pixels.shape).encode() + np.ascontiguousarray(sample.pixels).tobytes() for sample in samples]
    return sha256_hex(subject_id.encode(), override.encode(), *(g.encode() for g in galleries), b"", *pixels)


def _details(context: RequestContext, override: str) -> Mapping[str, str]:
    fields = {
        "operator_ref": context.operator_ref,
        "station_ref": context.station_ref,
        "consent_ref": context.consent_ref,
        "override": override,
    }
    return {name: value for name, value in fields.items() if value}
