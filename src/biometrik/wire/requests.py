"""What a request says: who asks, templates, traits, fingers that cannot be had, and how samples came to be."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from biometrik.errors import InvalidInputError, InvalidPositionError, TemplateFormatError
from biometrik.fingers import FingerPosition, FingerprintImage
from biometrik.reasons import Locale
from biometrik.types import FACE, MissingSample, Modality, RequestContext, SampleOrigin, Template, Trait
from biometrik.v1 import context_pb2, sample_pb2
from biometrik.wire.enumerations import IMPRESSIONS, MISSING, MODALITIES, PURPOSES, SOURCES


def context_to_wire(context: RequestContext, locale: Locale = "en") -> context_pb2.RequestContext:
    """Return who asks."""
    return context_pb2.RequestContext(
        transaction_id=context.transaction_id,
        purpose=PURPOSES.to_wire(context.purpose) if context.purpose else context_pb2.PURPOSE_UNSPECIFIED,
        operator_ref=context.operator_ref,
        station_ref=context.station_ref,
        consent_ref=context.consent_ref,
        locale=locale,
    )


def context_from_wire(message: context_pb2.RequestContext) -> RequestContext:
    """Return who asks; raises InvalidInputError for references that are too long or not printable."""
    return RequestContext(
        transaction_id=message.transaction_id,
        operator_ref=message.operator_ref,
        station_ref=message.station_ref,
        consent_ref=message.consent_ref,
        purpose=PURPOSES.from_wire(message.purpose) if message.purpose else None,
    )


def template_to_wire(template: Template) -> sample_pb2.Template:
    """Return a template with the fields that repeat what its bytes say."""
    return sample_pb2.Template(
        modality=MODALITIES.to_wire(template.modality),
        position=template.position,  # type: ignore[arg-type]  # the codes are the contract's numbers
        model_contract_id=template.model_contract_id,
        data=template.to_bytes(),
    )


def template_from_wire(message: sample_pb2.Template) -> Template:
    """Return a template.

    Raises
    ------
    TemplateFormatError
        Its bytes are damaged, or a field contradicts them.
    """
    template = Template.from_bytes(message.data)
    said = (message.modality, message.position, message.model_contract_id)
    held = (MODALITIES.to_wire(template.modality), template.position, template.model_contract_id)
    for name, stated, true in zip(("modality", "position", "model_contract_id"), said, held, strict=True):
        if stated and stated != true:
            raise TemplateFormatError(f"template: {name} is not what its bytes say")
    return template


def trait_to_wire(trait: Trait) -> sample_pb2.Trait:
    """Return what of a person is compared."""
    return sample_pb2.Trait(
        modality=MODALITIES.to_wire(trait.modality),
        position=trait.position,  # type: ignore[arg-type]  # the codes are the contract's numbers
    )


def trait_from_wire(message: sample_pb2.Trait) -> Trait:
    """Return what of a person is compared; a face where an older service says nothing."""
    modality = MODALITIES.from_wire(message.modality) if message.modality else Modality.FACE
    return Trait.finger(message.position) if modality is Modality.FINGER else FACE


def requested_trait_from_wire(message: sample_pb2.Trait) -> Trait:
    """Return what a request asks for.

    Raises
    ------
    InvalidPositionError
        A position that is none, of a face, or of several fingers.
    InvalidInputError
        No modality.
    """
    modality, position = MODALITIES.from_wire(message.modality), finger_position(message.position)
    if not position.is_single or (position and modality is Modality.FACE):
        raise InvalidPositionError(f"position: expected one finger, and none for a face, got {position.name}")
    return Trait.finger(position) if modality is Modality.FINGER else FACE


def missing_to_wire(missing: MissingSample) -> sample_pb2.MissingSample:
    """Return a sample that cannot be had."""
    return sample_pb2.MissingSample(
        position=missing.position,  # type: ignore[arg-type]  # the codes are the contract's numbers
        reason=MISSING.to_wire(missing.reason),
        permanent=missing.permanent,
    )


def missing_from_wire(message: sample_pb2.MissingSample) -> MissingSample:
    """Return a sample that cannot be had; raises InvalidInputError for what is no finger or no reason."""
    return MissingSample(finger_position(message.position), MISSING.from_wire(message.reason), message.permanent)


def finger_position(number: int) -> FingerPosition:
    """Return a finger position; raises InvalidPositionError for a number that is none."""
    try:
        return FingerPosition(number)
    except ValueError:
        raise InvalidPositionError(f"position: expected 0..15, got {number}") from None


def write_print(image: FingerprintImage, message: sample_pb2.Sample) -> None:
    """Write what is said of a print, but not its content, into a sample."""
    message.modality = sample_pb2.MODALITY_FINGER
    message.position = int(image.position)  # type: ignore[assignment]  # the codes are the contract's numbers
    message.impression = IMPRESSIONS.to_wire(image.impression)
    message.ppi = image.ppi
    origin_to_wire(image.origin, message)


def origin_to_wire(origin: SampleOrigin, sample: sample_pb2.Sample) -> None:
    """Write how a sample came to be into it."""
    if origin.captured_at is not None:
        sample.captured_at.FromDatetime(origin.captured_at)
    if origin.source is not None:
        sample.source = SOURCES.to_wire(origin.source)
    sample.device_ref = origin.device_ref


def origin_from_wire(sample: sample_pb2.Sample) -> SampleOrigin:
    """Return how a sample came to be; raises InvalidInputError for a time or source that is none."""
    captured = time_from_wire(sample.captured_at) if sample.HasField("captured_at") else None
    source = SOURCES.from_wire(sample.source) if sample.source else None
    return SampleOrigin(captured, source, sample.device_ref)


def time_to_wire(moment: datetime) -> Timestamp:
    """Return a time in UTC."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def time_from_wire(stamp: Timestamp) -> datetime:
    """Return a time in UTC; raises InvalidInputError outside of the years 1 to 9999."""
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidInputError(f"timestamp: expected years 1 to 9999, got {stamp.seconds} s") from None
