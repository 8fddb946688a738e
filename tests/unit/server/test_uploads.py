"""Samples that come in pieces: bounds, expiry, owners, digests, and used by one call and its repeats."""

import hashlib

import pytest

from biometrik.errors import ImageTooLargeError, QueueFullError, UploadIncompleteError, UploadNotFoundError
from biometrik_server.uploads import REPEAT_S, Uploads


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uploads(clock: Clock) -> Uploads:
    return Uploads(max_bytes_each=10, max_bytes_all=16, lifetime_s=60.0, clock=clock)


def _whole(uploads: Uploads, data: bytes = b"12345678", owner: str = "a") -> str:
    upload_id = uploads.begin(owner, len(data))
    uploads.add(upload_id, data[:5])
    uploads.add(upload_id, data[5:])
    assert uploads.finish(upload_id, hashlib.sha256(data).digest()) == 60.0
    return upload_id


def test_pieces_come_back_whole_to_a_call_and_to_its_repeat_and_then_make_room(uploads: Uploads, clock: Clock) -> None:
    upload_id = _whole(uploads)
    assert uploads.take(upload_id, "a") == b"12345678"
    clock.now += REPEAT_S
    assert uploads.take(upload_id, "a") == b"12345678"
    clock.now += 0.1  # counted from the first use
    assert uploads.waiting_bytes == 0
    with pytest.raises(UploadNotFoundError):
        uploads.take(upload_id, "a")


def test_only_the_owner_may_take_it(uploads: Uploads) -> None:
    upload_id = _whole(uploads)
    with pytest.raises(UploadNotFoundError):
        uploads.take(upload_id, "b")
    assert uploads.take(upload_id, "a") == b"12345678"


def test_sizes_are_bounded_before_anything_comes(uploads: Uploads) -> None:
    with pytest.raises(ImageTooLargeError, match="at most 10, got 11"):
        uploads.begin("a", 11)
    with pytest.raises(UploadIncompleteError):
        uploads.begin("a", 0)
    uploads.begin("a", 10)
    with pytest.raises(QueueFullError):
        uploads.begin("b", 7)
    uploads.begin("b", 6)
    assert uploads.waiting_bytes == 16


def test_more_than_was_announced_is_refused(uploads: Uploads) -> None:
    upload_id = uploads.begin("a", 4)
    uploads.add(upload_id, b"123")
    with pytest.raises(UploadIncompleteError, match="expected 4 bytes, got more"):
        uploads.add(upload_id, b"45")


def test_less_than_was_announced_is_dropped(uploads: Uploads) -> None:
    upload_id = uploads.begin("a", 4)
    uploads.add(upload_id, b"123")
    with pytest.raises(UploadNotFoundError):
        uploads.take(upload_id, "a")
    with pytest.raises(UploadIncompleteError, match="3 of 4 bytes"):
        uploads.finish(upload_id, b"")
    assert uploads.waiting_bytes == 0


def test_another_digest_is_dropped_and_none_is_not_asked_for(uploads: Uploads) -> None:
    upload_id = uploads.begin("a", 3)
    uploads.add(upload_id, b"abc")
    with pytest.raises(UploadIncompleteError, match="another SHA-256"):
        uploads.finish(upload_id, hashlib.sha256(b"abd").digest())
    assert uploads.waiting_bytes == 0
    other = uploads.begin("a", 3)
    uploads.add(other, b"abc")
    uploads.finish(other, b"")
    assert uploads.take(other, "a") == b"abc"


def test_a_finished_upload_waits_as_long_as_it_says(uploads: Uploads, clock: Clock) -> None:
    upload_id = uploads.begin("a", 3)
    clock.now += 50
    uploads.add(upload_id, b"abc")
    uploads.finish(upload_id, b"")
    clock.now += 60
    assert uploads.waiting_bytes == 3
    clock.now += 0.1
    with pytest.raises(UploadNotFoundError):
        uploads.take(upload_id, "a")
    assert uploads.waiting_bytes == 0


def test_one_that_never_ends_makes_room(uploads: Uploads, clock: Clock) -> None:
    slow = uploads.begin("a", 10)
    clock.now += 61
    uploads.begin("b", 10)
    with pytest.raises(UploadNotFoundError, match="took too long"):
        uploads.add(slow, b"1")
    with pytest.raises(UploadNotFoundError, match="took too long"):
        uploads.finish(slow, b"")


def test_dropping_makes_room_and_may_come_twice(uploads: Uploads) -> None:
    upload_id = uploads.begin("a", 10)
    uploads.drop(upload_id)
    uploads.drop(upload_id)
    uploads.drop("")
    assert uploads.waiting_bytes == 0


def test_ids_cannot_be_guessed(uploads: Uploads) -> None:
    ids = {uploads.begin("a", 1) for _ in range(16)}
    assert len(ids) == 16
    assert min(map(len, ids)) >= 32
