"""``python -m biometrik.evaluation.fingers``: calibrate fingers on folders of labelled prints and on synthetic ones."""

import argparse
import datetime
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from biometrik.config import FingerParameters, ModelParameters, RuntimeParameters
from biometrik.errors import BiometrikError
from biometrik.evaluation.calibration import calibrate, write
from biometrik.evaluation.prints import (
    EnrolledPrints,
    Source,
    compare_like,
    enroll_prints,
    labelled_prints,
    synthetic_prints,
)
from biometrik.fingerprint.matching import MATCHERS, Matcher
from biometrik.fingerprint.pipeline import FingerPipeline
from biometrik.inference import Runtime
from biometrik.types import EvidenceKind

#: Names the population of synthetic fingers: no other draws of this project use it.
SEED: Final = 19794
IMPRESSIONS: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a table of people's prints, and one of synthetic prints, for each extractor; write each as a JSON file.

    Returns
    -------
    int
        Exit status: 0, or 1 with the error on standard error.
    """
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    # Prints are extracted on all cores at once, each by one thread.
    runtime = Runtime(RuntimeParameters(threads=1), ModelParameters(cache=options.cache))
    matcher = MATCHERS.load(FingerParameters().matcher)()
    try:
        pipelines = [FingerPipeline(FingerParameters(extractor=name), runtime) for name in options.extractor]
        if options.data:
            real = {folder: labelled_prints(folder, ppi=options.ppi) for folder in options.data}
            sets = [_enrolled(_named(folder), sources, pipelines, console) for folder, sources in real.items()]
            name = options.name or "+".join(folder.resolve().name for folder in options.data)
            detail = f"like fingers within each of {', '.join(_named(folder) for folder in options.data)}"
            _make(sets, pipelines, matcher, EvidenceKind.REAL, name, detail, options.out, console)
        if options.synthetic:
            sources = synthetic_prints(options.synthetic, IMPRESSIONS, seed=SEED)
            sets = [_enrolled("synthetic prints", sources, pipelines, console)]
            detail = (
                f"{options.synthetic} fingers of biometrik.synthetic, seed {SEED}, {IMPRESSIONS} usual impressions each"
            )
            _make(sets, pipelines, matcher, EvidenceKind.SYNTHETIC, "synthetic", detail, options.out, console)
    except (BiometrikError, OSError) as error:
        console.print(str(error), style="red", highlight=False)
        return 1
    return 0


def _make(
    sets: Sequence[Sequence[EnrolledPrints]],
    pipelines: Sequence[FingerPipeline],
    matcher: Matcher[Any],
    evidence: EvidenceKind,
    name: str,
    detail: str,
    out: Path,
    console: Console,
) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    for pipeline, of_pipeline in zip(pipelines, zip(*sets, strict=True), strict=True):
        contract = comparison_id(pipeline, matcher)
        with _progress(console) as progress:
            task = progress.add_task(contract, total=sum(max(0, len(prints.minutiae) - 1) for prints in of_pipeline))
            trials = compare_like(of_pipeline, matcher, progress=partial(progress.advance, task))
        with console.status("resampling"):
            table = calibrate(
                trials, model_contract_id=contract, dataset=name, date=today, evidence=evidence, detail=detail
            )
        path = write(table, out)
        console.print(
            f"{path.name}: {table.subjects:,} subjects, {table.mated:,} mated and {table.non_mated:,} non-mated "
            f"comparisons, {table.failures_to_enroll} failures to enrol, tightest FMR {table.tightest_fmr:.2g}",
            highlight=False,
        )


def comparison_id(pipeline: FingerPipeline, matcher: Matcher[Any]) -> str:
    """Return what names similarities of prints: the models of their templates, and the matcher that compares them."""
    terms = matcher.contract()
    return f"{pipeline.contract_id}+{terms['algorithm']}@{terms['version']}"


def _enrolled(
    name: str, sources: Sequence[Source], pipelines: Sequence[FingerPipeline], console: Console
) -> list[EnrolledPrints]:
    with _progress(console) as progress:
        task = progress.add_task(name, total=len(sources))
        return enroll_prints(sources, pipelines, progress=partial(progress.advance, task))


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _named(folder: Path) -> str:
    # "fvc2002/DB1_B" of a long path: many sets have folders of one name.
    return "/".join(folder.resolve().parts[-2:])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="calibrate fingers", description=(main.__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, nargs="*", default=[], metavar="FOLDER",
        help="sets of prints [<person>_]<finger>_<impression>.tif, one of a sensor in each folder",
    )  # fmt: skip
    parser.add_argument("--ppi", type=float, help="resolution of all prints; default: as the files state")
    parser.add_argument("--name", default="", help="name of the data in the table; default: the folders'")
    parser.add_argument("--synthetic", type=int, default=0, metavar="N", help="synthetic fingers; default: none")
    parser.add_argument("--extractor", nargs="+", default=[FingerParameters().extractor], help="plug-in names")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--cache", type=Path, help="folder for folded weights; default: the user's cache folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
