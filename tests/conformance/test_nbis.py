"""Against an independent implementation: records that the nbis package wrote, and ours as it reads them.

nbis 0.1.3 leaves two octets out of the view header and the length of extended data, and states no view and no
resolution. Lenient reading knows that form; for nbis to read a record of ours, the same octets are taken out here.
"""

import io

import nbis
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from biometrik import records
from biometrik.errors import RecordFormatError
from biometrik.fingerprint import payload
from biometrik.fingers import FingerPosition, Minutiae, MinutiaKind
from biometrik.formats import iso19794_2
from biometrik.formats.minutiae_record import MinutiaeRecord, MinutiaeView, RecordFormat
from biometrik.formats.record_report import RecordType

KINDS = {"RIDGE_ENDING": MinutiaKind.ENDING, "BIFURCATION": MinutiaKind.BIFURCATION}
WIDTH, HEIGHT = 400, 480


@pytest.fixture(scope="module")
def extractor() -> nbis.NbisExtractor:
    settings = nbis.NbisExtractorSettings(
        min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=False, ppi=500.0
    )
    return nbis.new_nbis_extractor(settings)


def ridges(defects: list[tuple[float, float, int]], *, across: bool = False) -> NDArray[np.uint8]:
    """Draw a plane wave with a point defect for each (x, y, ±1), where one ridge more begins."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    phase = 2 * np.pi * (x if across else y) / 9.0
    for at_x, at_y, sign in defects:
        phase += sign * np.arctan2(y - at_y, x - at_x)
    drawing: NDArray[np.uint8] = np.rint(127 + 110 * np.cos(phase)).astype(np.uint8)
    return drawing


def extracted(extractor: nbis.NbisExtractor, drawing: NDArray[np.uint8]) -> nbis.Minutiae:
    png = io.BytesIO()
    Image.fromarray(drawing).save(png, "png")
    return extractor.extract_minutiae(png.getvalue())


@pytest.fixture(scope="module")
def theirs(extractor: nbis.NbisExtractor) -> nbis.Minutiae:
    rng = np.random.default_rng(3)
    defects = [(rng.uniform(80, 320), rng.uniform(80, 400), int(rng.choice([-1, 1]))) for _ in range(14)]
    return extracted(extractor, ridges(defects))


def assert_equal(ours: Minutiae, theirs: nbis.Minutiae) -> None:
    points = theirs.get()
    assert len(ours) == len(points)
    assert ours.x.tolist() == [point.x() for point in points]
    assert ours.y.tolist() == [point.y() for point in points]
    assert ours.kind.tolist() == [KINDS[point.kind().name] for point in points]
    counter_clockwise = np.mod(-np.degrees(ours.direction.astype(float)), 360.0)
    apart = np.abs(np.mod(counter_clockwise - [point.angle() for point in points] + 180.0, 360.0) - 180.0)
    assert apart.max() < 1e-3


def test_their_record_says_what_they_found(theirs: nbis.Minutiae) -> None:
    assert len(theirs.get()) >= 10
    octets = bytes(theirs.to_iso_19794_2_2005())
    with pytest.raises(RecordFormatError, match="resolution"):
        iso19794_2.read(octets)
    record = iso19794_2.read(octets, strict=False)
    assert [note.split(":")[0] for note in record.notes] == ["record resolution", "number of views", "view 1"]
    assert (record.views[0].raster.width_px, record.views[0].raster.height_px) == (WIDTH, HEIGHT)
    assert_equal(record.views[0].minutiae, theirs)
    reliability = [100 * point.reliability() for point in theirs.get()]
    assert np.abs(record.views[0].minutiae.quality - reliability).max() <= 100 / 63 + 0.5


def test_they_read_our_record(extractor: nbis.NbisExtractor, rng: np.random.Generator) -> None:
    count = 40
    ours = Minutiae(
        rng.integers(0, WIDTH, count).astype(np.float32),
        rng.integers(0, HEIGHT, count).astype(np.float32),
        # nbis rounds angles to 11.25°, eight of the record's steps
        (rng.integers(0, 32, count) * (2 * np.pi / 32)).astype(np.float32),
        rng.integers(1, 3, count).astype(np.uint8),
        rng.integers(0, 64, count).astype(np.uint8),
        WIDTH,
        HEIGHT,
    )
    octets = iso19794_2.write(MinutiaeRecord((MinutiaeView.of(ours, position=FingerPosition.RIGHT_INDEX),)))
    theirs = extractor.load_iso_19794_2_2005(as_nbis_writes(octets))
    assert_equal(ours, theirs)
    np.testing.assert_allclose([point.reliability() for point in theirs.get()], ours.quality / 63, atol=1e-9)


def as_nbis_writes(octets: bytes) -> bytes:
    """Take out what nbis does not write, of a record with one view and no extended data."""
    assert octets[22] == 1
    assert octets[-2:] == bytes(2)
    length = len(octets) - 4
    return octets[:8] + length.to_bytes(4, "big") + octets[12:22] + bytes(2) + octets[24:25] + octets[27:-2]


def test_their_minutiae_survive_every_format_of_ours(theirs: nbis.Minutiae) -> None:
    record = iso19794_2.read(bytes(theirs.to_iso_19794_2_2005()), strict=False)
    for edition in (RecordFormat.ISO_19794_2_2005, RecordFormat.ISO_19794_2_2011):
        assert_equal(iso19794_2.read(iso19794_2.write(record, edition)).views[0].minutiae, theirs)


@pytest.mark.parametrize(
    ("across", "sign", "expected"),
    [(True, 1, 1.5 * np.pi), (True, -1, 0.5 * np.pi), (False, 1, 0.0), (False, -1, np.pi)],
    ids=["up", "down", "right", "left"],
)
def test_directions_point_along_the_ridge_or_valley_that_begins(
    extractor: nbis.NbisExtractor, across: bool, sign: int, expected: float
) -> None:
    # The wave gains a ridge on one side of the defect: a bifurcation's valley, or an ending's ridge, lies there.
    found = extracted(extractor, ridges([(120.0, 100.0, sign)], across=across))
    record = iso19794_2.read(bytes(found.to_iso_19794_2_2005()), strict=False)
    minutiae = record.views[0].minutiae
    assert len(minutiae) == 1
    assert np.hypot(minutiae.x[0] - 120, minutiae.y[0] - 100) < 4
    assert abs(minutiae.direction[0] - expected) < 0.2


def test_their_record_is_inspected_converted_and_wrapped(theirs: nbis.Minutiae) -> None:
    octets = bytes(theirs.to_iso_19794_2_2005())
    report = records.inspect(octets)
    assert (report.type, report.views[0].minutiae) == (RecordType.ISO_19794_2_2005, len(theirs.get()))
    assert len(report.departures) == 3
    made = records.convert(octets, RecordType.ISO_19794_2_2011)
    assert made.losses == ()
    assert_equal(iso19794_2.read(made.data).views[0].minutiae, theirs)
    wrapped = records.convert(made.data, RecordType.CBEFF_XML)
    assert records.convert(wrapped.data, RecordType.ISO_19794_2_2011).data == made.data
    (template,) = records.templates_from_record(octets)
    assert_equal(payload.unpack(template.payload), theirs)
