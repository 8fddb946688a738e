"""The values that the library hands around: images, faces, quality, templates, decisions.

All are immutable. Those that hold arrays compare by identity and their arrays are read-only.
Coordinates are pixels, x to the right and y down; *left* and *right* in field names are the image's unless
they are said to be the subject's.
"""

from biometrik.types.decisions import (
    Candidate,
    Component,
    Decision,
    Enrollment,
    EnrollmentOutcome,
    EvidenceKind,
    Identification,
    Interval,
    Outcome,
    SampleReport,
    SearchCoverage,
)
from biometrik.types.digests import sha256_hex
from biometrik.types.people import (
    Encounter,
    EncounterStatus,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    Subject,
)
from biometrik.types.requests import DEFAULT_MAX_FMR, DEFAULT_MAX_FPIR, Purpose, RequestContext
from biometrik.types.samples import Box, Face, FaceImage, Quality, QualityComponent, SampleOrigin, SampleSource
from biometrik.types.templates import Template
from biometrik.types.traits import FACE, FINGER_NAMES, MissingReason, MissingSample, Modality, Trait

__all__ = [
    "DEFAULT_MAX_FMR",
    "DEFAULT_MAX_FPIR",
    "FACE",
    "FINGER_NAMES",
    "Box",
    "Candidate",
    "Component",
    "Decision",
    "Encounter",
    "EncounterStatus",
    "Enrollment",
    "EnrollmentOutcome",
    "ErasureCertificate",
    "EvidenceKind",
    "Face",
    "FaceImage",
    "GalleryInfo",
    "GalleryKind",
    "Identification",
    "Interval",
    "MissingReason",
    "MissingSample",
    "Modality",
    "Outcome",
    "Purpose",
    "Quality",
    "QualityComponent",
    "RequestContext",
    "SampleOrigin",
    "SampleReport",
    "SampleSource",
    "SearchCoverage",
    "Subject",
    "Template",
    "Trait",
    "sha256_hex",
]
