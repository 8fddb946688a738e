"""Values are equal, field by field and bit by bit.

The service's engine is asked in process what its clients ask over the line, so that both look at the same database:
ids and times are equal too, nothing is left out. A write is done by a client and repeated in process under its
transaction id: the first answer is what the client got.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import pytest

from biometrik import records
from biometrik.client import Client
from biometrik.engine import Engine
from biometrik.errors import BiometrikError, InvalidInputError, SubjectNotFoundError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.formats.record_report import RecordType, Stated
from biometrik.samples import Sample, UnreadableSample
from biometrik.types import (
    EncounterStatus,
    FaceImage,
    GalleryKind,
    MissingReason,
    MissingSample,
    Outcome,
    Purpose,
    RequestContext,
    SampleOrigin,
    SampleSource,
)
from tests.soak import formats as soak

Biometrik: TypeAlias = Engine | Client
Plain = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A client, the engine behind its service, and what makes their answers comparable."""

    client: Client
    served: Engine
    plain: Plain

    def same(self, call: Callable[[Biometrik], object]) -> None:
        """Fail unless both answer the same."""
        assert self.plain(call(self.client)) == self.plain(call(self.served))


@pytest.fixture(params=["client", "async"])
def asked(office: Any, plain: Plain, request: pytest.FixtureRequest) -> Asked:
    return Asked(office.of(request.param), office.served, plain)


@pytest.fixture
def samples(people: list[FaceImage], cat: FaceImage, group: FaceImage, astronaut: FaceImage) -> list[Sample]:
    """Return good, poor, empty, crowded and broken ones."""
    dark = FaceImage((people[0].pixels * 0.12).astype(np.uint8))
    return [people[0], dark, cat, group, astronaut, UnreadableSample("x", b"GIF89a")]


def _enroll(served: Engine, people: Sequence[FaceImage]) -> list[str]:
    served.create_gallery("gate", GalleryKind.WATCHLIST, legal_basis="Act 1", retention_days=30)
    galleries: tuple[list[str] | None, ...] = (None, ["gate"], ["default", "gate"], [], None)
    return [
        served.enroll(f"A-{i}", [person], galleries=chosen, override="as it is").encounter_id
        for i, (person, chosen) in enumerate(zip(people[:5], galleries, strict=True))
    ]


def test_what_is_said_of_samples_is_equal(asked: Asked, samples: list[Sample]) -> None:
    asked.same(lambda b: b.quality(samples))
    asked.same(lambda b: b.extract(samples))
    for probe in (samples[1:2], samples[2:3], samples[5:]):
        asked.same(lambda b, some=probe: b.compare(some, samples[:1]))  # type: ignore[misc]
    asked.same(lambda b: b.compare(samples, samples[:2], max_fmr=1e-4))


def test_decisions_are_equal(asked: Asked, people: list[FaceImage], samples: list[Sample]) -> None:
    encounters = _enroll(asked.served, people)
    for rate in (1e-2, 1e-3, 1e-4):
        asked.same(lambda b, fmr=rate: b.verify("A-0", [people[0]], max_fmr=fmr))  # type: ignore[misc]
    asked.same(lambda b: b.verify("A-2", samples))
    asked.same(lambda b: b.verify("A-2", samples[2:3]))
    asked.same(lambda b: b.verify_any(["A-4", "A-0", "A-3"], [people[3]]))
    asked.same(lambda b: b.verify_encounter(encounters[1], [people[5]]))
    asked.served.set_encounter_status(encounters[4], EncounterStatus.INACTIVE)
    asked.same(lambda b: b.verify("A-4", [people[4]]))


def test_searches_are_equal(asked: Asked, people: list[FaceImage], samples: list[Sample]) -> None:
    asked.same(lambda b: b.identify([people[0]]))
    _enroll(asked.served, people)
    options: list[dict[str, Any]] = [
        {},
        {"max_fpir": None},
        {"max_fpir": 0.05, "max_candidates": 2},
        {"galleries": ["gate"]},
        {"galleries": ["gate", "default"], "excluding": "A-2"},
    ]
    for chosen in options:
        asked.same(lambda b, o=chosen: b.identify([people[2]], **o))  # type: ignore[misc]
    asked.same(lambda b: b.identify(samples))
    asked.same(lambda b: b.identify([people[5]]))
    asked.same(lambda b: b.identify(samples[2:3]))
    asked.same(lambda b: b.identify_stored("A-0"))
    asked.same(lambda b: b.identify_stored("A-3", galleries=["gate"], max_fpir=None, max_candidates=1))


def test_what_is_said_of_fingers_is_equal(
    asked: Asked, prints: list[FingerprintImage], people: list[FaceImage]
) -> None:
    right, left, right_again, left_again, stranger = prints
    unlabelled = replace(right_again, position=FingerPosition.UNKNOWN, encoded=b"")
    blank = replace(right, pixels=np.full((300, 300), 255, dtype=np.uint8), encoded=b"")
    broken = UnreadableSample("x", b"GIF89a", right.trait)
    rows: list[Sample] = [right, blank, broken, unlabelled, people[0]]
    asked.same(lambda b: b.quality(rows))
    asked.same(lambda b: b.extract(rows))
    asked.same(lambda b: b.compare([right], [right_again]))
    asked.same(lambda b: b.compare([right], [left]))
    asked.same(lambda b: b.compare([right, left, people[0]], [right_again, left_again, people[0]], max_fmr=1e-4))
    missing = [MissingSample(FingerPosition.LEFT_RING, MissingReason.AMPUTATED, permanent=True)]
    asked.served.enroll("A-1", [right, left, people[0]], missing=missing, override="as it is")
    asked.served.enroll("B-2", [stranger], override="as it is")
    for probe in (
        [right_again],
        [left_again, right_again],
        [unlabelled],
        [right_again, people[0]],
        [stranger],
        [blank],
    ):
        asked.same(lambda b, some=probe: b.verify("A-1", some))  # type: ignore[misc]
        asked.same(lambda b, some=probe: b.verify("A-1", some, max_fmr=0.02, real_evidence=True))  # type: ignore[misc]
        asked.same(lambda b, some=probe: b.identify(some, max_fpir=0.02))  # type: ignore[misc]
    asked.same(lambda b: b.identify_stored("A-1", max_fpir=0.02))
    templates = [template for template in asked.served.extract([right, left]) if template]
    asked.same(lambda b: b.verify("A-1", templates))


def test_an_enrolment_of_fingers_is_equal_to_its_repeat_in_process(
    asked: Asked, prints: list[FingerprintImage], request: pytest.FixtureRequest
) -> None:
    right, left, right_again, *_ = prints
    twice = replace(right_again, position=FingerPosition.RIGHT_MIDDLE, encoded=b"")
    missing = [MissingSample(FingerPosition.LEFT_THUMB, MissingReason.BANDAGED)]
    for k, rows in enumerate(([right, left], [right, twice])):
        context = RequestContext(f"{request.node.name}-{k}")
        asked.same(lambda b, s=rows, c=context: b.enroll("A-1", s, missing=missing, context=c))  # type: ignore[misc]


def test_records_are_equal(asked: Asked, people: list[FaceImage]) -> None:
    encounters = _enroll(asked.served, people)
    asked.same(lambda b: b.galleries())
    asked.same(lambda b: b.gallery("gate"))
    asked.same(lambda b: b.subjects())
    asked.same(lambda b: b.subjects(gallery="gate", after="A-1", limit=1))
    asked.same(lambda b: b.subject("A-2"))
    asked.same(lambda b: b.encounter(encounters[3]))


def test_writes_are_equal_to_their_repeats_in_process(
    asked: Asked, people: list[FaceImage], samples: list[Sample], request: pytest.FixtureRequest
) -> None:
    run = request.node.name

    def who(name: str) -> RequestContext:
        return RequestContext(f"{run} {name}", "op 7", "gate 4", "form 9", Purpose.ENROLL)

    asked.same(lambda b: b.create_gallery("gate", retention_days=7, context=who("create")))
    asked.same(lambda b: b.enroll("A-1", samples, galleries=["gate"], context=who("enroll")))
    asked.same(lambda b: b.enroll("A-1", samples[2:3], context=who("nothing")))
    asked.same(lambda b: b.enroll("A-2", samples[1:2], context=who("poor")))
    encounter_id = asked.served.subject("A-1").encounters[0].encounter_id
    asked.same(lambda b: b.set_encounter_galleries(encounter_id, [], context=who("move")))
    asked.same(lambda b: b.set_encounter_status(encounter_id, EncounterStatus.INACTIVE, context=who("rest")))
    asked.same(lambda b: b.delete_gallery("gate", context=who("delete")))
    asked.same(lambda b: b.erase("A-1", context=who("erase")))


def test_the_log_keeps_of_a_served_write_what_it_keeps_of_one_in_process(
    office: Any, people: list[FaceImage], plain: Plain, request: pytest.FixtureRequest
) -> None:
    origin = SampleOrigin(datetime(2026, 8, 17, 3, 4, 5, 678_901, UTC), SampleSource.SUPERVISED, "cam 2")
    image = FaceImage(people[0].pixels, origin=origin)
    who = RequestContext(request.node.name, "op 7", "gate 4", "form 9", Purpose.ENROLL)
    kept = []
    for engine, asked in ((office.engine, office.engine), (office.served, office.client)):
        before = max((event.sequence for event in engine.events(limit=1000)), default=0)
        asked.enroll("A-1", [image], override="as it is", context=who)
        (event,) = engine.events(after=before)
        kept.append((event.kind, dict(event.details)))
    assert kept[0] == kept[1]
    assert "2026-08-17T03:04:05.678901+00:00" in kept[0][1]["samples"]


def test_a_stream_answers_what_single_searches_do(asked: Asked, people: list[FaceImage], samples: list[Sample]) -> None:
    _enroll(asked.served, people)
    searches: list[tuple[str, Sequence[Sample]]] = [(f"p-{i}", [sample]) for i, sample in enumerate(samples)]
    answers = dict(asked.client.identify_many([*searches, ("nothing", [])], max_candidates=3))
    assert set(answers) == {*dict(searches), "nothing"}
    assert type(answers.pop("nothing")) is InvalidInputError
    for tag, probe in searches:
        assert asked.plain(answers[tag]) == asked.plain(asked.served.identify(probe, max_candidates=3))


def test_what_breaks_in_the_callers_own_list_is_raised_to_the_caller(asked: Asked, people: list[FaceImage]) -> None:
    def broken() -> Iterator[tuple[str, Sequence[Sample]]]:
        yield "p-0", [people[0]]
        raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        list(asked.client.identify_many(broken()))
    # The line is as good as before.
    asked.same(lambda b: b.identify([people[0]]))


def test_a_stream_may_be_left_before_its_end(office: Any, people: list[FaceImage]) -> None:
    answers = office.client.identify_many((str(number), [people[0]]) for number in range(100))
    assert next(answers)[1].outcome is Outcome.NO_MATCH
    answers.close()
    assert office.client.subjects() == []


def test_calls_that_share_model_runs_answer_as_if_alone(office: Any, people: list[FaceImage]) -> None:
    _enroll(office.served, people)
    alone = [office.served.verify("A-0", [person]) for person in people]
    with ThreadPoolExecutor(len(people)) as threads:
        together = list(threads.map(lambda person: office.client.verify("A-0", [person]), people))
    assert [decision.outcome for decision in together] == [decision.outcome for decision in alone]
    # Sums of a larger batch may be added in another order.
    for one, other in zip(together, alone, strict=True):
        assert one.raw_score == pytest.approx(other.raw_score, abs=1e-5)


def test_large_samples_arrive_whole(asked: Asked, astronaut: FaceImage) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (512, 1400, 3), dtype=np.uint8)  # it does not compress
    image = FaceImage(np.concatenate([astronaut.pixels, noise], axis=1))
    asked.same(lambda b: b.quality([image, image]))
    asked.same(lambda b: b.quality([UnreadableSample("x", bytes(5 << 20))]))
    # Each is small, all together are more than one message may hold.
    asked.same(lambda b: b.quality([UnreadableSample("x", bytes(3 << 19))] * 12))


def test_policies_are_rates_with_a_name(asked: Asked, people: list[FaceImage]) -> None:
    _enroll(asked.served, people)
    client, served, plain = asked.client, asked.served, asked.plain
    assert plain(client.verify("A-0", [people[0]], policy="strict")) == plain(
        served.verify("A-0", [people[0]], max_fmr=1e-4)
    )
    assert plain(client.identify([people[0]], policy="counter")) == plain(served.identify([people[0]], max_fpir=0.01))
    with pytest.raises(InvalidInputError, match="counter, strict"):
        client.verify("A-0", [people[0]], policy="lax")


def test_errors_speak_to_the_operator_in_the_language_of_the_connection(office: Any) -> None:
    texts = {}
    for name in ("client", "async"):
        with pytest.raises(SubjectNotFoundError) as caught:
            office.of(name).subject("nobody")
        (texts[name],) = caught.value.__notes__
    assert texts["client"].startswith("Nobody is enrolled")
    assert texts["async"].startswith("Tidak ada orang")


def test_a_template_is_no_image_to_be_measured(asked: Asked, people: list[FaceImage]) -> None:
    # The one difference: in process a ready template passes through both, over the line only images are measured.
    (template,) = asked.served.extract([people[0]])
    assert template is not None
    assert asked.served.extract([template]) == (template,)
    for call in (asked.client.quality, asked.client.extract):
        with pytest.raises(BiometrikError) as caught:
            call([template])
        assert type(caught.value) is InvalidInputError


@pytest.mark.parametrize("target", soak.targets(), ids=lambda target: target.name)
def test_records_are_inspected_and_converted_as_in_process(asked: Asked, target: soak.Target) -> None:
    kind = RecordType.ISO_19794_2_CARD_COMPACT if target.name == "card, compact" else None
    data, stated, xml = target.sample, Stated(kind, FingerPosition.LEFT_LITTLE), RecordType.CBEFF_XML
    client, plain = asked.client, asked.plain
    assert _outcome(plain, lambda: client.inspect_record(data, stated)) == _outcome(
        plain, lambda: records.inspect(data, stated)
    )
    assert _outcome(plain, lambda: client.convert_record(data, xml, stated, view=1)) == _outcome(
        plain, lambda: records.convert(data, xml, stated, view=1)
    )


def _outcome(plain: Plain, call: Callable[[], Any]) -> Any:
    try:
        return plain(call())
    except BiometrikError as error:
        return error.reason, str(error)
