"""What an enrolment does about people who are enrolled already, under another id."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final

from biometrik.errors import InvalidInputError
from biometrik.reasons import Reason
from biometrik.types import (
    DEFAULT_MAX_FPIR,
    Candidate,
    Component,
    Identification,
    Interval,
    Modality,
    Outcome,
    SearchCoverage,
    Trait,
)

#: Target FMR of each comparison within a gallery where the caller names none: 1 in 100,000, about the least that the
#: calibrations of faces support.
DEFAULT_DUPLICATE_FMR: Final = 1e-5
#: Most subjects that one enrolment leaves out: as many as its answer names by default.
MAX_EXCLUDED: Final = 10
#: As long as a detail of an event may be, with room to spare.
_MAX_REASON_CHARACTERS: Final = 2000
#: Of the list of ids in an event's details, less than the 2048 that one of them may have.
_MAX_LISTED_CHARACTERS: Final = 1900


class DedupeAction(Enum):
    """What happens where a duplicate is suspected."""

    WARN = "WARN"
    """The person is enrolled, and the answer names whom it may be."""
    REFUSE = "REFUSE"
    """Nothing is stored: ``DUPLICATE_SUSPECTED``, and the answer names whom it may be."""


@dataclass(frozen=True, slots=True)
class DedupePolicy:
    """How an enrolment looks for the same person under another id.

    What would be stored is searched for as :meth:`biometrik.Engine.identify` does, the subject's own encounters left
    out. Found is only what a search finds: active encounters that are in a gallery.

    There is no override for whomever a search may name. Who has looked at the candidates and knows better leaves
    exactly those out, with a reason that is kept: another one who turns up meanwhile is suspected all the same.

    Parameters
    ----------
    action : DedupeAction
        What happens where a duplicate is suspected.
    max_fpir : float
        Chance that a new person is suspected, 0..1, over all subjects searched: the threshold rises with the gallery.
    galleries : tuple of str or None
        Search only encounters in these; all by default.
    max_candidates : int
        Most suspects that the answer names, 1..100.
    excluded_subject_ids : tuple of str
        Subjects who were looked at and are not this person, or may be; at most ten.
    override : str
        Why they are left out, 1..2000 printable characters; needed where any are, kept with them in the event log.
    real_evidence : bool
        Rest on calibrations from real samples alone.

    Raises
    ------
    InvalidInputError
        A value is out of its bounds, or subjects are left out without a reason, or a reason without them.
    """

    action: DedupeAction = DedupeAction.REFUSE
    max_fpir: float = DEFAULT_MAX_FPIR
    galleries: tuple[str, ...] | None = None
    max_candidates: int = 10
    excluded_subject_ids: tuple[str, ...] = ()
    override: str = ""
    real_evidence: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.max_fpir < 1.0:
            raise InvalidInputError(f"max_fpir: expected a rate between 0 and 1, e.g. 1e-2, got {self.max_fpir}")
        if not 1 <= self.max_candidates <= 100:
            raise InvalidInputError(f"max_candidates: expected 1..100, got {self.max_candidates}")
        for name in ("galleries", "excluded_subject_ids"):
            if isinstance(getattr(self, name), str):  # a str is a sequence of its letters
                raise InvalidInputError(f"{name}: expected a tuple of names, got one string")
        object.__setattr__(self, "galleries", None if self.galleries is None else tuple(self.galleries))
        object.__setattr__(self, "excluded_subject_ids", tuple(dict.fromkeys(self.excluded_subject_ids)))
        excluded = self.excluded_subject_ids
        if len(excluded) > MAX_EXCLUDED or not all(1 <= len(who) <= 128 and who.isprintable() for who in excluded):
            raise InvalidInputError(
                f"excluded_subject_ids: expected at most {MAX_EXCLUDED} ids of 1..128 printable characters,"
                f" got {len(excluded)}"
            )
        if len(self.override) > _MAX_REASON_CHARACTERS or not (self.override == "" or self.override.isprintable()):
            raise InvalidInputError(
                f"override: expected at most {_MAX_REASON_CHARACTERS} printable characters, got {len(self.override)}"
            )
        if bool(excluded) != bool(self.override.strip()):
            raise InvalidInputError(
                "override: expected a reason together with the subjects that are left out"
                f" (excluded_subject_ids), got {'only these' if excluded else 'a reason alone'}"
            )

    def said(self, found: Identification) -> Mapping[str, str]:
        """Return what the event log keeps of the policy and of what a search found."""
        rows = {
            "dedupe": self.action.value,
            "dedupe_max_fpir": f"{self.max_fpir:g}",
            "dedupe_outcome": found.outcome.value,
            "dedupe_suspects": _listed(tuple(candidate.subject_id for candidate in found.candidates)),
            "dedupe_excluded": _listed(self.excluded_subject_ids),
            "dedupe_override": self.override,
        }
        return {name: value for name, value in rows.items() if value}


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two encounters of different subjects that seem to be of one person.

    Parameters
    ----------
    subject_ids, encounter_ids : tuple of str
        Of both, the one that was looked at first.
    score : float
        −10·log10(FMR) of the comparison of the two.
    components : tuple of Component
        A row per trait compared.
    """

    subject_ids: tuple[str, str]
    encounter_ids: tuple[str, str]
    score: float
    components: tuple[Component, ...]

    @property
    def capped(self) -> bool:
        """Whether the score is "this much or more"; see :attr:`biometrik.types.Decision.capped`."""
        return all(component.capped for component in self.components)

    @property
    def likeness(self) -> tuple[float, float]:
        """What pairs are put in order by: beyond what the evidence reaches, similarities tell the better of two."""
        return self.score, sum(component.raw_score for component in self.components)


@dataclass(frozen=True, slots=True)
class DuplicatePage:
    """What was found among some encounters and all others.

    Parameters
    ----------
    last : int
        Where the next page begins, ``after`` this.
    more : bool
        Whether there is one.
    pairs : tuple of DuplicatePair
        Each pair of faces once, by its younger encounter; one that has prints may come from both sides.
    faces, prints : int
        Encounters of this page that were looked for by face alone, and by prints (and the face, where there is one).
    passed_over : int
        That were not: inactive, in none of the galleries, without a template of the models in force, or with so few
        traits that the evidence does not reach the FMR asked for.
    compared : int
        Pairs of encounters that these comparisons are, each pair counted once over all pages: times the FMR, it is
        how many false pairs are to be expected.
    exact : bool
        Whether every one that could be compared was, by every trait.
    """

    last: int
    more: bool
    pairs: tuple[DuplicatePair, ...]
    faces: int
    prints: int
    passed_over: int
    compared: int
    exact: bool


def clustered(pairs: Iterable[DuplicatePair]) -> list[tuple[DuplicatePair, ...]]:
    """Return pairs by the people that they may be: subjects that are linked, however indirectly, are in one cluster.

    Parameters
    ----------
    pairs : iterable of DuplicatePair
        In any order.

    Returns
    -------
    list of tuple of DuplicatePair
        The pairs of each cluster, and the clusters by their best pair, the likeliest first.
    """
    of: dict[str, str] = {}

    def root(subject_id: str) -> str:
        while (above := of.setdefault(subject_id, subject_id)) != subject_id:
            of[subject_id] = of[above]
            subject_id = above
        return subject_id

    ranked = sorted(pairs, key=lambda pair: (*(-x for x in pair.likeness), pair.encounter_ids))
    for pair in ranked:
        first, second = map(root, pair.subject_ids)
        of[second] = first
    clusters: dict[str, list[DuplicatePair]] = {}
    for pair in ranked:
        clusters.setdefault(root(pair.subject_ids[0]), []).append(pair)
    return [tuple(cluster) for cluster in clusters.values()]


def pair_from(fields: Mapping[str, Any]) -> DuplicatePair:
    """Return a pair from its fields as JSON has them.

    Raises
    ------
    KeyError, TypeError, ValueError
        They are not those of a pair.
    """
    (first, second), (one, other) = fields["subject_ids"], fields["encounter_ids"]
    components = tuple(map(_component, fields["components"]))
    return DuplicatePair((str(first), str(second)), (str(one), str(other)), float(fields["score"]), components)


def as_json(found: Identification) -> str:
    """Return a search's answer as text, its fields by name; :func:`from_json` reads it again."""
    return json.dumps(asdict(found), default=lambda value: value.value)


def from_json(text: str) -> Identification:
    """Return what :func:`as_json` wrote."""
    fields = json.loads(text)
    achieved = fields["achieved_fpir"]
    coverage = {**fields["coverage"], "galleries": tuple(fields["coverage"]["galleries"])}
    return Identification(
        **{
            **fields,
            "outcome": Outcome(fields["outcome"]),
            "reasons": tuple(Reason(reason) for reason in fields["reasons"]),
            "candidates": tuple(_candidate(row) for row in fields["candidates"]),
            "achieved_fpir": None if achieved is None else Interval(**achieved),
            "coverage": SearchCoverage(**coverage),
            "samples": (),
        }
    )


def _candidate(fields: Mapping[str, Any]) -> Candidate:
    components = tuple(map(_component, fields["components"]))
    return Candidate(**{**fields, "galleries": tuple(fields["galleries"]), "components": components})


def _component(fields: Mapping[str, Any]) -> Component:
    trait = fields["trait"]
    return Component(**{**fields, "trait": Trait(Modality(trait["modality"]), trait["position"])})


def _listed(ids: tuple[str, ...]) -> str:
    # A JSON array, best first, of as many as fit; "" where there are none.
    kept = list(ids)
    while len(text := json.dumps(kept, ensure_ascii=False)) > _MAX_LISTED_CHARACTERS:
        kept.pop()
    return text if ids else ""
