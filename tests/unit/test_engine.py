"""The engine on real photographs that a dependency ships: outcomes, reasons, errors, lifetime."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from biometrik.config import EngineConfig, FaceParameters, FacePolicy, GalleryParameters, RuntimeParameters
from biometrik.engine import Engine, require_consent
from biometrik.errors import (
    CalibrationNotFoundError,
    ConsentMissingError,
    EngineClosedError,
    EngineStateError,
    GalleryNotFoundError,
    IncompatibleTemplateError,
    InvalidInputError,
    LegalBasisMissingError,
    StoreUnavailableError,
    SubjectNotFoundError,
    ThresholdUnsupportedError,
    TransactionConflictError,
)
from biometrik.face.embedding import to_template
from biometrik.face.pipeline import ProcessedFace, RejectedFace
from biometrik.gallery.records import DEFAULT_GALLERY
from biometrik.reasons import Reason
from biometrik.types import (
    EncounterStatus,
    EnrollmentOutcome,
    FaceImage,
    GalleryKind,
    Outcome,
    Purpose,
    RequestContext,
)

CONFIG = EngineConfig(runtime=RuntimeParameters(threads=1, warm_up=False))


def _photograph(package: str, *parts: str) -> FaceImage:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return FaceImage.from_file(Path(spec.submodule_search_locations[0]).joinpath(*parts))


@pytest.fixture(scope="module")
def people() -> list[FaceImage]:
    """Return six people, cut out of the group photograph that insightface ships, left to right."""
    group = _photograph("insightface", "data", "images", "t1.jpg")
    with Engine.open(":memory:", CONFIG) as engine:
        faces = engine._recognition.face.detector.detect([group.pixels])[0]
    cuts = []
    for face in sorted(faces, key=lambda face: face.box.x):
        x, y = face.box.centre
        half = face.box.height * 1.1
        top, left = max(0, int(y - half)), max(0, int(x - half))
        cuts.append(FaceImage(group.pixels[top : int(y + half), left : int(x + half)].copy()))
    assert len(cuts) == 6
    return cuts


@pytest.fixture(scope="module")
def cat() -> FaceImage:
    return _photograph("skimage", "data", "chelsea.png")


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.open(":memory:", CONFIG) as engine:
        yield engine


def _again(image: FaceImage) -> FaceImage:
    """Photograph the photograph: smaller, turned by 4°, a little darker, compressed."""
    height, width = image.pixels.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 4.0, 0.85)
    turned = cv2.warpAffine(image.pixels, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    ok, data = cv2.imencode(".jpg", (turned * 0.9).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert ok
    return FaceImage(np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)))


def _dark(image: FaceImage) -> FaceImage:
    return FaceImage((image.pixels * 0.04).astype(np.uint8))


def test_a_genuine_claim_matches_and_an_impostor_does_not(engine: Engine, people: list[FaceImage]) -> None:
    enrolled = engine.enroll("A-1", [people[0]])
    assert (enrolled.outcome, enrolled.templates) == (EnrollmentOutcome.ENROLLED, 1)

    genuine = engine.verify("A-1", [_again(people[0])], max_fmr=1e-3)
    assert genuine.outcome is Outcome.MATCH
    assert genuine.score is not None
    assert genuine.score >= genuine.threshold == pytest.approx(30.0)
    assert genuine.encounter_id == enrolled.encounter_id
    assert genuine.achieved_fmr.low <= 1e-3 <= genuine.achieved_fmr.high
    assert genuine.model_contract_id == engine.model_contract_id
    assert genuine.calibration_id == engine.calibration.id

    for stranger in people[1:]:
        refused = engine.verify("A-1", [_again(stranger)])
        grade = refused.samples[0].quality
        assert grade is not None
        # The second of the six comes out too poor for anyone to be refused on it.
        assert grade.acceptable is (stranger is not people[1])
        assert refused.outcome is (Outcome.NO_MATCH if grade.acceptable else Outcome.INCONCLUSIVE)
        assert refused.score is not None
        assert refused.score < 30.0


def test_nothing_usable_is_inconclusive_with_the_reason(
    engine: Engine, people: list[FaceImage], cat: FaceImage
) -> None:
    engine.enroll("A-1", [people[0]])
    without = engine.verify("A-1", [cat])
    assert (without.outcome, without.score, without.raw_score) == (Outcome.INCONCLUSIVE, None, None)
    assert without.reasons == (Reason.NO_USABLE_PROBE, Reason.NO_FACE)
    assert not without.samples[0].usable

    unsure = engine.verify("A-1", [_dark(people[1])])
    assert unsure.outcome is Outcome.INCONCLUSIVE
    assert unsure.reasons[0] in (Reason.QUALITY_TOO_LOW, Reason.NO_USABLE_PROBE)


def test_one_bad_sample_does_not_lose_the_others(engine: Engine, people: list[FaceImage], cat: FaceImage) -> None:
    enrolled = engine.enroll("A-1", [cat, people[0]])
    assert enrolled.outcome is EnrollmentOutcome.ENROLLED
    assert [sample.usable for sample in enrolled.samples] == [False, True]
    assert engine.verify("A-1", [cat, _again(people[0])]).outcome is Outcome.MATCH


def test_a_poor_sample_is_not_enrolled_unless_overridden(engine: Engine, people: list[FaceImage]) -> None:
    dark = FaceImage((people[0].pixels * 0.12).astype(np.uint8))
    first = engine.enroll("A-1", [dark])
    assert first.outcome is EnrollmentOutcome.NEEDS_RECAPTURE
    assert Reason.TOO_DARK in first.samples[0].reasons
    with pytest.raises(SubjectNotFoundError):
        engine.subject("A-1")
    forced = engine.enroll("A-1", [dark], override="power cut in the hall", context=RequestContext(operator_ref="op 7"))
    assert forced.outcome is EnrollmentOutcome.ENROLLED
    assert engine.events()[-1].details["override"] == "power cut in the hall"
    assert engine.events()[-1].details["operator_ref"] == "op 7"


def test_a_face_of_which_little_can_be_made_out_is_not_enrolled_and_nobody_is_refused_on_it(
    engine: Engine, people: list[FaceImage], rng: np.random.Generator
) -> None:
    grain = 30 * rng.standard_normal(people[0].pixels.shape)
    grainy = FaceImage(np.clip(people[0].pixels + grain, 0, 255).astype(np.uint8))
    first = engine.enroll("A-1", [grainy])
    assert first.outcome is EnrollmentOutcome.NEEDS_RECAPTURE
    assert first.samples[0].reasons == (Reason.FACE_UNCLEAR,)
    engine.enroll("A-1", [people[0]])
    engine.enroll("A-2", [people[2]])
    assert engine.verify("A-1", [grainy], max_fmr=1e-3).outcome is not Outcome.NO_MATCH
    assert engine.verify("A-2", [grainy], max_fmr=1e-3).outcome is Outcome.INCONCLUSIVE


def test_no_face_is_a_failure_to_enroll(engine: Engine, cat: FaceImage) -> None:
    enrolled = engine.enroll("A-1", [cat])
    assert (enrolled.outcome, enrolled.encounter_id) == (EnrollmentOutcome.FAILURE_TO_ENROLL, "")
    assert enrolled.samples[0].reasons == (Reason.NO_FACE,)
    assert engine.subjects() == []


def test_a_search_finds_the_enrolled_and_knows_strangers(engine: Engine, people: list[FaceImage]) -> None:
    for number, person in enumerate(people[:5]):
        assert engine.enroll(f"A-{number}", [person]).outcome is EnrollmentOutcome.ENROLLED
    found = engine.identify([_again(people[3])], max_fpir=0.01)
    assert found.outcome is Outcome.MATCH
    assert (found.candidates[0].subject_id, found.candidates[0].is_match) == ("A-3", True)
    assert found.threshold is not None
    assert all(not candidate.is_match for candidate in found.candidates[1:])
    assert [candidate.rank for candidate in found.candidates] == [1, 2, 3, 4, 5]
    assert (found.coverage.subjects, found.coverage.compared, found.coverage.exact) == (5, 5, True)

    unknown = engine.identify([_again(people[5])], max_fpir=0.01)
    assert unknown.outcome is Outcome.NO_MATCH
    assert len(unknown.candidates) == 5


def test_a_search_gives_a_subject_the_score_of_its_verification(engine: Engine, people: list[FaceImage]) -> None:
    engine.enroll("A-0", [people[0], _again(people[0])])
    engine.enroll("A-0", [_again(people[0])])
    engine.enroll("A-1", [people[1]])
    probe = [_again(_again(people[0])), people[0]]
    verified = engine.verify("A-0", probe)
    best = engine.identify(probe, max_fpir=None).candidates[0]
    assert best.subject_id == "A-0"
    assert best.encounter_id == verified.encounter_id
    assert verified.comparisons == 2
    assert best.score == pytest.approx(verified.score, abs=1e-3)
    assert best.raw_score == pytest.approx(verified.raw_score, abs=1e-5)


def test_a_search_without_a_threshold_decides_nothing(engine: Engine, people: list[FaceImage]) -> None:
    engine.enroll("A-0", [people[0]])
    found = engine.identify([people[0]], max_fpir=None)
    assert (found.outcome, found.reasons, found.threshold) == (Outcome.INCONCLUSIVE, (Reason.NO_THRESHOLD,), None)
    assert not found.candidates[0].is_match


def test_a_search_is_restricted_to_galleries_and_leaves_the_excluded_out(
    engine: Engine, people: list[FaceImage]
) -> None:
    engine.create_gallery("watch")
    engine.enroll("A-0", [people[0]])
    engine.enroll("A-1", [people[1]], galleries=["watch"])
    assert [c.subject_id for c in engine.identify([people[0]], galleries=["watch"]).candidates] == ["A-1"]
    assert [c.subject_id for c in engine.identify([people[0]], excluding="A-0").candidates] == ["A-1"]
    with pytest.raises(GalleryNotFoundError):
        engine.identify([people[0]], galleries=["nowhere"])
    with pytest.raises(GalleryNotFoundError):
        engine.enroll("A-2", [people[2]], galleries=["nowhere"])


def test_a_search_of_nobody_says_so(engine: Engine, people: list[FaceImage]) -> None:
    found = engine.identify([people[0]])
    assert (found.outcome, found.reasons, found.candidates) == (Outcome.NO_MATCH, (Reason.EMPTY_GALLERY,), ())


def test_an_inactive_encounter_is_no_reference(engine: Engine, people: list[FaceImage]) -> None:
    enrolled = engine.enroll("A-0", [people[0]])
    engine.set_encounter_status(enrolled.encounter_id, EncounterStatus.INACTIVE)
    decided = engine.verify("A-0", [people[0]])
    assert (decided.outcome, decided.reasons) == (Outcome.INCONCLUSIVE, (Reason.NO_REFERENCE,))
    assert engine.identify([people[0]]).candidates == ()
    engine.set_encounter_status(enrolled.encounter_id, EncounterStatus.ACTIVE)
    assert engine.verify("A-0", [people[0]]).outcome is Outcome.MATCH


def test_erasure_leaves_nothing_to_find(engine: Engine, people: list[FaceImage]) -> None:
    engine.enroll("A-0", [people[0]])
    engine.enroll("A-1", [people[1]])
    certificate = engine.erase("A-0")
    assert (certificate.subject_id, certificate.encounters, certificate.templates) == ("A-0", 1, 1)
    with pytest.raises(SubjectNotFoundError):
        engine.verify("A-0", [people[0]])
    with pytest.raises(SubjectNotFoundError):
        engine.erase("A-0")
    assert engine.identify([people[0]]).outcome is Outcome.NO_MATCH
    assert [subject.subject_id for subject in engine.subjects()] == ["A-1"]


def test_a_repeated_transaction_returns_the_first_answer(engine: Engine, people: list[FaceImage]) -> None:
    context = RequestContext(transaction_id="t-1")
    first = engine.enroll("A-0", [people[0]], context=context)
    again = engine.enroll("A-0", [people[0]], context=context)
    assert again.encounter_id == first.encounter_id
    assert len(engine.subject("A-0").encounters) == 1
    with pytest.raises(TransactionConflictError):
        engine.enroll("A-0", [people[1]], context=context)


def test_every_write_of_the_register_is_repeatable_and_says_who_asked_and_why(
    engine: Engine, people: list[FaceImage]
) -> None:
    encounter_id = engine.enroll("A-0", [people[0]]).encounter_id
    references = {"operator_ref": "op 7", "station_ref": "gate 4", "consent_ref": "c 9"}

    def context(name: str) -> RequestContext:
        return RequestContext(name, **references, purpose=Purpose.AUDIT)

    writes: list[Callable[[], object]] = [
        lambda: engine.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="Act 1", context=context("create")),
        lambda: engine.set_encounter_galleries(encounter_id, ["watch"], context=context("move")),
        lambda: engine.set_encounter_status(encounter_id, EncounterStatus.INACTIVE, context=context("rest")),
        lambda: engine.delete_gallery("watch", context=context("delete")),
        lambda: engine.erase("A-0", context=context("erase")),
    ]
    answers = [write() for write in writes]
    events = engine.events(after=2)
    assert [event.kind.value for event in events] == [
        "GALLERY_CREATED",
        "GALLERIES_CHANGED",
        "STATUS_CHANGED",
        "GALLERY_DELETED",
        "ERASED",
    ]
    for event in events:
        assert {**references, "purpose": "AUDIT"}.items() < event.details.items()
    assert [write() for write in writes] == answers
    assert engine.events(after=2) == events
    with pytest.raises(TransactionConflictError):
        engine.create_gallery("watch", context=context("create"))


def test_galleries_report_their_terms_and_a_watchlist_needs_a_legal_basis(engine: Engine) -> None:
    with pytest.raises(LegalBasisMissingError):
        engine.create_gallery("watch", GalleryKind.WATCHLIST)
    created = engine.create_gallery("watch", GalleryKind.WATCHLIST, legal_basis="Act 1", retention_days=30)
    assert (created.legal_basis, created.retention_days) == ("Act 1", 30)
    assert engine.gallery("watch") == created
    assert engine.create_gallery("desk").legal_basis == ""


def test_consent_is_required_where_the_configuration_says_so() -> None:
    strict = EngineConfig(require_consent=True)
    require_consent(EngineConfig(), RequestContext())
    require_consent(strict, RequestContext(consent_ref="form 12"))
    for nothing in ("", "  "):
        with pytest.raises(ConsentMissingError, match=r"consent_ref: expected .* got none"):
            require_consent(strict, RequestContext(consent_ref=nothing))


def test_comparing_stores_nothing(engine: Engine, people: list[FaceImage], cat: FaceImage) -> None:
    same = engine.compare([_again(people[0])], [people[0]])
    assert same.outcome is Outcome.MATCH
    assert [sample.position for sample in same.samples] == [0, 1]
    assert engine.compare([people[1]], [people[0]]).outcome is Outcome.NO_MATCH
    assert engine.compare([people[1]], [cat]).outcome is Outcome.INCONCLUSIVE
    assert engine.subjects() == []


def test_the_evidence_bounds_what_can_be_asked(engine: Engine, people: list[FaceImage]) -> None:
    engine.enroll("A-0", [people[0]])
    with pytest.raises(ThresholdUnsupportedError) as caught:
        engine.verify("A-0", [people[0]], max_fmr=1e-9)
    assert engine.verify("A-0", [people[0]], max_fmr=caught.value.tightest).outcome is Outcome.MATCH
    with pytest.raises(ThresholdUnsupportedError, match="candidates only"):
        engine.identify([people[0]], max_fpir=1e-9)


def test_samples_are_counted(engine: Engine, people: list[FaceImage]) -> None:
    for call in (engine.quality, engine.extract, engine.identify):
        with pytest.raises(InvalidInputError, match=r"samples: expected 1\.\.16, got 0"):
            call([])
    with pytest.raises(InvalidInputError, match="got 17"):
        engine.quality([people[0]] * 17)
    with pytest.raises(InvalidInputError, match="max_candidates"):
        engine.identify([people[0]], max_candidates=0)


def test_the_strict_policy_refuses_a_group() -> None:
    group = _photograph("insightface", "data", "images", "t1.jpg")
    config = EngineConfig(face=FaceParameters(policy=FacePolicy.ERROR), runtime=CONFIG.runtime)
    with Engine.open(":memory:", config) as engine:
        (report,) = engine.quality([group])
    assert (report.usable, report.reasons, report.faces_found) == (False, (Reason.SEVERAL_FACES,), 6)


def test_templates_are_those_of_the_engine(engine: Engine, people: list[FaceImage], cat: FaceImage) -> None:
    template, none = engine.extract([people[0], cat])
    assert none is None
    assert template is not None
    assert template.model_contract_id == engine.model_contract_id
    assert len(template.payload) == 512


def test_what_was_enrolled_is_there_after_reopening(tmp_path: Path, people: list[FaceImage]) -> None:
    path = tmp_path / "office.db"
    with Engine.open(path, CONFIG) as engine:
        enrolled = engine.enroll("A-0", [people[0]])
    with Engine.open(path, CONFIG) as engine:
        assert engine.verify("A-0", [_again(people[0])]).outcome is Outcome.MATCH
        assert engine.identify([_again(people[0])]).candidates[0].encounter_id == enrolled.encounter_id
        assert [gallery.name for gallery in engine.galleries()] == [DEFAULT_GALLERY]


def test_a_start_from_a_snapshot_with_vectors_on_disk_finds_the_same(tmp_path: Path, people: list[FaceImage]) -> None:
    path = tmp_path / "office.db"
    gallery = GalleryParameters(index="int8-certified", vectors_on_disk=True)
    config = replace(CONFIG, gallery=gallery)
    with Engine.open(path, config) as engine:
        for n, image in enumerate(people):
            engine.enroll(f"A-{n}", [image])
        found = engine.identify(people[:1], max_fpir=None).candidates
        engine.keep_snapshot()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["office.db", "office.db.index", "office.db.lock"]
    for again in (config, CONFIG):
        with Engine.open(path, again) as engine:
            assert engine.identify(people[:1], max_fpir=None).candidates == found
    with Engine.open(":memory:", config) as engine:
        assert engine.subjects() == []
        with pytest.raises(StoreUnavailableError, match="keeps none"):
            engine.keep_snapshot()
    with pytest.raises(InvalidInputError, match="on disk"):
        Engine.open(tmp_path / "other.db", replace(CONFIG, gallery=replace(gallery, index="faiss-flat")))


def test_templates_of_other_models_are_kept_and_never_compared(tmp_path: Path, people: list[FaceImage]) -> None:
    path = tmp_path / "office.db"
    flipped = EngineConfig(face=FaceParameters(flip=True), runtime=CONFIG.runtime)
    with Engine.open(path, CONFIG) as engine:
        engine.enroll("A-0", [people[0]])
    with Engine.open(path, flipped) as engine:
        assert engine.foreign_templates == 1
        with pytest.raises(IncompatibleTemplateError, match="enrol the subject again"):
            engine.verify("A-0", [people[0]])
        assert engine.identify([people[0]]).candidates == ()
        engine.enroll("A-0", [people[0]])
        assert engine.verify("A-0", [people[0]]).outcome is Outcome.MATCH


def test_models_without_a_calibration_measure_but_do_not_decide(people: list[FaceImage]) -> None:
    from biometrik.config import DetectionParameters

    face = FaceParameters(detection=DetectionParameters(max_side_px=512))
    with Engine.open(":memory:", EngineConfig(face=face, runtime=CONFIG.runtime)) as engine:
        assert engine.quality([people[0]])[0].usable
        engine.enroll("A-0", [people[0]])
        with pytest.raises(CalibrationNotFoundError, match="scripts/calibrate"):
            engine.verify("A-0", [people[0]])


def test_a_closed_engine_refuses(people: list[FaceImage]) -> None:
    engine = Engine.open(":memory:", CONFIG)
    engine.close()
    engine.close()
    with pytest.raises(EngineClosedError):
        engine.quality([people[0]])


def test_closing_waits_for_calls_in_flight(people: list[FaceImage], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.open(":memory:", CONFIG)
    started, release = threading.Event(), threading.Event()
    process = engine._recognition.face.process

    def slow(images: Sequence[FaceImage]) -> list[ProcessedFace | RejectedFace]:
        started.set()
        assert release.wait(30)
        return process(images)

    monkeypatch.setattr(engine._recognition.face, "process", slow)
    with ThreadPoolExecutor(2) as pool:
        enrolled = pool.submit(engine.enroll, "A-0", [people[0]])
        assert started.wait(30)
        closed = pool.submit(engine.close)
        with pytest.raises(TimeoutError):
            closed.result(timeout=0.2)
        release.set()
        assert enrolled.result(30).outcome is EnrollmentOutcome.ENROLLED
        closed.result(30)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_is_refused(engine: Engine, people: list[FaceImage]) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            engine.quality([people[0]])
            os.write(writer, b"no error")
        except EngineStateError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert "forked child" in pipe.read()
    assert engine.quality([people[0]])[0].usable


def test_many_are_identified_as_each_alone_is(engine: Engine) -> None:
    vectors = np.random.default_rng(5).standard_normal((8, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    own = [to_template(vector, engine.model_contract_id) for vector in vectors]
    for n, template in enumerate(own[:7]):
        engine.enroll(f"A-{n % 4}", [template])
    people = [[template] for template in own] + [[own[1], own[5]]]
    asked: list[dict[str, Any]] = [{"max_fpir": None}, {"max_fpir": 0.9, "max_candidates": 2, "excluding": "A-1"}]
    for options in asked:
        assert engine.identify_many(people, **options) == tuple(engine.identify(one, **options) for one in people)
    assert [found.candidates[0].subject_id for found in engine.identify_many(people[:4])] == [
        "A-0",
        "A-1",
        "A-2",
        "A-3",
    ]
    assert engine.identify_many([]) == ()
    with pytest.raises(InvalidInputError, match="samples"):
        engine.identify_many([people[0], []])
    with pytest.raises(InvalidInputError, match="people: expected at most 1000, got 1001"):
        engine.identify_many([people[0]] * 1001)
