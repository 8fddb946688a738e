"""SampleService: the library as a service, nothing stored."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc

from biometrik import record_wire, records, wire
from biometrik.v1 import sample_service_pb2 as pb
from biometrik.v1 import sample_service_pb2_grpc
from biometrik_server.calls import CURRENT
from biometrik_server.convert import Converter
from biometrik_server.desk import Desk
from biometrik_server.uploads import Uploads


class SampleService(sample_service_pb2_grpc.SampleServiceServicer):
    """See ``proto/biometrik/v1/sample_service.proto``."""

    def __init__(self, desk: Desk, convert: Converter, uploads: Uploads) -> None:
        self._desk = desk
        self._convert = convert
        self._uploads = uploads

    async def AssessQuality(
        self,
        request: pb.AssessQualityRequest,
        context: "grpc.aio.ServicerContext[pb.AssessQualityRequest, pb.AssessQualityResponse]",
    ) -> pb.AssessQualityResponse:
        reports = await self._desk.answer(lambda: self._convert.samples(request.samples), self._desk.engine.quality)
        locale = CURRENT.get().locale
        return pb.AssessQualityResponse(samples=[wire.report_to_wire(report, locale) for report in reports])

    async def ExtractTemplates(
        self,
        request: pb.ExtractTemplatesRequest,
        context: "grpc.aio.ServicerContext[pb.ExtractTemplatesRequest, pb.ExtractTemplatesResponse]",
    ) -> pb.ExtractTemplatesResponse:
        samples = await self._desk.answer(lambda: self._convert.samples(request.samples), tuple)
        locale = CURRENT.get().locale
        return pb.ExtractTemplatesResponse(
            extractions=[
                pb.Extraction(
                    report=wire.report_to_wire(sample.at(i).report, locale),
                    template=None if sample.template is None else wire.template_to_wire(sample.template),
                )
                for i, sample in enumerate(samples)
            ]
        )

    async def CompareSamples(
        self,
        request: pb.CompareSamplesRequest,
        context: "grpc.aio.ServicerContext[pb.CompareSamplesRequest, pb.CompareSamplesResponse]",
    ) -> pb.CompareSamplesResponse:
        max_fmr = self._convert.max_fmr(request.threshold)
        count, real = len(request.probe), request.threshold.real_evidence
        decision = await self._desk.answer(
            lambda: self._convert.presented(request.probe) + self._convert.presented(request.reference),
            lambda both: self._desk.engine.compare(both[:count], both[count:], max_fmr=max_fmr, real_evidence=real),
        )
        return pb.CompareSamplesResponse(decision=wire.decision_to_wire(decision, CURRENT.get().locale))

    async def InspectRecord(
        self,
        request: pb.InspectRecordRequest,
        context: "grpc.aio.ServicerContext[pb.InspectRecordRequest, pb.InspectRecordResponse]",
    ) -> pb.InspectRecordResponse:
        data, stated = record_wire.record_from_wire(request.record)
        report = await self._desk.call(records.inspect, data, stated)
        return pb.InspectRecordResponse(report=record_wire.report_to_wire(report))

    async def ConvertRecord(
        self,
        request: pb.ConvertRecordRequest,
        context: "grpc.aio.ServicerContext[pb.ConvertRecordRequest, pb.ConvertRecordResponse]",
    ) -> pb.ConvertRecordResponse:
        return record_wire.conversion_to_wire(await self._desk.call(self._convert.converted, request))

    async def UploadSample(
        self,
        request_iterator: AsyncIterator[pb.UploadSampleRequest],
        context: "grpc.aio.ServicerContext[pb.UploadSampleRequest, pb.UploadSampleResponse]",
    ) -> pb.UploadSampleResponse:
        owner, upload_id, sha256 = CURRENT.get().client.name, "", b""
        try:
            async for message in request_iterator:
                if not upload_id:
                    upload_id = self._uploads.begin(owner, message.total_size_bytes)
                    sha256 = message.sha256
                self._uploads.add(upload_id, message.chunk)
            seconds = self._uploads.finish(upload_id, sha256)
        except BaseException:  # whatever ends the stream, what came of it makes room
            self._uploads.drop(upload_id)
            raise
        expires_at = datetime.fromtimestamp(time.time() + seconds, UTC)
        return pb.UploadSampleResponse(upload_id=upload_id, expires_at=wire.time_to_wire(expires_at))
