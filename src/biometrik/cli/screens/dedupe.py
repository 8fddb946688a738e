"""What the command dedupe shows: the likeliest clusters, what was compared, and what chance alone would name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from biometrik import wording

if TYPE_CHECKING:
    from biometrik.cli.dedupe import Findings

#: Pairs on a screen; the reports have all.
_SHOWN: Final = 20


def findings(console: Console, value: "Findings", reports: Sequence[Path]) -> None:
    """Show what was found, and where the reports are."""
    survey = value.survey
    pairs = [(number, pair) for number, cluster in enumerate(value.clusters, start=1) for pair in cluster]
    lines = [
        Text(f"{len(pairs):,} pairs in {len(value.clusters):,} clusters", style="bold"),
        Text(
            f"compared {survey.searched:,} encounters with all others ({survey.compared:,} pairs):"
            f" {survey.faces:,} by face alone, {survey.prints:,} by prints; {survey.passed_over:,} passed over"
        ),
        Text(
            f"threshold {wording.rounded(value.threshold)}, FMR {wording.one_in(value.max_fmr)}: chance alone would"
            f" name about {value.expected_by_chance:,.1f} pairs"
        ),
    ]
    if not survey.exact:
        lines.append(Text("prints were compared in stages: some pairs may be missing", style="yellow"))
    if survey.found > len(pairs):
        lines.append(Text(f"{survey.found:,} comparisons reached the threshold; the likeliest are named", style="dim"))
    lines += [Text(wording.grounds(table), style="dim") for table in value.evidence]
    title, colour = ("SUSPECTED DUPLICATES", "red") if pairs else ("NOBODY SUSPECTED", "green")
    console.print(Panel(Group(*lines), title=f"[bold]{title}[/]", border_style=colour, title_align="left"))
    if pairs:
        rows = Table("cluster", "score", "one", "the other", "similarities", box=None, pad_edge=False)
        for number, pair in pairs[:_SHOWN]:
            traits = ", ".join(f"{row.trait.name.replace('_', ' ')} {row.raw_score:.3f}" for row in pair.components)
            score = f"{wording.rounded(pair.score)}{' or more' if pair.capped else ''}"
            rows.add_row(str(number), score, *map(Text, pair.subject_ids), traits)
        console.print(rows)
    if len(pairs) > _SHOWN:
        where = "" if reports else "; name a file with --report"
        console.print(Text(f"{len(pairs) - _SHOWN:,} more in the report{where}", style="dim"))
    for report in reports:
        console.print(Text(f"written: {report}"), soft_wrap=True)
