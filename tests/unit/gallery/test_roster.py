"""The roster against a dict of tuples: any history of additions and removals, also with hashes that collide."""

import itertools
import mmap
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.errors import InvalidInputError
from biometrik.gallery import roster as module
from biometrik.gallery import subject_table
from biometrik.gallery.roster import MAX_NUMBER, PAGE, Roster, packed, unpacked

_UUID = str(uuid.UUID(int=0x1234_5678_9ABC))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 5, PAGE - 1, PAGE, PAGE + 1, 9 * PAGE]), st.sampled_from(["A", "AB", "é", _UUID])
        ),
        max_size=40,
    ),
    mask=st.sampled_from([0, 3, module._HASH]),
)
def test_it_is_a_dict(steps: list[tuple[int, str]], mask: int) -> None:
    roster = Roster()
    model: dict[int, tuple[str, str]] = {}
    with pytest.MonkeyPatch.context() as patch:  # few hashes, so that other subjects' are met
        patch.setattr(module, "_HASH", mask)
        for step, (number, subject_id) in enumerate(steps):
            if number in model:
                roster.remove(number)
                del model[number]
            else:
                model[number] = (subject_id, f"e{step}")
                roster.add(number, *model[number], 1 + step)
            _assert_same(roster, model)


def _assert_same(roster: Roster, model: dict[int, tuple[str, str]]) -> None:
    assert len(roster) == len(model)
    assert np.flatnonzero(roster.kinds).tolist() == sorted(model)
    assert {number: roster.texts(number) for number in model} == model
    people = {subject_id for subject_id, _ in model.values()}
    assert roster.subjects == len(people)
    for subject_id in (*people, "nobody"):
        assert roster.of_subject(subject_id) == sorted(n for n, texts in model.items() if texts[0] == subject_id)
    for chosen in (roster.kinds > 0, roster.kinds > 5):
        own = {model[number][0] for number in np.flatnonzero(chosen).tolist()}
        assert roster.subjects_among(chosen) == len(own)


@pytest.mark.parametrize("moved", [3, subject_table._MOVED])
def test_it_grows_and_empties(moved: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject_table, "_MOVED", moved)
    monkeypatch.setattr(subject_table, "_MOVED_PER_SUBJECT", 0)
    roster = Roster()
    for number in range(5000):
        roster.add(number, f"S-{number // 2}", f"e{number}", 1)
        if number % 10 == 9:  # also while some are still in the smaller table
            for gone in (number - 9, number // 2, number):
                if gone in roster:
                    roster.remove(gone)
            assert roster.of_subject(f"S-{number // 2}") == [number - 1]
    for number in range(5000):
        if number not in roster:
            roster.add(number, f"S-{number // 2}", f"e{number}", 1)
    assert roster.subjects == 2500
    for number in rng.permutation(5000).tolist():
        assert number in roster.of_subject(f"S-{number // 2}")
        roster.remove(number)
    assert (len(roster), roster.subjects) == (0, 0)
    assert not any(roster._pages), "texts of who was removed are gone"
    assert not roster._table._places.any()
    assert not roster._table._before.any()


def test_large_arrays_are_never_copied_again() -> None:
    roster = Roster()
    roster.add(0, "A", "e0", 1)
    roster.add(module._MOST_COPIED, "A", "e1", 1)
    arrays = [roster._kind, roster._next, roster._at, roster._hash]
    roster.add(20 * module._MOST_COPIED, "A", "e2", 1)
    for array, now in zip(arrays, (roster._kind, roster._next, roster._at, roster._hash), strict=True):
        assert now is array
        assert len(array) == MAX_NUMBER + 1
    _assert_same(roster, {module._MOST_COPIED * n: ("A", f"e{at}") for at, n in enumerate((0, 1, 20))})
    roster.add(5, "B", "e3", 2**16)  # more kinds than 16 bits hold
    assert np.flatnonzero(roster.kinds).tolist() == [0, 5, module._MOST_COPIED, 20 * module._MOST_COPIED]
    assert roster.kinds[[0, 5]].tolist() == [1, 2**16]
    roster.add(20 * module._MOST_COPIED + 1, "B", "e4", 2**16)
    assert len(roster.kinds) == 20 * module._MOST_COPIED + 2


@pytest.mark.parametrize("given", [0, 1, 2, 3])
def test_where_addresses_are_limited_it_doubles(given: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = mmap.mmap, itertools.count()

    def limited(*arguments: Any, **options: Any) -> mmap.mmap:
        if next(asked) >= given:
            raise OSError(12, "Cannot allocate memory")
        return real(*arguments, **options)

    monkeypatch.setattr(mmap, "mmap", limited)
    monkeypatch.setattr(module, "_MOST_COPIED", 1500)
    roster = Roster()
    model = {}
    for step, number in enumerate([7, 999, 1000, 1600, 1999, 2000, 5000, 3, 70_000, 4999, 69_999]):
        model[number] = (f"S-{step % 3}", f"e{step}")
        roster.add(number, *model[number], 2**16 if number == 70_000 else 9)
        _assert_same(roster, model)
    for number in (999, 5000, 70_000):
        roster.remove(number)
        del model[number]
        _assert_same(roster, model)


@given(st.text(max_size=300) | st.uuids().map(str) | st.uuids().map(lambda value: value.hex))
def test_texts_come_back(text: str) -> None:
    data = b"before" + packed(text)
    assert unpacked(data + b"behind", 6) == (text, len(data))
    for stop in range(6, len(data), 37):
        with pytest.raises((IndexError, ValueError)):
            assert unpacked(data[:stop], 6)[1] <= stop


def test_ids_of_16_bytes_take_17() -> None:
    assert len(packed(_UUID)) == len(packed(uuid.UUID(_UUID).hex)) == 17
    assert packed(_UUID) != packed(uuid.UUID(_UUID).hex)
    assert len(packed(_UUID.upper())) == 37  # another text, though the same UUID


def test_numbers_have_an_end() -> None:
    for number in (-1, MAX_NUMBER + 1):
        assert number not in Roster()
        with pytest.raises(InvalidInputError, match="number"):
            Roster().add(number, "A", "e", 1)


def test_a_warm_roster_compiles_nothing_more() -> None:
    tables = (subject_table._next_place, subject_table._move, subject_table._enter, subject_table._vacate)
    kernels: list[Any] = [*tables, module._rings]
    module.warm_up()
    assert all(len(kernel.signatures) == 1 for kernel in kernels)
    model = Roster()
    for number in range(100):
        model.add(number, f"A-{number}", "e", 1)
    model.subjects_among(model.kinds > 0)
    model.remove(3)
    assert all(len(kernel.signatures) == 1 for kernel in kernels)
