"""Whether the database is whole: told once to the log, and at any time to metrics, health and clients."""

import asyncio
from typing import Any, cast

import pytest

from biometrik_server.condition import INTACT, Condition
from biometrik_server.desk import Desk
from biometrik_server.hosting import Host
from biometrik_server.metrics import Metrics


class Office:
    """Stands for desk, engine and health service."""

    def __init__(self, quarantined: int) -> None:
        self.rows = ["row"] * quarantined
        self.counts = 0
        self.health: dict[str, bool] = {}

    @property
    def engine(self) -> "Office":
        return self

    def quarantined(self) -> list[str]:
        self.counts += 1
        return list(self.rows)

    async def call(self, function: Any) -> Any:
        return function()

    async def set_health(self, name: str, *, serving: bool) -> None:
        self.health[name] = serving


def test_what_is_set_aside_is_told_once_and_shown_until_it_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    office, metrics = Office(2), Metrics()
    condition = Condition(cast(Desk, office), cast(Host, office), metrics)

    def seen() -> tuple[int, float | None, bool]:
        gauge = metrics.registry.get_sample_value("biometrik_quarantined_encounters")
        return condition.quarantined, gauge, office.health[INTACT]

    async def work() -> None:
        await condition.look()
        assert seen() == (2, 2.0, False)
        office.rows.pop()
        await condition.look_after_erasure()
        assert seen() == (1, 1.0, False)
        office.rows.pop()
        await condition.look_after_erasure()
        assert seen() == (0, 0.0, True)

    asyncio.run(work())
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert vars(record)["fields"] == {"quarantined": 2}


def test_of_a_whole_database_nothing_is_said_and_erasures_do_not_count_again(caplog: pytest.LogCaptureFixture) -> None:
    office, metrics = Office(0), Metrics()
    condition = Condition(cast(Desk, office), cast(Host, office), metrics)

    async def work() -> None:
        await condition.look()
        await condition.look_after_erasure()

    asyncio.run(work())
    assert (office.counts, office.health, caplog.records) == (1, {INTACT: True}, [])
