"""Streams of requests: answers as they are ready, little read ahead, nothing computed for a client that has gone."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from biometrik.errors import InvalidInputError, SubjectNotFoundError
from biometrik_server.access import ANONYMOUS
from biometrik_server.calls import CURRENT, Call
from biometrik_server.streams import answered, check_tag, error_to_wire


async def _numbers(count: int, read: list[int]) -> AsyncIterator[int]:
    for number in range(count):
        read.append(number)
        yield number


async def _twice(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_each_request_is_answered_once(at_once: int) -> None:
    async def main() -> list[int]:
        return [answer async for answer in answered(_numbers(50, []), _twice, at_once=at_once)]

    assert sorted(asyncio.run(main())) == list(range(0, 100, 2))


def test_no_more_is_read_than_is_worked_on_and_one_that_waits() -> None:
    async def main() -> None:
        read: list[int] = []
        go_on = asyncio.Event()

        async def patient(number: int) -> int:
            await go_on.wait()
            return number

        answers = answered(_numbers(50, read), patient, at_once=3)
        first = asyncio.ensure_future(anext(answers))
        await asyncio.sleep(0.01)
        assert read == [0, 1, 2, 3]
        go_on.set()
        await first
        assert len([answer async for answer in answers]) == 49

    asyncio.run(main())


def test_without_room_nothing_is_read() -> None:
    async def main() -> None:
        read: list[int] = []
        there_is = asyncio.Event()

        async def room() -> None:
            await there_is.wait()

        answers = answered(_numbers(5, read), _twice, at_once=3, room=room)
        first = asyncio.ensure_future(anext(answers))
        await asyncio.sleep(0.01)
        assert read == []
        there_is.set()
        assert await first == 0

    asyncio.run(main())


def test_a_client_that_has_gone_ends_the_work() -> None:
    async def main() -> None:
        ended: list[int] = []

        async def slow(number: int) -> int:
            if number == 0:
                return 0
            try:
                await asyncio.sleep(30)
            finally:
                ended.append(number)
            return number

        answers = answered(_numbers(50, []), slow, at_once=3)
        assert await anext(answers) == 0
        await asyncio.sleep(0.01)
        await answers.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
        assert 1 <= len(ended) <= 3

    asyncio.run(main())


def test_an_error_is_said_as_a_call_s_and_a_fault_is_logged_and_not_said(caplog: pytest.LogCaptureFixture) -> None:
    said = error_to_wire(SubjectNotFoundError("subject: nobody"), "id")
    assert (said.code, said.reason, said.message) == (5, "SUBJECT_NOT_FOUND", "subject: nobody")
    assert "daftarkan" in said.localized_message
    assert not caplog.records
    calling = CURRENT.set(Call("/biometrik.v1.IdentificationService/IdentifyMany", ANONYMOUS, "en"))
    with caplog.at_level(logging.ERROR):
        fault = error_to_wire(RuntimeError("secret"), "en")
    CURRENT.reset(calling)
    assert (fault.code, fault.reason, "secret" in str(fault)) == (13, "INTERNAL", False)
    (record,) = caplog.records
    assert (record.message, vars(record)["fields"]) == (
        "unexpected error",
        {"rpc": "/biometrik.v1.IdentificationService/IdentifyMany"},
    )


def test_a_tag_is_bounded() -> None:
    check_tag("x" * 128)
    with pytest.raises(InvalidInputError, match="tag: expected at most 128 characters, got 129"):
        check_tag("x" * 129)
