"""Admission: as many calls as can be worked on, the next one refused at once."""

import asyncio
from contextlib import ExitStack

import pytest

from biometrik.errors import QueueFullError
from biometrik_server.calls import Admission
from biometrik_server.metrics import Metrics


def test_the_call_beyond_the_bound_is_refused_and_room_comes_back() -> None:
    metrics = Metrics()
    admission = Admission(2, metrics)

    def shown() -> float | None:
        return metrics.registry.get_sample_value("biometrik_requests_in_flight")

    with admission:
        with admission:
            assert (admission.count, shown()) == (2, 2.0)
            with pytest.raises(QueueFullError, match="no room"), admission:
                pytest.fail("a third was let in")
            assert admission.count == 2
        with admission:
            assert admission.count == 2
    assert (admission.count, shown()) == (0, 0.0)


def test_a_call_that_fails_makes_room() -> None:
    admission = Admission(1, Metrics())
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), admission:
            raise ZeroDivisionError
    assert admission.count == 0


def _refused(admission: Admission) -> bool:
    try:
        admission.refuse_when_full()
    except QueueFullError:
        return True
    return False


def test_in_a_rush_three_quarters_are_let_in_and_afterwards_all() -> None:
    now = 100.0
    admission = Admission(8, Metrics(), clock=lambda: now)
    with ExitStack() as stack:
        inside = [stack.enter_context(ExitStack()) for _ in range(8)]
        for each in inside:
            each.enter_context(admission)
        for _ in range(8):  # as many in a second as are let in at all: a burst
            assert _refused(admission)
        inside[0].close()
        assert not _refused(admission)
        inside[0].enter_context(admission)
        for _ in range(8):
            assert _refused(admission)
        for each in inside[:2]:
            each.close()
        assert _refused(admission)  # six are three quarters
        inside[2].close()
        assert not _refused(admission)
        inside[2].enter_context(admission)
        now += 5.0
        assert not _refused(admission)
        for each in inside[:2]:
            each.enter_context(admission)
        assert admission.count == 8
        assert _refused(admission)


@pytest.mark.parametrize(("limit", "in_a_rush"), [(1, 1), (2, 2), (3, 3), (4, 3), (32, 24)])
def test_the_smallest_houses_keep_their_room_in_a_rush(limit: int, in_a_rush: int) -> None:
    admission = Admission(limit, Metrics(), clock=lambda: 0.0)
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        first.enter_context(admission)
        for _ in range(limit - 1):
            stack.enter_context(admission)
        assert all(_refused(admission) for _ in range(10 * limit))
        first.close()
        assert _refused(admission) == (limit - 1 >= in_a_rush)


def test_what_can_wait_waits_until_there_is_room_and_leaves_it_when_it_is_given_up() -> None:
    async def main() -> None:
        admission = Admission(1, Metrics())
        entered: list[int] = []

        async def patient(number: int) -> None:
            async with admission.in_turn():
                entered.append(number)
                await asyncio.sleep(0)

        with admission:
            waiting = [asyncio.create_task(patient(number)) for number in range(3)]
            await asyncio.sleep(0.01)
            assert entered == []
            waiting[1].cancel()
        await asyncio.wait(waiting, timeout=30)
        assert (entered, admission.count) == ([0, 2], 0)

    asyncio.run(main())


def test_what_can_wait_leaves_a_quarter_to_what_cannot() -> None:
    async def main() -> None:
        admission = Admission(8, Metrics())
        with ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(admission)
            async with admission.in_turn():
                assert admission.count == 6
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(admission.room(), 0.01)
                with admission, admission:
                    assert admission.count == 8

    asyncio.run(main())
