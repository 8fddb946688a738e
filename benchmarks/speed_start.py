"""How long a new process takes to be of use, and how much memory it then holds, in turns with OpenCV's pair."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.history import ROOT, Bar, NotRunError, Result
from benchmarks.opencv_pair import plain_weights
from benchmarks.options import Options
from benchmarks.race import quartiles
from benchmarks.render import table
from benchmarks.speed_face import shipped_photograph
from biometrik.config import EngineConfig, ModelParameters
from biometrik.engine import Engine
from biometrik.types import FaceImage, Outcome

TITLE = "Start of a process"

_IMPORT: Final = "import biometrik"
_VERIFY: Final = "first verification"
_OPENCV: Final = "OpenCV's pair, same photographs"
_WARM_UP_ROUNDS: Final = 1
#: What `import biometrik` must not load: each takes long or holds much.
_HEAVY: Final = ("numpy", "cv2", "onnx", "onnxruntime", "openvino", "faiss", "PIL", "sqlite3", "rich", "typer")

_SCRIPTS: Final = {
    _IMPORT: """
import json, sys, time
start = time.perf_counter()
import biometrik
print(json.dumps({"s": time.perf_counter() - start, "modules": sorted(sys.modules)}))
""",
    _VERIFY: """
import json, sys
from pathlib import Path
import biometrik
database, cache, photograph = sys.argv[1:4]
config = biometrik.EngineConfig(models=biometrik.ModelParameters(cache=Path(cache)))
with biometrik.Engine.open(database, config) as engine:
    decision = engine.verify("A-0192", [biometrik.FaceImage.from_file(photograph)], max_fmr=1e-3)
print(json.dumps({"outcome": decision.outcome.value, "status": Path("/proc/self/status").read_text()}))
""",
    _OPENCV: """
import json, sys
from pathlib import Path
import cv2
from benchmarks.opencv_pair import OpenCvPair
detector, embedder, photograph, enrolled = sys.argv[1:5]
pair = OpenCvPair(Path(detector), Path(embedder))
one, other = (pair.embed(cv2.imread(path)) for path in (photograph, enrolled))
print(json.dumps({"cosine": float(one @ other), "status": Path("/proc/self/status").read_text()}))
""",
}


def run(options: Options) -> Result:
    """Start each process anew once a round, with the weights folded and the file cache warm."""
    enrolled = shipped_photograph()
    if enrolled is None:
        raise NotRunError("scikit-image, whose photograph is verified, is not installed; run scripts/setup")
    with tempfile.TemporaryDirectory() as name:
        database, probe = Path(name) / "office.db", Path(name) / "probe.jpg"
        image = FaceImage.from_file(enrolled)
        _write_probe(image, probe)
        with Engine.open(database, EngineConfig(models=ModelParameters(cache=options.cache))) as engine:
            engine.enroll("A-0192", [image])
        detector, embedder = plain_weights(options.cache)
        arguments = {
            _IMPORT: [],
            _VERIFY: [str(database), str(options.cache), str(probe)],
            _OPENCV: [str(detector), str(embedder), str(probe), str(enrolled)],
        }
        seconds: dict[str, list[float]] = {label: [] for label in _SCRIPTS}
        answers: dict[str, dict[str, Any]] = {}
        peaks_mib: dict[str, float] = {_VERIFY: 0.0, _OPENCV: 0.0}
        for turn in range(-_WARM_UP_ROUNDS, options.rounds):
            for label, script in _SCRIPTS.items():
                elapsed, answers[label] = _started(script, arguments[label])
                if turn >= 0:
                    seconds[label].append(answers[label].get("s", elapsed))
                if label in peaks_mib:
                    peaks_mib[label] = max(peaks_mib[label], _peak_mib(answers[label]["status"]))
    if answers[_VERIFY]["outcome"] != Outcome.MATCH.value:
        raise NotRunError(f"the verification that is timed answered {answers[_VERIFY]['outcome']}, expected MATCH")
    heavy = sorted(set(answers[_IMPORT]["modules"]) & set(_HEAVY))
    figures: dict[str, Any] = {
        "seconds": {label: list(quartiles(found)) for label, found in seconds.items()},
        "resident_mib": peaks_mib,
        "heavy_modules": heavy,
    }
    imported, verified = figures["seconds"][_IMPORT], figures["seconds"][_VERIFY]
    bars = (
        Bar("import biometrik", 0.15, imported[0], "s", low=imported[1], high=imported[2]),
        Bar(f"heavy modules loaded by it (of {', '.join(_HEAVY)})", 0, len(heavy)),
        Bar("first verification in a new process, start and end included", 2.5, verified[0], "s", True, *verified[1:]),
        Bar("resident memory at its peak, the greatest of all rounds", 500, figures["resident_mib"][_VERIFY], "MiB"),
    )
    return Result({"rounds": options.rounds}, figures, bars)


def render(run: Mapping[str, Any], _: Path) -> str:
    """Return a table of times and memory."""
    memory = run["figures"]["resident_mib"]
    rows = [
        [label, f"{s[0]:.3f} ({s[1]:.3f} – {s[2]:.3f})", f"{memory[label]:.0f}" if label in memory else ""]
        for label, s in run["figures"]["seconds"].items()
    ]
    return f"""A new process each time, {run["parameters"]["rounds"]} rounds, weights folded and files cached.
`{_VERIFY}` opens a database with the networks on all cores and compares a photograph with the subject's
reference; it counts from before the interpreter starts until it has ended, as does `{_OPENCV}`, which embeds two.

{table(["process", "s, median (quartiles)", "peak resident MiB"], rows)}
"""


def _write_probe(image: FaceImage, path: Path) -> None:
    # The enrolled photograph as another camera may have stored it: smaller and compressed.
    small = cv2.resize(image.pixels, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), np.ascontiguousarray(small[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 85])


def _started(script: str, arguments: list[str]) -> tuple[float, dict[str, Any]]:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    elapsed = time.perf_counter() - start
    if done.returncode:
        raise NotRunError(done.stderr.strip().splitlines()[-1])
    answer: dict[str, Any] = json.loads(done.stdout)
    return elapsed, answer


def _peak_mib(status: str) -> float:
    # VmHWM of /proc/self/status, kB.
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
