"""What an operator is told and asked in a terminal during an enrolment, and what its outcome looks like."""

from collections.abc import Sequence
from typing import Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from biometrik.cli.counter import Choice, Kept
from biometrik.cli.preview import Preview
from biometrik.client import CaptureMoment, Finalized
from biometrik.errors import BiometrikError
from biometrik.reasons import Locale
from biometrik.types import EnrollmentOutcome, Trait
from biometrik.verdicts import SubmitOutcome, Submitted, TraitStanding

_STYLES: Final = {
    TraitStanding.TAKEN: "green",
    TraitStanding.MISSING: "yellow",
    TraitStanding.WANTED: "red",
    TraitStanding.FAILED: "red",
}


class Terminal:
    """A desk (:class:`biometrik.cli.counter.Desk`): standard error for the operator, a page for the subject.

    Parameters
    ----------
    locale : {"en", "id"}
        Language of reasons; guidance comes in the connection's.
    preview : Preview or None
        The subject's page.
    quiet : bool
        Whether nothing is said.
    attended : bool
        Whether the operator can be asked.
    """

    def __init__(self, locale: Locale, preview: Preview | None, *, quiet: bool, attended: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._locale = locale
        self._preview = preview
        self._said = ""
        self.attended = attended
        if preview is not None:
            # Also with --json: without the address there is no page.
            Console(stderr=True, highlight=False).print(f"Preview for the subject: {preview.url}", soft_wrap=True)

    def begin(self, trait: Trait, attempts_left: int) -> None:
        """Name the trait and how many attempts there are."""
        self._said = ""
        self._console.print(Text.assemble((_words(trait), "bold"), f", {attempts_left} attempt(s) left"))

    def tell(self, moment: CaptureMoment) -> None:
        """Say a word of guidance once, as long as it stays the same; show each picture."""
        if moment.text != self._said:
            self._said = moment.text
            if moment.text:
                self._console.print(Text(f"  {moment.text}", style="cyan"))
        if self._preview is not None:
            if moment.sample is None:
                self._preview.show(moment.preview, moment.text, good=moment.guidance is None and not moment.text)
            else:
                self._preview.clear()

    def end(self, answer: Submitted) -> None:
        """Say what became of the attempt."""
        if answer.outcome is SubmitOutcome.ACCEPTED:
            self._console.print(Text("  ✓ taken", style="green"))
            return
        self._console.print(Text(f"  ✗ {answer.outcome.value}", style="yellow"))
        if answer.same_as is not None:
            self._console.print(Text(f"  → presented before, as the {_words(answer.same_as)}", style="yellow"))
        for reason in answer.reasons:
            self._console.print(Text(f"  → {reason.text(self._locale)}", style="yellow"))

    def fail(self, error: BiometrikError) -> None:
        """Say what did not work, and show nothing any more."""
        if self._preview is not None:
            self._preview.clear()
        self._console.print(Text.assemble("  ", (error.reason, "bold red"), f" {error}"), soft_wrap=True)

    def choose(self, trait: Trait, choices: Sequence[Choice]) -> Choice:
        """Ask until the answer is one of the choices, or begins like one."""
        words = [choice.value for choice in choices]
        while True:
            said = typer.prompt(f"  {_words(trait)}: {', '.join(words)}", err=True).strip().lower()
            for choice in choices:
                if said and choice.value.startswith(said):
                    return choice

    def ask(self, question: str) -> str:
        """Ask for words; none is an answer."""
        return str(typer.prompt(f"  {question}", default="", show_default=False, err=True)).strip()


def finalized(console: Console, value: Finalized | Kept) -> None:
    """Show an enrolment's answer, trait by trait."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for state in value.traits:
        basis = "" if state.basis is None else state.basis.value.lower().replace("_", " ")
        table.add_row(_words(state.trait), Text(state.standing.value, style=_STYLES[state.standing]), Text(basis))
    console.print(table)
    if isinstance(value, Kept):
        line = f" {value.subject_id}: the service is away; biometrik station forward sends it"
        console.print(Text.assemble(("KEPT", "bold yellow"), line))
        return
    enrollment = value.enrollment
    if enrollment.outcome is EnrollmentOutcome.ENROLLED:
        line = f" {enrollment.subject_id}: encounter {enrollment.encounter_id} with {enrollment.templates} template(s)"
        console.print(Text.assemble((enrollment.outcome.value, "bold green"), line))
    else:
        line = f" {enrollment.subject_id}: nothing was stored"
        console.print(Text.assemble((enrollment.outcome.value.replace("_", " "), "bold yellow"), line))
    if enrollment.search is not None and enrollment.search.candidates:
        suspects = ", ".join(candidate.subject_id for candidate in enrollment.search.candidates)
        console.print(Text(f"enrolled as well, it seems, as {suspects}", style="yellow"))


def _words(trait: Trait) -> str:
    return trait.name.replace("_", " ")
