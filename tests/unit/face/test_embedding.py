"""Crops to unit vectors to templates."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from biometrik.config import ModelParameters, RuntimeParameters
from biometrik.errors import InvalidInputError, TemplateFormatError
from biometrik.face.embedding import Embedder, from_templates, to_template
from biometrik.inference import Runtime
from biometrik.types import Modality, Template


class Corner(Embedder):
    """Embeds a crop as its upper left and upper right pixel."""

    @property
    def dimension(self) -> int:
        return 6

    def _load(self, runtime: Runtime) -> None:
        self.batches: list[int] = []

    def contract(self) -> Mapping[str, str]:
        return {}

    def _embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(len(crops))
        return np.concatenate([crops[:, 0, 0], crops[:, 0, -1]], axis=1).astype(np.float32)


RUNTIME = Runtime(RuntimeParameters(batch_size=2), ModelParameters())


def test_rows_have_unit_length_and_batches_are_bounded(rng: np.random.Generator) -> None:
    embedder = Corner(RUNTIME)
    crops = rng.integers(1, 256, (5, 112, 112, 3), dtype=np.uint8)
    rows = embedder.embed(crops)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert embedder.batches == [2, 2, 1]
    raw = np.concatenate([crops[:, 0, 0], crops[:, 0, -1]], axis=1).astype(float)
    np.testing.assert_allclose(rows, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)


def test_flip_averages_with_the_mirrored_crop(rng: np.random.Generator) -> None:
    crops = rng.integers(1, 256, (3, 112, 112, 3), dtype=np.uint8)
    flipped = Corner(RUNTIME, flip=True)
    np.testing.assert_allclose(flipped.embed(crops), flipped.embed(crops[:, :, ::-1]), atol=1e-6)
    both = np.concatenate([crops[:, 0, 0], crops[:, 0, -1]], axis=1) + np.concatenate(
        [crops[:, 0, -1], crops[:, 0, 0]], axis=1
    ).astype(float)
    np.testing.assert_allclose(flipped.embed(crops), both / np.linalg.norm(both, axis=1, keepdims=True), atol=1e-6)


def test_norms_are_lengths_of_the_network_s_output(rng: np.random.Generator) -> None:
    crops = rng.integers(1, 256, (5, 112, 112, 3), dtype=np.uint8)
    rows, norms = Corner(RUNTIME).embed_and_grade(crops)
    raw = np.concatenate([crops[:, 0, 0], crops[:, 0, -1]], axis=1).astype(float)
    np.testing.assert_allclose(norms, np.linalg.norm(raw, axis=1), rtol=1e-6)
    assert norms.dtype == np.float32
    np.testing.assert_array_equal(rows, Corner(RUNTIME).embed(crops))


def test_with_flip_the_norm_is_that_of_the_mean(rng: np.random.Generator) -> None:
    half = rng.integers(1, 256, (3, 112, 56, 3), dtype=np.uint8)
    even = np.concatenate([half, half[:, :, ::-1]], axis=2)
    plain, flipped = (Corner(RUNTIME, flip=flip).embed_and_grade(even)[1] for flip in (False, True))
    np.testing.assert_allclose(flipped, plain, rtol=1e-6)
    uneven = np.concatenate([half, half[:, :, ::-1] // 2], axis=2)
    plain, flipped = (Corner(RUNTIME, flip=flip).embed_and_grade(uneven)[1] for flip in (False, True))
    assert (flipped < plain).all()


def test_an_output_of_zeros_is_a_row_of_zeros() -> None:
    rows, norms = Corner(RUNTIME).embed_and_grade(np.zeros((1, 112, 112, 3), np.uint8))
    assert not rows.any()
    assert norms.tolist() == [0]


def test_no_crops_are_no_rows() -> None:
    rows, norms = Corner(RUNTIME).embed_and_grade(np.empty((0, 112, 112, 3), np.uint8))
    assert rows.shape == (0, 6)
    assert norms.shape == (0,)


@pytest.mark.parametrize("crops", [np.zeros((1, 100, 112, 3), np.uint8), np.zeros((1, 112, 112, 3), np.float32)])
def test_crops_are_checked(crops: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="crops: expected"):
        Corner(RUNTIME).embed(crops)


def test_an_embedding_survives_its_template(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(4, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    templates = [to_template(row, "corner@1") for row in rows]
    np.testing.assert_array_equal(from_templates(templates, 6), rows)


@pytest.mark.parametrize(
    "template",
    [
        Template(Modality.FINGER, "corner@1", b"\0" * 24, 1),
        Template(Modality.FACE, "corner@1", b"\0" * 20),
        Template(Modality.FACE, "corner@1", np.full(6, np.nan, "<f4").tobytes()),
        Template(Modality.FACE, "corner@1", np.full(6, 1.0, "<f4").tobytes()),  # forged: longer than any embedding
        Template(Modality.FACE, "corner@1", np.full(6, 3e38, "<f4").tobytes()),
    ],
)
def test_a_template_that_is_no_embedding_is_refused(template: Template) -> None:
    with pytest.raises(TemplateFormatError):
        from_templates([template], 6)
