"""Metrics: what is counted, and that no server shares its counts with another."""

from prometheus_client import generate_latest

from biometrik.reasons import Reason
from biometrik.types import Quality, SampleReport
from biometrik_server.metrics import Metrics


def _report(usable: bool, *reasons: Reason, overall: float | None = None) -> SampleReport:
    quality = None if overall is None else Quality(overall, "demo", ())
    return SampleReport(0, usable, reasons, quality, 1, None)


def test_samples_count_by_quality_and_by_what_makes_them_unusable() -> None:
    metrics = Metrics()
    metrics.samples(
        [
            _report(True, Reason.TOO_DARK, overall=55.0),
            _report(False, Reason.NO_FACE),
            _report(False, Reason.NO_FACE, Reason.BLURRED),
        ]
    )
    value = metrics.registry.get_sample_value
    assert value("biometrik_unusable_samples_total", {"reason": "NO_FACE"}) == 2.0
    assert value("biometrik_unusable_samples_total", {"reason": "BLURRED"}) == 1.0
    assert value("biometrik_unusable_samples_total", {"reason": "TOO_DARK"}) is None
    assert value("biometrik_face_quality_count") == 1.0
    assert value("biometrik_face_quality_sum") == 55.0


def test_a_model_run_shows_its_size_and_the_wait_before_it() -> None:
    metrics = Metrics()
    metrics.batch(5, 0.25)
    value = metrics.registry.get_sample_value
    assert value("biometrik_batch_samples_sum") == 5.0
    assert value("biometrik_stage_seconds_sum", {"stage": "queue"}) == 0.25


def test_a_stage_is_timed_also_when_it_fails() -> None:
    metrics = Metrics()
    try:
        with metrics.stage("models"):
            raise ValueError
    except ValueError:
        pass
    assert metrics.registry.get_sample_value("biometrik_stage_seconds_count", {"stage": "models"}) == 1.0


def test_servers_of_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.requests.labels("Verify", "OK", "").inc()
    labels = {"rpc": "Verify", "code": "OK", "reason": ""}
    assert first.registry.get_sample_value("biometrik_requests_total", labels) == 1.0
    assert second.registry.get_sample_value("biometrik_requests_total", labels) is None


def test_every_instrument_says_what_it_is() -> None:
    lines = generate_latest(Metrics().registry).decode().splitlines()
    described = [line for line in lines if line.startswith("# HELP ")]
    assert len(described) >= 9
    assert all(len(line.split(maxsplit=3)) == 4 for line in described)
