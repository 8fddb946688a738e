"""What was presented, held against what is known: compare, verify, search, and say what it means."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik import answers, decision
from biometrik.answers import Match
from biometrik.calibration import CalibrationTable, Evidence
from biometrik.errors import CalibrationNotFoundError, IncompatibleTemplateError
from biometrik.features import Features
from biometrik.gallery.gallery import Reference
from biometrik.gallery.searching import SearchResult
from biometrik.presentation import Presentation, Reception
from biometrik.reasons import Reason
from biometrik.recognition import Recognition, meeting, presented, traits_of
from biometrik.samples import PreparedSample, Sample, as_it_is
from biometrik.scale import Scale
from biometrik.types import Decision, Identification, Modality, Template, Trait

#: Chance that an enrolment of ten different fingers is held up because two of them look alike: one in a thousand.
SAME_FINGER_FALSE_ALARM: Final = 1e-3

#: Pairs of ten fingers.
_PAIRS_OF_TEN: Final = 45

#: Scores of references from their similarities and comparisons, by trait.
Fuse = Callable[[Mapping[Trait, NDArray[np.float32]], Mapping[Trait, NDArray[np.int64]]], NDArray[np.float64]]


class Examiner:
    """Recognition and the evidence behind its similarities; thread-safe, stores nothing.

    Parameters
    ----------
    recognition : Recognition
        The models in force.
    evidence : mapping of str to Evidence
        By comparison contract.
    max_samples : int
        Most samples of one call.
    """

    def __init__(self, recognition: Recognition, evidence: Mapping[str, Evidence], max_samples: int) -> None:
        self._recognition = recognition
        self._evidence = evidence
        self._reception = Reception(recognition, max_samples)
        self._scales_made: dict[tuple[Modality, bool], Scale] = {}

    def scale(self, modality: Modality, *, real_evidence: bool = False) -> Scale:
        """Return the evidence behind a modality's scores; see :meth:`biometrik.Engine.scale`."""
        found = self._scales_made.get((modality, real_evidence))
        if found is None:
            contract = self._recognition.comparison_id(modality)
            if contract not in self._evidence:
                raise CalibrationNotFoundError(
                    f"calibration: none for {contract}; make one with scripts/calibrate and name it in"
                    " ModelParameters.calibrations"
                )
            found = self._evidence[contract].scale(real_only=real_evidence)
            self._scales_made[modality, real_evidence] = found
        return found

    @property
    def calibrations(self) -> tuple[CalibrationTable, ...]:
        """The tables in force of every modality whose models are open, real ones first."""
        contracts = [self._recognition.comparison_id(modality) for modality in self._recognition.open_modalities]
        found = [self._evidence[contract] for contract in contracts if contract in self._evidence]
        return tuple(table for own in found for table in own.tables)

    def present(self, samples: Sequence[Sample | PreparedSample]) -> Presentation:
        """Return the samples of one call; raises as :meth:`biometrik.presentation.Reception.present`."""
        return self._reception.present(samples)

    def present_many(self, people: Sequence[Sequence[Sample | PreparedSample]]) -> list[Presentation]:
        """Return the samples of several people, whose images go through the models together; raises as that."""
        return self._reception.present_many(people)

    def compare(
        self,
        probe: Sequence[Sample | PreparedSample],
        reference: Sequence[Sample | PreparedSample],
        max_fmr: float,
        *,
        real_evidence: bool,
    ) -> Decision:
        """Say whether two people are the same; see :meth:`biometrik.Engine.compare`."""
        self._reception.check_count(probe)
        self._reception.check_count(reference)
        shown, known = presented(probe), presented(reference)
        scales = self._scales([*shown, *known], real_evidence=real_evidence)
        traits = meeting(shown, known) or shown
        operating = decision.verification(traits, scales, max_fmr, 1)
        first, second = self.present(probe), self.present(reference)
        moved = tuple(sample.at(i).report for i, sample in enumerate(second.samples, start=len(first.samples)))
        compared = self._recognition.compare(first.features, second.features)
        if compared:
            return answers.decided(scales, operating, max_fmr, Match(compared), 1, first.reports, moved)
        usable = first.features and second.features
        reason = Reason.NOTHING_IN_COMMON if usable else Reason.NO_USABLE_PROBE
        return answers.inconclusive(scales, traits, operating, max_fmr, reason, first.reports + moved)

    def verify(
        self,
        references: Sequence[tuple[str, Reference]],
        samples: Sequence[Sample | PreparedSample],
        max_fmr: float,
        *,
        real_evidence: bool,
    ) -> Decision:
        """Say whether a person is one of the subjects whose references are given.

        Parameters
        ----------
        references : sequence of (str, Reference)
            Subject and encounter.
        samples, max_fmr, real_evidence
            As for :meth:`biometrik.Engine.verify`.
        """
        self._reception.check_count(samples)
        shown = presented(samples)
        known = self._comparable(references)
        met = [meeting(shown, presented(templates)) for _, _, templates in known]
        widest = max(met, key=len, default={}) or shown
        scales = self._scales([*shown, *(trait for traits in met for trait in traits)], real_evidence=real_evidence)
        operating = decision.verification(widest, scales, max_fmr, max(1, len(known)))
        probe = self.present(samples)
        matches = [
            Match(compared, who, reference.encounter_id)
            for who, reference, templates in known
            if (compared := self._recognition.compare(probe.features, self._recognition.features(templates)))
        ]
        if not matches:
            if not known:
                reason = Reason.NO_REFERENCE
            else:
                reason = Reason.NOTHING_IN_COMMON if probe.features else Reason.NO_USABLE_PROBE
            return answers.inconclusive(scales, widest, operating, max_fmr, reason, probe.reports)
        best = matches[0] if len(matches) == 1 else max(matches, key=lambda match: self._rank(match, scales))
        return answers.decided(scales, operating, max_fmr, best, len(matches), probe.reports)

    def identify(
        self,
        probes: Sequence[Presentation],
        search: Callable[[Sequence[Features], Fuse], Sequence[SearchResult]],
        max_fpir: float | None,
        *,
        real_evidence: bool,
    ) -> list[Identification]:
        """Search for people; see :meth:`biometrik.Engine.identify_many`.

        Parameters
        ----------
        probes : sequence of Presentation
            Of each person.
        search : callable
            The gallery's, over whom it is to go; also told of a probe without features, to say over whom it would.
        max_fpir, real_evidence
            As there.
        """
        traits = [(presented(probe.samples), traits_of(probe.features)) for probe in probes]
        scales = self._scales([trait for pair in traits for own in pair for trait in own], real_evidence=real_evidence)
        results = search(
            [probe.features for probe in probes],
            lambda similar, counts: decision.scores_of(similar, counts, scales),
        )
        return [
            answers.identified(scales, shown, used, found, max_fpir, probe.reports)
            for probe, (shown, used), found in zip(probes, traits, results, strict=True)
        ]

    def scales(self, modalities: Iterable[Modality], *, real_evidence: bool) -> dict[Modality, Scale]:
        """Return the evidence behind modalities, each once; raises as :meth:`scale`."""
        return {modality: self.scale(modality, real_evidence=real_evidence) for modality in dict.fromkeys(modalities)}

    def score(self, probe: Features, reference: Features, *, real_evidence: bool) -> float | None:
        """Return the score of two people's features; None where they have nothing in common."""
        compared = self._recognition.compare(probe, reference)
        if not compared:
            return None
        return decision.score_of(compared, self._scales(compared, real_evidence=real_evidence), 1)[0]

    def presented(self, samples: Sequence[PreparedSample]) -> Presentation:
        """Return samples that were presented before, fewer than they were then."""
        return Presentation(samples, self._recognition)

    def stored(self, references: Sequence[tuple[str, Reference]]) -> Presentation:
        """Return what is stored of a subject as if it were presented.

        Raises
        ------
        IncompatibleTemplateError
            All of it is of other models.
        """
        templates = [as_it_is(template) for _, _, own in self._comparable(references) for template in own]
        return Presentation(templates, self._recognition)

    def same_finger_twice(self, probe: Presentation) -> frozenset[Trait]:
        """Return the fingers of which two are one: prints that were presented as two fingers and match.

        Nothing is said without a calibration for fingers.
        """
        if sum(sample.trait.modality is Modality.FINGER for sample in probe.samples) < 2:
            return frozenset()
        prints = {position: Features(prints={0: pack}) for position, pack in probe.features.prints.items() if position}
        if len(prints) < 2 or self._recognition.comparison_id(Modality.FINGER) not in self._evidence:
            return frozenset()
        pairs = [(a, b) for a in prints for b in prints if a < b]
        found: Counter[Trait] = Counter()
        for a, b in pairs:
            if self._is_one_finger(prints[a], prints[b], len(pairs)):
                found.update((Trait(Modality.FINGER, a), Trait(Modality.FINGER, b)))
        return frozenset(found)

    def same_finger(self, sample: PreparedSample, others: Mapping[Trait, PreparedSample]) -> Trait | None:
        """Return which of some fingers a print is of, None where of none: one of ten that come one after the other.

        Nothing is said without a calibration for fingers.
        """
        if self._recognition.comparison_id(Modality.FINGER) not in self._evidence:
            return None
        probe = self._any_finger(sample)
        for trait, other in others.items():
            if self._is_one_finger(probe, self._any_finger(other), _PAIRS_OF_TEN):
                return trait
        return None

    def _any_finger(self, sample: PreparedSample) -> Features:
        (pack,) = Presentation([sample], self._recognition).features.prints.values()
        return Features(prints={0: pack})

    def _is_one_finger(self, first: Features, second: Features, pairs: int) -> bool:
        # So strict that of this many pairs of different fingers hardly ever one is taken for one finger.
        scales = self._scales([Trait(Modality.FINGER)], real_evidence=False)
        allowed = decision.each_of(SAME_FINGER_FALSE_ALARM, pairs)
        threshold = decision.to_score(max(allowed, scales[Modality.FINGER].tightest_fmr))
        score, *_ = decision.score_of(self._recognition.compare(first, second), scales, 1)
        return decision.reaches(score, threshold)

    @staticmethod
    def _rank(match: Match, scales: Mapping[Modality, Scale]) -> tuple[float, float]:
        # Beyond the tightest rate scores no longer grow: similarities still tell the better of two.
        score, components = decision.score_of(match.compared, scales, 1)
        return score, sum(component.raw_score for component in components)

    def _scales(self, traits: Iterable[Trait], *, real_evidence: bool) -> dict[Modality, Scale]:
        return self.scales((trait.modality for trait in traits), real_evidence=real_evidence)

    def _comparable(
        self, references: Sequence[tuple[str, Reference]]
    ) -> list[tuple[str, Reference, tuple[Template, ...]]]:
        # With their templates of the models in force; a reference without any cannot be compared.
        owned = [
            (who, reference, tuple(template for template in reference.templates if self._recognition.owns(template)))
            for who, reference in references
        ]
        kept = [row for row in owned if row[2]]
        if references and not kept:
            other = references[0][1].templates[0]
            raise IncompatibleTemplateError(
                f"template: expected models {self._recognition.contract_id(other.modality)}, got"
                f" {other.model_contract_id}; enrol the subject again, or open the database with the models that it"
                " was made with"
            )
        return kept
