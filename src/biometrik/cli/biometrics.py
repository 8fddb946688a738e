"""What commands ask of whoever answers: an engine in this process, or a service somewhere else."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from biometrik.bulk import Imported, ImportRecord
from biometrik.duplicates import DedupePolicy
from biometrik.samples import Sample
from biometrik.types import (
    Decision,
    Enrollment,
    ErasureCertificate,
    GalleryInfo,
    GalleryKind,
    Identification,
    MissingSample,
    RequestContext,
    SampleReport,
    Subject,
)
from biometrik.wording import Evidence


class Biometrics(Protocol):
    """What :class:`biometrik.Engine` and :class:`biometrik.client.Client` have in common, as far as commands need it.

    See :class:`biometrik.Engine` for what each method does and raises.
    """

    @property
    def calibrations(self) -> Sequence[Evidence]:
        """The evidence in force."""

    def quality(self, samples: Sequence[Sample]) -> tuple[SampleReport, ...]:
        """Grade samples."""

    def compare(
        self, probe: Sequence[Sample], reference: Sequence[Sample], *, max_fmr: float, real_evidence: bool
    ) -> Decision:
        """Compare two people, storing nothing."""

    def verify(self, subject_id: str, samples: Sequence[Sample], *, max_fmr: float, real_evidence: bool) -> Decision:
        """Verify a claim."""

    def verify_any(
        self, subject_ids: Sequence[str], samples: Sequence[Sample], *, max_fmr: float, real_evidence: bool
    ) -> Decision:
        """Verify a claim to be one of a few."""

    def verify_encounter(
        self, encounter_id: str, samples: Sequence[Sample], *, max_fmr: float, real_evidence: bool
    ) -> Decision:
        """Verify against one encounter."""

    def identify(
        self,
        samples: Sequence[Sample],
        *,
        max_fpir: float | None,
        galleries: Sequence[str] | None,
        max_candidates: int,
        excluding: str,
        real_evidence: bool,
    ) -> Identification:
        """Search for a person."""

    def enroll(
        self,
        subject_id: str,
        samples: Sequence[Sample],
        *,
        missing: Sequence[MissingSample],
        galleries: Sequence[str] | None,
        override: str,
        dedupe: DedupePolicy | None,
        context: RequestContext | None,
    ) -> Enrollment:
        """Enrol a person."""

    def import_encounters(self, records: Iterable[ImportRecord]) -> Iterator[Imported]:
        """Enrol many people."""

    def erase(self, subject_id: str, *, context: RequestContext | None) -> ErasureCertificate:
        """Erase a person."""

    def subject(self, subject_id: str) -> Subject:
        """Return a subject."""

    def subjects(self, *, gallery: str | None, after: str, limit: int) -> list[Subject]:
        """Return a page of subjects."""

    def galleries(self) -> list[GalleryInfo]:
        """Return all galleries."""

    def create_gallery(self, name: str, kind: GalleryKind, *, legal_basis: str, retention_days: int) -> GalleryInfo:
        """Create a gallery."""

    def delete_gallery(self, name: str) -> None:
        """Delete a gallery."""
