"""Who is enrolled, in which galleries, and what an erasure removed."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from biometrik.types.traits import FACE, MissingSample, Trait


class EncounterStatus(Enum):
    """Whether an encounter takes part in comparisons."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class GalleryKind(Enum):
    """Purpose of a gallery."""

    POPULATION = "POPULATION"
    WATCHLIST = "WATCHLIST"
    APPOINTMENT = "APPOINTMENT"


@dataclass(frozen=True, slots=True)
class Encounter:
    """One visit of a subject, without its biometric data.

    Parameters
    ----------
    encounter_id, subject_id : str
        Which, and whose.
    status : EncounterStatus
        Whether it takes part in comparisons.
    galleries : tuple of str
        Galleries that hold it.
    created_at : datetime
        UTC.
    templates : int
        Templates stored of it.
    traits : tuple of Trait
        What they are of, each once: what can be asked for at a verification.
    missing : tuple of MissingSample
        What could not be had then.
    """

    encounter_id: str
    subject_id: str
    status: EncounterStatus
    galleries: tuple[str, ...]
    created_at: datetime
    templates: int
    traits: tuple[Trait, ...] = (FACE,)
    missing: tuple[MissingSample, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """A person as the gallery knows one: an opaque id and its encounters, oldest first."""

    subject_id: str
    created_at: datetime
    encounters: tuple[Encounter, ...]


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """A named set of encounters that can be searched.

    Parameters
    ----------
    name : str
        1..128 printable characters.
    kind : GalleryKind
        What it is for.
    created_at : datetime
        UTC.
    subjects, encounters : int
        How many have an encounter in it, and how many encounters that is.
    legal_basis : str
        The law that allows it; "" where none was named. A watchlist made by schema version 2 or later has one.
    retention_days : int
        For how many days encounters may be kept; 0 where nothing was said. Recorded and reported: nothing is erased
        by it.
    """

    name: str
    kind: GalleryKind
    created_at: datetime
    subjects: int
    encounters: int
    legal_basis: str = ""
    retention_days: int = 0


@dataclass(frozen=True, slots=True)
class ErasureCertificate:
    """What an erasure removed, for the subject's file.

    Parameters
    ----------
    subject_id : str
        The subject erased.
    erased_at : datetime
        UTC.
    encounters, templates : int
        How many of each were removed from store and index.
    event : int
        Sequence number of the erasure in the event log.
    digest : str
        SHA-256 over the fields above, hexadecimal; the event log holds it too.
    """

    subject_id: str
    erased_at: datetime
    encounters: int
    templates: int
    event: int
    digest: str
