"""Settings: their bounds, and that they cannot be changed afterwards."""

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest

from biometrik.config import (
    DetectionParameters,
    EngineConfig,
    ExtractionParameters,
    FaceParameters,
    FingerParameters,
    GalleryParameters,
    ModelParameters,
    RuntimeParameters,
)
from biometrik.errors import InvalidInputError
from biometrik.imaging import ImageLimits

ALL = (
    DetectionParameters,
    EngineConfig,
    ExtractionParameters,
    FaceParameters,
    FingerParameters,
    GalleryParameters,
    ImageLimits,
    ModelParameters,
    RuntimeParameters,
)

#: Class, setting, least and greatest value allowed, and a value beyond each.
RANGES = (
    (DetectionParameters, "min_confidence", 0.0, 1.0, -0.01, 1.01),
    (DetectionParameters, "nms_iou", 0.0, 1.0, -0.01, 1.01),
    (DetectionParameters, "max_side_px", 64, 4096, 63, 4097),
    (ExtractionParameters, "min_quality", 0, 100, -1, 101),
    (ExtractionParameters, "max_minutiae", 1, 255, 0, 256),
    (FingerParameters, "min_minutiae", 0, 255, -1, 256),
    (RuntimeParameters, "threads", 0, 256, -1, 257),
    (RuntimeParameters, "batch_size", 1, 256, 0, 257),
    (RuntimeParameters, "device_id", 0, 63, -1, 64),
    (GalleryParameters, "exhaustive_prints", 0, 10_000_000, -1, 10_000_001),
    (EngineConfig, "max_samples", 1, 64, 0, 65),
)


@pytest.mark.parametrize(("kind", "name", "least", "greatest", "below", "above"), RANGES)
def test_ranges(kind: type[Any], name: str, least: float, greatest: float, below: float, above: float) -> None:
    for value in (least, greatest):
        assert getattr(kind(**{name: value}), name) == value
    for value in (below, above, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match=rf"{name}: expected {int(least)}\.\.{int(greatest)}, got "):
            kind(**{name: value})


@pytest.mark.parametrize("name", [field.name for field in fields(ImageLimits)])
def test_limits_are_at_least_one(name: str) -> None:
    with pytest.raises(InvalidInputError, match=name):
        ImageLimits(**{name: 0})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precisions(precision: str) -> None:
    assert RuntimeParameters(precision=precision).precision == precision


@pytest.mark.parametrize("precision", ["", "FP32", "fp16"])
def test_other_precisions_are_refused(precision: str) -> None:
    with pytest.raises(InvalidInputError, match="precision: expected fp32 or bf16"):
        RuntimeParameters(precision=precision)


@pytest.mark.parametrize("kind", ALL)
def test_settings_are_frozen_values(kind: type[Any]) -> None:
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    name = fields(kind)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(kind(), name, None)


def test_every_number_has_bounds() -> None:
    # A new setting that is a number comes with a row above.
    bounded = {(kind, name) for kind, name, *_ in RANGES} | {(ImageLimits, field.name) for field in fields(ImageLimits)}
    numbers = {
        (kind, field.name)
        for kind in ALL
        for field in fields(kind)
        if type(getattr(kind(), field.name)) in (int, float)
    }
    assert numbers == bounded


def test_the_engines_settings_hold_all_others() -> None:
    parts = {type(getattr(EngineConfig(), field.name)) for field in fields(EngineConfig)}
    assert {kind for kind in parts if is_dataclass(kind)} | {
        EngineConfig,
        DetectionParameters,
        ExtractionParameters,
    } == set(ALL)
