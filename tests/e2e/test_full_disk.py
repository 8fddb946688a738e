"""A disk that is full at any moment loses nothing that was acknowledged, and is gone on with when there is room."""

from tests.soak.full_disk import filling

ROUNDS = 4


def test_a_full_disk_loses_nothing_acknowledged() -> None:
    with filling() as run:
        assert run(ROUNDS, 20_260, 0) == []
