"""How long minutiae take to compare, one core: one pair in a batch, screening, staged search, preparation; beside
bozorth3 on the same minutiae.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.accuracy_finger import DATABASES, prints
from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.race import quartiles
from benchmarks.render import table
from biometrik.config import FingerParameters, ModelParameters, RuntimeParameters
from biometrik.fingerprint.matching import MATCHERS, Matcher
from biometrik.fingerprint.pipeline import FingerPipeline
from biometrik.fingers import NATIVE_PPI, Minutiae
from biometrik.inference import Runtime

TITLE = "Fingerprint matching speed"

_MATCHER: Final = "cylinders"
_MINUTIAE: Final = 40
_PROBES: Final = 5
_REFERENCES: Final = 2_000
_GALLERY: Final = 20_000
#: Every so many of the real prints is a probe; bozorth3, which is slow, compares every so many with each other.
_REAL_STEP: Final = 7
_BOZORTH3_STEP: Final = 16
_REAL, _BOZORTH3 = "full comparison, real prints", "bozorth3, mindtct's minutiae of real prints"


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
    missing: dict[str, str] = {}
    peer_minutiae: float | None = None
    try:
        work[_REAL] = _ours(matcher, [best for name in DATABASES for best in _best(options, name)])
        peer_minutiae, work[_BOZORTH3] = _bozorth3(options)
    except NotRunError as reason:
        missing[_BOZORTH3 if _REAL in work else _REAL] = str(reason)
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(options.rounds):
        for name, (units, act) in work.items():
            start = time.process_time()
            act()
            times[name].append(1e6 * (time.process_time() - start) / units)
    figures = {name: dict(zip(("us", "low", "high"), quartiles(found), strict=True)) for name, found in times.items()}
    staged, prepared = figures["staged search"], figures["preparation"]
    full = {name: figures[name] for name in ("full comparison", _REAL) if name in figures}
    bars = (
        *(
            Bar(f"{name}, 40 and 40 minutiae", 8.0, row["us"], "µs", True, row["low"], row["high"])
            for name, row in full.items()
        ),
        Bar("staged search, references a second", 300_000, 1e6 / staged["us"], at_most=False),
        Bar("preparation of 200,000 templates", 60.0, 0.2 * prepared["us"], "s"),
    )
    parameters = {
        "matcher": _MATCHER,
        "minutiae": _MINUTIAE,
        "gallery": _GALLERY,
        "rounds": options.rounds,
        "peer_minutiae": peer_minutiae,
    }
    return Result(parameters, figures, bars, missing)


def render(run: Mapping[str, Any], _folder: Path) -> str:
    """Return a table of times."""
    rows = [
        [name, f"{row['us']:.2f} ({row['low']:.2f} – {row['high']:.2f})", f"{1e6 / row['us']:,.0f}"]
        for name, row in run["figures"].items()
    ]
    set_ = run["parameters"]
    peer = ""
    if set_["peer_minutiae"] is not None:
        peer = (
            f" bozorth3, through nbis-py, has what mindtct finds in such prints, {set_['peer_minutiae']:.0f} minutiae."
        )
    return f"""`{set_["matcher"]}` on drawn templates of {set_["minutiae"]} minutiae, no two of one finger; one core,
processor time, median (quartiles) of {set_["rounds"]} rounds. Staged search: {set_["gallery"]:,} references, all
screened, 2 % of them compared in full. Real prints: the best {set_["minutiae"]} of LEADER's minutiae in FVC's four
databases, where there are as many.{peer}

{table(["what", "µs each", "each second"], rows)}
"""


def _best(options: Options, database: str) -> list[Minutiae]:
    # The best minutiae of every print of a database that has enough; extractors return the best first.
    pipeline = FingerPipeline(
        FingerParameters(), Runtime(RuntimeParameters(threads=1), ModelParameters(cache=options.cache))
    )
    found = prints(options.data / "fvc-dev" / database, pipeline)[1]
    n = _MINUTIAE
    return [
        Minutiae(m.x[:n], m.y[:n], m.direction[:n], m.kind[:n], m.quality[:n], m.width_px, m.height_px)
        for m in found
        if len(m) >= n
    ]


def _ours(matcher: Matcher[Any], real: list[Minutiae]) -> tuple[int, Callable[[], object]]:
    templates = [matcher.prepare(m) for m in real]
    references, probes = matcher.pack(templates), templates[::_REAL_STEP]
    return len(probes) * len(real), lambda: [matcher.compare_many(probe, references) for probe in probes]


def _bozorth3(options: Options) -> tuple[float, tuple[int, Callable[[], object]]]:
    # Mean number of mindtct's minutiae in some prints; how many comparisons of these, and those.
    try:
        import nbis
    except ModuleNotFoundError:
        raise NotRunError("needs the package nbis-py; scripts/setup installs it") from None
    settings = nbis.NbisExtractorSettings(
        min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=False, ppi=NATIVE_PPI
    )
    mindtct = nbis.new_nbis_extractor(settings)
    paths = [path for name in DATABASES for path in sorted((options.data / "fvc-dev" / name).glob("*.tif"))]
    templates = [mindtct.extract_minutiae_from_image_file(str(path)) for path in paths[::_BOZORTH3_STEP]]
    minutiae = float(np.mean([len(template.get()) for template in templates]))
    pairs = list(itertools.combinations(templates, 2))
    return minutiae, (len(pairs), lambda: [a.compare(b) for a, b in pairs])


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
