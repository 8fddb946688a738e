"""Reports of samples as the models would give them, for the tests of guided capture."""

import numpy as np

from biometrik.attempt import Seen
from biometrik.reasons import Reason
from biometrik.types import FACE, Box, Face, Quality, QualityComponent, SampleReport, Trait

WIDTH, HEIGHT = 640, 480
RIGHT_INDEX, RIGHT_MIDDLE, LEFT_INDEX = (Trait.finger(position) for position in (2, 3, 7))
#: Eyes, nose and mouth in a box of 160 × 200 pixels whose corner is at the origin.
_LANDMARKS = np.array([[45, 80], [115, 80], [80, 120], [50, 155], [110, 155]], dtype=np.float32)


def face_at(x: float = 240.0, y: float = 140.0) -> Face:
    """Return a face whose box begins there; its eyes are 70 pixels apart."""
    return Face(Box(x, y, 160.0, 200.0), _LANDMARKS + np.array([x, y], dtype=np.float32), 0.9)


def quality(overall: float, reason: Reason | None = None) -> Quality:
    """Return a quality; acceptable where there is no reason against it."""
    component = QualityComponent("unified_quality", overall, overall, "", overall + 1 if reason else 0.0, reason)
    return Quality(overall, "test", (component,))


def report(
    trait: Trait = FACE,
    overall: float = 80.0,
    reason: Reason | None = None,
    *,
    faces: int = 1,
    face: Face | None = None,
) -> SampleReport:
    """Return what is said of a sample from which a template was made."""
    reasons = () if reason is None else (reason,)
    found = (face or face_at()) if trait == FACE else None
    return SampleReport(0, True, reasons, quality(overall, reason), faces if trait == FACE else 0, found, trait)


def unusable(reason: Reason, trait: Trait = FACE) -> SampleReport:
    """Return what is said of a sample from which no template can be made."""
    return SampleReport(0, False, (reason,), None, 0, None, trait)


def frame(at_s: float, said: SampleReport | None = None, sample: str = "") -> Seen[str]:
    """Return a frame; its name is its time unless it is given one."""
    return Seen(at_s, sample or f"{at_s:g}", said or report(), WIDTH, HEIGHT)
