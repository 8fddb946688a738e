"""How long minutiae of one print take on one core, in turns with LEADER's graph as it was published, and how well the
two agree.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import plots as pictures
from benchmarks.history import Bar, NotRunError, Result
from benchmarks.leader_as_published import PublishedLeader
from benchmarks.options import Options
from benchmarks.race import Contestant, ContestantError, quartiles, race, ratios
from benchmarks.render import table
from biometrik.config import FingerParameters, ModelParameters, RuntimeParameters
from biometrik.finger_imaging import read_print
from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint
from biometrik.fingers import FingerprintImage
from biometrik.inference import Runtime

TITLE = "Fingerprint extraction speed"

_OURS: Final = "biometrik, leader"
_PLAIN: Final = "LEADER as published, ONNX Runtime"
_RIDGE: Final = "biometrik, ridge"
#: Label → what :mod:`benchmarks.contestant` is told.
_SYSTEMS: Final[Mapping[str, Mapping[str, str]]] = {
    _OURS: {"system": "finger_pipeline"},
    "biometrik, leader, OpenVINO": {"system": "finger_pipeline", "provider": "openvino"},
    _PLAIN: {"system": "published_leader"},
    _RIDGE: {"system": "finger_pipeline", "extractor": "ridge"},
    "mindtct through nbis-py": {"system": "finger_pipeline", "extractor": "nbis"},
}
#: Workload → folder below ``fvc-dev``. One impression of each of ten fingers; 388×374 pixels, and 640×480 with much
#: ground.
_WORKLOADS: Final = {"FVC2002 DB1": "fvc2002/DB1_B", "FVC2004 DB1": "fvc2004/DB1_B"}
_SETS: Final = ("fvc2002/DB1_B", "fvc2002/DB3_B", "fvc2004/DB1_B", "fvc2004/DB2_B")
#: Resolution of all four sets; their files state none, or a wrong one.
_PPI: Final = 500.0

#: Milliseconds of processor time a print of FVC2002 DB1, and MiB of the process at its largest.
_TIME_BAR_MS: Final = 260.0
_MEMORY_BAR_MIB: Final = 900.0
_RIDGE_BAR_MS: Final = 25.0
#: Two minutiae are the same within this many pixels and this angle.
_TOLERANCE: Final = (2.0, np.radians(5.0))
#: Share of the published graph's minutiae that ours has, and of ours that it has, at least.
_AGREEMENT_BAR: Final = 0.97
#: Every so many prints of a set are compared.
_AGREEMENT_STEP: Final = 4


def run(options: Options) -> Result:
    """Race all systems that can run here, then compare the minutiae."""
    folder = options.data / "fvc-dev"
    if not folder.is_dir():
        raise NotRunError("the data set fvc-dev is not here; name the folder that holds it with --data")
    missing: dict[str, str] = {}
    core = max(os.sched_getaffinity(0))
    shared: dict[str, Any] = {"core": core, "cache": str(options.cache)}
    images = {name: _prints(folder / where)[::8] for name, where in _WORKLOADS.items()}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shared["workloads"] = {}
        for k, (name, prints) in enumerate(images.items()):
            np.savez(scratch / f"{k}.npz", *prints)
            shared["workloads"][name] = str(scratch / f"{k}.npz")
        contestants: dict[str, Contestant] = {}
        for label, told in _SYSTEMS.items():
            try:
                contestants[label] = stack.enter_context(Contestant({**shared, **told}))
            except ContestantError as said:
                missing[label] = str(said)
        if _OURS not in contestants:
            raise NotRunError(missing[_OURS])
        workloads = {name: _raced(contestants, name, len(images[name]), options.rounds) for name in images}
        memory = {label: contestant.peak_mib() for label, contestant in contestants.items()}
    figures = {"workloads": workloads, "memory_mib": memory, "agreement": _agreements(folder, options.cache)}
    return Result({"rounds": options.rounds, "threads": 1, "core": core}, figures, _bars(figures), missing)


def render(run: Mapping[str, Any], folder: Path) -> str:
    """Return a table and a plot for each workload, and the table of agreement."""
    figures = run["figures"]
    parts = [
        "One core, one thread, from decoded arrays to minutiae, each system in its own process, in turns over "
        f"{run['parameters']['rounds']} rounds. Milliseconds are processor time a print, median (quartiles) of "
        "rounds; ratios are taken round by round.\n"
    ]
    for k, (name, found) in enumerate(figures["workloads"].items()):
        rows = [
            [label, _spread(row["cpu_ms"]), f"{row['cpu_ratio'][0]:.2f}", f"{row['minutiae']}"]
            for label, row in found["systems"].items()
        ]
        head = [name, "CPU ms a print", "times biometrik's CPU time", f"minutiae in {found['prints']} prints"]
        medians = {label: row["cpu_ms"] for label, row in found["systems"].items()}
        pictures.durations(medians, f"{name}: CPU time a print, one core", folder / f"finger_extraction_{k}.png")
        parts += [table(head, rows), f"\n![{name}](plots/finger_extraction_{k}.png)\n"]
        if found["busy"]:
            parts.append("The machine was busy: wall and processor time differ by more than a twentieth.\n")
    parts.append(
        "Agreement with the published graph on whole prints, at quality 0.3: within "
        f"{_TOLERANCE[0]:g} px and {np.degrees(_TOLERANCE[1]):.0f}°. The rebuilt graph computes the same; what differs "
        "comes from cutting the print to its ridges.\n"
    )
    rows = [
        [name, f"{row['published']}", f"{row['ours']}", f"{row['found']:.2%}", f"{row['confirmed']:.2%}"]
        for name, row in figures["agreement"].items()
    ]
    parts.append(table(["set", "its minutiae", "ours", "of its, found", "of ours, confirmed"], rows) + "\n")
    memory = ", ".join(f"{label} {mib:.0f} MiB" for label, mib in figures["memory_mib"].items())
    parts.append(f"Largest resident size of each process: {memory}.\n")
    return "\n".join(parts)


def _prints(folder: Path) -> list[NDArray[np.uint8]]:
    return [read_print(path, ppi=_PPI).pixels for path in sorted(folder.glob("*.tif"))]


def _raced(contestants: Mapping[str, Contestant], workload: str, prints: int, rounds: int) -> dict[str, Any]:
    timings = race(contestants, workload, rounds)
    ours = timings[_OURS]
    systems = {
        label: {
            "cpu_ms": [1e3 * q / prints for q in quartiles(found.cpu_s)],
            "cpu_ratio": list(ratios(ours.cpu_s, found.cpu_s)),
            "minutiae": found.embedded,
        }
        for label, found in timings.items()
    }
    return {"prints": prints, "busy": sum(ours.wall_s) > 1.05 * sum(ours.cpu_s), "systems": systems}


def _agreements(folder: Path, cache: Path) -> dict[str, dict[str, float]]:
    runtime = Runtime(RuntimeParameters(threads=1), ModelParameters(cache=cache))
    pipeline = FingerPipeline(FingerParameters(), runtime)
    published = PublishedLeader()
    counts = {name: np.zeros(4, dtype=np.int64) for name in _SETS}
    for name in _SETS:
        for pixels in _prints(folder / name)[::_AGREEMENT_STEP]:
            theirs, ours = published.minutiae(pixels), np.empty((0, 3), dtype=np.float32)
            (processed,) = pipeline.process([FingerprintImage(pixels, _PPI)])
            if isinstance(processed, ProcessedPrint):
                found = processed.minutiae
                ours = np.stack([found.x, found.y, found.direction], axis=1)
            counts[name] += len(theirs), agreeing(theirs, ours), len(ours), agreeing(ours, theirs)
    counts["all four"] = np.sum(list(counts.values()), axis=0)
    return {name: _shares(row.tolist()) for name, row in counts.items()}


def agreeing(rows: NDArray[np.float32], others: NDArray[np.float32]) -> int:
    """Count the rows x, y, direction that have one of the others within the tolerance.

    Examples
    --------
    >>> agreeing(np.array([[5.0, 5.0, 0.01], [9.0, 5.0, 0.0]]), np.array([[6.0, 5.0, 6.27]]))
    1
    """
    distance = np.hypot(rows[:, None, 0] - others[:, 0], rows[:, None, 1] - others[:, 1])
    turned = np.abs((rows[:, None, 2] - others[:, 2] + np.pi) % (2 * np.pi) - np.pi)
    return int(((distance <= _TOLERANCE[0]) & (turned <= _TOLERANCE[1])).any(axis=1).sum())


def _shares(counts: Sequence[int]) -> dict[str, float]:
    theirs, found, ours, confirmed = counts
    return {
        "published": theirs,
        "ours": ours,
        "found": found / max(1, theirs),
        "confirmed": confirmed / max(1, ours),
    }


def _bars(figures: Mapping[str, Any]) -> tuple[Bar, ...]:
    first = next(iter(_WORKLOADS))
    middle, low, high = figures["workloads"][first]["systems"][_OURS]["cpu_ms"]
    every = figures["agreement"]["all four"]
    ridge = figures["workloads"][first]["systems"].get(_RIDGE)
    fast = () if ridge is None else (Bar(f"{first}: time a print, ridge", _RIDGE_BAR_MS, ridge["cpu_ms"][0], "ms"),)
    return (
        Bar(f"{first}: time a print", _TIME_BAR_MS, middle, "ms", True, low, high),
        Bar("process at its largest", _MEMORY_BAR_MIB, figures["memory_mib"][_OURS], "MiB"),
        Bar("the published graph's minutiae that are found", 100 * _AGREEMENT_BAR, 100 * every["found"], "%", False),
        Bar("minutiae that the published graph confirms", 100 * _AGREEMENT_BAR, 100 * every["confirmed"], "%", False),
        *fast,
    )


def _spread(row: Sequence[float]) -> str:
    return f"{row[0]:.0f} ({row[1]:.0f} – {row[2]:.0f})"
