"""Every call of the contract as a request, its method, and how its answer is read; the two clients share them."""

import datetime
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from inspect import isfunction
from typing import Any, Final, Generic, ParamSpec, TypeVar

from google.protobuf.message import Message

from biometrik import record_wire, wire
from biometrik.bulk import ImportRecord
from biometrik.client.connection import error_of
from biometrik.duplicates import DedupePolicy
from biometrik.errors import BiometrikError, CalibrationNotFoundError, InvalidInputError, ProtocolError
from biometrik.fingers import NATIVE_PPI, FingerprintImage
from biometrik.formats.record_report import Conversion, RecordReport, RecordType, Stated
from biometrik.gallery.records import Holdings
from biometrik.imaging import encode_png
from biometrik.reasons import Locale
from biometrik.samples import Sample, UnreadableSample
from biometrik.types import (
    Decision,
    Encounter,
    EncounterStatus,
    Enrollment,
    ErasureCertificate,
    EvidenceKind,
    FaceImage,
    GalleryInfo,
    GalleryKind,
    Identification,
    MissingSample,
    Modality,
    RequestContext,
    SampleReport,
    Subject,
    Template,
)
from biometrik.v1 import (
    admin_service_pb2,
    context_pb2,
    decision_pb2,
    enrollment_service_pb2,
    gallery_service_pb2,
    identification_service_pb2,
    sample_pb2,
    sample_service_pb2,
    subject_service_pb2,
    verification_service_pb2,
)

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGE: Final = "/biometrik.v1"
#: Samples that would take those of one side of a call above this many bytes are uploaded in pieces first: two sides
#: then fit a service's largest message.
UPLOAD_BYTES: Final = 4 << 20
#: Within which a database is copied and read: tens of millions of encounters.
SNAPSHOT_S: Final = 3600.0
#: Length of a piece: small enough that a weak line shows progress, large enough that it does not matter elsewhere.
CHUNK_BYTES: Final = 256 << 10

#: A request's samples, ready to be sent.
Presentations = Sequence[sample_pb2.Presentation]


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One call.

    Parameters
    ----------
    method : str
        Its full name.
    request : Message
        What is sent.
    response : type of Message
        What comes back.
    read : callable
        Turns that into the library's value.
    timeout_s : float or None
        Its deadline where that is not the connection's.
    """

    method: str
    request: Message
    response: type[Message]
    read: Callable[[Any], T]
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The evidence behind a service's scores; :class:`biometrik.calibration.CalibrationTable` without its rows.

    Parameters
    ----------
    id, dataset : str
        Names it in decisions, and what it was measured on.
    subjects, mated, non_mated : int
        People, comparisons of images of one person, and of two.
    date : datetime.date
        When it was measured.
    tightest_fmr, tightest_raw_score : float
        The smallest FMR that it supports, and the similarity from which on scores no longer grow.
    model_contract_id : str
        The models whose similarities it reads.
    evidence : EvidenceKind
        Whether it was measured on real or on synthetic samples.
    """

    id: str
    dataset: str
    subjects: int
    mated: int
    non_mated: int
    date: datetime.date
    tightest_fmr: float
    tightest_raw_score: float
    model_contract_id: str = ""
    evidence: EvidenceKind = EvidenceKind.REAL


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Weights on a service's machine.

    Parameters
    ----------
    id, role, licence, sha256 : str
        Name, what they do, licence, and hash of the file.
    """

    id: str
    role: str
    licence: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a service is and accepts; see GetCapabilities in the contract.

    Parameters
    ----------
    version, model_contract_id, provider, precision, quality_profile : str
        Of the software, its models, where and how they run, and the thresholds of quality in force.
    policies : dict of str to (float, float)
        Name → target FMR and FPIR.
    calibrations : tuple of Calibration
        Evidence in force; empty where the models have none, and then nothing is decided.
    max_message_bytes, max_samples, max_concurrent_requests : int
        Bounds.
    quarantined_encounters : int
        How many are set aside because they are damaged; above zero the service works and is not whole.
    """

    version: str
    model_contract_id: str
    provider: str
    precision: str
    quality_profile: str
    policies: dict[str, tuple[float, float]]
    calibrations: tuple[Calibration, ...]
    max_message_bytes: int
    max_samples: int
    max_concurrent_requests: int
    quarantined_encounters: int = 0


@dataclass(frozen=True, slots=True)
class ServedCopy:
    """A copy of a service's database, whole and on disk in the folder of the service's configuration.

    Parameters
    ----------
    name : str
        Of its file there.
    sha256 : str
        Of the file, hexadecimal.
    created_at : datetime
        When the copying began, UTC: what was acknowledged before it is in the copy.
    schema_version : int
        The file's.
    held : Holdings
        What it holds.
    """

    name: str
    sha256: str
    created_at: datetime.datetime
    schema_version: int
    held: Holdings


def in_unicode(build: Callable[P, T]) -> Callable[P, T]:
    """Return the function with the library's error for text that no message can hold: with half of a surrogate pair."""

    @wraps(build)
    def built(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return build(*args, **kwargs)
        except UnicodeEncodeError as error:
            raise InvalidInputError(
                f"request: expected text in Unicode, got {error.object[error.start]!a}, which is half a character"
            ) from None

    return built


class CallBuilder:
    """What builds calls: each of its methods is :func:`in_unicode`."""

    def __init_subclass__(cls) -> None:
        for name, method in vars(cls).copy().items():
            if isfunction(method):
                setattr(cls, name, in_unicode(method))


class Operations(CallBuilder):
    """Builds calls in one language.

    Parameters
    ----------
    locale : {"en", "id"}
        Of advice.
    """

    def __init__(self, locale: Locale) -> None:
        self._locale = locale

    # --- samples ---------------------------------------------------------------------------------------------

    def presentations(self, samples: Sequence[Sample]) -> list[sample_pb2.Presentation]:
        """Return samples to be sent as they are, or without their content where it is large: see :func:`content`."""
        presented, room = [], UPLOAD_BYTES
        for sample in samples:
            if isinstance(sample, Template):
                presented.append(sample_pb2.Presentation(template=wire.template_to_wire(sample)))
                continue
            message = sample_pb2.Sample(modality=sample_pb2.MODALITY_FACE)
            if isinstance(sample, FaceImage):
                wire.origin_to_wire(sample.origin, message)
            elif isinstance(sample, FingerprintImage):
                wire.write_print(sample, message)
            elif sample.trait.modality is Modality.FINGER:  # unreadable, so its resolution says nothing
                message.modality, message.ppi = sample_pb2.MODALITY_FINGER, NATIVE_PPI
                message.position = sample.trait.position  # type: ignore[assignment]  # the contract's numbers
            data = content(sample)
            if len(data) <= room:
                message.data = data
                room -= len(data)
            presented.append(sample_pb2.Presentation(sample=message))
        return presented

    def quality(self, samples: Presentations) -> Operation[tuple[SampleReport, ...]]:
        """AssessQuality."""
        request = sample_service_pb2.AssessQualityRequest(context=self.context(), samples=_only_samples(samples))
        return Operation(
            f"{_PACKAGE}.SampleService/AssessQuality",
            request,
            sample_service_pb2.AssessQualityResponse,
            lambda answer: wire.reports_from_wire(answer.samples),
        )

    def extract(self, samples: Presentations) -> Operation[tuple[Template | None, ...]]:
        """ExtractTemplates."""
        request = sample_service_pb2.ExtractTemplatesRequest(context=self.context(), samples=_only_samples(samples))
        return Operation(
            f"{_PACKAGE}.SampleService/ExtractTemplates",
            request,
            sample_service_pb2.ExtractTemplatesResponse,
            lambda answer: tuple(
                wire.template_from_wire(row.template) if row.HasField("template") else None
                for row in answer.extractions
            ),
        )

    def compare(
        self, probe: Presentations, reference: Presentations, max_fmr: float, policy: str, real_evidence: bool = False
    ) -> Operation[Decision]:
        """CompareSamples."""
        request = sample_service_pb2.CompareSamplesRequest(
            context=self.context(), probe=probe, reference=reference, threshold=_fmr(max_fmr, policy, real_evidence)
        )
        return Operation(
            f"{_PACKAGE}.SampleService/CompareSamples",
            request,
            sample_service_pb2.CompareSamplesResponse,
            lambda answer: wire.decision_from_wire(answer.decision),
        )

    def inspect_record(self, data: bytes, stated: Stated) -> Operation[RecordReport]:
        """InspectRecord."""
        request = sample_service_pb2.InspectRecordRequest(
            context=self.context(), record=record_wire.record_to_wire(data, stated)
        )
        return Operation(
            f"{_PACKAGE}.SampleService/InspectRecord",
            request,
            sample_service_pb2.InspectRecordResponse,
            lambda answer: record_wire.report_from_wire(answer.report),
        )

    def convert_record(self, data: bytes, target: RecordType, stated: Stated, view: int) -> Operation[Conversion]:
        """ConvertRecord."""
        request = sample_service_pb2.ConvertRecordRequest(
            context=self.context(),
            record=record_wire.record_to_wire(data, stated),
            target=record_wire.TYPES.to_wire(target),
            view=_counted("view", view),
        )
        return Operation(
            f"{_PACKAGE}.SampleService/ConvertRecord",
            request,
            sample_service_pb2.ConvertRecordResponse,
            record_wire.conversion_from_wire,
        )

    # --- 1:1 and 1:N -----------------------------------------------------------------------------------------

    def verify(
        self,
        samples: Presentations,
        max_fmr: float,
        policy: str,
        real_evidence: bool = False,
        *,
        subject_id: str | None = None,
        encounter_id: str | None = None,
        subject_ids: Sequence[str] | None = None,
    ) -> Operation[Decision]:
        """Verify, against the one of the three that is given."""
        request = verification_service_pb2.VerifyRequest(
            context=self.context(), samples=samples, threshold=_fmr(max_fmr, policy, real_evidence)
        )
        # Also empty ones are sent as what they are: the service says what is wrong with them.
        if subject_id is not None:
            request.subject_id = subject_id
        if encounter_id is not None:
            request.encounter_id = encounter_id
        if subject_ids is not None:
            request.subjects.CopyFrom(verification_service_pb2.SubjectIds(subject_ids=subject_ids))
        return Operation(
            f"{_PACKAGE}.VerificationService/Verify",
            request,
            verification_service_pb2.VerifyResponse,
            lambda answer: wire.decision_from_wire(answer.decision),
        )

    def identify_request(
        self, samples: Presentations, options: identification_service_pb2.SearchOptions
    ) -> identification_service_pb2.IdentifyRequest:
        """Return what Identify and IdentifyMany are asked."""
        return identification_service_pb2.IdentifyRequest(context=self.context(), samples=samples, options=options)

    def identify(
        self, samples: Presentations, options: identification_service_pb2.SearchOptions
    ) -> Operation[Identification]:
        """Identify."""
        return Operation(
            f"{_PACKAGE}.IdentificationService/Identify",
            self.identify_request(samples, options),
            identification_service_pb2.IdentifyResponse,
            lambda answer: wire.identification_from_wire(answer.identification),
        )

    def identify_stored(
        self, subject_id: str, options: identification_service_pb2.SearchOptions
    ) -> Operation[Identification]:
        """IdentifyStored."""
        return Operation(
            f"{_PACKAGE}.IdentificationService/IdentifyStored",
            identification_service_pb2.IdentifyStoredRequest(
                context=self.context(), subject_id=subject_id, options=options
            ),
            identification_service_pb2.IdentifyStoredResponse,
            lambda answer: wire.identification_from_wire(answer.identification),
        )

    # --- enrolment and the gallery ---------------------------------------------------------------------------

    def enroll(
        self,
        subject_id: str,
        samples: Presentations,
        galleries: Sequence[str] | None,
        override: str,
        context: RequestContext | None,
        missing: Sequence[MissingSample] = (),
        dedupe: DedupePolicy | None = None,
    ) -> Operation[Enrollment]:
        """Enroll."""
        return Operation(
            f"{_PACKAGE}.EnrollmentService/Enroll",
            self._enroll_request(subject_id, samples, galleries, override, context, missing, dedupe),
            enrollment_service_pb2.EnrollResponse,
            wire.enrollment_from_wire,
        )

    def import_request(
        self, record: ImportRecord, samples: Presentations
    ) -> enrollment_service_pb2.ImportEncountersRequest:
        """Return what ImportEncounters is asked for one record."""
        request = self._enroll_request(
            record.subject_id, samples, record.galleries, record.override, record.context, record.missing
        )
        return enrollment_service_pb2.ImportEncountersRequest(tag=record.tag, request=request)

    def _enroll_request(
        self,
        subject_id: str,
        samples: Presentations,
        galleries: Sequence[str] | None,
        override: str,
        context: RequestContext | None,
        missing: Sequence[MissingSample],
        dedupe: DedupePolicy | None = None,
    ) -> enrollment_service_pb2.EnrollRequest:
        request = enrollment_service_pb2.EnrollRequest(
            context=self.writing(context),
            subject_id=subject_id,
            samples=samples,
            missing=[wire.missing_to_wire(row) for row in missing],
            override_reason=override,
            dedupe=dedupe_message(dedupe),
        )
        if galleries is None:
            request.default_gallery = True
        else:
            request.galleries.CopyFrom(enrollment_service_pb2.GalleryNames(names=galleries))
        return request

    def erase(self, subject_id: str, context: RequestContext | None) -> Operation[ErasureCertificate]:
        """EraseSubject."""
        return Operation(
            f"{_PACKAGE}.SubjectService/EraseSubject",
            subject_service_pb2.EraseSubjectRequest(context=self.writing(context), subject_id=subject_id),
            subject_service_pb2.EraseSubjectResponse,
            lambda answer: wire.certificate_from_wire(answer.certificate),
        )

    def subject(self, subject_id: str) -> Operation[Subject]:
        """GetSubject."""
        return Operation(
            f"{_PACKAGE}.SubjectService/GetSubject",
            subject_service_pb2.GetSubjectRequest(context=self.context(), subject_id=subject_id),
            subject_service_pb2.GetSubjectResponse,
            lambda answer: wire.subject_from_wire(answer.subject),
        )

    def subjects(self, gallery: str | None, after: str, limit: int) -> Operation[list[Subject]]:
        """ListMembers; its page token is the id of the last subject before the page."""
        return Operation(
            f"{_PACKAGE}.GalleryService/ListMembers",
            gallery_service_pb2.ListMembersRequest(
                context=self.context(),
                gallery=_named(gallery),
                page_token=after,
                page_size=_counted("limit", limit, least=1),
            ),
            gallery_service_pb2.ListMembersResponse,
            lambda answer: [wire.subject_from_wire(subject) for subject in answer.subjects],
        )

    def encounter(self, encounter_id: str) -> Operation[Encounter]:
        """GetEncounter."""
        return Operation(
            f"{_PACKAGE}.SubjectService/GetEncounter",
            subject_service_pb2.GetEncounterRequest(context=self.context(), encounter_id=encounter_id),
            subject_service_pb2.GetEncounterResponse,
            lambda answer: wire.encounter_from_wire(answer.encounter),
        )

    def set_encounter_status(
        self, encounter_id: str, status: EncounterStatus, context: RequestContext | None
    ) -> Operation[Encounter]:
        """SetEncounterStatus."""
        return Operation(
            f"{_PACKAGE}.SubjectService/SetEncounterStatus",
            subject_service_pb2.SetEncounterStatusRequest(
                context=self.writing(context), encounter_id=encounter_id, status=wire.STATUSES.to_wire(status)
            ),
            subject_service_pb2.SetEncounterStatusResponse,
            lambda answer: wire.encounter_from_wire(answer.encounter),
        )

    def set_encounter_galleries(
        self, encounter_id: str, galleries: Sequence[str], context: RequestContext | None
    ) -> Operation[Encounter]:
        """SetEncounterGalleries."""
        return Operation(
            f"{_PACKAGE}.SubjectService/SetEncounterGalleries",
            subject_service_pb2.SetEncounterGalleriesRequest(
                context=self.writing(context), encounter_id=encounter_id, galleries=galleries
            ),
            subject_service_pb2.SetEncounterGalleriesResponse,
            lambda answer: wire.encounter_from_wire(answer.encounter),
        )

    def create_gallery(
        self,
        name: str,
        kind: GalleryKind,
        legal_basis: str,
        retention_days: int,
        context: RequestContext | None,
    ) -> Operation[GalleryInfo]:
        """CreateGallery."""
        return Operation(
            f"{_PACKAGE}.GalleryService/CreateGallery",
            gallery_service_pb2.CreateGalleryRequest(
                context=self.writing(context),
                name=name,
                kind=wire.KINDS.to_wire(kind),
                legal_basis=legal_basis,
                retention_days=_counted("retention_days", retention_days),
            ),
            gallery_service_pb2.CreateGalleryResponse,
            lambda answer: wire.gallery_from_wire(answer.gallery),
        )

    def gallery(self, name: str) -> Operation[GalleryInfo]:
        """GetGallery."""
        return Operation(
            f"{_PACKAGE}.GalleryService/GetGallery",
            gallery_service_pb2.GetGalleryRequest(context=self.context(), name=name),
            gallery_service_pb2.GetGalleryResponse,
            lambda answer: wire.gallery_from_wire(answer.gallery),
        )

    def galleries(self, token: str) -> Operation[tuple[list[GalleryInfo], str]]:
        """ListGalleries: a page, and the token of the next."""
        return Operation(
            f"{_PACKAGE}.GalleryService/ListGalleries",
            gallery_service_pb2.ListGalleriesRequest(context=self.context(), page_size=1000, page_token=token),
            gallery_service_pb2.ListGalleriesResponse,
            lambda answer: ([wire.gallery_from_wire(row) for row in answer.galleries], answer.next_page_token),
        )

    def delete_gallery(self, name: str, context: RequestContext | None) -> Operation[None]:
        """DeleteGallery."""
        return Operation(
            f"{_PACKAGE}.GalleryService/DeleteGallery",
            gallery_service_pb2.DeleteGalleryRequest(context=self.writing(context), name=name),
            gallery_service_pb2.DeleteGalleryResponse,
            lambda _: None,
        )

    def capabilities(self) -> Operation[Capabilities]:
        """GetCapabilities."""
        return Operation(
            f"{_PACKAGE}.AdminService/GetCapabilities",
            admin_service_pb2.GetCapabilitiesRequest(context=self.context()),
            admin_service_pb2.GetCapabilitiesResponse,
            _capabilities,
        )

    def models(self) -> Operation[tuple[ServedModel, ...]]:
        """ListModels."""
        return Operation(
            f"{_PACKAGE}.AdminService/ListModels",
            admin_service_pb2.ListModelsRequest(context=self.context()),
            admin_service_pb2.ListModelsResponse,
            lambda answer: tuple(ServedModel(m.model_id, m.task, m.licence, m.sha256) for m in answer.models),
        )

    def snapshot(self, label: str, context: RequestContext | None) -> Operation[ServedCopy]:
        """Snapshot."""
        return Operation(
            f"{_PACKAGE}.AdminService/Snapshot",
            admin_service_pb2.SnapshotRequest(context=self.writing(context), label=label),
            admin_service_pb2.SnapshotResponse,
            _copy,
            timeout_s=SNAPSHOT_S,
        )

    def context(self) -> context_pb2.RequestContext:
        """Return the context of calls that write nothing."""
        return wire.context_to_wire(RequestContext(), self._locale)

    def writing(self, context: RequestContext | None) -> context_pb2.RequestContext:
        # A write always has a transaction id, so that it can be tried again when the line fails.
        context = context or RequestContext()
        if not context.transaction_id:
            context = replace(context, transaction_id=uuid.uuid4().hex)
        return wire.context_to_wire(context, self._locale)


def content(sample: Sample) -> bytes:
    """Return the bytes of a sample that is not a template: as they were read, or its pixels as PNG."""
    if isinstance(sample, Template):
        raise InvalidInputError("sample: expected an image, got a template")
    if isinstance(sample, UnreadableSample):
        return sample.data
    return sample.encoded or encode_png(sample.pixels)


@in_unicode
def search_options(
    max_fpir: float | None,
    policy: str,
    galleries: Sequence[str] | None,
    max_candidates: int,
    excluding: str,
    real_evidence: bool = False,
) -> identification_service_pb2.SearchOptions:
    """Return what is searched, and how much of it is wanted."""
    if galleries is not None and not galleries:  # in the contract that asks for all
        raise InvalidInputError("galleries: expected at least one name, or None for all")
    options = identification_service_pb2.SearchOptions(
        galleries=galleries or (),
        max_candidates=_counted("max_candidates", max_candidates, least=1),
        excluded_subject_id=excluding,
    )
    if real_evidence:
        options.threshold.real_evidence = True
    if policy:
        options.threshold.policy = policy
    elif max_fpir is None:
        options.without_decision = True
    else:
        options.threshold.fpir = max_fpir
    return options


@in_unicode
def dedupe_message(policy: DedupePolicy | None) -> enrollment_service_pb2.DedupePolicy | None:
    """Return how an enrolment looks for duplicates; None where it does not.

    Raises
    ------
    InvalidInputError
        No gallery is to be searched, which in the contract asks for all.
    """
    if policy is None:
        return None
    if policy.galleries == ():
        raise InvalidInputError("galleries: expected at least one name, or None for all")
    return enrollment_service_pb2.DedupePolicy(
        action=wire.DEDUPE_ACTIONS.to_wire(policy.action),
        threshold=decision_pb2.Threshold(fpir=policy.max_fpir, real_evidence=policy.real_evidence),
        galleries=policy.galleries or (),
        max_candidates=policy.max_candidates,
        excluded_subject_ids=policy.excluded_subject_ids,
        override_reason=policy.override,
    )


def answer_of_many(answer: identification_service_pb2.IdentifyManyResponse) -> Identification | BiometrikError:
    """Return one search's answer, or why there is none."""
    match answer.WhichOneof("result"):
        case "identification":
            return wire.identification_from_wire(answer.identification)
        case "error":
            return _error_of_many(answer.error)
    return ProtocolError("service: expected an answer or an error, got neither")


def outcome_of_import(answer: enrollment_service_pb2.ImportEncountersResponse) -> Enrollment | BiometrikError:
    """Return what became of one record, or why nothing did."""
    match answer.WhichOneof("result"):
        case "enrollment":
            return wire.enrollment_from_wire(answer.enrollment)
        case "error":
            return _error_of_many(answer.error)
    return ProtocolError("service: expected an outcome or an error, got neither")


def _error_of_many(said: context_pb2.RequestError) -> BiometrikError:
    error = error_of(said.reason, said.message, dict(said.metadata))
    error.add_note(said.localized_message)
    return error


def _only_samples(presentations: Presentations) -> list[sample_pb2.Sample]:
    if any(p.WhichOneof("kind") != "sample" for p in presentations):
        raise InvalidInputError("samples: expected images, got a template")
    return [presentation.sample for presentation in presentations]


def _fmr(max_fmr: float, policy: str, real_evidence: bool) -> decision_pb2.Threshold:
    if policy:
        return decision_pb2.Threshold(policy=policy, real_evidence=real_evidence)
    return decision_pb2.Threshold(fmr=max_fmr, real_evidence=real_evidence)


def _named(gallery: str | None) -> str:
    if gallery == "":  # in the contract that asks for everybody
        raise InvalidInputError("gallery: expected a name, or None for everybody")
    return gallery or ""


def _counted(name: str, value: int, *, least: int = 0) -> int:
    if not least <= value < 1 << 32:
        raise InvalidInputError(f"{name}: expected {least} or more, got {value}")
    return value


def _capabilities(answer: admin_service_pb2.GetCapabilitiesResponse) -> Capabilities:
    return Capabilities(
        version=answer.version,
        model_contract_id=answer.model_contract_id,
        provider=answer.provider,
        precision=answer.precision,
        quality_profile=answer.quality_profile,
        policies={policy.name: (policy.fmr, policy.fpir) for policy in answer.policies},
        calibrations=tuple(map(_calibration, answer.calibrations)),
        max_message_bytes=answer.limits.max_message_bytes,
        max_samples=answer.limits.max_samples,
        max_concurrent_requests=answer.limits.max_concurrent_requests,
        quarantined_encounters=answer.quarantined_encounters,
    )


def _copy(answer: admin_service_pb2.SnapshotResponse) -> ServedCopy:
    copy = answer.copy
    return ServedCopy(
        name=copy.name,
        sha256=copy.sha256,
        created_at=wire.time_from_wire(copy.created_at),
        schema_version=copy.schema_version,
        held=Holdings(
            event=copy.last_event,
            subjects=copy.subjects,
            encounters=copy.encounters,
            templates=copy.templates,
            quarantined=copy.quarantined_encounters,
            octets=copy.size_bytes,
        ),
    )


def calibration_of(capabilities: Capabilities) -> Calibration:
    """Return the evidence in force; raises CalibrationNotFoundError where there is none."""
    if not capabilities.calibrations:
        raise CalibrationNotFoundError(
            f"calibration: the service has none for {capabilities.model_contract_id}; make one with scripts/calibrate"
            " and name it in the service's configuration"
        )
    return capabilities.calibrations[0]


def _calibration(answer: admin_service_pb2.Calibration) -> Calibration:
    try:
        date = datetime.date.fromisoformat(answer.date)
    except ValueError:
        raise ProtocolError("calibration: expected a date as YYYY-MM-DD, got another") from None
    return Calibration(
        id=answer.calibration_id,
        dataset=answer.dataset,
        subjects=answer.subjects,
        mated=answer.mated_comparisons,
        non_mated=answer.nonmated_comparisons,
        date=date,
        tightest_fmr=answer.tightest_fmr,
        tightest_raw_score=answer.tightest_raw_score,
        model_contract_id=answer.model_contract_id,
        evidence=EvidenceKind.SYNTHETIC if answer.synthetic else EvidenceKind.REAL,
    )
