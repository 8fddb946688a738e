"""Who is in the index, and what a search of some galleries compares with."""

import pytest

from biometrik.gallery.members import Member, Members


def _numbers(members: Members, *galleries: str) -> list[int]:
    numbers = members.select(galleries).numbers
    assert numbers is not None
    return sorted(numbers.tolist())


@pytest.fixture
def members() -> Members:
    members = Members()
    members.add(1, Member("A", "e1", ("default",)))
    members.add(2, Member("A", "e2", ("default", "watch")))
    members.add(3, Member("B", "e3", ("watch",)))
    return members


def test_everybody_needs_no_filter(members: Members) -> None:
    for galleries in (None, ("default", "watch")):
        everybody = members.select(galleries)
        assert (everybody.numbers, everybody.encounters, everybody.subjects) == (None, 3, 2)


def test_galleries_select_their_members(members: Members) -> None:
    assert _numbers(members, "default") == [1, 2]
    assert _numbers(members, "watch") == [2, 3]
    assert _numbers(members, "nowhere") == []
    assert (members.select(("default",)).encounters, members.select(("default",)).subjects) == (2, 1)
    assert (members.compared("A", ("watch",)), members.compared("A", None)) == (1, 2)
    assert (members.compared("B", ("default",)), members.compared("C", None)) == (0, 0)


def test_changes_show_in_the_next_selection(members: Members) -> None:
    assert _numbers(members, "watch") == [2, 3]
    members.add(2, Member("A", "e2", ("default",)))
    assert _numbers(members, "watch") == [3]
    members.add(4, Member("C", "e4", ("watch",)))
    assert _numbers(members, "watch") == [3, 4]
    members.remove(4)
    members.remove(3)
    assert _numbers(members, "watch") == []
    assert members.select(None).subjects == 1
    assert 3 not in members
    assert (members.of_subject("B"), members.of_gallery("watch")) == (frozenset(), frozenset())
    assert members.of_everybody() == members.of_gallery("default") == members.of_subject("A") == {1, 2}
    with pytest.raises(KeyError):
        members.remove(3)


def test_a_selection_is_made_once_between_changes(members: Members) -> None:
    assert members.select(("watch",)) is members.select(("watch",))
