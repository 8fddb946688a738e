"""The commands about what is stored: subjects, galleries."""

from typing import Annotated, Literal

import typer
from typer import Argument, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import Cache, Operator, Output, Place, Recognition, Subject, Transaction, opened
from biometrik.cli.root import Listing, app, command

_subjects = typer.Typer(cls=Listing, help="List, show and erase enrolled people.")
_galleries = typer.Typer(cls=Listing, help="List, create and delete galleries.")
app.add_typer(_subjects, name="subjects")
app.add_typer(_galleries, name="galleries")

Name = Annotated[str, Argument(help="The gallery's name.")]


@command(_subjects, name="list", example="biometrik subjects list --gallery default --limit 20", exits="0 ok")
def list_subjects(
    *,
    place: Place,
    gallery: Annotated[
        str | None, Option("--gallery", metavar="NAME", help="Only those with an encounter in this gallery.")
    ] = None,
    after: Annotated[str, Option("--after", metavar="ID", help="The last id of the page before.")] = "",
    limit: Annotated[int, Option("--limit", metavar="N", min=1, max=999, help="Most on this page, 1 to 999.")] = 100,
    cache: Cache = None,
    output: Output,
) -> None:
    """List enrolled people, a page at a time, in the order of their ids."""
    from biometrik.cli import schema
    from biometrik.cli.screens import register as screen

    with opened(place, Recognition(cache=cache), output) as engine:
        # One more than asked tells whether another page follows.
        found = engine.subjects(gallery=gallery, after=after, limit=limit + 1)
    page, more = found[:limit], len(found) > limit
    answer(
        "subjects list",
        {"subjects": [schema.subject(s) for s in page], "next_after": page[-1].subject_id if more else None},
        lambda console: screen.subjects(console, page, more=more),
        as_json=output.json,
    )


@command(_subjects, name="show", example="biometrik subjects show A-0192", exits="0 ok")
def show_subject(subject: Subject, place: Place, output: Output, cache: Cache = None) -> None:
    """Show a subject's encounters."""
    from biometrik.cli import schema
    from biometrik.cli.screens import register as screen

    with opened(place, Recognition(cache=cache), output) as engine:
        found = engine.subject(subject)
    answer(
        "subjects show",
        schema.subject(found),
        lambda console: screen.subject(console, found),
        as_json=output.json,
    )


@command(_subjects, name="erase", example="biometrik subjects erase A-0192", exits="0 erased")
def erase_subject(
    subject: Subject,
    *,
    place: Place,
    yes: Annotated[bool, Option("--yes", help="Do not ask; needed with --json.")] = False,
    transaction: Transaction = "",
    operator: Operator = "",
    cache: Cache = None,
    output: Output,
) -> None:
    """Remove a person and everything stored of them for good, and print the certificate."""
    from biometrik.cli import schema
    from biometrik.cli.screens import register as screen
    from biometrik.types import RequestContext

    if not yes and output.json:
        raise typer.BadParameter("erasing cannot be undone: give --yes with --json", param_hint="--yes")
    context = RequestContext(transaction_id=transaction, operator_ref=operator)
    with opened(place, Recognition(cache=cache), output) as engine:
        if not yes:
            encounters = len(engine.subject(subject).encounters)
            typer.confirm(f"Erase {subject} with {encounters} encounter(s) for good?", abort=True)
        certificate = engine.erase(subject, context=context)
    answer(
        "subjects erase",
        {"certificate": schema.certificate(certificate)},
        lambda console: screen.certificate(console, certificate),
        as_json=output.json,
    )


@command(_galleries, name="list", example="biometrik galleries", exits="0 ok")
def list_galleries(place: Place, output: Output, cache: Cache = None) -> None:
    """List all galleries with their counts."""
    from biometrik.cli import schema
    from biometrik.cli.screens import register as screen

    with opened(place, Recognition(cache=cache), output) as engine:
        found = engine.galleries()
    answer(
        "galleries list",
        {"galleries": [schema.gallery(g) for g in found]},
        lambda console: screen.galleries(console, found),
        as_json=output.json,
    )


@command(
    _galleries,
    name="create",
    example='biometrik galleries create watch --kind watchlist --legal-basis "UU 6/2011 Pasal 13"',
    exits="0 created",
)
def create_gallery(
    name: Name,
    *,
    place: Place,
    kind: Annotated[
        Literal["population", "watchlist", "appointment"], Option("--kind", help="What it is for.")
    ] = "population",
    legal_basis: Annotated[
        str, Option("--legal-basis", metavar="LAW", help="The law that allows it; a watchlist needs one.")
    ] = "",
    retention_days: Annotated[
        int,
        Option(
            "--retention-days",
            metavar="N",
            min=0,
            max=36_525,
            help="For how many days encounters may be kept; 0 says nothing. Recorded only: nothing is erased by it.",
        ),
    ] = 0,
    cache: Cache = None,
    output: Output,
) -> None:
    """Create a gallery: a set of encounters that can be searched by itself."""
    from biometrik.cli import schema
    from biometrik.cli.screens import register as screen
    from biometrik.types import GalleryKind

    with opened(place, Recognition(cache=cache), output, create=True) as engine:
        created = engine.create_gallery(
            name, GalleryKind(kind.upper()), legal_basis=legal_basis, retention_days=retention_days
        )
    answer(
        "galleries create",
        schema.gallery(created),
        lambda console: screen.galleries(console, [created]),
        as_json=output.json,
    )


@command(_galleries, name="delete", example="biometrik galleries delete watch", exits="0 deleted")
def delete_gallery(name: Name, place: Place, output: Output, cache: Cache = None) -> None:
    """Delete a gallery; the people in it leave it and stay enrolled."""
    with opened(place, Recognition(cache=cache), output) as engine:
        engine.delete_gallery(name)
    answer(
        "galleries delete",
        {"deleted": name},
        lambda console: console.print(f"gallery {name} deleted", markup=False),
        as_json=output.json,
    )
