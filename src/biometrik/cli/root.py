"""The command's frame: error translation, exit codes, and how commands are declared."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import typer
from typer.core import TyperGroup

from biometrik.cli.options import spread_out
from biometrik.errors import BiometrikError, ThresholdUnsupportedError

#: Version of the JSON that every command prints; a field is added freely, one is renamed or removed only with a new
#: number.
FORMAT: Final = 1

OK: Final = 0
NO_MATCH: Final = 1
USAGE: Final = 2
INCONCLUSIVE: Final = 3
ERROR: Final = 4
INTERRUPTED: Final = 130

EXIT_CODES: Final = (
    "Exit codes: [bold]0[/] match, enrolled, ok · [bold]1[/] no match, unknown · [bold]2[/] usage ·"
    " [bold]3[/] inconclusive, needs recapture, failure to enrol · [bold]4[/] error · [bold]130[/] interrupted"
)

# Typer brings its own copy of click since 0.2x; its classes are reached through the public one.
_UsageError: Final = typer.BadParameter.__bases__[0]


class Root(TyperGroup):
    """The command group that turns errors into a message, or a JSON object, and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and leave with its exit code; see :data:`EXIT_CODES`."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(words, prog_name, complete_var, False, windows_expand_args, **extra) or OK
        except Exception as error:
            if "--debug" in words:
                raise
            code = _reported(error, as_json="--json" in words)
        if code == INTERRUPTED:
            _say({"reason": "INTERRUPTED", "message": "stopped before the end"}, as_json="--json" in words)
        if standalone_mode:
            sys.exit(code)
        return code


class Listing(TyperGroup):
    """A command group that lists when no subcommand is named: ``biometrik models`` is ``biometrik models list``."""

    usual: ClassVar[str] = "list"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the usual subcommand in front of what is none."""
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = [self.usual, *args]
        return super().parse_args(ctx, args)


class Serving(Listing):
    """A command group that serves when no subcommand is named: ``biometrik station`` is ``biometrik station serve``."""

    usual: ClassVar[str] = "serve"


app: Final = typer.Typer(
    cls=Root,
    help="Enrol, verify and identify people by their faces and fingers, with decisions that can be defended.",
    epilog=(
        "Start with: [bold cyan]biometrik demo[/]\n\n" + EXIT_CODES + "\n\nEvery command takes --json: one JSON object"
        " on standard output, errors too. Environment: BIOMETRIK_DB, BIOMETRIK_SERVER, BIOMETRIK_TOKEN,"
        " BIOMETRIK_CACHE, BIOMETRIK_LOCALE."
    ),
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)


def command(
    app: typer.Typer, *, example: str, exits: str, name: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare a command whose help shows an example and its exit codes.

    Parameters
    ----------
    app : typer.Typer
        The group that it joins.
    example : str
        One line that works.
    exits : str
        What its exit codes mean.
    name : str, optional
        The command's word, if it is not the function's.
    """

    def declare(function: Callable[..., None]) -> Callable[..., None]:
        epilog = f"Example: [bold cyan]{example}[/]\n\nExit codes: {exits} · 2 usage · 4 error · 130 interrupted"
        app.command(name, epilog=epilog)(spread_out(function))
        return function

    return declare


def _reported(error: Exception, *, as_json: bool) -> int:
    # Says what went wrong, and returns the exit code.
    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if isinstance(error, _UsageError):
        if as_json:
            _say({"reason": "USAGE", "message": error.format_message()}, as_json=True)  # type: ignore[attr-defined]
        else:
            error.show()  # type: ignore[attr-defined]
        return USAGE
    if isinstance(error, BiometrikError):
        body: dict[str, object] = {"reason": error.reason, "message": str(error)}
        if isinstance(error, ThresholdUnsupportedError):
            body["tightest"] = error.tightest
        if notes := [note for note in getattr(error, "__notes__", ()) if note]:
            body["remedy"] = " ".join(notes)
    elif isinstance(error, ImportError):
        body = {"reason": "IMPORT", "message": f"{error}; biometrik doctor says what to install"}
    else:
        message = f"internal error, {type(error).__name__}: {error}; run again with --debug and report it"
        body = {"reason": BiometrikError.reason, "message": message}
    if _came_of_an_interrupt(error):
        # Putting back what was in use failed as well.
        _say(body, as_json=False)
        return INTERRUPTED
    _say(body, as_json=as_json)
    return ERROR


def _came_of_an_interrupt(error: BaseException) -> bool:
    before = error.__context__
    return before is not None and (isinstance(before, KeyboardInterrupt) or _came_of_an_interrupt(before))


def _say(body: dict[str, object], *, as_json: bool) -> None:
    # As JSON on standard output, else in a line on standard error.
    if as_json:
        print(json.dumps({"format": FORMAT, "error": body}))
        return
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble((f"{body['reason']} ", "bold red"), str(body["message"]))
    if "remedy" in body:
        line.append(f"\n→ {body['remedy']}", "yellow")
    Console(stderr=True).print(line, soft_wrap=True)
