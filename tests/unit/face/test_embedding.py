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


def test_no_crops_are_no_rows() -> None:
    assert Corner(RUNTIME).embed(np.empty((0, 112, 112, 3), np.uint8)).shape == (0, 6)


@pytest.mark.parametrize("crops", [np.zeros((1, 100, 112, 3), np.uint8), np.zeros((1, 112, 112, 3), np.float32)])
def test_crops_are_checked(crops: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="crops: expected"):
        Corner(RUNTIME).embed(crops)


def test_an_embedding_survives_its_template(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(4, 6)).astype(np.float32)
    templates = [to_template(row, "corner@1") for row in rows]
    np.testing.assert_array_equal(from_templates(templates, 6), rows)


@pytest.mark.parametrize(
    "template",
    [
        Template(Modality.FINGER, "corner@1", b"\0" * 24, 1),
        Template(Modality.FACE, "corner@1", b"\0" * 20),
        Template(Modality.FACE, "corner@1", np.full(6, np.nan, "<f4").tobytes()),
    ],
)
def test_a_template_that_is_no_embedding_is_refused(template: Template) -> None:
    with pytest.raises(TemplateFormatError):
        from_templates([template], 6)
