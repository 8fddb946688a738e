"""The server: one engine, the services in front of it, the standard services beside them."""

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

import grpc

import biometrik
from biometrik.engine import Engine
from biometrik.errors import CalibrationNotFoundError
from biometrik.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    enrollment_service_pb2,
    enrollment_service_pb2_grpc,
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    identification_service_pb2,
    identification_service_pb2_grpc,
    sample_service_pb2,
    sample_service_pb2_grpc,
    subject_service_pb2,
    subject_service_pb2_grpc,
    verification_service_pb2,
    verification_service_pb2_grpc,
)
from biometrik_server.condition import Condition
from biometrik_server.config import ServerConfig
from biometrik_server.convert import Converter
from biometrik_server.desk import Desk
from biometrik_server.hosting import Host
from biometrik_server.metrics import Metrics
from biometrik_server.priorities import give_way
from biometrik_server.services.admin import AdminService
from biometrik_server.services.enrollment import EnrollmentService
from biometrik_server.services.gallery import GalleryService
from biometrik_server.services.identification import IdentificationService
from biometrik_server.services.sample import SampleService
from biometrik_server.services.subject import SubjectService
from biometrik_server.services.verification import VerificationService
from biometrik_server.sessions import Sessions
from biometrik_server.snapshots import Copier
from biometrik_server.uploads import Uploads

_log = logging.getLogger(__name__)

#: Full names of our services, as health and reflection list them.
SERVICE_NAMES: Final = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (sample_service_pb2, "SampleService"),
        (enrollment_service_pb2, "EnrollmentService"),
        (subject_service_pb2, "SubjectService"),
        (gallery_service_pb2, "GalleryService"),
        (verification_service_pb2, "VerificationService"),
        (identification_service_pb2, "IdentificationService"),
        (admin_service_pb2, "AdminService"),
    )
)


class Server:
    """A running server; make one with :meth:`start`.

    Parameters
    ----------
    config : ServerConfig
        All settings.
    engine : Engine
        Closed when the server stops.
    """

    def __init__(self, config: ServerConfig, engine: Engine) -> None:
        self._config = config
        self.metrics = Metrics()
        self._desk = Desk(engine, self.metrics, threads=max(2, os.cpu_count() or 1))
        self._host = Host(config, self.metrics)
        self._condition = Condition(self._desk, self._host, self.metrics)
        self._copier = Copier(engine, config.snapshots)

    @property
    def port(self) -> int:
        """Where it listens; 0 on a unix socket."""
        return self._host.port

    @classmethod
    async def start(cls, config: ServerConfig) -> Self:
        """Open the engine, load the models and begin to answer.

        Raises
        ------
        BiometrikError
            As Engine.open; InvalidInputError where the address cannot be listened on or a certificate not be read.
        """
        loop = asyncio.get_running_loop()
        # The threads of model runs are started here.
        with ThreadPoolExecutor(1, initializer=give_way) as opener:
            engine = await loop.run_in_executor(opener, Engine.open, config.database, config.engine.parameters())
        server = cls(config, engine)
        try:
            await server._listen()
        except BaseException:
            server._close()
            raise
        return server

    async def stop(self) -> None:
        """Refuse new calls, let what is worked on finish within ``grace_s``, then close the engine."""
        await self._host.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._close)
        _log.info("stopped")

    async def wait(self) -> None:
        """Return when the server has stopped."""
        await self._host.grpc.wait_for_termination()

    def _close(self) -> None:
        self._copier.close()
        self._desk.close()

    async def _listen(self) -> None:
        self._add_services(self._host.grpc)
        self._host.bind(SERVICE_NAMES)
        await self._condition.look()
        await self._host.start()
        self._describe()

    def _add_services(self, server: grpc.aio.Server) -> None:
        config, desk = self._config, self._desk
        uploads = Uploads(
            max_bytes_each=desk.engine.config.limits.max_bytes,
            max_bytes_all=config.limits.max_upload_bytes,
            lifetime_s=config.limits.upload_lifetime_s,
            clock=time.monotonic,
        )
        self.metrics.upload_bytes.set_function(lambda: uploads.waiting_bytes)
        convert = Converter(config, uploads)
        searches = IdentificationService(
            desk, convert, self._host.admission, searches_per_stream=config.limits.max_searches_per_stream
        )
        sample_service_pb2_grpc.add_SampleServiceServicer_to_server(SampleService(desk, convert, uploads), server)
        sessions = Sessions(
            desk.engine,
            max_sessions=config.limits.max_sessions,
            max_bytes=config.limits.max_session_bytes,
            lifetime_s=config.limits.session_lifetime_s,
        )
        enrollment_service_pb2_grpc.add_EnrollmentServiceServicer_to_server(
            EnrollmentService(
                desk,
                convert,
                sessions,
                self._host.admission,
                records_per_stream=config.limits.max_records_per_stream,
            ),
            server,
        )
        subject_service_pb2_grpc.add_SubjectServiceServicer_to_server(SubjectService(desk, self._condition), server)
        gallery_service_pb2_grpc.add_GalleryServiceServicer_to_server(GalleryService(desk), server)
        verification_service_pb2_grpc.add_VerificationServiceServicer_to_server(
            VerificationService(desk, convert), server
        )
        identification_service_pb2_grpc.add_IdentificationServiceServicer_to_server(searches, server)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(
            AdminService(desk, config, self._condition, self._copier), server
        )

    def _describe(self) -> None:
        # Who may read the log sees at once what runs, and what is not protected.
        engine = self._desk.engine
        runtime = engine.config.runtime
        try:
            calibration = engine.calibration.id
        except CalibrationNotFoundError:
            calibration = "none"
            _log.warning("no calibration for these models: comparisons and searches will be refused")
        fields = {
            "version": biometrik.__version__,
            "models": engine.model_contract_id,
            "calibration": calibration,
            "provider": runtime.provider,
            "precision": runtime.precision,
        }
        self.metrics.build.info(fields)
        where = {"listening": self._host.listening, "metrics": self._host.metrics_page}
        _log.info("ready", extra={"fields": {**where, **fields}})
