"""Who asks, why, and how strict the answer is unless the caller says."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from biometrik.errors import InvalidInputError

#: Target FMR where the caller names none: 1 in 1,000 (BSI TR-03121, face verification).
DEFAULT_MAX_FMR: Final = 1e-3


#: Target FPIR of a search where the caller names none: one stranger in a hundred gets a candidate.
DEFAULT_MAX_FPIR: Final = 0.01


class Purpose(Enum):
    """Why a request is made."""

    ENROLL = "ENROLL"
    VERIFY = "VERIFY"
    IDENTIFY = "IDENTIFY"
    AUDIT = "AUDIT"
    TRAINING = "TRAINING"


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who asks, why, and under which name a write can be repeated.

    Parameters
    ----------
    transaction_id : str
        Chosen by the caller; a write repeated with it returns its first answer. "" for none.
    operator_ref, station_ref, consent_ref : str
        The caller's own references, kept in the event log. At most 128 characters each.
    purpose : Purpose or None
        Why, kept likewise; None where it is not said.

    Raises
    ------
    InvalidInputError
        A reference is too long or not printable, or the purpose is not a :class:`Purpose`.
    """

    transaction_id: str = ""
    operator_ref: str = ""
    station_ref: str = ""
    consent_ref: str = ""
    purpose: Purpose | None = None

    def __post_init__(self) -> None:
        for name in ("transaction_id", "operator_ref", "station_ref", "consent_ref"):
            value = getattr(self, name)
            if len(value) > 128 or not (value == "" or value.isprintable()):
                raise InvalidInputError(f"{name}: expected at most 128 printable characters, got {len(value)}")
        if not (self.purpose is None or isinstance(self.purpose, Purpose)):
            raise InvalidInputError(f"purpose: expected a Purpose or None, got {type(self.purpose).__name__}")
