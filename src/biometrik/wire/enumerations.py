"""The contract's enumerations and the library's, side by side; and the languages."""

from enum import Enum
from typing import Any, Final, Generic, TypeVar

from biometrik.duplicates import DedupeAction
from biometrik.errors import InvalidInputError
from biometrik.fingers import Impression
from biometrik.guidance import Guidance
from biometrik.reasons import Locale, Reason
from biometrik.types import (
    EncounterStatus,
    EnrollmentOutcome,
    GalleryKind,
    MissingReason,
    Modality,
    Outcome,
    Purpose,
    SampleSource,
)
from biometrik.v1 import context_pb2, decision_pb2, device_service_pb2, enrollment_service_pb2, sample_pb2, subject_pb2
from biometrik.verdicts import CaptureBasis, OverrideKind, SubmitOutcome, TraitStanding

E = TypeVar("E", bound=Enum)


class EnumMap(Generic[E]):
    """One of our enumerations beside the contract's: same names, with the contract's prefix.

    Parameters
    ----------
    ours : type of Enum
        Its names are the contract's without prefix.
    theirs : EnumTypeWrapper
        The generated one.
    prefix : str
        Of the contract's names, with the underscore.
    """

    def __init__(self, ours: type[E], theirs: Any, prefix: str) -> None:
        self._name = prefix.rstrip("_").lower()
        self._numbers: dict[E, int] = {member: theirs.Value(prefix + member.name) for member in ours}
        self._members = {number: member for member, number in self._numbers.items()}

    def to_wire(self, member: E) -> Any:
        """Return the contract's number."""
        return self._numbers[member]

    def get(self, number: int) -> E | None:
        """Return the member, or None for a number that is zero or not known here."""
        return self._members.get(number)

    def from_wire(self, number: int) -> E:
        """Return the member; raises InvalidInputError for zero and for numbers that are not known here."""
        member = self._members.get(number)
        if member is None:
            names = ", ".join(m.name for m in self._numbers)
            raise InvalidInputError(f"{self._name}: expected one of {names}, got number {number}")
        return member


PURPOSES: Final = EnumMap(Purpose, context_pb2.Purpose, "PURPOSE_")
MODALITIES: Final = EnumMap(Modality, sample_pb2.Modality, "MODALITY_")
SOURCES: Final = EnumMap(SampleSource, sample_pb2.SampleSource, "SAMPLE_SOURCE_")
REASONS: Final = EnumMap(Reason, sample_pb2.Reason, "REASON_")
OUTCOMES: Final = EnumMap(Outcome, decision_pb2.Outcome, "OUTCOME_")
ENROLLMENT_OUTCOMES: Final = EnumMap(EnrollmentOutcome, enrollment_service_pb2.EnrollmentOutcome, "ENROLLMENT_OUTCOME_")
DEDUPE_ACTIONS: Final = EnumMap(DedupeAction, enrollment_service_pb2.DedupeAction, "DEDUPE_ACTION_")
STATUSES: Final = EnumMap(EncounterStatus, subject_pb2.EncounterStatus, "ENCOUNTER_STATUS_")
IMPRESSIONS: Final = EnumMap(Impression, sample_pb2.Impression, "IMPRESSION_")
MISSING: Final = EnumMap(MissingReason, sample_pb2.MissingReason, "MISSING_REASON_")
GUIDANCE: Final = EnumMap(Guidance, device_service_pb2.GuidanceCode, "GUIDANCE_CODE_")
STANDINGS: Final = EnumMap(TraitStanding, enrollment_service_pb2.TraitStanding, "TRAIT_STANDING_")
BASES: Final = EnumMap(CaptureBasis, enrollment_service_pb2.CaptureBasis, "CAPTURE_BASIS_")
SUBMIT_OUTCOMES: Final = EnumMap(SubmitOutcome, enrollment_service_pb2.SubmitOutcome, "SUBMIT_OUTCOME_")
OVERRIDES: Final = EnumMap(OverrideKind, enrollment_service_pb2.OverrideKind, "OVERRIDE_KIND_")
KINDS: Final = EnumMap(GalleryKind, subject_pb2.GalleryKind, "GALLERY_KIND_")


def locale_of(tag: str) -> Locale:
    """Return the language that a locale tag asks for; English unless it begins with "id".

    Examples
    --------
    >>> locale_of("id-ID"), locale_of("en"), locale_of("")
    ('id', 'en', 'en')
    """
    return "id" if tag.lower().replace("_", "-").split("-")[0] == "id" else "en"
