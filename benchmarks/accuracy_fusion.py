"""Whether several traits together keep their false match rate (ADR 10): simulated, with real fingers, with chimeras."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy_finger import DATABASES
from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.render import table
from biometrik.calibration import load_calibrations
from biometrik.config import FaceParameters, FingerParameters, ModelParameters, RuntimeParameters
from biometrik.evaluation.bootstrap import SubjectBootstrap, interval
from biometrik.evaluation.fingers import comparison_id
from biometrik.evaluation.metrics import Comparisons, false_match_rate
from biometrik.evaluation.prints import EnrolledPrints, enroll_prints, labelled_prints
from biometrik.evaluation.protocols import LabelledImages, embed_with, enroll, labelled_images
from biometrik.face.pipeline import FacePipeline
from biometrik.fingerprint.matching import MATCHERS
from biometrik.fingerprint.pipeline import FingerPipeline
from biometrik.fusion import DEPENDENCE, fused_rates
from biometrik.inference import Runtime
from biometrik.scale import Scale
from biometrik.types import Trait

TITLE = "Fusion of fingers and face"

_SEED: Final = 1932
_TRIALS: Final = 4_000_000
_TARGETS: Final = (1e-2, 1e-3, 1e-4, 1e-5)
#: 12,288 comparisons of nine people reach no further.
_REAL_TARGETS: Final = (1e-1, 1e-2, 1e-3)
_FINGERS: Final = tuple(Trait.finger(position) for position in range(1, 11))
#: People of lfw-dev whose first two photographs are the chimeras' faces.
_FACES: Final = 400

Rates = NDArray[np.float64]


def run(options: Options) -> Result:
    """Simulate strangers, fuse like fingers of the people of crossmatch-dev, and chimeras of FVC's and LFW's."""
    figures = {
        "simulated": simulated(np.random.default_rng(_SEED)),
        "strangers": _strangers(options),
        "chimeras": _chimeras(options),
    }
    kept = figures["simulated"]
    bars = [
        Bar(f"FMR over its target of 1e-4, {name}, {row['traits']} traits", 1.0, row["rule"][2])
        for name in ("independent", "normal copula, ρ 0.15")
        for row in kept[name]
    ]
    bars += [
        Bar(f"FMR over its target of 1e-2, {row['fingers']} like fingers of two people", 1.0, row["rule"][1][0])
        for row in figures["strangers"]["rows"]
        if row["fingers"] > 1
    ]
    return Result({"seed": _SEED, "trials": _TRIALS, "dependence": DEPENDENCE}, figures, tuple(bars))


def render(run: Mapping[str, Any], _: Path) -> str:
    """Return tables of measured over promised rates, and of what fusion gains."""
    found, set_ = run["figures"], run["parameters"]
    simulated_rows = [
        [
            name if k == 0 else "",
            str(row["traits"]),
            " / ".join(_short(x) for x in row["rule"]),
            " / ".join(_short(x) for x in row["fisher"]),
        ]
        for name, rows in found["simulated"].items()
        for k, row in enumerate(rows)
    ]
    strangers = found["strangers"]
    real_rows = [
        [
            str(row["fingers"]),
            f"{row['comparisons']:,}",
            *(" / ".join(_short(rate[0]) for rate in row[kind]) for kind in ("fisher", "rule", "real", "all")),
        ]
        for row in strangers["rows"]
    ]
    chimeras = found["chimeras"]
    gains = [[name, *(" / ".join(f"{100 * x:.2f}" for x in row[k]) for k in _KINDS)] for name, row in chimeras.items()]
    rho, low, high = strangers["correlation"]
    targets = " / ".join(f"{t:g}" for t in _TARGETS)
    return f"""A rate that is kept exactly is 1, less is the safe side. *Rule* is `biometrik.fusion`, which allows for
surprises (−ln FMR) of two traits that correlate by {set_["dependence"]}; *Fisher* takes traits to be independent.

Simulated strangers, {set_["trials"]:,} each, measured FMR over its target at {targets}:

{table(["strangers", "traits", "rule", "Fisher"], simulated_rows)}

Like fingers of the nine people in `crossmatch-dev`, measured FMR over its target at
{" / ".join(f"{t:g}" for t in _REAL_TARGETS)}. Their surprises correlate by {rho:.2f} (95 % interval by person
{low:.2f} – {high:.2f}). In the first two columns each finger's rate is its own among these comparisons, so that only
the fusion can err; in the last two it is the calibration's, of people alone and of all evidence.

{table(["fingers", "comparisons", "Fisher", "rule", "rule, people's calibration", "rule, all evidence"], real_rows)}

What fusion gains: FNMR in % at an FMR of {targets}, for chimeras
whose fingers are of FVC's databases and whose faces are of `lfw-dev`, by all evidence. *Weighted* gives each trait the
weight that its own mated scores say is best, with the exact law of independent traits (Good, 1955): an upper bound of
what weights could gain.

{table(["chimeras", "rule", "Fisher", "weighted"], gains)}
"""


def simulated(rng: np.random.Generator, trials: int = _TRIALS) -> dict[str, list[dict[str, Any]]]:
    """Return measured over promised FMR of strangers under each model of dependence; their surprises are all Exp(1)."""
    block = min(trials, 250_000)
    figures: dict[str, list[dict[str, Any]]] = {}
    for name, draw in _MODELS.items():
        for traits in (2, 4, 10):
            counts = np.zeros((2, len(_TARGETS)))
            for _ in range(trials // block):
                rates = np.exp(-draw(rng, block, traits))
                for row, fused in enumerate((fused_rates(rates, _FINGERS[:traits]), fisher(rates))):
                    counts[row] += [np.count_nonzero(fused <= target) for target in _TARGETS]
            rule, independent = (counts / (trials // block * block) / np.array(_TARGETS)).tolist()
            figures.setdefault(name, []).append({"traits": traits, "rule": rule, "fisher": independent})
    return figures


def fisher(rates: Rates) -> Rates:
    """Return Fisher's rate of (K, P) independent ones."""
    surprise = -np.log(rates).sum(axis=1)
    powers = [surprise**k / math.factorial(k) for k in range(rates.shape[1])]
    return np.asarray(np.exp(-surprise) * np.sum(powers, axis=0))


def weighted(rates: Rates, weights: Sequence[float]) -> Rates:
    """Return the rate of the weighted sum of surprises of (K, P) independent rates; the weights differ.

    References
    ----------
    I. J. Good, "On the weighted combination of significance tests", J. Royal Statistical Society B 17(2), 1955.
    """
    w = np.array(weights)
    surprise = -np.log(rates) @ w
    shares = [w[i] ** (len(w) - 1) / np.prod(np.delete(w[i] - w, i)) for i in range(len(w))]
    return np.asarray(np.clip(sum(share * np.exp(-surprise / w[i]) for i, share in enumerate(shares)), 0.0, 1.0))


def _independent(rng: np.random.Generator, trials: int, traits: int) -> Rates:
    return rng.exponential(size=(trials, traits))


def _normal_copula(shared: float) -> Callable[[np.random.Generator, int, int], Rates]:
    grid = np.linspace(-7, 7, 4001)
    tail = np.array([-math.log(0.5 * math.erfc(x / math.sqrt(2))) for x in grid])

    def draw(rng: np.random.Generator, trials: int, traits: int) -> Rates:
        own = rng.standard_normal((trials, traits))
        return np.asarray(
            np.interp(math.sqrt(shared) * rng.standard_normal((trials, 1)) + math.sqrt(1 - shared) * own, grid, tail)
        )

    return draw


def _moran(correlation: float) -> Callable[[np.random.Generator, int, int], Rates]:
    # P. A. P. Moran, "Testing for correlation between non-negative variates", Biometrika 54, 1967.
    shared = math.sqrt(correlation)

    def draw(rng: np.random.Generator, trials: int, traits: int) -> Rates:
        own = rng.standard_normal((trials, traits, 2))
        common = rng.standard_normal((trials, 1, 2))
        return np.asarray(((math.sqrt(shared) * common + math.sqrt(1 - shared) * own) ** 2).sum(axis=2) / 2)

    return draw


def _lookalikes(share: float, mean: float) -> Callable[[np.random.Generator, int, int], Rates]:
    # A few pairs of people are alike in every trait; all traits' law among all pairs stays exponential.
    def draw(rng: np.random.Generator, trials: int, traits: int) -> Rates:
        alike = rng.random((trials, 1)) < share
        x = np.where(alike, mean, 1.0) * rng.exponential(size=(trials, traits))
        return np.asarray(-np.log(share * np.exp(-x / mean) + (1 - share) * np.exp(-x)))

    return draw


_MODELS: Final[Mapping[str, Callable[[np.random.Generator, int, int], Rates]]] = {
    "independent": _independent,
    # ρ is the correlation of surprises: what was measured, and what the rule allows for.
    "normal copula, ρ 0.07": _normal_copula(0.085),
    "normal copula, ρ 0.15": _normal_copula(0.178),
    "Moran's, ρ 0.07": _moran(0.07),
    "Moran's, ρ 0.15": _moran(0.15),
    "2 % look-alikes in every trait, ρ 0.07": _lookalikes(0.02, 3.6),
}


def _strangers(options: Options) -> dict[str, Any]:
    enrolled, pipeline = _enrolled(options, ["crossmatch-dev"])
    scales, similarity = _finger_scales(pipeline), _similarities(enrolled[0])
    prints: dict[tuple[str, str], list[int]] = {}
    for i, finger in enumerate(enrolled[0].fingers):
        prints.setdefault((finger.subject, finger.position), []).append(i)
    people = sorted({person for person, _ in prints})
    positions = sorted({position for _, position in prints})
    # (impressions of one, impressions of the other) by two people and a position that both have.
    like = {
        (a, b, position): similarity[np.ix_(prints[a, position], prints[b, position])].ravel()
        for a, b in combinations(people, 2)
        for position in positions
        if (a, position) in prints and (b, position) in prints
    }
    pool = np.sort(np.concatenate(list(like.values())))
    own = {key: (len(pool) - np.searchsorted(pool, s)) / len(pool) for key, s in like.items()}
    by = {
        "own": own,
        "real": {key: _rates(scales["real"], s) for key, s in like.items()},
        "all": {key: _rates(scales["all"], s) for key, s in like.items()},
    }
    number = {person: k for k, person in enumerate(people)}
    bootstrap = SubjectBootstrap(len(people))
    rows = []
    for count in (1, 2, 3, 4, 6):
        kinds: dict[str, list[Rates]] = {kind: [] for kind in ("fisher", "rule", "real", "all")}
        first: list[NDArray[np.int64]] = []
        second: list[NDArray[np.int64]] = []
        for a, b in combinations(people, 2):
            for some in combinations(positions, count):
                if not all((a, b, position) in like for position in some):
                    continue
                columns = {kind: np.stack([r[a, b, p] for p in some], axis=1) for kind, r in by.items()}
                kinds["fisher"].append(fisher(columns["own"]))
                for kind, column in (("rule", "own"), ("real", "real"), ("all", "all")):
                    kinds[kind].append(fused_rates(columns[column], _FINGERS[:count]))
                first.append(np.full(len(columns["own"]), number[a]))
                second.append(np.full(len(columns["own"]), number[b]))
        row: dict[str, Any] = {"fingers": count, "comparisons": sum(map(len, first))}
        for kind, parts in kinds.items():
            scores = Comparisons.of(
                -np.log(np.concatenate(parts)), np.concatenate(first), np.concatenate(second), len(people)
            )
            thresholds = [-math.log(target) * (1 - 1e-6) for target in _REAL_TARGETS]
            replicates = bootstrap.false_match_rates(scores, thresholds)
            rates = [
                interval(false_match_rate(scores, t), replicates[:, k], len(people) // 2)
                for k, t in enumerate(thresholds)
            ]
            row[kind] = [
                [x / target for x in (rate.value, rate.low, rate.high)]
                for rate, target in zip(rates, _REAL_TARGETS, strict=True)
            ]
        rows.append(row)
    return {"rows": rows, "correlation": _correlation({key: -np.log(rate) for key, rate in own.items()}, people)}


def _correlation(surprise: Mapping[tuple[str, str, str], Rates], people: Sequence[str]) -> list[float]:
    # Of two fingers of the same two impressions' people, with an interval from resampling people.
    positions = sorted({position for *_, position in surprise})
    sums = np.zeros((len(people), len(people), 4))
    for (i, a), (j, b) in combinations(enumerate(people), 2):
        for one, other in combinations([surprise[a, b, p] for p in positions if (a, b, p) in surprise], 2):
            sums[i, j] += [len(one), (one + other).sum() / 2, (one**2 + other**2).sum() / 2, (one * other).sum()]

    def of(weights: NDArray[np.int64]) -> float:
        count, total, squares, products = np.einsum("i,j,ijk->k", weights, weights, sums)
        mean = total / count
        return float((products / count - mean**2) / (squares / count - mean**2))

    drawn = np.random.default_rng(_SEED).multinomial(len(people), np.full(len(people), 1 / len(people)), size=1000)
    resampled = [of(weights) for weights in drawn if np.count_nonzero(weights) > 1]
    return [of(np.ones(len(people), dtype=np.int64)), *map(float, np.quantile(resampled, [0.025, 0.975]))]


_KINDS: Final = ("rule", "fisher", "weighted")


def _chimeras(options: Options) -> dict[str, Any]:
    # The k-th mated pair of each database is one person's; so is the k-th of the faces.
    enrolled, pipeline = _enrolled(options, [f"fvc-dev/{name}" for name in DATABASES])
    scale = _finger_scales(pipeline)["all"]
    mated = [_rates(scale, _mated(prints)) for prints in enrolled]
    figures = {
        "one finger": _errors([[one] for one in mated]),
        "two fingers": _errors([list(some) for some in combinations(mated, 2)]),
        "three fingers": _errors([list(some) for some in combinations(mated, 3)]),
        "four fingers": _errors([mated]),
    }
    face = _mated_faces(options, len(mated[0]))
    return figures | {
        "a face": _errors([[face]]),
        "a face and one finger": _errors([[face, one] for one in mated]),
        "a face and two fingers": _errors([[face, *some] for some in combinations(mated, 2)]),
    }


def _errors(chimeras: Sequence[Sequence[Rates]]) -> dict[str, list[float]]:
    # FNMR at each target, the mean over chimeras.
    found: dict[str, list[Rates]] = {kind: [] for kind in _KINDS}
    for traits in chimeras:
        rates = np.stack(traits, axis=1)
        means = -np.log(rates).mean(axis=0)
        # Of exponential mated surprises with mean m the logarithm of the likelihood ratio grows by 1 − 1/m; weights
        # must differ for the law to have this form.
        weights = (1.0 - 1.0 / means) * (1.0 + 1e-3 * np.arange(len(means)))
        found["rule"].append(fused_rates(rates, _FINGERS[: len(traits)]))
        found["fisher"].append(fisher(rates))
        found["weighted"].append(weighted(rates, weights.tolist()) if len(traits) > 1 else rates[:, 0])
    return {
        kind: [float(np.mean([np.mean(fused > target * (1 + 1e-6)) for fused in parts])) for target in _TARGETS]
        for kind, parts in found.items()
    }


def _enrolled(options: Options, names: Sequence[str]) -> tuple[list[EnrolledPrints], FingerPipeline]:
    missing = [name for name in names if not (options.data / name).is_dir()]
    if missing:
        raise NotRunError(f"the data set {missing[0]} is not here; name the folder that holds it with --data")
    runtime = Runtime(RuntimeParameters(threads=1), ModelParameters(cache=options.cache))
    pipeline = FingerPipeline(FingerParameters(), runtime)
    sources = [labelled_prints(options.data / name, ppi=500.0) for name in names]
    return [enroll_prints(some, [pipeline])[0] for some in sources], pipeline


def _finger_scales(pipeline: FingerPipeline) -> dict[str, Scale]:
    contract = comparison_id(pipeline, MATCHERS.load(pipeline.parameters.matcher)())
    evidence = load_calibrations().get(contract)
    if evidence is None:
        raise NotRunError(f"no calibration ships for {contract}; make one with scripts/calibrate fingers")
    return {"real": evidence.scale(real_only=True), "all": evidence.scale()}


def _similarities(prints: EnrolledPrints) -> NDArray[np.float32]:
    matcher = MATCHERS.load(FingerParameters().matcher)()
    templates = [matcher.prepare(minutiae) for minutiae in prints.minutiae]
    pack = matcher.pack(templates)
    return np.stack([matcher.compare_many(template, pack) for template in templates])


def _mated(prints: EnrolledPrints) -> NDArray[np.float32]:
    similarity = _similarities(prints)
    subjects = np.array([finger.subject for finger in prints.fingers])
    first, second = np.triu_indices(len(subjects), 1)
    return np.asarray(similarity[first, second][subjects[first] == subjects[second]])


def _mated_faces(options: Options, count: int) -> Rates:
    folder = options.data / "lfw-dev"
    if not (folder / "images").is_dir():
        raise NotRunError("the data set lfw-dev is not here; name the folder that holds it with --data")
    pipeline = FacePipeline(FaceParameters(), Runtime(RuntimeParameters(), ModelParameters(cache=options.cache)))
    evidence = load_calibrations().get(pipeline.contract_id)
    if evidence is None:
        raise NotRunError(f"no calibration ships for {pipeline.contract_id}; make one with scripts/calibrate")
    data = labelled_images(folder)
    several = [person for person, n in Counter(data.labels).items() if n > 1][:_FACES]
    pairs = [[i for i, label in enumerate(data.labels) if label == person][:2] for person in several][:count]
    kept = [i for pair in pairs for i in pair]
    chosen = LabelledImages(data.name, tuple(data.paths[i] for i in kept), tuple(data.labels[i] for i in kept))
    embeddings = enroll(chosen, embed_with(pipeline)).embeddings
    return _rates(evidence.scale(), (embeddings[::2] * embeddings[1::2]).sum(axis=1))


def _rates(scale: Scale, similarity: NDArray[np.float32]) -> Rates:
    return np.asarray(10.0 ** (-scale.scores(similarity) / 10.0))


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
