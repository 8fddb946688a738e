"""A visit's samples: three attempts, the best of them, one finger not twice, missing fingers, the operator's word."""

from collections.abc import Mapping

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from biometrik.attempt import AttemptParameters, Hint
from biometrik.capture import MAX_ATTEMPTS, MAX_LOG, Capture
from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition
from biometrik.guidance import Guidance
from biometrik.reasons import Reason
from biometrik.types import FACE, MissingReason, MissingSample, Modality, SampleReport, Trait
from biometrik.verdicts import CaptureBasis, Failed, OverrideKind, Taken, TraitStanding, TryAgain
from tests.unit.captured import LEFT_INDEX, RIGHT_INDEX, RIGHT_MIDDLE, frame, report, unusable

AMPUTATED = MissingSample(FingerPosition.RIGHT_MIDDLE, MissingReason.AMPUTATED, permanent=True)


def same_name(sample: str, others: Mapping[Trait, str]) -> Trait | None:
    """Prints of these tests are one finger where their first words are one."""
    return next((trait for trait, other in others.items() if other.split()[0] == sample.split()[0]), None)


def capture(*wanted: Trait) -> Capture[str]:
    return Capture(wanted or (RIGHT_INDEX, RIGHT_MIDDLE, FACE), same_finger=same_name)


def poor(overall: float, trait: Trait = RIGHT_INDEX) -> SampleReport:
    reason = Reason.PRESS_HARDER if trait.modality is Modality.FINGER else Reason.TOO_DARK
    return report(trait, overall, reason)


def test_a_good_print_is_taken_at_once_and_the_next_finger_is_due() -> None:
    visit = capture()
    step = visit.present(RIGHT_INDEX, "index", report(RIGHT_INDEX))
    assert isinstance(step, Taken)
    assert (step.sample, step.basis, step.attempts) == ("index", CaptureBasis.GOOD, 1)
    assert visit.wanted == (RIGHT_MIDDLE, FACE)
    assert not visit.finished


def test_after_three_poor_attempts_the_best_by_quality_is_taken() -> None:
    visit = capture()
    first = visit.present(RIGHT_INDEX, "a", poor(10))
    assert first == TryAgain(RIGHT_INDEX, 2, (Reason.PRESS_HARDER,))
    assert isinstance(visit.present(RIGHT_INDEX, "b", poor(25)), TryAgain)
    step = visit.present(RIGHT_INDEX, "c", poor(20))
    assert isinstance(step, Taken)
    assert (step.sample, step.basis, step.attempts) == ("b", CaptureBasis.BEST_OF_ATTEMPTS, 3)
    assert visit.standing(RIGHT_INDEX) is TraitStanding.TAKEN


def test_three_attempts_that_gave_nothing_fail_the_trait() -> None:
    visit = capture()
    for left in (2, 1):
        step = visit.present(RIGHT_INDEX, "x", unusable(Reason.TOO_FEW_MINUTIAE, RIGHT_INDEX))
        assert step == TryAgain(RIGHT_INDEX, left, (Reason.TOO_FEW_MINUTIAE,))
    assert visit.fail(RIGHT_INDEX, (Reason.NO_FINGERPRINT,)) == Failed(RIGHT_INDEX, (Reason.NO_FINGERPRINT,))
    assert visit.standing(RIGHT_INDEX) is TraitStanding.FAILED
    assert not visit.finished
    with pytest.raises(InvalidInputError, match="FAILED; restart it"):
        visit.present(RIGHT_INDEX, "x", report(RIGHT_INDEX))


def test_a_photograph_of_two_people_is_never_the_best() -> None:
    visit = capture(FACE)
    step = visit.present(FACE, "crowd", report(faces=2))
    assert step == TryAgain(FACE, 2, (Reason.SEVERAL_FACES,))
    visit.fail(FACE, (Reason.NO_FACE,))
    assert isinstance(visit.fail(FACE, (Reason.NO_FACE,)), Failed)


def test_the_same_finger_twice_is_found_named_and_never_the_best() -> None:
    visit = capture()
    visit.present(RIGHT_INDEX, "index", report(RIGHT_INDEX))
    step = visit.present(RIGHT_MIDDLE, "index again", report(RIGHT_MIDDLE, 99.0))
    assert step == TryAgain(RIGHT_MIDDLE, 2, (Reason.SAME_FINGER_TWICE,), same_as=RIGHT_INDEX)
    visit.present(RIGHT_MIDDLE, "index again", report(RIGHT_MIDDLE, 99.0))
    last = visit.present(RIGHT_MIDDLE, "index again", report(RIGHT_MIDDLE, 99.0))
    assert last == Failed(RIGHT_MIDDLE, (Reason.SAME_FINGER_TWICE,), same_as=RIGHT_INDEX)


def test_the_wrong_hand_is_found_when_its_turn_comes_and_the_first_is_begun_again() -> None:
    visit = capture(RIGHT_INDEX, LEFT_INDEX)
    visit.present(RIGHT_INDEX, "left-index", report(RIGHT_INDEX))  # the wrong hand: nothing to hold it against yet
    step = visit.present(LEFT_INDEX, "left-index", report(LEFT_INDEX))
    assert isinstance(step, TryAgain)
    assert step.same_as == RIGHT_INDEX
    visit.restart(RIGHT_INDEX)
    assert isinstance(visit.present(LEFT_INDEX, "left-index", report(LEFT_INDEX)), Taken)
    assert isinstance(visit.present(RIGHT_INDEX, "right-index", report(RIGHT_INDEX)), Taken)
    assert visit.finished


@pytest.mark.parametrize("overridden", [False, True])
def test_a_finger_that_is_taken_as_another_meanwhile_is_no_longer_the_best(overridden: bool) -> None:
    visit = capture()
    visit.present(RIGHT_INDEX, "middle", poor(10))
    visit.present(RIGHT_MIDDLE, "middle", report(RIGHT_MIDDLE))
    if overridden:
        with pytest.raises(InvalidInputError, match="because of QUALITY"):
            visit.override(RIGHT_INDEX, OverrideKind.QUALITY, "why")
        assert visit.override(RIGHT_INDEX, OverrideKind.SAME_FINGER, "why").sample == "middle"
    else:
        visit.fail(RIGHT_INDEX, (Reason.NO_FINGERPRINT,))
        assert isinstance(visit.fail(RIGHT_INDEX, (Reason.NO_FINGERPRINT,)), Failed)


def test_another_attempt_at_the_same_finger_is_not_twice() -> None:
    visit = capture()
    visit.present(RIGHT_INDEX, "index", poor(10))
    assert isinstance(visit.present(RIGHT_INDEX, "index", report(RIGHT_INDEX)), Taken)


def test_faces_are_not_held_against_fingers() -> None:
    visit = capture()
    visit.present(RIGHT_INDEX, "name", report(RIGHT_INDEX))
    assert isinstance(visit.present(FACE, "name", report()), Taken)


def test_a_missing_finger_is_data() -> None:
    visit = capture(RIGHT_MIDDLE)
    visit.mark_missing(AMPUTATED)
    assert visit.standing(RIGHT_MIDDLE) is TraitStanding.MISSING
    assert visit.missing == (AMPUTATED,)
    assert visit.finished
    assert visit.log[-1].detail == "AMPUTATED permanent"


def test_a_finger_that_was_taken_and_is_then_missing_is_dropped() -> None:
    visit = capture(RIGHT_MIDDLE)
    visit.present(RIGHT_MIDDLE, "ring", report(RIGHT_MIDDLE))
    visit.mark_missing(AMPUTATED)
    assert not visit.taken


def test_only_what_is_asked_for_can_be_missing() -> None:
    with pytest.raises(InvalidInputError, match="expected one of right_index, got right_middle"):
        capture(RIGHT_INDEX).mark_missing(AMPUTATED)


def test_the_operator_takes_a_poor_print_with_a_reason() -> None:
    visit = capture()
    visit.present(RIGHT_INDEX, "scarred", poor(10))
    step = visit.override(RIGHT_INDEX, OverrideKind.QUALITY, "scar over the core")
    assert (step.sample, step.basis, step.attempts) == ("scarred", CaptureBasis.OVERRIDE, 1)
    assert [entry.what for entry in visit.log] == ["TRY_AGAIN", "OVERRIDE", "TAKEN"]
    assert visit.log[1].detail == "QUALITY: scar over the core"


def test_the_operator_says_that_two_fingers_are_two() -> None:
    visit = capture()
    visit.present(RIGHT_INDEX, "index", report(RIGHT_INDEX))
    visit.present(RIGHT_MIDDLE, "index alike", report(RIGHT_MIDDLE))
    with pytest.raises(InvalidInputError, match="because of QUALITY"):
        visit.override(RIGHT_MIDDLE, OverrideKind.QUALITY, "seen")
    step = visit.override(RIGHT_MIDDLE, OverrideKind.SAME_FINGER, "both seen")
    assert (step.sample, step.basis) == ("index alike", CaptureBasis.OVERRIDE)


@pytest.mark.parametrize("reason", ["", "x" * 129, "line\nbreak"])
def test_an_override_needs_a_reason_that_can_be_written_down(reason: str) -> None:
    visit = capture()
    visit.present(RIGHT_INDEX, "a", poor(10))
    with pytest.raises(InvalidInputError, match="1 to 128 printable"):
        visit.override(RIGHT_INDEX, OverrideKind.QUALITY, reason)
    assert visit.standing(RIGHT_INDEX) is TraitStanding.WANTED


def test_nothing_can_be_overridden_that_was_not_presented() -> None:
    with pytest.raises(InvalidInputError, match="override: expected"):
        capture().override(FACE, OverrideKind.QUALITY, "why")


def test_to_restart_forgets_attempts_and_samples() -> None:
    visit = capture()
    visit.present(RIGHT_INDEX, "a", poor(25))
    visit.restart(RIGHT_INDEX)
    assert visit.attempts_left(RIGHT_INDEX) == MAX_ATTEMPTS
    with pytest.raises(InvalidInputError, match="override: expected"):
        visit.override(RIGHT_INDEX, OverrideKind.QUALITY, "why")


def test_a_cancelled_capture_holds_nothing_and_takes_nothing() -> None:
    visit = capture()
    visit.present(RIGHT_INDEX, "a", report(RIGHT_INDEX))
    visit.cancel()
    visit.cancel()
    assert not visit.taken
    assert not visit.finished
    assert visit.cancelled
    assert [entry.what for entry in visit.log] == ["TAKEN", "CANCELLED"]
    for act in (
        lambda: visit.present(RIGHT_INDEX, "a", report(RIGHT_INDEX)),
        lambda: visit.begin(RIGHT_INDEX, 0.0),
        lambda: visit.restart(RIGHT_INDEX),
        lambda: visit.mark_missing(AMPUTATED),
        lambda: visit.override(RIGHT_INDEX, OverrideKind.QUALITY, "why"),
    ):
        with pytest.raises(InvalidInputError, match="cancelled"):
            act()


def test_the_log_is_bounded_and_a_full_one_can_still_be_cancelled() -> None:
    visit = capture()
    for _ in range(MAX_LOG):
        visit.restart(FACE)
    with pytest.raises(InvalidInputError, match="at most 1000 acts"):
        visit.restart(FACE)
    visit.cancel()
    assert len(visit.log) == MAX_LOG + 1


def test_a_stream_is_taken_to_a_verdict() -> None:
    visit = capture()
    visit.begin(FACE, 0.0)
    steps = [visit.see(frame(i / 10)) for i in range(5)]
    assert all(isinstance(step, Hint) for step in steps[:-1])
    last = steps[-1]
    assert isinstance(last, Taken)
    assert (last.trait, last.basis) == (FACE, CaptureBasis.GOOD)
    with pytest.raises(InvalidInputError, match="got none; begin one"):
        visit.see(frame(1.0))


def test_a_stream_that_was_never_good_counts_as_an_attempt_and_its_best_frame_is_kept() -> None:
    visit = capture(FACE)
    for attempt in range(MAX_ATTEMPTS):
        visit.begin(FACE, 20.0 * attempt)
        visit.see(frame(20.0 * attempt + 1, poor(30.0 + attempt, FACE), f"frame {attempt}"))
        step = visit.pass_time(20.0 * attempt + 10)
    assert isinstance(step, Taken)
    assert (step.sample, step.basis) == ("frame 2", CaptureBasis.BEST_OF_ATTEMPTS)


@pytest.mark.parametrize(("trait", "nothing"), [(FACE, Reason.NO_FACE), (RIGHT_INDEX, Reason.NO_FINGERPRINT)])
def test_nobody_who_comes_is_an_attempt_too(trait: Trait, nothing: Reason) -> None:
    visit = capture()
    visit.begin(trait, 0.0)
    assert isinstance(visit.pass_time(9.9), Hint)
    assert visit.pass_time(10.0) == TryAgain(trait, 2, (nothing,))


def test_a_device_that_goes_ends_the_attempt_without_counting_it() -> None:
    visit = capture()
    visit.begin(RIGHT_INDEX, 0.0)
    visit.ask_again(0.5, Guidance.PRESS_HARDER)
    visit.interrupt("DEVICE_REMOVED")
    assert visit.attempts_left(RIGHT_INDEX) == MAX_ATTEMPTS
    assert visit.log[-1].what == "INTERRUPTED"
    visit.begin(RIGHT_INDEX, 60.0)
    assert isinstance(visit.see(frame(61.0, report(RIGHT_INDEX))), Taken)


@pytest.mark.parametrize("word", [Guidance.OPEN_EYES, Guidance.CLOSE_MOUTH])
def test_what_a_camera_sees_for_itself_is_said_and_the_face_must_be_good_anew_after_it(word: Guidance) -> None:
    visit = capture()
    visit.begin(FACE, 0.0)
    assert isinstance(visit.see(frame(0.1)), Hint)
    assert visit.ask_again(0.3, word) == Hint(word)
    assert isinstance(visit.see(frame(0.6)), Hint)
    assert word.text() != word.text("id")


def test_the_operators_word_ends_the_attempt_that_goes_on() -> None:
    visit = capture()
    visit.begin(RIGHT_MIDDLE, 0.0)
    visit.mark_missing(AMPUTATED)
    with pytest.raises(InvalidInputError, match="begin one"):
        visit.pass_time(1.0)


def test_times_of_attempts_can_be_set() -> None:
    quick = {Modality.FACE: AttemptParameters(hold_s=0.0)}
    visit: Capture[str] = Capture([FACE], parameters=quick)
    visit.begin(FACE, 0.0)
    assert isinstance(visit.see(frame(0.1)), Taken)


@pytest.mark.parametrize("wanted", [[], [FACE, FACE]])
def test_what_is_wanted_is_wanted_once(wanted: list[Trait]) -> None:
    with pytest.raises(InvalidInputError, match="wanted: expected"):
        Capture[str](wanted)


def test_a_print_is_not_presented_as_a_face() -> None:
    with pytest.raises(InvalidInputError, match="expected a face, got a finger"):
        capture().present(FACE, "a", report(RIGHT_INDEX))


TRAITS = st.sampled_from([FACE, RIGHT_INDEX, RIGHT_MIDDLE, LEFT_INDEX])
FINGERS = st.sampled_from(["one", "two", "three"])


class Visits(RuleBasedStateMachine):
    """Whatever a station, a person and an operator do, in whatever order, the rules hold."""

    @initialize()
    def begin_visit(self) -> None:
        self.visit = capture(FACE, RIGHT_INDEX, RIGHT_MIDDLE, LEFT_INDEX)
        self.now_s = 0.0
        self.going_on: Trait | None = None

    @rule(trait=TRAITS, finger=FINGERS, overall=st.floats(0, 100), good=st.booleans())
    def present(self, trait: Trait, finger: str, overall: float, good: bool) -> None:
        said = report(trait, overall) if good else poor(overall, trait)
        left = self.visit.attempts_left(trait)
        if self.visit.standing(trait) is not TraitStanding.WANTED or self.visit.cancelled:
            with pytest.raises(InvalidInputError):
                self.visit.present(trait, finger, said)
            return
        step = self.visit.present(trait, finger, said)
        twin = trait != FACE and any(t.sample == finger for k, t in self.visit.taken.items() if k not in (trait, FACE))
        if isinstance(step, Taken):
            assert step.basis is not CaptureBasis.OVERRIDE
            assert (step.basis is CaptureBasis.GOOD) == (good and not twin)
            assert step.basis is CaptureBasis.GOOD or left == 1
        else:
            assert twin or not good
            assert (step.same_as is not None) == twin
            assert isinstance(step, Failed) == (left == 1)

    @rule(trait=TRAITS)
    def begin(self, trait: Trait) -> None:
        if self.visit.standing(trait) is TraitStanding.WANTED and not self.visit.cancelled:
            self.visit.begin(trait, self.now_s)
            self.going_on = trait

    @rule(gap_s=st.floats(0, 4), good=st.booleans(), finger=FINGERS)
    def see(self, gap_s: float, good: bool, finger: str) -> None:
        self.now_s += gap_s
        trait = self.going_on
        if trait is None or self.visit.standing(trait) is not TraitStanding.WANTED or self.visit.cancelled:
            return
        said = report(trait) if good else poor(20, trait)
        try:
            step = self.visit.see(frame(self.now_s, said, finger))
        except InvalidInputError as error:
            assert "begin one" in str(error)  # noqa: PT017  (an operator's act had ended it)
            return
        if not isinstance(step, Hint):
            self.going_on = None

    @rule(trait=TRAITS, kind=st.sampled_from(list(OverrideKind)))
    def override(self, trait: Trait, kind: OverrideKind) -> None:
        try:
            step = self.visit.override(trait, kind, "because")
        except InvalidInputError:
            return
        assert step.basis is CaptureBasis.OVERRIDE
        assert any(entry.what == "OVERRIDE" and entry.trait == trait for entry in self.visit.log)

    @rule(trait=TRAITS)
    def restart(self, trait: Trait) -> None:
        if not self.visit.cancelled:
            self.visit.restart(trait)

    @rule()
    def mark_missing(self) -> None:
        if not self.visit.cancelled:
            self.visit.mark_missing(AMPUTATED)

    @rule(sure=st.integers(0, 9))
    def cancel(self, sure: int) -> None:
        if sure == 0:
            self.visit.cancel()

    @invariant()
    def standings_and_samples_agree(self) -> None:
        if not hasattr(self, "visit"):
            return
        for trait in (FACE, RIGHT_INDEX, RIGHT_MIDDLE, LEFT_INDEX):
            standing = self.visit.standing(trait)
            assert (standing is TraitStanding.TAKEN) == (trait in self.visit.taken)
            assert (standing is TraitStanding.WANTED) == (trait in self.visit.wanted)
            assert 0 <= self.visit.attempts_left(trait) <= MAX_ATTEMPTS
            assert (self.visit.attempts_left(trait) == 0) == (standing is not TraitStanding.WANTED)
        assert (self.visit.standing(RIGHT_MIDDLE) is TraitStanding.MISSING) == (self.visit.missing == (AMPUTATED,))
        if self.visit.cancelled:
            assert not self.visit.taken
            assert not self.visit.finished

    @invariant()
    def no_finger_is_taken_twice_without_the_operators_word(self) -> None:
        if not hasattr(self, "visit"):
            return
        free = [t for t in self.visit.taken.values() if t.trait != FACE and t.basis is not CaptureBasis.OVERRIDE]
        names = [t.sample for t in free]
        assert len(set(names)) == len(names)


TestVisits = Visits.TestCase
