"""What the commands about the register show: subjects, galleries, an erasure's certificate."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from biometrik.types import ErasureCertificate, GalleryInfo, Subject


def subjects(console: Console, page: Sequence[Subject], *, more: bool) -> None:
    """Show a page of subjects; ``more`` says that it is not the last."""
    rows = Table("subject", "since", "encounters", "templates", "galleries", box=None, pad_edge=False)
    for value in page:
        galleries = sorted({name for encounter in value.encounters for name in encounter.galleries})
        rows.add_row(
            Text(value.subject_id),
            f"{value.created_at:%Y-%m-%d %H:%M}",
            str(len(value.encounters)),
            str(sum(encounter.templates for encounter in value.encounters)),
            Text(", ".join(galleries)),
        )
    console.print(rows if page else Text("nobody", style="dim"))
    if more:
        console.print(Text("more follow: give the last id to --after", style="dim"))


def subject(console: Console, value: Subject) -> None:
    """Show a subject's encounters."""
    rows = Table("encounter", "since", "status", "templates", "of", "missing", "galleries", box=None, pad_edge=False)
    for encounter in value.encounters:
        rows.add_row(
            encounter.encounter_id,
            f"{encounter.created_at:%Y-%m-%d %H:%M}",
            encounter.status.value,
            str(encounter.templates),
            _words(trait.name for trait in encounter.traits),
            _words(f"{row.trait.name} ({row.reason.value.lower()})" for row in encounter.missing),
            Text(", ".join(encounter.galleries)),
        )
    console.print(Text(value.subject_id, style="bold"), rows)


def _words(names: Iterable[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


def galleries(console: Console, values: Sequence[GalleryInfo]) -> None:
    """Show galleries with their counts and terms."""
    columns = ("gallery", "kind", "since", "subjects", "encounters", "kept for", "legal basis")
    rows = Table(*columns, box=None, pad_edge=False)
    for value in values:
        counts = f"{value.subjects:,}", f"{value.encounters:,}"
        kept = f"{value.retention_days:,} days" if value.retention_days else ""
        since = f"{value.created_at:%Y-%m-%d %H:%M}"
        rows.add_row(Text(value.name), value.kind.value, since, *counts, kept, Text(value.legal_basis))
    console.print(rows)


def certificate(console: Console, value: ErasureCertificate) -> None:
    """Show an erasure's certificate."""
    lines = (
        f"subject     {value.subject_id}",
        f"erased at   {value.erased_at.isoformat()}",
        f"removed     {value.encounters} encounter(s), {value.templates} template(s), from database and index",
        f"event       {value.event} of the log",
        f"digest      {value.digest}",
    )
    console.print(Panel(Text("\n".join(lines)), title="ERASED", border_style="green", expand=False))
