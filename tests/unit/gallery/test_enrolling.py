"""Encounters written together are those that would be written one by one."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.errors import GalleryNotFoundError, StoreDamagedError, TransactionConflictError
from biometrik.features import Features
from biometrik.gallery import tables
from biometrik.gallery.database import Database
from biometrik.gallery.enrolling import enroll
from biometrik.gallery.records import DEFAULT_GALLERY, Change, Draft, NewEncounter
from biometrik.gallery.schema import SCHEMA
from biometrik.types import GalleryInfo, GalleryKind, MissingReason, MissingSample, Modality, Template

_TABLES = (
    "subjects",
    "encounters",
    "encounter_galleries",
    "templates",
    "encounter_templates",
    "free_slots",
    "events",
    "transactions",
)
_AT = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
_FACE = Template(Modality.FACE, "test@1", b"abcd")
_FINGER = Template(Modality.FINGER, "test@1", b"efgh", 7)
_numbers = count()


def _draft(subject_id: str, **more: Any) -> Draft:
    templates = more.pop("templates", (_FACE,))
    new = NewEncounter(subject_id, templates, **more)
    number = next(_numbers)
    encounter = new.encounter(f"{number:032x}", _AT.replace(microsecond=number % 1_000_000))
    return Draft(new, new.transaction, encounter, tuple(template.to_bytes() for template in templates), Features())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "office.db", SCHEMA)
    yield opened
    opened.close()


def _content(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in _TABLES}


def _encounters(database: Database) -> list[tuple[Any, ...]]:
    with database.reading() as connection:
        return _content(connection)["encounters"]


_COIN = st.sampled_from([True, False])
_MISSING = MissingSample(1, MissingReason.BANDAGED)


@st.composite
def _groups(draw: st.DrawFn) -> list[list[Draft]]:
    """Draw groups of encounters, of few people; some repeat one that is in the same group or in an earlier one."""
    given: list[Draft] = []
    groups: list[list[Draft]] = [[] for _ in range(draw(st.integers(1, 3)))]
    for group in groups:
        for _ in range(draw(st.integers(0, 6))):
            if draw(_COIN) and given:
                group.append(draw(st.sampled_from(given)))
                continue
            transaction_id = f"t-{len(given)}" if draw(_COIN) else ""
            group.append(
                _draft(
                    draw(st.sampled_from(["A", "B", "\u00c7'\"\\"])),
                    templates=tuple(draw(st.lists(st.sampled_from([_FACE, _FINGER]), min_size=1, max_size=3))),
                    galleries=draw(st.sampled_from([(), ("default",)])),
                    details=draw(st.sampled_from([{}, {"station_ref": "gate 4"}])),
                    missing=draw(st.sampled_from([(), (_MISSING,)])),
                    note=draw(st.sampled_from(["", "seen"])),
                    transaction_id=transaction_id,
                )
            )
            given += [group[-1]] if transaction_id else []
    return groups


def _in_memory(free_slots: int) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA.script)
    connection.execute("PRAGMA foreign_keys=ON")
    tables.insert_gallery(connection, GalleryInfo(DEFAULT_GALLERY, GalleryKind.POPULATION, _AT, 0, 0))
    room = len(_FACE.to_bytes())
    for slot in range(1, 1 + free_slots):  # of templates that were erased
        connection.execute("INSERT INTO templates VALUES (?, zeroblob(?))", (slot, room))
        tables.insert(connection, "free_slots", (slot, room))
    return connection


@settings(max_examples=50, deadline=None)
@given(groups=_groups(), free_slots=st.integers(0, 3))
def test_a_group_leaves_what_its_encounters_leave_one_by_one(
    groups: Sequence[Sequence[Draft]], free_slots: int
) -> None:
    with closing(_in_memory(free_slots)) as together, closing(_in_memory(free_slots)) as alone:
        for group in groups:
            assert enroll(together, group) == [enroll(alone, [draft])[0] for draft in group]
        assert _content(together) == _content(alone)


def test_a_repeat_within_a_group_gets_the_first_answer(database: Database) -> None:
    first, other = _draft("A", transaction_id="t"), _draft("B", transaction_id="u")
    repeat = _draft("A", transaction_id="t")
    answers = database.write(partial(enroll, drafts=[first, other, repeat]))
    assert answers[2] == answers[0] != answers[1]
    assert len(_encounters(database)) == 2
    assert database.write(partial(enroll, drafts=[repeat])) == answers[:1]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"subject_id": "B", "transaction_id": "t"}, TransactionConflictError),
        ({"subject_id": "B", "galleries": ("nowhere",)}, GalleryNotFoundError),
    ],
)
def test_one_that_is_refused_leaves_the_others_their_numbers(
    database: Database, bad: dict[str, Any], error: type[Exception]
) -> None:
    drafts = [_draft("A", transaction_id="t"), _draft(**bad), _draft("C")]
    with pytest.raises(error):
        database.write(partial(enroll, drafts=drafts))
    assert not _encounters(database)
    with ThreadPoolExecutor(4) as pool:
        with database.quiet():
            waiting = []
            for draft in drafts:
                waiting.append(pool.submit(database.write_with_others, draft, enroll, lambda _: None))
                while len(database._writes._waiting) < len(waiting):
                    time.sleep(0.001)
        stored = [waiting[0].result(timeout=30), waiting[2].result(timeout=30)]
        with pytest.raises(error):
            waiting[1].result(timeout=30)
    assert [(made.event, made.number) for made in stored if isinstance(made, Change)] == [(2, 1), (3, 2)]
    assert [row[2] for row in _encounters(database)] == ["A", "C"]


def test_a_damaged_subject_is_not_given_another_encounter(database: Database) -> None:
    database.write(partial(enroll, drafts=[_draft("A")]))
    database.write(lambda connection: connection.execute("UPDATE subjects SET created_at = 'then'"))
    with pytest.raises(StoreDamagedError, match="subjects"):
        database.write(partial(enroll, drafts=[_draft("A"), _draft("B")]))
    assert len(_encounters(database)) == 1


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 31, 37])
def test_rows_of_any_number_come_back_in_their_order(size: int) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, crc INTEGER)")
        rows = [(n, f"row {n}") for n in range(size)]
        tables.insert_all(connection, "t", rows)
        assert tables.rows(connection, "t") == rows
