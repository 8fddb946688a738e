"""The tables that ship belong to the models and settings that ship: a change of either needs ``scripts/calibrate``."""

import pytest

from biometrik.calibration import CalibrationTable, Evidence, load_calibrations
from biometrik.config import (
    DetectionParameters,
    FaceParameters,
    FingerParameters,
    ModelParameters,
    RuntimeParameters,
)
from biometrik.evaluation.fingers import comparison_id
from biometrik.face.pipeline import FacePipeline
from biometrik.fingerprint.matching import MATCHERS
from biometrik.fingerprint.pipeline import FingerPipeline
from biometrik.inference import Runtime

FACES = (
    FaceParameters(),
    FaceParameters(flip=True),
    FaceParameters(detection=DetectionParameters(refine=True)),
)
EXTRACTORS = ("leader", "ridge")


@pytest.fixture(scope="module")
def faces() -> set[str]:
    runtime = Runtime(RuntimeParameters(threads=1), ModelParameters())
    return {FacePipeline(parameters, runtime).contract_id for parameters in FACES}


@pytest.fixture(scope="module")
def fingers() -> set[str]:
    runtime = Runtime(RuntimeParameters(threads=1), ModelParameters())
    matcher = MATCHERS.load(FingerParameters().matcher)()
    return {comparison_id(FingerPipeline(FingerParameters(extractor=name), runtime), matcher) for name in EXTRACTORS}


def test_every_policy_of_the_bundled_models_has_its_tables_and_no_other_has(faces: set[str], fingers: set[str]) -> None:
    assert (len(faces), len(fingers)) == (len(FACES), len(EXTRACTORS))
    assert set(load_calibrations()) == faces | fingers


def test_every_table_supports_what_it_claims() -> None:
    for evidence in load_calibrations().values():
        for table in evidence.tables:
            last = table.points[-1].fmr
            assert last.high <= 2 * table.tightest_fmr
            assert last.value * table.non_mated >= 29.99
            assert table.failures_to_enroll == 0


def test_tables_of_faces_agree_on_what_they_measured(faces: set[str]) -> None:
    tables = [_real(load_calibrations()[contract]) for contract in faces]
    assert len({(t.dataset, t.subjects, t.images, t.mated, t.non_mated) for t in tables}) == 1
    for table in tables:
        assert table.mated + table.non_mated == table.images * (table.images - 1) // 2


def test_fingers_reach_further_by_synthetic_evidence_which_is_named(fingers: set[str]) -> None:
    for contract in fingers:
        evidence = load_calibrations()[contract]
        assert evidence.synthetic is not None
        scale, real = evidence.scale(), _real(evidence)
        assert scale.id == f"{real.id} + {evidence.synthetic.id}"
        assert evidence.scale(real_only=True) is real
        assert scale.tightest_fmr == pytest.approx(evidence.synthetic.tightest_fmr)
        assert scale.tightest_fmr < 1e-5 < 1e-3 < real.tightest_fmr < 5e-3
        # Nine people whose fingers are known, and 40 fingers of which the owners are not.
        assert (real.subjects, real.images, real.mated, real.non_mated) == (49, 728, 2548, 23_808)
        assert evidence.synthetic.images == 2 * evidence.synthetic.subjects == 4000


def _real(evidence: Evidence) -> CalibrationTable:
    assert evidence.real is not None
    return evidence.real
