"""EnrollmentService: registering people, in one call, sample by sample, or many over one stream."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc

from biometrik import wire
from biometrik.bulk import MAX_TAG, require_transaction
from biometrik.duplicates import DedupePolicy
from biometrik.engine import require_consent
from biometrik.gallery.records import check_id
from biometrik.types import Enrollment
from biometrik.v1 import enrollment_service_pb2 as pb
from biometrik.v1 import enrollment_service_pb2_grpc
from biometrik.verdicts import OverrideKind
from biometrik_server.access import Access, Scope
from biometrik_server.calls import CURRENT, Admission
from biometrik_server.convert import Converter
from biometrik_server.desk import Desk
from biometrik_server.sessions import Session, Sessions
from biometrik_server.streams import answered, check_tag, error_to_wire


class EnrollmentService(enrollment_service_pb2_grpc.EnrollmentServiceServicer):
    """See ``proto/biometrik/v1/enrollment_service.proto``."""

    def __init__(
        self,
        desk: Desk,
        convert: Converter,
        sessions: Sessions,
        admission: Admission,
        *,
        records_per_stream: int,
    ) -> None:
        self._desk = desk
        self._convert = convert
        self._sessions = sessions
        self._admission = admission
        self._records_per_stream = records_per_stream

    async def Enroll(
        self, request: pb.EnrollRequest, context: "grpc.aio.ServicerContext[pb.EnrollRequest, pb.EnrollResponse]"
    ) -> pb.EnrollResponse:
        return wire.enrollment_to_wire(await self._enrolled(request), CURRENT.get().locale)

    async def ImportEncounters(
        self,
        request_iterator: AsyncIterator[pb.ImportEncountersRequest],
        context: "grpc.aio.ServicerContext[pb.ImportEncountersRequest, pb.ImportEncountersResponse]",
    ) -> AsyncIterator[pb.ImportEncountersResponse]:
        answers = answered(
            request_iterator, self._one_of_many, at_once=self._records_per_stream, room=self._admission.room
        )
        async for answer in answers:
            yield answer

    async def OpenSession(
        self,
        request: pb.OpenSessionRequest,
        context: "grpc.aio.ServicerContext[pb.OpenSessionRequest, pb.OpenSessionResponse]",
    ) -> pb.OpenSessionResponse:
        who = wire.context_from_wire(request.context)
        require_consent(self._desk.engine.config, who)
        check_id("subject_id", request.subject_id)
        wanted = [wire.requested_trait_from_wire(trait) for trait in request.wanted]
        owner = CURRENT.get().client.name
        galleries, dedupe = _galleries(request), self._dedupe(request)
        session = self._sessions.open(owner, request, request.subject_id, wanted, galleries, who, dedupe)
        return pb.OpenSessionResponse(session_id=session.session_id, traits=_states(session))

    async def SubmitSample(
        self,
        request: pb.SubmitSampleRequest,
        context: "grpc.aio.ServicerContext[pb.SubmitSampleRequest, pb.SubmitSampleResponse]",
    ) -> pb.SubmitSampleResponse:
        session, locale = self._session(request), CURRENT.get().locale

        async def submit() -> pb.SubmitSampleResponse:
            (prepared,) = await self._desk.answer(lambda: self._convert.samples([request.sample]), tuple)
            sample = self._sessions.room_for(prepared.at(0))
            return wire.submitted_to_wire(await self._desk.call(session.present, sample), locale)

        return await session.once(request, submit)

    async def MarkMissing(
        self,
        request: pb.MarkMissingRequest,
        context: "grpc.aio.ServicerContext[pb.MarkMissingRequest, pb.MarkMissingResponse]",
    ) -> pb.MarkMissingResponse:
        missing = wire.missing_from_wire(request.missing)
        states = await self._act(request, lambda session: session.capture.mark_missing(missing))
        return pb.MarkMissingResponse(traits=states)

    async def Override(
        self,
        request: pb.OverrideRequest,
        context: "grpc.aio.ServicerContext[pb.OverrideRequest, pb.OverrideResponse]",
    ) -> pb.OverrideResponse:
        kind = wire.OVERRIDES.from_wire(request.kind)
        if kind is OverrideKind.DUPLICATE:
            states = await self._act(request, lambda session: session.override_duplicates(request.reason))
            return pb.OverrideResponse(traits=states)
        trait = wire.requested_trait_from_wire(request.trait)
        states = await self._act(request, lambda session: session.capture.override(trait, kind, request.reason))
        return pb.OverrideResponse(traits=states)

    async def RestartTrait(
        self,
        request: pb.RestartTraitRequest,
        context: "grpc.aio.ServicerContext[pb.RestartTraitRequest, pb.RestartTraitResponse]",
    ) -> pb.RestartTraitResponse:
        trait = wire.requested_trait_from_wire(request.trait)
        states = await self._act(request, lambda session: session.capture.restart(trait))
        return pb.RestartTraitResponse(traits=states)

    async def Finalize(
        self,
        request: pb.FinalizeRequest,
        context: "grpc.aio.ServicerContext[pb.FinalizeRequest, pb.FinalizeResponse]",
    ) -> pb.FinalizeResponse:
        session, locale = self._session(request), CURRENT.get().locale
        who = wire.context_from_wire(request.context)

        async def finalize() -> pb.FinalizeResponse:
            enrollment = await self._desk.call(session.enrolled, self._desk.engine, who, request.override_reason)
            return pb.FinalizeResponse(enrollment=wire.enrollment_to_wire(enrollment, locale), traits=_states(session))

        return await session.once(request, finalize)

    async def CancelSession(
        self,
        request: pb.CancelSessionRequest,
        context: "grpc.aio.ServicerContext[pb.CancelSessionRequest, pb.CancelSessionResponse]",
    ) -> pb.CancelSessionResponse:
        self._sessions.cancel(CURRENT.get().client.name, request.session_id)
        return pb.CancelSessionResponse()

    async def _one_of_many(self, request: pb.ImportEncountersRequest) -> pb.ImportEncountersResponse:
        locale, tag = wire.locale_of(request.request.context.locale), request.tag[:MAX_TAG]
        try:
            check_tag(request.tag)
            require_transaction(wire.context_from_wire(request.request.context))
            async with self._admission.in_turn():
                enrollment = await self._enrolled(request.request)
        except Exception as error:
            return pb.ImportEncountersResponse(tag=tag, error=error_to_wire(error, locale))
        return pb.ImportEncountersResponse(tag=tag, enrollment=wire.enrollment_to_wire(enrollment, locale))

    async def _enrolled(self, request: pb.EnrollRequest) -> Enrollment:
        who = wire.context_from_wire(request.context)
        enroll = partial(
            self._desk.engine.enroll,
            request.subject_id,
            missing=[wire.missing_from_wire(row) for row in request.missing],
            galleries=_galleries(request),
            override=request.override_reason,
            dedupe=self._dedupe(request),
            context=who,
        )
        return await self._desk.answer(lambda: self._convert.presented(request.samples), enroll)

    def _dedupe(self, request: pb.EnrollRequest | pb.OpenSessionRequest) -> DedupePolicy | None:
        if not request.HasField("dedupe"):
            return None
        Access.require(CURRENT.get().client, Scope.IDENTIFY, "dedupe")  # its answer tells who else is enrolled
        return self._convert.dedupe(request.dedupe)

    def _session(self, request: Any) -> Session:
        return self._sessions.get(CURRENT.get().client.name, request.session_id)

    async def _act(self, request: Any, act: Callable[[Session], object]) -> list[pb.SessionTrait]:
        session = self._session(request)

        async def acted() -> list[pb.SessionTrait]:
            await self._desk.call(act, session)
            return _states(session)

        return await session.once(request, acted)


def _states(session: Session) -> list[pb.SessionTrait]:
    return [wire.state_to_wire(state) for state in session.standings()]


def _galleries(request: pb.EnrollRequest | pb.OpenSessionRequest) -> tuple[str, ...] | None:
    return tuple(request.galleries.names) if request.WhichOneof("membership") == "galleries" else None
