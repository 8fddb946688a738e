"""Kept enrolments reach the service once, in order, whatever happens between; none holds up another."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrik.client.operations import UPLOAD_BYTES
from biometrik.errors import (
    BiometrikError,
    GalleryNotFoundError,
    QueueFullError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    StoreUnavailableError,
    UnauthenticatedError,
)
from biometrik.samples import UnreadableSample
from biometrik.types import Enrollment, EnrollmentOutcome, FaceImage, RequestContext
from biometrik.v1 import enrollment_service_pb2 as pb
from biometrik_station.forwarding import enroll, forward, request_of
from biometrik_station.spool import Spool

AWAY = ServiceUnavailableError("away")


class Office:
    """A service in a few lines: what was enrolled by transaction, and what goes wrong next, before or after it acts."""

    def __init__(self) -> None:
        self.enrolled: dict[str, str] = {}
        self.asked: list[str] = []
        self.before: list[BiometrikError | None] = []
        self.after: list[BiometrikError | None] = []
        self.outcome = EnrollmentOutcome.ENROLLED

    def send(self, request: pb.EnrollRequest) -> Enrollment:
        self.asked.append(request.subject_id)
        if self.before and (error := self.before.pop(0)):
            raise error
        if self.outcome is EnrollmentOutcome.ENROLLED:
            self.enrolled.setdefault(request.context.transaction_id, request.subject_id)
        if self.after and (error := self.after.pop(0)):
            raise error
        return Enrollment(self.outcome, request.subject_id, "e-1", 1, ())


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return _spool(tmp_path)


def _spool(folder: Path) -> Spool:
    key = folder / "key"
    key.touch(0o600)
    key.write_text("5f" * 32)
    return Spool(folder / "spool", key)


def request(subject_id: str) -> pb.EnrollRequest:
    return request_of(subject_id, [FaceImage(np.zeros((40, 40, 3), dtype=np.uint8))])


def test_a_service_that_is_there_answers_at_once_and_nothing_stays(spool: Spool) -> None:
    office = Office()
    answer = enroll(spool, office.send, request("A"))
    assert answer is not None
    assert answer.outcome is EnrollmentOutcome.ENROLLED
    assert spool.waiting() == []


@pytest.mark.parametrize(
    "error",
    [
        AWAY,
        ServiceTimeoutError("late"),
        QueueFullError("busy"),
        StoreUnavailableError("full"),
        UnauthenticatedError("who?"),
    ],
    ids=lambda error: error.reason,
)
def test_while_it_is_away_enrolments_are_kept_and_then_sent_in_order(spool: Spool, error: BiometrikError) -> None:
    office = Office()
    office.before = [error] * 4
    for name in ("A", "B", "C"):
        assert enroll(spool, office.send, request(name)) is None
    with pytest.raises(type(error)):
        list(forward(spool, office.send))
    assert len(spool.waiting()) == 3
    office.asked.clear()
    assert [row.why for row in forward(spool, office.send)] == ["", "", ""]
    assert office.asked == ["A", "B", "C"]
    assert spool.waiting() == []


def test_an_answer_that_was_lost_on_the_way_does_not_enrol_twice(spool: Spool) -> None:
    office = Office()
    office.after = [ServiceTimeoutError("the answer was lost")]
    assert enroll(spool, office.send, request("A")) is None
    assert list(office.enrolled.values()) == ["A"]
    list(forward(spool, office.send))
    assert list(office.enrolled.values()) == ["A"]
    assert office.asked == ["A", "A"]


def test_what_the_service_refuses_is_raised_at_once_and_set_aside_later(spool: Spool) -> None:
    office = Office()
    office.before = [GalleryNotFoundError("gallery: none")]
    with pytest.raises(GalleryNotFoundError):
        enroll(spool, office.send, request("A"))
    assert spool.waiting() == []
    office.before = [AWAY, AWAY, GalleryNotFoundError("gallery: none"), None]
    enroll(spool, office.send, request("A"))
    enroll(spool, office.send, request("B"))
    assert [row.why for row in forward(spool, office.send)] == ["refused: GALLERY_NOT_FOUND", ""]
    assert [kept.why for kept in spool.aside()] == ["refused: GALLERY_NOT_FOUND"]
    assert list(office.enrolled.values()) == ["B"]


def test_samples_that_the_service_cannot_use_are_not_thrown_away(spool: Spool) -> None:
    office = Office()
    office.before = [AWAY]
    enroll(spool, office.send, request("A"))
    office.outcome = EnrollmentOutcome.NEEDS_RECAPTURE
    assert [row.why for row in forward(spool, office.send)] == ["not enrolled: NEEDS_RECAPTURE"]
    assert len(spool.aside()) == 1


def test_a_damaged_entry_does_not_hold_up_the_others(spool: Spool, tmp_path: Path) -> None:
    office = Office()
    office.before = [AWAY] * 3
    for name in ("A", "B", "C"):
        enroll(spool, office.send, request(name))
    first = spool.waiting()[0].name
    (tmp_path / "spool" / first).write_bytes(b"something else")
    office.asked.clear()
    assert [bool(row.why) for row in forward(spool, office.send)] == [True, False, False]
    assert office.asked == ["B", "C"]


def test_large_samples_are_kept_with_their_content(spool: Spool) -> None:
    made = request_of("A", [UnreadableSample("large", bytes(UPLOAD_BYTES + 1))], context=RequestContext("t-1"))
    assert len(made.samples[0].sample.data) == UPLOAD_BYTES + 1
    assert made.context.transaction_id == "t-1"
    spool.keep(made)


@settings(max_examples=30, deadline=None)
@given(faults=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12))
def test_whenever_the_line_fails_everybody_is_enrolled_once(
    tmp_path_factory: pytest.TempPathFactory, faults: list[tuple[bool, bool]]
) -> None:
    spool, office = _spool(tmp_path_factory.mktemp("office")), Office()
    office.before = [AWAY if before else None for before, _ in faults]
    office.after = [ServiceTimeoutError("late") if after else None for _, after in faults]
    people = [f"A-{i}" for i in range(5)]
    for name in people:
        enroll(spool, office.send, request(name))
    for _ in range(2 * len(faults) + 2):
        if not spool.waiting():
            break
        _tried(lambda: list(forward(spool, office.send)))
    assert spool.waiting() == []
    assert sorted(office.enrolled.values()) == people


def _tried(act: Callable[[], object]) -> None:
    try:
        act()
    except (ServiceUnavailableError, ServiceTimeoutError):
        return
