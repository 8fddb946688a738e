"""Several traits of one comparison to one false match rate: Fisher's method."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.types import Trait

#: Rates end here, so that each has a score.
_LEAST: Final = float(np.finfo(np.float64).tiny)


def fused_rates(rates: NDArray[np.float64], traits: Sequence[Trait]) -> NDArray[np.float64]:
    """Return one false match rate of each comparison from those of its traits.

    Parameters
    ----------
    rates : (K, P) float64
        Of each trait alone: the chance that two people are at least as alike, 0 < rate ≤ 1; NaN where a trait is
        missing on either side.
    traits : sequence of Trait
        What the P columns are of; no trait twice.

    Returns
    -------
    (K,) float64
        The chance that two people are at least as alike in all that is there together, in (0, 1]. Of one trait its own
        rate, of none 1. It never falls when a rate rises.

    Raises
    ------
    InvalidInputError
        Shapes do not fit, a trait comes twice, or a value is no rate.

    References
    ----------
    R. A. Fisher, "Statistical methods for research workers", 4th ed., 1932, section 21.1.
    """
    if rates.ndim != 2 or rates.shape[1] != len(traits) or len(set(traits)) != len(traits):
        raise InvalidInputError(f"rates: expected (K, {len(traits)}), a column for each trait, got {rates.shape}")
    there = ~np.isnan(rates)
    if not ((rates > 0) & (rates <= 1))[there].all():
        raise InvalidInputError("rates: expected more than 0 and at most 1")
    count = there.sum(axis=1)
    surprise = -np.log(np.where(there, rates, 1.0)).sum(axis=1)
    # The chance that a sum of `count` exponential variables reaches the surprise: e^-s · Σ_{k < count} s^k / k!
    term = np.exp(-surprise)
    total = np.zeros(len(rates))
    for k in range(len(traits)):
        total += np.where(k < count, term, 0.0)
        term = term * surprise / (k + 1)
    alone = np.where(there, rates, 1.0).min(axis=1, initial=1.0)
    return np.where(count > 1, np.clip(total, _LEAST, 1.0), alone)


def fused_rate(rates: Mapping[Trait, float]) -> float:
    """Return one false match rate from those of several traits; see :func:`fused_rates`.

    Examples
    --------
    >>> from biometrik.types import FACE
    >>> round(fused_rate({FACE: 1e-3, Trait.finger(2): 1e-3}) * 1e5, 2)
    1.48
    """
    return float(fused_rates(np.array([list(rates.values())], dtype=np.float64), tuple(rates))[0])
