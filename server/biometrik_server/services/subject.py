"""SubjectService: looking after enrolled people."""

import grpc

from biometrik import wire
from biometrik.v1 import subject_service_pb2 as pb
from biometrik.v1 import subject_service_pb2_grpc
from biometrik_server.condition import Condition
from biometrik_server.convert import page_size, paged
from biometrik_server.desk import Desk


class SubjectService(subject_service_pb2_grpc.SubjectServiceServicer):
    """See ``proto/biometrik/v1/subject_service.proto``."""

    def __init__(self, desk: Desk, condition: Condition) -> None:
        self._desk = desk
        self._condition = condition

    async def GetSubject(
        self,
        request: pb.GetSubjectRequest,
        context: "grpc.aio.ServicerContext[pb.GetSubjectRequest, pb.GetSubjectResponse]",
    ) -> pb.GetSubjectResponse:
        subject = await self._desk.call(self._desk.engine.subject, request.subject_id)
        return pb.GetSubjectResponse(subject=wire.subject_to_wire(subject))

    async def ListEncounters(
        self,
        request: pb.ListEncountersRequest,
        context: "grpc.aio.ServicerContext[pb.ListEncountersRequest, pb.ListEncountersResponse]",
    ) -> pb.ListEncountersResponse:
        size = page_size(request.page_size)
        subject = await self._desk.call(self._desk.engine.subject, request.subject_id)
        page, token = paged(subject.encounters, lambda encounter: encounter.encounter_id, request.page_token, size)
        return pb.ListEncountersResponse(
            encounters=[wire.encounter_to_wire(encounter) for encounter in page], next_page_token=token
        )

    async def GetEncounter(
        self,
        request: pb.GetEncounterRequest,
        context: "grpc.aio.ServicerContext[pb.GetEncounterRequest, pb.GetEncounterResponse]",
    ) -> pb.GetEncounterResponse:
        encounter = await self._desk.call(self._desk.engine.encounter, request.encounter_id)
        return pb.GetEncounterResponse(encounter=wire.encounter_to_wire(encounter))

    async def SetEncounterStatus(
        self,
        request: pb.SetEncounterStatusRequest,
        context: "grpc.aio.ServicerContext[pb.SetEncounterStatusRequest, pb.SetEncounterStatusResponse]",
    ) -> pb.SetEncounterStatusResponse:
        status = wire.STATUSES.from_wire(request.status)
        who = wire.context_from_wire(request.context)
        encounter = await self._desk.call(
            self._desk.engine.set_encounter_status, request.encounter_id, status, context=who
        )
        return pb.SetEncounterStatusResponse(encounter=wire.encounter_to_wire(encounter))

    async def SetEncounterGalleries(
        self,
        request: pb.SetEncounterGalleriesRequest,
        context: "grpc.aio.ServicerContext[pb.SetEncounterGalleriesRequest, pb.SetEncounterGalleriesResponse]",
    ) -> pb.SetEncounterGalleriesResponse:
        who = wire.context_from_wire(request.context)
        encounter = await self._desk.call(
            self._desk.engine.set_encounter_galleries, request.encounter_id, tuple(request.galleries), context=who
        )
        return pb.SetEncounterGalleriesResponse(encounter=wire.encounter_to_wire(encounter))

    async def EraseSubject(
        self,
        request: pb.EraseSubjectRequest,
        context: "grpc.aio.ServicerContext[pb.EraseSubjectRequest, pb.EraseSubjectResponse]",
    ) -> pb.EraseSubjectResponse:
        who = wire.context_from_wire(request.context)
        certificate = await self._desk.call(self._desk.engine.erase, request.subject_id, context=who)
        await self._condition.look_after_erasure()
        return pb.EraseSubjectResponse(certificate=wire.certificate_to_wire(certificate))
