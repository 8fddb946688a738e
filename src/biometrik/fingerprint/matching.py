"""Minutiae to similarity: what every matcher does."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import IncompatibleTemplateError, InvalidInputError
from biometrik.fingers import Minutiae
from biometrik.registry import Registry

#: Of a search's references, the share that is compared in full after screening, and the least number of them.
SCREENED_SHARE: Final = 0.02
SCREENED_LEAST: Final = 200


class Prepared(abc.ABC):
    """What a matcher derives from templates, packed contiguously in memory; immutable.

    One template or many: a gallery is a pack, a probe a pack of one.
    """

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of templates."""

    @property
    @abc.abstractmethod
    def sizes(self) -> NDArray[np.int32]:
        """How many minutiae each template has, (T,)."""

    @abc.abstractmethod
    def part(self, start: int, stop: int) -> Self:
        """Return templates ``start`` to ``stop`` − 1; shares memory. For workers that share a search."""


P = TypeVar("P", bound=Prepared)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How two prints lie on each other: for pictures and for people, decisions need only the similarity.

    Parameters
    ----------
    pairs : (K, 2) int32
        Indices of matched minutiae, the probe's and the reference's; no minutia twice.
    certainty : (K,) float32
        How sure each pair is, 0..1.
    motion : (2, 3) float32
        Rigid motion from the probe's pixels to the reference's, ``motion @ (x, y, 1)``; skin bends more than that.
        Identity where nothing matches.
    similarity : float
        As :meth:`Matcher.compare` returns it.
    """

    pairs: NDArray[np.int32]
    certainty: NDArray[np.float32]
    motion: NDArray[np.float32]
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The references most like a probe, best first; among equals the lower index first.

    Parameters
    ----------
    indices : (K,) int64
        Of references.
    similarity : (K,) float32
        As :meth:`Matcher.compare` returns it.
    compared : int
        How many references were compared in full; all others were only screened.
    """

    indices: NDArray[np.int64]
    similarity: NDArray[np.float32]
    compared: int


class Matcher(abc.ABC, Generic[P]):
    """Compares minutiae; thread-safe.

    Similarities are deterministic, and the order of the two prints does not matter: ``compare(a, b) == compare(b, a)``
    to the last bit. They are for :mod:`biometrik.decision` to turn into scores.

    Parameters
    ----------
    device_id : int
        Which GPU, for a matcher that uses one.
    """

    prepared: type[P]
    """What :meth:`prepare` returns."""

    def __init__(self, *, device_id: int = 0) -> None:
        self._device_id = device_id

    @final
    def prepare(self, minutiae: Minutiae) -> P:
        """Derive what comparisons need of one template.

        Parameters
        ----------
        minutiae : Minutiae
            In pixels at 500 ppi.
        """
        return self._prepare_many([minutiae])

    @final
    def prepare_many(self, minutiae: Sequence[Minutiae]) -> P:
        """Derive what comparisons need of many templates at once: a pack, equal to that of :meth:`prepare` for each.

        Parameters
        ----------
        minutiae : sequence of Minutiae
            Each in pixels at 500 ppi.
        """
        return self._prepare_many(minutiae)

    @final
    def pack(self, templates: Sequence[P]) -> P:
        """Copy templates, or packs of them, into one contiguous pack, in order.

        Raises
        ------
        IncompatibleTemplateError
            One was prepared by another matcher.
        """
        for template in templates:
            self._expect(template)
        return self._pack(templates)

    @final
    def compare(self, probe: P, reference: P) -> float:
        """Return the similarity of two templates, 0..1.

        Raises
        ------
        InvalidInputError
            A pack of other than one template.
        IncompatibleTemplateError
            One was prepared by another matcher.
        """
        self._expect_one("reference", reference)
        return float(self.compare_many(probe, reference)[0])

    @final
    def compare_many(self, probe: P, references: P, chosen: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return the similarities of one probe and many references, equal to :meth:`compare`'s.

        Parameters
        ----------
        probe : Prepared
            One template.
        references : Prepared
            T templates. The call runs on one core without the interpreter lock; give :meth:`Prepared.part` of it to
            as many threads as there are cores.
        chosen : (C,) int64, optional
            Only these of them, 0..T − 1; by default all.

        Returns
        -------
        (T,) or (C,) float32
            0..1.

        Raises
        ------
        InvalidInputError
            ``probe`` is a pack of other than one template, or a choice is out of range.
        IncompatibleTemplateError
            One was prepared by another matcher.
        """
        self._expect_one("probe", probe)
        return self._compared(probe, references, self._checked_choice(references, chosen))

    @final
    def screen(self, probe: P, references: P, chosen: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return a quick guess of how promising each reference is; only its order means something.

        Parameters, errors and shape are those of :meth:`compare_many`.
        """
        self._expect_one("probe", probe)
        chosen = self._checked_choice(references, chosen)
        promise = np.zeros(len(chosen), dtype=np.float32)
        self._screen(probe, references, chosen, promise)
        return promise

    @final
    def glance(
        self, probe: P, references: P, chosen: NDArray[np.int64] | None = None, *, long: bool = False
    ) -> NDArray[np.float32]:
        """Return a guess as :meth:`screen` does, several times as quick and less sure, for galleries of many.

        Parameters, errors and shape are those of :meth:`compare_many`, besides:

        Parameters
        ----------
        long : bool
            Look at twice as much of the probe, which takes twice the time.
        """
        self._expect_one("probe", probe)
        chosen = self._checked_choice(references, chosen)
        promise = np.zeros(len(chosen), dtype=np.float32)
        self._glance(probe, references, chosen, long, promise)
        return promise

    @final
    def search(self, probe: P, references: P, limit: int, *, compare: int | None = None) -> Ranking:
        """Find the references most like a probe: screen all, compare the promising ones in full.

        Parameters
        ----------
        probe : Prepared
            One template.
        references : Prepared
            T templates.
        limit : int
            Most references to return, 1 or more.
        compare : int or None
            How many are compared in full; by default 2 % of T and no fewer than 200.

        Raises
        ------
        InvalidInputError
            ``limit`` or ``compare`` is below 1, or ``probe`` is a pack of other than one template.
        IncompatibleTemplateError
            One was prepared by another matcher.
        """
        if compare is None:
            compare = max(SCREENED_LEAST, limit, int(SCREENED_SHARE * len(references)))
        if limit < 1 or compare < 1:
            raise InvalidInputError(f"limit, compare: expected 1 or more, got {limit} and {compare}")
        self._expect_one("probe", probe)
        self._expect(references)
        chosen = np.arange(len(references))
        if compare < len(references):
            promise = self.screen(probe, references)
            chosen = np.sort(np.argpartition(-promise, compare - 1)[:compare])
        similarity = self._compared(probe, references, chosen)
        order = np.argsort(-similarity, kind="stable")[:limit]
        return Ranking(chosen[order], similarity[order], len(chosen))

    @final
    def align(self, probe: P, reference: P) -> Alignment:
        """Return which minutiae of two templates match, and the motion between them.

        Raises
        ------
        InvalidInputError
            A pack of other than one template.
        IncompatibleTemplateError
            One was prepared by another matcher.
        """
        self._expect_one("probe", probe)
        self._expect_one("reference", reference)
        return self._align(probe, reference)

    @final
    def warm_up(self) -> None:
        """Compile, or load from the compilers' cache, everything that comparisons run."""
        few = self.prepare(_some_minutiae())
        self.search(few, self.pack([few, few]), limit=1, compare=1)
        self.glance(few, few)
        self.align(few, few)

    @abc.abstractmethod
    def contract(self) -> Mapping[str, str]:
        """Return what shapes the similarities (algorithm and version), for calibrations."""

    @abc.abstractmethod
    def _prepare_many(self, minutiae: Sequence[Minutiae]) -> P:
        """See :meth:`prepare_many`."""

    @abc.abstractmethod
    def _pack(self, templates: Sequence[P]) -> P:
        """See :meth:`pack`."""

    @abc.abstractmethod
    def _compare_many(
        self, probe: P, references: P, chosen: NDArray[np.int64], similarity: NDArray[np.float32]
    ) -> None:
        """Fill ``similarity`` with those to ``references[chosen]``, both of one length."""

    def _screen(self, probe: P, references: P, chosen: NDArray[np.int64], promise: NDArray[np.float32]) -> None:
        """Fill ``promise`` for ``references[chosen]``; a matcher without a quicker guess compares in full."""
        self._compare_many(probe, references, chosen, promise)

    def _glance(
        self,
        probe: P,
        references: P,
        chosen: NDArray[np.int64],
        long: bool,  # noqa: ARG002 - screening has no longer form
        promise: NDArray[np.float32],
    ) -> None:
        """Fill ``promise`` for ``references[chosen]``; a matcher without a quicker guess screens."""
        self._screen(probe, references, chosen, promise)

    @abc.abstractmethod
    def _align(self, probe: P, reference: P) -> Alignment:
        """See :meth:`align`."""

    def _compared(self, probe: P, references: P, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        similarity = np.zeros(len(chosen), dtype=np.float32)
        self._compare_many(probe, references, chosen, similarity)
        return similarity

    def _checked_choice(self, references: P, chosen: NDArray[np.int64] | None) -> NDArray[np.int64]:
        self._expect(references)
        if chosen is None:
            return np.arange(len(references))
        if chosen.ndim != 1 or chosen.dtype != np.int64:
            raise InvalidInputError(f"chosen: expected (C,) int64, got {chosen.shape} {chosen.dtype}")
        # As unsigned numbers the negative ones are large: one pass over them in place of two.
        if len(chosen) and chosen.view(np.uint64).max() >= len(references):
            raise InvalidInputError(f"chosen: expected 0..{len(references) - 1}, got {chosen.min()}..{chosen.max()}")
        # Contiguous and writable, as the compiled kernels have it.
        return np.require(chosen, requirements=["C_CONTIGUOUS", "WRITEABLE"])

    def _expect(self, templates: Prepared) -> None:
        if not isinstance(templates, self.prepared):
            raise IncompatibleTemplateError(
                f"template: expected {self.prepared.__name__}, got {type(templates).__name__}; "
                "prepare the minutiae with this matcher"
            )

    def _expect_one(self, name: str, templates: Prepared) -> None:
        self._expect(templates)
        if len(templates) != 1:
            raise InvalidInputError(f"{name}: expected one template, got a pack of {len(templates)}")


def _some_minutiae() -> Minutiae:
    # Twelve on a ring, so that every stage has something to do.
    angle = np.linspace(0, 5, 12, dtype=np.float32)
    place = (100 + 60 * np.stack([np.cos(angle), np.sin(angle)])).astype(np.float32)
    kind = np.ones(12, dtype=np.uint8)
    return Minutiae(place[0], place[1], angle, kind, kind * np.uint8(90), 200, 200)


MATCHERS: Final[Registry[Matcher[Any]]] = Registry("biometrik.fingerprint.matchers", "MATCHER", "biometrik.matchers")
