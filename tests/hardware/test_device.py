"""The device model: state, deadlines that hold whatever the driver does, leases, events, errors in our words."""

import errno
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from biometrik.errors import BiometrikError, InvalidInputError
from biometrik.fingers import FingerPosition
from biometrik_hardware import errors
from biometrik_hardware.deadline import Deadline, Interruption
from biometrik_hardware.errors import (
    CaptureCancelledError,
    CaptureTimeoutError,
    DeviceAccessError,
    DeviceBusyError,
    DeviceError,
    DeviceGoneError,
    DeviceNotFoundError,
    DeviceNotOpenError,
    DeviceProtocolError,
    LeaseLostError,
)
from biometrik_hardware.events import DeviceEvent, DeviceInfo, DeviceKind, DeviceState, EventKind
from biometrik_hardware.fingerprint.scanner import FingerprintScanner, Taken
from biometrik_hardware.leases import LeaseBook, TakeoverRight
from biometrik_hardware.outcomes import Retry, RetryReason
from tests.hardware_emulators.rigs import wave_of

Read = Callable[[Deadline], Taken | None]
RIGHT = TakeoverRight("supervisor 7", "counter closed")


class Scripted(FingerprintScanner):
    """A driver whose hooks a test writes."""

    driver = "scripted"
    reading: Read = staticmethod(lambda deadline: wave_of(FingerPosition.UNKNOWN))
    opening: Callable[[Deadline], None] = staticmethod(lambda deadline: None)
    closed = 0

    @classmethod
    def discover(cls) -> Iterator[DeviceInfo]:
        yield cls.described("a")

    def _open(self, deadline: Deadline) -> None:
        self.opening(deadline)

    def _close(self) -> None:
        self.closed += 1

    def _read(self, position: FingerPosition, deadline: Deadline) -> Taken | None:
        return self.reading(deadline)


def scripted(reading: Read | None = None, opening: Callable[[Deadline], None] | None = None) -> Scripted:
    device = Scripted.at("a")
    if reading is not None:
        device.reading = reading
    if opening is not None:
        device.opening = opening
    return device


def failing(error: Exception) -> Callable[[Deadline], None]:
    def fail(deadline: Deadline) -> None:
        raise error

    return fail


def waits(deadline: Deadline) -> None:
    deadline.wait(60.0)


def hangs(seconds: float) -> Read:
    return lambda deadline: time.sleep(seconds)


def raised_meanwhile(device: Scripted, act: Callable[[], object], timeout_s: float = 5.0) -> Exception | None:
    found: list[Exception | None] = []

    def capture() -> None:
        try:
            device.capture(timeout_s=timeout_s)
            found.append(None)
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=capture)
    thread.start()
    while device.state is not DeviceState.CAPTURING:
        time.sleep(0.001)
    act()
    thread.join(2.0)
    assert found
    return found[0]


def test_a_capture_gives_an_image_of_the_position_asked_for() -> None:
    with scripted() as device:
        taken = device.capture(timeout_s=1.0, position=FingerPosition.LEFT_RING)
        assert not isinstance(taken, Retry)
        assert taken.position is FingerPosition.LEFT_RING


def test_try_again_is_an_outcome() -> None:
    events: list[DeviceEvent] = []
    with scripted(lambda deadline: Retry(RetryReason.KEEP_STILL)) as device:
        device.subscribe(events.append)
        assert device.capture(timeout_s=1.0) == Retry(RetryReason.KEEP_STILL)
        assert device.state is DeviceState.READY
    assert (EventKind.RETRY, "KEEP_STILL") in [(e.kind, e.detail) for e in events]


@pytest.mark.parametrize("reason", RetryReason)
def test_every_retry_reason_has_words_in_both_languages(reason: RetryReason) -> None:
    assert reason.text("en").endswith(".")
    assert reason.text("id").endswith(".")
    assert reason.text("en") != reason.text("id")


def test_a_slap_is_refused_by_a_scanner_for_one_finger() -> None:
    with scripted() as device, pytest.raises(InvalidInputError, match="PLAIN_LEFT_FOUR"):
        device.capture(timeout_s=1.0, position=FingerPosition.PLAIN_LEFT_FOUR)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (OSError(errno.ENODEV, "no such device"), DeviceGoneError),
        (OSError(errno.EIO, "input/output error"), DeviceGoneError),
        (OSError("a library's own"), DeviceGoneError),
        (PermissionError(errno.EACCES, "denied"), DeviceAccessError),
        (TimeoutError(), CaptureTimeoutError),
        (ValueError("of the driver"), DeviceProtocolError),
        (IndexError(), DeviceProtocolError),
        (InvalidInputError("an image without pixels"), DeviceProtocolError),
        (DeviceAccessError("wrong password"), DeviceAccessError),
    ],
)
def test_what_a_driver_raises_reaches_the_application_in_our_words(
    failure: Exception, expected: type[DeviceError]
) -> None:
    with scripted(failing(failure)) as device, pytest.raises(expected) as caught:
        device.capture(timeout_s=1.0)
    assert caught.value.__cause__ is failure or caught.value is failure
    assert "of the driver" not in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (FileNotFoundError(errno.ENOENT, "no such file"), DeviceNotFoundError),
        (OSError(errno.EBUSY, "busy"), DeviceBusyError),
        (PermissionError(errno.EACCES, "denied"), DeviceAccessError),
        (KeyError("x"), DeviceProtocolError),
    ],
)
def test_a_device_that_cannot_be_opened_is_closed(failure: Exception, expected: type[DeviceError]) -> None:
    device = scripted(opening=failing(failure))
    with pytest.raises(expected):
        device.open()
    assert device.state is DeviceState.CLOSED
    assert device.closed == 1
    device.opening = lambda deadline: None
    with device:
        device.capture(timeout_s=1.0)


def test_a_hook_that_ends_late_does_not_hold_up_the_application() -> None:
    device = scripted(hangs(0.8))
    device.open()
    began = time.monotonic()
    with pytest.raises(DeviceGoneError, match="hangs"):
        device.capture(timeout_s=0.2)
    assert time.monotonic() - began < 0.4
    assert device.state is DeviceState.GONE
    with pytest.raises(DeviceBusyError, match="hangs"):
        device.open()
    time.sleep(0.8)
    assert device.closed >= 1  # as soon as the hook came back
    device.reading = lambda deadline: wave_of(FingerPosition.UNKNOWN)
    with device:
        device.capture(timeout_s=1.0)


def test_opening_that_hangs_ends_too() -> None:
    device = scripted(opening=lambda deadline: time.sleep(0.5))
    began = time.monotonic()
    with pytest.raises(DeviceGoneError, match="hangs"):
        device.open(timeout_s=0.1)
    assert time.monotonic() - began < 0.3
    assert device.state is DeviceState.CLOSED


def test_a_gone_device_says_so_until_it_is_opened_again() -> None:
    device = scripted(failing(OSError(errno.ENODEV, "gone")))
    events: list[EventKind] = []
    device.subscribe(lambda event: events.append(event.kind))
    device.open()
    for _ in range(2):
        with pytest.raises(DeviceGoneError):
            device.capture(timeout_s=1.0)
    assert events.count(EventKind.GONE) == 1
    device.reading = lambda deadline: wave_of(FingerPosition.UNKNOWN)
    with device:
        device.capture(timeout_s=1.0)


def test_cancelling_and_closing_end_a_capture_soon() -> None:
    with scripted(waits) as device:
        assert isinstance(raised_meanwhile(device, device.cancel), CaptureCancelledError)
        assert isinstance(raised_meanwhile(device, device.close), DeviceNotOpenError)
        device.cancel()


def test_a_hook_that_ignores_cancelling_is_left() -> None:
    device = scripted(hangs(0.5))
    device.open()
    assert isinstance(raised_meanwhile(device, device.cancel), CaptureCancelledError)
    assert device.state is DeviceState.GONE


def test_only_one_operation_runs() -> None:
    with scripted(waits) as device:
        busy: list[Exception] = []

        def second() -> None:
            try:
                device.capture(timeout_s=1.0)
            except DeviceBusyError as error:
                busy.append(error)
            device.cancel()

        raised_meanwhile(device, second)
        assert len(busy) == 1


def test_hooks_run_in_one_thread() -> None:
    seen: set[int] = set()

    def note(deadline: Deadline) -> None:
        seen.add(threading.get_ident())

    def read(deadline: Deadline) -> Taken:
        note(deadline)
        return wave_of(FingerPosition.UNKNOWN)

    device = scripted(read, note)
    with device:
        for _ in range(3):
            device.capture(timeout_s=1.0)
    assert len(seen) == 1
    assert threading.get_ident() not in seen


def test_a_lease_is_needed_while_somebody_has_one() -> None:
    with scripted() as device:
        lease = device.lease("counter 3", 30.0)
        assert device.holder == "counter 3"
        with pytest.raises(DeviceBusyError, match="counter 3"):
            device.capture(timeout_s=1.0)
        with pytest.raises(DeviceBusyError):
            device.lease("counter 4", 1.0)
        device.capture(timeout_s=1.0, lease=lease)
        device.release(lease)
        device.release(lease)
        device.capture(timeout_s=1.0)
        with pytest.raises(LeaseLostError):
            device.capture(timeout_s=1.0, lease=lease)


def test_a_lease_that_runs_out_ends_the_capture() -> None:
    with scripted(waits) as device:
        lease = device.lease("counter 3", 0.15)
        began = time.monotonic()
        with pytest.raises(LeaseLostError, match="ran out"):
            device.capture(timeout_s=5.0, lease=lease)
        assert time.monotonic() - began < 0.35
        assert device.holder == ""


def test_taking_over_ends_the_capture_and_tells_who_and_why() -> None:
    events: list[DeviceEvent] = []
    with scripted(waits) as device:
        device.subscribe(events.append)
        lease = device.lease("counter 3", 60.0)
        found: list[Exception] = []

        def capture() -> None:
            try:
                device.capture(timeout_s=5.0, lease=lease)
            except DeviceError as error:
                found.append(error)

        thread = threading.Thread(target=capture)
        thread.start()
        while device.state is not DeviceState.CAPTURING:
            time.sleep(0.001)
        taken = device.take_over("counter 4", 60.0, RIGHT)
        thread.join(1.0)
        assert isinstance(found[0], LeaseLostError)
        assert device.holder == "counter 4"
        with pytest.raises(LeaseLostError):
            device.renew(lease, 1.0)
        device.renew(taken, 1.0)
    (told,) = [event for event in events if event.kind is EventKind.LEASE_TAKEN_OVER]
    assert all(word in told.detail for word in ("counter 3", "counter 4", "supervisor 7", "counter closed"))


def test_leases_follow_the_clock() -> None:
    now = [100.0]
    book = LeaseBook("a:b", lambda: now[0])
    lease = book.grant("x", 10.0)
    now[0] = 109.9
    lease = book.renew(lease, 10.0)
    assert lease.expires_at == pytest.approx(119.9)
    now[0] = 119.8
    assert book.check(lease) == pytest.approx(0.1)
    now[0] = 119.9
    assert book.holder == ""
    with pytest.raises(LeaseLostError):
        book.renew(lease, 1.0)
    assert book.take_over("y", 1.0)[1] == ""


@pytest.mark.parametrize(("holder", "ttl_s"), [("", 1.0), ("x" * 129, 1.0), ("a\nb", 1.0), ("x", 0.0), ("x", 1e9)])
def test_a_lease_has_a_holder_and_an_end(holder: str, ttl_s: float) -> None:
    with pytest.raises(InvalidInputError):
        LeaseBook("a:b").grant(holder, ttl_s)


def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told: list[DeviceEvent] = []

    def fail(event: DeviceEvent) -> None:
        raise RuntimeError

    device = scripted()
    device.subscribe(fail)
    end = device.subscribe(told.append)
    with device:
        end()
        end()
    assert [event.kind for event in told] == [EventKind.OPENED]
    assert "a listener failed" in caplog.text


def test_a_device_of_another_driver_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="scripted"):
        Scripted(DeviceInfo("zfm", "x", DeviceKind.FINGERPRINT_SCANNER))


def test_a_deadline_waits_and_is_interrupted() -> None:
    deadline = Deadline(0.05)
    assert deadline.wait(0.01)
    assert not deadline.wait(1.0)
    assert deadline.over
    deadline = Deadline(60.0)
    threading.Timer(0.02, deadline.interrupt, (Interruption.CLOSED,)).start()
    began = time.monotonic()
    assert not deadline.wait(10.0)
    assert time.monotonic() - began < 1.0
    deadline.interrupt(Interruption.CANCELLED)
    assert deadline.interruption is Interruption.CLOSED


def test_every_device_error_is_drawn_and_has_its_reason() -> None:
    classes = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, BiometrikError)]
    ours = [cls for cls in classes if cls.__module__ == errors.__name__]
    assert len(ours) == 10
    assert all(cls.__name__ in (errors.__doc__ or "") for cls in ours)
    assert len({cls.reason for cls in ours}) == len(ours)
