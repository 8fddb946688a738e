"""Faces and prints in one search: candidates from both, every trait of each compared."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.features import Features
from biometrik.gallery import prints as module
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.index import INDEXES
from biometrik.gallery.prints import PrintIndex
from biometrik.gallery.protection import NoProtection
from biometrik.gallery.searching import SearchResult
from biometrik.gallery.snapshot import Snapshot
from biometrik.gallery.store import STORES, Store
from biometrik.gallery.stores.sqlite import SqliteStore
from biometrik.types import FACE, EncounterStatus, Modality, Template, Trait
from tests.unit.gallery.test_prints import Nearness, Numbers, alike

D = 8
RIGHT, LEFT = Trait(Modality.FINGER, 2), Trait(Modality.FINGER, 7)


def _template(position: int, value: float) -> Template:
    return Template(Modality.FINGER, "finger@1", struct.pack("<d", value), position)


def _face(seed: int) -> NDArray[np.float32]:
    vector = np.random.default_rng(seed).standard_normal(D)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _features(people: Sequence[Sequence[Template]]) -> list[Features]:
    found = []
    for templates in people:
        faces = [np.frombuffer(t.payload, dtype="<f4") for t in templates if t.modality is Modality.FACE]
        prints: dict[int, list[float]] = {}
        for t in templates:
            if t.modality is Modality.FINGER:
                prints.setdefault(t.position, []).extend(struct.unpack("<d", t.payload))
        found.append(_probe(np.mean(faces, axis=0) if faces else None, prints))
    return found


def _probe(vector: Any = None, prints: Mapping[int, Sequence[float]] | None = None) -> Features:
    packs = {position: Numbers(np.array(values)) for position, values in (prints or {}).items()}
    return Features(vector, packs)


def _gallery(store: Store, exhaustive: int, snapshot: Snapshot | None = None) -> Gallery:
    return Gallery(
        store,
        INDEXES.load("faiss-flat")(D),
        PrintIndex(Nearness, exhaustive),
        owns=lambda template: template.model_contract_id in ("face@1", "finger@1"),
        features_of=_features,
        snapshot=snapshot,
    )


def _fuse(similar: Mapping[Trait, NDArray[np.float32]], pairs: Mapping[Trait, NDArray[np.int64]]) -> Any:
    # The more traits are alike the better; each pays for its pairs.
    return np.nansum([similar[trait] - 0.001 * pairs[trait] for trait in similar], axis=0)


def _search(gallery: Gallery, probe: Features, count: int = 10, **restriction: Any) -> SearchResult:
    return gallery.search(probe, count, fuse=_fuse, **restriction)


@pytest.fixture
def store() -> Iterator[Store]:
    store = STORES.load("memory").open(":memory:")
    yield store
    store.close()


@pytest.fixture
def gallery(store: Store) -> Gallery:
    """Return one with A (face and two fingers), B (face), C (fingers), D (an unlabelled finger)."""
    gallery = _gallery(store, 10**6)
    for subject_id, seed, prints in (
        ("A", 1, {2: 10.0, 7: 20.0}),
        ("B", 2, {}),
        ("C", None, {2: 30.0, 7: 40.0}),
        ("D", None, {0: 50.0}),
    ):
        _enroll(gallery, subject_id, seed, prints)
    return gallery


def _enroll(gallery: Gallery, subject_id: str, seed: int | None, prints: Mapping[int, float], **more: Any) -> str:
    faces = [] if seed is None else [Template(Modality.FACE, "face@1", _face(seed).astype("<f4").tobytes())]
    templates = [*faces, *(_template(position, value) for position, value in prints.items())]
    return gallery.enroll(subject_id, templates, galleries=more.get("galleries", ["default"])).encounter_id


def test_several_faces_of_one_subject_hide_nobody_behind_prints(store: Store) -> None:
    # The nearest faces are all A's; B's is next, and better than the prints of those that would fill the list.
    gallery = _gallery(store, 10**6)
    for _ in range(5):
        _enroll(gallery, "A", 1, {})
    _enroll(gallery, "B", 2, {})
    for n in range(3):
        _enroll(gallery, f"C-{n}", None, {2: 500.0 + n})
    probe = _probe(_face(1) + np.float32(0.8) * _face(2), {2: [1.0]})
    assert [hit.subject_id for hit in _search(gallery, probe, 3).hits][:2] == ["A", "B"]


def test_everybody_who_shares_a_trait_is_compared_by_all_shared_traits(gallery: Gallery) -> None:
    result = _search(gallery, _probe(_face(1), {2: [10.5], 7: [20.0, 99.0]}))
    compared = {hit.subject_id: hit.compared for hit in result.hits}
    assert next(iter(compared)) == "A"
    assert {subject: set(traits) for subject, traits in compared.items()} == {
        "A": {FACE, RIGHT, LEFT},
        "B": {FACE},
        "C": {RIGHT, LEFT},
        "D": {Trait(Modality.FINGER)},
    }
    best = compared["A"]
    assert best[FACE].similarity == pytest.approx(1.0, abs=1e-6)
    assert best[RIGHT].similarity == pytest.approx(float(alike(10.0, 10.5)))
    assert (best[RIGHT].comparisons, best[LEFT].comparisons, best[LEFT].similarity) == (1, 2, 1.0)
    assert compared["D"][Trait(Modality.FINGER)].comparisons == 3
    coverage = result.coverage
    assert (coverage.subjects, coverage.compared, coverage.exact, coverage.recall_claimed) == (4, 4, True, 1.0)


def test_the_coverage_counts_those_who_share_a_trait(gallery: Gallery) -> None:
    for probe, subjects in (
        (_probe(_face(1)), {"A", "B"}),
        (_probe(prints={2: [1.0]}), {"A", "C", "D"}),
        (_probe(prints={5: [1.0]}), {"D"}),
        (_probe(prints={0: [1.0]}), {"A", "C", "D"}),
        (_probe(_face(1), {5: [1.0]}), {"A", "B", "D"}),
    ):
        result = _search(gallery, probe)
        assert {hit.subject_id for hit in result.hits} == subjects
        assert (result.coverage.subjects, result.coverage.compared) == (len(subjects), len(subjects))
        without = _search(gallery, probe, excluding="A")
        assert {hit.subject_id for hit in without.hits} == subjects - {"A"}
        assert without.coverage.subjects == len(subjects - {"A"})
    nobody = _search(gallery, _probe())
    assert (nobody.hits, nobody.coverage.subjects, nobody.coverage.compared) == ((), 4, 4)


def test_galleries_status_and_erasure_hold_for_prints(gallery: Gallery) -> None:
    gallery.create_gallery("watch")
    again = _enroll(gallery, "C", None, {2: 31.0}, galleries=["watch"])
    probe = _probe(prints={2: [31.0]})
    (hit,) = _search(gallery, probe, galleries=["watch"]).hits
    assert (hit.subject_id, hit.encounter_id, hit.encounters_compared) == ("C", again, 1)
    assert _search(gallery, probe).hits[0].encounters_compared == 2
    assert _search(gallery, _probe(prints={7: [40.0]})).hits[0].encounters_compared == 1
    gallery.set_encounter_status(again, EncounterStatus.INACTIVE)
    assert _search(gallery, probe, galleries=["watch"]).hits == ()
    gallery.set_encounter_status(again, EncounterStatus.ACTIVE)
    assert _search(gallery, probe).hits[0].encounter_id == again
    gallery.delete_gallery("watch")
    assert _search(gallery, probe).hits[0].encounters_compared == 1
    gallery.erase("C")
    assert "C" not in {hit.subject_id for hit in _search(gallery, probe).hits}


def test_a_face_alone_hides_nobody_who_shows_fingers_too(gallery: Gallery) -> None:
    for seed in range(100, 160):
        _enroll(gallery, f"F-{seed}", seed, {})
    order = sorted(range(100, 160), key=lambda seed: -float(_face(seed) @ _face(3)))
    result = _search(gallery, _probe(_face(3), {2: [30.0]}), 5)
    # C matches by finger with 1.0; the best faces follow, by an exact search among them.
    expected = sorted(
        [("C", 1.0), *((f"F-{seed}", float(_face(seed) @ _face(3))) for seed in order[:5])], key=lambda row: -row[1]
    )
    assert [hit.subject_id for hit in result.hits][:5] == [subject for subject, _ in expected][:5]


def test_staged_and_exhaustive_searches_find_the_same_mate(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GLANCED_LEAST", 20)
    monkeypatch.setattr(module, "_PROMISING_LEAST", 5)
    exhaustive = _gallery(store, 10**6)
    for n in range(300):
        _enroll(exhaustive, f"S-{n}", n if n % 2 else None, {2: 3.0 * n, 7: 3.0 * ((7 * n) % 300)})
    staged = _gallery(store, 50)
    for n in (0, 1, 77, 150, 299):
        for vector in (None, _face(n)):
            probe = _probe(vector, {2: [3.0 * n + 0.4], 7: [3.0 * ((7 * n) % 300) - 0.3]})
            one, other = _search(exhaustive, probe, 3), _search(staged, probe, 3)
            assert one.hits[0] == other.hits[0]
            assert one.hits[0].subject_id == f"S-{n}"
            assert set(one.hits[0].compared) == {RIGHT, LEFT} | ({FACE} if vector is not None and n % 2 else set())
            assert (one.coverage.compared, one.coverage.exact, one.coverage.recall_claimed) == (300, True, 1.0)
            assert other.coverage.compared < 60
            assert (other.coverage.exact, other.coverage.recall_claimed) == (False, PrintIndex.recall_claimed)
            assert other.coverage.subjects == 300
    alone = _search(staged, _probe(prints={2: [0.4]}), 3)
    assert alone.coverage.recall_claimed == PrintIndex.recall_claimed_alone
    # Whoever asks for many gets them.
    assert len(_search(staged, _probe(prints={2: [0.0]}), 300).hits) == 300


def test_a_restart_finds_the_same(store: Store, gallery: Gallery) -> None:
    again = _gallery(store, 10**6)
    for probe in (_probe(_face(1), {2: [10.5]}), _probe(prints={0: [49.0]}), _probe(_face(2))):
        assert _search(again, probe) == _search(gallery, probe)


def test_prints_are_found_after_a_start_from_a_snapshot(tmp_path: Path) -> None:
    # They are not in it, but made again of the templates of those who show some.
    file = tmp_path / "office.index"

    def opened() -> Gallery:
        store = SqliteStore.open(tmp_path / "office.db")
        return _gallery(store, 10**6, Snapshot(file, NoProtection(), lambda fingers: "both" if fingers else "faces"))

    gallery = opened()
    for subject_id, seed, prints in (("A", 1, {2: 10.0, 7: 20.0}), ("B", 2, {}), ("C", None, {2: 30.0})):
        _enroll(gallery, subject_id, seed, prints)
    inactive = _enroll(gallery, "E", None, {2: 60.0})
    gallery.keep_snapshot()
    _enroll(gallery, "D", None, {0: 50.0})
    gallery.erase("C")
    gallery.set_encounter_status(inactive, EncounterStatus.INACTIVE)
    gallery.close()
    probe = _probe(_face(1), {2: [10.5], 0: [50.5]})
    found = []
    for kept in (True, False):
        assert file.exists()
        if not kept:
            file.unlink()
        gallery = opened()
        found.append(_search(gallery, probe))
        gallery.close()
    assert found[0] == found[1]
    assert {hit.subject_id for hit in found[0].hits} == {"A", "B", "D"}
