"""Samples made small for a weak line: cut to what is compared, and compressed into a stated number of bytes."""

import io
from dataclasses import replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrik.fingerprint.preparation import PreparedPrint, prepare
from biometrik.fingers import NATIVE_PPI, FingerprintImage
from biometrik.imaging import DEFAULT_LIMITS, decode_rgb
from biometrik.types import Face, FaceImage

S = TypeVar("S", FaceImage, FingerprintImage)

#: Most bytes of a compact face and of a compact print: a request with one sample then stays within 40 and 20 kB, with
#: 1 kB for its other fields, the headers of HTTP/2 and those of TLS.
MAX_FACE_BYTES = 39_000
MAX_PRINT_BYTES = 19_000

#: Room around a face on each side, in sides of its box: hair, ears and the shoulders' beginning, so that the head is
#: half to three quarters of the picture's width, as of a document photograph (BSI TR-03121).
_ROOM = 0.5
#: Eye distance that is kept, pixels: what ISO/IEC 19794-5:2011, annex A, recommends for a portrait (90 at least).
_EYES_PX = 120.0
#: JPEG qualities between which is chosen: below the first blocks are seen, above the second bytes only are won.
_QUALITIES = (75, 95)
#: A picture that is too large at the lowest quality is made smaller by so much, as often as it takes.
_SHRINK = 0.85


def compact(sample: S, face: Face | None = None) -> S:
    """Return a sample that takes few bytes and is recognised as well.

    A face is cut out to head and shoulders, scaled to an eye distance of at most 120 px, and becomes a JPEG of the
    highest quality up to 95 that fits :data:`MAX_FACE_BYTES`. A print is what the extractors look at, cut to its
    ridges at 500 ppi, and becomes a JPEG 2000 of at most :data:`MAX_PRINT_BYTES`, lossless where that fits.

    Parameters
    ----------
    sample : FaceImage or FingerprintImage
        What was taken.
    face : Face or None
        The face in it, as the report of an assessment has it; of a print it says nothing.

    Returns
    -------
    FaceImage or FingerprintImage
        ``encoded`` holds what is sent, ``pixels`` what the other side will decode. What recognition cannot use, a
        photograph without ``face`` (or with one at its edge) or a print in which not one finger is found, is returned
        as it is, and so is what is smaller as it is.

    Raises
    ------
    InvalidInputError
        A print is wider or higher than 208 mm.

    Examples
    --------
    >>> from biometrik.synthetic.fingerprints import draw_finger
    >>> from biometrik.synthetic.impressions import draw_impression
    >>> compact(draw_impression(draw_finger(3, 2), 0).image).encoded[4:8]
    b'jP  '
    """
    if isinstance(sample, FaceImage):
        return sample if face is None else _smaller(sample, _compact_face(sample, face))
    prepared = prepare(sample)
    return _smaller(sample, _compact_print(sample, prepared)) if isinstance(prepared, PreparedPrint) else sample


def _smaller(sample: S, made: S) -> S:
    return sample if sample.encoded and len(sample.encoded) <= len(made.encoded) else made


def _compact_face(image: FaceImage, face: Face) -> FaceImage:
    box, height, width = face.box, image.height_px, image.width_px
    left, right = (round(np.clip(x, 0, width)) for x in _widened(box.x, box.width))
    top, bottom = (round(np.clip(y, 0, height)) for y in _widened(box.y, box.height))
    pixels = image.pixels[top:bottom, left:right]
    if pixels.size == 0:  # a box that lies outside is of another picture
        return image
    pixels = _scaled(pixels, _EYES_PX / max(face.inter_eye_px, _EYES_PX))
    data = _jpeg(pixels, _QUALITIES[0])
    while len(data) > MAX_FACE_BYTES:
        pixels = _scaled(pixels, _SHRINK)
        data = _jpeg(pixels, _QUALITIES[0])
    if min(pixels.shape[:2]) < DEFAULT_LIMITS.min_side_px:  # the other side would refuse it
        return image
    fits, beyond = _QUALITIES[0], _QUALITIES[1] + 1
    while beyond - fits > 1:
        quality = (fits + beyond) // 2
        tried = _jpeg(pixels, quality)
        if len(tried) <= MAX_FACE_BYTES:
            fits, data = quality, tried
        else:
            beyond = quality
    return replace(FaceImage.from_bytes(data), origin=image.origin)


def _widened(start: float, side: float) -> tuple[float, float]:
    return start - _ROOM * side, start + (1 + _ROOM) * side


def _scaled(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale >= 1:
        return pixels
    size = tuple(max(1, round(side * scale)) for side in pixels.shape[1::-1])
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _compact_print(image: FingerprintImage, prepared: PreparedPrint) -> FingerprintImage:
    pixels, budget = prepared.pixels, MAX_PRINT_BYTES
    data = _jpeg2000(pixels, None)
    while len(data) > MAX_PRINT_BYTES:  # the coder keeps to its budget, but for the headers around what it codes
        data = _jpeg2000(pixels, pixels.size / budget)
        budget -= max(0, len(data) - MAX_PRINT_BYTES)
    seen = np.ascontiguousarray(decode_rgb(data)[:, :, 0])
    return replace(image, pixels=seen, ppi=float(NATIVE_PPI), encoded=data)


def _jpeg2000(pixels: NDArray[np.uint8], rate: float | None) -> bytes:
    # Lossless, or at a rate: bytes of pixels a byte of code.
    from PIL import Image

    out = io.BytesIO()
    lossy = {} if rate is None else {"irreversible": True, "quality_mode": "rates", "quality_layers": [rate]}
    Image.fromarray(pixels).save(out, "JPEG2000", **lossy)
    return out.getvalue()
