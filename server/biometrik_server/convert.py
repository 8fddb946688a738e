"""Requests of the contract as what the engine takes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from biometrik import records
from biometrik.duplicates import DedupePolicy
from biometrik.errors import (
    ImageError,
    InvalidInputError,
    InvalidPositionError,
    PayloadTooLargeError,
    RecordFormatError,
    ResolutionMissingError,
    UnsupportedFormatError,
    UnsupportedModalityError,
)
from biometrik.finger_imaging import decode_print, raw_print
from biometrik.fingers import FingerPosition, Impression
from biometrik.formats import iso19794_4
from biometrik.formats.image_record import ImageCoding
from biometrik.formats.record_report import Conversion
from biometrik.imaging import ImageLimits, format_of
from biometrik.record_wire import TYPES, record_from_wire
from biometrik.samples import Sample, UnreadableSample, decoded, decoded_print
from biometrik.types import DEFAULT_MAX_FMR, DEFAULT_MAX_FPIR, SampleOrigin, Trait
from biometrik.v1 import decision_pb2, enrollment_service_pb2, sample_pb2, sample_service_pb2
from biometrik.wire import DEDUPE_ACTIONS, IMPRESSIONS, finger_position, origin_from_wire, template_from_wire
from biometrik_server.calls import CURRENT
from biometrik_server.config import Policy, ServerConfig
from biometrik_server.uploads import Uploads

T = TypeVar("T")

#: Formats that a face sample may be in, with the decoder's name of each.
FACE_FORMATS: Final = {
    sample_pb2.SAMPLE_FORMAT_PNG: "PNG",
    sample_pb2.SAMPLE_FORMAT_JPEG: "JPEG",
    sample_pb2.SAMPLE_FORMAT_JP2: "JPEG2000",
    sample_pb2.SAMPLE_FORMAT_BMP: "BMP",
    sample_pb2.SAMPLE_FORMAT_TIFF: "TIFF",
    sample_pb2.SAMPLE_FORMAT_WEBP: "WEBP",
}
#: Formats that a finger sample may be in, likewise; RAW8 and finger image records have none.
FINGER_FORMATS: Final = {
    **{number: name for number, name in FACE_FORMATS.items() if name != "WEBP"},
    sample_pb2.SAMPLE_FORMAT_WSQ: "WSQ",
    sample_pb2.SAMPLE_FORMAT_RAW8: "",
    sample_pb2.SAMPLE_FORMAT_FIR: "",
}
MAX_PAGE: Final = 1000
_DEFAULT_CANDIDATES: Final = 10
_DEFAULT_PAGE: Final = 100
#: Of an answer's octets, what is not a record's: losses and departures, at most 64 lines of a record each.
_ANSWER_ROOM_BYTES: Final = 256 << 10


class Converter:
    """Reads requests; whatever they hold, the result is a value or a typed error.

    Parameters
    ----------
    config : ServerConfig
        Limits and policies.
    uploads : Uploads
        Where samples that came in pieces wait.
    """

    def __init__(self, config: ServerConfig, uploads: Uploads) -> None:
        parameters = config.engine.parameters()
        self._limits: ImageLimits = parameters.limits
        self._max_record_bytes = max(1, config.limits.max_message_bytes - _ANSWER_ROOM_BYTES)
        self._max_samples = parameters.max_samples
        self._policies = config.policies
        self._uploads = uploads

    def samples(self, messages: Sequence[sample_pb2.Sample]) -> list[Sample]:
        """Return decoded samples; unreadable ones are outcomes of their own."""
        self._check_count(len(messages))
        return [self._sample(message) for message in messages]

    def presented(self, messages: Sequence[sample_pb2.Presentation]) -> list[Sample]:
        """Return decoded samples and ready templates, in the order of the request."""
        self._check_count(len(messages))
        for message in messages:
            if message.WhichOneof("kind") is None:
                raise InvalidInputError("samples: expected a sample or a template in each, got neither")
        return [
            template_from_wire(m.template) if m.WhichOneof("kind") == "template" else self._sample(m.sample)
            for m in messages
        ]

    def converted(self, request: sample_service_pb2.ConvertRecordRequest) -> Conversion:
        """Return a record in another format; raises PayloadTooLargeError for one that no answer could hold."""
        data, stated = record_from_wire(request.record)
        # A pixel is an octet of the answer at most; what could not be sent is not decoded.
        limits = replace(self._limits, max_pixels=min(self._limits.max_pixels, self._max_record_bytes))
        made = records.convert(data, TYPES.from_wire(request.target), stated, view=request.view, limits=limits)
        if len(made.data) > self._max_record_bytes:
            raise PayloadTooLargeError(
                f"record: expected at most {self._max_record_bytes} octets for an answer, got {len(made.data)}; "
                "convert its views one by one"
            )
        return made

    def max_fmr(self, threshold: decision_pb2.Threshold) -> float:
        """Return the target FMR that a request asks for."""
        match threshold.WhichOneof("target"):
            case "fmr":
                return threshold.fmr
            case "policy":
                return self._policy(threshold.policy).fmr
            case "fpir":
                raise InvalidInputError("threshold: expected an FMR or a policy, got an FPIR, which is for searches")
        return DEFAULT_MAX_FMR

    def max_fpir(self, threshold: decision_pb2.Threshold) -> float:
        """Return the target FPIR that a request asks for."""
        match threshold.WhichOneof("target"):
            case "fpir":
                return threshold.fpir
            case "policy":
                return self._policy(threshold.policy).fpir
            case "fmr":
                raise InvalidInputError("threshold: expected an FPIR or a policy, got an FMR, which is for comparisons")
        return DEFAULT_MAX_FPIR

    def dedupe(self, message: enrollment_service_pb2.DedupePolicy) -> DedupePolicy:
        """Return how an enrolment looks for duplicates."""
        return DedupePolicy(
            DEDUPE_ACTIONS.from_wire(message.action),
            self.max_fpir(message.threshold),
            tuple(message.galleries) or None,
            message.max_candidates or _DEFAULT_CANDIDATES,
            tuple(message.excluded_subject_ids),
            message.override_reason,
            message.threshold.real_evidence,
        )

    def _check_count(self, count: int) -> None:
        # Before anything is decoded.
        if not 1 <= count <= self._max_samples:
            raise InvalidInputError(f"samples: expected 1..{self._max_samples}, got {count}")

    def _policy(self, name: str) -> Policy:
        if name not in self._policies:
            raise InvalidInputError(f"policy: expected one of {', '.join(sorted(self._policies))}, got another")
        return self._policies[name]

    def _sample(self, message: sample_pb2.Sample) -> Sample:
        match message.modality:
            case sample_pb2.MODALITY_FACE:
                return self._face(message)
            case sample_pb2.MODALITY_FINGER:
                return self._print(message)
        raise UnsupportedModalityError("modality: expected MODALITY_FACE or MODALITY_FINGER")

    def _face(self, message: sample_pb2.Sample) -> Sample:
        for name in ("position", "impression", "ppi", "width_px", "height_px"):
            if getattr(message, name):
                raise InvalidInputError(f"{name}: expected nothing for a face")
        if message.format and message.format not in FACE_FORMATS:
            raise UnsupportedFormatError("format: expected PNG, JPEG, JP2, BMP, TIFF or WEBP for a face")
        origin = origin_from_wire(message)
        data = self._content(message)
        _check_format(data, FACE_FORMATS.get(message.format, ""))
        return decoded(data, limits=self._limits, origin=origin)

    def _print(self, message: sample_pb2.Sample) -> Sample:
        if message.format and message.format not in FINGER_FORMATS:
            raise UnsupportedFormatError("format: expected PNG, JPEG, JP2, BMP, TIFF, WSQ, RAW8 or FIR for a finger")
        raw = message.format == sample_pb2.SAMPLE_FORMAT_RAW8
        if raw != bool(message.width_px or message.height_px):
            raise InvalidInputError("width_px, height_px: expected both for RAW8, and neither for any other format")
        if not message.ppi and message.format != sample_pb2.SAMPLE_FORMAT_FIR:
            raise ResolutionMissingError(
                "ppi: expected the scanner's resolution, pixels an inch (500 for most), got none"
            )
        if message.ppi and not 250.0 <= message.ppi <= 1000.0:
            raise InvalidInputError(f"ppi: expected 250..1000 pixels an inch, got {message.ppi}")
        position = finger_position(message.position)
        impression = IMPRESSIONS.from_wire(message.impression) if message.impression else Impression.LIVE_PLAIN
        origin = origin_from_wire(message)
        data = self._content(message)
        if message.format == sample_pb2.SAMPLE_FORMAT_FIR:
            return _of_record(data, position, self._limits, origin)
        if raw:
            try:
                image = raw_print(
                    data,
                    width_px=message.width_px,
                    height_px=message.height_px,
                    ppi=message.ppi,
                    position=position,
                    impression=impression,
                    limits=self._limits,
                )
            except ImageError as error:
                return UnreadableSample(str(error), data, Trait.finger(position))
            return replace(image, origin=origin)
        _check_format(data, FINGER_FORMATS.get(message.format, ""))
        return decoded_print(
            data, ppi=message.ppi, position=position, impression=impression, limits=self._limits, origin=origin
        )

    def _content(self, message: sample_pb2.Sample) -> bytes:
        match message.WhichOneof("content"):
            case "data":
                return message.data
            case "upload_id":
                return self._uploads.take(message.upload_id, CURRENT.get().client.name)
        raise InvalidInputError("sample: expected data or upload_id, got neither")


def _check_format(data: bytes, stated: str) -> None:
    if stated and (found := format_of(data)) not in ("", stated):
        raise UnsupportedFormatError(f"format: expected {stated} as stated, got {found}")


def _of_record(data: bytes, position: FingerPosition, limits: ImageLimits, origin: SampleOrigin) -> Sample:
    # The record says resolution and impression; a position that the request names must fit.
    try:
        views = iso19794_4.read(data).views
        if len(views) != 1:
            raise InvalidInputError(f"record: expected one image, got {len(views)}; send each by itself")
        view = views[0]
        if view.coding is ImageCoding.RAW:
            image = view.image()
        else:
            image = decode_print(
                view.data, ppi=view.ppi[0], position=view.position, impression=view.impression, limits=limits
            )
    except (ImageError, RecordFormatError) as error:
        return UnreadableSample(str(error), data, Trait.finger(position))
    if position and image.position not in (FingerPosition.UNKNOWN, position):
        raise InvalidPositionError(f"position: expected {image.position.name} as its record says, got {position.name}")
    return replace(image, position=position or image.position, origin=origin, encoded=b"")


def page_size(asked: int) -> int:
    """Return how many rows a page holds; raises InvalidInputError above 1,000."""
    if asked > MAX_PAGE:
        raise InvalidInputError(f"page_size: expected 0..{MAX_PAGE}, got {asked}")
    return asked or _DEFAULT_PAGE


def paged(rows: Sequence[T], key: Callable[[T], str], token: str, size: int) -> tuple[Sequence[T], str]:
    """Return a page of rows, and the token of the next page.

    Parameters
    ----------
    rows : sequence
        All of them, in order.
    key : callable
        Names a row; the token of a page is the name of the last row before it.
    token : str
        "" for the first page.
    size : int
        Rows of a page.

    Raises
    ------
    InvalidInputError
        No row has the token's name: it is gone, or the token is none.
    """
    start = 0
    if token:
        start = next((i + 1 for i, row in enumerate(rows) if key(row) == token), -1)
        if start < 0:
            raise InvalidInputError("page_token: expected one that this list gave, got another; begin again without")
    page = rows[start : start + size]
    return page, key(page[-1]) if start + size < len(rows) else ""
