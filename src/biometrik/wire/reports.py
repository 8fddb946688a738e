"""What is said of samples: advice, quality, faces, reports."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from biometrik.reasons import Locale, Reason
from biometrik.types import Box, Face, Quality, QualityComponent, SampleReport
from biometrik.v1 import sample_pb2
from biometrik.wire.enumerations import REASONS
from biometrik.wire.requests import trait_from_wire, trait_to_wire


def advice_to_wire(reasons: Iterable[Reason], locale: Locale) -> list[sample_pb2.Advice]:
    """Return reasons with the words for the operator."""
    return [sample_pb2.Advice(reason=REASONS.to_wire(r), text=r.text(locale)) for r in reasons]


def advice_from_wire(advice: Iterable[sample_pb2.Advice]) -> tuple[Reason, ...]:
    """Return reasons; those that a newer server knows and we do not are left out."""
    known = (REASONS.get(row.reason) for row in advice)
    return tuple(reason for reason in known if reason is not None)


def quality_to_wire(quality: Quality, locale: Locale) -> sample_pb2.Quality:
    """Return a quality with all its components."""
    return sample_pb2.Quality(
        overall=quality.overall,
        algorithm=quality.algorithm,
        components=[
            sample_pb2.QualityComponent(
                name=c.name,
                value=c.value,
                measured=c.measured,
                unit=c.unit,
                threshold_in_force=c.threshold,
                advice=None if c.reason is None else advice_to_wire([c.reason], locale)[0],
            )
            for c in quality.components
        ],
        advice=advice_to_wire(quality.reasons, locale),
        acceptable=quality.acceptable,
    )


def quality_from_wire(message: sample_pb2.Quality) -> Quality:
    """Return a quality with all its components."""
    components = tuple(
        QualityComponent(
            c.name,
            c.value,
            c.measured,
            c.unit,
            c.threshold_in_force,
            REASONS.get(c.advice.reason) if c.HasField("advice") else None,
        )
        for c in message.components
    )
    return Quality(message.overall, message.algorithm, components)


def face_to_wire(face: Face) -> sample_pb2.Face:
    """Return a face."""
    return sample_pb2.Face(
        x=face.box.x,
        y=face.box.y,
        width=face.box.width,
        height=face.box.height,
        landmarks=[sample_pb2.Point(x=float(x), y=float(y)) for x, y in face.landmarks],
        confidence=face.confidence,
    )


def face_from_wire(message: sample_pb2.Face) -> Face:
    """Return a face; raises InvalidInputError without five landmarks."""
    landmarks = np.array([(p.x, p.y) for p in message.landmarks], dtype=np.float32).reshape(-1, 2)
    return Face(Box(message.x, message.y, message.width, message.height), landmarks, message.confidence)


_NO_PAD: Final = sample_pb2.PadResult(state=sample_pb2.PAD_STATE_NOT_PERFORMED)


def report_to_wire(report: SampleReport, locale: Locale) -> sample_pb2.SampleReport:
    """Return what became of a sample."""
    return sample_pb2.SampleReport(
        index=report.position,
        usable=report.usable,
        advice=advice_to_wire(report.reasons, locale),
        quality=None if report.quality is None else quality_to_wire(report.quality, locale),
        faces_found=report.faces_found,
        face=None if report.face is None else face_to_wire(report.face),
        pad=_NO_PAD,
        trait=trait_to_wire(report.trait),
    )


def report_from_wire(message: sample_pb2.SampleReport) -> SampleReport:
    """Return what became of a sample."""
    return SampleReport(
        position=message.index,
        usable=message.usable,
        reasons=advice_from_wire(message.advice),
        quality=quality_from_wire(message.quality) if message.HasField("quality") else None,
        faces_found=message.faces_found,
        face=face_from_wire(message.face) if message.HasField("face") else None,
        trait=trait_from_wire(message.trait),
    )


def reports_to_wire(reports: Sequence[SampleReport], locale: Locale) -> list[sample_pb2.SampleReport]:
    """Return what became of all samples."""
    return [report_to_wire(report, locale) for report in reports]


def reports_from_wire(messages: Iterable[sample_pb2.SampleReport]) -> tuple[SampleReport, ...]:
    """Return what became of all samples."""
    return tuple(report_from_wire(message) for message in messages)
