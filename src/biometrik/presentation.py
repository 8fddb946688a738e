"""From what a call is given to what can be compared: samples through the models, and one vector for all of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import IncompatibleTemplateError, InvalidInputError
from biometrik.face.pipeline import FacePipeline, ProcessedFace, RejectedFace
from biometrik.samples import PreparedSample, Sample, as_it_is
from biometrik.types import FaceImage, SampleReport, Template


class Presentation:
    """The samples of one call, their reports, and the vector that speaks for them.

    Parameters
    ----------
    samples : sequence of PreparedSample
        In the order of the call.
    pipeline : FacePipeline
        Made their templates.

    Attributes
    ----------
    vector : (D,) float32 or None
        Mean of the embeddings of acceptable samples; of all usable ones where none is acceptable; None where none is
        usable.
    """

    def __init__(self, samples: Sequence[PreparedSample], pipeline: FacePipeline) -> None:
        self.samples = tuple(sample.at(i) for i, sample in enumerate(samples))
        self.reports = tuple(sample.report for sample in self.samples)
        good = [sample for sample in self.samples if sample.acceptable]
        templates = [sample.template for sample in good or self.samples if sample.template is not None]
        self.vector: NDArray[np.float32] | None = (
            pipeline.embeddings(templates).mean(axis=0, dtype=np.float32) if templates else None
        )


class Reception:
    """Takes samples and puts them through the models.

    Parameters
    ----------
    pipeline : FacePipeline
        The models in force.
    max_samples : int
        Most samples of one call.
    """

    def __init__(self, pipeline: FacePipeline, max_samples: int) -> None:
        self._pipeline = pipeline
        self._max_samples = max_samples

    def prepare(self, samples: Sequence[Sample]) -> tuple[PreparedSample, ...]:
        """Return samples, of any number and of any people, with what became of each.

        Raises
        ------
        IncompatibleTemplateError
            A template is of other models.
        TemplateFormatError
            A template's payload is not one of theirs.
        """
        images = [(i, sample) for i, sample in enumerate(samples) if isinstance(sample, FaceImage)]
        faces = self._pipeline.process([image for _, image in images]) if images else []
        made = {i: self._of_image(image, face) for (i, image), face in zip(images, faces, strict=True)}
        return tuple(made[i] if i in made else self._ready(sample).at(i) for i, sample in enumerate(samples))

    def present(self, samples: Sequence[Sample | PreparedSample]) -> Presentation:
        """Return the samples of one call.

        Raises
        ------
        InvalidInputError
            None, or too many.
        IncompatibleTemplateError, TemplateFormatError
            As :meth:`prepare`; also for a prepared sample of other models.
        """
        if not 1 <= len(samples) <= self._max_samples:
            raise InvalidInputError(f"samples: expected 1..{self._max_samples}, got {len(samples)}")
        fresh = iter(self.prepare([sample for sample in samples if not isinstance(sample, PreparedSample)]))
        every = [self._checked(sample) if isinstance(sample, PreparedSample) else next(fresh) for sample in samples]
        return Presentation(every, self._pipeline)

    def _of_image(self, image: FaceImage, face: ProcessedFace | RejectedFace) -> PreparedSample:
        if isinstance(face, RejectedFace):
            return PreparedSample(image, SampleReport(0, False, (face.reason,), None, face.faces_found, None), None)
        report = SampleReport(0, True, face.quality.reasons, face.quality, face.faces_found, face.face)
        return PreparedSample(image, report, self._pipeline.template(face))

    def _ready(self, sample: Sample) -> PreparedSample:
        assert not isinstance(sample, FaceImage)
        if isinstance(sample, Template):
            self._check(sample)
            self._pipeline.embeddings([sample])
        return as_it_is(sample)

    def _checked(self, sample: PreparedSample) -> PreparedSample:
        if sample.template is not None:
            self._check(sample.template)
        return sample

    def _check(self, template: Template) -> None:
        if template.model_contract_id != self._pipeline.contract_id:
            raise IncompatibleTemplateError(
                f"template: expected models {self._pipeline.contract_id}, got {template.model_contract_id};"
                " make it again from its image with the models in force"
            )
