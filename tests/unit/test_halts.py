"""What failed while the process was stopped is done again, and nothing else is."""

import os
import signal

from tests.soak.halts import counted


def test_a_failure_is_a_failure() -> None:
    with counted() as halts:
        assert halts.none_during(lambda: "late") == "late"
        assert halts.none_during(lambda: "") == ""
    assert halts.count == 0


def test_what_failed_during_a_halt_is_done_again() -> None:
    answers = ["late", "late", "", "never asked"]

    def act() -> str:
        answer = answers.pop(0)
        if answer:
            os.kill(os.getpid(), signal.SIGCONT)  # what a process that was stopped is sent to go on
        return answer

    with counted() as halts:
        assert halts.none_during(act) == ""
        assert halts.count == 2
    assert answers == ["never asked"]


def test_one_that_fails_again_without_a_halt_is_a_failure() -> None:
    asked = 0

    def act() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            os.kill(os.getpid(), signal.SIGCONT)
        return "broken"

    with counted() as halts:
        assert halts.none_during(act) == "broken"
    assert asked == 2


def test_the_handler_from_before_is_back() -> None:
    before = signal.getsignal(signal.SIGCONT)
    with counted():
        assert signal.getsignal(signal.SIGCONT) is not before
    assert signal.getsignal(signal.SIGCONT) is before
