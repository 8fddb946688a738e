"""What Prometheus sees: latency by RPC and stage, queue, outcomes, quality, models in use. Nothing about a person."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from biometrik.types import SampleReport

#: Seconds: from a comparison of templates to a slow search, in steps of about two.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The server's instruments, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "biometrik_requests",
            "Calls by RPC, gRPC code and reason.",
            ("rpc", "code", "reason"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "biometrik_request_seconds", "Time of a call by RPC.", ("rpc",), buckets=_SECONDS, registry=self.registry
        )
        self.stage_seconds = Histogram(
            "biometrik_stage_seconds",
            "Time of a stage: decode, queue, models, engine.",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge("biometrik_requests_in_flight", "Calls worked on or waiting.", registry=self.registry)
        self.batch_samples = Histogram(
            "biometrik_batch_samples",
            "Samples that shared a model run.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.outcomes = Counter(
            "biometrik_outcomes", "Answers by RPC and outcome.", ("rpc", "outcome"), registry=self.registry
        )
        self.quality = Histogram(
            "biometrik_face_quality",
            "Overall quality of face samples, 0 to 100.",
            buckets=tuple(range(10, 101, 10)),
            registry=self.registry,
        )
        self.unusable = Counter(
            "biometrik_unusable_samples", "Samples without a template by reason.", ("reason",), registry=self.registry
        )
        self.upload_bytes = Gauge("biometrik_upload_bytes", "Bytes of uploads that wait.", registry=self.registry)
        self.quarantined = Gauge(
            "biometrik_quarantined_encounters",
            "Encounters that are set aside because they are damaged.",
            registry=self.registry,
        )
        self.build = Info("biometrik_models", "Version, models and device in use.", registry=self.registry)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(name).observe(time.perf_counter() - started)

    def batch(self, samples: int, waited_s: float) -> None:
        """Count a model run."""
        self.batch_samples.observe(samples)
        self.stage_seconds.labels("queue").observe(waited_s)

    def samples(self, reports: Iterable[SampleReport]) -> None:
        """Count what became of samples."""
        for report in reports:
            if report.quality is not None:
                self.quality.observe(report.quality.overall)
            if not report.usable:
                for reason in report.reasons:
                    self.unusable.labels(reason.value).inc()
