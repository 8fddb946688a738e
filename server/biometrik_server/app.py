"""The server: one engine, the services in front of it, the standard services beside them."""

import asyncio
import logging
import os
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, Self
from wsgiref.simple_server import WSGIServer

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

import biometrik
from biometrik.engine import Engine
from biometrik.errors import CalibrationNotFoundError, InvalidInputError
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
from biometrik_server.access import Access
from biometrik_server.calls import Admission
from biometrik_server.config import ServerConfig, Tls
from biometrik_server.convert import Converter
from biometrik_server.desk import Desk
from biometrik_server.interceptors import CallInterceptor
from biometrik_server.metrics import Metrics
from biometrik_server.services.admin import AdminService
from biometrik_server.services.enrollment import EnrollmentService
from biometrik_server.services.gallery import GalleryService
from biometrik_server.services.identification import IdentificationService
from biometrik_server.services.sample import SampleService
from biometrik_server.services.subject import SubjectService
from biometrik_server.services.verification import VerificationService
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
#: Streams and unread messages that gRPC itself holds beside the calls that are admitted.
_SPARE_RPCS: Final = 64
#: How long the last answers of a server that stops may take to be sent.
_LAST_ANSWERS_S: Final = 2.0


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
        self._admission = Admission(config.limits.max_concurrent_requests, self.metrics)
        self._health = health.aio.HealthServicer()
        self._grpc: grpc.aio.Server | None = None
        self._metrics_page: tuple[WSGIServer, threading.Thread] | None = None
        self.port = 0

    @classmethod
    async def start(cls, config: ServerConfig) -> Self:
        """Open the engine, load the models and begin to answer.

        Raises
        ------
        BiometrikError
            As Engine.open; InvalidInputError where the address cannot be listened on or a certificate not be read.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as opener:
            engine = await loop.run_in_executor(opener, Engine.open, config.database, config.engine.parameters())
        server = cls(config, engine)
        try:
            await server._listen()
        except BaseException:
            server._desk.close()
            raise
        return server

    async def stop(self) -> None:
        """Refuse new calls, let what is worked on finish within ``grace_s``, then close the engine.

        Streams that only wait, such as those that watch the health, do not hold it.
        """
        _log.info("stopping", extra={"fields": {"in_flight": self._admission.count, "grace_s": self._config.grace_s}})
        await self._health.enter_graceful_shutdown()
        if self._grpc is not None:
            grace_s = self._config.grace_s
            refusing = asyncio.create_task(self._grpc.stop(grace_s))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._work_is_done(), grace_s)
            await self._grpc.stop(min(grace_s, _LAST_ANSWERS_S))
            await refusing
        await asyncio.get_running_loop().run_in_executor(None, self._desk.close)
        if self._metrics_page is not None:
            page, thread = self._metrics_page
            page.shutdown()
            page.server_close()
            thread.join()
        _log.info("stopped")

    async def wait(self) -> None:
        """Return when the server has stopped."""
        if self._grpc is not None:
            await self._grpc.wait_for_termination()

    async def _work_is_done(self) -> None:
        pause_s = 0.02  # also lets calls be counted that came just before the stop
        await asyncio.sleep(pause_s)
        while self._admission.count:
            await asyncio.sleep(pause_s)

    async def _listen(self) -> None:
        config = self._config
        limit = config.limits.max_message_bytes
        self._grpc = grpc.aio.server(
            interceptors=[CallInterceptor(Access(config.known_clients), self._admission, self.metrics)],
            maximum_concurrent_rpcs=config.limits.max_concurrent_requests + _SPARE_RPCS,
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.so_reuseport", 0),  # a second server on this port is an error, not a sharer
                # A connection that is silent or half open is found out and closed.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.max_connection_idle_ms", 30 * 60_000),
                ("grpc.max_concurrent_streams", config.limits.max_concurrent_requests + _SPARE_RPCS),
            ],
        )
        self._add_services(self._grpc)
        try:
            if config.tls is None:
                self.port = self._grpc.add_insecure_port(config.listen)
            else:
                self.port = self._grpc.add_secure_port(config.listen, _credentials(config.tls))
        except RuntimeError:
            raise InvalidInputError(
                f"listen: expected an address that is free, got {config.listen}; end what listens there"
            ) from None
        metrics = self._show_metrics()
        await self._grpc.start()
        for name in ("", *SERVICE_NAMES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._describe(metrics)

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
            desk, convert, self._admission, searches_per_stream=config.limits.max_searches_per_stream
        )
        sample_service_pb2_grpc.add_SampleServiceServicer_to_server(SampleService(desk, convert, uploads), server)
        enrollment_service_pb2_grpc.add_EnrollmentServiceServicer_to_server(EnrollmentService(desk, convert), server)
        subject_service_pb2_grpc.add_SubjectServiceServicer_to_server(SubjectService(desk), server)
        gallery_service_pb2_grpc.add_GalleryServiceServicer_to_server(GalleryService(desk), server)
        verification_service_pb2_grpc.add_VerificationServiceServicer_to_server(
            VerificationService(desk, convert), server
        )
        identification_service_pb2_grpc.add_IdentificationServiceServicer_to_server(searches, server)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(desk, config), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)

    def _show_metrics(self) -> str:
        # Returns the page's address; "" for none.
        if not self._config.metrics:
            return ""
        host, _, port = self._config.metrics.rpartition(":")
        try:
            self._metrics_page = start_http_server(int(port), host.strip("[]"), self.metrics.registry)
        except (OSError, OverflowError, ValueError) as error:
            raise InvalidInputError(
                f"metrics: expected a free host:port, got {self._config.metrics}: {error}"
            ) from None
        return f"{host}:{self._metrics_page[0].server_port}"

    def _describe(self, metrics: str) -> None:
        # Who may read the log sees at once what runs, and what is not protected.
        config, engine = self._config, self._desk.engine
        runtime = engine.config.runtime
        try:
            calibration = engine.calibration.id
        except CalibrationNotFoundError:
            calibration = "none"
            _log.warning("no calibration for these models: comparisons and searches will be refused")
        if config.known_clients is None:
            _log.warning("no authentication: every process of this machine may do everything")
        if config.tls is None:
            _log.warning("plaintext: no TLS on this address")
        fields = {
            "version": biometrik.__version__,
            "models": engine.model_contract_id,
            "calibration": calibration,
            "provider": runtime.provider,
            "precision": runtime.precision,
        }
        self.metrics.build.info(fields)
        listening = config.listen if config.listen.startswith("unix:") else f"{_host(config.listen)}:{self.port}"
        _log.info("ready", extra={"fields": {"listening": listening, "metrics": metrics, **fields}})


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    key, certificate = _read(tls.key), _read(tls.certificate)
    authority = _read(tls.client_ca) if tls.client_ca else None
    # gRPC says nothing of files that are no certificates, or do not belong together.
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        trial.load_cert_chain(tls.certificate, tls.key, password="")
    except ssl.SSLError as error:
        raise InvalidInputError(
            f"tls: expected a PEM certificate and its key without a password, got {tls.certificate} and {tls.key}:"
            f" {error.reason or error}"
        ) from None
    try:
        if tls.client_ca:
            trial.load_verify_locations(tls.client_ca)
    except ssl.SSLError as error:
        raise InvalidInputError(
            f"tls: expected PEM certificates of an authority, got {tls.client_ca}: {error.reason or error}"
        ) from None
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=authority is not None
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"tls: expected a readable PEM file, got {path}: {error.strerror}") from None
