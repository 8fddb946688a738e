"""A template's bytes are at one place of one file until its subject is erased, and then at none."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from biometrik.errors import StoreDamagedError
from biometrik.gallery import tables
from biometrik.gallery.database_file import write_schema
from biometrik.gallery.schema import SCHEMA
from biometrik.types import Encounter, EncounterStatus

#: Bytes of sealed templates: of one size, as of faces; of several, as of prints; and such as fill more than a page.
SIZES = {"faces": (100,), "prints": (90, 100, 110, 400), "large": (100, 5000)}


class _Office:
    """The tables in memory, as SQLite would write them into a file, and who is in them."""

    def __init__(self, seed: int, sizes: Sequence[int]) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("PRAGMA secure_delete=ON").fetchall()
        write_schema(self.connection, SCHEMA)
        self.rng = random.Random(seed)
        self._sizes = sizes
        self._number = 0
        self.living: dict[str, list[bytes]] = {}
        self.erased: list[bytes] = []

    def enroll(self) -> None:
        self._number += 1
        subject_id = f"A-{self._number}"
        at = datetime(2026, 1, 1, tzinfo=UTC)
        encounter = Encounter(f"e-{self._number}", subject_id, EncounterStatus.ACTIVE, (), at, 2)
        tables.insert(self.connection, "subjects", (subject_id, tables.text(at)))
        tables.insert(self.connection, "encounters", tables.encounter_row(self._number, encounter))
        self.living[subject_id] = [self.rng.randbytes(self.rng.choice(self._sizes)) for _ in range(2)]
        for ordinal, sealed in enumerate(self.living[subject_id]):
            tables.keep_templates(self.connection, [(self._number, ordinal, sealed)])

    def erase(self) -> None:
        subject_id = self.rng.choice(sorted(self.living))
        assert tables.erase_templates(self.connection, subject_id) == 2
        self.connection.execute("DELETE FROM encounters WHERE subject_id = ?", (subject_id,))
        self.connection.execute("DELETE FROM subjects WHERE subject_id = ?", (subject_id,))
        self.erased += self.living.pop(subject_id)

    def copies(self, templates: Sequence[bytes]) -> set[int]:
        """Return how often the first, middle and last 16 bytes of these are in the file; some go across two pages."""
        raw = self.connection.serialize()
        return {raw.count(data[at : at + 16]) for data in templates for at in (0, len(data) // 2, len(data) - 16)}

    def count(self, table: str) -> int:
        (rows,) = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(rows)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(sorted(SIZES)), st.integers(0, 2**32 - 1))
@example("faces", 4)  # these four find copies where rows are deleted instead
@example("faces", 5)
@example("prints", 4)
@example("prints", 7)
def test_every_template_is_at_one_place_and_the_erased_are_at_none(sizes: str, seed: int) -> None:
    office = _Office(seed, SIZES[sizes])
    with closing(office.connection):
        for _ in range(4):
            for _ in range(60):
                office.enroll()
            for _ in range(50):
                office.erase()
        assert office.copies(office.erased) == {0}
        assert office.copies([sealed for own in office.living.values() for sealed in own]) <= {0, 1}
        found = tables.sealed(office.connection, "TRUE", ())
        assert {one.encounter.subject_id: list(one.templates) for one in found} == office.living
        assert office.count("templates") == 2 * len(office.living) + office.count("free_slots")


def test_slots_of_the_erased_are_taken_again_so_that_the_file_does_not_grow() -> None:
    office = _Office(1, SIZES["faces"])
    with closing(office.connection):
        for _ in range(30):
            office.enroll()
        for _ in range(200):
            office.erase()
            office.enroll()
        assert (office.count("templates"), office.count("free_slots")) == (60, 0)


@pytest.mark.parametrize(
    ("size", "taken"), [(79, False), (88, False), (89, True), (99, True), (100, True), (101, False)]
)
def test_a_slot_is_taken_by_what_fills_it_well(size: int, taken: bool) -> None:
    office = _Office(1, [100])
    with closing(office.connection):
        office.enroll()
        office.erase()
        office._sizes = [size]
        office.enroll()
        assert (office.count("templates"), office.count("free_slots")) == ((2, 0) if taken else (4, 2))
        (found,) = tables.sealed(office.connection, "TRUE", ())
        assert list(found.templates) == office.living["A-2"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM templates",
        "UPDATE templates SET sealed = zeroblob(99)",
        "UPDATE templates SET slot = slot + 10",
    ],
)
def test_nothing_moves_a_row_with_a_template(statement: str) -> None:
    office = _Office(1, [100])
    with closing(office.connection):
        office.enroll()
        with pytest.raises(sqlite3.IntegrityError, match="templates: rows"):
            office.connection.execute(statement)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE encounter_templates SET slot = 4 WHERE slot = 2",  # somebody else's
        "UPDATE encounter_templates SET slot = 99 WHERE slot = 2",  # nobody's
        "DELETE FROM encounter_templates WHERE slot = 2",
    ],
)
def test_damage_leaves_nothing_of_the_erased_and_costs_nobody_else_a_template(damage: str) -> None:
    office = _Office(1, [100])
    with closing(office.connection):
        for _ in range(4):
            office.enroll()
        office.connection.execute(damage)
        tables.erase_templates(office.connection, "A-1")
        assert office.copies(office.living.pop("A-1")) == {0}
        found = tables.sealed(office.connection, "subject_id <> 'A-1'", ())
        assert {one.encounter.subject_id: list(one.templates) for one in found} == office.living
        assert office.count("free_slots") == 2


@pytest.mark.parametrize("damage", ["slot = slot + 10", "room_bytes = 101"])
def test_a_damaged_free_slot_is_named_and_not_taken(damage: str) -> None:
    office = _Office(1, [100])
    with closing(office.connection):
        office.enroll()
        office.enroll()
        office.erase()
        office.connection.execute(f"UPDATE free_slots SET {damage} WHERE slot = (SELECT min(slot) FROM free_slots)")
        with pytest.raises(StoreDamagedError, match="free_slots"):
            office.enroll()
