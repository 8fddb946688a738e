"""``python -m biometrik.evaluation``: calibrate the face models on a folder of labelled photographs."""

import argparse
import datetime
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from biometrik.calibration import CalibrationTable
from biometrik.config import DetectionParameters, FaceParameters, ModelParameters, RuntimeParameters
from biometrik.errors import BiometrikError
from biometrik.evaluation.calibration import calibrate, write
from biometrik.evaluation.protocols import LabelledImages, compare_all, embed_with, enroll, labelled_images
from biometrik.face.pipeline import FacePipeline
from biometrik.inference import Runtime


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a table for the default, one with the mirrored crop, one with refined landmarks; write each as a JSON file.

    Returns
    -------
    int
        Exit status: 0, or 1 with the error on standard error.
    """
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    models = ModelParameters(cache=options.cache, pack=options.pack)
    base = FaceParameters(detector=options.detector, embedder=options.embedder)
    try:
        data = labelled_images(options.data, options.name)
        for parameters in (base, replace(base, flip=True), replace(base, detection=DetectionParameters(refine=True))):
            pipeline = FacePipeline(parameters, Runtime(RuntimeParameters(), models))
            table = _table(data, pipeline, console)
            path = write(table, options.out)
            console.print(
                f"{path.name}: {table.subjects:,} subjects, {table.mated:,} mated and {table.non_mated:,} non-mated "
                f"comparisons, {table.failures_to_enroll} failures to enrol, tightest FMR {table.tightest_fmr:.2g}",
                highlight=False,
            )
    except (BiometrikError, OSError) as error:
        console.print(str(error), style="red", highlight=False)
        return 1
    return 0


def _table(data: LabelledImages, pipeline: FacePipeline, console: Console) -> CalibrationTable:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(pipeline.contract_id, total=len(data.paths))
        enrolled = enroll(data, embed_with(pipeline), progress=lambda done: progress.advance(task, done))
    with console.status("comparing and resampling"):
        trials = compare_all(enrolled.embeddings, enrolled.subjects, failures_to_enroll=enrolled.failures_to_enroll)
        today = datetime.datetime.now(datetime.UTC).date()
        return calibrate(trials, model_contract_id=pipeline.contract_id, dataset=data.name, date=today)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="calibrate", description=(main.__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds images/<person>/<file>")
    parser.add_argument("--name", default="", help="name of the data set in the table; default: the folder's")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--detector", default=FaceParameters().detector, help="plug-in name")
    parser.add_argument("--embedder", default=FaceParameters().embedder, help="plug-in name")
    parser.add_argument("--pack", type=Path, help="folder of an InsightFace pack")
    parser.add_argument("--cache", type=Path, help="folder for folded weights; default: the user's cache folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
