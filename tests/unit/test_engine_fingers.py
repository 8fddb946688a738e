"""The engine with fingers: any subset verifies, missing fingers are data, one finger is never two."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from biometrik.config import EngineConfig, ModelParameters
from biometrik.demo.photographs import ASTRONAUT, GROUP, find, photographed_again
from biometrik.duplicates import DedupePolicy
from biometrik.engine import Engine
from biometrik.errors import InvalidInputError, ThresholdUnsupportedError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.reasons import Reason
from biometrik.samples import PreparedSample
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.types import FACE, EnrollmentOutcome, FaceImage, MissingReason, MissingSample, Modality, Outcome, Trait

RIGHT, MIDDLE, LEFT = FingerPosition.RIGHT_INDEX, FingerPosition.RIGHT_MIDDLE, FingerPosition.LEFT_INDEX
Prints = dict[tuple[int, int], PreparedSample]


def _print(finger: int, number: int, position: FingerPosition) -> FingerprintImage:
    drawn = draw_impression(draw_finger(3, finger), number).image
    return FingerprintImage(drawn.pixels, drawn.ppi, position)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EngineConfig:
    """Return one whose models' cache all tests share."""
    return EngineConfig(models=ModelParameters(cache=Path(tmp_path_factory.getbasetemp()) / "models"))


@pytest.fixture(scope="module")
def _models(config: EngineConfig) -> Iterator[Engine]:
    with Engine.open(":memory:", config) as engine:
        yield engine


@pytest.fixture(scope="module")
def prints(_models: Engine) -> Prints:
    """Return prepared prints by finger and impression; fingers 0 and 1 are one person's, 2 a stranger's."""
    keys = [(finger, number) for finger in range(3) for number in range(2)]
    positions = {0: RIGHT, 1: LEFT, 2: RIGHT}
    made = _models.prepare([_print(finger, number, positions[finger]) for finger, number in keys])
    return dict(zip(keys, made, strict=True))


@pytest.fixture(scope="module")
def faces(_models: Engine) -> tuple[PreparedSample, PreparedSample, PreparedSample]:
    """Return a face, the same again, and a stranger's."""
    own = FaceImage.from_file(find(ASTRONAUT))
    stranger = FaceImage.from_file(find(GROUP))
    first, second, third = _models.prepare([own, photographed_again(own, 1), stranger])
    return first, second, third


@pytest.fixture
def engine(config: EngineConfig, prints: Prints, faces: tuple[PreparedSample, ...]) -> Iterator[Engine]:
    """Return an engine in which A-1 is enrolled with two fingers and a face, B-2 with a finger."""
    with Engine.open(":memory:", config) as engine:
        assert engine.enroll("A-1", [prints[0, 0], prints[1, 0], faces[0]]).templates == 3
        assert engine.enroll("B-2", [prints[2, 0]]).outcome is EnrollmentOutcome.ENROLLED
        yield engine


def test_any_subset_of_what_is_enrolled_verifies(
    engine: Engine, prints: Prints, faces: tuple[PreparedSample, ...]
) -> None:
    right, left = Trait(Modality.FINGER, RIGHT), Trait(Modality.FINGER, LEFT)
    for probe, traits in (
        ([prints[0, 1]], {right}),
        ([prints[1, 1], prints[0, 1]], {right, left}),
        ([faces[1]], {FACE}),
        ([faces[1], prints[1, 1]], {FACE, left}),
    ):
        decision = engine.verify("A-1", probe, max_fmr=1e-3)
        assert decision.outcome is Outcome.MATCH
        assert {component.trait for component in decision.components} == traits
        assert (decision.raw_score is None) == (len(traits) > 1)
        assert " + ".join(dict.fromkeys(c.calibration_id for c in decision.components)) == decision.calibration_id
        assert all(report.usable for report in decision.samples)


def test_a_stranger_does_not_match_with_any_trait(
    engine: Engine, prints: Prints, faces: tuple[PreparedSample, ...]
) -> None:
    for probe in ([prints[2, 1]], [prints[2, 1], faces[2]]):
        decision = engine.verify("A-1", probe, max_fmr=1e-3)
        assert decision.outcome is not Outcome.MATCH
        assert decision.score is not None
        assert decision.score < 20


def test_more_traits_say_more_than_one(engine: Engine, prints: Prints) -> None:
    one = engine.verify("A-1", [prints[0, 1]], max_fmr=1e-3)
    two = engine.verify("A-1", [prints[0, 1], prints[1, 1]], max_fmr=1e-3)
    assert one.score is not None
    assert two.score is not None
    assert two.score > one.score + 3


def test_what_is_not_enrolled_is_not_compared(engine: Engine, prints: Prints) -> None:
    decision = engine.verify("B-2", [prints[1, 1]])
    assert (decision.outcome, decision.reasons) == (Outcome.INCONCLUSIVE, (Reason.NOTHING_IN_COMMON,))
    assert (decision.score, decision.components) == (None, ())


def test_a_finger_that_is_not_labelled_is_compared_with_all_and_pays_for_it(
    engine: Engine, prints: Prints, config: EngineConfig
) -> None:
    source = prints[0, 1].source
    assert isinstance(source, FingerprintImage)
    unknown = FingerprintImage(source.pixels, source.ppi)
    decision = engine.verify("A-1", [unknown], max_fmr=1e-3)
    assert decision.outcome is Outcome.MATCH
    (component,) = decision.components
    assert (component.trait, component.comparisons) == (Trait(Modality.FINGER), 2)


def test_missing_fingers_are_data(engine: Engine, prints: Prints) -> None:
    missing = [MissingSample(FingerPosition.LEFT_RING, MissingReason.AMPUTATED, permanent=True)]
    engine.enroll("C-3", [prints[2, 1]], missing=missing)
    (encounter,) = engine.subject("C-3").encounters
    assert (encounter.traits, encounter.missing) == ((Trait.finger(RIGHT),), tuple(missing))
    with pytest.raises(InvalidInputError, match="each finger once"):
        engine.enroll("C-3", [prints[2, 1]], missing=missing * 2)
    with pytest.raises(InvalidInputError, match="right_index as well"):
        engine.enroll("C-3", [prints[2, 1]], missing=[MissingSample(RIGHT, MissingReason.WORN)])


def test_one_finger_presented_as_two_is_not_enrolled(engine: Engine, prints: Prints) -> None:
    again = prints[0, 1].source
    assert isinstance(again, FingerprintImage)
    middle = FingerprintImage(again.pixels, again.ppi, MIDDLE)
    refused = engine.enroll("D-4", [prints[0, 0], middle, prints[1, 0]])
    assert (refused.outcome, refused.encounter_id) == (EnrollmentOutcome.NEEDS_RECAPTURE, "")
    twice = [Reason.SAME_FINGER_TWICE in report.reasons for report in refused.samples]
    assert twice == [True, True, False]
    assert engine.enroll("D-4", [prints[0, 0], middle], override="scar").outcome is EnrollmentOutcome.ENROLLED


def test_a_search_finds_by_fingers_by_face_and_by_both(
    engine: Engine, prints: Prints, faces: tuple[PreparedSample, ...]
) -> None:
    for probe, subject in (
        ([prints[0, 1]], "A-1"),
        ([prints[2, 1]], "B-2"),
        ([prints[0, 1], prints[1, 1]], "A-1"),
        ([faces[1], prints[1, 1]], "A-1"),
        ([faces[1]], "A-1"),
    ):
        found = engine.identify(probe, max_fpir=0.02)
        assert (found.outcome, found.candidates[0].subject_id) == (Outcome.MATCH, subject)
        assert found.coverage.exact
        verified = engine.verify(subject, probe)
        assert found.candidates[0].score == pytest.approx(verified.score)
        pairs = zip(found.candidates[0].components, verified.components, strict=True)
        for there, here in pairs:
            assert (there.trait, there.comparisons) == (here.trait, here.comparisons)
            assert there.raw_score == pytest.approx(here.raw_score, abs=1e-6)  # a face's by the index's own sum
    assert engine.identify_stored("A-1", max_fpir=0.02).outcome is Outcome.NO_MATCH
    engine.enroll("A-9", [prints[0, 1]])
    assert engine.identify_stored("A-1", max_fpir=0.02).candidates[0].subject_id == "A-9"


def test_erasure_leaves_no_finger_to_find(engine: Engine, prints: Prints) -> None:
    assert engine.erase("A-1").templates == 3
    found = engine.identify([prints[0, 1]], max_fpir=None)
    assert {candidate.subject_id for candidate in found.candidates} <= {"B-2"}


def test_fingers_are_there_after_reopening(tmp_path: Path, config: EngineConfig, prints: Prints) -> None:
    path = tmp_path / "people.db"
    with Engine.open(path, config) as engine:
        engine.enroll("A-1", [prints[0, 0]])
    with Engine.open(path, config) as engine:
        assert engine.identify([prints[0, 1]], max_fpir=0.02).candidates[0].subject_id == "A-1"
        assert engine.verify("A-1", [prints[0, 1]]).outcome is Outcome.MATCH


def test_real_evidence_can_be_demanded_and_reaches_less_far(engine: Engine, prints: Prints) -> None:
    real = engine.scale(Modality.FINGER, real_evidence=True)
    both = engine.scale(Modality.FINGER)
    assert both.tightest_fmr < real.tightest_fmr
    target = (both.tightest_fmr * real.tightest_fmr) ** 0.5
    assert engine.verify("A-1", [prints[0, 1]], max_fmr=target).outcome is Outcome.MATCH
    with pytest.raises(ThresholdUnsupportedError) as caught:
        engine.verify("A-1", [prints[0, 1]], max_fmr=target, real_evidence=True)
    assert caught.value.tightest == pytest.approx(real.tightest_fmr)
    assert real.id in both.id


def test_a_poor_print_is_never_refused_and_not_enrolled(engine: Engine, prints: Prints) -> None:
    source = prints[0, 1].source
    assert isinstance(source, FingerprintImage)
    corner = FingerprintImage(np.ascontiguousarray(source.pixels[: source.pixels.shape[0] // 3]), source.ppi, LEFT)
    (report,) = engine.quality([corner])
    assert report.quality is None or not report.quality.acceptable
    assert engine.verify("A-1", [corner]).outcome is Outcome.INCONCLUSIVE
    assert engine.enroll("E-5", [corner]).outcome is not EnrollmentOutcome.ENROLLED


def test_a_match_can_be_drawn(engine: Engine, prints: Prints) -> None:
    images = [prints[0, number].source for number in (0, 1)]
    first, second = images
    assert isinstance(first, FingerprintImage)
    assert isinstance(second, FingerprintImage)
    assert engine.draw_pairs(first, second)[1:4] == b"PNG"
    blank = FingerprintImage(np.full((300, 300), 255, dtype=np.uint8), 500)
    with pytest.raises(InvalidInputError, match="reference: expected a print, got NO_FINGERPRINT"):
        engine.draw_pairs(first, blank)


def test_a_person_who_is_known_by_fingers_is_suspected_by_them(engine: Engine, prints: Prints) -> None:
    refused = engine.enroll("C-3", [prints[1, 1]], dedupe=DedupePolicy())
    assert refused.outcome is EnrollmentOutcome.DUPLICATE_SUSPECTED
    assert refused.search is not None
    assert [candidate.subject_id for candidate in refused.search.candidates] == ["A-1"]
    assert [row.trait for row in refused.search.candidates[0].components] == [Trait(Modality.FINGER, LEFT)]


def test_duplicates_are_found_by_all_traits_from_either_side(
    engine: Engine, prints: Prints, faces: tuple[PreparedSample, ...]
) -> None:
    assert [(page.prints, page.pairs) for page in (engine.duplicates(max_fmr=1e-4),)] == [(2, ())]
    engine.enroll("D-4", [prints[0, 1], prints[1, 1]])
    engine.enroll("E-5", [faces[1]])
    page = engine.duplicates(max_fmr=1e-4)
    assert (page.faces, page.prints, page.passed_over, page.more) == (1, 3, 0, False)
    named = {frozenset(pair.subject_ids): pair for pair in page.pairs}
    assert set(named) == {frozenset(("A-1", "D-4")), frozenset(("A-1", "E-5"))}
    fingers = {row.trait for row in named[frozenset(("A-1", "D-4"))].components}
    assert fingers == {Trait(Modality.FINGER, RIGHT), Trait(Modality.FINGER, LEFT)}
    assert [row.trait for row in named[frozenset(("A-1", "E-5"))].components] == [FACE]
    # Each with prints asks for itself: such a pair comes from both sides.
    assert [frozenset(pair.subject_ids) for pair in page.pairs].count(frozenset(("A-1", "D-4"))) == 2


def test_who_has_too_little_for_the_rate_is_passed_over_and_counted(engine: Engine) -> None:
    page = engine.duplicates(max_fmr=1e-5, real_evidence=True)  # real evidence of one finger ends far before
    assert (page.prints, page.passed_over) == (1, 1)
