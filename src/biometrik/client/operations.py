"""The calls that take samples, and with them all that the two clients share."""

from collections.abc import Sequence
from typing import Final

from biometrik import record_wire, wire
from biometrik.bulk import ImportRecord
from biometrik.client.calls import PACKAGE, Operation, counted, in_unicode
from biometrik.client.connection import error_of
from biometrik.client.keeping import KeepingOperations
from biometrik.duplicates import DedupePolicy
from biometrik.errors import BiometrikError, InvalidInputError, ProtocolError
from biometrik.fingers import NATIVE_PPI, FingerprintImage
from biometrik.formats.record_report import Conversion, RecordReport, RecordType, Stated
from biometrik.imaging import encode_png
from biometrik.samples import Sample, UnreadableSample
from biometrik.types import (
    Decision,
    Enrollment,
    FaceImage,
    Identification,
    MissingSample,
    Modality,
    RequestContext,
    SampleReport,
    Template,
)
from biometrik.v1 import (
    context_pb2,
    decision_pb2,
    enrollment_service_pb2,
    identification_service_pb2,
    sample_pb2,
    sample_service_pb2,
    verification_service_pb2,
)

#: Samples that would take those of one side of a call above this many bytes are uploaded in pieces first: two sides
#: then fit a service's largest message.
UPLOAD_BYTES: Final = 4 << 20
#: Length of a piece: small enough that a weak line shows progress, large enough that it does not matter elsewhere.
CHUNK_BYTES: Final = 256 << 10

#: A request's samples, ready to be sent.
Presentations = Sequence[sample_pb2.Presentation]


class Operations(KeepingOperations):
    """Builds all calls but those of sessions and stations.

    Parameters
    ----------
    locale : {"en", "id"}
        Of advice.
    """

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
            f"{PACKAGE}.SampleService/AssessQuality",
            request,
            sample_service_pb2.AssessQualityResponse,
            lambda answer: wire.reports_from_wire(answer.samples),
        )

    def extract(self, samples: Presentations) -> Operation[tuple[Template | None, ...]]:
        """ExtractTemplates."""
        request = sample_service_pb2.ExtractTemplatesRequest(context=self.context(), samples=_only_samples(samples))
        return Operation(
            f"{PACKAGE}.SampleService/ExtractTemplates",
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
            f"{PACKAGE}.SampleService/CompareSamples",
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
            f"{PACKAGE}.SampleService/InspectRecord",
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
            view=counted("view", view),
        )
        return Operation(
            f"{PACKAGE}.SampleService/ConvertRecord",
            request,
            sample_service_pb2.ConvertRecordResponse,
            record_wire.conversion_from_wire,
        )

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
            f"{PACKAGE}.VerificationService/Verify",
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
            f"{PACKAGE}.IdentificationService/Identify",
            self.identify_request(samples, options),
            identification_service_pb2.IdentifyResponse,
            lambda answer: wire.identification_from_wire(answer.identification),
        )

    def identify_stored(
        self, subject_id: str, options: identification_service_pb2.SearchOptions
    ) -> Operation[Identification]:
        """IdentifyStored."""
        return Operation(
            f"{PACKAGE}.IdentificationService/IdentifyStored",
            identification_service_pb2.IdentifyStoredRequest(
                context=self.context(), subject_id=subject_id, options=options
            ),
            identification_service_pb2.IdentifyStoredResponse,
            lambda answer: wire.identification_from_wire(answer.identification),
        )

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
            f"{PACKAGE}.EnrollmentService/Enroll",
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
        max_candidates=counted("max_candidates", max_candidates, least=1),
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
