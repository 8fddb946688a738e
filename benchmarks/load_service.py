"""How the service bears a day's work: steady mixed load, more than it can do, and clients that went away."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import plots as pictures
from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.race import quartiles
from benchmarks.render import table
from benchmarks.service_clients import MIX, OK, PRINT_MIX, REFUSED, Calls, Plan, complete, made
from benchmarks.service_office import SIDE_PX, Office, engine_config, furnish
from benchmarks.service_process import ServerProcess, Usage, Watch
from biometrik.client import AsyncClient, Connection
from biometrik.engine import Engine
from biometrik.errors import SubjectNotFoundError
from biometrik_server.desk import MODEL_RUNS

TITLE = "Service under load"

_STRANGERS: Final = 1000
_FINGERS: Final = 16
_CLIENTS: Final = 16
#: The whole of it; a shorter one is a trial, and says so.
_MINUTES: Final = 10.0
_SEGMENT_S: Final = (4.0, 20.0)
_OVERLOAD_ROUNDS: Final = 3
_LOAD: Final = 0.8
#: Trials that find the counters' pause for that load.
_PILOTS: Final = 3
_OVERLOAD: Final = 3.0
_WATCH_S: Final = 1.0
_BINS: Final = 60
#: Until a rush is forgotten: the next clients find the house as it was.
_CALM_S: Final = 5.0
#: Clients that go away: half cancel, half have a deadline that passes.
_GONE: Final = 20
_PATIENCE_S: Final = 0.15
#: Samples of the calls that the models are busy with meanwhile: the server's batch size, and most of one call.
_FULL_RUN: Final = 16
#: Such calls: the models must not be free before the others have gone, on a quick machine either.
_BUSY: Final = 4 * MODEL_RUNS
#: Promises. "Immediate" and "keep" need a number: a hundredth of a working second, a quarter for the weather.
_SPREAD: Final = 4.0
_GROWTH_PERCENT: Final = 5.0
_REFUSAL_MS: Final = 100.0
_KEPT: Final = 1.25


def run(options: Options) -> Result:
    """Measure capacity, then four fifths of it for some minutes, then three times as much, then clients that go."""
    shortest, longest = _SEGMENT_S
    segment_s = min(longest, max(shortest, 60 * options.minutes / 30))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        office = furnish(folder, options, _STRANGERS, fingers=_FINGERS)
        server = stack.enter_context(ServerProcess(office.database, options.cache, folder / "server"))
        limit = asyncio.run(_limit(server.address))
        plan = Plan(server.address, str(office.photographs), office.claims, MIX, _CLIENTS, segment_s)
        prints = replace(plan, mix=PRINT_MIX, prints=str(office.prints))
        made(replace(prints, seed=3, seconds=_SEGMENT_S[0]))  # compiles what is not in the caches
        printed = made(replace(prints, seed=4, seconds=max(segment_s, 6 * options.minutes)))
        full = replace(plan, clients=limit)
        made(full)  # to the longest queue and the fullest model run: memory is as it will be
        before = _resident(server, full)
        capacity = complete(made(replace(plan, seed=1)))
        rate = capacity.answered / capacity.wall_s
        rest_s = _pause(plan, _LOAD * rate)
        with Watch(server, _WATCH_S) as watch:
            steady = made(replace(plan, seed=2, seconds=60 * options.minutes, rest_s=rest_s))
        at_limit, beyond = [], []
        for turn in range(min(_OVERLOAD_ROUNDS, options.rounds)):
            at_limit.append(complete(made(replace(full, seed=10 + turn))))
            beyond.append(made(replace(plan, seed=20 + turn, rate=_OVERLOAD * rate)))
            time.sleep(_CALM_S)
        after = _resident(server, full)
        computed = asyncio.run(_gone(server, office))
        server.stop()
        acknowledged = [who for calls in (capacity, steady, printed, *at_limit, *beyond) for who in calls.acknowledged]
        lost = _lost(office, options, acknowledged)
    figures = {
        "capacity": rate,
        "clients_share": capacity.cpu_s / capacity.wall_s,
        "steady": {**_steady(steady, watch.seen), "share": steady.answered / steady.wall_s / rate},
        "full_house_mib": {"before": before, "after": after, "percent": 100 * (after / before - 1)},
        "prints": _answers(printed),
        "overload": _overload(at_limit, beyond),
        "acknowledged": len(acknowledged),
        "lost": lost,
        "gone": {"calls": _GONE, "computed": computed},
    }
    parameters = {
        "minutes": options.minutes,
        "shortened": options.minutes < _MINUTES,
        "segment_s": segment_s,
        "clients": _CLIENTS,
        "admission_limit": limit,
        "enrolled": office.enrolled,
        "mix": dict(MIX),
    }
    return Result(parameters, figures, bars(figures))


def bars(figures: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Return the promises."""
    steady, overload, gone, full = (figures[name] for name in ("steady", "overload", "gone", "full_house_mib"))
    middle, late = steady["quantiles_ms"]["all"][1:]
    load = f"{_LOAD:.0%} of capacity"
    return (
        Bar(f"{load}: calls without the answer expected", 0, sum(steady["errors"].values())),
        Bar(f"{load}: p99 over p50, all calls together", _SPREAD, late / middle, "×"),
        Bar("resident memory of a full house, after all over before", _GROWTH_PERCENT, full["percent"], "%"),
        Bar(f"{load}: growth of threads", 0, steady["growth"]["threads"]),
        Bar(f"{load}: growth of descriptors", 0, steady["growth"]["descriptors"]),
        Bar("synthetic prints: calls without the answer expected", 0, sum(figures["prints"]["errors"].values())),
        Bar("overload: p99 of refusals", _REFUSAL_MS, quartiles(overload["refusal_p99_ms"])[0], "ms"),
        Bar(
            "overload: p99 of accepted calls over that at the admission limit",
            _KEPT,
            overload["kept"][0],
            "×",
            True,
            *overload["kept"][1:],
        ),
        Bar("overload: calls neither answered nor refused", 0, sum(overload["errors"].values())),
        Bar("acknowledged enrolments that are lost", 0, figures["lost"]),
        Bar(f"computed of {gone['calls']} calls whose client had gone", 0, gone["computed"]),
    )


def render(run: Mapping[str, Any], folder: Path) -> str:
    """Return tables of the mix and of the overload, and a plot of latency over time."""
    told, found = run["parameters"], run["figures"]
    steady, overload = found["steady"], found["overload"]
    pictures.latency_over_time(
        steady["bins"], f"{_LOAD:.0%} of capacity, {told['minutes']:g} minutes", folder / "service_load.png"
    )
    mix, prints = (
        table(
            ["mix", "calls", "p50, ms", "p99, ms", "p99 / p50"],
            [
                [kind, f"{int(count):,}", f"{middle:.1f}", f"{late:.1f}", f"{late / middle:.2f}"]
                for kind, (count, middle, late) in found[part]["quantiles_ms"].items()
            ],
        )
        for part in ("steady", "prints")
    )
    early, late = steady["growth"]["resident_mib"]
    full = found["full_house_mib"]
    shortened = "**Shortened: not the ten minutes that are promised.** " if told["shortened"] else ""
    at_once, slowest, accepted, limit = (
        quartiles(overload[name])[0] for name in ("refusal_p50_ms", "refusal_p99_ms", "accepted_p99_ms", "limit_p99_ms")
    )
    failed = f"Without the answer expected: {steady['errors']}.\n" if steady["errors"] else ""
    clients, enrolled, refused = told["clients"], told["enrolled"], overload["refused"]
    return f"""{shortened}Capacity is what {clients} clients in a closed loop get of the mix:
{found["capacity"]:.1f} calls a second, while they burn {found["clients_share"]:.2f} of a core themselves.
Then {clients} counters, each with one person at a time and pauses between them (exponential, seeded), ask for about
{_LOAD:.0%} of that for {told["minutes"]:g} minutes; they got {steady["share"]:.0%}.
{enrolled:,} subjects are enrolled at the start; photographs are JPEG of {SIDE_PX} px.

{mix}

![latency](plots/service_load.png)

Resident memory: {early:.0f} MiB in the second fifth of the time, {late:.0f} MiB in the last.
With {told["admission_limit"]} clients in a closed loop, as many as are admitted: {full["before"]:.0f} MiB at the start,
{full["after"]:.0f} MiB after everything, when {found["acknowledged"]:,} more people were enrolled.
{failed}
The same clients in a closed loop with SYNTHETIC prints of {_FINGERS} fingers, the default extractor:
{found["prints"]["rate"]:.1f} calls a second.

{prints}

At {_OVERLOAD:g} × capacity {refused:,} of {overload["calls"]:,} calls were refused:
p50 {at_once:.1f} ms, p99 {slowest:.1f} ms. Those accepted have a p99 of {accepted:.0f} ms; as many clients in a closed
loop as are admitted, {told["admission_limit"]}, one of {limit:.0f} ms, in turns.
All {found["acknowledged"]:,} enrolments that were acknowledged were looked for after the server had stopped.
"""


def _pause(plan: Plan, rate: float) -> float:
    # The pause between two people at which the counters ask for so many calls a second: how long an answer takes at
    # that load is found by trying.
    each_s = plan.clients / rate
    rest_s = each_s / 2
    for turn in range(_PILOTS):
        pilot = complete(made(replace(plan, seed=5 + turn, rest_s=rest_s)))
        rest_s = max(0.001, each_s - float(np.mean(pilot.times())) / 1000)
    return rest_s


def _resident(server: ServerProcess, plan: Plan) -> float:
    # MiB while the house is full, the median over one run of a plan.
    with Watch(server, _WATCH_S) as watch:
        complete(made(plan))
    return float(np.median([usage.resident_mib for usage in watch.seen[len(watch.seen) // 3 :]]))


async def _limit(address: str) -> int:
    async with AsyncClient(address) as client:
        return (await client.capabilities()).max_concurrent_requests


async def _gone(server: ServerProcess, office: Office) -> int:
    # Samples that the models saw though nobody waited for them any more.
    images, claim = office.images(), office.claims[0]
    before = server.counted("biometrik_batch_samples_sum")
    async with (
        AsyncClient(server.address) as patient,
        AsyncClient(Connection(server.address, timeout_s=_PATIENCE_S)) as hasty,
    ):
        # Four full model runs for each of those that go on at once keep the models busy meanwhile.
        busy = [asyncio.create_task(patient.verify(claim, images[:_FULL_RUN])) for _ in range(_BUSY)]
        await asyncio.sleep(_PATIENCE_S)
        calls = [
            asyncio.create_task(client.verify(claim, images[:1]))
            for client in (patient, hasty)
            for _ in range(_GONE // 2)
        ]
        await asyncio.sleep(_PATIENCE_S)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.gather(*busy)
        await patient.verify(claim, images[:1])
    return round(server.counted("biometrik_batch_samples_sum") - before) - _BUSY * _FULL_RUN - 1


def _lost(office: Office, options: Options, acknowledged: Sequence[str]) -> int:
    lost = 0
    with Engine.open(office.database, engine_config(options)) as engine:
        for subject_id in acknowledged:
            try:
                engine.subject(subject_id)
            except SubjectNotFoundError:
                lost += 1
    return lost


def _steady(calls: Calls, seen: Sequence[Usage]) -> dict[str, Any]:
    return {**_answers(calls), "growth": _growth(seen), "bins": _bins(calls)}


def _answers(calls: Calls) -> dict[str, Any]:
    if not calls.answered:
        raise NotRunError(f"load: expected answers, got none: {calls.errors}")
    times = {"all": calls.times(), **{kind: calls.times(kind=kind) for kind in {**MIX, **PRINT_MIX}}}
    return {
        "quantiles_ms": {kind: _quantiles(ms) for kind, ms in times.items() if ms},
        "errors": calls.errors,
        "rate": calls.answered / calls.wall_s,
        "clients_share": calls.cpu_s / calls.wall_s,
    }


def _quantiles(ms: Sequence[float]) -> list[float]:
    # How many, median, 99th percentile.
    middle, late = np.quantile(ms, [0.5, 0.99]).tolist() if ms else (0.0, 0.0)
    return [len(ms), middle, late]


def _growth(seen: Sequence[Usage]) -> dict[str, Any]:
    # From the second fifth of the time, when all is warm, to the last: medians of memory, the most of the others.
    fifth = max(1, len(seen) // 5)
    early, late = seen[fifth : 2 * fifth] or seen[:1], seen[-fifth:]
    resident = [float(np.median([u.resident_mib for u in part])) for part in (early, late)]
    return {
        "resident_mib": resident,
        "resident_percent": 100 * (resident[1] / resident[0] - 1),
        "threads": max(u.threads for u in late) - max(u.threads for u in early),
        "descriptors": max(u.descriptors for u in late) - max(u.descriptors for u in early),
    }


def _bins(calls: Calls) -> dict[str, list[float]]:
    # Median and 99th percentile of answered calls over time, by when they were due.
    rows = np.array([(s, ms) for s, ms, o in zip(calls.due_s, calls.ms, calls.outcome, strict=True) if o == OK])
    edges = np.linspace(0, rows[:, 0].max(), _BINS + 1)
    bins: dict[str, list[float]] = {"s": [], "p50_ms": [], "p99_ms": []}
    for k, (low, high) in enumerate(pairwise(edges)):
        inside = rows[(rows[:, 0] >= low) & ((rows[:, 0] < high) | (k == _BINS - 1)), 1]
        if len(inside):
            _, middle, late = _quantiles(inside.tolist())
            for name, value in (("s", (low + high) / 2), ("p50_ms", middle), ("p99_ms", late)):
                bins[name].append(round(float(value), 2))
    return bins


def _overload(at_limit: Sequence[Calls], beyond: Sequence[Calls]) -> dict[str, Any]:
    limit = [_quantiles(calls.times())[2] for calls in at_limit]
    accepted = [_quantiles(calls.times())[2] for calls in beyond]
    refused = [_quantiles(calls.times(REFUSED)) for calls in beyond]
    errors = sum((Counter(calls.errors) for calls in beyond), Counter[str]())
    del errors[REFUSED]
    return {
        "limit_p99_ms": limit,
        "accepted_p99_ms": accepted,
        "kept": quartiles([ours / theirs for ours, theirs in zip(accepted, limit, strict=True)]),
        "refusal_p50_ms": [row[1] for row in refused],
        "refusal_p99_ms": [row[2] for row in refused],
        "refused": sum(int(row[0]) for row in refused),
        "calls": sum(len(calls.kind) for calls in beyond),
        "errors": dict(errors),
    }
