"""The commands about the machine: models, doctor, demo."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import Cache, Output, Place, Recognition, Service, address_of, refuse_for_service
from biometrik.cli.root import ERROR, OK, Listing, app, command

_models = typer.Typer(cls=Listing, help="List weights with their licences, fetch a pack.")
app.add_typer(_models, name="models")

Pack = Annotated[
    Path | None, Option("--pack", metavar="FOLDER", help="Folder of an InsightFace pack, listed beside the bundled.")
]


@command(_models, name="list", example="biometrik models", exits="0 ok")
def list_models(*, pack: Pack = None, service: Service, output: Output) -> None:
    """List the weights that biometrik, or a service, knows: licence, presence, verification by sha256."""
    from biometrik.cli import schema
    from biometrik.cli.screens import machine as screen
    from biometrik.config import ModelParameters
    from biometrik.models import catalogue

    if address := address_of(service):
        from biometrik.client import Client

        refuse_for_service(("--pack",) if pack else ())
        with Client(service.connection(address, output)) as client:
            served = client.models()
        answer(
            "models list",
            {"models": [schema.served(model) for model in served]},
            lambda console: screen.served(console, served),
            as_json=output.json,
        )
        return
    rows = catalogue(ModelParameters(pack=pack))
    answer(
        "models list",
        {"models": [schema.weights(row) for row in rows]},
        lambda console: screen.weights(console, rows),
        as_json=output.json,
    )


@command(_models, name="pull", example="biometrik models pull buffalo_l --to packs/buffalo_l", exits="0 fetched")
def pull_model(
    name: Annotated[str, Argument(help="An InsightFace pack: buffalo_l, buffalo_s, antelopev2 …")],
    *,
    to: Annotated[Path, Option("--to", metavar="FOLDER", help="Where to put it.")],
    output: Output,
) -> None:
    """Fetch a pack from the internet through the insightface package; mind its licence."""
    from biometrik.cli import schema
    from biometrik.cli.screens import machine as screen
    from biometrik.models import pull

    pack = pull(name, to)
    answer(
        "models pull",
        {"pack": pack.name, "folder": str(to), "weights": [schema.declared(entry) for entry in pack.entries]},
        lambda console: screen.pulled(console, pack, to),
        as_json=output.json,
    )


@command(app, example="biometrik doctor --db office.db", exits="0 nothing fails · 4 something does")
def doctor(*, place: Place, recognition: Recognition, output: Output) -> None:
    """Say what this machine, or a service, lacks, and what to do about it."""
    from biometrik.cli import schema
    from biometrik.cli.screens import machine as screen
    from biometrik.doctor import Status, examine, examine_service

    if address := address_of(place):
        refuse_for_service(recognition.named)
        checks = tuple(examine_service(place.connection(address, output)))
    else:
        checks = tuple(examine(recognition.config(), place.named_database))
    well = all(check.status is not Status.FAIL for check in checks)
    answer(
        "doctor",
        {"ok": well, "checks": [schema.check(check) for check in checks]},
        lambda console: screen.checks(console, checks),
        as_json=output.json,
        code=OK if well else ERROR,
    )


@command(app, example="biometrik demo --output demo", exits="0 every step came out as it must · 4 one did not")
def demo(
    *,
    folder: Annotated[Path, Option("--output", metavar="FOLDER", help="Where the page goes.")] = Path("demo"),
    show: Annotated[bool, Option("--open", help="Open the page in a browser.")] = False,
    cache: Cache = None,
    output: Output,
) -> None:
    """Do the main job on real photographs, asking a service that it starts, and write a page that shows it."""
    from biometrik import demo as demonstration
    from biometrik.cli import schema
    from biometrik.cli.screens import machine as screen
    from biometrik.config import EngineConfig, ModelParameters

    config = EngineConfig(models=ModelParameters(cache=cache))
    with _unwinding(), screen.following(quiet=output.json) as follow:
        shown = demonstration.run(folder, config, follow)
    story = shown.story
    if show:
        typer.launch(str(shown.page))
    answer(
        "demo",
        schema.story(story, shown.page),
        lambda console: screen.story(console, story, shown.page),
        as_json=output.json,
        code=OK if story.passed else ERROR,
    )


@contextmanager
def _unwinding() -> Iterator[None]:
    # Ended by another program, a command still stops what it started.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
