"""The service for programs that wait for each answer."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import grpc

from biometrik.bulk import Imported, ImportRecord
from biometrik.client.channels import Channel
from biometrik.client.connection import Connection
from biometrik.client.enrollment import Finalized, OpenedSession, SessionOperations
from biometrik.client.operations import (
    CHUNK_BYTES,
    Operations,
    Presentations,
    answer_of_many,
    content,
    outcome_of_import,
    search_options,
)
from biometrik.client.served import Calibration, Capabilities, ServedCopy, ServedModel, calibration_of
from biometrik.duplicates import DedupePolicy
from biometrik.errors import BiometrikError
from biometrik.formats.record_report import NOTHING_STATED, Conversion, RecordReport, RecordType, Stated
from biometrik.samples import Sample
from biometrik.types import (
    DEFAULT_MAX_FMR,
    DEFAULT_MAX_FPIR,
    Decision,
    Encounter,
    EncounterStatus,
    Enrollment,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    Identification,
    MissingSample,
    RequestContext,
    SampleReport,
    Subject,
    Template,
    Trait,
)
from biometrik.v1 import enrollment_service_pb2, identification_service_pb2, sample_service_pb2
from biometrik.verdicts import OverrideKind, Submitted, TraitState

T = TypeVar("T")

_UPLOAD: Final = "/biometrik.v1.SampleService/UploadSample"
_IMPORT: Final = "/biometrik.v1.EnrollmentService/ImportEncounters"
_IDENTIFY_MANY: Final = "/biometrik.v1.IdentificationService/IdentifyMany"


class Client(Channel):
    """A service of one engine; every method is safe to call from several threads.

    Methods take and return what those of :class:`biometrik.Engine` do, and raise the same errors; where they can,
    ``policy`` names an error rate of the server's configuration in place of a number. Besides, each may raise a
    ServiceError. A call that the service did not answer is tried again, writes under their transaction id. Make one
    after a fork, not before.

    Parameters
    ----------
    address : str or Connection
        ``host:port`` or ``unix:/path``; a Connection also says how to prove who calls.
    """

    def __init__(self, address: str | Connection) -> None:
        super().__init__(address)
        self._operations = Operations(self.connection.locale)
        self._sessions = SessionOperations(self._operations)

    def capabilities(self) -> Capabilities:
        """Return what the service is and accepts."""
        return self._do(self._operations.capabilities())

    def models(self) -> tuple[ServedModel, ...]:
        """Return the weights on the service's machine, with their licences."""
        return self._do(self._operations.models())

    def snapshot(self, label: str = "", *, context: RequestContext | None = None) -> ServedCopy:
        """Have the service copy its database into its own folder, while it works; at most an hour is waited.

        Parameters
        ----------
        label : str
            Part of the copy's name: at most 32 ASCII letters, digits, ``-`` and ``_``; "" for none.
        context : RequestContext, optional
            Who asks, for the event log; its transaction id makes the call repeatable.

        Raises
        ------
        SnapshotsDisabledError
            The service is not configured for copies.
        SnapshotRunningError
            It is making one.
        InvalidInputError, TransactionConflictError
            The label cannot be part of a name; the transaction id is of another copy.
        StoreDamagedError, StoreUnavailableError
            A row of the database is damaged, or the folder cannot be written: no copy is left.
        """
        return self._do(self._operations.snapshot(label, context))

    @property
    def calibration(self) -> Calibration:
        """The evidence behind every score, asked of the service; raises CalibrationNotFoundError."""
        return calibration_of(self.capabilities())

    @property
    def calibrations(self) -> tuple[Calibration, ...]:
        """The evidence in force, asked of the service."""
        return self.capabilities().calibrations

    # --- samples ---------------------------------------------------------------------------------------------

    def quality(self, samples: Sequence[Sample]) -> tuple[SampleReport, ...]:
        """Return what is to be said of each image; see :meth:`biometrik.Engine.quality`."""
        return self._do(self._operations.quality(self._presented(samples)))

    def extract(self, samples: Sequence[Sample]) -> tuple[Template | None, ...]:
        """Return a template an image; see :meth:`biometrik.Engine.extract`."""
        return self._do(self._operations.extract(self._presented(samples)))

    def compare(
        self,
        probe: Sequence[Sample],
        reference: Sequence[Sample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        policy: str = "",
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether two people are the same; see :meth:`biometrik.Engine.compare`."""
        sides = self._presented(probe), self._presented(reference)
        return self._do(self._operations.compare(*sides, max_fmr, policy, real_evidence))

    def inspect_record(self, data: bytes, stated: Stated = NOTHING_STATED) -> RecordReport:
        """Return what stands in an interchange record; see :func:`biometrik.records.inspect`."""
        return self._do(self._operations.inspect_record(data, stated))

    def convert_record(
        self, data: bytes, target: RecordType, stated: Stated = NOTHING_STATED, *, view: int = 0
    ) -> Conversion:
        """Return a record in another format; see :func:`biometrik.records.convert`."""
        return self._do(self._operations.convert_record(data, target, stated, view))

    # --- 1:1 and 1:N -----------------------------------------------------------------------------------------

    def verify(
        self,
        subject_id: str,
        samples: Sequence[Sample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        policy: str = "",
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether the person is the enrolled subject; see :meth:`biometrik.Engine.verify`."""
        presented = self._presented(samples)
        return self._do(self._operations.verify(presented, max_fmr, policy, real_evidence, subject_id=subject_id))

    def verify_any(
        self,
        subject_ids: Sequence[str],
        samples: Sequence[Sample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        policy: str = "",
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether the person is one of a few; see :meth:`biometrik.Engine.verify_any`."""
        presented = self._presented(samples)
        return self._do(
            self._operations.verify(presented, max_fmr, policy, real_evidence, subject_ids=tuple(subject_ids))
        )

    def verify_encounter(
        self,
        encounter_id: str,
        samples: Sequence[Sample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        policy: str = "",
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether the person is who was enrolled then; see :meth:`biometrik.Engine.verify_encounter`."""
        presented = self._presented(samples)
        return self._do(self._operations.verify(presented, max_fmr, policy, real_evidence, encounter_id=encounter_id))

    def identify(
        self,
        samples: Sequence[Sample],
        *,
        max_fpir: float | None = DEFAULT_MAX_FPIR,
        policy: str = "",
        galleries: Sequence[str] | None = None,
        max_candidates: int = 10,
        excluding: str = "",
        real_evidence: bool = False,
    ) -> Identification:
        """Search for the person; see :meth:`biometrik.Engine.identify`."""
        options = search_options(max_fpir, policy, galleries, max_candidates, excluding, real_evidence)
        return self._do(self._operations.identify(self._presented(samples), options))

    def identify_stored(
        self,
        subject_id: str,
        *,
        max_fpir: float | None = DEFAULT_MAX_FPIR,
        policy: str = "",
        galleries: Sequence[str] | None = None,
        max_candidates: int = 10,
        real_evidence: bool = False,
    ) -> Identification:
        """Search with what is stored of a subject; see :meth:`biometrik.Engine.identify_stored`."""
        options = search_options(max_fpir, policy, galleries, max_candidates, "", real_evidence)
        return self._do(self._operations.identify_stored(subject_id, options))

    def identify_many(
        self,
        people: Iterable[tuple[str, Sequence[Sample]]],
        *,
        max_fpir: float | None = DEFAULT_MAX_FPIR,
        policy: str = "",
        galleries: Sequence[str] | None = None,
        max_candidates: int = 10,
        real_evidence: bool = False,
        timeout_s: float | None = None,
    ) -> Iterator[tuple[str, Identification | BiometrikError]]:
        """Search for many people over one stream.

        Parameters
        ----------
        people : iterable of (tag, samples)
            Read as the service takes them. Tags are the caller's, at most 128 characters.
        max_fpir, policy, galleries, max_candidates, real_evidence
            As for :meth:`identify`, for all of them.
        timeout_s : float or None
            For the whole stream; None for no bound.

        Yields
        ------
        tag, answer
            As they are ready, in any order; an error where that search had none.

        Raises
        ------
        ServiceError
            The stream broke: those without an answer must be asked again.
        """
        options = search_options(max_fpir, policy, galleries, max_candidates, "", real_evidence)
        requests = (
            identification_service_pb2.IdentifyManyRequest(
                tag=tag, request=self._operations.identify_request(self._presented(samples), options)
            )
            for tag, samples in people
        )
        response = identification_service_pb2.IdentifyManyResponse
        for answer in self._streamed(_IDENTIFY_MANY, requests, response, timeout_s):
            yield answer.tag, answer_of_many(answer)

    # --- enrolment and the gallery ---------------------------------------------------------------------------

    def enroll(
        self,
        subject_id: str,
        samples: Sequence[Sample],
        *,
        missing: Sequence[MissingSample] = (),
        galleries: Sequence[str] | None = None,
        override: str = "",
        dedupe: DedupePolicy | None = None,
        context: RequestContext | None = None,
    ) -> Enrollment:
        """Add an encounter to a subject; see :meth:`biometrik.Engine.enroll`."""
        presented = self._presented(samples)
        return self._do(self._operations.enroll(subject_id, presented, galleries, override, context, missing, dedupe))

    def import_encounters(self, records: Iterable[ImportRecord]) -> Iterator[Imported]:
        """Enrol many people over one stream; see :meth:`biometrik.Engine.import_encounters`.

        Parameters
        ----------
        records : iterable of ImportRecord
            Read as the service takes them. The stream has no deadline.

        Yields
        ------
        tag, outcome
            As they are known, in any order.

        Raises
        ------
        ServiceError
            The stream broke: import what has no outcome again, under the same transaction ids.
        """
        requests = (self._operations.import_request(record, self._presented(record.samples)) for record in records)
        response = enrollment_service_pb2.ImportEncountersResponse
        for answer in self._streamed(_IMPORT, requests, response, None):
            yield answer.tag, outcome_of_import(answer)

    def erase(self, subject_id: str, *, context: RequestContext | None = None) -> ErasureCertificate:
        """Remove a subject and all that was stored of it; see :meth:`biometrik.Engine.erase`."""
        return self._do(self._operations.erase(subject_id, context))

    def subject(self, subject_id: str) -> Subject:
        """Return a subject with its encounters; raises SubjectNotFoundError."""
        return self._do(self._operations.subject(subject_id))

    def subjects(self, *, gallery: str | None = None, after: str = "", limit: int = 100) -> list[Subject]:
        """Return a page of subjects; see :meth:`biometrik.Engine.subjects`."""
        return self._do(self._operations.subjects(gallery, after, limit))

    def encounter(self, encounter_id: str) -> Encounter:
        """Return an encounter; raises EncounterNotFoundError."""
        return self._do(self._operations.encounter(encounter_id))

    def set_encounter_status(
        self, encounter_id: str, status: EncounterStatus, *, context: RequestContext | None = None
    ) -> Encounter:
        """Let an encounter take part in comparisons, or not; raises EncounterNotFoundError."""
        return self._do(self._operations.set_encounter_status(encounter_id, status, context))

    def set_encounter_galleries(
        self, encounter_id: str, galleries: Sequence[str], *, context: RequestContext | None = None
    ) -> Encounter:
        """Move an encounter to other galleries; raises EncounterNotFoundError, GalleryNotFoundError."""
        return self._do(self._operations.set_encounter_galleries(encounter_id, galleries, context))

    def create_gallery(
        self,
        name: str,
        kind: GalleryKind = GalleryKind.POPULATION,
        *,
        legal_basis: str = "",
        retention_days: int = 0,
        context: RequestContext | None = None,
    ) -> GalleryInfo:
        """Create a gallery; see :meth:`biometrik.Engine.create_gallery`."""
        return self._do(self._operations.create_gallery(name, kind, legal_basis, retention_days, context))

    def gallery(self, name: str) -> GalleryInfo:
        """Return a gallery; raises GalleryNotFoundError."""
        return self._do(self._operations.gallery(name))

    def galleries(self) -> list[GalleryInfo]:
        """Return all galleries, in the order of their names."""
        rows, token = self._do(self._operations.galleries(""))
        while token:
            more, token = self._do(self._operations.galleries(token))
            rows += more
        return rows

    def delete_gallery(self, name: str, *, context: RequestContext | None = None) -> None:
        """Delete a gallery; see :meth:`biometrik.Engine.delete_gallery`."""
        self._do(self._operations.delete_gallery(name, context))

    # --- enrolment, sample by sample ----------------------------------------------------------------------------

    def open_session(
        self,
        subject_id: str,
        wanted: Sequence[Trait],
        *,
        galleries: Sequence[str] | None = None,
        dedupe: DedupePolicy | None = None,
        context: RequestContext | None = None,
    ) -> OpenedSession:
        """Begin to collect a person's samples; see OpenSession in the contract."""
        return self._do(self._sessions.open(subject_id, wanted, galleries, context, dedupe))

    def submit(self, session_id: str, sample: Sample, *, context: RequestContext | None = None) -> Submitted:
        """Present a sample as one attempt at the trait that it shows; raises SessionNotFoundError."""
        presented = self._presented([sample])
        return self._do(self._sessions.submit(session_id, presented, context))

    def mark_missing(
        self, session_id: str, missing: MissingSample, *, context: RequestContext | None = None
    ) -> tuple[TraitState, ...]:
        """Say that a finger cannot be had; raises SessionNotFoundError."""
        return self._do(self._sessions.mark_missing(session_id, missing, context))

    def override(
        self,
        session_id: str,
        trait: Trait,
        kind: OverrideKind,
        reason: str,
        *,
        context: RequestContext | None = None,
    ) -> tuple[TraitState, ...]:
        """Take the best sample so far although the rules would not; raises SessionNotFoundError."""
        return self._do(self._sessions.override(session_id, trait, kind, reason, context))

    def override_duplicates(
        self, session_id: str, reason: str, *, context: RequestContext | None = None
    ) -> tuple[TraitState, ...]:
        """Say that the suspects of the last Finalize were looked at and do not count; raises SessionNotFoundError."""
        return self._do(self._sessions.override_duplicates(session_id, reason, context))

    def restart(
        self, session_id: str, trait: Trait, *, context: RequestContext | None = None
    ) -> tuple[TraitState, ...]:
        """Begin a trait from nothing; raises SessionNotFoundError."""
        return self._do(self._sessions.restart(session_id, trait, context))

    def finalize(self, session_id: str, *, override: str = "", context: RequestContext | None = None) -> Finalized:
        """Enrol what was taken; see Finalize in the contract. Raises SessionNotFoundError, and as enroll."""
        return self._do(self._sessions.finalize(session_id, override, context))

    def cancel_session(self, session_id: str) -> None:
        """Give a session up; its samples are dropped at once."""
        self._do(self._sessions.cancel(session_id))

    # --- inside ----------------------------------------------------------------------------------------------

    def _presented(self, samples: Sequence[Sample]) -> Presentations:
        presented = self._operations.presentations(samples)
        for sample, message in zip(samples, presented, strict=True):
            if message.WhichOneof("kind") == "sample" and message.sample.WhichOneof("content") is None:
                message.sample.upload_id = self._upload(content(sample))
        return presented

    def _upload(self, data: bytes) -> str:
        call = self._channel.stream_unary(
            _UPLOAD,
            sample_service_pb2.UploadSampleRequest.SerializeToString,
            sample_service_pb2.UploadSampleResponse.FromString,
        )
        try:
            answer = call(
                pieces(data, self._operations), timeout=self.connection.timeout_s, metadata=self.connection.metadata
            )
        except grpc.RpcError as failure:
            raise self.connection.error(failure) from None
        return str(answer.upload_id)


def pieces(data: bytes, operations: Operations) -> Iterator[sample_service_pb2.UploadSampleRequest]:
    """Yield an upload's messages."""
    first: dict[str, Any] = {
        "context": operations.context(),
        "total_size_bytes": len(data),
        "sha256": hashlib.sha256(data).digest(),
    }
    for start in range(0, len(data), CHUNK_BYTES):
        yield sample_service_pb2.UploadSampleRequest(chunk=data[start : start + CHUNK_BYTES], **first)
        first = {}
