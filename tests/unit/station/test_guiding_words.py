"""Every word of guidance is said by something, or known to be said by nothing."""

from biometrik import guidance
from biometrik.guidance import Guidance
from biometrik.types import Face
from biometrik_station.guiding import ASKED
from tests.unit.captured import HEIGHT, WIDTH, face_at


def towards_middle(face: Face) -> Guidance | None:
    return guidance._towards_middle(face, WIDTH, HEIGHT)


def test_only_eyes_and_mouth_are_measured_by_nothing() -> None:
    corners = [face_at(x, y) for x, y in ((0.0, 140.0), (480.0, 140.0), (240.0, 0.0), (240.0, 280.0))]
    said = {
        *guidance._OF_FACE.values(),
        *guidance._OF_FINGER.values(),
        *ASKED.values(),
        *map(towards_middle, corners),
    }
    assert set(Guidance) - said == {Guidance.OPEN_EYES, Guidance.CLOSE_MOUTH}


def test_a_face_is_sent_away_from_the_side_to_which_it_is_nearest() -> None:
    # The picture is not mirrored: on its left stands who has moved to the own right.
    assert towards_middle(face_at(0.0, 140.0)) is Guidance.MOVE_LEFT
    assert towards_middle(face_at(480.0, 140.0)) is Guidance.MOVE_RIGHT
    assert towards_middle(face_at(240.0, 0.0)) is Guidance.MOVE_DOWN
    assert towards_middle(face_at(240.0, 280.0)) is Guidance.MOVE_UP
    assert towards_middle(face_at()) is None
