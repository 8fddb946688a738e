"""The modalities side by side: images to templates, templates to features, features to similarities."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biometrik.config import EngineConfig
from biometrik.errors import IncompatibleTemplateError, InvalidInputError
from biometrik.face.pipeline import FacePipeline, ProcessedFace, RejectedFace
from biometrik.features import Compared, Features
from biometrik.fingerprint import quality
from biometrik.fingerprint.drawing import draw_pairs
from biometrik.fingerprint.matching import MATCHERS, Matcher
from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint, RejectedPrint
from biometrik.fingers import FingerprintImage
from biometrik.inference import Runtime
from biometrik.samples import PreparedSample, Sample, as_it_is, trait_of
from biometrik.types import FACE, FaceImage, Modality, SampleReport, Template, Trait


@dataclass(frozen=True, slots=True)
class _Fingers:
    # What prints are recognised with.
    pipeline: FingerPipeline
    matcher: Matcher[Any]


def traits_of(features: Features) -> dict[Trait, int]:
    """Return the traits that features have, and how many samples of each can be compared: of a face one, their mean."""
    faces = {} if features.vector is None else {FACE: 1}
    return faces | {Trait(Modality.FINGER, position): len(pack) for position, pack in features.prints.items()}


def presented(samples: Sequence[Sample | PreparedSample]) -> dict[Trait, int]:
    """Return the traits that samples show or were said to show, counted as :func:`traits_of` does."""
    counts: dict[Trait, int] = {}
    for sample in samples:
        trait = sample.trait if isinstance(sample, PreparedSample) else trait_of(sample)
        counts[trait] = 1 if trait == FACE else counts.get(trait, 0) + 1
    return counts


def meeting(probe: Mapping[Trait, int], reference: Mapping[Trait, int]) -> dict[Trait, int]:
    """Return the traits that a probe and a reference are compared by, and how many pairs each has.

    Labelled fingers meet their like. Only where no label meets a label, all prints meet all as one trait, whose best
    pair counts and pays for their number: so one finger is never evidence twice.

    Examples
    --------
    >>> right, left, some = (Trait(Modality.FINGER, position) for position in (2, 7, 0))
    >>> meeting({right: 2, some: 1}, {right: 1, left: 1}) == {right: 2}
    True
    >>> meeting({right: 2, some: 1}, {left: 1}) == {some: 3}
    True
    """
    both = {trait: n * reference[trait] for trait, n in probe.items() if trait in reference}
    found = {trait: n for trait, n in both.items() if trait == FACE or trait.position}
    if any(trait.position for trait in found):
        return found
    ours, theirs = (
        {trait.position: n for trait, n in side.items() if trait.modality is Modality.FINGER}
        for side in (probe, reference)
    )
    if ours and theirs and (0 in ours or 0 in theirs):
        found[Trait(Modality.FINGER)] = sum(ours.values()) * sum(theirs.values())
    return found


class Recognition:
    """The models of faces and fingers; thread-safe.

    Faces' models are opened at once. Those of fingers are opened with them where ``config.preload`` says so, otherwise
    when the first print or finger template comes: an office without scanners does not pay for them.

    Parameters
    ----------
    config : EngineConfig
        Which models, and their settings.

    Raises
    ------
    ModelError
        Weights are missing, damaged, without licence, or the execution provider cannot run here.
    PluginNotFoundError
        The configuration names a plug-in that is not there.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._runtime = Runtime(config.runtime, config.models)
        self.face = FacePipeline(config.face, self._runtime)
        if config.runtime.warm_up:
            self.face.warm_up()
        self._opening = threading.Lock()
        self._opened: _Fingers | None = None
        if Modality.FINGER in config.preload:
            self._fingers()

    @property
    def finger(self) -> FingerPipeline:
        """The fingers' models; raises ModelError or PluginNotFoundError where they cannot be opened."""
        return self._fingers().pipeline

    @property
    def matcher(self) -> Matcher[Any]:
        """What compares prints; raises as :attr:`finger`."""
        return self._fingers().matcher

    @property
    def open_modalities(self) -> tuple[Modality, ...]:
        """Those whose models are open."""
        return (Modality.FACE, Modality.FINGER) if self._opened else (Modality.FACE,)

    def contract_id(self, modality: Modality) -> str:
        """Return what names the models that make a modality's templates."""
        return self.face.contract_id if modality is Modality.FACE else self.finger.contract_id

    def comparison_id(self, modality: Modality) -> str:
        """Return what names a modality's similarities: the templates' models, and the comparator where it is ours."""
        if modality is Modality.FACE:
            return self.face.contract_id
        return f"{self.finger.contract_id}+{'@'.join(self.matcher.contract().values())}"

    def contract(self, fingers: bool) -> str:
        """Return what names the models of faces, and those of fingers if asked, which are opened then."""
        names = [self.comparison_id(Modality.FACE), *([self.comparison_id(Modality.FINGER)] if fingers else [])]
        return " ".join(names)

    def owns(self, template: Template) -> bool:
        """Whether a template is of the models in force."""
        return template.model_contract_id == self.contract_id(template.modality)

    def prepare(self, samples: Sequence[Sample]) -> tuple[PreparedSample, ...]:
        """Return samples, of any number and of any people, with what became of each.

        Raises
        ------
        IncompatibleTemplateError
            A template is of other models.
        TemplateFormatError
            A template's payload is not one of theirs.
        ModelError
            There is a print, and the fingers' models cannot be opened.
        """
        faces = [(i, sample) for i, sample in enumerate(samples) if isinstance(sample, FaceImage)]
        prints = [(i, sample) for i, sample in enumerate(samples) if isinstance(sample, FingerprintImage)]
        made: dict[int, PreparedSample] = {}
        if faces:
            found = self.face.process([image for _, image in faces])
            made |= {i: self._of_face(image, face) for (i, image), face in zip(faces, found, strict=True)}
        if prints:
            seen = self.finger.process([image for _, image in prints])
            made |= {i: self._of_print(image, one) for (i, image), one in zip(prints, seen, strict=True)}
        return tuple(made[i] if i in made else self._ready(sample).at(i) for i, sample in enumerate(samples))

    def check(self, template: Template) -> None:
        """Raise IncompatibleTemplateError for a template of other models."""
        if not self.owns(template):
            raise IncompatibleTemplateError(
                f"template: expected models {self.contract_id(template.modality)}, got {template.model_contract_id};"
                " make it again from its image with the models in force"
            )

    def features(self, templates: Sequence[Template]) -> Features:
        """Return what can be compared of templates of one person; those of other models are passed over.

        Raises
        ------
        TemplateFormatError
            A payload is damaged.
        """
        return self.features_of_many([templates])[0]

    def features_of_many(self, people: Sequence[Sequence[Template]]) -> list[Features]:
        """Return as :meth:`features` for many at once: prints are prepared together, and share memory."""
        owned = [[template for template in templates if self.owns(template)] for templates in people]
        # By person and position, so that each finger's prints are next to each other in the pack.
        prints = sorted(
            (person, Trait.finger(template.position).position, i, template)
            for person, templates in enumerate(owned)
            for i, template in enumerate(templates)
            if template.modality is Modality.FINGER
        )
        fingers: list[dict[int, Any]] = [{} for _ in people]
        if prints:
            pack = self.matcher.prepare_many([self.finger.minutiae(template) for *_, template in prints])
            start = 0
            for (person, position), group in groupby(prints, key=itemgetter(0, 1)):
                stop = start + len(list(group))
                fingers[person][position] = pack.part(start, stop)
                start = stop
        return [Features(self._face_vector(templates), own) for templates, own in zip(owned, fingers, strict=True)]

    def compare(self, probe: Features, reference: Features) -> Mapping[Trait, Compared]:
        """Return the similarity of each trait that they are compared by (:func:`meeting`); there may be none."""
        found: dict[Trait, Compared] = {}
        for trait in meeting(traits_of(probe), traits_of(reference)):
            if trait == FACE:
                assert probe.vector is not None
                assert reference.vector is not None
                found[trait] = Compared(float(probe.vector @ reference.vector))
            elif trait.position:
                found[trait] = self._best([probe.prints[trait.position]], [reference.prints[trait.position]])
            else:
                found[trait] = self._best([*probe.prints.values()], [*reference.prints.values()])
        return found

    def draw_pairs(self, probe: FingerprintImage, reference: FingerprintImage) -> bytes:
        """Return a picture of two prints with the pairs found; see :meth:`biometrik.Engine.draw_pairs`."""
        minutiae = []
        for name, found in zip(("probe", "reference"), self.finger.process([probe, reference]), strict=True):
            if isinstance(found, RejectedPrint):
                raise InvalidInputError(f"{name}: expected a print, got {found.reason.value}; {found.reason.text()}")
            minutiae.append(found.minutiae)
        first, second = minutiae
        alignment = self.matcher.align(self.matcher.prepare(first), self.matcher.prepare(second))
        return draw_pairs(probe, first, reference, second, alignment.pairs)

    def _face_vector(self, templates: Sequence[Template]) -> NDArray[np.float32] | None:
        faces = [template for template in templates if template.modality is Modality.FACE]
        if not faces:
            return None
        rows = self.face.embeddings(faces)
        mean: NDArray[np.float32] = rows[0] if len(rows) == 1 else rows.mean(axis=0, dtype=np.float32)
        return mean

    def _best(self, probes: Sequence[Any], references: Sequence[Any]) -> Compared:
        matcher = self.matcher
        similarities = np.concatenate(
            [
                matcher.compare_many(pack.part(i, i + 1), reference)
                for pack in probes
                for i in range(len(pack))
                for reference in references
            ]
        )
        return Compared(float(similarities.max()), len(similarities))

    def _fingers(self) -> _Fingers:
        opened = self._opened
        if opened is None:
            with self._opening:
                opened = self._opened
                if opened is None:
                    config = self._config
                    pipeline = FingerPipeline(config.finger, self._runtime)
                    matcher = MATCHERS.load(config.finger.matcher)(device_id=config.runtime.device_id)
                    if config.runtime.warm_up:
                        pipeline.warm_up()
                        matcher.warm_up()
                    opened = self._opened = _Fingers(pipeline, matcher)
        return opened

    def _of_face(self, image: FaceImage, face: ProcessedFace | RejectedFace) -> PreparedSample:
        if isinstance(face, RejectedFace):
            return PreparedSample(image, SampleReport(0, False, (face.reason,), None, face.faces_found, None), None)
        report = SampleReport(0, True, face.quality.reasons, face.quality, face.faces_found, face.face)
        return PreparedSample(image, report, self.face.template(face))

    def _of_print(self, image: FingerprintImage, found: ProcessedPrint | RejectedPrint) -> PreparedSample:
        if isinstance(found, RejectedPrint):
            return PreparedSample(image, SampleReport(0, False, (found.reason,), None, 0, None, image.trait), None)
        grade = quality.assess(found.prepared, found.minutiae, image.position, image.impression)
        report = SampleReport(0, True, grade.reasons, grade, 0, None, image.trait)
        return PreparedSample(image, report, self.finger.template(found))

    def _ready(self, sample: Sample) -> PreparedSample:
        assert not isinstance(sample, FaceImage | FingerprintImage)
        if isinstance(sample, Template):
            self.check(sample)
            if sample.modality is Modality.FACE:
                self.face.embeddings([sample])
            else:
                self.finger.minutiae(sample)
        return as_it_is(sample)
