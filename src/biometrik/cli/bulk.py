"""The commands about many people at once: import, export."""

import time
from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import Galleries, Operator, Output, Place, Recognition, address_of, opened
from biometrik.cli.root import INCONCLUSIVE, OK, app, command


@command(
    app,
    name="import",
    example="biometrik import people/ --ppi 500",
    exits="0 every record is enrolled · 3 some are not, the report says why",
)
def import_(
    source: Annotated[
        Path,
        Argument(
            help="A folder with a folder of images for each subject, or a .csv or .jsonl file that names them."
            " Files lie in that folder, or below the file's own."
        ),
    ],
    *,
    place: Place,
    report: Annotated[
        Path | None,
        Option(
            "--report",
            metavar="FILE",
            help="Where each record's outcome goes, a line of JSON each; a second run skips what is enrolled by it."
            " Else NAME.report.jsonl here.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only read everything and say what cannot be read; nothing is enrolled.")
    ] = False,
    again: Annotated[
        bool,
        Option(
            "--again", help="Ask for what the report has as enrolled, too: the database is another, or an older one."
        ),
    ] = False,
    gallery: Galleries = None,
    create_galleries: Annotated[
        bool,
        Option("--create-galleries", help="Create the galleries that an export tells of, where they are not there."),
    ] = False,
    ppi: Annotated[
        float | None,
        Option("--ppi", metavar="N", help="Resolution of prints where neither their record nor their file states it."),
    ] = None,
    override: Annotated[
        str, Option("--override", metavar="REASON", help="Why poor samples are accepted; kept in the event log.")
    ] = "",
    consent: Annotated[
        str, Option("--consent", metavar="REFERENCE", help="Your reference of the lawful basis; kept in the event log.")
    ] = "",
    operator: Operator = "",
    recognition: Recognition,
    output: Output,
) -> None:
    """Enrol many people from files: an outcome for each, nobody twice, and to be run again where it broke off."""
    from biometrik.cli import importing
    from biometrik.cli.import_plans import planned
    from biometrik.cli.import_reading import Reader
    from biometrik.cli.import_report import READABLE, SKIPPED, Report
    from biometrik.cli.options import DATABASE
    from biometrik.cli.screens import bulk as screen
    from biometrik.types import EnrollmentOutcome

    units, plans = planned(source)
    root = source if source.is_dir() else source.parent
    reader = Reader(root, ppi, tuple(gallery) if gallery else None, override, consent, operator)
    path = report or Path(f"{source.resolve().name}.report.jsonl")
    into = address_of(place) or str((place.named_database or DATABASE).resolve())
    started = time.monotonic()
    with Report(path, into, forget=again) as kept, importing.shown(units, quiet=output.json) as done:
        run = importing.Import(reader, kept, done)
        if dry_run:
            run.check(plans)
        else:
            with opened(place, recognition, output, create=True) as engine:
                run.enroll(plans, engine, create_galleries=create_galleries)
    counts, seconds = dict(kept.counts), time.monotonic() - started
    good = {EnrollmentOutcome.ENROLLED.value, SKIPPED, READABLE}
    answer(
        "import",
        {"outcomes": counts, "report": str(path.absolute()), "into": into, "elapsed_s": seconds},
        lambda console: screen.imported(console, counts, good, run.examples, path, seconds),
        as_json=output.json,
        code=OK if counts.keys() <= good else INCONCLUSIVE,
    )


@command(app, example="biometrik export office.jsonl --gallery default", exits="0 written")
def export(
    out: Annotated[
        Path, Argument(help="Where the records go: a .jsonl file, mode 0600, for import on another machine.")
    ],
    *,
    place: Place,
    gallery: Annotated[
        str | None, Option("--gallery", metavar="NAME", help="Only this gallery; else everybody, in all galleries.")
    ] = None,
    iso: Annotated[
        bool, Option("--iso", help="With each print's minutiae as ISO/IEC 19794-2:2011, too, for other systems.")
    ] = False,
    force: Annotated[bool, Option("--force", help="Replace a file that is there.")] = False,
    operator: Operator = "",
    recognition: Recognition,
    output: Output,
) -> None:
    """Write everybody's templates into a file: biometric data leave the database, and its event log says so.

    Only of a database file (--db) that no service has open: no service hands
    out templates, whoever asks, so --server is refused. Stop it first, or
    export a copy that biometrik backup snapshot --server made and backup
    restore put somewhere else.

    Images are not kept, so that none can be exported. Another installation
    with the same models that imports the file gives the same answers.
    """
    from biometrik.cli import exporting, files
    from biometrik.cli.screens import bulk as screen
    from biometrik.engine import Engine
    from biometrik.types import RequestContext

    if address_of(place):
        raise BadParameter(
            "a service hands out no templates: export where its database is, with --db, while the service is stopped",
            param_hint="--server",
        )
    if gallery == "":
        raise BadParameter("expected a name, or no --gallery for everybody", param_hint="--gallery")
    files.refuse_to_replace(out, force=force)  # before anything is logged
    with opened(place, recognition, output) as engine:
        assert isinstance(engine, Engine)
        with files.writing(out, force=force) as file:
            written = exporting.write(
                engine, file, gallery=gallery, iso=iso, context=RequestContext(operator_ref=operator)
            )
    answer(
        "export",
        {"output": str(out), "encounters": written.encounters, "templates": written.templates},
        lambda console: screen.exported(console, written.encounters, written.templates, out),
        as_json=output.json,
    )
