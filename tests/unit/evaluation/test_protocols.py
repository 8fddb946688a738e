from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from biometrik.errors import ImageError, InvalidInputError
from biometrik.evaluation.protocols import compare_all, enroll, labelled_images
from biometrik.types import FaceImage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Two people, three photographs of one colour each; black ones "have no face".
    for person, name, gray in [("b", "2.png", 200), ("b", "1.png", 100), ("a", "1.JPG", 50), ("c", "1.png", 0)]:
        path = tmp_path / "faces" / "images" / person / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (gray, gray, gray)).save(path)
    (tmp_path / "faces" / "images" / "a" / "notes.txt").write_text("not a photograph")
    return tmp_path / "faces"


def by_brightness(images: Sequence[FaceImage]) -> list[NDArray[np.float32] | None]:
    means = [float(image.pixels.mean()) for image in images]
    return [np.array([np.cos(m / 100), np.sin(m / 100)], np.float32) if m > 10 else None for m in means]


class TestFolder:
    def test_is_read_in_one_order(self, folder: Path) -> None:
        data = labelled_images(folder)
        assert data.name == "faces"
        assert data.labels == ("a", "b", "b", "c")
        assert [p.name for p in data.paths] == ["1.JPG", "1.png", "2.png", "1.png"]
        assert labelled_images(folder, "mine").name == "mine"

    def test_without_photographs_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match="data: expected photographs images/<person>/<file>"):
            labelled_images(tmp_path)


class TestEnrolment:
    def test_failures_are_counted_and_left_out(self, folder: Path) -> None:
        done: list[int] = []
        found = enroll(labelled_images(folder), by_brightness, progress=done.append)
        assert found.failures_to_enroll == 1
        assert found.subjects.tolist() == [0, 1, 1]
        assert found.embeddings.shape == (3, 2)
        assert found.embeddings.dtype == np.float32
        assert sum(done) == 4

    def test_nobody_enrolled_is_an_error(self, folder: Path) -> None:
        with pytest.raises(InvalidInputError, match="expected faces in faces, got none in 4 images"):
            enroll(labelled_images(folder), lambda images: [None] * len(images))

    def test_a_damaged_photograph_is_an_error(self, folder: Path) -> None:
        (folder / "images" / "a" / "1.JPG").write_bytes(b"not a photograph")
        with pytest.raises(ImageError):
            enroll(labelled_images(folder), by_brightness)


class TestComparisons:
    def test_are_all_pairs_once(self, rng: np.random.Generator) -> None:
        rows = rng.normal(size=(30, 8)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        subjects = rng.integers(100, 110, 30)
        trials = compare_all(rows, subjects, failures_to_enroll=2)
        cosine = (rows.astype(np.float64) @ rows.T)[np.triu_indices(30, 1)]
        same = (subjects[:, None] == subjects)[np.triu_indices(30, 1)]
        assert trials.mated.similarity == pytest.approx(np.sort(cosine[same])[::-1], abs=1e-6)
        assert trials.non_mated.similarity == pytest.approx(np.sort(cosine[~same])[::-1], abs=1e-6)
        assert trials.mated.subjects == len(np.unique(subjects))
        assert (trials.images, trials.failures_to_enroll) == (32, 2)

    def test_keep_whose_they_are(self) -> None:
        angles = np.array([0.0, 0.1, 1.0, 2.0])
        rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        trials = compare_all(rows, np.array([5, 5, 3, 9]))
        pairs = list(zip(trials.non_mated.first.tolist(), trials.non_mated.second.tolist(), strict=True))
        # most alike first: 5–3 (0.9 rad), 5–3 (1.0), 3–9 (1.0), 5–9 (1.9), 5–9 (2.0); numbered 3, 5, 9 → 0, 1, 2
        assert pairs[0] == (1, 0)
        assert {*pairs[1:3]} == {(1, 0), (0, 2)}
        assert pairs[3:] == [(1, 2), (1, 2)]
        assert trials.mated.first.tolist() == [1]

    @pytest.mark.parametrize("subjects", [[1, 2, 3], [1, 1, 1]])
    def test_of_one_kind_only_are_refused(self, subjects: list[int]) -> None:
        with pytest.raises(InvalidInputError, match="two images of one person and two people"):
            compare_all(np.eye(3, dtype=np.float32), np.array(subjects))

    def test_shapes_must_fit(self) -> None:
        with pytest.raises(InvalidInputError, match="embeddings: expected"):
            compare_all(np.eye(3, dtype=np.float32), np.array([1, 1]))
