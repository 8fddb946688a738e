"""The answers of comparisons, searches and enrolments."""

from dataclasses import dataclass
from enum import Enum

from biometrik.reasons import Reason
from biometrik.types.samples import Face, Quality
from biometrik.types.traits import FACE, Trait


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
