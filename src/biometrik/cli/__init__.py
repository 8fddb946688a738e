"""The command ``biometrik``. What its JSON looks like is in :mod:`biometrik.cli.schema`."""

# Importing a module of commands adds them; this is the order in which the help lists them.
from biometrik.cli import people as people  # isort: skip
from biometrik.cli import dedupe as dedupe  # isort: skip
from biometrik.cli import register as register  # isort: skip
from biometrik.cli import bulk as bulk  # isort: skip
from biometrik.cli import backup as backup  # isort: skip
from biometrik.cli import service as service  # isort: skip
from biometrik.cli import devices as devices  # isort: skip
from biometrik.cli import station as station  # isort: skip
from biometrik.cli import machine as machine  # isort: skip
from biometrik.cli import record as record  # isort: skip
from biometrik.cli.root import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command of this process and leave with its exit code."""
    app()
