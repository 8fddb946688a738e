"""One attempt, on a clock of its own: good for long enough, calm words, an end in time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrik.attempt import FACE_ATTEMPT, STILL, Attempt, AttemptParameters, Hint, Seen, Shot, better
from biometrik.errors import InvalidInputError
from biometrik.guidance import Guidance
from biometrik.reasons import Reason
from biometrik.types import FACE, SampleReport
from tests.unit.captured import RIGHT_INDEX, face_at, frame, report, unusable

HOLD_S = FACE_ATTEMPT.hold_s
FPS = 15.0


def run(attempt: Attempt[str], frames: list[Seen[str]]) -> list[Hint | Shot[str]]:
    steps: list[Hint | Shot[str]] = []
    for each in frames:
        steps.append(attempt.see(each))
        if isinstance(steps[-1], Shot):
            break
    return steps


def stream(count: int, said: SampleReport | None = None, start_s: float = 0.0) -> list[Seen[str]]:
    return [frame(start_s + i / FPS, said) for i in range(count)]


def taken(step: Hint | Shot[str]) -> str:
    assert isinstance(step, Shot)
    assert step.seen is not None
    return step.seen.sample


def test_a_face_is_taken_within_a_second_of_being_good_and_not_before_it_has_held() -> None:
    steps = run(Attempt(FACE, 0.0), stream(30))
    ended_s = (len(steps) - 1) / FPS
    assert HOLD_S <= ended_s <= HOLD_S + 1 / FPS + 1e-9 < 1.0
    taken(steps[-1])
    assert all(isinstance(step, Hint) and step.guidance in (None, Guidance.FACE_CAMERA) for step in steps[:-1])


def test_the_slowest_preview_takes_two_good_frames_at_least() -> None:
    steps = run(Attempt(FACE, 0.0), [frame(i / 3) for i in range(10)])
    assert len(steps) == 3
    assert HOLD_S <= 2 / 3 < 1.0


def test_the_best_frame_of_the_hold_is_taken_not_the_last() -> None:
    frames = stream(20)
    frames[3] = frame(3 / FPS, report(overall=95.0), "best")
    assert taken(run(Attempt(FACE, 0.0), frames)[-1]) == "best"


def test_a_good_frame_before_a_bad_one_does_not_count_towards_the_hold() -> None:
    frames = stream(20)
    frames[1] = frame(1 / FPS, report(overall=99.0), "early")
    frames[4] = frame(4 / FPS, report(reason=Reason.LOOK_STRAIGHT))
    steps = run(Attempt(FACE, 0.0), frames)
    assert (len(steps) - 1) / FPS >= 5 / FPS + HOLD_S - 1e-9
    assert taken(steps[-1]) != "early"


def test_a_stalled_stream_is_no_evidence_of_having_been_good() -> None:
    attempt: Attempt[str] = Attempt(FACE, 0.0)
    assert isinstance(attempt.see(frame(0.0)), Hint)
    step = attempt.see(frame(FACE_ATTEMPT.max_gap_s + 0.01))
    assert isinstance(step, Hint)
    assert step.good_for_s == 0.0
    waited = attempt.pass_time(3.0)
    assert isinstance(waited, Hint)
    assert waited.good_for_s == 0.0


def test_several_people_are_never_taken_whatever_the_profile_says_of_them() -> None:
    attempt: Attempt[str] = Attempt(FACE, 0.0)
    steps = run(attempt, stream(200, report(faces=2)))
    assert isinstance(steps[0], Hint)
    assert all(step.guidance is Guidance.ONE_PERSON for step in steps[20:-1] if isinstance(step, Hint))
    assert isinstance(steps[-1], Shot)
    assert steps[-1].seen is None
    assert steps[-1].last is not None


@pytest.mark.parametrize(("share", "good"), [(0.9, True), (1.1, False)])
def test_a_face_that_moves_too_fast_is_asked_to_stand_still(share: float, good: bool) -> None:
    step_px = share * STILL * 70 / FPS
    frames = [frame(i / FPS, report(face=face_at(x=100 + i * step_px))) for i in range(12)]
    steps = run(Attempt(FACE, 0.0), frames)
    assert isinstance(steps[-1], Shot) is good
    if not good:
        later = Attempt[str](FACE, -2.0)
        last = run(later, frames)[-1]
        assert isinstance(last, Hint)
        assert last.guidance is Guidance.STAND_STILL


def test_words_stand_long_enough_to_be_followed_but_good_news_comes_at_once() -> None:
    attempt: Attempt[str] = Attempt(FACE, -5.0)
    far, turned = report(reason=Reason.FACE_TOO_SMALL), report(reason=Reason.LOOK_STRAIGHT)
    words = []
    for i, said in enumerate([far, turned, turned, turned, turned, turned, report(), far]):
        step = attempt.see(frame(i * 0.3, said))
        assert isinstance(step, Hint)
        words.append(step.guidance)
    assert words[:4] == [Guidance.COME_CLOSER] * 4
    assert words[4:6] == [Guidance.LOOK_STRAIGHT] * 2
    assert words[6:] == [None, Guidance.COME_CLOSER]


def test_time_that_is_up_gives_the_best_of_one_person() -> None:
    attempt: Attempt[str] = Attempt(FACE, 0.0)
    attempt.see(frame(1.0, report(overall=30.0, reason=Reason.TOO_DARK), "poor"))
    attempt.see(frame(2.0, report(overall=50.0, reason=Reason.TOO_DARK), "less poor"))
    attempt.see(frame(3.0, report(overall=90.0, faces=2), "two people"))
    attempt.see(frame(4.0, unusable(Reason.NO_FACE), "nobody"))
    assert taken(attempt.pass_time(10.0)) == "less poor"


def test_nobody_in_time_gives_nothing_and_what_was_wrong() -> None:
    attempt: Attempt[str] = Attempt(FACE, 0.0)
    attempt.see(frame(9.0, unusable(Reason.NO_FACE)))
    step = attempt.see(frame(10.0, unusable(Reason.NO_FACE)))
    assert isinstance(step, Shot)
    assert step.seen is None
    assert step.last is not None
    assert step.last.report.reasons == (Reason.NO_FACE,)


@pytest.mark.parametrize("said", [report(RIGHT_INDEX), report(RIGHT_INDEX, 5.0, Reason.PRESS_HARDER)])
def test_the_first_print_ends_an_attempt_good_or_not(said: SampleReport) -> None:
    assert taken(Attempt[str](RIGHT_INDEX, 0.0).see(frame(1.0, said, "print"))) == "print"


def test_what_the_scanner_asks_is_passed_on_and_does_not_end_the_attempt() -> None:
    attempt: Attempt[str] = Attempt(RIGHT_INDEX, 0.0)
    waiting = attempt.pass_time(0.5)
    assert waiting == Hint(Guidance.PLACE_FINGER)
    assert attempt.ask_again(0.6, Guidance.KEEP_STILL) == Hint(Guidance.KEEP_STILL)
    assert attempt.pass_time(0.7) == Hint(Guidance.KEEP_STILL)
    step = attempt.ask_again(10.0, Guidance.KEEP_STILL)
    assert isinstance(step, Shot)
    assert step.seen is None


def test_an_attempt_that_is_over_takes_no_more() -> None:
    attempt: Attempt[str] = Attempt(RIGHT_INDEX, 0.0)
    attempt.pass_time(10.0)
    with pytest.raises(InvalidInputError, match="is over"):
        attempt.see(frame(11.0, report(RIGHT_INDEX)))


@pytest.mark.parametrize("at_s", [0.9, math.nan])
def test_a_clock_that_goes_backwards_is_an_error(at_s: float) -> None:
    attempt: Attempt[str] = Attempt(FACE, 1.0)
    with pytest.raises(InvalidInputError, match="backwards"):
        attempt.pass_time(at_s)


def test_a_print_is_no_face() -> None:
    with pytest.raises(InvalidInputError, match="expected a face, got a finger"):
        Attempt[str](FACE, 0.0).see(frame(1.0, report(RIGHT_INDEX)))


@pytest.mark.parametrize(
    "times",
    [
        {"hold_s": -1.0},
        {"hold_s": 10.0},
        {"timeout_s": 0.0},
        {"max_gap_s": 0.0},
        {"word_s": -1.0},
        {"hold_s": math.nan},
    ],
)
def test_times_that_make_no_sense_are_refused(times: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="attempt: expected"):
        AttemptParameters(**times)


def test_acceptable_beats_poor_and_poor_beats_unmeasured() -> None:
    poor, unmeasured = report(overall=99.0, reason=Reason.TOO_DARK), unusable(Reason.NO_FACE)
    assert better(report(overall=1.0), poor)
    assert better(poor, unmeasured)
    assert better(unmeasured, None)
    assert not better(poor, poor)


_REPORTS = st.sampled_from(
    [
        report(),
        report(overall=95.0),
        report(overall=40.0, reason=Reason.TOO_DARK),
        report(faces=2),
        report(face=face_at(x=0)),
        unusable(Reason.NO_FACE),
    ]
)


@given(st.lists(st.tuples(st.floats(0.0, 1.5), _REPORTS), min_size=1, max_size=60))
def test_whatever_comes_every_attempt_ends_in_time_and_takes_one_person(
    events: list[tuple[float, SampleReport]],
) -> None:
    attempt: Attempt[str] = Attempt(FACE, 0.0)
    now_s = 0.0
    for gap_s, said in events:
        now_s += gap_s
        step = attempt.see(frame(now_s, said))
        if isinstance(step, Shot):
            assert step.seen is None or (step.seen.alone and step.seen.report.usable)
            assert step.seen is None or now_s >= FACE_ATTEMPT.timeout_s or step.seen.good
            break
        assert now_s < FACE_ATTEMPT.timeout_s
        assert 0.0 <= step.good_for_s < HOLD_S
