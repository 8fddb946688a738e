"""Interchange records for callers who have octets: what stands in them, and the same in another format.

Reading is lenient; what was forgiven is said. What a conversion loses is not looked up but found: the octets that were
written are read again and held against what was read. Minutiae become minutiae and images images; minutiae are made
of images by :mod:`biometrik.fingerprint` alone.
"""

from biometrik.config import FingerParameters
from biometrik.errors import ImageTooLargeError, InvalidInputError, UnsupportedFormatError
from biometrik.fingerprint import payload
from biometrik.fingerprint.matching import MATCHERS
from biometrik.fingers import FingerprintImage
from biometrik.formats import cbeff
from biometrik.formats.image_record import ImageRecord
from biometrik.formats.minutiae_record import MinutiaeRecord, MinutiaeView, ppi_of
from biometrik.formats.record_report import (
    NOTHING_STATED,
    BlockReport,
    Conversion,
    RecordReport,
    RecordSimilarity,
    RecordType,
    Stated,
    ViewReport,
)
from biometrik.imaging import DEFAULT_LIMITS, ImageLimits
from biometrik.records.reading import UNKNOWN_PPI, View, chosen, native_type, open_record
from biometrik.records.writing import RECORD_CONTRACT, print_of, quality_of, template_of, written
from biometrik.types import Template

__all__ = ["RECORD_CONTRACT", "compare", "convert", "images_from_record", "inspect", "templates_from_record"]


def inspect(data: bytes, stated: Stated = NOTHING_STATED) -> RecordReport:
    """Return what stands in a record, without its minutiae and pixels.

    Parameters
    ----------
    data : bytes
        A minutiae or image record, a CBEFF document, a finger's template, or an encoded image; at most 32 MiB.
    stated : Stated
        What the octets do not say themselves.

    Raises
    ------
    UnsupportedFormatError
        None of the formats that are read here.
    RecordFormatError, TemplateFormatError
        Damage that cannot be repaired.
    ImageError
        An image that cannot be used, by its header.
    InvalidInputError
        ``data`` are not bytes, or what is stated does not fit.

    Examples
    --------
    >>> report = inspect(bytes([100, 50, 0x50]), Stated(RecordType.ISO_19794_2_CARD_COMPACT))
    >>> report.views[0].minutiae, report.departures
    (1, ())
    """
    opened = open_record(data, stated)
    return RecordReport(
        type=opened.type,
        octets=len(data),
        blocks=tuple(_block_report(bir, kind) for bir, kind in zip(opened.blocks, opened.contents, strict=True)),
        views=() if opened.record is None else tuple(_view_report(view) for view in opened.record.views),
        departures=opened.notes,
    )


def convert(
    data: bytes,
    target: RecordType,
    stated: Stated = NOTHING_STATED,
    *,
    view: int = 0,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Conversion:
    r"""Return a record in another format, and what that lost.

    Minutiae are written as minutiae, images as images; either is wrapped as CBEFF, a block a print, and unwrapped.
    WSQ goes in and out of image records as it is: it is not made here of other images.

    Parameters
    ----------
    data : bytes
        As :func:`inspect`.
    target : RecordType
        What it is to become.
    stated : Stated
        What the octets do not say themselves.
    view : int
        Which print, from 1, in the order of :func:`inspect`; 0 for all. Needed where there are several and the target
        holds one.
    limits : ImageLimits
        Bounds of an image that is decoded.

    Raises
    ------
    UnsupportedFormatError
        The one cannot become the other.
    RecordFormatError, TemplateFormatError
        Damage that cannot be repaired.
    ImageError
        An image that cannot be decoded, or is beyond ``limits``.
    ResolutionMissingError
        An image that does not say its resolution, and neither does ``stated``.
    InvalidInputError
        Values that the target cannot express; no such view.

    Examples
    --------
    >>> card = bytes([100, 50, 0x50])
    >>> made = convert(card, RecordType.ISO_19794_2_2005, Stated(RecordType.ISO_19794_2_CARD_COMPACT))
    >>> made.data[:8], made.losses
    (b'FMR\x00 20\x00', ('view 1: places rounded by up to 0.85 px at 500 ppi', 'view 1: quality'))
    """
    opened = open_record(data, stated, limits)
    if opened.record is None:
        raise UnsupportedFormatError("record: expected minutiae or images, got no block that can be read")
    record = chosen(opened.record, view)
    octets, losses = written(record, target, native_type(opened), limits)
    return Conversion(octets, opened.type, target, losses, opened.notes)


def templates_from_record(data: bytes, stated: Stated = NOTHING_STATED) -> tuple[Template, ...]:
    """Return a record's minutiae as templates, one a print, of the contract :data:`RECORD_CONTRACT`.

    They can be compared with each other. They are never comparable with what this library's own extractors made of
    images: another extractor finds other minutiae, and its error rates were not measured.

    Raises
    ------
    UnsupportedFormatError
        The record holds no minutiae.
    RecordFormatError
        Damage that cannot be repaired.

    Examples
    --------
    >>> card = bytes([100, 50, 0x50])
    >>> (template,) = templates_from_record(card, Stated(RecordType.ISO_19794_2_CARD_COMPACT))
    >>> template.model_contract_id
    'iso19794-2@1'
    """
    record = open_record(data, stated).record
    if not isinstance(record, MinutiaeRecord):
        raise UnsupportedFormatError("record: expected minutiae, got images; extract templates of them")
    return tuple(template_of(view) for view in record.views)


def images_from_record(
    data: bytes, stated: Stated = NOTHING_STATED, *, limits: ImageLimits = DEFAULT_LIMITS
) -> tuple[FingerprintImage, ...]:
    """Return the prints of a record of finger images, or of a CBEFF document of such, in its order.

    Parameters
    ----------
    data : bytes
        As :func:`inspect`.
    stated : Stated
        What the octets do not say themselves.
    limits : ImageLimits
        Bounds of all of its images together.

    Raises
    ------
    UnsupportedFormatError
        The record holds no images, or some that are not decoded here.
    RecordFormatError
        Damage that cannot be repaired.
    ImageError
        An image that cannot be decoded, or they are beyond ``limits``.
    ResolutionMissingError
        An image that does not say its resolution, and neither does ``stated``.
    """
    record = open_record(data, stated, limits).record
    if not isinstance(record, ImageRecord):
        raise UnsupportedFormatError(
            "record: expected images, got none; minutiae of another extractor cannot be compared with this library's"
        )
    pixels = sum(view.width_px * view.height_px for view in record.views)
    if pixels > limits.max_pixels:
        raise ImageTooLargeError(f"record: expected at most {limits.max_pixels} pixels in all, got {pixels}")
    return tuple(print_of(view, limits) for view in record.views)


def compare(probe: bytes, reference: bytes, stated: Stated = NOTHING_STATED) -> RecordSimilarity:
    """Return how alike the minutiae of two records are, by the default matcher: the pair of prints most alike.

    Prints that both say which finger they are of are compared with their like only. There is no calibration for
    minutiae from elsewhere: this is a raw similarity, and no decision.

    Parameters
    ----------
    probe, reference : bytes
        Records of minutiae.
    stated : Stated
        What the octets of either do not say themselves.

    Raises
    ------
    UnsupportedFormatError, RecordFormatError
        As :func:`templates_from_record`.
    InvalidInputError
        No print of the one is of a finger of the other.
    """
    matcher = MATCHERS.load(FingerParameters().matcher)()
    sides = [
        [(template.trait, matcher.prepare(payload.unpack(template.payload))) for template in templates]
        for templates in (templates_from_record(probe, stated), templates_from_record(reference, stated))
    ]
    pairs = [
        (matcher.compare(ours, theirs), i, j)
        for i, (trait, ours) in enumerate(sides[0], start=1)
        for j, (other, theirs) in enumerate(sides[1], start=1)
        if trait == other or 0 in (trait.position, other.position)
    ]
    if not pairs:
        raise InvalidInputError("record: expected prints of one finger in both, got none; see record inspect")
    similarity, first, second = max(pairs)
    return RecordSimilarity(similarity, len(pairs), first, second)


def _block_report(bir: cbeff.Bir, content: RecordType | None) -> BlockReport:
    return BlockReport(
        bir.format_owner,
        bir.format_type,
        bir.modality,
        bir.subtype,
        bir.level.value if bir.level else "",
        bir.purpose.value if bir.purpose else "",
        bir.quality,
        bir.created_at,
        len(bir.data),
        content,
    )


def _view_report(view: View) -> ViewReport:
    if isinstance(view, MinutiaeView):
        size = view.raster.width_px, view.raster.height_px
        ppi, minutiae, coding = (ppi_of(view.raster.x_per_cm), ppi_of(view.raster.y_per_cm)), len(view.minutiae), ""
    else:
        size, ppi, minutiae, coding = (view.width_px, view.height_px), view.ppi, None, view.coding.value
    x_ppi, y_ppi = (None if each == UNKNOWN_PPI else each for each in ppi)
    quality = quality_of(view)
    return ViewReport(view.position, view.impression, *size, x_ppi, y_ppi, minutiae, coding, quality, view.captured_at)
