"""Fixtures that every test may use."""

import signal

import numpy as np
import pytest

# What a shell starts in the background without job control ignores interrupts, and so does all that it starts: commands
# under test as well, which are interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator that gives every test the same numbers in every run."""
    return np.random.default_rng(20_260)
