"""Guided capture: how soon a face is taken once it is good, and what a guided preview costs a station."""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.race import quartiles
from benchmarks.render import table
from benchmarks.service_process import ServerProcess
from benchmarks.speed_face import shipped_photograph
from biometrik.cli.preview import SIDE_PX
from biometrik.client import StationClient
from biometrik.imaging import encode_png, read_rgb
from biometrik_hardware.virtual_bus import Fault, Trouble

TITLE = "Guided capture"

_FPS: Final = 15.0
#: The picture of a counter's camera, and how wide a portrait in its middle is.
_FRAME: Final = (1280, 720)
_PORTRAIT_PX: Final = 560
#: Head and shoulders in the shipped photograph, rows and columns.
_HEAD: Final = (slice(8, 248), slice(130, 317))
#: For so long the person moves before standing still, frames.
_MOVING: Final = 15
#: For so long a person who stands too far away is guided.
_PREVIEW_S: Final = 20.0
_NEAR, _FAR = "camera:virtual:near", "camera:virtual:far"


def run(options: Options) -> Result:
    """Let one person move for a second and then stand still, again and again; let another stand too far away."""
    photograph = shipped_photograph()
    if photograph is None:
        raise NotRunError("scikit-image, whose photograph is shown, is not installed; run scripts/setup")
    head = read_rgb(photograph)[_HEAD]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        devices = [
            _camera(_NEAR, folder / "near", _framed(head, _PORTRAIT_PX)),
            _camera(_FAR, folder / "far", _framed(head, _PORTRAIT_PX // 3)),
        ]
        with (
            ServerProcess(
                None, options.cache, folder / "station", module="biometrik_station", more="\n".join(devices)
            ) as process,
            StationClient(process.address) as station,
        ):
            taken_s = [_taken_after_s(station) for _ in range(options.rounds)]
            cores, frames = _preview(station, process)
            process.stop()
    after = quartiles(taken_s)
    figures = {"taken_after_s": list(after), "preview_cores": cores, "frames_a_second": frames}
    bars = (
        Bar("from the first good frame told to the sample, slowest of all rounds", 1.0, max(taken_s), "s"),
        Bar("a guided preview of 15 frames a second", 0.6, cores, "cores"),
        Bar("frames told a second (BSI: more than 3)", 3.0, frames, "", False),
    )
    return Result({"rounds": options.rounds, "fps": _FPS, "preview_s": _PREVIEW_S}, figures, bars)


def render(run: Mapping[str, Any], _: Path) -> str:
    """Return a table of the figures."""
    figures = run["figures"]
    middle, low, high = figures["taken_after_s"]
    rows = [
        [
            "from the first good frame told to the sample, s, median (quartiles)",
            f"{middle:.2f} ({low:.2f} – {high:.2f})",
        ],
        ["processor time of a guided preview, cores", f"{figures['preview_cores']:.2f}"],
        ["frames told a second", f"{figures['frames_a_second']:.1f}"],
    ]
    rounds, preview_s = run["parameters"]["rounds"], run["parameters"]["preview_s"]
    width, height = _FRAME
    return f"""A station in a process of its own with virtual cameras of {width} × {height} pixels at {_FPS:g} frames
a second; the client asks for a preview of {SIDE_PX} pixels. A person moves for a second and then stands still,
{rounds} times; another stands too far away for {preview_s:g} s. A camera's own decoding is not in it: virtual cameras
have none.

{table(["what", "measured"], rows)}
"""


def _framed(head: NDArray[np.uint8], width_px: int) -> NDArray[np.uint8]:
    # A head of this width before a gray wall.
    width, height = _FRAME
    side = width_px, round(width_px * height / _PORTRAIT_PX)
    frame = np.full((height, width, 3), 120, dtype=np.uint8)
    left, top = (width - side[0]) // 2, (height - side[1]) // 2
    frame[top : top + side[1], left : left + side[0]] = cv2.resize(head, side, interpolation=cv2.INTER_CUBIC)
    return frame


def _camera(device_id: str, folder: Path, frame: NDArray[np.uint8]) -> str:
    folder.mkdir()
    (folder / "frame.png").write_bytes(encode_png(frame))
    return f"[[devices]]\nid = {json.dumps(device_id)}\nshows = {json.dumps(str(folder))}\nfps = {_FPS}"


def _taken_after_s(station: StationClient) -> float:
    lease = station.acquire(_NEAR)
    station.script(_NEAR, *[Fault(Trouble.SMEAR)] * _MOVING)
    good_at_s = 0.0
    for moment in station.capture(lease):
        quality = moment.report.quality if moment.report is not None else None
        if not good_at_s and quality is not None and quality.acceptable:
            good_at_s = time.perf_counter()
    taken_at_s = time.perf_counter()
    station.release(lease)
    if not good_at_s or quality is None or not quality.acceptable:
        raise NotRunError("station: expected a face that becomes good, got none")
    return taken_at_s - good_at_s


def _preview(station: StationClient, process: ServerProcess) -> tuple[float, float]:
    # Cores that a preview keeps busy, and the frames that it tells a second.
    lease = station.acquire(_FAR, ttl_s=2 * _PREVIEW_S)
    before, told = process.usage(), 0
    for moment in station.capture(lease, attempt_s=_PREVIEW_S, preview_side_px=SIDE_PX):
        told += bool(moment.preview)
    after = process.usage()
    station.release(lease)
    passed_s = after.at_s - before.at_s
    return (after.cpu_s - before.cpu_s) / passed_s, told / passed_s
