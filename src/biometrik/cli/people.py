"""The commands about people: enroll, verify, identify, compare, quality."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from typer import Argument, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import (
    DATABASE,
    Database,
    Galleries,
    MaxFmr,
    Operator,
    Output,
    Photos,
    Recognition,
    Subject,
    Transaction,
    opened,
)
from biometrik.cli.root import INCONCLUSIVE, NO_MATCH, OK, app, command

if TYPE_CHECKING:
    from biometrik.types import Outcome, SampleReport

_DECISION_EXITS: Final = "0 match · 1 no match · 3 inconclusive"
_BATCH: Final = 16


@command(
    app,
    example="biometrik enroll A-0192 photo.jpg --gallery default",
    exits="0 enrolled · 3 needs recapture or failure to enrol, nothing was stored",
)
def enroll(
    subject: Subject,
    photos: Photos,
    *,
    db: Database = DATABASE,
    gallery: Galleries = None,
    override: Annotated[
        str,
        Option(
            "--override", metavar="REASON", help="Why you accept photographs of poor quality; kept in the event log."
        ),
    ] = "",
    transaction: Transaction = "",
    operator: Operator = "",
    recognition: Recognition,
    output: Output,
) -> None:
    """Add photographs of a person, taken now, under your id; the photographs themselves are not kept."""
    from biometrik.cli import photographs, schema
    from biometrik.cli.screens import people as screen
    from biometrik.gallery.records import DEFAULT_GALLERY
    from biometrik.types import EnrollmentOutcome, RequestContext

    context = RequestContext(transaction_id=transaction, operator_ref=operator)
    images = photographs.read(photos, quiet=output.json)
    with opened(db, recognition.config(), create=True) as engine:
        result = engine.enroll(
            subject, images, galleries=gallery or (DEFAULT_GALLERY,), override=override, context=context
        )
    answer(
        "enroll",
        schema.enrollment(result, photos, output.locale),
        lambda console: screen.enrollment(console, result, photos, output.locale),
        as_json=output.json,
        code=OK if result.outcome is EnrollmentOutcome.ENROLLED else INCONCLUSIVE,
    )


@command(app, example="biometrik verify A-0192 counter.jpg --max-fmr 1e-4", exits=_DECISION_EXITS)
def verify(
    subject: Subject,
    photos: Photos,
    *,
    db: Database = DATABASE,
    max_fmr: MaxFmr = 1e-3,
    recognition: Recognition,
    output: Output,
) -> None:
    """Say whether the person in the photographs is the enrolled subject (1:1)."""
    from biometrik.cli import photographs, schema
    from biometrik.cli.screens import people as screen

    images = photographs.read(photos, quiet=output.json)
    with opened(db, recognition.config()) as engine:
        result, table = engine.verify(subject, images, max_fmr=max_fmr), engine.calibration
    answer(
        "verify",
        {"subject_id": subject, **schema.decision(result, table, photos, output.locale)},
        lambda console: screen.decision(console, result, table, photos, output.locale, claim=f"Is this {subject}?"),
        as_json=output.json,
        code=_exit_code(result.outcome),
    )


@command(app, example="biometrik identify counter.jpg --max-fpir 0.01", exits="0 found · 1 unknown · 3 inconclusive")
def identify(
    photos: Photos,
    *,
    db: Database = DATABASE,
    max_fpir: Annotated[
        float,
        Option(
            "--max-fpir",
            metavar="RATE",
            help="Chance that you accept of naming anybody for a stranger, over this search.",
        ),
    ] = 0.01,
    no_decision: Annotated[
        bool, Option("--no-decision", help="Ranked candidates for an officer, without a decision (exit code 3).")
    ] = False,
    gallery: Galleries = None,
    max_candidates: Annotated[
        int, Option("--max-candidates", metavar="N", help="Most candidates shown, 1 to 100.")
    ] = 10,
    excluding: Annotated[str, Option("--excluding", metavar="SUBJECT", help="A subject to leave out.")] = "",
    recognition: Recognition,
    output: Output,
) -> None:
    """Search for the person among everybody enrolled (1:N)."""
    from biometrik.cli import photographs, schema
    from biometrik.cli.screens import people as screen

    images = photographs.read(photos, quiet=output.json)
    with opened(db, recognition.config()) as engine:
        table = engine.calibration
        result = engine.identify(
            images,
            max_fpir=None if no_decision else max_fpir,
            galleries=gallery,
            max_candidates=max_candidates,
            excluding=excluding,
        )
    answer(
        "identify",
        schema.identification(result, table, photos, output.locale),
        lambda console: screen.identification(console, result, table, photos, output.locale),
        as_json=output.json,
        code=_exit_code(result.outcome),
    )


@command(app, example="biometrik compare counter.jpg passport.jpg", exits=_DECISION_EXITS)
def compare(
    probe: Annotated[Path, Argument(help="A photograph of the person who is here.")],
    reference: Annotated[Path, Argument(help="A photograph of the person that it should be.")],
    *,
    max_fmr: MaxFmr = 1e-3,
    recognition: Recognition,
    output: Output,
) -> None:
    """Say whether two photographs show the same person, storing nothing."""
    from biometrik.cli import photographs, schema
    from biometrik.cli.screens import people as screen

    files = [probe, reference]
    first, second = photographs.read(files, quiet=True)
    with opened(Path(":memory:"), recognition.config(), create=True) as engine:
        result, table = engine.compare([first], [second], max_fmr=max_fmr), engine.calibration
    answer(
        "compare",
        schema.decision(result, table, files, output.locale),
        lambda console: screen.decision(
            console, result, table, files, output.locale, claim="Do both photographs show one person?"
        ),
        as_json=output.json,
        code=_exit_code(result.outcome),
    )


@command(
    app,
    example="biometrik quality photos/*.jpg --profile portrait",
    exits="0 all acceptable · 3 one or more is not",
)
def quality(photos: Photos, recognition: Recognition, output: Output) -> None:
    """Grade photographs for recognition, with advice for each, storing nothing."""
    from biometrik.cli import photographs, schema
    from biometrik.cli.screens import people as screen

    reports: list[SampleReport] = []
    with opened(Path(":memory:"), recognition.config(), create=True) as engine:
        batch = []
        for photo in photographs.shown(photos, "grading photographs", quiet=output.json):
            batch.append(photographs.read_one(photo))
            if len(batch) == _BATCH:
                reports += engine.quality(batch)
                batch.clear()
        reports += engine.quality(batch) if batch else ()
    acceptable = all(report.quality is not None and report.quality.acceptable for report in reports)
    answer(
        "quality",
        {"acceptable": acceptable, "samples": schema.samples(reports, photos, output.locale)},
        lambda console: screen.samples(console, reports, photos, output.locale, every=True),
        as_json=output.json,
        code=OK if acceptable else INCONCLUSIVE,
    )


def _exit_code(outcome: "Outcome") -> int:
    return {"MATCH": OK, "NO_MATCH": NO_MATCH}.get(outcome.value, INCONCLUSIVE)
