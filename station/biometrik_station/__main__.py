"""Runs a station until it is told to stop: ``python -m biometrik_station --config station.toml``.

``biometrik station`` is the same with help that teaches.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from biometrik.errors import BiometrikError
from biometrik_server import logs
from biometrik_server.hosting import until_told_to_stop
from biometrik_station.app import Station
from biometrik_station.config import StationConfig


async def serve(config: StationConfig) -> None:
    """Serve until SIGTERM or SIGINT; attempts that run finish. A second signal ends the process at once.

    Raises
    ------
    BiometrikError
        It cannot start; see :meth:`Station.start`.
    """
    await until_told_to_stop(Station.start(config))


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m biometrik_station", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, help="TOML file with all settings")
    parser.add_argument("--listen", help="host:port or unix:/path; takes the place of the file's")
    asked = parser.parse_args()
    try:
        config = StationConfig.load(asked.config, {} if asked.listen is None else {"listen": asked.listen})
    except BiometrikError as error:
        sys.stderr.write(f"biometrik station: {error}\n")
        return 2
    logs.configure(config.log_level)
    try:
        asyncio.run(serve(config))
    except BiometrikError as error:
        sys.stderr.write(f"biometrik station: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
