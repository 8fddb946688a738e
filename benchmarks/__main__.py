"""``scripts/bench``: run benchmarks, record what they found, render README.md."""

import argparse
import importlib
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import benchmarks
from benchmarks.history import HISTORY, ROOT, NotRunError, append, record
from benchmarks.options import Benchmark, Options
from benchmarks.render import render

#: Other versions of packages that benchmarks measure against, by folder below ``.peers``.
PEERS = {"opencv4": "opencv-python-headless==4.14.0.94"}


def names() -> list[str]:
    """Return the benchmarks that exist."""
    modules = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name for name in modules if name.startswith(("accuracy_", "load_", "search_", "size_", "speed_")))


def load(name: str) -> Benchmark:
    """Import one benchmark."""
    return cast(Benchmark, importlib.import_module(f"benchmarks.{name}"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a bar was missed or a benchmark could not run, else 0."""
    defaults = Options()
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Run benchmarks and render benchmarks/README.md."
    )
    parser.add_argument("--only", metavar="NAME", choices=names(), help=f"one of {', '.join(names())}")
    parser.add_argument("--list", action="store_true", help="name the benchmarks")
    parser.add_argument("--render", action="store_true", help="only render README.md from the history")
    parser.add_argument(
        "--install-peers", action="store_true", help=f"fetch {', '.join(PEERS.values())} to compare with"
    )
    parser.add_argument("--data", type=Path, default=defaults.data, help="folder with the data sets")
    parser.add_argument("--cache", type=Path, default=defaults.cache, help="folder for folded weights")
    parser.add_argument("--rounds", type=int, default=defaults.rounds, help="interleaved rounds of a speed benchmark")
    parser.add_argument("--minutes", type=float, default=defaults.minutes, help="how long a load benchmark goes on")
    parser.add_argument("--trial", action="store_true", help="record nothing, only show: the machine is not quiet")
    given = parser.parse_args(arguments)
    options = Options(data=given.data, cache=given.cache, rounds=given.rounds, minutes=given.minutes)
    if given.list:
        print("\n".join(f"{name:20} {load(name).TITLE}" for name in names()))
        return 0
    if given.install_peers:
        install_peers(options.peers)
    chosen = [] if given.render else [name for name in names() if given.only in (None, name)]
    complete = [_run(name, options, trial=given.trial) for name in chosen]
    if given.trial:
        return 0 if all(complete) else 1
    readme = render({name: load(name) for name in names()}, HISTORY, ROOT / "benchmarks")
    print(f"rendered {readme.relative_to(ROOT)}")
    return 0 if all(complete) else 1


def install_peers(folder: Path) -> None:
    """Install each peer alone into its own folder, out of the environment's way."""
    for name, requirement in PEERS.items():
        target = folder / name
        if not target.is_dir():
            command = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--target",
                str(target),
                requirement,
            ]
            subprocess.run(command, check=True)


def _run(name: str, options: Options, *, trial: bool) -> bool:
    print(f"{name}: {load(name).TITLE}", flush=True)
    try:
        run = record(name, load(name).run(options))
    except NotRunError as reason:
        print(f"  not run: {reason}")
        return False
    if not trial:
        append(run)
    for bar in run["bars"]:
        verdict = "pass" if bar["passed"] else "FAIL"
        bound = f"{'≤' if bar['at_most'] else '≥'} {bar['target']:g}"
        print(f"  {verdict}  {bar['name']}: {bar['value']:.4g} {bar['unit']} (bar {bound})")
    for what, why in run["not_measured"].items():
        print(f"  not measured  {what}: {why}")
    if trial:
        with tempfile.TemporaryDirectory() as pictures:
            print(load(name).render(run, Path(pictures)))
    return all(bar["passed"] for bar in run["bars"])


if __name__ == "__main__":
    sys.exit(main())
