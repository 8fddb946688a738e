"""The commands about a station: station serve, station enroll."""

import asyncio
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from biometrik.cli.answer import answer
from biometrik.cli.options import Dedupe, Galleries, Operator, Output, Service, Subject, address_of
from biometrik.cli.root import INCONCLUSIVE, OK, Serving, app, command
from biometrik.cli.service import example
from biometrik.errors import InvalidInputError, PluginNotFoundError

if TYPE_CHECKING:
    from biometrik.cli.counter import Office
    from biometrik.cli.keeping import KeepingOffice
    from biometrik.client import Connection
    from biometrik.types import Trait
    from biometrik_station.config import StationConfig
    from biometrik_station.spool import Spool


_station = typer.Typer(
    cls=Serving,
    help="Serve cameras and scanners, enrol a person with them, send what was kept while the service was away.\n\n"
    "[bold]biometrik station[/] without a further word is [bold]biometrik station serve[/]."
    " docs/station.md tells how a station, a counter and the service work together.",
)
app.add_typer(_station, name="station")


@command(
    _station,
    name="serve",
    example="biometrik station --device camera:opencv:/dev/video0\n\n"
    "         [bold cyan]biometrik station --example-config > station.toml[/], change it, then\n\n"
    "         [bold cyan]biometrik station --config station.toml --listen unix:/run/biometrik/station[/]",
    exits="0 stopped by SIGTERM or SIGINT, attempts that ran finished",
)
def serve(
    *,
    config: Annotated[
        Path | None,
        Option("--config", metavar="FILE", help="All settings, as TOML; the options below take the place of its own."),
    ] = None,
    listen: Annotated[
        str | None,
        Option("--listen", metavar="ADDRESS", help="host:port (0: a free one) or unix:/path; else 127.0.0.1:50052."),
    ] = None,
    device: Annotated[
        list[str] | None,
        Option(
            "--device",
            metavar="DEVICE",
            help="camera:driver:path or scanner:driver:path, for what cannot be discovered; give it again for several.",
        ),
    ] = None,
    example_config: Annotated[
        bool, Option("--example-config", help="Print a configuration with every setting explained, and end.")
    ] = False,
    output: Output,  # noqa: ARG001  errors are told as it says, by the frame
) -> None:
    """Serve the cameras and scanners of this machine over gRPC until told to stop.

    What is plugged in is found by itself. A station guides people while a
    sample is taken, and hands it to the program that asked: it has no
    database and keeps nothing of it.

    The log, one JSON object a line, is on standard error; the line with the
    event "ready" says where it listens. Addresses, certificates and clients
    are as for biometrik serve; clients need the scope "device".
    """
    if example_config:
        sys.stdout.write(example("biometrik_station"))
        return
    settings = _settings(config, {"listen": listen, **_named(device)})
    from biometrik_server import logs
    from biometrik_station import __main__ as program

    logs.configure(settings.log_level)
    asyncio.run(program.serve(settings))


@command(
    _station,
    example="biometrik station forward --config station.toml --server office.example:50051 --ca ca.pem",
    exits="0 nothing waits any more, or shown · 3 something was set aside",
)
def forward(
    *,
    config: Annotated[
        Path, Option("--config", metavar="FILE", help="The station's settings, as TOML; its [spool] says where.")
    ],
    service: Service,
    output: Output,
) -> None:
    """Send the enrolments that were kept while the service was away; without a service, show them.

    They go in the order in which they were kept, each under its own
    transaction id: one that had arrived already is not enrolled twice. An
    entry is removed when its answer is there. One that is damaged, that the
    service refuses, or whose samples it cannot use, is set aside, and the
    others go on.
    """
    try:
        from biometrik_station.config import StationConfig
        from biometrik_station.forwarding import Forwarder, forward
    except ImportError as error:
        raise PluginNotFoundError(
            f"station: expected the packages of the extra [server], got none of the name {error.name};"
            " pip install 'biometrik[cpu,server,spool]'"
        ) from error
    from biometrik.cli.screens import station as screen

    spool, address, done = _spool(config, StationConfig.load(config, {})), address_of(service), []
    if address:
        with Forwarder(service.connection(address, output)) as line:
            done = list(forward(spool, line.send))
    waiting, aside = spool.waiting(), spool.aside()
    answer(
        "station forward",
        {
            "forwarded": [{"entry": row.name, "why": row.why} for row in done],
            "waiting": [screen.row(kept) for kept in waiting],
            "aside": [screen.row(kept) for kept in aside],
        },
        lambda console: screen.forwarded(console, done, waiting, aside),
        as_json=output.json,
        code=INCONCLUSIVE if any(row.why for row in done) else OK,
    )


@command(
    _station,
    example="biometrik station enroll A-0192 --finger right_index --finger left_index --face --server 127.0.0.1:50051"
    " --preview 0",
    exits="0 enrolled, or kept · 3 needs recapture or failure to enrol, nothing was stored",
)
def enroll(
    subject: Subject,
    *,
    finger: Annotated[
        list[str] | None,
        Option("--finger", metavar="FINGER", help="right_thumb … left_little; again for more, taken in this order."),
    ] = None,
    face: Annotated[bool, Option("--face", help="Take a face, after the fingers.")] = False,
    missing: Annotated[
        list[str] | None,
        Option(
            "--missing",
            metavar="FINGER=REASON",
            help="A finger that cannot be had, e.g. left_ring=amputated:permanent; as of biometrik enroll.",
        ),
    ] = None,
    station: Annotated[
        str,
        Option("--station", metavar="ADDRESS", help="A station that runs; else the devices of this machine are used."),
    ] = "",
    station_token_file: Annotated[
        Path | None,
        Option(
            "--station-token-file", metavar="FILE", help="The station's bearer token, where it is not the service's."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        Option("--config", metavar="FILE", help="Devices and models of this machine, as of biometrik station serve."),
    ] = None,
    device: Annotated[
        list[str] | None,
        Option(
            "--device",
            metavar="DEVICE",
            help="Which camera:driver:path or scanner:driver:path, where there are several; again for both kinds.",
        ),
    ] = None,
    take_over: Annotated[
        str,
        Option(
            "--take-over",
            metavar="REASON",
            help="Have a device although another counter has it, and why; the station keeps it in its log.",
        ),
    ] = "",
    preview: Annotated[
        int | None,
        Option(
            "--preview",
            metavar="PORT",
            min=0,
            max=65535,
            help="Show the subject picture and guidance as a page on this port of 127.0.0.1; 0: a free one.",
        ),
    ] = None,
    attempt: Annotated[
        float, Option("--attempt", metavar="SECONDS", min=1.0, max=300.0, help="How long an attempt may take.")
    ] = 15.0,
    keep: Annotated[
        bool,
        Option(
            "--keep",
            help="Decide on this machine, keep the enrolment encrypted in the [spool] of --config, and send it: at once"
            " where the service is there, else by biometrik station forward.",
        ),
    ] = False,
    gallery: Galleries = None,
    override: Annotated[
        str,
        Option(
            "--override", metavar="REASON", help="Enrol although not all was taken, and why; kept in the event log."
        ),
    ] = "",
    dedupe: Dedupe,
    operator: Operator = "",
    consent: Annotated[
        str, Option("--consent", metavar="REFERENCE", help="Your reference of the consent; kept in the event log.")
    ] = "",
    service: Service,
    output: Output,
) -> None:
    """Enrol a person who is here, from the first attempt to the answer.

    What is wanted is captured one after the other; what the person should do
    is said on standard error, and shown with --preview. At most three attempts
    each. After one that was not accepted you are asked: again, override,
    missing or leave; where a duplicate is suspected, why it is none. With
    --json, or without a terminal, nobody is asked: attempts are repeated, and
    what fails is left.

    Ctrl-C gives everything up: devices are given back, nothing is stored. The
    token and certificates are shown to the service and to a station alike.
    """
    from biometrik.cli import samples, schema
    from biometrik.cli.counter import Counter, Kept, Plan, devices_for
    from biometrik.cli.preview import SIDE_PX, Preview
    from biometrik.cli.screens import counter as screen
    from biometrik.client import Client, Connection, StationClient
    from biometrik.types import EnrollmentOutcome, RequestContext, Trait

    gone = tuple(samples.missing(missing))
    plan = Plan(
        subject,
        _wanted(finger or (), [row.position for row in gone], face=face),
        gone,
        tuple(gallery) if gallery else None,
        override,
        dedupe.policy(),
        RequestContext(operator_ref=operator, consent_ref=consent),
    )
    address = address_of(service)
    if not address:
        raise typer.BadParameter("expected the address of a service", param_hint="--server")
    if station and config is not None and not keep:
        raise typer.BadParameter(
            "expected a station or devices of this machine, got both", param_hint="--station, --config"
        )
    if keep and config is None:
        raise typer.BadParameter("expected settings whose [spool] says where, got none", param_hint="--keep, --config")
    with ExitStack() as stack:
        page = None if preview is None else stack.enter_context(Preview(preview))
        office: Office
        if keep and config is not None:
            office = stack.enter_context(_keeping(config, service.connection(address, output)))
        else:
            office = stack.enter_context(Client(service.connection(address, output)))
        if station:
            where = replace(service, token_file=station_token_file or service.token_file).connection(station, output)
        else:
            where = Connection(stack.enter_context(_here(config, device)), locale=output.locale)
        devices = stack.enter_context(StationClient(where))
        chosen = devices_for(
            [trait for trait in plan.wanted if trait not in {Trait.finger(row.position) for row in gone}],
            devices.devices(),
            device or (),
        )
        desk = screen.Terminal(output.locale, page, quiet=output.json, attended=not output.json and sys.stdin.isatty())
        done = Counter(
            office,
            devices,
            chosen,
            desk,
            attempt_s=attempt,
            preview_side_px=0 if page is None else SIDE_PX,
            take_over=take_over,
        ).enrol(plan)
    answer(
        "station enroll",
        schema.kept(done) if isinstance(done, Kept) else schema.finalized(done, output.locale),
        lambda console: screen.finalized(console, done),
        as_json=output.json,
        code=OK if isinstance(done, Kept) or done.enrollment.outcome is EnrollmentOutcome.ENROLLED else INCONCLUSIVE,
    )


@contextmanager
def _keeping(config: Path, connection: "Connection") -> Iterator["KeepingOffice"]:
    """Yield who decides here and keeps what the service cannot be told yet.

    Raises
    ------
    BiometrikError
        There is no section [spool], or it cannot be opened; or as :meth:`Engine.open`.
    """
    settings = _settings(config, {})
    spool = _spool(config, settings)
    from biometrik.cli.keeping import KeepingOffice
    from biometrik.engine import Engine
    from biometrik_station.forwarding import Forwarder

    with Engine.open(":memory:", settings.engine.parameters()) as engine, Forwarder(connection) as line:
        yield KeepingOffice(engine, spool, line.send)


def _spool(config: Path, settings: "StationConfig") -> "Spool":
    if settings.spool is None:
        raise InvalidInputError(f"{config}: expected a section [spool] with folder and key, got none")
    return settings.spool.open()


def _wanted(fingers: Sequence[str], missing: Sequence[int], *, face: bool) -> tuple["Trait", ...]:
    # Fingers that are missing are part of what was wanted: the event log tells of them.
    from biometrik.types import FACE, FINGER_NAMES, Trait

    if unknown := [name for name in fingers if name not in FINGER_NAMES[1:]]:
        raise typer.BadParameter(
            f"expected of {', '.join(FINGER_NAMES[1:])}, got {', '.join(unknown)}", param_hint="--finger"
        )
    wanted = [Trait.named(name) for name in fingers] + [Trait.finger(position) for position in missing]
    if face:
        wanted.append(FACE)
    if not wanted:
        raise typer.BadParameter("expected what is to be taken, got nothing", param_hint="--finger, --face")
    return tuple(dict.fromkeys(wanted))


def _named(devices: Sequence[str] | None) -> dict[str, Any]:
    return {"devices": [{"id": each} for each in devices] if devices else None}


def _settings(config: Path | None, given: Mapping[str, Any]) -> "StationConfig":
    # What is given and not None takes the place of the file's.
    try:
        from biometrik_station.config import StationConfig
    except ImportError as error:
        raise PluginNotFoundError(
            f"station: expected the packages of the extra [server], got none of the name {error.name};"
            " pip install 'biometrik[cpu,server]'"
        ) from error
    return StationConfig.load(config, {name: value for name, value in given.items() if value is not None})


@contextmanager
def _here(config: Path | None, devices: Sequence[str] | None) -> Iterator[str]:
    """Run a station in this process, on a socket that only this user can reach; give its address.

    Raises
    ------
    BiometrikError
        As :meth:`biometrik_station.app.Station.start`.
    """
    with tempfile.TemporaryDirectory(prefix="biometrik-") as folder:  # 0700
        address = f"unix:{folder}/station"
        named = {} if config is not None else _named(devices)
        settings = _settings(config, {**named, "listen": address, "clients": ()})
        from biometrik_server import logs
        from biometrik_station.app import Station

        logs.configure("ERROR")  # that its socket asks for no token is as it should be

        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="station", daemon=True)
        thread.start()
        try:
            station = asyncio.run_coroutine_threadsafe(Station.start(settings), loop).result()
            try:
                yield address
            finally:
                asyncio.run_coroutine_threadsafe(station.stop(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
