"""A process that is killed while it writes loses nothing that it acknowledged and leaves nothing half-written."""

import random
from pathlib import Path

import pytest

from tests.soak.store import Office

ROUNDS = 8


@pytest.mark.slow
def test_sigkill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    office, rng = Office(tmp_path), random.Random(20_260)
    assert [failure for index in range(ROUNDS) for failure in office.kill(index, rng)] == []
    assert office.told.answers > 10 * ROUNDS


@pytest.mark.slow
def test_sigkill_while_a_snapshot_is_written_leaves_one_to_start_from_or_none(tmp_path: Path) -> None:
    office, rng = Office(tmp_path, keeps=True), random.Random(20_260)
    assert [failure for index in range(ROUNDS) for failure in office.kill(index, rng)] == []
    assert office.found["started from"] > 0
