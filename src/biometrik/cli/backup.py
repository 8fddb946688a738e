"""The commands that keep a database safe: backup snapshot, restore, check, quarantine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import DATABASE, Cache, Output, Recognition
from biometrik.cli.root import app, command

if TYPE_CHECKING:
    from biometrik.gallery.records import Holdings

_backup = typer.Typer(help="Copy a database, check it, restore it, and name what is damaged in it.")
app.add_typer(_backup, name="backup")

Database = Annotated[
    Path,
    Option("--database", "--db", metavar="FILE", envvar="BIOMETRIK_DB", help="The database, a file of this machine."),
]


@command(_backup, example="biometrik backup snapshot /backup/office-2026-11-24.db --db office.db", exits="0 copied")
def snapshot(
    copy: Annotated[Path, Argument(help="The copy; must not be there yet.")],
    *,
    database: Database = DATABASE,
    cache: Cache = None,
    output: Output,
) -> None:
    """Copy a database that no service has open, and read the copy from the first row to the last.

    The copy holds biometric data: keep it as safe as the database. Whoever is
    erased later is still in it: destroy old copies in the time that you promise.
    """
    from biometrik.engine import Engine
    from biometrik.errors import StoreUnavailableError

    if not database.exists():
        raise StoreUnavailableError(f"database {database}: expected a file, got none; name it with --db")
    with Engine.open(database, Recognition(cache=cache).config()) as engine:
        held = engine.snapshot(copy)
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


def _answer(name: str, file: Path, held: "Holdings", output: Output) -> None:
    body = {
        "file": str(file),
        "octets": held.octets,
        "event": held.event,
        "subjects": held.subjects,
        "encounters": held.encounters,
        "templates": held.templates,
        "quarantined": held.quarantined,
    }
    text = (
        f"{file}: whole, {held.octets:,} octets, up to event {held.event:,}: {held.subjects:,} subjects,"
        f" {held.encounters:,} encounters, {held.templates:,} templates, {held.quarantined:,} in quarantine"
    )
    answer(
        name,
        body,
        lambda console: console.print(text, markup=False, highlight=False, soft_wrap=True),
        as_json=output.json,
    )
