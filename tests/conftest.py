"""Fixtures that every test may use."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator that gives every test the same numbers in every run."""
    return np.random.default_rng(20_260)
