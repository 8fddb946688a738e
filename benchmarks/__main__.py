"""``scripts/bench``: run benchmarks, record what they found, render README.md."""

import argparse
import importlib
import json
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, cast

import benchmarks
from benchmarks.history import HISTORY, ROOT, NotRunError, append, record
from benchmarks.options import Benchmark, Options
from benchmarks.render import render

#: Other versions of packages that benchmarks measure against, by folder below ``.peers``.
PEERS = {"opencv4": "opencv-python-headless==4.14.0.94"}
#: Runs where it is asked for, not among the others, which need no GPU.
ON_GPU = "speed_gpu"


def names() -> list[str]:
    """Return the benchmarks that exist."""
    modules = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    kinds = ("accuracy_", "load_", "search_", "size_", "speed_")
    return sorted(name for name in modules if name.startswith(kinds))


def load(name: str) -> Benchmark:
    """Import one benchmark."""
    return cast(Benchmark, importlib.import_module(f"benchmarks.{name}"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a bar was missed or a benchmark could not run, else 0; with ``--gpu`` 2 where there is no GPU."""
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
    parser.add_argument("--gpu", action="store_true", help="on a machine with an NVIDIA GPU: all that runs on it")
    parser.add_argument("--trial", action="store_true", help="record nothing, only show: the machine is not quiet")
    given = parser.parse_args(arguments)
    options = Options(data=given.data, cache=given.cache, rounds=given.rounds, minutes=given.minutes)
    if given.list:
        print("\n".join(f"{name:20} {load(name).TITLE}" for name in names()))
        return 0
    if given.gpu:
        return on_gpu(options, trial=given.trial)
    if given.install_peers:
        install_peers(options.peers)
    chosen = [given.only] if given.only else [name for name in names() if name != ON_GPU]
    if given.render:
        chosen = []
    complete = [_run(name, options, trial=given.trial) for name in chosen]
    if given.trial:
        return 0 if all(complete) else 1
    readme = render({name: load(name) for name in names()}, HISTORY, ROOT / "benchmarks")
    print(f"rendered {readme.relative_to(ROOT)}")
    return 0 if all(complete) else 1


def on_gpu(options: Options, *, trial: bool) -> int:
    """Run what runs on a GPU: progress and a table go to standard error, the record as JSON to standard output.

    It renders nothing: a machine with a GPU need not have what the other benchmarks import.
    """
    module = load(ON_GPU)
    with redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as pictures:
        try:
            run = record(ON_GPU, module.run(options))
        except NotRunError as reason:
            print(f"not run: {reason}")
            return 2
        if not trial:
            print(f"recorded in {append(run)}")
        print(module.render(run, Path(pictures)))
        _tell(run)
    print(json.dumps(run, allow_nan=False, ensure_ascii=False, indent=1))
    return 0 if all(bar["passed"] for bar in run["bars"]) and not run["not_measured"] else 1


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
    _tell(run)
    if trial:
        with tempfile.TemporaryDirectory() as pictures:
            print(load(name).render(run, Path(pictures)))
    return all(bar["passed"] for bar in run["bars"])


def _tell(run: Mapping[str, Any]) -> None:
    for bar in run["bars"]:
        verdict = "pass" if bar["passed"] else "FAIL"
        bound = f"{'≤' if bar['at_most'] else '≥'} {bar['target']:g}"
        print(f"  {verdict}  {bar['name']}: {bar['value']:.4g} {bar['unit']} (bar {bound})")
    for what, why in run["not_measured"].items():
        print(f"  not measured  {what}: {why}")


if __name__ == "__main__":
    sys.exit(main())
