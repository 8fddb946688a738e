"""Enrolments that look for duplicates: what they find, what they leave, and two at the same time."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik.config import EngineConfig, RuntimeParameters
from biometrik.duplicates import DedupeAction, DedupePolicy, as_json, from_json
from biometrik.engine import Engine
from biometrik.errors import (
    GalleryNotFoundError,
    InvalidInputError,
    ThresholdUnsupportedError,
    TransactionConflictError,
)
from biometrik.gallery.gallery import Gallery
from biometrik.gallery.records import Change, Declined, EventKind, NewEncounter
from biometrik.gallery.searching import SearchResult
from biometrik.samples import UnreadableSample
from biometrik.types import (
    Candidate,
    Component,
    EncounterStatus,
    EnrollmentOutcome,
    Identification,
    Interval,
    Modality,
    Outcome,
    RequestContext,
    SearchCoverage,
    Template,
    Trait,
)

CONFIG = EngineConfig(runtime=RuntimeParameters(threads=1, warm_up=False))
REFUSE = DedupePolicy()
WARN = DedupePolicy(DedupeAction.WARN)
WAIT_S = 20.0


@pytest.fixture(scope="module")
def _engine() -> Iterator[Engine]:
    with Engine.open(":memory:", CONFIG) as engine:
        yield engine


@pytest.fixture
def engine(_engine: Engine) -> Iterator[Engine]:
    yield _engine
    for subject in _engine.subjects(limit=1000):
        _engine.erase(subject.subject_id)


class People:
    """Embeddings of people who do not exist: two visits of one are alike, two people are not."""

    def __init__(self, engine: Engine) -> None:
        self._contract = engine.model_contract_id

    def visit(self, person: int, visit: int = 0) -> list[Template]:
        """Return one person's template at one visit."""
        vector = _unit(person) + 0.3 * _unit(1000 + 10 * person + visit)
        vector /= np.linalg.norm(vector)
        return [Template(Modality.FACE, self._contract, vector.astype("<f4").tobytes())]


def _unit(seed: int) -> NDArray[np.float64]:
    vector = np.random.default_rng(seed).normal(size=128)
    return vector / np.linalg.norm(vector)


@pytest.fixture(scope="module")
def people(_engine: Engine) -> People:
    return People(_engine)


def test_a_duplicate_is_refused_named_and_not_stored(engine: Engine, people: People) -> None:
    first = engine.enroll("A", people.visit(1), dedupe=REFUSE)
    assert first.outcome is EnrollmentOutcome.ENROLLED
    assert first.search is not None
    assert (first.search.outcome, first.search.candidates) == (Outcome.NO_MATCH, ())
    engine.enroll("B", people.visit(2), dedupe=REFUSE)

    again = engine.enroll("C", people.visit(1, 1), dedupe=REFUSE)
    assert (again.outcome, again.encounter_id, again.templates) == (EnrollmentOutcome.DUPLICATE_SUSPECTED, "", 0)
    assert again.search is not None
    assert [c.subject_id for c in again.search.candidates] == ["A"]  # those below the threshold are nobody's business
    assert again.search.candidates[0].is_match
    assert again.search.candidates[0].encounter_id == first.encounter_id
    assert again.search.coverage.subjects == 2
    assert again.search.calibration_id == engine.calibration.id
    assert [s.subject_id for s in engine.subjects()] == ["A", "B"]

    event = engine.events(limit=1000)[-1]
    assert (event.kind, event.subject_id, event.encounter_id) == (EventKind.DUPLICATE_SUSPECTED, "C", "")
    assert event.details["dedupe_suspects"] == '["A"]'
    assert engine.identify(people.visit(1)).coverage.gallery_version == event.sequence


def test_a_warning_stores_and_names(engine: Engine, people: People) -> None:
    engine.enroll("A", people.visit(1))
    warned = engine.enroll("B", people.visit(1, 1), dedupe=WARN)
    assert warned.outcome is EnrollmentOutcome.ENROLLED
    assert warned.search is not None
    assert [c.subject_id for c in warned.search.candidates] == ["A"]
    event = engine.events(limit=1000)[-1]
    assert (event.kind, event.encounter_id) == (EventKind.ENROLLED, warned.encounter_id)
    assert (event.details["dedupe"], event.details["dedupe_outcome"]) == ("WARN", "MATCH")


def test_without_a_policy_nobody_is_looked_for(engine: Engine, people: People) -> None:
    engine.enroll("A", people.visit(1))
    plain = engine.enroll("B", people.visit(1, 1))
    assert (plain.outcome, plain.search) == (EnrollmentOutcome.ENROLLED, None)


def test_the_subjects_own_encounters_are_no_duplicates(engine: Engine, people: People) -> None:
    engine.enroll("A", people.visit(1))
    assert engine.enroll("A", people.visit(1, 1), dedupe=REFUSE).outcome is EnrollmentOutcome.ENROLLED


def test_an_override_covers_whom_the_operator_has_seen_and_nobody_else(engine: Engine, people: People) -> None:
    engine.enroll("A", people.visit(1))
    seen = DedupePolicy(excluded_subject_ids=("A",), override="twins, both cards seen")
    engine.enroll("Z", people.visit(1, 2))  # turns up meanwhile
    refused = engine.enroll("B", people.visit(1, 1), dedupe=seen)
    assert refused.outcome is EnrollmentOutcome.DUPLICATE_SUSPECTED
    assert refused.search is not None
    assert [c.subject_id for c in refused.search.candidates] == ["Z"]
    both = DedupePolicy(excluded_subject_ids=("A", "Z"), override="twins, both cards seen")
    stored = engine.enroll("B", people.visit(1, 1), dedupe=both)
    assert stored.outcome is EnrollmentOutcome.ENROLLED
    details = engine.events(limit=1000)[-1].details
    assert (details["dedupe_override"], details["dedupe_excluded"]) == ("twins, both cards seen", '["A", "Z"]')


def test_only_the_galleries_of_the_policy_are_searched(engine: Engine, people: People) -> None:
    engine.create_gallery("east")
    try:
        engine.enroll("A", people.visit(1), galleries=["default"])
        elsewhere = DedupePolicy(galleries=("east",))
        assert engine.enroll("B", people.visit(1, 1), dedupe=elsewhere).outcome is EnrollmentOutcome.ENROLLED
        with pytest.raises(GalleryNotFoundError):
            engine.enroll("C", people.visit(1), dedupe=DedupePolicy(galleries=("west",)))
    finally:
        engine.delete_gallery("east")


def test_who_is_inactive_is_not_found(engine: Engine, people: People) -> None:
    first = engine.enroll("A", people.visit(1))
    engine.set_encounter_status(first.encounter_id, EncounterStatus.INACTIVE)
    assert engine.enroll("B", people.visit(1, 1), dedupe=REFUSE).outcome is EnrollmentOutcome.ENROLLED


def test_a_rate_beyond_the_evidence_is_an_error_and_stores_nothing(engine: Engine, people: People) -> None:
    engine.enroll("A", people.visit(1))
    with pytest.raises(ThresholdUnsupportedError):
        engine.enroll("B", people.visit(2), dedupe=DedupePolicy(max_fpir=1e-9))
    assert [s.subject_id for s in engine.subjects()] == ["A"]
    assert engine._admission._under_way == []


def test_what_cannot_be_stored_is_not_searched_for(engine: Engine) -> None:
    answer = engine.enroll("A", [UnreadableSample("x", b"x")], dedupe=REFUSE)
    assert (answer.outcome, answer.search) == (EnrollmentOutcome.FAILURE_TO_ENROLL, None)


# --- repeats ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [REFUSE, WARN])
def test_a_repeat_gets_its_first_answer_whatever_has_happened_since(
    tmp_path: Path, people: People, policy: DedupePolicy
) -> None:
    context = RequestContext(transaction_id="T")
    with Engine.open(tmp_path / "people.db", CONFIG) as engine:
        engine.enroll("A", people.visit(1))
        first = engine.enroll("B", people.visit(1, 1), dedupe=policy, context=context)
        engine.erase("A")
        events = len(engine.events(limit=1000))
        assert engine.enroll("B", people.visit(1, 1), dedupe=policy, context=context) == first
        assert len(engine.events(limit=1000)) == events
        with pytest.raises(TransactionConflictError):
            engine.enroll("B", people.visit(1, 1), context=context)
    with Engine.open(tmp_path / "people.db", CONFIG) as engine:  # also after a restart
        assert engine.enroll("B", people.visit(1, 1), dedupe=policy, context=context) == first
        if policy is REFUSE:
            fresh = engine.enroll("B", people.visit(1, 1), dedupe=policy, context=RequestContext(transaction_id="U"))
            assert fresh.outcome is EnrollmentOutcome.ENROLLED


def test_a_repeat_of_an_enrolment_is_not_its_own_duplicate_nor_held_up_by_later_ones(
    engine: Engine, people: People
) -> None:
    context = RequestContext(transaction_id="once")
    first = engine.enroll("A", people.visit(1), dedupe=REFUSE, context=context)
    engine.enroll("B", people.visit(1, 1))
    assert engine.enroll("A", people.visit(1), dedupe=REFUSE, context=context) == first


# --- two at the same time --------------------------------------------------------------------------------------


class Gate:
    """Holds the first commit up; notes every search."""

    def __init__(self, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_commit = threading.Event()
        self.open = threading.Event()
        self.searches: list[str] = []
        admit, search = gallery.admit, gallery.search

        def gated(new: NewEncounter) -> Change | Declined:
            if not self.at_commit.is_set():
                self.at_commit.set()
                assert self.open.wait(WAIT_S)
            return admit(new)

        def noted(*args: object, excluding: str, **options: object) -> SearchResult:
            self.searches.append(excluding)
            return search(*args, excluding=excluding, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(gallery, "admit", gated)
        monkeypatch.setattr(gallery, "search", noted)


def _until(condition: Callable[[], bool], wait_s: float = WAIT_S) -> bool:
    over = threading.Event()
    for _ in range(int(wait_s / 0.005)):
        if condition():
            return True
        over.wait(0.005)
    return False


def test_the_same_person_enrolled_twice_at_once_does_not_slip_through(
    engine: Engine, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(engine._gallery, monkeypatch)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(engine.enroll, "A", people.visit(1), dedupe=REFUSE)
        assert gate.at_commit.wait(WAIT_S)  # searched, and not stored yet
        second = pool.submit(engine.enroll, "B", people.visit(1, 1), dedupe=REFUSE)
        assert _until(lambda: len(engine._admission._under_way) == 2)
        stranger = pool.submit(engine.enroll, "C", people.visit(2), dedupe=REFUSE)
        assert stranger.result(WAIT_S).outcome is EnrollmentOutcome.ENROLLED  # waits for nobody
        assert not _until(lambda: "B" in gate.searches, 0.1)
        gate.open.set()
        assert first.result(WAIT_S).outcome is EnrollmentOutcome.ENROLLED
        suspected = second.result(WAIT_S)
    assert suspected.outcome is EnrollmentOutcome.DUPLICATE_SUSPECTED
    assert suspected.search is not None
    assert [c.subject_id for c in suspected.search.candidates] == ["A"]
    assert engine._admission._under_way == []


def test_also_beyond_the_evidence_nobody_slips_through(
    engine: Engine, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = DedupePolicy(max_fpir=1e-9)  # no matter among nobody; among one person more than can be decided
    gate = Gate(engine._gallery, monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(engine.enroll, "A", people.visit(1), dedupe=strict)
        assert gate.at_commit.wait(WAIT_S)
        second = pool.submit(engine.enroll, "B", people.visit(1, 1), dedupe=strict)
        assert _until(lambda: len(engine._admission._under_way) == 2)
        assert not _until(lambda: "B" in gate.searches, 0.1)
        gate.open.set()
        assert first.result(WAIT_S).outcome is EnrollmentOutcome.ENROLLED
        with pytest.raises(ThresholdUnsupportedError):
            second.result(WAIT_S)


def test_whoever_waited_for_one_that_failed_is_enrolled(
    engine: Engine, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(engine._gallery, monkeypatch)
    gated = engine._gallery.admit

    def failing(new: NewEncounter) -> Change | Declined:
        if new.subject_id == "A":
            gate.at_commit.set()
            assert gate.open.wait(WAIT_S)
            raise OSError("the disk is gone")
        return gated(new)

    monkeypatch.setattr(engine._gallery, "admit", failing)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(engine.enroll, "A", people.visit(1), dedupe=REFUSE)
        assert gate.at_commit.wait(WAIT_S)
        second = pool.submit(engine.enroll, "B", people.visit(1, 1), dedupe=REFUSE)
        assert _until(lambda: len(engine._admission._under_way) == 2)
        gate.open.set()
        with pytest.raises(OSError, match="the disk is gone"):
            first.result(WAIT_S)
        assert second.result(WAIT_S).outcome is EnrollmentOutcome.ENROLLED


def test_of_many_at_once_one_a_person_is_enrolled(engine: Engine, people: People) -> None:
    everybody = [(person, visit) for visit in range(4) for person in range(4)]
    together = threading.Barrier(len(everybody))

    def enroll(who: tuple[int, int]) -> EnrollmentOutcome:
        person, visit = who
        samples = people.visit(person, visit)
        together.wait(WAIT_S)
        return engine.enroll(f"{person}.{visit}", samples, dedupe=REFUSE).outcome

    with ThreadPoolExecutor(len(everybody)) as pool:
        outcomes = list(pool.map(enroll, everybody))
    enrolled = [person for (person, _), o in zip(everybody, outcomes, strict=True) if o is EnrollmentOutcome.ENROLLED]
    assert sorted(enrolled) == [0, 1, 2, 3]
    assert outcomes.count(EnrollmentOutcome.DUPLICATE_SUSPECTED) == 12


# --- the policy, and its answer as text ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: DedupePolicy(max_fpir=0.0),
        lambda: DedupePolicy(max_fpir=1.0),
        lambda: DedupePolicy(max_fpir=float("nan")),
        lambda: DedupePolicy(max_candidates=0),
        lambda: DedupePolicy(max_candidates=101),
        lambda: DedupePolicy(galleries="default"),  # type: ignore[arg-type]
        lambda: DedupePolicy(excluded_subject_ids=("A",)),
        lambda: DedupePolicy(excluded_subject_ids=("A",), override=" "),
        lambda: DedupePolicy(override="a reason alone"),
        lambda: DedupePolicy(excluded_subject_ids=("",), override="x"),
        lambda: DedupePolicy(excluded_subject_ids=tuple("ABCDEFGHIJK"), override="x"),
        lambda: DedupePolicy(excluded_subject_ids=("A",), override="x" * 2001),
    ],
)
def test_a_policy_is_checked(make: Callable[[], DedupePolicy]) -> None:
    with pytest.raises(InvalidInputError):
        make()


_RATES = st.floats(0, 1)
_INTERVALS = st.builds(Interval, _RATES, _RATES, _RATES, _RATES)
_COMPONENTS = st.builds(
    Component,
    st.sampled_from([Trait(Modality.FACE), Trait(Modality.FINGER, 7)]),
    st.floats(0, 100),
    st.floats(-1, 1),
    st.integers(1, 9),
    st.text(max_size=5),
    st.text(max_size=5),
    st.booleans(),
)
_CANDIDATES = st.builds(
    Candidate,
    st.integers(1, 100),
    st.text(max_size=5),
    st.text(max_size=5),
    st.lists(st.text(max_size=5), max_size=2).map(tuple),
    st.floats(0, 100),
    st.none() | st.floats(-1, 1),
    st.booleans(),
    st.lists(_COMPONENTS, max_size=2).map(tuple),
)


@given(
    st.builds(
        Identification,
        st.sampled_from(Outcome),
        st.just(()),
        st.lists(_CANDIDATES, max_size=3).map(tuple),
        st.none() | st.floats(0, 100),
        st.none() | _RATES,
        st.none() | _INTERVALS,
        st.builds(
            SearchCoverage,
            st.integers(0),
            st.lists(st.text(max_size=5), max_size=2).map(tuple),
            st.integers(0),
            st.integers(0),
            st.booleans(),
            _RATES,
        ),
        st.text(max_size=5),
        st.text(max_size=5),
        st.just(()),
    )
)
def test_a_search_survives_as_text(found: Identification) -> None:
    assert from_json(as_json(found)) == found


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=128), max_size=100))
def test_what_the_log_keeps_of_suspects_fits_its_bound(ids: list[str]) -> None:
    candidates = tuple(Candidate(i, who, "e", (), 50.0, None, True) for i, who in enumerate(ids, start=1))
    coverage = SearchCoverage(1, (), len(ids), len(ids), True, 1.0)
    found = Identification(Outcome.MATCH, (), candidates, 40.0, 0.01, None, coverage, "c", "m", ())
    assert all(len(value) <= 2048 for value in REFUSE.said(found).values())
