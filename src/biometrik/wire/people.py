"""Subjects, encounters, certificates of erasure and galleries."""

from biometrik.types import Encounter, ErasureCertificate, GalleryInfo, Subject
from biometrik.v1 import subject_pb2
from biometrik.wire.enumerations import KINDS, STATUSES
from biometrik.wire.requests import (
    missing_from_wire,
    missing_to_wire,
    time_from_wire,
    time_to_wire,
    trait_from_wire,
    trait_to_wire,
)


def encounter_to_wire(encounter: Encounter) -> subject_pb2.Encounter:
    """Return an encounter."""
    return subject_pb2.Encounter(
        encounter_id=encounter.encounter_id,
        subject_id=encounter.subject_id,
        status=STATUSES.to_wire(encounter.status),
        galleries=encounter.galleries,
        created_at=time_to_wire(encounter.created_at),
        template_count=encounter.templates,
        traits=[trait_to_wire(trait) for trait in encounter.traits],
        missing=[missing_to_wire(row) for row in encounter.missing],
    )


def encounter_from_wire(message: subject_pb2.Encounter) -> Encounter:
    """Return an encounter."""
    return Encounter(
        encounter_id=message.encounter_id,
        subject_id=message.subject_id,
        status=STATUSES.from_wire(message.status),
        galleries=tuple(message.galleries),
        created_at=time_from_wire(message.created_at),
        templates=message.template_count,
        traits=tuple(trait_from_wire(trait) for trait in message.traits),
        missing=tuple(missing_from_wire(row) for row in message.missing),
    )


def subject_to_wire(subject: Subject) -> subject_pb2.Subject:
    """Return a subject with its encounters."""
    return subject_pb2.Subject(
        subject_id=subject.subject_id,
        created_at=time_to_wire(subject.created_at),
        encounters=[encounter_to_wire(encounter) for encounter in subject.encounters],
    )


def subject_from_wire(message: subject_pb2.Subject) -> Subject:
    """Return a subject with its encounters."""
    encounters = tuple(encounter_from_wire(encounter) for encounter in message.encounters)
    return Subject(message.subject_id, time_from_wire(message.created_at), encounters)


def certificate_to_wire(certificate: ErasureCertificate) -> subject_pb2.ErasureCertificate:
    """Return a certificate of erasure."""
    return subject_pb2.ErasureCertificate(
        subject_id=certificate.subject_id,
        erased_at=time_to_wire(certificate.erased_at),
        encounter_count=certificate.encounters,
        template_count=certificate.templates,
        event=certificate.event,
        digest=certificate.digest,
    )


def certificate_from_wire(message: subject_pb2.ErasureCertificate) -> ErasureCertificate:
    """Return a certificate of erasure."""
    return ErasureCertificate(
        subject_id=message.subject_id,
        erased_at=time_from_wire(message.erased_at),
        encounters=message.encounter_count,
        templates=message.template_count,
        event=message.event,
        digest=message.digest,
    )


def gallery_to_wire(gallery: GalleryInfo) -> subject_pb2.Gallery:
    """Return a gallery."""
    return subject_pb2.Gallery(
        name=gallery.name,
        kind=KINDS.to_wire(gallery.kind),
        created_at=time_to_wire(gallery.created_at),
        subject_count=gallery.subjects,
        encounter_count=gallery.encounters,
        legal_basis=gallery.legal_basis,
        retention_days=gallery.retention_days,
    )


def gallery_from_wire(message: subject_pb2.Gallery) -> GalleryInfo:
    """Return a gallery."""
    return GalleryInfo(
        name=message.name,
        kind=KINDS.from_wire(message.kind),
        created_at=time_from_wire(message.created_at),
        subjects=message.subject_count,
        encounters=message.encounter_count,
        legal_basis=message.legal_basis,
        retention_days=message.retention_days,
    )
