"""The fused rate keeps what it promises: by its law where traits are independent, by simulation elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fusion import fused_rate, fused_rates
from biometrik.types import FACE, Trait

TRAITS = (FACE, *(Trait.finger(position) for position in range(1, 11)))
a_rate = st.floats(1e-9, 1.0)


def test_of_one_trait_is_its_own_and_of_none_is_one() -> None:
    assert fused_rate({FACE: 0.3}) == 0.3
    assert fused_rate({}) == 1.0
    assert fused_rates(np.full((2, 3), np.nan), TRAITS[:3]).tolist() == [1.0, 1.0]
    assert fused_rates(np.empty((0, 2)), TRAITS[:2]).shape == (0,)


@given(st.dictionaries(st.sampled_from(TRAITS), a_rate, min_size=1), st.data())
def test_never_falls_when_a_rate_rises(rates: dict[Trait, float], data: st.DataObject) -> None:
    trait = data.draw(st.sampled_from(sorted(rates, key=lambda t: (t.modality.value, t.position))))
    higher = rates | {trait: data.draw(st.floats(rates[trait], 1.0))}
    assert 0.0 < fused_rate(rates) <= fused_rate(higher) * (1 + 1e-12) <= 1.0 + 1e-12


@given(st.lists(st.lists(a_rate | st.just(np.nan), min_size=4, max_size=4), max_size=8))
def test_many_at_once_are_each_of_what_is_there(rows: list[list[float]]) -> None:
    found = fused_rates(np.array(rows).reshape(-1, 4), TRAITS[:4])
    each = [fused_rate({t: v for t, v in zip(TRAITS[:4], row, strict=True) if v == v}) for row in rows]
    assert found == pytest.approx(each, rel=1e-12)


@pytest.mark.parametrize(
    ("rates", "traits"),
    [
        (np.zeros((1, 2)), TRAITS[:2]),
        (np.full((1, 2), 1.1), TRAITS[:2]),
        (np.ones((1, 2)), TRAITS[:3]),
        (np.ones(2), TRAITS[:2]),
        (np.ones((1, 2)), (FACE, FACE)),
    ],
)
def test_what_is_no_rate_is_refused(rates: NDArray[np.float64], traits: tuple[Trait, ...]) -> None:
    with pytest.raises(InvalidInputError, match="rates: expected"):
        fused_rates(rates, traits)
