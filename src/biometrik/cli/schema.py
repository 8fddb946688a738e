"""The JSON that the command prints with ``--json``: one object, ASCII, on one line of standard output.

Every object begins ``{"format": 1, "command": "verify", ...}``; an error is ``{"format": 1, "error": {"reason",
"message"}}``, with ``tightest`` where the reason is THRESHOLD_UNSUPPORTED, and ``remedy`` where a service said what
to do. Rates are 0..1, scores −10·log10(FMR), coordinates pixels, times RFC 3339 UTC. What cannot be said is ``null``,
never −1. Objects:

==============  =======================================================================================================
decision        outcome, reasons, score, threshold, capped, max_fmr, achieved_fmr (rate), raw_score, comparisons,
                subject_id and encounter_id of the reference most alike ("" where nothing was compared; of a single
                claim, subject_id is the claim), calibration_id, model_contract_id, samples; of verify, claims too
identification  outcome, reasons, candidates (rank, subject_id, encounter_id, galleries, score, capped, raw_score,
                is_match), threshold, max_fpir, achieved_fpir (rate or null), coverage (gallery_version, galleries,
                subjects, compared, exact, recall_claimed), calibration_id, model_contract_id, samples
enrollment      outcome, subject_id, encounter_id, templates, samples, search (an identification without samples, whose
                candidates are the suspects; null where no duplicates were looked for); of station enroll, in place of
                samples, traits (trait, standing, attempts_left, basis or null), and outcome KEPT where it waits here
duplicates      max_fmr, threshold, galleries (null for all), encounters (faces, prints, passed_over), compared, exact,
                expected_by_chance, found, calibrations, clusters (subjects, pairs: score, capped, encounters,
                components)
sample          file, usable, reasons, faces_found, face (box, landmarks, confidence) or null,
                quality (overall, acceptable, algorithm, components) or null
component       name, value, measured, unit, threshold, acceptable, reason or null
record          type, octets, blocks, views, departures; of convert: source, target, octets, losses, departures
block           format_owner, format_type, modality, subtype, level, purpose, quality, created_at, octets, content
view            position, impression, width_px, height_px, x_ppi, y_ppi, minutiae, coding, quality, captured_at
reason          code, text in the locale asked for
rate            value, low, high, confidence
device          id (DRIVER:PATH, without a password), driver, kind, vendor, model, serial ("" where not known),
                ppi or null, positions, features
driver          name, kind, ready, needs (what to install; "" where nothing is missing)
retry           code, text in the locale asked for
==============  =======================================================================================================
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from biometrik.reasons import Locale, Reason
from biometrik.types import (
    Candidate,
    Component,
    Decision,
    Encounter,
    Enrollment,
    ErasureCertificate,
    GalleryInfo,
    Identification,
    Interval,
    Outcome,
    Quality,
    SampleReport,
    Subject,
)

if TYPE_CHECKING:
    from biometrik.cli.counter import Kept
    from biometrik.client import Finalized, ServedModel
    from biometrik.demo.steps import Step, Story
    from biometrik.doctor import Check
    from biometrik.formats.record_report import Conversion, RecordReport, RecordSimilarity
    from biometrik.manifest import WeightsEntry
    from biometrik.models import CatalogueRow
    from biometrik.verdicts import TraitState
    from biometrik_hardware.camera.camera import CameraMode
    from biometrik_hardware.conformance import Verdict
    from biometrik_hardware.events import DeviceInfo
    from biometrik_hardware.inventory import DriverStatus
    from biometrik_hardware.outcomes import Retry

Json = dict[str, object]


def decision(value: Decision, files: Sequence[Path], locale: Locale) -> Json:
    """Return a 1:1 decision; ``files`` are those of its samples, in order."""
    return {
        "outcome": value.outcome.value,
        "reasons": _reasons(value.reasons, locale),
        "score": value.score,
        "threshold": value.threshold,
        "capped": value.capped,
        "max_fmr": value.max_fmr,
        "achieved_fmr": rate(value.achieved_fmr),
        "raw_score": value.raw_score,
        "comparisons": value.comparisons,
        "subject_id": value.subject_id,
        "encounter_id": value.encounter_id,
        "calibration_id": value.calibration_id,
        "model_contract_id": value.model_contract_id,
        "components": [_component(component) for component in value.components],
        "samples": samples(value.samples, files, locale),
    }


def identification(value: Identification, files: Sequence[Path], locale: Locale) -> Json:
    """Return a 1:N answer; ``files`` are those of its samples, in order."""
    return {**_search(value, locale), "samples": samples(value.samples, files, locale)}


def enrollment(value: Enrollment, files: Sequence[Path], locale: Locale) -> Json:
    """Return an enrolment's answer; ``files`` are those of its samples, in order."""
    return {
        "outcome": value.outcome.value,
        "subject_id": value.subject_id,
        "encounter_id": value.encounter_id,
        "templates": value.templates,
        "search": None if value.search is None else _search(value.search, locale),
        "samples": samples(value.samples, files, locale),
    }


def record(value: "RecordReport") -> Json:
    """Return what stands in an interchange record."""
    return {
        "type": value.type.value,
        "octets": value.octets,
        "blocks": [
            {
                **asdict(block),
                "created_at": _moment(block.created_at),
                "content": None if block.content is None else block.content.value,
            }
            for block in value.blocks
        ],
        "views": [
            {
                **asdict(view),
                "position": view.position.name,
                "impression": view.impression.name,
                "captured_at": _moment(view.captured_at),
            }
            for view in value.views
        ],
        "departures": list(value.departures),
    }


def conversion(made: "Conversion") -> Json:
    """Return what became of a record, without its octets."""
    return {
        "source": made.source.value,
        "target": made.target.value,
        "octets": len(made.data),
        "losses": list(made.losses),
        "departures": list(made.departures),
    }


def similarity(found: "RecordSimilarity") -> Json:
    """Return how alike two records' prints are: no decision."""
    return {
        "similarity": found.similarity,
        "comparisons": found.comparisons,
        "probe_view": found.probe_view,
        "reference_view": found.reference_view,
        "outcome": Outcome.INCONCLUSIVE.value,
    }


def finalized(value: "Finalized", locale: Locale) -> Json:
    """Return the answer of an enrolment that was collected at a station."""
    return {
        "outcome": value.enrollment.outcome.value,
        "subject_id": value.enrollment.subject_id,
        "encounter_id": value.enrollment.encounter_id,
        "templates": value.enrollment.templates,
        "search": None if value.enrollment.search is None else _search(value.enrollment.search, locale),
        "traits": _standings(value.traits),
    }


def kept(value: "Kept") -> Json:
    """Return an enrolment that waits for the service, in the form of :func:`finalized`."""
    return {
        "outcome": "KEPT",
        "subject_id": value.subject_id,
        "encounter_id": "",
        "templates": 0,
        "search": None,
        "traits": _standings(value.traits),
    }


def _standings(states: "Sequence[TraitState]") -> list[Json]:
    return [
        {
            "trait": state.trait.name,
            "standing": state.standing.value,
            "attempts_left": state.attempts_left,
            "basis": None if state.basis is None else state.basis.value,
        }
        for state in states
    ]


def samples(reports: Sequence[SampleReport], files: Sequence[Path], locale: Locale) -> list[Json]:
    """Return what became of each photograph."""
    return [
        {
            "file": str(file),
            "trait": report.trait.name,
            "usable": report.usable,
            "reasons": _reasons(report.reasons, locale),
            "faces_found": report.faces_found,
            "face": _face(report),
            "quality": None if report.quality is None else _quality(report.quality, locale),
        }
        for report, file in zip(reports, files, strict=True)
    ]


def rate(value: Interval) -> Json:
    """Return a rate with its interval."""
    return {"value": value.value, "low": value.low, "high": value.high, "confidence": value.confidence}


def subject(value: Subject) -> Json:
    """Return a subject with its encounters, oldest first."""
    return {
        "subject_id": value.subject_id,
        "created_at": value.created_at.isoformat(),
        "encounters": [_encounter(encounter) for encounter in value.encounters],
    }


def gallery(value: GalleryInfo) -> Json:
    """Return a gallery with its counts and terms; ``retention_days`` is 0 where nothing was said."""
    return {
        "name": value.name,
        "kind": value.kind.value,
        "created_at": value.created_at.isoformat(),
        "subjects": value.subjects,
        "encounters": value.encounters,
        "legal_basis": value.legal_basis,
        "retention_days": value.retention_days,
    }


def certificate(value: ErasureCertificate) -> Json:
    """Return what an erasure removed."""
    return {
        "subject_id": value.subject_id,
        "erased_at": value.erased_at.isoformat(),
        "encounters": value.encounters,
        "templates": value.templates,
        "event": value.event,
        "digest": value.digest,
    }


def _encounter(value: Encounter) -> Json:
    return {
        "encounter_id": value.encounter_id,
        "status": value.status.value,
        "galleries": list(value.galleries),
        "created_at": value.created_at.isoformat(),
        "templates": value.templates,
        "traits": [trait.name for trait in value.traits],
        "missing": [
            {"finger": row.trait.name, "reason": row.reason.value, "permanent": row.permanent} for row in value.missing
        ],
    }


def _search(value: Identification, locale: Locale) -> Json:
    return {
        "outcome": value.outcome.value,
        "reasons": _reasons(value.reasons, locale),
        "candidates": [_candidate(candidate) for candidate in value.candidates],
        "threshold": value.threshold,
        "max_fpir": value.max_fpir,
        "achieved_fpir": None if value.achieved_fpir is None else rate(value.achieved_fpir),
        "coverage": {
            "gallery_version": value.coverage.gallery_version,
            "galleries": list(value.coverage.galleries),
            "subjects": value.coverage.subjects,
            "compared": value.coverage.compared,
            "exact": value.coverage.exact,
            "recall_claimed": value.coverage.recall_claimed,
        },
        "calibration_id": value.calibration_id,
        "model_contract_id": value.model_contract_id,
    }


def _candidate(value: Candidate) -> Json:
    return {
        "rank": value.rank,
        "subject_id": value.subject_id,
        "encounter_id": value.encounter_id,
        "galleries": list(value.galleries),
        "score": value.score,
        "capped": value.capped,
        "raw_score": value.raw_score,
        "is_match": value.is_match,
        "components": [_component(component) for component in value.components],
    }


def _component(value: Component) -> Json:
    return {
        "trait": value.trait.name,
        "score": value.score,
        "capped": value.capped,
        "raw_score": value.raw_score,
        "comparisons": value.comparisons,
        "calibration_id": value.calibration_id,
        "model_contract_id": value.model_contract_id,
    }


def _face(report: SampleReport) -> Json | None:
    if report.face is None:
        return None
    box = report.face.box
    return {
        "box": {"x": box.x, "y": box.y, "width": box.width, "height": box.height},
        "landmarks": report.face.landmarks.tolist(),
        "confidence": report.face.confidence,
    }


def _quality(value: Quality, locale: Locale) -> Json:
    return {
        "overall": value.overall,
        "acceptable": value.acceptable,
        "algorithm": value.algorithm,
        "components": [
            {
                "name": component.name,
                "value": component.value,
                "measured": component.measured,
                "unit": component.unit,
                "threshold": component.threshold,
                "acceptable": component.acceptable,
                "reason": None if component.reason is None else _reason(component.reason, locale),
            }
            for component in value.components
        ],
    }


def _reasons(values: Sequence[Reason], locale: Locale) -> list[Json]:
    return [_reason(value, locale) for value in values]


def _reason(value: Reason, locale: Locale) -> Json:
    return {"code": value.value, "text": value.text(locale)}


def declared(value: "WeightsEntry") -> Json:
    """Return what is declared of weights."""
    return {
        "id": value.id,
        "role": value.role.value,
        "file": value.file,
        "licence": value.licence,
        "licence_note": value.licence_note,
        "source": value.source,
        "sha256": value.sha256,
    }


def weights(value: "CatalogueRow") -> Json:
    """Return weights with their state on this machine."""
    return {
        **declared(value.entry),
        "packs": list(value.packs),
        "state": value.state.name,
        "detail": value.detail,
    }


def served(value: "ServedModel") -> Json:
    """Return weights on a service's machine."""
    return {"id": value.id, "role": value.role, "licence": value.licence, "sha256": value.sha256}


def check(value: "Check") -> Json:
    """Return one of the doctor's checks."""
    return {"name": value.name, "status": value.status.value, "finding": value.finding, "remedy": value.remedy}


def device(value: "DeviceInfo") -> Json:
    """Return what is known of a scanner or camera."""
    return {
        "id": value.id,
        "driver": value.driver,
        "kind": value.kind.value,
        "vendor": value.vendor,
        "model": value.model,
        "serial": value.serial,
        "ppi": value.ppi,
        "positions": [position.name for position in value.positions],
        "features": sorted(feature.value for feature in value.features),
    }


def driver(value: "DriverStatus") -> Json:
    """Return a driver with what is missing for it."""
    return {"name": value.name, "kind": value.kind.value, "ready": not value.needs, "needs": value.needs}


def mode(value: "CameraMode") -> Json:
    """Return how a camera delivers; 0 for what it does not say."""
    return {"width_px": value.width_px, "height_px": value.height_px, "fps": value.fps}


def retry(value: "Retry", locale: Locale) -> Json:
    """Return why a finger should be presented again."""
    return {"code": value.reason.value, "text": value.reason.text(locale)}


def verdict(value: "Verdict") -> Json:
    """Return what a check of the conformance suite found."""
    return {"name": value.check, "passed": value.passed, "detail": value.detail}


def story(value: "Story", page: Path) -> Json:
    """Return the demo's steps and where its page is."""
    return {
        "passed": value.passed,
        "page": str(page.absolute()),
        "service": value.service,
        "log": value.log,
        "model_contract_id": value.model_contract_id,
        "calibration_id": value.calibration.id,
        "elapsed_ms": value.elapsed_s * 1e3,
        "steps": [_step(step) for step in value.steps],
    }


def _step(value: "Step") -> Json:
    score = threshold = asked = achieved = None
    match value.result:
        case Decision() as result:
            score, threshold, asked, achieved = result.score, result.threshold, result.max_fmr, result.achieved_fmr
        case Identification() as result:
            score = result.candidates[0].score if result.candidates else None
            threshold, asked, achieved = result.threshold, result.max_fpir, result.achieved_fpir
    return {
        "key": value.key,
        "title": value.title,
        "expected": value.expected,
        "outcome": value.outcome,
        "passed": value.passed,
        "finding": value.finding,
        "score": score,
        "threshold": threshold,
        "rate_asked": asked,
        "rate_achieved": None if achieved is None else rate(achieved),
        "elapsed_ms": value.elapsed_ms,
    }


def _moment(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
