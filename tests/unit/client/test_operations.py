"""Every call as its request: what is sent, what is refused before it is sent, how answers are read."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np
import pytest

from biometrik.bulk import ImportRecord
from biometrik.client.calls import Operation
from biometrik.client.enrollment import SessionOperations
from biometrik.client.operations import (
    CHUNK_BYTES,
    UPLOAD_BYTES,
    Operations,
    answer_of_many,
    content,
    dedupe_message,
    outcome_of_import,
    search_options,
)
from biometrik.client.station import StationOperations
from biometrik.client.synchronous import pieces
from biometrik.duplicates import DedupeAction, DedupePolicy
from biometrik.errors import InvalidInputError, ProtocolError, SubjectNotFoundError
from biometrik.formats.record_report import NOTHING_STATED, RecordType
from biometrik.gallery.records import Holdings
from biometrik.imaging import encode_png
from biometrik.samples import Sample, UnreadableSample
from biometrik.types import (
    FACE,
    EncounterStatus,
    FaceImage,
    GalleryKind,
    MissingReason,
    MissingSample,
    Modality,
    Purpose,
    RequestContext,
    SampleOrigin,
    Template,
    Trait,
)
from biometrik.v1 import (
    admin_service_pb2,
    context_pb2,
    enrollment_service_pb2,
    gallery_service_pb2,
    identification_service_pb2,
    sample_service_pb2,
    subject_service_pb2,
    verification_service_pb2,
)
from biometrik.verdicts import OverrideKind

PIXELS = np.full((40, 50, 3), 90, dtype=np.uint8)
TEMPLATE = Template(Modality.FACE, "demo@1", b"1234")
CALLS = Operations("id")
SESSIONS = SessionOperations(CALLS)
SERVICES = {
    service.full_name: service
    for module in (
        admin_service_pb2,
        enrollment_service_pb2,
        gallery_service_pb2,
        identification_service_pb2,
        sample_service_pb2,
        subject_service_pb2,
        verification_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
}


def _presented(*samples: Sample) -> Any:
    return CALLS.presentations(samples)


def _every() -> Sequence[Operation[Any]]:
    image = _presented(FaceImage(PIXELS))
    return [
        CALLS.quality(image),
        CALLS.extract(image),
        CALLS.inspect_record(b"x", NOTHING_STATED),
        CALLS.convert_record(b"x", RecordType.PNG, NOTHING_STATED, 1),
        CALLS.compare(image, image, 1e-3, ""),
        CALLS.verify(image, 1e-3, "", subject_id="A"),
        CALLS.identify(image, search_options(0.01, "", None, 10, "")),
        CALLS.identify_stored("A", search_options(0.01, "", None, 10, "")),
        CALLS.enroll("A", image, None, "", None),
        CALLS.erase("A", None),
        CALLS.subject("A"),
        CALLS.subjects(None, "", 10),
        CALLS.encounter("e"),
        CALLS.set_encounter_status("e", EncounterStatus.ACTIVE, None),
        CALLS.set_encounter_galleries("e", ["g"], None),
        CALLS.create_gallery("g", GalleryKind.WATCHLIST, "Act 1", 30, None),
        CALLS.gallery("g"),
        CALLS.galleries(""),
        CALLS.delete_gallery("g", None),
        CALLS.capabilities(),
        CALLS.models(),
        CALLS.snapshot("nightly", None),
        SESSIONS.open("A", [FACE, Trait.finger(2)], None, None),
        SESSIONS.submit("s", image, None),
        SESSIONS.mark_missing("s", MissingSample(3, MissingReason.AMPUTATED, permanent=True), None),
        SESSIONS.override("s", FACE, OverrideKind.QUALITY, "why", None),
        SESSIONS.restart("s", FACE, None),
        SESSIONS.finalize("s", "", None),
        SESSIONS.cancel("s"),
    ]


def test_every_call_is_one_of_the_contract_with_its_own_messages_and_in_the_language_asked_for() -> None:
    called = set()
    for operation in _every():
        service, method = operation.method.removeprefix("/").split("/")
        rpc = SERVICES[service].methods_by_name[method]
        assert operation.request.DESCRIPTOR is rpc.input_type
        assert operation.response.DESCRIPTOR is rpc.output_type
        assert operation.request.context.locale == "id"  # type: ignore[attr-defined]
        called.add(method)
    every = {method.name for service in SERVICES.values() for method in service.methods}
    # Streams are the clients' own; subjects come with their encounters.
    assert every - called == {"UploadSample", "IdentifyMany", "ImportEncounters", "ListEncounters"}


def test_every_write_can_be_repeated_and_no_read_carries_an_id() -> None:
    writes = {"Enroll", "EraseSubject", "SetEncounterStatus", "SetEncounterGalleries", "CreateGallery", "DeleteGallery"}
    writes |= {"OpenSession", "SubmitSample", "MarkMissing", "Override", "RestartTrait", "Finalize", "Snapshot"}
    ids = []
    for operation in (*_every(), *_every()):
        transaction_id = operation.request.context.transaction_id  # type: ignore[attr-defined]
        assert bool(transaction_id) is (operation.method.rsplit("/", 1)[-1] in writes)
        ids += [transaction_id] if transaction_id else []
    assert len(set(ids)) == len(ids) == 2 * len(writes)


def test_a_write_keeps_what_the_caller_says_of_it() -> None:
    who = RequestContext("t-1", "op 7", "gate 4", "form 9", Purpose.ENROLL)
    sent: context_pb2.RequestContext = CALLS.erase("A", who).request.context  # type: ignore[attr-defined]
    assert (sent.transaction_id, sent.operator_ref, sent.station_ref, sent.consent_ref, sent.purpose) == (
        "t-1",
        "op 7",
        "gate 4",
        "form 9",
        context_pb2.PURPOSE_ENROLL,
    )


def test_samples_are_sent_as_they_were_read() -> None:
    data = encode_png(PIXELS)
    read, made, broken, ready = _presented(
        FaceImage.from_bytes(data),
        FaceImage(PIXELS, origin=SampleOrigin(device_ref="cam")),
        UnreadableSample("x"),
        TEMPLATE,
    )
    assert read.sample.data == data
    assert np.array_equal(FaceImage.from_bytes(made.sample.data).pixels, PIXELS)
    assert made.sample.device_ref == "cam"
    assert broken.sample.WhichOneof("content") == "data"
    assert ready.template.data == TEMPLATE.to_bytes()
    with pytest.raises(InvalidInputError, match="got a template"):
        content(TEMPLATE)


def test_what_would_not_fit_one_message_is_uploaded() -> None:
    half = UnreadableSample("x", bytes(UPLOAD_BYTES // 2))
    more = UnreadableSample("x", bytes(UPLOAD_BYTES + 1))
    small = UnreadableSample("x", b"1")
    sent = _presented(more, half, TEMPLATE, half, small, half)
    kinds = [message.sample.WhichOneof("content") for message in sent]
    assert kinds == [None, "data", None, "data", None, None]
    assert sum(len(message.sample.data) for message in sent) <= UPLOAD_BYTES


def test_an_upload_says_first_what_comes() -> None:
    data = bytes(range(256)) * (CHUNK_BYTES // 256) * 2 + b"end"
    first, second, third = pieces(data, CALLS)
    assert (first.total_size_bytes, len(first.sha256), first.context.locale) == (len(data), 32, "id")
    assert (second.total_size_bytes, second.sha256) == (0, b"")
    assert first.chunk + second.chunk + third.chunk == data


def test_templates_are_not_measured_or_extracted() -> None:
    with pytest.raises(InvalidInputError, match="expected images"):
        CALLS.quality(_presented(TEMPLATE))
    with pytest.raises(InvalidInputError, match="expected images"):
        CALLS.extract(_presented(TEMPLATE))


def test_a_claim_is_sent_as_the_kind_that_it_is_even_when_it_is_empty() -> None:
    for given, kind in (
        ({"subject_id": ""}, "subject_id"),
        ({"encounter_id": ""}, "encounter_id"),
        ({"subject_ids": ()}, "subjects"),
        ({"subject_ids": ("A", "B")}, "subjects"),
    ):
        request: Any = CALLS.verify([], 1e-3, "", **given).request
        assert request.WhichOneof("reference") == kind


def test_a_policy_takes_the_place_of_a_rate() -> None:
    rate: Any = CALLS.verify([], 0.0, "", subject_id="A").request
    assert (rate.threshold.WhichOneof("target"), rate.threshold.fmr) == ("fmr", 0.0)
    policy: Any = CALLS.verify([], 1e-3, "strict", subject_id="A").request
    assert (policy.threshold.WhichOneof("target"), policy.threshold.policy) == ("policy", "strict")


def test_a_search_asks_for_what_the_caller_asks_for() -> None:
    plain = search_options(0.01, "", None, 10, "")
    assert (plain.threshold.fpir, plain.without_decision, list(plain.galleries)) == (0.01, False, [])
    undecided = search_options(None, "", ["a", "b"], 3, "A")
    assert undecided.without_decision
    assert not undecided.HasField("threshold")
    assert (list(undecided.galleries), undecided.max_candidates, undecided.excluded_subject_id) == (["a", "b"], 3, "A")
    named = search_options(None, "counter", None, 10, "")
    assert (named.threshold.policy, named.without_decision) == ("counter", False)


def test_what_the_contract_would_take_for_something_else_is_refused_here() -> None:
    # On the wire zero and empty mean the default, or all; the caller said none.
    with pytest.raises(InvalidInputError, match="galleries: expected at least one name, or None"):
        search_options(0.01, "", [], 10, "")
    for wrong in (0, -1, 1 << 32):
        with pytest.raises(InvalidInputError, match="max_candidates"):
            search_options(0.01, "", None, wrong, "")
        with pytest.raises(InvalidInputError, match="limit"):
            CALLS.subjects(None, "", wrong)
    with pytest.raises(InvalidInputError, match="gallery: expected a name"):
        CALLS.subjects("", "", 10)
    with pytest.raises(InvalidInputError, match="retention_days"):
        CALLS.create_gallery("g", GalleryKind.POPULATION, "", -1, None)


def test_no_gallery_is_not_the_default_gallery() -> None:
    default: Any = CALLS.enroll("A", [], None, "", None).request
    none: Any = CALLS.enroll("A", [], [], "", None).request
    assert (default.WhichOneof("membership"), default.default_gallery) == ("default_gallery", True)
    assert (none.WhichOneof("membership"), list(none.galleries.names)) == ("galleries", [])


@pytest.mark.parametrize(
    ("read", "response"),
    [
        (answer_of_many, identification_service_pb2.IdentifyManyResponse),
        (outcome_of_import, enrollment_service_pb2.ImportEncountersResponse),
    ],
)
def test_an_answer_of_many_is_an_answer_or_its_error(read: Any, response: Any) -> None:
    failed = context_pb2.RequestError(
        code=5, reason="SUBJECT_NOT_FOUND", message="nobody", localized_message="Tidak ada"
    )
    error = read(response(tag="t", error=failed))
    assert type(error) is SubjectNotFoundError
    assert error.__notes__ == ["Tidak ada"]
    assert type(read(response(tag="t"))) is ProtocolError


def test_capabilities_are_read_as_values() -> None:
    answer = admin_service_pb2.GetCapabilitiesResponse(
        version="1.2",
        model_contract_id="demo@1",
        provider="cpu",
        precision="fp32",
        quality_profile="counter",
        calibrations=[admin_service_pb2.Calibration(calibration_id="c-1", date="2026-08-17", tightest_fmr=1e-5)],
        policies=[admin_service_pb2.Policy(name="strict", fmr=1e-4, fpir=1e-3)],
        limits=admin_service_pb2.Limits(max_message_bytes=1, max_samples=2, max_concurrent_requests=3),
    )
    read = CALLS.capabilities().read(answer)
    assert (read.version, read.model_contract_id) == ("1.2", "demo@1")
    (evidence,) = read.calibrations
    assert (evidence.id, evidence.date, evidence.tightest_fmr) == ("c-1", date(2026, 8, 17), 1e-5)
    answer.calibrations[0].date = "yesterday"
    with pytest.raises(ProtocolError, match="calibration"):
        CALLS.capabilities().read(answer)
    assert read.policies == {"strict": (1e-4, 1e-3)}
    assert (read.max_message_bytes, read.max_samples, read.max_concurrent_requests) == (1, 2, 3)


def test_how_a_copy_is_read() -> None:
    answer = admin_service_pb2.SnapshotResponse()
    answer.copy.name, answer.copy.sha256, answer.copy.size_bytes = "x.db", "ab", 9
    answer.copy.created_at.FromSeconds(1_000_000_000)
    answer.copy.schema_version, answer.copy.last_event, answer.copy.quarantined_encounters = 4, 7, 1
    answer.copy.subjects, answer.copy.encounters, answer.copy.templates = 2, 3, 5
    copy = CALLS.snapshot("", None).read(answer)
    assert (copy.name, copy.sha256, copy.schema_version) == ("x.db", "ab", 4)
    assert copy.created_at.isoformat() == "2001-09-09T01:46:40+00:00"
    assert copy.held == Holdings(event=7, subjects=2, encounters=3, templates=5, quarantined=1, octets=9)


HALF = "A\ud800"


@pytest.mark.parametrize(
    "build",
    [
        lambda: CALLS.verify([], 1e-3, HALF, subject_id="A"),
        lambda: CALLS.verify([], 1e-3, "", subject_id=HALF),
        lambda: CALLS.verify([], 1e-3, "", subject_ids=["A", HALF]),
        lambda: CALLS.enroll("A", [], [HALF], "", None),
        lambda: CALLS.enroll("A", [], None, HALF, None),
        lambda: CALLS.import_request(ImportRecord("t", HALF, (), context=RequestContext("t")), []),
        lambda: CALLS.erase(HALF, None),
        lambda: CALLS.encounter(HALF),
        lambda: CALLS.create_gallery("g", GalleryKind.WATCHLIST, HALF, 1, None),
        lambda: CALLS.snapshot(HALF, None),
        lambda: SESSIONS.cancel(HALF),
        lambda: StationOperations("en").acquire(HALF, "", 1.0),
        lambda: search_options(0.1, "", None, 1, HALF),
        lambda: search_options(0.1, "", [HALF], 1, ""),
        lambda: dedupe_message(DedupePolicy(DedupeAction.WARN, galleries=(HALF,))),
    ],
)
def test_text_that_no_message_can_hold_is_refused_in_the_library_s_words(build: Callable[[], object]) -> None:
    with pytest.raises(InvalidInputError, match=r"request: expected text in Unicode, got '\\ud800'"):
        build()
