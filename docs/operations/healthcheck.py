"""Exit status 0 if a biometrik server answers that it serves: ``healthcheck.py HOST:PORT [CA [CERTIFICATE KEY]]``.

A server that answers and has damaged encounters in quarantine is degraded, not dead: that is written to standard error,
and the status is 0.

Speaks the standard service grpc.health.v1, which needs no token. With CA it uses TLS; CERTIFICATE and KEY are for a
server that asks for client certificates.
"""

import sys
from contextlib import suppress
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_TIMEOUT_S = 5.0


def main(address: str, ca: str = "", certificate: str = "", key: str = "") -> int:
    """Ask once."""
    root, chain, private = (Path(name).read_bytes() if name else None for name in (ca, certificate, key))
    if root is None:
        channel = grpc.insecure_channel(address)
    else:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(root, private, chain))
    status = health_pb2.HealthCheckResponse
    with channel:
        health = health_pb2_grpc.HealthStub(channel)
        try:
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            sys.stderr.write(f"{address}: {error.code().name}\n")
            return 1
        with suppress(grpc.RpcError):  # a station has no database, and no such name
            intact = health.Check(health_pb2.HealthCheckRequest(service="biometrik.intact"), timeout=_TIMEOUT_S)
            if intact.status == status.NOT_SERVING and answer.status == status.SERVING:
                sys.stderr.write(f"{address}: degraded, damaged encounters are in quarantine; see the server's log\n")
    return 0 if answer.status == status.SERVING else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
