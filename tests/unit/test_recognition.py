"""Samples of both modalities through the models, and which traits meet which."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrik.config import EngineConfig, FingerParameters, ModelParameters, RuntimeParameters
from biometrik.errors import IncompatibleTemplateError
from biometrik.features import Features
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.reasons import Reason
from biometrik.recognition import Recognition, meeting, presented, traits_of
from biometrik.samples import UnreadableSample
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.types import FACE, Modality, Template, Trait

INDEX, MIDDLE, LEFT, SOME = (Trait(Modality.FINGER, position) for position in (2, 3, 7, 0))
counts = st.dictionaries(st.sampled_from([FACE, INDEX, MIDDLE, LEFT, SOME]), st.integers(1, 3))


def test_labelled_fingers_meet_their_like() -> None:
    assert meeting({FACE: 1, INDEX: 2, MIDDLE: 1}, {FACE: 1, INDEX: 3, LEFT: 1}) == {FACE: 1, INDEX: 6}
    assert meeting({INDEX: 1}, {MIDDLE: 1}) == {}
    assert meeting({FACE: 1}, {INDEX: 1}) == {}


def test_where_no_label_meets_a_label_all_prints_are_one_trait() -> None:
    assert meeting({SOME: 2}, {INDEX: 1, LEFT: 2}) == {SOME: 6}
    assert meeting({INDEX: 1, MIDDLE: 1}, {SOME: 1}) == {SOME: 2}
    assert meeting({FACE: 1, SOME: 1}, {FACE: 1, SOME: 1}) == {FACE: 1, SOME: 1}
    # A label that meets its like speaks for itself: the other print may be of the same finger.
    assert meeting({INDEX: 1, SOME: 1}, {INDEX: 1, LEFT: 1}) == {INDEX: 1}


@given(counts, counts)
def test_no_finger_is_evidence_twice_and_the_order_does_not_matter(
    probe: dict[Trait, int], reference: dict[Trait, int]
) -> None:
    met = meeting(probe, reference)
    assert met == meeting(reference, probe)
    assert not (SOME in met and any(trait.position for trait in met))
    for trait, pairs in met.items():
        assert pairs <= max(1, sum(probe.values()) * sum(reference.values()))
        assert trait == SOME or (trait in probe and trait in reference)


def test_what_is_presented_is_counted_by_trait() -> None:
    pixels = np.full((60, 60), 255, dtype=np.uint8)
    prints = [FingerprintImage(pixels, 500, FingerPosition(code)) for code in (2, 2, 11)]
    template = Template(Modality.FINGER, "demo@1", b"1", 7)
    assert presented([*prints, template, UnreadableSample("bad"), UnreadableSample("bad")]) == {
        INDEX: 2,
        Trait(Modality.FINGER, 1): 1,
        LEFT: 1,
        FACE: 1,
    }


@pytest.fixture(scope="module")
def recognition(tmp_path_factory: pytest.TempPathFactory) -> Recognition:
    models = ModelParameters(cache=Path(tmp_path_factory.getbasetemp()) / "models")
    return Recognition(
        EngineConfig(
            finger=FingerParameters(extractor="ridge"), models=models, runtime=RuntimeParameters(warm_up=False)
        )
    )


def _impression(finger: int, number: int, position: FingerPosition) -> FingerprintImage:
    image = draw_impression(draw_finger(11, finger), number).image
    return FingerprintImage(image.pixels, image.ppi, position)


def test_prints_become_templates_that_tell_fingers_apart(recognition: Recognition) -> None:
    index, again = (_impression(0, number, FingerPosition.RIGHT_INDEX) for number in (0, 1))
    other = _impression(1, 0, FingerPosition.RIGHT_INDEX)
    rows = recognition.prepare([index, UnreadableSample("bad", trait=INDEX), again, other])
    assert [row.report.usable for row in rows] == [True, False, True, True]
    assert {row.trait for row in rows} == {INDEX}
    assert rows[1].report.reasons == (Reason.IMAGE_UNREADABLE,)
    quality = rows[0].report.quality
    assert quality is not None
    assert 0 < quality.overall <= 100
    known, same, stranger = (recognition.features([row.template]) for row in rows if row.template)
    assert traits_of(known) == {INDEX: 1}
    mated = recognition.compare(same, known)[INDEX]
    non_mated = recognition.compare(stranger, known)[INDEX]
    assert mated.similarity > 3 * non_mated.similarity
    assert (mated.comparisons, non_mated.comparisons) == (1, 1)


def test_the_best_of_several_prints_counts_and_its_number_is_told(recognition: Recognition) -> None:
    images = [_impression(0, number, FingerPosition.RIGHT_INDEX) for number in (0, 1)]
    first, second = (row.template for row in recognition.prepare(images))
    assert first is not None
    assert second is not None
    both, one = recognition.features([first, second]), recognition.features([first])
    found = recognition.compare(both, one)[INDEX]
    assert found.comparisons == 2
    assert found.similarity == recognition.compare(one, one)[INDEX].similarity
    unlabelled = Features(prints={0: one.prints[2]})
    assert recognition.compare(unlabelled, both) == {SOME: found}
    assert recognition.compare(Features(), both) == {}


def test_a_print_without_ridges_says_why(recognition: Recognition) -> None:
    blank = FingerprintImage(np.full((300, 300), 255, dtype=np.uint8), 500, FingerPosition.LEFT_RING)
    (row,) = recognition.prepare([blank])
    assert (row.template, row.report.quality, row.report.reasons) == (None, None, (Reason.NO_FINGERPRINT,))
    assert row.trait == Trait(Modality.FINGER, 9)


def test_templates_of_other_models_are_refused(recognition: Recognition) -> None:
    for modality in Modality:
        with pytest.raises(IncompatibleTemplateError, match="expected models"):
            recognition.prepare([Template(modality, "other@1", b"1234")])
    assert not recognition.features([Template(Modality.FINGER, "other@1", b"1234")])


def test_the_fingers_similarities_are_named_by_extractor_and_matcher(recognition: Recognition) -> None:
    contract = recognition.contract_id(Modality.FINGER)
    assert contract.startswith("ridge@")
    assert recognition.comparison_id(Modality.FINGER).startswith(f"{contract}+cylinders@")
    assert recognition.comparison_id(Modality.FACE) == recognition.contract_id(Modality.FACE)
