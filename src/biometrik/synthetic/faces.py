"""SYNTHETIC face identities: unit vectors as alike, within and between subjects, as a network's embeddings are.

They fill galleries and indexes of any size in tests and load tests. They say nothing about faces, and hold none.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError

#: Subjects that are drawn together: a subject's place in its block, not the range asked for, decides what is drawn.
_BLOCK: Final = 1024
_STREAM: Final = 0x46414345


@dataclass(frozen=True, slots=True)
class EmbeddingParameters:
    """How alike SYNTHETIC embeddings are. The defaults are SFace's on the development photographs.

    All pairs of the 3,811 photographs of 2,086 people in `lfw-dev` (``benchmarks/accuracy_face.py``, variant plain):
    7,255,541 non-mated cosines have mean 0.086 and standard deviation 0.089, as isotropic vectors of 128 dimensions
    about a common direction have; 4,414 mated ones have mean 0.650, standard deviation 0.113 and skew −0.8.

    Parameters
    ----------
    dimension : int
        Of the embeddings, 16..4096. The standard deviation of the cosine between subjects is about √(1 / dimension).
    between : float
        Mean cosine of samples of different subjects, 0..0.5.
    within : float
        Mean cosine of samples of one subject, above ``between`` and below 1.
    within_sd : float
        Standard deviation of that, 0..0.3. What chance in so many dimensions brings along is not gone below.
    """

    dimension: int = 128
    between: float = 0.086
    within: float = 0.650
    within_sd: float = 0.113

    def __post_init__(self) -> None:
        if not 16 <= self.dimension <= 4096:
            raise InvalidInputError(f"dimension: expected 16..4096, got {self.dimension}")
        if not (0.0 <= self.between <= 0.5 and self.between < self.within < 1.0 and 0.0 <= self.within_sd <= 0.3):
            raise InvalidInputError(
                "between, within, within_sd: expected 0..0.5, above it and below 1, 0..0.3, got "
                f"{self.between}, {self.within}, {self.within_sd}"
            )


def draw_embeddings(
    seed: int, subjects: range, *, samples: range = range(1), parameters: EmbeddingParameters | None = None
) -> NDArray[np.float32]:
    """Return SYNTHETIC embeddings: a subject's sample is the same whichever range it is asked for in.

    Parameters
    ----------
    seed : int
        Names the population; not negative.
    subjects, samples : range
        Which subjects, and which samples of each; whole numbers from 0, in steps of 1, neither empty.
    parameters : EmbeddingParameters, optional
        How alike they are.

    Returns
    -------
    (len(subjects), len(samples), D) float32
        Of length 1.

    Raises
    ------
    InvalidInputError
        A negative seed, or a range that is empty, negative or has steps.

    Notes
    -----
    A sample is the sum of a direction common to all, its subject's own, and chance. How much of it is the subject's
    varies from sample to sample by a beta law, which makes the mated cosines skewed as real ones are.

    Examples
    --------
    >>> both = draw_embeddings(1, range(5, 7), samples=range(2))
    >>> both.shape, bool(both[0, 0] @ both[0, 1] > both[0, 0] @ both[1, 0])
    ((2, 2, 128), True)
    """
    parameters = parameters or EmbeddingParameters()
    for name, asked in (("subjects", subjects), ("samples", samples)):
        if asked.step != 1 or asked.start < 0 or not asked:
            raise InvalidInputError(f"{name}: expected a range from 0 on in steps of 1, not empty, got {asked}")
    if seed < 0:
        raise InvalidInputError(f"seed: expected a whole number from 0, got {seed}")
    out = np.empty((len(subjects), len(samples), parameters.dimension), dtype=np.float32)
    for block in range(subjects.start // _BLOCK, (subjects.stop - 1) // _BLOCK + 1):
        first = block * _BLOCK
        rows = slice(max(subjects.start - first, 0), min(subjects.stop - first, _BLOCK))
        place = slice(first + rows.start - subjects.start, first + rows.stop - subjects.start)
        own = _directions(np.random.default_rng([seed, _STREAM, block]), parameters.dimension)
        for column, sample in enumerate(samples):
            rng = np.random.default_rng([seed, _STREAM, block, 1 + sample])
            out[place, column] = _samples(rng, own, parameters)[rows]
    return out


def _samples(
    rng: np.random.Generator, own: NDArray[np.float32], parameters: EmbeddingParameters
) -> NDArray[np.float32]:
    chance = _directions(rng, parameters.dimension)
    share = _shares(rng, parameters)[:, None]
    found = np.sqrt(1.0 - share**2) * chance + share * own
    found *= np.float32(math.sqrt(1.0 - parameters.between))
    found += np.float32(math.sqrt(parameters.between / parameters.dimension))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    samples: NDArray[np.float32] = found.astype(np.float32, copy=False)
    return samples


def _directions(rng: np.random.Generator, dimension: int) -> NDArray[np.float32]:
    drawn = rng.standard_normal((_BLOCK, dimension), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


def _shares(rng: np.random.Generator, parameters: EmbeddingParameters) -> NDArray[np.float32]:
    # Cosine of a sample with its subject's own direction. The product of two has to have the mean `square`, and the
    # variance asked for, of which chance brings along what is left of it after scaling to length 1.
    rest = 1.0 - parameters.between
    square = (parameters.within - parameters.between) / rest
    mean = math.sqrt(square)
    chance = (1.0 - square) ** 2 * (1.0 + 2.0 * square * (1.0 - square)) / parameters.dimension
    variance = ((parameters.within_sd / rest) ** 2 - chance) / (2.0 * square)
    variance = min(variance, 0.5 * mean * (1.0 - mean))
    if variance <= 0.0:
        return np.full(_BLOCK, mean, dtype=np.float32)
    concentration = mean * (1.0 - mean) / variance - 1.0
    return rng.beta(mean * concentration, (1.0 - mean) * concentration, _BLOCK).astype(np.float32)
