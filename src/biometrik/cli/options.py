"""The options that commands share, and how a group of them becomes a command's own."""

import inspect
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_type_hints

import typer
from typer import Argument, Option

if TYPE_CHECKING:
    from biometrik.cli.biometrics import Biometrics
    from biometrik.client import Connection
    from biometrik.config import EngineConfig
    from biometrik.duplicates import DedupePolicy

_DUPLICATES = "Duplicates"
_MODELS = "Models and runtime"
_OUTPUT = "Output"
_SERVICE = "Service"

Subject = Annotated[str, Argument(help="Your own opaque id of the person, 1 to 128 characters.")]
Photos = Annotated[
    list[Path] | None, Argument(help="Photographs of one person: JPEG, PNG, BMP, TIFF, WebP, JPEG 2000.")
]
Cache = Annotated[
    Path | None,
    Option(
        "--cache",
        metavar="FOLDER",
        envvar="BIOMETRIK_CACHE",
        help="Folder for prepared weights.",
        rich_help_panel=_MODELS,
    ),
]
MaxFmr = Annotated[
    float,
    Option("--max-fmr", metavar="RATE", help="False match rate that you accept, e.g. 1e-3 for 1 in 1,000 strangers."),
]
RealEvidence = Annotated[
    bool,
    Option("--real-evidence", help="Rest on calibrations from real samples alone, not on synthetic prints."),
]
Galleries = Annotated[
    list[str] | None, Option("--gallery", metavar="NAME", help="A gallery; give it again for several.")
]
Transaction = Annotated[
    str,
    Option("--transaction", metavar="ID", help="Your id of this write: repeated with it, it returns the first answer."),
]
Operator = Annotated[
    str, Option("--operator", metavar="REFERENCE", help="Your reference of who asks; kept in the event log.")
]

#: The database where none is named.
DATABASE: Final = Path("biometrik.db")
#: Most samples of one person in one call; the engine's own bound.
MAX_SAMPLES: Final = 64


@dataclass(frozen=True, slots=True)
class Output:
    """How a command answers."""

    json: Annotated[bool, Option("--json", help="One JSON object on stdout, errors too.", rich_help_panel=_OUTPUT)] = (
        False
    )
    locale: Annotated[
        Literal["en", "id"],
        Option("--locale", envvar="BIOMETRIK_LOCALE", help="Language of the advice.", rich_help_panel=_OUTPUT),
    ] = "en"
    debug: Annotated[bool, Option("--debug", help="Show an error's traceback.", rich_help_panel=_OUTPUT)] = False


@dataclass(frozen=True, slots=True)
class Dedupe:
    """How an enrolment looks for the same person under other ids."""

    dedupe: Annotated[
        Literal["none", "warn", "refuse"],
        Option(
            "--dedupe",
            help="Search for the person under other ids first: enrol and name whom it may be, or refuse.",
            rich_help_panel=_DUPLICATES,
        ),
    ] = "none"
    dedupe_fpir: Annotated[
        float,
        Option(
            "--dedupe-fpir",
            metavar="RATE",
            help="Chance that you accept of suspecting a new person.",
            rich_help_panel=_DUPLICATES,
        ),
    ] = 0.01
    dedupe_gallery: Annotated[
        list[str] | None,
        Option(
            "--dedupe-gallery",
            metavar="NAME",
            help="Search only here; again for more. Else everywhere.",
            rich_help_panel=_DUPLICATES,
        ),
    ] = None
    dedupe_except: Annotated[
        list[str] | None,
        Option(
            "--dedupe-except",
            metavar="SUBJECT",
            help="A suspect whom you have looked at and who does not count; again for more, ten in all.",
            rich_help_panel=_DUPLICATES,
        ),
    ] = None
    dedupe_reason: Annotated[
        str,
        Option(
            "--dedupe-reason",
            metavar="REASON",
            help="Why not; kept in the event log.",
            rich_help_panel=_DUPLICATES,
        ),
    ] = ""

    def policy(self) -> "DedupePolicy | None":
        """Return the policy, None where nobody is looked for.

        Raises
        ------
        BadParameter
            Options of a search that is not asked for.
        InvalidInputError
            A value is out of its bounds, or an exception has no reason.
        """
        from biometrik.duplicates import DedupeAction, DedupePolicy

        if self.dedupe == "none":
            if self.dedupe_gallery or self.dedupe_except or self.dedupe_reason:
                raise typer.BadParameter("expected warn or refuse with the other options of it", param_hint="--dedupe")
            return None
        return DedupePolicy(
            DedupeAction(self.dedupe.upper()),
            self.dedupe_fpir,
            tuple(self.dedupe_gallery) if self.dedupe_gallery else None,
            excluded_subject_ids=tuple(self.dedupe_except or ()),
            override=self.dedupe_reason,
        )


@dataclass(frozen=True, slots=True)
class Recognition:
    """Which models recognise, where they run, and how samples are judged."""

    profile: Annotated[
        Literal["counter", "portrait"],
        Option("--profile", help="Quality asked: what recognition can use, or a document's portrait."),
    ] = "counter"
    policy: Annotated[
        Literal["largest-central", "error"],
        Option("--policy", help="Several faces in a photograph: take the most prominent, or refuse it."),
    ] = "largest-central"
    flip: Annotated[
        bool, Option("--flip", help="Average with the mirrored face: more accurate, twice the cost; own calibration.")
    ] = False
    refine: Annotated[
        bool, Option("--refine", help="Measure landmarks twice: more accurate, a little slower; own calibration.")
    ] = False
    provider: Annotated[
        Literal["cpu", "cuda", "openvino"], Option("--provider", help="Where models run.", rich_help_panel=_MODELS)
    ] = "cpu"
    precision: Annotated[
        Literal["fp32", "bf16"], Option("--precision", help="bf16: openvino only.", rich_help_panel=_MODELS)
    ] = "fp32"
    threads: Annotated[
        int, Option("--threads", metavar="N", help="Threads of a model run; 0: one per core.", rich_help_panel=_MODELS)
    ] = 0
    pack: Annotated[
        Path | None,
        Option(
            "--pack",
            metavar="FOLDER",
            help="Folder of an InsightFace pack, instead of the bundled models.",
            rich_help_panel=_MODELS,
        ),
    ] = None
    calibration: Annotated[
        list[Path] | None,
        Option("--calibration", metavar="FILE", help="A calibration table of your own.", rich_help_panel=_MODELS),
    ] = None
    cache: Cache = None

    @property
    def named(self) -> tuple[str, ...]:
        """The options that were given, as they are written; not the cache, which the environment may name."""
        return tuple(
            f"--{own.name}" for own in fields(self) if own.name != "cache" and getattr(self, own.name) != own.default
        )

    def config(self) -> "EngineConfig":
        """Return the engine's configuration."""
        from biometrik.config import (
            DetectionParameters,
            EngineConfig,
            FaceParameters,
            FacePolicy,
            ModelParameters,
            RuntimeParameters,
        )

        detector, embedder = ("scrfd", "arcface") if self.pack else ("yunet", "sface")
        return EngineConfig(
            face=FaceParameters(
                detector=detector,
                embedder=embedder,
                detection=DetectionParameters(refine=self.refine),
                policy=FacePolicy(self.policy),
                flip=self.flip,
                quality_profile=self.profile,
            ),
            # One call a process: the first request is the only one, warming up would run the networks twice.
            runtime=RuntimeParameters(
                provider=self.provider, precision=self.precision, threads=self.threads, warm_up=False
            ),
            models=ModelParameters(cache=self.cache, pack=self.pack, calibrations=tuple(self.calibration or ())),
            max_samples=MAX_SAMPLES,
        )


@dataclass(frozen=True, slots=True)
class Service:
    """A service that answers instead of an engine in this process, and how to prove who asks it."""

    server: Annotated[
        str,
        Option(
            "--server",
            metavar="ADDRESS",
            help="Ask a service, host:port or unix:/path. Environment: BIOMETRIK_SERVER.",
            rich_help_panel=_SERVICE,
        ),
    ] = ""
    token_file: Annotated[
        Path | None,
        Option(
            "--token-file",
            metavar="FILE",
            help="Holds the bearer token. Else the environment's BIOMETRIK_TOKEN; never the command line.",
            rich_help_panel=_SERVICE,
        ),
    ] = None
    ca: Annotated[
        Path | None,
        Option("--ca", metavar="PEM", help="Authority of its certificate; asks for TLS.", rich_help_panel=_SERVICE),
    ] = None
    cert: Annotated[
        Path | None,
        Option("--cert", metavar="PEM", help="Your certificate, for mutual TLS.", rich_help_panel=_SERVICE),
    ] = None
    key: Annotated[Path | None, Option("--key", metavar="PEM", help="Its private key.", rich_help_panel=_SERVICE)] = (
        None
    )
    timeout: Annotated[
        float,
        Option("--timeout", metavar="SECONDS", min=0.001, help="Deadline of each call.", rich_help_panel=_SERVICE),
    ] = 60.0

    def connection(self, address: str, output: Output) -> "Connection":
        """Return how the service at an address is reached.

        Raises
        ------
        InvalidInputError
            The file of the token cannot be used, or a certificate lacks its key.
        """
        from biometrik.client import Connection

        return Connection(
            address,
            token=_token(self.token_file),
            root_certificate=self.ca,
            certificate=self.cert,
            key=self.key,
            timeout_s=self.timeout,
            locale=output.locale,
        )


@dataclass(frozen=True, slots=True)
class Place(Service):
    """Where people are enrolled: a database that is opened in this process, or a service."""

    db: Annotated[
        Path | None,
        Option(
            "--db",
            "--database",
            metavar="FILE",
            help=f"The database file. Environment: BIOMETRIK_DB. Else {DATABASE}.",
        ),
    ] = None

    @property
    def named_database(self) -> Path | None:
        """The database that the command line, else the environment names."""
        environment = os.environ.get("BIOMETRIK_DB")
        return self.db or (Path(environment) if environment else None)


def address_of(place: Service) -> str:
    """Return the address of the service to ask; "" where the engine is to run in this process.

    What stands on the command line goes before what the environment says: a database that is named there is opened,
    whatever BIOMETRIK_SERVER says.

    Raises
    ------
    BadParameter
        Both a service and a database are named.
    """
    database = place.db if isinstance(place, Place) else None
    if place.server and database is not None:
        raise typer.BadParameter("expected a service or a database, got both", param_hint="--server, --db")
    return place.server or ("" if database is not None else os.environ.get("BIOMETRIK_SERVER", ""))


def refuse_for_service(options: Sequence[str]) -> None:
    """Raise BadParameter if any options are given that are for an engine in this process."""
    if options:
        raise typer.BadParameter(
            "the service is set up for itself: leave this out, or ask an engine here, with --db or without"
            " BIOMETRIK_SERVER",
            param_hint=", ".join(options),
        )


@contextmanager
def opened(place: Service, recognition: Recognition, output: Output, *, create: bool = False) -> Iterator["Biometrics"]:
    """Give whoever answers, for the length of a command.

    Parameters
    ----------
    place : Service or Place
        A Place names a database, too; without one, an engine in this process remembers nothing.
    recognition : Recognition
        Of an engine in this process; a service has its own.
    output : Output
        Its language is asked of a service.
    create : bool
        Whether the command may make the database. Others refuse, lest a mistyped name looks like an empty one.

    Raises
    ------
    BadParameter
        Both a service and a database are named, or options for an engine that a service does not take.
    StoreUnavailableError
        The database is not there.
    """
    address = address_of(place)
    if address:
        from biometrik.client import Client

        refuse_for_service(recognition.named)
        with Client(place.connection(address, output)) as client:
            yield client
        return

    from biometrik.engine import Engine
    from biometrik.errors import StoreUnavailableError

    database = (place.named_database or DATABASE) if isinstance(place, Place) else Path(":memory:")
    if not create and isinstance(place, Place) and not database.is_file():
        raise StoreUnavailableError(
            f"database: expected a file, got nothing at {database}; enrol somebody first, or name another with --db"
        )
    with Engine.open(database, recognition.config()) as engine:
        yield engine


def _token(file: Path | None) -> str:
    from biometrik.errors import InvalidInputError

    if file is None:
        where, token = "BIOMETRIK_TOKEN", os.environ.get("BIOMETRIK_TOKEN", "").strip()
        if not token:
            return ""
    else:
        try:
            where, token = str(file), file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise InvalidInputError(
                f"{file}: expected a readable file that holds a token; name it with --token-file"
            ) from None
    if not re.fullmatch(r"[!-~]+", token):
        raise InvalidInputError(f"{where}: expected one token, as 'biometrik token' prints it, and nothing else")
    return token


def spread_out(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function with each parameter that is a dataclass replaced by one parameter a field.

    Typer reads a command's options from its signature; this is what lets commands share groups of them.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = [
        parameter
        for own in inspect.signature(function).parameters.values()
        for parameter in (
            _fields(groups[own.name]) if own.name in groups else [_keyword(own.name, hints[own.name], own.default)]
        )
    ]

    @wraps(function)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        function(**values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _fields(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        _keyword(field.name, hints[field.name], inspect.Parameter.empty if field.default is MISSING else field.default)
        for field in fields(group)
    ]


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
