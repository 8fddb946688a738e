"""Duplicates within a gallery: all that brute force finds, once each, by pages, and what is passed over."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik import deduplication
from biometrik.config import EngineConfig, GalleryParameters, RuntimeParameters
from biometrik.duplicates import DuplicatePage, DuplicatePair, clustered, pair_from
from biometrik.engine import Engine
from biometrik.errors import GalleryNotFoundError, InvalidInputError, ThresholdUnsupportedError
from biometrik.gallery.searching import Alike
from biometrik.synthetic.faces import draw_embeddings
from biometrik.types import FACE, Component, EncounterStatus, Modality, Template

PEOPLE = 60


@pytest.fixture(scope="module", params=["faiss-flat", "int8-certified"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Return sixty people with three visits: the first two under one id, the third, of every second, under another."""
    config = EngineConfig(
        runtime=RuntimeParameters(threads=1, warm_up=False), gallery=GalleryParameters(index=request.param)
    )
    with Engine.open(":memory:", config) as engine:
        for person, visits in enumerate(draw_embeddings(7, range(PEOPLE), samples=range(3))):
            engine.enroll(f"P-{person}", [_template(engine, visits[0])])
            engine.enroll(f"P-{person}", [_template(engine, visits[1])])
            if person % 2:
                engine.enroll(f"Q-{person}", [_template(engine, visits[2])])
        yield engine


def _template(engine: Engine, vector: NDArray[np.float32]) -> Template:
    return Template(Modality.FACE, engine.model_contract_id, vector.astype("<f4").tobytes())


def _pages(engine: Engine, **options: object) -> list[DuplicatePage]:
    pages = [engine.duplicates(**options)]  # type: ignore[arg-type]
    while pages[-1].more:
        pages.append(engine.duplicates(after=pages[-1].last, **options))  # type: ignore[arg-type]
    return pages


def _keys(pages: Sequence[DuplicatePage]) -> list[frozenset[str]]:
    return [frozenset(pair.encounter_ids) for page in pages for pair in page.pairs]


def _by_brute_force(engine: Engine, max_fmr: float) -> set[frozenset[str]]:
    least = engine.calibration.similarity_at(max_fmr)
    stored = [(e, f.vector) for _, e, f in engine._gallery.page(0, 1000)]
    return {
        frozenset((a.encounter_id, b.encounter_id))
        for (a, x), (b, y) in combinations(stored, 2)
        if a.subject_id != b.subject_id and x is not None and y is not None and float(x @ y) >= least
    }


@pytest.mark.parametrize("max_fmr", [1e-5, 1e-3, 0.2])
@pytest.mark.parametrize(("page", "block", "neighbours"), [(1000, 256, 8), (7, 3, 1)])
def test_all_pairs_are_found_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, max_fmr: float, page: int, block: int, neighbours: int
) -> None:
    monkeypatch.setattr(deduplication, "PAGE", page)
    monkeypatch.setattr(deduplication, "_BLOCK", block)
    monkeypatch.setattr("biometrik.gallery.searching._NEIGHBOURS", neighbours)
    pages = _pages(engine, max_fmr=max_fmr)
    found = _keys(pages)
    assert len(set(found)) == len(found)
    assert set(found) == _by_brute_force(engine, max_fmr)
    encounters = engine.count_encounters()
    assert encounters == PEOPLE * 2 + PEOPLE // 2
    assert sum(p.faces for p in pages) == encounters
    assert encounters * (encounters - 1) // 2 - sum(p.compared for p in pages) in range(len(pages))  # halves
    assert all(p.exact for p in pages)


def test_a_pair_says_what_it_rests_on(engine: Engine) -> None:
    pairs = [pair for page in _pages(engine) for pair in page.pairs]
    best = max(pairs, key=lambda pair: pair.likeness)
    assert {best.subject_ids[0][0], best.subject_ids[1][0]} == {"P", "Q"}
    assert best.score >= 50.0 - 1e-9
    assert best.capped
    assert [(c.trait, c.calibration_id) for c in best.components] == [(FACE, engine.calibration.id)]
    assert pair_from({**asdict(best), "components": [_plain(c) for c in best.components]}) == best


def _plain(component: Component) -> dict[str, object]:
    return {**asdict(component), "trait": {"modality": "face", "position": 0}}


def test_nobody_is_compared_who_cannot_be_found(engine: Engine) -> None:
    (page,) = _pages(engine)
    pair = page.pairs[0]
    engine.create_gallery("few")
    engine.set_encounter_galleries(pair.encounter_ids[0], ["default", "few"])
    engine.set_encounter_galleries(pair.encounter_ids[1], ["default", "few"])
    try:
        (few,) = _pages(engine, galleries=["few"])
        assert (few.faces, few.compared, few.passed_over) == (2, 1, page.faces - 2)
        assert _keys([few]) == [frozenset(pair.encounter_ids)]
        engine.set_encounter_status(pair.encounter_ids[0], EncounterStatus.INACTIVE)
        (fewer,) = _pages(engine, galleries=["few"])
        assert (fewer.faces, fewer.pairs) == (1, ())
    finally:
        engine.set_encounter_status(pair.encounter_ids[0], EncounterStatus.ACTIVE)
        engine.delete_gallery("few")


def test_who_is_enrolled_after_the_last_page_is_found_from_there(engine: Engine) -> None:
    (page,) = _pages(engine)
    (again,) = draw_embeddings(7, range(1), samples=range(2, 3)).reshape(1, -1)
    late = engine.enroll("late", [_template(engine, again)])
    try:
        more = engine.duplicates(after=page.last)
        assert (more.faces, more.more) == (1, False)
        assert {pair.subject_ids for pair in more.pairs} == {("late", "P-0")}
        assert all(pair.encounter_ids[0] == late.encounter_id for pair in more.pairs)
    finally:
        engine.erase("late")


def test_what_cannot_be_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInputError):
        engine.duplicates(max_fmr=0.0)
    with pytest.raises(ThresholdUnsupportedError):
        engine.duplicates(max_fmr=1e-9)
    with pytest.raises(GalleryNotFoundError):
        engine.duplicates(galleries=["nowhere"])


def test_a_crowd_of_one_face_does_not_take_the_machine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deduplication, "_MOST_ALIKE", 5)
    asked: list[int] = []
    alike = engine._gallery.alike

    def noted(*args: object, **options: object) -> list[Alike]:
        found = alike(*args, **options)  # type: ignore[arg-type]
        asked.append(len(found))
        return found

    monkeypatch.setattr(engine._gallery, "alike", noted)
    (page,) = _pages(engine, max_fmr=0.9)
    assert asked == [sum(asked)]
    assert len(page.pairs) <= 5 * page.faces


# --- clusters --------------------------------------------------------------------------------------------------


def _pair(first: str, second: str, score: float = 50.0) -> DuplicatePair:
    component = Component(FACE, score, score / 100, 1, "c", "m", score >= 53)
    return DuplicatePair((first, second), (f"e-{first}", f"e-{second}"), score, (component,))


def test_those_who_are_linked_are_one_cluster_the_likeliest_first() -> None:
    pairs = [_pair("a", "b", 40), _pair("x", "y", 52), _pair("c", "d", 45), _pair("b", "c", 41)]
    clusters = clustered(pairs)
    assert [[pair.subject_ids for pair in cluster] for cluster in clusters] == [
        [("x", "y")],
        [("c", "d"), ("b", "c"), ("a", "b")],
    ]


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda t: t[0] != t[1]), max_size=40))
def test_clusters_part_the_pairs_and_share_nobody(links: list[tuple[int, int]]) -> None:
    pairs = [_pair(str(a), str(b), 40 + (a + b) % 10) for a, b in links]
    clusters = clustered(pairs)
    assert sorted(map(id, (pair for cluster in clusters for pair in cluster))) == sorted(map(id, pairs))
    people = [{who for pair in cluster for who in pair.subject_ids} for cluster in clusters]
    assert sum(map(len, people)) == len(set().union(*people)) if people else not pairs
    best = [cluster[0].likeness for cluster in clusters]
    assert best == sorted(best, reverse=True)
