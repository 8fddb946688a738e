"""One answer a command: JSON or a screen, then the exit code."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import typer

from biometrik.cli.root import FORMAT, OK

if TYPE_CHECKING:
    from rich.console import Console


def answer(
    command: str,
    body: Mapping[str, object],
    show: "Callable[[Console], None]",
    *,
    as_json: bool,
    code: int = OK,
) -> None:
    """Print what a command found and leave with its exit code.

    Parameters
    ----------
    command : str
        The command's words, for the JSON object.
    body : mapping
        The JSON object's fields; see :mod:`biometrik.cli.schema`.
    show : callable
        Draws the same for people.
    as_json : bool
        Which of the two.
    code : int
        Exit code.
    """
    if as_json:
        sys.stdout.write(json.dumps({"format": FORMAT, "command": command, **body}, allow_nan=False) + "\n")
    else:
        from rich.console import Console

        show(Console())
    if code != OK:
        raise typer.Exit(code)
