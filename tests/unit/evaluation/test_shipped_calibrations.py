"""The tables that ship belong to the models and settings that ship: a change of either needs ``scripts/calibrate``."""

from biometrik.calibration import load_calibrations
from biometrik.config import DetectionParameters, FaceParameters, ModelParameters, RuntimeParameters
from biometrik.face.pipeline import FacePipeline
from biometrik.inference import Runtime

VARIANTS = (
    FaceParameters(),
    FaceParameters(flip=True),
    FaceParameters(detection=DetectionParameters(refine=True)),
)


def test_every_policy_of_the_bundled_models_has_a_table_and_no_other_has() -> None:
    runtime = Runtime(RuntimeParameters(threads=1), ModelParameters())
    contracts = {FacePipeline(parameters, runtime).contract_id for parameters in VARIANTS}
    assert len(contracts) == len(VARIANTS)
    assert {contract for contract, evidence in load_calibrations().items() if "+sface" in contract} == contracts


def test_tables_agree_on_what_they_measured() -> None:
    tables = [evidence.real for evidence in load_calibrations().values() if evidence.real]
    assert len({(t.dataset, t.subjects, t.images, t.mated, t.non_mated) for t in tables}) == 1
    for table in tables:
        assert table.mated + table.non_mated == table.images * (table.images - 1) // 2
        assert table.failures_to_enroll == 0
        assert table.points[-1].fmr.high <= 2 * table.tightest_fmr
        assert table.points[-1].fmr.value * table.non_mated >= 30
