"""IdentificationService: 1:N."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import grpc

from biometrik import wire
from biometrik.errors import InvalidInputError
from biometrik.types import Identification
from biometrik.v1 import identification_service_pb2 as pb
from biometrik.v1 import identification_service_pb2_grpc
from biometrik_server.calls import CURRENT, Admission
from biometrik_server.convert import Converter
from biometrik_server.desk import Desk
from biometrik_server.status import failure_of

_DEFAULT_CANDIDATES = 10
_MAX_TAG = 128


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
        searching: set[asyncio.Task[pb.IdentifyManyResponse]] = set()
        # Reading is a task beside the searches: a client may wait for an answer before it asks on.
        reading: set[asyncio.Task[pb.IdentifyManyRequest | None]] = {_next(request_iterator)}
        try:
            while searching or reading:
                ready = reading if len(searching) < self._searches_per_stream else set()
                await asyncio.wait(searching | ready, return_when=asyncio.FIRST_COMPLETED)
                for read in [task for task in ready if task.done()]:
                    request = read.result()
                    reading = set() if request is None else {_next(request_iterator)}
                    if request is not None:
                        searching.add(asyncio.create_task(self._one_of_many(request)))
                for search in [task for task in searching if task.done()]:
                    searching.discard(search)
                    yield search.result()
        finally:  # the client has gone: what nobody waits for is not computed
            for task in searching | reading:
                task.cancel()

    async def _one_of_many(self, request: pb.IdentifyManyRequest) -> pb.IdentifyManyResponse:
        locale = wire.locale_of(request.request.context.locale)
        tag = request.tag[:_MAX_TAG]
        try:
            if len(request.tag) > _MAX_TAG:
                raise InvalidInputError(f"tag: expected at most {_MAX_TAG} characters, got {len(request.tag)}")
            with self._admission:
                found = await self._search(request.request)
        except Exception as error:
            failure = failure_of(error, locale)
            number: int = failure.code.value[0]
            said = pb.RequestError(
                code=number,
                reason=failure.reason,
                message=failure.message,
                localized_message=failure.localized,
                metadata=dict(failure.metadata),
            )
            return pb.IdentifyManyResponse(tag=tag, error=said)
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


def _next(requests: AsyncIterator[pb.IdentifyManyRequest]) -> asyncio.Task[pb.IdentifyManyRequest | None]:
    async def read() -> pb.IdentifyManyRequest | None:
        return await anext(requests, None)

    return asyncio.create_task(read())
