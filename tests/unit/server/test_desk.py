"""The desk: decoding and engine calls on threads, model runs shared, the call in progress known everywhere."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pytest

from biometrik.config import EngineConfig
from biometrik.engine import Engine
from biometrik.errors import IncompatibleTemplateError, ServiceUnavailableError
from biometrik.samples import PreparedSample, Sample, UnreadableSample, as_it_is, digest
from biometrik.types import Enrollment, EnrollmentOutcome, FaceImage
from biometrik_server.access import ANONYMOUS
from biometrik_server.calls import CURRENT, Call
from biometrik_server.desk import Desk
from biometrik_server.metrics import Metrics

ENROLL = Call("/biometrik.v1.EnrollmentService/Enroll", ANONYMOUS, "id")
BROKEN = UnreadableSample("x", b"1")
OTHER = UnreadableSample("of other models")


class Models:
    """Stands for an engine: prepares samples while its gate is open, and notes who runs what where."""

    config = EngineConfig()

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def prepare(self, samples: Sequence[Sample]) -> tuple[PreparedSample, ...]:
        self.entered.set()
        assert self.gate.wait(10)
        self.runs.append(len(samples))
        if OTHER in samples:
            raise IncompatibleTemplateError("template: expected models demo@1, got demo@2")
        return tuple(as_it_is(cast(UnreadableSample, sample)) for sample in samples)

    def close(self) -> None:
        self.closed = True


async def _first_of(desk: Desk, models: Models) -> "asyncio.Future[tuple[PreparedSample, ...]]":
    # A call whose sample is in the models, where it stays until the gate opens.
    models.gate.clear()
    first = asyncio.ensure_future(desk.answer(lambda: [BROKEN], tuple))
    assert await asyncio.get_running_loop().run_in_executor(None, models.entered.wait, 10)
    return first


async def _queued(desk: Desk, count: int) -> None:
    while len(desk._batcher._jobs) != count:
        await asyncio.sleep(0.005)


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def desk(models: Models, metrics: Metrics) -> Iterator[Desk]:
    desk = Desk(cast(Engine, models), metrics, threads=2, runs=1)
    try:
        yield desk
    finally:
        models.gate.set()
        desk.close()


def _run(work: Any) -> Any:
    async def bounded() -> Any:
        CURRENT.set(ENROLL)
        return await asyncio.wait_for(work(), 10)

    return asyncio.run(bounded())


def test_reading_and_calling_happen_off_the_loop_and_know_the_call(desk: Desk) -> None:
    seen: list[tuple[str, str, str]] = []

    def note(what: str) -> list[Sample]:
        seen.append((what, threading.current_thread().name[:4], CURRENT.get().rpc))
        return [BROKEN]

    async def work() -> None:
        await desk.answer(lambda: note("read"), tuple)
        assert await desk.call(note, "call") == [BROKEN]

    _run(work)
    assert seen == [("read", "desk", ENROLL.rpc), ("call", "desk", ENROLL.rpc)]


def test_calls_that_wait_share_a_model_run(desk: Desk, models: Models) -> None:
    async def work() -> list[Sequence[PreparedSample]]:
        first = await _first_of(desk, models)
        others = [asyncio.ensure_future(desk.answer(lambda n=n: [BROKEN] * n, tuple)) for n in (2, 3)]  # type: ignore[misc]
        await _queued(desk, 2)
        models.gate.set()
        return list(await asyncio.gather(first, *others))

    answers = _run(work)
    assert [len(answer) for answer in answers] == [1, 2, 3]
    assert models.runs == [1, 5]


def test_a_call_that_was_given_up_is_not_computed(desk: Desk, models: Models) -> None:
    async def work() -> None:
        first = await _first_of(desk, models)
        given_up = asyncio.ensure_future(desk.answer(lambda: [BROKEN] * 5, tuple))
        await _queued(desk, 1)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        models.gate.set()
        await first
        await desk.answer(lambda: [BROKEN, BROKEN], tuple)

    _run(work)
    assert models.runs == [1, 2]


def test_a_bad_template_fails_its_own_call(desk: Desk) -> None:
    async def work() -> list[Any]:
        calls = [desk.answer(lambda s=sample: [s], tuple) for sample in (BROKEN, OTHER, BROKEN)]  # type: ignore[misc]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    first, second, third = _run(work)
    assert (len(first), len(third)) == (1, 1)
    assert isinstance(second, IncompatibleTemplateError)


def test_what_happened_is_counted(desk: Desk, metrics: Metrics) -> None:
    async def work() -> None:
        await desk.answer(lambda: [BROKEN, BROKEN], tuple)
        await desk.call(lambda: Enrollment(EnrollmentOutcome.NEEDS_RECAPTURE, "A", "", 0, ()))

    _run(work)
    value = metrics.registry.get_sample_value
    assert value("biometrik_unusable_samples_total", {"reason": "IMAGE_UNREADABLE"}) == 2.0
    labels = {"rpc": "EnrollmentService/Enroll", "outcome": "NEEDS_RECAPTURE"}
    assert value("biometrik_outcomes_total", labels) == 1.0
    for stage, count in (("decode", 1), ("queue", 1), ("models", 1), ("engine", 2)):
        assert value("biometrik_stage_seconds_count", {"stage": stage}) == count


def test_a_closed_desk_refuses_and_has_closed_its_engine(models: Models, metrics: Metrics) -> None:
    desk = Desk(cast(Engine, models), metrics, threads=1, runs=1)

    async def work() -> None:
        assert len(await desk.answer(lambda: [BROKEN], tuple)) == 1
        await asyncio.get_running_loop().run_in_executor(None, desk.close)
        with pytest.raises(ServiceUnavailableError):
            desk._batcher.submit([BROKEN])

    _run(work)
    assert models.closed


def test_an_answer_is_made_of_prepared_samples_on_a_thread_that_knows_the_call(desk: Desk, models: Models) -> None:
    def use(samples: Sequence[PreparedSample]) -> tuple[list[bytes], str, str]:
        return [digest(sample.source) for sample in samples], threading.current_thread().name[:4], CURRENT.get().rpc

    async def work() -> Any:
        return await desk.answer(lambda: [BROKEN, BROKEN], use)

    assert _run(work) == ([digest(BROKEN)] * 2, "desk", ENROLL.rpc)
    assert models.runs == [2]


def test_answers_that_wait_share_a_model_run(desk: Desk, models: Models) -> None:
    async def work() -> list[int]:
        first = await _first_of(desk, models)
        others = [asyncio.ensure_future(desk.answer(lambda n=n: [BROKEN] * n, len)) for n in (2, 3)]  # type: ignore[misc]
        await _queued(desk, 2)
        models.gate.set()
        await first
        return list(await asyncio.gather(*others))

    assert _run(work) == [2, 3]
    assert models.runs == [1, 5]


def test_an_answer_that_was_given_up_is_neither_computed_nor_used(desk: Desk, models: Models) -> None:
    used: list[int] = []

    async def work() -> None:
        first = await _first_of(desk, models)
        given_up = asyncio.ensure_future(desk.answer(lambda: [BROKEN] * 5, lambda samples: used.append(len(samples))))
        await _queued(desk, 1)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        models.gate.set()
        await first
        await desk.answer(lambda: [BROKEN, BROKEN], tuple)

    _run(work)
    assert models.runs == [1, 2]
    assert used == []


@pytest.mark.parametrize("step", ["read", "models", "use"])
def test_what_a_step_raises_ends_the_answer(desk: Desk, step: str) -> None:
    def read() -> Sequence[Sample]:
        if step == "read":
            raise IncompatibleTemplateError("read")
        return [OTHER if step == "models" else BROKEN]

    def use(samples: Sequence[PreparedSample]) -> None:
        raise IncompatibleTemplateError("use")

    expected = "expected models" if step == "models" else step
    with pytest.raises(IncompatibleTemplateError, match=expected):
        _run(lambda: desk.answer(read, use))


def test_an_answer_counts_its_outcome_and_its_samples(desk: Desk, metrics: Metrics) -> None:
    found = Enrollment(EnrollmentOutcome.FAILURE_TO_ENROLL, "A", "", 0, ())
    assert _run(lambda: desk.answer(lambda: [BROKEN], lambda _: found)) is found
    labels = {"rpc": ENROLL.name, "outcome": found.outcome.value}
    assert metrics.registry.get_sample_value("biometrik_outcomes_total", labels) == 1
    unusable = {"reason": "IMAGE_UNREADABLE"}
    assert metrics.registry.get_sample_value("biometrik_unusable_samples_total", unusable) == 1


def test_samples_of_a_finished_answer_are_let_go_without_the_collector(desk: Desk) -> None:
    held = [FaceImage(np.zeros((2, 2, 3), dtype=np.uint8))]
    seen = weakref.ref(held[0].pixels)
    gc.collect()
    gc.disable()
    try:
        assert _run(lambda: desk.answer(held.copy, len)) == 1
        held.clear()
        deadline = time.monotonic() + 5  # the batcher's thread may just be putting them down
        while seen() is not None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert seen() is None
    finally:
        gc.enable()
