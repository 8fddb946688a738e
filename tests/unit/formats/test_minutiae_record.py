from datetime import datetime

import numpy as np
import pytest

from biometrik.errors import InvalidInputError
from biometrik.fingers import Minutiae
from biometrik.formats.minutiae_record import (
    CaptureDevice,
    ExtendedData,
    MinutiaeRecord,
    MinutiaeView,
    Raster,
    RidgeCounts,
    SampleQuality,
    Singularity,
    SingularityKind,
    ppi_of,
)

NONE = Minutiae(*(np.zeros(0, np.float32),) * 3, *(np.zeros(0, np.uint8),) * 2, 300, 400)


@pytest.mark.parametrize(
    ("per_cm", "ppi"),
    [(98, 250.0), (99, 250.0), (196, 500.0), (197, 500.0), (393, 1000.0), (394, 1000.0), (195, 495.3), (198, 502.92)],
)
def test_pixels_a_centimetre_are_the_resolution_that_was_meant(per_cm: int, ppi: float) -> None:
    assert ppi_of(per_cm) == pytest.approx(ppi)


def test_a_raster_of_1000_ppi_has_half_the_pixels_at_500() -> None:
    assert Raster(800, 1000, 394, 394).x_scale == 0.5
    assert Raster(800, 1000, 394, 197).y_scale == 1.0


def test_a_view_of_an_extractors_minutiae_is_at_500_ppi() -> None:
    view = MinutiaeView.of(NONE, quality=60)
    assert view.raster == Raster(300, 400, 197, 197)
    assert view.qualities == (SampleQuality(60),)
    assert MinutiaeView.of(NONE).qualities == ()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Raster(0, 400),
        lambda: Raster(300, 400, 0, 197),
        lambda: Raster(300, 20_000),
        lambda: SampleQuality(101),
        lambda: SampleQuality(50, vendor=70_000),
        lambda: CaptureDevice(technology=256),
        lambda: CaptureDevice(compliance=16),
        lambda: RidgeCounts(0, np.zeros((2, 2), np.uint8)),
        lambda: RidgeCounts(0, np.zeros((2, 3), np.int64)),
        lambda: Singularity(SingularityKind.CORE, 1.0, 1.0, (0.0, 1.0)),
        lambda: Singularity(SingularityKind.DELTA, 1.0, 1.0, (0.0,)),
        lambda: ExtendedData(1, bytes(70_000)),
        lambda: MinutiaeView(NONE, Raster(300, 400), number=16),
        lambda: MinutiaeView(NONE, Raster(300, 400), captured_at=datetime(2024, 1, 1)),
        lambda: MinutiaeRecord((), product=1 << 32),
    ],
)
def test_values_that_no_record_can_hold_are_refused(build: object) -> None:
    with pytest.raises(InvalidInputError, match="expected"):
        build()  # type: ignore[operator]


def test_ridge_counts_cannot_be_changed() -> None:
    counts = np.zeros((1, 3), np.uint8)
    kept = RidgeCounts(0, counts)
    with pytest.raises(ValueError, match="read-only"):
        kept.counts[0, 0] = 1
    counts[0, 0] = 1  # the caller's own stays the caller's
