"""Many records at once have the same outcomes whoever is asked: the engine in process, or either client."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

import pytest

from biometrik.bulk import ImportRecord
from biometrik.client import Client
from biometrik.engine import Engine
from biometrik.errors import (
    BiometrikError,
    ConsentMissingError,
    GalleryNotFoundError,
    IncompatibleTemplateError,
    InvalidInputError,
    TransactionConflictError,
)
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.samples import Sample, UnreadableSample
from biometrik.types import (
    Enrollment,
    EnrollmentOutcome,
    FaceImage,
    MissingReason,
    MissingSample,
    Modality,
    RequestContext,
    Template,
)
from tests.congruence.conftest import Office

Biometrik: TypeAlias = Engine | Client
Record: TypeAlias = Callable[..., ImportRecord]


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Return what makes a record of a number; transaction ids are this test's own, databases remember them."""

    def make(number: int, subject: str, *samples: Sample) -> ImportRecord:
        context = RequestContext(transaction_id=f"{request.node.name} {number}")
        return ImportRecord(f"line {number}", subject, samples, context)

    return make


def _outcomes(found: object) -> dict[str, str]:
    assert isinstance(found, list)
    assert len(dict(found)) == len(found)
    return {
        tag: outcome.outcome.value if isinstance(outcome, Enrollment) else type(outcome).__name__
        for tag, outcome in found
    }


@pytest.fixture
def mixed(
    record: Record, people: list[FaceImage], prints: list[FingerprintImage], cat: FaceImage
) -> list[ImportRecord]:
    """Return records that are good, poor, and broken in all ways."""
    alien = Template(Modality.FACE, "other@1", b"1234")
    absent = MissingSample(FingerPosition.LEFT_RING, MissingReason.AMPUTATED)
    return [
        record(0, "A-0", people[0], prints[0]),
        record(1, "A-1", cat),
        record(2, "A-2", people[1], alien),
        replace(record(3, "A-3", people[2]), galleries=["nowhere"]),
        record(4, "\n", people[3]),
        record(5, "A-5"),
        record(6, "A-6", UnreadableSample("x", b"GIF89a")),
        record(7, "A-7", *[people[0]] * 65),
        replace(record(8, "A-8", people[4]), missing=[absent]),
        record(9, "A-9", prints[0], replace(prints[0], position=FingerPosition.LEFT_INDEX)),
    ]


def test_each_record_has_its_own_outcome(biometrik: Biometrik, mixed: list[ImportRecord]) -> None:
    assert _outcomes(list(biometrik.import_encounters(mixed))) == {
        "line 0": "ENROLLED",
        "line 1": "FAILURE_TO_ENROLL",
        "line 2": IncompatibleTemplateError.__name__,
        "line 3": GalleryNotFoundError.__name__,
        "line 4": InvalidInputError.__name__,
        "line 5": InvalidInputError.__name__,
        "line 6": "FAILURE_TO_ENROLL",
        "line 7": InvalidInputError.__name__,
        "line 8": "ENROLLED",
        "line 9": "NEEDS_RECAPTURE",
    }
    assert [subject.subject_id for subject in biometrik.subjects()] == ["A-0", "A-8"]
    assert biometrik.subject("A-8").encounters[0].missing[0].reason is MissingReason.AMPUTATED


def test_run_again_it_gives_the_first_answers_and_stores_nothing_twice(
    biometrik: Biometrik, record: Record, people: list[FaceImage]
) -> None:
    records = [record(number, f"A-{number}", image) for number, image in enumerate(people)]
    some = dict(biometrik.import_encounters(records[:2]))
    every = dict(biometrik.import_encounters(records))
    for tag, first in some.items():
        repeated = every[tag]
        assert isinstance(first, Enrollment)
        assert isinstance(repeated, Enrollment)
        assert repeated.encounter_id == first.encounter_id
    assert [len(subject.encounters) for subject in biometrik.subjects()] == [1] * len(people)
    other = replace(records[0], samples=[people[1]])
    ((_, outcome),) = biometrik.import_encounters([other])
    assert isinstance(outcome, TransactionConflictError)


def test_it_is_the_same_as_one_by_one(
    office: Office, record: Record, people: list[FaceImage], prints: list[FingerprintImage]
) -> None:
    for number, image in enumerate(people[:3]):
        office.engine.enroll(f"A-{number}", [image, prints[0]])
    for biometrik in (office.client, office.waiting):
        records = [record(number, f"A-{number}", image, prints[0]) for number, image in enumerate(people[:3])]
        assert set(_outcomes(list(biometrik.import_encounters(records))).values()) == {"ENROLLED"}
        asked, told = ((one.identify([people[1]])).candidates for one in (office.engine, biometrik))
        assert [row.subject_id for row in asked] == [row.subject_id for row in told]
        assert [row.raw_score for row in asked] == pytest.approx([row.raw_score for row in told])


def test_nothing_is_an_import_too(biometrik: Biometrik) -> None:
    assert list(biometrik.import_encounters([])) == []


def test_what_the_records_raise_is_raised(biometrik: Biometrik, record: Record, people: list[FaceImage]) -> None:
    def records() -> Iterator[ImportRecord]:
        yield record(0, "A-0", people[0])
        raise InvalidInputError("the list is torn")

    with pytest.raises(InvalidInputError, match="the list is torn"):
        list(biometrik.import_encounters(records()))


def test_a_consent_is_asked_for_record_by_record(strict: Biometrik, record: Record, people: list[FaceImage]) -> None:
    consented = record(1, "A-1", people[1])
    with_consent = replace(consented, context=replace(consented.context, consent_ref="form 9"))
    found = dict(strict.import_encounters([record(0, "A-0", people[0]), with_consent]))
    refused, taken = found["line 0"], found["line 1"]
    assert isinstance(refused, ConsentMissingError)
    assert isinstance(taken, Enrollment)
    assert taken.outcome is EnrollmentOutcome.ENROLLED


def test_errors_say_the_same_everywhere(office: Office, mixed: list[ImportRecord]) -> None:
    def messages(biometrik: Biometrik) -> dict[str, str]:
        found = biometrik.import_encounters(mixed)
        return {tag: str(outcome) for tag, outcome in found if isinstance(outcome, BiometrikError)}

    expected = messages(office.engine)
    assert len(expected) == 5
    assert messages(office.client) == expected
    assert messages(office.waiting) == expected
