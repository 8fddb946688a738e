"""EnrollmentService: registering people."""

from functools import partial

import grpc

from biometrik import wire
from biometrik.v1 import enrollment_service_pb2 as pb
from biometrik.v1 import enrollment_service_pb2_grpc
from biometrik_server.calls import CURRENT
from biometrik_server.convert import Converter
from biometrik_server.desk import Desk


class EnrollmentService(enrollment_service_pb2_grpc.EnrollmentServiceServicer):
    """See ``proto/biometrik/v1/enrollment_service.proto``."""

    def __init__(self, desk: Desk, convert: Converter) -> None:
        self._desk = desk
        self._convert = convert

    async def Enroll(
        self, request: pb.EnrollRequest, context: "grpc.aio.ServicerContext[pb.EnrollRequest, pb.EnrollResponse]"
    ) -> pb.EnrollResponse:
        who = wire.context_from_wire(request.context)
        named = request.WhichOneof("membership") == "galleries"
        enroll = partial(
            self._desk.engine.enroll,
            request.subject_id,
            missing=[wire.missing_from_wire(row) for row in request.missing],
            galleries=tuple(request.galleries.names) if named else None,
            override=request.override_reason,
            context=who,
        )
        enrollment = await self._desk.answer(lambda: self._convert.presented(request.samples), enroll)
        return wire.enrollment_to_wire(enrollment, CURRENT.get().locale)
