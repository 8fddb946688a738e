"""Who is in the index, and what a search of some galleries compares with."""

import numpy as np
import pytest

from biometrik.features import Features
from biometrik.gallery.members import Member, Members, shown_by

FACE = shown_by(Features(np.zeros(1, dtype=np.float32)))


def _numbers(members: Members, *galleries: str) -> list[int]:
    numbers = members.select(galleries, FACE).numbers
    assert numbers is not None
    return sorted(numbers.tolist())


@pytest.fixture
def members() -> Members:
    members = Members()
    members.add(1, Member("A", "e1", ("default",), FACE))
    members.add(2, Member("A", "e2", ("default", "watch"), FACE))
    members.add(3, Member("B", "e3", ("watch",), FACE))
    return members


def test_everybody_needs_no_filter(members: Members) -> None:
    for galleries in (None, ("default", "watch")):
        everybody = members.select(galleries, FACE)
        assert (everybody.numbers, everybody.encounters, everybody.subjects) == (None, 3, 2)


def test_galleries_select_their_members(members: Members) -> None:
    assert _numbers(members, "default") == [1, 2]
    assert _numbers(members, "watch") == [2, 3]
    assert _numbers(members, "nowhere") == []
    assert (members.select(("default",), FACE).encounters, members.select(("default",), FACE).subjects) == (2, 1)
    assert (members.compared("A", ("watch",), FACE), members.compared("A", None, FACE)) == (1, 2)
    assert (members.compared("B", ("default",), FACE), members.compared("C", None, FACE)) == (0, 0)


def test_changes_show_in_the_next_selection(members: Members) -> None:
    assert _numbers(members, "watch") == [2, 3]
    members.add(2, Member("A", "e2", ("default",), FACE))
    assert _numbers(members, "watch") == [3]
    members.add(4, Member("C", "e4", ("watch",), FACE))
    assert _numbers(members, "watch") == [3, 4]
    members.remove(4)
    members.remove(3)
    assert _numbers(members, "watch") == []
    assert members.select(None, FACE).subjects == 1
    assert 3 not in members
    assert (members.of_subject("B"), members.of_gallery("watch")) == (frozenset(), frozenset())
    assert members.of_everybody() == members.of_gallery("default") == members.of_subject("A") == {1, 2}
    with pytest.raises(KeyError):
        members.remove(3)


def test_a_selection_is_made_once_between_changes(members: Members) -> None:
    assert members.select(("watch",), FACE) is members.select(("watch",), FACE)
