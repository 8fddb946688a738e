"""The commands about people: enroll, verify, identify, compare, quality."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from typer import Argument, BadParameter, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import (
    Galleries,
    MaxFmr,
    Operator,
    Output,
    Photos,
    Place,
    Recognition,
    Service,
    Subject,
    Transaction,
    opened,
)
from biometrik.cli.root import INCONCLUSIVE, NO_MATCH, OK, app, command

if TYPE_CHECKING:
    from biometrik.samples import Sample
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
    place: Place,
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
    from biometrik.types import EnrollmentOutcome, RequestContext

    context = RequestContext(transaction_id=transaction, operator_ref=operator)
    images = photographs.read(photos, quiet=output.json)
    with opened(place, recognition, output, create=True) as engine:
        result = engine.enroll(subject, images, galleries=gallery or None, override=override, context=context)
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
    others: Annotated[
        list[str] | None,
        Option("--or", metavar="SUBJECT", help="Another whom the person may be (1:few); again for more, 64 in all."),
    ] = None,
    encounter: Annotated[
        str, Option("--encounter", metavar="ID", help="Compare with this encounter of the subject only.")
    ] = "",
    place: Place,
    max_fmr: MaxFmr = 1e-3,
    recognition: Recognition,
    output: Output,
) -> None:
    """Say whether the person in the photographs is the enrolled subject (1:1), or one of a few."""
    from biometrik.cli import photographs, schema
    from biometrik.cli.screens import people as screen
    from biometrik.errors import InvalidInputError

    if others and encounter:
        raise BadParameter("expected one of them, got both", param_hint="--or, --encounter")
    claims = [subject, *(others or ())]
    images = photographs.read(photos, quiet=output.json)
    with opened(place, recognition, output) as engine:
        if encounter:
            result = engine.verify_encounter(encounter, images, max_fmr=max_fmr)
            if result.subject_id not in ("", subject):
                raise InvalidInputError(f"encounter: expected one of {subject}, got another's; check both")
        elif others:
            result = engine.verify_any(claims, images, max_fmr=max_fmr)
        else:
            result = engine.verify(subject, images, max_fmr=max_fmr)
        evidence = engine.calibration
    # Of one claim it is said even where nothing could be compared; of several, who is the most alike.
    who = result.subject_id or ("" if others else subject)
    claim = f"Is this {' or '.join(claims)}?" + (f" Most alike: {who}." if others and who else "")
    answer(
        "verify",
        {**schema.decision(result, evidence, photos, output.locale), "claims": claims, "subject_id": who},
        lambda console: screen.decision(console, result, evidence, photos, output.locale, claim=claim),
        as_json=output.json,
        code=_exit_code(result.outcome),
    )


@command(app, example="biometrik identify counter.jpg --max-fpir 0.01", exits="0 found · 1 unknown · 3 inconclusive")
def identify(
    photos: Photos,
    *,
    place: Place,
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
    with opened(place, recognition, output) as engine:
        evidence = engine.calibration
        result = engine.identify(
            images,
            max_fpir=None if no_decision else max_fpir,
            galleries=gallery,
            max_candidates=max_candidates,
            excluding=excluding,
        )
    answer(
        "identify",
        schema.identification(result, evidence, photos, output.locale),
        lambda console: screen.identification(console, result, evidence, photos, output.locale),
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
    service: Service,
    output: Output,
) -> None:
    """Say whether two photographs show the same person, storing nothing."""
    from biometrik.cli import photographs, schema
    from biometrik.cli.screens import people as screen

    files = [probe, reference]
    first, second = map(photographs.read_strictly, files)
    with opened(service, recognition, output) as engine:
        result, evidence = engine.compare([first], [second], max_fmr=max_fmr), engine.calibration
    answer(
        "compare",
        schema.decision(result, evidence, files, output.locale),
        lambda console: screen.decision(
            console, result, evidence, files, output.locale, claim="Do both photographs show one person?"
        ),
        as_json=output.json,
        code=_exit_code(result.outcome),
    )


@command(
    app,
    example="biometrik quality photos/*.jpg --profile portrait",
    exits="0 all acceptable · 3 one or more is not",
)
def quality(photos: Photos, recognition: Recognition, service: Service, output: Output) -> None:
    """Grade photographs for recognition, with advice for each, storing nothing."""
    from biometrik.cli import photographs, schema
    from biometrik.cli.screens import people as screen

    reports: list[SampleReport] = []
    with opened(service, recognition, output) as engine:
        batch: list[Sample] = []
        for photo in photographs.shown(photos, "grading photographs", quiet=output.json):
            batch.append(photographs.read_leniently(photo, quiet=output.json))
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
