"""Whether the false match rate keeps its promise where samples are averaged or the best reference counts (ADR 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.render import table
from biometrik.calibration import CalibrationTable, load_calibrations
from biometrik.config import FaceParameters, ModelParameters, RuntimeParameters
from biometrik.decision import each_of
from biometrik.evaluation.bootstrap import SubjectBootstrap, interval
from biometrik.evaluation.metrics import Comparisons, false_match_rate
from biometrik.evaluation.protocols import embed_with, enroll, labelled_images
from biometrik.face.pipeline import FacePipeline
from biometrik.inference import Runtime

TITLE = "Fusion of face samples and references"

#: Target false match rates, so that their thresholds rise.
_TARGETS: Final = (1e-2, 1e-3, 1e-4)
#: Of a person with many photographs so many groups are drawn, so that a few people do not decide.
_GROUPS_A_PERSON: Final = 10
_SEED: Final = 39794


@dataclass(frozen=True, slots=True)
class Fusion:
    """How a presentation is compared with an enrolment.

    Parameters
    ----------
    probes, references : int
        Photographs on each side.
    best : bool
        Each reference is an encounter of its own and the best counts; otherwise they are averaged.
    """

    probes: int
    references: int
    best: bool = False

    @property
    def symmetric(self) -> bool:
        """Whether the two sides are alike, so that a pair and its reverse are one comparison."""
        return self.probes == self.references and not self.best


_FUSIONS: Final = {
    "one photograph against one": Fusion(1, 1),
    "mean of 2 against one": Fusion(2, 1),
    "mean of 2 against mean of 2": Fusion(2, 2),
    "best of 2 references": Fusion(1, 2, best=True),
    "best of 3 references": Fusion(1, 3, best=True),
}


def run(options: Options) -> Result:
    """Embed all of lfw-dev and compare groups of photographs of different people at the shipped table's thresholds."""
    folder = options.data / "lfw-dev"
    if not (folder / "images").is_dir():
        raise NotRunError("the data set lfw-dev is not here; name the folder that holds it with --data")
    pipeline = FacePipeline(FaceParameters(), Runtime(RuntimeParameters(), ModelParameters(cache=options.cache)))
    evidence = load_calibrations().get(pipeline.contract_id)
    if evidence is None or evidence.real is None:
        raise NotRunError(f"no calibration ships for {pipeline.contract_id}; make one with scripts/calibrate")
    calibration = evidence.real
    data = labelled_images(folder)
    enrolled = enroll(data, embed_with(pipeline))
    figures = {
        name: measure(fusion, enrolled.embeddings, enrolled.subjects, calibration) for name, fusion in _FUSIONS.items()
    }
    bars = tuple(
        _bar(name, row) for name, found in figures.items() if _FUSIONS[name] != Fusion(1, 1) for row in found["rows"]
    )
    parameters = {
        "dataset": data.name,
        "images": len(data.paths),
        "calibration": calibration.id,
        "groups_a_person": _GROUPS_A_PERSON,
    }
    return Result(parameters, figures, bars)


def render(run: Mapping[str, Any], _: Path) -> str:
    """Return a table of measured over promised false match rates."""
    rows = []
    for name, found in run["figures"].items():
        kinds = {"fmr": name}
        if found["best"]:
            kinds["uncorrected"] = "— without the correction"
        if "single" in found["rows"][0]:
            kinds["single"] = "— the same photographs one by one"
        for key, label in kinds.items():
            rates = [_times([rate / row["target"] for rate in row[key]]) for row in found["rows"]]
            rows.append([label, f"{found['comparisons']:,}" if key == "fmr" else "", *rates])
    set_ = run["parameters"]
    head = ["comparison", "non-mated", *(f"at FMR {row['target']:g}" for row in found["rows"])]
    return f"""Measured false match rate over its target, with 95 % interval by subject: 1 is the promise kept exactly,
less is the safe side. Groups of photographs of one person (at most {set_["groups_a_person"]} of each size a person)
are compared with groups of every other person in `{set_["dataset"]}`, at the thresholds of
`{set_["calibration"]}`. That table was made from the same photographs one by one, so this
measures what fusion does to its promise, not how it holds elsewhere. Only people with enough photographs form groups;
how much these differ from all is what the rows *one by one* say: the same photographs in the same pairings, each
compared singly. The bars are on the ratio to these. A best reference pays, by Šidák's formula, for the number that it
was chosen from.

{table(head, rows)}
"""


def measure(
    fusion: Fusion, embeddings: NDArray[np.float32], people: NDArray[np.int64], calibration: CalibrationTable
) -> dict[str, Any]:
    """Return the FMR at the table's threshold of each target: fused, uncorrected for the choice, and one by one."""
    probes, references = groups(people, fusion.probes), groups(people, fusion.references)
    compared = _compared(people[probes[:, 0]], people[references[:, 0]], both_ways=not fusion.symmetric)
    first, second = people[probes[compared[0], 0]], people[references[compared[1], 0]]
    similarity = similarities(embeddings, probes, references, best=fusion.best)[compared]
    non_mated = Comparisons.of(similarity, first, second, int(people.max()) + 1)
    bootstrap = SubjectBootstrap(non_mated.subjects)
    choices = fusion.references if fusion.best else 1
    thresholds = [calibration.similarity_at(fmr) for fmr in _TARGETS]
    corrected = _rates(non_mated, [calibration.similarity_at(each_of(fmr, choices)) for fmr in _TARGETS], bootstrap)
    uncorrected = _rates(non_mated, thresholds, bootstrap)
    single = _one_by_one(embeddings, probes, references, compared, thresholds)
    rows = [
        {"target": target, "fmr": corrected[k], "uncorrected": uncorrected[k], "single": [single[k]]}
        for k, target in enumerate(_TARGETS)
    ]
    return {"comparisons": len(non_mated), "best": fusion.best, "rows": rows}


def similarities(
    embeddings: NDArray[np.float32], probes: NDArray[np.int64], references: NDArray[np.int64], *, best: bool
) -> NDArray[np.float32]:
    """Return (P, R) similarities of groups of photographs, as :class:`biometrik.engine.Engine` finds them.

    Parameters
    ----------
    embeddings : (N, D) float32
        Unit rows.
    probes, references : (P, p) and (R, r) int64
        Positions of the photographs of each group; a probe is the mean of its own.
    best : bool
        The best of the group's references counts; otherwise their mean is the reference.
    """
    probe = embeddings[probes].mean(axis=1)
    if best:
        found: NDArray[np.float32] = np.max([probe @ embeddings[nth].T for nth in references.T], axis=0)
    else:
        found = probe @ embeddings[references].mean(axis=1).T
    return found


def groups(people: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return (G, size) positions: groups of distinct photographs of one person, at most ten groups of each.

    Single photographs are all taken.

    Examples
    --------
    >>> groups(np.array([7, 7, 8, 7]), 2).tolist()
    [[0, 1], [0, 3], [1, 3]]
    """
    if size == 1:
        return np.arange(len(people))[:, None]
    rng = np.random.default_rng(_SEED)
    found: list[tuple[int, ...]] = []
    for person in np.unique(people):
        possible = list(combinations(np.nonzero(people == person)[0].tolist(), size))
        if len(possible) > _GROUPS_A_PERSON:
            drawn = rng.choice(len(possible), _GROUPS_A_PERSON, replace=False)
            possible = [possible[i] for i in sorted(drawn)]
        found += possible
    return np.array(found, dtype=np.int64).reshape(-1, size)


def _compared(
    probes: NDArray[np.int64], references: NDArray[np.int64], *, both_ways: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # Rows and columns of the non-mated comparisons.
    row, column = np.nonzero(probes[:, None] != references if both_ways else probes[:, None] < references)
    return row, column


def _one_by_one(
    embeddings: NDArray[np.float32],
    probes: NDArray[np.int64],
    references: NDArray[np.int64],
    compared: tuple[NDArray[np.int64], NDArray[np.int64]],
    thresholds: Sequence[float],
) -> list[float]:
    # FMR at each threshold of the single comparisons that the compared groups are made of.
    accepted = np.zeros(len(thresholds))
    for probe in probes.T:
        for reference in references.T:
            similarity = (embeddings[probe] @ embeddings[reference].T)[compared]
            accepted += [np.count_nonzero(similarity >= np.float32(threshold)) for threshold in thresholds]
    rates: list[float] = (accepted / (len(compared[0]) * probes.shape[1] * references.shape[1])).tolist()
    return rates


def _rates(non_mated: Comparisons, thresholds: Sequence[float], bootstrap: SubjectBootstrap) -> list[list[float]]:
    replicates = bootstrap.false_match_rates(non_mated, thresholds)
    rates = [
        interval(false_match_rate(non_mated, threshold), replicates[:, k], non_mated.subjects // 2)
        for k, threshold in enumerate(thresholds)
    ]
    return [[rate.value, rate.low, rate.high] for rate in rates]


def _bar(name: str, row: Mapping[str, Any]) -> Bar:
    # People with enough photographs to form groups differ from all; the same photographs one by one are the measure.
    value, low, high = (rate / row["single"][0] for rate in row["fmr"])
    return Bar(f"{name}: FMR at {row['target']:g} over that one by one", 1.0, value, "×", low=low, high=high)


def _times(rates: Sequence[float]) -> str:
    value, *bounds = (f"{rate:.2f}" for rate in rates)
    return f"{value} ({' – '.join(bounds)})" if bounds else value
