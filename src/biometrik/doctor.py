"""``biometrik doctor``: what this machine lacks, and what to do about it.

What imports OpenCV, ONNX Runtime or FAISS is imported by the check that needs it: where one of them is broken, the
doctor must still be able to say so.
"""

import importlib
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import biometrik
from biometrik import gpu, models, wording
from biometrik.calibration import load_calibrations
from biometrik.config import EngineConfig
from biometrik.errors import (
    BiometrikError,
    CalibrationNotFoundError,
    DatabaseLockedError,
    ProviderUnavailableError,
    ServiceTimeoutError,
    UnauthenticatedError,
)
from biometrik.inference import Runtime, provider_names
from biometrik.manifest import Distribution, WeightsEntry
from biometrik.wheels import wheel_conflicts

if TYPE_CHECKING:
    from biometrik.client import Capabilities, Connection

_OLDEST_PYTHON: Final = (3, 11)
#: What each module is for, and what brings it.
_MODULES: Final = {
    "onnxruntime": "pip install 'biometrik[cpu]' (or [gpu])",
    "faiss": "pip install 'biometrik[cpu]' (or [gpu])",
    "cv2": "pip install --force-reinstall --no-deps opencv-python-headless",
}
#: ONNX Runtime and numba take CUDA 13's libraries, FAISS CUDA 12's.
_CUDA_LIBRARIES: Final = (
    "nvidia-cuda-runtime",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cublas-cu12",
    "nvidia-cudnn-cu13",
    "nvidia-nvvm",
    "numba-cuda",
)
_MIB: Final = 1 << 20
#: A process with the bundled models stays below 500 MiB; below that it cannot start, below twice that it may not.
_MEMORY_FAIL, _MEMORY_WARN = 500 * _MIB, 1000 * _MIB
#: A template takes about 1 KiB in the database: 100 MiB hold 100,000 more, with room for the write-ahead log.
_DISK_FAIL, _DISK_WARN = 100 * _MIB, 1024 * _MIB

_SERVICE_REMEDIES: Final = {
    UnauthenticatedError.reason: "name your token with --token-file or BIOMETRIK_TOKEN, or --cert and --key;"
    " biometrik token makes one for the service's configuration"
}
#: A service that cannot be reached in this time will not be reached by waiting.
_REACHED_WITHIN_S: Final = 5.0


class Status(Enum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name : str
        What.
    status : Status
        ``FAIL``: biometrik, or what was asked for, cannot work.
    finding : str
        What is the case.
    remedy : str
        What to do; "" where nothing is to be done.
    """

    name: str
    status: Status
    finding: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class _Finding:
    # A check before it has its name.
    status: Status
    finding: str
    remedy: str = ""


def examine(config: EngineConfig, database: Path | None = None) -> Iterator[Check]:
    """Look at everything that biometrik needs, and give each finding as it is made.

    Parameters
    ----------
    config : EngineConfig
        What is to run: models, provider, cache.
    database : Path, optional
        A database to look at; it is neither created nor changed.
    """
    looks: list[tuple[str, Callable[[], _Finding]]] = [("python", _python)]
    looks += [(module, partial(_module, module)) for module in _MODULES]
    looks.append(("cpu", _cpu))
    looks += [(f"provider {name}", partial(_provider, config, name)) for name in provider_names()]
    looks.append(("gpu", partial(_gpu, config)))
    looks.append(("weights", partial(_weights, config)))
    looks.append(("cache", partial(_cache, config)))
    looks.append(("calibration", partial(_calibration, config)))
    if database is not None:
        looks.append(("database", partial(_database, config, database)))
    looks += [("disk", partial(_disk, database or Path())), ("memory", _memory)]
    yield from map(_looked_at, looks)


def examine_service(connection: "Connection") -> Iterator[Check]:
    """Look at a service from here: whether it answers, whether it knows who asks, and what it runs.

    Parameters
    ----------
    connection : Connection
        Where it is.
    """
    from biometrik.client import Client

    yield _looked_at(("python", _python))
    with Client(connection) as client:
        started = time.perf_counter()
        try:
            client.wait_until_ready(min(connection.timeout_s, _REACHED_WITHIN_S))
            reached_ms = 1000 * (time.perf_counter() - started)
            served = client.capabilities()
        except ServiceTimeoutError as error:
            remedy = "start it with biometrik serve; check address, firewall, and --ca where it uses TLS"
            yield Check("service", Status.FAIL, str(error), remedy)
            return
        except BiometrikError as error:
            remedy = (
                _SERVICE_REMEDIES.get(error.reason) or " ".join(getattr(error, "__notes__", ())) or "see the message"
            )
            yield Check("service", Status.FAIL, f"{error.reason}: {error}", remedy)
            return
    yield _looked_at(("service", partial(_service, connection, served, reached_ms)))
    yield _looked_at(("database", partial(_served_database, served)))
    yield _looked_at(("models", partial(_served_models, served)))
    yield _looked_at(("calibration", partial(_served_calibration, served)))


def _looked_at(named: tuple[str, Callable[[], _Finding]]) -> Check:
    name, look = named
    try:
        found = look()
        return Check(name, found.status, found.finding, found.remedy)
    except ImportError as error:
        return Check(name, Status.FAIL, f"cannot be looked at: {error}", "first repair the module that is named")
    except BiometrikError as error:
        return Check(name, Status.FAIL, str(error), "see the message")
    except Exception as error:  # a machine that is broken in an unforeseen way is what a doctor is for
        return Check(name, Status.FAIL, f"{type(error).__name__}: {error}", "report this with biometrik doctor --json")


def _service(connection: "Connection", served: "Capabilities", reached_ms: float) -> _Finding:
    finding = (
        f"{connection.address} answers, reached in {reached_ms:.0f} ms; biometrik {served.version}, at most"
        f" {served.max_concurrent_requests} requests at once"
    )
    if served.version != biometrik.__version__:
        remedy = (
            f"this client is {biometrik.__version__}: fine within one version of the contract, else bring them together"
        )
        return _Finding(Status.WARN, finding, remedy)
    return _Finding(Status.OK, finding)


def _served_database(served: "Capabilities") -> _Finding:
    if served.quarantined_encounters:
        return _set_aside("the service works, without", served.quarantined_encounters)
    return _Finding(Status.OK, "nothing is in quarantine")


def _set_aside(before: str, encounters: int) -> _Finding:
    finding = f"{before} {encounters:,} encounter(s) in quarantine because they are damaged"
    remedy = "those people are not found: biometrik backup quarantine names them; restore a backup, or enrol again"
    return _Finding(Status.WARN, finding, remedy)


def _served_models(served: "Capabilities") -> _Finding:
    policies = ", ".join(
        f"{name} (FMR {wording.one_in(fmr)}, FPIR {wording.one_in(fpir)})"
        for name, (fmr, fpir) in sorted(served.policies.items())
    )
    return _Finding(
        Status.OK,
        f"{served.model_contract_id} on {served.provider}, {served.precision}; quality profile"
        f" {served.quality_profile}; policies: {policies or 'none'}",
    )


def _served_calibration(served: "Capabilities") -> _Finding:
    if not served.calibrations:
        remedy = "make a table with scripts/calibrate and name it in the service's configuration, engine.calibrations"
        return _Finding(Status.FAIL, f"{CalibrationNotFoundError.reason}: none for {served.model_contract_id}", remedy)
    return _Finding(Status.OK, "; ".join(map(wording.grounds, served.calibrations)))


def _python() -> _Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return _Finding(Status.FAIL, version, "install Python 3.11 or newer")
    return _Finding(Status.OK, version)


def _module(name: str) -> _Finding:
    for conflict in wheel_conflicts():
        if conflict.module == name:
            finding = f"{' and '.join(conflict.distributions)} are installed and overwrite each other's files"
            return _Finding(Status.FAIL, finding, conflict.remedy)
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return _Finding(Status.FAIL, f"cannot be imported: {error}", _MODULES[name])
    # What is left of a package that another one's removal emptied imports, but holds nothing.
    version = getattr(module, "__version__", None)
    if version is None:
        return _Finding(Status.FAIL, "imports, but its files are gone", f"uninstall it, then {_MODULES[name]}")
    return _Finding(Status.OK, f"{version}, one distribution")


def _cpu() -> _Finding:
    flags = _cpu_flags()
    cores = len(os.sched_getaffinity(0))
    bf16 = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
    traits = {
        "AVX2": ("avx2" in flags, "", "fp32 is several times slower"),
        "AVX-512": ("avx512f" in flags, "", "fp32 at half its width"),
        "VNNI": (bool(flags & {"avx512_vnni", "avx_vnni"}), "", "int8 would gain nothing; none is used"),
        "bf16": (bf16, "--provider openvino --precision bf16 can run", "--precision bf16 cannot run"),
    }
    told = [
        f"{name} {'yes' if there else 'no'}" + (f" ({note})" if (note := yes if there else no) else "")
        for name, (there, yes, no) in traits.items()
    ]
    finding = f"{cores} core(s) usable; {', '.join(told)}"
    if "avx2" not in flags and os.uname().machine == "x86_64":
        return _Finding(Status.WARN, finding, "a CPU with AVX2 (2013 or later) is several times faster")
    return _Finding(Status.OK, finding)


def _provider(config: EngineConfig, name: str) -> _Finding:
    from biometrik.face.detection import DETECTORS

    asked = name == config.runtime.provider
    runtime = replace(config.runtime, provider=name, precision=config.runtime.precision if asked else "fp32")
    try:
        DETECTORS.load("yunet")(config.face.detection, Runtime(runtime, config.models))
    except ProviderUnavailableError as error:
        if asked:
            return _Finding(Status.FAIL, str(error), "follow the message, or choose another --provider")
        return _Finding(Status.OK, f"not asked for, and cannot run here: {error}")
    return _Finding(Status.OK, f"runs{', and is the one in force' if asked else ''}")


def _gpu(config: EngineConfig) -> _Finding:
    asked = {
        "provider cuda": config.runtime.provider == "cuda",
        "index faiss-gpu": config.gallery.index == "faiss-gpu",
        "matcher cylinders-cuda": config.finger.matcher == "cylinders-cuda",
    }
    wanted = [name for name, is_asked in asked.items() if is_asked]
    try:
        driver = gpu.driver()
    except ProviderUnavailableError as error:
        if not wanted:
            return _Finding(Status.OK, f"not asked for, and cannot be used: {error}")
        remedy = "follow the message, or choose the provider cpu, the index faiss-flat, the matcher cylinders"
        return _Finding(Status.FAIL, f"{', '.join(wanted)}: {error}", remedy)
    libraries = {name: version for name in _CUDA_LIBRARIES if (version := _installed(name))}
    cards = "; ".join(
        f"{card.name}, {card.memory_bytes / 1024 / _MIB:.0f} GiB, compute capability {card.capability[0]}."
        f"{card.capability[1]}"
        for card in driver.gpus
    )
    finding = f"{cards}; driver for CUDA {driver.cuda[0]}.{driver.cuda[1]}; " + (
        ", ".join(f"{name} {version}" for name, version in libraries.items()) or "none of CUDA's libraries as packages"
    )
    if not wanted:
        return _Finding(Status.OK, f"not asked for: {finding}")
    newest = max((int(version.split(".")[0]) for name, version in libraries.items() if "runtime" in name), default=0)
    if newest > driver.cuda[0]:
        remedy = f"install an NVIDIA driver for CUDA {newest}{' (580 or later)' if newest == 13 else ''}"
        return _Finding(Status.FAIL, f"{finding}: the driver is older than these libraries", remedy)
    refused = [reason for name in wanted if (reason := _refused_on_gpu(name, config.runtime.device_id))]
    if refused:
        return _Finding(Status.FAIL, f"{finding}; {'; '.join(refused)}", "follow the message")
    return _Finding(Status.OK, f"{finding}; for {', '.join(wanted)}")


def _refused_on_gpu(name: str, device_id: int) -> str:
    # Why a plug-in does not start on the GPU, "" if it does; the provider has a check of its own.
    from biometrik.fingerprint.matching import MATCHERS
    from biometrik.gallery.index import INDEXES

    try:
        if name == "index faiss-gpu":
            INDEXES.load("faiss-gpu")(1, device_id=device_id)
        elif name == "matcher cylinders-cuda":
            MATCHERS.load("cylinders-cuda")(device_id=device_id)
    except BiometrikError as error:
        return str(error)
    return ""


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _weights(config: EngineConfig) -> _Finding:
    states = models.WeightsState
    rows = [row for row in models.catalogue(config.models) if row.state is not states.ABSENT or not row.packs]
    # What the library does not depend on may be absent.
    spared = [row for row in rows if row.state is states.ABSENT and not _is_required(row.entry)]
    here = [row for row in rows if row not in spared]
    broken = [row for row in here if row.state in (states.DAMAGED, states.ABSENT)]
    if broken:
        finding = "; ".join(f"{row.entry.id}: {row.state.value}" for row in broken)
        return _Finding(Status.FAIL, finding, "; ".join(row.detail for row in broken))
    finding = "; ".join(
        [f"{row.entry.id} {row.state.value} ({row.entry.licence})" for row in here]
        + [f"{row.entry.id} absent, so no {row.entry.role.value}; {row.detail}" for row in spared]
    )
    unsure = any(row.state is states.UNDECLARED for row in here)
    remedy = "declare the sha256 that you trust in the pack's biometrik.toml" if unsure else ""
    return _Finding(Status.WARN if unsure else Status.OK, finding, remedy)


def _is_required(entry: WeightsEntry) -> bool:
    return not isinstance(entry.place, Distribution) or entry.place.required


def _cache(config: EngineConfig) -> _Finding:
    folder = config.models.cache or models.default_cache_dir()
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        finding = f"{folder}: cannot be written ({error.strerror})"
        return _Finding(Status.FAIL, finding, "name another folder with --cache or BIOMETRIK_CACHE")
    return _Finding(Status.OK, f"{folder}{'' if existing == folder else ', made when first needed'}")


def _calibration(config: EngineConfig) -> _Finding:
    from biometrik.face.pipeline import FacePipeline

    contract = FacePipeline(config.face, Runtime(config.runtime, config.models)).contract_id
    evidence = load_calibrations(config.models.calibrations).get(contract)
    if evidence is None:
        remedy = "make a table with scripts/calibrate on your own people and name it with --calibration"
        return _Finding(Status.FAIL, f"{CalibrationNotFoundError.reason}: none for {contract}", remedy)
    return _Finding(Status.OK, "; ".join(wording.grounds(table) for table in evidence.tables))


def _database(config: EngineConfig, database: Path) -> _Finding:
    from biometrik.engine import Engine

    if not database.exists():
        return _Finding(Status.WARN, f"{database}: not there yet", "the first enrolment makes it; check the name")
    try:
        with Engine.open(database, config) as engine:
            foreign, set_aside = engine.foreign_templates, len(engine.quarantined())
            people = sum(gallery.subjects for gallery in engine.galleries() if gallery.name == "default")
    except DatabaseLockedError as error:
        return _Finding(Status.WARN, str(error), "fine if that program is meant to serve it; else end it")
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    finding = f"{database}: opens, schema version {version}, {people:,} people in the default gallery"
    if set_aside:
        return _set_aside(f"{finding},", set_aside)
    if foreign:
        finding += f", {foreign:,} template(s) of other models"
        remedy = "those people are not found: enrol them again, or open the database with their models"
        return _Finding(Status.WARN, finding, remedy)
    return _Finding(Status.OK, finding)


def _disk(database: Path) -> _Finding:
    folder = next(path for path in (database.absolute(), *database.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    return _amount(free, f"{free / _MIB:,.0f} MiB free at {folder}", _DISK_FAIL, _DISK_WARN, "free some space")


def _memory() -> _Finding:
    available = _available_memory()
    finding = f"{available / _MIB:,.0f} MiB available"
    return _amount(available, finding, _MEMORY_FAIL, _MEMORY_WARN, "end other programs, or give the container more")


def _amount(value: int, finding: str, fail: int, warn: int, remedy: str) -> _Finding:
    status = Status.FAIL if value < fail else Status.WARN if value < warn else Status.OK
    return _Finding(status, finding, "" if status is Status.OK else remedy)


def _cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    # "flags" on x86, "Features" on ARM.
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _available_memory() -> int:
    # Bytes: what the machine has left, or less where a control group sets a limit.
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no control group, or "max"
        return available
    return min(available, max(0, limit - used))
