"""Encounters into the tables: those of one group together, a table after another."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

from biometrik.gallery import answers, tables
from biometrik.gallery.records import Change, Declined, Draft, EventKind, listed
from biometrik.types import Encounter


def enroll(connection: sqlite3.Connection, drafts: Sequence[Draft]) -> list[Change | Declined]:
    """Store encounters, creating the subjects that are new, and return the answer of each: of a repeat, the first one.

    Raises
    ------
    TransactionConflictError
        A transaction id was used with another request.
    GalleryNotFoundError
        A gallery is unknown.
    StoreDamagedError
        A row that was read is damaged.
    """
    ids = [draft.transaction.id for draft in drafts if draft.transaction.id]
    if len(set(ids)) < len(ids):  # some repeat others among them, which must be answered first
        return [answer for draft in drafts for answer in enroll(connection, [draft])]
    first = tables.remembered(connection, [draft.transaction for draft in drafts])
    written = iter(_write(connection, [draft for draft in drafts if draft.transaction.id not in first]))
    return [
        answers.enrolment(first[draft.transaction.id]) if draft.transaction.id in first else next(written)
        for draft in drafts
    ]


def _write(connection: sqlite3.Connection, drafts: Sequence[Draft]) -> list[Change]:
    # A statement for each table and not for each row: SQLite takes the rows of a group three times as fast.
    if not drafts:
        return []
    encounters = [draft.encounter for draft in drafts]
    _add_subjects(connection, encounters)
    number = tables.next_number(connection, "encounters")
    numbers = range(number, number + len(drafts))
    rows = [tables.encounter_row(*row) for row in zip(numbers, encounters, strict=True)]
    tables.insert_all(connection, "encounters", rows)
    tables.join_all(connection, [(n, own.galleries) for n, own in zip(numbers, encounters, strict=True)])
    tables.keep_templates(
        connection,
        [
            (n, ordinal, data)
            for n, draft in zip(numbers, drafts, strict=True)
            for ordinal, data in enumerate(draft.templates)
        ],
    )
    event = tables.record_all(connection, EventKind.ENROLLED, [_event(draft) for draft in drafts])
    changes = [
        Change(sequence, n, draft.encounter, draft.new.note)
        for sequence, (n, draft) in enumerate(zip(numbers, drafts, strict=True), start=event)
    ]
    tables.remember(
        connection,
        [(draft.transaction, answers.as_json(change)) for draft, change in zip(drafts, changes, strict=True)],
    )
    return changes


def _add_subjects(connection: sqlite3.Connection, encounters: Sequence[Encounter]) -> None:
    first: dict[str, Encounter] = {}
    for encounter in encounters:
        first.setdefault(encounter.subject_id, encounter)
    for subject_id, *_ in tables.among(connection, "subjects", "subject_id", list(first)):
        del first[subject_id]
    rows = [(subject_id, tables.text(encounter.created_at)) for subject_id, encounter in first.items()]
    tables.insert_all(connection, "subjects", rows)


def _event(draft: Draft) -> tuple[datetime, Mapping[str, str], str, str]:
    own = {"galleries": listed(draft.encounter.galleries), "templates": str(draft.encounter.templates)}
    encounter = draft.encounter
    return encounter.created_at, {**draft.new.details, **own}, encounter.subject_id, encounter.encounter_id
