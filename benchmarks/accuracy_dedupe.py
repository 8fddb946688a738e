"""How many people who are enrolled twice are found, and how many others are named with them, on `lfw-dev`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.history import Bar, NotRunError, Result
from benchmarks.options import Options
from benchmarks.render import table
from biometrik.config import EngineConfig, FaceParameters, ModelParameters, RuntimeParameters
from biometrik.duplicates import DedupePolicy
from biometrik.engine import Engine
from biometrik.errors import ThresholdUnsupportedError
from biometrik.evaluation.protocols import Enrolled, embed_with, enroll, labelled_images
from biometrik.face.pipeline import FacePipeline
from biometrik.inference import Runtime
from biometrik.types import EnrollmentOutcome, Modality, Template

TITLE = "Duplicates found among real faces"

#: Target false match rates of a pair, and targets of FPIR at an enrolment.
_FMRS: Final = (1e-3, 1e-4, 1e-5)
_FPIRS: Final = (0.05, 0.01)


def run(options: Options) -> Result:
    """Enrol every photograph under an id of its own and search the gallery; then enrol people under a policy."""
    folder = options.data / "lfw-dev"
    if not (folder / "images").is_dir():
        raise NotRunError("the data set lfw-dev is not here; name the folder that holds it with --data")
    models = ModelParameters(cache=options.cache)
    data = labelled_images(folder)
    enrolled = enroll(data, embed_with(FacePipeline(FaceParameters(), Runtime(RuntimeParameters(), models))))
    config = EngineConfig(models=models, runtime=RuntimeParameters(warm_up=False))
    figures = {
        "gallery": within_gallery(config, enrolled),
        "enrolment": [at_enrolment(config, enrolled, fpir) for fpir in _FPIRS],
    }
    bars = tuple(
        Bar(f"false pairs named at FMR {row['fmr']:g}, times the target", 2.0, row["false"] / row["expected"])
        for row in figures["gallery"]
    ) + tuple(
        Bar(f"new people suspected at FPIR {row['fpir']:g}, times the target", 2.0, row["suspected"] / row["expected"])
        for row in figures["enrolment"]
        if not row["unsupported"]
    )
    parameters = {
        "dataset": data.name,
        "photographs": len(enrolled.subjects),
        "people": len(set(enrolled.subjects.tolist())),
    }
    return Result(parameters, figures, bars)


def within_gallery(config: EngineConfig, enrolled: Enrolled) -> list[dict[str, Any]]:
    """Return, for each FMR, how many pairs of one person and of two a search of the whole gallery names."""
    people = enrolled.subjects.tolist()
    counts = np.unique(enrolled.subjects, return_counts=True)[1]
    true = int((counts * (counts - 1) // 2).sum())
    twice = int((counts > 1).sum())
    rows = []
    with Engine.open(":memory:", config) as engine:
        for number, vector in enumerate(enrolled.embeddings):
            engine.enroll(str(number), [_template(engine, vector)])
        for fmr in _FMRS:
            named, compared, after, more = [], 0, 0, True
            while more:
                page = engine.duplicates(max_fmr=fmr, after=after)
                named += [tuple(people[int(who)] for who in pair.subject_ids) for pair in page.pairs]
                compared, after, more = compared + page.compared, page.last, page.more
            right = [first for first, second in named if first == second]
            rows.append(
                {
                    "fmr": fmr,
                    "true": true,
                    "found": len(right),
                    "people": twice,
                    "people_found": len(set(right)),
                    "false": len(named) - len(right),
                    "expected": fmr * (compared - true),
                }
            )
    return rows


def at_enrolment(config: EngineConfig, enrolled: Enrolled, fpir: float) -> dict[str, Any]:
    """Return how many new people are suspected, and how many who come again under another id."""
    by_person: dict[int, list[NDArray[np.float32]]] = {}
    for person, vector in zip(enrolled.subjects.tolist(), enrolled.embeddings, strict=True):
        by_person.setdefault(person, []).append(vector)
    policy = DedupePolicy(max_fpir=fpir)
    new = suspected = again = found = unsupported = 0
    with Engine.open(":memory:", config) as engine:
        for person, vectors in by_person.items():
            try:
                first = engine.enroll(f"{person}", [_template(engine, vectors[0])], dedupe=policy)
            except ThresholdUnsupportedError:  # the gallery has outgrown the evidence
                unsupported += 1
                continue
            new += 1
            suspected += first.outcome is EnrollmentOutcome.DUPLICATE_SUSPECTED
        known = set(_everybody(engine))
        for person, vectors in by_person.items():
            if len(vectors) < 2 or f"{person}" not in known:
                continue
            try:
                second = engine.enroll(f"{person} again", [_template(engine, vectors[1])], dedupe=policy)
            except ThresholdUnsupportedError:
                unsupported += 1
                continue
            again += 1
            if second.search is not None:
                found += f"{person}" in [candidate.subject_id for candidate in second.search.candidates]
    return {
        "fpir": fpir,
        "new": new,
        "suspected": suspected,
        "expected": fpir * new,
        "again": again,
        "found": found,
        "unsupported": unsupported,
    }


def render(run: Mapping[str, Any], _plots: Path) -> str:
    """Return two tables."""
    told, figures = run["parameters"], run["figures"]
    gallery = [
        [
            f"{row['fmr']:g}",
            f"{row['found']:,} of {row['true']:,} ({row['found'] / row['true']:.1%})",
            f"{row['people_found']:,} of {row['people']:,} ({row['people_found'] / row['people']:.1%})",
            f"{row['false']:,}",
            f"{row['expected']:,.0f}",
        ]
        for row in figures["gallery"]
    ]
    enrolment = [
        [
            f"{row['fpir']:g}",
            f"{row['suspected']:,} of {row['new']:,} ({row['suspected'] / row['new']:.2%})",
            f"{row['found']:,} of {row['again']:,} ({row['found'] / max(1, row['again']):.1%})",
            f"{row['unsupported']:,}",
        ]
        for row in figures["enrolment"]
    ]
    return f"""The {told["photographs"]:,} photographs of {told["people"]:,} people in `{told["dataset"]}`, on which the
calibration was made as well: that false pairs come as expected says that the search keeps the threshold, not that other
people are like these.

Each photograph under an id of its own, everybody held against everybody (`Engine.duplicates`):

{table(["FMR of a pair", "true pairs found", "people found", "false pairs", "expected by chance"], gallery)}

Enrolled one after the other under a policy (`Engine.enroll`), first one photograph of each person, then a second one
under another id; the threshold rises with the gallery:

{table(["FPIR", "new people suspected", "people who came again, named", "refused for lack of evidence"], enrolment)}
"""


def _everybody(engine: Engine) -> Sequence[str]:
    ids: list[str] = []
    while page := engine.subjects(after=ids[-1] if ids else "", limit=1000):
        ids += [subject.subject_id for subject in page]
    return ids


def _template(engine: Engine, vector: NDArray[np.float32]) -> Template:
    return Template(Modality.FACE, engine.model_contract_id, vector.astype("<f4").tobytes())
