"""What to say to a person in front of a camera or scanner: one short word at a time, from what is wrong with a sample.

A :class:`~biometrik.reasons.Reason` explains to an operator; a :class:`Guidance` is shown, or spoken, to the person
while a sample is being taken (words of BSI TR-03121). *Left* and *right* are the person's own.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from biometrik.reasons import Locale, Reason
from biometrik.types import Face, Modality, SampleReport


class Guidance(Enum):
    """A stable code for one word of guidance."""

    # face
    FACE_CAMERA = "FACE_CAMERA"
    ONE_PERSON = "ONE_PERSON"
    COME_CLOSER = "COME_CLOSER"
    STEP_BACK = "STEP_BACK"
    MOVE_LEFT = "MOVE_LEFT"
    MOVE_RIGHT = "MOVE_RIGHT"
    MOVE_UP = "MOVE_UP"
    MOVE_DOWN = "MOVE_DOWN"
    LOOK_STRAIGHT = "LOOK_STRAIGHT"
    HEAD_UPRIGHT = "HEAD_UPRIGHT"
    STAND_STILL = "STAND_STILL"
    UNCOVER_FACE = "UNCOVER_FACE"
    OPEN_EYES = "OPEN_EYES"
    CLOSE_MOUTH = "CLOSE_MOUTH"
    MORE_LIGHT = "MORE_LIGHT"
    LESS_LIGHT = "LESS_LIGHT"
    EVEN_LIGHT = "EVEN_LIGHT"
    # finger
    PLACE_FINGER = "PLACE_FINGER"
    CENTRE_FINGER = "CENTRE_FINGER"
    ONE_FINGER = "ONE_FINGER"
    OTHER_FINGER = "OTHER_FINGER"
    WHOLE_FINGERTIP = "WHOLE_FINGERTIP"
    PRESS_HARDER = "PRESS_HARDER"
    PRESS_SOFTER = "PRESS_SOFTER"
    FINGER_LEFT = "FINGER_LEFT"
    FINGER_RIGHT = "FINGER_RIGHT"
    FINGER_UP = "FINGER_UP"
    FINGER_DOWN = "FINGER_DOWN"
    KEEP_STILL = "KEEP_STILL"
    REMOVE_FINGER = "REMOVE_FINGER"
    WIPE_FINGER = "WIPE_FINGER"

    def text(self, locale: Locale = "en") -> str:
        """Return the words for the person.

        Parameters
        ----------
        locale : {"en", "id"}
            English or Indonesian.

        Examples
        --------
        >>> Guidance.COME_CLOSER.text(), Guidance.COME_CLOSER.text("id")
        ('Come closer', 'Mendekat')
        """
        english, indonesian = _TEXTS[self]
        return indonesian if locale == "id" else english


_TEXTS: Final[Mapping[Guidance, tuple[str, str]]] = {
    Guidance.FACE_CAMERA: ("Face the camera", "Hadap ke kamera"),
    Guidance.ONE_PERSON: ("One person only", "Satu orang saja"),
    Guidance.COME_CLOSER: ("Come closer", "Mendekat"),
    Guidance.STEP_BACK: ("Step back", "Mundur"),
    Guidance.MOVE_LEFT: ("Move to your left", "Geser ke kiri"),
    Guidance.MOVE_RIGHT: ("Move to your right", "Geser ke kanan"),
    Guidance.MOVE_UP: ("Move up", "Naikkan kepala"),
    Guidance.MOVE_DOWN: ("Move down", "Turunkan kepala"),
    Guidance.LOOK_STRAIGHT: ("Look into the camera", "Lihat ke kamera"),
    Guidance.HEAD_UPRIGHT: ("Hold your head upright", "Tegakkan kepala"),
    Guidance.STAND_STILL: ("Stand still", "Jangan bergerak"),
    Guidance.UNCOVER_FACE: ("Uncover your face", "Buka penutup wajah"),
    # Nothing measures them yet (ADR 19); words for a caller that does.
    Guidance.OPEN_EYES: ("Open your eyes", "Buka mata"),
    Guidance.CLOSE_MOUTH: ("Close your mouth", "Tutup mulut"),
    Guidance.MORE_LIGHT: ("More light is needed", "Perlu lebih banyak cahaya"),
    Guidance.LESS_LIGHT: ("Less light is needed", "Kurangi cahaya"),
    Guidance.EVEN_LIGHT: ("Turn towards the light", "Hadap ke arah cahaya"),
    Guidance.PLACE_FINGER: ("Place the finger", "Letakkan jari"),
    Guidance.CENTRE_FINGER: ("Place the finger in the middle", "Letakkan jari di tengah"),
    Guidance.ONE_FINGER: ("One finger only", "Satu jari saja"),
    Guidance.OTHER_FINGER: ("Use the finger that is asked for", "Gunakan jari yang diminta"),
    Guidance.WHOLE_FINGERTIP: ("Lay the whole fingertip flat", "Tempelkan seluruh ujung jari"),
    Guidance.PRESS_HARDER: ("Press harder", "Tekan lebih kuat"),
    Guidance.PRESS_SOFTER: ("Press more softly", "Tekan lebih pelan"),
    Guidance.FINGER_LEFT: ("Move the finger left", "Geser jari ke kiri"),
    Guidance.FINGER_RIGHT: ("Move the finger right", "Geser jari ke kanan"),
    Guidance.FINGER_UP: ("Move the finger up", "Majukan jari"),
    Guidance.FINGER_DOWN: ("Move the finger down", "Mundurkan jari"),
    Guidance.KEEP_STILL: ("Keep the finger still", "Jangan gerakkan jari"),
    Guidance.REMOVE_FINGER: ("Lift the finger", "Angkat jari"),
    Guidance.WIPE_FINGER: ("Wipe finger and scanner", "Bersihkan jari dan pemindai"),
}

#: In this order a face's faults are mended: who is there, how far, where, how turned, how still, how lit. A word that
#: stands higher often mends those below it, and none of them mends a higher one.
_OF_FACE: Final[Mapping[Reason, Guidance]] = {
    Reason.NO_FACE: Guidance.FACE_CAMERA,
    Reason.SEVERAL_FACES: Guidance.ONE_PERSON,
    Reason.FACE_TOO_SMALL: Guidance.COME_CLOSER,
    Reason.FACE_TOO_LARGE: Guidance.STEP_BACK,
    Reason.FACE_CUT_OFF: Guidance.STEP_BACK,  # where not one side only is cut; see _towards_middle
    Reason.FACE_OFF_CENTRE: Guidance.FACE_CAMERA,  # likewise
    Reason.LOOK_STRAIGHT: Guidance.LOOK_STRAIGHT,
    Reason.HEAD_TILTED: Guidance.HEAD_UPRIGHT,
    Reason.BLURRED: Guidance.STAND_STILL,
    Reason.TOO_DARK: Guidance.MORE_LIGHT,
    Reason.TOO_BRIGHT: Guidance.LESS_LIGHT,
    Reason.UNEVEN_LIGHT: Guidance.EVEN_LIGHT,
    Reason.LOW_CONTRAST: Guidance.MORE_LIGHT,
    Reason.UNNATURAL_COLOUR: Guidance.EVEN_LIGHT,
    Reason.DETECTION_UNCERTAIN: Guidance.UNCOVER_FACE,
    Reason.FACE_UNCLEAR: Guidance.UNCOVER_FACE,
}
_OF_FINGER: Final[Mapping[Reason, Guidance]] = {
    Reason.NO_FINGERPRINT: Guidance.PLACE_FINGER,
    Reason.SLAP_IMAGE: Guidance.ONE_FINGER,
    Reason.SAME_FINGER_TWICE: Guidance.OTHER_FINGER,
    Reason.MOVE_FINGER_LEFT: Guidance.FINGER_LEFT,
    Reason.MOVE_FINGER_RIGHT: Guidance.FINGER_RIGHT,
    Reason.MOVE_FINGER_UP: Guidance.FINGER_UP,
    Reason.MOVE_FINGER_DOWN: Guidance.FINGER_DOWN,
    Reason.WHOLE_FINGERTIP: Guidance.WHOLE_FINGERTIP,
    Reason.TOO_FEW_MINUTIAE: Guidance.WHOLE_FINGERTIP,
    Reason.PRESS_HARDER: Guidance.PRESS_HARDER,
    Reason.PRESS_SOFTER: Guidance.PRESS_SOFTER,
    Reason.KEEP_FINGER_STILL: Guidance.KEEP_STILL,
    Reason.CLEAN_SENSOR: Guidance.WIPE_FINGER,
}
#: A face nearer to one side of the picture than this share of its own width leaves that side no room for the head.
_NEAR_EDGE: Final = 0.25


def guidance_for(report: SampleReport, width_px: int, height_px: int) -> Guidance | None:
    """Return the one word that helps most, or None where there is nothing to say.

    Parameters
    ----------
    report : SampleReport
        What became of the sample.
    width_px, height_px : int
        Size of its image; only a face's is looked at.
    """
    words = _OF_FACE if report.trait.modality is Modality.FACE else _OF_FINGER
    reason = next((reason for reason in words if reason in report.reasons), None)
    if reason is None:
        return None
    if reason in (Reason.FACE_CUT_OFF, Reason.FACE_OFF_CENTRE) and report.face is not None:
        return _towards_middle(report.face, width_px, height_px) or words[reason]
    return words[reason]


def _towards_middle(face: Face, width_px: int, height_px: int) -> Guidance | None:
    # Away from the side to which the face is nearest; None where it is as near to the opposite one. The picture is not
    # mirrored: a face on its left is one that has moved to its own right.
    box = face.box
    sides = {
        Guidance.MOVE_LEFT: box.x,
        Guidance.MOVE_RIGHT: width_px - box.x - box.width,
        Guidance.MOVE_DOWN: box.y,
        Guidance.MOVE_UP: height_px - box.y - box.height,
    }
    opposite = {
        Guidance.MOVE_LEFT: Guidance.MOVE_RIGHT,
        Guidance.MOVE_RIGHT: Guidance.MOVE_LEFT,
        Guidance.MOVE_DOWN: Guidance.MOVE_UP,
        Guidance.MOVE_UP: Guidance.MOVE_DOWN,
    }
    word = min(sides, key=lambda side: sides[side])
    return None if sides[opposite[word]] - sides[word] < _NEAR_EDGE * box.width else word
