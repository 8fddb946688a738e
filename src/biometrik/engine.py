"""The engine: enrol, verify, identify, compare, erase. The only module that knows modalities and gallery together."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from types import TracebackType
from typing import Final, Self

import numpy as np

from biometrik import answers, decision
from biometrik.calibration import CalibrationTable, load_calibrations
from biometrik.config import EngineConfig
from biometrik.errors import (
    CalibrationNotFoundError,
    ConsentMissingError,
    EngineClosedError,
    EngineStateError,
    IncompatibleTemplateError,
    InvalidInputError,
)
from biometrik.face.pipeline import FacePipeline
from biometrik.gallery.gallery import Gallery, Reference
from biometrik.gallery.index import INDEXES
from biometrik.gallery.records import DEFAULT_GALLERY, check_id
from biometrik.gallery.store import STORES, Event
from biometrik.inference import Runtime
from biometrik.presentation import Presentation, Reception
from biometrik.reasons import Reason
from biometrik.samples import PreparedSample, Sample, as_it_is, digest, origins
from biometrik.types import (
    DEFAULT_MAX_FMR,
    DEFAULT_MAX_FPIR,
    Decision,
    Encounter,
    EncounterStatus,
    Enrollment,
    EnrollmentOutcome,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    Identification,
    RequestContext,
    SampleReport,
    Subject,
    Template,
    sha256_hex,
)

#: Most claims of one 1:few verification: beyond, it is a search.
MAX_CLAIMS: Final = 64


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
        self._reception = Reception(pipeline, config.max_samples)
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
        evidence = load_calibrations(config.models.calibrations).get(pipeline.contract_id)
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
        return cls(pipeline, gallery, evidence.real if evidence else None, config)

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

    def prepare(self, samples: Sequence[Sample]) -> tuple[PreparedSample, ...]:
        """Put samples through the models, once and together, for calls that follow.

        Every other method does this with the samples that it is given. Whoever has samples of several people, or one
        sample for several calls, prepares them here: images of equal size share model runs.

        Parameters
        ----------
        samples : sequence of FaceImage, Template or UnreadableSample
            Any number, of any people.

        Returns
        -------
        tuple of PreparedSample
            In the same order.

        Raises
        ------
        IncompatibleTemplateError
            A template is of other models.
        TemplateFormatError
            A template's payload is not one of theirs.
        """
        with self._call():
            return self._reception.prepare(samples)

    def quality(self, samples: Sequence[Sample | PreparedSample]) -> tuple[SampleReport, ...]:
        """Return what is to be said of each sample, storing nothing.

        Raises
        ------
        InvalidInputError
            No samples, or too many.
        """
        with self._call():
            return self._reception.present(samples).reports

    def extract(self, samples: Sequence[Sample | PreparedSample]) -> tuple[Template | None, ...]:
        """Return a template a sample; None where none can be made (ask :meth:`quality` why).

        Raises
        ------
        InvalidInputError
            No samples, or too many.
        """
        with self._call():
            return tuple(sample.template for sample in self._reception.present(samples).samples)

    def compare(
        self,
        probe: Sequence[Sample | PreparedSample],
        reference: Sequence[Sample | PreparedSample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
    ) -> Decision:
        """Say whether two people are the same, storing nothing.

        Parameters
        ----------
        probe, reference : sequence of FaceImage or Template
            One or more samples of each. Several of one side are averaged as embeddings.
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
        IncompatibleTemplateError
            A template is of other models.
        """
        with self._call():
            operating = decision.verification(self.calibration, max_fmr, 1)
            first, second = self._reception.present(probe), self._reception.present(reference)
            moved = tuple(sample.at(i).report for i, sample in enumerate(second.samples, start=len(first.samples)))
            if first.vector is None or second.vector is None:
                reports = first.reports + moved
                return answers.inconclusive(self.calibration, operating, max_fmr, Reason.NO_USABLE_PROBE, reports)
            similarity = float(first.vector @ second.vector)
            return answers.decided(self.calibration, operating, max_fmr, similarity, first.reports, moved)

    # --- 1:1 and 1:N -----------------------------------------------------------------------------------------

    def verify(
        self,
        subject_id: str,
        samples: Sequence[Sample | PreparedSample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
    ) -> Decision:
        """Say whether the person is the enrolled subject.

        Parameters
        ----------
        subject_id : str
            The claim.
        samples : sequence of FaceImage or Template
            One or more samples of the person. Those of acceptable quality are averaged as embeddings; if none is
            acceptable, all usable ones are.
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
            All the subject's templates, or one presented, are of other models.
        StoreDamagedError
            A stored template is damaged.
        """
        return self.verify_any([subject_id], samples, max_fmr=max_fmr)

    def verify_any(
        self,
        subject_ids: Sequence[str],
        samples: Sequence[Sample | PreparedSample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
    ) -> Decision:
        """Say whether the person is one of a few enrolled subjects (1:few), and which.

        Parameters
        ----------
        subject_ids : sequence of str
            The claims, 1..64, each once.
        samples, max_fmr
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
            return self._verify(references, samples, max_fmr)

    def verify_encounter(
        self, encounter_id: str, samples: Sequence[Sample | PreparedSample], *, max_fmr: float = DEFAULT_MAX_FMR
    ) -> Decision:
        """Say whether the person is who was enrolled at one encounter.

        Parameters
        ----------
        encounter_id : str
            The reference.
        samples, max_fmr
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
            return self._verify(references, samples, max_fmr)

    def identify(
        self,
        samples: Sequence[Sample | PreparedSample],
        *,
        max_fpir: float | None = DEFAULT_MAX_FPIR,
        galleries: Sequence[str] | None = None,
        max_candidates: int = 10,
        excluding: str = "",
    ) -> Identification:
        """Search for the person among everybody enrolled.

        Parameters
        ----------
        samples : sequence of FaceImage or Template
            One or more samples of the person, averaged as in :meth:`verify`.
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
        IncompatibleTemplateError
            A template is of other models.
        """
        with self._call():
            return self._identify(self._reception.present(samples), max_fpir, galleries, max_candidates, excluding)

    def identify_stored(
        self,
        subject_id: str,
        *,
        max_fpir: float | None = DEFAULT_MAX_FPIR,
        galleries: Sequence[str] | None = None,
        max_candidates: int = 10,
    ) -> Identification:
        """Search with what is stored of a subject, leaving it out, for the same person under another id.

        Parameters
        ----------
        subject_id : str
            Its active encounters' templates are averaged as embeddings.
        max_fpir, galleries, max_candidates
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
            references = self._comparable([(subject_id, ref) for ref in self._gallery.references(subject_id)])
            templates = [template for _, reference in references for template in reference.templates]
            presented = Presentation([as_it_is(template) for template in templates], self._pipeline)
            found = self._identify(presented, max_fpir, galleries, max_candidates, subject_id)
            # What is stored was not presented: there is nothing to report of it, and nothing to take again.
            reasons = tuple(Reason.NO_REFERENCE if r is Reason.NO_USABLE_PROBE else r for r in found.reasons)
            return replace(found, reasons=reasons, samples=())

    # --- enrolment and the gallery ---------------------------------------------------------------------------

    def enroll(
        self,
        subject_id: str,
        samples: Sequence[Sample | PreparedSample],
        *,
        galleries: Sequence[str] | None = None,
        override: str = "",
        context: RequestContext | None = None,
    ) -> Enrollment:
        """Add an encounter to a subject, creating the subject if it is new.

        When it returns ``ENROLLED``, the encounter is on disk and can be found. Samples of acceptable quality are
        stored as templates, the photographs are not kept. Ready templates are stored as they are.

        Parameters
        ----------
        subject_id : str
            The caller's opaque id, 1..128 printable characters.
        samples : sequence of FaceImage or Template
            Of this person, taken now.
        galleries : sequence of str
            Galleries that the encounter joins; None for the default one, empty for comparisons 1:1 only.
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
        ConsentMissingError
            ``config.require_consent`` is set and the context names none.
        IncompatibleTemplateError
            A template is of other models.
        StoreUnavailableError
            The database cannot be written; nothing was stored.
        """
        context = context or RequestContext()
        galleries = (DEFAULT_GALLERY,) if galleries is None else galleries
        with self._call():
            _require_consent(self.config, context)
            check_id("subject_id", subject_id)  # before anything is said of the samples
            presented = self._reception.present(samples)
            made = [sample for sample in presented.samples if sample.template is not None]
            accepted = [s.template for s in made if s.template is not None and (override or s.acceptable)]
            if not accepted:
                outcome = EnrollmentOutcome.NEEDS_RECAPTURE if made else EnrollmentOutcome.FAILURE_TO_ENROLL
                return Enrollment(outcome, subject_id, "", 0, presented.reports)
            encounter = self._gallery.enroll(
                subject_id,
                accepted,
                galleries=galleries,
                transaction_id=context.transaction_id,
                request_digest=_request_digest(subject_id, presented.samples, galleries, override),
                details=_details(context, override=override, samples=origins([s.source for s in presented.samples])),
            )
            return Enrollment(
                EnrollmentOutcome.ENROLLED,
                subject_id,
                encounter.encounter_id,
                encounter.templates,
                presented.reports,
            )

    def erase(self, subject_id: str, *, context: RequestContext | None = None) -> ErasureCertificate:
        """Remove a subject and all that was stored of it from the database's bytes and from the index.

        Parameters
        ----------
        subject_id : str
            Who.
        context : RequestContext, optional
            As for :meth:`enroll`.

        Raises
        ------
        SubjectNotFoundError
            Nobody is enrolled under this id.
        TransactionConflictError
            The transaction id was used with another request.
        StoreUnavailableError
            The database cannot be written, and nothing was erased; or its files still hold bytes of what was erased.
            The message says which.
        """
        context = context or RequestContext()
        with self._call():
            return self._gallery.erase(subject_id, transaction_id=context.transaction_id, details=_details(context))

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

    def set_encounter_status(
        self, encounter_id: str, status: EncounterStatus, *, context: RequestContext | None = None
    ) -> Encounter:
        """Let an encounter take part in comparisons, or not.

        Parameters
        ----------
        encounter_id : str
            Which.
        status : EncounterStatus
            What it is to be.
        context : RequestContext, optional
            As for :meth:`enroll`.

        Raises
        ------
        EncounterNotFoundError
            There is no such encounter.
        TransactionConflictError
            The transaction id was used with another request.
        """
        context = context or RequestContext()
        with self._call():
            return self._gallery.set_encounter_status(
                encounter_id, status, transaction_id=context.transaction_id, details=_details(context)
            )

    def set_encounter_galleries(
        self, encounter_id: str, galleries: Sequence[str], *, context: RequestContext | None = None
    ) -> Encounter:
        """Move an encounter to other galleries.

        Parameters
        ----------
        encounter_id : str
            Which.
        galleries : sequence of str
            All that it is to be in; empty for comparisons 1:1 only.
        context : RequestContext, optional
            As for :meth:`enroll`.

        Raises
        ------
        EncounterNotFoundError, GalleryNotFoundError
            One of them is unknown.
        TransactionConflictError
            The transaction id was used with another request.
        """
        context = context or RequestContext()
        with self._call():
            return self._gallery.set_encounter_galleries(
                encounter_id, galleries, transaction_id=context.transaction_id, details=_details(context)
            )

    def create_gallery(
        self,
        name: str,
        kind: GalleryKind = GalleryKind.POPULATION,
        *,
        legal_basis: str = "",
        retention_days: int = 0,
        context: RequestContext | None = None,
    ) -> GalleryInfo:
        """Create a gallery: a set of encounters that can be searched by itself.

        Parameters
        ----------
        name : str
            1..128 printable characters.
        kind : GalleryKind
            What it is for.
        legal_basis : str
            The law that allows it, at most 1024 printable characters; required for a watchlist.
        retention_days : int
            For how many days encounters may be kept, 0..36525; 0 where nothing is said. Recorded and reported:
            nothing is erased by it.
        context : RequestContext, optional
            As for :meth:`enroll`.

        Raises
        ------
        InvalidInputError
            An argument is out of its bounds.
        LegalBasisMissingError
            It is a watchlist, and no law is named.
        GalleryExistsError
            There is one of this name.
        TransactionConflictError
            The transaction id was used with another request.
        """
        context = context or RequestContext()
        with self._call():
            return self._gallery.create_gallery(
                name,
                kind,
                legal_basis=legal_basis,
                retention_days=retention_days,
                transaction_id=context.transaction_id,
                details=_details(context),
            )

    def gallery(self, name: str) -> GalleryInfo:
        """Return a gallery; raises GalleryNotFoundError."""
        with self._call():
            return self._gallery.gallery(name)

    def galleries(self) -> list[GalleryInfo]:
        """Return all galleries."""
        with self._call():
            return self._gallery.galleries()

    def delete_gallery(self, name: str, *, context: RequestContext | None = None) -> None:
        """Delete a gallery; its encounters leave it and stay.

        Parameters
        ----------
        name : str
            Which; not the default gallery.
        context : RequestContext, optional
            As for :meth:`enroll`.

        Raises
        ------
        GalleryNotFoundError
            No gallery has this name.
        InvalidInputError
            It is the default gallery.
        TransactionConflictError
            The transaction id was used with another request.
        """
        context = context or RequestContext()
        with self._call():
            self._gallery.delete_gallery(name, transaction_id=context.transaction_id, details=_details(context))

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

    def _comparable(self, references: Sequence[tuple[str, Reference]]) -> list[tuple[str, Reference]]:
        # A subject and a reference of it each; those of other models cannot be compared.
        kept = [
            (subject_id, reference)
            for subject_id, reference in references
            if all(t.model_contract_id == self.model_contract_id for t in reference.templates)
        ]
        if references and not kept:
            other = references[0][1].templates[0].model_contract_id
            raise IncompatibleTemplateError(
                f"template: expected models {self.model_contract_id}, got {other}; enrol the subject again, or"
                " open the database with the models that it was made with"
            )
        return kept

    def _verify(
        self,
        references: Sequence[tuple[str, Reference]],
        samples: Sequence[Sample | PreparedSample],
        max_fmr: float,
    ) -> Decision:
        references = self._comparable(references)
        operating = decision.verification(self.calibration, max_fmr, max(1, len(references)))
        presented = self._reception.present(samples)
        if not references or presented.vector is None:
            reason = Reason.NO_USABLE_PROBE if references else Reason.NO_REFERENCE
            return answers.inconclusive(self.calibration, operating, max_fmr, reason, presented.reports)
        similarities = [
            float(presented.vector @ self._pipeline.embeddings(reference.templates).mean(axis=0))
            for _, reference in references
        ]
        best = int(np.argmax(similarities))
        subject_id, reference = references[best]
        return answers.decided(
            self.calibration,
            operating,
            max_fmr,
            similarities[best],
            presented.reports,
            comparisons=len(references),
            subject_id=subject_id,
            encounter_id=reference.encounter_id,
        )

    def _identify(
        self,
        presented: Presentation,
        max_fpir: float | None,
        galleries: Sequence[str] | None,
        max_candidates: int,
        excluding: str,
    ) -> Identification:
        if not 1 <= max_candidates <= 100:
            raise InvalidInputError(f"max_candidates: expected 1..100, got {max_candidates}")
        table, vector = self.calibration, presented.vector
        # Without a usable probe the search still says over whom it would have gone.
        probe = np.zeros(self._pipeline.embedder.dimension, dtype=np.float32) if vector is None else vector
        found = self._gallery.search(probe, max_candidates, galleries=galleries, excluding=excluding)
        return answers.identified(table, found, max_fpir, presented.reports, usable=vector is not None)


def _request_digest(subject_id: str, samples: Sequence[PreparedSample], galleries: Sequence[str], override: str) -> str:
    presented = [digest(sample.source) for sample in samples]
    return sha256_hex(subject_id.encode(), override.encode(), *(g.encode() for g in galleries), b"", *presented)


def _require_consent(config: EngineConfig, context: RequestContext) -> None:
    if config.require_consent and not context.consent_ref.strip():
        raise ConsentMissingError(
            "consent_ref: expected the caller's reference of the consent, got none; give it in the RequestContext"
        )


def _details(context: RequestContext, **further: str) -> Mapping[str, str]:
    fields = {
        "operator_ref": context.operator_ref,
        "station_ref": context.station_ref,
        "consent_ref": context.consent_ref,
        "purpose": context.purpose.value if context.purpose else "",
        **further,
    }
    return {name: value for name, value in fields.items() if value}
