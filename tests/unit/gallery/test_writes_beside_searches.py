"""Enrolling, changing, erasing and searching at the same time; ``scripts/soak gallery_writes`` goes on for longer."""

import pytest

from biometrik.gallery import searching
from biometrik.gallery.indexes.int8_certified import Int8Certified
from biometrik.gallery.members import Members
from tests.soak import gallery_writes


def test_every_answer_is_that_of_brute_force_at_its_version() -> None:
    with gallery_writes.opened() as run:
        assert run(4, 1, 0, writes=60) == []


def test_answers_that_are_wrong_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # An index that answers with what is there now, and members that forget what was: both have to be noticed.
    with gallery_writes.opened() as run:
        monkeypatch.setattr(gallery_writes, "_INDEXES", ("int8-certified",))
        with monkeypatch.context() as broken:
            broken.setattr(Int8Certified, "_own_live", lambda index, _: index._rows.live)
            assert run(4, 1, 0, writes=60)
        with monkeypatch.context() as broken:
            broken.setattr(Members, "compared", lambda *_: 1)
            broken.setattr(searching, "count_met", lambda *_: 1)
            assert run(1, 1, 0, writes=60)
        assert run(1, 1, 0, writes=60) == []
