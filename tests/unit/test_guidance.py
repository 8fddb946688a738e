"""One word at a time, the one that helps most, in both languages."""

import pytest

from biometrik.guidance import Guidance, guidance_for
from biometrik.reasons import Reason
from biometrik.types import FACE, Face, Modality, SampleReport, Trait
from tests.unit.captured import HEIGHT, RIGHT_INDEX, WIDTH, face_at, report, unusable

#: Reasons that are said of decisions and files, never of what stands in front of a device.
_NOT_OF_PEOPLE = {
    Reason.IMAGE_UNREADABLE,
    Reason.QUALITY_TOO_LOW,
    Reason.NO_USABLE_PROBE,
    Reason.NOTHING_IN_COMMON,
    Reason.TOO_FEW_SAMPLES,
    Reason.NO_REFERENCE,
    Reason.NO_THRESHOLD,
    Reason.EMPTY_GALLERY,
}
_OF_FACES = {*list(Reason)[: list(Reason).index(Reason.PRESS_HARDER)]} - {
    Reason.NO_FINGERPRINT,
    Reason.SLAP_IMAGE,
    Reason.TOO_FEW_MINUTIAE,
}


@pytest.mark.parametrize("word", list(Guidance))
def test_every_word_is_short_and_speaks_both_languages(word: Guidance) -> None:
    english, indonesian = word.text("en"), word.text("id")
    assert english != indonesian
    assert all(text[0].isupper() and not text.endswith(".") and len(text) <= 32 for text in (english, indonesian))


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in _NOT_OF_PEOPLE])
def test_whatever_is_wrong_with_a_sample_there_is_a_word_for_it(reason: Reason) -> None:
    trait = FACE if reason in _OF_FACES else RIGHT_INDEX
    assert guidance_for(unusable(reason, trait), WIDTH, HEIGHT) is not None


def test_nothing_wrong_needs_no_word() -> None:
    assert guidance_for(report(), WIDTH, HEIGHT) is None


def test_what_mends_the_others_is_said_first() -> None:
    reasons = (Reason.TOO_DARK, Reason.LOOK_STRAIGHT, Reason.FACE_TOO_SMALL)
    said = SampleReport(0, True, reasons, None, 1, face_at())
    assert guidance_for(said, WIDTH, HEIGHT) is Guidance.COME_CLOSER


@pytest.mark.parametrize(
    ("face", "word"),
    [
        (face_at(x=0), Guidance.MOVE_LEFT),  # on the picture's left, which is the person's right
        (face_at(x=WIDTH - 160), Guidance.MOVE_RIGHT),
        (face_at(y=-20), Guidance.MOVE_DOWN),
        (face_at(y=HEIGHT - 180), Guidance.MOVE_UP),
    ],
)
@pytest.mark.parametrize("reason", [Reason.FACE_CUT_OFF, Reason.FACE_OFF_CENTRE])
def test_a_face_at_one_side_is_sent_to_the_middle_in_its_own_directions(
    face: Face, word: Guidance, reason: Reason
) -> None:
    assert guidance_for(report(reason=reason, face=face), WIDTH, HEIGHT) is word


def test_a_face_that_is_cut_off_on_both_sides_is_too_close() -> None:
    filling = report(reason=Reason.FACE_CUT_OFF, face=face_at(x=5))
    assert guidance_for(filling, 170, HEIGHT) is Guidance.STEP_BACK


@pytest.mark.parametrize("trait", [FACE, RIGHT_INDEX])
def test_reasons_of_the_other_modality_say_nothing(trait: Trait) -> None:
    other = Reason.PRESS_HARDER if trait.modality is Modality.FACE else Reason.TOO_DARK
    assert guidance_for(unusable(other, trait), WIDTH, HEIGHT) is None
