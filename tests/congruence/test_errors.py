"""Errors are the same whoever is asked: by type, by reason, and by what they carry."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest

from biometrik.client import Client
from biometrik.engine import Engine
from biometrik.errors import (
    BiometrikError,
    ConsentMissingError,
    EncounterNotFoundError,
    GalleryExistsError,
    GalleryNotFoundError,
    IncompatibleTemplateError,
    InvalidInputError,
    LegalBasisMissingError,
    SubjectNotFoundError,
    TemplateFormatError,
    ThresholdUnsupportedError,
    TransactionConflictError,
)
from biometrik.samples import Sample
from biometrik.types import (
    EncounterStatus,
    EnrollmentOutcome,
    FaceImage,
    GalleryKind,
    Modality,
    RequestContext,
    Template,
)

Biometrik: TypeAlias = Engine | Client
Call = Callable[[Biometrik], object]

GREY = FaceImage(np.full((64, 64, 3), 128, dtype=np.uint8))
SOME: list[Sample] = [GREY]
NOBODY = "f" * 32

REFUSED: dict[str, tuple[type[BiometrikError], Call]] = {
    "nobody of this id": (SubjectNotFoundError, lambda b: b.verify("nobody", SOME)),
    "nobody of one id": (SubjectNotFoundError, lambda b: b.verify_any(["nobody", "neither"], SOME)),
    "nobody to search with": (SubjectNotFoundError, lambda b: b.identify_stored("nobody")),
    "nobody to read": (SubjectNotFoundError, lambda b: b.subject("nobody")),
    "nobody to erase": (SubjectNotFoundError, lambda b: b.erase("nobody")),
    "no encounter to read": (EncounterNotFoundError, lambda b: b.encounter(NOBODY)),
    "no encounter to compare": (EncounterNotFoundError, lambda b: b.verify_encounter(NOBODY, SOME)),
    "no encounter to rest": (
        EncounterNotFoundError,
        lambda b: b.set_encounter_status(NOBODY, EncounterStatus.INACTIVE),
    ),
    "no encounter to move": (EncounterNotFoundError, lambda b: b.set_encounter_galleries(NOBODY, [])),
    "no gallery to read": (GalleryNotFoundError, lambda b: b.gallery("nowhere")),
    "no gallery to delete": (GalleryNotFoundError, lambda b: b.delete_gallery("nowhere")),
    "no gallery to search": (GalleryNotFoundError, lambda b: b.identify(SOME, galleries=["nowhere"])),
    "no gallery to list": (GalleryNotFoundError, lambda b: b.subjects(gallery="nowhere")),
    "the default gallery stays": (InvalidInputError, lambda b: b.delete_gallery("default")),
    "a gallery of that name": (GalleryExistsError, lambda b: b.create_gallery("default")),
    "a watchlist without a law": (
        LegalBasisMissingError,
        lambda b: b.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis=" "),
    ),
    "an id of nothing": (InvalidInputError, lambda b: b.verify("", SOME)),
    "an id that cannot be printed": (InvalidInputError, lambda b: b.verify("a\nb", SOME)),
    "an id that is too long": (InvalidInputError, lambda b: b.subject("x" * 129)),
    "no claims": (InvalidInputError, lambda b: b.verify_any([], SOME)),
    "a claim twice": (InvalidInputError, lambda b: b.verify_any(["a", "a"], SOME)),
    "too many claims": (InvalidInputError, lambda b: b.verify_any([str(i) for i in range(65)], SOME)),
    "an encounter of nothing": (InvalidInputError, lambda b: b.verify_encounter("", SOME)),
    "no samples to measure": (InvalidInputError, lambda b: b.quality([])),
    "no samples to compare": (InvalidInputError, lambda b: b.compare(SOME, [])),
    "no samples to search with": (InvalidInputError, lambda b: b.identify([])),
    "no samples to enrol": (InvalidInputError, lambda b: b.enroll("A", [])),
    "too many samples": (InvalidInputError, lambda b: b.extract(SOME * 17)),
    "an FMR of zero": (InvalidInputError, lambda b: b.compare(SOME, SOME, max_fmr=0.0)),
    "an FMR of one": (InvalidInputError, lambda b: b.compare(SOME, SOME, max_fmr=1.0)),
    "an FMR that is none": (InvalidInputError, lambda b: b.compare(SOME, SOME, max_fmr=float("nan"))),
    "no galleries to search": (InvalidInputError, lambda b: b.identify(SOME, galleries=[])),
    "no candidates wanted": (InvalidInputError, lambda b: b.identify(SOME, max_candidates=0)),
    "too many candidates wanted": (InvalidInputError, lambda b: b.identify(SOME, max_candidates=101)),
    "a page of nothing": (InvalidInputError, lambda b: b.subjects(limit=0)),
    "a page below nothing": (InvalidInputError, lambda b: b.subjects(limit=-1)),
    "a page too long": (InvalidInputError, lambda b: b.subjects(limit=1001)),
    "a gallery of nothing": (InvalidInputError, lambda b: b.gallery("")),
    "people of a gallery of nothing": (InvalidInputError, lambda b: b.subjects(gallery="")),
    "kept for less than no days": (InvalidInputError, lambda b: b.create_gallery("x", retention_days=-1)),
    "kept for ever": (InvalidInputError, lambda b: b.create_gallery("x", retention_days=36_526)),
    "a law that is too long": (InvalidInputError, lambda b: b.create_gallery("x", legal_basis="x" * 1025)),
    "a template of other models": (
        IncompatibleTemplateError,
        lambda b: b.identify([Template(Modality.FACE, "other@1", bytes(512))]),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_refused_alike(biometrik: Biometrik, case: str) -> None:
    expected, call = REFUSED[case]
    with pytest.raises(BiometrikError) as caught:
        call(biometrik)
    assert type(caught.value) is expected
    assert biometrik.subjects() == []
    assert [gallery.name for gallery in biometrik.galleries()] == ["default"]


def test_messages_are_the_engines_own(biometrik: Biometrik) -> None:
    with pytest.raises(SubjectNotFoundError, match=r"^subject: nobody is enrolled under this id"):
        biometrik.verify("nobody", SOME)


def test_a_template_of_no_use_is_refused(biometrik: Biometrik, people: list[FaceImage]) -> None:
    (template,) = biometrik.extract([people[0]])
    assert template is not None
    tripled = (3 * np.frombuffer(template.payload, "<f4")).tobytes()
    for payload in (template.payload[:-4], b"\xff" * len(template.payload), tripled):
        with pytest.raises(TemplateFormatError):
            biometrik.enroll("A-1", [replace(template, payload=payload)])


def test_an_unsupported_target_carries_the_tightest_that_is(biometrik: Biometrik, people: list[FaceImage]) -> None:
    biometrik.enroll("A-1", [people[0]])
    with pytest.raises(ThresholdUnsupportedError) as caught:
        biometrik.verify("A-1", [people[0]], max_fmr=1e-9)
    tightest = caught.value.tightest
    assert biometrik.verify("A-1", [people[0]], max_fmr=tightest).max_fmr == tightest
    with pytest.raises(ThresholdUnsupportedError) as search:
        biometrik.identify([people[0]], max_fpir=1e-9)
    assert biometrik.identify([people[0]], max_fpir=search.value.tightest).max_fpir == search.value.tightest


def test_consent_is_required_where_the_configuration_says_so(strict: Biometrik, people: list[FaceImage]) -> None:
    for context in (None, RequestContext(), RequestContext(consent_ref=" ")):
        with pytest.raises(ConsentMissingError):
            strict.enroll("A-1", [people[0]], context=context)
    assert strict.subjects() == []
    enrolled = strict.enroll("A-1", [people[0]], context=RequestContext(consent_ref="form 9"))
    assert enrolled.outcome is EnrollmentOutcome.ENROLLED


def test_a_repeated_write_returns_its_first_answer_and_another_conflicts(
    biometrik: Biometrik, people: list[FaceImage], request: pytest.FixtureRequest
) -> None:
    # The ids stay known when the people are erased: each run of this test has its own.
    run = request.node.name

    def who(name: str) -> RequestContext:
        return RequestContext(f"{run} {name}")

    first = biometrik.enroll("A-1", [people[0]], context=who("enroll"))
    writes: list[Call] = [
        lambda b: b.create_gallery("gate", context=who("create")),
        lambda b: b.set_encounter_galleries(first.encounter_id, ["gate"], context=who("move")),
        lambda b: b.set_encounter_status(first.encounter_id, EncounterStatus.INACTIVE, context=who("rest")),
        lambda b: b.delete_gallery("gate", context=who("delete")),
        lambda b: b.erase("A-1", context=who("erase")),
    ]
    answers = [write(biometrik) for write in writes]
    again = biometrik.enroll("A-1", [people[0]], context=who("enroll"))
    assert (again.encounter_id, again.templates) == (first.encounter_id, first.templates)
    assert [write(biometrik) for write in writes] == answers
    assert biometrik.subjects() == []

    conflicts: list[Call] = [
        lambda b: b.enroll("A-2", [people[0]], context=who("enroll")),
        lambda b: b.enroll("A-1", [people[2]], context=who("enroll")),
        lambda b: b.enroll("A-1", [people[0]], galleries=[], context=who("enroll")),
        lambda b: b.enroll("A-1", [people[0]], override="x", context=who("enroll")),
        lambda b: b.create_gallery("desk", context=who("create")),
        lambda b: b.create_gallery("gate", retention_days=1, context=who("create")),
        lambda b: b.set_encounter_galleries(first.encounter_id, [], context=who("move")),
        lambda b: b.set_encounter_status(first.encounter_id, EncounterStatus.ACTIVE, context=who("rest")),
        lambda b: b.delete_gallery("desk", context=who("delete")),
        lambda b: b.erase("A-2", context=who("erase")),
        lambda b: b.erase("A-1", context=who("create")),
    ]
    for conflict in conflicts:
        with pytest.raises(TransactionConflictError):
            conflict(biometrik)
    assert biometrik.subjects() == []


def test_a_write_without_an_id_is_done_each_time(biometrik: Biometrik, people: list[FaceImage]) -> None:
    first, second = (biometrik.enroll("A-1", [people[0]]) for _ in range(2))
    assert first.encounter_id != second.encounter_id
    assert len(biometrik.subject("A-1").encounters) == 2
