"""The command that finds who is enrolled twice: dedupe."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from typer import BadParameter, Option

from biometrik.cli.answer import answer
from biometrik.cli.options import Galleries, Output, Place, RealEvidence, Recognition, address_of, opened
from biometrik.cli.root import NO_MATCH, OK, app, command

if TYPE_CHECKING:
    from biometrik.cli.survey import Survey
    from biometrik.duplicates import DuplicatePair
    from biometrik.engine import Engine
    from biometrik.types import Encounter
    from biometrik.wording import Evidence

#: So often a run writes down how far it is: what an interruption costs, and little of the time.
_SAVE_EVERY_S: Final = 10.0
_KINDS: Final = (".html", ".json", ".csv")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a report shows.

    Parameters
    ----------
    survey : Survey
        What was found.
    clusters : list of tuple of DuplicatePair
        Pairs whose encounters are still there, by the people that they may be.
    encounters : dict of str to Encounter
        Of these pairs, by id.
    threshold, max_fmr : float
        Score from which on a pair is named, and the false match rate that it stands for.
    evidence : tuple of Evidence
        What scores rest on.
    """

    survey: "Survey"
    clusters: "list[tuple[DuplicatePair, ...]]"
    encounters: "dict[str, Encounter]"
    threshold: float
    max_fmr: float
    evidence: "tuple[Evidence, ...]"

    @property
    def expected_by_chance(self) -> float:
        """Pairs of strangers that reach the threshold, among so many comparisons."""
        return self.survey.compared * self.max_fmr


@command(
    app,
    example="biometrik dedupe --report duplicates.html --state duplicates.state",
    exits="0 nobody is suspected · 1 somebody is",
)
def dedupe(
    *,
    place: Place,
    max_fmr: Annotated[
        float,
        Option("--max-fmr", metavar="RATE", help="False match rate that you accept of each pair that is compared."),
    ] = 1e-5,
    gallery: Galleries = None,
    real_evidence: RealEvidence = False,
    report: Annotated[
        list[Path] | None,
        Option("--report", metavar="FILE", help="Write a report: .html, .json or .csv by its name. Again for more."),
    ] = None,
    photos: Annotated[
        Path | None,
        Option(
            "--photos",
            metavar="FOLDER",
            help="Photographs of your own for the page, named after an encounter or a subject (A-0192.jpg): the"
            " database keeps none.",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        Option(
            "--state",
            metavar="FILE",
            help="Goes on where this file says, and keeps it up to date: after an interruption, or with those who were"
            " enrolled since.",
        ),
    ] = None,
    max_pairs: Annotated[
        int, Option("--max-pairs", metavar="N", min=1, max=1_000_000, help="Most pairs that are named, the likeliest.")
    ] = 10_000,
    force: Annotated[bool, Option("--force", help="Replace reports that are there.")] = False,
    recognition: Recognition,
    output: Output,
) -> None:
    """Find people who are enrolled twice: compare everybody with everybody, and report pairs that look alike."""
    from biometrik.cli import dedupe_report
    from biometrik.cli.files import refuse_to_replace, write
    from biometrik.cli.screens import dedupe as screen
    from biometrik.engine import Engine

    if address_of(place):
        raise BadParameter(
            "expected a database, not a service: run this where the database is, while the service is stopped. A"
            " service is asked person by person, with IdentifyStored",
            param_hint="--server",
        )
    reports = report or []
    for file in reports:
        if file.suffix.lower() not in _KINDS:
            raise BadParameter(f"expected a name that ends in {', '.join(_KINDS)}, got {file}", param_hint="--report")
        refuse_to_replace(file, force=force)
    if photos and not photos.is_dir():
        raise BadParameter(f"expected a folder, got {photos}", param_hint="--photos")
    with opened(place, recognition, output) as engine:
        assert isinstance(engine, Engine)  # no service was named
        survey = _survey(engine, max_fmr, gallery, state, max_pairs, real_evidence=real_evidence, quiet=output.json)
        findings = _findings(engine, survey, max_fmr)
    for file in reports:
        make = {".html": dedupe_report.page, ".json": dedupe_report.document, ".csv": dedupe_report.rows}
        write(file, make[file.suffix.lower()](findings, photos), force=force)
    answer(
        "dedupe",
        dedupe_report.body(findings),
        lambda console: screen.findings(console, findings, reports),
        as_json=output.json,
        code=NO_MATCH if findings.clusters else OK,
    )


def _survey(
    engine: "Engine",
    max_fmr: float,
    galleries: list[str] | None,
    state: Path | None,
    most: int,
    *,
    real_evidence: bool,
    quiet: bool,
) -> "Survey":
    # Goes on to the end, with a bar on a terminal; whatever stops it, the state is written down.
    from rich.console import Console
    from rich.progress import Progress

    from biometrik.cli.survey import Survey
    from biometrik.gallery.records import DEFAULT_GALLERY

    asked = {
        "database": engine.gallery(DEFAULT_GALLERY).created_at.isoformat(),
        "models": engine.model_contract_id,
        "max_fmr": max_fmr,
        "galleries": sorted(set(galleries)) if galleries else None,
        "real_evidence": real_evidence,
    }
    survey = Survey(asked, most) if state is None else Survey.load(state, asked, most)
    total = engine.count_encounters(galleries=galleries)
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("comparing", total=max(total, survey.searched), completed=survey.searched)
        saved, unsaved = time.monotonic(), False
        try:
            more = True
            while more:
                page = engine.duplicates(
                    max_fmr=max_fmr, after=survey.after, galleries=galleries, real_evidence=real_evidence
                )
                survey.take(page)
                more, unsaved = page.more, True
                progress.update(task, completed=survey.searched)
                if state is not None and time.monotonic() - saved >= _SAVE_EVERY_S:
                    survey.save(state)
                    saved, unsaved = time.monotonic(), False
        finally:
            if state is not None and unsaved:
                survey.save(state)
    return survey


def _findings(engine: "Engine", survey: "Survey", max_fmr: float) -> Findings:
    from biometrik.decision import to_score
    from biometrik.duplicates import clustered
    from biometrik.errors import EncounterNotFoundError
    from biometrik.types import EncounterStatus

    encounters: dict[str, Encounter] = {}
    pairs = []
    for pair in survey.pairs:
        try:
            both = [engine.encounter(encounter_id) for encounter_id in pair.encounter_ids]
        except EncounterNotFoundError:  # erased since
            continue
        if all(encounter.status is EncounterStatus.ACTIVE for encounter in both):
            encounters |= {encounter.encounter_id: encounter for encounter in both}
            pairs.append(pair)
    return Findings(survey, clustered(pairs), encounters, to_score(max_fmr), max_fmr, tuple(engine.calibrations))
