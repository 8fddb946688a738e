"""Samples without a gallery: prepare, assess, extract, compare; and the evidence behind the scores."""

from collections.abc import Mapping, Sequence

from biometrik.calibration import CalibrationTable
from biometrik.engine.state import EngineState
from biometrik.fingers import FingerprintImage
from biometrik.samples import PreparedSample, Sample
from biometrik.scale import Scale
from biometrik.types import DEFAULT_MAX_FMR, Decision, Modality, SampleReport, Template, Trait


class Comparing(EngineState):
    """What needs nobody enrolled: the evidence behind scores, and samples prepared, assessed and compared."""

    @property
    def model_contract_id(self) -> str:
        """Names the face models in force; pinned on every face template."""
        return self._recognition.face.contract_id

    def contract_id(self, modality: Modality) -> str:
        """Return what names a modality's models in force; pinned on every template that they make.

        Raises
        ------
        ModelError, PluginNotFoundError
            The fingers' models are asked for and cannot be opened.
        """
        return self._recognition.contract_id(modality)

    @property
    def calibration(self) -> Scale:
        """The evidence behind the scores of faces; raises as :meth:`scale`."""
        return self.scale(Modality.FACE)

    @property
    def calibrations(self) -> tuple[CalibrationTable, ...]:
        """The tables in force: those of faces, and of fingers once their models are opened."""
        return self._examiner.calibrations

    def scale(self, modality: Modality, *, real_evidence: bool = False) -> Scale:
        """Return the evidence behind a modality's scores.

        Parameters
        ----------
        modality : Modality
            Whose.
        real_evidence : bool
            Only what was measured on real samples.

        Raises
        ------
        CalibrationNotFoundError
            None is known for these models, or none of real samples.
        ModelError, PluginNotFoundError
            The fingers' models are asked for and cannot be opened.
        """
        return self._examiner.scale(modality, real_evidence=real_evidence)

    def prepare(self, samples: Sequence[Sample]) -> tuple[PreparedSample, ...]:
        """Put samples through the models, once and together, for calls that follow.

        Every other method does this with the samples that it is given. Whoever has samples of several people, or one
        sample for several calls, prepares them here: images of equal size share model runs.

        Parameters
        ----------
        samples : sequence of FaceImage, FingerprintImage, Template or UnreadableSample
            Any number, of any people.

        Returns
        -------
        tuple of PreparedSample
            In the same order.

        Raises
        ------
        IncompatibleTemplateError
            A template is of other models.
        TemplateFormatError
            A template's payload is not one of theirs.
        """
        with self._call():
            return self._recognition.prepare(samples)

    def quality(self, samples: Sequence[Sample | PreparedSample]) -> tuple[SampleReport, ...]:
        """Return what is to be said of each sample, storing nothing.

        Raises
        ------
        InvalidInputError
            No samples, or too many.
        """
        with self._call():
            return self._examiner.present(samples).reports

    def extract(self, samples: Sequence[Sample | PreparedSample]) -> tuple[Template | None, ...]:
        """Return a template a sample; None where none can be made (ask :meth:`quality` why).

        Raises
        ------
        InvalidInputError
            No samples, or too many.
        """
        with self._call():
            return tuple(sample.template for sample in self._examiner.present(samples).samples)

    def compare(
        self,
        probe: Sequence[Sample | PreparedSample],
        reference: Sequence[Sample | PreparedSample],
        *,
        max_fmr: float = DEFAULT_MAX_FMR,
        real_evidence: bool = False,
    ) -> Decision:
        """Say whether two people are the same, storing nothing.

        Parameters
        ----------
        probe, reference : sequence of FaceImage, FingerprintImage or Template
            One or more samples of each. Several faces of one side are averaged as embeddings; of several prints of
            one finger the best pair counts. Traits that both sides have are fused (ADR 10).
        max_fmr : float
            Target false match rate, 0..1.
        real_evidence : bool
            Rest on calibrations from real samples alone; otherwise those from synthetic prints reach further.

        Returns
        -------
        Decision
            ``samples`` holds the probe's reports, then the reference's.

        Raises
        ------
        InvalidInputError
            No samples, too many, or ``max_fmr`` out of range.
        ThresholdUnsupportedError
            The calibration cannot support ``max_fmr``.
        CalibrationNotFoundError
            No calibration is known for these models.
        IncompatibleTemplateError
            A template is of other models.
        """
        with self._call():
            return self._examiner.compare(probe, reference, max_fmr, real_evidence=real_evidence)

    def draw_pairs(self, probe: FingerprintImage, reference: FingerprintImage) -> bytes:
        """Return a picture of two prints side by side, with their minutiae and lines between the pairs that match.

        Parameters
        ----------
        probe, reference : FingerprintImage
            Left and right.

        Returns
        -------
        bytes
            A PNG file. It shows a person's prints: biometric data.

        Raises
        ------
        InvalidInputError
            One of them is no print.
        """
        with self._call():
            return self._recognition.draw_pairs(probe, reference)

    def same_finger(self, sample: PreparedSample, others: Mapping[Trait, PreparedSample]) -> Trait | None:
        """Say whether a print is of a finger that was presented before under another name.

        Parameters
        ----------
        sample : PreparedSample
            The print.
        others : mapping of Trait to PreparedSample
            Prints of the same person's other fingers, up to nine.

        Returns
        -------
        Trait or None
            Which of them it is; None where it is none, or the models of fingers have no calibration to tell by. Of a
            thousand people's ten different fingers about one set gives a false alarm.
        """
        with self._call():
            return self._examiner.same_finger(sample, others)
