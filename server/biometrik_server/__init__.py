"""The service: gRPC in front of one engine."""

import os

# The core of gRPC writes lines to standard error that are not JSON; it looks at this only when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
