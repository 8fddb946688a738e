"""The engine: enrol, verify, identify, compare, erase. The only module that knows modalities and gallery together."""

import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from biometrik import bulk
from biometrik.admission import Admission
from biometrik.bulk import ExportedEncounter, Imported, ImportRecord, Prepared
from biometrik.calibration import CalibrationTable, Evidence, load_calibrations
from biometrik.config import EngineConfig
from biometrik.deduplication import Deduplication
from biometrik.duplicates import DEFAULT_DUPLICATE_FMR, DedupePolicy, DuplicatePage
from biometrik.errors import (
    BiometrikError,
    ConsentMissingError,
    EngineClosedError,
    EngineStateError,
    InvalidInputError,
)
from biometrik.examiner import Examiner, Fuse
from biometrik.features import Features
from biometrik.fingers import FingerprintImage
from biometrik.gallery import roster
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.records import DEFAULT_GALLERY, Change, Holdings, NewEncounter, Quarantined, check_id
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

#: Images of a model run of an import, but on a GPU. On two cores two runs at once of one photograph each made 97 a
#: second, of four 82 and of sixteen 57, one run after another 65; prints do not mind.
_IMAGES_PER_RUN: Final = 1
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
        self._admission = Admission(gallery, self._examiner, recognition)
        self._deduplication = Deduplication(gallery, self._examiner)
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
            recognition.face.embedder.dimension,
            folder if config.gallery.vectors_on_disk else None,
            device_id=config.runtime.device_id,
        )
        if config.runtime.warm_up:
            index.warm_up()
            roster.warm_up()
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
                quarantine=config.gallery.on_damage == "quarantine",
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
        dedupe: DedupePolicy | None = None,
        history: str = "",
        context: RequestContext | None = None,
    ) -> Enrollment:
        """Add an encounter to a subject, creating the subject if it is new.

        When it returns ``ENROLLED``, the encounter is on disk and can be found. Samples of acceptable quality are
        stored as templates, the images are not kept. Ready templates are stored as they are. Where one finger was
        presented as two, nothing is stored (``NEEDS_RECAPTURE``, SAME_FINGER_TWICE) unless an operator overrides.

        With a policy, what would be stored is first searched for among everybody else: ``Enrollment.search`` names who
        may be the same person, and where the policy refuses that, nothing is stored (``DUPLICATE_SUSPECTED``). Of two
        people who look alike, enrolled at the same time, one is searched for after the other can be found
        (:mod:`biometrik.admission`). A search that is inconclusive holds nobody up; the answer says that it was.

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
        dedupe : DedupePolicy, optional
            How to look for duplicates; None for not at all. What was found is kept in the event log.
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
        ThresholdUnsupportedError, CalibrationNotFoundError
            The calibration cannot support the policy's FPIR over this many subjects, or there is none; nothing was
            stored.
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
            accepted = [sample for sample in made if override or sample.acceptable]
            if twice or not accepted:
                outcome = EnrollmentOutcome.NEEDS_RECAPTURE if made else EnrollmentOutcome.FAILURE_TO_ENROLL
                return Enrollment(outcome, subject_id, "", 0, reports)
            new = NewEncounter(
                subject_id,
                tuple(sample.template for sample in accepted if sample.template is not None),
                tuple(galleries),
                context.transaction_id,
                _request_digest(subject_id, given.samples, galleries, override, missing, dedupe),
                _details(
                    context,
                    override=override,
                    history=history,
                    samples=origins([s.source for s in given.samples]),
                ),
                tuple(missing),
            )
            if dedupe is None:
                answer, found = self._gallery.admit(new), None
            else:
                answer, found = self._admission.admit(new, self._examiner.presented(accepted), dedupe)
            if not isinstance(answer, Change):
                return Enrollment(EnrollmentOutcome.DUPLICATE_SUSPECTED, subject_id, "", 0, reports, found)
            stored = answer.encounter
            return Enrollment(
                EnrollmentOutcome.ENROLLED, subject_id, stored.encounter_id, stored.templates, reports, found
            )

    def import_encounters(self, records: Iterable[ImportRecord]) -> Iterator[Imported]:
        """Enrol many people: several records are worked on at once, and on a GPU they share model runs.

        Parameters
        ----------
        records : iterable of ImportRecord
            Read as there is room, up to three groups ahead of the outcomes: any number of them takes little memory.
            Each is enrolled as :meth:`enroll` does, under its transaction id.

        Yields
        ------
        tag, outcome
            As they are known, in any order. An error of one record is the outcome of that record.

        Raises
        ------
        EngineStateError
            The engine was closed meanwhile, or is another process's.
        """
        runtime = self.config.runtime
        images = runtime.batch_size if runtime.provider == "cuda" else _IMAGES_PER_RUN
        return bulk.imported(records, self._prepared, self._imported, images_per_group=images)

    def export_encounters(
        self, *, gallery: str | None = None, context: RequestContext | None = None
    ) -> Iterator[ExportedEncounter]:
        """Hand out what is stored of people, biometric data: the event log says first that it leaves, and to whom.

        Encounters that take no part in comparisons are left out. An engine with the same models that enrols these
        templates, in the same galleries, gives the same answers.

        Parameters
        ----------
        gallery : str or None
            Only encounters in this gallery; None for everybody.
        context : RequestContext, optional
            The caller's references, for the event.

        Yields
        ------
        ExportedEncounter
            Oldest first. Of what is enrolled or erased meanwhile some may be among them.

        Raises
        ------
        GalleryNotFoundError
            No gallery has this name.
        StoreDamagedError
            An encounter's templates are damaged.
        StoreUnavailableError
            The event cannot be written: nothing is handed out.
        """
        if gallery == "":
            raise InvalidInputError("gallery: expected a name, or None for everybody")
        rows = self._gallery.export(gallery or "", details=_details(context or RequestContext()))
        while True:
            with self._call():
                stored = next(rows, None)
            if stored is None:
                return
            yield ExportedEncounter(stored.encounter, stored.templates)

    def count_encounters(self, *, galleries: Sequence[str] | None = None) -> int:
        """Return how many encounters a search of these galleries can find, None for all.

        Raises
        ------
        GalleryNotFoundError
            A gallery is unknown.
        """
        with self._call():
            return self._gallery.count(galleries)

    def duplicates(
        self,
        *,
        max_fmr: float = DEFAULT_DUPLICATE_FMR,
        after: int = 0,
        galleries: Sequence[str] | None = None,
        real_evidence: bool = False,
    ) -> DuplicatePage:
        """Hold a page of stored encounters against all others, to find who is enrolled twice under two ids.

        Begin with ``after=0`` and go on with the page's ``last`` while there are ``more``. Each pair comes with its
        younger encounter, so that what was enrolled since the last page ends is found from there. Pairs are encounters
        of different subjects whose comparison reaches the FMR; faces are compared with every other, prints as a search
        does (in stages among many).

        Parameters
        ----------
        max_fmr : float
            Target false match rate of each comparison, 0..1. Of so many pairs of strangers, that share is named, too.
        after : int
            Number of the last encounter before the page.
        galleries : sequence of str, optional
            Only encounters in these; all by default.
        real_evidence : bool
            As for :meth:`verify`.

        Raises
        ------
        InvalidInputError
            ``max_fmr`` is out of range.
        GalleryNotFoundError
            A gallery is unknown.
        ThresholdUnsupportedError
            The calibration of faces cannot support ``max_fmr``.
        CalibrationNotFoundError
            There is none for these models.
        StoreDamagedError
            A stored template is damaged.
        """
        with self._call():
            return self._deduplication.page(max_fmr, after=after, galleries=galleries, real_evidence=real_evidence)

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

    def quarantined(self) -> list[Quarantined]:
        """Return the encounters that were set aside because their bytes are damaged: nobody is compared with them.

        Restoring a backup brings them back; erasing their subject removes them.
        """
        with self._call():
            return self._gallery.quarantined()

    def snapshot(self, path: str | PathLike[str], *, context: RequestContext | None = None) -> Holdings:
        """Copy the database as it is at this moment, while everything goes on; an erasure waits for the end.

        The copy holds biometric data, and what is erased later stays in it: the event log says first that they leave,
        and to whom. :func:`biometrik.gallery.backup.restore`, or ``biometrik backup restore``, is the way back.

        Parameters
        ----------
        path : path-like
            The copy; must not be there. It has this name only once it is on disk and was read to its last row.
        context : RequestContext, optional
            The caller's references, for the event.

        Returns
        -------
        Holdings
            What the copy holds.

        Raises
        ------
        InvalidInputError
            There is a file of this name, or the database is in memory.
        StoreDamagedError
            A row is damaged; no copy is left.
        StoreUnavailableError
            The copy cannot be written; none is left.
        """
        with self._call():
            return self._gallery.snapshot(Path(path), details=_details(context or RequestContext()))

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

    def _prepared(self, records: Sequence[ImportRecord]) -> Sequence[Prepared]:
        # What cannot be prepared is left as it is: storing it says what is wrong. One bad record is bad alone.
        fitting = [record for record in records if len(record.samples) <= self.config.max_samples]
        try:
            prepared = iter(self.prepare([sample for record in fitting for sample in record.samples]))
        except EngineStateError:
            raise
        except BiometrikError:
            if len(records) == 1:
                return [(records[0], records[0].samples)]
            return [row for record in records for row in self._prepared([record])]
        ready = {id(record): [next(prepared) for _ in record.samples] for record in fitting}
        return [(record, ready.get(id(record), record.samples)) for record in records]

    def _imported(self, record: ImportRecord, samples: Sequence[Sample | PreparedSample]) -> Imported:
        try:
            enrollment = self.enroll(
                record.subject_id,
                samples,
                missing=record.missing,
                galleries=record.galleries,
                override=record.override,
                context=record.context,
            )
        except EngineStateError:
            raise
        except BiometrikError as error:
            return record.tag, error
        return record.tag, enrollment

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
    dedupe: DedupePolicy | None,
) -> str:
    given = [digest(sample.source) for sample in samples]
    said = [subject_id.encode(), override.encode(), *(g.encode() for g in galleries), b"", *given]
    policy = [] if dedupe is None else [dedupe]
    return sha256_hex(*said, *(repr(row).encode() for row in (*missing, *policy)))


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
