"""The commands about people: enroll, verify, identify, compare, quality."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from typer import Argument, BadParameter, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import (
    Dedupe,
    Galleries,
    MaxFmr,
    Operator,
    Output,
    Photos,
    Place,
    RealEvidence,
    Recognition,
    Service,
    Subject,
    Transaction,
    address_of,
    opened,
)
from biometrik.cli.root import INCONCLUSIVE, NO_MATCH, OK, app, command
from biometrik.cli.samples import Prints

if TYPE_CHECKING:
    from biometrik.samples import Sample
    from biometrik.types import Outcome, SampleReport

_DECISION_EXITS: Final = "0 match · 1 no match · 3 inconclusive"
_BATCH: Final = 16


@command(
    app,
    example="biometrik enroll A-0192 photo.jpg --gallery default",
    exits="0 enrolled · 3 needs recapture, failure to enrol or duplicate suspected, nothing was stored",
)
def enroll(
    subject: Subject,
    photos: Photos = None,
    *,
    prints: Prints,
    missing: Annotated[
        list[str] | None,
        Option(
            "--missing",
            metavar="FINGER=REASON",
            help="A finger that cannot be had, e.g. left_ring=amputated:permanent; reasons: amputated, bandaged,"
            " damaged, worn, refused, unable. Again for more; kept in the event log.",
            rich_help_panel="Fingers",
        ),
    ] = None,
    place: Place,
    gallery: Galleries = None,
    override: Annotated[
        str,
        Option("--override", metavar="REASON", help="Why you accept samples of poor quality; kept in the event log."),
    ] = "",
    dedupe: Dedupe,
    transaction: Transaction = "",
    operator: Operator = "",
    recognition: Recognition,
    output: Output,
) -> None:
    """Add photographs and prints of a person, taken now, under your id; the images themselves are not kept."""
    from biometrik import wording
    from biometrik.cli import samples, schema
    from biometrik.cli.screens import people as screen
    from biometrik.types import EnrollmentOutcome, RequestContext

    context = RequestContext(transaction_id=transaction, operator_ref=operator)
    policy = dedupe.policy()
    presented, files = samples.read(photos, prints, quiet=output.json)
    with opened(place, recognition, output, create=True) as engine:
        result = engine.enroll(
            subject,
            presented,
            missing=samples.missing(missing),
            galleries=gallery or None,
            override=override,
            dedupe=policy,
            context=context,
        )
        evidence = () if result.search is None else wording.behind(result.search, engine.calibrations)
    answer(
        "enroll",
        schema.enrollment(result, files, output.locale),
        lambda console: screen.enrollment(console, result, evidence, files, output.locale),
        as_json=output.json,
        code=OK if result.outcome is EnrollmentOutcome.ENROLLED else INCONCLUSIVE,
    )


@command(app, example="biometrik verify A-0192 counter.jpg --max-fmr 1e-4", exits=_DECISION_EXITS)
def verify(
    subject: Subject,
    photos: Photos = None,
    *,
    prints: Prints,
    others: Annotated[
        list[str] | None,
        Option("--or", metavar="SUBJECT", help="Another whom the person may be (1:few); again for more, 64 in all."),
    ] = None,
    encounter: Annotated[
        str, Option("--encounter", metavar="ID", help="Compare with this encounter of the subject only.")
    ] = "",
    place: Place,
    max_fmr: MaxFmr = 1e-3,
    real_evidence: RealEvidence = False,
    recognition: Recognition,
    output: Output,
) -> None:
    """Say whether the person who is here is the enrolled subject (1:1), or one of a few."""
    from biometrik import wording
    from biometrik.cli import samples, schema
    from biometrik.cli.screens import people as screen
    from biometrik.errors import InvalidInputError

    if others and encounter:
        raise BadParameter("expected one of them, got both", param_hint="--or, --encounter")
    claims = [subject, *(others or ())]
    presented, files = samples.read(photos, prints, quiet=output.json)
    with opened(place, recognition, output) as engine:
        if encounter:
            result = engine.verify_encounter(encounter, presented, max_fmr=max_fmr, real_evidence=real_evidence)
            if result.subject_id not in ("", subject):
                raise InvalidInputError(f"encounter: expected one of {subject}, got another's; check both")
        elif others:
            result = engine.verify_any(claims, presented, max_fmr=max_fmr, real_evidence=real_evidence)
        else:
            result = engine.verify(subject, presented, max_fmr=max_fmr, real_evidence=real_evidence)
        evidence = wording.behind(result, engine.calibrations)
    # Of one claim it is said even where nothing could be compared; of several, who is the most alike.
    who = result.subject_id or ("" if others else subject)
    claim = f"Is this {' or '.join(claims)}?" + (f" Most alike: {who}." if others and who else "")
    answer(
        "verify",
        {**schema.decision(result, files, output.locale), "claims": claims, "subject_id": who},
        lambda console: screen.decision(console, result, evidence, files, output.locale, claim=claim),
        as_json=output.json,
        code=_exit_code(result.outcome),
    )


@command(app, example="biometrik identify counter.jpg --max-fpir 0.01", exits="0 found · 1 unknown · 3 inconclusive")
def identify(
    photos: Photos = None,
    *,
    prints: Prints,
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
    real_evidence: RealEvidence = False,
    recognition: Recognition,
    output: Output,
) -> None:
    """Search for the person among everybody enrolled (1:N)."""
    from biometrik import wording
    from biometrik.cli import samples, schema
    from biometrik.cli.screens import people as screen

    presented, files = samples.read(photos, prints, quiet=output.json)
    with opened(place, recognition, output) as engine:
        result = engine.identify(
            presented,
            max_fpir=None if no_decision else max_fpir,
            galleries=gallery,
            max_candidates=max_candidates,
            excluding=excluding,
            real_evidence=real_evidence,
        )
        evidence = wording.behind(result, engine.calibrations)
    answer(
        "identify",
        schema.identification(result, files, output.locale),
        lambda console: screen.identification(console, result, evidence, files, output.locale),
        as_json=output.json,
        code=_exit_code(result.outcome),
    )


@command(app, example="biometrik compare counter.jpg passport.jpg", exits=_DECISION_EXITS)
def compare(
    probe: Annotated[Path, Argument(help="A photograph of the person who is here, or a print with --fingers.")],
    reference: Annotated[Path, Argument(help="One of the person that it should be.")],
    *,
    fingers: Annotated[
        bool, Option("--fingers", help="Both files are prints of a finger.", rich_help_panel="Fingers")
    ] = False,
    ppi: Annotated[
        float | None,
        Option(
            "--ppi",
            metavar="N",
            help="Resolution of the prints, pixels an inch, where the files do not state it: 500 for most scanners.",
            rich_help_panel="Fingers",
        ),
    ] = None,
    draw: Annotated[
        Path | None,
        Option(
            "--draw",
            metavar="PNG",
            help="Write a picture of both prints, their minutiae and the pairs that were found. It is biometric data.",
            rich_help_panel="Fingers",
        ),
    ] = None,
    max_fmr: MaxFmr = 1e-3,
    real_evidence: RealEvidence = False,
    recognition: Recognition,
    service: Service,
    output: Output,
) -> None:
    """Say whether two photographs, or two prints, are of the same person, storing nothing."""
    from biometrik import wording
    from biometrik.cli import samples, schema
    from biometrik.cli.files import write
    from biometrik.cli.screens import people as screen
    from biometrik.engine import Engine
    from biometrik.fingers import FingerprintImage

    if draw and not fingers:
        raise BadParameter("expected --fingers with it: only prints have minutiae to draw", param_hint="--draw")
    if draw and address_of(service):
        raise BadParameter("expected no service: the picture is made by an engine here", param_hint="--draw")
    files = [probe, reference]
    first, second = (samples.read_strictly(file, finger=fingers, ppi=ppi) for file in files)
    with opened(service, recognition, output) as engine:
        result = engine.compare([first], [second], max_fmr=max_fmr, real_evidence=real_evidence)
        evidence = wording.behind(result, engine.calibrations)
        if draw and isinstance(engine, Engine):
            assert isinstance(first, FingerprintImage)
            assert isinstance(second, FingerprintImage)
            write(draw, engine.draw_pairs(first, second), force=True)
    what = "prints come from one finger" if fingers else "photographs show one person"
    answer(
        "compare",
        schema.decision(result, files, output.locale),
        lambda console: screen.decision(console, result, evidence, files, output.locale, claim=f"Do both {what}?"),
        as_json=output.json,
        code=_exit_code(result.outcome),
    )


@command(
    app,
    example="biometrik quality photos/*.jpg --profile portrait",
    exits="0 all acceptable · 3 one or more is not",
)
def quality(
    photos: Photos = None,
    *,
    prints: Prints,
    recognition: Recognition,
    service: Service,
    output: Output,
) -> None:
    """Grade photographs and prints for recognition, with advice for each, storing nothing."""
    from biometrik.cli import samples, schema
    from biometrik.cli.screens import people as screen

    named = samples.named(photos, prints)
    reports: list[SampleReport] = []
    with opened(service, recognition, output) as engine:
        batch: list[Sample] = []
        for position, file in samples.shown(named, "grading samples", quiet=output.json):
            batch.append(samples.read_leniently(file, position, prints.ppi, quiet=output.json))
            if len(batch) == _BATCH:
                reports += engine.quality(batch)
                batch.clear()
        reports += engine.quality(batch) if batch else ()
    files = [file for _, file in named]
    acceptable = all(report.quality is not None and report.quality.acceptable for report in reports)
    answer(
        "quality",
        {"acceptable": acceptable, "samples": schema.samples(reports, files, output.locale)},
        lambda console: screen.samples(console, reports, files, output.locale, every=True),
        as_json=output.json,
        code=OK if acceptable else INCONCLUSIVE,
    )


def _exit_code(outcome: "Outcome") -> int:
    return {"MATCH": OK, "NO_MATCH": NO_MATCH}.get(outcome.value, INCONCLUSIVE)
