"""A gallery that is deleted is gone at once, for who searches next and for a snapshot; its faces go in portions."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.features import Features
from biometrik.gallery import searching
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.records import Change
from biometrik.gallery.searching import Searchable, SearchResult
from biometrik.types import FACE, Encounter, EncounterStatus
from tests.unit.gallery.test_prints import Nearness

D = 4
_AT = datetime(2026, 1, 1, tzinfo=UTC)


def _change(number: int, galleries: tuple[str, ...], event: int) -> Change:
    encounter = Encounter(f"e{number}", f"s{number}", EncounterStatus.ACTIVE, galleries, _AT, 1, (FACE,), ())
    return Change(event, number, encounter)


def _vector(number: int) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = np.random.default_rng(number).standard_normal(D).astype(np.float32)
    return vector


@pytest.fixture(params=["int8-certified", "faiss-flat"])
def searchable(request: pytest.FixtureRequest) -> Searchable:
    """Eight people, of whom 2, 4, 6 are on the trip only, 3 also in the default gallery and the others nowhere else."""
    made = Searchable(INDEXES.load(request.param)(D), PrintIndex(Nearness, 0))
    made.add_gallery("default", 1)
    made.add_gallery("trip", 2)
    for number in range(1, 9):
        galleries = {2: ("trip",), 4: ("trip",), 6: ("trip",), 3: ("default", "trip")}.get(number, ("default",))
        made.take_in(_change(number, galleries, 2 + number), Features(_vector(number)))
    return made


def _search(searchable: Searchable, galleries: tuple[str, ...] | None = None) -> SearchResult:
    (result,) = searchable.search(
        [Features(_vector(2))], 8, galleries, "", lambda similar, _: similar[FACE].astype(float)
    )
    return result


def _who(result: SearchResult) -> set[str]:
    return {hit.subject_id for hit in result.hits}


def test_a_deleted_gallery_is_gone_before_its_faces_are(
    searchable: Searchable, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {"s1", "s3", "s5", "s7", "s8"}
    held: list[int] = []

    def look(_: float = 0.0) -> None:
        result = _search(searchable)
        assert _who(result) == left
        assert (result.coverage.compared, result.coverage.subjects, result.coverage.galleries) == (5, 5, ("default",))
        assert {hit.galleries for hit in result.hits} == {("default",)}
        assert len(searchable) == searchable.count(None) == 5
        assert set(searchable.block(0).faces.tolist()) == {1, 3, 5, 7, 8}
        held.append(len(searchable._index))

    monkeypatch.setattr(searching, "_FORGOTTEN", 1)
    monkeypatch.setattr("biometrik.gallery.searching.time.sleep", look)
    searchable.remove_gallery("trip", 20)
    look()
    searchable.tidy()
    assert held == [8, 7, 6, 5]
    searchable.tidy()
    assert len(held) == 4


def test_a_search_that_began_before_goes_on_with_the_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    searchable = Searchable(INDEXES.load("int8-certified")(D), PrintIndex(Nearness, 0))
    searchable.add_gallery("trip", 1)
    for number in range(1, 4):
        searchable.take_in(_change(number, ("trip",), 1 + number), Features(_vector(number)))
    begun: Callable[..., object] = searchable._sight
    monkeypatch.setattr(searchable, "_sight", lambda stack, **faces: _then(begun(stack, **faces), stack, searchable))
    result = _search(searchable, ("trip",))
    assert _who(result) == {"s1", "s2", "s3"}
    assert {(hit.galleries, hit.encounters_compared) for hit in result.hits} == {(("trip",), 1)}
    assert result.coverage.gallery_version == 4
    assert len(searchable) == len(searchable._index) == 0


def _then(sight: object, stack: ExitStack, searchable: Searchable) -> object:
    # The gallery goes when the search has begun and let go of the lock.
    searchable._lock.release()
    searchable.remove_gallery("trip", 9)
    searchable.tidy()
    searchable._lock.acquire()
    return sight


def test_who_came_back_meanwhile_stays(searchable: Searchable, monkeypatch: pytest.MonkeyPatch) -> None:
    searchable.remove_gallery("trip", 20)
    monkeypatch.setattr(searching, "_FORGOTTEN", 1)
    changes = iter([_change(6, ("default",), 21)])

    def come_back(_: float) -> None:
        for change in changes:
            searchable.take_in(change, Features(_vector(6)))
        searchable.forget_subject("s4", 22)

    monkeypatch.setattr("biometrik.gallery.searching.time.sleep", come_back)
    searchable.tidy()
    assert _who(_search(searchable)) == {"s1", "s3", "s5", "s6", "s7", "s8"}
    assert len(searchable._index) == 6
