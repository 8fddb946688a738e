import datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.accuracy_face_fusion import Fusion, groups, measure, similarities
from biometrik.calibration import CalibrationTable
from biometrik.evaluation.calibration import calibrate
from biometrik.evaluation.protocols import compare_all

PEOPLE, PHOTOGRAPHS = 150, 4


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float32)


@pytest.fixture
def people() -> NDArray[np.int64]:
    return np.repeat(np.arange(PEOPLE), PHOTOGRAPHS)


@pytest.fixture
def embeddings(rng: np.random.Generator, people: NDArray[np.int64]) -> NDArray[np.float32]:
    faces = rng.normal(size=(PEOPLE, 16))[people]
    return unit(faces + rng.normal(size=faces.shape))


@pytest.fixture
def calibration(embeddings: NDArray[np.float32], people: NDArray[np.int64]) -> CalibrationTable:
    day = datetime.date(2026, 1, 31)
    return calibrate(compare_all(embeddings, people), model_contract_id="m@1", dataset="made", date=day)


def test_groups_are_of_one_person_and_bounded() -> None:
    people = np.array([3] * 9 + [5] + [8, 8])
    found = groups(people, 2)
    assert (people[found[:, 0]] == people[found[:, 1]]).all()
    assert (found[:, 0] != found[:, 1]).all()
    assert len(np.unique(found, axis=0)) == len(found)
    assert np.bincount(people[found[:, 0]]).tolist() == [0, 0, 0, 10, 0, 0, 0, 0, 1]
    assert groups(people, 1).tolist() == [[i] for i in range(12)]


def test_a_mean_has_the_mean_similarity_and_the_best_the_greatest(embeddings: NDArray[np.float32]) -> None:
    probes, references = np.array([[0, 1]]), np.array([[4, 5], [8, 9]])
    each = embeddings[probes[0]] @ embeddings[references.ravel()].T
    mean = similarities(embeddings, probes, references, best=False)
    assert mean.ravel() == pytest.approx(each.reshape(2, 2, 2).mean(axis=(0, 2)), abs=1e-6)
    best = similarities(embeddings, probes, references, best=True)
    assert best.ravel() == pytest.approx(each.mean(axis=0).reshape(2, 2).max(axis=1), abs=1e-6)


def test_single_comparisons_keep_the_table_s_own_rates(
    embeddings: NDArray[np.float32], people: NDArray[np.int64], calibration: CalibrationTable, loose: None
) -> None:
    found = measure(Fusion(1, 1), embeddings, people, calibration)
    assert found["comparisons"] == calibration.non_mated
    for row in found["rows"]:
        assert row["fmr"][0] <= row["target"]
        assert row["fmr"][0] == pytest.approx(row["target"], rel=0.05)
        assert row["single"] == [pytest.approx(row["fmr"][0])]


def test_the_best_of_several_is_more_often_right_by_chance_unless_corrected(
    embeddings: NDArray[np.float32], people: NDArray[np.int64], calibration: CalibrationTable, loose: None
) -> None:
    for row in measure(Fusion(1, 3, best=True), embeddings, people, calibration)["rows"]:
        fused, uncorrected, (single,) = row["fmr"][0], row["uncorrected"][0], row["single"]
        assert fused <= row["target"] < uncorrected
        assert single < uncorrected <= 3 * single


@pytest.fixture
def loose(monkeypatch: pytest.MonkeyPatch) -> None:
    # So few people support no tighter ones.
    monkeypatch.setattr("benchmarks.accuracy_face_fusion._TARGETS", (0.1, 0.05))
