"""The command ``biometrik``. What its JSON looks like is in :mod:`biometrik.cli.schema`."""

from biometrik.cli import machine as machine
from biometrik.cli import people as people
from biometrik.cli import register as register
from biometrik.cli.root import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command of this process and leave with its exit code."""
    app()
