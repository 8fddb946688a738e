"""The commands that run a service: serve, token."""

import asyncio
import json
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer import Argument, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import Output
from biometrik.cli.root import app, command
from biometrik.errors import InvalidInputError, PluginNotFoundError

if TYPE_CHECKING:
    from rich.console import Console

_SERVE_EXAMPLES: Final = (
    "biometrik serve --database office.db[/]\n\n"
    "         [bold cyan]biometrik serve --example-config > server.toml[/], change it, then\n\n"
    "         [bold cyan]biometrik serve --config server.toml --listen 0.0.0.0:50051[/]\n\n"
    "         [bold cyan]biometrik verify A-0192 counter.jpg --server 127.0.0.1:50051"
)


@command(app, example=_SERVE_EXAMPLES, exits="0 stopped by SIGTERM or SIGINT, calls in flight finished")
def serve(
    *,
    config: Annotated[
        Path | None,
        Option("--config", metavar="FILE", help="All settings, as TOML; the options below take the place of its own."),
    ] = None,
    database: Annotated[
        str | None,
        Option(
            "--database", "--db", metavar="FILE", help="The database; one process owns it. Made if it is not there."
        ),
    ] = None,
    listen: Annotated[
        str | None,
        Option("--listen", metavar="ADDRESS", help="host:port (0: a free one) or unix:/path; else 127.0.0.1:50051."),
    ] = None,
    metrics: Annotated[
        str | None, Option("--metrics", metavar="HOST:PORT", help="Where the Prometheus page is; else nowhere.")
    ] = None,
    example_config: Annotated[
        bool, Option("--example-config", help="Print a configuration with every setting explained, and end.")
    ] = False,
    output: Output,  # noqa: ARG001  errors are told as it says, by the frame
) -> None:
    """Serve a database over gRPC until told to stop.

    The log, one JSON object a line, is on standard error; the line with the
    event "ready" says where it listens.

    A configuration file holds the database, the address, certificates (tls),
    who may call and what (clients; biometrik token makes an entry), bounds
    (limits), models and runtime (engine), and error rates by name (policies).

    Without TLS and tokens it serves this machine only: 127.0.0.1, ::1,
    localhost or a unix socket, and says so in its log. Any other address
    needs both.
    """
    if example_config:
        sys.stdout.write(example("biometrik_server"))
        return
    if config is None and database is None:
        raise typer.BadParameter("expected a database, or a configuration that names one", param_hint="--database")
    try:
        from biometrik_server import __main__ as server
        from biometrik_server import logs
        from biometrik_server.config import ServerConfig
    except ImportError as error:
        raise PluginNotFoundError(
            f"serve: expected the packages of the extra [server], got none of the name {error.name};"
            " pip install 'biometrik[cpu,server]'"
        ) from error
    given = {"database": database, "listen": listen, "metrics": metrics}
    settings = ServerConfig.load(config, {name: value for name, value in given.items() if value is not None})
    logs.configure(settings.log_level)
    asyncio.run(server.serve(settings))


@command(app, example="biometrik token counter-3 --scope verify --scope identify", exits="0 made")
def token(
    name: Annotated[str, Argument(help="Of the client, for the log and the metrics: 1 to 64 characters.")],
    *,
    scope: Annotated[
        list[str],
        Option(
            "--scope",
            metavar="SCOPE",
            help="What it may do: enroll, verify, identify, gallery.read, gallery.write, privacy (erase), audit,"
            " device, device.takeover, admin; give it again for several.",
        ),
    ],
    output: Output,
) -> None:
    """Make a bearer token for a client of the service, and the entry for the service's configuration.

    The token is shown once and kept nowhere: the configuration holds its SHA-256 only. Give it to the client in
    BIOMETRIK_TOKEN, or in a file that --token-file names.
    """
    from biometrik_server.access import Scope, new_token

    known = [one.value for one in Scope]
    if unknown := [one for one in scope if one not in known]:
        raise typer.BadParameter(f"expected of {', '.join(known)}, got {', '.join(unknown)}", param_hint="--scope")
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise InvalidInputError(f"name: expected 1 to 64 printable characters, got {len(name)}")
    secret, digest = new_token()
    scopes = sorted(set(scope), key=known.index)
    entry = (
        f"[[clients]]\nname = {json.dumps(name, ensure_ascii=False)}\nscopes = {json.dumps(scopes)}\n"
        f'token_sha256 = "{digest}"\n'
    )

    def show(console: "Console") -> None:
        console.print(secret, markup=False, highlight=False, soft_wrap=True)
        console.print("\nThe token of the client, shown this once. For the service's configuration:\n", style="dim")
        console.print(entry, markup=False, highlight=False, soft_wrap=True, end="")

    answer(
        "token",
        {"name": name, "scopes": scopes, "token": secret, "token_sha256": digest, "entry": entry},
        show,
        as_json=output.json,
    )


def example(package: str) -> str:
    """Return a configuration of a service, or a station, with every setting explained; it loads as it stands."""
    return (resources.files(package) / "example.toml").read_text("utf-8")
