"""What the commands about the machine show: weights, the doctor's checks, the demo's steps."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from biometrik.doctor import Check, Status
from biometrik.manifest import Pack
from biometrik.models import CatalogueRow, WeightsState
from biometrik.wording import rates_of, score_of

if TYPE_CHECKING:
    from biometrik.client import ServedModel
    from biometrik.demo.steps import Step, Story

_SIGNS: Final = {Status.OK: ("✓", "green"), Status.WARN: ("!", "yellow"), Status.FAIL: ("✗", "bold red")}
_STATES: Final = {WeightsState.VERIFIED: "green", WeightsState.ABSENT: "dim", WeightsState.DAMAGED: "bold red"}
_OUTCOMES: Final = {"MATCH": "green", "ENROLLED": "green", "ERASED": "green", "NO_MATCH": "red"}


def weights(console: Console, rows: Sequence[CatalogueRow]) -> None:
    """Show weights with licence, presence and verification."""
    table = Table(box=None, pad_edge=False)
    for head in ("weights", "role", "licence", "state", "pack"):
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(
            Text(row.entry.id),
            row.entry.role.value,
            Text(row.entry.licence),
            Text(row.state.value, style=_STATES.get(row.state, "yellow")),
            Text(", ".join(row.packs) or "bundled"),
        )
    console.print(table)
    for row in rows:
        if row.entry.licence_note:
            console.print(Text.assemble((row.entry.id, "bold"), f": {row.entry.licence_note}"))
        if row.state is WeightsState.DAMAGED:
            console.print(Text(f"{row.entry.id}: {row.detail}", style="red"))


def served(console: Console, models: Sequence["ServedModel"]) -> None:
    """Show the weights on a service's machine."""
    table = Table("weights", "role", "licence", "sha256", box=None, pad_edge=False)
    for model in models:
        table.add_row(Text(model.id), Text(model.role), Text(model.licence), Text(f"{model.sha256[:16]}…"))
    console.print(table)


def pulled(console: Console, pack: Pack, folder: Path) -> None:
    """Show what was fetched."""
    console.print(Text.assemble((pack.name, "bold"), f" is in {folder}; use it with --pack {folder}"))
    for entry in pack.entries:
        console.print(Text(f"{entry.file}: {entry.role.value}, {entry.licence}, sha256 {entry.sha256[:16]}…"))
        console.print(Text(entry.licence_note, style="yellow"))


def checks(console: Console, values: Sequence[Check]) -> None:
    """Show the doctor's checks, with what to do where something is wrong."""
    table = Table("", "check", "finding", box=None, pad_edge=False, show_header=False)
    for check in values:
        sign, style = _SIGNS[check.status]
        finding = Text(check.finding, overflow="fold")
        if check.remedy:
            finding.append(f"\n→ {check.remedy}", style=style)
        table.add_row(Text(sign, style=style), Text(check.name, style="bold"), finding)
    console.print(table)
    failed = sum(check.status is Status.FAIL for check in values)
    console.print(Text(f"{failed} check(s) failed", style="bold red") if failed else Text("all well", style="green"))


@contextmanager
def following(*, quiet: bool) -> Iterator["Callable[[Step], None]"]:
    """Give a callable that shows the last step on a terminal's standard error while the demo runs."""
    if quiet:
        yield lambda _: None
        return
    with Console(stderr=True).status("starting a service, preparing the photographs …") as status:
        yield lambda step: status.update(f"{escape(step.title)}: {step.outcome}")


def story(console: Console, value: "Story", page: Path) -> None:
    """Show the demo's steps in a table, and where the page is."""
    table = Table("", "step", "outcome", "score", "error rate asked → achieved", box=None, pad_edge=False)
    table.add_column("ms", justify="right")
    for step in value.steps:
        sign, style = ("✓", "green") if step.passed else ("✗", "bold red")
        table.add_row(
            Text(sign, style=style),
            Text(step.title),
            Text(step.outcome.replace("_", " "), style=_OUTCOMES.get(step.outcome, "yellow")),
            score_of(step.result),
            rates_of(step.result),
            f"{step.elapsed_ms:.0f}",
        )
    console.print(table)
    for step in value.steps:
        if not step.passed:
            wrong = f"{step.key}: expected {step.expected}, got {step.outcome}. {step.finding}"
            console.print(Text(wrong, style="bold red"))
    if value.log:
        console.print(Text(f"the service's log ends:\n{value.log}"), soft_wrap=True)
    console.print(Text.assemble("service: ", value.service, ", asked by its public client"), soft_wrap=True)
    if value.passed:
        console.print(Text(f"all {len(value.steps)} steps came out as they must", style="green"))
    console.print(Text.assemble("page: ", (str(page.absolute()), "bold")), soft_wrap=True)
