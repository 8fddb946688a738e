"""The pictures in README.md: small PNG files that are the same each time they are made from the same figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

#: Edges of the similarity histograms that are recorded: cosine −1 … 1 in steps of 0.02.
BINS: Final = np.linspace(-1.0, 1.0, 101)
_SIZE_INCHES: Final = (6.0, 3.8)
_DPI: Final = 80
_COLOURS: Final = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown")


def trade_off(variants: Mapping[str, Any], path: Path) -> None:
    """Draw detection error trade-offs with their intervals.

    Parameters
    ----------
    variants : mapping
        Name → figures with ``points`` (score, fmr, fnmr) and ``eer``.
    path : Path
        PNG to write.
    """
    figure, axes = pyplot.subplots(figsize=_SIZE_INCHES)
    for colour, (name, found) in zip(_COLOURS, variants.items(), strict=False):
        points = [p for p in found["points"] if p["score"] >= 10]
        fmr = [p["fmr"][0] for p in points]
        value, low, high = (np.array([p["fnmr"][k] for p in points]) for k in range(3))
        axes.plot(fmr, value, color=colour, label=f"{name}, EER {100 * found['eer'][0]:.2f} %")
        axes.fill_between(fmr, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(xscale="log", yscale="log", xlabel="FMR", ylabel="FNMR", title="Detection error trade-off, 95 % intervals")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    _save(figure, path)


def similarities(found: Mapping[str, Any], path: Path) -> None:
    """Draw the distributions of similarity of mated and non-mated comparisons, as shares, on a logarithmic scale."""
    figure, axes = pyplot.subplots(figsize=_SIZE_INCHES)
    for colour, kind in zip(("tab:red", "tab:green"), ("non_mated", "mated"), strict=True):
        counts = np.array(found["histogram"][kind])
        label = f"{kind.replace('_', '-')} ({counts.sum():,})"
        axes.stairs(counts / max(counts.sum(), 1), BINS, color=colour, fill=True, alpha=0.4, label=label)
    for score in (30, 40):
        for point in found["points"]:
            if point["score"] == score:
                axes.axvline(point["threshold"], color="black", linewidth=1, linestyle=":")
                axes.text(point["threshold"], 0.5, f" {score}", fontsize=8)
    axes.set(yscale="log", ylim=(1e-7, 1), xlim=(-0.6, 1), xlabel="cosine; dotted: thresholds of scores 30 and 40")
    axes.set(ylabel="share of comparisons", title="Similarities")
    axes.legend(loc="upper left")
    _save(figure, path)


def calibration(variants: Mapping[str, Any], path: Path) -> None:
    """Draw the shipped tables: score over similarity, with the interval of the FMR measured at each threshold."""
    figure, axes = pyplot.subplots(figsize=_SIZE_INCHES)
    for colour, (name, found) in zip(_COLOURS, variants.items(), strict=False):
        if found["calibration"] is None:
            continue
        score, similarity, _, low, high = np.array(found["calibration"]["points"]).T
        axes.plot(similarity, score, color=colour, label=name)
        # The smallest FMR that JSON holds here stands for "none seen".
        bounds = [-10 * np.log10(np.maximum(bound, 1e-8)) for bound in (high, low)]
        axes.fill_between(similarity, *bounds, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="cosine", ylabel="score, −10·log10(FMR)", title="Calibration, 95 % interval of the FMR")
    axes.grid(visible=True, alpha=0.3)
    if axes.has_data():
        axes.legend()
    _save(figure, path)


def rates(found: Mapping[str, Sequence[float]], unit: str, title: str, path: Path) -> None:
    """Draw rates as bars, each with its quartiles: name → median, lower, upper."""
    figure, axes = pyplot.subplots(figsize=_SIZE_INCHES)
    median, low, high = (np.array(values) for values in zip(*found.values(), strict=True))
    axes.bar(list(found), median, yerr=[median - low, high - median], color=_COLOURS[: len(found)], capsize=4)
    axes.set(ylabel=unit, title=title)
    axes.grid(visible=True, axis="y", alpha=0.3)
    _save(figure, path)


def discards(
    curves: Mapping[str, Sequence[float]], discarded: Sequence[float], names: Sequence[str], path: Path
) -> None:
    """Draw the errors that are left, over the share of comparisons discarded, for some of the curves."""
    figure, axes = pyplot.subplots(figsize=_SIZE_INCHES)
    for colour, name in zip(_COLOURS, names, strict=False):
        axes.plot(100 * np.array(discarded), 100 * np.array(curves[name]), color=colour, marker=".", label=name)
    axes.set(xlabel="mated comparisons discarded, %", ylabel="FNMR of the rest, %", title="Errors by discard")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    _save(figure, path)


def durations(rows: Mapping[str, Sequence[float]], title: str, path: Path) -> None:
    """Draw horizontal bars of milliseconds with quartiles.

    Parameters
    ----------
    rows : mapping
        Label → (median, lower quartile, upper quartile), milliseconds.
    title : str
        What was timed.
    path : Path
        PNG to write.
    """
    figure, axes = pyplot.subplots(figsize=(_SIZE_INCHES[0], 0.9 + 0.34 * len(rows)))
    median, low, high = np.array(list(rows.values())).T
    places = np.arange(len(rows))[::-1]
    axes.barh(places, median, xerr=(median - low, high - median), color=_COLOURS[0], alpha=0.7, capsize=3)
    axes.set_yticks(places, list(rows))
    axes.set(xlabel="ms")
    figure.suptitle(title, fontsize=10)
    axes.grid(visible=True, axis="x", alpha=0.3)
    _save(figure, path)


def amounts(rows: Mapping[str, Mapping[str, float]], title: str, path: Path) -> None:
    """Draw horizontal bars of several measures of the same things, side by side, each with its value.

    Parameters
    ----------
    rows : mapping
        Measure with its unit → label → value; the same labels in each.
    title : str
        What was measured.
    path : Path
        PNG to write.
    """
    labels = list(next(iter(rows.values())))
    size = (1.5 * _SIZE_INCHES[0], 1.1 + 0.34 * len(labels))
    figure, panes = pyplot.subplots(1, len(rows), figsize=size, sharey=True)
    for axes, (measure, found) in zip(panes, rows.items(), strict=True):
        bars = axes.barh(labels, list(found.values()), color=_COLOURS[0], alpha=0.7)
        axes.bar_label(bars, fmt="{:,.4g}", padding=3, fontsize=8)
        axes.margins(x=0.2)  # for the longest bar's value
        axes.set(xlabel=measure)
        axes.grid(visible=True, axis="x", alpha=0.3)
    panes[0].invert_yaxis()
    figure.suptitle(title, fontsize=10)
    _save(figure, path)


def found_by_cost(curves: Mapping[str, Sequence[Sequence[float]]], title: str, path: Path) -> None:
    """Draw what a search keeps over what it costs.

    Parameters
    ----------
    curves : mapping
        Label → rows of (share that goes on, milliseconds of processor time, share of mates that are kept).
    title : str
        What was searched.
    path : Path
        PNG to write.
    """
    figure, axes = pyplot.subplots(figsize=_SIZE_INCHES)
    for colour, (label, rows) in zip(_COLOURS, curves.items(), strict=False):
        share, cost, kept = np.array(rows).T
        axes.plot(cost, 100 * kept, color=colour, marker="o", label=label)
        for point in zip(share, cost, kept, strict=True):
            axes.annotate(f"{100 * point[0]:g} %", (point[1], 100 * point[2]), (4, -12), textcoords="offset points")
    axes.set(xlabel="processor time, ms", ylabel="mates kept, %")
    figure.suptitle(title, fontsize=10)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    _save(figure, path)


def throughput(systems: Mapping[str, Mapping[int, Sequence[float]]], title: str, path: Path) -> None:
    """Draw queries a second over the batch size, with quartiles.

    Parameters
    ----------
    systems : mapping
        Name → batch → (median, lower quartile, upper quartile) of the time of a query, milliseconds.
    title : str
        What was timed.
    path : Path
        PNG to write.
    """
    figure, axes = pyplot.subplots(figsize=_SIZE_INCHES)
    for colour, (name, found) in zip(_COLOURS, systems.items(), strict=False):
        median, low, high = 1000 / np.array(list(found.values())).T
        axes.errorbar(list(found), median, yerr=(median - high, low - median), color=colour, marker=".", label=name)
    axes.set(xscale="log", yscale="log", xlabel="queries at a time", ylabel="queries a second", title=title)
    batches = next(iter(systems.values()))
    axes.set_xticks(list(batches), [str(batch) for batch in batches])
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    _save(figure, path)


def growth(rows: Mapping[str, Mapping[str, Sequence[float]]], sizes: Sequence[int], title: str, path: Path) -> None:
    """Draw measures over the size of a gallery, side by side, each from zero.

    Parameters
    ----------
    rows : mapping
        Measure with its unit → name → (S,) values.
    sizes : sequence of int
        S, faces.
    title : str
        What was measured.
    path : Path
        PNG to write.
    """
    figure, panes = pyplot.subplots(1, len(rows), figsize=(1.5 * _SIZE_INCHES[0], 0.8 * _SIZE_INCHES[1]))
    for axes, (measure, found) in zip(panes, rows.items(), strict=True):
        for colour, (name, values) in zip(_COLOURS, found.items(), strict=False):
            axes.plot(np.array(sizes) / 1e6, values, color=colour, marker=".", label=name)
        axes.set(xlabel="million faces", title=measure)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
    panes[0].legend()
    figure.suptitle(title, fontsize=10)
    _save(figure, path)


def latency_over_time(bins: Mapping[str, Sequence[float]], title: str, path: Path) -> None:
    """Draw how long calls took while a load went on.

    Parameters
    ----------
    bins : mapping
        ``s``, middle of each span of time, seconds from the start; ``p50_ms`` and ``p99_ms`` of its calls.
    title : str
        What load.
    path : Path
        PNG to write.
    """
    figure, axes = pyplot.subplots(figsize=_SIZE_INCHES)
    minutes = np.array(bins["s"]) / 60
    for colour, name, label in ((_COLOURS[0], "p50_ms", "median"), (_COLOURS[3], "p99_ms", "99th percentile")):
        axes.plot(minutes, bins[name], color=colour, label=label)
    axes.set(xlabel="minutes", ylabel="ms until the answer", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    _save(figure, path)


def longest_over_time(rows: Mapping[str, Sequence[Sequence[float]]], title: str, path: Path) -> None:
    """Draw how long the slowest call of each second took.

    Parameters
    ----------
    rows : mapping
        Label → (second, milliseconds) of each.
    title : str
        Of what, and what the seconds are counted from.
    path : Path
        PNG to write.
    """
    figure, axes = pyplot.subplots(figsize=_SIZE_INCHES)
    for colour, (label, found) in zip(_COLOURS, rows.items(), strict=False):
        axes.plot(*np.array(found).T, color=colour, label=label, linewidth=1)
    axes.set(xlabel="s", ylabel="ms", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    # Without the program's name and date: equal figures give equal bytes.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    pyplot.close(figure)
