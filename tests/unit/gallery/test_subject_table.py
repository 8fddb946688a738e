"""The table of subjects against a dict: hashes that collide or are neighbours, written to while it grows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.gallery import subject_table as module
from biometrik.gallery.subject_table import SubjectTable

_HIGHEST = 2**32 - 1
_PLACE = 2**26  # hashes that want one place of the least table, 64
#: Both ends, so that clusters wrap around; edges of places of this table and of the next; and one place in the middle.
_HASHES = [
    *(0, 1, _PLACE // 2 - 1, _PLACE // 2, _PLACE - 1, _PLACE, 2 * _PLACE),
    *(31 * _PLACE, 32 * _PLACE - 1, 32 * _PLACE),
    *(_HIGHEST - 2 * _PLACE, _HIGHEST - _PLACE, _HIGHEST - _PLACE // 2, _HIGHEST - 1, _HIGHEST),
]
_hashes = st.sampled_from(_HASHES) | st.integers(0, _HIGHEST)
#: What comes at a time; or where in the order of coming somebody is who goes, or is known by another number.
_steps = st.one_of(
    st.tuples(st.just("come"), st.lists(_hashes, min_size=1, max_size=12)),
    st.tuples(st.just("enter"), st.lists(_hashes, min_size=1, max_size=12)),
    st.tuples(st.just("go"), st.lists(st.integers(0, 200), max_size=8)),
    st.tuples(st.just("renumber"), st.lists(st.integers(0, 200), max_size=8)),
)


class _People:
    """A table beside its model: subjects are numbers of their own, and several have the same hash."""

    def __init__(self) -> None:
        self.table = SubjectTable()
        self.hashes = np.zeros(4000, dtype=np.uint32)  # by number
        self.subject_of: dict[int, int] = {}  # by number, also of those that are no longer in the table
        self.number_of: dict[int, int] = {}  # by subject: the model
        self.hash_of: dict[int, int] = {}

    def named(self, subject: int, hashed: int) -> int:
        number = len(self.subject_of)
        self.subject_of[number], self.hash_of[subject], self.hashes[number] = subject, hashed, hashed
        return number

    def seat(self, subject: int) -> module.Seat:
        return self.table.seat(self.hash_of[subject], self.hashes, lambda number: self.subject_of[number] == subject)

    def come(self, hashes: list[int]) -> None:
        for hashed in hashes:
            self.table.make_room(1, self.hashes)
            self._put(len(self.hash_of), hashed)
            self.assert_same()

    def enter(self, hashes: list[int]) -> None:
        self.table.make_room(len(hashes), self.hashes)
        known = {self.hash_of[subject] for subject in self.number_of}
        subjects = range(len(self.hash_of), len(self.hash_of) + len(hashes))
        numbers = [self.named(subject, hashed) for subject, hashed in zip(subjects, hashes, strict=True)]
        met = self.table.enter(np.array(numbers, dtype=np.int64), self.hashes)
        expected = [hashed in known or hashed in hashes[:n] for n, hashed in enumerate(hashes)]
        assert met.tolist() == expected
        for subject, number, other in zip(subjects, numbers, expected, strict=True):
            if other:  # as the roster does: it looks at the texts and finds somebody else
                seat = self.seat(subject)
                assert seat.number == -1
                self.table.put(seat, number)
            self.number_of[subject] = number
        self.assert_same()

    def go(self, subject: int) -> None:
        self.table.clear(self.seat(subject), self.hashes)
        del self.number_of[subject]
        self.assert_same()

    def renumber(self, subject: int) -> None:
        self._put(subject, self.hash_of[subject])
        self.assert_same()

    def _put(self, subject: int, hashed: int) -> None:
        number = self.named(subject, hashed)
        self.table.put(self.seat(subject), number)
        self.number_of[subject] = number

    def assert_same(self) -> None:
        assert len(self.table) == len(self.number_of)
        places = np.concatenate([self.table._places, self.table._before])
        assert sorted((places[places > 0] - 1).tolist()) == sorted(self.number_of.values()), "each once, and no other"
        assert not self.table._before[: self.table._moved].any()
        for subject in self.hash_of:
            assert self.seat(subject).number == self.number_of.get(subject, -1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(first=st.lists(_hashes, min_size=30, max_size=50), steps=st.lists(_steps, max_size=12))
@pytest.mark.parametrize("moved", [1, 5, 40])
def test_it_is_a_dict_while_it_grows(moved: int, first: list[int], steps: list[tuple[str, list[int]]]) -> None:
    people = _People()
    with pytest.MonkeyPatch.context() as patch:  # small portions, so that a growth lasts
        patch.setattr(module, "_MOVED", moved)
        patch.setattr(module, "_MOVED_PER_SUBJECT", 0)
        people.enter(first)  # somewhat below or above the 40 that the least table takes
        for act, values in steps:
            if act == "come":
                people.come(values)
            elif act == "enter":
                people.enter(values)
            else:
                for value in values:
                    if people.number_of:
                        subject = list(people.number_of)[value % len(people.number_of)]
                        people.go(subject) if act == "go" else people.renumber(subject)


@pytest.mark.parametrize("hashed", [0, _HIGHEST, _HIGHEST - _PLACE])
def test_one_cluster_moves_as_a_whole(hashed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOVED", 1)
    monkeypatch.setattr(module, "_MOVED_PER_SUBJECT", 0)
    people = _People()
    people.enter([hashed] * 40)
    for subject in range(0, 40, 3):
        people.go(subject)
    for n in range(200):  # several growths, each in steps of one place
        people.come([hashed if n % 2 else (hashed + 7 * n * _PLACE) & _HIGHEST])
        if n % 3 == 0:
            people.go(list(people.number_of)[n % len(people.number_of)])
    assert len(people.table._places) > 64
    for subject in list(people.number_of):
        people.go(subject)
    assert not people.table._places.any()
    assert not people.table._before.any()
