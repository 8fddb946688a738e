"""Runs a server until it is told to stop: ``python -m biometrik_server --config server.toml``.

``biometrik serve`` is the same with help that teaches.
"""

import argparse
import asyncio
import gc
import sys
from pathlib import Path

from biometrik.errors import BiometrikError
from biometrik_server import logs
from biometrik_server.app import Server
from biometrik_server.config import ServerConfig
from biometrik_server.hosting import until_told_to_stop


async def serve(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT; calls in flight finish. A second signal ends the process at once.

    Raises
    ------
    BiometrikError
        It cannot start; see :meth:`Server.start`.
    """
    await until_told_to_stop(_started(config))


async def _started(config: ServerConfig) -> Server:
    server = await Server.start(config)
    # What is there now stays. Else each full collection looks through all of it, some 70 ms that every call waits for.
    gc.collect()
    gc.freeze()
    return server


def run(config: ServerConfig) -> int:
    """Serve, and return the exit status."""
    logs.configure(config.log_level)
    try:
        asyncio.run(serve(config))
    except BiometrikError as error:
        sys.stderr.write(f"biometrik serve: {error}\n")
        return 1
    return 0


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m biometrik_server", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, help="TOML file with all settings")
    parser.add_argument("--database", help="file of the database; takes the place of the file's")
    parser.add_argument("--listen", help="host:port or unix:/path; takes the place of the file's")
    asked = parser.parse_args()
    overrides = {name: getattr(asked, name) for name in ("database", "listen") if getattr(asked, name) is not None}
    try:
        config = ServerConfig.load(asked.config, overrides)
    except BiometrikError as error:
        sys.stderr.write(f"biometrik serve: {error}\n")
        return 2
    return run(config)


if __name__ == "__main__":
    sys.exit(main())
