"""README.md from the latest line of each benchmark's history. Nothing in it is written by hand."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.history import latest
from benchmarks.options import Benchmark

_HEAD = """# Benchmarks

Rendered by `scripts/bench` from the last line of each file in `history/`; do not edit. `scripts/bench --list` names
the benchmarks, `--only NAME` runs one, `--install-peers` fetches the older OpenCV to compare with. Each benchmark runs
interleaved with what it is compared with, in one run on one machine.
"""


def render(modules: Mapping[str, Benchmark], history: Path, folder: Path) -> Path:
    """Write README.md and the plots, and return README.md.

    Parameters
    ----------
    modules : mapping
        Benchmarks by name.
    history : Path
        Folder of the records.
    folder : Path
        Where README.md and ``plots`` go.
    """
    plots = folder / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    parts = [_HEAD]
    for name, module in modules.items():
        run = latest(name, history)
        parts.append(f"## {module.TITLE}\n")
        not_run = getattr(module, "NOT_RUN", f"Not run yet: `scripts/bench --only {name}`.\n")
        parts.append(_section(name, run, module, plots) if run else not_run)
    path = folder / "README.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; every column but the first is aligned to the right.

    Examples
    --------
    >>> print(table(["what", "ms"], [["a", "1"]]))
    | what | ms |
    | --- | ---: |
    | a | 1 |
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _section(name: str, run: dict[str, Any], module: Benchmark, plots: Path) -> str:
    where = run["machine"]
    flags = " ".join(where["flags"]) or "none of interest"
    versions = ", ".join(f"{name} {version}" for name, version in run["packages"].items())
    command = getattr(module, "COMMAND", f"scripts/bench --only {name}")
    state = " with uncommitted changes" if run["dirty"] else ""
    lines = [
        f"Measured {run['date']} on commit {run['commit'] or 'none'}{state}: "
        f"{where['cpu']}, {where['cores']} cores ({flags}), {where['memory_mib'] / 1024:.0f} GiB, "
        f"Python {where['python']}, {versions}.\n",
        f"Command: `{command}`.\n",
        _bars(run["bars"]),
        "",
        module.render(run, plots),
    ]
    if run["not_measured"]:
        lines += ["Not measured here:\n", *(f"- {what}: {why}" for what, why in run["not_measured"].items()), ""]
    return "\n".join(lines)


def _bars(bars: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for bar in bars:
        unit = f" {bar['unit']}" if bar["unit"] else ""
        spread = "" if bar["low"] is None else f" ({bar['low']:.4g} – {bar['high']:.4g})"
        bound = f"{'≤' if bar['at_most'] else '≥'} {bar['target']:g}{unit}"
        rows.append([bar["name"], bound, f"{bar['value']:.4g}{unit}{spread}", "pass" if bar["passed"] else "**FAIL**"])
    return table(["bar", "promised", "measured", "verdict"], rows)
