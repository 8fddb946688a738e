"""What the commands about people show: a panel with the outcome, and a table of what it rests on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from biometrik import wording
from biometrik.reasons import Locale, Reason
from biometrik.types import (
    Component,
    Decision,
    Enrollment,
    EnrollmentOutcome,
    Identification,
    Modality,
    Outcome,
    QualityComponent,
    SampleReport,
)
from biometrik.wording import Evidence

_COLOURS: Final = {
    Outcome.MATCH: "green",
    Outcome.NO_MATCH: "red",
    Outcome.INCONCLUSIVE: "yellow",
    EnrollmentOutcome.ENROLLED: "green",
    EnrollmentOutcome.NEEDS_RECAPTURE: "yellow",
    EnrollmentOutcome.FAILURE_TO_ENROLL: "yellow",
    EnrollmentOutcome.DUPLICATE_SUSPECTED: "red",
}
_SCALE_CELLS: Final = 40
_BAR_CELLS: Final = 20


def decision(
    console: Console,
    value: Decision,
    evidence: Sequence[Evidence],
    files: Sequence[Path],
    locale: Locale,
    *,
    claim: str,
) -> None:
    """Show a 1:1 decision; ``claim`` says in words what was asked."""
    lines: list[RenderableType] = [Text(claim)]
    if value.score is not None:
        lines += [
            Text(f"score {wording.against_threshold(value.score, value.threshold)}", style="bold"),
            scale(value.score, value.threshold, _largest(value.score, value.threshold, evidence)),
            Text(wording.strength(value.score, capped=value.capped)),
        ]
    lines.append(Text(wording.asked_and_achieved("FMR", value.max_fmr, value.achieved_fmr), style="dim"))
    lines += [Text(wording.grounds(table), style="dim") for table in evidence]
    _panel(console, value.outcome, value.reasons, lines, locale)
    if len(value.components) > 1:
        console.print(_contributions(value.components))
    samples(console, value.samples, files, locale)


def identification(
    console: Console, value: Identification, evidence: Sequence[Evidence], files: Sequence[Path], locale: Locale
) -> None:
    """Show a 1:N answer with its candidates."""
    _panel(console, value.outcome, value.reasons, _searched(value, evidence), locale)
    _candidates(console, value, evidence)
    samples(console, value.samples, files, locale)


def _searched(value: Identification, evidence: Sequence[Evidence]) -> list[RenderableType]:
    coverage = value.coverage
    exact = "exactly" if coverage.exact else f"approximately, finding {coverage.recall_claimed:.1%} of what is there"
    lines: list[RenderableType] = [
        Text(f"searched {coverage.subjects:,} people ({coverage.compared:,} references) {exact}")
    ]
    if value.max_fpir is not None and value.achieved_fpir is not None:
        lines.append(Text(wording.asked_and_achieved("FPIR", value.max_fpir, value.achieved_fpir), style="dim"))
    return lines + [Text(wording.grounds(table), style="dim") for table in evidence]


def _candidates(console: Console, value: Identification, evidence: Sequence[Evidence]) -> None:
    if value.candidates:
        rows = Table("rank", "subject", "score", "", "a stranger of this score", "galleries", box=None, pad_edge=False)
        for candidate in value.candidates:
            threshold = value.threshold
            score = (
                wording.rounded(candidate.score)
                if threshold is None
                else wording.against_threshold(candidate.score, threshold)
            )
            rows.add_row(
                str(candidate.rank),
                Text(candidate.subject_id, style="green" if candidate.is_match else ""),
                score,
                scale(candidate.score, threshold, _largest(candidate.score, threshold, evidence), cells=_BAR_CELLS),
                wording.one_in(10 ** (-candidate.score / 10)),
                Text(", ".join(candidate.galleries)),
            )
        console.print(rows)


def enrollment(
    console: Console, value: Enrollment, evidence: Sequence[Evidence], files: Sequence[Path], locale: Locale
) -> None:
    """Show an enrolment's answer, and whom a search for duplicates named."""
    if value.outcome is EnrollmentOutcome.ENROLLED:
        line = f"{value.subject_id}: encounter {value.encounter_id} with {value.templates} template(s)"
    else:
        line = f"{value.subject_id}: nothing was stored"
    lines: list[RenderableType] = [Text(line)]
    if value.search is not None:
        lines += _searched(value.search, evidence)
        suspects = len(value.search.candidates)
        lines.append(Text(f"the same person, it seems, as {suspects} under another id" if suspects else "no duplicate"))
    _panel(console, value.outcome, () if value.search is None else value.search.reasons, lines, locale)
    if value.search is not None:
        _candidates(console, value.search, evidence)
    samples(console, value.samples, files, locale)


def samples(
    console: Console, reports: Sequence[SampleReport], files: Sequence[Path], locale: Locale, *, every: bool = False
) -> None:
    """Show each photograph's quality; all its components if ``every``, else those below their threshold."""
    for report, file in zip(reports, files, strict=True):
        if Reason.IMAGE_UNREADABLE in report.reasons:
            found = "not an image"
        elif report.trait.modality is Modality.FINGER:
            found = report.trait.name.replace("_", " ")
        else:
            found = "no face" if report.faces_found == 0 else f"{report.faces_found} face(s)"
        head = Text.assemble((str(file), "bold"), f"  {found}")
        if report.quality is not None:
            style = "green" if report.quality.acceptable else "yellow"
            head.append(f"  quality {report.quality.overall:.0f} of 100, ").append(report.quality.algorithm, "dim")
            head.append("  acceptable" if report.quality.acceptable else "  below the threshold", style)
        console.print(head, soft_wrap=True)
        for reason in report.reasons:
            console.print(Text(f"  → {reason.text(locale)}", style="yellow"))
        if report.quality is not None:
            shown = [c for c in report.quality.components if every or not c.acceptable]
            if shown:
                console.print(_components(shown))


def scale(score: float, threshold: float | None, cap: float, *, cells: int = _SCALE_CELLS) -> Text:
    """Return a bar from 0 to the largest score that the calibration gives, with the threshold marked."""
    filled = round(min(score, cap) / cap * cells)
    passed = threshold is not None and score >= threshold
    bar = Text("━" * filled, style="green" if passed else "red" if threshold is not None else "blue")
    bar.append("─" * (cells - filled), style="dim")
    if threshold is None:
        return bar
    mark = min(cells - 1, round(threshold / cap * cells))
    return Text.assemble(bar[:mark], ("┃", "bold"), bar[mark + 1 :])


def _largest(score: float, threshold: float | None, evidence: Sequence[Evidence]) -> float:
    # Where the bar ends: what the calibrations reach, or what several traits together reach beyond.
    return max(score, threshold or 0.0, *(wording.largest_score(table) for table in evidence), 1.0)


def _contributions(values: Sequence[Component]) -> Table:
    rows = Table("", "score", "similarity", "pairs", box=None, pad_edge=False, header_style="dim")
    for value in values:
        score = f"{wording.rounded(value.score)}{' or more' if value.capped else ''}"
        name = value.trait.name.replace("_", " ")
        rows.add_row(f"  {name}", score, f"{value.raw_score:.3f}", str(value.comparisons))
    return rows


def _components(values: Sequence[QualityComponent]) -> Table:
    rows = Table(box=None, pad_edge=False, header_style="dim")
    rows.add_column("  component", no_wrap=True)
    for head in ("", "value", "needed", "measured"):
        rows.add_column(head)
    for component in values:
        filled = round(component.value / 100 * _BAR_CELLS)
        style = "green" if component.acceptable else "red"
        bar = Text("━" * filled, style=style).append("─" * (_BAR_CELLS - filled), style="dim")
        mark = min(_BAR_CELLS - 1, round(component.threshold / 100 * _BAR_CELLS))
        rows.add_row(
            f"  {wording.component_name(component)}",
            Text.assemble(bar[:mark], ("┃", "bold"), bar[mark + 1 :]),
            f"{component.value:.0f}",
            f"≥ {component.threshold:.0f}",
            wording.measurement(component),
        )
    return rows


def _panel(
    console: Console,
    outcome: Outcome | EnrollmentOutcome,
    reasons: Sequence[Reason],
    lines: Sequence[RenderableType],
    locale: Locale,
) -> None:
    colour = _COLOURS[outcome]
    advice = [Text(f"→ {reason.text(locale)}", style=colour) for reason in reasons]
    body = Group(*lines, *advice)
    console.print(
        Panel(body, title=f"[bold]{outcome.value.replace('_', ' ')}[/]", border_style=colour, title_align="left")
    )
