"""What every store keeps to: the same suite for each, and random histories compared with the plain one in memory."""

import dataclasses
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from biometrik.errors import (
    BiometrikError,
    EncounterNotFoundError,
    EngineClosedError,
    GalleryExistsError,
    GalleryNotFoundError,
    InvalidInputError,
    LegalBasisMissingError,
    StoreDamagedError,
    SubjectNotFoundError,
    TransactionConflictError,
)
from biometrik.gallery.records import DEFAULT_GALLERY, Declined, EventKind, NewEncounter
from biometrik.gallery.store import STORES, Store
from biometrik.types import EncounterStatus, GalleryKind, Modality, Template, sha256_hex

Open = Callable[[], Store]


def _template(seed: int, modality: Modality = Modality.FACE) -> Template:
    vector = np.random.default_rng(seed).standard_normal(8).astype("<f4")
    return Template(modality, "test@1", vector.tobytes())


def _new(subject_id: str, *seeds: int, **more: Any) -> NewEncounter:
    return NewEncounter(subject_id, tuple(_template(seed) for seed in seeds or (0,)), **more)


@pytest.fixture(params=STORES.names())
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Return what opens the store at one path; whatever was opened is closed at the end."""
    stores: list[Store] = []

    def open_store() -> Store:
        stores.append(STORES.load(request.param).open(tmp_path / "office.db"))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> Store:
    return opened()


def test_a_new_store_has_the_default_gallery_and_one_event(store: Store) -> None:
    (gallery,) = store.galleries()
    assert (gallery.name, gallery.kind) == (DEFAULT_GALLERY, GalleryKind.POPULATION)
    assert (gallery.subjects, gallery.encounters) == (0, 0)
    (event,) = store.events()
    assert (event.sequence, event.kind) == (1, EventKind.GALLERY_CREATED)
    assert event.details == {"gallery": "default", "kind": "POPULATION"}
    assert store.last_event() == 1
    assert store.subjects() == []
    assert store.scan() == []


def test_an_enrolment_is_stored_whole(store: Store) -> None:
    before = datetime.now(UTC)
    change = store.enroll(_new("A-1", 1, 2, details={"operator_ref": "op 7"}))
    encounter = change.encounter
    assert (encounter.subject_id, encounter.status) == ("A-1", EncounterStatus.ACTIVE)
    assert (encounter.galleries, encounter.templates) == (("default",), 2)
    assert before <= encounter.created_at <= datetime.now(UTC)
    assert encounter.created_at.utcoffset() == timedelta(0)
    assert store.encounter(encounter.encounter_id) == encounter
    assert store.subject("A-1").encounters == (encounter,)
    assert store.subject("A-1").created_at == encounter.created_at
    stored = store.stored(encounter.encounter_id)
    assert (stored.number, stored.encounter) == (change.number, encounter)
    assert stored.templates == (_template(1), _template(2))
    assert store.scan() == [stored]
    assert store.references("A-1") == [stored]
    event = store.events(after=1)[0]
    assert (event.sequence, event.kind, event.at) == (change.event, EventKind.ENROLLED, encounter.created_at)
    assert (event.subject_id, event.encounter_id) == ("A-1", encounter.encounter_id)
    assert event.details == {"operator_ref": "op 7", "galleries": '["default"]', "templates": "2"}


def test_encounters_of_a_subject_come_oldest_first_and_keep_its_first_date(store: Store) -> None:
    changes = [store.enroll(_new("A-1", seed)) for seed in range(5)]
    subject = store.subject("A-1")
    assert subject.encounters == tuple(change.encounter for change in changes)
    assert subject.created_at == changes[0].encounter.created_at
    assert [change.number for change in changes] == sorted({change.number for change in changes})
    assert len({encounter.encounter_id for encounter in subject.encounters}) == 5


def test_references_are_the_active_encounters_in_the_galleries_asked_for(store: Store) -> None:
    store.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="Act 1")
    watched = store.enroll(_new("A-1", 1, galleries=("watch", "default"))).encounter
    alone = store.enroll(_new("A-1", 2, galleries=())).encounter
    inactive = store.enroll(_new("A-1", 3)).encounter
    store.enroll(_new("A-2", 4))
    store.set_status(inactive.encounter_id, EncounterStatus.INACTIVE)
    assert [s.encounter for s in store.references("A-1")] == [watched, alone]
    assert [s.encounter for s in store.references("A-1", ["watch"])] == [watched]
    with pytest.raises(GalleryNotFoundError):
        store.references("A-1", ["nowhere"])
    with pytest.raises(InvalidInputError, match="at least one name"):
        store.references("A-1", [])
    with pytest.raises(SubjectNotFoundError):
        store.references("A-3")


def test_references_of_an_encounter_are_itself_while_it_is_active(store: Store) -> None:
    encounter_id = store.enroll(_new("A-1", 1, 2, galleries=())).encounter.encounter_id
    store.enroll(_new("A-1", 3))
    assert store.references_of_encounter(encounter_id) == [store.stored(encounter_id)]
    store.set_status(encounter_id, EncounterStatus.INACTIVE)
    assert store.references_of_encounter(encounter_id) == []
    for unknown in ("nobody", "A-1"):
        with pytest.raises(EncounterNotFoundError):
            store.references_of_encounter(unknown)


def test_an_unknown_gallery_stores_nothing(store: Store) -> None:
    with pytest.raises(GalleryNotFoundError, match="'nowhere'"):
        store.enroll(_new("A-1", galleries=("default", "nowhere"), transaction_id="t"))
    with pytest.raises(SubjectNotFoundError):
        store.subject("A-1")
    assert store.last_event() == 1
    store.create_gallery("nowhere", GalleryKind.APPOINTMENT)
    store.enroll(_new("A-1", galleries=("default", "nowhere"), transaction_id="t"))


def test_a_repeated_transaction_returns_the_first_answer(store: Store) -> None:
    request = _new("A-1", 1, transaction_id="t-1", request_digest="d")
    first = store.enroll(request)
    store.set_status(first.encounter.encounter_id, EncounterStatus.INACTIVE)
    assert store.enroll(request) == first
    assert len(store.subject("A-1").encounters) == 1
    for other in (
        _new("A-1", 1, transaction_id="t-1", request_digest="e"),
        _new("A-2", 1, transaction_id="t-1", request_digest="d"),
        _new("A-1", 1, transaction_id="t-1", request_digest="d", galleries=()),
    ):
        with pytest.raises(TransactionConflictError):
            store.enroll(other)
    with pytest.raises(TransactionConflictError):
        store.erase("A-1", transaction_id="t-1")


def test_answers_outlive_an_erasure(store: Store) -> None:
    request = _new("A-1", 1, transaction_id="t-1")
    first = store.enroll(request)
    store.erase("A-1")
    assert store.enroll(request) == first
    with pytest.raises(SubjectNotFoundError):
        store.subject("A-1")


def test_erasing_removes_a_subject_and_certifies_it(store: Store) -> None:
    first = store.enroll(_new("A-1", 1, 2)).encounter
    store.enroll(_new("A-1", 3))
    kept = store.enroll(_new("A-2", 4))
    certificate = store.erase("A-1")
    assert (certificate.subject_id, certificate.encounters, certificate.templates) == ("A-1", 2, 3)
    fields = ("A-1", certificate.erased_at.isoformat(), "2", "3", str(certificate.event))
    assert certificate.digest == sha256_hex(*(field.encode() for field in fields))
    event = store.events(after=certificate.event - 1)[0]
    assert (event.kind, event.subject_id, event.at) == (EventKind.ERASED, "A-1", certificate.erased_at)
    assert event.details == {"encounters": "2", "templates": "3", "digest": certificate.digest}
    with pytest.raises(SubjectNotFoundError):
        store.subject("A-1")
    with pytest.raises(EncounterNotFoundError):
        store.encounter(first.encounter_id)
    with pytest.raises(SubjectNotFoundError):
        store.erase("A-1")
    assert [stored.number for stored in store.scan()] == [kept.number]
    assert store.gallery("default").encounters == 1


def test_a_repeated_erasure_returns_the_first_certificate_and_erases_nobody_else(store: Store) -> None:
    store.enroll(_new("A-1", 1))
    certificate = store.erase("A-1", transaction_id="t-1")
    store.enroll(_new("A-1", 2))
    assert store.erase("A-1", transaction_id="t-1") == certificate
    assert len(store.subject("A-1").encounters) == 1
    with pytest.raises(TransactionConflictError):
        store.erase("A-2", transaction_id="t-1")


#: Every write: a name, and what makes it, given a store, an encounter's id and what comes with the write.
WRITES: dict[str, Callable[..., object]] = {
    "enroll": lambda store, _, **more: store.enroll(_new("A-1", 2, **more)),
    "erase": lambda store, _, **more: store.erase("A-1", **more),
    "set_status": lambda store, e, **more: store.set_status(e, EncounterStatus.INACTIVE, **more),
    "set_galleries": lambda store, e, **more: store.set_galleries(e, ["watch", "desk"], **more),
    "create_gallery": lambda store, _, **more: store.create_gallery(
        "gate", GalleryKind.WATCHLIST, legal_basis="Act 1", retention_days=9, **more
    ),
    "delete_gallery": lambda store, _, **more: store.delete_gallery("desk", **more),
}

#: Writes of the same kinds that ask for something else.
OTHER_WRITES: tuple[Callable[..., object], ...] = (
    lambda store, _, **more: store.enroll(_new("A-2", 2, **more)),
    lambda store, _, **more: store.erase("A-2", **more),
    lambda store, e, **more: store.set_status(e, EncounterStatus.ACTIVE, **more),
    lambda store, _, **more: store.set_status("other", EncounterStatus.INACTIVE, **more),
    lambda store, e, **more: store.set_galleries(e, ["watch"], **more),
    lambda store, _, **more: store.create_gallery("gate", GalleryKind.POPULATION, retention_days=9, **more),
    lambda store, _, **more: store.create_gallery(
        "gate", GalleryKind.WATCHLIST, legal_basis="Act 1", retention_days=8, **more
    ),
    lambda store, _, **more: store.create_gallery(
        "gate", GalleryKind.WATCHLIST, legal_basis="Act 2", retention_days=9, **more
    ),
    lambda store, _, **more: store.delete_gallery("watch", **more),
)


def _peopled(store: Store) -> str:
    for name in ("watch", "desk"):
        store.create_gallery(name, GalleryKind.POPULATION)
    return store.enroll(_new("A-1", 1, galleries=("desk",))).encounter.encounter_id


def _everything(store: Store) -> tuple[object, ...]:
    return store.galleries(), store.subjects(), store.scan(), store.events()


@pytest.mark.parametrize("name", WRITES)
def test_every_write_repeated_gives_its_first_answer_as_it_was(opened: Open, name: str) -> None:
    store = opened()
    encounter_id = _peopled(store)
    first = WRITES[name](store, encounter_id, transaction_id="t", details={"station_ref": "gate 4"})
    assert WRITES[name](store, encounter_id, transaction_id="t") == first  # from another station
    # What it did is overtaken by other writes, and what it speaks of is gone at last.
    for write in (
        lambda: store.create_gallery("desk", GalleryKind.APPOINTMENT, retention_days=1),
        lambda: store.set_status(encounter_id, EncounterStatus.ACTIVE),
        lambda: store.set_galleries(encounter_id, []),
        lambda: store.erase("A-1"),
        lambda: store.delete_gallery("gate"),
        lambda: store.delete_gallery("watch"),
    ):
        with suppress(BiometrikError):
            write()
        before = _everything(store)
        assert WRITES[name](store, encounter_id, transaction_id="t", details={"operator_ref": "op 8"}) == first
        assert _everything(store) == before


@pytest.mark.parametrize("name", WRITES)
def test_a_transaction_id_is_good_for_one_request(store: Store, name: str) -> None:
    encounter_id = _peopled(store)
    WRITES[name](store, encounter_id, transaction_id="t")
    before = _everything(store)
    for write in (*(write for other, write in WRITES.items() if other != name), *OTHER_WRITES):
        with pytest.raises(TransactionConflictError, match="choose a new one"):
            write(store, encounter_id, transaction_id="t")
    assert _everything(store) == before


@pytest.mark.parametrize("name", WRITES)
def test_every_event_says_who_asked_and_why(store: Store, name: str) -> None:
    encounter_id = _peopled(store)
    details = {"operator_ref": "op 7", "purpose": "AUDIT"}
    WRITES[name](store, encounter_id, details=details)
    event = store.events(after=4)[0]
    assert event.sequence == store.last_event()
    assert details.items() < event.details.items()  # and what was changed


@pytest.mark.parametrize("name", WRITES)
def test_references_of_every_write_are_bounded(store: Store, name: str) -> None:
    encounter_id = _peopled(store)
    before = _everything(store)
    for more in (
        {"transaction_id": "x" * 129},
        {"transaction_id": "a\nb"},
        {"details": {"status": "ACTIVE"}},
        {"details": {"name": "x" * 2049}},
    ):
        with pytest.raises(InvalidInputError):
            WRITES[name](store, encounter_id, **more)
    assert _everything(store) == before


def test_what_is_so_already_is_an_answer_too(store: Store) -> None:
    encounter_id = _peopled(store)
    first = store.set_status(encounter_id, EncounterStatus.ACTIVE, transaction_id="t")
    assert first.event == 0
    store.set_status(encounter_id, EncounterStatus.INACTIVE)
    assert store.set_status(encounter_id, EncounterStatus.ACTIVE, transaction_id="t") == first
    assert store.encounter(encounter_id).status is EncounterStatus.INACTIVE


def test_a_refused_write_can_be_repeated_under_its_transaction_id(store: Store) -> None:
    with pytest.raises(EncounterNotFoundError):
        store.set_galleries("nobody", [], transaction_id="t")
    with pytest.raises(GalleryNotFoundError):
        store.delete_gallery("desk", transaction_id="u")
    with pytest.raises(GalleryExistsError):
        store.create_gallery("default", GalleryKind.POPULATION, transaction_id="v")
    encounter_id = _peopled(store)
    assert store.delete_gallery("desk", transaction_id="u").gallery.encounters == 1
    assert store.set_galleries(encounter_id, ["watch"], transaction_id="t").encounter.galleries == ("watch",)
    store.create_gallery("gate", GalleryKind.POPULATION, transaction_id="v")


@pytest.mark.parametrize("name", WRITES)
def test_what_follows_a_write_is_given_its_answer(store: Store, name: str) -> None:
    encounter_id = _peopled(store)
    answers: list[object] = []

    def write() -> object:
        if name == "enroll":  # it takes what it stores as one value, and what follows beside it
            return store.enroll(_new("A-1", 2, transaction_id="t"), then=answers.append)
        return WRITES[name](store, encounter_id, transaction_id="t", then=answers.append)

    first = write()
    assert answers == [first]
    assert write() == first  # a repeat is answered, too
    assert answers == [first, first]


def test_what_follows_writes_comes_in_the_order_of_their_events(store: Store) -> None:
    events: list[int] = []

    def write(worker: int) -> None:
        for number in range(10):
            change = store.enroll(_new(f"A-{worker}-{number}"), then=lambda change: events.append(change.event))
            assert change.event in events

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert events == list(range(2, 62))


def test_no_write_is_under_way_in_a_quiet_time(store: Store) -> None:
    with ThreadPoolExecutor(1) as pool:
        with store.quiet():
            writing = pool.submit(store.enroll, _new("A-1"))
            assert store.last_event() == 1
            with pytest.raises(TimeoutError):
                writing.result(timeout=0.05)
        assert writing.result(timeout=30).event == 2


def test_concurrent_repeats_write_once(store: Store) -> None:
    encounter_id = _peopled(store)
    for name, write in WRITES.items():
        if name != "erase":
            events = store.last_event()
            with ThreadPoolExecutor(4) as pool:
                repeats = [pool.submit(write, store, encounter_id, transaction_id=name) for _ in range(8)]
            assert len({repr(repeat.result()) for repeat in repeats}) == 1
            assert store.last_event() == events + 1


def test_numbers_are_never_given_twice(store: Store) -> None:
    first = store.enroll(_new("A-1", 1))
    store.erase("A-1")
    assert store.enroll(_new("A-1", 1)).number > first.number


def test_an_export_is_an_event_that_says_who_asked_and_changes_nobody(store: Store) -> None:
    store.enroll(_new("A-1"))
    before = store.subjects()
    every = store.record_export("", details={"operator_ref": "M. Bauer"})
    one = store.record_export(DEFAULT_GALLERY)
    first, second = store.events(after=every - 1)
    assert (first.sequence, second.sequence, store.last_event()) == (every, one, one)
    assert (first.kind, first.details) == (EventKind.EXPORTED, {"operator_ref": "M. Bauer"})
    assert (second.subject_id, second.details) == ("", {"gallery": DEFAULT_GALLERY})
    assert store.subjects() == before
    with pytest.raises(GalleryNotFoundError):
        store.record_export("nowhere")
    with pytest.raises(InvalidInputError):
        store.record_export("", details={"gallery": "mine"})
    assert store.last_event() == one


def test_a_status_changes_once(store: Store) -> None:
    first = store.enroll(_new("A-1", 1))
    encounter_id = first.encounter.encounter_id
    changed = store.set_status(encounter_id, EncounterStatus.INACTIVE)
    assert changed.encounter == dataclasses.replace(first.encounter, status=EncounterStatus.INACTIVE)
    assert (changed.number, changed.event) == (first.number, store.last_event())
    event = store.events(after=first.event)[0]
    assert (event.kind, event.details) == (EventKind.STATUS_CHANGED, {"status": "INACTIVE"})
    again = store.set_status(encounter_id, EncounterStatus.INACTIVE)
    assert (again.encounter, again.event) == (changed.encounter, 0)
    assert store.last_event() == changed.event
    with pytest.raises(EncounterNotFoundError):
        store.set_status("nobody", EncounterStatus.ACTIVE)


def test_galleries_change_as_a_whole(store: Store) -> None:
    store.create_gallery("b", GalleryKind.WATCHLIST, legal_basis="Act 1")
    store.create_gallery("a", GalleryKind.WATCHLIST, legal_basis="Act 1")
    first = store.enroll(_new("A-1", 1))
    encounter_id = first.encounter.encounter_id
    changed = store.set_galleries(encounter_id, ["b", "a", "b"])
    assert changed.encounter.galleries == ("a", "b")
    assert store.encounter(encounter_id) == changed.encounter
    assert store.events(after=first.event)[0].details == {"galleries": '["a", "b"]'}
    assert store.set_galleries(encounter_id, ["a", "b"]).event == 0
    with pytest.raises(GalleryNotFoundError):
        store.set_galleries(encounter_id, ["a", "nowhere"])
    with pytest.raises(EncounterNotFoundError):
        store.set_galleries("nobody", ["a"])
    assert store.encounter(encounter_id).galleries == ("a", "b")
    assert store.last_event() == changed.event
    assert store.set_galleries(encounter_id, []).encounter.galleries == ()
    with pytest.raises(InvalidInputError, match="one string"):
        store.set_galleries(encounter_id, "a")


def test_a_deleted_gallery_loses_its_members_and_they_stay(store: Store) -> None:
    store.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="Act 1")
    both = store.enroll(_new("A-1", 1, galleries=("default", "watch"))).encounter
    alone = store.enroll(_new("A-2", 2, galleries=("watch",))).encounter
    assert (store.gallery("watch").subjects, store.gallery("watch").encounters) == (2, 2)
    last = store.gallery("watch")
    deleted = store.delete_gallery("watch")
    assert (deleted.event, deleted.gallery) == (store.last_event(), last)
    assert store.events(after=deleted.event - 1)[0].details == {"gallery": "watch"}
    assert store.encounter(both.encounter_id).galleries == ("default",)
    assert store.encounter(alone.encounter_id).galleries == ()
    assert store.gallery_names() == ("default",)
    for call in (store.gallery, store.delete_gallery):
        with pytest.raises(GalleryNotFoundError):
            call("watch")
    store.create_gallery("watch", GalleryKind.POPULATION)
    assert store.gallery("watch").encounters == 0


def test_a_gallery_keeps_its_terms(store: Store) -> None:
    before = datetime.now(UTC)
    created = store.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="UU 6/2011 ⚖", retention_days=30)
    assert store.gallery("watch") == created.gallery == store.galleries()[-1]
    assert (created.gallery.legal_basis, created.gallery.retention_days) == ("UU 6/2011 ⚖", 30)
    assert before <= created.gallery.created_at <= datetime.now(UTC)
    event = store.events(after=created.event - 1)[0]
    assert (event.kind, event.at) == (EventKind.GALLERY_CREATED, created.gallery.created_at)
    assert event.details == {
        "gallery": "watch",
        "kind": "WATCHLIST",
        "legal_basis": "UU 6/2011 ⚖",
        "retention_days": "30",
    }
    store.enroll(_new("A-1", galleries=("watch",)))
    assert store.gallery("watch").legal_basis == "UU 6/2011 ⚖"


def test_a_watchlist_without_a_legal_basis_is_refused(store: Store) -> None:
    for basis in ("", "  "):
        with pytest.raises(LegalBasisMissingError, match="legal_basis: expected the law"):
            store.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis=basis)
    assert (store.gallery_names(), store.last_event()) == (("default",), 1)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"legal_basis": "x" * 1025}, "legal_basis: expected at most 1024 printable characters, got 1025"),
        ({"legal_basis": "a\nb"}, "legal_basis: expected at most 1024 printable"),
        ({"retention_days": -1}, r"retention_days: expected 0\.\.36525, got -1"),
        ({"retention_days": 36_526}, r"retention_days: expected 0\.\.36525, got 36526"),
    ],
)
def test_terms_are_bounded(store: Store, terms: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        store.create_gallery("desk", GalleryKind.POPULATION, **terms)
    assert store.gallery_names() == ("default",)


def test_galleries_have_one_name_each_and_the_default_stays(store: Store) -> None:
    with pytest.raises(GalleryExistsError):
        store.create_gallery("default", GalleryKind.WATCHLIST, legal_basis="Act 1")
    with pytest.raises(InvalidInputError, match="stays"):
        store.delete_gallery("default")
    assert store.last_event() == 1


def test_subjects_are_paged_by_id(store: Store) -> None:
    store.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="Act 1")
    names = ["b", "a", "Z", "é", "日本", "a b", "10", "9"]
    for number, name in enumerate(names):
        store.enroll(_new(name, galleries=("watch",) if number % 2 else ("default", "watch")))
    seen: list[str] = []
    while page := store.subjects(after=seen[-1] if seen else "", limit=3):
        assert len(page) <= 3
        seen += [subject.subject_id for subject in page]
    assert seen == sorted(names)
    assert [s.subject_id for s in store.subjects(gallery="default")] == sorted(names[::2])
    first = sorted(names[::2])[0]
    assert [s.subject_id for s in store.subjects(gallery="default", after=first)] == sorted(names[::2])[1:]
    assert all(len(subject.encounters) == 1 for subject in store.subjects(gallery="default"))
    with pytest.raises(GalleryNotFoundError):
        store.subjects(gallery="nowhere")


def test_what_was_declined_is_an_event_and_its_repeat_gets_the_same_answer(store: Store) -> None:
    new = replace(_new("A", transaction_id="t"), note="why", details={"dedupe": "REFUSE"})
    assert store.enrolled(new) is None
    declined = store.decline(new)
    assert declined == Declined(store.last_event(), "why")
    event = store.events(after=declined.event - 1)[0]
    assert (event.kind, event.subject_id, event.encounter_id) == (EventKind.DUPLICATE_SUSPECTED, "A", "")
    assert event.details == {"dedupe": "REFUSE"}
    assert store.subjects() == []
    # Whichever of the two a repeat asks for, with whatever note.
    later = replace(new, note="another")
    assert [store.decline(later), store.admit(later), store.enrolled(later)] == [declined] * 3
    assert store.last_event() == declined.event
    with pytest.raises(TransactionConflictError):
        store.decline(_new("B", transaction_id="t"))
    with pytest.raises(TransactionConflictError):
        store.enrolled(_new("B", transaction_id="t"))


def test_the_note_of_an_enrolment_comes_back_with_its_repeat(store: Store) -> None:
    new = replace(_new("A", transaction_id="t"), note="found nobody")
    stored = store.enroll(new)
    assert stored.note == "found nobody"
    assert [store.enrolled(new), store.decline(new), store.admit(replace(new, note=""))] == [stored] * 3
    assert store.enrolled(_new("A")) is None  # without an id there are no repeats


def test_scan_and_events_are_paged(store: Store) -> None:
    changes = [store.enroll(_new(f"A-{seed}", seed)) for seed in range(7)]
    assert [s.number for s in store.scan(limit=3)] == [change.number for change in changes[:3]]
    assert [s.number for s in store.scan(after=changes[2].number)] == [c.number for c in changes[3:]]
    assert [event.sequence for event in store.events(after=2, limit=4)] == [3, 4, 5, 6]
    assert store.events(after=100) == []


@pytest.mark.parametrize("bad", ["", "x" * 129, "a\nb", "a\x00b", "\ud800"])
def test_ids_are_checked(store: Store, bad: str) -> None:
    for call in (store.subject, store.erase, store.encounter, store.stored, store.gallery, store.references):
        with pytest.raises(InvalidInputError, match="characters"):
            call(bad)
    with pytest.raises(InvalidInputError, match="gallery"):
        store.create_gallery(bad, GalleryKind.POPULATION)
    with pytest.raises(InvalidInputError):
        store.set_status(bad, EncounterStatus.ACTIVE)
    with pytest.raises(InvalidInputError):
        store.set_galleries("x", [bad])


@pytest.mark.parametrize("limit", [0, 1001])
def test_pages_are_bounded(store: Store, limit: int) -> None:
    for call in (store.subjects, store.scan, store.events):
        with pytest.raises(InvalidInputError, match=r"limit: expected 1\.\.1000"):
            call(limit=limit)
    with pytest.raises(InvalidInputError, match="after"):
        store.events(after=-1)


def test_ids_of_the_longest_kind_are_kept(store: Store) -> None:
    name = "日" * 128
    store.create_gallery(name, GalleryKind.POPULATION)
    store.enroll(_new(name, galleries=(name,), transaction_id=name, request_digest=name))
    assert store.subject(name).encounters[0].galleries == (name,)


def test_a_closed_store_refuses(store: Store) -> None:
    store.enroll(_new("A-1"))
    store.close()
    store.close()
    calls: list[Callable[[], object]] = [
        lambda: store.enroll(_new("A-1")),
        lambda: store.erase("A-1"),
        lambda: store.subject("A-1"),
        store.subjects,
        store.scan,
        store.events,
        store.last_event,
        store.galleries,
    ]
    for call in calls:
        with pytest.raises(EngineClosedError):
            call()


class _Mask:
    """A protection that binds its place, as an authenticating one does."""

    def seal(self, data: bytes, context: bytes) -> bytes:
        return len(context).to_bytes(1, "big") + context + bytes(byte ^ 0x5A for byte in data)

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        if sealed[1 : 1 + sealed[0]] != context:
            raise StoreDamagedError("template: sealed for another place")
        return bytes(byte ^ 0x5A for byte in sealed[1 + sealed[0] :])


@pytest.mark.parametrize("name", STORES.names())
def test_templates_pass_through_the_protection(name: str, tmp_path: Path) -> None:
    path = tmp_path / "office.db"
    store = STORES.load(name).open(path, protection=_Mask())
    encounter_id = store.enroll(_new("A-1", 1, 2)).encounter.encounter_id
    assert store.stored(encounter_id).templates == (_template(1), _template(2))
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    store.close()
    assert _template(1).payload not in raw


def test_concurrent_writers_and_readers_see_whole_writes(store: Store) -> None:
    done = threading.Event()
    seen = 0

    def write(worker: int) -> None:
        for number in range(15):
            store.enroll(_new(f"A-{worker}-{number}", worker, number))
            if number % 3 == 2:
                store.erase(f"A-{worker}-{number - 1}")

    def read() -> None:
        nonlocal seen
        while not done.is_set():
            last = store.last_event()
            events = store.events(after=0, limit=1000)
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert len(events) >= last
            for stored in store.scan():
                assert len(stored.templates) == 2
                assert stored.encounter.galleries == ("default",)
            seen += 1

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        writers = [pool.submit(write, worker) for worker in range(3)]
        for future in writers:
            future.result()
        done.set()
        for future in readers:
            future.result()
    assert seen
    assert store.last_event() == 1 + 3 * (15 + 5)
    assert len(store.scan()) == 3 * 10


SUBJECTS = st.sampled_from(["A", "B", "C"])
GALLERIES = st.sampled_from(["default", "watch", "desk"])
TRANSACTIONS = st.sampled_from(["", "", "t1", "t2", "t3"])
DETAILS = st.sampled_from([{}, {"operator_ref": "op 7"}])
PICK = st.integers(0, 30)


class _Histories(RuleBasedStateMachine):
    """One history against two stores; ids and times, which each store makes itself, are compared by their order."""

    tested = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "office.db"
        self.stores = (STORES.load(self.tested).open(self.path), STORES.load("memory").open(self.path))
        self.names: list[dict[str, str]] = [{}, {}]  # encounter id → e0, e1, …
        self.enrolled: list[tuple[str, str]] = []  # the encounter ids of both, in order

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    def _plain(self, which: int, value: Any) -> Any:
        if isinstance(value, datetime):
            return "time"
        if isinstance(value, str):
            return self.names[which].get(value, value)
        if dataclasses.is_dataclass(value):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name != "digest"}
            return {name: self._plain(which, field) for name, field in fields.items()}
        if isinstance(value, dict):
            return {key: self._plain(which, entry) for key, entry in value.items() if key != "digest"}
        if isinstance(value, list | tuple):
            return [self._plain(which, entry) for entry in value]
        return value

    def _both(self, call: Callable[[Store, int], Any]) -> list[Any]:
        answers: list[Any] = []
        for which, store in enumerate(self.stores):
            try:
                answers.append(call(store, which))
            except BiometrikError as error:
                answers.append((type(error), str(error)))
        return answers

    def _same(self, call: Callable[[Store, int], Any]) -> None:
        tested, model = (self._plain(which, answer) for which, answer in enumerate(self._both(call)))
        assert tested == model

    def _encounter(self, pick: int, which: int) -> str:
        return self.enrolled[pick % len(self.enrolled)][which] if self.enrolled else "nobody"

    @rule(
        subject=SUBJECTS,
        seeds=st.lists(st.integers(0, 9), min_size=1, max_size=3),
        galleries=st.lists(GALLERIES, max_size=3),
        transaction=TRANSACTIONS,
        digest=st.sampled_from(["x", "y"]),
    )
    def enroll(self, subject: str, seeds: list[int], galleries: list[str], transaction: str, digest: str) -> None:
        new = _new(subject, *seeds, galleries=tuple(galleries), transaction_id=transaction, request_digest=digest)
        answers = self._both(lambda store, _: store.enroll(new))
        if not any(isinstance(answer, tuple) for answer in answers):
            ids = (answers[0].encounter.encounter_id, answers[1].encounter.encounter_id)
            if ids not in self.enrolled:
                for which, encounter_id in enumerate(ids):
                    self.names[which][encounter_id] = f"e{len(self.enrolled)}"
                self.enrolled.append(ids)
        assert self._plain(0, answers[0]) == self._plain(1, answers[1])

    @rule(subject=SUBJECTS, transaction=TRANSACTIONS)
    def erase(self, subject: str, transaction: str) -> None:
        self._same(lambda store, _: store.erase(subject, transaction_id=transaction))

    @rule(pick=PICK, status=st.sampled_from(EncounterStatus), transaction=TRANSACTIONS, details=DETAILS)
    def set_status(self, pick: int, status: EncounterStatus, transaction: str, details: dict[str, str]) -> None:
        more: dict[str, Any] = {"transaction_id": transaction, "details": details}
        self._same(lambda store, which: store.set_status(self._encounter(pick, which), status, **more))

    @rule(pick=PICK, galleries=st.lists(GALLERIES, max_size=3), transaction=TRANSACTIONS)
    def set_galleries(self, pick: int, galleries: list[str], transaction: str) -> None:
        def call(store: Store, which: int) -> object:
            return store.set_galleries(self._encounter(pick, which), galleries, transaction_id=transaction)

        self._same(call)

    @rule(
        name=GALLERIES,
        kind=st.sampled_from(GalleryKind),
        legal_basis=st.sampled_from(["", "Act 1"]),
        days=st.integers(0, 2),
        transaction=TRANSACTIONS,
    )
    def create_gallery(self, name: str, kind: GalleryKind, legal_basis: str, days: int, transaction: str) -> None:
        more: dict[str, Any] = {"legal_basis": legal_basis, "retention_days": days, "transaction_id": transaction}
        self._same(lambda store, _: store.create_gallery(name, kind, **more))

    @rule(name=GALLERIES, transaction=TRANSACTIONS)
    def delete_gallery(self, name: str, transaction: str) -> None:
        self._same(lambda store, _: store.delete_gallery(name, transaction_id=transaction))

    @rule(gallery=st.none() | GALLERIES, after=st.sampled_from(["", "A", "B"]), limit=st.integers(1, 4))
    def list_subjects(self, gallery: str | None, after: str, limit: int) -> None:
        self._same(lambda store, _: store.subjects(gallery=gallery, after=after, limit=limit))

    @rule(subject=SUBJECTS, galleries=st.none() | st.lists(GALLERIES, max_size=2))
    def references(self, subject: str, galleries: list[str] | None) -> None:
        self._same(lambda store, _: store.references(subject, galleries))

    @rule()
    def reopen(self) -> None:
        tested, model = self.stores
        tested.close()
        self.stores = (STORES.load(self.tested).open(self.path), model)

    @invariant()
    def everything_is_the_same(self) -> None:
        self._same(lambda store, _: store.galleries())
        self._same(lambda store, _: store.subjects(limit=1000))
        self._same(lambda store, _: store.scan())
        self._same(lambda store, _: (store.last_event(), store.events(limit=1000)))


@pytest.mark.parametrize("name", [name for name in STORES.names() if name != "memory"])
def test_random_histories_equal_the_model_in_memory(name: str) -> None:
    machine = type("Histories", (_Histories,), {"tested": name})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
