"""An import against the same records enrolled one by one: photographs, prints, and ready templates, in turns."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.race import quartiles, ratios
from benchmarks.render import table
from benchmarks.service_office import engine_config
from benchmarks.speed_face import shipped_photograph
from biometrik.bulk import ImportRecord
from biometrik.engine import Engine
from biometrik.fingers import FingerPosition
from biometrik.imaging import encode_png
from biometrik.samples import Sample, decoded, decoded_print
from biometrik.synthetic.faces import draw_embeddings
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import draw_impression
from biometrik.types import EnrollmentOutcome, FaceImage, Modality, RequestContext, Template

TITLE = "Import against enrolment one by one"

#: Records of a pass: about a second of one by one each, so that start and end of an import count for little.
_RECORDS: Final = {"photographs": 48, "prints": 32, "templates": 800}
#: Rounds: with 15, as other benchmarks, it would take longer than three minutes.
_MAX_ROUNDS: Final = 9
_WARM_UP_ROUNDS: Final = 1
#: Longest side of a photograph and JPEG quality, as counters send them.
_SIDE_PX: Final = 640
_JPEG_QUALITY: Final = 90
_SEED: Final = 20_261

#: Decodes a record's sample: that is part of an import.
Load = Callable[[], Sample]


def run(options: Options) -> Result:
    """Enrol the same records one by one and by an import, each into a new database, a round of both at a time."""
    rounds = min(options.rounds, _MAX_ROUNDS)
    seconds: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for workload, loads in _workloads(options).items():
            passes = seconds[workload] = {"one by one": [], "import": []}
            for turn in range(-_WARM_UP_ROUNDS, rounds):
                order = list(passes) if turn % 2 else list(passes)[::-1]
                for way in order:
                    elapsed = _timed(Path(folder) / f"{workload}-{way}-{turn}.db", options, loads, way)
                    if turn >= 0:
                        passes[way].append(elapsed)
    figures: dict[str, Any] = {
        workload: {
            "records": _RECORDS[workload],
            **{way: list(quartiles([_RECORDS[workload] / s for s in found])) for way, found in passes.items()},
            "ratio": list(ratios(passes["import"], passes["one by one"])),
        }
        for workload, passes in seconds.items()
    }
    bars = tuple(
        Bar(f"{workload}, times as fast as one by one", 1.0, ratio[0], at_most=False, low=ratio[1], high=ratio[2])
        for workload, ratio in ((workload, found["ratio"]) for workload, found in figures.items())
    )
    return Result({"rounds": rounds, "records": _RECORDS}, figures, bars)


def render(run: Mapping[str, Any], _: Path) -> str:
    """Return a table of rates."""
    rows = [
        [workload, str(found["records"]), *(_said(found[key]) for key in ("one by one", "import", "ratio"))]
        for workload, found in run["figures"].items()
    ]
    return f"""Records a second, median (quartiles) of {run["parameters"]["rounds"]} rounds; each pass into a new SQLite
database on disk. `one by one` is `Engine.enroll` in a loop on one thread, with all cores in each model run; `import` is
`Engine.import_encounters`. Decoding is part of both: of JPEG photographs of {_SIDE_PX} px with one person, of PNG
prints (synthetic, one finger a record), and of nothing for ready face templates (synthetic), which wait for the disk
only.

{table(["records of", "a pass", "one by one, 1/s", "import, 1/s", "times as fast"], rows)}
"""


def _said(found: Sequence[float]) -> str:
    digits = 2 if found[0] < 10 else 0
    return f"{found[0]:,.{digits}f} ({found[1]:,.{digits}f} – {found[2]:,.{digits}f})"


def _workloads(options: Options) -> dict[str, list[Load]]:
    shipped = shipped_photograph()
    if shipped is None:
        raise NotRunError("scikit-image, whose photograph is enrolled, is not installed; run scripts/setup")
    person, random = FaceImage.from_file(shipped), np.random.default_rng(_SEED)
    photographs = [_photograph(person, random) for _ in range(_RECORDS["photographs"])]
    with Engine.open(":memory:", engine_config(options)) as engine:
        contract, prints = engine.model_contract_id, _good_prints(engine)
    vectors = draw_embeddings(_SEED, range(_RECORDS["templates"]))
    templates = [Template(Modality.FACE, contract, vector.astype("<f4").tobytes()) for vector in vectors]
    return {
        "photographs": [partial(decoded, data) for data in photographs],
        "prints": [partial(decoded_print, data, position=FingerPosition.RIGHT_INDEX) for data in prints],
        "templates": [partial(_ready, template) for template in templates],
    }


def _good_prints(engine: Engine) -> list[bytes]:
    # Synthetic impressions differ in quality as real ones do: those that no enrolment would take are left out.
    good: list[bytes] = []
    for finger in itertools.count():
        image = draw_impression(draw_finger(_SEED, finger), 0).image
        (report,) = engine.quality([replace(image, position=FingerPosition.RIGHT_INDEX)])
        if report.quality is not None and report.quality.acceptable:
            good.append(encode_png(image.pixels, ppi=500))
        if len(good) == _RECORDS["prints"]:
            break
    return good


def _ready(template: Template) -> Template:
    return template


def _photograph(person: FaceImage, random: np.random.Generator) -> bytes:
    # Another one of the same person: turned and lit a little differently.
    height, width = person.pixels.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(random.uniform(-5, 5)), _SIDE_PX / max(height, width))
    moved = np.add(turn, [[0, 0, (_SIDE_PX - width) / 2], [0, 0, (_SIDE_PX - height) / 2]])
    taken = cv2.warpAffine(person.pixels, moved, (_SIDE_PX, _SIDE_PX), borderMode=cv2.BORDER_REPLICATE)
    lit = np.clip(taken * random.uniform(0.9, 1.05), 0, 255).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(lit, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(jpeg.tobytes())


def _timed(path: Path, options: Options, loads: Sequence[Load], way: str) -> float:
    def records() -> Iterator[ImportRecord]:
        for number, load in enumerate(loads):
            yield ImportRecord(str(number), f"S-{number}", [load()], RequestContext(transaction_id=f"t-{number}"))

    with Engine.open(path, engine_config(options)) as engine:
        engine.contract_id(Modality.FINGER)  # opened before the clock starts
        start = time.perf_counter()
        if way == "import":
            outcomes = [outcome for _, outcome in engine.import_encounters(records())]
        else:
            outcomes = [engine.enroll(r.subject_id, r.samples, context=r.context) for r in records()]
        elapsed = time.perf_counter() - start
    lost = sum(getattr(outcome, "outcome", None) is not EnrollmentOutcome.ENROLLED for outcome in outcomes)
    if lost or len(outcomes) != len(loads):
        raise NotRunError(f"expected {len(loads)} records enrolled, got {len(outcomes) - lost}")
    path.unlink()
    return elapsed
