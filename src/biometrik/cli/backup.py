"""The commands that keep a database safe: backup snapshot, restore, check, quarantine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer import Argument, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import (
    DATABASE,
    Cache,
    Operator,
    Output,
    Place,
    Recognition,
    Transaction,
    address_of,
)
from biometrik.cli.root import app, command

if TYPE_CHECKING:
    from biometrik.gallery.records import Holdings

_backup = typer.Typer(help="Copy a database, check it, restore it, and name what is damaged in it.")
app.add_typer(_backup, name="backup")

Database = Annotated[
    Path,
    Option("--database", "--db", metavar="FILE", envvar="BIOMETRIK_DB", help="The database, a file of this machine."),
]


_SNAPSHOT_EXAMPLES: Final = (
    "biometrik backup snapshot /backup/office-2026-11-24.db --db office.db[/]\n\n"
    "         [bold cyan]biometrik backup snapshot --label nightly --server 127.0.0.1:50051"
)


@command(_backup, example=_SNAPSHOT_EXAMPLES, exits="0 copied")
def snapshot(
    copy: Annotated[
        Path | None, Argument(help="The copy of a database of this machine; must not be there yet.")
    ] = None,
    *,
    place: Place,
    label: Annotated[
        str, Option("--label", metavar="WORD", help="Part of the name that a service gives its copy.")
    ] = "",
    transaction: Transaction = "",
    operator: Operator = "",
    cache: Cache = None,
    output: Output,
) -> None:
    """Copy a database that no service has open, or have a service copy its own while it works.

    The copy is read from the first row to the last. A service puts it into the
    folder of its configuration (snapshots.folder), under a name of its own, and
    is waited for up to an hour, whatever --timeout says.

    The copy holds biometric data: keep it as safe as the database. Whoever is
    erased later is still in it: destroy old copies in the time that you promise.
    """
    from biometrik.errors import StoreUnavailableError
    from biometrik.types import RequestContext

    who = RequestContext(transaction_id=transaction, operator_ref=operator)
    # The name of a file asks for a database here, whatever BIOMETRIK_SERVER says.
    if (copy is None or place.server) and (address := address_of(place)):
        from biometrik.client import Client

        if copy is not None:
            raise typer.BadParameter(
                "a service names its copies and where they lie: leave this out, give --label", param_hint="COPY"
            )
        with Client(place.connection(address, output)) as client:
            made = client.snapshot(label, context=who)
        more = {"sha256": made.sha256, "schema_version": made.schema_version}
        _answer("backup snapshot", made.name, made.held, output, created_at=made.created_at.isoformat(), **more)
        return

    from biometrik.engine import Engine

    if copy is None:
        raise typer.BadParameter("expected the name of a file, got none", param_hint="COPY")
    if label or transaction:
        raise typer.BadParameter("is for a service", param_hint="--label" if label else "--transaction")
    database = place.named_database or DATABASE
    if not database.exists():
        raise StoreUnavailableError(f"database {database}: expected a file, got none; name it with --db")
    with Engine.open(database, Recognition(cache=cache).config()) as engine:
        held = engine.snapshot(copy, context=who)
    _answer("backup snapshot", copy, held, output)


@command(_backup, example="biometrik backup restore /backup/office-2026-11-24.db --db office.db", exits="0 restored")
def restore(
    copy: Annotated[Path, Argument(help="What backup snapshot made.")], *, database: Database = DATABASE, output: Output
) -> None:
    """Put a copy in the place of a database that is gone or moved away; it is read to its last row first.

    Nothing is overwritten. Whoever was erased after the copy was made is back:
    erase them again.
    """
    from biometrik.gallery import backup

    _answer("backup restore", database, backup.restore(copy, database), output)


@command(_backup, example="biometrik backup check /backup/office-2026-11-24.db", exits="0 whole")
def check(file: Annotated[Path, Argument(help="A copy, or a database that nobody uses.")], *, output: Output) -> None:
    """Read a file from the first byte to the last, changing nothing, and say what it holds."""
    from biometrik.gallery import backup

    _answer("backup check", file, backup.check(file), output)


@command(_backup, example="biometrik backup quarantine --db office.db", exits="0 ok")
def quarantine(*, database: Database = DATABASE, cache: Cache = None, output: Output) -> None:
    """Set aside encounters whose bytes are damaged, and name all that are: nobody is compared with them."""
    from dataclasses import replace

    from biometrik.config import GalleryParameters
    from biometrik.engine import Engine
    from biometrik.errors import StoreUnavailableError

    if not database.exists():
        raise StoreUnavailableError(f"database {database}: expected a file, got none; name it with --db")
    config = replace(Recognition(cache=cache).config(), gallery=GalleryParameters(on_damage="quarantine"))
    with Engine.open(database, config) as engine:
        found = engine.quarantined()
    rows = [
        {"encounter_id": e.encounter_id, "subject_id": e.subject_id, "since": e.since.isoformat(), "what": e.what}
        for e in found
    ]
    lines = [f"{row['encounter_id']}  of {row['subject_id']}, since {row['since']}: {row['what']}" for row in rows]
    text = "\n".join(lines) or "nothing is in quarantine"
    answer(
        "backup quarantine",
        {"quarantined": rows},
        lambda console: console.print(text, markup=False, highlight=False, soft_wrap=True),
        as_json=output.json,
    )


def _answer(name: str, file: Path | str, held: "Holdings", output: Output, **more: object) -> None:
    body = {
        "file": str(file),
        "octets": held.octets,
        "event": held.event,
        "subjects": held.subjects,
        "encounters": held.encounters,
        "templates": held.templates,
        "quarantined": held.quarantined,
        **more,
    }
    text = (
        f"{file}: whole, {held.octets:,} octets, up to event {held.event:,}: {held.subjects:,} subjects,"
        f" {held.encounters:,} encounters, {held.templates:,} templates, {held.quarantined:,} in quarantine"
    )
    if "sha256" in more:
        text += f"\nSHA-256 {more['sha256']}"
    answer(
        name,
        body,
        lambda console: console.print(text, markup=False, highlight=False, soft_wrap=True),
        as_json=output.json,
    )
