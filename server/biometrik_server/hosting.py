"""A gRPC server with what is around every call: address, TLS, who may call, room, health, reflection, a graceful stop.

The service and the station are made of it.
"""

import asyncio
import logging
import os
import signal
import ssl
import threading
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol
from wsgiref.simple_server import WSGIServer

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from biometrik.errors import InvalidInputError
from biometrik_server.access import Access
from biometrik_server.calls import Admission
from biometrik_server.config import HostConfig, Tls
from biometrik_server.interceptors import CallInterceptor
from biometrik_server.metrics import Metrics

_log = logging.getLogger(__name__)

#: Streams and unread messages that gRPC itself holds beside the calls that are admitted.
_SPARE_RPCS: Final = 64
#: How long the last answers of a server that stops may take to be sent.
_LAST_ANSWERS_S: Final = 2.0


class Host:
    """Make it on an event loop, add services to :attr:`grpc`, then :meth:`bind` and :meth:`start`.

    Parameters
    ----------
    config : HostConfig
        Where to listen, who may call.
    metrics : Metrics
        Told of every call.
    """

    def __init__(self, config: HostConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self.admission = Admission(config.limits.max_concurrent_requests, metrics)
        self._health = health.aio.HealthServicer()
        self._services: Sequence[str] = ()
        self._page: tuple[WSGIServer, threading.Thread] | None = None
        self.port = 0
        self.metrics_page = ""
        limit = config.limits.max_message_bytes
        self.grpc = grpc.aio.server(
            interceptors=[CallInterceptor(Access(config.known_clients), self.admission, metrics)],
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
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)

    @property
    def listening(self) -> str:
        """Where it listens, with the port that was found free."""
        listen = self._config.listen
        return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{self.port}"

    def bind(self, services: Sequence[str]) -> None:
        """Take the addresses of the services and of the metrics' page.

        Parameters
        ----------
        services : sequence of str
            Full names of the services that were added, as health and reflection list them.

        Raises
        ------
        InvalidInputError
            An address cannot be listened on, or a certificate not be read.
        """
        config, self._services = self._config, services
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), self.grpc)
        try:
            if config.tls is None:
                self.port = self.grpc.add_insecure_port(config.listen)
            else:
                self.port = self.grpc.add_secure_port(config.listen, _credentials(config.tls))
        except RuntimeError:
            raise InvalidInputError(
                f"listen: expected an address that is free, got {config.listen}; end what listens there"
            ) from None
        self._show_metrics()

    async def start(self) -> None:
        """Begin to answer."""
        await self.grpc.start()
        for name in ("", *self._services):
            await self.set_health(name, serving=True)
        # Who may read the log sees at once what is not protected.
        if self._config.known_clients is None:
            _log.warning("no authentication: every process of this machine may do everything")
        if self._config.tls is None:
            _log.warning("plaintext: no TLS on this address")

    async def set_health(self, name: str, *, serving: bool) -> None:
        """Answer under a name of the health service."""
        status = health_pb2.HealthCheckResponse
        await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self) -> None:
        """Refuse new calls and let what is worked on finish within ``grace_s``.

        Streams that only wait, such as those that watch the health, do not hold it.
        """
        grace_s = self._config.grace_s
        _log.info("stopping", extra={"fields": {"in_flight": self.admission.count, "grace_s": grace_s}})
        await self._health.enter_graceful_shutdown()
        refusing = asyncio.create_task(self.grpc.stop(grace_s))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._work_is_done(), grace_s)
        await self.grpc.stop(min(grace_s, _LAST_ANSWERS_S))
        await refusing
        if self._page is not None:
            page, thread = self._page
            page.shutdown()
            page.server_close()
            thread.join()

    def _show_metrics(self) -> None:
        if not self._config.metrics:
            return
        host, _, port = self._config.metrics.rpartition(":")
        try:
            self._page = start_http_server(int(port), host.strip("[]"), self._metrics.registry)
        except (OSError, OverflowError, ValueError) as error:
            raise InvalidInputError(
                f"metrics: expected a free host:port, got {self._config.metrics}: {error}"
            ) from None
        self.metrics_page = f"{host}:{self._page[0].server_port}"

    async def _work_is_done(self) -> None:
        pause_s = 0.02  # also lets calls be counted that came just before the stop
        await asyncio.sleep(pause_s)
        while self.admission.count:
            await asyncio.sleep(pause_s)


class Stoppable(Protocol):
    """What runs until it is stopped."""

    async def stop(self) -> None:
        """Finish what is worked on, and end."""


async def until_told_to_stop(starting: Awaitable[Stoppable]) -> None:
    """Start something and run it until SIGTERM or SIGINT; a second signal ends the process at once."""
    stop = asyncio.Event()
    running = await starting

    def asked() -> None:
        if stop.is_set():
            os._exit(130)  # an ordinary exit would wait for the threads that work
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)
    await stop.wait()
    await running.stop()


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
