"""The batcher: what is queued runs together, a lone job at once, and no job harms another."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future

import pytest

from biometrik.errors import ServiceUnavailableError
from biometrik_server.batching import Batcher

WAIT_S = 10.0


class Model:
    """Doubles numbers; stands still while its gate is shut, and cannot bear the number 13."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.runs.append(list(items))
        self.entered.release()
        assert self.gate.wait(WAIT_S)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def batcher(model: Model) -> Iterator[Batcher[int, int]]:
    batcher = Batcher(model, max_items=4, clock=lambda: 0.0)
    try:
        yield batcher
    finally:
        model.gate.set()
        batcher.close()


def _busy(batcher: Batcher[int, int], model: Model) -> None:
    # One job is in the model and stays there until the gate opens.
    model.gate.clear()
    batcher.submit([0])
    assert model.entered.acquire(timeout=WAIT_S)


def test_a_lone_job_runs_at_once_and_alone(batcher: Batcher[int, int], model: Model) -> None:
    assert batcher.submit([1, 2]).result(WAIT_S) == [2, 4]
    assert model.runs == [[1, 2]]


def test_what_is_queued_runs_together_up_to_the_bound(batcher: Batcher[int, int], model: Model) -> None:
    _busy(batcher, model)
    jobs = [batcher.submit(items) for items in ([1], [2, 3], [4], [5])]
    model.gate.set()
    assert [job.result(WAIT_S) for job in jobs] == [[2], [4, 6], [8], [10]]
    assert model.runs == [[0], [1, 2, 3, 4], [5]]


def test_a_second_run_begins_beside_the_first_and_no_third(model: Model) -> None:
    batcher = Batcher(model, max_items=4, clock=lambda: 0.0, runs=2)
    try:
        model.gate.clear()
        first = batcher.submit([1])
        assert model.entered.acquire(timeout=WAIT_S)
        second = batcher.submit([2])
        assert model.entered.acquire(timeout=WAIT_S)
        others = [batcher.submit([number]) for number in (3, 4)]
        assert not model.entered.acquire(timeout=0.05)
        assert model.runs == [[1], [2]]
        model.gate.set()
        assert [job.result(WAIT_S) for job in (first, second, *others)] == [[2], [4], [6], [8]]
        assert sorted(item for run in model.runs[2:] for item in run) == [3, 4]
    finally:
        model.gate.set()
        batcher.close()


def test_a_job_is_never_split_and_a_long_one_runs_alone(batcher: Batcher[int, int], model: Model) -> None:
    _busy(batcher, model)
    jobs = [batcher.submit(items) for items in ([1, 2, 3], [4, 5], [1, 2, 3, 4, 5])]
    model.gate.set()
    assert [len(job.result(WAIT_S)) for job in jobs] == [3, 2, 5]
    assert model.runs == [[0], [1, 2, 3], [4, 5], [1, 2, 3, 4, 5]]


def test_a_cancelled_job_is_not_computed(batcher: Batcher[int, int], model: Model) -> None:
    _busy(batcher, model)
    gone, kept = batcher.submit([1]), batcher.submit([2])
    assert gone.cancel()
    model.gate.set()
    assert kept.result(WAIT_S) == [4]
    assert model.runs == [[0], [2]]
    with pytest.raises(CancelledError):
        gone.result(WAIT_S)


def test_when_all_are_cancelled_nothing_runs_and_the_next_is_served(batcher: Batcher[int, int], model: Model) -> None:
    _busy(batcher, model)
    assert all(job.cancel() for job in [batcher.submit([1]), batcher.submit([2])])
    model.gate.set()
    assert batcher.submit([3]).result(WAIT_S) == [6]
    assert model.runs == [[0], [3]]


def test_a_lone_job_runs_on_the_callers_thread_where_that_is_asked(batcher: Batcher[int, int], model: Model) -> None:
    threads = []
    batcher._run = lambda items: threads.append(threading.current_thread()) or model(items)  # type: ignore[func-returns-value]
    job = batcher.submit([1], here=True)
    assert job.done()
    assert job.result(0) == [2]
    assert threads == [threading.current_thread()]
    assert batcher.submit([2]).result(WAIT_S) == [4]
    assert threads[1] is not threading.current_thread()


def test_while_a_run_goes_on_jobs_wait_wherever_they_asked_to_run(batcher: Batcher[int, int], model: Model) -> None:
    model.gate.clear()
    lone = threading.Thread(target=lambda: batcher.submit([0], here=True))
    lone.start()
    assert model.entered.acquire(timeout=WAIT_S)
    jobs = [batcher.submit([1], here=True), batcher.submit([2])]
    assert not any(job.done() for job in jobs)
    model.gate.set()
    assert [job.result(WAIT_S) for job in jobs] == [[2], [4]]
    lone.join(WAIT_S)
    assert model.runs == [[0], [1, 2]]


def test_what_runs_on_a_callers_thread_may_fail_or_be_given_up(batcher: Batcher[int, int], model: Model) -> None:
    with pytest.raises(ValueError, match="thirteen"):
        batcher.submit([13], here=True).result(0)
    gone: Future[Sequence[int]] = Future()
    assert gone.cancel()
    batcher.submit([1], gone, here=True)
    assert batcher.submit([2], here=True).result(0) == [4]
    assert model.runs == [[13], [2]]


def test_a_failing_job_does_not_fail_its_neighbours(batcher: Batcher[int, int], model: Model) -> None:
    _busy(batcher, model)
    good, bad, other = batcher.submit([1]), batcher.submit([13]), batcher.submit([2])
    model.gate.set()
    assert (good.result(WAIT_S), other.result(WAIT_S)) == ([2], [4])
    with pytest.raises(ValueError, match="thirteen"):
        bad.result(WAIT_S)
    assert batcher.submit([5]).result(WAIT_S) == [10]


def test_closing_finishes_what_is_queued_and_refuses_more(batcher: Batcher[int, int], model: Model) -> None:
    _busy(batcher, model)
    queued = batcher.submit([7])
    closer = threading.Thread(target=batcher.close)
    closer.start()
    model.gate.set()
    closer.join(WAIT_S)
    assert queued.result(0) == [14]
    with pytest.raises(ServiceUnavailableError):
        batcher.submit([1])
    batcher.close()


def test_the_observer_sees_items_and_the_wait_of_the_oldest(model: Model) -> None:
    seen: list[tuple[int, float]] = []
    now = [10.0]
    batcher = Batcher(model, max_items=8, clock=lambda: now[0], observe=lambda *run: seen.append(run))
    try:
        _busy(batcher, model)
        first = batcher.submit([1, 2])
        now[0] = 11.5
        second = batcher.submit([3])
        now[0] = 12.0
        model.gate.set()
        assert (first.result(WAIT_S), second.result(WAIT_S)) == ([2, 4], [6])
    finally:
        model.gate.set()
        batcher.close()
    assert seen == [(1, 0.0), (3, 2.0)]
