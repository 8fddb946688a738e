"""The truth of synthetic prints is what a good extractor finds in them."""

from pathlib import Path

from biometrik.config import FingerParameters, ModelParameters, RuntimeParameters
from biometrik.fingerprint.pipeline import FingerPipeline, ProcessedPrint
from biometrik.inference import Runtime
from biometrik.synthetic.agreement import Agreement, agreement
from biometrik.synthetic.fingerprints import draw_finger
from biometrik.synthetic.impressions import CLEAN, draw_impression


def test_leader_finds_the_true_minutiae_of_clean_impressions(tmp_path: Path) -> None:
    runtime = Runtime(RuntimeParameters(threads=1), ModelParameters(cache=tmp_path))
    pipeline = FingerPipeline(FingerParameters(extractor="leader"), runtime)
    total = Agreement()
    for index in range(4):
        drawn = draw_impression(draw_finger(2026, index), 0, CLEAN)
        (print_,) = pipeline.process([drawn.image])
        assert isinstance(print_, ProcessedPrint)
        total += agreement(print_.minutiae, drawn.minutiae, drawn.contact)
    assert total.true > 80
    assert total.precision >= 0.9
    assert total.recall >= 0.9
