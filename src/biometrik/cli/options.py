"""The options that commands share, and how a group of them becomes a command's own."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from typer import Argument, Option

if TYPE_CHECKING:
    from biometrik.config import EngineConfig
    from biometrik.engine import Engine

_MODELS = "Models and runtime"
_OUTPUT = "Output"

Subject = Annotated[str, Argument(help="Your own opaque id of the person, 1 to 128 characters.")]
Photos = Annotated[list[Path], Argument(help="Photographs of one person: JPEG, PNG, BMP, TIFF, WebP, JPEG 2000.")]
Database = Annotated[Path, Option("--db", metavar="FILE", envvar="BIOMETRIK_DB", help="The database file.")]
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

DATABASE = Path("biometrik.db")

#: Most photographs of one person in one call; the engine's own bound.
MAX_PHOTOGRAPHS = 64


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
            max_samples=MAX_PHOTOGRAPHS,
        )


@contextmanager
def opened(database: Path, config: "EngineConfig", *, create: bool = False) -> Iterator["Engine"]:
    """Open a database for the length of a command.

    Parameters
    ----------
    create : bool
        Whether the command may make the file. Others refuse, lest a mistyped name looks like an empty database.

    Raises
    ------
    StoreUnavailableError
        The file is not there.
    """
    from biometrik.engine import Engine
    from biometrik.errors import StoreUnavailableError

    if not create and not database.is_file():
        raise StoreUnavailableError(
            f"database: expected a file, got nothing at {database}; enrol somebody first, or name another with --db"
        )
    with Engine.open(database, config) as engine:
        yield engine


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
