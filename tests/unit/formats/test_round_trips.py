"""What is written is read again, within the units of the format, and written again the same."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from biometrik.errors import InvalidInputError
from biometrik.fingers import FingerPosition, Impression, Minutiae
from biometrik.formats import catalogue, iso19794_2_card
from biometrik.formats.iso19794_2_card import CardSize
from biometrik.formats.minutiae_octets import radians, steps
from biometrik.formats.minutiae_record import (
    CaptureDevice,
    Certification,
    ExtendedData,
    Extension,
    MinutiaeRecord,
    MinutiaeView,
    Raster,
    RecordFormat,
    RidgeCounts,
    SampleQuality,
    Singularity,
    SingularityKind,
)

ISO = (RecordFormat.ISO_19794_2_2005, RecordFormat.ISO_19794_2_2011)
EDITIONS = (*ISO, RecordFormat.ANSI_378_2004, RecordFormat.ANSI_378_2009)
NAMED = pytest.mark.parametrize("edition", EDITIONS, ids=lambda edition: edition.value)
SINGLE = [position for position in FingerPosition if position <= FingerPosition.LEFT_LITTLE]


@st.composite
def minutiae(draw: st.DrawFn, raster: Raster) -> Minutiae:
    width, height = max(1, round(raster.width_px * raster.x_scale)), max(1, round(raster.height_px * raster.y_scale))
    count = draw(st.integers(0, 255))

    def whole(top: int) -> NDArray[np.int64]:
        return draw(hnp.arrays(np.int64, count, elements=st.integers(0, top), fill=st.just(top // 2)))

    return Minutiae(
        (whole(raster.width_px - 1) * raster.x_scale).astype(np.float32),
        (whole(raster.height_px - 1) * raster.y_scale).astype(np.float32),
        (whole(1023) * (2 * np.pi / 1024)).astype(np.float32),
        whole(2).astype(np.uint8),
        whole(100).astype(np.uint8),
        width,
        height,
    )


@st.composite
def records(draw: st.DrawFn) -> MinutiaeRecord:
    per_cm = draw(st.sampled_from([98, 150, 197, 200, 394]))
    raster = Raster(draw(st.integers(1, 1000)), draw(st.integers(1, 1000)), per_cm, per_cm)
    device = CaptureDevice(type_id=draw(st.integers(0, 0xFFF)), compliance=draw(st.integers(0, 15)))
    views = [
        MinutiaeView(
            draw(minutiae(raster)),
            raster,
            draw(st.sampled_from(SINGLE)),
            draw(st.sampled_from(Impression)),
            number,
            (SampleQuality(draw(st.integers(0, 100))),),
            device=device,
            extension=draw(st.sampled_from([Extension(), EXTENSION])),
        )
        for number in range(draw(st.integers(1, 2)))
    ]
    return MinutiaeRecord(tuple(views), product=draw(st.integers(0, 0xFFFFFFFF)))


EXTENSION = Extension(
    RidgeCounts(2, np.array([[1, 2, 3]], np.uint8)),
    (Singularity(SingularityKind.DELTA, 0.0, 0.0, (0.0, 1.0, 2.0)),),
)


@NAMED
@settings(max_examples=40, deadline=None)
@given(record=records())
def test_a_record_is_read_as_it_was_written(edition: RecordFormat, record: MinutiaeRecord) -> None:
    octets = catalogue.write_minutiae(record, edition)
    assert catalogue.detect(octets) is edition
    again = catalogue.read_minutiae(octets)
    assert (again.origin, again.notes) == (edition, ())
    assert catalogue.write_minutiae(again, edition) == octets
    half_step = np.pi / (256 if edition in ISO else 180)
    for view, wanted in zip(again.views, record.views, strict=True):
        assert (view.raster, view.position, view.impression) == (wanted.raster, wanted.position, wanted.impression)
        assert view.number == wanted.number
        assert view.qualities == wanted.qualities
        np.testing.assert_allclose(view.minutiae.x, wanted.minutiae.x, atol=1e-3)
        np.testing.assert_allclose(view.minutiae.y, wanted.minutiae.y, atol=1e-3)
        apart = np.mod(view.minutiae.direction - wanted.minutiae.direction + np.pi, 2 * np.pi) - np.pi
        assert np.abs(apart).max(initial=0) <= half_step + 1e-5
        assert view.minutiae.kind.tolist() == wanted.minutiae.kind.tolist()
        assert view.minutiae.quality.tolist() == wanted.minutiae.quality.tolist()
        assert len(view.extension.singularities) == len(wanted.extension.singularities)


@pytest.mark.parametrize("turn", [64, 180, 256])
def test_every_angle_of_a_format_comes_back(turn: int) -> None:
    angles = np.arange(turn)
    directions = radians(angles, turn)
    assert steps(directions, turn).tolist() == angles.tolist()
    assert ((directions >= 0) & (directions < 2 * np.pi)).all()
    assert steps(np.array([2 * np.pi - 1e-4], np.float32), turn).tolist() == [0]


@pytest.mark.parametrize("size", CardSize)
@settings(max_examples=60, deadline=None)
@given(found=minutiae(Raster(400, 400)))
def test_a_card_keeps_minutiae_within_its_units(size: CardSize, found: Minutiae) -> None:
    octets = iso19794_2_card.write(found, size)
    assert len(octets) == size.value * len(found)
    again = iso19794_2_card.read(octets, size)
    assert iso19794_2_card.write(again, size) == octets
    half_px = size.unit_mm / 25.4 * 500 / 2 + 1e-3
    np.testing.assert_allclose(again.x, found.x, atol=half_px)
    np.testing.assert_allclose(again.y, found.y, atol=half_px)
    assert again.kind.tolist() == found.kind.tolist()


def test_minutiae_beyond_a_compact_card_are_refused() -> None:
    one = np.ones(1, np.float32)
    far = Minutiae(505 * one, one, one, *(np.zeros(1, np.uint8),) * 2, 600, 400)
    with pytest.raises(InvalidInputError, match=r"within 25\.5 mm"):
        iso19794_2_card.write(far, CardSize.COMPACT)
    assert len(iso19794_2_card.write(far, CardSize.NORMAL)) == 5


def view_of(**fields: object) -> MinutiaeView:
    one = np.ones(1, np.float32)
    minutiae = Minutiae(10 * one, 20 * one, one, np.ones(1, np.uint8), np.full(1, 50, np.uint8), 300, 400)
    return replace(MinutiaeView(minutiae, Raster(300, 400)), **fields)  # type: ignore[arg-type]


def test_what_only_2011_can_say_survives_there() -> None:
    view = view_of(
        captured_at=datetime(2030, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        device=CaptureDevice(4, 77, 0xFFFF),
        qualities=(SampleQuality(None, 3, 4), SampleQuality(9, 5, 6)),
        certifications=(Certification(1, 2), Certification(3, 4)),
        position=FingerPosition.PLAIN_LEFT_FOUR,
        ending_type=1,
    )
    octets = catalogue.write_minutiae(MinutiaeRecord((view,)), RecordFormat.ISO_19794_2_2011)
    (again,) = catalogue.read_minutiae(octets).views
    for name in ("captured_at", "device", "qualities", "certifications", "position", "ending_type"):
        assert getattr(again, name) == getattr(view, name), name


def test_a_quality_that_could_not_be_computed_is_not_a_number() -> None:
    failed, silent = view_of(qualities=(SampleQuality(None, 3, 4),)), view_of()
    octets = catalogue.write_minutiae(MinutiaeRecord((failed, silent)), RecordFormat.ANSI_378_2009)
    again = catalogue.read_minutiae(octets).views
    assert again[0].qualities == (SampleQuality(None, 3, 4),)
    assert again[1].qualities == ()


@NAMED
def test_opaque_data_go_back_to_their_own_format_only(edition: RecordFormat) -> None:
    view = view_of(extension=Extension(opaque=(ExtendedData(0x0101, b"vendor"),)))
    for origin in (None, *EDITIONS):
        octets = catalogue.write_minutiae(MinutiaeRecord((view,), origin=origin), edition)
        assert (b"vendor" in octets) == (origin is edition)


@NAMED
def test_resolutions_in_x_and_y_are_kept_apart(edition: RecordFormat) -> None:
    record = MinutiaeRecord((replace(view_of(), raster=Raster(600, 400, 394, 197)),))
    (again,) = catalogue.read_minutiae(catalogue.write_minutiae(record, edition)).views
    assert (again.minutiae.x[0], again.minutiae.y[0]) == (10.0, 20.0)
    assert (again.minutiae.width_px, again.minutiae.height_px) == (300, 400)


@pytest.mark.parametrize("edition", [RecordFormat.ISO_19794_2_2005, RecordFormat.ANSI_378_2004])
@pytest.mark.parametrize(
    ("views", "words"),
    [
        ((), "views: expected 1..255"),
        ((view_of(), replace(view_of(), raster=Raster(301, 400))), "share one raster"),
        ((view_of(), view_of(device=CaptureDevice(type_id=5))), "share one raster"),
        ((view_of(device=CaptureDevice(type_id=5000)),), "device type"),
        ((view_of(position=FingerPosition.PLAIN_RIGHT_FOUR),), "position: expected one finger"),
        ((view_of(raster=Raster(5, 400)),), "inside of the 5 × 400 image"),
    ],
)
def test_what_an_early_edition_cannot_say_is_refused(
    edition: RecordFormat, views: tuple[MinutiaeView, ...], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        catalogue.write_minutiae(MinutiaeRecord(views), edition)


def test_a_plain_thumb_is_a_thumb_to_an_early_edition() -> None:
    octets = catalogue.write_minutiae(
        MinutiaeRecord((view_of(position=FingerPosition.PLAIN_LEFT_THUMB),)), RecordFormat.ISO_19794_2_2005
    )
    assert catalogue.read_minutiae(octets).views[0].position is FingerPosition.LEFT_THUMB


def test_a_minutia_that_rounding_puts_on_the_edge_stays_in_the_image() -> None:
    edge = np.full(1, 299.6, np.float32)
    minutiae = Minutiae(edge, edge, 0 * edge, *(np.zeros(1, np.uint8),) * 2, 300, 400)
    octets = catalogue.write_minutiae(MinutiaeRecord((MinutiaeView.of(minutiae),)), RecordFormat.ISO_19794_2_2005)
    assert catalogue.read_minutiae(octets).views[0].minutiae.x.tolist() == [299.0]
