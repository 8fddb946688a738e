"""Admission: as many calls as can be worked on, the next one refused at once."""

import pytest

from biometrik.errors import QueueFullError
from biometrik_server.calls import Admission
from biometrik_server.metrics import Metrics


def test_the_call_beyond_the_bound_is_refused_and_room_comes_back() -> None:
    metrics = Metrics()
    admission = Admission(2, metrics)

    def shown() -> float | None:
        return metrics.registry.get_sample_value("biometrik_requests_in_flight")

    with admission:
        with admission:
            assert (admission.count, shown()) == (2, 2.0)
            with pytest.raises(QueueFullError, match="2 calls"), admission:
                pytest.fail("a third was let in")
            assert admission.count == 2
        with admission:
            assert admission.count == 2
    assert (admission.count, shown()) == (0, 0.0)


def test_a_call_that_fails_makes_room() -> None:
    admission = Admission(1, Metrics())
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), admission:
            raise ZeroDivisionError
    assert admission.count == 0
