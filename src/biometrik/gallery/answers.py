"""The answers of writes as JSON objects: kept with a transaction, so that its repeat gets the first one."""

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from biometrik.gallery.records import Answer, Change, Declined, GalleryChange
from biometrik.types import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    MissingReason,
    MissingSample,
    Modality,
    Trait,
)


def as_json(answer: Answer) -> str:
    """Return an answer as text, its fields by name; the functions below read it again."""
    return _JSON.encode(_spelled_out(answer) if isinstance(answer, Change) else answer)


def change(fields: Mapping[str, Any]) -> Change:
    """Return what a write did to an encounter."""
    encounter = dict(fields["encounter"])
    encounter["status"] = EncounterStatus(encounter["status"])
    encounter["galleries"] = tuple(encounter["galleries"])
    encounter["created_at"] = datetime.fromisoformat(encounter["created_at"])
    if "traits" in encounter:  # else of a version that knew faces only
        encounter["traits"] = tuple(Trait(Modality(t["modality"]), t["position"]) for t in encounter["traits"])
        encounter["missing"] = tuple(
            MissingSample(row["position"], MissingReason(row["reason"]), row["permanent"])
            for row in encounter["missing"]
        )
    return Change(fields["event"], fields["number"], Encounter(**encounter), fields.get("note", ""))


def enrolment(fields: Mapping[str, Any]) -> Change | Declined:
    """Return what became of an enrolment."""
    return change(fields) if "encounter" in fields else Declined(fields["event"], fields["note"])


def erasure(fields: Mapping[str, Any]) -> ErasureCertificate:
    """Return an erasure's certificate."""
    return ErasureCertificate(**{**fields, "erased_at": datetime.fromisoformat(fields["erased_at"])})


def gallery_change(fields: Mapping[str, Any]) -> GalleryChange:
    """Return what the creation or deletion of a gallery did."""
    gallery = dict(fields["gallery"])
    gallery["kind"] = GalleryKind(gallery["kind"])
    gallery["created_at"] = datetime.fromisoformat(gallery["created_at"])
    return GalleryChange(fields["event"], GalleryInfo(**gallery))


def _spelled_out(change: Change) -> dict[str, object]:
    # What `_plain` would make of it; most answers are enrolments, and asking back for each field takes thrice the time.
    own = change.encounter
    encounter = {
        "encounter_id": own.encounter_id,
        "subject_id": own.subject_id,
        "status": own.status.value,
        "galleries": own.galleries,
        "created_at": own.created_at.isoformat(),
        "templates": own.templates,
        "traits": [{"modality": trait.modality.value, "position": trait.position} for trait in own.traits],
        "missing": own.missing,
    }
    return {"event": change.event, "number": change.number, "encounter": encounter, "note": change.note}


def _plain(value: object) -> str | dict[str, object]:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value):  # not asdict, which copies deeply and took a quarter of an enrolment's time
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    raise TypeError(f"answer: expected a time or a name, got {type(value).__name__}")


_JSON: Final = json.JSONEncoder(default=_plain)
