"""What the process of a server does around it."""

import asyncio
import gc

import pytest

from biometrik_server import __main__ as process
from biometrik_server.app import Server
from biometrik_server.config import ServerConfig


def test_what_is_there_at_the_start_is_no_collections_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(_: ServerConfig) -> object:
        return "a server"

    frozen: list[int] = []

    async def until_told_to_stop(starting: object) -> None:
        assert await starting == "a server"  # type: ignore[misc]
        frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(Server, "start", start)
    monkeypatch.setattr(process, "until_told_to_stop", until_told_to_stop)
    assert gc.get_freeze_count() == 0
    try:
        asyncio.run(process.serve(ServerConfig(database=":memory:", listen="localhost:0")))
    finally:
        gc.unfreeze()
    assert frozen[0] > 10_000
