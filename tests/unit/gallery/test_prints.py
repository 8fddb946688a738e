"""Prints in a gallery: what is compared with what, exhaustively and in stages, with changes in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik.features import Features
from biometrik.gallery import prints as module
from biometrik.gallery.members import meet, shown_by
from biometrik.gallery.prints import PrintIndex
from biometrik.recognition import meeting, traits_of
from biometrik.types import Modality, Trait


@dataclass(frozen=True, eq=False)
class Numbers:
    """A pack whose templates are numbers; the nearer two are, the more they are alike. Below 0 they are small."""

    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def sizes(self) -> NDArray[np.int32]:
        return np.where(self.values < 0, 10, 40).astype(np.int32)

    def part(self, start: int, stop: int) -> "Numbers":
        return Numbers(self.values[start:stop])


class Nearness:
    """A comparator of numbers; its quick guess sees whole numbers only, a glance nines."""

    def __init__(self) -> None:
        self.glanced = self.screened = self.compared = self.long = 0

    def pack(self, templates: Sequence[Numbers]) -> Numbers:
        return Numbers(np.concatenate([template.values for template in templates]))

    def compare_many(self, probe: Numbers, references: Numbers, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        self.compared += len(chosen)
        return alike(probe.values[0], references.values[chosen])

    def screen(self, probe: Numbers, references: Numbers, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        self.screened += len(chosen)
        return alike(np.round(probe.values[0]), np.round(references.values[chosen]))

    def glance(
        self, probe: Numbers, references: Numbers, chosen: NDArray[np.int64], *, long: bool
    ) -> NDArray[np.float32]:
        self.glanced += len(chosen)
        self.long += long
        return alike(np.round(probe.values[0] / 9), np.round(references.values[chosen] / 9))


def alike(a: Any, b: Any) -> NDArray[np.float32]:
    """Return 1 for the same number, less the farther apart."""
    similarity: NDArray[np.float32] = (1.0 / (1.0 + np.abs(np.asarray(a) - b))).astype(np.float32)
    return similarity


def packs(prints: Mapping[int, Sequence[float]]) -> dict[int, Numbers]:
    """Return prints by position."""
    return {position: Numbers(np.array(values, dtype=np.float64)) for position, values in prints.items()}


def index_of(encounters: Mapping[int, Mapping[int, Sequence[float]]], exhaustive: int = 10**6) -> PrintIndex:
    """Return an index of encounters that are added one by one."""
    index = PrintIndex(Nearness, exhaustive)
    for number, prints in encounters.items():
        index.add([(number, packs(prints))])
    return index


def everybody(encounters: Mapping[int, Any]) -> NDArray[np.bool_]:
    """Return marks of all encounters."""
    marks = np.zeros(max(encounters, default=0) + 1, dtype=np.bool_)
    marks[list(encounters)] = True
    return marks


_SOME = st.dictionaries(
    st.sampled_from([0, 2, 7]), st.lists(st.floats(0, 50, width=16), min_size=1, max_size=3), min_size=1, max_size=3
)


@given(st.dictionaries(st.integers(1, 40), _SOME, max_size=12), _SOME)
@settings(max_examples=60, deadline=None)
def test_an_exhaustive_search_compares_what_a_verification_would(
    encounters: dict[int, dict[int, list[float]]], probe: dict[int, list[float]]
) -> None:
    index = index_of(encounters)
    numbers, exhaustive = index.candidates(packs(probe), everybody(encounters), 1)
    assert exhaustive
    shown = shown_by(Features(prints=packs(probe)))
    kinds = np.array([shown_by(Features(prints=packs(e))) for e in encounters.values()], dtype=np.int64)
    assert numbers.tolist() == sorted(np.array(list(encounters), dtype=np.int64)[meet(kinds, shown)].tolist())
    found = index.compare(packs(probe), numbers)
    for row, number in enumerate(numbers.tolist()):
        reference = encounters[number]
        expected = meeting(traits_of(Features(prints=packs(probe))), traits_of(Features(prints=packs(reference))))
        present = {trait for trait, values in found.similar.items() if not np.isnan(values[row])}
        assert present == expected.keys()
        for trait, pairs in expected.items():
            assert found.pairs[trait][row] == pairs
            ours = probe[trait.position] if trait.position else [*chain(*probe.values())]
            theirs = reference[trait.position] if trait.position else [*chain(*reference.values())]
            best = max(float(alike(a, b)) for a in ours for b in theirs)
            assert found.similar[trait][row] == pytest.approx(best)


def test_segments_grow_and_shrink_without_losing_anything(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SEGMENT", 16)
    index = PrintIndex(Nearness, 10**6)
    model: dict[int, float] = {}
    probe = packs({2: [0.0]})
    for step in range(1, 400):
        if rng.random() < 0.55 or not model:
            several = [(10 * step + i, float(rng.uniform(0, 9))) for i in range(int(rng.integers(1, 6)))]
            index.add([(number, packs({7: [-value], 2: [value]})) for number, value in several])
            model |= dict(several)
        else:
            gone = rng.choice(list(model), min(len(model), int(rng.integers(1, 9))), replace=False)
            index.remove(np.append(gone, 5))  # 5 never was
            for number in gone.tolist():
                del model[number]
        assert len(index) == 2 * len(model)
        assert len(index._segments) <= 4 + len(model) // 2
        assert all((np.diff(s.positions) >= 0).all() for s in index._segments)
        assert all(0 < len(s) == len(s.pack) == len(s.positions) for s in index._segments)
        numbers, _ = index.candidates(probe, everybody(model), 1)
        assert numbers.tolist() == sorted(model)
        similar = index.compare(probe, numbers).similar
        found = similar.get(Trait(Modality.FINGER, 2), np.empty(0, dtype=np.float32))
        np.testing.assert_allclose(found, [alike(0.0, model[n]) for n in sorted(model)])
        left = index.compare(packs({7: [-3.0]}), numbers).similar
        found = left.get(Trait(Modality.FINGER, 7), np.empty(0, dtype=np.float32))
        np.testing.assert_allclose(found, [alike(3.0, model[n]) for n in sorted(model)])
    index.clear()
    assert len(index) == 0


def test_what_was_removed_is_gone_from_memory() -> None:
    index = index_of({1: {2: [11.0]}, 2: {2: [22.0], 7: [23.0]}, 3: {0: [33.0]}})
    index.remove(np.array([2]))
    assert sorted(value for s in index._segments for value in s.pack.values.tolist()) == [11.0, 33.0]
    assert all(s.pack.values.base is None for s in index._segments)


def test_only_those_allowed_are_compared() -> None:
    encounters = {n: {2: [float(n)]} for n in range(1, 9)}
    index = index_of(encounters)
    marks = everybody(encounters)
    marks[[3, 8]] = False
    assert index.candidates(packs({2: [1.0]}), marks, 1)[0].tolist() == [1, 2, 4, 5, 6, 7]
    assert index.candidates(packs({2: [1.0]}), marks[:5], 1)[0].tolist() == [1, 2, 4]
    assert index.candidates(packs({7: [1.0]}), marks, 1)[0].tolist() == []


def test_a_staged_search_screens_all_and_compares_the_promising(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GLANCED_LEAST", 20)
    monkeypatch.setattr(module, "_PROMISING_LEAST", 5)
    comparator = Nearness()
    index = PrintIndex(lambda: comparator, exhaustive_templates=1999)
    encounters = {n: packs({2: [float(3 * n)], 7: [float(3 * ((n * 7) % 1000))]}) for n in range(1000)}
    index.add(list(encounters.items()))
    marks = np.ones(1000, dtype=np.bool_)
    for number in rng.integers(0, 1000, 20).tolist():
        probe = packs({2: [3.0 * number + 0.4], 7: [3.0 * ((number * 7) % 1000) - 0.4]})
        numbers, exhaustive = index.candidates(probe, marks, 3)
        assert not exhaustive
        assert len(numbers) == 5
        assert (np.diff(numbers) > 0).all()
        found = index.compare(probe, numbers)
        total = sum(found.similar.values())
        assert numbers[int(np.argmax(total))] == number
        assert all(not np.isnan(values).any() for values in found.similar.values())
    assert comparator.glanced == 20 * 2000
    assert comparator.screened == 20 * 2 * 20  # two per cent
    assert comparator.compared == 20 * 2 * 5
    assert comparator.long == 0
    assert index.candidates(packs({2: [0.0]}), marks, 1)[1]  # one finger's thousand is not too many
    # Asked for as many as there are, nothing is left out.
    assert index.candidates(packs({2: [0.0], 7: [0.0]}), marks, 1000)[1]


@pytest.fixture
def _few_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GLANCED_LEAST", 20)
    monkeypatch.setattr(module, "_PROMISING_LEAST", 5)


@pytest.mark.usefixtures("_few_go_on")
@pytest.mark.parametrize("bad", [2, 7])
def test_one_good_finger_makes_a_candidate(rng: np.random.Generator, bad: int) -> None:
    values = rng.uniform(0, 5000, (1000, 2))
    index = index_of({n: {2: [a], 7: [b]} for n, (a, b) in enumerate(values.tolist())}, exhaustive=0)
    marks = np.ones(1000, dtype=np.bool_)
    for number in range(0, 1000, 100):
        probe = {2: [values[number, 0]], 7: [values[number, 1]]}
        probe[bad] = [float(values[(number + 500) % 1000, 0 if bad == 2 else 1])]  # a stranger's
        numbers, exhaustive = index.candidates(packs(probe), marks, 1)
        assert number in numbers
        assert not exhaustive


@pytest.mark.usefixtures("_few_go_on")
def test_a_finger_that_few_have_is_found(rng: np.random.Generator) -> None:
    # Two thousand with a labelled finger, three with one that nobody labelled: no sample of strangers.
    encounters: dict[int, dict[int, list[float]]] = {n: {2: [float(rng.uniform(0, 5000))]} for n in range(2000)}
    encounters |= {n: {0: [float(rng.uniform(0, 5000))]} for n in (2000, 2001, 2002)}
    index = index_of(encounters, exhaustive=0)
    for number in (2000, 2001, 2002):
        numbers, exhaustive = index.candidates(packs({2: encounters[number][0]}), everybody(encounters), 1)
        assert number in numbers
        assert not exhaustive


@pytest.mark.usefixtures("_few_go_on")
def test_a_finger_alone_is_looked_at_twice_as_long() -> None:
    comparator = Nearness()
    index = PrintIndex(lambda: comparator, exhaustive_templates=0)
    index.add([(n, packs({2: [float(n)], 7: [float(n)]})) for n in range(1000)])
    alone, _ = index.candidates(packs({2: [500.0]}), np.ones(1000, dtype=np.bool_), 1)
    assert (comparator.long, comparator.glanced, comparator.screened, len(alone)) == (1, 1000, 40, 10)
    both, _ = index.candidates(packs({2: [500.0], 7: [500.0]}), np.ones(1000, dtype=np.bool_), 1)
    assert (comparator.long, comparator.glanced, comparator.screened, len(both)) == (1, 3000, 80, 5)


class Crowded(Nearness):
    """More minutiae look more alike, by chance: by more than a mate does."""

    def screen(self, probe: Numbers, references: Numbers, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        return super().screen(probe, references, chosen) + 3 * np.log(references.sizes[chosen]).astype(np.float32)


@pytest.mark.parametrize(("comparator", "small"), [(Crowded, 100), (Nearness, 1)])
def test_a_small_print_is_found_among_whole_ones(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, comparator: type[Nearness], small: int
) -> None:
    monkeypatch.setattr(module, "_GLANCED_LEAST", 1000)
    monkeypatch.setattr(module, "_PROMISING_LEAST", 5)
    values = rng.uniform(1000, 5000, 1000)
    values[:small] = -5000.0
    values[0] = -1.0
    index = PrintIndex(comparator, exhaustive_templates=0)
    index.add([(n, packs({2: [value]})) for n, value in enumerate(values.tolist())])
    found, _ = index.candidates(packs({2: [-1.0]}), np.ones(1000, dtype=np.bool_), 1)
    assert len(found) == 10
    assert 0 in found


@pytest.mark.usefixtures("_few_go_on")
def test_templates_that_are_all_alike_are_no_error() -> None:
    index = index_of({n: {2: [4.0]} for n in range(100)}, exhaustive=0)
    assert len(index.candidates(packs({2: [9.0]}), np.ones(100, dtype=np.bool_), 1)[0]) == 10


def test_threads_share_a_large_search(monkeypatch: pytest.MonkeyPatch) -> None:
    encounters = {n: packs({2: [float(n)]}) for n in range(200)}
    marks, probe = np.ones(200, dtype=np.bool_), packs({2: [7.0, 90.0]})
    found = []
    for few in (10**9, 10):
        monkeypatch.setattr(module, "_FEW", few)
        monkeypatch.setattr(module, "_SEGMENT", 32)
        index = PrintIndex(Nearness, 10**6)
        for start in range(0, 200, 32):
            index.add([(n, encounters[n]) for n in range(start, min(200, start + 32))])
        assert len(index._segments) > 4
        found.append(index.compare(probe, index.candidates(probe, marks, 1)[0]))
    trait = Trait(Modality.FINGER, 2)
    np.testing.assert_array_equal(found[0].similar[trait], found[1].similar[trait])
    assert found[1].pairs[trait].tolist() == [2] * 200
