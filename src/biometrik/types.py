"""The values that the library hands around: images, faces, quality, templates, decisions.

All are immutable. Those that hold arrays compare by identity and their arrays are read-only.
Coordinates are pixels, x to the right and y down; *left* and *right* in field names are the image's unless
they are said to be the subject's.
"""

import hashlib
import math
import struct
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from os import PathLike
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from biometrik import imaging
from biometrik.errors import InvalidInputError, TemplateFormatError
from biometrik.reasons import Reason


class Modality(Enum):
    """What is sensed (ISO/IEC 2382-37, *biometric modality*)."""

    FACE = "face"
    FINGER = "finger"


@dataclass(frozen=True, slots=True)
class Trait:
    """What of a person is compared: the face, or one finger.

    Parameters
    ----------
    modality : Modality
        Face or finger.
    position : int
        0 for a face. For a finger its code 1..10 (ISO/IEC 19794-2), 0 where it is not known which.
    """

    modality: Modality
    position: int = 0

    @classmethod
    def finger(cls, position: int) -> Self:
        """Return the trait of a finger position code: plain thumbs are thumbs, several fingers are no one finger.

        Examples
        --------
        >>> Trait.finger(12) == Trait(Modality.FINGER, 6), Trait.finger(13).position
        (True, 0)
        """
        return cls(Modality.FINGER, {11: 1, 12: 6}.get(position, position if position <= 10 else 0))

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the trait of a :attr:`name`; raises InvalidInputError for any other word.

        Examples
        --------
        >>> Trait.named("left_thumb") == Trait.finger(6)
        True
        """
        if name == "face":
            return cls(Modality.FACE)
        if name not in FINGER_NAMES:
            raise InvalidInputError(f"trait: expected face or one of {', '.join(FINGER_NAMES)}, got {name!r:.40}")
        return cls(Modality.FINGER, FINGER_NAMES.index(name))

    @property
    def name(self) -> str:
        """A word for machines, e.g. ``face``, ``right_index`` or ``finger``."""
        if self.modality is Modality.FACE:
            return "face"
        return FINGER_NAMES[self.position]


FINGER_NAMES: Final = (
    "finger",
    *(f"{hand}_{finger}" for hand in ("right", "left") for finger in ("thumb", "index", "middle", "ring", "little")),
)
"""Names of finger position codes 0..10."""
FACE: Final = Trait(Modality.FACE)


class Outcome(Enum):
    """The three answers of a comparison. None of them is an error."""

    MATCH = "MATCH"
    NO_MATCH = "NO_MATCH"
    INCONCLUSIVE = "INCONCLUSIVE"


class EnrollmentOutcome(Enum):
    """The answers of an enrolment."""

    ENROLLED = "ENROLLED"
    NEEDS_RECAPTURE = "NEEDS_RECAPTURE"
    """A face was found, but its quality is below the threshold in force."""
    FAILURE_TO_ENROLL = "FAILURE_TO_ENROLL"
    """No sample gave a template (ISO/IEC 19795-1, FTE)."""
    DUPLICATE_SUSPECTED = "DUPLICATE_SUSPECTED"
    """The person seems to be enrolled under another id, and the caller's policy refuses that."""


class EncounterStatus(Enum):
    """Whether an encounter takes part in comparisons."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class GalleryKind(Enum):
    """Purpose of a gallery."""

    POPULATION = "POPULATION"
    WATCHLIST = "WATCHLIST"
    APPOINTMENT = "APPOINTMENT"


class Purpose(Enum):
    """Why a request is made."""

    ENROLL = "ENROLL"
    VERIFY = "VERIFY"
    IDENTIFY = "IDENTIFY"
    AUDIT = "AUDIT"
    TRAINING = "TRAINING"


class SampleSource(Enum):
    """Where a sample comes from."""

    SUPERVISED = "SUPERVISED"
    UNSUPERVISED = "UNSUPERVISED"
    DOCUMENT_CHIP = "DOCUMENT_CHIP"
    SCANNED_PHOTO = "SCANNED_PHOTO"


@dataclass(frozen=True, slots=True)
class SampleOrigin:
    """How a sample came to be; kept in the event log of an enrolment.

    Parameters
    ----------
    captured_at : datetime or None
        When, with its time zone; None where it is not known.
    source : SampleSource or None
        Where it comes from; None where it is not said.
    device_ref : str
        The caller's own reference of the device, at most 128 printable characters.

    Raises
    ------
    InvalidInputError
        A time without its zone, or a reference that is too long or not printable.
    """

    captured_at: datetime | None = None
    source: SampleSource | None = None
    device_ref: str = ""

    def __post_init__(self) -> None:
        if self.captured_at is not None and self.captured_at.tzinfo is None:
            raise InvalidInputError("captured_at: expected a time with its zone, e.g. datetime.now(UTC)")
        if len(self.device_ref) > 128 or not (self.device_ref == "" or self.device_ref.isprintable()):
            raise InvalidInputError(
                f"device_ref: expected at most 128 printable characters, got {len(self.device_ref)}"
            )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    # A view, so that freezing a value does not freeze the caller's array.
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True, eq=False)
class FaceImage:
    """A photograph in which a face is expected.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        RGB, upright. Not copied; seen read-only.
    encoded : bytes
        What the pixels were decoded from; empty where they were not. A client sends these.
    origin : SampleOrigin
        How it came to be.

    Raises
    ------
    InvalidInputError
        If ``pixels`` is not (H, W, 3) uint8 or is empty.
    """

    pixels: NDArray[np.uint8]
    encoded: bytes = field(default=b"", repr=False)
    origin: SampleOrigin = field(default_factory=SampleOrigin)

    def __post_init__(self) -> None:
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            raise InvalidInputError(f"pixels: expected a uint8 array, got {getattr(pixels, 'dtype', type(pixels))}")
        if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise InvalidInputError(f"pixels: expected (H, W, 3) RGB, got {pixels.shape}")
        object.__setattr__(self, "pixels", _read_only(pixels))

    @classmethod
    def from_file(cls, path: str | PathLike[str], *, limits: imaging.ImageLimits = imaging.DEFAULT_LIMITS) -> Self:
        """Read a photograph: JPEG, PNG, BMP, TIFF, WebP or JPEG 2000, turned upright by its EXIF tag.

        Raises
        ------
        ImageError
            The file is not an image that the library accepts; the subclass says why.
        InvalidInputError
            The file cannot be opened.
        """
        return cls.from_bytes(imaging.read_file(path, limits=limits), limits=limits)

    @classmethod
    def from_bytes(cls, data: bytes, *, limits: imaging.ImageLimits = imaging.DEFAULT_LIMITS) -> Self:
        """Decode an encoded photograph; see :meth:`from_file`.

        Raises
        ------
        ImageError
            The bytes are not an image that the library accepts; the subclass says why.
        """
        return cls(imaging.decode_rgb(data, limits=limits), data)

    @property
    def width_px(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in pixels; may reach beyond the image."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the middle."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face found in an image.

    Parameters
    ----------
    box : Box
        Around the face, in pixels of the image.
    landmarks : (5, 2) float32
        x, y of the subject's right eye (image left), left eye, nose tip, right and left mouth corner.
    confidence : float
        The detector's own, 0..1; comparable only within one detector.
    """

    box: Box
    landmarks: NDArray[np.float32]
    confidence: float

    def __post_init__(self) -> None:
        if self.landmarks.shape != (5, 2):
            raise InvalidInputError(f"landmarks: expected (5, 2), got {self.landmarks.shape}")
        object.__setattr__(self, "landmarks", _read_only(self.landmarks))

    @property
    def inter_eye_px(self) -> float:
        """Distance between the eye centres in pixels."""
        right, left = self.landmarks[0], self.landmarks[1]
        return float(math.hypot(left[0] - right[0], left[1] - right[1]))


@dataclass(frozen=True, slots=True)
class QualityComponent:
    """One measured aspect of a sample.

    Parameters
    ----------
    name : str
        ISO/IEC 29794-5 word, lower case with underscores.
    value : float
        0 (worst) .. 100 (best).
    measured : float
        The quantity behind it, in ``unit``.
    unit : str
        Unit of ``measured``; "" for a pure number.
    threshold : float
        The least ``value`` that is acceptable under the profile in force, 0..100.
    reason : Reason or None
        What to tell the operator; None where the component is acceptable.
    """

    name: str
    value: float
    measured: float
    unit: str
    threshold: float
    reason: Reason | None

    @property
    def acceptable(self) -> bool:
        """Whether the value reaches the threshold in force."""
        return self.value >= self.threshold


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a sample is for recognition.

    Parameters
    ----------
    overall : float
        0..100, the unified score.
    algorithm : str
        Name and version of what computed it, with the profile in force.
    components : tuple of QualityComponent
        Each measured aspect.
    """

    overall: float
    algorithm: str
    components: tuple[QualityComponent, ...]

    @property
    def acceptable(self) -> bool:
        """Whether every component reaches its threshold."""
        return all(component.acceptable for component in self.components)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """What the operator should do, worst component first, without repetition."""
        failed = sorted((c for c in self.components if not c.acceptable), key=lambda c: c.value - c.threshold)
        return tuple(dict.fromkeys(c.reason for c in failed if c.reason is not None))

    def component(self, name: str) -> QualityComponent:
        """Return one component by name.

        Raises
        ------
        InvalidInputError
            If there is none of that name.
        """
        for component in self.components:
            if component.name == name:
                return component
        raise InvalidInputError(f"quality component: expected one of {[c.name for c in self.components]}, got {name!r}")


_TEMPLATE_MAGIC: Final = b"BMTK"
_TEMPLATE_VERSION: Final = 1
#: magic, version, modality, finger position, length of the contract id, length of the payload
_TEMPLATE_HEADER: Final = struct.Struct("<4sBBBBI")
_MODALITY_CODES: Final = {Modality.FACE: 1, Modality.FINGER: 2}
_MAX_PAYLOAD_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Template:
    """What is stored of a sample and compared with others.

    Parameters
    ----------
    modality : Modality
        Face or finger.
    model_contract_id : str
        Names everything that shaped the numbers; templates of different contracts are never compared.
        At most 255 ASCII characters.
    payload : bytes
        The modality's own form; for a face the float32 embedding, little-endian. At most 1 MiB.
    position : int
        Finger position code 0..15 (ISO/IEC 19794-2), 0 for a face.
    """

    modality: Modality
    model_contract_id: str
    payload: bytes = field(repr=False)
    position: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.model_contract_id) <= 255 or not self.model_contract_id.isascii():
            raise InvalidInputError("model_contract_id: expected 1 to 255 ASCII characters")
        if not 0 <= self.position <= 15:
            raise InvalidInputError(f"position: expected 0..15, got {self.position}")
        if not 1 <= len(self.payload) <= _MAX_PAYLOAD_BYTES:
            raise InvalidInputError(f"payload: expected 1 to {_MAX_PAYLOAD_BYTES} bytes, got {len(self.payload)}")

    @property
    def trait(self) -> Trait:
        """What it is of."""
        return FACE if self.modality is Modality.FACE else Trait.finger(self.position)

    def to_bytes(self) -> bytes:
        """Serialise with version, modality, contract and a CRC-32 over all of it.

        Examples
        --------
        >>> template = Template(Modality.FACE, "demo@1", b"1234")
        >>> Template.from_bytes(template.to_bytes()) == template
        True
        """
        contract = self.model_contract_id.encode("ascii")
        header = _TEMPLATE_HEADER.pack(
            _TEMPLATE_MAGIC,
            _TEMPLATE_VERSION,
            _MODALITY_CODES[self.modality],
            self.position,
            len(contract),
            len(self.payload),
        )
        body = header + contract + self.payload
        return body + zlib.crc32(body).to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        TemplateFormatError
            The bytes are damaged, truncated, too long, or of an unknown version or modality.
        """
        if len(data) < _TEMPLATE_HEADER.size + 4:
            raise TemplateFormatError(f"template: expected at least {_TEMPLATE_HEADER.size + 4} bytes, got {len(data)}")
        magic, version, code, position, contract_length, payload_length = _TEMPLATE_HEADER.unpack_from(data)
        if magic != _TEMPLATE_MAGIC:
            raise TemplateFormatError("template: does not begin with the mark of a template")
        if version != _TEMPLATE_VERSION:
            raise TemplateFormatError(f"template: expected version {_TEMPLATE_VERSION}, got {version}")
        start = _TEMPLATE_HEADER.size + contract_length
        expected = start + payload_length + 4
        if len(data) != expected:
            raise TemplateFormatError(f"template: expected {expected} bytes, got {len(data)}")
        if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise TemplateFormatError("template: checksum does not fit, the bytes are damaged")
        modality = next((m for m, c in _MODALITY_CODES.items() if c == code), None)
        if modality is None:
            raise TemplateFormatError(f"template: unknown modality code {code}")
        try:
            contract = data[_TEMPLATE_HEADER.size : start].decode("ascii")
            return cls(modality, contract, bytes(data[start:-4]), position)
        except (UnicodeDecodeError, InvalidInputError) as error:
            raise TemplateFormatError(f"template: {error}") from None


#: Target FMR where the caller names none: 1 in 1,000 (BSI TR-03121, face verification).
DEFAULT_MAX_FMR: Final = 1e-3
#: Target FPIR of a search where the caller names none: one stranger in a hundred gets a candidate.
DEFAULT_MAX_FPIR: Final = 0.01


class EvidenceKind(Enum):
    """Whose samples a calibration was measured on."""

    REAL = "real"
    SYNTHETIC = "synthetic"


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured rate with its confidence interval, all 0..1.

    Parameters
    ----------
    value, low, high : float
        Estimate and the bounds.
    confidence : float
        Probability that the bounds promise, e.g. 0.95.
    """

    value: float
    low: float
    high: float
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who asks, why, and under which name a write can be repeated.

    Parameters
    ----------
    transaction_id : str
        Chosen by the caller; a write repeated with it returns its first answer. "" for none.
    operator_ref, station_ref, consent_ref : str
        The caller's own references, kept in the event log. At most 128 characters each.
    purpose : Purpose or None
        Why, kept likewise; None where it is not said.

    Raises
    ------
    InvalidInputError
        A reference is too long or not printable, or the purpose is not a :class:`Purpose`.
    """

    transaction_id: str = ""
    operator_ref: str = ""
    station_ref: str = ""
    consent_ref: str = ""
    purpose: Purpose | None = None

    def __post_init__(self) -> None:
        for name in ("transaction_id", "operator_ref", "station_ref", "consent_ref"):
            value = getattr(self, name)
            if len(value) > 128 or not (value == "" or value.isprintable()):
                raise InvalidInputError(f"{name}: expected at most 128 printable characters, got {len(value)}")
        if not (self.purpose is None or isinstance(self.purpose, Purpose)):
            raise InvalidInputError(f"purpose: expected a Purpose or None, got {type(self.purpose).__name__}")


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What became of one presented sample.

    Parameters
    ----------
    position : int
        Index of the sample in the call, from 0.
    usable : bool
        Whether a template was made of it.
    reasons : tuple of Reason
        Why not, or what to do better.
    quality : Quality or None
        None where there was nothing to measure.
    faces_found : int
        Number of faces in the image.
    face : Face or None
        The face that was used; None where there was none.
    trait : Trait
        What the sample shows, or was said to show.
    """

    position: int
    usable: bool
    reasons: tuple[Reason, ...]
    quality: Quality | None
    faces_found: int
    face: Face | None
    trait: Trait = FACE


@dataclass(frozen=True, slots=True)
class Component:
    """What one trait contributed to a comparison.

    Parameters
    ----------
    trait : Trait
        Which.
    score : float
        −10·log10(FMR) of this trait alone, corrected for its comparisons.
    raw_score : float
        The comparator's own similarity, the best of ``comparisons``.
    comparisons : int
        Pairs of samples of this trait that were held against each other.
    calibration_id, model_contract_id : str
        The evidence behind the score, and the models.
    capped : bool
        Whether the evidence reaches no further: the score is "this much or more".
    """

    trait: Trait
    score: float
    raw_score: float
    comparisons: int
    calibration_id: str
    model_contract_id: str
    capped: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of a 1:1 comparison, with what it rests on.

    Parameters
    ----------
    outcome : Outcome
        ``MATCH``, ``NO_MATCH`` or ``INCONCLUSIVE``.
    reasons : tuple of Reason
        Why it is inconclusive, or advice; may be empty.
    score : float or None
        −10·log10(FMR) of the comparison: 30 is 1 in 1,000. Capped at the calibration's tightest FMR.
        None where nothing was compared.
    threshold : float
        The score needed for a match.
    max_fmr : float
        The FMR that the caller asked for, 0..1.
    achieved_fmr : Interval
        FMR measured at the threshold in force.
    raw_score : float or None
        The comparator's own similarity behind ``score``, where one trait was compared; None where several were (each
        has its own in ``components``), or nothing was.
    comparisons : int
        How many references the probe was held against; the score is corrected for it.
    subject_id, encounter_id : str
        The subject, and its encounter, that fits best; "" where nothing was compared or nothing is stored.
    calibration_id, model_contract_id : str
        The evidence behind the score, and the models; joined by `` + `` where several traits were compared.
    samples : tuple of SampleReport
        A row per presented sample.
    components : tuple of Component
        A row per trait compared, of the reference that fits best.
    """

    outcome: Outcome
    reasons: tuple[Reason, ...]
    score: float | None
    threshold: float
    max_fmr: float
    achieved_fmr: Interval
    raw_score: float | None
    comparisons: int
    subject_id: str
    encounter_id: str
    calibration_id: str
    model_contract_id: str
    samples: tuple[SampleReport, ...]
    components: tuple[Component, ...] = ()

    @property
    def capped(self) -> bool:
        """Whether the score is "this much or more": the evidence of every trait compared reaches no further."""
        return bool(self.components) and all(component.capped for component in self.components)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One subject that a search returned.

    Parameters
    ----------
    rank : int
        1 is the best.
    subject_id, encounter_id : str
        The subject, and its encounter that fits best.
    galleries : tuple of str
        Galleries that hold this encounter.
    score : float
        −10·log10(FMR) of the comparison with this subject, on the same scale as a verification's.
    raw_score : float or None
        The comparator's similarity behind it, where one trait was compared.
    is_match : bool
        Whether the score reaches the threshold in force; False where none was.
    components : tuple of Component
        A row per trait compared.
    """

    rank: int
    subject_id: str
    encounter_id: str
    galleries: tuple[str, ...]
    score: float
    raw_score: float | None
    is_match: bool
    components: tuple[Component, ...] = ()

    @property
    def capped(self) -> bool:
        """Whether the score is "this much or more"; see :attr:`Decision.capped`."""
        return bool(self.components) and all(component.capped for component in self.components)


@dataclass(frozen=True, slots=True)
class SearchCoverage:
    """What a search looked at.

    Parameters
    ----------
    gallery_version : int
        Sequence number of the last event that the index has taken in.
    galleries : tuple of str
        Galleries searched.
    subjects, compared : int
        Subjects that could have been found, and references compared with.
    exact : bool
        Whether every reference was compared; otherwise ``recall_claimed`` says what is promised.
    recall_claimed : float
        1.0 for an exact search.
    """

    gallery_version: int
    galleries: tuple[str, ...]
    subjects: int
    compared: int
    exact: bool
    recall_claimed: float


@dataclass(frozen=True, slots=True)
class Identification:
    """The answer of a 1:N search.

    Parameters
    ----------
    outcome : Outcome
        ``MATCH`` if the best candidate reaches the threshold, ``NO_MATCH`` (unknown) if none does,
        ``INCONCLUSIVE`` with reasons otherwise.
    reasons : tuple of Reason
        Why it is inconclusive; may be empty.
    candidates : tuple of Candidate
        Best first; also those below the threshold, for an officer to see.
    threshold : float or None
        Score needed for a match at the FPIR asked for and this gallery's size; None where no FPIR was asked.
    max_fpir : float or None
        The FPIR that the caller asked for.
    achieved_fpir : Interval or None
        FPIR that the calibration gives at the threshold for this many comparisons.
    coverage : SearchCoverage
        What was searched.
    calibration_id, model_contract_id : str
        The evidence behind the scores, and the models.
    samples : tuple of SampleReport
        A row per presented sample.
    """

    outcome: Outcome
    reasons: tuple[Reason, ...]
    candidates: tuple[Candidate, ...]
    threshold: float | None
    max_fpir: float | None
    achieved_fpir: Interval | None
    coverage: SearchCoverage
    calibration_id: str
    model_contract_id: str
    samples: tuple[SampleReport, ...]


@dataclass(frozen=True, slots=True)
class Enrollment:
    """The answer of an enrolment.

    Parameters
    ----------
    outcome : EnrollmentOutcome
        Only ``ENROLLED`` stored something.
    subject_id : str
        As the caller named it.
    encounter_id : str
        The new encounter; "" unless enrolled.
    templates : int
        Templates stored.
    samples : tuple of SampleReport
        A row per presented sample.
    search : Identification or None
        What the search for duplicates found: its candidates are those who reach its threshold, the suspects. None
        where none was asked for, or nothing could have been stored.
    """

    outcome: EnrollmentOutcome
    subject_id: str
    encounter_id: str
    templates: int
    samples: tuple[SampleReport, ...]
    search: Identification | None = None


class MissingReason(Enum):
    """Why a sample cannot be had."""

    AMPUTATED = "AMPUTATED"
    BANDAGED = "BANDAGED"
    DAMAGED = "DAMAGED"
    WORN = "WORN"
    REFUSED = "REFUSED"
    UNABLE = "UNABLE"


@dataclass(frozen=True, slots=True)
class MissingSample:
    """A finger that cannot be had: data, not a gap.

    Parameters
    ----------
    position : int
        Which, 1..10 (:class:`biometrik.fingers.FingerPosition`).
    reason : MissingReason
        Why.
    permanent : bool
        Whether it will never be had.

    Raises
    ------
    InvalidInputError
        The position is not one known finger.
    """

    position: int
    reason: MissingReason
    permanent: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.position <= 10:
            raise InvalidInputError(f"missing: expected one known finger, 1..10, got {int(self.position)}")
        object.__setattr__(self, "position", int(self.position))

    @property
    def trait(self) -> Trait:
        """The finger."""
        return Trait.finger(self.position)


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


def sha256_hex(*parts: bytes) -> str:
    """SHA-256 over length-prefixed parts, hexadecimal: no two lists of parts share a digest by concatenation."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
