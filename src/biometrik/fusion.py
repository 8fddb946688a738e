"""Several traits of one comparison to one false match rate: Fisher's method, with less than full credit for each.

Every trait that is there brings its surprise, −ln of its own false match rate. Were traits independent, the sum of n
surprises of two strangers would follow a gamma law, and the rate would be its tail (Fisher). Fingers of a hand are
not quite independent: people whose one finger is like another's are a little likelier to have a second one that is. So
the sum counts as 1/(1 + (n − 1)·ρ) of itself, the design effect of n measurements that correlate by ρ, before its
tail is taken. A trait that is missing is not part of the sum, nor of n: it moves nothing. ADR 10 has the reasons, what
was measured, and what the rule does not cover.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.types import Trait

#: Correlation between the surprises of two traits of two strangers that the rule allows for: the upper end of what was
#: measured between fingers, 0.07 (−0.03 .. 0.15) over 36 pairs of people (``benchmarks/accuracy_fusion.py``). Between
#: face and finger nothing could be measured; they are taken to be no more independent than two fingers.
DEPENDENCE: Final = 0.15
#: Rates end here, so that each has a score.
_LEAST: Final = float(np.finfo(np.float64).tiny)


def fused_rates(rates: NDArray[np.float64], traits: Sequence[Trait]) -> NDArray[np.float64]:
    """Return one false match rate of each comparison from those of its traits.

    Parameters
    ----------
    rates : (K, P) float64
        Of each trait alone: the chance that two strangers are at least as alike, 0 < rate ≤ 1, or a bound above it;
        NaN where a trait is missing on either side.
    traits : sequence of Trait
        What the P columns are of; no trait twice, for then one finger would be evidence twice.

    Returns
    -------
    (K,) float64
        The chance that two strangers are at least as alike in all that is there together, in (0, 1]. Of one trait its
        own rate, of none 1. It never falls when a rate rises, and the order of traits does not matter.

    Raises
    ------
    InvalidInputError
        Shapes do not fit, a trait comes twice, or a value is no rate.

    References
    ----------
    R. A. Fisher, "Statistical methods for research workers", 4th ed., 1932, section 21.1.

    L. Kish, "Survey sampling", 1965, section 5.4: the design effect 1 + (n − 1)·ρ.

    M. B. Brown, "A method for combining non-independent, one-sided tests of significance", Biometrics 31(4), 1975: the
    same factor from the variance of the sum; the tail taken here keeps Fisher's n and is never below his.
    """
    if rates.ndim != 2 or rates.shape[1] != len(traits) or len(set(traits)) != len(traits):
        raise InvalidInputError(f"rates: expected (K, {len(traits)}), a column for each trait, got {rates.shape}")
    there = ~np.isnan(rates)
    if not ((rates > 0) & (rates <= 1))[there].all():
        raise InvalidInputError("rates: expected more than 0 and at most 1")
    filled = np.where(there, rates, 1.0)
    count = there.sum(axis=1)
    surprise = -np.log(filled).sum(axis=1) / (1.0 + np.maximum(count - 1, 0) * DEPENDENCE)
    # The chance that a sum of `count` standard exponential variables exceeds s: e^-s · Σ_{k < count} s^k / k!
    term = np.exp(-surprise)
    tail = np.zeros(len(rates))
    for k in range(len(traits)):
        tail += np.where(k < count, term, 0.0)
        term = term * surprise / (k + 1)
    return np.where(count > 1, np.clip(tail, _LEAST, 1.0), filled.min(axis=1, initial=1.0))


def fused_rate(rates: Mapping[Trait, float]) -> float:
    """Return one false match rate from those of several traits; see :func:`fused_rates`.

    Examples
    --------
    >>> from biometrik.types import FACE
    >>> f"{fused_rate({FACE: 1e-3, Trait.finger(2): 1e-3}):.1e}"
    '7.9e-05'
    """
    if len(rates) == 1:  # most calls, and the answer is there
        (rate,) = rates.values()
        if 0 < rate <= 1:
            return rate
    return float(fused_rates(np.array([list(rates.values())], dtype=np.float64), tuple(rates))[0])
