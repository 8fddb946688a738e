"""Finding prints: finger templates in packs, compared exhaustively or in stages.

Up to a configured number of templates every one is compared in full. Beyond, each print of the probe gets a glance at
all; the encounters that look promising by all its fingers together are screened; those that still look promising are
the candidates, which are compared in full.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise
from operator import itemgetter
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from biometrik.features import Pack
from biometrik.types import Modality, Trait

#: Templates of one pack: some 10 MB, which a removal copies, and some milliseconds of screening, a thread's portion.
_SEGMENT: Final = 4096
#: Comparisons that are not worth starting threads for: about four milliseconds of screening.
_FEW: Final = 2048
#: Of the encounters that a probe of several fingers meets, the share that is screened after a glance at all, and the
#: share that is compared in full after screening; and the least numbers of them. Either stage then costs less than the
#: glance at all: a template takes 0.08 µs there, 0.6 µs screened, where few lie scattered in memory, and 4 to 7 µs
#: compared. What that loses is in ADR 11.
_GLANCED_SHARE: Final = 0.02
_GLANCED_LEAST: Final = 1000
_PROMISING_SHARE: Final = 0.005
_PROMISING_LEAST: Final = 200
#: How little a few templates of another size say of all such: as if so many more, a factor of e off, were as promising
#: as the others. Without it the line goes through a mate that alone is small. In searches the spread is some hundreds.
_DOUBT: Final = 10.0
#: A probe of one finger has half the evidence of two at half the cost: each stage gives it twice as much, so that its
#: search costs as much as that by two.
_ALONE: Final = 2


class Comparator(Protocol):
    """What the index needs of a matcher; :class:`biometrik.fingerprint.matching.Matcher`."""

    def pack(self, templates: Sequence[Any]) -> Any:
        """Copy packs into one."""

    def compare_many(self, probe: Any, references: Any, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the similarities of one template and chosen ones of a pack."""

    def screen(self, probe: Any, references: Any, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a quick guess of how promising they are."""

    def glance(self, probe: Any, references: Any, chosen: NDArray[np.int64], *, long: bool) -> NDArray[np.float32]:
        """Return a quicker and less sure one; a long glance takes twice the time."""


_Act = Callable[[Any, Any, NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """The prints of K encounters, compared.

    Parameters
    ----------
    similar : mapping of Trait to (K,) float32
        The best of each encounter's pairs, NaN where there is none.
    pairs : mapping of Trait to (K,) int64
        How many pairs that is the best of.
    """

    similar: Mapping[Trait, NDArray[np.float32]]
    pairs: Mapping[Trait, NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class _Segment:
    # Templates with their encounters' numbers and finger positions, in the order of positions: a finger's references
    # lie side by side, and a search reads memory from end to end. With fingers in turns a glance took longer by half.
    # The logarithm of how many minutiae each has is kept for :func:`_levelled`.
    numbers: NDArray[np.int64]
    positions: NDArray[np.int8]
    sizes: NDArray[np.float32]
    pack: Any

    @classmethod
    def of(cls, numbers: NDArray[np.int64], positions: NDArray[np.int8], pack: Any) -> "_Segment":
        return cls(numbers, positions, np.log(np.maximum(pack.sizes, 1, dtype=np.float32)), pack)

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, slots=True, eq=False)
class _Errand:
    # One trait of a search: probes, one template each, and rows of each segment to hold them against.
    trait: Trait
    probes: tuple[Any, ...]
    rows: tuple[NDArray[np.int64], ...]


class PrintIndex:
    """Prints of encounters under the caller's numbers; not thread-safe, its owner holds a lock.

    Adding copies each template a dozen times as its segment grows, removing copies one segment: neither leaves bytes of
    what was removed in memory.

    Parameters
    ----------
    comparator_of : callable
        Returns the matcher that prepared the prints; called when the first print comes.
    exhaustive_templates : int
        Up to so many references a search compares all in full, 0 or more.

    Attributes
    ----------
    recall_claimed, recall_claimed_alone : float
        Share of mated searches, by two fingers and by one, that have the mate first in a staged search: the lower ends
        of the 95 % intervals that ``benchmarks/speed_search_finger.py`` and ``search_finger.py`` recorded, rounded
        down.
    """

    recall_claimed: Final = 0.99
    recall_claimed_alone: Final = 0.95

    def __init__(self, comparator_of: Callable[[], Comparator], exhaustive_templates: int) -> None:
        self._comparator_of = comparator_of
        self._exhaustive_templates = exhaustive_templates
        self._segments: list[_Segment] = []

    def __len__(self) -> int:
        """Return how many templates can be found."""
        return sum(len(segment) for segment in self._segments)

    def view(self) -> "PrintIndex":
        """Return the prints as they are now; segments never change, so it may be read while others change this."""
        view = PrintIndex(self._comparator_of, self._exhaustive_templates)
        view._segments = list(self._segments)
        return view

    def add(self, encounters: Sequence[tuple[int, Mapping[int, Pack]]]) -> None:
        """Make prints findable.

        Parameters
        ----------
        encounters : sequence of (number, mapping of int to pack)
            Number, not in the index, and prints by finger position 0..10.
        """
        rows = [(number, position, pack) for number, prints in encounters for position, pack in prints.items()]
        rows.sort(key=itemgetter(1))
        if not rows:
            return
        lengths = [len(pack) for _, _, pack in rows]
        numbers = np.repeat(np.array([number for number, _, _ in rows], dtype=np.int64), lengths)
        positions = np.repeat(np.array([position for _, position, _ in rows], dtype=np.int8), lengths)
        self._segments.append(
            _Segment.of(numbers, positions, self._comparator_of().pack([pack for _, _, pack in rows]))
        )
        # As in a binary counter: sizes fall from segment to segment, and each template is copied a dozen times at most.
        while len(self._segments) > 1 and len(self._segments[-2]) <= len(self._segments[-1]):
            if len(self._segments[-2]) + len(self._segments[-1]) > _SEGMENT:
                break
            self._segments[-2:] = [self._joined(self._segments[-2:])]

    def remove(self, numbers: NDArray[np.int64]) -> None:
        """Forget encounters; numbers that have no prints are passed over.

        Parameters
        ----------
        numbers : (N,) int64
            Theirs.
        """
        left: list[_Segment] = []
        for segment in self._segments:
            kept = ~np.isin(segment.numbers, numbers)
            if kept.all():
                left.append(segment)
                continue
            if not kept.any():
                continue
            edges = np.flatnonzero(np.diff(kept, prepend=False, append=False)).reshape(-1, 2)
            pack = self._comparator_of().pack([segment.pack.part(start, stop) for start, stop in edges.tolist()])
            shrunk = _Segment.of(segment.numbers[kept], segment.positions[kept], pack)
            if left and len(left[-1]) + len(shrunk) <= _SEGMENT // 2:  # else small ones would pile up
                left[-1] = self._joined([left[-1], shrunk])
            else:
                left.append(shrunk)
        self._segments = left

    def clear(self) -> None:
        """Forget everything."""
        self._segments = []

    def candidates(
        self, prints: Mapping[int, Pack], allowed: NDArray[np.bool_], least: int
    ) -> tuple[NDArray[np.int64], bool]:
        """Return the encounters that are worth comparing in full with a probe's prints.

        Parameters
        ----------
        prints : mapping of int to pack
            The probe's, by finger position; positions are bound to meet as in :meth:`compare`.
        allowed : (M,) bool
            By number, whether an encounter is searched; M is above all numbers.
        least : int
            No fewer than so many, where there are as many; 1 or more.

        Returns
        -------
        numbers : (K,) int64
            Rising.
        exhaustive : bool
            Whether these are all encounters that have prints to compare.
        """
        errands = self._errands(prints, allowed)
        numbers = self._numbers(errands, len(allowed))
        if sum(len(rows) for errand in errands for rows in errand.rows) <= self._exhaustive_templates:
            return numbers, True
        comparator = self._comparator_of()
        alone = sum(len(errand.probes) for errand in errands) == 1
        more = _ALONE if alone else 1
        left = numbers
        for guess, share, fewest in (
            (partial(comparator.glance, long=alone), _GLANCED_SHARE, _GLANCED_LEAST),
            (comparator.screen, _PROMISING_SHARE, _PROMISING_LEAST),
        ):
            wanted = max(least, more * fewest, round(more * share * len(numbers)))
            if wanted < len(left):
                left = _promising(self._best(errands, guess, len(allowed), levelled=True), left, wanted)
                errands = self._narrowed(errands, left, len(allowed))
        return left, len(left) == len(numbers)

    def recall(self, prints: Mapping[int, Pack]) -> float:
        """Return the recall that is claimed of a search by a probe's prints that is not exhaustive."""
        return self.recall_claimed if sum(map(len, prints.values())) > 1 else self.recall_claimed_alone

    def compare(self, prints: Mapping[int, Pack], numbers: NDArray[np.int64]) -> Comparisons:
        """Return the similarities of encounters' prints and a probe's, each trait by itself.

        A labelled finger meets the same finger. Only where no label meets a label, all prints of both sides are one
        trait, if one side does not know which finger its print is of: so one finger is never evidence twice.

        Parameters
        ----------
        prints : mapping of int to pack
            The probe's, by finger position.
        numbers : (K,) int64
            Encounters, rising; such without prints are missing in every trait.
        """
        allowed = np.zeros(int(numbers[-1]) + 1 if len(numbers) else 0, dtype=np.bool_)
        allowed[numbers] = True
        errands = self._errands(prints, allowed)
        best = self._best(errands, self._comparator_of().compare_many, len(allowed), levelled=False) if errands else []
        similar, pairs = {}, {}
        for errand, found in zip(errands, best, strict=True):
            own = [segment.numbers[rows] for segment, rows in zip(self._segments, errand.rows, strict=True)]
            references = np.bincount(np.concatenate(own), minlength=len(allowed))
            similar[errand.trait] = found[numbers]
            pairs[errand.trait] = references[numbers] * len(errand.probes)
        return Comparisons(similar, pairs)

    def _errands(self, prints: Mapping[int, Pack], allowed: NDArray[np.bool_]) -> list[_Errand]:
        errands = []
        within = [_marked(allowed, segment.numbers) for segment in self._segments]
        for position in sorted(position for position in prints if position):
            rows = tuple(
                _rows(segment.positions, position, searched)
                for segment, searched in zip(self._segments, within, strict=True)
            )
            errands.append(_Errand(Trait(Modality.FINGER, position), _singles(prints[position]), rows))
        if 0 in prints:
            loose = allowed.copy()
        else:
            loose = np.zeros(len(allowed), dtype=np.bool_)
            for segment, searched in zip(self._segments, within, strict=True):
                loose[segment.numbers[_rows(segment.positions, 0, searched)]] = True
        if loose.any():  # seldom: marking those that meet by a label takes as long as finding them
            for errand in errands:
                for segment, found in zip(self._segments, errand.rows, strict=True):
                    loose[segment.numbers[found]] = False
        if loose.any():
            every = tuple(single for position in sorted(prints) for single in _singles(prints[position]))
            rows = tuple(np.flatnonzero(_marked(loose, segment.numbers)) for segment in self._segments)
            errands.append(_Errand(Trait(Modality.FINGER), every, rows))
        return [errand for errand in errands if any(len(rows) for rows in errand.rows)]

    def _narrowed(self, errands: Sequence[_Errand], numbers: NDArray[np.int64], top: int) -> list[_Errand]:
        # The same errands among fewer encounters: which prints meet is a matter of each encounter alone.
        marks = np.zeros(top, dtype=np.bool_)
        marks[numbers] = True
        return [
            replace(
                errand,
                rows=tuple(
                    rows[marks[segment.numbers[rows]]]
                    for segment, rows in zip(self._segments, errand.rows, strict=True)
                ),
            )
            for errand in errands
        ]

    def _best(self, errands: Sequence[_Errand], act: _Act, top: int, *, levelled: bool) -> list[NDArray[np.float32]]:
        # Of each errand, by number, the best of an encounter's pairs; NaN where it has none.
        met = [
            [(segment, rows) for segment, rows in zip(self._segments, errand.rows, strict=True) if len(rows)]
            for errand in errands
        ]
        tasks = [
            (probe, segment, rows)
            for errand, places in zip(errands, met, strict=True)
            for probe in errand.probes
            for segment, rows in places
        ]

        def run(task: tuple[Any, _Segment, NDArray[np.int64]]) -> NDArray[np.float32]:
            probe, segment, rows = task
            return act(probe, segment.pack, rows)

        found = _mapped(run, tasks)
        best = [np.full(top, np.nan, dtype=np.float32) for _ in errands]
        for own, errand, places in zip(best, errands, met, strict=True):
            if not places:
                continue
            numbers = np.concatenate([segment.numbers[rows] for segment, rows in places])
            sizes = np.concatenate([segment.sizes[rows] for segment, rows in places])
            for _ in errand.probes:
                values = np.concatenate(list(islice(found, len(places))))
                np.fmax.at(own, numbers, _levelled(values, sizes) if levelled else values)
        return best

    def _numbers(self, errands: Sequence[_Errand], top: int) -> NDArray[np.int64]:
        # Rising, below `top`. By marks, because sorting a hundred thousand would take as long as a glance at them.
        marks = np.zeros(top, dtype=np.bool_)
        for errand in errands:
            for segment, rows in zip(self._segments, errand.rows, strict=True):
                marks[segment.numbers[rows]] = True
        return np.flatnonzero(marks)

    def _joined(self, segments: Sequence[_Segment]) -> _Segment:
        runs = [
            (int(segment.positions[start]), segment, start, stop)
            for segment in segments
            for start, stop in _runs(segment.positions)
        ]
        runs.sort(key=itemgetter(0))
        return _Segment.of(
            np.concatenate([segment.numbers[start:stop] for _, segment, start, stop in runs]),
            np.concatenate([segment.positions[start:stop] for _, segment, start, stop in runs]),
            self._comparator_of().pack([segment.pack.part(start, stop) for _, segment, start, stop in runs]),
        )


def _levelled(promise: NDArray[np.float32], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
    # A stranger with more minutiae has more chances that one of them looks like the probe's, and the best of n chances
    # grows with the logarithm of n. Without what a least-squares line over it explains, a mate that shows little of its
    # finger is not hidden behind whole prints of strangers.
    along = sizes - np.float32(sizes.mean(dtype=np.float64))
    spread = float((along * along).sum(dtype=np.float64))
    slope = float((along * promise).sum(dtype=np.float64)) / (spread + _DOUBT)
    level: NDArray[np.float32] = promise - np.float32(slope) * along
    return level


def _promising(promises: Sequence[NDArray[np.float32]], numbers: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    # The encounters that look promising by all their fingers: by the sum of squared standard scores above the mean.
    # Nearly all are strangers, so a score says how rare such a promise is among strangers: half its square is what a
    # normal distribution's tail is worth in nats. A finger that says nothing costs its encounter nothing.
    evidence = np.zeros(len(numbers), dtype=np.float32)
    kept = np.zeros(len(numbers), dtype=np.bool_)
    for promise in promises:
        own = promise[numbers]
        met = ~np.isnan(own)
        if np.count_nonzero(met) <= wanted:  # no sample of strangers, and few enough
            kept |= met
            continue
        values = own[met]
        spread = values.std(dtype=np.float64)
        if spread > 0:
            scores = (values - np.float32(values.mean(dtype=np.float64))) / np.float32(spread)
            evidence[met] += np.maximum(scores, 0) ** 2
    kept[np.argpartition(-evidence, wanted - 1)[:wanted]] = True
    return numbers[kept]


def _runs(positions: NDArray[np.int8]) -> list[tuple[int, int]]:
    # Where runs of one position begin and end.
    edges = [0, *(np.flatnonzero(np.diff(positions)) + 1).tolist(), len(positions)]
    return list(pairwise(edges))


def _rows(positions: NDArray[np.int8], position: int, searched: NDArray[np.bool_]) -> NDArray[np.int64]:
    # Those of one position, which lie side by side.
    start, stop = np.searchsorted(positions, np.array([position, position + 1], dtype=np.int8))
    rows: NDArray[np.int64] = start + np.flatnonzero(searched[start:stop])
    return rows


def _singles(pack: Pack) -> tuple[Pack, ...]:
    return tuple(pack.part(i, i + 1) for i in range(len(pack)))


def _marked(marks: NDArray[np.bool_], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    # Numbers beyond the marks are not marked.
    if not len(marks):
        return np.zeros(len(numbers), dtype=np.bool_)
    found: NDArray[np.bool_] = marks.take(numbers, mode="clip") & (numbers < len(marks))
    return found


def _mapped(run: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
    # Matchers compare without the interpreter lock. Each thread takes the next task that nobody has: a future for each
    # of some hundred tasks took milliseconds.
    if sum(len(rows) for *_, rows in tasks) <= _FEW:
        return map(run, tasks)
    found: list[Any] = [None] * len(tasks)
    left = iter(range(len(tasks)))

    def take(_: int) -> None:
        for i in left:
            found[i] = run(tasks[i])

    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        deque(pool.map(take, range(cores)), maxlen=0)  # raises what a task raised
    return iter(found)
