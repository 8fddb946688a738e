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
    assert members.of_subject("B") == frozenset()
    assert members.of_everybody() == members.of_subject("A") == {1, 2}
    with pytest.raises(KeyError):
        members.remove(3)


def test_a_selection_is_made_once_between_changes(members: Members) -> None:
    assert members.select(("watch",), FACE) is members.select(("watch",), FACE)


def test_a_gallery_is_left_by_all_at_once(members: Members) -> None:
    before = members.kinds
    members.leave("watch")
    assert _numbers(members, "watch") == []
    everybody = members.select(None, FACE)
    assert everybody.numbers is not None
    assert (everybody.numbers.tolist(), everybody.encounters, everybody.subjects) == ([1, 2], 2, 1)
    assert (members.nowhere().tolist(), len(members), members[2].galleries) == ([3], 2, ("default",))
    assert members.compared("B", None, FACE) == 0
    # As they were: for a search that began before.
    assert (members.member(3, before).galleries, members.member(2, before).galleries) == (
        ("watch",),
        ("default", "watch"),
    )
    assert (members.compared("B", None, FACE, before), members.compared("A", ("watch",), FACE, before)) == (1, 1)


def test_who_is_nowhere_is_in_no_page_and_may_come_back(members: Members) -> None:
    members.leave("watch")
    page, kinds = members.page(0)
    assert (page.numbers.tolist(), sorted(set(kinds))) == ([1, 2], [(("default",), FACE)])
    assert b"e3" not in page.texts
    members.add(3, Member("B", "e3", ("default",), FACE))
    assert members.nowhere().tolist() == []
    assert members.select(("default",), FACE).encounters == len(members) == 3


def test_kinds_that_became_equal_are_left_one_by_one(members: Members) -> None:
    members.leave("watch")  # 1 and 2 are of two kinds that are equal now
    members.remove(1)
    members.add(4, Member("C", "e4", ("default",), FACE))
    members.remove(2)
    members.remove(3)
    assert (members[4].galleries, members.select(("default",), FACE).numbers) == (("default",), None)


def test_a_kind_that_nobody_is_of_is_used_again(members: Members) -> None:
    members.leave("watch")
    for number in (1, 2, 3):
        members.remove(number)
    for gallery in ("default", "watch", "trip"):
        members.add(5, Member("A", "e", (gallery,), FACE))
        assert members[5].galleries == (gallery,)
    assert len(members.kinds) <= 4
