"""IdentificationService: 1:N."""

from collections.abc import AsyncIterator
from functools import partial

import grpc

from biometrik import wire
from biometrik.bulk import MAX_TAG
from biometrik.errors import InvalidInputError
from biometrik.types import Identification
from biometrik.v1 import identification_service_pb2 as pb
from biometrik.v1 import identification_service_pb2_grpc
from biometrik_server.calls import CURRENT, Admission
from biometrik_server.convert import Converter
from biometrik_server.desk import Desk
from biometrik_server.streams import answered, check_tag, error_to_wire

_DEFAULT_CANDIDATES = 10


class IdentificationService(identification_service_pb2_grpc.IdentificationServiceServicer):
    """See ``proto/biometrik/v1/identification_service.proto``."""

    def __init__(self, desk: Desk, convert: Converter, admission: Admission, *, searches_per_stream: int) -> None:
        self._desk = desk
        self._convert = convert
        self._admission = admission
        self._searches_per_stream = searches_per_stream

    async def Identify(
        self,
        request: pb.IdentifyRequest,
        context: "grpc.aio.ServicerContext[pb.IdentifyRequest, pb.IdentifyResponse]",
    ) -> pb.IdentifyResponse:
        found = await self._search(request)
        return pb.IdentifyResponse(identification=wire.identification_to_wire(found, CURRENT.get().locale))

    async def IdentifyStored(
        self,
        request: pb.IdentifyStoredRequest,
        context: "grpc.aio.ServicerContext[pb.IdentifyStoredRequest, pb.IdentifyStoredResponse]",
    ) -> pb.IdentifyStoredResponse:
        options = request.options
        if options.excluded_subject_id:
            raise InvalidInputError("excluded_subject_id: expected none; the subject itself is left out")
        found = await self._desk.call(
            self._desk.engine.identify_stored,
            request.subject_id,
            max_fpir=self._max_fpir(options),
            galleries=tuple(options.galleries) or None,
            max_candidates=options.max_candidates or _DEFAULT_CANDIDATES,
            real_evidence=options.threshold.real_evidence,
        )
        return pb.IdentifyStoredResponse(identification=wire.identification_to_wire(found, CURRENT.get().locale))

    async def IdentifyMany(
        self,
        request_iterator: AsyncIterator[pb.IdentifyManyRequest],
        context: "grpc.aio.ServicerContext[pb.IdentifyManyRequest, pb.IdentifyManyResponse]",
    ) -> AsyncIterator[pb.IdentifyManyResponse]:
        async for answer in answered(request_iterator, self._one_of_many, at_once=self._searches_per_stream):
            yield answer

    async def _one_of_many(self, request: pb.IdentifyManyRequest) -> pb.IdentifyManyResponse:
        locale = wire.locale_of(request.request.context.locale)
        tag = request.tag[:MAX_TAG]
        try:
            check_tag(request.tag)
            with self._admission:
                found = await self._search(request.request)
        except Exception as error:
            return pb.IdentifyManyResponse(tag=tag, error=error_to_wire(error, locale))
        return pb.IdentifyManyResponse(tag=tag, identification=wire.identification_to_wire(found, locale))

    async def _search(self, request: pb.IdentifyRequest) -> Identification:
        options = request.options
        max_fpir = self._max_fpir(options)
        identify = partial(
            self._desk.engine.identify,
            max_fpir=max_fpir,
            galleries=tuple(options.galleries) or None,
            max_candidates=options.max_candidates or _DEFAULT_CANDIDATES,
            real_evidence=options.threshold.real_evidence,
            excluding=options.excluded_subject_id,
        )
        return await self._desk.answer(lambda: self._convert.presented(request.samples), identify)

    def _max_fpir(self, options: pb.SearchOptions) -> float | None:
        if options.without_decision:
            if options.threshold.WhichOneof("target"):
                raise InvalidInputError("without_decision: expected no threshold beside it, got one")
            return None
        return self._convert.max_fpir(options.threshold)
