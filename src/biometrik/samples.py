"""What is presented in a call: images, ready templates, unreadable bytes, and what has become of each."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from biometrik.errors import ImageError, ResolutionMissingError
from biometrik.finger_imaging import decode_print
from biometrik.fingers import FingerPosition, FingerprintImage, Impression
from biometrik.imaging import DEFAULT_LIMITS, ImageLimits
from biometrik.reasons import Reason
from biometrik.types import FACE, FaceImage, SampleOrigin, SampleReport, Template, Trait, sha256_hex


@dataclass(frozen=True, slots=True)
class UnreadableSample:
    """Bytes that are not an image the library accepts, presented all the same.

    It takes part in a call as an outcome of its own, so that one bad file does not lose the good ones beside it.

    Parameters
    ----------
    detail : str
        What is wrong with it, for logs; in words, without its content.
    data : bytes
        The bytes.
    trait : Trait
        What they were said to show.
    """

    detail: str
    data: bytes = field(default=b"", repr=False)
    trait: Trait = FACE


#: What every call that takes samples accepts.
Sample = FaceImage | FingerprintImage | Template | UnreadableSample


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSample:
    """A sample that has been through the models: made by :meth:`biometrik.Engine.prepare`, accepted by every call.

    Parameters
    ----------
    source : FaceImage or FingerprintImage or Template or UnreadableSample
        What was presented.
    report : SampleReport
        What became of it.
    template : Template or None
        None where none could be made.
    """

    source: Sample
    report: SampleReport
    template: Template | None

    @property
    def acceptable(self) -> bool:
        """Whether there is a template, made of a sample of acceptable quality."""
        quality = self.report.quality
        return self.template is not None and (quality is None or quality.acceptable)

    @property
    def trait(self) -> Trait:
        """What it shows."""
        return self.report.trait

    def at(self, position: int) -> Self:
        """Return the same sample at another place in the call."""
        if position == self.report.position:
            return self
        return replace(self, report=replace(self.report, position=position))


def decoded(data: bytes, *, limits: ImageLimits = DEFAULT_LIMITS, origin: SampleOrigin | None = None) -> Sample:
    """Return the photograph that the bytes hold, or an :class:`UnreadableSample`."""
    try:
        image = FaceImage.from_bytes(data, limits=limits)
    except ImageError as error:
        return UnreadableSample(str(error), data)
    return image if origin is None else replace(image, origin=origin)


def decoded_print(
    data: bytes,
    *,
    ppi: float | None = None,
    position: FingerPosition = FingerPosition.UNKNOWN,
    impression: Impression = Impression.LIVE_PLAIN,
    limits: ImageLimits = DEFAULT_LIMITS,
    origin: SampleOrigin | None = None,
) -> Sample:
    """Return the print that the bytes hold, or an :class:`UnreadableSample`.

    Raises
    ------
    ResolutionMissingError
        Neither the caller nor the image states a resolution that can be relied on.
    InvalidInputError
        ``ppi`` is out of range.
    """
    try:
        image = decode_print(data, ppi=ppi, position=position, impression=impression, limits=limits)
    except ResolutionMissingError:
        raise
    except ImageError as error:
        return UnreadableSample(str(error), data, Trait.finger(position))
    return image if origin is None else replace(image, origin=origin)


def trait_of(sample: Sample) -> Trait:
    """Return what a sample shows, or is said to show."""
    return FACE if isinstance(sample, FaceImage) else sample.trait


def as_it_is(sample: Template | UnreadableSample) -> PreparedSample:
    """Return a sample that no model needs to see."""
    template = sample if isinstance(sample, Template) else None
    reasons = () if template else (Reason.IMAGE_UNREADABLE,)
    report = SampleReport(0, template is not None, reasons, None, 0, None, trait_of(sample))
    return PreparedSample(sample, report, template)


def digest(sample: Sample) -> bytes:
    """Return what tells a sample from another, for the repeat of a write."""
    match sample:
        case FaceImage(pixels=pixels):
            return sha256_hex(str(pixels.shape).encode(), np.ascontiguousarray(pixels).tobytes()).encode()
        case FingerprintImage(pixels=pixels):
            said = f"{pixels.shape} {sample.ppi} {int(sample.position)} {int(sample.impression)}"
            return sha256_hex(said.encode(), np.ascontiguousarray(pixels).tobytes()).encode()
        case Template():
            return sha256_hex(sample.to_bytes()).encode()
        case UnreadableSample(data=data):
            return sha256_hex(data).encode()


def origins(samples: Sequence[Sample]) -> str:
    """Return how samples came to be, as JSON for the event log; "" where nothing is known of any."""
    rows = [_origin(sample) for sample in samples]
    return json.dumps(rows) if any(rows) else ""


def _origin(sample: Sample) -> dict[str, str]:
    if not isinstance(sample, FaceImage | FingerprintImage):
        return {}
    origin = sample.origin
    row = {
        "captured_at": origin.captured_at.isoformat() if origin.captured_at else "",
        "source": origin.source.value if origin.source else "",
        "device_ref": origin.device_ref,
    }
    return {name: value for name, value in row.items() if value}
