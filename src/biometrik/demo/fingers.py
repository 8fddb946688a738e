"""The demo's fingers: synthetic prints, because no person's may lie in a package, and the steps that they take."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from biometrik.client import Client
from biometrik.config import EngineConfig
from biometrik.demo.steps import Picture, Step, take
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.reasons import Reason
from biometrik.recognition import Recognition
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.synthetic.marking import stamped
from biometrik.types import FaceImage, MissingReason, MissingSample

#: Population of the synthetic fingers.
_SEED: Final = 2026
_THUMB, _RIGHT, _MIDDLE, _LEFT = (
    FingerPosition.RIGHT_THUMB,
    FingerPosition.RIGHT_INDEX,
    FingerPosition.RIGHT_MIDDLE,
    FingerPosition.LEFT_INDEX,
)
#: Which drawn finger is whose.
_FINGERS: Final[Mapping[tuple[str, FingerPosition], int]] = {
    ("A-0201", _RIGHT): 0,
    ("A-0201", _LEFT): 1,
    ("A-0201", _THUMB): 2,
    ("A-0202", _RIGHT): 3,
    ("A-0202", _LEFT): 4,
    ("stranger 1", _RIGHT): 5,
}
OWNER, OTHER, STRANGER = "A-0201", "A-0202", "stranger 1"


@cache
def _impression(who: str, position: FingerPosition, number: int) -> FingerprintImage:
    drawn = draw_impression(draw_finger(_SEED, _FINGERS[who, position]), number).image
    return replace(drawn, position=position)


def steps(
    counter: Client,
    config: EngineConfig,
    face: FaceImage,
    again: FaceImage,
    told: Callable[[Step], Step],
    *,
    max_fmr: float,
) -> None:
    """Take all steps with fingers.

    Parameters
    ----------
    counter : Client
        May enrol, verify and identify.
    config : EngineConfig
        Of the models that draw a match here.
    face, again : FaceImage
        Of the owner, at enrolment and at the counter.
    told : callable
        Takes each step.
    max_fmr : float
        Target of the verifications.
    """
    enrolled = [_picture(OWNER, position, 0) for position in (_RIGHT, _LEFT)]
    missing = [
        MissingSample(_THUMB, MissingReason.BANDAGED),
        MissingSample(FingerPosition.LEFT_RING, MissingReason.AMPUTATED, permanent=True),
    ]
    told(
        take(
            "fingers-enroll",
            f"Enrol {OWNER}: two fingers and the face",
            "One finger is under a bandage and one is not there: that is said, and stops nobody.",
            "ENROLLED",
            lambda: counter.enroll(OWNER, [face, *_images(enrolled)], missing=missing),
            holds=lambda result: result.templates == 3,
            finding=lambda: "Three templates; the missing fingers and their reasons are kept with the encounter.",
            probes=[Picture(face, f"{OWNER}, photograph at enrolment"), *enrolled],
        )
    )
    other = [_picture(OTHER, position, 0) for position in (_RIGHT, _LEFT)]
    told(
        take(
            "fingers-enroll-other",
            f"Enrol {OTHER}: two fingers",
            "",
            "ENROLLED",
            lambda: counter.enroll(OTHER, _images(other)),
            probes=other,
        )
    )
    middle = replace(_impression(OTHER, _RIGHT, 1), position=_MIDDLE)
    twice = [_picture(OTHER, _RIGHT, 0), Picture(middle, "the same finger again, said to be the middle finger")]
    told(
        take(
            "fingers-twice",
            "Enrol, one finger as two",
            "The index finger is laid down again where the middle finger was asked for. The prints match, so nothing is"
            " stored, and the advice says why.",
            "NEEDS_RECAPTURE",
            lambda: counter.enroll("A-0203", _images(twice)),
            holds=lambda result: all(Reason.SAME_FINGER_TWICE in report.reasons for report in result.samples),
            probes=twice,
        )
    )
    probe = _picture(OWNER, _RIGHT, 1)
    told(
        take(
            "fingers-genuine",
            f"Verify {OWNER}: one finger",
            "Any finger that is enrolled will do. On the left the print at enrolment, on the right the one at the"
            " counter, with their minutiae and the pairs that the matcher found.",
            "MATCH",
            lambda: counter.verify(OWNER, _images([probe]), max_fmr=max_fmr),
            references=enrolled[:1],
            probes=[replace(probe, drawn=_drawn(config, enrolled[0], probe))],
        )
    )
    both = [_picture(OWNER, _LEFT, 1), Picture(again, f"{OWNER} at the counter (re-photographed copy)")]
    told(
        take(
            "fingers-and-face",
            f"Verify {OWNER}: the other finger and the face",
            "What is there is fused into one score; what is missing does not shift the error rate.",
            "MATCH",
            lambda: counter.verify(OWNER, _images(both), max_fmr=1e-4),
            holds=lambda result: len(result.components) == 2,
            references=[enrolled[1]],
            probes=both,
        )
    )
    impostor = _picture(STRANGER, _RIGHT, 0)
    told(
        take(
            "fingers-impostor",
            f"Verify {OWNER}: {STRANGER}",
            "A stranger lays down a finger of his own.",
            "NO_MATCH",
            lambda: counter.verify(OWNER, _images([impostor]), max_fmr=max_fmr),
            references=enrolled[:1],
            probes=[impostor],
        )
    )
    unknown = replace(_impression(OTHER, _LEFT, 1), position=FingerPosition.UNKNOWN)
    told(
        take(
            "fingers-identify",
            "Identify by a finger that nobody named",
            "All fingers enrolled are searched; the print pays for the number of comparisons that it was given.",
            "MATCH",
            lambda: counter.identify([unknown], max_fpir=0.02),
            holds=lambda result: result.candidates[0].subject_id == OTHER,
            probes=[Picture(unknown, "a print without a label")],
        )
    )


def _picture(who: str, position: FingerPosition, number: int) -> Picture:
    where = "at enrolment" if number == 0 else "at the counter"
    return Picture(
        _impression(who, position, number), f"{who}, {position.name.lower().replace('_', ' ')}, {where} (synthetic)"
    )


def _images(pictures: list[Picture]) -> list[FaceImage | FingerprintImage]:
    return [picture.image for picture in pictures]


def _drawn(config: EngineConfig, reference: Picture, probe: Picture) -> bytes:
    first, second = reference.image, probe.image
    assert isinstance(first, FingerprintImage)
    assert isinstance(second, FingerprintImage)
    marked = [replace(image, pixels=stamped(image.pixels)) for image in (first, second)]
    return Recognition(config).draw_pairs(*marked)
