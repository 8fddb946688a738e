"""Threads that compute give way to those that answer."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from biometrik_server.priorities import give_way


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_thread_and_those_that_it_starts_give_way_and_no_other() -> None:
    before = _niceness()

    def started() -> tuple[int, int]:
        with ThreadPoolExecutor(1) as inner:
            return _niceness(), inner.submit(_niceness).result()

    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        assert pool.submit(started).result() == (10, 10)
    assert _niceness() == before
