"""Store and index in step: what a search finds after each kind of write, failure and interruption."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.errors import (
    EncounterNotFoundError,
    EngineClosedError,
    GalleryExistsError,
    GalleryNotFoundError,
    IncompatibleTemplateError,
    InvalidInputError,
    StoreDamagedError,
    StoreUnavailableError,
    SubjectNotFoundError,
    TransactionConflictError,
)
from biometrik.features import Features
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.index import INDEXES, View
from biometrik.gallery.prints import Comparator, PrintIndex
from biometrik.gallery.records import Change, EventKind
from biometrik.gallery.searching import Hit, SearchResult
from biometrik.gallery.store import STORES, Store
from biometrik.types import FACE, EncounterStatus, GalleryKind, Modality, Template

D = 24
CONTRACT = "test@1"
Vector = NDArray[np.float32]
FeaturesOf = Callable[[Sequence[Sequence[Template]]], Sequence[Features]]


def _unit(seed: int) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(D)
    unit: Vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


def _template(vector: Vector, contract: str = CONTRACT, modality: Modality = Modality.FACE) -> Template:
    return Template(modality, contract, vector.astype("<f4").tobytes())


def _mean(templates: Sequence[Template]) -> Vector:
    rows = np.stack([np.frombuffer(template.payload, dtype="<f4") for template in templates])
    mean: Vector = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def _features(people: Sequence[Sequence[Template]]) -> list[Features]:
    faces = [[t for t in templates if t.modality is Modality.FACE] for templates in people]
    return [Features(_mean(own) if own else None) for own in faces]


def _gallery(
    store: Store,
    contract: str = CONTRACT,
    features_of: FeaturesOf = _features,
    index: str = "faiss-flat",
    *,
    quarantine: bool = False,
    folder: Path | None = None,
) -> Gallery:
    def no_matcher() -> Comparator:
        raise AssertionError("nobody shows a print")

    prints = PrintIndex(no_matcher, 0)
    owns = (contract, "finger@1").__contains__
    return Gallery(
        store,
        INDEXES.load(index)(D, folder),
        prints,
        owns=lambda template: owns(template.model_contract_id),
        features_of=features_of,
        quarantine=quarantine,
    )


def _search(gallery: Gallery, vector: Vector, count: int, **restriction: Any) -> SearchResult:
    return gallery.search(
        Features(vector), count, fuse=lambda similar, _: similar[FACE].astype(np.float64), **restriction
    )


def _similarity(hit: Hit) -> float:
    return hit.compared[FACE].similarity


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = STORES.load("memory").open(tmp_path / "office.db")
    yield store
    store.close()


@pytest.fixture
def gallery(store: Store) -> Gallery:
    return _gallery(store)


def _enroll(gallery: Gallery, subject_id: str, *seeds: int, galleries: Sequence[str] = ("default",)) -> str:
    templates = [_template(_unit(seed)) for seed in seeds]
    return gallery.enroll(subject_id, templates, galleries=galleries).encounter_id


def _found(gallery: Gallery, seed: int, count: int = 100, **restriction: Any) -> list[str]:
    return [hit.subject_id for hit in _search(gallery, _unit(seed), count, **restriction).hits]


# --- search ------------------------------------------------------------------------------------------------------


def test_an_empty_gallery_answers_with_nobody(gallery: Gallery) -> None:
    result = _search(gallery, _unit(0), 5)
    assert result.hits == ()
    coverage = result.coverage
    assert (coverage.subjects, coverage.compared, coverage.galleries) == (0, 0, ("default",))
    assert (coverage.gallery_version, coverage.exact, coverage.recall_claimed) == (1, True, 1.0)


@pytest.mark.parametrize("when", ["before the scan", "after it"])
def test_a_search_goes_on_with_what_it_saw_and_writes_do_not_wait_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    # The writes come in the middle of a search, from its own thread: a lock held for it would never be given.
    gallery = _gallery(store, index="int8-certified")
    gallery.create_gallery("watch")
    for seed in range(4):
        _enroll(gallery, f"A-{seed % 3}", seed)
    moved = _enroll(gallery, "M", 9)
    version = gallery.events()[-1].sequence
    scan = View.search

    def write() -> None:
        if gallery.events()[-1].sequence == version:
            gallery.erase("A-0")
            gallery.set_encounter_galleries(moved, ["watch"])
            _enroll(gallery, "A-0", 0)
            _enroll(gallery, "B", 0)

    def beside_writes(view: View, queries: Any, count: int, **restriction: Any) -> Any:
        if when == "before the scan":
            write()
        found = scan(view, queries, count, **restriction)
        write()
        return found

    monkeypatch.setattr(View, "search", beside_writes)
    probes = [Features(_unit(seed)) for seed in (0, 1)]
    results = gallery.search_many(probes, 10, fuse=lambda similar, _: similar[FACE].astype(np.float64))
    for result in results:
        hits = {hit.subject_id: hit for hit in result.hits}
        assert set(hits) == {"A-0", "A-1", "A-2", "M"}
        assert (hits["A-0"].encounters_compared, hits["M"].galleries) == (2, ("default",))
        coverage = result.coverage
        assert (coverage.gallery_version, coverage.subjects, coverage.compared) == (version, 4, 5)
    assert [result.hits[0].subject_id for result in results] == ["A-0", "A-1"]
    after = {hit.subject_id: hit for hit in _search(gallery, _unit(0), 10).hits}
    assert set(after) == {"A-0", "A-1", "A-2", "B", "M"}
    assert (after["A-0"].encounters_compared, after["M"].galleries) == (1, ("watch",))


@pytest.mark.parametrize("changed", [False, True])
def test_many_probes_find_what_brute_force_does(store: Store, rng: np.random.Generator, changed: bool) -> None:
    # Also where members that changed meanwhile are looked at one by one.
    gallery = _gallery(store, index="int8-certified")
    gallery.create_gallery("watch")
    held: list[tuple[str, tuple[str, ...], Vector]] = []
    for seed in range(120):
        galleries = [("default",), ("watch",), ("default", "watch"), ()][int(rng.integers(4))]
        subject_id = f"S-{int(rng.integers(40))}"
        _enroll(gallery, subject_id, seed, galleries=galleries)
        held.append((subject_id, galleries, _unit(seed)))
    probes = [_unit(1000 + n) for n in range(9)]
    if changed:
        begin = gallery._searchable._sight

        def begun(*arguments: Any, **further: Any) -> Any:
            sight = begin(*arguments, **further)
            for number in range(40):
                sight.keep(f"S-{number}")
            return sight

        gallery._searchable._sight = begun  # type: ignore[method-assign]
    for names, excluding, count in (
        (None, "", 10),
        (["watch"], "", 3),
        (["default"], "S-7", 100),
        (None, "S-1", 1),
        (["watch"], "nobody", 8),
    ):
        results = gallery.search_many(
            [Features(probe) for probe in probes],
            count,
            fuse=lambda similar, _: similar[FACE].astype(np.float64),
            galleries=names,
            excluding=excluding,
        )
        for probe, result in zip(probes, results, strict=True):
            counted: dict[str, list[float]] = {}
            for subject_id, galleries, vector in held:
                if galleries and (names is None or set(names) & set(galleries)) and subject_id != excluding:
                    counted.setdefault(subject_id, []).append(float(np.dot(probe, vector)))
            expected = sorted(counted, key=lambda who: -max(counted[who]))[:count]
            assert [hit.subject_id for hit in result.hits] == expected
            for hit in result.hits:
                assert hit.encounters_compared == len(counted[hit.subject_id])
                assert hit.compared[FACE].similarity == pytest.approx(max(counted[hit.subject_id]), abs=1e-5)
            assert result.coverage.subjects == len(counted)
            assert result.coverage.compared == sum(map(len, counted.values()))


def test_the_enrolled_is_found_first(gallery: Gallery) -> None:
    ids = [_enroll(gallery, f"A-{seed}", seed) for seed in range(20)]
    result = _search(gallery, _unit(7), 3)
    assert len(result.hits) == 3
    best = result.hits[0]
    assert (best.subject_id, best.encounter_id, best.galleries) == ("A-7", ids[7], ("default",))
    assert _similarity(best) == pytest.approx(1.0, abs=1e-6)
    assert best.encounters_compared == 1
    similarities = [_similarity(hit) for hit in result.hits]
    assert similarities == sorted(similarities, reverse=True)
    assert (result.coverage.subjects, result.coverage.compared, result.coverage.gallery_version) == (20, 20, 21)


def test_the_mean_of_an_encounter_is_not_normalised(gallery: Gallery) -> None:
    _enroll(gallery, "A-1", 1, 2, 3)
    expected = np.mean([float(_unit(9) @ _unit(seed)) for seed in (1, 2, 3)])
    (hit,) = _search(gallery, _unit(9), 1).hits
    assert _similarity(hit) == pytest.approx(expected, abs=1e-6)
    (hit,) = _search(gallery, 0.5 * _unit(9), 1).hits
    assert _similarity(hit) == pytest.approx(expected / 2, abs=1e-6)


def test_a_subject_is_one_hit_by_its_best_encounter(gallery: Gallery) -> None:
    _enroll(gallery, "A-1", 1)
    best = _enroll(gallery, "A-1", 2)
    _enroll(gallery, "A-1", 3)
    _enroll(gallery, "A-2", 4)
    result = _search(gallery, _unit(2), 10)
    assert [hit.subject_id for hit in result.hits] == ["A-1", "A-2"]
    assert (result.hits[0].encounter_id, result.hits[0].encounters_compared) == (best, 3)
    assert (result.coverage.subjects, result.coverage.compared) == (2, 4)


def test_one_subject_with_many_encounters_hides_nobody(gallery: Gallery) -> None:
    probe = _unit(0)
    for seed in range(60):
        near = probe + 0.01 * _unit(seed)
        gallery.enroll("many", [_template(near)], galleries=["default"])
    others = sorted(range(100, 120), key=lambda seed: -float(_unit(seed) @ probe))
    for seed in others:
        _enroll(gallery, f"A-{seed}", seed)
    for count in (1, 2, 5, 21, 1000):
        expected = ["many", *(f"A-{seed}" for seed in others)][:count]
        assert _found(gallery, 0, count) == expected
    assert _search(gallery, probe, 1).hits[0].encounters_compared == 60
    assert _found(gallery, 0, 3, excluding="many") == [f"A-{seed}" for seed in others[:3]]


def test_searches_are_restricted_to_galleries(gallery: Gallery) -> None:
    for name in ("watch", "desk", "empty"):
        gallery.create_gallery(name, GalleryKind.WATCHLIST, legal_basis="Act 1")
    _enroll(gallery, "A-1", 1)
    _enroll(gallery, "A-1", 11, galleries=["watch"])
    both = _enroll(gallery, "A-2", 2, galleries=["watch", "desk"])
    _enroll(gallery, "A-3", 3, galleries=["desk"])
    result = _search(gallery, _unit(2), 10, galleries=["watch", "watch"])
    assert [hit.subject_id for hit in result.hits] == ["A-2", "A-1"]
    assert (result.hits[0].encounter_id, result.hits[0].galleries) == (both, ("desk", "watch"))
    assert [hit.encounters_compared for hit in result.hits] == [1, 1]
    coverage = result.coverage
    assert (coverage.galleries, coverage.subjects, coverage.compared) == (("watch",), 2, 2)
    coverage = _search(gallery, _unit(2), 10, galleries=["watch", "desk"]).coverage
    assert (coverage.galleries, coverage.subjects, coverage.compared) == (("desk", "watch"), 3, 3)
    nobody = _search(gallery, _unit(2), 10, galleries=["empty"])
    assert (nobody.hits, nobody.coverage.subjects, nobody.coverage.compared) == ((), 0, 0)
    everybody = _search(gallery, _unit(2), 10).coverage
    assert everybody.galleries == ("default", "desk", "empty", "watch")
    assert (everybody.subjects, everybody.compared) == (3, 4)
    with pytest.raises(GalleryNotFoundError):
        _search(gallery, _unit(2), 10, galleries=["watch", "nowhere"])
    with pytest.raises(InvalidInputError, match="at least one name"):
        _search(gallery, _unit(2), 10, galleries=[])


def test_the_excluded_is_not_counted(gallery: Gallery) -> None:
    gallery.create_gallery("watch")
    _enroll(gallery, "A-1", 1)
    _enroll(gallery, "A-1", 2, galleries=["watch"])
    _enroll(gallery, "A-2", 3, galleries=["watch"])
    result = _search(gallery, _unit(1), 10, excluding="A-1")
    assert [hit.subject_id for hit in result.hits] == ["A-2"]
    assert (result.coverage.subjects, result.coverage.compared) == (1, 1)
    result = _search(gallery, _unit(1), 10, galleries=["watch"], excluding="A-1")
    assert (result.coverage.subjects, result.coverage.compared) == (1, 1)
    result = _search(gallery, _unit(1), 10, excluding="nobody")
    assert (result.coverage.subjects, result.coverage.compared) == (2, 3)


def test_an_encounter_in_no_gallery_is_compared_1_to_1_only(gallery: Gallery) -> None:
    encounter_id = _enroll(gallery, "A-1", 1, galleries=[])
    assert _found(gallery, 1) == []
    assert [reference.encounter_id for reference in gallery.references("A-1")] == [encounter_id]
    gallery.set_encounter_galleries(encounter_id, ["default"])
    assert _found(gallery, 1) == ["A-1"]


def test_arguments_of_a_search_are_checked(gallery: Gallery) -> None:
    for count in (0, 1001):
        with pytest.raises(InvalidInputError, match=r"count: expected 1\.\.1000"):
            _search(gallery, _unit(1), count)
    bad = [_unit(1)[:-1], _unit(1)[None], _unit(1).astype(np.float64), np.full(D, np.nan, dtype=np.float32)]
    for vector in bad:
        with pytest.raises(InvalidInputError):
            _search(gallery, vector, 1)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="excluding"):
        _search(gallery, _unit(1), 1, excluding="x" * 129)


# --- writes ------------------------------------------------------------------------------------------------------


def test_references_hold_every_template(gallery: Gallery) -> None:
    finger = Template(Modality.FINGER, "finger@1", b"minutiae", 2)
    encounter = gallery.enroll("A-1", [_template(_unit(1)), finger], galleries=["default"])
    (reference,) = gallery.references("A-1")
    assert reference.encounter_id == encounter.encounter_id
    assert (reference.templates, reference.galleries) == ((_template(_unit(1)), finger), ("default",))
    with pytest.raises(SubjectNotFoundError):
        gallery.references("A-2")


def test_fingers_alone_are_stored_and_not_searched(gallery: Gallery) -> None:
    gallery.enroll("A-1", [Template(Modality.FINGER, "finger@1", b"minutiae", 2)], galleries=["default"])
    assert _search(gallery, _unit(1), 1).coverage.compared == 0
    assert len(gallery.references("A-1")) == 1
    assert gallery.foreign_templates == 0


def test_a_repeated_transaction_adds_nothing(gallery: Gallery) -> None:
    def enroll(subject_id: str, digest: str = "d") -> str:
        templates = [_template(_unit(1))]
        return gallery.enroll(
            subject_id, templates, galleries=["default"], transaction_id="t", request_digest=digest
        ).encounter_id

    first = enroll("A-1")
    assert enroll("A-1") == first
    assert _search(gallery, _unit(1), 5).coverage.compared == 1
    for subject_id, digest in (("A-1", "e"), ("A-2", "d")):
        with pytest.raises(TransactionConflictError):
            enroll(subject_id, digest)
    gallery.erase("A-1")
    assert enroll("A-1") == first
    assert _found(gallery, 1) == []


def test_the_erased_is_found_no_more(gallery: Gallery) -> None:
    _enroll(gallery, "A-1", 1)
    _enroll(gallery, "A-1", 2)
    _enroll(gallery, "A-2", 3)
    certificate = gallery.erase("A-1", transaction_id="t")
    assert (certificate.encounters, certificate.templates) == (2, 2)
    assert _found(gallery, 1) == ["A-2"]
    assert _search(gallery, _unit(1), 1).coverage.gallery_version == certificate.event
    with pytest.raises(SubjectNotFoundError):
        gallery.subject("A-1")
    again = _enroll(gallery, "A-1", 4)
    assert gallery.erase("A-1", transaction_id="t") == certificate
    assert _search(gallery, _unit(4), 1).hits[0].encounter_id == again


def test_status_decides_whether_an_encounter_is_found(gallery: Gallery) -> None:
    encounter_id = _enroll(gallery, "A-1", 1)
    inactive = gallery.set_encounter_status(encounter_id, EncounterStatus.INACTIVE)
    assert inactive.status is EncounterStatus.INACTIVE
    assert _found(gallery, 1) == []
    assert gallery.references("A-1") == []
    gallery.set_encounter_galleries(encounter_id, [])
    gallery.set_encounter_status(encounter_id, EncounterStatus.ACTIVE)
    assert _found(gallery, 1) == []
    gallery.set_encounter_galleries(encounter_id, ["default"])
    assert _found(gallery, 1) == ["A-1"]
    version = _search(gallery, _unit(1), 1).coverage.gallery_version
    gallery.set_encounter_status(encounter_id, EncounterStatus.ACTIVE)
    assert _search(gallery, _unit(1), 1).coverage.gallery_version == version == len(gallery.events())
    with pytest.raises(EncounterNotFoundError):
        gallery.set_encounter_status("nobody", EncounterStatus.INACTIVE)


def test_galleries_can_be_left_joined_and_deleted(gallery: Gallery) -> None:
    info = gallery.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="Act 1")
    assert (info.name, info.kind, info.encounters) == ("watch", GalleryKind.WATCHLIST, 0)
    encounter_id = _enroll(gallery, "A-1", 1)
    _enroll(gallery, "A-2", 2, galleries=["watch", "default"])
    moved = gallery.set_encounter_galleries(encounter_id, ["watch"])
    assert moved.galleries == ("watch",)
    assert _found(gallery, 1, galleries=["default"]) == ["A-2"]
    assert _found(gallery, 1, galleries=["watch"]) == ["A-1", "A-2"]
    assert gallery.gallery("watch").subjects == 2
    gallery.delete_gallery("watch")
    assert _found(gallery, 1) == ["A-2"]
    assert _search(gallery, _unit(2), 1).hits[0].galleries == ("default",)
    assert gallery.encounter(encounter_id).galleries == ()
    assert [info.name for info in gallery.galleries()] == ["default"]
    with pytest.raises(GalleryNotFoundError):
        _search(gallery, _unit(1), 1, galleries=["watch"])
    with pytest.raises(GalleryExistsError):
        gallery.create_gallery("default")


def test_repeats_give_first_answers_and_leave_the_index_alone(gallery: Gallery) -> None:
    encounter_id = _enroll(gallery, "A-1", 1)
    created = gallery.create_gallery("desk", retention_days=9, transaction_id="create")
    writes: list[Callable[[], object]] = [
        lambda: gallery.create_gallery("desk", retention_days=9, transaction_id="create"),
        lambda: gallery.set_encounter_galleries(encounter_id, ["desk"], transaction_id="move"),
        lambda: gallery.set_encounter_status(encounter_id, EncounterStatus.INACTIVE, transaction_id="rest"),
        lambda: gallery.set_encounter_status(encounter_id, EncounterStatus.ACTIVE, transaction_id="wake"),
        lambda: gallery.delete_gallery("desk", transaction_id="delete"),
        lambda: gallery.erase("A-1", transaction_id="erase"),
    ]
    answers = [write() for write in writes]
    assert answers[0] == created
    again = _enroll(gallery, "A-1", 2)
    gallery.create_gallery("desk")
    version = gallery.events()[-1].sequence
    for _ in range(2):  # also of an encounter that is gone, and with the galleries' names in use again
        assert [write() for write in writes] == answers
        result = _search(gallery, _unit(2), 5)
        assert [hit.encounter_id for hit in result.hits] == [again]
        assert (result.coverage.gallery_version, result.coverage.galleries) == (version, ("default", "desk"))
    assert gallery.events()[-1].sequence == version


def test_a_transaction_id_is_good_for_one_request(gallery: Gallery) -> None:
    encounter_id = _enroll(gallery, "A-1", 1)
    gallery.set_encounter_status(encounter_id, EncounterStatus.INACTIVE, transaction_id="t")
    calls: list[Callable[[], object]] = [
        lambda: gallery.set_encounter_status(encounter_id, EncounterStatus.ACTIVE, transaction_id="t"),
        lambda: gallery.set_encounter_galleries(encounter_id, ["default"], transaction_id="t"),
        lambda: gallery.create_gallery("desk", transaction_id="t"),
        lambda: gallery.delete_gallery("desk", transaction_id="t"),
        lambda: gallery.erase("A-1", transaction_id="t"),
    ]
    for call in calls:
        with pytest.raises(TransactionConflictError):
            call()
    assert _found(gallery, 1) == []


def test_an_encounter_by_itself_is_a_reference_while_it_is_active(gallery: Gallery) -> None:
    encounter_id = _enroll(gallery, "A-1", 1, 2)
    _enroll(gallery, "A-1", 3)
    (reference,) = gallery.references_of_encounter(encounter_id)
    assert reference == gallery.references("A-1")[0]
    gallery.set_encounter_status(encounter_id, EncounterStatus.INACTIVE)
    assert gallery.references_of_encounter(encounter_id) == []
    with pytest.raises(EncounterNotFoundError):
        gallery.references_of_encounter("nobody")


def test_a_template_of_another_contract_is_refused(gallery: Gallery) -> None:
    with pytest.raises(IncompatibleTemplateError):
        gallery.enroll("A-1", [_template(_unit(1)), _template(_unit(2), "old@1")], galleries=["default"])
    assert gallery.subjects() == []


@pytest.mark.parametrize(
    "vector", [np.zeros(D + 1, dtype=np.float32), np.full(D, np.inf, dtype=np.float32), np.zeros((1, D))]
)
def test_what_the_index_would_refuse_is_not_stored(store: Store, vector: Vector) -> None:
    gallery = _gallery(store, features_of=lambda people: [Features(vector) for _ in people])
    with pytest.raises(InvalidInputError, match="vector"):
        _enroll(gallery, "A-1", 1)
    assert store.scan() == []


def test_lists_pass_through(gallery: Gallery) -> None:
    for number in range(5):
        _enroll(gallery, f"A-{number}", number)
    assert [s.subject_id for s in gallery.subjects(after="A-1", limit=2)] == ["A-2", "A-3"]
    assert [s.subject_id for s in gallery.subjects(gallery="default", limit=1)] == ["A-0"]
    assert [event.kind for event in gallery.events(after=1, limit=2)] == [EventKind.ENROLLED] * 2
    assert gallery.subject("A-1").encounters[0] == gallery.encounter(gallery.subject("A-1").encounters[0].encounter_id)


# --- start, failure, interruption ----------------------------------------------------------------------------------


def test_the_index_is_rebuilt_from_the_store(store: Store, gallery: Gallery) -> None:
    gallery.create_gallery("watch")
    for seed in range(1100):  # more than a page of the scan
        _enroll(gallery, f"A-{seed % 700}", seed, galleries=["watch"] if seed % 3 else ["default"])
    for seed in range(0, 700, 50):
        gallery.erase(f"A-{seed}")
    inactive = gallery.subject("A-1").encounters[0].encounter_id
    gallery.set_encounter_status(inactive, EncounterStatus.INACTIVE)
    rebuilt = _gallery(store)
    for seed in (0, 1, 2, 600, 1099):
        for names in (None, ["watch"], ["default"]):
            expected = _search(gallery, _unit(seed), 20, galleries=names)
            assert _search(rebuilt, _unit(seed), 20, galleries=names) == expected


def test_foreign_templates_are_counted_and_never_found(store: Store, gallery: Gallery) -> None:
    _enroll(gallery, "A-1", 1, 2)
    _enroll(gallery, "A-1", 3)
    _enroll(gallery, "A-2", 4)
    newer = _gallery(store, "test@2")
    assert newer.foreign_templates == 4
    assert _search(newer, _unit(1), 5).coverage.compared == 0
    newer.enroll("A-1", [_template(_unit(5), "test@2")], galleries=["default"])
    assert _found(newer, 5) == ["A-1"]
    assert len(newer.references("A-1")) == 3
    newer.erase("A-1")
    assert newer.foreign_templates == 1
    assert gallery.foreign_templates == 0


def test_a_damaged_encounter_stops_the_start_and_is_named(store: Store, gallery: Gallery, monkeypatch: Any) -> None:
    encounter_id = _enroll(gallery, "A-1", 1)
    sealed = store._sealed(encounter_id)
    damaged = type(sealed)(sealed.number, sealed.encounter, (sealed.templates[0][:-1] + b"!",))
    monkeypatch.setattr(store, "_scan", lambda after, limit: [] if after else [damaged])
    with pytest.raises(StoreDamagedError, match=encounter_id):
        _gallery(store)


def test_a_damaged_encounter_is_set_aside_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "office.db"
    gallery = _gallery(STORES.load("sqlite").open(path))
    for seed in (1, 2, 3):
        _enroll(gallery, f"A-{seed}", seed)
    gallery.close()
    data = bytearray(path.read_bytes())
    data[data.index(_template(_unit(2)).payload) + 5] ^= 1
    path.write_bytes(data)
    store = STORES.load("sqlite").open(path)
    with pytest.raises(StoreDamagedError):
        _gallery(store)
    gallery = _gallery(store, quarantine=True)
    assert [one.subject_id for one in gallery.quarantined()] == ["A-2"]
    assert sorted(_found(gallery, 2)) == ["A-1", "A-3"]
    gallery.close()
    gallery = _gallery(STORES.load("sqlite").open(path))  # it stays there, and stops no start any more
    assert sorted(_found(gallery, 2)) == ["A-1", "A-3"]
    _enroll(gallery, "A-4", 4)
    assert _found(gallery, 4, 1) == ["A-4"]
    gallery.close()


def test_a_failed_write_changes_nothing(store: Store, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    _enroll(gallery, "A-1", 1)

    def full(*_: object) -> Change:
        raise StoreUnavailableError("disk full")

    with monkeypatch.context() as broken:
        for hook in ("_enroll", "_erase", "_set_status"):
            broken.setattr(store, hook, full)
        calls: list[Callable[[], object]] = [
            lambda: _enroll(gallery, "A-2", 2),
            lambda: gallery.erase("A-1"),
            lambda: gallery.set_encounter_status(
                gallery.subject("A-1").encounters[0].encounter_id, EncounterStatus.INACTIVE
            ),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailableError):
                call()
            assert _found(gallery, 1) == ["A-1"]
    _enroll(gallery, "A-2", 2)
    assert _found(gallery, 2) == ["A-2", "A-1"]


def test_an_interruption_between_commit_and_index_is_made_up_for(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    _enroll(gallery, "A-1", 1)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(gallery._searchable, "take_in_new", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _enroll(gallery, "A-2", 2)
    result = _search(gallery, _unit(2), 5)
    assert [hit.subject_id for hit in result.hits] == ["A-2", "A-1"]
    assert result.coverage.gallery_version == gallery.events()[-1].sequence


def test_what_is_committed_with_an_encounter_that_the_index_missed_is_findable_on_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = _gallery(STORES.load("sqlite").open(tmp_path / "office.db"))
    take_in_new = gallery._searchable.take_in_new

    def missing_one(changes: Sequence[tuple[Change, Features]]) -> None:
        if any(change.encounter.subject_id == "A-3" for change, _ in changes):
            raise MemoryError
        take_in_new(changes)

    def enroll_and_find(seed: int) -> list[str]:
        _enroll(gallery, f"A-{seed}", seed)
        return _found(gallery, seed, 1)

    monkeypatch.setattr(gallery._searchable, "take_in_new", missing_one)
    with ThreadPoolExecutor(8) as pool:
        finds = [pool.submit(enroll_and_find, seed) for seed in range(16)]
    assert [find.result() for find in finds] == [[f"A-{seed}"] for seed in range(16)]
    assert "MemoryError" in caplog.text
    assert _search(gallery, _unit(0), 1).coverage.gallery_version == gallery.events(limit=1000)[-1].sequence
    gallery.close()


def test_a_refused_write_does_not_make_searches_wait_for_the_next_one(store: Store, gallery: Gallery) -> None:
    with pytest.raises(SubjectNotFoundError):
        gallery.erase("nobody")
    with store.quiet(), ThreadPoolExecutor(1) as pool:  # as a write under way holds others back
        assert pool.submit(_found, gallery, 1).result(timeout=5) == []


def test_a_full_disk_of_vectors_refuses_before_anything_is_stored(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = _gallery(store, index="int8-certified", folder=tmp_path)
    first = _enroll(gallery, "A-1", 1)
    inactive = _enroll(gallery, "A-2", 2)
    gallery.set_encounter_status(inactive, EncounterStatus.INACTIVE)
    monkeypatch.setattr("biometrik.gallery.searching._BEING_WRITTEN", 5000)  # more than there is room for

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("os.posix_fallocate", full)
        before = store.last_event()
        for write in (
            lambda: _enroll(gallery, "A-3", 3),
            lambda: gallery.set_encounter_status(inactive, EncounterStatus.ACTIVE),
            lambda: gallery.set_encounter_galleries(first, ["default"]),
        ):
            with pytest.raises(StoreUnavailableError, match="free space there, or keep vectors in memory"):
                write()
        assert store.last_event() == before
        assert _found(gallery, 1) == ["A-1"]
        gallery.set_encounter_status(first, EncounterStatus.INACTIVE)  # what takes no room goes on
        gallery.erase("A-1")
    _enroll(gallery, "A-3", 3)
    assert _found(gallery, 3) == ["A-3"]
    gallery.close()


def test_an_index_that_fell_behind_answers_only_once_it_caught_up(
    store: Store, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    _enroll(gallery, "A-1", 1)

    def gone(*_: object, **__: object) -> None:
        raise StoreUnavailableError("disk gone")

    with monkeypatch.context() as broken:
        broken.setattr(gallery._searchable, "forget_subject", gone)
        broken.setattr(store, "_scan", gone)
        with pytest.raises(StoreUnavailableError):
            gallery.erase("A-1")
        with pytest.raises(StoreUnavailableError):
            _search(gallery, _unit(1), 1)
        with pytest.raises(StoreUnavailableError):
            _enroll(gallery, "A-2", 2)
    assert _found(gallery, 1) == []
    _enroll(gallery, "A-2", 2)
    assert _found(gallery, 1) == ["A-2"]


def test_a_closed_gallery_refuses(gallery: Gallery) -> None:
    gallery.close()
    gallery.close()
    with pytest.raises(EngineClosedError):
        _enroll(gallery, "A-1", 1)
    with pytest.raises(EngineClosedError):
        gallery.subjects()


# --- everything at once ----------------------------------------------------------------------------------------------


def test_random_histories_equal_brute_force(gallery: Gallery, rng: np.random.Generator) -> None:
    gallery.create_gallery("watch")
    model: dict[str, tuple[str, Vector, set[str], bool]] = {}  # encounter → subject, vector, galleries, active

    def expected(probe: Vector, count: int, names: set[str], excluding: str) -> list[tuple[str, str]]:
        best: dict[str, tuple[float, str]] = {}
        for encounter_id, (subject_id, vector, galleries, active) in model.items():
            if active and galleries & names and subject_id != excluding:
                similarity = float(vector.astype(np.float64) @ probe.astype(np.float64))
                best[subject_id] = max(best.get(subject_id, (-2.0, "")), (similarity, encounter_id))
        ranked = sorted(best.items(), key=lambda item: -item[1][0])
        return [(subject_id, encounter_id) for subject_id, (_, encounter_id) in ranked[:count]]

    choices = [set(), {"default"}, {"watch"}, {"default", "watch"}]
    for step in range(300):
        act = rng.random()
        subject_id = f"A-{rng.integers(12)}"
        some = sorted(model)[int(rng.integers(len(model)))] if model else ""
        names = choices[int(rng.integers(4))]
        if act < 0.5 or not model:
            vector = _unit(1000 + step)
            model[_enroll(gallery, subject_id, 1000 + step, galleries=sorted(names))] = (
                subject_id,
                vector,
                names,
                True,
            )
        elif act < 0.6:
            if any(entry[0] == subject_id for entry in model.values()):
                gallery.erase(subject_id)
            model = {key: entry for key, entry in model.items() if entry[0] != subject_id}
        elif act < 0.8:
            active = bool(rng.integers(2))
            gallery.set_encounter_status(some, EncounterStatus.ACTIVE if active else EncounterStatus.INACTIVE)
            model[some] = (*model[some][:3], active)
        else:
            gallery.set_encounter_galleries(some, sorted(names))
            model[some] = (*model[some][:2], names, model[some][3])
        probe, count = _unit(5000 + step), int(rng.integers(1, 15))
        for restriction in ({"watch"}, {"default"}, {"default", "watch"}):
            excluding = subject_id if step % 2 else ""
            hits = _search(gallery, probe, count, galleries=sorted(restriction), excluding=excluding).hits
            found = [(hit.subject_id, hit.encounter_id) for hit in hits]
            assert found == expected(probe, count, restriction, excluding)


def test_threads_that_enroll_search_and_erase_at_once_get_true_answers(tmp_path: Path) -> None:
    gallery = _gallery(STORES.load("sqlite").open(tmp_path / "office.db"))
    steady = [_enroll(gallery, f"s-{seed}", seed) for seed in range(20)]
    done = threading.Event()

    def seed_of(subject_id: str) -> int:
        worker, number = (int(part) for part in subject_id.split("-")[1:])
        return 1000 * worker + number

    def write(worker: int) -> None:
        for number in range(40):
            subject_id, seed = f"w-{worker}-{number}", 1000 * worker + number
            encounter_id = _enroll(gallery, subject_id, seed)
            best = _search(gallery, _unit(seed), 1).hits[0]
            assert (best.subject_id, best.encounter_id) == (subject_id, encounter_id)
            assert gallery.references(subject_id)[0].templates == (_template(_unit(seed)),)
            if number % 2:
                erased = gallery.erase(subject_id)
                assert erased.encounters == 1
                assert subject_id not in _found(gallery, seed, 1000)

    def read(reader: int) -> int:
        rounds = version = 0
        while not done.is_set() or not rounds:
            seed = (7 * rounds + reader) % 20
            result = _search(gallery, _unit(seed), 30)
            assert (result.hits[0].subject_id, result.hits[0].encounter_id) == (f"s-{seed}", steady[seed])
            assert len({hit.subject_id for hit in result.hits}) == len(result.hits)
            similarities = [_similarity(hit) for hit in result.hits]
            assert similarities == sorted(similarities, reverse=True)
            for hit in result.hits:
                own = int(hit.subject_id[2:]) if hit.subject_id.startswith("s-") else seed_of(hit.subject_id)
                assert _similarity(hit) == pytest.approx(float(_unit(own) @ _unit(seed)), abs=1e-5)
                assert (hit.galleries, hit.encounters_compared) == (("default",), 1)
            assert result.coverage.subjects == result.coverage.compared >= 20
            assert result.coverage.gallery_version >= version
            version = result.coverage.gallery_version
            rounds += 1
        return rounds

    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read, reader) for reader in range(2)]
        try:
            for future in [pool.submit(write, worker) for worker in (1, 2, 3, 4)]:
                future.result()
        finally:
            done.set()
        assert all(future.result() for future in readers)
    assert _search(gallery, _unit(0), 1).coverage.subjects == 20 + 4 * 20
    assert _search(gallery, _unit(0), 1).coverage.gallery_version == gallery.events(limit=1000)[-1].sequence
    gallery.close()
