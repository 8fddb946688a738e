"""An export: a gallery's terms and encounters as the JSON lines that an import reads."""

import base64
import json
from dataclasses import dataclass
from typing import IO

from biometrik import records
from biometrik.cli.root import FORMAT
from biometrik.cli.schema import Json
from biometrik.engine import Engine
from biometrik.formats.record_report import RecordType
from biometrik.gallery.records import DEFAULT_GALLERY
from biometrik.types import Modality, RequestContext, Template


@dataclass(frozen=True, slots=True)
class Written:
    """How much an export holds."""

    encounters: int
    templates: int


def write(engine: Engine, file: IO[bytes], *, gallery: str | None, iso: bool, context: RequestContext) -> Written:
    """Write galleries and encounters.

    Each encounter's transaction id is its own in the database that it leaves: whoever imports several exports of it
    has everybody once.

    Parameters
    ----------
    engine : Engine
        Whose.
    file : binary file
        Takes a line of JSON for each.
    gallery : str or None
        Only this one, and of memberships too; None for everybody.
    iso : bool
        With the minutiae of prints as ISO/IEC 19794-2:2011.
    context : RequestContext
        Who asks, for the event log.
    """
    encounters = templates = 0
    exported = engine.export_encounters(gallery=gallery, context=context)
    first = next(exported, None)  # the event is on disk before anything is written
    for terms in engine.galleries() if gallery is None else [engine.gallery(gallery)]:
        if terms.name != DEFAULT_GALLERY:
            said = {"name": terms.name, "kind": terms.kind.value}
            more = {"legal_basis": terms.legal_basis, "retention_days": terms.retention_days}
            _write(file, {"format": FORMAT, "gallery": {**said, **more}})
    while first is not None:
        encounter = first.encounter
        _write(
            file,
            {
                "format": FORMAT,
                "subject": encounter.subject_id,
                "transaction": f"export:{encounter.encounter_id}",
                "created_at": encounter.created_at.isoformat(),
                "galleries": list(encounter.galleries if gallery is None else (gallery,)),
                "missing": [
                    f"{row.trait.name}={row.reason.value.lower()}" + (":permanent" if row.permanent else "")
                    for row in encounter.missing
                ],
                "samples": [_sample(template, iso=iso) for template in first.templates],
            },
        )
        encounters += 1
        templates += len(first.templates)
        first = next(exported, None)
    return Written(encounters, templates)


def _sample(template: Template, *, iso: bool) -> Json:
    octets = template.to_bytes()
    row: Json = {"trait": template.trait.name, "model": template.model_contract_id, "template": _text(octets)}
    if iso and template.modality is Modality.FINGER:
        row["iso19794_2"] = _text(records.convert(octets, RecordType.ISO_19794_2_2011).data)
    return row


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _write(file: IO[bytes], row: Json) -> None:
    file.write(json.dumps(row, allow_nan=False).encode("ascii") + b"\n")
