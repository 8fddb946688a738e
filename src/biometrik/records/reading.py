"""Octets → what they say, whatever they are: records, blocks of CBEFF, templates, bare images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from biometrik import finger_imaging, imaging
from biometrik.errors import (
    BiometrikError,
    ImageError,
    InvalidInputError,
    RecordFormatError,
    UnsupportedFormatError,
)
from biometrik.fingerprint import payload
from biometrik.fingers import FingerPosition
from biometrik.formats import catalogue, cbeff, iso19794_2_card, iso19794_4
from biometrik.formats.image_record import ImageCoding, ImageRecord, ImageView
from biometrik.formats.iso19794_2_card import CardSize
from biometrik.formats.minutiae_record import MinutiaeRecord, MinutiaeView, RecordFormat
from biometrik.formats.record_report import RecordType, Stated
from biometrik.imaging import DEFAULT_LIMITS, ImageLimits
from biometrik.types import Modality, Template

_T = RecordType
MINUTIAE: Final = {
    _T.ISO_19794_2_2005: RecordFormat.ISO_19794_2_2005,
    _T.ISO_19794_2_2011: RecordFormat.ISO_19794_2_2011,
    _T.ANSI_378_2004: RecordFormat.ANSI_378_2004,
    _T.ANSI_378_2009: RecordFormat.ANSI_378_2009,
}
IMAGES: Final = {
    _T.ISO_19794_4_2005: RecordFormat.ISO_19794_4_2005,
    _T.ISO_19794_4_2011: RecordFormat.ISO_19794_4_2011,
}
CARDS: Final = {_T.ISO_19794_2_CARD_COMPACT: CardSize.COMPACT, _T.ISO_19794_2_CARD_NORMAL: CardSize.NORMAL}
_TYPES: Final = {
    **{known: each for each, known in (*MINUTIAE.items(), *IMAGES.items())},
    RecordFormat.CBEFF_XML: _T.CBEFF_XML,
}
#: What a decoder calls a format → what it is here, and what a record calls its coding.
_ENCODED: Final = {
    "PNG": (_T.PNG, ImageCoding.PNG),
    "WSQ": (_T.WSQ, ImageCoding.WSQ),
    "JPEG": (_T.JPEG, ImageCoding.JPEG),
    "JPEG2000": (_T.JP2, ImageCoding.JPEG_2000),
    "BMP": (_T.BMP, ImageCoding.RAW),
    "TIFF": (_T.TIFF, ImageCoding.RAW),
}
#: Longest input, octets; an image has its own, smaller limits besides.
_MAX_BYTES: Final = iso19794_4.MAX_IMAGE_RECORD_BYTES
#: What minutiae formats and image formats are read to.
Record: TypeAlias = MinutiaeRecord | ImageRecord
View: TypeAlias = MinutiaeView | ImageView


@dataclass(frozen=True, slots=True)
class Opened:
    """What octets say.

    Parameters
    ----------
    type : RecordType
        What they are.
    record : MinutiaeRecord or ImageRecord or None
        Their prints; None where nothing in them can be read here.
    blocks, contents : tuple
        Of CBEFF: each block, and what it was found to be.
    notes : tuple of str
        Departures that were forgiven, and what was left out.
    """

    type: RecordType
    record: Record | None
    blocks: tuple[cbeff.Bir, ...] = ()
    contents: tuple[RecordType | None, ...] = ()
    notes: tuple[str, ...] = ()


def open_record(data: bytes, stated: Stated, limits: ImageLimits | None = None) -> Opened:
    """Return what octets say; see :func:`biometrik.records.inspect` for what is raised.

    Without ``limits``, encoded images are looked at, not decoded.
    """
    if not isinstance(data, bytes):
        raise InvalidInputError(f"record: expected bytes, got {type(data).__name__}")
    if len(data) > _MAX_BYTES:
        raise RecordFormatError(f"record: expected at most {_MAX_BYTES} octets, got {len(data)}; split it")
    kind = _type_of(data, stated.type)
    if kind in (_T.CBEFF_XML, _T.CBEFF_SIMPLE):
        return _open_blocks(data, kind, stated, limits)
    record = read_as(data, kind, stated, limits)
    if stated.position is not FingerPosition.UNKNOWN:
        record = over(record, [_placed(view, stated.position) for view in record.views])
    return Opened(kind, record, notes=record.notes)


def _type_of(data: bytes, stated: RecordType | None) -> RecordType:
    if stated in CARDS or stated is _T.RAW8:
        return stated  # nothing in the octets could contradict
    found = _found(data)
    if found is None:
        raise UnsupportedFormatError(
            "record: expected ISO/IEC 19794-2 or -4, ANSI 378, CBEFF, a template or an image, got none of them; "
            "card formats and raw pixels must be named"
        )
    if stated is not None and stated is not found:
        raise UnsupportedFormatError(f"record: expected {stated.value} as stated, got {found.value}")
    return found


def _found(data: bytes) -> RecordType | None:
    try:
        return _TYPES[catalogue.detect(data)]
    except RecordFormatError:
        pass
    if data.startswith(b"\x01\x01\0") and data[4:6] == b"\0\0":  # ISO's owner, a small type, plain data
        return _T.CBEFF_SIMPLE
    if data.startswith(_TEMPLATE_START):
        return _T.TEMPLATE
    try:
        return _ENCODED[finger_imaging.read_print_header(data).format][0]
    except (ImageError, KeyError):
        return None


#: The mark of every template.
_TEMPLATE_START: Final = Template(Modality.FINGER, "any", b"1").to_bytes()[:4]


def read_as(data: bytes, kind: RecordType, stated: Stated, limits: ImageLimits | None) -> Record:
    """Return the prints in octets of a known type that is not CBEFF."""
    if kind in MINUTIAE:
        return catalogue.read_minutiae(data, strict=False)
    if kind in IMAGES:
        return iso19794_4.read(data, strict=False, max_bytes=_MAX_BYTES)
    if kind in CARDS:
        return MinutiaeRecord((MinutiaeView.of(iso19794_2_card.read(data, CARDS[kind])),))
    if kind is _T.TEMPLATE:
        return _of_template(Template.from_bytes(data))
    return ImageRecord((_image_view(data, kind, stated, limits),))


def _of_template(template: Template) -> MinutiaeRecord:
    if template.modality is not Modality.FINGER:
        raise UnsupportedFormatError(f"template: expected a finger's, got {template.modality.value}")
    view = MinutiaeView.of(payload.unpack(template.payload), position=FingerPosition(template.position))
    return MinutiaeRecord((view,))


def _image_view(data: bytes, kind: RecordType, stated: Stated, limits: ImageLimits | None) -> ImageView:
    if kind is _T.RAW8:
        if stated.ppi is None:
            raise InvalidInputError("ppi: expected the resolution of raw pixels, got none")
        width, height, limits = stated.width_px, stated.height_px, limits or DEFAULT_LIMITS
        image = finger_imaging.raw_print(data, width_px=width, height_px=height, ppi=stated.ppi, limits=limits)
        return ImageView.of(image)
    header = finger_imaging.read_print_header(data)
    imaging.check_header(header, limits or DEFAULT_LIMITS)
    if limits is None:
        ppi = stated.ppi or finger_imaging.stated_ppi(data) or UNKNOWN_PPI
        return ImageView(data, _ENCODED[header.format][1], header.width_px, header.height_px, (ppi, ppi))
    # Decoded whatever it becomes: what goes into a record is a whole image.
    view = ImageView.of(finger_imaging.decode_print(data, ppi=stated.ppi, limits=limits))
    return replace(view, data=data, coding=ImageCoding.WSQ) if kind is _T.WSQ else view


#: Stands for no resolution inside this module; no print has it.
UNKNOWN_PPI: Final = 50.0


def _open_blocks(data: bytes, kind: RecordType, stated: Stated, limits: ImageLimits | None) -> Opened:
    if kind is _T.CBEFF_XML:
        document = cbeff.read(data, strict=False)
        birs, notes = document.birs, list(document.notes)
    else:
        birs, notes = (cbeff.read_simple(data),), []
    records: list[Record] = []
    contents: list[RecordType | None] = []
    for index, bir in enumerate(birs, 1):
        content = _found(bir.data)
        if content in (_T.CBEFF_XML, _T.CBEFF_SIMPLE):  # not one in another
            content = None
        contents.append(content)
        if content is None:
            notes.append(f"block {index}: its format is not read here")
            continue
        said = replace(stated, type=None, position=bir.position or stated.position)
        try:
            opened = open_record(bir.data, said, limits)
        except BiometrikError as error:
            if len(birs) == 1:
                raise
            notes.append(f"block {index}: left out; {error}")
            continue
        notes += [f"block {index}: {note}" for note in opened.notes]
        if opened.record is None:
            continue
        records.append(_described(opened.record, bir))
        if limits is not None and content not in IMAGES and isinstance(opened.record, ImageRecord):
            # All images of a document together stay within the bound of one.
            pixels = sum(view.width_px * view.height_px for view in opened.record.views)
            limits = replace(limits, max_pixels=max(1, limits.max_pixels - pixels))
    kinds = {type(record) for record in records}
    if len(kinds) > 1:
        raise UnsupportedFormatError("document: expected blocks of minutiae or of images, got both; split it")
    record = _joined(records) if records else None
    return Opened(kind, record, birs, tuple(contents), tuple(notes))


def _described(record: Record, bir: cbeff.Bir) -> Record:
    # The header tells of its block what that does not say itself.
    if bir.created_at is None:
        return record
    return over(record, [v if v.captured_at else replace(v, captured_at=bir.created_at) for v in record.views])


def _joined(records: Sequence[Record]) -> Record:
    views = [view for record in records for view in record.views]
    return over(records[0], views) if len(records) > 1 else records[0]


def views_of(record: Record) -> tuple[View, ...]:
    """Return a record's prints."""
    return record.views


def over(record: Record, views: Sequence[View]) -> Record:
    """Return a record with other prints of its own kind."""
    return replace(record, views=tuple(views))  # type: ignore[arg-type]  # views are of the record's kind


def _placed(view: View, position: FingerPosition) -> View:
    return replace(view, position=position) if view.position is FingerPosition.UNKNOWN else view


def chosen(record: Record, view: int) -> Record:
    """Return a record of one print, counted from 1, or of all for 0; raises InvalidInputError for another number."""
    if not 0 <= view <= len(record.views):
        raise InvalidInputError(f"view: expected 1..{len(record.views)}, or 0 for all, got {view}")
    return over(record, record.views[view - 1 : view]) if view else record


def native_type(opened: Opened) -> RecordType | None:
    """Return the format that what was read stands in, if it is one and the same."""
    kinds = {opened.type} if not opened.blocks else {kind for kind in opened.contents if kind is not None}
    return kinds.pop() if len(kinds) == 1 else None
