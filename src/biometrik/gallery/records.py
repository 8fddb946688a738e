"""The values that stores keep and hand out, and the bounds on what they accept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Final

from biometrik.errors import GalleryNotFoundError, InvalidInputError, LegalBasisMissingError
from biometrik.features import Features
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    MissingSample,
    Template,
    sha256_hex,
)

#: The gallery that every store holds from its creation on. It cannot be deleted.
DEFAULT_GALLERY: Final = "default"
#: Most characters of an id or a gallery's name (the contract's bound on opaque ids).
MAX_ID_CHARACTERS: Final = 128
#: Most rows that one call returns.
MAX_PAGE: Final = 1000
_MAX_TEMPLATES: Final = 256
#: As many as there are fingers.
_MAX_MISSING: Final = 10
_MAX_DETAILS: Final = 32
_MAX_DETAIL_CHARACTERS: Final = 2048
_MAX_LEGAL_BASIS_CHARACTERS: Final = 1024
#: A hundred years.
_MAX_RETENTION_DAYS: Final = 36_525
#: What the store itself writes into the details of events.
_OWN_DETAILS: Final = frozenset(
    {
        "digest",
        "encounters",
        "galleries",
        "gallery",
        "kind",
        "legal_basis",
        "retention_days",
        "status",
        "templates",
    }
)
#: For a write whose event says nothing of who asked.
NO_DETAILS: Final[Mapping[str, str]] = MappingProxyType({})


class EventKind(Enum):
    """What an event of the log records."""

    ENROLLED = "ENROLLED"
    ERASED = "ERASED"
    STATUS_CHANGED = "STATUS_CHANGED"
    GALLERIES_CHANGED = "GALLERIES_CHANGED"
    GALLERY_CREATED = "GALLERY_CREATED"
    GALLERY_DELETED = "GALLERY_DELETED"
    EXPORTED = "EXPORTED"
    DUPLICATE_SUSPECTED = "DUPLICATE_SUSPECTED"
    """An enrolment that was not stored for that reason."""
    QUARANTINED = "QUARANTINED"


@dataclass(frozen=True, slots=True)
class Event:
    """One change, as the append-only log holds it. No biometric data.

    Parameters
    ----------
    sequence : int
        1 for the first event of a store, then without gaps.
    at : datetime
        UTC.
    kind : EventKind
        What happened.
    subject_id, encounter_id : str
        Whom it concerns; "" where nobody.
    details : mapping of str to str
        The caller's references (operator, station, consent …) and the change itself.
    """

    sequence: int
    at: datetime
    kind: EventKind
    subject_id: str
    encounter_id: str
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Transaction:
    """Who asked for a write and why, and what tells its repeat from another write.

    Parameters
    ----------
    id : str
        Key under which a repeat returns the first answer, 1..128 printable characters; "" for none.
    digest : str
        Of the request, without who asked and why: a repeat may come from another station.
    details : mapping of str to str
        Goes into the event: at most 32 entries, names of 1..64 printable characters other than those that the store
        writes itself, values of at most 2048 characters. Never biometric data.

    Raises
    ------
    InvalidInputError
        One of them is out of its bounds.
    """

    id: str
    digest: str
    details: Mapping[str, str]

    def __post_init__(self) -> None:
        if self.id:
            check_id("transaction_id", self.id)
        _check_details(self.details)
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))


@dataclass(frozen=True, slots=True)
class NewEncounter:
    """An encounter to be stored.

    Parameters
    ----------
    subject_id : str
        The caller's opaque id, 1..128 printable characters.
    templates : tuple of Template
        1..256.
    galleries : tuple of str
        Galleries that it joins; empty for comparisons 1:1 only. Sorted, without repetition, once constructed.
    transaction_id : str
        As a :class:`Transaction` has it; "" for none.
    request_digest : str
        Tells a repeat from another request under the same transaction id.
    details : mapping of str to str
        As a :class:`Transaction` has them.
    missing : tuple of MissingSample
        What could not be had, at most ten.
    note : str
        The caller's own, kept with the transaction and returned with its answer.

    Raises
    ------
    InvalidInputError
        One of them is out of its bounds.
    """

    subject_id: str
    templates: tuple[Template, ...] = field(repr=False)
    galleries: tuple[str, ...] = (DEFAULT_GALLERY,)
    transaction_id: str = ""
    request_digest: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[MissingSample, ...] = ()
    note: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        check_id("subject_id", self.subject_id)
        if self.request_digest:
            check_id("request_digest", self.request_digest)
        if not 1 <= len(self.templates) <= _MAX_TEMPLATES:
            raise InvalidInputError(f"templates: expected 1..{_MAX_TEMPLATES}, got {len(self.templates)}")
        if len(self.missing) > _MAX_MISSING:
            raise InvalidInputError(f"missing: expected at most {_MAX_MISSING}, got {len(self.missing)}")
        object.__setattr__(self, "galleries", checked_galleries(self.galleries))
        object.__setattr__(self, "details", Transaction(self.transaction_id, "", self.details).details)

    def encounter(self, encounter_id: str, at: datetime) -> Encounter:
        """Return what is stored of it, without its templates."""
        traits = tuple(dict.fromkeys(template.trait for template in self.templates))
        return Encounter(
            encounter_id,
            self.subject_id,
            EncounterStatus.ACTIVE,
            self.galleries,
            at,
            len(self.templates),
            traits,
            self.missing,
        )

    @property
    def transaction(self) -> Transaction:
        """What it is remembered by; another subject or gallery is another request."""
        digest = request_digest("ENROLL", self.subject_id, self.request_digest, *self.galleries)
        return Transaction(self.transaction_id, digest, self.details)


@dataclass(frozen=True, slots=True)
class Draft:
    """An encounter on its way to the disk; between a store's hooks and its base class.

    Parameters
    ----------
    new : NewEncounter
        What was asked for.
    transaction : Transaction
        Its own, made once.
    encounter : Encounter
        What is stored of it.
    templates : tuple of bytes
        As they will lie on disk.
    features : Features
        Its comparable side, for what follows; not stored.
    """

    new: NewEncounter
    transaction: Transaction
    encounter: Encounter
    templates: tuple[bytes, ...] = field(repr=False)
    features: Features = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """What a write did to one encounter.

    Parameters
    ----------
    event : int
        Sequence number of the event that recorded it. Where nothing was written, because the request repeats an
        earlier one or asks for what is so already, it is an earlier event's or 0.
    number : int
        The encounter's number in the index: never used again, rising with age.
    encounter : Encounter
        As it is after the change.
    note : str
        Of the enrolment that wrote it.
    """

    event: int
    number: int
    encounter: Encounter
    note: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Declined:
    """That an encounter was not stored, because its subject seems to be another one.

    Parameters
    ----------
    event : int
        Sequence number of the event that recorded it.
    note : str
        Of the enrolment.
    """

    event: int
    note: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class GalleryChange:
    """What the creation or deletion of a gallery did.

    Parameters
    ----------
    event : int
        Sequence number of the event that recorded it.
    gallery : GalleryInfo
        As it was made, or as it last was.
    """

    event: int
    gallery: GalleryInfo


#: What a write answers; kept with its transaction, so that a repeat gets it again.
Answer = Change | Declined | ErasureCertificate | GalleryChange


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An encounter whose bytes are damaged: set aside, and not served.

    Parameters
    ----------
    encounter_id, subject_id : str
        Which, and whose.
    since : datetime
        When it was set aside, UTC.
    what : str
        What was found.
    """

    encounter_id: str
    subject_id: str
    since: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a file holds that was read from the first row to the last.

    Parameters
    ----------
    event : int
        Sequence number of the last event.
    subjects, encounters, templates : int
        How many there are, without those of encounters in quarantine.
    quarantined : int
        How many encounters are set aside.
    octets : int
        Size of the file.
    """

    event: int
    subjects: int
    encounters: int
    templates: int
    quarantined: int
    octets: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An encounter with its templates, verified."""

    number: int
    encounter: Encounter
    templates: tuple[Template, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encounter with its templates as they lie on disk; between a store's hooks and its base class."""

    number: int
    encounter: Encounter
    templates: tuple[bytes, ...] = field(repr=False)


def check_id(what: str, value: str) -> None:
    """Refuse what is not an opaque id.

    Raises
    ------
    InvalidInputError
        It is not 1..128 printable characters.

    Examples
    --------
    >>> check_id("subject_id", "A-0192")
    >>> check_id("subject_id", "")
    Traceback (most recent call last):
    biometrik.errors.InvalidInputError: subject_id: expected 1..128 printable characters, got 0
    """
    if not isinstance(value, str):
        raise InvalidInputError(f"{what}: expected a string, got {type(value).__name__}")
    if not 1 <= len(value) <= MAX_ID_CHARACTERS:
        raise InvalidInputError(f"{what}: expected 1..{MAX_ID_CHARACTERS} printable characters, got {len(value)}")
    if not value.isprintable():
        raise InvalidInputError(f"{what}: expected printable characters only")


def check_terms(kind: GalleryKind, legal_basis: str, retention_days: int) -> None:
    """Refuse a gallery that must not be.

    Raises
    ------
    LegalBasisMissingError
        It is a watchlist, and no law is named.
    InvalidInputError
        The legal basis is over 1024 characters or not printable, or the days are not 0..36525.

    Examples
    --------
    >>> check_terms(GalleryKind.POPULATION, "", 0)
    >>> check_terms(GalleryKind.WATCHLIST, " ", 0)
    Traceback (most recent call last):
    biometrik.errors.LegalBasisMissingError: legal_basis: expected the law that allows the watchlist, got none
    """
    if len(legal_basis) > _MAX_LEGAL_BASIS_CHARACTERS or not legal_basis.isprintable():
        raise InvalidInputError(
            f"legal_basis: expected at most {_MAX_LEGAL_BASIS_CHARACTERS} printable characters, got {len(legal_basis)}"
        )
    if not 0 <= retention_days <= _MAX_RETENTION_DAYS:
        raise InvalidInputError(f"retention_days: expected 0..{_MAX_RETENTION_DAYS}, got {retention_days}")
    if kind is GalleryKind.WATCHLIST and not legal_basis.strip():
        raise LegalBasisMissingError("legal_basis: expected the law that allows the watchlist, got none")


def request_digest(kind: str, *parts: str) -> str:
    """Return the SHA-256 that a request is told by: its kind, and what it asks for."""
    return sha256_hex(kind.encode(), *(part.encode() for part in parts))


def listed(galleries: Sequence[str]) -> str:
    """Return gallery names as one string for an event's details: a JSON array."""
    return json.dumps(list(galleries))


def gallery_details(gallery: GalleryInfo) -> dict[str, str]:
    """Return what the event of its creation says of a gallery."""
    terms = {
        "legal_basis": gallery.legal_basis,
        "retention_days": str(gallery.retention_days) if gallery.retention_days else "",
    }
    given = {name: value for name, value in terms.items() if value}
    return {"gallery": gallery.name, "kind": gallery.kind.value, **given}


def check_limit(limit: int) -> None:
    """Refuse a page size that is not 1..1000 with an InvalidInputError."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInputError(f"limit: expected 1..{MAX_PAGE}, got {limit}")


def checked_galleries(galleries: Sequence[str]) -> tuple[str, ...]:
    """Return gallery names sorted and without repetition; InvalidInputError where one cannot be a name."""
    if isinstance(galleries, str):  # a str is a sequence of its letters
        raise InvalidInputError("galleries: expected a sequence of names, got one string")
    for name in galleries:
        check_id("gallery", name)
    return tuple(sorted(set(galleries)))


def chosen_galleries(galleries: Sequence[str], existing: Sequence[str]) -> tuple[str, ...]:
    """Return the names that a search is restricted to, sorted and without repetition.

    Raises
    ------
    InvalidInputError
        There are none (None would ask for all), or one cannot be a name.
    GalleryNotFoundError
        One of them does not exist.
    """
    names = checked_galleries(galleries)
    if not names:
        raise InvalidInputError("galleries: expected at least one name, or None for all")
    check_existing(names, existing)
    return names


def check_existing(names: Sequence[str], existing: Sequence[str]) -> None:
    """Refuse a gallery that does not exist with a GalleryNotFoundError."""
    for name in names:
        if name not in existing:
            raise GalleryNotFoundError(f"gallery: expected one that exists, got {name!r}; create it first")


def certificate(subject_id: str, at: datetime, encounters: int, templates: int, event: int) -> ErasureCertificate:
    """Return an erasure's certificate, with the digest over its fields."""
    fields = (subject_id, at.isoformat(), str(encounters), str(templates), str(event))
    digest = sha256_hex(*(value.encode() for value in fields))
    return ErasureCertificate(subject_id, at, encounters, templates, event, digest)


def _check_details(details: Mapping[str, str]) -> None:
    if len(details) > _MAX_DETAILS:
        raise InvalidInputError(f"details: expected at most {_MAX_DETAILS} entries, got {len(details)}")
    for name, value in details.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInputError("details: expected strings only")
        if not 1 <= len(name) <= 64 or not name.isprintable() or name in _OWN_DETAILS:
            raise InvalidInputError(
                f"details: expected names of 1..64 printable characters other than {sorted(_OWN_DETAILS)}"
            )
        if len(value) > _MAX_DETAIL_CHARACTERS:
            raise InvalidInputError(
                f"details: expected values of at most {_MAX_DETAIL_CHARACTERS} characters, got {len(value)}"
            )
