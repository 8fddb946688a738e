"""VerificationService: 1:1 and 1:few."""

from functools import partial

import grpc

from biometrik import wire
from biometrik.errors import InvalidInputError
from biometrik.types import Decision
from biometrik.v1 import verification_service_pb2 as pb
from biometrik.v1 import verification_service_pb2_grpc
from biometrik_server.calls import CURRENT
from biometrik_server.convert import Converter
from biometrik_server.desk import Desk


class VerificationService(verification_service_pb2_grpc.VerificationServiceServicer):
    """See ``proto/biometrik/v1/verification_service.proto``."""

    def __init__(self, desk: Desk, convert: Converter) -> None:
        self._desk = desk
        self._convert = convert

    async def Verify(
        self, request: pb.VerifyRequest, context: "grpc.aio.ServicerContext[pb.VerifyRequest, pb.VerifyResponse]"
    ) -> pb.VerifyResponse:
        for row in request.missing:  # checked; what is not there does not shift the error rate
            wire.missing_from_wire(row)
        decision = await self._decision(request)
        return pb.VerifyResponse(decision=wire.decision_to_wire(decision, CURRENT.get().locale))

    async def _decision(self, request: pb.VerifyRequest) -> Decision:
        desk, engine = self._desk, self._desk.engine
        max_fmr, real = self._convert.max_fmr(request.threshold), request.threshold.real_evidence
        count = len(request.samples)
        presented = request.presented.samples
        if presented:
            return await desk.answer(
                lambda: self._convert.presented(request.samples) + self._convert.presented(presented),
                lambda both: engine.compare(both[:count], both[count:], max_fmr=max_fmr, real_evidence=real),
            )
        reference = request.WhichOneof("reference")
        if reference not in ("subject_id", "encounter_id", "subjects"):
            raise InvalidInputError("reference: expected a subject, an encounter, subjects or samples, got none")
        match reference:
            case "encounter_id":
                verify = partial(engine.verify_encounter, request.encounter_id, max_fmr=max_fmr, real_evidence=real)
            case "subjects":
                claims = tuple(request.subjects.subject_ids)
                verify = partial(engine.verify_any, claims, max_fmr=max_fmr, real_evidence=real)
            case _:
                verify = partial(engine.verify, request.subject_id, max_fmr=max_fmr, real_evidence=real)
        return await desk.answer(lambda: self._convert.presented(request.samples), verify)
