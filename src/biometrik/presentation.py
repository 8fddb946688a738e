"""From what a call is given to what can be compared: samples through the models, and the features of all of them."""

from collections.abc import Sequence
from functools import cached_property

from biometrik.errors import InvalidInputError
from biometrik.features import Features
from biometrik.recognition import Recognition
from biometrik.samples import PreparedSample, Sample
from biometrik.types import Modality, Template


class Presentation:
    """The samples of one call, their reports, and the features that speak for them.

    Parameters
    ----------
    samples : sequence of PreparedSample
        In the order of the call.
    recognition : Recognition
        Made their templates.
    """

    def __init__(self, samples: Sequence[PreparedSample], recognition: Recognition) -> None:
        self.samples = tuple(sample.at(i) for i, sample in enumerate(samples))
        self.reports = tuple(sample.report for sample in self.samples)
        self._recognition = recognition

    @cached_property
    def features(self) -> Features:
        """Of the usable samples; made when they are first asked for: an enrolment of faces without a policy does not.

        Photographs of poor quality count only where there is none of acceptable quality; every print counts: quality is
        no gate in the verification of fingers (BSI TR-03121).

        Raises
        ------
        TemplateFormatError
            A prepared sample's template is damaged.
        """
        made = [(sample, sample.template) for sample in self.samples if sample.template is not None]
        faces = [(sample, template) for sample, template in made if template.modality is Modality.FACE]
        good = [template for sample, template in faces if sample.acceptable] or [template for _, template in faces]
        prints: list[Template] = [template for _, template in made if template.modality is Modality.FINGER]
        return self._recognition.features(good + prints)


class Reception:
    """Takes samples and puts them through the models.

    Parameters
    ----------
    recognition : Recognition
        The models in force.
    max_samples : int
        Most samples of one call.
    """

    def __init__(self, recognition: Recognition, max_samples: int) -> None:
        self._recognition = recognition
        self._max_samples = max_samples

    def present(self, samples: Sequence[Sample | PreparedSample]) -> Presentation:
        """Return the samples of one call.

        Raises
        ------
        InvalidInputError
            None, or too many.
        IncompatibleTemplateError, TemplateFormatError, ModelError
            As :meth:`biometrik.recognition.Recognition.prepare`; the first also for a prepared sample of other models.
        """
        (presentation,) = self.present_many([samples])
        return presentation

    def present_many(self, people: Sequence[Sequence[Sample | PreparedSample]]) -> list[Presentation]:
        """Return the samples of several people, each as :meth:`present` does."""
        for samples in people:
            self.check_count(samples)
        raw = [sample for samples in people for sample in samples if not isinstance(sample, PreparedSample)]
        fresh = iter(self._recognition.prepare(raw))
        return [
            Presentation(
                [self._checked(sample) if isinstance(sample, PreparedSample) else next(fresh) for sample in samples],
                self._recognition,
            )
            for samples in people
        ]

    def check_count(self, samples: Sequence[Sample | PreparedSample]) -> None:
        """Raise InvalidInputError for no samples, or too many."""
        if not 1 <= len(samples) <= self._max_samples:
            raise InvalidInputError(f"samples: expected 1..{self._max_samples}, got {len(samples)}")

    def _checked(self, sample: PreparedSample) -> PreparedSample:
        if sample.template is not None:
            self._recognition.check(sample.template)
        return sample
