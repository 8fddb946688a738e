"""How many bytes a verification and an enrolment send, and what compact samples cost recognition."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.history import Bar, Result
from benchmarks.options import Options
from benchmarks.render import table
from biometrik.client.operations import Operations
from biometrik.config import EngineConfig
from biometrik.demo.photographs import ASTRONAUT, GROUP, PORTRAIT, cut_out, find, photographed_again
from biometrik.fingers import FingerPosition
from biometrik.recognition import Recognition
from biometrik.samples import PreparedSample, Sample
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.transport import compact
from biometrik.types import FaceImage, RequestContext

TITLE = "Bytes on the line"

#: What a request with one sample may take, bytes.
_FACE_BAR: Final = 40_000
_FINGER_BAR: Final = 20_000
#: People whose ten fingers are drawn.
_PEOPLE: Final = 4
#: Lines of a camera's frame, and the noise that its sensor adds, gray levels.
_LINES_PX: Final = 720
_NOISE: Final = 3.0


def run(_: Options) -> Result:
    """Make samples compact, count the bytes of requests with them, and compare them with the originals."""
    recognition = Recognition(EngineConfig())
    frames = _frames(recognition)
    faces = recognition.prepare(frames)
    small_faces = [compact(frame, face.report.face) for frame, face in zip(frames, faces, strict=True)]
    again = recognition.prepare([photographed_again(frame, seed) for seed, frame in enumerate(frames)])
    prints = [
        draw_impression(draw_finger(seed, FingerPosition(position)), impression).image
        for impression in (0, 1)
        for seed in range(_PEOPLE)
        for position in range(1, 11)
    ]
    half = len(prints) // 2
    small_prints = [compact(image) for image in prints]
    fingers, smalls = recognition.prepare(prints), recognition.prepare(small_prints)
    seen = recognition.prepare(small_faces)
    alike = {
        "face, compact with its original": _similarities(recognition, seen, faces),
        "face, another photograph with the original": _similarities(recognition, again, faces),
        "face, another photograph with the compact one": _similarities(recognition, again, seen),
        "finger, compact with its original": _similarities(recognition, smalls, fingers),
        "finger, another impression with the original": _similarities(recognition, fingers[half:], fingers[:half]),
        "finger, another impression with the compact one": _similarities(recognition, fingers[half:], smalls[:half]),
    }
    ten = small_prints[:10]
    sizes = {
        "Verify, a face": [_verification([face]) for face in small_faces],
        "Verify, a finger": [_verification([finger]) for finger in small_prints],
        "Verify, a face and a finger": [
            _verification([face, finger]) for face, finger in zip(small_faces, small_prints, strict=False)
        ],
        "Enroll, a face and ten fingers": [_enrolment([face, *ten]) for face in small_faces],
        "Verify, a face, not compact (PNG)": [_verification([face]) for face in frames],
        "Verify, a finger, not compact (PNG)": [_verification([finger]) for finger in prints],
    }
    turned = sum(before.acceptable and not after.acceptable for before, after in zip(fingers, smalls, strict=True))
    figures = {
        "bytes": {what: _spread(found) for what, found in sizes.items()},
        "similarity": {what: _spread(found) for what, found in alike.items()},
        "prints_no_longer_acceptable": turned,
    }
    bars = (
        Bar("a verification with a face, greatest", _FACE_BAR, max(sizes["Verify, a face"]), "bytes"),
        Bar("a verification with a finger, greatest", _FINGER_BAR, max(sizes["Verify, a finger"]), "bytes"),
    )
    return Result({"faces": len(frames), "prints": len(prints)}, figures, bars)


def render(run: Mapping[str, Any], _: Path) -> str:
    """Return tables of bytes and similarities."""
    found, parameters = run["figures"], run["parameters"]
    sizes = [[what, *(f"{value:,.0f}" for value in row)] for what, row in found["bytes"].items()]
    alike = [[what, *(f"{value:.3f}" for value in row)] for what, row in found["similarity"].items()]
    return f"""Length of the request as gRPC sends it, of {parameters["faces"]} photographs as a camera of {_LINES_PX}
lines sees them (the demo's, enlarged, with noise) and {parameters["prints"]} synthetic prints, after
`biometrik.transport.compact`. HTTP/2 adds 200–300 bytes on the first call of a connection.

{table(["bytes of a request", "smallest", "median", "greatest"], sizes)}

{table(["similarity", "smallest", "median", "greatest"], alike)}

"Another photograph" of a face is a re-photographed copy, see `biometrik.demo.photographs`. Of {parameters["prints"]}
prints, {found["prints_no_longer_acceptable"]} of acceptable quality are no longer so when they are compact.
"""


def _frames(recognition: Recognition) -> list[FaceImage]:
    rng = np.random.default_rng(3)
    frames = []
    for source in (ASTRONAUT, PORTRAIT, GROUP):
        photograph = FaceImage.from_file(find(source))
        for face in recognition.face.detector.detect([photograph.pixels])[0]:
            near = cut_out(photograph, face.box).pixels
            size = round(_LINES_PX * near.shape[1] / near.shape[0]), _LINES_PX
            light = cv2.resize(near, size, interpolation=cv2.INTER_CUBIC) + rng.normal(0, _NOISE, (*size[::-1], 3))
            frames.append(FaceImage(np.clip(light, 0, 255).astype(np.uint8)))
    return frames


def _similarities(
    recognition: Recognition, probes: Sequence[PreparedSample], references: Sequence[PreparedSample]
) -> list[float]:
    found = []
    for probe, reference in zip(probes, references, strict=True):
        if probe.template is not None and reference.template is not None:
            sides = (recognition.features([side.template]) for side in (probe, reference) if side.template)
            found += [compared.similarity for compared in recognition.compare(*sides).values()]
    return found


def _verification(samples: Sequence[Sample]) -> int:
    operations = Operations("en")
    return operations.verify(operations.presentations(samples), 1e-3, "", subject_id="A-0192").request.ByteSize()


def _enrolment(samples: Sequence[Sample]) -> int:
    operations, who = Operations("en"), RequestContext(operator_ref="officer-7", station_ref="station-1")
    return operations.enroll("A-0192", operations.presentations(samples), None, "", who).request.ByteSize()


def _spread(values: Sequence[float]) -> list[float]:
    return [float(min(values)), float(np.median(values)), float(max(values))]
