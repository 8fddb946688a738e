"""Exit status 0 if a biometrik server answers that it serves: ``healthcheck.py HOST:PORT [CA [CERTIFICATE KEY]]``.

Speaks the standard service grpc.health.v1, which needs no token. With CA it uses TLS; CERTIFICATE and KEY are for a
server that asks for client certificates.
"""

import sys
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
    with channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            sys.stderr.write(f"{address}: {error.code().name}\n")
            return 1
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
