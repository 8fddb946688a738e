"""The run of an import: plans to records, records to outcomes, outcomes to the report."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from biometrik.bulk import ImportRecord
from biometrik.cli.import_plans import Fault, Plan, Planned, Terms
from biometrik.cli.import_reading import Reader, ahead
from biometrik.cli.import_report import FAILED, READABLE, UNREADABLE, Report
from biometrik.errors import (
    BiometrikError,
    EngineStateError,
    InvalidInputError,
    ModelError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    StoreDamagedError,
    StoreUnavailableError,
)
from biometrik.samples import UnreadableSample
from biometrik.types import Enrollment, EnrollmentOutcome, GalleryKind

if TYPE_CHECKING:
    from biometrik.cli.biometrics import Biometrics

#: Told how many units are done.
Advance = Callable[[int], None]
#: Failures that are not one record's: all that follow would fail the same way.
_ENDS: Final = (
    *(ModelError, EngineStateError, ServiceUnavailableError, ServiceTimeoutError),
    *(StoreDamagedError, StoreUnavailableError),
)
#: Records that went wrong and are shown at the end; the report has all.
_MAX_EXAMPLES: Final = 5
_MAX_MESSAGE: Final = 500


class Import:
    """One run.

    Parameters
    ----------
    reader : Reader
        Opens what plans name.
    report : Report
        Takes every outcome.
    advance : callable
        Told of progress.

    Attributes
    ----------
    examples : list of (str, str)
        The first records that went wrong, and why.
    """

    def __init__(self, reader: Reader, report: Report, advance: Advance) -> None:
        self.examples: list[tuple[str, str]] = []
        self._reader = reader
        self._report = report
        self._advance = advance
        self._numbers = itertools.count()

    def check(self, plans: Iterable[Planned]) -> None:
        """Read everything and enrol nothing."""
        for plan, record in self._read(plans, skip=False):
            faults = [sample.detail for sample in record.samples if isinstance(sample, UnreadableSample)]
            said = "; ".join(faults)
            self._add(plan, record.context.transaction_id, UNREADABLE if faults else READABLE, said)

    def enroll(self, plans: Iterable[Planned], engine: "Biometrics", *, create_galleries: bool) -> None:
        """Enrol what is read, but for what is done already.

        Raises
        ------
        BiometrikError
            Something failed that is not one record's fault: the disk, the models, the service. Run it again then.
        """
        waiting: dict[str, tuple[Plan, str]] = {}

        def records() -> Iterator[ImportRecord]:
            ready = self._with_galleries(plans, engine) if create_galleries else plans
            for plan, record in self._read(ready, skip=True):
                waiting[record.tag] = plan, record.context.transaction_id
                yield record

        for tag, outcome in engine.import_encounters(records()):
            plan, transaction = waiting.pop(tag)
            if isinstance(outcome, Enrollment):
                self._enrolled(plan, transaction, outcome)
                continue
            self._failed(plan, transaction, outcome)
            if isinstance(outcome, _ENDS):
                raise outcome

    def _with_galleries(self, plans: Iterable[Planned], engine: "Biometrics") -> Iterator[Planned]:
        existing = {gallery.name for gallery in engine.galleries()}
        for plan in plans:
            if isinstance(plan, Terms) and plan.gallery not in existing:
                try:
                    kind = _kind(plan.kind)
                    engine.create_gallery(
                        plan.gallery, kind, legal_basis=plan.legal_basis, retention_days=plan.retention_days
                    )
                except BiometrikError as error:
                    yield Fault(plan.name, plan.units, error)
                    continue
                existing.add(plan.gallery)
            yield plan

    def _read(self, plans: Iterable[Planned], *, skip: bool) -> Iterator[tuple[Plan, ImportRecord]]:
        # What need not, or cannot, be enrolled is said here.
        def load(plan: Planned) -> tuple[Planned, ImportRecord | BiometrikError | None]:
            if not isinstance(plan, Plan) or (skip and self._report.has(plan.transaction)):
                return plan, None
            try:
                record = self._reader.record(str(next(self._numbers)), plan)
            except BiometrikError as error:
                return plan, error
            return plan, None if skip and self._report.has(record.context.transaction_id) else record

        for plan, made in ahead(load, plans):
            if isinstance(plan, Fault):
                self._failed(plan, "", plan.error)
            elif isinstance(plan, Terms):
                self._advance(plan.units)
            elif isinstance(made, ImportRecord):
                yield plan, made
            elif made is not None:
                self._failed(plan, plan.transaction, made)
            else:
                self._report.skip()
                self._advance(plan.units)

    def _enrolled(self, plan: Plan, transaction: str, outcome: Enrollment) -> None:
        spoken = [
            {
                "sample": report.position,
                "trait": report.trait.name,
                "reasons": [reason.value for reason in report.reasons],
            }
            for report in outcome.samples
            if report.reasons
        ]
        said = ", ".join(dict.fromkeys(reason.value for report in outcome.samples for reason in report.reasons))
        self._add(
            plan,
            transaction,
            outcome.outcome.value,
            "" if outcome.outcome is EnrollmentOutcome.ENROLLED else said,
            encounter_id=outcome.encounter_id,
            templates=outcome.templates,
            samples=spoken,
        )

    def _failed(self, plan: Plan | Fault, transaction: str, error: BiometrikError) -> None:
        self._add(plan, transaction, FAILED, f"{error.reason}: {error}", reason=error.reason)

    def _add(self, plan: Plan | Fault, transaction: str, outcome: str, message: str, **said: object) -> None:
        if message:
            said["message"] = message[:_MAX_MESSAGE]
            if len(self.examples) < _MAX_EXAMPLES:
                self.examples.append((plan.name, message[:_MAX_MESSAGE]))
        self._report.add(plan.name, plan.subject, transaction, outcome, **said)
        self._advance(plan.units)


@contextmanager
def shown(units: int, *, quiet: bool) -> Iterator[Advance]:
    """Show progress and the time that is left on standard error; gives what is told of it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("importing", total=units)
        yield lambda more: progress.advance(task, more)


def _kind(word: str) -> GalleryKind:
    try:
        return GalleryKind(word)
    except ValueError:
        known = ", ".join(kind.value for kind in GalleryKind)
        raise InvalidInputError(f"kind: expected one of {known}, got another") from None
