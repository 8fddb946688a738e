"""AdminService: what the server is, and copies of its database."""

import grpc
from google.protobuf.duration_pb2 import Duration

import biometrik
from biometrik import models, wire
from biometrik.types import EvidenceKind
from biometrik.v1 import admin_service_pb2 as pb
from biometrik.v1 import admin_service_pb2_grpc, sample_pb2
from biometrik_server.calls import CURRENT
from biometrik_server.condition import Condition
from biometrik_server.config import ServerConfig
from biometrik_server.convert import FACE_FORMATS, FINGER_FORMATS
from biometrik_server.desk import Desk
from biometrik_server.snapshots import Copier


class AdminService(admin_service_pb2_grpc.AdminServiceServicer):
    """See ``proto/biometrik/v1/admin_service.proto``."""

    def __init__(self, desk: Desk, config: ServerConfig, condition: Condition, copier: Copier) -> None:
        self._desk = desk
        self._config = config
        self._condition = condition
        self._copier = copier

    async def GetCapabilities(
        self,
        request: pb.GetCapabilitiesRequest,
        context: "grpc.aio.ServicerContext[pb.GetCapabilitiesRequest, pb.GetCapabilitiesResponse]",
    ) -> pb.GetCapabilitiesResponse:
        config, engine = self._config, self._desk.engine
        settings = engine.config
        lifetime = Duration()
        lifetime.FromMilliseconds(round(1000 * config.limits.upload_lifetime_s))
        return pb.GetCapabilitiesResponse(
            version=biometrik.__version__,
            modalities=[sample_pb2.MODALITY_FACE, sample_pb2.MODALITY_FINGER],
            formats=sorted({*FACE_FORMATS, *FINGER_FORMATS}),
            model_contract_id=engine.model_contract_id,
            provider=settings.runtime.provider,
            precision=settings.runtime.precision,
            quality_profile=settings.face.quality_profile,
            calibrations=self._calibrations(),
            policies=[
                pb.Policy(name=name, fmr=policy.fmr, fpir=policy.fpir)
                for name, policy in sorted(config.policies.items())
            ],
            limits=pb.Limits(
                max_message_bytes=config.limits.max_message_bytes,
                max_image_bytes=settings.limits.max_bytes,
                max_image_pixels=settings.limits.max_pixels,
                max_samples=settings.max_samples,
                max_concurrent_requests=config.limits.max_concurrent_requests,
                max_searches_per_stream=config.limits.max_searches_per_stream,
                upload_lifetime=lifetime,
                max_records_per_stream=config.limits.max_records_per_stream,
            ),
            quarantined_encounters=self._condition.quarantined,
        )

    async def ListModels(
        self,
        request: pb.ListModelsRequest,
        context: "grpc.aio.ServicerContext[pb.ListModelsRequest, pb.ListModelsResponse]",
    ) -> pb.ListModelsResponse:
        rows = await self._desk.call(models.catalogue, self._desk.engine.config.models)
        here = [
            row.entry for row in rows if row.state in (models.WeightsState.VERIFIED, models.WeightsState.UNDECLARED)
        ]
        return pb.ListModelsResponse(
            models=[
                pb.Model(model_id=entry.id, task=entry.role.value, licence=entry.licence, sha256=entry.sha256)
                for entry in here
            ]
        )

    async def Snapshot(
        self,
        request: pb.SnapshotRequest,
        context: "grpc.aio.ServicerContext[pb.SnapshotRequest, pb.SnapshotResponse]",
    ) -> pb.SnapshotResponse:
        who = wire.context_from_wire(request.context)
        copy = await self._copier.copy(CURRENT.get().client.name, request.label, who)
        return pb.SnapshotResponse(
            copy=pb.DatabaseCopy(
                name=copy.name,
                size_bytes=copy.held.octets,
                sha256=copy.sha256,
                created_at=wire.time_to_wire(copy.created_at),
                schema_version=copy.schema_version,
                last_event=copy.held.event,
                subjects=copy.held.subjects,
                encounters=copy.held.encounters,
                templates=copy.held.templates,
                quarantined_encounters=copy.held.quarantined,
            )
        )

    def _calibrations(self) -> list[pb.Calibration]:
        return [
            pb.Calibration(
                calibration_id=table.id,
                dataset=table.dataset,
                subjects=table.subjects,
                mated_comparisons=table.mated,
                nonmated_comparisons=table.non_mated,
                date=table.date.isoformat(),
                tightest_fmr=table.tightest_fmr,
                tightest_raw_score=table.tightest_raw_score,
                model_contract_id=table.model_contract_id,
                synthetic=table.evidence is EvidenceKind.SYNTHETIC,
            )
            for table in self._desk.engine.calibrations
        ]
