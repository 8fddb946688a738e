"""What is presented in a call: images, ready templates, unreadable bytes, and what has become of each."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from biometrik.errors import ImageError
from biometrik.imaging import DEFAULT_LIMITS, ImageLimits
from biometrik.reasons import Reason
from biometrik.types import FaceImage, SampleOrigin, SampleReport, Template, sha256_hex


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
    """

    detail: str
    data: bytes = field(default=b"", repr=False)


#: What every call that takes samples accepts.
Sample = FaceImage | Template | UnreadableSample


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSample:
    """A sample that has been through the models: made by :meth:`biometrik.Engine.prepare`, accepted by every call.

    Parameters
    ----------
    source : FaceImage or Template or UnreadableSample
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

    def at(self, position: int) -> Self:
        """Return the same sample at another place in the call."""
        return replace(self, report=replace(self.report, position=position))


def decoded(data: bytes, *, limits: ImageLimits = DEFAULT_LIMITS, origin: SampleOrigin | None = None) -> Sample:
    """Return the photograph that the bytes hold, or an :class:`UnreadableSample`."""
    try:
        image = FaceImage.from_bytes(data, limits=limits)
    except ImageError as error:
        return UnreadableSample(str(error), data)
    return image if origin is None else replace(image, origin=origin)


def as_it_is(sample: Template | UnreadableSample) -> PreparedSample:
    """Return a sample that no model needs to see."""
    usable = isinstance(sample, Template)
    reasons = () if usable else (Reason.IMAGE_UNREADABLE,)
    report = SampleReport(0, usable, reasons, quality=None, faces_found=0, face=None)
    return PreparedSample(sample, report, sample if isinstance(sample, Template) else None)


def digest(sample: Sample) -> bytes:
    """Return what tells a sample from another, for the repeat of a write."""
    match sample:
        case FaceImage(pixels=pixels):
            return sha256_hex(str(pixels.shape).encode(), np.ascontiguousarray(pixels).tobytes()).encode()
        case Template():
            return sha256_hex(sample.to_bytes()).encode()
        case UnreadableSample(data=data):
            return sha256_hex(data).encode()


def origins(samples: Sequence[Sample]) -> str:
    """Return how samples came to be, as JSON for the event log; "" where nothing is known of any."""
    rows = [_origin(sample) for sample in samples]
    return json.dumps(rows) if any(rows) else ""


def _origin(sample: Sample) -> dict[str, str]:
    if not isinstance(sample, FaceImage):
        return {}
    origin = sample.origin
    row = {
        "captured_at": origin.captured_at.isoformat() if origin.captured_at else "",
        "source": origin.source.value if origin.source else "",
        "device_ref": origin.device_ref,
    }
    return {name: value for name, value in row.items() if value}
