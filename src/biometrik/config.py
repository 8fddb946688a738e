"""Every setting, with its unit, default and source. Frozen; the core reads neither environment nor files by itself."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from biometrik.errors import InvalidInputError
from biometrik.imaging import DEFAULT_LIMITS, ImageLimits
from biometrik.types import Modality


class FacePolicy(Enum):
    """What to do when an image holds several faces."""

    LARGEST_CENTRAL = "largest-central"
    """Take the face with the greatest ``area − 2·d²``, d the distance of its centre from the image's, pixels
    (InsightFace's rule): a large face near the middle beats a larger one at the edge."""
    ERROR = "error"
    """Refuse the sample with :attr:`biometrik.reasons.Reason.SEVERAL_FACES`."""


@dataclass(frozen=True, slots=True)
class DetectionParameters:
    """Where faces are looked for.

    Parameters
    ----------
    min_confidence : float
        Detections below are dropped, 0..1. 0.6 is OpenCV's FaceDetectorYN sample value.
    nms_iou : float
        Boxes that overlap more are one face, 0..1. 0.3, OpenCV's FaceDetectorYN default.
    max_side_px : int
        Larger images are scaled down to this longest side before detection; landmarks are scaled back, and
        alignment reads the original pixels. 640: a face of 30 px in a 1080p frame is still above the 10 px that
        YuNet finds, and any smaller one could not be recognised.
    refine : bool
        Measure the landmarks a second time at a standard size and average: more accurate for a twentieth of the
        time (ADR 5). A policy, with a calibration of its own.
    """

    min_confidence: float = 0.6
    nms_iou: float = 0.3
    max_side_px: int = 640
    refine: bool = False

    def __post_init__(self) -> None:
        _unit_interval("min_confidence", self.min_confidence)
        _unit_interval("nms_iou", self.nms_iou)
        if not 64 <= self.max_side_px <= 4096:
            raise InvalidInputError(f"max_side_px: expected 64..4096, got {self.max_side_px}")


@dataclass(frozen=True, slots=True)
class FaceParameters:
    """The face pipeline.

    Parameters
    ----------
    detector, embedder : str
        Plug-in names. ``yunet`` and ``sface`` are bundled; ``scrfd`` and ``arcface`` serve InsightFace packs.
    detection : DetectionParameters
        Where faces are looked for.
    policy : FacePolicy
        What to do when an image holds several faces.
    flip : bool
        Average the embedding with that of the mirrored crop: a little more accurate, twice the cost.
    quality_profile : str
        Thresholds of the quality components: ``counter`` refuses what recognition cannot use, ``portrait`` asks for
        a photograph fit for a document (ICAO 9303, BSI TR-03121).
    """

    detector: str = "yunet"
    embedder: str = "sface"
    detection: DetectionParameters = field(default_factory=DetectionParameters)
    policy: FacePolicy = FacePolicy.LARGEST_CENTRAL
    flip: bool = False
    quality_profile: str = "counter"


@dataclass(frozen=True, slots=True)
class ExtractionParameters:
    """Which minutiae are kept.

    Parameters
    ----------
    min_quality : int
        Minutiae below are dropped, 0..100. 30: LEADER's authors keep those from 60 on, but the matcher, which weighs
        each by its quality, errs far less with more of them.
    max_minutiae : int
        The best are kept, 1..255 (ISO/IEC 19794-2:2005 counts them in one byte).
    """

    min_quality: int = 30
    max_minutiae: int = 255

    def __post_init__(self) -> None:
        if not 0 <= self.min_quality <= 100:
            raise InvalidInputError(f"min_quality: expected 0..100, got {self.min_quality}")
        if not 1 <= self.max_minutiae <= 255:
            raise InvalidInputError(f"max_minutiae: expected 1..255, got {self.max_minutiae}")


@dataclass(frozen=True, slots=True)
class FingerParameters:
    """The fingerprint pipeline.

    Parameters
    ----------
    extractor : str
        Plug-in name.
    extraction : ExtractionParameters
        Which minutiae are kept.
    min_minutiae : int
        A print with fewer gives no template, 0..255. 4: what is left then is compatible with almost any finger.
    matcher : str
        Plug-in name of what compares prints.
    """

    extractor: str = "leader"
    matcher: str = "cylinders"
    extraction: ExtractionParameters = field(default_factory=ExtractionParameters)
    min_minutiae: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.min_minutiae <= 255:
            raise InvalidInputError(f"min_minutiae: expected 0..255, got {self.min_minutiae}")


@dataclass(frozen=True, slots=True)
class RuntimeParameters:
    """Where and how the networks run.

    Parameters
    ----------
    provider : str
        ``cpu``, ``cuda`` or ``openvino``. One that cannot run here is an error at start, never a silent fallback.
    precision : str
        ``fp32``, or ``bf16`` (openvino on a CPU that has it).
    threads : int
        Threads of one model run; 0 means one per core that this process may use.
    batch_size : int
        Most images in one model run, 1..256.
    warm_up : bool
        Run each network once at start, so that the first request does not pay for it.
    device_id : int
        Which GPU, in the order in which CUDA shows them, 0..63: for the provider ``cuda``, the index ``faiss-gpu`` and
        the matcher ``cylinders-cuda``. One that is not there is an error at start.
    """

    provider: str = "cpu"
    precision: str = "fp32"
    threads: int = 0
    batch_size: int = 16
    warm_up: bool = True
    device_id: int = 0

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise InvalidInputError(f"precision: expected fp32 or bf16, got {self.precision!r}")
        if not 0 <= self.threads <= 256:
            raise InvalidInputError(f"threads: expected 0..256, got {self.threads}")
        if not 1 <= self.batch_size <= 256:
            raise InvalidInputError(f"batch_size: expected 1..256, got {self.batch_size}")
        if not 0 <= self.device_id <= 63:
            raise InvalidInputError(f"device_id: expected 0..63, got {self.device_id}")


@dataclass(frozen=True, slots=True)
class ModelParameters:
    """Where weights are found.

    Parameters
    ----------
    cache : Path or None
        Folder for weights rewritten to their faster form; None means the user's cache folder.
    pack : Path or None
        Folder of an InsightFace pack, for the ``scrfd`` and ``arcface`` plug-ins.
    calibrations : tuple of Path
        Calibration tables beside those that ship, for a deployer's own models and population.
    """

    cache: Path | None = None
    pack: Path | None = None
    calibrations: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class GalleryParameters:
    """Where enrolled people are kept and searched.

    Parameters
    ----------
    store, index : str
        Plug-in names.
    exhaustive_prints : int
        Up to so many finger templates a search compares every one in full; beyond, in stages (ADR 11). 20,000: at 8 µs
        each and on two cores, a probe of one finger waits less than a tenth of a second for the true best.
    on_damage : str
        What a damaged encounter does to the start: ``refuse`` ends it with an error that names the encounter,
        ``quarantine`` sets it aside and goes on without it (ADR 17).
    vectors_on_disk : bool
        Keep the vectors of faces in a file instead of memory, and only what the scan reads in memory; answers are the
        same. Takes the index ``int8-certified``. The file has no name, lies in the database's folder, and is gone when
        the process ends.
    snapshot : bool
        Keep what is searched, faces' vectors among it, in ``<database>.index`` when the database is closed, and start
        from there. Written from 10,000 encounters on; without it a start reads every template.
    """

    store: str = "sqlite"
    index: str = "int8-certified"
    exhaustive_prints: int = 20_000
    on_damage: str = "refuse"
    vectors_on_disk: bool = False
    snapshot: bool = True

    def __post_init__(self) -> None:
        if self.on_damage not in ("refuse", "quarantine"):
            raise InvalidInputError(f"on_damage: expected refuse or quarantine, got {self.on_damage!r}")
        if not 0 <= self.exhaustive_prints <= 10_000_000:
            raise InvalidInputError(f"exhaustive_prints: expected 0..10000000, got {self.exhaustive_prints}")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """All settings of an engine.

    Parameters
    ----------
    face, finger, runtime, models, gallery
        Settings of each part.
    preload : tuple of Modality
        Whose models are opened at start besides the face's; those of others when the first sample of them comes.
    limits : ImageLimits
        Bounds on images that are decoded.
    max_samples : int
        Most samples in one call, 1..64.
    require_consent : bool
        Refuse enrolments whose context has no ``consent_ref``, the caller's reference of the consent or other lawful
        basis. What it refers to is the caller's matter.
    """

    face: FaceParameters = field(default_factory=FaceParameters)
    finger: FingerParameters = field(default_factory=FingerParameters)
    runtime: RuntimeParameters = field(default_factory=RuntimeParameters)
    models: ModelParameters = field(default_factory=ModelParameters)
    gallery: GalleryParameters = field(default_factory=GalleryParameters)
    limits: ImageLimits = DEFAULT_LIMITS
    max_samples: int = 16
    require_consent: bool = False
    preload: tuple[Modality, ...] = (Modality.FACE,)

    def __post_init__(self) -> None:
        if not 1 <= self.max_samples <= 64:
            raise InvalidInputError(f"max_samples: expected 1..64, got {self.max_samples}")


def _unit_interval(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise InvalidInputError(f"{name}: expected 0..1, got {value}")
