"""The matcher on a GPU: pairs a second for packs of growing size, and its similarities beside the processor's."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import numpy as np

from benchmarks.gpu_part import Job, Told
from biometrik.errors import BiometrikError
from biometrik.fingerprint.matching import MATCHERS, Matcher
from biometrik.synthetic.templates import draw_identity, draw_template

_SEED: Final = 2026


def measure(job: Job) -> Iterator[Told]:
    """Compare drawn prints: every second probe has a mate among the references."""
    try:
        there: Matcher[Any] = MATCHERS.load("cylinders-cuda")()
    except BiometrikError as error:
        yield "missing", "matching", str(error)
        return
    here: Matcher[Any] = MATCHERS.load("cylinders")()
    sizes = job.sizes
    drawn = here.pack([here.prepare(draw_template(draw_identity(_SEED, n), 0)) for n in range(sizes.drawn)])
    probes = [
        here.prepare(draw_template(draw_identity(_SEED, n if n % 2 else sizes.drawn + n), 1))
        for n in range(sizes.probes)
    ]
    yield "progress", "compiling the kernels"
    begun = time.perf_counter()
    there.warm_up()
    yield "row", {"what": "compilation", "s": time.perf_counter() - begun}
    expected = np.array([here.compare_many(probe, drawn) for probe in probes])
    found = np.array([there.compare_many(probe, drawn) for probe in probes])
    apart = np.abs(found - expected)
    yield (
        "row",
        {
            "what": "equality",
            "pairs": int(apart.size),
            "median": float(np.median(apart)),
            "largest": float(apart.max()),
            "beyond_tolerance": int(np.count_nonzero(apart > 2e-4)),
            "other_best": int(np.count_nonzero(found.argmax(axis=1) != expected.argmax(axis=1))),
        },
    )
    for count in sizes.references:
        if job.left_s() < 4 * sizes.repeat_s:
            yield "missing", f"matching, {count:,} references", "out of time"
            continue
        pack = here.pack([drawn] * (count // sizes.drawn))
        for what, matcher in (("GPU", there), ("processor, one core", here)):
            if matcher is here and count > sizes.references[0]:
                continue  # its time for a pair does not depend on how many there are
            yield "progress", f"{count:,} references on the {what}"
            for stage, act in (("full comparison", matcher.compare_many), ("screening", matcher.screen)):
                row = job.timed(partial(act, probes[0], pack))
                speed = 1e3 * len(pack) / row["ms"][0]
                yield "row", {"what": stage, "where": what, "references": len(pack), "pairs_per_s": speed, **row}
