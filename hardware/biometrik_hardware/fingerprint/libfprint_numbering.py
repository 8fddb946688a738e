"""How libfprint counts fingers: from the left thumb (1) to the right little finger (10); ISO/IEC 19794 starts right."""

from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition


def to_libfprint(position: FingerPosition) -> int:
    """Return libfprint's number of a finger, 1..10, or 0 for an unknown one.

    Raises
    ------
    InvalidInputError
        Several fingers, or a palm: libfprint has no number for them.

    Examples
    --------
    >>> to_libfprint(FingerPosition.LEFT_THUMB), to_libfprint(FingerPosition.RIGHT_THUMB)
    (1, 6)
    """
    if not 0 <= position <= 10:
        raise InvalidInputError(f"position: expected a single finger, got {position.name}")
    if position is FingerPosition.UNKNOWN:
        return 0
    # Both count a hand from thumb to little finger and differ in which hand is first.
    return position + 5 if position <= 5 else position - 5
