import numpy as np
import pytest

from biometrik.errors import InvalidInputError
from biometrik.synthetic.faces import EmbeddingParameters, draw_embeddings


@pytest.mark.parametrize(
    "parameters", [EmbeddingParameters(), EmbeddingParameters(dimension=512, between=0.02, within=0.55, within_sd=0.15)]
)
def test_cosines_are_as_asked_for(parameters: EmbeddingParameters) -> None:
    drawn = draw_embeddings(3, range(6000), samples=range(2), parameters=parameters)
    mated = (drawn[:, 0] * drawn[:, 1]).sum(axis=1)
    non_mated = (drawn[:-1, 0] * drawn[1:, 1]).sum(axis=1)
    assert mated.mean() == pytest.approx(parameters.within, abs=0.01)
    assert mated.std() == pytest.approx(parameters.within_sd, abs=0.01)
    assert non_mated.mean() == pytest.approx(parameters.between, abs=0.006)
    assert non_mated.std() == pytest.approx(parameters.dimension**-0.5, abs=0.006)


def test_embeddings_have_length_one() -> None:
    drawn = draw_embeddings(1, range(30))
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=2), 1.0, atol=1e-5)


def test_a_sample_is_the_same_in_whichever_range_it_is_asked_for() -> None:
    whole = draw_embeddings(9, range(1000, 2100), samples=range(3))
    part = draw_embeddings(9, range(1020, 1030), samples=range(1, 3))
    np.testing.assert_array_equal(part, whole[20:30, 1:])
    np.testing.assert_array_equal(draw_embeddings(9, range(2048, 2049)), draw_embeddings(9, range(2000, 2100))[48:49])


def test_other_seeds_and_samples_are_others() -> None:
    one = draw_embeddings(1, range(4), samples=range(2))
    assert (draw_embeddings(2, range(4)) != one[:, :1]).any()
    assert (one[:, 0] != one[:, 1]).any()


def test_chance_alone_where_less_spread_is_asked_for_than_it_has() -> None:
    drawn = draw_embeddings(3, range(3000), samples=range(2), parameters=EmbeddingParameters(within_sd=0.0))
    mated = (drawn[:, 0] * drawn[:, 1]).sum(axis=1)
    assert 0.02 < mated.std() < 0.06


@pytest.mark.parametrize(
    ("subjects", "samples"),
    [(range(0), range(1)), (range(-1, 2), range(1)), (range(0, 4, 2), range(1)), (range(2), range(0))],
)
def test_ranges_that_cannot_be_are_refused(subjects: range, samples: range) -> None:
    with pytest.raises(InvalidInputError, match="expected a range"):
        draw_embeddings(1, subjects, samples=samples)


def test_other_input_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="seed"):
        draw_embeddings(-1, range(2))
    with pytest.raises(InvalidInputError, match="dimension"):
        EmbeddingParameters(dimension=4)
    with pytest.raises(InvalidInputError, match="within"):
        EmbeddingParameters(within=0.05)
