"""Outcomes are the same whoever is asked: the engine in process, or the service by either client."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from biometrik.client import Client
from biometrik.duplicates import DedupeAction, DedupePolicy
from biometrik.engine import Engine
from biometrik.errors import InvalidInputError
from biometrik.reasons import Reason
from biometrik.samples import UnreadableSample
from biometrik.types import (
    FACE,
    EncounterStatus,
    EnrollmentOutcome,
    FaceImage,
    GalleryKind,
    Outcome,
    RequestContext,
    Template,
)

Biometrik: TypeAlias = Engine | Client
Again = Callable[[FaceImage], FaceImage]


def _darker(image: FaceImage, factor: float) -> FaceImage:
    return FaceImage((image.pixels * factor).astype(np.uint8))


# --- samples ---------------------------------------------------------------------------------------------------


def test_quality_says_what_became_of_each_sample(
    biometrik: Biometrik, people: list[FaceImage], cat: FaceImage, group: FaceImage
) -> None:
    reports = biometrik.quality([people[0], cat, UnreadableSample("x", b"GIF89a"), _darker(people[0], 0.12), group])
    assert [report.position for report in reports] == [0, 1, 2, 3, 4]
    good, nobody, unreadable, dark, several = reports
    assert (good.usable, good.faces_found) == (True, 1)
    assert good.quality is not None
    assert good.quality.acceptable
    assert good.face is not None
    assert (nobody.usable, nobody.reasons, nobody.quality, nobody.face) == (False, (Reason.NO_FACE,), None, None)
    assert unreadable.reasons == (Reason.IMAGE_UNREADABLE,)
    assert Reason.TOO_DARK in dark.reasons
    assert several.faces_found == 6


def test_templates_are_made_of_what_shows_a_face(biometrik: Biometrik, people: list[FaceImage], cat: FaceImage) -> None:
    made, nothing, broken = biometrik.extract([people[0], cat, UnreadableSample("x", b"")])
    assert isinstance(made, Template)
    assert (nothing, broken) == (None, None)


def test_two_sides_are_compared_and_nothing_is_stored(
    biometrik: Biometrik, people: list[FaceImage], cat: FaceImage, again: Again
) -> None:
    same = biometrik.compare([again(people[0])], [people[0]])
    assert same.outcome is Outcome.MATCH
    assert [report.position for report in same.samples] == [0, 1]
    assert biometrik.compare([people[1]], [people[0]]).outcome is Outcome.NO_MATCH
    without = biometrik.compare([people[1]], [cat])
    assert (without.outcome, without.score) == (Outcome.INCONCLUSIVE, None)
    assert without.reasons == (Reason.NO_USABLE_PROBE, Reason.NO_FACE)
    assert biometrik.subjects() == []


def test_ready_templates_serve_where_images_do(biometrik: Biometrik, people: list[FaceImage], again: Again) -> None:
    (template,) = biometrik.extract([people[0]])
    (probe,) = biometrik.extract([again(people[0])])
    assert template is not None
    assert probe is not None
    enrolled = biometrik.enroll("A-1", [template])
    assert (enrolled.outcome, enrolled.samples[0].quality) == (EnrollmentOutcome.ENROLLED, None)
    assert biometrik.verify("A-1", [probe]).outcome is Outcome.MATCH
    assert biometrik.compare([probe], [people[0], template]).outcome is Outcome.MATCH
    assert biometrik.identify([probe]).candidates[0].subject_id == "A-1"


def test_a_photograph_of_several_people_is_refused_where_the_configuration_says_so(
    strict: Biometrik, group: FaceImage
) -> None:
    (report,) = strict.quality([group])
    assert (report.usable, report.reasons, report.faces_found) == (False, (Reason.SEVERAL_FACES,), 6)
    enrolled = strict.enroll("A-1", [group], context=RequestContext(consent_ref="form 9"))
    assert enrolled.outcome is EnrollmentOutcome.FAILURE_TO_ENROLL


# --- 1:1 -------------------------------------------------------------------------------------------------------


def test_a_claim_matches_or_not_or_is_inconclusive(
    biometrik: Biometrik, people: list[FaceImage], cat: FaceImage, again: Again
) -> None:
    enrolled = biometrik.enroll("A-1", [people[0]])
    genuine = biometrik.verify("A-1", [again(people[0])])
    assert (genuine.outcome, genuine.subject_id, genuine.encounter_id) == (
        Outcome.MATCH,
        "A-1",
        enrolled.encounter_id,
    )
    assert genuine.score is not None
    assert genuine.score >= genuine.threshold
    assert biometrik.verify("A-1", [again(people[2])]).outcome is Outcome.NO_MATCH
    nothing = biometrik.verify("A-1", [cat, UnreadableSample("x", b"x")])
    assert (nothing.outcome, nothing.score, nothing.raw_score, nothing.comparisons) == (
        Outcome.INCONCLUSIVE,
        None,
        None,
        0,
    )
    assert nothing.reasons == (Reason.NO_USABLE_PROBE, Reason.NO_FACE, Reason.IMAGE_UNREADABLE)
    # One bad sample does not lose the good one beside it.
    assert biometrik.verify("A-1", [cat, people[0]]).outcome is Outcome.MATCH


def test_a_stricter_target_needs_a_higher_score(biometrik: Biometrik, people: list[FaceImage]) -> None:
    biometrik.enroll("A-1", [people[0]])
    loose, tight = (biometrik.verify("A-1", [people[0]], max_fmr=rate) for rate in (1e-2, 1e-4))
    assert (loose.max_fmr, tight.max_fmr) == (1e-2, 1e-4)
    assert tight.threshold > loose.threshold
    assert tight.achieved_fmr.high < loose.achieved_fmr.value


def test_one_of_a_few_is_told_apart(biometrik: Biometrik, people: list[FaceImage], again: Again) -> None:
    for number in (0, 2, 3):
        biometrik.enroll(f"A-{number}", [people[number]])
    found = biometrik.verify_any(["A-0", "A-2", "A-3"], [again(people[2])])
    assert (found.outcome, found.subject_id, found.comparisons) == (Outcome.MATCH, "A-2", 3)
    assert biometrik.verify_any(["A-0", "A-3"], [again(people[2])]).outcome is Outcome.NO_MATCH


def test_an_encounter_is_a_reference_of_its_own(biometrik: Biometrik, people: list[FaceImage], again: Again) -> None:
    first = biometrik.enroll("A-1", [people[0]])
    other = biometrik.enroll("A-1", [people[2]])
    matched = biometrik.verify_encounter(first.encounter_id, [again(people[0])])
    assert (matched.outcome, matched.subject_id, matched.comparisons) == (Outcome.MATCH, "A-1", 1)
    assert biometrik.verify_encounter(other.encounter_id, [again(people[0])]).outcome is Outcome.NO_MATCH


def test_an_inactive_encounter_is_no_reference(biometrik: Biometrik, people: list[FaceImage]) -> None:
    enrolled = biometrik.enroll("A-1", [people[0]])
    rested = biometrik.set_encounter_status(enrolled.encounter_id, EncounterStatus.INACTIVE)
    assert rested.status is EncounterStatus.INACTIVE
    decided = biometrik.verify("A-1", [people[0]])
    assert (decided.outcome, decided.reasons) == (Outcome.INCONCLUSIVE, (Reason.NO_REFERENCE,))
    assert biometrik.identify([people[0]]).reasons == (Reason.EMPTY_GALLERY,)
    stored = biometrik.identify_stored("A-1")
    assert (stored.outcome, stored.reasons) == (Outcome.INCONCLUSIVE, (Reason.NO_REFERENCE,))
    biometrik.set_encounter_status(enrolled.encounter_id, EncounterStatus.ACTIVE)
    assert biometrik.verify("A-1", [people[0]]).outcome is Outcome.MATCH


# --- 1:N -------------------------------------------------------------------------------------------------------


def test_a_search_finds_the_enrolled_and_knows_strangers(
    biometrik: Biometrik, people: list[FaceImage], cat: FaceImage, again: Again, astronaut: FaceImage
) -> None:
    for number in range(5):
        biometrik.enroll(f"A-{number}", [people[number]])
    found = biometrik.identify([again(people[3])])
    assert (found.outcome, found.candidates[0].subject_id) == (Outcome.MATCH, "A-3")
    assert [candidate.is_match for candidate in found.candidates] == [True, False, False, False, False]
    assert (found.coverage.subjects, found.coverage.compared, found.coverage.exact) == (5, 5, True)
    assert found.achieved_fpir is not None
    stranger = biometrik.identify([astronaut], max_candidates=2)
    assert (stranger.outcome, len(stranger.candidates)) == (Outcome.NO_MATCH, 2)
    nothing = biometrik.identify([cat])
    assert (nothing.outcome, nothing.candidates) == (Outcome.INCONCLUSIVE, ())
    assert nothing.reasons == (Reason.NO_USABLE_PROBE, Reason.NO_FACE)
    undecided = biometrik.identify([people[0]], max_fpir=None)
    assert (undecided.outcome, undecided.reasons) == (Outcome.INCONCLUSIVE, (Reason.NO_THRESHOLD,))
    assert (undecided.threshold, undecided.max_fpir, undecided.achieved_fpir) == (None, None, None)
    excluded = biometrik.identify([people[0]], excluding="A-0", max_candidates=10)
    assert "A-0" not in [candidate.subject_id for candidate in excluded.candidates]


def test_a_search_of_nobody_says_so(biometrik: Biometrik, people: list[FaceImage]) -> None:
    found = biometrik.identify([people[0]])
    assert (found.outcome, found.reasons, found.threshold) == (Outcome.NO_MATCH, (Reason.EMPTY_GALLERY,), None)


def test_a_search_keeps_to_galleries(biometrik: Biometrik, people: list[FaceImage]) -> None:
    for name in ("gate", "desk"):
        biometrik.create_gallery(name)
    biometrik.enroll("A-0", [people[0]])
    biometrik.enroll("A-1", [people[1]], galleries=["gate"], override="kept as it is")
    biometrik.enroll("A-2", [people[2]], galleries=["gate", "desk"])
    nowhere = biometrik.enroll("A-3", [people[3]], galleries=[])

    def found(*galleries: str) -> set[str]:
        chosen = biometrik.identify([people[0]], galleries=list(galleries) or None)
        return {candidate.subject_id for candidate in chosen.candidates}

    assert (found("gate"), found("desk"), found("desk", "gate")) == ({"A-1", "A-2"}, {"A-2"}, {"A-1", "A-2"})
    assert found() == {"A-0", "A-1", "A-2"}
    # Who is in no gallery is compared 1:1 and never found.
    assert biometrik.encounter(nowhere.encounter_id).galleries == ()
    assert biometrik.verify("A-3", [people[3]]).outcome is Outcome.MATCH
    moved = biometrik.set_encounter_galleries(nowhere.encounter_id, ["desk"])
    assert moved.galleries == ("desk",)
    assert found("desk") == {"A-2", "A-3"}
    assert biometrik.set_encounter_galleries(nowhere.encounter_id, []).galleries == ()
    assert found("desk") == {"A-2"}


def test_a_stored_subject_is_looked_for_under_other_ids(biometrik: Biometrik, people: list[FaceImage]) -> None:
    biometrik.enroll("A-0", [people[0]])
    alone = biometrik.identify_stored("A-0")
    assert (alone.outcome, alone.reasons) == (Outcome.NO_MATCH, (Reason.EMPTY_GALLERY,))
    biometrik.enroll("A-2", [people[2]])
    biometrik.enroll("B-7", [people[0]])
    found = biometrik.identify_stored("A-0")
    assert (found.outcome, found.samples) == (Outcome.MATCH, ())
    assert [candidate.subject_id for candidate in found.candidates] == ["B-7", "A-2"]
    only = biometrik.identify_stored("A-0", max_fpir=None, max_candidates=1)
    assert (only.outcome, len(only.candidates)) == (Outcome.INCONCLUSIVE, 1)


# --- enrolment and the gallery ---------------------------------------------------------------------------------


def test_enrolment_stores_only_what_is_good_enough(
    biometrik: Biometrik, people: list[FaceImage], cat: FaceImage
) -> None:
    dark = _darker(people[0], 0.12)
    poor = biometrik.enroll("A-1", [dark])
    assert (poor.outcome, poor.encounter_id, poor.templates) == (EnrollmentOutcome.NEEDS_RECAPTURE, "", 0)
    none = biometrik.enroll("A-1", [cat, UnreadableSample("x", b"x")])
    assert none.outcome is EnrollmentOutcome.FAILURE_TO_ENROLL
    assert biometrik.subjects() == []
    mixed = biometrik.enroll("A-1", [cat, people[0], dark])
    assert (mixed.outcome, mixed.templates) == (EnrollmentOutcome.ENROLLED, 1)
    assert [report.usable for report in mixed.samples] == [False, True, True]
    forced = biometrik.enroll("A-1", [dark], override="power cut in the hall")
    assert forced.outcome is EnrollmentOutcome.ENROLLED
    assert [row.encounter_id for row in biometrik.subject("A-1").encounters] == [
        mixed.encounter_id,
        forced.encounter_id,
    ]


def test_a_suspected_duplicate_is_warned_of_or_refused(
    biometrik: Biometrik, people: list[FaceImage], again: Again
) -> None:
    assert biometrik.enroll("A-1", [people[0]]).search is None
    stranger = biometrik.enroll("A-2", [people[2]], dedupe=DedupePolicy())
    assert stranger.outcome is EnrollmentOutcome.ENROLLED
    assert stranger.search is not None
    assert (stranger.search.outcome, stranger.search.candidates) == (Outcome.NO_MATCH, ())
    refused = biometrik.enroll("A-3", [again(people[0])], dedupe=DedupePolicy(galleries=("default",)))
    assert (refused.outcome, refused.encounter_id) == (EnrollmentOutcome.DUPLICATE_SUSPECTED, "")
    assert refused.search is not None
    assert [(c.subject_id, c.is_match) for c in refused.search.candidates] == [("A-1", True)]
    assert (refused.search.max_fpir, refused.search.coverage.subjects) == (0.01, 2)
    assert len(refused.samples) == 1
    seen = DedupePolicy(excluded_subject_ids=("A-1",), override="a twin")
    assert biometrik.enroll("A-3", [again(people[0])], dedupe=seen).outcome is EnrollmentOutcome.ENROLLED
    warned = biometrik.enroll("A-4", [people[0]], dedupe=DedupePolicy(DedupeAction.WARN, max_candidates=1))
    assert warned.outcome is EnrollmentOutcome.ENROLLED
    assert warned.search is not None
    assert len(warned.search.candidates) == 1


def test_a_suspicion_is_repeated_as_it_was(biometrik: Biometrik, people: list[FaceImage]) -> None:
    biometrik.enroll("A-1", [people[0]])
    who = RequestContext("t-1")
    first = biometrik.enroll("A-2", [people[0]], dedupe=DedupePolicy(), context=who)
    biometrik.erase("A-1")
    repeated = biometrik.enroll("A-2", [people[0]], dedupe=DedupePolicy(), context=who)
    assert (repeated.outcome, repeated.search) == (EnrollmentOutcome.DUPLICATE_SUSPECTED, first.search)
    assert biometrik.enroll("A-2", [people[0]], dedupe=DedupePolicy()).outcome is EnrollmentOutcome.ENROLLED


@pytest.mark.parametrize("name", ["client", "async"])
def test_a_session_that_suspects_a_duplicate_goes_on(
    office: Any, people: list[FaceImage], again: Again, name: str
) -> None:
    counter = office.of(name)
    counter.enroll("A-1", [people[0]])
    opened = counter.open_session("A-2", [FACE], dedupe=DedupePolicy())
    with pytest.raises(InvalidInputError, match="suspects"):
        counter.override_duplicates(opened.session_id, "too early")
    counter.submit(opened.session_id, again(people[0]))
    for _ in range(2):
        done = counter.finalize(opened.session_id)
        assert done.enrollment.outcome is EnrollmentOutcome.DUPLICATE_SUSPECTED
        assert [c.subject_id for c in done.enrollment.search.candidates] == ["A-1"]
    with pytest.raises(InvalidInputError, match="reason"):
        counter.override_duplicates(opened.session_id, "")
    counter.override_duplicates(opened.session_id, "twins, both cards seen")
    counter.enroll("A-3", [people[0]])  # whom the operator has not seen
    done = counter.finalize(opened.session_id)
    assert [c.subject_id for c in done.enrollment.search.candidates] == ["A-3"]
    counter.override_duplicates(opened.session_id, "a triplet")
    done = counter.finalize(opened.session_id)
    assert (done.enrollment.outcome, done.enrollment.search.candidates) == (EnrollmentOutcome.ENROLLED, ())
    details = office.served.events(limit=1000)[-1].details
    assert details["dedupe_override"] == "twins, both cards seen; a triplet"
    assert details["dedupe_excluded"] == '["A-1", "A-3"]'


def test_people_are_listed_by_pages(biometrik: Biometrik, people: list[FaceImage]) -> None:
    biometrik.create_gallery("gate")
    (template,) = biometrik.extract([people[0]])
    assert template is not None
    for number in range(5):
        biometrik.enroll(f"A-{number}", [template], galleries=["gate"] if number % 2 else None)
    seen: list[str] = []
    while page := biometrik.subjects(after=seen[-1] if seen else "", limit=2):
        assert len(page) <= 2
        seen += [subject.subject_id for subject in page]
    assert seen == [f"A-{number}" for number in range(5)]
    assert [subject.subject_id for subject in biometrik.subjects(gallery="gate")] == ["A-1", "A-3"]
    assert biometrik.subjects(after="A-9") == []


def test_galleries_are_made_listed_and_deleted(biometrik: Biometrik, people: list[FaceImage]) -> None:
    made = biometrik.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="Act 1", retention_days=30)
    assert (made.name, made.kind, made.legal_basis, made.retention_days) == (
        "watch",
        GalleryKind.WATCHLIST,
        "Act 1",
        30,
    )
    biometrik.create_gallery("b", GalleryKind.APPOINTMENT)
    enrolled = biometrik.enroll("A-1", [people[0]], galleries=["watch"])
    biometrik.enroll("A-1", [people[0]], galleries=["watch", "b"])
    watch = biometrik.gallery("watch")
    assert (watch.subjects, watch.encounters) == (1, 2)
    assert [gallery.name for gallery in biometrik.galleries()] == ["b", "default", "watch"]
    biometrik.delete_gallery("watch")
    assert [gallery.name for gallery in biometrik.galleries()] == ["b", "default"]
    assert biometrik.encounter(enrolled.encounter_id).galleries == ()
    assert biometrik.verify("A-1", [people[0]]).outcome is Outcome.MATCH


def test_erasure_leaves_nothing_and_certifies_it(biometrik: Biometrik, people: list[FaceImage]) -> None:
    biometrik.enroll("A-1", [people[0], people[0]])
    biometrik.enroll("A-1", [people[0]])
    biometrik.enroll("A-2", [people[2]])
    certificate = biometrik.erase("A-1", context=RequestContext(operator_ref="op 7"))
    assert (certificate.subject_id, certificate.encounters, certificate.templates) == ("A-1", 2, 3)
    assert certificate.erased_at.tzinfo is not None
    assert len(certificate.digest) == 64
    assert certificate.event > 0
    assert [subject.subject_id for subject in biometrik.subjects()] == ["A-2"]
    assert [candidate.subject_id for candidate in biometrik.identify([people[0]]).candidates] == ["A-2"]


@pytest.mark.parametrize("how", ["png", "as read"])
def test_an_image_is_the_same_however_it_is_presented(biometrik: Biometrik, astronaut: FaceImage, how: str) -> None:
    shown = FaceImage(astronaut.pixels) if how == "png" else astronaut
    biometrik.enroll("A-1", [astronaut])
    decided = biometrik.verify("A-1", [shown])
    assert decided.raw_score == pytest.approx(1.0, abs=1e-5)
