"""The benchmarks of the service as a whole, for a moment: a real office, real servers, real clients."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import load_service, service_office, speed_service
from benchmarks.history import NotRunError
from benchmarks.options import Options
from benchmarks.service_clients import MIX, PRINT_MIX, Plan, complete, made
from benchmarks.service_office import Office, engine_config, furnish
from benchmarks.service_process import ServerProcess
from biometrik.client import Client
from biometrik.engine import Engine
from biometrik.types import Outcome

STRANGERS = 4
FINGERS = 2


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return furnish(tmp_path_factory.mktemp("office"), Options(), STRANGERS, fingers=FINGERS)


@pytest.fixture
def branch(office: Office, tmp_path: Path) -> Office:
    """Return an office of its own for a test that changes it."""
    return replace(office, database=speed_service._copy(office, tmp_path / "branch.db"))


def test_an_office_is_what_it_says(office: Office) -> None:
    images = office.images()
    assert {(image.width_px, image.height_px) for image in images} == {(service_office.SIDE_PX,) * 2}
    assert len({image.encoded for image in images}) == len(images) == 32
    with Engine.open(office.database, engine_config(Options())) as engine:
        assert len(engine.subjects()) == office.enrolled == len(office.claims) + STRANGERS + FINGERS
        assert engine.verify(office.claims[-1], images[-1:]).outcome is Outcome.MATCH
        assert engine.verify("stranger-00000", images[:1]).outcome is Outcome.NO_MATCH


def test_without_its_photograph_there_is_no_office(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service_office, "shipped_photograph", lambda: None)
    with pytest.raises(NotRunError, match="scikit-image"):
        furnish(tmp_path, Options(), 0)


def test_a_mixed_load_is_answered_and_what_nobody_waits_for_is_not_computed(branch: Office, tmp_path: Path) -> None:
    with ServerProcess(branch.database, Options().cache, tmp_path / "server") as server:
        plan = Plan(server.address, str(branch.photographs), branch.claims, MIX, clients=4, seconds=1.0)
        calls = complete(made(plan))
        assert calls.answered >= 4
        assert calls.cpu_s > 0
        prints = complete(made(replace(plan, mix=PRINT_MIX, prints=str(branch.prints), seed=1)))
        assert {*prints.kind} <= {*PRINT_MIX}
        assert asyncio.run(load_service._gone(server, branch)) == 0
        server.stop()
    assert load_service._lost(branch, Options(), [*calls.acknowledged, *prints.acknowledged, "never enrolled"]) == 1


def test_without_batcher_calls_share_no_model_run(branch: Office, tmp_path: Path) -> None:
    with ServerProcess(
        branch.database, Options().cache, tmp_path / "server", module="benchmarks.service_unbatched"
    ) as server:
        with Client(server.address) as client:
            assert client.verify(branch.claims[0], branch.images()[:1]).outcome is Outcome.MATCH
        assert server.counted("biometrik_batch_samples_count") == 0
        assert server.counted("biometrik_requests_total") == 1
