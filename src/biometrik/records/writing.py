"""What was read → octets of another format, and what these no longer say."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from biometrik import finger_imaging, imaging
from biometrik.errors import InvalidInputError, RecordFormatError, UnsupportedFormatError
from biometrik.fingerprint import payload
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.formats import catalogue, cbeff, iso19794_2_card, iso19794_4
from biometrik.formats.image_record import ImageCoding, ImageRecord, ImageView
from biometrik.formats.minutiae_record import MinutiaeRecord, MinutiaeView
from biometrik.formats.record_report import NOTHING_STATED, RecordType
from biometrik.imaging import ImageLimits
from biometrik.records.losses import losses_of
from biometrik.records.reading import CARDS, IMAGES, MINUTIAE, UNKNOWN_PPI, Record, View, over, read_as, views_of
from biometrik.types import Modality, Template

#: The model contract of templates that were made of records: extractors unknown, places and angles rounded as records
#: do. Nothing else is compared with them; see docs/adr/0016-records.md.
RECORD_CONTRACT: Final = "iso19794-2@1"

_T = RecordType
#: Owner and type of a record's format in CBEFF. ISO/IEC 19785 registry; INCITS: NIST SP 800-76-2, section 9.
_REGISTERED: Final = {
    _T.ISO_19794_2_2005: (cbeff.ISO_OWNER, cbeff.FINGER_MINUTIAE),
    _T.ISO_19794_2_2011: (cbeff.ISO_OWNER, cbeff.FINGER_MINUTIAE),
    _T.ISO_19794_4_2005: (cbeff.ISO_OWNER, cbeff.FINGER_IMAGE),
    _T.ISO_19794_4_2011: (cbeff.ISO_OWNER, cbeff.FINGER_IMAGE),
    _T.ANSI_378_2004: (0x001B, 0x0201),
}


def written(
    record: Record, target: RecordType, native: RecordType | None, limits: ImageLimits
) -> tuple[bytes, tuple[str, ...]]:
    """Return a record as octets of another format, and what that lost; see :func:`biometrik.records.convert`."""
    if target in (_T.CBEFF_XML, _T.CBEFF_SIMPLE):
        return _wrapped(record, target, native)
    if isinstance(record, MinutiaeRecord):
        write = _minutiae_writer(target)
        data = write(record)
        again = read_as(data, target, NOTHING_STATED, None)
    else:
        data, again = _image_written(record, target, limits)
    return data, losses_of(record, again)


def _minutiae_writer(target: RecordType) -> Callable[[MinutiaeRecord], bytes]:
    if target in MINUTIAE:
        return lambda record: catalogue.write_minutiae(record, MINUTIAE[target])
    if target in CARDS:
        return lambda record: iso19794_2_card.write(_only(record).minutiae, CARDS[target])
    if target is _T.TEMPLATE:
        return lambda record: template_of(_only(record)).to_bytes()
    raise UnsupportedFormatError(f"target: expected a format of minutiae, got {target.value}")


def template_of(view: MinutiaeView) -> Template:
    """Return a print's minutiae as a template of the contract for what came from a record."""
    return Template(Modality.FINGER, RECORD_CONTRACT, payload.pack(view.minutiae), int(view.position))


def _only(record: MinutiaeRecord) -> MinutiaeView:
    if len(record.views) != 1:
        raise InvalidInputError(f"view: expected one print for this target, got {len(record.views)}; say which")
    return record.views[0]


def _image_written(record: ImageRecord, target: RecordType, limits: ImageLimits) -> tuple[bytes, ImageRecord]:
    if target in IMAGES:
        data = iso19794_4.write(record, IMAGES[target])
        return data, iso19794_4.read(data, max_bytes=len(data))
    if target not in (_T.PNG, _T.RAW8, _T.WSQ):
        raise UnsupportedFormatError(f"target: expected an image format that is written here, got {target.value}")
    if len(record.views) != 1:
        raise InvalidInputError(f"view: expected one print for this target, got {len(record.views)}; say which")
    view = record.views[0]
    bare = ImageView(view.data, view.coding, view.width_px, view.height_px, view.ppi, bit_depth=view.bit_depth)
    if target is _T.WSQ:
        if view.coding is not ImageCoding.WSQ:
            raise UnsupportedFormatError(f"image: expected WSQ inside for this target, got {view.coding.value}")
        return view.data, ImageRecord((bare,))
    image = print_of(view, limits)
    if target is _T.RAW8:
        return image.pixels.tobytes(), ImageRecord((replace(bare, ppi=(UNKNOWN_PPI, UNKNOWN_PPI)),))
    return imaging.encode_png(image.pixels, ppi=image.ppi), ImageRecord((bare,))


def print_of(view: ImageView, limits: ImageLimits) -> FingerprintImage:
    """Return a view's print, decoded; raises RecordFormatError where it is not as the record says, or ImageError."""
    if view.coding in (ImageCoding.RAW, ImageCoding.PACKED):
        return view.image()
    if view.ppi[0] != view.ppi[1]:
        raise RecordFormatError(f"finger image: expected square pixels, got {view.ppi[0]} × {view.ppi[1]} ppi")
    image = finger_imaging.decode_print(
        view.data, ppi=view.ppi[0], position=view.position, impression=view.impression, limits=limits
    )
    if image.pixels.shape != (view.height_px, view.width_px):
        height, width = image.pixels.shape
        raise RecordFormatError(f"finger image: expected {view.width_px} × {view.height_px}, got {width} × {height}")
    return image


def _wrapped(record: Record, target: RecordType, native: RecordType | None) -> tuple[bytes, tuple[str, ...]]:
    if native not in _REGISTERED:
        raise UnsupportedFormatError(
            f"record: expected one that CBEFF has an identifier for, got {native.value if native else 'several'}; "
            "convert it to iso19794-2:2011 or iso19794-4:2011 first"
        )
    if target is _T.CBEFF_SIMPLE and len(record.views) != 1:
        raise InvalidInputError(f"view: expected one print for this target, got {len(record.views)}; say which")
    birs, losses = [], []
    for index, view in enumerate(views_of(record), 1):
        alone = over(record, [view])
        if isinstance(alone, MinutiaeRecord):
            data = catalogue.write_minutiae(alone, MINUTIAE[native])
        else:
            data = iso19794_4.write(alone, IMAGES[native])
        lost = losses_of(alone, read_as(data, native, NOTHING_STATED, None))
        losses += [loss.replace("view 1:", f"view {index}:", 1) for loss in lost]
        birs.append(_bir(view, data, native))
    if target is _T.CBEFF_SIMPLE:
        return cbeff.write_simple(birs[0]), tuple(losses)
    return cbeff.write(cbeff.BirRecord(tuple(birs))), tuple(losses)


def _bir(view: View, data: bytes, native: RecordType) -> cbeff.Bir:
    owner, kind = _REGISTERED[native]
    return cbeff.Bir(
        data,
        str(owner),
        str(kind),
        subtype=cbeff.subtype_of(_THUMBS.get(view.position, view.position)) if view.position.is_single else "",
        level=cbeff.Level.PROCESSED if isinstance(view, MinutiaeView) else cbeff.Level.RAW,
        purpose=None,
        quality=quality_of(view),
        created_at=view.captured_at,
    )


_THUMBS: Final = {
    FingerPosition.PLAIN_RIGHT_THUMB: FingerPosition.RIGHT_THUMB,
    FingerPosition.PLAIN_LEFT_THUMB: FingerPosition.LEFT_THUMB,
}


def quality_of(view: View) -> int | None:
    """Return the first quality that a print has; None where there is none or it could not be computed."""
    return view.qualities[0].score if view.qualities else None
