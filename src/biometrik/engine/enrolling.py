"""Enrol, import and export people, and find who is enrolled twice."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from biometrik import bulk
from biometrik.bulk import ExportedEncounter, Imported, ImportRecord, Prepared
from biometrik.duplicates import DEFAULT_DUPLICATE_FMR, DedupePolicy, DuplicatePage
from biometrik.engine.comparing import Comparing
from biometrik.engine.context import details_of, require_consent
from biometrik.errors import BiometrikError, EngineStateError, InvalidInputError
from biometrik.gallery.records import DEFAULT_GALLERY, Change, NewEncounter, check_id
from biometrik.reasons import Reason
from biometrik.recognition import presented
from biometrik.samples import PreparedSample, Sample, digest, origins
from biometrik.types import (
    Enrollment,
    EnrollmentOutcome,
    MissingSample,
    RequestContext,
    SampleReport,
    Trait,
    sha256_hex,
)

#: Images of a model run of an import, but on a GPU. On two cores two runs at once of one photograph each made 97 a
#: second, of four 82 and of sixteen 57, one run after another 65; prints do not mind.
_IMAGES_PER_RUN: Final = 1


class Enrolling(Comparing):
    """How people get in and out of the database: one, many, and who is in it twice."""

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
                details_of(
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
        rows = self._gallery.export(gallery or "", details=details_of(context or RequestContext()))
        while True:
            with self._call():
                stored = next(rows, None)
            if stored is None:
                return
            yield ExportedEncounter(stored.encounter, stored.templates)

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
