"""``scripts/soak``: a long test, seeded and resumable, recorded in ``benchmarks/history/soak.jsonl``."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.history import HISTORY, Bar, Result, append, record
from tests.soak import formats, full_disk, gallery_writes, hardware, service, station, store, weak_line


class Run(Protocol):
    """A soak that is set up."""

    def __call__(self, count: int, seed: int, start: int, /) -> Sequence[Any]:
        """Do ``count`` of it from index ``start`` with a seed; return what failed, as dataclasses."""
        ...


@runtime_checkable
class Measuring(Run, Protocol):
    """One that has figures of its own, to be recorded beside what failed."""

    @property
    def figures(self) -> Mapping[str, Any]:
        """What was measured until now."""
        ...


_NAME: Final = "soak"
#: Failures whose words are kept; the rest are counted.
_KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class Soak:
    """Something to be done many times.

    Parameters
    ----------
    title : str
        What is done.
    unit : str
        What is counted.
    count : int
        How many, unless it is said.
    chunk : int
        How many between looks at the clock.
    open : callable
        Sets up; what it yields runs a chunk.
    """

    title: str
    unit: str
    count: int
    chunk: int
    open: Callable[[], AbstractContextManager[Run]]


SOAKS: Final = {
    "service_fuzz": Soak(
        "hostile requests to a real server", "requests", count=200_000, chunk=2000, open=service.fuzzing
    ),
    "service_sigkill": Soak(
        "a server killed while eight clients enrol", "rounds", count=100, chunk=1, open=service.killing
    ),
    "hardware_fuzz": Soak(
        "damaged answers, files, scripts and recordings to every driver but libfprint's",
        "damages a driver",
        count=10_000,
        chunk=100,
        open=hardware.fuzzing,
    ),
    "libfprint_fuzz": Soak(
        "damaged bytes to libfprint's virtual scanner",
        "answers",
        count=10_000,
        chunk=100,
        open=hardware.fuzzing_libfprint,
    ),
    "hardware_unplug": Soak(
        "cables pulled in the middle of captures, the drivers in turn",
        "cables",
        count=1000,
        chunk=8,
        open=hardware.unplugging,
    ),
    "store_sigkill": Soak(
        "a gallery's process killed while six threads write", "kills", count=300, chunk=1, open=store.killing
    ),
    "snapshot_sigkill": Soak(
        "a gallery's process killed while it keeps snapshots and six threads write",
        "kills",
        count=300,
        chunk=1,
        open=partial(store.killing, keeps=True),
    ),
    "store_full_disk": Soak(
        "a disk that fills while four threads write", "disks", count=300, chunk=1, open=full_disk.filling
    ),
    "station_sigkill": Soak(
        "a counter's program killed while it keeps and forwards enrolments",
        "kills",
        count=200,
        chunk=1,
        open=station.killing,
    ),
    "weak_line": Soak(
        "a service behind 64 kbit/s, 2 s and 5 % loss", "rounds", count=5, chunk=1, open=weak_line.opened
    ),
    "gallery_writes": Soak(
        "a gallery searched while others enrol, change and erase",
        "rounds",
        count=500,
        chunk=2,
        open=gallery_writes.opened,
    ),
    "formats": Soak(
        "damaged interchange records", "records", count=1_000_000, chunk=5000, open=lambda: nullcontext(formats.run)
    ),
}


@dataclass(slots=True)
class Progressed:
    """How far a run has come.

    Parameters
    ----------
    start, done : int
        First index, and how many since.
    failures : list
        What failed.
    figures : mapping
        What was measured.
    """

    start: int
    done: int = 0
    failures: list[Any] = field(default_factory=list)
    figures: Mapping[str, Any] = field(default_factory=dict)


def resumed_at(name: str, seed: int, folder: Path = HISTORY) -> int:
    """Return the first index that no recorded run of this soak and seed has done; 0 where there is none."""
    path = folder / f"{_NAME}.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    runs = [json.loads(line) for line in lines]
    return max(
        (
            run["parameters"]["start"] + run["figures"]["done"]
            for run in runs
            if (run["parameters"]["soak"], run["parameters"]["seed"]) == (name, seed)
        ),
        default=0,
    )


def soak(
    chosen: Soak, seed: int, start: int, count: int, until: float, tell: Callable[[int, int], object]
) -> Progressed:
    """Run a soak until it is done, its time is over, or somebody interrupts it.

    Parameters
    ----------
    chosen : Soak
        Which.
    seed, start, count : int
        Of what is done, from which index, how many.
    until : float
        On the monotonic clock, seconds.
    tell : callable
        Told after each chunk how many are done and how many failed.
    """
    state = Progressed(start)
    try:
        with chosen.open() as run:
            while state.done < count and time.monotonic() < until:
                size = min(chosen.chunk, count - state.done)
                state.failures += run(size, seed, start + state.done)
                state.done += size
                if isinstance(run, Measuring):
                    state.figures = run.figures
                tell(state.done, len(state.failures))
    except KeyboardInterrupt:
        pass  # what was done is recorded, and --resume goes on from there
    return state


def main(arguments: Sequence[str] | None = None, folder: Path = HISTORY) -> int:
    """Return 1 if anything failed or nothing was done, else 0."""
    given = _parser().parse_args(arguments)
    console = Console()
    if given.list or given.name is None:
        for name, each in SOAKS.items():
            console.print(f"{name:16} {each.title}; {each.count:,} {each.unit} unless --count says otherwise")
        return 0
    chosen: Soak = SOAKS[given.name]
    count = given.count or chosen.count
    start = resumed_at(given.name, given.seed, folder) if given.resume else given.start
    until = time.monotonic() + 60 * given.minutes if given.minutes else float("inf")
    began = time.monotonic()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        task = bar.add_task(chosen.title, total=count, failed=0)
        state = soak(
            chosen,
            given.seed,
            start,
            count,
            until,
            lambda done, failed: bar.update(task, completed=done, failed=failed),
        )
    result = Result(
        parameters={"soak": given.name, "seed": given.seed, "start": start, "count": count, "minutes": given.minutes},
        figures={
            "unit": chosen.unit,
            "done": state.done,
            "seconds": round(time.monotonic() - began, 1),
            "failures": [asdict(failure) for failure in state.failures[:_KEPT]],
            **state.figures,
        },
        bars=(Bar(f"failures of {given.name}", target=0, value=len(state.failures)),),
    )
    path = append(record(_NAME, result), folder)
    for failure in state.failures[:_KEPT]:
        console.print(f"[bold red]failed[/] {failure.index}: {failure.target}: {failure.what}", highlight=False)
        console.print(f"       again: scripts/soak {given.name} --seed {given.seed} --start {failure.index} --count 1")
    console.print(
        f"{given.name}: {state.done:,} {chosen.unit} from {start:,}, seed {given.seed}, "
        f"{len(state.failures)} failed; recorded in {path.name}"
    )
    return 0 if state.done and not state.failures else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Run a long test: seeded, so that a failure can be repeated, and recorded, so that it can go on"
        " where it ended. Ctrl-C ends it after recording what was done.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  scripts/soak --list                               what there is\n"
        "  scripts/soak service_fuzz --minutes 60            an hour of hostile requests\n"
        "  scripts/soak service_fuzz --minutes 60 --resume   another hour, of other requests\n"
        "  scripts/soak formats --start 4711 --count 1       one record again, to look into a failure",
    )
    parser.add_argument("name", nargs="?", choices=list(SOAKS), metavar="NAME", help=f"one of {', '.join(SOAKS)}")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--count", type=_positive, metavar="N", help="how many; the soak's own number unless said")
    parser.add_argument("--minutes", type=float, metavar="M", help="end after so many minutes, if not done before")
    parser.add_argument("--seed", type=int, default=20_260, metavar="S", help="of what is done (default %(default)s)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--start", type=int, default=0, metavar="I", help="first index (default %(default)s)")
    where.add_argument("--resume", action="store_true", help="go on after what is recorded of this soak and seed")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
