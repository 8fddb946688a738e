"""What the command about kept enrolments shows."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from biometrik_station.forwarding import Forwarded
from biometrik_station.spool import Kept


def row(kept: Kept) -> dict[str, object]:
    """Return an entry as JSON."""
    return {
        "entry": kept.name,
        "since": kept.since.isoformat(timespec="seconds"),
        "size_bytes": kept.size_bytes,
        "why": kept.why,
    }


def forwarded(console: Console, done: Sequence[Forwarded], waiting: Sequence[Kept], aside: Sequence[Kept]) -> None:
    """Show what was sent, what waits and what was set aside."""
    sent = sum(not each.why for each in done)
    console.print(f"{sent} enrolled, {len(waiting)} waiting, {len(aside)} set aside", highlight=False)
    rows = Table("entry", "since", "bytes", "set aside because", box=None, pad_edge=False)
    for kept in (*waiting, *aside):
        rows.add_row(kept.name, f"{kept.since:%Y-%m-%d %H:%M}", f"{kept.size_bytes:,}", Text(kept.why))
    if waiting or aside:
        console.print(rows)
