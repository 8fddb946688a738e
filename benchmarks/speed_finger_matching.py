"""How long minutiae take to compare, one core: one pair in a batch, screening, staged search, preparation."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.history import Bar, Result
from benchmarks.options import Options
from benchmarks.race import quartiles
from benchmarks.render import table
from biometrik.fingerprint.matching import MATCHERS
from biometrik.fingers import Minutiae

TITLE = "Fingerprint matching speed"

_MATCHER: Final = "cylinders"
_MINUTIAE: Final = 40
_PROBES: Final = 5
_REFERENCES: Final = 2_000
_GALLERY: Final = 20_000


def run(options: Options) -> Result:
    """Time a batch of full comparisons, screening, staged search and preparation in turns."""
    rng = np.random.default_rng(19794)
    matcher = MATCHERS.load(_MATCHER)()
    drawn = [_drawn(rng) for _ in range(_REFERENCES)]
    templates = [matcher.prepare(m) for m in drawn]
    references = matcher.pack(templates)
    gallery = matcher.pack([references] * (_GALLERY // _REFERENCES))
    probes = templates[:_PROBES]
    matcher.warm_up()
    work: dict[str, tuple[int, Callable[[], object]]] = {
        "full comparison": (_PROBES * _REFERENCES, lambda: [matcher.compare_many(p, references) for p in probes]),
        "screening": (_PROBES * _REFERENCES, lambda: [matcher.screen(p, references) for p in probes]),
        "staged search": (_PROBES * _GALLERY, lambda: [matcher.search(p, gallery, 10) for p in probes]),
        "preparation": (200, lambda: [matcher.prepare(m) for m in drawn[:200]]),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(options.rounds):
        for name, (units, act) in work.items():
            start = time.process_time()
            act()
            times[name].append(1e6 * (time.process_time() - start) / units)
    figures = {name: dict(zip(("us", "low", "high"), quartiles(found), strict=True)) for name, found in times.items()}
    full, staged, prepared = figures["full comparison"], figures["staged search"], figures["preparation"]
    bars = (
        Bar("full comparison of 40 and 40 minutiae", 8.0, full["us"], "µs", True, full["low"], full["high"]),
        Bar("staged search, references a second", 300_000, 1e6 / staged["us"], at_most=False),
        Bar("preparation of 200,000 templates", 60.0, 0.2 * prepared["us"], "s"),
    )
    parameters = {"matcher": _MATCHER, "minutiae": _MINUTIAE, "gallery": _GALLERY, "rounds": options.rounds}
    return Result(parameters, figures, bars)


def render(run: Mapping[str, Any], _folder: Path) -> str:
    """Return a table of times."""
    rows = [
        [name, f"{row['us']:.2f} ({row['low']:.2f} – {row['high']:.2f})", f"{1e6 / row['us']:,.0f}"]
        for name, row in run["figures"].items()
    ]
    set_ = run["parameters"]
    return f"""`{set_["matcher"]}` on drawn templates of {set_["minutiae"]} minutiae, no two of one finger; one core,
processor time, median (quartiles) of {set_["rounds"]} rounds. Staged search: {set_["gallery"]:,} references, all
screened, 2 % of them compared in full.

{table(["what", "µs each", "each second"], rows)}
"""


def _drawn(rng: np.random.Generator) -> Minutiae:
    # Minutiae 9 px apart or more (a ridge period), directions of one flow and its opposite, as in a print's middle.
    places: list[tuple[float, float]] = []
    while len(places) < _MINUTIAE:
        x, y = rng.uniform(40, 290), rng.uniform(40, 340)
        if all((x - u) ** 2 + (y - v) ** 2 > 81 for u, v in places):
            places.append((x, y))
    xy = np.array(places, dtype=np.float32)
    flow = 0.9 * np.sin((xy[:, 0] - 165) / 90 + rng.uniform(-1, 1)) + np.pi * rng.integers(0, 2, _MINUTIAE)
    direction = ((flow + rng.normal(0, 0.2, _MINUTIAE)) % (2 * np.pi)).astype(np.float32)
    kind = np.ones(_MINUTIAE, dtype=np.uint8)
    quality = rng.integers(40, 100, _MINUTIAE).astype(np.uint8)
    return Minutiae(xy[:, 0].copy(), xy[:, 1].copy(), direction, kind, quality, 330, 380)
