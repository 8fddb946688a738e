"""How long a frame takes from a camera to the application, and what of that the hardware layer adds."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.device_sender import FPS, HEIGHT_PX, WIDTH_PX, number_of, numbered, scene
from benchmarks.history import ROOT, Bar, Result
from benchmarks.options import Options
from benchmarks.race import quartiles
from benchmarks.render import table
from biometrik_hardware.camera.drivers.opencv import OpencvCamera
from biometrik_hardware.camera.drivers.virtual import VirtualCamera
from biometrik_hardware.virtual_bus import BUS, VirtualCameraSetup

TITLE = "From a camera to the application"

_VIRTUAL: Final = "virtual camera"
_OURS: Final = "network camera, opencv driver"
_BARE: Final = "network camera, bare OpenCV"
_FRAMES: Final = 60
#: Frames after opening that do not count: connections and decoders start.
_FIRST: Final = 10
#: What the layer may add from a frame that is available to the application, median, milliseconds.
_BAR_MS: Final = 2.0


def run(options: Options) -> Result:
    """Take frames from each system in turn, round by round."""
    latencies_ms: dict[str, list[float]] = {_VIRTUAL: [], _OURS: [], _BARE: []}
    medians_ms: dict[str, list[float]] = {_OURS: [], _BARE: []}
    lost = {_OURS: 0, _BARE: 0}
    with _sender() as (address, times):
        for _ in range(options.rounds):
            latencies_ms[_VIRTUAL] += _of_virtual()
            for label, take in ((_OURS, _ours), (_BARE, _bare)):
                arrived = take(address)
                found = latencies(arrived, times())
                latencies_ms[label] += found
                medians_ms[label].append(float(np.median(found)))
                lost[label] += _FRAMES - len({number for number, _ in arrived})
    added = quartiles([ours - bare for ours, bare in zip(medians_ms[_OURS], medians_ms[_BARE], strict=True)])
    figures = {
        "latency_ms": {label: spread(found) for label, found in latencies_ms.items()},
        "added_ms": list(added),
        "twice_or_lost": lost,
    }
    virtual = latencies_ms[_VIRTUAL]
    bars = (
        Bar(f"{_VIRTUAL}: from the driver to the application", _BAR_MS, *_bar(quartiles(virtual))),
        Bar(f"{_OURS}: median over {_BARE}", _BAR_MS, *_bar(added)),
    )
    parameters = {"rounds": options.rounds, "frames": _FRAMES, "fps": FPS, "opencv": cv2.__version__}
    return Result(parameters, figures, bars)


def render(run: Mapping[str, Any], _: Path) -> str:
    """Return a table of latencies."""
    found, parameters = run["figures"], run["parameters"]
    rows = [[label, *(f"{value:.2f}" for value in spread_ms)] for label, spread_ms in found["latency_ms"].items()]
    middle, low, high = found["added_ms"]
    return f"""Frames of {WIDTH_PX} × {HEIGHT_PX} pixels at {parameters["fps"]:g} a second, {parameters["frames"]} in
each of {parameters["rounds"]} rounds, the systems in turns; the application waits for each frame. Of the virtual
camera, time counts from when its driver has the frame: this is what the hardware layer adds. Of the network camera (a
process of its own, MJPEG over HTTP on loopback) it counts from when the last byte was handed to the system, so decoding
is in it; the bare loop is OpenCV's `read` and the conversion to RGB in one thread. The layer adds {middle:.2f} ms there
({low:.2f} – {high:.2f}), median of rounds; below 0 is within what two runs of one loop differ by.

{table(["milliseconds", "median", "95th percentile", "greatest"], rows)}
"""


def latencies(arrived: Sequence[tuple[int, float]], sent_at: Sequence[float]) -> list[float]:
    """Return how long frames were on their way.

    Parameters
    ----------
    arrived : sequence of (int, float)
        Number of a frame, and when the application had it, seconds.
    sent_at : sequence of float
        Number → when it was sent, seconds.

    Returns
    -------
    list of float
        Milliseconds.
    """
    return [1e3 * (at - sent_at[number]) for number, at in arrived]


def spread(values: Sequence[float]) -> list[float]:
    """Return median, 95th percentile and greatest."""
    return [float(q) for q in np.quantile(values, [0.5, 0.95, 1.0])]


def _bar(found: tuple[float, float, float]) -> tuple[float, str, bool, float, float]:
    middle, low, high = found
    return middle, "ms", True, low, high


def _of_virtual() -> list[float]:
    picture = scene()
    frames = [numbered(picture, number) for number in range(8)]
    setup = VirtualCameraSetup(lambda index: frames[index % len(frames)], fps=FPS)
    taken = []
    with BUS.plugged("speed", setup), VirtualCamera.at("speed") as camera:
        for _ in range(_FRAMES):
            frame = camera.read(timeout_s=5.0)
            taken.append(1e3 * (time.monotonic() - frame.taken_at))
    return taken


def _ours(address: str) -> list[tuple[int, float]]:
    with OpencvCamera.at(address) as camera:
        return _arrived(lambda: camera.read(timeout_s=5.0).pixels)


def _bare(address: str) -> list[tuple[int, float]]:
    capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG)
    try:
        return _arrived(lambda: np.asarray(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB), np.uint8))
    finally:
        capture.release()


def _arrived(take: Callable[[], NDArray[np.uint8]]) -> list[tuple[int, float]]:
    for _ in range(_FIRST):
        take()
    found = []
    for _ in range(_FRAMES):
        pixels = take()
        found.append((number_of(pixels), time.monotonic()))
    return found


@contextmanager
def _sender() -> Iterator[tuple[str, Callable[[], list[float]]]]:
    # The camera's address, and what asks when its frames were sent.
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.device_sender"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asks, answers = process.stdin, process.stdout

        def times() -> list[float]:
            asks.write("\n")
            asks.flush()
            found: list[float] = json.loads(answers.readline())
            return found

        try:
            yield f"http://127.0.0.1:{int(answers.readline())}/stream.mjpg", times
        finally:
            asks.close()
