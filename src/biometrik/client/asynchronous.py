"""The service for programs on an event loop."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Final, TypeVar

import grpc

from biometrik.bulk import Imported, ImportRecord
from biometrik.client.channels import AsyncChannel
from biometrik.client.connection import Connection
from biometrik.client.enrollment import Finalized, OpenedSession, SessionOperations
from biometrik.client.operations import (
    Operations,
    Presentations,
    answer_of_many,
    content,
    outcome_of_import,
    search_options,
)
from biometrik.client.served import Calibration, Capabilities, ServedCopy, ServedModel, calibration_of
from biometrik.client.synchronous import pieces
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


class AsyncClient(AsyncChannel):
    """A service of one engine, for one event loop: the awaitable twin of :class:`biometrik.client.Client`.

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

    async def capabilities(self) -> Capabilities:
        """Return what the service is and accepts."""
        return await self._do(self._operations.capabilities())

    async def models(self) -> tuple[ServedModel, ...]:
        """Return the weights on the service's machine, with their licences."""
        return await self._do(self._operations.models())

    async def snapshot(self, label: str = "", *, context: RequestContext | None = None) -> ServedCopy:
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
        return await self._do(self._operations.snapshot(label, context))

    async def calibration(self) -> Calibration:
        """Return the evidence behind every score, asked of the service; raises CalibrationNotFoundError."""
        return calibration_of(await self.capabilities())

    async def calibrations(self) -> tuple[Calibration, ...]:
        """Return the evidence in force, asked of the service."""
        return (await self.capabilities()).calibrations

    # --- samples ---------------------------------------------------------------------------------------------

    async def quality(self, samples: Sequence[Sample]) -> tuple[SampleReport, ...]:
        """Return what is to be said of each image; see :meth:`biometrik.Engine.quality`."""
        return await self._do(self._operations.quality(await self._presented(samples)))

    async def extract(self, samples: Sequence[Sample]) -> tuple[Template | None, ...]:
        """Return a template an image; see :meth:`biometrik.Engine.extract`."""
        return await self._do(self._operations.extract(await self._presented(samples)))

    async def compare(
        self,
        probe: Sequence[Sample],
        reference: Sequence[Sample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        policy: str = "",
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether two people are the same; see :meth:`biometrik.Engine.compare`."""
        sides = await self._presented(probe), await self._presented(reference)
        return await self._do(self._operations.compare(*sides, max_fmr, policy, real_evidence))

    async def inspect_record(self, data: bytes, stated: Stated = NOTHING_STATED) -> RecordReport:
        """Return what stands in an interchange record; see :func:`biometrik.records.inspect`."""
        return await self._do(self._operations.inspect_record(data, stated))

    async def convert_record(
        self, data: bytes, target: RecordType, stated: Stated = NOTHING_STATED, *, view: int = 0
    ) -> Conversion:
        """Return a record in another format; see :func:`biometrik.records.convert`."""
        return await self._do(self._operations.convert_record(data, target, stated, view))

    # --- 1:1 and 1:N -----------------------------------------------------------------------------------------

    async def verify(
        self,
        subject_id: str,
        samples: Sequence[Sample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        policy: str = "",
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether the person is the enrolled subject; see :meth:`biometrik.Engine.verify`."""
        presented = await self._presented(samples)
        return await self._do(self._operations.verify(presented, max_fmr, policy, real_evidence, subject_id=subject_id))

    async def verify_any(
        self,
        subject_ids: Sequence[str],
        samples: Sequence[Sample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        policy: str = "",
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether the person is one of a few; see :meth:`biometrik.Engine.verify_any`."""
        presented = await self._presented(samples)
        return await self._do(
            self._operations.verify(presented, max_fmr, policy, real_evidence, subject_ids=tuple(subject_ids))
        )

    async def verify_encounter(
        self,
        encounter_id: str,
        samples: Sequence[Sample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        policy: str = "",
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether the person is who was enrolled then; see :meth:`biometrik.Engine.verify_encounter`."""
        presented = await self._presented(samples)
        return await self._do(
            self._operations.verify(presented, max_fmr, policy, real_evidence, encounter_id=encounter_id)
        )

    async def identify(
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
        return await self._do(self._operations.identify(await self._presented(samples), options))

    async def identify_stored(
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
        return await self._do(self._operations.identify_stored(subject_id, options))

    async def identify_many(
        self,
        people: AsyncIterable[tuple[str, Sequence[Sample]]],
        *,
        max_fpir: float | None = DEFAULT_MAX_FPIR,
        policy: str = "",
        galleries: Sequence[str] | None = None,
        max_candidates: int = 10,
        real_evidence: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncIterator[tuple[str, Identification | BiometrikError]]:
        """Search for many people over one stream.

        Parameters
        ----------
        people : async iterable of (tag, samples)
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

        async def requests() -> AsyncIterator[identification_service_pb2.IdentifyManyRequest]:
            async for tag, samples in people:
                request = self._operations.identify_request(await self._presented(samples), options)
                yield identification_service_pb2.IdentifyManyRequest(tag=tag, request=request)

        response = identification_service_pb2.IdentifyManyResponse
        async for answer in self._streamed(_IDENTIFY_MANY, requests(), response, timeout_s):
            yield answer.tag, answer_of_many(answer)

    # --- enrolment and the gallery ---------------------------------------------------------------------------

    async def enroll(
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
        presented = await self._presented(samples)
        return await self._do(
            self._operations.enroll(subject_id, presented, galleries, override, context, missing, dedupe)
        )

    async def import_encounters(self, records: AsyncIterable[ImportRecord]) -> AsyncIterator[Imported]:
        """Enrol many people over one stream; see :meth:`biometrik.client.Client.import_encounters`.

        Parameters
        ----------
        records : async iterable of ImportRecord
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

        async def requests() -> AsyncIterator[enrollment_service_pb2.ImportEncountersRequest]:
            async for record in records:
                yield self._operations.import_request(record, await self._presented(record.samples))

        response = enrollment_service_pb2.ImportEncountersResponse
        async for answer in self._streamed(_IMPORT, requests(), response, None):
            yield answer.tag, outcome_of_import(answer)

    async def erase(self, subject_id: str, *, context: RequestContext | None = None) -> ErasureCertificate:
        """Remove a subject and all that was stored of it; see :meth:`biometrik.Engine.erase`."""
        return await self._do(self._operations.erase(subject_id, context))

    async def subject(self, subject_id: str) -> Subject:
        """Return a subject with its encounters; raises SubjectNotFoundError."""
        return await self._do(self._operations.subject(subject_id))

    async def subjects(self, *, gallery: str | None = None, after: str = "", limit: int = 100) -> list[Subject]:
        """Return a page of subjects; see :meth:`biometrik.Engine.subjects`."""
        return await self._do(self._operations.subjects(gallery, after, limit))

    async def encounter(self, encounter_id: str) -> Encounter:
        """Return an encounter; raises EncounterNotFoundError."""
        return await self._do(self._operations.encounter(encounter_id))

    async def set_encounter_status(
        self, encounter_id: str, status: EncounterStatus, *, context: RequestContext | None = None
    ) -> Encounter:
        """Let an encounter take part in comparisons, or not; raises EncounterNotFoundError."""
        return await self._do(self._operations.set_encounter_status(encounter_id, status, context))

    async def set_encounter_galleries(
        self, encounter_id: str, galleries: Sequence[str], *, context: RequestContext | None = None
    ) -> Encounter:
        """Move an encounter to other galleries; raises EncounterNotFoundError, GalleryNotFoundError."""
        return await self._do(self._operations.set_encounter_galleries(encounter_id, galleries, context))

    async def create_gallery(
        self,
        name: str,
        kind: GalleryKind = GalleryKind.POPULATION,
        *,
        legal_basis: str = "",
        retention_days: int = 0,
        context: RequestContext | None = None,
    ) -> GalleryInfo:
        """Create a gallery; see :meth:`biometrik.Engine.create_gallery`."""
        return await self._do(self._operations.create_gallery(name, kind, legal_basis, retention_days, context))

    async def gallery(self, name: str) -> GalleryInfo:
        """Return a gallery; raises GalleryNotFoundError."""
        return await self._do(self._operations.gallery(name))

    async def galleries(self) -> list[GalleryInfo]:
        """Return all galleries, in the order of their names."""
        rows, token = await self._do(self._operations.galleries(""))
        while token:
            more, token = await self._do(self._operations.galleries(token))
            rows += more
        return rows

    async def delete_gallery(self, name: str, *, context: RequestContext | None = None) -> None:
        """Delete a gallery; see :meth:`biometrik.Engine.delete_gallery`."""
        await self._do(self._operations.delete_gallery(name, context))

    # --- enrolment, sample by sample ----------------------------------------------------------------------------

    async def open_session(
        self,
        subject_id: str,
        wanted: Sequence[Trait],
        *,
        galleries: Sequence[str] | None = None,
        dedupe: DedupePolicy | None = None,
        context: RequestContext | None = None,
    ) -> OpenedSession:
        """Begin to collect a person's samples; see OpenSession in the contract."""
        return await self._do(self._sessions.open(subject_id, wanted, galleries, context, dedupe))

    async def submit(self, session_id: str, sample: Sample, *, context: RequestContext | None = None) -> Submitted:
        """Present a sample as one attempt at the trait that it shows; raises SessionNotFoundError."""
        presented = await self._presented([sample])
        return await self._do(self._sessions.submit(session_id, presented, context))

    async def mark_missing(
        self, session_id: str, missing: MissingSample, *, context: RequestContext | None = None
    ) -> tuple[TraitState, ...]:
        """Say that a finger cannot be had; raises SessionNotFoundError."""
        return await self._do(self._sessions.mark_missing(session_id, missing, context))

    async def override(
        self,
        session_id: str,
        trait: Trait,
        kind: OverrideKind,
        reason: str,
        *,
        context: RequestContext | None = None,
    ) -> tuple[TraitState, ...]:
        """Take the best sample so far although the rules would not; raises SessionNotFoundError."""
        return await self._do(self._sessions.override(session_id, trait, kind, reason, context))

    async def override_duplicates(
        self, session_id: str, reason: str, *, context: RequestContext | None = None
    ) -> tuple[TraitState, ...]:
        """Say that the suspects of the last Finalize were looked at and do not count; raises SessionNotFoundError."""
        return await self._do(self._sessions.override_duplicates(session_id, reason, context))

    async def restart(
        self, session_id: str, trait: Trait, *, context: RequestContext | None = None
    ) -> tuple[TraitState, ...]:
        """Begin a trait from nothing; raises SessionNotFoundError."""
        return await self._do(self._sessions.restart(session_id, trait, context))

    async def finalize(
        self, session_id: str, *, override: str = "", context: RequestContext | None = None
    ) -> Finalized:
        """Enrol what was taken; see Finalize in the contract. Raises SessionNotFoundError, and as enroll."""
        return await self._do(self._sessions.finalize(session_id, override, context))

    async def cancel_session(self, session_id: str) -> None:
        """Give a session up; its samples are dropped at once."""
        await self._do(self._sessions.cancel(session_id))

    # --- inside ----------------------------------------------------------------------------------------------

    async def _presented(self, samples: Sequence[Sample]) -> Presentations:
        presented = self._operations.presentations(samples)
        for sample, message in zip(samples, presented, strict=True):
            if message.WhichOneof("kind") == "sample" and message.sample.WhichOneof("content") is None:
                message.sample.upload_id = await self._upload(content(sample))
        return presented

    async def _upload(self, data: bytes) -> str:
        call = self._channel.stream_unary(
            _UPLOAD,
            sample_service_pb2.UploadSampleRequest.SerializeToString,
            sample_service_pb2.UploadSampleResponse.FromString,
        )
        try:
            answer = await call(
                pieces(data, self._operations), timeout=self.connection.timeout_s, metadata=self.connection.metadata
            )
        except grpc.aio.AioRpcError as failure:
            raise self.connection.error(failure) from None
        return str(answer.upload_id)
