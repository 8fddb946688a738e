"""What the commands about many people show: counts of an import, and the first that went wrong."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text


def imported(
    console: Console,
    counts: Mapping[str, int],
    good: Collection[str],
    examples: Sequence[tuple[str, str]],
    report: Path,
    seconds: float,
) -> None:
    """Show how many records had which outcome; ``good`` are those that need nobody's attention."""
    rows = Table("outcome", "records", box=None, pad_edge=False)
    for outcome, count in sorted(counts.items()):
        rows.add_row(Text(outcome, style="green" if outcome in good else "yellow"), f"{count:,}")
    console.print(rows if counts else Text("no records", style="dim"))
    for name, message in examples:
        console.print(Text(f"{_shown(name)}: {_shown(message)}", style="yellow"), soft_wrap=True)
    count = sum(counts.values())
    rate = f", {count / seconds:,.1f} a second" if seconds else ""
    console.print(
        Text(f"{count:,} records in {seconds:,.1f} s{rate}; all outcomes: {report}", style="dim"), soft_wrap=True
    )


def exported(console: Console, encounters: int, templates: int, out: Path) -> None:
    """Show how much has left."""
    console.print(Text(f"{encounters:,} encounters with {templates:,} templates written to {out}"), soft_wrap=True)
    console.print(Text("it holds biometric data, and the event log has that it left", style="yellow"))


def _shown(text: str) -> str:
    # Names of files and subjects come from outside: what could steer a terminal is shown, not sent.
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
