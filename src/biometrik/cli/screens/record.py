"""What the commands about records show."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from biometrik.formats.record_report import Conversion, RecordReport, RecordSimilarity


def similarity(console: Console, found: RecordSimilarity) -> None:
    """Show how alike two records' prints are."""
    console.print(Text.assemble("similarity ", (f"{found.similarity:.3f}", "bold"), " of 0 to 1"))
    console.print(
        f"print {found.probe_view} of the first record and {found.reference_view} of the second, the most alike of"
        f" {found.comparisons} pair(s)"
    )
    console.print("INCONCLUSIVE: what this means for error rates was never measured for minutiae from elsewhere")


def report(console: Console, value: RecordReport) -> None:
    """Show what stands in a record."""
    console.print(Text.assemble((value.type.value, "bold"), f", {value.octets} octets"))
    if value.blocks:
        blocks = Table("block", "format", "content", "what", "purpose", "quality", "octets", box=None, pad_edge=False)
        for index, block in enumerate(value.blocks, 1):
            blocks.add_row(
                str(index),
                Text(f"{block.format_owner}/{block.format_type}"),
                block.content.value if block.content else "not read here",
                Text(f"{block.modality} {block.subtype}".strip()),
                Text(block.purpose),
                _or_dash(block.quality),
                str(block.octets),
            )
        console.print(blocks)
    if value.views:
        views = Table(
            "view", "finger", "impression", "size", "ppi", "minutiae", "coding", "quality", box=None, pad_edge=False
        )
        for index, view in enumerate(value.views, 1):
            views.add_row(
                str(index),
                _words(view.position.name),
                _words(view.impression.name),
                f"{view.width_px} × {view.height_px}",
                "–" if view.x_ppi is None or view.y_ppi is None else _ppi(view.x_ppi, view.y_ppi),
                _or_dash(view.minutiae),
                view.coding or "–",
                _or_dash(view.quality),
            )
        console.print(views)
    _lines(console, "departs from its standard", value.departures)


def conversion(console: Console, made: Conversion, path: Path) -> None:
    """Show what was written, and what was lost."""
    console.print(Text(f"{made.source.value} → {made.target.value}: {path}, {len(made.data)} octets"))
    _lines(console, "departed from its standard", made.departures)
    _lines(console, "lost", made.losses)
    if not made.losses:
        console.print(Text("nothing was lost", style="green"))


def _lines(console: Console, what: str, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(Text.assemble((f"{what}: ", "yellow"), line))


def _ppi(x: float, y: float) -> str:
    return f"{x:g}" if x == y else f"{x:g} × {y:g}"


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


def _or_dash(number: int | None) -> str:
    return "–" if number is None else str(number)
