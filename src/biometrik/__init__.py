"""Biometric identity verification: enrol, verify and identify people, with decisions that can be defended.

The names below are the public surface; each is loaded when it is first used, so that ``import biometrik`` costs
nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biometrik.config import EngineConfig as EngineConfig
    from biometrik.config import FaceParameters as FaceParameters
    from biometrik.config import FacePolicy as FacePolicy
    from biometrik.config import FingerParameters as FingerParameters
    from biometrik.config import GalleryParameters as GalleryParameters
    from biometrik.config import ModelParameters as ModelParameters
    from biometrik.config import RuntimeParameters as RuntimeParameters
    from biometrik.duplicates import DedupeAction as DedupeAction
    from biometrik.duplicates import DedupePolicy as DedupePolicy
    from biometrik.engine import Engine as Engine
    from biometrik.errors import BiometrikError as BiometrikError
    from biometrik.finger_imaging import read_print as read_print
    from biometrik.fingers import FingerPosition as FingerPosition
    from biometrik.fingers import FingerprintImage as FingerprintImage
    from biometrik.fingers import Impression as Impression
    from biometrik.reasons import Reason as Reason
    from biometrik.types import Candidate as Candidate
    from biometrik.types import Decision as Decision
    from biometrik.types import EncounterStatus as EncounterStatus
    from biometrik.types import Enrollment as Enrollment
    from biometrik.types import EnrollmentOutcome as EnrollmentOutcome
    from biometrik.types import ErasureCertificate as ErasureCertificate
    from biometrik.types import FaceImage as FaceImage
    from biometrik.types import GalleryKind as GalleryKind
    from biometrik.types import Identification as Identification
    from biometrik.types import MissingReason as MissingReason
    from biometrik.types import MissingSample as MissingSample
    from biometrik.types import Modality as Modality
    from biometrik.types import Outcome as Outcome
    from biometrik.types import Purpose as Purpose
    from biometrik.types import Quality as Quality
    from biometrik.types import RequestContext as RequestContext
    from biometrik.types import SampleOrigin as SampleOrigin
    from biometrik.types import Template as Template

__version__ = "0.1.0"

_HOME = {
    "DedupeAction": "duplicates",
    "DedupePolicy": "duplicates",
    "Engine": "engine",
    "EngineConfig": "config",
    "FaceParameters": "config",
    "FingerParameters": "config",
    "FacePolicy": "config",
    "GalleryParameters": "config",
    "ModelParameters": "config",
    "RuntimeParameters": "config",
    "BiometrikError": "errors",
    "read_print": "finger_imaging",
    "FingerPosition": "fingers",
    "FingerprintImage": "fingers",
    "Impression": "fingers",
    "MissingReason": "types",
    "MissingSample": "types",
    "Reason": "reasons",
    "Candidate": "types",
    "Decision": "types",
    "Enrollment": "types",
    "EnrollmentOutcome": "types",
    "ErasureCertificate": "types",
    "EncounterStatus": "types",
    "FaceImage": "types",
    "GalleryKind": "types",
    "Identification": "types",
    "Modality": "types",
    "Outcome": "types",
    "Purpose": "types",
    "Quality": "types",
    "RequestContext": "types",
    "SampleOrigin": "types",
    "Template": "types",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
