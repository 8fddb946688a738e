"""Many encounters at once: what one record of an import is, and how many are worked on side by side."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from biometrik.errors import BiometrikError, InvalidInputError
from biometrik.samples import PreparedSample, Sample
from biometrik.types import Encounter, Enrollment, MissingSample, RequestContext, Template

#: Groups of records before the models at once: what a model run does on a single core leaves the others to the second.
GROUPS: Final = 2
#: Most records of a group, and records that are stored at once: these wait for a disk, which can take several together.
RECORDS_PER_GROUP: Final = 16
WRITERS: Final = 16
#: Most characters of a record's tag, the contract's bound on what clients choose.
MAX_TAG: Final = 128


@dataclass(frozen=True, slots=True, eq=False)
class ImportRecord:
    """One encounter of an import.

    Parameters
    ----------
    tag : str
        The caller's own name of the record, at most 128 characters; it comes back with the outcome.
    subject_id : str
        The caller's opaque id, 1..128 printable characters.
    samples : sequence of FaceImage, FingerprintImage, Template or UnreadableSample
        Of this person.
    context : RequestContext
        Its transaction id, which must be there, is what lets an import that broke off be run again: what was stored
        under it is not stored twice.
    missing, galleries, override
        As for :meth:`biometrik.Engine.enroll`.

    Raises
    ------
    InvalidInputError
        There is no transaction id, or the tag is too long.
    """

    tag: str
    subject_id: str
    samples: Sequence[Sample] = field(repr=False)
    context: RequestContext
    missing: Sequence[MissingSample] = ()
    galleries: Sequence[str] | None = None
    override: str = ""

    def __post_init__(self) -> None:
        if len(self.tag) > MAX_TAG:
            raise InvalidInputError(f"tag: expected at most {MAX_TAG} characters, got {len(self.tag)}")
        require_transaction(self.context)


#: A record's tag, and what became of it.
Imported: TypeAlias = tuple[str, Enrollment | BiometrikError]
#: A record, and its samples as far as they have been through the models.
Prepared: TypeAlias = tuple[ImportRecord, Sequence[Sample | PreparedSample]]


@dataclass(frozen=True, slots=True)
class ExportedEncounter:
    """One encounter of an export.

    Parameters
    ----------
    encounter : Encounter
        As it is stored.
    templates : tuple of Template
        All of it, of any modality and model contract.
    """

    encounter: Encounter
    templates: tuple[Template, ...] = field(repr=False)


def require_transaction(context: RequestContext) -> None:
    """Raise InvalidInputError for a record that could not be sent again without being stored twice."""
    if not context.transaction_id:
        raise InvalidInputError(
            "transaction_id: expected one for each record of an import, got none; without it the import could not be"
            " run again"
        )


def imported(
    records: Iterable[ImportRecord],
    prepare: Callable[[Sequence[ImportRecord]], Sequence[Prepared]],
    store: Callable[[ImportRecord, Sequence[Sample | PreparedSample]], Imported],
    *,
    images_per_group: int,
) -> Iterator[Imported]:
    """Yield what becomes of records, as it is known, in any order.

    Parameters
    ----------
    records : iterable of ImportRecord
        Read on the thread that asks for the outcomes, as there is room: not while three groups of them are before the
        models, or as many records as there are writers before the store. What the iterable raises is raised when all
        that was read of it is answered.
    prepare : callable
        Takes a group's samples through the models; called on several threads at once.
    store : callable
        Enrols one of them; likewise.
    images_per_group : int
        Most samples of a group that need a model, unless one record alone has more.
    """
    groups = _groups(iter(records), images_per_group)
    preparing: set[Future[Sequence[Prepared]]] = set()
    storing: set[Future[Imported]] = set()
    more, broken = True, None
    with ThreadPoolExecutor(GROUPS, "models") as models, ThreadPoolExecutor(WRITERS, "writer") as writers:
        try:
            while more or preparing or storing:
                while more and len(preparing) <= GROUPS and len(storing) < WRITERS:
                    try:
                        group = next(groups, None)
                    except Exception as error:
                        group, broken = None, error
                    more = group is not None
                    if group is not None:
                        preparing.add(models.submit(prepare, group))
                under_way: list[Future[Any]] = [*preparing, *storing]
                wait(under_way, return_when=FIRST_COMPLETED)
                for group_done in [future for future in preparing if future.done()]:
                    preparing.discard(group_done)
                    storing |= {writers.submit(store, *row) for row in group_done.result()}
                for stored in [future for future in storing if future.done()]:
                    storing.discard(stored)
                    yield stored.result()
        finally:  # given up: what has not begun is not done
            for pool in (models, writers):
                pool.shutdown(wait=False, cancel_futures=True)
    if broken is not None:
        raise broken


def _groups(records: Iterator[ImportRecord], images: int) -> Iterator[list[ImportRecord]]:
    group: list[ImportRecord] = []
    held = 0
    while True:
        try:
            record = next(records, None)
        except Exception:
            if group:
                yield group
            raise
        if record is None:
            break
        size = sum(not isinstance(sample, Template) for sample in record.samples)
        if group and (held + size > images or len(group) == RECORDS_PER_GROUP):
            yield group
            group, held = [], 0
        group.append(record)
        held += size
    if group:
        yield group
