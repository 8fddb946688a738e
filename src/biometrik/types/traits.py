"""What of a person is compared, and what of it cannot be had."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from biometrik.errors import InvalidInputError


class Modality(Enum):
    """What is sensed (ISO/IEC 2382-37, *biometric modality*)."""

    FACE = "face"
    FINGER = "finger"

    __hash__ = object.__hash__  # there is one of each, and a search asks often


@dataclass(frozen=True, slots=True)
class Trait:
    """What of a person is compared: the face, or one finger.

    Parameters
    ----------
    modality : Modality
        Face or finger.
    position : int
        0 for a face. For a finger its code 1..10 (ISO/IEC 19794-2), 0 where it is not known which.
    """

    modality: Modality
    position: int = 0

    @classmethod
    def finger(cls, position: int) -> Self:
        """Return the trait of a finger position code: plain thumbs are thumbs, several fingers are no one finger.

        Examples
        --------
        >>> Trait.finger(12) == Trait(Modality.FINGER, 6), Trait.finger(13).position
        (True, 0)
        """
        return cls(Modality.FINGER, {11: 1, 12: 6}.get(position, position if position <= 10 else 0))

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the trait of a :attr:`name`; raises InvalidInputError for any other word.

        Examples
        --------
        >>> Trait.named("left_thumb") == Trait.finger(6)
        True
        """
        if name == "face":
            return cls(Modality.FACE)
        if name not in FINGER_NAMES:
            raise InvalidInputError(f"trait: expected face or one of {', '.join(FINGER_NAMES)}, got {name!r:.40}")
        return cls(Modality.FINGER, FINGER_NAMES.index(name))

    @property
    def name(self) -> str:
        """A word for machines, e.g. ``face``, ``right_index`` or ``finger``."""
        if self.modality is Modality.FACE:
            return "face"
        return FINGER_NAMES[self.position]


FINGER_NAMES: Final = (
    "finger",
    *(f"{hand}_{finger}" for hand in ("right", "left") for finger in ("thumb", "index", "middle", "ring", "little")),
)
"""Names of finger position codes 0..10."""


FACE: Final = Trait(Modality.FACE)


class MissingReason(Enum):
    """Why a sample cannot be had."""

    AMPUTATED = "AMPUTATED"
    BANDAGED = "BANDAGED"
    DAMAGED = "DAMAGED"
    WORN = "WORN"
    REFUSED = "REFUSED"
    UNABLE = "UNABLE"


@dataclass(frozen=True, slots=True)
class MissingSample:
    """A finger that cannot be had: data, not a gap.

    Parameters
    ----------
    position : int
        Which, 1..10 (:class:`biometrik.fingers.FingerPosition`).
    reason : MissingReason
        Why.
    permanent : bool
        Whether it will never be had.

    Raises
    ------
    InvalidInputError
        The position is not one known finger.
    """

    position: int
    reason: MissingReason
    permanent: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.position <= 10:
            raise InvalidInputError(f"missing: expected one known finger, 1..10, got {int(self.position)}")
        object.__setattr__(self, "position", int(self.position))

    @property
    def trait(self) -> Trait:
        """The finger."""
        return Trait.finger(self.position)
