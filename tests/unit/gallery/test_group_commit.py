"""Who leads, who is taken along, and who is woken when something goes wrong."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from biometrik.gallery.group_commit import GroupCommit


def _nothing(_: Sequence[object]) -> None: ...


class _Disk:
    """Commits when it is let to, and remembers each group."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.under_way = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def commit(self, group: Sequence[int]) -> None:
        self.under_way.release()
        assert self.let.acquire(timeout=30)
        self.groups.append(list(group))


def _submitted(commits: GroupCommit[int], pool: ThreadPoolExecutor, writes: Sequence[int]) -> list[Future[None]]:
    futures = []
    for waiting, write in enumerate(writes, start=1):
        futures.append(pool.submit(commits.submit, write))
        while len(commits._waiting) < waiting:
            threading.Event().wait(0.001)
    return futures


def test_a_lone_writer_commits_by_itself() -> None:
    groups: list[list[int]] = []
    commits = GroupCommit[int](lambda group: groups.append(list(group)), _nothing)
    for write in range(3):
        commits.submit(write)
    assert groups == [[0], [1], [2]]


def test_who_comes_during_a_commit_shares_the_next_one() -> None:
    disk = _Disk()
    commits = GroupCommit(disk.commit, _nothing)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(commits.submit, 0)
        assert disk.under_way.acquire(timeout=30)
        others = _submitted(commits, pool, (1, 2, 3))
        assert not first.done()
        disk.let.release()
        first.result(timeout=30)
        assert not any(other.done() for other in others)
        disk.let.release()
        for other in others:
            other.result(timeout=30)
    assert disk.groups == [[0], [1, 2, 3]]


def test_all_of_many_writers_get_through_in_their_order() -> None:
    written: list[tuple[int, int]] = []
    commits = GroupCommit[tuple[int, int]](written.extend, _nothing)

    def work(worker: int) -> None:
        for number in range(200):
            commits.submit((worker, number))
            assert (worker, number) in written[-2000:]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(written) == 1600
    assert all([n for w, n in written if w == worker] == list(range(200)) for worker in range(8))


def test_a_commit_that_raises_raises_in_its_leader_and_lets_the_next_go_on() -> None:
    disk = _Disk()

    def commit(group: Sequence[int]) -> None:
        disk.commit(group)
        if 0 in group:
            raise KeyboardInterrupt

    commits = GroupCommit(commit, _nothing)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commits.submit, 0)
        assert disk.under_way.acquire(timeout=30)
        (second,) = _submitted(commits, pool, (1,))
        disk.let.release(2)
        with pytest.raises(KeyboardInterrupt):
            first.result(timeout=30)
        second.result(timeout=30)
    assert disk.groups == [[0], [1]]


def test_what_follows_one_group_is_done_before_the_next_is_begun() -> None:
    steps: list[tuple[str, int]] = []
    following = threading.Event()
    go_on = threading.Event()

    def follow(group: Sequence[int]) -> None:
        following.set()
        assert go_on.wait(30)
        steps.extend(("followed", write) for write in group)

    commits = GroupCommit[int](lambda group: steps.extend(("committed", write) for write in group), follow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commits.submit, 0)
        assert following.wait(30)
        (second,) = _submitted(commits, pool, (1,))
        assert steps == [("committed", 0)]
        go_on.set()
        first.result(timeout=30)
        second.result(timeout=30)
    assert steps == [("committed", 0), ("followed", 0), ("committed", 1), ("followed", 1)]


def test_a_quiet_time_waits_for_a_commit_and_holds_the_next_one_back() -> None:
    disk = _Disk()
    commits = GroupCommit(disk.commit, _nothing)
    quiet, go_on = threading.Event(), threading.Event()

    def rest() -> None:
        with commits.alone():
            quiet.set()
            assert go_on.wait(30)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(commits.submit, 0)
        assert disk.under_way.acquire(timeout=30)
        resting = pool.submit(rest)
        assert not quiet.wait(0.05)
        disk.let.release()
        assert quiet.wait(30)
        first.result(timeout=30)
        (second,) = _submitted(commits, pool, (1,))
        assert not disk.under_way.acquire(timeout=0.05)
        disk.let.release()
        go_on.set()
        resting.result(timeout=30)
        second.result(timeout=30)
    assert disk.groups == [[0], [1]]


def test_an_interrupted_thread_takes_its_write_back(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = _Disk()
    commits = GroupCommit(disk.commit, _nothing)
    interrupted = threading.Event()

    class Interrupted:
        # The lock that a thread waits for; it has it at first.
        acquired = 0

        def acquire(self) -> None:
            self.acquired += 1
            if self.acquired > 1:
                interrupted.set()
                raise KeyboardInterrupt

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(commits.submit, 0)
        assert disk.under_way.acquire(timeout=30)
        with monkeypatch.context() as broken:
            broken.setattr("biometrik.gallery.group_commit.Lock", Interrupted)
            second = pool.submit(commits.submit, 1)
            assert interrupted.wait(30)
        with pytest.raises(KeyboardInterrupt):
            second.result(timeout=30)
        (third,) = _submitted(commits, pool, (2,))
        disk.let.release(2)
        first.result(timeout=30)
        third.result(timeout=30)
    assert disk.groups == [[0], [2]]
