"""What the station reads of requests and says of moments: bounded, in the words of the contract."""

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration

from biometrik.attempt import Hint, Seen, Shot
from biometrik.errors import InvalidInputError
from biometrik.finger_imaging import decode_print
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.guidance import Guidance
from biometrik.types import FaceImage
from biometrik.v1 import device_service_pb2 as pb
from biometrik_hardware.errors import CaptureTimeoutError
from biometrik_hardware.outcomes import RetryReason
from biometrik_hardware.virtual_bus import Fault, Trouble
from biometrik_station.guiding import ASKED, Moment, Taking, _middle, _moment
from biometrik_station.service import _fault, _response, _seconds
from tests.unit.captured import RIGHT_INDEX, report


def test_whatever_a_scanner_asks_there_is_a_word_for_it() -> None:
    assert set(ASKED) == set(RetryReason)


@pytest.mark.parametrize(("seconds", "fits"), [(0.999, False), (1, True), (300, True), (300.1, False), (-1, False)])
def test_times_are_bounded(seconds: float, fits: bool) -> None:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    request = pb.CaptureRequest(attempt=duration)
    if fits:
        assert _seconds(request, "attempt", 10.0, 1.0, 300.0) == seconds
    else:
        with pytest.raises(InvalidInputError, match="attempt"):
            _seconds(request, "attempt", 10.0, 1.0, 300.0)
    assert _seconds(pb.CaptureRequest(), "attempt", 10.0, 1.0, 300.0) == 10.0


def test_a_ttl_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        _seconds(pb.AcquireDeviceRequest(ttl=Duration()), "ttl", 60.0, 0.0, 600.0)


def test_faults_are_those_of_the_contract() -> None:
    assert _fault(pb.VirtualFault(trouble=pb.TROUBLE_UNPLUG, delay=Duration(nanos=500_000_000))) == Fault(
        Trouble.UNPLUG, 0.5
    )
    assert _fault(pb.VirtualFault()) == Fault(Trouble.NOTHING)
    for wrong in (pb.VirtualFault(trouble=99), pb.VirtualFault(delay=Duration(seconds=61))):  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            _fault(wrong)


def test_a_hint_speaks_the_language_asked_for_and_shows_a_small_picture() -> None:
    pixels = np.zeros((90, 70, 3), dtype=np.uint8)
    said = _response(Moment(Hint(Guidance.COME_CLOSER), None, report(), pixels), "id", 45)
    assert (said.state, said.guidance.code, said.guidance.text) == (
        pb.CAPTURE_STATE_GUIDING,
        pb.GUIDANCE_CODE_COME_CLOSER,
        "Mendekat",
    )
    assert FaceImage.from_bytes(said.preview_jpeg).pixels.shape == (45, 35, 3)
    holding = _response(Moment(Hint(None, 0.25), None, None, None), "en", 45)
    assert (holding.state, holding.good_for.nanos, holding.preview_jpeg) == (
        pb.CAPTURE_STATE_HOLDING,
        250_000_000,
        b"",
    )
    assert not holding.HasField("guidance")
    assert not holding.HasField("report")


def test_a_print_goes_out_as_it_is_with_its_resolution() -> None:
    pixels = np.arange(100 * 80, dtype=np.uint32).reshape(100, 80).astype(np.uint8)
    image = FingerprintImage(pixels, 500.0, FingerPosition.RIGHT_INDEX)
    seen: Seen[Taking] = Seen(0.0, image, report(RIGHT_INDEX), 80, 100)
    said = _response(Moment(None, seen, seen.report, None), "en", 0)
    assert said.state == pb.CAPTURE_STATE_TAKEN
    assert (said.sample.position, said.sample.ppi) == (2, 500.0)
    assert np.array_equal(decode_print(said.sample.data, ppi=500.0).pixels, pixels)


def test_an_attempt_without_a_sample_is_a_timeout() -> None:
    with pytest.raises(CaptureTimeoutError, match="nobody"):
        _moment(Shot(None, None), None, None)


@pytest.mark.parametrize(("shape", "middle"), [((720, 1280), (720, 560)), ((800, 600), (800, 600))])
def test_the_middle_of_a_wide_picture_is_a_portrait(shape: tuple[int, int], middle: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), dtype=np.uint8)
    picture[:, shape[1] // 2] = 255
    cut = _middle(picture)
    assert cut.shape == (*middle, 3)
    assert abs(int(cut[0, :, 0].argmax()) - middle[1] // 2) <= 1
