"""The library's values as messages of the contract, and back; server and client share it.

``…_to_wire`` cannot fail. ``…_from_wire`` reads what another program sent: whatever it holds, the result is a value
or an InvalidInputError.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, Generic, TypeVar

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from biometrik.duplicates import DedupeAction
from biometrik.errors import InvalidInputError, InvalidPositionError, TemplateFormatError
from biometrik.fingers import FingerPosition, FingerprintImage, Impression
from biometrik.guidance import Guidance
from biometrik.reasons import Locale, Reason
from biometrik.types import (
    FACE,
    Box,
    Candidate,
    Component,
    Decision,
    Encounter,
    EncounterStatus,
    Enrollment,
    EnrollmentOutcome,
    ErasureCertificate,
    Face,
    GalleryInfo,
    GalleryKind,
    Identification,
    Interval,
    MissingReason,
    MissingSample,
    Modality,
    Outcome,
    Purpose,
    Quality,
    QualityComponent,
    RequestContext,
    SampleOrigin,
    SampleReport,
    SampleSource,
    SearchCoverage,
    Subject,
    Template,
    Trait,
)
from biometrik.v1 import (
    context_pb2,
    decision_pb2,
    device_service_pb2,
    enrollment_service_pb2,
    sample_pb2,
    subject_pb2,
)
from biometrik.verdicts import CaptureBasis, OverrideKind, SubmitOutcome, Submitted, TraitStanding, TraitState

E = TypeVar("E", bound=Enum)


class EnumMap(Generic[E]):
    """One of our enumerations beside the contract's: same names, with the contract's prefix.

    Parameters
    ----------
    ours : type of Enum
        Its names are the contract's without prefix.
    theirs : EnumTypeWrapper
        The generated one.
    prefix : str
        Of the contract's names, with the underscore.
    """

    def __init__(self, ours: type[E], theirs: Any, prefix: str) -> None:
        self._name = prefix.rstrip("_").lower()
        self._numbers: dict[E, int] = {member: theirs.Value(prefix + member.name) for member in ours}
        self._members = {number: member for member, number in self._numbers.items()}

    def to_wire(self, member: E) -> Any:
        """Return the contract's number."""
        return self._numbers[member]

    def get(self, number: int) -> E | None:
        """Return the member, or None for a number that is zero or not known here."""
        return self._members.get(number)

    def from_wire(self, number: int) -> E:
        """Return the member; raises InvalidInputError for zero and for numbers that are not known here."""
        member = self._members.get(number)
        if member is None:
            names = ", ".join(m.name for m in self._numbers)
            raise InvalidInputError(f"{self._name}: expected one of {names}, got number {number}")
        return member


PURPOSES: Final = EnumMap(Purpose, context_pb2.Purpose, "PURPOSE_")
MODALITIES: Final = EnumMap(Modality, sample_pb2.Modality, "MODALITY_")
SOURCES: Final = EnumMap(SampleSource, sample_pb2.SampleSource, "SAMPLE_SOURCE_")
REASONS: Final = EnumMap(Reason, sample_pb2.Reason, "REASON_")
OUTCOMES: Final = EnumMap(Outcome, decision_pb2.Outcome, "OUTCOME_")
ENROLLMENT_OUTCOMES: Final = EnumMap(EnrollmentOutcome, enrollment_service_pb2.EnrollmentOutcome, "ENROLLMENT_OUTCOME_")
DEDUPE_ACTIONS: Final = EnumMap(DedupeAction, enrollment_service_pb2.DedupeAction, "DEDUPE_ACTION_")
STATUSES: Final = EnumMap(EncounterStatus, subject_pb2.EncounterStatus, "ENCOUNTER_STATUS_")
IMPRESSIONS: Final = EnumMap(Impression, sample_pb2.Impression, "IMPRESSION_")
MISSING: Final = EnumMap(MissingReason, sample_pb2.MissingReason, "MISSING_REASON_")
GUIDANCE: Final = EnumMap(Guidance, device_service_pb2.GuidanceCode, "GUIDANCE_CODE_")
STANDINGS: Final = EnumMap(TraitStanding, enrollment_service_pb2.TraitStanding, "TRAIT_STANDING_")
BASES: Final = EnumMap(CaptureBasis, enrollment_service_pb2.CaptureBasis, "CAPTURE_BASIS_")
SUBMIT_OUTCOMES: Final = EnumMap(SubmitOutcome, enrollment_service_pb2.SubmitOutcome, "SUBMIT_OUTCOME_")
OVERRIDES: Final = EnumMap(OverrideKind, enrollment_service_pb2.OverrideKind, "OVERRIDE_KIND_")
KINDS: Final = EnumMap(GalleryKind, subject_pb2.GalleryKind, "GALLERY_KIND_")


def locale_of(tag: str) -> Locale:
    """Return the language that a locale tag asks for; English unless it begins with "id".

    Examples
    --------
    >>> locale_of("id-ID"), locale_of("en"), locale_of("")
    ('id', 'en', 'en')
    """
    return "id" if tag.lower().replace("_", "-").split("-")[0] == "id" else "en"


# --- requests --------------------------------------------------------------------------------------------------


def context_to_wire(context: RequestContext, locale: Locale = "en") -> context_pb2.RequestContext:
    """Return who asks."""
    return context_pb2.RequestContext(
        transaction_id=context.transaction_id,
        purpose=PURPOSES.to_wire(context.purpose) if context.purpose else context_pb2.PURPOSE_UNSPECIFIED,
        operator_ref=context.operator_ref,
        station_ref=context.station_ref,
        consent_ref=context.consent_ref,
        locale=locale,
    )


def context_from_wire(message: context_pb2.RequestContext) -> RequestContext:
    """Return who asks; raises InvalidInputError for references that are too long or not printable."""
    return RequestContext(
        transaction_id=message.transaction_id,
        operator_ref=message.operator_ref,
        station_ref=message.station_ref,
        consent_ref=message.consent_ref,
        purpose=PURPOSES.from_wire(message.purpose) if message.purpose else None,
    )


def template_to_wire(template: Template) -> sample_pb2.Template:
    """Return a template with the fields that repeat what its bytes say."""
    return sample_pb2.Template(
        modality=MODALITIES.to_wire(template.modality),
        position=template.position,  # type: ignore[arg-type]  # the codes are the contract's numbers
        model_contract_id=template.model_contract_id,
        data=template.to_bytes(),
    )


def template_from_wire(message: sample_pb2.Template) -> Template:
    """Return a template.

    Raises
    ------
    TemplateFormatError
        Its bytes are damaged, or a field contradicts them.
    """
    template = Template.from_bytes(message.data)
    said = (message.modality, message.position, message.model_contract_id)
    held = (MODALITIES.to_wire(template.modality), template.position, template.model_contract_id)
    for name, stated, true in zip(("modality", "position", "model_contract_id"), said, held, strict=True):
        if stated and stated != true:
            raise TemplateFormatError(f"template: {name} is not what its bytes say")
    return template


def trait_to_wire(trait: Trait) -> sample_pb2.Trait:
    """Return what of a person is compared."""
    return sample_pb2.Trait(
        modality=MODALITIES.to_wire(trait.modality),
        position=trait.position,  # type: ignore[arg-type]  # the codes are the contract's numbers
    )


def trait_from_wire(message: sample_pb2.Trait) -> Trait:
    """Return what of a person is compared; a face where an older service says nothing."""
    modality = MODALITIES.from_wire(message.modality) if message.modality else Modality.FACE
    return Trait.finger(message.position) if modality is Modality.FINGER else FACE


def requested_trait_from_wire(message: sample_pb2.Trait) -> Trait:
    """Return what a request asks for.

    Raises
    ------
    InvalidPositionError
        A position that is none, of a face, or of several fingers.
    InvalidInputError
        No modality.
    """
    modality, position = MODALITIES.from_wire(message.modality), finger_position(message.position)
    if not position.is_single or (position and modality is Modality.FACE):
        raise InvalidPositionError(f"position: expected one finger, and none for a face, got {position.name}")
    return Trait.finger(position) if modality is Modality.FINGER else FACE


def missing_to_wire(missing: MissingSample) -> sample_pb2.MissingSample:
    """Return a sample that cannot be had."""
    return sample_pb2.MissingSample(
        position=missing.position,  # type: ignore[arg-type]  # the codes are the contract's numbers
        reason=MISSING.to_wire(missing.reason),
        permanent=missing.permanent,
    )


def missing_from_wire(message: sample_pb2.MissingSample) -> MissingSample:
    """Return a sample that cannot be had; raises InvalidInputError for what is no finger or no reason."""
    return MissingSample(finger_position(message.position), MISSING.from_wire(message.reason), message.permanent)


def finger_position(number: int) -> FingerPosition:
    """Return a finger position; raises InvalidPositionError for a number that is none."""
    try:
        return FingerPosition(number)
    except ValueError:
        raise InvalidPositionError(f"position: expected 0..15, got {number}") from None


def write_print(image: FingerprintImage, message: sample_pb2.Sample) -> None:
    """Write what is said of a print, but not its content, into a sample."""
    message.modality = sample_pb2.MODALITY_FINGER
    message.position = int(image.position)  # type: ignore[assignment]  # the codes are the contract's numbers
    message.impression = IMPRESSIONS.to_wire(image.impression)
    message.ppi = image.ppi
    origin_to_wire(image.origin, message)


def origin_to_wire(origin: SampleOrigin, sample: sample_pb2.Sample) -> None:
    """Write how a sample came to be into it."""
    if origin.captured_at is not None:
        sample.captured_at.FromDatetime(origin.captured_at)
    if origin.source is not None:
        sample.source = SOURCES.to_wire(origin.source)
    sample.device_ref = origin.device_ref


def origin_from_wire(sample: sample_pb2.Sample) -> SampleOrigin:
    """Return how a sample came to be; raises InvalidInputError for a time or source that is none."""
    captured = time_from_wire(sample.captured_at) if sample.HasField("captured_at") else None
    source = SOURCES.from_wire(sample.source) if sample.source else None
    return SampleOrigin(captured, source, sample.device_ref)


def time_to_wire(moment: datetime) -> Timestamp:
    """Return a time in UTC."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def time_from_wire(stamp: Timestamp) -> datetime:
    """Return a time in UTC; raises InvalidInputError outside of the years 1 to 9999."""
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidInputError(f"timestamp: expected years 1 to 9999, got {stamp.seconds} s") from None


# --- what is said of samples -----------------------------------------------------------------------------------


def advice_to_wire(reasons: Iterable[Reason], locale: Locale) -> list[sample_pb2.Advice]:
    """Return reasons with the words for the operator."""
    return [sample_pb2.Advice(reason=REASONS.to_wire(r), text=r.text(locale)) for r in reasons]


def advice_from_wire(advice: Iterable[sample_pb2.Advice]) -> tuple[Reason, ...]:
    """Return reasons; those that a newer server knows and we do not are left out."""
    known = (REASONS.get(row.reason) for row in advice)
    return tuple(reason for reason in known if reason is not None)


def quality_to_wire(quality: Quality, locale: Locale) -> sample_pb2.Quality:
    """Return a quality with all its components."""
    return sample_pb2.Quality(
        overall=quality.overall,
        algorithm=quality.algorithm,
        components=[
            sample_pb2.QualityComponent(
                name=c.name,
                value=c.value,
                measured=c.measured,
                unit=c.unit,
                threshold_in_force=c.threshold,
                advice=None if c.reason is None else advice_to_wire([c.reason], locale)[0],
            )
            for c in quality.components
        ],
        advice=advice_to_wire(quality.reasons, locale),
        acceptable=quality.acceptable,
    )


def quality_from_wire(message: sample_pb2.Quality) -> Quality:
    """Return a quality with all its components."""
    components = tuple(
        QualityComponent(
            c.name,
            c.value,
            c.measured,
            c.unit,
            c.threshold_in_force,
            REASONS.get(c.advice.reason) if c.HasField("advice") else None,
        )
        for c in message.components
    )
    return Quality(message.overall, message.algorithm, components)


def face_to_wire(face: Face) -> sample_pb2.Face:
    """Return a face."""
    return sample_pb2.Face(
        x=face.box.x,
        y=face.box.y,
        width=face.box.width,
        height=face.box.height,
        landmarks=[sample_pb2.Point(x=float(x), y=float(y)) for x, y in face.landmarks],
        confidence=face.confidence,
    )


def face_from_wire(message: sample_pb2.Face) -> Face:
    """Return a face; raises InvalidInputError without five landmarks."""
    landmarks = np.array([(p.x, p.y) for p in message.landmarks], dtype=np.float32).reshape(-1, 2)
    return Face(Box(message.x, message.y, message.width, message.height), landmarks, message.confidence)


_NO_PAD: Final = sample_pb2.PadResult(state=sample_pb2.PAD_STATE_NOT_PERFORMED)


def report_to_wire(report: SampleReport, locale: Locale) -> sample_pb2.SampleReport:
    """Return what became of a sample."""
    return sample_pb2.SampleReport(
        index=report.position,
        usable=report.usable,
        advice=advice_to_wire(report.reasons, locale),
        quality=None if report.quality is None else quality_to_wire(report.quality, locale),
        faces_found=report.faces_found,
        face=None if report.face is None else face_to_wire(report.face),
        pad=_NO_PAD,
        trait=trait_to_wire(report.trait),
    )


def report_from_wire(message: sample_pb2.SampleReport) -> SampleReport:
    """Return what became of a sample."""
    return SampleReport(
        position=message.index,
        usable=message.usable,
        reasons=advice_from_wire(message.advice),
        quality=quality_from_wire(message.quality) if message.HasField("quality") else None,
        faces_found=message.faces_found,
        face=face_from_wire(message.face) if message.HasField("face") else None,
        trait=trait_from_wire(message.trait),
    )


def _reports_to_wire(reports: Sequence[SampleReport], locale: Locale) -> list[sample_pb2.SampleReport]:
    return [report_to_wire(report, locale) for report in reports]


def reports_from_wire(messages: Iterable[sample_pb2.SampleReport]) -> tuple[SampleReport, ...]:
    """Return what became of all samples."""
    return tuple(report_from_wire(message) for message in messages)


# --- answers ---------------------------------------------------------------------------------------------------


def interval_to_wire(interval: Interval) -> decision_pb2.Interval:
    """Return a rate with its interval."""
    return decision_pb2.Interval(
        value=interval.value, low=interval.low, high=interval.high, confidence=interval.confidence
    )


def interval_from_wire(message: decision_pb2.Interval) -> Interval:
    """Return a rate with its interval."""
    return Interval(message.value, message.low, message.high, message.confidence)


def component_to_wire(component: Component) -> decision_pb2.Component:
    """Return what a trait contributed."""
    return decision_pb2.Component(
        trait=trait_to_wire(component.trait),
        score=component.score,
        raw_score=component.raw_score,
        comparisons=component.comparisons,
        calibration_id=component.calibration_id,
        model_contract_id=component.model_contract_id,
        capped=component.capped,
    )


def component_from_wire(message: decision_pb2.Component) -> Component:
    """Return what a trait contributed."""
    return Component(
        trait_from_wire(message.trait),
        message.score,
        message.raw_score,
        message.comparisons,
        message.calibration_id,
        message.model_contract_id,
        message.capped,
    )


def state_to_wire(state: TraitState) -> enrollment_service_pb2.SessionTrait:
    """Return how far a trait of a session is."""
    return enrollment_service_pb2.SessionTrait(
        trait=trait_to_wire(state.trait),
        standing=STANDINGS.to_wire(state.standing),
        attempts_left=state.attempts_left,
        basis=BASES.to_wire(state.basis) if state.basis else enrollment_service_pb2.CAPTURE_BASIS_UNSPECIFIED,
    )


def state_from_wire(message: enrollment_service_pb2.SessionTrait) -> TraitState:
    """Return how far a trait of a session is."""
    return TraitState(
        trait_from_wire(message.trait),
        STANDINGS.from_wire(message.standing),
        message.attempts_left,
        BASES.get(message.basis),
    )


def submitted_to_wire(submitted: Submitted, locale: Locale) -> enrollment_service_pb2.SubmitSampleResponse:
    """Return the answer to a sample that was submitted to a session."""
    return enrollment_service_pb2.SubmitSampleResponse(
        outcome=SUBMIT_OUTCOMES.to_wire(submitted.outcome),
        advice=advice_to_wire(submitted.reasons, locale),
        same_as=None if submitted.same_as is None else trait_to_wire(submitted.same_as),
        report=report_to_wire(submitted.report, locale),
        traits=[state_to_wire(state) for state in submitted.traits],
    )


def submitted_from_wire(message: enrollment_service_pb2.SubmitSampleResponse) -> Submitted:
    """Return the answer to a sample that was submitted to a session."""
    return Submitted(
        SUBMIT_OUTCOMES.from_wire(message.outcome),
        advice_from_wire(message.advice),
        trait_from_wire(message.same_as) if message.HasField("same_as") else None,
        report_from_wire(message.report),
        tuple(state_from_wire(state) for state in message.traits),
    )


def decision_to_wire(decision: Decision, locale: Locale) -> decision_pb2.Decision:
    """Return a decision with all that it rests on."""
    return decision_pb2.Decision(
        outcome=OUTCOMES.to_wire(decision.outcome),
        advice=advice_to_wire(decision.reasons, locale),
        score=decision.score,
        threshold=decision.threshold,
        max_fmr=decision.max_fmr,
        achieved_fmr=interval_to_wire(decision.achieved_fmr),
        raw_score=decision.raw_score,
        comparisons=decision.comparisons,
        subject_id=decision.subject_id,
        encounter_id=decision.encounter_id,
        calibration_id=decision.calibration_id,
        model_contract_id=decision.model_contract_id,
        samples=_reports_to_wire(decision.samples, locale),
        components=[component_to_wire(row) for row in decision.components],
    )


def decision_from_wire(message: decision_pb2.Decision) -> Decision:
    """Return a decision."""
    return Decision(
        outcome=OUTCOMES.from_wire(message.outcome),
        reasons=advice_from_wire(message.advice),
        score=message.score if message.HasField("score") else None,
        threshold=message.threshold,
        max_fmr=message.max_fmr,
        achieved_fmr=interval_from_wire(message.achieved_fmr),
        raw_score=message.raw_score if message.HasField("raw_score") else None,
        comparisons=message.comparisons,
        subject_id=message.subject_id,
        encounter_id=message.encounter_id,
        calibration_id=message.calibration_id,
        model_contract_id=message.model_contract_id,
        samples=reports_from_wire(message.samples),
        components=tuple(component_from_wire(row) for row in message.components),
    )


def coverage_to_wire(coverage: SearchCoverage) -> decision_pb2.SearchCoverage:
    """Return what a search looked at."""
    return decision_pb2.SearchCoverage(
        gallery_version=coverage.gallery_version,
        galleries=coverage.galleries,
        subjects=coverage.subjects,
        compared=coverage.compared,
        mode=decision_pb2.SEARCH_MODE_EXACT if coverage.exact else decision_pb2.SEARCH_MODE_APPROXIMATE,
        recall_claimed=coverage.recall_claimed,
    )


def coverage_from_wire(message: decision_pb2.SearchCoverage) -> SearchCoverage:
    """Return what a search looked at."""
    return SearchCoverage(
        gallery_version=message.gallery_version,
        galleries=tuple(message.galleries),
        subjects=message.subjects,
        compared=message.compared,
        exact=message.mode == decision_pb2.SEARCH_MODE_EXACT,
        recall_claimed=message.recall_claimed,
    )


def identification_to_wire(found: Identification, locale: Locale) -> decision_pb2.Identification:
    """Return a search's answer with all that it rests on."""
    return decision_pb2.Identification(
        outcome=OUTCOMES.to_wire(found.outcome),
        advice=advice_to_wire(found.reasons, locale),
        candidates=[
            decision_pb2.Candidate(
                rank=c.rank,
                subject_id=c.subject_id,
                encounter_id=c.encounter_id,
                galleries=c.galleries,
                score=c.score,
                raw_score=c.raw_score,
                is_match=c.is_match,
                components=[component_to_wire(row) for row in c.components],
            )
            for c in found.candidates
        ],
        threshold=found.threshold,
        max_fpir=found.max_fpir,
        achieved_fpir=None if found.achieved_fpir is None else interval_to_wire(found.achieved_fpir),
        coverage=coverage_to_wire(found.coverage),
        calibration_id=found.calibration_id,
        model_contract_id=found.model_contract_id,
        samples=_reports_to_wire(found.samples, locale),
    )


def identification_from_wire(message: decision_pb2.Identification) -> Identification:
    """Return a search's answer."""
    return Identification(
        outcome=OUTCOMES.from_wire(message.outcome),
        reasons=advice_from_wire(message.advice),
        candidates=tuple(
            Candidate(
                c.rank,
                c.subject_id,
                c.encounter_id,
                tuple(c.galleries),
                c.score,
                c.raw_score if c.HasField("raw_score") else None,
                c.is_match,
                tuple(component_from_wire(row) for row in c.components),
            )
            for c in message.candidates
        ),
        threshold=message.threshold if message.HasField("threshold") else None,
        max_fpir=message.max_fpir if message.HasField("max_fpir") else None,
        achieved_fpir=interval_from_wire(message.achieved_fpir) if message.HasField("achieved_fpir") else None,
        coverage=coverage_from_wire(message.coverage),
        calibration_id=message.calibration_id,
        model_contract_id=message.model_contract_id,
        samples=reports_from_wire(message.samples),
    )


def enrollment_to_wire(enrollment: Enrollment, locale: Locale) -> enrollment_service_pb2.EnrollResponse:
    """Return an enrolment's answer."""
    return enrollment_service_pb2.EnrollResponse(
        outcome=ENROLLMENT_OUTCOMES.to_wire(enrollment.outcome),
        subject_id=enrollment.subject_id,
        encounter_id=enrollment.encounter_id,
        template_count=enrollment.templates,
        samples=_reports_to_wire(enrollment.samples, locale),
        search=None if enrollment.search is None else identification_to_wire(enrollment.search, locale),
    )


def enrollment_from_wire(message: enrollment_service_pb2.EnrollResponse) -> Enrollment:
    """Return an enrolment's answer."""
    return Enrollment(
        outcome=ENROLLMENT_OUTCOMES.from_wire(message.outcome),
        subject_id=message.subject_id,
        encounter_id=message.encounter_id,
        templates=message.template_count,
        samples=reports_from_wire(message.samples),
        search=identification_from_wire(message.search) if message.HasField("search") else None,
    )


# --- people and galleries --------------------------------------------------------------------------------------


def encounter_to_wire(encounter: Encounter) -> subject_pb2.Encounter:
    """Return an encounter."""
    return subject_pb2.Encounter(
        encounter_id=encounter.encounter_id,
        subject_id=encounter.subject_id,
        status=STATUSES.to_wire(encounter.status),
        galleries=encounter.galleries,
        created_at=time_to_wire(encounter.created_at),
        template_count=encounter.templates,
        traits=[trait_to_wire(trait) for trait in encounter.traits],
        missing=[missing_to_wire(row) for row in encounter.missing],
    )


def encounter_from_wire(message: subject_pb2.Encounter) -> Encounter:
    """Return an encounter."""
    return Encounter(
        encounter_id=message.encounter_id,
        subject_id=message.subject_id,
        status=STATUSES.from_wire(message.status),
        galleries=tuple(message.galleries),
        created_at=time_from_wire(message.created_at),
        templates=message.template_count,
        traits=tuple(trait_from_wire(trait) for trait in message.traits),
        missing=tuple(missing_from_wire(row) for row in message.missing),
    )


def subject_to_wire(subject: Subject) -> subject_pb2.Subject:
    """Return a subject with its encounters."""
    return subject_pb2.Subject(
        subject_id=subject.subject_id,
        created_at=time_to_wire(subject.created_at),
        encounters=[encounter_to_wire(encounter) for encounter in subject.encounters],
    )


def subject_from_wire(message: subject_pb2.Subject) -> Subject:
    """Return a subject with its encounters."""
    encounters = tuple(encounter_from_wire(encounter) for encounter in message.encounters)
    return Subject(message.subject_id, time_from_wire(message.created_at), encounters)


def certificate_to_wire(certificate: ErasureCertificate) -> subject_pb2.ErasureCertificate:
    """Return a certificate of erasure."""
    return subject_pb2.ErasureCertificate(
        subject_id=certificate.subject_id,
        erased_at=time_to_wire(certificate.erased_at),
        encounter_count=certificate.encounters,
        template_count=certificate.templates,
        event=certificate.event,
        digest=certificate.digest,
    )


def certificate_from_wire(message: subject_pb2.ErasureCertificate) -> ErasureCertificate:
    """Return a certificate of erasure."""
    return ErasureCertificate(
        subject_id=message.subject_id,
        erased_at=time_from_wire(message.erased_at),
        encounters=message.encounter_count,
        templates=message.template_count,
        event=message.event,
        digest=message.digest,
    )


def gallery_to_wire(gallery: GalleryInfo) -> subject_pb2.Gallery:
    """Return a gallery."""
    return subject_pb2.Gallery(
        name=gallery.name,
        kind=KINDS.to_wire(gallery.kind),
        created_at=time_to_wire(gallery.created_at),
        subject_count=gallery.subjects,
        encounter_count=gallery.encounters,
        legal_basis=gallery.legal_basis,
        retention_days=gallery.retention_days,
    )


def gallery_from_wire(message: subject_pb2.Gallery) -> GalleryInfo:
    """Return a gallery."""
    return GalleryInfo(
        name=message.name,
        kind=KINDS.from_wire(message.kind),
        created_at=time_from_wire(message.created_at),
        subjects=message.subject_count,
        encounters=message.encounter_count,
        legal_basis=message.legal_basis,
        retention_days=message.retention_days,
    )
