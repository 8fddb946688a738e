"""The engine: enrol, verify, identify, compare, erase. The only module that knows modalities and gallery together."""

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from biometrik.calibration import CalibrationTable, Evidence, load_calibrations
from biometrik.config import EngineConfig
from biometrik.errors import ConsentMissingError, EngineClosedError, EngineStateError, InvalidInputError
from biometrik.examiner import Examiner, Fuse
from biometrik.features import Features
from biometrik.fingers import FingerprintImage
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.records import DEFAULT_GALLERY, check_id
from biometrik.gallery.searching import SearchResult
from biometrik.gallery.snapshot import Snapshot
from biometrik.gallery.store import STORES, Event
from biometrik.presentation import Presentation
from biometrik.reasons import Reason
from biometrik.recognition import Recognition, presented
from biometrik.samples import PreparedSample, Sample, digest, origins
from biometrik.scale import Scale
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
    MissingSample,
    Modality,
    RequestContext,
    SampleReport,
    Subject,
    Template,
    Trait,
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
        recognition: Recognition,
        gallery: Gallery,
        evidence: Mapping[str, Evidence],
        config: EngineConfig,
    ) -> None:
        self.config = config
        self._recognition = recognition
        self._examiner = Examiner(recognition, evidence, config.max_samples)
        self._gallery = gallery
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
        recognition = Recognition(config)
        evidence = load_calibrations(config.models.calibrations)
        in_memory = fspath(path) == ":memory:"
        folder = Path(tempfile.gettempdir()) if in_memory else Path(path).absolute().parent
        index = INDEXES.load(config.gallery.index)(
            recognition.face.embedder.dimension, folder if config.gallery.vectors_on_disk else None
        )
        if config.runtime.warm_up:
            index.warm_up()
        file = None if in_memory or not config.gallery.snapshot else Path(f"{fspath(path)}.index")
        # A snapshot vouches for what it was made of; the rest is checked while the engine is at work (ADR 18).
        store = STORES.load("memory" if in_memory else config.gallery.store).open(
            path, check=file is None or not file.exists()
        )
        try:
            gallery = Gallery(
                store,
                index,
                PrintIndex(lambda: recognition.matcher, config.gallery.exhaustive_prints),
                owns=recognition.owns,
                features_of=recognition.features_of_many,
                snapshot=None if file is None else Snapshot(file, store.protection, recognition.contract),
            )
        except BaseException:
            store.close()
            raise
        return cls(recognition, gallery, evidence, config)

    def keep_snapshot(self) -> None:
        """Keep the indexes beside the database now, as :meth:`close` does; the next start is as fast after a crash.

        Raises
        ------
        StoreUnavailableError
            The disk refused, or the database keeps no snapshot.
        """
        with self._call():
            self._gallery.keep_snapshot()

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
        """Names the face models in force; pinned on every face template."""
        return self._recognition.face.contract_id

    def contract_id(self, modality: Modality) -> str:
        """Return what names a modality's models in force; pinned on every template that they make.

        Raises
        ------
        ModelError, PluginNotFoundError
            The fingers' models are asked for and cannot be opened.
        """
        return self._recognition.contract_id(modality)

    @property
    def calibration(self) -> Scale:
        """The evidence behind the scores of faces; raises as :meth:`scale`."""
        return self.scale(Modality.FACE)

    @property
    def calibrations(self) -> tuple[CalibrationTable, ...]:
        """The tables in force: those of faces, and of fingers once their models are opened."""
        return self._examiner.calibrations

    def scale(self, modality: Modality, *, real_evidence: bool = False) -> Scale:
        """Return the evidence behind a modality's scores.

        Parameters
        ----------
        modality : Modality
            Whose.
        real_evidence : bool
            Only what was measured on real samples.

        Raises
        ------
        CalibrationNotFoundError
            None is known for these models, or none of real samples.
        ModelError, PluginNotFoundError
            The fingers' models are asked for and cannot be opened.
        """
        return self._examiner.scale(modality, real_evidence=real_evidence)

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
        samples : sequence of FaceImage, FingerprintImage, Template or UnreadableSample
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
            return self._recognition.prepare(samples)

    def quality(self, samples: Sequence[Sample | PreparedSample]) -> tuple[SampleReport, ...]:
        """Return what is to be said of each sample, storing nothing.

        Raises
        ------
        InvalidInputError
            No samples, or too many.
        """
        with self._call():
            return self._examiner.present(samples).reports

    def extract(self, samples: Sequence[Sample | PreparedSample]) -> tuple[Template | None, ...]:
        """Return a template a sample; None where none can be made (ask :meth:`quality` why).

        Raises
        ------
        InvalidInputError
            No samples, or too many.
        """
        with self._call():
            return tuple(sample.template for sample in self._examiner.present(samples).samples)

    def compare(
        self,
        probe: Sequence[Sample | PreparedSample],
        reference: Sequence[Sample | PreparedSample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether two people are the same, storing nothing.

        Parameters
        ----------
        probe, reference : sequence of FaceImage, FingerprintImage or Template
            One or more samples of each. Several faces of one side are averaged as embeddings; of several prints of
            one finger the best pair counts. Traits that both sides have are fused (ADR 10).
        max_fmr : float
            Target false match rate, 0..1.
        real_evidence : bool
            Rest on calibrations from real samples alone; otherwise those from synthetic prints reach further.

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
            return self._examiner.compare(probe, reference, max_fmr, real_evidence=real_evidence)

    def draw_pairs(self, probe: FingerprintImage, reference: FingerprintImage) -> bytes:
        """Return a picture of two prints side by side, with their minutiae and lines between the pairs that match.

        Parameters
        ----------
        probe, reference : FingerprintImage
            Left and right.

        Returns
        -------
        bytes
            A PNG file. It shows a person's prints: biometric data.

        Raises
        ------
        InvalidInputError
            One of them is no print.
        """
        with self._call():
            return self._recognition.draw_pairs(probe, reference)

    # --- 1:1 and 1:N -----------------------------------------------------------------------------------------

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
            return self._identify(
                self._examiner.present(samples), max_fpir, galleries, max_candidates, excluding, real_evidence
            )

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
            found = self._identify(
                self._examiner.stored(references),
                max_fpir,
                galleries,
                max_candidates,
                subject_id,
                real_evidence,
            )
            # What is stored was not presented: there is nothing to report of it, and nothing to take again.
            reasons = tuple(Reason.NO_REFERENCE if r is Reason.NO_USABLE_PROBE else r for r in found.reasons)
            return replace(found, reasons=reasons, samples=())

    # --- enrolment and the gallery ---------------------------------------------------------------------------

    def enroll(
        self,
        subject_id: str,
        samples: Sequence[Sample | PreparedSample],
        *,
        missing: Sequence[MissingSample] = (),
        galleries: Sequence[str] | None = None,
        override: str = "",
        history: str = "",
        context: RequestContext | None = None,
    ) -> Enrollment:
        """Add an encounter to a subject, creating the subject if it is new.

        When it returns ``ENROLLED``, the encounter is on disk and can be found. Samples of acceptable quality are
        stored as templates, the images are not kept. Ready templates are stored as they are. Where one finger was
        presented as two, nothing is stored (``NEEDS_RECAPTURE``, SAME_FINGER_TWICE) unless an operator overrides.

        Parameters
        ----------
        subject_id : str
            The caller's opaque id, 1..128 printable characters.
        samples : sequence of FaceImage, FingerprintImage or Template
            Of this person, taken now.
        missing : sequence of MissingSample
            Fingers that cannot be had, each once and none that is presented; kept with the encounter.
        galleries : sequence of str
            Galleries that the encounter joins; None for the default one, empty for comparisons 1:1 only.
        override : str
            Why an operator accepts samples of poor quality; kept in the event log. "" for no override.
        history : str
            How the samples came to be taken, as :attr:`biometrik.capture.Capture.log` has it; kept in the event log.
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
            require_consent(self.config, context)
            check_id("subject_id", subject_id)  # before anything is said of the samples
            _check_missing(missing, presented(samples))
            given = self._examiner.present(samples)
            twice = frozenset() if override else self._examiner.same_finger_twice(given)
            reports = tuple(_said_twice(report) if report.trait in twice else report for report in given.reports)
            made = [sample for sample in given.samples if sample.template is not None]
            accepted = [s.template for s in made if s.template is not None and (override or s.acceptable)]
            if twice or not accepted:
                outcome = EnrollmentOutcome.NEEDS_RECAPTURE if made else EnrollmentOutcome.FAILURE_TO_ENROLL
                return Enrollment(outcome, subject_id, "", 0, reports)
            encounter = self._gallery.enroll(
                subject_id,
                accepted,
                missing=missing,
                galleries=galleries,
                transaction_id=context.transaction_id,
                request_digest=_request_digest(subject_id, given.samples, galleries, override, missing),
                details=_details(
                    context,
                    override=override,
                    history=history,
                    samples=origins([s.source for s in given.samples]),
                ),
            )
            return Enrollment(
                EnrollmentOutcome.ENROLLED,
                subject_id,
                encounter.encounter_id,
                encounter.templates,
                reports,
            )

    def same_finger(self, sample: PreparedSample, others: Mapping[Trait, PreparedSample]) -> Trait | None:
        """Say whether a print is of a finger that was presented before under another name.

        Parameters
        ----------
        sample : PreparedSample
            The print.
        others : mapping of Trait to PreparedSample
            Prints of the same person's other fingers, up to nine.

        Returns
        -------
        Trait or None
            Which of them it is; None where it is none, or the models of fingers have no calibration to tell by. Of a
            thousand people's ten different fingers about one set gives a false alarm.
        """
        with self._call():
            return self._examiner.same_finger(sample, others)

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

    def _identify(
        self,
        probe: Presentation,
        max_fpir: float | None,
        galleries: Sequence[str] | None,
        max_candidates: int,
        excluding: str,
        real_evidence: bool,
    ) -> Identification:
        if not 1 <= max_candidates <= 100:
            raise InvalidInputError(f"max_candidates: expected 1..100, got {max_candidates}")

        def search(features: Features, fuse: Fuse) -> SearchResult:
            return self._gallery.search(features, max_candidates, galleries=galleries, excluding=excluding, fuse=fuse)

        return self._examiner.identify(probe, search, max_fpir, real_evidence=real_evidence)


def _request_digest(
    subject_id: str,
    samples: Sequence[PreparedSample],
    galleries: Sequence[str],
    override: str,
    missing: Sequence[MissingSample],
) -> str:
    given = [digest(sample.source) for sample in samples]
    said = [subject_id.encode(), override.encode(), *(g.encode() for g in galleries), b"", *given]
    return sha256_hex(*said, *(repr(row).encode() for row in missing))


def _check_missing(missing: Sequence[MissingSample], given: Mapping[Trait, int]) -> None:
    traits = [row.trait for row in missing]
    if len(set(traits)) != len(traits):
        raise InvalidInputError("missing: expected each finger once")
    if both := [trait.name for trait in traits if trait in given]:
        raise InvalidInputError(f"missing: expected fingers that are not presented, got {', '.join(both)} as well")


def _said_twice(report: SampleReport) -> SampleReport:
    return replace(report, reasons=(Reason.SAME_FINGER_TWICE, *report.reasons))


def require_consent(config: EngineConfig, context: RequestContext) -> None:
    """Raise ConsentMissingError where the configuration asks for a consent and the context names none."""
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
