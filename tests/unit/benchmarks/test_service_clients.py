"""The load that clients make, against a service that answers as it is told; nothing is timed but what is waited for."""

import asyncio
import subprocess
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import service_clients
from benchmarks.history import NotRunError
from benchmarks.service_clients import MIX, OK, REFUSED, Calls, Plan, complete, made
from biometrik.errors import QueueFullError, StoreUnavailableError
from biometrik.types import EnrollmentOutcome, FaceImage, Outcome

PLAN = Plan("127.0.0.1:1", "photographs", ("claim",), MIX, clients=4, seconds=0.2, seed=7)
IMAGES = [FaceImage(np.zeros((2, 2, 3), dtype=np.uint8))]


class Service:
    """Answers after ``wait_s``, or raises."""

    def __init__(self, wait_s: float = 0.005, error: Exception | None = None, outcome: Outcome = Outcome.MATCH) -> None:
        self.wait_s = wait_s
        self.error = error
        self.outcome = outcome
        self.at_once = self.most_at_once = 0

    async def _answer(self, answer: Any) -> Any:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.wait_s)
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        return answer

    async def verify(self, claim: str, images: Sequence[FaceImage]) -> Any:
        assert claim in PLAN.claims
        return await self._answer(SimpleNamespace(outcome=self.outcome))

    async def identify(self, images: Sequence[FaceImage], *, max_fpir: float | None) -> Any:
        return await self._answer(SimpleNamespace(candidates=(1,)))

    async def enroll(self, subject_id: str, images: Sequence[FaceImage]) -> Any:
        return await self._answer(SimpleNamespace(outcome=EnrollmentOutcome.ENROLLED))

    async def quality(self, images: Sequence[FaceImage]) -> Any:
        return await self._answer((SimpleNamespace(usable=True),))

    async def subjects(self, *, limit: int) -> Any:
        return await self._answer([1])


def loop(plan: Plan, service: Service) -> Calls:
    counter = service_clients._Counter(plan, IMAGES)
    clients: Any = [service] * plan.clients
    asyncio.run(counter.open_loop(clients) if plan.rate else counter.closed_loop(clients))
    return counter.calls()


def test_a_closed_loop_has_one_call_of_each_client_at_a_time() -> None:
    service = Service()
    calls = loop(PLAN, service)
    assert service.most_at_once == PLAN.clients
    assert calls.answered == len(calls.kind) > PLAN.clients
    assert min(calls.ms) >= 5
    assert calls.wall_s >= PLAN.seconds
    assert {*calls.kind} <= {*MIX}
    assert complete(calls) is calls


def test_an_open_loop_does_not_wait_for_answers() -> None:
    service = Service(wait_s=0.3)
    calls = loop(Plan("", "", ("claim",), {"verify": 1.0}, clients=2, seconds=0.2, rate=200.0, seed=7), service)
    assert service.most_at_once == len(calls.kind) > 20
    assert max(calls.due_s) < 0.2
    assert min(calls.ms) >= 300


def test_arrivals_and_choices_are_those_of_the_seed() -> None:
    plans = [Plan("", "", ("claim",), MIX, clients=2, seconds=0.2, rate=200.0, seed=seed) for seed in (1, 1, 2)]
    first, second, other = (loop(plan, Service(wait_s=0.0)).due_s for plan in plans)
    assert sorted(first) == sorted(second) != sorted(other)


def test_acknowledged_enrolments_bear_the_seed_and_come_once() -> None:
    calls = loop(Plan("", "", ("claim",), {"enroll": 1.0}, clients=2, seconds=0.05, seed=7), Service())
    assert len({*calls.acknowledged}) == len(calls.acknowledged) == calls.answered > 0
    assert all(who.startswith("new-007-") for who in calls.acknowledged)


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        (Service(error=QueueFullError("full")), REFUSED),
        (Service(error=StoreUnavailableError("gone")), "STORE_UNAVAILABLE"),
        (Service(outcome=Outcome.NO_MATCH), "WRONG_ANSWER"),
    ],
)
def test_what_is_not_the_answer_expected_is_counted_by_its_reason(service: Service, reason: str) -> None:
    calls = loop(Plan("", "", ("claim",), {"verify": 1.0}, clients=2, seconds=0.02), service)
    assert calls.answered == 0
    assert calls.errors == {reason: len(calls.kind)}
    assert calls.times(reason, "verify") == calls.ms
    assert calls.times() == []
    with pytest.raises(NotRunError, match=reason):
        complete(calls)


def test_times_are_told_apart_by_kind_and_outcome() -> None:
    calls = Calls(["verify", "list", "verify"], [0.0, 0.1, 0.2], [10.0, 1.0, 2.0], [OK, OK, REFUSED], [], 1.0, 0.1)
    assert calls.times() == [10.0, 1.0]
    assert calls.times(kind="verify") == [10.0]
    assert calls.times(REFUSED) == [2.0]
    assert calls.errors == {REFUSED: 1}


def test_no_call_at_all_is_no_measurement() -> None:
    with pytest.raises(NotRunError, match="none"):
        complete(Calls([], [], [], [], [], 1.0, 0.1))


def test_clients_that_fail_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(command: Sequence[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nServiceTimeoutError: nobody is there\n")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(NotRunError, match="nobody is there"):
        made(PLAN)


def test_clients_that_do_not_end_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(command: Sequence[str], *, timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(NotRunError, match="expected to end within 90"):
        made(PLAN)
