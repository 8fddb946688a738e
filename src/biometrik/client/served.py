"""What a service says of itself: evidence, models, bounds, copies of its database."""

import datetime
from dataclasses import dataclass

from biometrik import wire
from biometrik.errors import CalibrationNotFoundError, ProtocolError
from biometrik.gallery.records import Holdings
from biometrik.types import EvidenceKind
from biometrik.v1 import admin_service_pb2


@dataclass(frozen=True, slots=True)
class Calibration:
    """The evidence behind a service's scores; :class:`biometrik.calibration.CalibrationTable` without its rows.

    Parameters
    ----------
    id, dataset : str
        Names it in decisions, and what it was measured on.
    subjects, mated, non_mated : int
        People, comparisons of images of one person, and of two.
    date : datetime.date
        When it was measured.
    tightest_fmr, tightest_raw_score : float
        The smallest FMR that it supports, and the similarity from which on scores no longer grow.
    model_contract_id : str
        The models whose similarities it reads.
    evidence : EvidenceKind
        Whether it was measured on real or on synthetic samples.
    """

    id: str
    dataset: str
    subjects: int
    mated: int
    non_mated: int
    date: datetime.date
    tightest_fmr: float
    tightest_raw_score: float
    model_contract_id: str = ""
    evidence: EvidenceKind = EvidenceKind.REAL


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Weights on a service's machine.

    Parameters
    ----------
    id, role, licence, sha256 : str
        Name, what they do, licence, and hash of the file.
    """

    id: str
    role: str
    licence: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a service is and accepts; see GetCapabilities in the contract.

    Parameters
    ----------
    version, model_contract_id, provider, precision, quality_profile : str
        Of the software, its models, where and how they run, and the thresholds of quality in force.
    policies : dict of str to (float, float)
        Name → target FMR and FPIR.
    calibrations : tuple of Calibration
        Evidence in force; empty where the models have none, and then nothing is decided.
    max_message_bytes, max_samples, max_concurrent_requests : int
        Bounds.
    quarantined_encounters : int
        How many are set aside because they are damaged; above zero the service works and is not whole.
    """

    version: str
    model_contract_id: str
    provider: str
    precision: str
    quality_profile: str
    policies: dict[str, tuple[float, float]]
    calibrations: tuple[Calibration, ...]
    max_message_bytes: int
    max_samples: int
    max_concurrent_requests: int
    quarantined_encounters: int = 0


@dataclass(frozen=True, slots=True)
class ServedCopy:
    """A copy of a service's database, whole and on disk in the folder of the service's configuration.

    Parameters
    ----------
    name : str
        Of its file there.
    sha256 : str
        Of the file, hexadecimal.
    created_at : datetime
        When the copying began, UTC: what was acknowledged before it is in the copy.
    schema_version : int
        The file's.
    held : Holdings
        What it holds.
    """

    name: str
    sha256: str
    created_at: datetime.datetime
    schema_version: int
    held: Holdings


def calibration_of(capabilities: Capabilities) -> Calibration:
    """Return the evidence in force; raises CalibrationNotFoundError where there is none."""
    if not capabilities.calibrations:
        raise CalibrationNotFoundError(
            f"calibration: the service has none for {capabilities.model_contract_id}; make one with scripts/calibrate"
            " and name it in the service's configuration"
        )
    return capabilities.calibrations[0]


def capabilities_from_wire(answer: admin_service_pb2.GetCapabilitiesResponse) -> Capabilities:
    """Return what a service is; raises ProtocolError for a calibration's date that is none."""
    return Capabilities(
        version=answer.version,
        model_contract_id=answer.model_contract_id,
        provider=answer.provider,
        precision=answer.precision,
        quality_profile=answer.quality_profile,
        policies={policy.name: (policy.fmr, policy.fpir) for policy in answer.policies},
        calibrations=tuple(map(_calibration, answer.calibrations)),
        max_message_bytes=answer.limits.max_message_bytes,
        max_samples=answer.limits.max_samples,
        max_concurrent_requests=answer.limits.max_concurrent_requests,
        quarantined_encounters=answer.quarantined_encounters,
    )


def copy_from_wire(answer: admin_service_pb2.SnapshotResponse) -> ServedCopy:
    """Return what a copy is; raises InvalidInputError for a time that is none."""
    copy = answer.copy
    return ServedCopy(
        name=copy.name,
        sha256=copy.sha256,
        created_at=wire.time_from_wire(copy.created_at),
        schema_version=copy.schema_version,
        held=Holdings(
            event=copy.last_event,
            subjects=copy.subjects,
            encounters=copy.encounters,
            templates=copy.templates,
            quarantined=copy.quarantined_encounters,
            octets=copy.size_bytes,
        ),
    )


def _calibration(answer: admin_service_pb2.Calibration) -> Calibration:
    try:
        date = datetime.date.fromisoformat(answer.date)
    except ValueError:
        raise ProtocolError("calibration: expected a date as YYYY-MM-DD, got another") from None
    return Calibration(
        id=answer.calibration_id,
        dataset=answer.dataset,
        subjects=answer.subjects,
        mated=answer.mated_comparisons,
        non_mated=answer.nonmated_comparisons,
        date=date,
        tightest_fmr=answer.tightest_fmr,
        tightest_raw_score=answer.tightest_raw_score,
        model_contract_id=answer.model_contract_id,
        evidence=EvidenceKind.SYNTHETIC if answer.synthetic else EvidenceKind.REAL,
    )
