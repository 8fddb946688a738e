"""The arithmetic and the words of the benchmark of devices; nothing is timed here."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import speed_devices as benchmark
from benchmarks.device_sender import number_of, numbered, scene


@pytest.mark.parametrize("number", [0, 1, 137, 255, 65_535])
def test_a_frame_tells_its_number_after_compression(number: int) -> None:
    _, jpeg = cv2.imencode(".jpg", numbered(scene(), number), [cv2.IMWRITE_JPEG_QUALITY, 30])
    assert number_of(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)) == number


def test_a_frame_is_timed_from_when_it_was_sent() -> None:
    assert benchmark.latencies([(1, 10.5), (0, 12.0)], [11.0, 10.0]) == pytest.approx([500.0, 1000.0])


def test_the_page_shows_medians_and_what_is_added(tmp_path: Path) -> None:
    figures = {
        "latency_ms": {"virtual camera": benchmark.spread([0.1] * 99 + [7.0]), "other": [3.0, 4.0, 5.0]},
        "added_ms": [0.4, 0.3, 0.6],
        "twice_or_lost": {},
    }
    text = benchmark.render({"parameters": {"rounds": 5, "fps": 30.0, "frames": 60}, "figures": figures}, tmp_path)
    assert "| virtual camera | 0.10 | 0.10 | 7.00 |" in text
    assert "adds 0.40 ms there\n(0.30 – 0.60)" in text
