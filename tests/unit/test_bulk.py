"""Many encounters at once: an outcome per record, bounded reading, faults that stay where they are."""

import threading
from collections.abc import Iterator, Sequence

import pytest

from biometrik.bulk import GROUPS, MAX_TAG, RECORDS_PER_GROUP, WRITERS, Imported, ImportRecord, Prepared, imported
from biometrik.errors import InvalidInputError, SubjectNotFoundError
from biometrik.samples import PreparedSample, Sample, UnreadableSample
from biometrik.types import Modality, RequestContext, Template

TEMPLATE = Template(Modality.FACE, "demo@1", b"1234")
IMAGE = UnreadableSample("stands for an image")


def record(number: int, *samples: Sample) -> ImportRecord:
    return ImportRecord(str(number), f"S-{number}", samples or (TEMPLATE,), RequestContext(transaction_id=f"t{number}"))


def as_they_are(records: Sequence[ImportRecord]) -> Sequence[Prepared]:
    return [(record, record.samples) for record in records]


def said(record: ImportRecord, _: Sequence[Sample | PreparedSample]) -> Imported:
    return record.tag, SubjectNotFoundError(record.subject_id)


def test_a_record_needs_a_transaction_id_and_a_short_tag() -> None:
    with pytest.raises(InvalidInputError, match="transaction_id: expected one for each record"):
        ImportRecord("1", "S-1", [TEMPLATE], RequestContext())
    with pytest.raises(InvalidInputError, match="tag: expected at most 128 characters, got 129"):
        ImportRecord("x" * (MAX_TAG + 1), "S-1", [TEMPLATE], RequestContext(transaction_id="t"))


@pytest.mark.parametrize("count", [0, 1, RECORDS_PER_GROUP, RECORDS_PER_GROUP + 1, 200])
def test_each_record_has_its_outcome_once(count: int) -> None:
    found = list(imported(map(record, range(count)), as_they_are, said, images_per_group=4))
    assert sorted(int(tag) for tag, _ in found) == list(range(count))
    assert all(str(outcome) == f"S-{tag}" for tag, outcome in found)


def test_groups_hold_so_many_images_or_one_record_that_has_more() -> None:
    groups: list[list[str]] = []

    def prepare(records: Sequence[ImportRecord]) -> Sequence[Prepared]:
        groups.append([record.tag for record in records])
        return as_they_are(records)

    sizes = [1, 2, 1, 5, 0, 0, 4, 1]
    records = [record(i, *[IMAGE] * size, TEMPLATE) for i, size in enumerate(sizes)]
    list(imported(records, prepare, said, images_per_group=4))
    assert sorted(groups) == [["0", "1", "2"], ["3"], ["4", "5", "6"], ["7"]]


def test_little_is_read_ahead_of_what_is_stored() -> None:
    read = 0
    go_on, full = threading.Event(), threading.Event()
    bound = (GROUPS + 1) * RECORDS_PER_GROUP + WRITERS + RECORDS_PER_GROUP

    def records() -> Iterator[ImportRecord]:
        nonlocal read
        for number in range(10 * bound):
            read = number + 1
            if read > WRITERS:
                full.set()
            yield record(number)

    def store(record: ImportRecord, samples: Sequence[Sample | PreparedSample]) -> Imported:
        assert go_on.wait(30)
        return said(record, samples)

    answers = imported(records(), as_they_are, store, images_per_group=4)
    first: list[Imported] = []
    reader = threading.Thread(target=lambda: first.append(next(answers)))
    reader.start()
    assert full.wait(30)
    reader.join(0.2)  # time in which it could read on, if nothing held it back
    assert reader.is_alive()
    assert read <= bound
    go_on.set()
    reader.join(30)
    assert len(first) + len(list(answers)) == 10 * bound


def test_what_the_records_raise_is_raised_when_all_before_it_is_answered() -> None:
    def records() -> Iterator[ImportRecord]:
        yield from map(record, range(21))
        raise OSError("the medium is gone")

    answers, answered = imported(records(), as_they_are, said, images_per_group=4), list[int]()
    with pytest.raises(OSError, match="gone"):
        answered.extend(int(tag) for tag, _ in answers)
    assert sorted(answered) == list(range(21))


@pytest.mark.parametrize("stage", ["prepare", "store"])
def test_a_fault_of_the_work_is_raised_and_ends_it(stage: str) -> None:
    def broken(*_: object) -> Imported:
        raise RuntimeError("a fault")

    prepare, store = (broken, said) if stage == "prepare" else (as_they_are, broken)
    with pytest.raises(RuntimeError, match="a fault"):
        list(imported(map(record, range(100)), prepare, store, images_per_group=4))  # type: ignore[arg-type]


def test_given_up_it_stores_no_more() -> None:
    stored = []

    def store(record: ImportRecord, samples: Sequence[Sample | PreparedSample]) -> Imported:
        stored.append(record.tag)
        return said(record, samples)

    answers = imported(map(record, range(10_000)), as_they_are, store, images_per_group=4)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(stored) < 1000
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("models", "writer"))]
