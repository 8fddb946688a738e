"""A server that is killed while eight clients enrol loses nothing that it acknowledged."""

import random
from pathlib import Path

import pytest

from tests.soak.service import Office, kill_round

ROUNDS = 3


@pytest.mark.slow
def test_sigkill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    office, rng = Office(tmp_path), random.Random(20_260)
    failures = [failure for index in range(ROUNDS) for failure in kill_round(office, index, rng)]
    assert failures == []
    assert not office.unanswered
    assert len(office.acknowledged) > 8 * ROUNDS
