"""What the service costs: verification over gRPC and in process, call by call and batch by batch in turns."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.history import Bar, Result
from benchmarks.options import Options
from benchmarks.race import quartiles
from benchmarks.render import table
from benchmarks.service_clients import Plan, complete, made
from benchmarks.service_office import SIDE_PX, Office, engine_config, furnish
from benchmarks.service_process import ServerProcess
from biometrik.client import Client
from biometrik.engine import Engine
from biometrik.types import FaceImage

TITLE = "Service speed"

_IN_PROCESS: Final = "in process"
_SERVICE: Final = "gRPC"
_UNBATCHED: Final = "gRPC, server without batcher"
_STRANGERS: Final = 1000
_CLIENTS: Final = 16
#: Calls of each system in a round of the lone client; seconds of each system in a round of the crowd.
_LONE_CALLS: Final = 40
_CROWD_S: Final = 4.0
_STARTS: Final = 5
#: Promises: share and milliseconds on top of the call in process, shares of throughput and of time, seconds.
_OVERHEAD: Final = (1.03, 2.0)
_THROUGHPUT: Final = 0.9
_BATCHER: Final = 1.1
_READY_S: Final = 5.0


@dataclass(slots=True)
class _Crowd:
    # Rounds of one system: verifications a second, processor milliseconds each by who burns them.
    rate: list[float] = field(default_factory=list)
    engine_ms: list[float] = field(default_factory=list)
    clients_ms: list[float] = field(default_factory=list)


def run(options: Options) -> Result:
    """Measure with an engine in this process and two servers, one without batcher, each with its own database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        office = furnish(folder, options, _STRANGERS)
        copies = [_copy(office, folder / f"copy-{k}.db") for k in range(2)]
        ready_s = _starts(office, options, folder / "starts")
        engine = stack.enter_context(Engine.open(office.database, engine_config(options)))
        server = stack.enter_context(ServerProcess(copies[0], options.cache, folder / "server"))
        unbatched = stack.enter_context(
            ServerProcess(copies[1], options.cache, folder / "unbatched", module="benchmarks.service_unbatched")
        )
        lone = _lone(engine, server, unbatched, office, options.rounds)
        crowd, batches = _crowd(engine, server, office, options.rounds)
    figures = {
        "lone_ms": lone,
        "crowd": {
            label: {"rate": c.rate, "engine_ms": c.engine_ms, "clients_ms": c.clients_ms} for label, c in crowd.items()
        },
        "samples_a_run": batches,
        "ready_s": ready_s,
    }
    parameters = {
        "rounds": options.rounds,
        "lone_calls": _LONE_CALLS,
        "clients": _CLIENTS,
        "crowd_s": _CROWD_S,
        "enrolled": office.enrolled,
        "threads": len(os.sched_getaffinity(0)),
    }
    return Result(parameters, figures, bars(figures))


def bars(figures: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Return the promises, from ratios of the same round."""
    share, spare_ms = _OVERHEAD
    lone = {label: [median(calls) for calls in rounds] for label, rounds in figures["lone_ms"].items()}
    beyond = quartiles([ours - share * bare for ours, bare in zip(lone[_SERVICE], lone[_IN_PROCESS], strict=True)])
    batcher = quartiles([ours / bare for ours, bare in zip(lone[_SERVICE], lone[_UNBATCHED], strict=True)])
    rates = {label: found["rate"] for label, found in figures["crowd"].items()}
    kept = quartiles([ours / bare for ours, bare in zip(rates[_SERVICE], rates[_IN_PROCESS], strict=True)])
    ready = figures["ready_s"]
    return (
        Bar(
            f"lone client: verify over gRPC, beyond {share:g} × the call in process",
            spare_ms,
            beyond[0],
            "ms",
            True,
            *beyond[1:],
        ),
        Bar("lone client: median over that without batcher", _BATCHER, batcher[0], "×", True, *batcher[1:]),
        Bar(
            f"{_CLIENTS} clients: throughput over the engine's in process", _THROUGHPUT, kept[0], "×", False, *kept[1:]
        ),
        Bar("start until ready, the slowest", _READY_S, max(ready), "s", True, min(ready), max(ready)),
    )


def render(run: Mapping[str, Any], _: Path) -> str:
    """Return tables of the lone client and of the crowd."""
    told, found = run["parameters"], run["figures"]
    lone = [[label, _spread([median(calls) for calls in rounds], 2)] for label, rounds in found["lone_ms"].items()]
    crowd = [
        [
            label,
            _spread(c["rate"], 1),
            f"{median(c['engine_ms']):.1f}",
            f"{median(c['clients_ms']):.1f}" if c["clients_ms"] else "",
        ]
        for label, c in found["crowd"].items()
    ]
    ready, samples = found["ready_s"], found["samples_a_run"]
    lone_table = table(["one client, call by call", "ms, median (quartiles) of rounds"], lone)
    head = [
        f"{told['clients']} at once",
        "verifications a second",
        "engine or server, CPU ms each",
        "clients, CPU ms each",
    ]
    return f"""Verification of one {SIDE_PX} px JPEG photograph against one of {told["enrolled"]:,} subjects,
on {told["threads"]} threads, in turns over {told["rounds"]} rounds: bytes to decision, decoding included.
Servers and clients share the cores with the engine. The third row is a server that runs the models call by call.

{lone_table}

{told["clients"]} clients call in a closed loop from a process of their own. In process the engine is fed batches of
the same bytes, which it decodes too: the service receives and answers besides. It ran {samples:.1f} samples at once
on average.

{table(head, crowd)}

Ready {median(ready):.2f} s ({min(ready):.2f} – {max(ready):.2f}) after the process was started, {len(ready)} starts,
with folded weights and cached files.
"""


def _copy(office: Office, database: Path) -> Path:
    # The engine that made it has closed it: one file is all there is.
    database.write_bytes(office.database.read_bytes())
    return database


def _starts(office: Office, options: Options, folder: Path) -> list[float]:
    # The first one warms the caches of files.
    seconds = []
    for k in range(min(_STARTS, options.rounds) + 1):
        with ServerProcess(office.database, options.cache, folder / str(k)) as server:
            seconds.append(server.ready_s)
            server.stop()
    return seconds[1:]


def _lone(
    engine: Engine, server: ServerProcess, unbatched: ServerProcess, office: Office, rounds: int
) -> dict[str, list[list[float]]]:
    # Milliseconds by system, round and call. Each system does the same call before another photograph's turn.
    images = office.images()
    claim = office.claims[0]
    with Client(server.address) as service, Client(unbatched.address) as plain:
        systems: dict[str, Callable[[FaceImage], object]] = {
            _IN_PROCESS: lambda image: engine.verify(claim, [FaceImage.from_bytes(image.encoded)]),
            _SERVICE: lambda image: service.verify(claim, [image]),
            _UNBATCHED: lambda image: plain.verify(claim, [image]),
        }
        names = list(systems)
        found: dict[str, list[list[float]]] = {name: [] for name in names}
        for turn in range(-1, rounds):
            calls: dict[str, list[float]] = {name: [] for name in names}
            for k in range(_LONE_CALLS):
                first = k % len(names)
                for name in names[first:] + names[:first]:
                    started = time.perf_counter()
                    systems[name](images[k % len(images)])
                    calls[name].append(1000 * (time.perf_counter() - started))
            if turn >= 0:
                for name in names:
                    found[name].append(calls[name])
    return found


def _crowd(engine: Engine, server: ServerProcess, office: Office, rounds: int) -> tuple[dict[str, _Crowd], float]:
    # The rounds of both, and how many samples shared a model run of the service.
    plan = Plan(server.address, str(office.photographs), office.claims, {"verify": 1.0}, _CLIENTS, _CROWD_S)
    images = office.images()
    found = {_IN_PROCESS: _Crowd(), _SERVICE: _Crowd()}
    before = after = (0.0, 0.0)
    for turn in range(-1, rounds):
        for label in (_IN_PROCESS, _SERVICE)[:: 1 if turn % 2 else -1]:
            crowd = found[label] if turn >= 0 else _Crowd()
            if label is _IN_PROCESS:
                _fed(engine, office.claims[0], images, crowd)
            else:
                _served(server, replace(plan, seed=max(turn, 0)), crowd)
        after = _model_runs(server)
        before = before if turn >= 0 else after
    return found, (after[0] - before[0]) / (after[1] - before[1])


def _fed(engine: Engine, claim: str, images: Sequence[FaceImage], crowd: _Crowd) -> None:
    size, done = engine.config.runtime.batch_size, 0
    started, cpu_s = time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - started) < _CROWD_S:
        batch = [FaceImage.from_bytes(images[(done + k) % len(images)].encoded) for k in range(size)]
        for prepared in engine.prepare(batch):
            engine.verify(claim, [prepared])
        done += size
    crowd.rate.append(done / elapsed)
    crowd.engine_ms.append(1000 * (time.process_time() - cpu_s) / done)


def _served(server: ServerProcess, plan: Plan, crowd: _Crowd) -> None:
    before = server.usage().cpu_s
    calls = complete(made(plan))
    crowd.rate.append(calls.answered / calls.wall_s)
    crowd.engine_ms.append(1000 * (server.usage().cpu_s - before) / calls.answered)
    crowd.clients_ms.append(1000 * calls.cpu_s / calls.answered)


def _model_runs(server: ServerProcess) -> tuple[float, float]:
    return server.counted("biometrik_batch_samples_sum"), server.counted("biometrik_batch_samples_count")


def _spread(values: Sequence[float], digits: int) -> str:
    middle, low, high = quartiles(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} – {high:.{digits}f})"
