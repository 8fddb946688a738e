"""Values as messages of the contract and back: nothing is lost on the way, and every word has its twin."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import numpy as np
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from biometrik import fingers, types, verdicts, wire
from biometrik.duplicates import DedupeAction
from biometrik.errors import InvalidInputError, InvalidPositionError, TemplateFormatError
from biometrik.guidance import Guidance
from biometrik.reasons import Reason
from biometrik.v1 import context_pb2, decision_pb2, device_service_pb2, enrollment_service_pb2, sample_pb2, subject_pb2

# --- values ----------------------------------------------------------------------------------------------------

real = st.floats(allow_nan=False)
count = st.integers(0, 2**32 - 1)
large = st.integers(0, 2**64 - 1)
text = st.text(max_size=12)
printable = st.text(st.characters(categories=["L", "N", "P"]), max_size=128)
moment = st.datetimes(timezones=st.just(UTC))
reasons = st.lists(st.sampled_from(Reason), max_size=3).map(tuple)
names = st.lists(text, max_size=3).map(tuple)

interval = st.builds(types.Interval, real, real, real, real)
component = st.builds(types.QualityComponent, text, real, real, text, real, st.none() | st.sampled_from(Reason))
quality = st.builds(types.Quality, real, text, st.lists(component, max_size=3).map(tuple))
face = st.builds(
    types.Face,
    st.builds(types.Box, real, real, real, real),
    arrays(np.float32, (5, 2), elements=st.floats(width=32)),
    real,
)
trait = st.just(types.FACE) | st.builds(types.Trait.finger, st.integers(0, 10))
report = st.builds(
    types.SampleReport, count, st.booleans(), reasons, st.none() | quality, count, st.none() | face, trait
)
reports = st.lists(report, max_size=2).map(tuple)
contribution = st.builds(types.Component, trait, real, real, count, text, text, st.booleans())
contributions = st.lists(contribution, max_size=2).map(tuple)
decision = st.builds(
    types.Decision,
    outcome=st.sampled_from(types.Outcome),
    reasons=reasons,
    score=st.none() | real,
    threshold=real,
    max_fmr=real,
    achieved_fmr=interval,
    raw_score=st.none() | real,
    comparisons=count,
    subject_id=text,
    encounter_id=text,
    calibration_id=text,
    model_contract_id=text,
    samples=reports,
    components=contributions,
)
coverage = st.builds(types.SearchCoverage, large, names, large, large, st.booleans(), real)
candidate = st.builds(types.Candidate, count, text, text, names, real, st.none() | real, st.booleans(), contributions)
identification = st.builds(
    types.Identification,
    outcome=st.sampled_from(types.Outcome),
    reasons=reasons,
    candidates=st.lists(candidate, max_size=2).map(tuple),
    threshold=st.none() | real,
    max_fpir=st.none() | real,
    achieved_fpir=st.none() | interval,
    coverage=coverage,
    calibration_id=text,
    model_contract_id=text,
    samples=reports,
)
missing = st.builds(types.MissingSample, st.integers(1, 10), st.sampled_from(types.MissingReason), st.booleans())
encounter = st.builds(
    types.Encounter,
    text,
    text,
    st.sampled_from(types.EncounterStatus),
    names,
    moment,
    count,
    st.lists(trait, max_size=3).map(tuple),
    st.lists(missing, max_size=2).map(tuple),
)
subject = st.builds(types.Subject, text, moment, st.lists(encounter, max_size=3).map(tuple))
certificate = st.builds(types.ErasureCertificate, text, moment, count, count, large, text)
gallery = st.builds(types.GalleryInfo, text, st.sampled_from(types.GalleryKind), moment, large, large, text, count)
context = st.builds(
    types.RequestContext, printable, printable, printable, printable, st.none() | st.sampled_from(types.Purpose)
)
state = st.builds(
    verdicts.TraitState,
    trait,
    st.sampled_from(verdicts.TraitStanding),
    count,
    st.none() | st.sampled_from(verdicts.CaptureBasis),
)
submitted = st.builds(
    verdicts.Submitted,
    st.sampled_from(verdicts.SubmitOutcome),
    reasons,
    st.none() | trait,
    report,
    st.lists(state, max_size=3).map(tuple),
)
template = st.builds(
    types.Template,
    st.sampled_from(types.Modality),
    st.text(st.characters(max_codepoint=127), min_size=1, max_size=255),
    st.binary(min_size=1, max_size=64),
    st.integers(0, 15),
)
origin = st.builds(types.SampleOrigin, st.none() | moment, st.none() | st.sampled_from(types.SampleSource), printable)


def _origin_to_wire(value: types.SampleOrigin) -> sample_pb2.Sample:
    message = sample_pb2.Sample()
    wire.origin_to_wire(value, message)
    return message


Case = tuple[st.SearchStrategy[Any], Callable[[Any], Message], Callable[[Any], Any]]

enrollment = st.builds(
    types.Enrollment,
    st.sampled_from(types.EnrollmentOutcome),
    text,
    text,
    count,
    reports,
    st.none() | identification,
)

ROUND_TRIPS: Final[dict[str, Case]] = {
    "trait": (trait, wire.trait_to_wire, wire.trait_from_wire),
    "missing": (missing, wire.missing_to_wire, wire.missing_from_wire),
    "component": (contribution, wire.component_to_wire, wire.component_from_wire),
    "interval": (interval, wire.interval_to_wire, wire.interval_from_wire),
    "quality": (quality, lambda v: wire.quality_to_wire(v, "id"), wire.quality_from_wire),
    "face": (face, wire.face_to_wire, wire.face_from_wire),
    "report": (report, lambda v: wire.report_to_wire(v, "en"), wire.report_from_wire),
    "decision": (decision, lambda v: wire.decision_to_wire(v, "id"), wire.decision_from_wire),
    "coverage": (coverage, wire.coverage_to_wire, wire.coverage_from_wire),
    "identification": (identification, lambda v: wire.identification_to_wire(v, "en"), wire.identification_from_wire),
    "enrollment": (enrollment, lambda v: wire.enrollment_to_wire(v, "en"), wire.enrollment_from_wire),
    "encounter": (encounter, wire.encounter_to_wire, wire.encounter_from_wire),
    "subject": (subject, wire.subject_to_wire, wire.subject_from_wire),
    "certificate": (certificate, wire.certificate_to_wire, wire.certificate_from_wire),
    "gallery": (gallery, wire.gallery_to_wire, wire.gallery_from_wire),
    "context": (context, wire.context_to_wire, wire.context_from_wire),
    "template": (template, wire.template_to_wire, wire.template_from_wire),
    "state": (state, wire.state_to_wire, wire.state_from_wire),
    "submitted": (submitted, lambda v: wire.submitted_to_wire(v, "id"), wire.submitted_from_wire),
    "origin": (origin, _origin_to_wire, wire.origin_from_wire),
    "time": (moment, wire.time_to_wire, wire.time_from_wire),
}


def plain(value: Any) -> Any:
    """Return a value in which arrays are compared by their content."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__, *(plain(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, tuple | list):
        return type(value)(plain(item) for item in value)
    return value


@pytest.mark.parametrize("name", ROUND_TRIPS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_value_comes_back_through_bytes_as_it_was(name: str, data: st.DataObject) -> None:
    values, to_wire, from_wire = ROUND_TRIPS[name]
    value = data.draw(values)
    message = to_wire(value)
    read = type(message).FromString(message.SerializeToString())
    assert plain(from_wire(read)) == plain(value)


def test_every_pair_of_the_module_has_its_round_trip() -> None:
    written = {name.removesuffix("_to_wire") for name in vars(wire) if name.endswith("_to_wire") and name[0] != "_"}
    assert written - {"advice"} == set(ROUND_TRIPS)
    read = {name.removesuffix("_from_wire") for name in vars(wire) if name.endswith("_from_wire") and name[0] != "_"}
    assert read - {"advice", "reports", "requested_trait"} == set(ROUND_TRIPS)


# --- words -----------------------------------------------------------------------------------------------------

TWINS: Final[list[tuple[type[Enum], Any, wire.EnumMap[Any]]]] = [
    (types.Purpose, context_pb2.Purpose, wire.PURPOSES),
    (types.Modality, sample_pb2.Modality, wire.MODALITIES),
    (types.SampleSource, sample_pb2.SampleSource, wire.SOURCES),
    (fingers.Impression, sample_pb2.Impression, wire.IMPRESSIONS),
    (types.MissingReason, sample_pb2.MissingReason, wire.MISSING),
    (Reason, sample_pb2.Reason, wire.REASONS),
    (DedupeAction, enrollment_service_pb2.DedupeAction, wire.DEDUPE_ACTIONS),
    (types.Outcome, decision_pb2.Outcome, wire.OUTCOMES),
    (types.EnrollmentOutcome, enrollment_service_pb2.EnrollmentOutcome, wire.ENROLLMENT_OUTCOMES),
    (types.EncounterStatus, subject_pb2.EncounterStatus, wire.STATUSES),
    (types.GalleryKind, subject_pb2.GalleryKind, wire.KINDS),
    (verdicts.TraitStanding, enrollment_service_pb2.TraitStanding, wire.STANDINGS),
    (verdicts.CaptureBasis, enrollment_service_pb2.CaptureBasis, wire.BASES),
    (verdicts.SubmitOutcome, enrollment_service_pb2.SubmitOutcome, wire.SUBMIT_OUTCOMES),
    (verdicts.OverrideKind, enrollment_service_pb2.OverrideKind, wire.OVERRIDES),
    (Guidance, device_service_pb2.GuidanceCode, wire.GUIDANCE),
]


@pytest.mark.parametrize(("ours", "theirs", "both"), TWINS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_word_has_its_twin_and_the_reverse(ours: type[Enum], theirs: Any, both: wire.EnumMap[Any]) -> None:
    assert theirs.values()[0] == 0
    assert theirs.keys()[0].endswith("_UNSPECIFIED")
    prefix = theirs.keys()[0].removesuffix("UNSPECIFIED")
    assert {name.removeprefix(prefix) for name in theirs.keys()[1:]} == {member.name for member in ours}
    assert both.get(0) is None
    for member in ours:
        assert theirs.Name(both.to_wire(member)) == prefix + member.name
        assert both.from_wire(both.to_wire(member)) is member


def test_every_enumeration_of_the_contract_is_one_of_ours_or_known_to_be_its_own() -> None:
    theirs = {
        name
        for module in (context_pb2, decision_pb2, enrollment_service_pb2, sample_pb2, subject_pb2)
        for name in module.DESCRIPTOR.enum_types_by_name
    }
    values = (*vars(types).values(), *vars(fingers).values(), *vars(verdicts).values(), DedupeAction)
    ours = {value.__name__ for value in values if isinstance(value, type) and issubclass(value, Enum)}
    twins = {mine.__name__ for mine, _, _ in TWINS}
    assert twins - {"Guidance"} == (ours & theirs) - {"FingerPosition"}
    assert theirs - twins == {
        "FingerPosition",
        "PadState",
        "SampleFormat",
        "SearchMode",
    }


def test_finger_positions_are_the_contract_s_numbers() -> None:
    theirs = sample_pb2.FingerPosition
    names = {position.name: int(position) for position in fingers.FingerPosition if position}
    assert {name.removeprefix("FINGER_POSITION_"): theirs.Value(name) for name in theirs.keys()[1:]} == names
    with pytest.raises(InvalidPositionError, match=r"0\.\.15, got 16"):
        wire.finger_position(16)


@pytest.mark.parametrize("number", [0, 99, -1])
def test_a_number_that_is_no_word_is_refused_in_requests(number: int) -> None:
    with pytest.raises(InvalidInputError, match=r"gallery_kind: expected one of POPULATION, .* got number"):
        wire.KINDS.from_wire(number)
    assert wire.KINDS.get(number) is None


# --- what other programs send ----------------------------------------------------------------------------------


def test_advice_speaks_the_language_asked_for() -> None:
    english, indonesian = (wire.advice_to_wire([Reason.BLURRED], locale)[0] for locale in ("en", "id"))
    assert (english.reason, english.text) == (sample_pb2.REASON_BLURRED, Reason.BLURRED.text("en"))
    assert indonesian.text == Reason.BLURRED.text("id") != english.text


def test_reasons_of_a_newer_service_are_left_out() -> None:
    rows = [sample_pb2.Advice(reason=number) for number in (999, sample_pb2.REASON_BLURRED, 0)]  # type: ignore[arg-type]
    assert wire.advice_from_wire(rows) == (Reason.BLURRED,)
    component = sample_pb2.QualityComponent(advice=sample_pb2.Advice(reason=999))  # type: ignore[arg-type]
    assert wire.quality_from_wire(sample_pb2.Quality(components=[component])).components[0].reason is None


def test_a_report_says_that_no_attack_was_looked_for() -> None:
    message = wire.report_to_wire(types.SampleReport(0, False, (), None, 0, None), "en")
    assert message.pad.state == sample_pb2.PAD_STATE_NOT_PERFORMED


def test_what_is_said_of_acceptance_is_sent_too() -> None:
    poor = types.QualityComponent("luminance", 10.0, 12.0, "", 20.0, Reason.TOO_DARK)
    message = wire.quality_to_wire(types.Quality(10.0, "demo", (poor,)), "en")
    assert not message.acceptable
    assert [row.reason for row in message.advice] == [sample_pb2.REASON_TOO_DARK]


def test_an_answer_without_its_outcome_is_refused() -> None:
    answers: list[tuple[Callable[[Any], object], Message]] = [
        (wire.decision_from_wire, decision_pb2.Decision()),
        (wire.identification_from_wire, decision_pb2.Identification()),
        (wire.enrollment_from_wire, enrollment_service_pb2.EnrollResponse()),
        (wire.encounter_from_wire, subject_pb2.Encounter()),
        (wire.gallery_from_wire, subject_pb2.Gallery()),
    ]
    for read, message in answers:
        with pytest.raises(InvalidInputError, match="got number 0"):
            read(message)


@pytest.mark.parametrize("points", [0, 4, 6])
def test_a_face_without_five_landmarks_is_refused(points: int) -> None:
    with pytest.raises(InvalidInputError, match="landmarks"):
        wire.face_from_wire(sample_pb2.Face(landmarks=[sample_pb2.Point()] * points))


@pytest.mark.parametrize(
    "stamp", [Timestamp(seconds=2**62), Timestamp(seconds=-(2**62)), Timestamp(nanos=-1), Timestamp(nanos=2**31 - 1)]
)
def test_a_time_outside_of_the_calendar_is_refused(stamp: Timestamp) -> None:
    with pytest.raises(InvalidInputError, match="timestamp"):
        wire.time_from_wire(stamp)


def test_times_are_utc_wherever_they_were_taken() -> None:
    jakarta = datetime.fromisoformat("2026-08-17T10:00:00.123456+07:00")
    read = wire.time_from_wire(wire.time_to_wire(jakarta))
    assert (read, read.tzinfo) == (jakarta, UTC)
    sample = _origin_to_wire(types.SampleOrigin(captured_at=jakarta))
    assert wire.origin_from_wire(sample).captured_at == jakarta


@pytest.mark.parametrize("field", ["transaction_id", "operator_ref", "station_ref", "consent_ref"])
@pytest.mark.parametrize("value", ["x" * 129, "a\x00b", "a\nb"])
def test_a_reference_that_cannot_be_kept_is_refused(field: str, value: str) -> None:
    with pytest.raises(InvalidInputError, match=field):
        wire.context_from_wire(context_pb2.RequestContext(**{field: value}))  # type: ignore[arg-type]


def test_a_purpose_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="purpose"):
        wire.context_from_wire(context_pb2.RequestContext(purpose=99))  # type: ignore[arg-type]


@given(st.binary(max_size=80))
def test_a_template_of_any_bytes_is_a_template_or_a_typed_error(data: bytes) -> None:
    with pytest.raises(TemplateFormatError):
        wire.template_from_wire(sample_pb2.Template(data=data))


def test_fields_beside_a_template_may_be_left_out_and_must_fit() -> None:
    made = types.Template(types.Modality.FINGER, "demo@1", b"12", 7)
    bare = sample_pb2.Template(data=made.to_bytes())
    assert wire.template_from_wire(bare) == made
    for wrong in ({"modality": 1}, {"position": 6}, {"model_contract_id": "demo@2"}):
        message = wire.template_to_wire(made)
        message.MergeFrom(sample_pb2.Template(**wrong))
        with pytest.raises(TemplateFormatError, match=next(iter(wrong))):
            wire.template_from_wire(message)


@pytest.mark.parametrize(
    ("tag", "locale"), [("id", "id"), ("ID", "id"), ("id_ID", "id"), ("id-ID", "id"), ("ido", "en"), ("de", "en")]
)
def test_languages_are_english_or_indonesian(tag: str, locale: str) -> None:
    assert wire.locale_of(tag) == locale


@pytest.mark.parametrize(
    ("modality", "position"),
    [("FACE", 2), ("FINGER", 13), ("FINGER", 14), ("FINGER", 15), ("FINGER", 16), ("UNSPECIFIED", 2)],
)
def test_what_a_request_asks_for_is_one_trait(modality: str, position: int) -> None:
    message = sample_pb2.Trait(modality=f"MODALITY_{modality}", position=position)  # type: ignore[arg-type]  # by name
    with pytest.raises(InvalidInputError):
        wire.requested_trait_from_wire(message)


def test_a_plain_thumb_is_a_thumb_and_no_position_any_finger() -> None:
    asked = [sample_pb2.Trait(modality=sample_pb2.MODALITY_FINGER, position=p) for p in (11, 0)]  # type: ignore[arg-type]
    assert [wire.requested_trait_from_wire(message) for message in asked] == [
        types.Trait.finger(1),
        types.Trait.finger(0),
    ]
